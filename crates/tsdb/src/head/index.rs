//! Which series the head has: by labels, and by matchers.
//!
//! # Invariants
//! - Slots are dense: series `n` was the `n`-th to be created.
//! - A slot stands in the postings of each of its label pairs, and in no others.

use super::postings::Postings;
use super::symbols::{SymbolId, Symbols};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use model::Labels;
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
}

impl Index {
    /// How many series.
    pub fn series_count(&self) -> usize {
        self.places.len()
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

    /// Adds a series, whose labels must be new here; its slot is the one after the last.
    pub fn insert(&mut self, labels: &Labels, series_ref: SeriesRef) -> Slot {
        let slot = u32::try_from(self.places.len()).expect("the head refuses series long before 2^32");
        let place = self.store_pairs(labels);
        self.places.push(place);
        self.refs.push(series_ref.0);
        for at in 0..place.count as usize {
            let pair = self.pages[usize::from(place.page)][usize::from(place.start) + at];
            self.post(pair, slot);
        }
        let hash = self.hash(labels);
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.by_labels.insert_unique(spread(hash), slot, |slot| spread(hashes[*slot as usize]));
        Slot(slot)
    }

    /// The labels of a slot in use.
    pub fn labels(&self, slot: u32) -> Labels {
        Labels::from_sorted(self.pairs(slot).iter().map(|(name, value)| (self.symbols.text(*name), self.symbols.text(*value))))
    }

    /// The label pairs of a slot in use, in order of name.
    pub(super) fn pairs(&self, slot: u32) -> &[Pair] {
        let place = self.places[slot as usize];
        &self.pages[usize::from(place.page)][usize::from(place.start)..][..place.count as usize]
    }

    fn hash(&self, labels: &Labels) -> u32 {
        self.hasher.hash_one(labels.as_bytes()) as u32
    }

    fn has_labels(&self, slot: u32, labels: &Labels) -> bool {
        let mine = self.pairs(slot).iter().map(|(name, value)| (self.symbols.text(*name), self.symbols.text(*value)));
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
        postings.push(slot);
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
