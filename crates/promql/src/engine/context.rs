//! One query's surroundings: its store, leash, budget, counters and annotations.

use super::annotations::Annotations;
use super::api::{Control, EngineOptions, QueryError, QueryStats};
use model::{Millis, Timestamp};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use storage::{Cancel, Column, Interval, Queryable, SelectError, Series};

/// Where Prometheus says that an evaluation was when it ended early.
const PLACE: &str = "expression evaluation";

pub(crate) struct Context<'q> {
    pub store: &'q dyn Queryable,
    pub options: &'q EngineOptions,
    pub control: &'q Control,
    pub lookback: i64,
    deadline: Option<Instant>,
    held: AtomicU64,
    peak: AtomicU64,
    queryable_samples: AtomicU64,
    samples_read: AtomicU64,
    annotations: Mutex<Annotations>,
}

impl<'q> Context<'q> {
    pub fn new(store: &'q dyn Queryable, options: &'q EngineOptions, control: &'q Control) -> Self {
        let Millis(lookback) = control.lookback.unwrap_or(options.lookback);
        let own = Instant::now().checked_add(options.timeout);
        let deadline = match (own, control.deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            store,
            options,
            control,
            lookback,
            deadline,
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            queryable_samples: AtomicU64::new(0),
            samples_read: AtomicU64::new(0),
            annotations: Mutex::new(Annotations::default()),
        }
    }

    /// Ends the query if its time is up or nobody waits for it.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.control.is_cancelled() {
            return Err(QueryError::Cancelled(PLACE.into()));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(QueryError::Timeout(PLACE.into()));
        }
        Ok(())
    }

    /// The same for the store: a selection ends with the query.
    pub fn cancel(&self) -> Cancel {
        let (flag, deadline) = (self.control.cancel.clone(), self.deadline);
        Cancel::when(move || flag.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() >= deadline))
    }

    /// Charges `samples` to the query until the charge is dropped.
    pub fn charge(&self, samples: usize) -> Result<Charge<'_>, QueryError> {
        let samples = samples as u64;
        let held = self.held.fetch_add(samples, Ordering::Relaxed) + samples;
        let charge = Charge { held: &self.held, samples };
        if held > self.options.max_samples as u64 {
            return Err(QueryError::TooManySamples("query execution".into()));
        }
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(charge)
    }

    /// Counts samples that steps looked at.
    pub fn count_queryable(&self, samples: u64) {
        self.queryable_samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// Counts decoded samples.
    pub fn count_read(&self, samples: u64) {
        self.samples_read.fetch_add(samples, Ordering::Relaxed);
    }

    /// Adds annotations, keeping the lock shorter than the work that finds them.
    pub fn annotate(&self, add: impl FnOnce(&mut Annotations)) {
        add(&mut self.annotations.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    pub fn stats(&self) -> QueryStats {
        QueryStats {
            total_queryable_samples: self.queryable_samples.load(Ordering::Relaxed),
            samples_read: self.samples_read.load(Ordering::Relaxed),
            peak_samples: self.peak.load(Ordering::Relaxed),
        }
    }

    /// Decodes a series' samples into a column that is empty. Damaged chunks cost their samples, and the answer says so.
    pub fn decode(&self, series: &dyn Series, interval: Interval, column: &mut Column) -> Result<(), QueryError> {
        match series.decode(interval, column) {
            Err(SelectError::Corrupt(text)) => {
                self.annotate(|a| a.storage_warning(text));
                Ok(())
            }
            other => other.map_err(storage_error),
        }
    }

    /// The texts of all annotations: warnings, infos.
    pub fn into_annotations(self) -> (Vec<String>, Vec<String>) {
        let text = self.control.text.clone();
        self.annotations.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_texts(text.as_deref())
    }
}

/// Samples held; given back on drop.
#[must_use]
pub(crate) struct Charge<'c> {
    held: &'c AtomicU64,
    samples: u64,
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(self.samples, Ordering::Relaxed);
    }
}

/// A closed interval for the store from an exclusive begin and an inclusive end.
pub(crate) fn left_open(begin: i64, end: i64) -> Interval {
    Interval { start: Timestamp(begin.saturating_add(1)), end: Timestamp(end) }
}

pub(crate) fn storage_error(error: SelectError) -> QueryError {
    match error {
        SelectError::Cancelled => QueryError::Cancelled(PLACE.into()),
        SelectError::NotReady | SelectError::Corrupt(_) => QueryError::Storage(format!("expanding series: {error}")),
    }
}
