//! Committing a batch: resolve, check, log, apply.
//!
//! 1. *Resolve*: rows named by labels find their series. Missing ones are created; the record that names them enters
//!    the log's queue before anyone else can find them, whatever becomes of the batch.
//! 2. *Check* each row against what is committed, in order of slots, so that each slab is locked once. A row that only an
//!    earlier row of the batch makes invalid counts as stored, but goes no further (as in Prometheus).
//! 3. *Log* what passed, and wait for it.
//! 4. *Apply* it, in the same order of slots, under a number of the sequencer.

use super::sequence::Sequence;
use super::slab::{Appended, Commit, SLOTS_MAX, Slab, slab_number};
use super::{CHUNK_RANGE_MS, Head};
use crate::wal::record::{SamplesEncoder, SeriesEncoder};
use crate::wal::{Records, Ticket, Wal};
use hashbrown::HashMap;
use model::Labels;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use storage::{Batch, CommitError, Committed, OnRefused, Row, RowOutcome, RowSeries, RowValue, SeriesHandle, SeriesRef, Slot};

/// Samples may be this much older than the head's newest one.
const OUT_OF_BOUNDS_AFTER_MS: i64 = CHUNK_RANGE_MS / 2;

/// Buffers that a commit reuses.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Slot and row, in the order of slots, and of rows for one slot.
    order: Vec<(Slot, u32)>,
    accepted: Vec<Accepted>,
    /// Which of `accepted` is the batch's count of new series.
    added: Option<usize>,
    records: Records,
    /// Series that `records` names because the log failed to take them before.
    again: Vec<Slot>,
}

/// A row that passed the check and changes something.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    slot: Slot,
    series_ref: SeriesRef,
    time: i64,
    value: f64,
}

/// Times that rows of a batch may have.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    min: i64,
    max: i64,
}

impl Bounds {
    fn contain(self, row: &Row) -> bool {
        (self.min..=self.max).contains(&row.timestamp.0)
    }
}

impl Head {
    /// Commits a batch, logged to `log` if there is one.
    pub(crate) fn commit_logged(&self, batch: &Batch, result: &mut Committed, log: Option<&Wal>) -> Result<(), CommitError> {
        result.handles.clear();
        result.handles.resize(batch.labels.len(), None);
        result.refused.clear();
        result.stored = 0;
        result.batch_dropped = false;

        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let outcome = self.commit_with(batch, result, log, &mut scratch);
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        outcome
    }

