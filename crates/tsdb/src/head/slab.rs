//! Where the head's series lie.
//!
//! Series created together (one target's) lie together, 1,024 to a slab with one lock, so a commit of one target takes
//! few locks and touches neighbouring memory.
//!
//! # Invariants
//! - A slot is vacant or has a series; a vacant one has the ref 0, which no series has.
//! - `waiting` names each series that has a full chunk in memory (and perhaps others).
//! - A series that is marked as dying has got no sample since, unless from a commit that had begun before.

use super::sequence::Sequence;
use super::series::{Cutting, Grown, MemSeries};
use crate::chunk::{Sample, Value};
use crate::prefetch::prefetch;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use storage::{SeriesHandle, SeriesRef, Slot};

/// Slots of a slab.
pub const SLAB_SLOTS: u32 = 1024;
/// Slabs that a head can have: 33 million series.
const SLABS_MAX: usize = 1 << 15;
/// Series that a head can have.
pub const SLOTS_MAX: u64 = SLABS_MAX as u64 * SLAB_SLOTS as u64;

/// What appending in order did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The sample is there.
    Stored(Grown),
    /// The series has a sample as late or later.
    Late,
}

/// Series of 1,024 consecutive slots.
#[derive(Debug, Default)]
pub struct Slab {
    series: Vec<MemSeries>,
    /// For views older than a series' last commit: commits before that one, and what lies before them.
    older: Vec<Older>,
    /// Series with full chunks that no file has yet.
    waiting: Marks,
    dying: Marks,
}

#[derive(Clone, Copy, Debug)]
struct Older {
    index: u16,
    sequence: Sequence,
    before: i64,
}

/// A bit for each slot of a slab.
#[derive(Clone, Debug, Default)]
struct Marks([u64; SLAB_SLOTS as usize / 64]);

impl Marks {
    fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }
    #[inline]
    fn clear(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }
    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }
}

/// All slabs.
#[derive(Debug)]
pub struct Slabs(Box<[OnceLock<Box<Mutex<Slab>>>]>);

impl Default for Slabs {
    fn default() -> Self {
        Self((0..SLABS_MAX).map(|_| OnceLock::new()).collect())
    }
}

