//! What the head gives to compactions and snapshots: series in label order, with their chunks as they are.
//!
//! A source walks a list of slots that it sorted at its start and copies a few hundred series at a time, so it takes little memory and
//! holds no lock between them. As long as it is there no slot is given to another series. It looks past isolation: whoever needs
//! whole commits waits for those of the range before ([`Head::wait_for_commits`]), and no later ones reach it.

use super::Head;
use super::index::Index;
use super::mapped::Place;
use super::names::Numbered;
use super::ooo::OooSamples;
use super::select::{Copied, Wanted};
use super::sequence::Sequence;
use super::series::FullChunk;
use super::slab::slab_number;
use crate::block::SymbolPair;
use crate::chunk::{EncodeOptions, encode};
use crate::compact::source::{SeriesSource, SourceError, SourceSeries};
use crate::wal::{SegmentIndex, Wal};
use model::Timestamp;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use storage::{Interval, SeriesHandle, SeriesRef, Slot};

/// Series that are copied at a time.
const BATCH: usize = 256;
/// Series that are ranked under one hold of the index's lock.
const RANKED_AT_ONCE: usize = 16_384;

/// Series of the head in a range of time, in label order.
pub struct HeadSource<'h> {
    head: &'h Head,
    symbols: Numbered,
    /// In label order; of late chunks how many of each.
    series: Vec<(SeriesHandle, u32)>,
    range: Interval,
    late: bool,
    next: usize,
    batch: Copied,
    /// Labels of the batch's series, and where those of each end.
    labels: Vec<SymbolPair>,
    label_ends: Vec<usize>,
    at: usize,
    _hold: Hold<'h>,
}

/// Keeps slots from being given to other series.
struct Hold<'h>(&'h Head);

impl<'h> Hold<'h> {
    fn new(head: &'h Head) -> Self {
        head.garbage.holders.fetch_add(1, Ordering::AcqRel);
        Self(head)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.garbage.holders.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Head {
    /// Samples in order of all series from `min_time` to `max_time`, both included.
    pub fn source(&self, min_time: i64, max_time: i64) -> HeadSource<'_> {
        let hold = Hold::new(self);
        self.rank_all();
        let index = self.read_index();
        let mut slots: Vec<u32> = index.slots().iter().collect();
        index.sort_by_labels(&mut slots);
        let series = slots.into_iter().map(|slot| (index.handle(slot), 0)).collect();
        let symbols = index.numbered_symbols(None);
        drop(index);
        self.source_with(symbols, series, min_time, max_time, false, hold)
    }

    /// Likewise of some series, those that are still there.
    pub fn source_of(&self, handles: &[SeriesHandle], min_time: i64, max_time: i64) -> HeadSource<'_> {
        let handles = handles.iter().map(|handle| (*handle, 0)).collect();
        self.sorted_source(handles, min_time, max_time, false)
    }

