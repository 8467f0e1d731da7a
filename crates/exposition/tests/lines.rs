//! What single lines mean, and how wrong ones are refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use exposition::{Entry, Format, Parser};

/// The entries in a short form, or the error.
fn read(page: &str, format: Format) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(page.as_bytes(), format);
    let mut out = Vec::new();
    let mut pairs = Vec::new();
    while let Some(entry) = parser.next().map_err(|error| error.to_string())? {
        out.push(match entry {
            Entry::Sample(sample) => {
                sample.labels(&mut pairs).map_err(|error| error.to_string())?;
                let labels: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let mut text = format!("{} {}", labels.join(","), sample.value);
                if let Some(timestamp) = sample.timestamp {
                    text += &format!(" @{}", timestamp.0);
                }
                if let Some(exemplar) = sample.exemplar {
                    exemplar.labels(&mut pairs);
                    text += &format!(" # {pairs:?} {} {:?}", exemplar.value, exemplar.timestamp.map(|t| t.0));
                }
                text
            }
            Entry::Type { name, kind } => format!("type {name} {}", kind.as_str()),
            Entry::Help { name, text } => format!("help {name} {text:?}"),
            Entry::Unit { name, unit } => format!("unit {name} {unit:?}"),
        });
    }
    Ok(out)
}

#[track_caller]
fn text(page: &str, want: &[&str]) {
    assert_eq!(read(page, Format::PrometheusText).unwrap(), want, "{page:?}");
}

#[track_caller]
fn text_error(page: &str, want: &str) {
    assert_eq!(read(page, Format::PrometheusText).unwrap_err(), want, "{page:?}");
}

#[track_caller]
fn open_metrics(lines: &str, want: &[&str]) {
    assert_eq!(read(&format!("{lines}\n# EOF\n"), Format::OpenMetrics).unwrap(), want, "{lines:?}");
}

#[track_caller]
fn open_metrics_error(page: &str, want: &str) {
    assert_eq!(read(page, Format::OpenMetrics).unwrap_err(), want, "{page:?}");
}

#[test]
fn samples_of_text() {
    text("", &[]);
    text("\n \n\t", &[]);
    text("a 1", &["__name__=a 1"]);
    text("a 1\n", &["__name__=a 1"]);
    text("a\t1\t5\n", &["__name__=a 1 @5"]);
    text("  a 1\n", &["__name__=  a 1"]);
    text("a{} 1\n", &["__name__=a 1"]);
    text("a{x=\"1\",} 1\n", &["__name__=a,x=1 1"]);
    text("a { x = \"1\" , b=\"2\" } 1\n", &["__name__=a,b=2,x=1 1"]);
    text("a{x=\"1\"y=\"2\"} 1\n", &["__name__=a,x=1,y=2 1"]);
    text("a{x=\"}\\\" \\\\ \\n \\t ü\n\"} 1\n", &["__name__=a,x=}\" \\ \n \\t ü\n 1"]);
    text("{\"b.c\",\"d e\"=\"1\"} 1\n", &["__name__=b.c,d e=1 1"]);
    text("{x=\"1\",\"b\"} 1\n", &["__name__=b,x=1 1"]);
    text("a 9223372036854775807 9223372036854775807\n", &["__name__=a 9223372036854776000 @9223372036854775807"]);
    text("\0a b c", &[]);
    text("a 1\n\0garbage", &["__name__=a 1"]);
}

#[test]
fn bounds_under_their_type() {
    text("# TYPE h histogram\nh{le=\"1\",quantile=\"1\"} 1\n", &["type h histogram", "__name__=h,le=1.0,quantile=1 1"]);
    text("# TYPE s summary\nx{le=\"1\",quantile=\"1\"} 1\n", &["type s summary", "__name__=x,le=1,quantile=1.0 1"]);
    text("h{le=\"1\"} 1\n", &["__name__=h,le=1 1"]);
    open_metrics("# TYPE h gaugehistogram\nh{le=\"1\"} 1", &["type h gaugehistogram", "__name__=h,le=1 1"]);
}

#[test]
fn metadata() {
    text("# HELP a b \\n \\\" \\\\\r\n", &["help a \"b \\n \\\\\\\" \\\\\\r\""]);
    text("# HELP a\n# HELP b  \n", &["help a \"\"", "help b \"\""]);
    text("#\tTYPE\t a counter\n", &["type a counter"]);
    text("# TYPE \"a.b\" untyped\n", &["type a.b unknown"]);
    text("# some comment\n#\n#HELP\n# HELPFUL\n# TYPE", &[]);
    open_metrics("# HELP a \\\"b\\\"\n# UNIT a_s s\n# TYPE a stateset", &["help a \"\\\"b\\\"\"", "unit a_s \"s\"", "type a stateset"]);
}

