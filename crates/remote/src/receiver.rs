//! From a request's body to a committed batch and an answer.
//!
//! Version 1.0 is all or nothing: one refused sample makes the answer 400, and nothing is stored.
//! Series with invalid labels are skipped in silence. Both as in Prometheus.

use crate::cache::{Cache, Key};
use crate::headers::{HeaderError, check_content_type, check_encoding};
use crate::message::{self, Contents};
use crate::wire::WireError;
use model::{Millis, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use storage::{Appender, Batch, CommitError, Committed, OnRefused, Row, RowOutcome, RowSeries, RowValue};

/// Samples may be this much ahead of the clock.
const AHEAD_MAX: Millis = Millis(10 * 60 * 1000);
/// The longest message, decompressed.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Snappy's densest element: 3 bytes that stand for 64.
const SNAPPY_RATIO_MAX: usize = 64 / 3 + 1;
/// Work spaces kept between requests; each keeps the capacity that its requests needed.
const SPACES_MAX: usize = 8;
/// A work space that grew beyond this is not kept.
const SPACE_BYTES_MAX: usize = 8 << 20;
/// How often a batch is tried again when handles turn out to be out of date.
const TRIES_MAX: usize = 4;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body; empty for success.
    pub body: String,
    /// Further headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
}

/// Counters for the metrics, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Samples and histograms of series with invalid labels.
    pub invalid_labels_samples: u64,
    /// Samples that were stored.
    pub stored_samples: u64,
    /// Native histograms that were not stored, as the store cannot yet.
    pub skipped_histograms: u64,
    /// Series whose label bytes are known.
    pub cached_series: u64,
}

/// Takes remote write requests for a store.
pub struct Receiver {
    appender: Arc<dyn Appender>,
    cache: Cache,
    spaces: Mutex<Vec<Space>>,
    invalid_labels_samples: AtomicU64,
    stored_samples: AtomicU64,
    skipped_histograms: AtomicU64,
}

/// Buffers of one request.
#[derive(Default)]
struct Space {
    message: Vec<u8>,
    series: Vec<Entry>,
    batch: Batch,
    /// Per entry of the batch's labels.
    label_keys: Vec<Option<Key>>,
    committed: Committed,
}