    fn sorted_source(&self, mut handles: Vec<(SeriesHandle, u32)>, min_time: i64, max_time: i64, late: bool) -> HeadSource<'_> {
        let hold = Hold::new(self);
        let index = self.read_index();
        handles.retain(|(handle, _)| index.slots().contains(handle.slot.0) && index.handle(handle.slot.0) == *handle);
        handles.sort_unstable_by_key(|(handle, _)| handle.slot);
        handles.dedup_by_key(|(handle, _)| handle.slot);
        let mut slots: Vec<u32> = handles.iter().map(|(handle, _)| handle.slot.0).collect();
        index.sort_by_labels(&mut slots);
        let of_slot = |slot: u32| handles.binary_search_by_key(&slot, |(handle, _)| handle.slot.0).ok().map(|at| handles[at]);
        let series: Vec<(SeriesHandle, u32)> = slots.iter().copied().filter_map(of_slot).collect();
        let symbols = index.numbered_symbols(Some(&slots));
        drop(index);
        self.source_with(symbols, series, min_time, max_time, late, hold)
    }

    fn source_with<'h>(
        &'h self,
        symbols: Numbered,
        series: Vec<(SeriesHandle, u32)>,
        min_time: i64,
        max_time: i64,
        late: bool,
        hold: Hold<'h>,
    ) -> HeadSource<'h> {
        let range = Interval { start: Timestamp(min_time), end: Timestamp(max_time) };
        // What the file has that is being written is read many times now.
        if let Some(mapped) = self.mapped() {
            mapped.map_written();
        }
        HeadSource {
            head: self,
            symbols,
            series,
            range,
            late,
            next: 0,
            batch: Copied::default(),
            labels: Vec::new(),
            label_ends: Vec::new(),
            at: 0,
            _hold: hold,
        }
    }

    /// Ranks all series, giving the lock of the index back now and then. No slot may be reclaimed meanwhile.
    fn rank_all(&self) {
        if !Index::is_worth_ranking(self.read_index().series_count()) {
            return;
        }
        let ranker = self.read_index().begin_ranks();
        if let Some(mut ranker) = ranker {
            while self.read_index().copy_keys(&mut ranker, RANKED_AT_ONCE) {}
            let ordered = ranker.sort();
            self.read_index().set_ranks(ordered);
        } else {
            while self.read_index().extend_ranks(RANKED_AT_ONCE) {}
        }
    }

    /// Takes the out-of-order samples of now for a compaction; none if there are none. Their log gets a new segment: what is
    /// inserted from now on lies there.
    ///
    /// # Errors
    /// When the log cannot begin a segment.
    pub fn take_out_of_order(&self, log: Option<&Wal>) -> io::Result<Option<Taken<'_>>> {
        self.wait_for_commits();
        if self.late_time_range().is_none() {
            return Ok(None);
        }
        let segment = log.map(Wal::begin_segment).transpose()?;
        // Whoever inserts has its records in the log's queue before the next one does: a sample that is inserted after this lies
        // in the new segment.
        let _in_order = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let options = self.cutting().encode;
        let mut taken = Taken { head: self, series: Vec::new(), range: (i64::MAX, i64::MIN), segment, place: None };
        for number in 0.. {
            let Some(mut slab) = self.slabs.lock_number(number) else { break };
            let mut waiting: Vec<Slot> = Vec::new();
            for (slot, series) in slab.all_mut(number).filter(|(_, series)| series.ooo().is_some()) {
                let full = series.ooo_mut().cut();
                if let Some(full) = full
                    && !self.keep_full(series, &full, &options).1
                {
                    waiting.push(slot);
                }
                if let Some((min, max)) = series.ooo().and_then(|ooo| ooo.time_range()) {
                    taken.range = (taken.range.0.min(min), taken.range.1.max(max));
                    let chunks = series.ooo().map_or(0, |ooo| ooo.full().len()) as u32;
                    taken.series.push((SeriesHandle { slot, series_ref: series.series_ref() }, chunks));
                }
            }
            waiting.into_iter().for_each(|slot| slab.await_file(slot));
        }
        taken.place = self.mapped().and_then(|mapped| mapped.end());
        Ok((!taken.series.is_empty()).then_some(taken))
    }

    /// Drops what was taken, which is in blocks now. Its part of the log, and its chunks in files that have others, too, are
    /// left to the caller.
    ///
    /// # Errors
    /// When files of chunks cannot be deleted; the samples are dropped nevertheless, and the next truncation tries again.
    pub fn forget_out_of_order(&self, taken: Taken<'_>) -> io::Result<()> {
        let (mut min, mut max, mut dropped) = (i64::MAX, i64::MIN, 0);
        let _in_order = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let min_valid = self.min_valid_time();
        let mut taken_series = taken.series.iter().peekable();
        for number in 0.. {
            let Some(mut slab) = self.slabs.lock_number(number) else { break };
            while let Some((handle, chunks)) = taken_series.next_if(|(handle, _)| slab_number(handle.slot) == number) {
                let Some(series) = slab.series_mut(handle.slot).filter(|series| series.series_ref() == handle.series_ref) else { continue };
                let (mut left, mut settled) = (*chunks, i64::MIN);
                series.ooo_mut().retain(|chunk| {
                    let keep = left == 0;
                    left = left.saturating_sub(1);
                    settled = if keep { settled } else { settled.max(chunk.max_time) };
                    keep
                });
                if settled >= min_valid {
                    series.note_late(settled);
                }
                dropped += u64::from(*chunks);
                series.settle();
            }
            for (first, last) in slab.all(number).filter_map(|(_, series)| series.ooo()?.time_range()) {
                (min, max) = (min.min(first), max.max(last));
            }
        }
        self.times.late_min.store(min, Ordering::Release);
        self.times.late_max.store(max, Ordering::Release);
        self.counters.chunks_removed.fetch_add(dropped, Ordering::Relaxed);
        drop(_in_order);
        self.collect_garbage();
        self.delete_files()
    }
}

/// Out-of-order samples that are being written to blocks. They stay in the head until they are forgotten.
pub struct Taken<'h> {
    head: &'h Head,
    /// By slot, with the number of chunks: later ones come behind them.
    series: Vec<(SeriesHandle, u32)>,
    range: (i64, i64),
    segment: Option<SegmentIndex>,
    place: Option<Place>,
}

