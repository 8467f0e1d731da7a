//! Which series the head has: by labels, and by matchers.
//!
//! A series is a list of label pairs, four bytes each; pairs, their texts and their postings are kept once for all series
//! ([`pairs`](super::pairs)). Everything grows by small pages or by small tables, so that no series waits for the growth
//! of something as large as all series, and memory never holds the old and the new.
//!
//! # Removal
//! A select finds slots under the read lock, gives it back, and reads the labels of what it found later. So a removed
//! series is in *limbo* at first: no look-up finds it, but its slot, its labels and their ids stay until
//! [`Index::reclaim`], which the caller calls when nobody can hold the slot any more.
//!
//! # Invariants
//! - A slot is free, or has a series, or is in limbo.
//! - A slot with a series stands in the postings of each of its label pairs, and in no others, but for what waits in
//!   `bulk`; one in limbo in none.
//! - The list of pairs of a slot with a series or in limbo is in order of name, and its last one is marked.

use super::paged::{Arena, Paged};
use super::pairs::{PAIRS_MAX, PairId, Pairs};
use super::rank::Ranks;
use super::symbols::{SymbolId, Symbols};
use super::table::{Table, spread};
use bulk::Bulk;
use foldhash::fast::FixedState;
use model::Labels;
use model::labels::Packer;
use roaring::RoaringBitmap;
use std::hash::BuildHasher;
use storage::{SeriesHandle, SeriesRef, Slot};

/// Pairs of a page of lists; a longer list gets a page of its own.
const PAGE_PAIRS: u32 = 1 << 15;
/// Pages of lists that one call of [`Index::compact`] empties: some milliseconds.
const COMPACTED: usize = 8;

/// The mark of a list's last pair.
const LAST: u32 = PAIRS_MAX;
/// In place of a pair in the list of a series without labels.
const NO_PAIR: u32 = PAIRS_MAX - 1;

/// A slot's series.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Where its list of pairs lies: page and start in one.
    place: u32,
    /// Of its labels. With fewer bits many a look-up would meet another series with the same ones.
    hash: u32,
    series_ref: SeriesRef,
}

/// Series that were removed, whose slots some reader may still hold.
#[derive(Debug, Default)]
#[must_use = "the slots are lost unless they are reclaimed"]
pub struct Limbo {
    slots: Vec<u32>,
}

impl Limbo {
    /// The slots.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Bytes of memory by structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexBytes {
    /// Lists of pairs.
    pub labels: usize,
    /// Refs and places of slots.
    pub rows: usize,
    /// The table by labels.
    pub table: usize,
    /// Label pairs and dictionaries.
    pub pairs: usize,
    /// Postings, and the sets of slots.
    pub postings: usize,
    /// Strings.
    pub symbols: usize,
    /// Label ranks.
    pub ranks: usize,
}

impl IndexBytes {
    /// Of all structures.
    pub fn total(&self) -> usize {
        self.labels + self.rows + self.table + self.pairs + self.postings + self.symbols + self.ranks
    }
}

/// Labels of all series.
#[derive(Debug)]
pub struct Index {
    pub(super) pairs: Pairs,
    lists: Arena<Vec<u32>>,
    rows: Paged<Row>,
    by_labels: Table,
    hasher: FixedState,
    /// Slots with a series.
    alive: RoaringBitmap,
    /// Slots that the next series may take.
    free: RoaringBitmap,
    pub(super) ranks: Ranks,
    /// The list of the series that is being added.
    scratch: Vec<u32>,
    bulk: Bulk,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            pairs: Pairs::default(),
            lists: Arena::new(PAGE_PAIRS as usize),
            rows: Paged::default(),
            by_labels: Table::default(),
            hasher: FixedState::default(),
            alive: RoaringBitmap::new(),
            free: RoaringBitmap::new(),
            ranks: Ranks::default(),
            scratch: Vec::new(),
            bulk: Bulk::default(),
        }
    }
}

impl Index {
    /// How many series.
    pub fn series_count(&self) -> usize {
        self.alive.len() as usize + self.bulk.alive.len()
    }