/// A series of the request that has rows.
struct Entry {
    /// `None`: its label bytes are no good key.
    key: Option<Key>,
    /// Where it lies in the message.
    start: usize,
    len: usize,
    first_row: usize,
    rows_end: usize,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("s2: corrupt input")]
    Snappy,
    #[error("decompressed message of {0} bytes is larger than {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    #[error(transparent)]
    Message(#[from] WireError),
    #[error("{message}{detail}", message = .0.message(), detail = if *.1 { ": timestamp is too far in the future" } else { "" })]
    Refused(RowOutcome, bool),
    #[error("native histograms are not supported yet: {0} of them not stored, all else is")]
    Histograms(u64),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl WriteError {
    fn status(&self) -> u16 {
        match self {
            Self::Header(_) => 415,
            Self::Snappy | Self::TooLarge(_) | Self::Message(_) | Self::Histograms(_) => 400,
            // A handle that stays out of date is no fault of the sender: it may try again.
            Self::Refused(RowOutcome::Gone, _) => 500,
            Self::Refused(..) => 400,
            Self::Commit(CommitError::NotReady) => 503,
            Self::Commit(CommitError::Log(_) | CommitError::TooManySeries(_)) => 500,
        }
    }
}

impl Receiver {
    /// One that stores into `appender`.
    pub fn new(appender: Arc<dyn Appender>) -> Self {
        Self {
            appender,
            cache: Cache::new(),
            spaces: Mutex::default(),
            invalid_labels_samples: AtomicU64::new(0),
            stored_samples: AtomicU64::new(0),
            skipped_histograms: AtomicU64::new(0),
        }
    }

    /// Handles one POST: decodes, stores, and says what to answer. Blocks on the store's log.
    pub fn write(&self, content_type: Option<&str>, content_encoding: Option<&str>, body: &[u8], now_ms: i64) -> Response {
        let mut space = self.spaces.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let written = self.write_with(&mut space, content_type, content_encoding, body, Timestamp(now_ms));
        if space.bytes() <= SPACE_BYTES_MAX {
            let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
            if spaces.len() < SPACES_MAX {
                spaces.push(space);
            }
        }
        match written {
            Ok(()) => Response { status: 204, body: String::new(), headers: Vec::new() },
            Err(error) => Response {
                status: error.status(),
                body: format!("{error}\n"),
                headers: vec![("content-type", "text/plain; charset=utf-8".into()), ("x-content-type-options", "nosniff".into())],
            },
        }
    }

    /// Counters for the metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            invalid_labels_samples: self.invalid_labels_samples.load(Ordering::Relaxed),
            stored_samples: self.stored_samples.load(Ordering::Relaxed),
            skipped_histograms: self.skipped_histograms.load(Ordering::Relaxed),
            cached_series: self.cache.len() as u64,
        }
    }

    fn write_with(
        &self,
        space: &mut Space,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), WriteError> {
        check_encoding(content_encoding)?;
        decompress(body, &mut space.message)?;
        check_content_type(content_type)?;
        let histograms = space.read(|bytes| self.cache.key(bytes))?;
        space.batch.on_refused = OnRefused::DropBatch;
        space.batch.latest = Some(now + AHEAD_MAX);
        let invalid = space.resolve(&self.cache)?;
        self.invalid_labels_samples.fetch_add(invalid, Ordering::Relaxed);
        if !space.batch.rows.is_empty() {
            self.commit(space)?;
        }
        if histograms > 0 {
            self.skipped_histograms.fetch_add(histograms, Ordering::Relaxed);
            return Err(WriteError::Histograms(histograms));
        }
        Ok(())
    }

    fn commit(&self, space: &mut Space) -> Result<(), WriteError> {
        for _ in 0..TRIES_MAX {
            self.appender.commit(&space.batch, &mut space.committed)?;
            for (key, handle) in space.label_keys.iter().zip(&space.committed.handles) {
                if let (Some(key), Some(handle)) = (key, handle) {
                    self.cache.insert(*key, *handle);
                }
            }
            let refused = space.committed.refused.iter();
            let Some((row, outcome)) = refused.copied().filter(|(_, outcome)| *outcome != RowOutcome::Stored).min_by_key(|(row, _)| *row)
            else {
                self.stored_samples.fetch_add(space.committed.stored, Ordering::Relaxed);
                return Ok(());
            };
            let gone = space.committed.refused.iter().any(|(_, outcome)| *outcome == RowOutcome::Gone);
            if !gone {
                let row = space.batch.rows.get(row as usize);
                let future =
                    outcome == RowOutcome::OutOfBounds && row.is_some_and(|row| space.batch.latest.is_some_and(|t| row.timestamp > t));
                return Err(WriteError::Refused(outcome, future));
            }
            space.name_gone(&self.cache)?;
        }
        Err(WriteError::Refused(RowOutcome::Gone, false))
    }
}

impl Space {
    /// Reads the message: a row for each sample, an entry for each series that has any. Says how
    /// many histograms there were.
    fn read(&mut self, key_of: impl Fn(&[u8]) -> Key) -> Result<u64, WireError> {
        self.series.clear();
        self.batch.clear();
        self.label_keys.clear();
        let (message, series, rows) = (&self.message, &mut self.series, &mut self.batch.rows);
        let base = message.as_ptr() as usize;
        let mut all_histograms = 0;
        message::each_series(message, |bytes| {
            let first_row = rows.len();
            let Contents { label_bytes, scattered, histograms } = message::series(bytes, |sample| {
                // Which series it is follows with the next pass.
                let series = RowSeries::Labels(u32::MAX);
                rows.push(Row { series, start: Timestamp(0), timestamp: sample.time, value: RowValue::Float(sample.value) });
            })?;
            all_histograms += u64::from(histograms);
            if rows.len() > first_row {
                let key = (!scattered).then(|| key_of(label_bytes));
                series.push(Entry { key, start: bytes.as_ptr() as usize - base, len: bytes.len(), first_row, rows_end: rows.len() });
            } else {
                // No sample, no series; but what is no message has to be refused all the same.
                message::labels(bytes)?;
            }
            Ok(())
        })?;
        Ok(all_histograms)
    }

