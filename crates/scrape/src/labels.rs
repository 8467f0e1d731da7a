//! From the labels of a line to those of the stored series: target labels, conflicts, relabelling, checks, limits.

use std::borrow::Cow;

use config::{ScrapeConfig, ValidationScheme};
use exposition::LabelPairs;
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, name};

/// What the labels of a job's series are subject to.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Labels of the target lose against those of the line.
    pub honor_labels: bool,
    /// `metric_relabel_configs`
    pub relabel: Vec<relabel::Rule>,
    /// Which names are valid.
    pub validation: ValidationScheme,
    /// 0 = no limit.
    pub label_limit: u64,
    /// In bytes; 0 = no limit.
    pub name_length_limit: u64,
    /// In bytes; 0 = no limit.
    pub value_length_limit: u64,
}

impl Rules {
    /// Those of a job.
    pub fn of(job: &ScrapeConfig) -> Self {
        Self {
            honor_labels: job.honor_labels,
            relabel: job.metric_relabel_configs.clone(),
            validation: job.metric_name_validation_scheme,
            label_limit: job.label_limit,
            name_length_limit: job.label_name_length_limit,
            value_length_limit: job.label_value_length_limit,
        }
    }
}

/// Labels that refuse the whole scrape. The texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// Relabelling, or the line, left no name.
    #[error("missing metric name (__name__ label)")]
    NoName,
    /// A name that the validation scheme forbids.
    #[error("invalid metric name or label names: {0}")]
    InvalidNames(String),
    /// A name that comes twice.
    #[error("label name {} is not unique: invalid sample", name::quote(.0))]
    Repeated(String),
    /// More labels than allowed.
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    LabelLimit {
        /// The first 50 characters of the name.
        metric: String,
        /// How many labels there are.
        count: usize,
        /// How many there may be.
        limit: u64,
    },
    /// A longer name than allowed.
    #[error("label_name_length_limit exceeded (metric: {metric}, label name: {label}, length: {length}, limit: {limit})")]
    NameLength {
        /// The first 50 characters of the metric's name.
        metric: String,
        /// The first 50 characters of the label's name.
        label: String,
        /// In bytes.
        length: usize,
        /// In bytes.
        limit: u64,
    },
    /// A longer value than allowed.
    #[error("label_value_length_limit exceeded (metric: {metric}, label name: {label}, value: {}, length: {length}, limit: {limit})", name::quote(.value))]
    ValueLength {
        /// The first 50 characters of the metric's name.
        metric: String,
        /// The first 50 characters of the label's name.
        label: String,
        /// The first 50 characters of the value.
        value: String,
        /// In bytes.
        length: usize,
        /// In bytes.
        limit: u64,
    },
}

impl SeriesError {
    /// Is it one of the label limits?
    pub fn is_limit(&self) -> bool {
        match self {
            Self::NoName | Self::InvalidNames(_) | Self::Repeated(_) => false,
            Self::LabelLimit { .. } | Self::NameLength { .. } | Self::ValueLength { .. } => true,
        }
    }
}

/// Labels of the stored series; `None` if relabelling drops it. `line` is as [`exposition::Sample::labels`] gives it.
///
/// # Errors
/// When no series may have these labels.
pub fn series_labels(line: &LabelPairs<'_>, target: &Labels, rules: &Rules) -> Result<Option<Labels>, SeriesError> {
    let mut labels = with_target_labels(line, target, rules.honor_labels);
    if !relabel::process(&mut labels, &rules.relabel) || labels.is_empty() {
        return Ok(None);
    }
    if labels.get(METRIC_NAME).is_none() {
        return Err(SeriesError::NoName);
    }
    let valid = labels.iter().all(|(label, value)| match (rules.validation, label == METRIC_NAME) {
        (ValidationScheme::Utf8, _) => !label.is_empty(),
        (ValidationScheme::Legacy, true) => name::is_legacy_metric_name(value),
        (ValidationScheme::Legacy, false) => name::is_legacy_label_name(label),
    });
    let labels = labels.build();
    if !valid {
        return Err(SeriesError::InvalidNames(labels.to_string()));
    }
    check_limits(&labels, rules)?;
    check_repeated(line, &labels)?;
    Ok(Some(labels))
}

/// Refuses a name that the line has twice, unless relabelling took it away or gave it another value.
fn check_repeated(line: &LabelPairs<'_>, labels: &Labels) -> Result<(), SeriesError> {
    let repeated =
        line.windows(2).find(|pair| pair[0].0 == pair[1].0 && labels.get(&pair[0].0).is_some_and(|v| v == pair[0].1 || v == pair[1].1));
    repeated.map_or(Ok(()), |pair| Err(SeriesError::Repeated(pair[0].0.to_string())))
}

fn with_target_labels(line: &LabelPairs<'_>, target: &Labels, honor_labels: bool) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    for (label, value) in line {
        labels.set(label, value);
    }
    // A label that is empty somewhere in the line is empty, whatever else the line says of it.
    for (label, _) in line.iter().filter(|(_, value)| value.is_empty()) {
        labels.remove(label);
    }
    if honor_labels {
        // Also an empty value of the line wins: it takes the target's label away.
        for (label, value) in target {
            if !line.iter().any(|(in_line, _)| in_line == label) {
                labels.set(label, value);
            }
        }
        return labels;
    }
    let mut conflicts: Vec<(Cow<'_, str>, String)> = Vec::new();
    for (label, value) in target {
        if let Some(exposed) = labels.get(label) {
            conflicts.push((Cow::Borrowed(label), exposed.to_owned()));
        }
        labels.set(label, value);
    }
    // Short names first, as Prometheus does: it decides which of `a` and `exported_a` gets which prefix.
    conflicts.sort_by_key(|(label, _)| label.len());
    for (label, value) in conflicts {
        let mut exported = format!("exported_{label}");
        while labels.get(&exported).is_some() {
            exported.insert_str(0, "exported_");
        }
        labels.set(&exported, &value);
    }
    labels
}

