//! `label_replace`, `label_join` and `sort_by_label`: they look at labels only.

use super::api::QueryError;
use model::regex::{AnchoredRegex, expand};
use model::{Labels, LabelsBuilder};
use std::cmp::Ordering;

/// Replaces labels whose source matches; `None` leaves a series as it is.
pub(crate) fn replacer<'a>(
    destination: &'a str,
    replacement: &'a str,
    source: &'a str,
    regex: &str,
) -> Result<impl Fn(&Labels) -> Option<Labels> + 'a, QueryError> {
    let compiled = AnchoredRegex::new_wrapped(regex)
        .map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {regex}")))?;
    if !is_label_name(destination) {
        return Err(QueryError::Execution(format!("invalid destination label name in label_replace(): {destination}")));
    }
    Ok(move |labels: &Labels| {
        let captures = compiled.captures(labels.get(source).unwrap_or(""))?;
        let mut builder = LabelsBuilder::from_labels(labels);
        builder.set(destination, &expand(&compiled, replacement, &captures));
        Some(builder.build())
    })
}

/// Any text is a name but the empty one, and what was no UTF-8: bytes that were written with escapes became replacement
/// characters, which cannot be written otherwise.
pub(crate) fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::REPLACEMENT_CHARACTER)
}

pub(crate) fn check_join(destination: &str, sources: &[String]) -> Result<(), QueryError> {
    if let Some(source) = sources.iter().find(|s| !is_label_name(s)) {
        return Err(QueryError::Execution(format!("invalid source label name in label_join(): {source}")));
    }
    if !is_label_name(destination) {
        return Err(QueryError::Execution(format!("invalid destination label name in label_join(): {destination}")));
    }
    Ok(())
}

/// With the destination set to the sources' values.
pub(crate) fn joined(labels: &Labels, destination: &str, separator: &str, sources: &[String]) -> Labels {
    let values: Vec<&str> = sources.iter().map(|s| labels.get(s).unwrap_or("")).collect();
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(destination, &values.join(separator));
    builder.build()
}

/// By the values of these labels, numbers in them as numbers; then by all labels.
pub(crate) fn compare_by(left: &Labels, right: &Labels, names: &[String]) -> Ordering {
    let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or("").to_owned();
    let by_name = names.iter().map(|name| compare_natural(&value(left, name), &value(right, name)));
    by_name.fold(Ordering::Equal, Ordering::then).then_with(|| left.cmp(right))
}

/// Runs of digits compare as numbers, what is between them as text.
fn compare_natural(left: &str, right: &str) -> Ordering {
    let (mut left_rest, mut right_rest) = (left, right);
    while !left_rest.is_empty() && !right_rest.is_empty() {
        let (a, b) = (take_run(&mut left_rest), take_run(&mut right_rest));
        let order = match (a.parse::<i64>(), b.parse::<i64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left_rest.len().min(1).cmp(&right_rest.len().min(1)).then_with(|| left.cmp(right))
}

/// The digits, or the other characters, that the text begins with.
fn take_run<'a>(text: &mut &'a str) -> &'a str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn replacements_are_go_templates() {
        let labels = Labels::from_pairs([("src", "west-7")]);
        let pattern = "(?P<region>[a-z]+)-(?P<number>[0-9]+)";
        for (template, want) in [("$number/${region}", "7/west"), ("$1_x", ""), ("${1}_x$$", "west_x$"), ("$0", "west-7")] {
            let replaced = replacer("dst", template, "src", pattern).unwrap()(&labels).unwrap();
            assert_eq!(replaced.get("dst").unwrap_or(""), want, "{template}");
        }
        // The anchors are put around the text: each belongs to one branch.
        let replaced = replacer("dst", "hit", "src", "west|nowhere").unwrap()(&labels);
        assert!(replaced.is_none());
        let replaced = replacer("dst", "hit", "src", "west)|(?:nowhere").unwrap()(&labels);
        assert_eq!(replaced.unwrap().get("dst"), Some("hit"));
    }

    #[test]
    fn numbers_in_texts_compare_as_numbers() {
        for (left, right) in [("cpu9", "cpu10"), ("4.9", "4.16"), ("", "a"), ("a", "a1"), ("1.6.5", "1.10")] {
            assert_eq!(compare_natural(left, right), Ordering::Less, "{left} {right}");
        }
    }
}