#[test]
fn samples_of_open_metrics() {
    open_metrics("a 1 1.0019", &["__name__=a 1 @1001"]);
    open_metrics("a 1 -1.5", &["__name__=a 1 @-1500"]);
    open_metrics("a 1 # {} 2", &["__name__=a 1 # [] 2 None"]);
    open_metrics("a 1 3 # {b=\"\\n\",a=\"x\"} 2 4.5", &["__name__=a 1 @3000 # [(\"a\", \"x\"), (\"b\", \"\\\\n\")] 2 Some(4500)"]);
    assert_eq!(read("# EOF", Format::OpenMetrics).unwrap(), Vec::<String>::new());
}

#[test]
fn errors_of_text_with_their_place() {
    text_error("a 1\nb\n", "expected value after metric, got \"\\n\" (\"INVALID\") while parsing: \"b\\n\" (line 2, column 2)");
    text_error("a", "expected value after metric, got \"\\n\" (\"INVALID\") while parsing: \"a\\n\" (line 1, column 2)");
    text_error("a x\n", "strconv.ParseFloat: parsing \"x\": invalid syntax while parsing: \"a x\" (line 1, column 3)");
    text_error("a 1_0\n", "unsupported character in float while parsing: \"a 1_0\" (line 1, column 3)");
    text_error("a 1e400\n", "strconv.ParseFloat: parsing \"1e400\": value out of range while parsing: \"a 1e400\" (line 1, column 3)");
    text_error("a 1 -5\n", "expected timestamp or new record, got \"-\" (\"INVALID\") while parsing: \"a 1 -\" (line 1, column 5)");
    text_error(
        "a 1 5 6\n",
        "expected next entry after timestamp, got \"6\\n\" (\"TIMESTAMP\") while parsing: \"a 1 5 6\\n\" (line 1, column 7)",
    );
    text_error("\n\na{=\"1\"} 1\n", "expected label name, got \"=\\\"\" (\"EQUAL\") while parsing: \"a{=\\\"\" (line 3, column 3)");
    text_error("{\"a\",\"b\"} 1\n", "metric name already set while parsing: \"{\\\"a\\\",\\\"b\\\"}\" (line 1, column 9)");
    text_error("{x=\"1\"} 1\n", "metric name not set while parsing: \"{x=\\\"1\\\"} 1\" (line 1, column 9)");
    text_error("# TYPE a info\n", "invalid metric type \"info\" (line 1, column 9)");
    text_error(
        "a 1 99999999999999999999\n",
        "strconv.ParseInt: parsing \"99999999999999999999\": value out of range while parsing: \"a 1 99999999999999999999\" (line 1, column 5)",
    );
    text_error("1 a\n", "expected a valid start token, got \"1\" (\"INVALID\") while parsing: \"1\" (line 1, column 1)");
}

#[test]
fn errors_of_open_metrics_with_their_place() {
    open_metrics_error("a 1\n", "data does not end with # EOF (line 2, column 1)");
    open_metrics_error("# EOF\na 1\n", "unexpected data after # EOF (line 2, column 1)");
    open_metrics_error("a 1 NaN\n# EOF\n", "invalid timestamp NaN (line 1, column 4)");
    open_metrics_error("# UNIT a_b s\n# EOF\n", "unit \"s\" not a suffix of metric \"a_b\" (line 1, column 11)");
    open_metrics_error(
        "a{x=\"1\"y=\"2\"} 1\n# EOF\n",
        "expected comma or brace close, got \"y=\" (\"LNAME\") while parsing: \"a{x=\\\"1\\\"y=\" (line 1, column 8)",
    );
}

#[test]
fn a_sample_before_the_error_is_handed_out() {
    let mut parser = Parser::new(b"a 1 \n# EOF\n", Format::OpenMetrics);
    assert!(matches!(parser.next(), Ok(Some(Entry::Sample(_)))));
    assert!(parser.next().is_err());
}

#[test]
fn label_sets() {
    let set = |line: &str| {
        let mut parser = Parser::new(line.as_bytes(), Format::PrometheusText);
        match parser.next().unwrap().unwrap() {
            Entry::Sample(sample) => sample.label_set().map(|labels| labels.len()).map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(set("a{x=\"\",x=\"1\",y=\"1\"} 1"), Ok(2));
    assert_eq!(set("a{x=\"2\",x=\"1\"} 1"), Err("label name \"x\" is not unique: invalid sample".into()));
}
