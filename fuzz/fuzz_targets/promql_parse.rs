//! Any text as a query, a selector and a series: no panic, errors point into the text, and what a query prints as is a
//! query that prints the same.
#![no_main]

use promql::{ParserOptions, parse, parse_selector, parse_series_description, prettify};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let options = ParserOptions { experimental_functions: true, duration_expressions: true, extended_range_selectors: true, fill_modifiers: true };
    let parsed = parse(text, &options);
    if let Ok(expr) = &parsed {
        // Prometheus prints `Inf ^ 2` as `+Inf ^ 2`, which is another query; it prints the same, though.
        let printed = expr.to_string();
        if let Ok(again) = parse(&printed, &options) {
            assert_eq!(again.to_string(), printed);
        }
        prettify(expr, 20);
    }
    let errors = [parsed.err(), parse_selector(text).err(), parse_series_description(text).err()];
    for error in errors.into_iter().flatten() {
        assert!(error.span.start <= error.span.end && error.span.end <= text.len());
    }
});