impl Slabs {
    /// Locks the slab of a slot.
    pub fn lock(&self, slot: Slot) -> Option<MutexGuard<'_, Slab>> {
        self.lock_number(slab_number(slot))
    }

    /// Locks a slab by its number; none where no series ever was.
    pub fn lock_number(&self, number: usize) -> Option<MutexGuard<'_, Slab>> {
        Some(self.0.get(number)?.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts new series into slots that are vacant, or the next ones.
    pub fn place(&self, all: impl IntoIterator<Item = SeriesHandle>) {
        let mut locked: Option<(usize, MutexGuard<'_, Slab>)> = None;
        for SeriesHandle { slot, series_ref } in all {
            let number = slab_number(slot);
            if locked.as_ref().is_none_or(|(locked, _)| *locked != number) {
                // The one before is given back first.
                drop(locked.take());
                locked = Some((number, self.get_or_make(number).lock().unwrap_or_else(PoisonError::into_inner)));
            }
            if let Some((_, slab)) = &mut locked {
                slab.place(slot, series_ref);
            }
        }
    }

    fn get_or_make(&self, number: usize) -> &Mutex<Slab> {
        // At its full size at once: a slab fills up, and growing would copy it ten times.
        self.0[number].get_or_init(|| Box::new(Mutex::new(Slab { series: Vec::with_capacity(SLAB_SLOTS as usize), ..Slab::default() })))
    }
}

/// Which slab a slot lies in.
pub fn slab_number(slot: Slot) -> usize {
    (slot.0 / SLAB_SLOTS) as usize
}

fn index_in_slab(slot: Slot) -> usize {
    (slot.0 % SLAB_SLOTS) as usize
}

impl Slab {
    /// The series in a slot of this slab.
    #[inline]
    pub fn series(&self, slot: Slot) -> Option<&MemSeries> {
        self.series.get(index_in_slab(slot)).filter(|series| series.series_ref().0 != 0)
    }

    /// Has the processor fetch the slot, to be looked at soon; nothing if it lies in another slab.
    #[inline]
    pub fn prefetch(&self, near: Slot, slot: Slot) {
        if let Some(series) = self.neighbour(near, slot) {
            prefetch(series);
            // Nearly all lie in two lines.
            prefetch(std::ptr::from_ref(series).wrapping_add(1).cast::<u8>().wrapping_sub(1));
        }
    }

    /// Likewise the open chunk's header and end; the slot itself had better be there by now.
    #[inline]
    pub fn prefetch_chunk(&self, near: Slot, slot: Slot) {
        if let Some(series) = self.neighbour(near, slot) {
            series.prefetch_chunk();
        }
    }

    fn neighbour(&self, near: Slot, slot: Slot) -> Option<&MemSeries> {
        if slab_number(near) == slab_number(slot) { self.series.get(index_in_slab(slot)) } else { None }
    }

    fn place(&mut self, slot: Slot, series_ref: SeriesRef) {
        let index = index_in_slab(slot);
        if let Some(place) = self.series.get_mut(index) {
            assert!(place.series_ref().0 == 0, "a slot is given to one series at a time");
            *place = MemSeries::new(series_ref);
        } else {
            assert_eq!(self.series.len(), index, "new slots are given out in order");
            self.series.push(MemSeries::new(series_ref));
        }
    }

    /// The series in a slot of this slab, to be changed.
    pub fn series_mut(&mut self, slot: Slot) -> Option<&mut MemSeries> {
        self.series.get_mut(index_in_slab(slot)).filter(|series| series.series_ref().0 != 0)
    }

    /// All series of this slab, which is the one with this number.
    pub fn all(&self, number: usize) -> impl Iterator<Item = (Slot, &MemSeries)> {
        let series = (number as u32 * SLAB_SLOTS..).map(Slot).zip(&self.series);
        series.filter(|(_, series)| series.series_ref().0 != 0)
    }

    /// Likewise, to be changed.
    pub fn all_mut(&mut self, number: usize) -> impl Iterator<Item = (Slot, &mut MemSeries)> {
        let series = (number as u32 * SLAB_SLOTS..).map(Slot).zip(&mut self.series);
        series.filter(|(_, series)| series.series_ref().0 != 0)
    }

    /// Appends a float in order, as part of a commit. The second result is the highest commit that wrote to the series.
    #[inline]
    pub fn append_float(&mut self, slot: Slot, commit: &Commit, start: i64, time: i64, value: f64) -> (Appended, Sequence) {
        self.append_with(slot, commit, time, |series| series.append_float(slot, &commit.cutting, start, time, value))
    }

    /// Appends a sample of any kind in order, likewise.
    pub fn append(&mut self, slot: Slot, commit: &Commit, sample: &Sample) -> (Appended, Sequence) {
        match sample.value {
            Value::Float(value) => self.append_float(slot, commit, sample.start, sample.time, value),
            _ => self.append_with(slot, commit, sample.time, |series| series.append(slot, &commit.cutting, sample)),
        }
    }

    #[inline]
    fn append_with(
        &mut self,
        slot: Slot,
        commit: &Commit,
        time: i64,
        append: impl FnOnce(&mut MemSeries) -> Grown,
    ) -> (Appended, Sequence) {
        let index = index_in_slab(slot);
        let series = &mut self.series[index];
        let newest = series.newest_time();
        if newest.is_some_and(|newest| newest >= time) {
            return (Appended::Late, commit.sequence);
        }
        // All before `limit` and up to it is older than the commit that the sample counts to.
        let limit = if series.last_commit < commit.sequence {
            if series.last_commit > commit.floor {
                let before = newest.map_or(i64::MIN, |newest| newest.saturating_sub(i64::from(series.since)));
                self.older.push(Older { index: index as u16, sequence: series.last_commit, before });
            }
            series.last_commit = commit.sequence;
            time.saturating_sub(1)
        } else {
            newest.map_or(time.saturating_sub(1), |newest| newest.saturating_sub(i64::from(series.since)))
        };
        series.since = u32::try_from(time.wrapping_sub(limit) as u64).unwrap_or_else(|_| {
            self.older.push(Older { index: index as u16, sequence: series.last_commit, before: limit });
            u32::MAX
        });
        let grown = append(series);
        let last_commit = series.last_commit;
        if grown == Grown::Next {
            self.wait(index);
        }
        (Appended::Stored(grown), last_commit)
    }

    fn wait(&mut self, index: usize) {
        self.waiting.set(index);
    }

    /// Notes that a series has a full chunk that waits for a file.
    pub fn await_file(&mut self, slot: Slot) {
        self.wait(index_in_slab(slot));
    }

    /// Series that have, or had, full chunks that wait for a file; they are forgotten here.
    pub fn take_waiting(&mut self, number: usize) -> Vec<Slot> {
        let waiting = std::mem::take(&mut self.waiting);
        (0..SLAB_SLOTS).filter(|index| waiting.has(*index as usize)).map(|index| Slot(number as u32 * SLAB_SLOTS + index)).collect()
    }

    /// Forgets what no view can ask for any more.
    #[inline]
    pub fn forget_below(&mut self, floor: Sequence) {
        if !self.older.is_empty() {
            self.older.retain(|older| older.sequence > floor);
        }
    }

    /// No sample in order after this time is one that a view of commits up to `upto` sees, and it sees all others; none
    /// if it sees no sample.
    pub fn visible_until(&self, slot: Slot, upto: Sequence) -> Option<i64> {
        let series = self.series(slot)?;
        let newest = series.newest_time()?;
        if series.last_commit <= upto {
            return Some(newest);
        }
        let index = index_in_slab(slot);
        let hidden = self.older.iter().filter(|older| usize::from(older.index) == index && older.sequence > upto);
        let until = hidden.map(|older| older.before).fold(newest.saturating_sub(i64::from(series.since)), i64::min);
        (until > i64::MIN).then_some(until)
    }

    /// Marks a series: it may be buried unless somebody takes the mark off.
    pub fn mark_dying(&mut self, slot: Slot) {
        self.dying.set(index_in_slab(slot));
    }

    /// Takes the mark off: somebody is about to append.
    #[inline]
    pub fn keep_alive(&mut self, slot: Slot) {
        self.dying.clear(index_in_slab(slot));
    }

    /// Makes the slot of a series vacant that is still marked and for which `may_go` holds; its ref, and how many chunks it had.
    pub fn bury(&mut self, slot: Slot, may_go: impl Fn(&MemSeries) -> bool) -> Option<(SeriesRef, usize)> {
        let index = index_in_slab(slot);
        let marked = self.dying.has(index);
        self.dying.clear(index);
        let series = self.series(slot).filter(|series| marked && may_go(series))?;
        let buried = (series.series_ref(), series.chunk_count());
        self.series[index] = MemSeries::new(SeriesRef(0));
        self.older.retain(|older| usize::from(older.index) != index);
        Some(buried)
    }
}

/// The commit that an append belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Its number.
    pub sequence: Sequence,
    /// No view older than this is open or will be.
    pub floor: Sequence,
    /// How chunks are cut.
    pub cutting: Cutting,
}
