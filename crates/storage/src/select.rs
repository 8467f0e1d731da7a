//! Selecting: matchers and a time range in, series out, each decoded by whoever needs it.

use crate::{Cancel, Column};
use model::{Labels, Matcher, Timestamp};
use std::borrow::Cow;

/// A query's time range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first instant.
    pub start: Timestamp,
    /// The last instant.
    pub end: Timestamp,
}

/// What a selection may use to do less. Of names and values only `limit` and `cancel` count.
#[derive(Clone, Debug, Default)]
pub struct SelectHints {
    /// Give at most this many series, names or values: the first ones (0 = all). Who wants to know whether there are
    /// more asks for one more.
    pub limit: usize,
    /// Whether anybody still waits for the answer. It is looked at often enough that a selection among a million series
    /// ends within some ten milliseconds, with [`SelectError::Cancelled`].
    pub cancel: Cancel,
    /// Labels are enough: no sample will be decoded (`/series`), and damage behind the first chunk in range need not be told.
    pub labels_only: bool,
    /// Of each series the newest sample in the range is enough.
    pub newest_only: bool,
    /// The caller needs series in label order.
    pub sorted: bool,
}

/// Why a selection failed.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The store is closed or not ready yet.
    #[error("TSDB not ready")]
    NotReady,
    /// The query was cancelled or ran out of time.
    #[error("context canceled")]
    Cancelled,
    /// Stored bytes do not decode.
    #[error("{0}")]
    Corrupt(String),
}

/// One selected series: its labels, and its samples still encoded. Holds what it needs, so that
/// it can be decoded on any thread after all locks are gone.
pub trait Series: Send + Sync {
    /// Its labels.
    fn labels(&self) -> &Labels;
    /// Appends the samples in `range` to `column` (which the caller has cleared), in order of time.
    ///
    /// # Errors
    /// When stored bytes do not decode; `column` then has all samples that do.
    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError>;
    /// About how many samples [`Self::decode`] has to look at.
    fn samples_estimate(&self) -> usize;
    /// Appends the chunks that overlap `range`, in order of time, if decoding one after the other and leaving out what is not
    /// in `range` is all that [`Self::decode`] does. Else false, and some may have been appended.
    fn chunks<'s>(&'s self, _range: Interval, _into: &mut Vec<EncodedChunk<'s>>) -> bool {
        false
    }
    /// As [`Self::decode`] into the first column, and as many of the series that follow this one as pay into the columns after it:
    /// series of few chunks are decoded faster together. How many have been decoded. All columns are empty, and
    /// there is one more of them than of the others.
    ///
    /// # Errors
    /// As [`Self::decode`], of which all other columns are as they were.
    fn decode_several(&self, _others: &[Box<dyn Series>], range: Interval, columns: &mut [Column]) -> Result<usize, SelectError> {
        self.decode(range, &mut columns[0]).map(|()| 1)
    }
}

/// Samples of one series as they are stored.
#[derive(Clone, Debug)]
pub struct EncodedChunk<'s> {
    /// How, as the byte that says so in Prometheus's files.
    pub encoding: u8,
    /// The time of the first sample.
    pub min_time: i64,
    /// The time of the last sample.
    pub max_time: i64,
    /// Without length, encoding and checksum.
    pub bytes: Cow<'s, [u8]>,
}

/// Series that match, and what went wrong beside.
#[derive(Default)]
pub struct Selection {
    /// The series; in label order if asked for.
    pub series: Vec<Box<dyn Series>>,
    /// Faults that cost a part of the answer.
    pub warnings: Vec<String>,
}

/// Sorted names or values.
#[derive(Debug, Default)]
pub struct Names {
    /// Sorted, each once.
    pub names: Vec<String>,
    /// Faults and truncation.
    pub warnings: Vec<String>,
}

/// Something that can be queried. Each call sees whole commits only.
pub trait Queryable: Send + Sync {
    /// Series that have chunks overlapping `range` and satisfy all `matchers`.
    ///
    /// # Errors
    /// See [`SelectError`].
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError>;

    /// Label names of series in `range` that satisfy any of `matcher_sets` (all series if empty).
    ///
    /// # Errors
    /// See [`SelectError`].
    fn label_names(&self, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError>;

    /// Values of label `name` of series in `range` that satisfy any of `matcher_sets`.
    ///
    /// # Errors
    /// See [`SelectError`].
    fn label_values(&self, name: &str, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError>;
}
