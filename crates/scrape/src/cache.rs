//! Which series a target's lines mean, remembered from scrape to scrape in 32 bytes each.
//!
//! Targets repeat their order, so the cache is an array in the order of the last page, and the next line is compared with
//! the next entry. Only a surprise looks further: a few entries ahead (series that vanished), then into an index that is
//! built for the rest of this scrape alone.
//!
//! # Keys
//! A line's key is the 128-bit XXH3 hash of its raw `name{…}` bytes, seeded with a number of this process and with what
//! else decides about its labels (format, normalising, the family's type and unit where they become labels). Two different lines of one target have the same key with a
//! probability of n²/2¹²⁹: 10⁻²⁶ for a million series. Someone who could aim at collisions would have to know the seed,
//! and would win nothing: a cache belongs to one target, which may say what it likes of its own series anyway.
//!
//! # Invariants
//! - No two entries have the same key.
//! - An entry is `tracked` only if it was `seen` in the scrape under way.
//! - Once a scrape is finished, entries stand in the order of its lines.

use hashbrown::HashTable;
use storage::{SeriesHandle, SeriesRef, Slot};

/// The key of a line; see the module.
pub type Key = u128;

/// The key of a line. `kind` is what beside the bytes decides about the labels.
#[inline]
pub fn key(seed: u64, kind: u8, series: &[u8]) -> Key {
    twox_hash::xxhash3_128::Hasher::oneshot_with_seed(seed ^ u64::from(kind), series)
}

/// How many entries a surprise looks ahead before the index is built.
const LOOK_AHEAD: usize = 4;

const SEEN: u8 = 1;
const TRACKED: u8 = 2;
const TRACKED_BEFORE: u8 = 4;
const DROPPED: u8 = 8;
const HAS_HANDLE: u8 = 16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    series_ref: u64,
    slot: u32,
    flags: u8,
}

const _: () = assert!(size_of::<Entry>() == 32, "the budget per cached series");

/// Position of an entry within a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(u32);

/// What the cache knows of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    New,
    /// Relabelling drops it.
    Dropped,
    /// A series.
    Series {
        /// Its entry.
        at: At,
        /// Its handle; `None` if the batch that had it first was not stored.
        handle: Option<SeriesHandle>,
        /// The same line came before in this scrape.
        seen: bool,
    },
}

/// The series of one target.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Vec<Entry>,
    /// The entry that the next line is expected to be.
    next: usize,
    /// Order of the lines of this scrape behind the first `in_order`, if there was a surprise.
    reordered: Option<Reordered>,
    index: Option<HashTable<u32>>,
    /// How many entries the last good scrape left.
    good_len: usize,
}

#[derive(Debug, Default)]
struct Reordered {
    in_order: usize,
    then: Vec<u32>,
}

/// Whether a finished scrape says which series there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Forget what it did not have.
    Unseen,
    /// It failed or was empty: keep all, unless that has grown out of proportion.
    OnlyExcess,
}

impl Cache {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is this the line expected next? Changes nothing.
    #[inline]
    pub fn expects(&self, key: Key) -> bool {
        self.entries.get(self.next).is_some_and(|entry| entry.key == key)
    }

    /// Looks a line up and marks it as seen.
    #[inline]
    pub fn find(&mut self, key: Key) -> Found {
        if self.expects(key) {
            let at = self.next;
            self.next += 1;
            if let Some(reordered) = &mut self.reordered
                && self.entries[at].flags & SEEN == 0
            {
                reordered.then.push(at as u32);
            }
            return self.see(at);
        }
        self.find_surprise(key)
    }

    #[inline]
    fn see(&mut self, at: usize) -> Found {
        let entry = &mut self.entries[at];
        let seen = entry.flags & SEEN != 0;
        entry.flags |= SEEN;
        if entry.flags & DROPPED != 0 {
            return Found::Dropped;
        }
        let handle =
            (entry.flags & HAS_HANDLE != 0).then_some(SeriesHandle { slot: Slot(entry.slot), series_ref: SeriesRef(entry.series_ref) });
        Found::Series { at: At(at as u32), handle, seen }
    }

    #[cold]
    fn find_surprise(&mut self, key: Key) -> Found {
        let Some(at) = self.search(key) else { return Found::New };
        // A repeated line is no sign of another order.
        if self.entries[at].flags & SEEN == 0 {
            self.note_order().then.push(at as u32);
            self.next = at + 1;
        }
        self.see(at)
    }

    fn search(&mut self, key: Key) -> Option<usize> {
        let ahead = self.entries.iter().enumerate().skip(self.next).take(LOOK_AHEAD);
        if let Some((at, _)) = ahead.into_iter().find(|(_, entry)| entry.key == key) {
            return Some(at);
        }
        let entries = &self.entries;
        let index = self.index.get_or_insert_with(|| {
            let mut index = HashTable::with_capacity(entries.len());
            for (at, entry) in entries.iter().enumerate() {
                index.insert_unique(entry.key as u64, at as u32, |at| entries[*at as usize].key as u64);
            }
            index
        });
        index.find(key as u64, |at| entries[*at as usize].key == key).map(|at| *at as usize)
    }

