//! What a parser hands out: an entry for each line that says something.

use std::borrow::Cow;

use model::labels::{METRIC_NAME, METRIC_TYPE, METRIC_UNIT};
use model::{Labels, MetricType, Timestamp};

use crate::Format;
use crate::error::LabelsError;
use crate::number::open_metrics_float;
use crate::plain::{Part, visit_exemplar, visit_series};
use crate::text::{Escapes, GoQuoted, unescape};

/// One line of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A sample.
    Sample(Sample<'a>),
    /// A `# TYPE` line.
    Type {
        /// The metric family, as written (escapes are not undone; invalid UTF-8 is replaced).
        name: Cow<'a, str>,
        /// Its type.
        kind: MetricType,
    },
    /// A `# HELP` line.
    Help {
        /// The metric family, as written.
        name: Cow<'a, str>,
        /// The text, its escapes undone.
        text: Cow<'a, str>,
    },
    /// A `# UNIT` line (OpenMetrics only).
    Unit {
        /// The metric family, as written.
        name: Cow<'a, str>,
        /// The unit, maybe empty.
        unit: Cow<'a, str>,
    },
}

/// Which label's value is rewritten into the float form of OpenMetrics (`le="1"` means `le="1.0"`).
///
/// It follows from the last `TYPE` line, whatever its name, and changes the labels: so it belongs into the key of
/// every cache of series bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Normalise {
    /// None.
    #[default]
    None,
    /// `le`, under a histogram's type.
    Le,
    /// `quantile`, under a summary's type.
    Quantile,
}

impl Normalise {
    pub(crate) fn of(kind: MetricType) -> Self {
        match kind {
            MetricType::Histogram => Self::Le,
            MetricType::Summary => Self::Quantile,
            MetricType::Counter
            | MetricType::Gauge
            | MetricType::GaugeHistogram
            | MetricType::Info
            | MetricType::StateSet
            | MetricType::Unknown => Self::None,
        }
    }

    /// The name of the label, if there is one.
    fn label(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Le => Some("le"),
            Self::Quantile => Some("quantile"),
        }
    }
}

/// Decoded labels: names and values that borrow from the body unless an escape had to be undone.
pub type LabelPairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A sample line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The bytes of `name{…}` exactly as in the body.
    pub series: &'a [u8],
    /// Which label [`Sample::labels`] rewrites.
    pub normalise: Normalise,
    /// The value; every NaN is the canonical one.
    pub value: f64,
    /// The time, if the page gave one.
    pub timestamp: Option<Timestamp>,
    /// The exemplar, if there is one (OpenMetrics only).
    pub exemplar: Option<RawExemplar<'a>>,
    pub(crate) format: Format,
}

/// An exemplar whose labels are still to be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct RawExemplar<'a> {
    /// The bytes of `{…}` as in the body.
    pub raw: &'a [u8],
    /// The observed value.
    pub value: f64,
    /// The time, if the page gave one.
    pub timestamp: Option<Timestamp>,
}

impl<'a> Sample<'a> {
    /// Puts the labels into `pairs` (cleared first), sorted by name, `__name__` included, `le` or `quantile` normalised.
    ///
    /// Empty values and repeated names are kept: the scrape's limits count them, and relabelling comes before the check.
    pub fn labels(&self, pairs: &mut LabelPairs<'a>) -> Result<(), LabelsError> {
        self.labels_but(pairs, |_| false)?;
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(())
    }

    /// As [`Sample::labels`], with what is known of the family as `__type__` and `__unit__` in place of labels that the line
    /// itself has of these names, or of the metric's name. An unknown type and an empty unit leave the line's own.
    pub fn described_labels(&self, kind: MetricType, unit: &str, pairs: &mut LabelPairs<'a>) -> Result<(), LabelsError> {
        let has_type = kind != MetricType::Unknown;
        self.labels_but(pairs, |label| match label {
            METRIC_NAME => true,
            METRIC_TYPE => has_type,
            METRIC_UNIT => !unit.is_empty(),
            _ => false,
        })?;
        if has_type {
            pairs.push((Cow::Borrowed(METRIC_TYPE), Cow::Borrowed(kind.as_str())));
        }
        if !unit.is_empty() {
            pairs.push((Cow::Borrowed(METRIC_UNIT), Cow::Owned(unit.to_owned())));
        }
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(())
    }

    /// In the line's order, without labels that are replaced.
    fn labels_but(&self, pairs: &mut LabelPairs<'a>, is_replaced: impl Fn(&str) -> bool) -> Result<(), LabelsError> {
        pairs.clear();
        let mut invalid = None;
        visit_series(self.series, self.format, &mut |part| {
            let is_label = matches!(part, Part::Label { .. });
            let (name, value) = match part {
                Part::Name(name) => (Ok(METRIC_NAME), std::str::from_utf8(&self.series[name])),
                Part::Label { name, value } => (std::str::from_utf8(&self.series[name]), std::str::from_utf8(&self.series[value])),
            };
            let (Ok(name), Ok(value)) = (name, value) else {
                invalid = Some(LabelsError::InvalidName(GoQuoted(self.series).to_string()));
                return;
            };
            let (name, mut value) = (unescape(name, Escapes::All), unescape(value, Escapes::All));
            if is_label && is_replaced(&name) {
                return;
            }
            if self.normalise.label() == Some(&*name) {
                value = open_metrics_float(value);
            }
            pairs.push((name, value));
        });
        invalid.map_or(Ok(()), Err)
    }

    /// The label set: as [`Sample::labels`], without names that have an empty value somewhere (so does Prometheus's builder);
    /// other repetitions are refused.
    pub fn label_set(&self) -> Result<Labels, LabelsError> {
        let mut pairs = LabelPairs::new();
        self.labels(&mut pairs)?;
        let mut kept: Vec<(&str, &str)> = Vec::with_capacity(pairs.len());
        for same_name in pairs.chunk_by(|(a, _), (b, _)| a == b) {
            if same_name.iter().any(|(_, value)| value.is_empty()) {
                continue;
            }
            match same_name {
                [(name, value)] => kept.push((name, value)),
                repeated => return Err(LabelsError::Duplicate(repeated[0].0.to_string())),
            }
        }
        Ok(Labels::from_sorted(kept))
    }
}

impl<'a> RawExemplar<'a> {
    /// Puts the labels into `pairs` (cleared first), sorted by name, as written: escapes are not undone.
    pub fn labels(&self, pairs: &mut LabelPairs<'a>) {
        pairs.clear();
        visit_exemplar(self.raw, &mut |part| {
            if let Part::Label { name, value } = part {
                pairs.push((String::from_utf8_lossy(&self.raw[name]), String::from_utf8_lossy(&self.raw[value])));
            }
        });
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
}
