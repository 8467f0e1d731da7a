//! Any text as a query, a selector and a series: no panic, errors point into the text, and what a query prints as is a
//! query of the same tree that prints the same, on one line or on many.
#![no_main]

use promql::ast::Expr;
use promql::{ParserOptions, parse, parse_selector, parse_series_description, prettify};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let options = ParserOptions::all();
    let parsed = parse(text, &options);
    if let Ok(expr) = &parsed {
        check_printing(expr, &options);
    }
    let errors = [parsed.err(), parse_selector(text).err(), parse_series_description(text).err()];
    for error in errors.into_iter().flatten() {
        assert!(error.span.start <= error.span.end && error.span.end <= text.len());
    }
});

fn check_printing(expr: &Expr, options: &ParserOptions) {
    let printed = expr.to_string();
    let pretty = [20, 100].map(|line_len| prettify(expr, line_len));
    // Prometheus prints `Inf ^ 2` as `+Inf ^ 2`, which is another query.
    if printed.contains("+Inf") || printed.contains("-Inf") {
        return;
    }
    // It prints the selector of all labels, `{}`, as nothing, and `offset --1m + 3m` without what binds it.
    let Ok(again) = parse(&printed, options) else { return };
    assert_eq!(again.to_string(), printed);
    // Printing sorts matchers.
    if expr.selectors().iter().all(|matchers| matchers.len() < 2) {
        assert_eq!(meaning(expr), meaning(&again), "{printed}");
    }
    for pretty in pretty {
        let again_pretty = parse(&pretty, options).unwrap_or_else(|error| panic!("{pretty}: {error}"));
        assert_eq!(meaning(&again_pretty), meaning(&again), "{pretty}");
    }
}

/// Everything about an expression but where it stands.
fn meaning(expr: &Expr) -> String {
    // A duration of `-0s` is printed without its sign.
    let debug = format!("{expr:?}").replace("value: -0.0, duration: true", "value: 0.0, duration: true");
    let mut parts = debug.split("Span {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('}').map_or("", |(_, rest)| rest))
}
