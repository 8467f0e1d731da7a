//! Which series of the store the raw label bytes of a sender mean.
//!
//! Senders write the same series with the same bytes again and again. The cache knows those bytes by
//! a 128-bit hash with keys of this process, so that a known series costs no label parsing and no
//! allocation. A handle may be out of date: the store notices, and the receiver asks again by labels.
//!
//! # Invariants
//! - At most `ENTRIES_MAX` entries, 28 bytes each and the table's slack. A shard that is full
//!   forgets all of its entries: they come back with the next requests.
//! - Locks are held for one look-up or insertion; no two at a time.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage::{SeriesHandle, SeriesRef, Slot};

const SHARDS: usize = 64;
const ENTRIES_MAX: usize = 4 << 20;
const SHARD_ENTRIES_MAX: usize = ENTRIES_MAX / SHARDS;

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
    shards: Box<[Mutex<HashTable<Entry>>]>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect();
        Self { high_keys: RandomState::default(), low_keys: RandomState::default(), shards }
    }

    #[inline]
    pub(crate) fn key(&self, label_bytes: &[u8]) -> Key {
        Key { high: self.high_keys.hash_one(label_bytes), low: self.low_keys.hash_one(label_bytes) }
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<SeriesHandle> {
        let wanted = key.words();
        self.shard(key).find(key.low, |entry| entry.key == wanted).map(Entry::handle)
    }

    pub(crate) fn insert(&self, key: Key, handle: SeriesHandle) {
        let mut shard = self.shard(key);
        let words = key.words();
        let entry = Entry { key: words, slot: handle.slot.0, series_ref: halves(handle.series_ref.0) };
        if let Some(old) = shard.find_mut(key.low, |old| old.key == words) {
            *old = entry;
            return;
        }
        if shard.len() >= SHARD_ENTRIES_MAX {
            shard.clear();
        }
        shard.insert_unique(key.low, entry, |entry| join([entry.key[2], entry.key[3]]));
    }

    pub(crate) fn remove(&self, key: Key) {
        let wanted = key.words();
        if let Ok(found) = self.shard(key).find_entry(key.low, |entry| entry.key == wanted) {
            found.remove();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashTable<Entry>> {
        self.shards[key.high as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn words(self) -> [u32; 4] {
        let ([a, b], [c, d]) = (halves(self.high), halves(self.low));
        [a, b, c, d]
    }
}

impl Entry {
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

    #[test]
    fn remembers_replaces_and_forgets() {
        let cache = Cache::new();
        let handle = |n: u32| SeriesHandle { slot: Slot(n), series_ref: SeriesRef(u64::from(n) << 33 | 7) };
        for n in 0..1000u32 {
            cache.insert(cache.key(&n.to_le_bytes()), handle(n));
        }
        assert_eq!(cache.len(), 1000);
        assert!((0..1000u32).all(|n| cache.get(cache.key(&n.to_le_bytes())) == Some(handle(n))));
        let key = cache.key(&5u32.to_le_bytes());
        cache.insert(key, handle(6));
        assert_eq!(cache.get(key), Some(handle(6)));
        cache.remove(key);
        assert_eq!(cache.get(key), None);
        assert_eq!(cache.len(), 999);
    }
}
