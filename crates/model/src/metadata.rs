//! What a target says about a metric family.

/// The type of a metric family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricType {
    /// Only goes up.
    Counter,
    /// Goes anywhere.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Buckets of a gauge.
    GaugeHistogram,
    /// Quantiles, sum and count.
    Summary,
    /// Text in labels.
    Info,
    /// One of several states.
    StateSet,
    /// Not said.
    #[default]
    Unknown,
}

impl MetricType {
    /// The name in the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }
}

/// Type, unit and help text of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The type.
    pub kind: MetricType,
    /// The unit, or empty.
    pub unit: String,
    /// The help text, or empty.
    pub help: String,
}
