//! One query's surroundings: its store, leash, budget, counters and annotations.

use super::Engine;
use super::annotations::Annotations;
use super::api::{Control, EngineOptions, QueryError, QueryStats};
use super::crew::Crew;
use super::memory::{Charge, Ledger, Size};
use super::mixed;
use super::profile::{Profile, Scope};
use super::shared::Shared;
use super::source::Scratch;
use super::tally::Counts;
use super::vector::Grid;
use crate::plan::Plan;
use model::{Millis, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use storage::{Cancel, Column, Interval, Queryable, SelectError, Series};

/// Where Prometheus says that an evaluation was when it ended early.
pub(crate) const PLACE: &str = "expression evaluation";

pub(crate) struct Context<'q> {
    pub store: &'q dyn Queryable,
    pub options: &'q EngineOptions,
    /// For work that is worth more threads than one.
    pub crew: &'q Crew,
    pub control: &'q Control,
    pub lookback: i64,
    deadline: Option<Instant>,
    /// The client's and the deadline's.
    pub cancel: Cancel,
    ledger: Arc<Ledger>,
    /// Of a query that is to be explained.
    pub profile: Option<&'q Profile>,
    /// Samples looked at and read.
    pub counts: Counts,
    /// Parts that the query contains more than once.
    pub shared: Shared,
    grid: Grid,
    begun: Instant,
    /// Nanoseconds.
    preparation: AtomicU64,
    sorting: AtomicU64,
    annotations: Mutex<Annotations>,
}

impl<'q> Context<'q> {
    /// Of a query with this plan and the steps of `grid`.
    pub fn new(
        store: &'q dyn Queryable,
        engine: &'q Engine,
        control: &'q Control,
        plan: &Plan,
        profile: Option<&'q Profile>,
        grid: Grid,
    ) -> Self {
        let Engine { options, crew } = engine;
        let Millis(lookback) = control.lookback.unwrap_or(options.lookback);
        let own = Instant::now().checked_add(options.timeout);
        let deadline = match (own, control.deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let client = control.cancel.clone();
        Self {
            store,
            options,
            crew,
            control,
            lookback,
            deadline,
            cancel: Cancel::when(move || client.is_cancelled() || deadline.is_some_and(|deadline| Instant::now() >= deadline)),
            ledger: Ledger::new(options.max_samples, options.max_query_memory, options.memory.clone()),
            profile,
            counts: Counts::new(if options.per_step_stats && control.per_step_stats { grid.count } else { 0 }),
            shared: Shared::of(plan, options),
            grid,
            begun: Instant::now(),
            preparation: AtomicU64::new(0),
            sorting: AtomicU64::new(0),
            annotations: Mutex::new(Annotations::of(plan)),
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

    /// Has it run too shortly to wake other threads, which costs as much as a small query?
    pub fn is_alone(&self) -> bool {
        self.begun.elapsed() < self.options.alone
    }

    /// An account that holds nothing yet.
    pub fn account(&self) -> Charge {
        Charge::of(&self.ledger)
    }

    /// What the query may still hold.
    pub fn left(&self) -> Size {
        self.ledger.left()
    }

    /// Charges step results of so many series until the charge is dropped.
    pub fn charge(&self, series: usize, steps: usize) -> Result<Charge, QueryError> {
        let mut charge = self.account();
        charge.add(Size::steps(series, steps))?;
        Ok(charge)
    }

    /// Does what belongs to finding series, and counts its time.
    pub fn preparing<T>(&self, work: impl FnOnce() -> T) -> T {
        timed(&self.preparation, work)
    }

    /// Sorts the answer, and counts its time.
    pub fn sorting<T>(&self, work: impl FnOnce() -> T) -> T {
        timed(&self.sorting, work)
    }

    /// Adds annotations, keeping the lock shorter than the work that finds them.
    pub fn annotate(&self, add: impl FnOnce(&mut Annotations)) {
        add(&mut self.annotations.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Does some work, and gives what it annotates besides annotating it.
    pub fn listening<T>(&self, work: impl FnOnce() -> Result<T, QueryError>) -> Result<(T, Annotations), QueryError> {
        let mut before = Annotations::default();
        self.annotate(|a| before = std::mem::replace(a, a.none_yet()));
        let done = work()?;
        self.annotate(|a| std::mem::swap(a, &mut before));
        let said = before;
        self.annotate(|a| a.absorb(said.clone()));
        Ok((done, said))
    }

    pub fn stats(&self) -> QueryStats {
        let span = |nanoseconds: &AtomicU64| Duration::from_nanos(nanoseconds.load(Ordering::Relaxed));
        let (total_queryable_samples, samples_read) = self.counts.total();
        let (preparation, sorting) = (span(&self.preparation), span(&self.sorting));
        QueryStats {
            preparation,
            evaluation: self.begun.elapsed().saturating_sub(preparation + sorting),
            sorting,
            total_queryable_samples,
            samples_read,
            steps: self.counts.steps(self.grid),
            peak_samples: self.ledger.peak().samples,
            peak_bytes: self.ledger.peak().bytes,
        }
    }

    /// Decodes the samples of a series, one of these, into a column and charges what that takes. Damaged chunks cost their
    /// samples, and the answer says so.
    pub fn decode(
        &self,
        series: &[Box<dyn Series>],
        i: usize,
        interval: Interval,
        column: &mut Column,
        scratch: &mut Scratch,
    ) -> Result<(), QueryError> {
        let Scratch { ahead, held, upto, .. } = scratch;
        if !ahead.take(i, column) {
            // A newest sample that is known is no more than copied.
            let others = if series[i].samples_estimate() > 1 { (*upto).clamp(i + 1, series.len()) } else { i + 1 };
            match ahead.decode(series, i..others, interval, column) {
                Err(SelectError::Corrupt(text)) => self.annotate(|a| a.storage_warning(text)),
                other => other.map_err(storage_error)?,
            }
        }
        let bytes = column_bytes(column);
        if let Some(profile) = self.profile {
            profile.decoded(column.len(), bytes);
        }
        held.grow_to(bytes + ahead.bytes())
    }

    /// Whatever happens until it is dropped is the work of this part, if anyone wants to know.
    pub fn enter(&self, plan: &Plan) -> Option<Scope<'q>> {
        self.profile.map(|profile| profile.enter(plan))
    }

    /// The texts of all annotations: warnings, infos.
    pub fn into_annotations(self) -> (Vec<String>, Vec<String>) {
        let text = self.control.text.clone();
        self.annotations.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_texts(text.as_deref())
    }
}

fn timed<T>(nanoseconds: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    nanoseconds.fetch_add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    done
}

/// What a column takes, with its histograms.
pub(crate) fn column_bytes(column: &Column) -> u64 {
    let histograms: u64 = column.histograms.iter().map(|(_, histogram)| 16 * (mixed::size(histogram) + 1)).sum();
    histograms + 8 * (column.times.capacity() + column.values.capacity() + column.starts.capacity()) as u64
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
