//! A series' samples, decoded.

use model::{FloatHistogram, Timestamp};
use std::sync::Arc;

/// Samples of one series in ascending order of time. Floats are the fast path: where
/// `histograms` is empty, `values[i]` belongs to `times[i]`.
///
/// # Invariants
/// - `times.len() == values.len()`, times strictly increase.
/// - `histograms` is sorted by index; at those indices `values` holds the histogram's sum.
#[derive(Debug, Default, Clone)]
pub struct Column {
    /// Milliseconds since the epoch.
    pub times: Vec<i64>,
    /// Float values (also staleness markers).
    pub values: Vec<f64>,
    /// Which indices are histograms.
    pub histograms: Vec<(u32, Arc<FloatHistogram>)>,
}

impl Column {
    /// Empties it, keeping capacity.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
    }

    /// Adds a float sample, later than all before.
    #[inline]
    pub fn push(&mut self, time: Timestamp, value: f64) {
        self.times.push(time.0);
        self.values.push(value);
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// No samples.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}
