//! Exemplars: a reference from a sample to data outside, usually a trace.

use crate::{Labels, Timestamp};

/// The most characters (not bytes) that an exemplar's names and values may have together (OpenMetrics).
pub const EXEMPLAR_CHARS_MAX: usize = 128;

/// One exemplar.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its own labels, such as `trace_id`.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When; the sample's time if the exemplar gave none.
    pub timestamp: Timestamp,
    /// Whether the exemplar itself said when (in remote write: a timestamp that is not 0). One that did not is the same exemplar
    /// when it is scraped again.
    pub has_timestamp: bool,
}