impl<'h> Taken<'h> {
    /// Times of the first and the last sample.
    pub fn range(&self) -> (i64, i64) {
        self.range
    }

    /// The segment of the log that has what was inserted later; none if there is no log.
    pub fn segment(&self) -> Option<SegmentIndex> {
        self.segment
    }

    /// Chunks before this place in files hold nothing that was inserted later; none if there are none.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// The samples from `min_time` to `max_time`, both included.
    pub fn source(&self, min_time: i64, max_time: i64) -> HeadSource<'h> {
        self.head.sorted_source(self.series.clone(), min_time, max_time, true)
    }
}

impl HeadSource<'_> {
    /// Copies the next series; whether there are any.
    fn refill(&mut self) -> bool {
        self.at = 0;
        while self.next < self.series.len() {
            let from = self.next;
            self.next = self.series.len().min(from + BATCH);
            let series = &self.series[from..self.next];
            self.batch = Copied::default();
            for (handle, chunks) in series {
                let Some(slab) = self.head.slabs.lock(handle.slot) else { continue };
                if slab.series(handle.slot).is_none_or(|series| series.series_ref() != handle.series_ref) {
                    continue;
                }
                if self.late {
                    self.batch.copy_late(self.head, &slab, handle.slot.0, self.range, *chunks as usize);
                } else {
                    self.batch.copy_in_order(self.head, &slab, handle.slot.0, self.range);
                }
            }
            if !self.batch.series.is_empty() {
                let index = self.head.read_index();
                self.labels.clear();
                self.label_ends.clear();
                for entry in &self.batch.series {
                    self.labels.extend(index.numbered_labels(entry.slot, &self.symbols));
                    self.label_ends.push(self.labels.len());
                }
                return true;
            }
        }
        false
    }
}

impl SeriesSource for HeadSource<'_> {
    fn symbols(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.symbols.texts.iter())
    }

    fn next(&mut self, series: &mut SourceSeries) -> Result<bool, SourceError> {
        series.clear();
        if self.at == self.batch.series.len() && !self.refill() {
            return Ok(false);
        }
        let entry = &self.batch.series[self.at];
        let labels_from = self.at.checked_sub(1).map_or(0, |before| self.label_ends[before]);
        series.set_labels(self.labels[labels_from..self.label_ends[self.at]].iter().copied());
        self.at += 1;
        let pushed =
            self.batch.each_in_order(entry, |min_time, max_time, encoding, bytes| series.push_chunk(min_time, max_time, encoding, bytes));
        pushed.map_err(SourceError::new)?;
        for part in entry.late() {
            match &part.samples {
                OooSamples::Full { chunk, .. } => {
                    let pushed = self.batch.read(chunk, |encoding, bytes| series.push_chunk(part.min_time, part.max_time, encoding, bytes));
                    pushed.map_err(SourceError::new)?;
                }
                OooSamples::Open(samples) => {
                    for chunk in encode(samples, &EncodeOptions::default()) {
                        series.push_chunk(chunk.min_time, chunk.max_time, chunk.encoding, &chunk.bytes);
                    }
                }
            }
        }
        if let Some(deleted) = entry.deleted() {
            series.set_deleted(deleted.clone());
        }
        Ok(true)
    }
}

impl Copied {
    fn copy_in_order(&mut self, head: &Head, slab: &super::slab::Slab, slot: u32, range: Interval) {
        if self.copy(head, slab, slot, range, Wanted::All, Sequence(u64::MAX))
            && let Some(entry) = self.series.last_mut()
        {
            entry.drop_late();
        }
    }

    fn copy_late(&mut self, head: &Head, slab: &super::slab::Slab, slot: u32, range: Interval, chunks: usize) {
        let Some(series) = slab.series(Slot(slot)) else { return };
        let Some(ooo) = series.ooo() else { return };
        let full = ooo.full().iter().take(chunks).filter(|full| full.max_time >= range.start.0 && full.min_time <= range.end.0);
        let late: Vec<(i64, i64, FullChunk)> = full.map(|full| (full.min_time, full.max_time, full.chunk.clone())).collect();
        self.push_late(head, slot, late, series.deleted());
    }
}

impl Head {
    /// Refs of all series, ascending.
    pub fn refs(&self) -> Vec<SeriesRef> {
        let mut refs = Vec::new();
        for number in 0.. {
            let Some(slab) = self.slabs.lock_number(number) else { break };
            refs.extend(slab.all(number).map(|(_, series)| series.series_ref()));
        }
        refs.sort_unstable();
        refs
    }
}
