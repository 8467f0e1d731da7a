//! From a request's body to a committed batch and an answer.
//!
//! Version 1.0 is all or nothing: one refused sample makes the answer 400, and nothing is stored.
//! Series with invalid labels are skipped in silence. Version 2.0 is in [`crate::version2`]. All as in Prometheus.

use crate::cache::Cache;
use crate::headers::{HeaderError, Version, check_encoding, version};
use crate::space::Space;
use crate::version2::{self, Written};
use crate::wire::WireError;
use model::histogram::HistogramError;
use model::{Millis, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use storage::{Appender, CommitError, OnRefused, RowOutcome};

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

/// What a receiver takes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Versions of the protocol that are accepted.
    pub accepted: Vec<Version>,
    /// Hand the metadata of version 2.0 on to the store.
    pub metadata: bool,
    /// Type and unit of version 2.0 become labels of their series.
    pub type_and_unit_labels: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { accepted: vec![Version::V1, Version::V2], metadata: false, type_and_unit_labels: false }
    }
}

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
    /// Samples and histograms that were stored.
    pub stored_samples: u64,
    /// Series whose label bytes are known.
    pub cached_series: u64,
}

/// Takes remote write requests for a store.
pub struct Receiver {
    appender: Arc<dyn Appender>,
    pub(crate) options: Options,
    pub(crate) cache: Cache,
    spaces: Mutex<Vec<Space>>,
    invalid_labels_samples: AtomicU64,
    stored_samples: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
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
    /// A line for each item of version 2.0.
    #[error("{0}")]
    Partial(String),
    #[error(transparent)]
    Histogram(#[from] HistogramError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl WriteError {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Header(_) => 415,
            Self::Snappy | Self::TooLarge(_) | Self::Message(_) | Self::Partial(_) | Self::Histogram(_) => 400,
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
    pub fn new(appender: Arc<dyn Appender>, options: Options) -> Self {
        Self {
            appender,
            options,
            cache: Cache::new(),
            spaces: Mutex::default(),
            invalid_labels_samples: AtomicU64::new(0),
            stored_samples: AtomicU64::new(0),
        }
    }

    /// Handles one POST: decodes, stores, and says what to answer. Blocks on the store's log.
    pub fn write(&self, content_type: Option<&str>, content_encoding: Option<&str>, body: &[u8], now_ms: i64) -> Response {
        let mut space = self.spaces.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let mut written = None;
        let outcome = self.write_with(&mut space, content_type, content_encoding, body, Timestamp(now_ms), &mut written);
        if space.bytes() <= SPACE_BYTES_MAX {
            let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
            if spaces.len() < SPACES_MAX {
                spaces.push(space);
            }
        }
        answer(outcome, written)
    }

    /// Counters for the metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            invalid_labels_samples: self.invalid_labels_samples.load(Ordering::Relaxed),
            stored_samples: self.stored_samples.load(Ordering::Relaxed),
            cached_series: self.cache.len() as u64,
        }
    }

    /// Sets `written` once it is clear that the message is of version 2.0.
    fn write_with(
        &self,
        space: &mut Space,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        body: &[u8],
        now: Timestamp,
        written: &mut Option<Written>,
    ) -> Result<(), WriteError> {
        check_encoding(content_encoding)?;
        decompress(body, &mut space.message)?;
        let version = version(content_type, &self.options.accepted)?;
        space.batch.latest = Some(now + AHEAD_MAX);
        match version {
            Version::V1 => self.write_whole(space),
            Version::V2 => version2::write(self, space, written.insert(Written::default())),
        }
    }

    fn write_whole(&self, space: &mut Space) -> Result<(), WriteError> {
        let latest = space.batch.latest;
        space.read(|bytes| self.cache.key(bytes))?;
        (space.batch.latest, space.batch.on_refused) = (latest, OnRefused::DropBatch);
        self.count_invalid(space.resolve(&self.cache)?);
        space.check_histograms()?;
        if space.batch.rows.is_empty() && space.batch.exemplars.is_empty() {
            return Ok(());
        }
        self.commit(space)
    }

    pub(crate) fn count_invalid(&self, samples: u64) {
        self.invalid_labels_samples.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn count_stored(&self, written: &Written) {
        self.stored_samples.fetch_add(written.samples + written.histograms, Ordering::Relaxed);
    }

    /// Hands the batch to the store; what it says of series is remembered.
    pub(crate) fn commit_once(&self, space: &mut Space) -> Result<(), CommitError> {
        self.appender.commit(&space.batch, &mut space.committed)?;
        self.cache.insert_all(space.label_keys.iter().zip(&space.committed.handles).filter_map(|(key, handle)| (*key).zip(*handle)));
        Ok(())
    }

    fn commit(&self, space: &mut Space) -> Result<(), WriteError> {
        for _ in 0..TRIES_MAX {
            self.commit_once(space)?;
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
            space.name_gone()?;
        }
        Err(WriteError::Refused(RowOutcome::Gone, false))
    }
}

fn answer(outcome: Result<(), WriteError>, written: Option<Written>) -> Response {
    let mut headers = Vec::new();
    if let Some(Written { samples, histograms, exemplars }) = written {
        headers.push(("x-prometheus-remote-write-samples-written", samples.to_string()));
        headers.push(("x-prometheus-remote-write-histograms-written", histograms.to_string()));
        headers.push(("x-prometheus-remote-write-exemplars-written", exemplars.to_string()));
    }
    match outcome {
        Ok(()) => Response { status: 204, body: String::new(), headers },
        Err(error) => {
            headers.push(("content-type", "text/plain; charset=utf-8".into()));
            headers.push(("x-content-type-options", "nosniff".into()));
            Response { status: error.status(), body: format!("{error}\n"), headers }
        }
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
