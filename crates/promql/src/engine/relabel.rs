//! `label_replace` and `label_join`: they look at labels only.

use super::api::QueryError;
use model::regex::AnchoredRegex;
use model::{Labels, LabelsBuilder};

/// Replaces labels whose source matches; `None` leaves a series as it is.
pub(crate) fn replacer<'a>(
    destination: &'a str,
    replacement: &'a str,
    source: &'a str,
    regex: &str,
) -> Result<impl Fn(&Labels) -> Option<Labels> + 'a, QueryError> {
    let compiled =
        AnchoredRegex::new(regex).map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {regex}")))?;
    if destination.is_empty() {
        return Err(QueryError::Execution(format!("invalid destination label name in label_replace(): {destination}")));
    }
    Ok(move |labels: &Labels| {
        let captures = compiled.compiled().captures(labels.get(source).unwrap_or(""))?;
        let mut value = String::new();
        captures.expand(replacement, &mut value);
        let mut builder = LabelsBuilder::from_labels(labels);
        builder.set(destination, &value);
        Some(builder.build())
    })
}

pub(crate) fn check_join(destination: &str, sources: &[String]) -> Result<(), QueryError> {
    if let Some(source) = sources.iter().find(|s| s.is_empty()) {
        return Err(QueryError::Execution(format!("invalid source label name in label_join(): {source}")));
    }
    if destination.is_empty() {
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
