//! The latest metadata of the head's series, each distinct one kept once.
//!
//! A million series share a few hundred help texts, so a series with metadata costs a pair of numbers, and one without nothing.
//!
//! # Invariants
//! - An entry is there as long as a series has it; its number is then given to another.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use model::Metadata;
use std::hash::BuildHasher;
use std::sync::Arc;
use storage::Slot;

/// Metadata by series; the owner locks it, and removes series whose slots are given to others.
#[derive(Debug, Default)]
pub struct SeriesMetadata {
    of_series: HashMap<Slot, u32, FixedState>,
    entries: Vec<Entry>,
    ids: HashTable<u32>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    metadata: Arc<Metadata>,
    series_count: u32,
}

impl SeriesMetadata {
    /// Sets a series' metadata. Whether it had none or another: then the log must learn of it.
    pub fn set(&mut self, slot: Slot, metadata: &Metadata) -> bool {
        let before = self.of_series.get(&slot).copied();
        if before.is_some_and(|id| *self.entries[id as usize].metadata == *metadata) {
            return false;
        }
        let id = self.intern(metadata);
        self.of_series.insert(slot, id);
        if let Some(before) = before {
            self.release(before);
        }
        true
    }

    /// A series' metadata.
    pub fn get(&self, slot: Slot) -> Option<&Arc<Metadata>> {
        self.of_series.get(&slot).map(|id| &self.entries[*id as usize].metadata)
    }

    /// Forgets that of a series.
    pub fn remove(&mut self, slot: Slot) {
        if let Some(id) = self.of_series.remove(&slot) {
            self.release(id);
        }
    }

    /// Series with metadata, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Slot, &Arc<Metadata>)> {
        self.of_series.iter().map(|(slot, id)| (*slot, &self.entries[*id as usize].metadata))
    }

    /// How many series have metadata.
    pub fn series_count(&self) -> usize {
        self.of_series.len()
    }

    /// How many distinct ones there are.
    pub fn distinct_count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn intern(&mut self, metadata: &Metadata) -> u32 {
        let hash = hash_of(metadata);
        if let Some(id) = self.ids.find(hash, |id| *self.entries[*id as usize].metadata == *metadata) {
            self.entries[*id as usize].series_count += 1;
            return *id;
        }
        let entry = Entry { metadata: Arc::new(metadata.clone()), series_count: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("there are no more distinct ones than slots, and one more")
            }
        };
        self.ids.insert_unique(hash, id, |id| hash_of(&self.entries[*id as usize].metadata));
        id
    }

    fn release(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.series_count -= 1;
        if entry.series_count == 0 {
            let metadata = std::mem::take(&mut entry.metadata);
            if let Ok(found) = self.ids.find_entry(hash_of(&metadata), |known| *known == id) {
                found.remove();
            }
            self.free.push(id);
        }
    }
}

fn hash_of(metadata: &Metadata) -> u64 {
    FixedState::default().hash_one((metadata.kind, &metadata.unit, &metadata.help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::MetricType;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0..8u32, 0..5usize), 0..80)) {
            let mut all = SeriesMetadata::default();
            let mut twin: BTreeMap<u32, usize> = BTreeMap::new();
            let help = |n: usize| Metadata { kind: MetricType::Gauge, unit: String::new(), help: "x".repeat(n) };
            for (slot, n) in steps {
                // The last kind of metadata stands for removal.
                if n == 4 {
                    all.remove(Slot(slot));
                    twin.remove(&slot);
                } else {
                    prop_assert_eq!(all.set(Slot(slot), &help(n)), twin.insert(slot, n) != Some(n));
                }
                for slot in 0..8 {
                    prop_assert_eq!(all.get(Slot(slot)).map(|m| m.help.len()), twin.get(&slot).copied());
                }
                prop_assert_eq!(all.iter().count(), twin.len());
                prop_assert_eq!(all.series_count(), twin.len());
                prop_assert_eq!(all.distinct_count(), twin.values().collect::<BTreeSet<_>>().len());
            }
        }
    }
}
