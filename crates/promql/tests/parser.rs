//! The language: what parses to what, what is refused with which words at which place.
#![allow(clippy::unwrap_used, reason = "tests")]

use promql::ast::{At, Expr};
use promql::parser::{DEPTH_MAX, NESTING_MAX, SequenceValue};
use promql::{ParserOptions, parse, parse_selector, parse_series_description, prettify};

#[track_caller]
fn read(text: &str) -> Expr {
    parse(text, &ParserOptions::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Shows how a text is understood, with parentheses around each operation.
fn grouped(expr: &Expr) -> String {
    match expr {
        Expr::Binary(e) => format!("({} {} {})", grouped(&e.left), e.op.as_str(), grouped(&e.right)),
        Expr::Unary(e) => format!("({}{})", if e.negative { '-' } else { '+' }, grouped(&e.expr)),
        Expr::Paren(e) => grouped(&e.expr),
        Expr::Subquery(e) => format!("<{}>", grouped(&e.expr)),
        other => other.to_string(),
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (text, want) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 * 2 + 3", "((1 * 2) + 3)"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("2 ^ 3 ^ 4", "(2 ^ (3 ^ 4))"),
        ("2 * 3 atan2 4 % 5", "(((2 * 3) atan2 4) % 5)"),
        ("-1 ^ 2", "(-(1 ^ 2))"),
        ("-a * b", "((-a) * b)"),
        ("2 ^ -1 * 3", "((2 ^ -1) * 3)"),
        ("a ^ -b ^ c", "(a ^ (-(b ^ c)))"),
        ("a or b and c unless d", "(a or ((b and c) unless d))"),
        ("a == b + c", "(a == (b + c))"),
        ("a < b > c", "((a < b) > c)"),
        ("a and b == c", "(a and (b == c))"),
        ("--1", "1"),
        ("-+-a", "(-(+(-a)))"),
        ("-a offset 5m", "(-a offset 5m)"),
        ("a + b offset 5m @ 7", "(a + b @ 7.000 offset 5m)"),
        ("a offset 5m + 3", "(a offset 5m + 3)"),
        ("(a + b)[5m:]", "<(a + b)>"),
        ("-a[5m:][1h:] offset 1m == 3", ""),
    ] {
        match parse(text, &ParserOptions::default()) {
            Ok(expr) => assert_eq!(grouped(&expr), want, "{text}"),
            Err(error) => assert_eq!(want, "", "{text}: {error}"),
        }
    }
}

#[test]
fn prints_normalized() {
    for (text, want) in [
        ("0x1F", "31"),
        ("017", "15"),
        ("1_000", "1000"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("NaN", "NaN"),
        ("-iNf", "-Inf"),
        ("90m", "1h30m"),
        ("-5m", "-5m"),
        ("'it\\'s'", "\"it's\""),
        ("`\\n`", "\"\\\\n\""),
        ("{\"utf.8\",'b c'=~`x\"`}", "{\"b c\"=~\"x\\\"\",__name__=\"utf.8\"}"),
        ("a{z='1', b!~'2',}", "a{b!~\"2\",z=\"1\"}"),
        ("rate ( a [ 5m ] )", "rate(a[5m])"),
        ("a[300]", "a[5m]"),
        ("a[1.5]", "a[1s500ms]"),
        ("a OFFSET -90", "a offset -1m30s"),
        ("a @ 1.5", "a @ 1.500"),
        ("a[5m] offset 1d @ end()", "a[5m] @ end() offset 1d"),
        ("a[1h:] @ start()", "a[1h:] @ start()"),
        ("a[1h:0.0001]", "a[1h:]"),
        ("SUM(a) BY (b, sum, \"x.y\")", "sum by (b, sum, \"x.y\") (a)"),
        ("sum without () (a)", "sum without () (a)"),
        ("count_values('v', a) by (b,)", "count_values by (b) (\"v\", a)"),
        ("a / on () group_left b", "a / on () group_left () b"),
        ("a / ignoring (c) group_right (d) b", "a / ignoring (c) group_right (d) b"),
        ("a > bool 1", "a > bool 1"),
        ("a # what\n+ b # it is", "a + b"),
        ("sum + avg{or='1'} - offset offset 5m", "sum + avg{or=\"1\"} - offset offset 5m"),
        ("start + end - step * range / fill", "start + end - step * range / fill"),
        (":a:", ":a:"),
    ] {
        let printed = read(text).to_string();
        assert_eq!(printed, want, "{text}");
        assert_eq!(read(&printed).to_string(), want, "{text} again");
    }
}

#[test]
fn refuses_with_the_words_of_prometheus() {
    for (text, want) in [
        ("", "unknown position: parse error: no expression found in input"),
        (" ", "1:1: parse error: no expression found in input"),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        ("a\n+\n+ é", "3:3: parse error: unexpected character: 'é'"),
        ("\"é\" é", "1:6: parse error: unexpected character: 'é'"),
        ("sum by (job, 5m) (up)", "1:14: parse error: unexpected duration \"5m\" in grouping opts, expected label"),
        ("sum by (a b) (up)", "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\""),
        ("sum by (without) (up)", "1:9: parse error: unexpected <without> in grouping opts, expected label"),
        ("sum by ('') (up)", "1:9: parse error: invalid label name for grouping: \"\""),
        ("sum(a b)", "1:7: parse error: unexpected identifier \"b\" in aggregation"),
        ("sum by (a) b", "1:12: parse error: unexpected identifier \"b\" in aggregation"),
        ("rate(a[5m) ", "1:10: parse error: unexpected \")\" in subquery or range, expected \":\" or \"]\""),
        ("rate(a b)", "1:8: parse error: unexpected identifier \"b\""),
        ("f(1,)", "1:4: parse error: trailing commas not allowed in function call args"),
        ("a[5m:*]", "1:6: parse error: unexpected <op:*> in subquery selector, expected number, duration, step(), range(), or \"]\""),
        ("a[5m:1m 2]", "1:9: parse error: unexpected number \"2\" in subquery selector, expected \"]\""),
        ("a[0]", "1:3: parse error: duration must be greater than 0"),
        ("a[-5m]", "1:3: parse error: duration must be greater than 0"),
        ("a[5m + 1m]", "1:3: parse error: experimental duration expression is not enabled"),
        ("a[(5m)]", "1:4: parse error: experimental duration expression is not enabled"),
        ("a offset step()", "1:10: parse error: experimental duration expression is not enabled"),
        ("a offset (1)", "1:11: parse error: experimental duration expression is not enabled"),
        ("a offset b", "1:10: parse error: unexpected identifier \"b\" in offset, expected number, duration, step(), or range()"),
        ("a @ b", "1:5: parse error: unexpected identifier \"b\" in @, expected timestamp"),
        ("a @ start", "1:10: parse error: unexpected end of input in @, expected timestamp"),
        ("a @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("a @ 1e30", "1:1: parse error: timestamp out of bounds for @ modifier: 1000000000000000019884624838656.000000"),
        (
            "sum(a) @ 1",
            "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        ("a anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
        ("a + fill(1) b", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
        (
            "limitk(1, a)",
            "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
        ("start()", "1:1: parse error: function \"start\" is not enabled"),
        ("a{b}", "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("a{b='c' d}", "1:9: parse error: unexpected identifier \"d\" in label matching, expected \",\" or \"}\""),
        ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
        ("a]", "1:2: parse error: unexpected right bracket ']'"),
        ("a[[", "1:3: parse error: unexpected character in duration expression: '['"),
        ("a[:5m]", "1:4: parse error: unexpected colon before duration in duration expression"),
        ("1e999", "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range"),
        ("'abcdefghijk' 'abcdefghijk'", "1:15: parse error: unexpected string \"'abcdefghi\"..."),
        ("'\u{fffd}'", "1:1: parse error: invalid UTF-8 rune"),
        ("topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
        ("-'a'", "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\""),
        ("a + a[5m]", "1:5: parse error: binary expression must contain only scalar and instant vector types"),
        ("label_join(a, 'b')", "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2"),
        ("round(a, 1, 2)", "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3"),
        ("absent({})", "1:8: parse error: vector selector must contain at least one non-empty matcher"),
    ] {
        match parse(text, &ParserOptions::default()) {
            Ok(expr) => panic!("{text} parsed as {expr}"),
            Err(error) => assert_eq!(error.to_string(), want, "{text}"),
        }
    }
}

#[test]
fn spans_cover_the_text_they_are_about() {
    for (text, start, end) in [
        ("  a  ", 2, 3),
        (" a{b='c'} ", 1, 9),
        ("a [5m] offset 1m ", 0, 16),
        ("(a) ", 0, 3),
        ("sum(a) ", 0, 6),
        ("sum(a) by (b) ", 0, 13),
        ("rate(a[5m]) ", 0, 11),
        (" - 5 ", 1, 4),
        (" a + b ", 1, 6),
    ] {
        let span = read(text).span();
        assert_eq!((span.start, span.end), (start, end), "{text}");
    }
}

#[test]
fn experimental_aggregations_need_the_option() {
    let options =
        ParserOptions { experimental_functions: true, duration_expressions: false, fill_modifiers: true, extended_range_selectors: true };
    assert_eq!(parse("limit_ratio(0.5, a)", &options).unwrap().to_string(), "limit_ratio(0.5, a)");
}

/// Words of the language are read in any case, names of functions are not.
#[test]
fn functions_are_written_in_lower_case() {
    let read = |text: &str| parse(text, &ParserOptions::all()).map(|expr| expr.to_string()).map_err(|error| error.to_string());
    for name in ["START", "End", "STEP", "Range", "MAX_OF", "Time"] {
        assert_eq!(read(&format!("{name}()")), Err(format!("1:1: parse error: unknown function with name \"{name}\"")));
    }
    assert_eq!(read("SUM(rate(a[STEP() * 2] @ START()))"), Ok("sum(rate(a[step() * 2] @ start()))".into()));
}

/// An offset that begins with a number ends there, one that begins with two signs does not.
#[test]
fn signs_of_an_offset() {
    let computed = |text: &str| match parse(text, &ParserOptions::all()).unwrap() {
        Expr::Vector(selector) => selector.offset_expr.is_some(),
        Expr::Binary(_) => false,
        other => panic!("{other}"),
    };
    for (text, want) in [
        ("a offset 1m + 3m", false),
        ("a offset -1m + 3m", false),
        ("a offset --1m + 3m", true),
        ("a offset --1m * 3m + 1m", true),
        ("a offset +-1m", false),
        ("a offset --step() - 1m", true),
    ] {
        assert_eq!(computed(text), want, "{text}");
    }
    let Expr::Vector(selector) = read("a offset --5m") else { panic!("a selector") };
    assert_eq!(selector.offset, model::Millis(300_000));
    // 2^63 nanoseconds.
    let Expr::Vector(selector) = read("a offset NaN") else { panic!("a selector") };
    assert_eq!(selector.offset, model::Millis(-9_223_372_036_854));
}

#[test]
fn a_time_is_rounded_to_milliseconds() {
    let Expr::Vector(vector) = read("a @ -1.0006") else { panic!("no selector") };
    assert_eq!(vector.at, Some(At::Time(model::Timestamp(-1001))));
}

#[test]
fn selectors() {
    let matchers = parse_selector("a{b!='c'}").unwrap();
    assert_eq!(matchers.iter().map(|m| m.to_string()).collect::<Vec<_>>(), ["b!=\"c\"", "__name__=\"a\""]);
    assert!(parse_selector("{}").unwrap().is_empty());
    for (text, want) in [
        ("", "unknown position: parse error: unexpected end of input"),
        ("a + b", "1:3: parse error: unexpected <op:+>"),
        ("1", "1:1: parse error: unexpected number \"1\""),
    ] {
        assert_eq!(parse_selector(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn series_and_their_values() {
    let (labels, values) = parse_series_description(r#"up{job="a"} 1 _x2 1-2x2 .5"#).unwrap();
    assert_eq!((labels.metric_name(), labels.get("job")), ("up", Some("a")));
    let float = SequenceValue::Float;
    let gap = SequenceValue::Omitted;
    assert_eq!(values, [float(1.0), gap.clone(), gap, float(1.0), float(-1.0), float(-3.0), float(0.5)]);
    for (text, want) in [
        ("a 1+1", "1:6: parse error: unexpected end of input"),
        (
            "a 1x9999999999",
            "1:5: parse error: invalid repetition in series values: strconv.ParseUint: parsing \"9999999999\": value out of range",
        ),
        ("a stall", "1:3: parse error: unexpected identifier \"stall\" in series values, expected number or \"stale\""),
    ] {
        assert_eq!(parse_series_description(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn depth_is_bounded_for_a_small_stack() {
    let work = || {
        for text in [
            format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("{}a", "-".repeat(100_000)),
            format!("({}){}", "-{}-1".repeat(10_000), "[1m:]".repeat(1000)),
            format!("a{}", "[1m:]".repeat(100_000)),
            format!("a{}", " + a".repeat(100_000)),
            format!("{}a", "a ^ ".repeat(100_000)),
            format!("a[{}1m{}]", "(".repeat(100_000), ")".repeat(100_000)),
            "abs(".repeat(100_000),
            "sum by (a) (".repeat(100_000),
        ] {
            assert!(parse(&text, &ParserOptions::default()).is_err());
        }
        let (nested, chained) = (NESTING_MAX - 1, DEPTH_MAX - 1);
        for text in [
            format!("{}a{}", "(".repeat(nested), ")".repeat(nested)),
            format!("{}a{}", "abs(".repeat(nested), ")".repeat(nested)),
            format!("{}a{}", "sum(".repeat(nested), ")".repeat(nested)),
            format!("a{}", " or a".repeat(chained)),
        ] {
            let expr = read(&text);
            assert_eq!(expr.clone(), expr);
            assert!(!prettify(&expr, usize::MAX).is_empty());
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}
