//! Adding very many series at once, as a start does.
//!
//! Series come in the order of their targets, so most pairs stay the same from one to the next: a pair enters its postings as runs of
//! slots, and the dictionaries are sorted once.

use super::{Index, LAST, NO_PAIR, PairId, Row, pairs_of, place, spread};
use crate::neighbours::LabelRow;
use storage::{SeriesHandle, SeriesRef, Slot};

/// What of the index waits for [`Index::list_all`].
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// Slots that are not in the postings of a pair yet, by the place of the pair in the series' lists.
    unlisted: Vec<Run>,
    /// New slots at the end that are not in `alive` yet.
    pub(super) alive: std::ops::Range<u32>,
    /// Pairs by number of [`LabelRow::numbers`].
    pairs: Vec<u32>,
    prepared: Vec<Prepared>,
    /// The lists of those.
    lists: Vec<u32>,
}

/// A series that is to be found or added.
#[derive(Debug)]
struct Prepared {
    series_ref: SeriesRef,
    hash: u32,
    /// No series had all of its pairs when it was prepared, nor has any that was prepared before.
    has_new_pairs: bool,
    /// Where its list begins.
    start: usize,
}

/// In place of a pair whose number was not met yet.
const UNKNOWN: u32 = u32::MAX;

/// Slots that follow each other and have a pair.
#[derive(Debug)]
struct Run {
    pair: PairId,
    slots: std::ops::Range<u32>,
}

impl Index {
    /// Takes a series along that [`Self::find_or_insert_unlisted`] is to find or add.
    pub fn prepare(&mut self, row: &LabelRow<'_>, series_ref: SeriesRef) {
        let hash = self.hash(row.packed);
        let (mut list, has_new_pairs) = self.list_of(row);
        self.bulk.prepared.push(Prepared { series_ref, hash, has_new_pairs, start: self.bulk.lists.len() });
        self.bulk.lists.append(&mut list);
        self.scratch = list;
    }

    /// Finds the series that were prepared, or adds them as [`Self::insert`] does, and tells each one's handle under its ref and whether it is
    /// new. Look-ups by pair see the new ones only after [`Self::list_all`], which must come before anything is removed.
    pub fn find_or_insert_unlisted(&mut self, mut each: impl FnMut(SeriesRef, SeriesHandle, bool)) {
        let (mut prepared, mut lists) = (std::mem::take(&mut self.bulk.prepared), std::mem::take(&mut self.bulk.lists));
        // Nearly all look-ups wait for memory. Here none depends on another, so the processor waits for many at a time; what they
        // find is near by when it is needed.
        let known = prepared.iter().filter(|series| self.by_labels.find(spread(series.hash), |_| false).is_some()).count();
        std::hint::black_box(known);
        let ends = prepared.iter().skip(1).map(|next| next.start).chain([lists.len()]);
        for (series, end) in prepared.iter().zip(ends) {
            let list = &lists[series.start..end];
            let known = if series.has_new_pairs { None } else { self.find_list(series.hash, list) };
            let handle = known.unwrap_or_else(|| self.add(series.hash, list, series.series_ref));
            each(series.series_ref, handle, known.is_none());
        }
        prepared.clear();
        lists.clear();
        (self.bulk.prepared, self.bulk.lists) = (prepared, lists);
    }

    /// How many series are prepared.
    pub fn prepared_count(&self) -> usize {
        self.bulk.prepared.len()
    }

    /// To be called for each row that is not prepared.
    pub fn pass_over(&mut self, row: &LabelRow<'_>) {
        if row.begins {
            self.bulk.pairs.clear();
        }
    }

    fn add(&mut self, hash: u32, list: &[u32], series_ref: SeriesRef) -> SeriesHandle {
        let slot = self.next_slot();
        for (at, pair) in pairs_of(list).enumerate() {
            match self.bulk.unlisted.get_mut(at) {
                Some(run) if run.pair == pair && run.slots.end == slot => run.slots.end = slot + 1,
                Some(run) => {
                    let before = std::mem::replace(run, Run { pair, slots: slot..slot + 1 });
                    self.pairs.acquire_run(before.pair, before.slots);
                }
                None => self.bulk.unlisted.push(Run { pair, slots: slot..slot + 1 }),
            }
        }
        self.rows[slot as usize] = Row { place: place(self.lists.store(list)), hash, series_ref };
        let rows = &self.rows;
        self.by_labels.insert(spread(hash), slot, |slot| spread(rows[slot as usize].hash));
        if self.bulk.alive.end == slot {
            self.bulk.alive.end = slot + 1;
        } else {
            self.alive.insert_range(std::mem::replace(&mut self.bulk.alive, slot..slot + 1));
        }
        SeriesHandle { slot: Slot(slot), series_ref }
    }

    /// The list of pairs of a series, and whether one of them is new.
    fn list_of(&mut self, row: &LabelRow<'_>) -> (Vec<u32>, bool) {
        self.pass_over(row);
        let numbered = &mut self.bulk.pairs;
        numbered.resize(row.texts.len().max(numbered.len()), UNKNOWN);
        let mut list = std::mem::take(&mut self.scratch);
        let mut any_new = false;
        for number in row.numbers {
            let pair = &mut numbered[*number as usize];
            if *pair == UNKNOWN {
                let (name, value) = row.texts[*number as usize];
                let (found, is_new) = self.pairs.find_or_add(name, value);
                any_new |= is_new;
                *pair = found.0;
            }
            list.push(*pair);
        }
        match list.last_mut() {
            Some(last) => *last |= LAST,
            None => list.push(NO_PAIR | LAST),
        }
        (list, any_new)
    }

    fn find_list(&self, hash: u32, list: &[u32]) -> Option<SeriesHandle> {
        let is = |slot: u32| self.rows[slot as usize].hash == hash && self.list(self.rows[slot as usize].place) == list;
        self.by_labels.find(spread(hash), is).map(|slot| self.handle(slot))
    }

    /// Makes all series ones that are found by their pairs.
    pub fn list_all(&mut self) {
        for Run { pair, slots } in std::mem::take(&mut self.bulk.unlisted) {
            self.pairs.acquire_run(pair, slots);
        }
        self.pairs.list_new();
        self.alive.insert_range(std::mem::take(&mut self.bulk.alive));
        self.bulk = Bulk::default();
    }
}
