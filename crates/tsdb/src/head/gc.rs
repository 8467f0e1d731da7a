//! Dropping what is in blocks by now, and series that have nothing left.
//!
//! # Why a commit never loses its series
//!
//! A commit looks up a series, checks its rows, waits for the log and applies them: in between it holds no lock, only slot and ref.
//!
//! - Removal first *marks* series, each under its slab's lock, then waits until every commit that began before the marking was
//!   done has ended, and then *buries* those that are still marked and qualify still, each under the index's write lock and its slab's.
//! - A commit that began before is waited for: its samples are in place, and a series that got one is not empty any more.
//! - A commit that began after the marking takes the mark off wherever it means to append: when it finds a series by labels,
//!   under the index's lock, where nothing can be buried at the same time; and when it checks a row, under the slab's. If it comes
//!   there before the burial, the series stays. If after, it finds no series by those labels and creates one, or finds that
//!   the ref differs and answers [`storage::RowOutcome::Gone`].
//! - A mark that was set again after that is of a later round, which waits for this commit.
//!
//! # Why a select never reads another series
//!
//! A select that began before the burial may hold the slot: that it does not find another series there, the slot stays in
//! limbo, labels and all, until every view that was open at the burial is closed, and no source is left (a compaction reads longer than
//! a view should be open, and needs none). A select keeps its view until it has built its labels.

use super::Head;
use super::index::Limbo;
use super::sequence::Sequence;
use super::series::MemSeries;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage::{SeriesHandle, SeriesRef, Slot};

/// Series that are removed under one hold of the index's lock: a millisecond's work.
const STEP: usize = 256;

/// What removal keeps between its steps.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// Whether some series may be marked.
    marked: AtomicBool,
    /// Sources that hold slots without a view.
    pub(super) holders: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Slots that views up to the given one may hold.
    limbo: Vec<(Sequence, Limbo)>,
    /// Removed since the last [`Head::take_removed`].
    removed: Vec<SeriesRef>,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Series removed.
    pub removed: usize,
    /// Slots of removed series that open selects may still hold: another collection makes them free.
    pub in_limbo: usize,
}

impl Head {
    /// Drops chunks in order that are older than `time`, which are in blocks now, and series that have nothing left. Samples
    /// before `time` are out of bounds from now on.
    ///
    /// # Errors
    /// When a file of chunks cannot be deleted; all else is done, and the next truncation tries again.
    pub fn truncate(&self, time: i64) -> io::Result<Collected> {
        // What a commit appends that begins from now on is not older; the others are waited for.
        let appendable_from = self.appendable_from();
        self.times.min_valid.fetch_max(time, Ordering::AcqRel);
        if self.time_range().is_none_or(|(min, _)| min >= time) {
            return Ok(self.collect_garbage());
        }
        self.wait_for_commits();
        self.times.max.fetch_max(time, Ordering::AcqRel);
        self.counters.truncations.fetch_add(1, Ordering::Relaxed);
        let (mut dropped, mut oldest) = (0, None);
        for number in 0.. {
            let Some(mut slab) = self.slabs.lock_number(number) else { break };
            for (_, series) in slab.all_mut(number) {
                dropped += series.truncate_before(time);
                oldest = oldest.into_iter().chain(series.oldest_time()).min();
            }
        }
        // The next block begins with the range that the next samples lie in: there may be years without any.
        let width = self.options.chunk_range_ms;
        let begins = oldest.map(|oldest| appendable_from.map_or(oldest, |from| oldest.min(from)).div_euclid(width).saturating_mul(width));
        self.times.min.store(begins.map_or(time, |begins| begins.max(time)), Ordering::Release);
        self.counters.chunks_removed.fetch_add(dropped as u64, Ordering::Relaxed);
        let collected = self.collect_garbage();
        self.delete_files()?;
        Ok(collected)
    }

    /// Deletes files of chunks that no series needs.
    pub(super) fn delete_files(&self) -> io::Result<()> {
        let Some(mapped) = &self.mapped else { return Ok(()) };
        let _one = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        // Chunks that are written from now on go to this file or later ones.
        let mut needed = mapped.writing();
        for number in 0.. {
            let Some(slab) = self.slabs.lock_number(number) else { break };
            needed = slab.all(number).filter_map(|(_, series)| series.oldest_file()).fold(needed, u32::min);
        }
        mapped.truncate(needed)
    }

    /// Removes series that have no samples, and frees slots that nobody can hold any more. It waits for the commits of now.
    pub fn collect_garbage(&self) -> Collected {
        let removed = self.remove(|_| true, |series| series.is_empty()).len();
        self.collected(removed)
    }

    /// Drops series with all their samples that [`Self::stale_series`] named, whose samples are in a block now, unless somebody
    /// appended to them since. The log needs a tombstone for each of those that are returned, or replay brings them back.
    pub fn remove_stale(&self, handles: &[SeriesHandle], newest: i64) -> Vec<SeriesHandle> {
        let mut wanted: Vec<SeriesHandle> = handles.to_vec();
        wanted.sort_unstable_by_key(|handle| handle.slot);
        let is_wanted =
            |handle: SeriesHandle| wanted.binary_search_by_key(&handle.slot, |known| known.slot).is_ok_and(|at| wanted[at] == handle);
        let removed = self.remove(is_wanted, |series| is_stale(series, newest));
        self.collected(removed.len());
        removed
    }

