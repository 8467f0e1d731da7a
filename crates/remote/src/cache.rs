//! Which series of the store the raw label bytes of a sender mean.
//!
//! Senders write the same series with the same bytes again and again. The cache knows those bytes by
//! a 128-bit hash with keys of this process, so that a known series costs no label parsing and no
//! allocation. A handle may be out of date: the store notices, the receiver asks again by labels, and the new handle
//! takes the old one's place.
//!
//! Senders repeat their order, too. Entries lie in the order in which they were first sent, and the one behind the
//! entry found last is looked at first: with a million series, a table of hashes costs a miss of the caches and of the
//! TLB for each sample, and a neighbour none. Only a surprise asks the tables.
//!
//! # Invariants
//! - At most `ENTRIES_MAX` entries, 28 bytes each, and the tables' 5 bytes and slack. A full cache
//!   forgets all of its entries: they come back with the next requests.
//! - All pages of entries but the last are full; each entry's index stands in one table once.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use storage::{SeriesHandle, SeriesRef, Slot};

const ENTRIES_MAX: usize = 4 << 20;
/// Entries that are allocated together: one list of all would be copied as it grows.
const PAGE_ENTRIES: usize = 4096;
/// Many tables, so that none grows for long while requests wait.
const TABLES: usize = 64;

/// The hash of a series' label bytes. 128 bits, so that two series of one hash do not happen: there
/// is no comparison of the bytes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    high: u64,
    low: u64,
}

/// In halves, so that an entry takes 28 bytes and not 32.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: [u32; 4],
    slot: u32,
    series_ref: [u32; 2],
}

#[derive(Debug)]
pub(crate) struct Cache {
    high_keys: RandomState,
    low_keys: RandomState,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    pages: Vec<Vec<Entry>>,
    /// Indexes of entries.
    tables: [HashTable<u32>; TABLES],
}

/// Look-ups of one request, in its order. Whoever has something to insert waits meanwhile.
pub(crate) struct Lookups<'c> {
    known: RwLockReadGuard<'c, Known>,
    /// Index of the entry that is expected next.
    next: u32,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let known = Known { pages: Vec::new(), tables: [const { HashTable::new() }; TABLES] };
        Self { high_keys: RandomState::default(), low_keys: RandomState::default(), known: RwLock::new(known) }
    }

    #[inline]
    pub(crate) fn key(&self, label_bytes: &[u8]) -> Key {
        Key { high: self.high_keys.hash_one(label_bytes), low: self.low_keys.hash_one(label_bytes) }
    }

    /// To be held for one request, and not while the store is waited for.
    pub(crate) fn lookups(&self) -> Lookups<'_> {
        Lookups { known: self.known.read().unwrap_or_else(PoisonError::into_inner), next: 0 }
    }

    /// Remembers handles, in the order of the request that had them.
    pub(crate) fn insert_all(&self, handles: impl Iterator<Item = (Key, SeriesHandle)>) {
        let mut handles = handles.peekable();
        if handles.peek().is_none() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        handles.for_each(|(key, handle)| known.insert(key, handle));
    }

    pub(crate) fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Lookups<'_> {
    #[inline]
    pub(crate) fn get(&mut self, key: Key) -> Option<SeriesHandle> {
        let words = key.words();
        if let Some(entry) = self.known.entry(self.next).filter(|entry| entry.key == words) {
            self.next += 1;
            return Some(entry.handle());
        }
        let at = self.known.find(key)?;
        self.next = at + 1;
        self.known.entry(at).map(Entry::handle)
    }
}

