//! Committing a batch: resolve, check, log, apply.
//!
//! 1. *Resolve*: rows named by labels find their series. Missing ones are created; the record that names them enters
//!    the log's queue before anyone else can find them, whatever becomes of the batch.
//! 2. *Check* each row against what is committed, in order of slots, so that each slab is locked once. A row that only an
//!    earlier row of the batch makes invalid counts as stored, but goes no further (as in Prometheus).
//! 3. *Log* what passed, and wait for it.
//! 4. *Apply* it, in the same order of slots, under a number of the sequencer: samples in order here, others in [`super::late`].

use super::annotate::Annotations;
use super::records;
use super::series::{Grown, MemSeries, Newest};
use super::slab::{Appended, Commit, SLOTS_MAX, Slab, slab_number};
use super::{Head, Logs};
use crate::chunk::{Sample, Value};
use crate::wal::record::SeriesEncoder;
use crate::wal::{Records, Ticket, Wal};
use hashbrown::HashMap;
use model::{FloatHistogram, Histogram, Labels};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use storage::{Batch, CommitError, Committed, OnRefused, Row, RowOutcome, RowSeries, RowValue, SeriesHandle, SeriesRef, Slot};

/// Rows between the one that is worked on and the one whose memory is fetched: about as many as fit into a miss.
const AHEAD: usize = 8;

/// Bytes of a series in its record, beside its labels,
const SERIES_LEN: usize = 10;
/// and of a label beside its texts; more if one of them is long.
const LENGTHS_LEN: usize = 2;

/// Buffers that a commit reuses.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Slot and row, in the order of slots, and of rows for one slot.
    order: Vec<(Slot, u32)>,
    accepted: Vec<Accepted>,
    /// Accepted samples that are not floats.
    others: Vec<Sample>,
    /// Which of `accepted` is the batch's count of new series.
    added: Option<usize>,
    records: Records,
    /// Series that `records` names because the log failed to take them before.
    again: Vec<SeriesHandle>,
    /// Which of `accepted` are out of order.
    late: Vec<u32>,
}

/// A row that passed the check and changes something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub slot: Slot,
    /// See [`records`].
    pub round: u16,
    pub late: bool,
    pub series_ref: SeriesRef,
    pub start: i64,
    pub time: i64,
    pub value: AcceptedValue,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum AcceptedValue {
    Float(f64),
    /// The entry of `others` with this index.
    Other(u32),
}

/// Times that rows of a batch may have.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Earlier ones are out of bounds, or out of order.
    min: i64,
    max: i64,
    /// Earlier ones are too old; none if samples come in order.
    late_min: Option<i64>,
    /// Later ones are later than what an earlier run has noted of any series.
    noted: i64,
}

impl Bounds {
    /// Whether some series could take such a row, or, as in Prometheus, is at least created for it.
    fn may_contain(self, row: &Row) -> bool {
        row.timestamp.0 <= self.max && (self.late_min.is_some() || row.timestamp.0 >= self.min)
    }

    /// What becomes of a sample that is not later than its series' samples in order.
    fn late(self, time: i64) -> Verdict {
        match self.late_min {
            Some(late_min) if time >= late_min => Verdict::Late,
            Some(_) => Verdict::Refuse(RowOutcome::TooOld),
            None if time < self.min => Verdict::Refuse(RowOutcome::OutOfBounds),
            None => Verdict::Refuse(RowOutcome::OutOfOrder),
        }
    }

    fn judge(self, series: &MemSeries, time: i64, value: RowValue, batch: &Batch) -> Verdict {
        if time < self.min {
            return self.late(time);
        }
        // Times in order began later in that run, which had series that are gone by now.
        if time <= self.noted && series.late_until().is_some_and(|late| time <= late) {
            return self.late(time);
        }
        match series.newest_time() {
            None => Verdict::InOrder,
            Some(newest) if time > newest => Verdict::InOrder,
            Some(newest) if time < newest => self.late(time),
            Some(_) if repeats(&series.newest(), value, batch) => Verdict::Repetition,
            Some(_) => Verdict::Refuse(RowOutcome::Duplicate),
        }
    }
}

enum Verdict {
    InOrder,
    Late,
    Repetition,
    Refuse(RowOutcome),
}