fn check_limits(labels: &Labels, rules: &Rules) -> Result<(), SeriesError> {
    let metric = || first_50(labels.metric_name());
    if rules.label_limit > 0 && labels.len() as u64 > rules.label_limit {
        return Err(SeriesError::LabelLimit { metric: metric(), count: labels.len(), limit: rules.label_limit });
    }
    if rules.name_length_limit == 0 && rules.value_length_limit == 0 {
        return Ok(());
    }
    for (label, value) in labels {
        if rules.name_length_limit > 0 && label.len() as u64 > rules.name_length_limit {
            let (length, limit) = (label.len(), rules.name_length_limit);
            return Err(SeriesError::NameLength { metric: metric(), label: first_50(label), length, limit });
        }
        if rules.value_length_limit > 0 && value.len() as u64 > rules.value_length_limit {
            let (length, limit) = (value.len(), rules.value_length_limit);
            return Err(SeriesError::ValueLength { metric: metric(), label: first_50(label), value: first_50(value), length, limit });
        }
    }
    Ok(())
}

fn first_50(text: &str) -> String {
    text.chars().take(50).collect()
}

/// Labels of a series that the scrape itself writes, such as `up`.
pub fn report_labels(metric: &str, target: &Labels) -> Labels {
    let mut labels = LabelsBuilder::from_labels(target);
    labels.set(METRIC_NAME, metric);
    labels.build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn target() -> Labels {
        Labels::from_pairs([("instance", "t"), ("job", "j")])
    }

    fn line<'a>(pairs: &[(&'a str, &'a str)]) -> LabelPairs<'a> {
        pairs.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(*v))).collect()
    }

    #[track_caller]
    fn check(rules: &Rules, pairs: &[(&str, &str)], want: &str) {
        let got = match series_labels(&line(pairs), &target(), rules) {
            Ok(Some(labels)) => labels.to_string(),
            Ok(None) => "dropped".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn conflicts() {
        let plain = Rules::default();
        let honor = Rules { honor_labels: true, ..Rules::default() };
        let own = [("__name__", "m"), ("job", "x")];
        check(&plain, &own, r#"{__name__="m", exported_job="x", instance="t", job="j"}"#);
        check(&honor, &own, r#"{__name__="m", instance="t", job="x"}"#);
        let twice = [("__name__", "m"), ("exported_job", "y"), ("job", "x")];
        check(&plain, &twice, r#"{__name__="m", exported_exported_job="x", exported_job="y", instance="t", job="j"}"#);
        let empty = [("__name__", "m"), ("instance", "")];
        check(&plain, &empty, r#"{__name__="m", instance="t", job="j"}"#);
        check(&honor, &empty, r#"{__name__="m", job="j"}"#);
    }

    #[test]
    fn repeated_names() {
        let plain = Rules::default();
        let repeated = r#"label name "x" is not unique: invalid sample"#;
        check(&plain, &[("__name__", "m"), ("x", "1"), ("x", "1")], repeated);
        check(&plain, &[("__name__", "m"), ("x", "1"), ("x", "2")], repeated);
        check(&plain, &[("__name__", "m"), ("x", ""), ("x", "2")], r#"{__name__="m", instance="t", job="j"}"#);
    }

    #[test]
    fn checks() {
        let utf8 = Rules::default();
        let legacy = Rules { validation: ValidationScheme::Legacy, ..Rules::default() };
        check(&utf8, &[("a", "b")], "missing metric name (__name__ label)");
        check(&utf8, &[("__name__", "a.b"), ("c.d", "e")], r#"{__name__="a.b", "c.d"="e", instance="t", job="j"}"#);
        let invalid = r#"invalid metric name or label names: {__name__="a.b", instance="t", job="j"}"#;
        check(&legacy, &[("__name__", "a.b")], invalid);
        let invalid = r#"invalid metric name or label names: {""="x", __name__="m", instance="t", job="j"}"#;
        check(&utf8, &[("", "x"), ("__name__", "m")], invalid);
    }

    #[test]
    fn limits_are_met_at_the_bound() {
        let pairs = [("__name__", "m"), ("x", "vvvv")];
        let limits =
            |labels, name, value| Rules { label_limit: labels, name_length_limit: name, value_length_limit: value, ..Rules::default() };
        let stored = r#"{__name__="m", instance="t", job="j", x="vvvv"}"#;
        check(&limits(4, 8, 4), &pairs, stored);
        check(&limits(3, 0, 0), &pairs, "label_limit exceeded (metric: m, number of labels: 4, limit: 3)");
        check(&limits(0, 7, 0), &pairs, "label_name_length_limit exceeded (metric: m, label name: __name__, length: 8, limit: 7)");
        check(
            &limits(0, 0, 3),
            &pairs,
            r#"label_value_length_limit exceeded (metric: m, label name: x, value: "vvvv", length: 4, limit: 3)"#,
        );
        let long = "ü".repeat(60);
        let want = format!("label_limit exceeded (metric: {}, number of labels: 3, limit: 1)", "ü".repeat(50));
        check(&limits(1, 0, 0), &[("__name__", &long)], &want);
    }

    #[test]
    fn report_series_have_the_targets_labels() {
        assert_eq!(report_labels("up", &target()).to_string(), r#"{__name__="up", instance="t", job="j"}"#);
    }
}