    /// From here on the lines are not in the order of the entries.
    fn note_order(&mut self) -> &mut Reordered {
        let in_order = self.next;
        self.reordered.get_or_insert_with(|| Reordered { in_order, then: Vec::new() })
    }

    /// Adds a series that [`Cache::find`] did not know. Its handle is told by [`Cache::set_handle`] once it is stored.
    pub fn add(&mut self, key: Key) -> At {
        self.push(key, SEEN)
    }

    /// Adds a line that relabelling drops.
    pub fn add_dropped(&mut self, key: Key) {
        self.push(key, SEEN | DROPPED);
    }

    fn push(&mut self, key: Key, flags: u8) -> At {
        // At the end of the array, without unseen entries between, a new line is just where it belongs.
        if self.next == self.entries.len() {
            self.next += 1;
            if let Some(reordered) = &mut self.reordered {
                reordered.then.push(self.entries.len() as u32);
            }
        } else {
            let at = self.entries.len() as u32;
            self.note_order().then.push(at);
        }
        let at = u32::try_from(self.entries.len()).expect("a page of 2^32 lines would not fit into memory");
        self.entries.push(Entry { key, series_ref: 0, slot: 0, flags });
        let entries = &self.entries;
        if let Some(index) = &mut self.index {
            index.insert_unique(key as u64, at, |at| entries[*at as usize].key as u64);
        }
        At(at)
    }

    /// The series' sample will be stored, and the series shall get a staleness marker when it vanishes.
    #[inline]
    pub fn track(&mut self, at: At) {
        self.entries[at.0 as usize].flags |= TRACKED;
    }

    /// The series' sample was refused after all.
    pub fn untrack(&mut self, at: At) {
        self.entries[at.0 as usize].flags &= !TRACKED;
    }

    /// The store's name for the series; `None` when it has none (any more).
    pub fn set_handle(&mut self, at: At, handle: Option<SeriesHandle>) {
        let entry = &mut self.entries[at.0 as usize];
        match handle {
            Some(handle) => {
                (entry.slot, entry.series_ref) = (handle.slot.0, handle.series_ref.0);
                entry.flags |= HAS_HANDLE;
            }
            None => entry.flags &= !HAS_HANDLE,
        }
    }

    /// The key of an entry, if it is tracked.
    pub fn tracked_key(&self, at: At) -> Option<Key> {
        let entry = &self.entries[at.0 as usize];
        (entry.flags & TRACKED != 0).then_some(entry.key)
    }

