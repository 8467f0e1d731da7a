//! Native histograms: exponential (schemas -4…8) and custom buckets (schema -53).
//!
//! Where buckets lie seldom changes from one sample of a series to the next, so spans and bounds are shared between them.

mod arithmetic;
mod bounds;
mod check;
mod compact;
mod resolution;
mod same;
mod trim;

pub use arithmetic::{IncompatibleSchemas, Reconciled};
pub use bounds::Bucket;
pub use check::HistogramError;
pub use trim::Keep;

use std::sync::Arc;

/// The coarsest exponential schema.
pub const SCHEMA_MIN: i32 = -4;
/// The finest exponential schema in use.
pub const SCHEMA_MAX: i32 = 8;
/// The finest schema that senders may use; it is reduced to [`SCHEMA_MAX`].
pub const SCHEMA_MAX_RESERVED: i32 = 52;
/// The schema of custom buckets.
pub const SCHEMA_CUSTOM: i32 = -53;

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the previous span; for the first one the index of its first bucket.
    pub offset: i32,
    /// How many buckets.
    pub len: u32,
}

/// What is known of counter resets before this histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Not known: compare with the predecessor.
    #[default]
    Unknown,
    /// This is the first after a reset.
    Reset,
    /// No reset since the predecessor.
    NoReset,
    /// A gauge has no resets.
    Gauge,
}

/// A histogram with integer counts; buckets are deltas to their predecessor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What is known of counter resets.
    pub reset_hint: ResetHint,
    /// Resolution: each power of two is cut into `2^schema` buckets; -53 is custom buckets.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Their sum; the staleness marker here ends the series.
    pub sum: f64,
    /// Where positive buckets lie.
    pub positive_spans: Arc<[Span]>,
    /// Where negative buckets lie.
    pub negative_spans: Arc<[Span]>,
    /// First count, then differences.
    pub positive_deltas: Vec<i64>,
    /// First count, then differences.
    pub negative_deltas: Vec<i64>,
    /// Upper bounds of custom buckets.
    pub custom_values: Arc<[f64]>,
}

/// A histogram with float counts; buckets are absolute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// What is known of counter resets.
    pub reset_hint: ResetHint,
    /// As in [`Histogram::schema`].
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// Where positive buckets lie.
    pub positive_spans: Arc<[Span]>,
    /// Where negative buckets lie.
    pub negative_spans: Arc<[Span]>,
    /// Counts.
    pub positive_counts: Vec<f64>,
    /// Counts.
    pub negative_counts: Vec<f64>,
    /// Upper bounds of custom buckets.
    pub custom_values: Arc<[f64]>,
}

impl Histogram {
    /// The same histogram with float counts.
    pub fn to_float(&self) -> FloatHistogram {
        let custom = self.schema == SCHEMA_CUSTOM;
        FloatHistogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: if custom { 0.0 } else { self.zero_threshold },
            zero_count: if custom { 0.0 } else { self.zero_count as f64 },
            count: self.count as f64,
            sum: self.sum,
            positive_spans: Arc::clone(&self.positive_spans),
            negative_spans: if custom { Arc::default() } else { Arc::clone(&self.negative_spans) },
            positive_counts: counts(&self.positive_deltas),
            negative_counts: if custom { Vec::new() } else { counts(&self.negative_deltas) },
            custom_values: if custom { Arc::clone(&self.custom_values) } else { Arc::default() },
        }
    }
}

fn counts(deltas: &[i64]) -> Vec<f64> {
    let mut count = 0i64;
    let mut next = |delta: &i64| {
        count = count.wrapping_add(*delta);
        count as f64
    };
    deltas.iter().map(&mut next).collect()
}