    /// All slots with a series.
    pub fn slots(&self) -> &RoaringBitmap {
        &self.alive
    }

    /// One above the highest slot that ever had a series.
    pub fn slot_end(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Distinct label pairs.
    pub fn pair_count(&self) -> usize {
        self.pairs.listed_count()
    }

    /// The strings of names and values.
    pub fn symbols(&self) -> &Symbols {
        &self.pairs.symbols
    }

    /// Where memory is.
    pub fn bytes(&self) -> IndexBytes {
        let (pairs, postings) = self.pairs.bytes();
        IndexBytes {
            labels: self.lists.capacity() * size_of::<u32>(),
            rows: self.rows.bytes(),
            table: self.by_labels.bytes(),
            pairs,
            postings: postings + self.alive.serialized_size() + self.free.serialized_size(),
            symbols: self.pairs.symbols.bytes(),
            ranks: self.ranks.bytes(),
        }
    }

    /// The series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<SeriesHandle> {
        self.find_hashed(self.hash(labels.as_bytes()), labels)
    }

    fn find_hashed(&self, hash: u32, labels: &Labels) -> Option<SeriesHandle> {
        let slot = self.by_labels.find(spread(hash), |slot| self.rows[slot as usize].hash == hash && self.has_labels(slot, labels))?;
        Some(self.handle(slot))
    }

    /// The handle of a slot that has a series or is in limbo.
    pub fn handle(&self, slot: u32) -> SeriesHandle {
        SeriesHandle { slot: Slot(slot), series_ref: self.rows[slot as usize].series_ref }
    }

    /// Adds a series, whose labels must be new here. It gets the lowest free slot.
    pub fn insert(&mut self, labels: &Labels, series_ref: SeriesRef) -> Slot {
        let mut list = std::mem::take(&mut self.scratch);
        list.extend(labels.iter().map(|(name, value)| self.pairs.acquire(name, value).0));
        let slot = self.next_slot();
        list.iter().for_each(|pair| self.pairs.list(PairId(*pair), slot));
        self.fill(slot, list, series_ref, self.hash(labels.as_bytes()));
        Slot(slot)
    }

    /// A slot for a series to be filled in.
    fn next_slot(&mut self) -> u32 {
        match self.free.min() {
            Some(slot) => {
                self.free.remove(slot);
                slot
            }
            None => {
                self.rows.push(Row { place: Row::NOWHERE, hash: 0, series_ref: SeriesRef(0) });
                u32::try_from(self.rows.len() - 1).expect("the head refuses series long before 2^32")
            }
        }
    }

    /// Puts a series into its slot; `list`, which has its pairs, becomes the scratch list again.
    fn fill(&mut self, slot: u32, mut list: Vec<u32>, series_ref: SeriesRef, hash: u32) {
        match list.last_mut() {
            Some(last) => *last |= LAST,
            None => list.push(NO_PAIR | LAST),
        }
        self.rows[slot as usize] = Row { place: place(self.lists.store(&list)), hash, series_ref };
        let rows = &self.rows;
        self.by_labels.insert(spread(hash), slot, |slot| spread(rows[slot as usize].hash));
        if self.alive.try_push(slot).is_err() {
            self.alive.insert(slot);
        }
        list.clear();
        self.scratch = list;
    }

    /// Takes series out: no look-up finds them any more. Slots without a series are passed over. A thousand at a time take
    /// about a millisecond.
    pub fn remove(&mut self, slots: &[u32]) -> Limbo {
        let mut limbo = Limbo::default();
        let mut listed: Vec<(PairId, u32)> = Vec::new();
        for slot in slots.iter().copied() {
            if !self.alive.remove(slot) {
                continue;
            }
            let rows = &self.rows;
            let rehash = |slot: u32| spread(rows[slot as usize].hash);
            self.by_labels.remove(rehash(slot), slot, rehash);
            listed.extend(self.pair_ids(slot).map(|pair| (pair, slot)));
            limbo.slots.push(slot);
        }
        listed.sort_unstable();
        let mut gone: Vec<u32> = Vec::new();
        for of_pair in listed.chunk_by(|a, b| a.0 == b.0) {
            gone.clear();
            gone.extend(of_pair.iter().map(|(_, slot)| *slot));
            self.pairs.unlist(of_pair[0].0, &gone);
        }
        limbo
    }