    /// The keys of what is tracked in this scrape.
    pub fn tracked_keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries.iter().filter(|entry| entry.flags & TRACKED != 0).map(|entry| entry.key)
    }

    /// Series that were tracked in the scrape before and are not in this one.
    pub fn stale(&self) -> impl Iterator<Item = SeriesHandle> + '_ {
        const MASK: u8 = TRACKED | TRACKED_BEFORE | HAS_HANDLE;
        self.entries
            .iter()
            .filter(|entry| entry.flags & MASK == TRACKED_BEFORE | HAS_HANDLE)
            .map(|entry| SeriesHandle { slot: Slot(entry.slot), series_ref: SeriesRef(entry.series_ref) })
    }

    /// Ends a scrape: what was tracked is now what was tracked before. True if the cache had grown out of proportion by
    /// scrapes that failed, and was cut. Positions ([`At`]) mean nothing any more.
    pub fn finish(&mut self, flush: Flush) -> bool {
        let excess = flush == Flush::OnlyExcess && self.len() > self.good_len * 2 + 1000;
        let forget_unseen = flush == Flush::Unseen || excess;
        if let Some(reordered) = self.reordered.take() {
            self.reorder(&reordered, forget_unseen);
        } else if forget_unseen {
            self.entries.retain(|entry| entry.flags & SEEN != 0);
        }
        for entry in &mut self.entries {
            let before = if entry.flags & TRACKED != 0 { TRACKED_BEFORE } else { 0 };
            entry.flags = before | (entry.flags & (DROPPED | HAS_HANDLE));
        }
        self.index = None;
        self.next = 0;
        if forget_unseen {
            self.good_len = self.len();
            if self.entries.capacity() > 2 * self.entries.len() + 64 {
                self.entries.shrink_to_fit();
            }
        }
        excess
    }

    fn reorder(&mut self, reordered: &Reordered, forget_unseen: bool) {
        let old = std::mem::take(&mut self.entries);
        let mut new = Vec::with_capacity(old.len());
        // All of these have been seen: the first line that skips an entry ends `in_order`.
        new.extend_from_slice(&old[..reordered.in_order]);
        new.extend(reordered.then.iter().map(|at| old[*at as usize]));
        if !forget_unseen {
            new.extend(old[reordered.in_order..].iter().filter(|entry| entry.flags & SEEN == 0));
        }
        self.entries = new;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn handle(of: u64) -> SeriesHandle {
        SeriesHandle { slot: Slot(of as u32), series_ref: SeriesRef(of) }
    }

    /// One scrape of `lines`; gives the stale series.
    fn scrape(cache: &mut Cache, lines: &[u64], flush: Flush) -> BTreeSet<u64> {
        for line in lines {
            let at = match cache.find(Key::from(*line)) {
                Found::New => cache.add(Key::from(*line)),
                Found::Series { at, handle: known, seen } => {
                    assert_eq!(known, Some(handle(*line)));
                    if seen {
                        continue;
                    }
                    at
                }
                Found::Dropped => panic!("nothing was dropped"),
            };
            cache.set_handle(at, Some(handle(*line)));
            cache.track(at);
        }
        let stale = cache.stale().map(|handle| handle.series_ref.0).collect();
        cache.finish(flush);
        stale
    }

    #[test]
    fn a_page_in_the_same_order_never_searches() {
        let mut cache = Cache::default();
        let lines: Vec<u64> = (0..100).collect();
        scrape(&mut cache, &lines, Flush::Unseen);
        for line in &lines {
            assert!(cache.expects(Key::from(*line)));
            cache.find(Key::from(*line));
        }
        assert!(cache.index.is_none() && cache.reordered.is_none());
    }

    #[test]
    fn a_new_order_is_learnt_in_one_scrape() {
        let mut cache = Cache::default();
        scrape(&mut cache, &[1, 2, 3, 4, 5], Flush::Unseen);
        let next = [1, 9, 3, 8, 5, 4, 4, 7];
        assert_eq!(scrape(&mut cache, &next, Flush::Unseen), BTreeSet::from([2]));
        let order: Vec<_> = cache.entries.iter().map(|entry| entry.key as u64).collect();
        assert_eq!(order, [1, 9, 3, 8, 5, 4, 7]);
    }

    #[test]
    fn dropped_lines_stay_dropped_and_are_never_stale() {
        let mut cache = Cache::default();
        cache.add_dropped(7);
        cache.finish(Flush::Unseen);
        assert_eq!(cache.find(7), Found::Dropped);
        cache.finish(Flush::Unseen);
        assert_eq!(cache.stale().count(), 0);
        cache.finish(Flush::Unseen);
        assert!(cache.is_empty());
    }

    #[test]
    fn series_without_a_handle_are_known_but_never_stale() {
        let mut cache = Cache::default();
        let at = cache.add(1);
        cache.track(at);
        cache.finish(Flush::OnlyExcess);
        assert_eq!(cache.stale().count(), 0);
        assert!(matches!(cache.find(1), Found::Series { handle: None, seen: false, .. }));
    }

    #[test]
    fn failing_scrapes_with_ever_new_lines_are_forgotten() {
        let mut cache = Cache::default();
        scrape(&mut cache, &(0..10).collect::<Vec<_>>(), Flush::Unseen);
        let mut cut = false;
        for round in 1..30u64 {
            for line in 0..100 {
                cache.find(Key::from(round * 1000 + line));
                cache.add(Key::from(round * 1000 + line));
            }
            cut |= cache.finish(Flush::OnlyExcess);
            assert!(cache.len() <= 1200, "{}", cache.len());
        }
        assert!(cut);
    }

    proptest! {
        /// The twin keeps sets: what was in the scrape before and is not in this one is stale.
        #[test]
        fn as_a_model_of_sets(
            pages in prop::collection::vec((prop::collection::vec(0u64..24, 0..40), any::<bool>()), 1..12)
        ) {
            let mut cache = Cache::default();
            let (mut before, mut known) = (BTreeSet::new(), BTreeMap::new());
            for (lines, good) in pages {
                let now: BTreeSet<u64> = lines.iter().copied().collect();
                let flush = if good { Flush::Unseen } else { Flush::OnlyExcess };
                let stale = scrape(&mut cache, &lines, flush);
                prop_assert_eq!(&stale, &before.difference(&now).copied().collect());
                if good {
                    known.clear();
                }
                known.extend(now.iter().map(|line| (*line, ())));
                let mut entries: Vec<u64> = cache.entries.iter().map(|entry| entry.key as u64).collect();
                let mut order = Vec::new();
                for line in &lines {
                    if !order.contains(line) {
                        order.push(*line);
                    }
                }
                prop_assert_eq!(&entries[..order.len()], &order[..]);
                entries.sort_unstable();
                prop_assert_eq!(entries, known.keys().copied().collect::<Vec<_>>());
                before = now;
            }
        }
    }
}
