//! Printing and parsing undo each other; nothing makes the parser panic.
#![allow(clippy::unwrap_used, reason = "tests")]

use promql::{ParserOptions, parse, parse_selector, parse_series_description, prettify};
use proptest::prelude::*;

const OPTIONS: ParserOptions = ParserOptions::all();

/// With one matcher at most, for printing sorts them.
fn selector() -> impl Strategy<Value = String> {
    let matcher =
        (prop::sample::select(vec!["job", "le", "\"a.b\""]), prop::sample::select(vec!["=", "!=", "=~", "!~"]), "[a-z|.\\n\"]{0,6}")
            .prop_map(|(name, op, value)| format!("{name}{op}{}", model::name::quote(&value)));
    (prop::sample::select(vec!["up", "a:b", "sum", "or", "start"]), prop::collection::vec(matcher, 0..2), modifiers())
        .prop_map(|(name, matchers, modifiers)| format!("{name}{{{}}}{modifiers}", matchers.join(",")))
}

fn modifiers() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", " offset 5m", " offset -1h30m", " @ 12.5", " @ start() offset 90", " @ -3", " @ end()"])
        .prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u16>().prop_map(|n| n.to_string()),
        (0.0..1e9).prop_map(|n: f64| n.to_string()),
        Just("5m".to_owned()),
        Just("-1.5".to_owned())
    ]
}

fn vector() -> impl Strategy<Value = String> {
    selector().prop_recursive(5, 40, 3, |inner| {
        let op = prop::sample::select(vec!["+", "-", "*", "/", "%", "^", "atan2", "==", "> bool", "<=", "and", "or", "unless"]);
        let arithmetic =
            prop::sample::select(vec!["+ on (a, b) group_left ()", "/ ignoring (c) group_right (d)", "== bool ignoring ()", "- on ()"]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), arithmetic, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), scalar()).prop_map(|(a, b)| format!("({a}) * {b}")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("abs({a})")),
            (inner.clone(), modifiers()).prop_map(|(a, m)| format!("max_over_time(({a})[1h30m:1m]{m})")),
            (selector(), inner.clone()).prop_map(|(_, a)| format!("sum by (job, \"x.y\") ({a})")),
            (scalar(), inner).prop_map(|(k, a)| format!("topk without (le) ({k}, {a})")),
        ]
    })
}

/// Everything about an expression but where it stands.
fn meaning(expr: &promql::ast::Expr) -> String {
    let debug = format!("{expr:?}");
    let mut parts = debug.split("span: Span {");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('}').unwrap().1)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_keeps_the_meaning(text in vector()) {
        let expr = parse(&text, &OPTIONS).unwrap();
        let printed = expr.to_string();
        let again = parse(&printed, &OPTIONS).unwrap();
        prop_assert_eq!(meaning(&expr), meaning(&again), "{} printed as {}", text, printed);
        let pretty = prettify(&expr, 20);
        let again = parse(&pretty, &OPTIONS).unwrap();
        prop_assert_eq!(meaning(&expr), meaning(&again), "{} prettified as {}", text, pretty);
    }

    #[test]
    fn random_tokens_never_panic(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..30)) {
        check(&tokens.concat());
        check(&tokens.join(" "));
    }

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        check(&text);
    }
}

fn check(text: &str) {
    if let Ok(expr) = parse(text, &OPTIONS) {
        let printed = expr.to_string();
        assert!(!printed.is_empty() && !prettify(&expr, 10).is_empty(), "{text}");
    }
    let errors = [parse(text, &OPTIONS).err(), parse_selector(text).err(), parse_series_description(text).err()];
    for error in errors.into_iter().flatten() {
        assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{text}: {error:?}");
        assert!(!error.message.is_empty());
    }
}

const TOKENS: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "!=",
    "==",
    "<",
    "<=",
    ">",
    ">=",
    "</",
    ">/",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    "#",
    "\n",
    " ",
    "_",
    "x",
    "a",
    "b:c",
    "up",
    "sum",
    "topk",
    "count_values",
    "limitk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
    "start",
    "end",
    "step",
    "range",
    "max_of",
    "anchored",
    "smoothed",
    "rate",
    "abs",
    "time",
    "1",
    "0x1f",
    "017",
    "1e",
    "1e5",
    ".5",
    "1_0",
    "inf",
    "NaN",
    "5m",
    "1h30m",
    "5mm",
    "1y2",
    "\"",
    "'",
    "`",
    "\\",
    "\\x41",
    "\"a\"",
    "'b'",
    "`c`",
    "é",
    "\u{fffd}",
    "stale",
    "{{",
    "}}",
    "999999999999999999999",
];