    /// Gives the rows their series, and takes out those of invalid ones; says how many these were.
    /// A pass of its own, so that the cache's misses overlap.
    fn resolve(&mut self, cache: &Cache) -> Result<u64, WireError> {
        let mut invalid = 0;
        for at in 0..self.series.len() {
            let entry = &self.series[at];
            let named = match entry.key.and_then(|key| cache.get(key)) {
                Some(handle) => Some(RowSeries::Known(handle)),
                None => self.name(at)?,
            };
            let entry = &mut self.series[at];
            let rows = entry.first_row..entry.rows_end;
            match named {
                Some(series) => self.batch.rows[rows].iter_mut().for_each(|row| row.series = series),
                None => {
                    invalid += rows.len() as u64;
                    entry.rows_end = entry.first_row;
                }
            }
        }
        if invalid > 0 {
            self.compact();
        }
        Ok(invalid)
    }

    /// Adds the series' labels to the batch; `None` if they are invalid.
    fn name(&mut self, at: usize) -> Result<Option<RowSeries>, WireError> {
        let entry = &self.series[at];
        let Some(labels) = message::labels(&self.message[entry.start..entry.start + entry.len])? else { return Ok(None) };
        let index = u32::try_from(self.batch.labels.len()).expect("a message holds fewer series than bytes, and those are bounded");
        self.label_keys.push(entry.key);
        self.batch.labels.push(labels);
        Ok(Some(RowSeries::Labels(index)))
    }

    /// Moves the rows of valid series together; [`Entry`]s move with them.
    fn compact(&mut self) {
        self.series.retain(|entry| entry.rows_end > entry.first_row);
        let mut next = 0;
        for entry in &mut self.series {
            self.batch.rows.copy_within(entry.first_row..entry.rows_end, next);
            let len = entry.rows_end - entry.first_row;
            (entry.first_row, entry.rows_end) = (next, next + len);
            next += len;
        }
        self.batch.rows.truncate(next);
    }

    /// Series whose handle the store no longer knows are named by their labels.
    fn name_gone(&mut self, cache: &Cache) -> Result<(), WireError> {
        let mut refused = std::mem::take(&mut self.committed.refused);
        for (row, outcome) in refused.drain(..) {
            let row = row as usize;
            let at = self.series.partition_point(|entry| entry.rows_end <= row);
            if outcome != RowOutcome::Gone || at >= self.series.len() {
                continue;
            }
            let rows = self.series[at].first_row..self.series[at].rows_end;
            // Named already, by an earlier row of its series.
            if let RowSeries::Labels(_) = self.batch.rows[rows.start].series {
                continue;
            }
            if let Some(key) = self.series[at].key {
                cache.remove(key);
            }
            if let Some(series) = self.name(at)? {
                self.batch.rows[rows].iter_mut().for_each(|row| row.series = series);
            }
        }
        self.committed.refused = refused;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.message.capacity() + self.series.capacity() * size_of::<Entry>() + self.batch.rows.capacity() * size_of::<Row>()
    }
}

/// Decodes a snappy block into `message`, whose length is announced by the block: an announcement
/// that so few bytes cannot keep is refused before anything is allocated.
fn decompress(body: &[u8], message: &mut Vec<u8>) -> Result<(), WriteError> {
    let len = snap::raw::decompress_len(body).map_err(|_| WriteError::Snappy)?;
    if len > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(WriteError::Snappy);
    }
    if len > MESSAGE_BYTES_MAX {
        return Err(WriteError::TooLarge(len));
    }
    message.resize(len, 0);
    let written = snap::raw::Decoder::new().decompress(body, message).map_err(|_| WriteError::Snappy)?;
    message.truncate(written);
    Ok(())
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