    /// Series that a staleness marker has ended, of not later than `newest`, and that have no out-of-order samples.
    pub fn stale_series(&self, newest: i64) -> Vec<SeriesHandle> {
        let mut stale = Vec::new();
        for number in 0.. {
            let Some(slab) = self.slabs.lock_number(number) else { break };
            let ended = slab.all(number).filter(|(_, series)| !series.is_empty() && is_stale(series, newest));
            stale.extend(ended.map(|(slot, series)| SeriesHandle { slot, series_ref: series.series_ref() }));
        }
        stale
    }

    /// Refs of series that were removed since the last call: the log may hold samples of theirs, so that its checkpoints need
    /// their labels for as long as it does.
    pub fn take_removed(&self) -> Vec<SeriesRef> {
        std::mem::take(&mut self.garbage().removed)
    }

    /// Refs that [`Self::take_removed`] is to give, too.
    pub(super) fn add_removed(&self, refs: Vec<SeriesRef>) {
        self.garbage().removed.extend(refs);
    }

    /// Waits until every commit that has begun is in place: later ones take nothing that is older than [`Self::appendable_from`].
    pub fn wait_for_commits(&self) {
        self.commits.wait_for(self.commits.turn());
    }

    /// Takes the marks off series that a commit has found. The index must be locked.
    pub(super) fn keep_alive(&self, handles: &[Option<SeriesHandle>]) {
        if !self.garbage.marked.load(Ordering::Acquire) {
            return;
        }
        for handle in handles.iter().flatten() {
            if let Some(mut slab) = self.slabs.lock(handle.slot) {
                slab.keep_alive(handle.slot);
            }
        }
    }

    /// Removes series that `is_wanted` and `may_go` hold for, the latter from the marking to the burial.
    fn remove(&self, is_wanted: impl Fn(SeriesHandle) -> bool, may_go: impl Fn(&MemSeries) -> bool) -> Vec<SeriesHandle> {
        // One removal at a time.
        let mut state = self.garbage();
        // Before the first mark, and so before the turn: a commit that begins after it sees this.
        self.garbage.marked.store(true, Ordering::Release);
        let mut marked: Vec<Slot> = Vec::new();
        for number in 0.. {
            let Some(mut slab) = self.slabs.lock_number(number) else { break };
            let from = marked.len();
            let candidates = slab
                .all(number)
                .filter(|(slot, series)| may_go(series) && is_wanted(SeriesHandle { slot: *slot, series_ref: series.series_ref() }));
            marked.extend(candidates.map(|(slot, _)| slot));
            marked[from..].iter().for_each(|slot| slab.mark_dying(*slot));
        }
        let mut removed = Vec::new();
        if !marked.is_empty() {
            self.commits.wait_for(self.commits.turn());
        }
        for step in marked.chunks(STEP) {
            let mut index = self.write_index();
            let from = removed.len();
            for slot in step {
                let Some(mut slab) = self.slabs.lock(*slot) else { continue };
                if let Some((series_ref, chunks)) = slab.bury(*slot, &may_go) {
                    self.counters.chunks_removed.fetch_add(chunks as u64, Ordering::Relaxed);
                    removed.push(SeriesHandle { slot: *slot, series_ref });
                }
            }
            let slots: Vec<u32> = removed[from..].iter().map(|handle| handle.slot.0).collect();
            let limbo = index.remove(&slots);
            drop(index);
            let mut metadata = self.metadata();
            slots.iter().for_each(|slot| metadata.remove(Slot(*slot)));
            drop(metadata);
            if !limbo.is_empty() {
                // Views of now may hold the slots; a view that is opened later cannot find them.
                state.limbo.push((self.sequencer.watermark(), limbo));
            }
        }
        self.garbage.marked.store(false, Ordering::Release);
        state.removed.extend(removed.iter().map(|handle| handle.series_ref));
        self.counters.series_removed.fetch_add(removed.len() as u64, Ordering::Relaxed);
        removed
    }

    /// Frees what nobody can hold any more.
    fn collected(&self, removed: usize) -> Collected {
        let mut state = self.garbage();
        let mut reclaimed = false;
        for (upto, limbo) in std::mem::take(&mut state.limbo) {
            if self.garbage.holders.load(Ordering::Acquire) > 0 || self.sequencer.has_view_up_to(upto) {
                state.limbo.push((upto, limbo));
            } else {
                // One at a time: whoever needs the index does not wait for all.
                self.write_index().reclaim(limbo);
                reclaimed = true;
            }
        }
        while reclaimed && self.write_index().compact() {}
        Collected { removed, in_limbo: state.limbo.iter().map(|(_, limbo)| limbo.slots().len()).sum() }
    }

    fn garbage(&self) -> MutexGuard<'_, State> {
        self.garbage.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stale(series: &MemSeries, newest: i64) -> bool {
    series.is_stale() && series.newest_time().is_some_and(|time| time <= newest) && series.ooo().is_none()
}
