//! Which series the head has: by labels, and by matchers.
//!
//! # Invariants
//! - A slot is free, or has a series, or is in limbo: removed, but some reader may still hold it.
//! - A slot with a series stands in the postings of each of its label pairs, and in no others.
//! - A slot in limbo stands in no postings, but its labels can be read.

use super::postings::Postings;
use super::symbols::{SymbolId, Symbols};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use model::Labels;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use storage::{SeriesHandle, SeriesRef, Slot};

/// Label pairs of a page; the pairs of one series lie in one page.
const PAGE_PAIRS: usize = 32 * 1024;

type Pair = (SymbolId, SymbolId);

/// Where a series' label pairs lie.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: u16,
    start: u16,
    count: u32,
}

/// Values of one label name.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Sorted by text.
    run: Vec<SymbolId>,
    /// New ones, in no order; merged into the run when there are many.
    tail: Vec<SymbolId>,
    /// How many series have the label.
    series: u64,
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

    /// Adds those of another removal.
    pub fn append(&mut self, other: Limbo) {
        self.slots.extend(other.slots);
    }

    /// Nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Labels of all series.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) symbols: Symbols,
    pages: Vec<Vec<Pair>>,
    places: Vec<Place>,
    refs: Vec<u64>,
    by_labels: HashTable<u32>,
    /// Hash of each slot's labels, kept so that the table can grow without looking at strings.
    hashes: Vec<u32>,
    hasher: FixedState,
    pub(super) postings: HashMap<Pair, Postings, FixedState>,
    pub(super) values: HashMap<SymbolId, Values, FixedState>,
    /// Slots with a series.
    alive: RoaringBitmap,
    /// Slots that the next series may take.
    free: RoaringBitmap,
}

impl Index {
    /// How many series.
    pub fn series_count(&self) -> usize {
        self.alive.len() as usize
    }

    /// All slots with a series.
    pub fn slots(&self) -> &RoaringBitmap {
        &self.alive
    }

    /// One above the highest slot that ever had a series.
    pub fn slot_end(&self) -> u32 {
        self.places.len() as u32
    }

    /// Distinct label pairs.
    pub fn pair_count(&self) -> usize {
        self.postings.len()
    }

    /// Label names in use and their values, in no order.
    pub(super) fn dictionaries(&self) -> impl Iterator<Item = (SymbolId, &Values)> {
        self.values.iter().map(|(name, values)| (*name, values))
    }

    /// The slots with a label pair.
    pub(super) fn postings_of(&self, name: SymbolId, value: SymbolId) -> Option<&Postings> {
        self.postings.get(&(name, value))
    }

