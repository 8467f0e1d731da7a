//! A series' samples, decoded.

use model::{FloatHistogram, Timestamp};
use std::sync::Arc;

/// Samples of one series in ascending order of time. Floats are the fast path: where
/// `histograms` is empty, `values[i]` belongs to `times[i]`.
///
/// # Invariants
/// - `times.len() == values.len()`, times strictly increase.
/// - `histograms` is sorted by index; at those indices `values` holds the histogram's sum.
/// - `starts` is empty, or as long as `times`.
#[derive(Debug, Default, Clone)]
pub struct Column {
    /// Milliseconds since the epoch.
    pub times: Vec<i64>,
    /// Float values (also staleness markers).
    pub values: Vec<f64>,
    /// Which indices are histograms.
    pub histograms: Vec<(u32, Arc<FloatHistogram>)>,
    /// Start timestamps, 0 where a sample has none; empty where no sample has one.
    pub starts: Vec<i64>,
}

impl Column {
    /// Empties it, keeping capacity.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    /// Adds a float sample, later than all before.
    #[inline]
    pub fn push(&mut self, time: Timestamp, value: f64) {
        self.times.push(time.0);
        self.values.push(value);
        if !self.starts.is_empty() {
            self.starts.push(0);
        }
    }

    /// Adds a histogram sample, later than all before.
    pub fn push_histogram(&mut self, time: Timestamp, histogram: Arc<FloatHistogram>) {
        let index = u32::try_from(self.times.len()).expect("a column that fits in memory has fewer than 2^32 samples");
        self.push(time, histogram.sum);
        self.histograms.push((index, histogram));
    }

    /// Gives the newest sample a start timestamp.
    pub fn set_start(&mut self, start: Timestamp) {
        if self.starts.is_empty() {
            if start.0 == 0 {
                return;
            }
            self.starts.resize(self.times.len(), 0);
        }
        if let Some(last) = self.starts.last_mut() {
            *last = start.0;
        }
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