    /// Makes the slots of removed series free for others. No reader may hold one of them any more. Like
    /// [`Self::remove`], it is quick for a thousand slots at a time.
    pub fn reclaim(&mut self, limbo: Limbo) {
        for slot in limbo.slots {
            let place = self.rows[slot as usize].place;
            let list: Vec<PairId> = self.pair_ids(slot).collect();
            list.iter().for_each(|pair| self.pairs.release(*pair));
            self.lists.release(place / PAGE_PAIRS, list.len().max(1));
            self.rows[slot as usize].place = Row::NOWHERE;
            self.ranks.forget(slot);
            self.free.insert(slot);
        }
    }

    /// Empties a few pages of memory of which half is unused; whether there was one. To be called until it says no when
    /// series have been reclaimed; it takes some milliseconds, and the lock is best given back in between.
    pub fn compact(&mut self) -> bool {
        let symbols = self.pairs.symbols.compact();
        self.compact_lists() || symbols
    }

    fn compact_lists(&mut self) -> bool {
        let sparse = self.lists.sparse(COMPACTED);
        if sparse.is_empty() {
            return false;
        }
        for slot in 0..self.rows.len() {
            let old = self.rows[slot].place;
            if old != Row::NOWHERE && sparse.contains(&(old / PAGE_PAIRS)) {
                let list = self.list(old).to_vec();
                self.rows[slot].place = place(self.lists.store(&list));
                self.lists.release(old / PAGE_PAIRS, list.len());
            }
        }
        true
    }

    /// The labels of a slot that has a series or is in limbo.
    pub fn labels(&self, slot: u32) -> Labels {
        Labels::from_sorted(self.pair_ids(slot).map(|pair| self.pairs.texts(pair)))
    }

    /// As [`Self::labels`]; the packer has packed no others than those of this index since it is locked.
    pub(super) fn pack(&self, slot: u32, packer: &mut Packer<PairId>) -> Labels {
        let texts = |pair: &PairId| Some(self.pairs.texts(*pair));
        // A log of other makers may have an empty name, which it takes no part in.
        packer.pack(self.pair_ids(slot), texts).unwrap_or_else(|_| self.labels(slot))
    }

    /// The label pairs of a slot that has a series or is in limbo, in order of name.
    pub(super) fn pair_ids(&self, slot: u32) -> impl Iterator<Item = PairId> + '_ {
        pairs_of(self.list(self.rows[slot as usize].place))
    }

    /// The pair with this name of a slot that has a series or is in limbo.
    pub(super) fn pair_named(&self, slot: u32, name: SymbolId) -> Option<PairId> {
        self.pair_ids(slot).find(|pair| self.pairs.name(*pair) == name)
    }

    fn list(&self, place: u32) -> &[u32] {
        let rest = &self.lists.page(place / PAGE_PAIRS)[(place % PAGE_PAIRS) as usize..];
        let last = rest.iter().position(|pair| pair & LAST != 0).expect("the last pair of a list is marked");
        &rest[..=last]
    }

    /// Of packed labels.
    fn hash(&self, labels: &[u8]) -> u32 {
        self.hasher.hash_one(labels) as u32
    }

    fn has_labels(&self, slot: u32, labels: &Labels) -> bool {
        self.pair_ids(slot).map(|pair| self.pairs.texts(pair)).eq(labels.iter())
    }
}

impl Row {
    /// The place of a free slot.
    const NOWHERE: u32 = u32::MAX;
}

fn pairs_of(list: &[u32]) -> impl Iterator<Item = PairId> + '_ {
    list.iter().map(|pair| pair & !LAST).filter(|pair| *pair != NO_PAIR).map(PairId)
}

fn place((page, start): (u32, u32)) -> u32 {
    page.checked_mul(PAGE_PAIRS).and_then(|first| first.checked_add(start)).expect("the lists of 2^32 pairs do not fit in memory")
}

mod bulk;
#[cfg(test)]
mod tests;