/// The rows of one slot that were accepted so far.
#[derive(Clone, Copy, Debug)]
struct Pending {
    slot: Slot,
    /// Of the latest in order.
    time: i64,
    /// What the latest is, in the order of records.
    rank: u8,
    round: u16,
}

impl Head {
    /// Commits a batch, logged to those of `logs` that there are.
    pub(crate) fn commit_logged<'w>(&self, batch: &Batch, result: &mut Committed, logs: impl Into<Logs<'w>>) -> Result<(), CommitError> {
        result.handles.clear();
        result.handles.resize(batch.labels.len(), None);
        result.refused.clear();
        result.exemplars_out_of_order.clear();
        result.stored = 0;
        result.batch_dropped = false;

        // From before the first look at the index until the last sample is in its place: see `gc`.
        let _open = self.commits.begin();
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let outcome = self.commit_with(batch, result, logs.into(), &mut scratch);
        scratch.others.clear();
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        outcome
    }

    fn commit_with(&self, batch: &Batch, result: &mut Committed, logs: Logs<'_>, scratch: &mut Scratch) -> Result<(), CommitError> {
        let bounds = self.bounds(batch);
        let created = self.resolve(batch, bounds, result, logs.wal)?;
        scratch.order(batch, bounds, result);
        self.check(batch, bounds, scratch, result);
        result.refused.sort_unstable_by_key(|(row, _)| *row);
        self.count_refused(&result.refused);
        if batch.on_refused == OnRefused::DropBatch && !result.refused.is_empty() {
            result.batch_dropped = true;
            return self.wait_for(created, None, logs.wal);
        }
        scratch.count_added(batch, result);
        scratch.again.clear();
        if scratch.accepted.iter().any(|row| row.late) {
            let paid = self.pay_late_log(logs.late);
            if paid.is_err() {
                self.wait_for(created, None, logs.wal)?;
                return paid.map_err(CommitError::Log);
            }
        }
        let annotations = self.annotations(batch, result);
        let samples = logs.wal.and_then(|log| scratch.enqueue(self, batch, &annotations, log));
        if let Err(error) = self.wait_for(created, samples, logs.wal) {
            self.add_unlogged(&mut scratch.again);
            return Err(error);
        }
        let late_logged = self.apply(scratch, bounds.late_min, logs.late);
        self.annotate(batch, annotations);
        result.stored = (batch.rows.len() - result.refused.len()) as u64;
        self.counters.samples.fetch_add(result.stored, Ordering::Relaxed);
        if !batch.histograms.is_empty() || !batch.float_histograms.is_empty() {
            let histograms = scratch.accepted.iter().filter(|row| matches!(row.value, AcceptedValue::Other(_))).count();
            self.counters.histograms.fetch_add(histograms as u64, Ordering::Relaxed);
        }
        late_logged.map_err(CommitError::Log)
    }

    /// What Prometheus's appender takes, in the state of now. The first batch's first sample sets the time of an empty head.
    fn bounds(&self, batch: &Batch) -> Bounds {
        let newest = match self.times.max.load(Ordering::Acquire) {
            i64::MIN => batch.rows.first().map_or(0, |row| row.timestamp.0),
            newest => newest,
        };
        let window = self.out_of_order_window_ms.load(Ordering::Relaxed);
        Bounds {
            min: self.bound(newest),
            max: batch.latest.map_or(i64::MAX, |latest| latest.0),
            late_min: (window > 0).then(|| newest.saturating_sub(window)),
            noted: self.times.noted.load(Ordering::Relaxed),
        }
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
            self.keep_alive(&result.handles);
        }
        let mut missing: Vec<u32> = Vec::new();
        for row in batch.rows.iter().filter(|row| bounds.may_contain(row)) {
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
            let mut last = self.last_ref.load(Ordering::Relaxed);
            for at in &missing {
                let labels = &labels[*at as usize];
                if index.find(labels).is_none() && seen.insert(labels, ()).is_none() {
                    last += 1;
                    fresh.push((labels, SeriesRef(last)));
                }
            }
            if u64::from(index.slot_end()) + fresh.len() as u64 > SLOTS_MAX {
                return Err(CommitError::TooManySeries(index.series_count() as u64));
            }
            self.last_ref.store(last, Ordering::Relaxed);
        }
        records.add(|bytes| {
            // At its size at once: doubled again and again, one request's record leaves megabytes behind in the allocator.
            let text_len = |labels: &Labels| labels.iter().map(|(name, value)| LENGTHS_LEN + name.len() + value.len()).sum::<usize>();
            bytes.reserve_exact(fresh.iter().map(|(labels, _)| SERIES_LEN + text_len(labels)).sum());
            let mut encoder = SeriesEncoder::start(bytes);
            let mut pairs: Vec<(&str, &str)> = Vec::new();
            for (labels, series_ref) in &fresh {
                pairs.clear();
                pairs.extend(labels.iter());
                encoder.push(*series_ref, pairs.iter().copied());
            }
        });
        let ticket = log.filter(|_| !records.is_empty()).map(|log| log.enqueue(&records));
        self.counters.series_created.fetch_add(fresh.len() as u64, Ordering::Relaxed);
        let mut index = self.write_index();
        let mut handles = Vec::with_capacity(fresh.len());
        for (labels, series_ref) in fresh {
            let slot = index.insert(labels, series_ref);
            handles.push(SeriesHandle { slot, series_ref });
        }
        self.slabs.place(handles.iter().copied());
        for at in missing {
            let handle = index.find(&labels[at as usize]);
            self.keep_alive(&[handle]);
            result.handles[at as usize] = handle;
        }
        Ok(ticket.map(|ticket| Created { ticket, handles }))
    }

    /// Checks the rows in order and lists those to be logged and applied.
    fn check(&self, batch: &Batch, bounds: Bounds, scratch: &mut Scratch, result: &mut Committed) {
        scratch.accepted.clear();
        scratch.others.clear();
        scratch.late.clear();
        scratch.added = None;
        let mut locked = LockedSlab::default();
        let mut pending: Option<Pending> = None;
        for (at, (slot, row_index)) in scratch.order.iter().enumerate() {
            let row = &batch.rows[*row_index as usize];
            let time = row.timestamp.0;
            let wanted = match row.series {
                RowSeries::Known(handle) => Some(handle.series_ref),
                RowSeries::Labels(_) => None,
            };
            let slab = locked.get(self, *slot);
            if let (Some(slab), Some((ahead, _))) = (&slab, scratch.order.get(at + AHEAD)) {
                slab.prefetch(*slot, *ahead);
            }
            let series = slab.as_ref().and_then(|slab| slab.series(*slot));
            let Some(series) = series.filter(|series| wanted.is_none_or(|wanted| wanted == series.series_ref())) else {
                result.refused.push((*row_index, RowOutcome::Gone));
                continue;
            };
            let before = pending.filter(|pending| pending.slot == *slot);
            let mut late = match bounds.judge(series, time, row.value, batch) {
                Verdict::InOrder => false,
                Verdict::Late => true,
                Verdict::Repetition => continue,
                Verdict::Refuse(outcome) => {
                    result.refused.push((*row_index, outcome));
                    continue;
                }
            };
            if let Some(before) = before.filter(|before| !late && before.time >= time) {
                // As it will be found when the earlier row is in its place.
                if before.time == time || bounds.late_min.is_none_or(|late_min| time < late_min) {
                    continue;
                }
                late = true;
            }
            let other = match row.value {
                RowValue::Float(value) if model::value::is_stale(value) && !late => {
                    stale_as(series, before.map(|before| before.rank), value)
                }
                RowValue::Float(_) => None,
                RowValue::Histogram(at) => batch.histograms.get(at as usize).map(|histogram| Value::Histogram(Arc::new(histogram.clone()))),
                RowValue::FloatHistogram(at) => {
                    batch.float_histograms.get(at as usize).map(|histogram| Value::FloatHistogram(Arc::new(histogram.clone())))
                }
            };
            let (start, series_ref) = (row.start.0, series.series_ref());
            let rank = other.as_ref().map_or(0, records::rank_of);
            let value = match (other, row.value) {
                (Some(value), _) => {
                    scratch.others.push(Sample { start, time, value });
                    AcceptedValue::Other(scratch.others.len() as u32 - 1)
                }
                (None, RowValue::Float(value)) => AcceptedValue::Float(value),
                // A row that names no histogram of its batch.
                (None, _) => continue,
            };
            let round = before.map_or(0, |before| before.round + u16::from(rank < before.rank));
            let newest = before.map_or(time, |before| if late { before.time } else { time });
            pending = Some(Pending { slot: *slot, time: if late && before.is_none() { i64::MIN } else { newest }, rank, round });
            if batch.added_row == Some(*row_index) {
                scratch.added = Some(scratch.accepted.len());
            }
            scratch.accepted.push(Accepted { slot: *slot, round, late, series_ref, start, time, value });
            if let Some(slab) = slab {
                slab.keep_alive(*slot);
            }
        }
    }

    /// Waits for the log. Series whose record did not get there are logged again with the next commit that has any.
    fn wait_for(&self, created: Option<Created>, samples: Option<Ticket>, log: Option<&Wal>) -> Result<(), CommitError> {
        let Some(log) = log else { return Ok(()) };
        let created =
            created.map_or(Ok(()), |Created { ticket, mut handles }| log.wait(ticket).inspect_err(|_| self.add_unlogged(&mut handles)));
        let samples = samples.map_or(Ok(()), |ticket| log.wait(ticket));
        created.and(samples).map_err(CommitError::Log)
    }

    /// Records the series again whose record the log failed to take: samples without it would be lost in a replay.
    fn log_again(&self, records: &mut Records, again: &mut Vec<SeriesHandle>) {
        again.append(&mut self.unlogged.lock().unwrap_or_else(PoisonError::into_inner));
        if again.is_empty() {
            return;
        }
        let index = self.read_index();
        // One that is gone by now has no samples that need it.
        again.retain(|handle| index.slots().contains(handle.slot.0) && index.handle(handle.slot.0) == *handle);
        records.add(|bytes| {
            let mut encoder = SeriesEncoder::start(bytes);
            for handle in again.iter() {
                let labels = index.labels(handle.slot.0);
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                encoder.push(handle.series_ref, pairs.into_iter());
            }
        });
    }

    /// Puts what passed the check into the head.
    ///
    /// # Errors
    /// When the log of out-of-order samples did not take those that there are. All can be seen nevertheless, but a start finds the late
    /// ones only there: the batch must not be acknowledged. The log is owed them from then on, as whoever sends them again finds them to be duplicates.
    fn apply(&self, scratch: &mut Scratch, late_min: Option<i64>, late_log: Option<&Wal>) -> io::Result<()> {
        let Scratch { accepted, others, late, .. } = scratch;
        if accepted.is_empty() {
            return Ok(());
        }
        let _whole = AbortOnPanic;
        let begun = self.sequencer.begin();
        let commit = Commit { sequence: begun.sequence, floor: begun.floor, cutting: self.cutting() };
        let mut tied_to = begun.sequence;
        let mut chunks = 0;
        let (mut min, mut max) = (i64::MAX, i64::MIN);
        let mut slab = LockedSlab::default();
        for (at, row) in accepted.iter().enumerate() {
            if row.late {
                late.push(at as u32);
                continue;
            }
            let Some(slab) = slab.get_then(self, row.slot, |slab| slab.forget_below(begun.floor)) else { continue };
            if let Some(ahead) = accepted.get(at + AHEAD) {
                slab.prefetch_chunk(row.slot, ahead.slot);
            }
            let (appended, last_commit) = match row.value {
                AcceptedValue::Float(value) => slab.append_float(row.slot, &commit, row.start, row.time, value),
                AcceptedValue::Other(other) => slab.append(row.slot, &commit, &others[other as usize]),
            };
            match appended {
                Appended::Stored(grown) => {
                    tied_to = tied_to.max(last_commit);
                    chunks += u64::from(grown != Grown::Sample);
                    min = min.min(row.time);
                    max = max.max(row.time);
                }
                // Another commit wrote a later one since the check.
                Appended::Late if late_min.is_some_and(|late_min| row.time >= late_min) => late.push(at as u32),
                Appended::Late => {}
            }
        }
        drop(slab);
        self.counters.chunks_created.fetch_add(chunks, Ordering::Relaxed);
        if min <= max {
            self.reach(min, max);
        }
        let logging = if late.is_empty() { None } else { self.insert_late(late, accepted, others, &commit, &mut tied_to, late_log) };
        self.sequencer.finish(begun.sequence, tied_to);
        let (Some((ticket, records)), Some(log)) = (logging, late_log) else { return Ok(()) };
        // Once more, as a failed write is followed by another segment. Behind later records they do no harm: a marker that comes
        // before its samples leaves them in two places.
        log.wait(ticket).or_else(|_| log.log(&records)).inspect_err(|error| {
            self.counters.late_unlogged.fetch_add(1, Ordering::Relaxed);
            tracing::error!(component = "tsdb", err = %error, "Failed to log out of order samples into the WAL");
            self.owed.lock().unwrap_or_else(PoisonError::into_inner).append(&records);
        })
    }

    fn count_refused(&self, refused: &[(u32, RowOutcome)]) {
        for (_, outcome) in refused {
            let counter = match outcome {
                RowOutcome::OutOfOrder => &self.counters.out_of_order,
                RowOutcome::OutOfBounds => &self.counters.out_of_bounds,
                RowOutcome::Duplicate => &self.counters.duplicates,
                RowOutcome::TooOld => &self.counters.too_old,
                RowOutcome::Stored | RowOutcome::Gone => continue,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a row has the value of its series' newest sample. One that only a file has counts as equal: Prometheus drops the row silently.
fn repeats(newest: &Newest, value: RowValue, batch: &Batch) -> bool {
    match (newest, value) {
        (Newest::Unknown, _) => true,
        (Newest::Float(last), RowValue::Float(value)) => last.to_bits() == value.to_bits(),
        (Newest::Other(Value::Histogram(last)), RowValue::Histogram(at)) => {
            batch.histograms.get(at as usize).is_some_and(|histogram| histogram.is_same(last))
        }
        (Newest::Other(Value::FloatHistogram(last)), RowValue::FloatHistogram(at)) => {
            batch.float_histograms.get(at as usize).is_some_and(|histogram| histogram.is_same(last))
        }
        _ => false,
    }
}

/// A float staleness marker of a series of histograms ends it as a histogram of the same kind would.
pub(super) fn stale_as(series: &MemSeries, before: Option<u8>, marker: f64) -> Option<Value> {
    let histogram = || Some(Value::Histogram(Arc::new(Histogram { sum: marker, ..Histogram::default() })));
    let float_histogram = || Some(Value::FloatHistogram(Arc::new(FloatHistogram { sum: marker, ..FloatHistogram::default() })));
    match (before, series.newest()) {
        (Some(1 | 2), _) => histogram(),
        (Some(3 | 4), _) => float_histogram(),
        (None, Newest::Other(Value::Histogram(_))) => histogram(),
        (None, Newest::Other(Value::FloatHistogram(_))) => float_histogram(),
        _ => None,
    }
}

/// Series that a commit created, whose record is on its way into the log.
struct Created {
    ticket: Ticket,
    handles: Vec<SeriesHandle>,
}

impl Scratch {
    /// Brings the rows into the order of slots; refuses those that no state of their series could take.
    fn order(&mut self, batch: &Batch, bounds: Bounds, result: &mut Committed) {
        self.order.clear();
        let mut ascending = true;
        let mut previous = Slot(0);
        for (row_index, row) in (0u32..).zip(&batch.rows) {
            if !bounds.may_contain(row) {
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
        if let AcceptedValue::Float(value) = &mut self.accepted[added].value {
            *value -= only_refused.iter().filter(|only| **only).count() as f64;
        }
    }

    fn enqueue(&mut self, head: &Head, batch: &Batch, annotations: &Annotations, log: &Wal) -> Option<Ticket> {
        if self.accepted.is_empty() && annotations.is_empty() {
            return None;
        }
        self.records.clear();
        head.log_again(&mut self.records, &mut self.again);
        annotations.add_metadata(batch, &mut self.records);
        records::add(&mut self.records, &self.accepted, &self.others, head.options.start_timestamps);
        annotations.add_exemplars(batch, &mut self.records);
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
pub(super) struct LockedSlab<'h> {
    number: usize,
    guard: Option<MutexGuard<'h, Slab>>,
}

impl<'h> LockedSlab<'h> {
    #[inline]
    pub(super) fn get(&mut self, head: &'h Head, slot: Slot) -> Option<&mut Slab> {
        self.get_then(head, slot, |_| {})
    }

    /// As [`Self::get`]; calls `first` when the slab was not locked before.
    #[inline]
    pub(super) fn get_then(&mut self, head: &'h Head, slot: Slot, first: impl FnOnce(&mut Slab)) -> Option<&mut Slab> {
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