    fn commit_with(&self, batch: &Batch, result: &mut Committed, log: Option<&Wal>, scratch: &mut Scratch) -> Result<(), CommitError> {
        let bounds = self.bounds(batch);
        let created = self.resolve(batch, bounds, result, log)?;
        scratch.order(batch, bounds, result);
        self.check(batch, scratch, result);
        result.refused.sort_unstable_by_key(|(row, _)| *row);
        self.count_refused(&result.refused);
        if batch.on_refused == OnRefused::DropBatch && !result.refused.is_empty() {
            result.batch_dropped = true;
            return self.wait_for(created, None, log);
        }
        scratch.count_added(batch, result);
        scratch.again.clear();
        let samples = log.and_then(|log| scratch.enqueue_samples(self, log));
        if let Err(error) = self.wait_for(created, samples, log) {
            self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).append(&mut scratch.again);
            return Err(error);
        }
        self.apply(&scratch.accepted);
        result.stored = (batch.rows.len() - result.refused.len()) as u64;
        self.counters.samples.fetch_add(result.stored, Ordering::Relaxed);
        Ok(())
    }

    /// What Prometheus's appender takes, in the state of now. The first batch's first sample sets the time of an empty head.
    fn bounds(&self, batch: &Batch) -> Bounds {
        let newest = match self.max_time.load(Ordering::Acquire) {
            i64::MIN => batch.rows.first().map_or(0, |row| row.timestamp.0),
            newest => newest,
        };
        Bounds { min: newest.saturating_sub(OUT_OF_BOUNDS_AFTER_MS), max: batch.latest.map_or(i64::MAX, |latest| latest.0) }
    }

    /// Finds or creates the series of the batch's label sets. A row out of bounds creates none.
    fn resolve(&self, batch: &Batch, bounds: Bounds, result: &mut Committed, log: Option<&Wal>) -> Result<Option<Created>, CommitError> {
        if batch.labels.is_empty() {
            return Ok(None);
        }
        {
            let index = self.read_index();
            for (handle, labels) in result.handles.iter_mut().zip(&batch.labels) {
                *handle = index.find(labels);
            }
        }
        let mut missing: Vec<u32> = Vec::new();
        for row in batch.rows.iter().filter(|row| bounds.contain(row) && matches!(row.value, RowValue::Float(_))) {
            if let RowSeries::Labels(at) = row.series
                && result.handles.get(at as usize).is_some_and(Option::is_none)
            {
                missing.push(at);
            }
        }
        if missing.is_empty() {
            return Ok(None);
        }
        self.create(&batch.labels, missing, result, log)
    }

    fn create(
        &self,
        labels: &[Labels],
        missing: Vec<u32>,
        result: &mut Committed,
        log: Option<&Wal>,
    ) -> Result<Option<Created>, CommitError> {
        // Only creators wait for each other, also while the log's queue is full; lookups and selects go on.
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: Vec<(&Labels, SeriesRef)> = Vec::new();
        let mut records = Records::new();
        {
            let index = self.read_index();
            let mut seen: HashMap<&Labels, ()> = HashMap::new();
            let mut next = self.next_ref.load(Ordering::Relaxed);
            for at in &missing {
                let labels = &labels[*at as usize];
                if index.find(labels).is_none() && seen.insert(labels, ()).is_none() {
                    fresh.push((labels, SeriesRef(next)));
                    next += 1;
                }
            }
            if (index.series_count() + fresh.len()) as u64 > SLOTS_MAX {
                return Err(CommitError::TooManySeries(index.series_count() as u64));
            }
            self.next_ref.store(next, Ordering::Relaxed);
        }
        records.add(|bytes| {
            let mut encoder = SeriesEncoder::start(bytes);
            for (labels, series_ref) in &fresh {
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                encoder.push(*series_ref, pairs.into_iter());
            }
        });
        let ticket = log.filter(|_| !records.is_empty()).map(|log| log.enqueue(&records));
        let mut index = self.write_index();
        let mut slots = Vec::with_capacity(fresh.len());
        for (labels, series_ref) in fresh {
            let slot = index.insert(labels, series_ref);
            self.slabs.push(slot, series_ref);
            slots.push(slot);
        }
        for at in missing {
            result.handles[at as usize] = index.find(&labels[at as usize]);
        }
        Ok(ticket.map(|ticket| Created { ticket, slots }))
    }

    /// Checks the rows in order and lists those to be logged and applied.
    fn check(&self, batch: &Batch, scratch: &mut Scratch, result: &mut Committed) {
        scratch.accepted.clear();
        scratch.added = None;
        let mut slab = LockedSlab::default();
        let mut pending: Option<(Slot, i64)> = None;
        for (slot, row_index) in &scratch.order {
            let row = &batch.rows[*row_index as usize];
            let RowValue::Float(value) = row.value else { continue };
            let time = row.timestamp.0;
            let wanted = match row.series {
                RowSeries::Known(handle) => Some(handle.series_ref),
                RowSeries::Labels(_) => None,
            };
            let series = slab.get(self, *slot).and_then(|slab| slab.series(*slot));
            let Some(series) = series.filter(|series| wanted.is_none_or(|wanted| wanted == series.series_ref())) else {
                result.refused.push((*row_index, RowOutcome::Gone));
                continue;
            };
            match series.newest() {
                Some((newest, _)) if time < newest => {
                    result.refused.push((*row_index, RowOutcome::OutOfOrder));
                    continue;
                }
                Some((newest, last)) if time == newest => {
                    if last.to_bits() != value.to_bits() {
                        result.refused.push((*row_index, RowOutcome::Duplicate));
                    }
                    continue;
                }
                _ => {}
            }
            if pending.is_some_and(|(pending_slot, pending_time)| pending_slot == *slot && pending_time >= time) {
                continue;
            }
            pending = Some((*slot, time));
            if batch.added_row == Some(*row_index) {
                scratch.added = Some(scratch.accepted.len());
            }
            scratch.accepted.push(Accepted { slot: *slot, series_ref: series.series_ref(), time, value });
        }
    }

    /// Waits for the log. Series whose record did not get there are logged again with the next commit that has any.
    fn wait_for(&self, created: Option<Created>, samples: Option<Ticket>, log: Option<&Wal>) -> Result<(), CommitError> {
        let Some(log) = log else { return Ok(()) };
        let created = created.map_or(Ok(()), |created| {
            log.wait(created.ticket).inspect_err(|_| {
                self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).extend(created.slots);
            })
        });
        let samples = samples.map_or(Ok(()), |ticket| log.wait(ticket));
        created.and(samples).map_err(CommitError::Log)
    }

    /// Records the series again whose record the log failed to take: samples without it would be lost in a replay.
    fn log_again(&self, records: &mut Records, again: &mut Vec<Slot>) {
        again.append(&mut self.unlogged.lock().unwrap_or_else(PoisonError::into_inner));
        if again.is_empty() {
            return;
        }
        let index = self.read_index();
        records.add(|bytes| {
            let mut encoder = SeriesEncoder::start(bytes);
            for slot in again.iter() {
                let labels = index.labels(slot.0);
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                encoder.push(index.handle(slot.0).series_ref, pairs.into_iter());
            }
        });
    }

    /// Puts what passed the check into the head.
    fn apply(&self, accepted: &[Accepted]) {
        let (Some(min), Some(max)) = (accepted.iter().map(|a| a.time).min(), accepted.iter().map(|a| a.time).max()) else { return };
        let _whole = AbortOnPanic;
        let begun = self.sequencer.begin();
        let commit = Commit { sequence: begun.sequence, floor: begun.floor, chunk_range_ms: CHUNK_RANGE_MS };
        let mut tied_to = begun.sequence;
        let mut chunks = 0;
        let mut slab = LockedSlab::default();
        for sample in accepted {
            let Some(slab) = slab.get_then(self, sample.slot, |slab| slab.forget_below(begun.floor)) else { continue };
            let (appended, last_commit) = slab.append(sample.slot, commit, sample.time, sample.value);
            tied_to = tied_to.max(last_commit);
            chunks += u64::from(appended == Appended::Chunk);
        }
        drop(slab);
        self.counters.chunks.fetch_add(chunks, Ordering::Relaxed);
        self.reach(min, max);
        self.sequencer.finish(begun.sequence, tied_to);
    }

    /// Appends one sample of the log; whether the series takes it. Nobody reads or commits yet.
    pub(crate) fn replay_sample(&self, slot: Slot, time: i64, value: f64) -> bool {
        let commit = Commit { sequence: Sequence(0), floor: Sequence(0), chunk_range_ms: CHUNK_RANGE_MS };
        let Some(mut slab) = self.slabs.lock(slot) else { return false };
        let (appended, _) = slab.append(slot, commit, time, value);
        match appended {
            Appended::Late => return false,
            Appended::Chunk => drop(self.counters.chunks.fetch_add(1, Ordering::Relaxed)),
            Appended::Sample => {}
        }
        self.reach(time, time);
        true
    }

    /// Adds a series of the log, or finds the one that has its labels already.
    pub(crate) fn replay_series(&self, labels: &Labels, series_ref: SeriesRef) -> SeriesHandle {
        self.next_ref.fetch_max(series_ref.0.saturating_add(1), Ordering::Relaxed);
        let mut index = self.write_index();
        if let Some(known) = index.find(labels) {
            return known;
        }
        let slot = index.insert(labels, series_ref);
        self.slabs.push(slot, series_ref);
        SeriesHandle { slot, series_ref }
    }

    fn count_refused(&self, refused: &[(u32, RowOutcome)]) {
        for (_, outcome) in refused {
            let counter = match outcome {
                RowOutcome::OutOfOrder => &self.counters.out_of_order,
                RowOutcome::OutOfBounds => &self.counters.out_of_bounds,
                RowOutcome::Duplicate => &self.counters.duplicates,
                RowOutcome::Stored | RowOutcome::TooOld | RowOutcome::Gone => continue,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Series that a commit created, whose record is on its way into the log.
struct Created {
    ticket: Ticket,
    slots: Vec<Slot>,
}

impl Scratch {
    /// Brings the rows into the order of slots; refuses those that no state of their series could take.
    fn order(&mut self, batch: &Batch, bounds: Bounds, result: &mut Committed) {
        self.order.clear();
        let mut ascending = true;
        let mut previous = Slot(0);
        for (row_index, row) in (0u32..).zip(&batch.rows) {
            // Histograms have no chunks yet: nothing produces such rows, and whoever does is told that they are not stored.
            if !bounds.contain(row) || !matches!(row.value, RowValue::Float(_)) {
                result.refused.push((row_index, RowOutcome::OutOfBounds));
                continue;
            }
            let handle = match row.series {
                RowSeries::Known(handle) => Some(handle),
                RowSeries::Labels(at) => result.handles.get(at as usize).copied().flatten(),
            };
            let Some(handle) = handle else {
                result.refused.push((row_index, RowOutcome::Gone));
                continue;
            };
            ascending &= previous <= handle.slot;
            previous = handle.slot;
            self.order.push((handle.slot, row_index));
        }
        if !ascending {
            self.order.sort_unstable();
        }
    }

    /// Takes the label sets that have no accepted row off the batch's count of new series.
    fn count_added(&mut self, batch: &Batch, result: &Committed) {
        let Some(added) = self.added.filter(|_| !result.refused.is_empty()) else { return };
        let mut refused = result.refused.iter().map(|(row, _)| *row).peekable();
        let mut only_refused = vec![true; batch.labels.len()];
        for (row_index, row) in (0u32..).zip(&batch.rows) {
            let is_refused = refused.next_if_eq(&row_index).is_some();
            if let RowSeries::Labels(at) = row.series
                && let Some(only_refused) = only_refused.get_mut(at as usize)
            {
                *only_refused &= is_refused;
            }
        }
        self.accepted[added].value -= only_refused.iter().filter(|only| **only).count() as f64;
    }

    fn enqueue_samples(&mut self, head: &Head, log: &Wal) -> Option<Ticket> {
        if self.accepted.is_empty() {
            return None;
        }
        self.records.clear();
        head.log_again(&mut self.records, &mut self.again);
        self.records.add(|bytes| {
            let mut encoder = SamplesEncoder::start(bytes);
            for sample in &self.accepted {
                encoder.push(sample.series_ref, sample.time, sample.value);
            }
        });
        Some(log.enqueue(&self.records))
    }
}

/// A panic halfway leaves a head that nobody understands any more: it must not be written down, nor waited for.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The slab of the last slot asked for, locked.
#[derive(Default)]
struct LockedSlab<'h> {
    number: usize,
    guard: Option<MutexGuard<'h, Slab>>,
}

impl<'h> LockedSlab<'h> {
    #[inline]
    fn get(&mut self, head: &'h Head, slot: Slot) -> Option<&mut Slab> {
        self.get_then(head, slot, |_| {})
    }

    /// As [`Self::get`]; calls `first` when the slab was not locked before.
    #[inline]
    fn get_then(&mut self, head: &'h Head, slot: Slot, first: impl FnOnce(&mut Slab)) -> Option<&mut Slab> {
        let number = slab_number(slot);
        if self.guard.is_none() || self.number != number {
            // The lock before is given back first: two commits must not hold one and wait for the other's.
            self.guard = None;
            self.guard = head.slabs.lock(slot);
            self.number = number;
            if let Some(slab) = self.guard.as_deref_mut() {
                first(slab);
            }
        }
        self.guard.as_deref_mut()
    }
}
