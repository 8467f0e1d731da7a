//! Appending: one batch per scrape or write request, committed as a whole.

use model::{Exemplar, FloatHistogram, Histogram, Labels, Metadata, Timestamp};

/// Where a series lives in the head: dense, reused, meaningless after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A series' name in the log: below 2^40, strictly increasing, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u64);

/// How a producer names a series it has appended to before. A slot may since have been given to
/// another series; the store then sees that the ref differs and answers [`RowOutcome::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesHandle {
    /// Where it lives.
    pub slot: Slot,
    /// Which it is.
    pub series_ref: SeriesRef,
}

/// Which series a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSeries {
    /// One appended to before.
    Known(SeriesHandle),
    /// The entry of [`Batch::labels`] with this index: found or created by the commit, its handle
    /// is in [`Committed::handles`].
    Labels(u32),
}

/// A row's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowValue {
    /// A float, or the staleness marker.
    Float(f64),
    /// The entry of [`Batch::histograms`] with this index.
    Histogram(u32),
    /// The entry of [`Batch::float_histograms`] with this index.
    FloatHistogram(u32),
}

/// One sample of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Whose.
    pub series: RowSeries,
    /// Start timestamp; 0 = none.
    pub start: Timestamp,
    /// When.
    pub timestamp: Timestamp,
    /// What.
    pub value: RowValue,
}

/// What the caller wants when a row is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefused {
    /// Drop that row, keep the others (scrapes, remote write 2.0).
    #[default]
    DropRow,
    /// Store nothing of the batch (remote write 1.0).
    DropBatch,
}

/// Samples to be committed together. Clear and reuse it: its buffers keep their capacity.
#[derive(Debug, Default)]
pub struct Batch {
    /// The samples, in the producer's order.
    pub rows: Vec<Row>,
    /// Label sets of series without a handle.
    pub labels: Vec<Labels>,
    /// Integer histograms of the rows.
    pub histograms: Vec<Histogram>,
    /// Float histograms of the rows.
    pub float_histograms: Vec<FloatHistogram>,
    /// Exemplars and whose they are.
    pub exemplars: Vec<(RowSeries, Exemplar)>,
    /// Metadata and whose it is.
    pub metadata: Vec<(RowSeries, Metadata)>,
    /// The row, if any, whose float counts the label sets of this batch that are new to the producer
    /// (`scrape_series_added`). Only the commit knows which of them are refused altogether, so it takes one off for each.
    pub added_row: Option<u32>,
    /// What to do with a batch that has a refused row.
    pub on_refused: OnRefused,
    /// Refuse samples later than this with [`RowOutcome::OutOfBounds`]; `None` = no such check.
    pub latest: Option<Timestamp>,
}

impl Batch {
    /// Empties it, keeping capacity.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.labels.clear();
        self.histograms.clear();
        self.float_histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.added_row = None;
        self.on_refused = OnRefused::DropRow;
        self.latest = None;
    }
}

/// What became of a row. The texts are Prometheus's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// In the log and the head, or an exact repetition of the newest sample, or made void only by
    /// an earlier row of the same batch.
    Stored,
    /// The newest sample's time with another value.
    Duplicate,
    /// Older than the series' newest sample.
    OutOfOrder,
    /// Older than the head accepts, or later than [`Batch::latest`].
    OutOfBounds,
    /// Older than the out-of-order window.
    TooOld,
    /// The handle's slot belongs to another series now: append again by labels.
    Gone,
}

impl RowOutcome {
    /// Prometheus's error text; empty for a stored row.
    pub fn message(self) -> &'static str {
        match self {
            Self::Stored => "",
            Self::Duplicate => "duplicate sample for timestamp",
            Self::OutOfOrder => "out of order sample",
            Self::OutOfBounds => "out of bounds",
            Self::TooOld => "too old sample",
            Self::Gone => "unknown series",
        }
    }
}

/// The result of a commit. Reuse it: the buffers keep their capacity.
#[derive(Debug, Default)]
pub struct Committed {
    /// Per entry of [`Batch::labels`]; valid also when the batch was dropped.
    pub handles: Vec<Option<SeriesHandle>>,
    /// Rows that were not stored, by ascending index.
    pub refused: Vec<(u32, RowOutcome)>,
    /// Exemplars older than their series' newest committed one, by ascending index: dropped, and remote write 2.0 says so.
    /// Not here: what was dropped for another reason (an exact repetition, storage of exemplars switched off).
    pub exemplars_out_of_order: Vec<u32>,
    /// How many rows were stored (0 when the batch was dropped).
    pub stored: u64,
    /// The batch had a refused row and asked for all or nothing.
    pub batch_dropped: bool,
}

/// Why nothing of a batch could be stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The log could not be written; nothing became visible.
    #[error("write to WAL: {0}")]
    Log(#[source] std::io::Error),
    /// The store is closed or not ready yet.
    #[error("TSDB not ready")]
    NotReady,
    /// There is no place for more series.
    #[error("too many series in the head: {0}")]
    TooManySeries(u64),
}

/// Something that takes batches.
pub trait Appender: Send + Sync {
    /// Commits `batch`: durable and visible as a whole when this returns. Blocks on the log.
    ///
    /// # Errors
    /// When the log cannot be written or the store is not ready; then nothing is visible.
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError>;
}
