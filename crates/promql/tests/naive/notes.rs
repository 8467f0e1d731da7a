//! Warnings and infos: each text once, at the place that gave it last.

use model::name::quote;
use std::collections::BTreeMap;

/// What was said so far, and where in the query (a byte offset).
#[derive(Debug, Default)]
pub struct Notes {
    warnings: BTreeMap<String, usize>,
    infos: BTreeMap<String, usize>,
}

impl Notes {
    pub fn warn(&mut self, text: String, at: usize) {
        self.warnings.insert(format!("PromQL warning: {text}"), at);
    }

    pub fn info(&mut self, text: String, at: usize) {
        self.infos.insert(format!("PromQL info: {text}"), at);
    }

    /// Warnings and infos with their lines and columns, both counted from 1.
    pub fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let place = |at: usize| {
            let before = &query[..at];
            let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
            format!("{}:{}", before.matches('\n').count() + 1, at - line_begin + 1)
        };
        let texts = |notes: BTreeMap<String, usize>| notes.into_iter().map(|(text, at)| format!("{text} ({})", place(at))).collect();
        (texts(self.warnings), texts(self.infos))
    }
}

/// `text for metric name "x"`, or only the text where the name is unknown.
pub fn for_metric(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric name {}", quote(name)) }
}

pub fn mixed_floats_histograms(name: &str) -> String {
    format!("encountered a mix of histograms and floats for metric name {}", quote(name))
}

pub fn mixed_schemas(name: &str) -> String {
    format!("vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}", quote(name))
}

pub fn not_a_counter(name: &str) -> String {
    format!("this native histogram metric is not a counter: {}", quote(name))
}

pub fn not_a_gauge(name: &str) -> String {
    format!("this native histogram metric is not a gauge: {}", quote(name))
}

pub fn ignored_in_range(name: &str) -> String {
    format!("ignored histograms in a range containing both floats and histograms for metric name {}", quote(name))
}

pub fn ignored_in_aggregation(aggregation: &str) -> String {
    format!("ignored histogram in {aggregation} aggregation")
}

pub fn bounds_reconciled(during: &str) -> String {
    format!("mismatched custom buckets were reconciled during {during}")
}

pub fn resets_collide(during: &str) -> String {
    format!("conflicting counter resets during histogram {during}")
}

pub fn invalid_quantile(q: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", model::number::format_general(q))
}