impl Known {
    fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE_ENTRIES + last.len())
    }

    #[inline]
    fn entry(&self, at: u32) -> Option<&Entry> {
        self.pages.get(at as usize / PAGE_ENTRIES)?.get(at as usize % PAGE_ENTRIES)
    }

    fn find(&self, key: Key) -> Option<u32> {
        let words = key.words();
        self.tables[key.table()].find(key.low, |at| self.entry(*at).is_some_and(|entry| entry.key == words)).copied()
    }

    fn insert(&mut self, key: Key, handle: SeriesHandle) {
        let entry = Entry { key: key.words(), slot: handle.slot.0, series_ref: halves(handle.series_ref.0) };
        if let Some(at) = self.find(key) {
            self.pages[at as usize / PAGE_ENTRIES][at as usize % PAGE_ENTRIES] = entry;
            return;
        }
        if self.len() >= ENTRIES_MAX {
            *self = Self { pages: Vec::new(), tables: [const { HashTable::new() }; TABLES] };
        }
        let at = self.len() as u32;
        match self.pages.last_mut().filter(|last| last.len() < PAGE_ENTRIES) {
            Some(last) => last.push(entry),
            None => {
                let mut page = Vec::with_capacity(PAGE_ENTRIES);
                page.push(entry);
                self.pages.push(page);
            }
        }
        let Self { pages, tables } = self;
        tables[key.table()].insert_unique(key.low, at, |at| pages[*at as usize / PAGE_ENTRIES][*at as usize % PAGE_ENTRIES].low());
    }
}

impl Key {
    fn words(self) -> [u32; 4] {
        let ([a, b], [c, d]) = (halves(self.high), halves(self.low));
        [a, b, c, d]
    }

    fn table(self) -> usize {
        self.high as usize % TABLES
    }
}

impl Entry {
    fn low(&self) -> u64 {
        join([self.key[2], self.key[3]])
    }

    fn handle(&self) -> SeriesHandle {
        SeriesHandle { slot: Slot(self.slot), series_ref: SeriesRef(join(self.series_ref)) }
    }
}

fn halves(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

fn join([high, low]: [u32; 2]) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(n: u32) -> SeriesHandle {
        SeriesHandle { slot: Slot(n), series_ref: SeriesRef(u64::from(n) << 33 | 7) }
    }

    /// More than a page, so that the expected entry lies in the next one at times.
    const COUNT: u32 = PAGE_ENTRIES as u32 * 2 + 10;

    fn filled() -> (Cache, Vec<Key>) {
        let cache = Cache::new();
        let keys: Vec<Key> = (0..COUNT).map(|n| cache.key(&n.to_le_bytes())).collect();
        for run in [0..1000usize, 1000..COUNT as usize] {
            cache.insert_all(run.map(|n| (keys[n], handle(n as u32))));
        }
        (cache, keys)
    }

    #[test]
    fn finds_in_any_order() {
        let (cache, keys) = filled();
        assert_eq!(cache.len(), COUNT as usize);
        let get = |lookups: &mut Lookups<'_>, n: u32| assert_eq!(lookups.get(keys[n as usize]), Some(handle(n)));
        let mut lookups = cache.lookups();
        (0..COUNT).for_each(|n| get(&mut lookups, n));
        (0..COUNT).rev().for_each(|n| get(&mut lookups, n));
        // 4,099 is coprime to the count: every entry once, never the next one.
        (0..COUNT).for_each(|n| get(&mut lookups, (u64::from(n) * 4099 % u64::from(COUNT)) as u32));
        let unknown = cache.key(b"unknown");
        for n in [5, 4095, 4096, COUNT - 2] {
            get(&mut lookups, n);
            assert_eq!(lookups.get(unknown), None);
            get(&mut lookups, n + 1);
        }
    }

    #[test]
    fn replaces_in_place() {
        let (cache, keys) = filled();
        cache.insert_all([(keys[5], handle(1 << 20))].into_iter());
        assert_eq!(cache.len(), COUNT as usize);
        let mut lookups = cache.lookups();
        assert_eq!(lookups.get(keys[5]), Some(handle(1 << 20)));
        assert_eq!(lookups.get(keys[6]), Some(handle(6)));
    }
}