    /// The series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<SeriesHandle> {
        let hash = self.hash(labels);
        let slot = *self.by_labels.find(spread(hash), |slot| self.hashes[*slot as usize] == hash && self.has_labels(*slot, labels))?;
        Some(self.handle(slot))
    }

    /// The handle of a slot in use.
    pub fn handle(&self, slot: u32) -> SeriesHandle {
        SeriesHandle { slot: Slot(slot), series_ref: SeriesRef(self.refs[slot as usize]) }
    }

    /// Adds a series, whose labels must be new here. It gets the lowest free slot.
    pub fn insert(&mut self, labels: &Labels, series_ref: SeriesRef) -> Slot {
        let place = self.store_pairs(labels);
        let hash = self.hash(labels);
        let slot = match self.free.min() {
            Some(slot) => {
                self.free.remove(slot);
                self.places[slot as usize] = place;
                self.refs[slot as usize] = series_ref.0;
                self.hashes[slot as usize] = hash;
                slot
            }
            None => {
                let slot = u32::try_from(self.places.len()).expect("the head refuses series long before 2^32");
                self.places.push(place);
                self.refs.push(series_ref.0);
                self.hashes.push(hash);
                slot
            }
        };
        for at in 0..place.count as usize {
            let pair = self.pages[usize::from(place.page)][usize::from(place.start) + at];
            self.post(pair, slot);
        }
        let hashes = &self.hashes;
        self.by_labels.insert_unique(spread(hash), slot, |slot| spread(hashes[*slot as usize]));
        self.alive.insert(slot);
        Slot(slot)
    }

    /// Takes series out: no look-up finds them any more. Slots without a series are passed over. Work grows with the
    /// number of slots and the length of their postings: many are best removed some thousand at a time, in ascending order.
    pub fn remove(&mut self, slots: &[u32]) -> Limbo {
        let mut limbo = Limbo::default();
        for slot in slots.iter().copied() {
            if !self.alive.remove(slot) {
                continue;
            }
            if let Ok(entry) = self.by_labels.find_entry(spread(self.hashes[slot as usize]), |known| *known == slot) {
                entry.remove();
            }
            let place = self.places[slot as usize];
            for at in 0..place.count as usize {
                let pair = self.pages[usize::from(place.page)][usize::from(place.start) + at];
                self.unpost(pair, slot);
            }
            limbo.slots.push(slot);
        }
        limbo
    }

    /// Makes the slots of removed series free for others. No reader may hold one of them any more.
    pub fn reclaim(&mut self, limbo: Limbo) {
        self.free.extend(limbo.slots);
    }

    /// The labels of a slot that has a series or is in limbo.
    pub fn labels(&self, slot: u32) -> Labels {
        Labels::from_sorted(self.pairs(slot).map(|(name, value)| (self.symbols.text(name), self.symbols.text(value))))
    }

    /// The label pairs of a slot that has a series or is in limbo, in order of name.
    pub(super) fn pairs(&self, slot: u32) -> impl Iterator<Item = Pair> + '_ {
        let place = self.places[slot as usize];
        self.pages[usize::from(place.page)][usize::from(place.start)..][..place.count as usize].iter().copied()
    }

    /// Label names in use, sorted; given slots, of those series only.
    pub fn label_names(&self, slots: Option<&RoaringBitmap>) -> Vec<String> {
        let ids: BTreeSet<SymbolId> = match slots {
            None => self.values.keys().copied().collect(),
            Some(slots) => slots.iter().flat_map(|slot| self.pairs(slot)).map(|(name, _)| name).collect(),
        };
        self.sorted_texts(ids)
    }

    /// Values of a label, sorted; given slots, of those series only.
    pub fn label_values(&self, name: &str, slots: Option<&RoaringBitmap>) -> Vec<String> {
        let Some(name) = self.symbols.find(name) else { return Vec::new() };
        let ids: BTreeSet<SymbolId> = match slots {
            None => self.values.get(&name).into_iter().flat_map(Values::iter).collect(),
            Some(slots) => slots.iter().flat_map(|slot| self.pairs(slot)).filter(|(n, _)| *n == name).map(|(_, value)| value).collect(),
        };
        self.sorted_texts(ids)
    }

    fn sorted_texts(&self, ids: BTreeSet<SymbolId>) -> Vec<String> {
        let mut texts: Vec<String> = ids.into_iter().map(|id| self.symbols.text(id).to_owned()).collect();
        texts.sort_unstable();
        texts
    }

    /// All strings that label names and values use, sorted, each once: the symbols of a block of all series.
    pub fn sorted_symbols(&self) -> Vec<String> {
        let ids = self.values.iter().flat_map(|(name, values)| std::iter::once(*name).chain(values.iter())).collect();
        self.sorted_texts(ids)
    }

    fn hash(&self, labels: &Labels) -> u32 {
        self.hasher.hash_one(labels.as_bytes()) as u32
    }

    fn has_labels(&self, slot: u32, labels: &Labels) -> bool {
        let mine = self.pairs(slot).map(|(name, value)| (self.symbols.text(name), self.symbols.text(value)));
        mine.eq(labels.iter())
    }

    fn store_pairs(&mut self, labels: &Labels) -> Place {
        let count = labels.len();
        if self.pages.last().is_none_or(|page| page.capacity() - page.len() < count) {
            self.pages.push(Vec::with_capacity(PAGE_PAIRS.max(count)));
        }
        let page = self.pages.len() - 1;
        let start = self.pages[page].len();
        for (name, value) in labels {
            let pair = (self.symbols.intern(name), self.symbols.intern(value));
            self.pages[page].push(pair);
        }
        Place {
            page: u16::try_from(page).expect("2^16 pages hold the pairs of more series than there are slots"),
            start: u16::try_from(start).expect("a page that is longer than PAGE_PAIRS holds one series, from its start"),
            count: u32::try_from(count).expect("2^32 labels do not fit the memory that a label set may take"),
        }
    }

    fn post(&mut self, pair: Pair, slot: u32) {
        let values = self.values.entry(pair.0).or_default();
        values.series += 1;
        let postings = self.postings.entry(pair).or_default();
        if postings.slot_count() == 0 {
            values.add(pair.1, &self.symbols);
        }
        postings.insert(slot);
    }

    fn unpost(&mut self, pair: Pair, slot: u32) {
        let Some(values) = self.values.get_mut(&pair.0) else { return };
        values.series -= 1;
        let Some(postings) = self.postings.get_mut(&pair) else { return };
        postings.remove(slot);
        if postings.slot_count() == 0 {
            self.postings.remove(&pair);
            values.remove(pair.1);
            if values.len() == 0 {
                self.values.remove(&pair.0);
            }
        }
    }
}

impl Values {
    /// How many series have the label.
    pub(super) fn labelled_count(&self) -> u64 {
        self.series
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.run.len() + self.tail.len()
    }

    /// All values, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = SymbolId> + '_ {
        self.run.iter().chain(&self.tail).copied()
    }

    /// Values that start with `prefix`, in no order.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str, symbols: &'a Symbols) -> impl Iterator<Item = SymbolId> + 'a {
        let from = self.run.partition_point(|id| symbols.text(*id) < prefix);
        let run = self.run[from..].iter().take_while(move |id| symbols.text(**id).starts_with(prefix));
        run.chain(self.tail.iter().filter(move |id| symbols.text(**id).starts_with(prefix))).copied()
    }

    fn remove(&mut self, value: SymbolId) {
        self.tail.retain(|known| *known != value);
        self.run.retain(|known| *known != value);
    }

    fn add(&mut self, value: SymbolId, symbols: &Symbols) {
        self.tail.push(value);
        // A tail of an eighth keeps both the scan of the tail and the merges (each value is moved some eight times) cheap.
        if self.tail.len() > 256.max(self.run.len() / 8) {
            self.run.append(&mut self.tail);
            self.run.sort_by(|a, b| symbols.text(*a).cmp(symbols.text(*b)));
            self.run.shrink_to_fit();
        }
    }
}

/// The table looks at a hash's highest and lowest bits: a product brings all of the 32 into both.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
