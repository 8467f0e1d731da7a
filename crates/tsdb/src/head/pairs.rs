//! Distinct label pairs: what they say, which series have them, and the values of each name in order.
//!
//! A series is a list of pair ids. A pair is in the dictionary of its name as long as it has postings; it and its strings
//! stay as long as a series, even a removed one that some reader may hold, is made of it.
//!
//! # Invariants
//! - Equal pairs have equal ids. An id stays as long as it is in use, and is given to another pair after that.
//! - A pair is in its dictionary if and only if its postings are not empty, but for those in `new`.

use super::paged::Paged;
use super::postings::Postings;
use super::symbols::{SymbolId, Symbols};
use super::table::{Table, spread};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};

/// Values of a page of a dictionary.
const DICTIONARY_PAGE: usize = 512;
/// So many new values are merged with a dictionary that has not as many times more.
const MERGED_SHARE: usize = 8;

/// A label pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PairId(pub(super) u32);

/// What a pair says, and of how many series it is part; an id in no use is free.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: SymbolId,
    value: SymbolId,
    uses: u32,
    hash: u32,
}

/// The pairs and their ids.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) symbols: Symbols,
    entries: Paged<Entry>,
    postings: Paged<Postings>,
    free: Vec<u32>,
    ids: Table,
    dictionaries: HashMap<SymbolId, Values, FixedState>,
    hasher: FixedState,
    /// Pairs with postings.
    listed: usize,
    /// Pairs with postings that are in no dictionary yet, and not counted.
    new: Vec<PairId>,
}

/// Values of one label name, as pairs, in order of text.
#[derive(Debug, Default)]
pub(super) struct Values {
    pages: Vec<Vec<PairId>>,
    len: usize,
    /// How many series have the label.
    series: u64,
}

impl Pairs {
    /// The id of a pair, which now is part of one more series; that series has yet to be listed.
    pub(super) fn acquire(&mut self, name: &str, value: &str) -> PairId {
        let (id, _) = self.find_or_add(name, value);
        self.entries[id.0 as usize].uses += 1;
        id
    }

    /// The id of a pair, and whether it was given now; it is to become part of a series.
    pub(super) fn find_or_add(&mut self, name: &str, value: &str) -> (PairId, bool) {
        let hash = hash(&self.hasher, name, value);
        if let Some(id) = self.find_hashed(hash, name, value) {
            return (id, false);
        }
        let entry = Entry { name: self.symbols.acquire(name), value: self.symbols.acquire(value), uses: 0, hash };
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            id
        } else {
            self.entries.push(entry);
            self.postings.push(Postings::default());
            u32::try_from(self.entries.len() - 1).ok().filter(|id| *id < PAIRS_MAX).expect("pairs take so much memory that 2^31 do not fit")
        };
        let entries = &self.entries;
        self.ids.insert(spread(hash), id, |id| spread(entries[id as usize].hash));
        (PairId(id), true)
    }

    /// The pair is part of one series less; without any it goes.
    pub(super) fn release(&mut self, id: PairId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let entry = *entry;
        let entries = &self.entries;
        self.ids.remove(spread(entry.hash), id.0, |id| spread(entries[id as usize].hash));
        self.symbols.release(entry.name);
        self.symbols.release(entry.value);
        self.free.push(id.0);
    }

    /// Lists a slot among those of a pair.
    pub(super) fn list(&mut self, id: PairId, slot: u32) {
        let Entry { name, .. } = self.entries[id.0 as usize];
        let postings = &mut self.postings[id.0 as usize];
        let first = postings.is_empty();
        if !postings.insert(slot) {
            return;
        }
        let values = self.dictionaries.entry(name).or_default();
        values.series += 1;
        if first {
            values.insert(id, |a, b| compare_values(&self.symbols, &self.entries, a, b));
            self.listed += 1;
        }
    }

    /// The pair is part of the series in these slots, which follow each other, and they are listed among its own. [`Self::list_new`] must
    /// follow.
    pub(super) fn acquire_run(&mut self, id: PairId, slots: std::ops::Range<u32>) {
        let entry = &mut self.entries[id.0 as usize];
        entry.uses += slots.len() as u32;
        let postings = &mut self.postings[id.0 as usize];
        if postings.is_empty() {
            self.new.push(id);
        }
        let inserted = postings.insert_run(slots);
        self.dictionaries.entry(entry.name).or_default().series += inserted;
    }

    /// Puts pairs that got their first slots by [`Self::acquire_run`] into the dictionaries.
    pub(super) fn list_new(&mut self) {
        let mut new = std::mem::take(&mut self.new);
        self.listed += new.len();
        new.sort_unstable_by_key(|id| self.entries[id.0 as usize].name);
        let Self { symbols, entries, dictionaries, .. } = self;
        let name = |id: &PairId| entries[id.0 as usize].name;
        for of_name in new.chunk_by(|a, b| name(a) == name(b)) {
            let sorted = sorted_by_value(symbols, entries, of_name);
            let values = dictionaries.entry(name(&of_name[0])).or_default();
            values.insert_sorted(&sorted, |a, b| compare_values(symbols, entries, a, b));
        }
    }

    /// Takes slots, which are sorted and all listed, off the list of a pair.
    pub(super) fn unlist(&mut self, id: PairId, slots: &[u32]) {
        let name = self.entries[id.0 as usize].name;
        let postings = &mut self.postings[id.0 as usize];
        postings.remove(slots);
        let empty = postings.is_empty();
        let Some(values) = self.dictionaries.get_mut(&name) else { return };
        values.series -= slots.len() as u64;
        if empty {
            self.listed -= 1;
            values.remove(id, |a, b| compare_values(&self.symbols, &self.entries, a, b));
            if values.len == 0 {
                self.dictionaries.remove(&name);
            }
        }
    }

    /// The pair of a name and a value, if a series has it or had it lately.
    pub(super) fn find(&self, name: &str, value: &str) -> Option<PairId> {
        self.find_hashed(hash(&self.hasher, name, value), name, value)
    }

    /// Name and value of a pair.
    #[inline]
    pub(super) fn texts(&self, id: PairId) -> (&str, &str) {
        texts(&self.symbols, self.entries[id.0 as usize])
    }

    /// The name of a pair.
    #[inline]
    pub(super) fn name(&self, id: PairId) -> SymbolId {
        self.entries[id.0 as usize].name
    }

    /// Name and value of a pair, as strings' ids.
    #[inline]
    pub(super) fn symbols_of(&self, id: PairId) -> (SymbolId, SymbolId) {
        let Entry { name, value, .. } = self.entries[id.0 as usize];
        (name, value)
    }

    /// The value's text.
    #[inline]
    pub(super) fn value_text(&self, id: PairId) -> &str {
        self.symbols.text(self.entries[id.0 as usize].value)
    }

    /// The slots with a pair.
    #[inline]
    pub(super) fn postings(&self, id: PairId) -> &Postings {
        &self.postings[id.0 as usize]
    }

    /// The order of two pairs: by name, then by value.
    #[inline]
    pub(super) fn compare(&self, a: PairId, b: PairId) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        let (a_entry, b_entry) = (self.entries[a.0 as usize], self.entries[b.0 as usize]);
        if a_entry.name == b_entry.name {
            return self.symbols.text(a_entry.value).cmp(self.symbols.text(b_entry.value));
        }
        self.symbols.text(a_entry.name).cmp(self.symbols.text(b_entry.name))
    }

    /// By pair: the place among all, in order of name and value; [`UNLISTED`] without series.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut names: Vec<(&str, &Values)> = self.dictionaries().map(|(name, values)| (self.symbols.text(name), values)).collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        let mut ranks = vec![UNLISTED; self.entries.len()];
        for (rank, pair) in (0u32..).zip(names.into_iter().flat_map(|(_, values)| values.iter())) {
            ranks[pair.0 as usize] = rank;
        }
        ranks
    }

    /// The values of a name.
    pub(super) fn values(&self, name: &str) -> Option<&Values> {
        self.dictionaries.get(&self.symbols.find(name)?)
    }

    /// All names with their values, in no order.
    pub(super) fn dictionaries(&self) -> impl Iterator<Item = (SymbolId, &Values)> {
        self.dictionaries.iter().map(|(name, values)| (*name, values))
    }

    /// How many pairs a series has.
    pub(super) fn listed_count(&self) -> usize {
        self.listed
    }

    /// One above the highest id.
    pub(super) fn id_end(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory: of pairs with their dictionaries, and of postings.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let pages = self.dictionaries.values().flat_map(|values| &values.pages);
        let dictionaries: usize = pages.map(|page| page.capacity() * size_of::<PairId>() + size_of::<Vec<PairId>>()).sum();
        let pairs = self.entries.bytes() + self.free.capacity() * size_of::<u32>() + self.ids.bytes() + dictionaries;
        (pairs, self.postings.bytes() + self.postings.iter().map(Postings::bytes).sum::<usize>())
    }

    fn find_hashed(&self, hash: u32, name: &str, value: &str) -> Option<PairId> {
        let is = |entry: Entry| entry.hash == hash && texts(&self.symbols, entry) == (name, value);
        self.ids.find(spread(hash), |id| is(self.entries[id as usize])).map(PairId)
    }
}

/// In place of the rank of a pair without series.
pub(super) const UNLISTED: u32 = u32::MAX;

/// Ids are below this.
pub(super) const PAIRS_MAX: u32 = 1 << 31;

fn texts(symbols: &Symbols, entry: Entry) -> (&str, &str) {
    (symbols.text(entry.name), symbols.text(entry.value))
}

fn hash(hasher: &FixedState, name: &str, value: &str) -> u32 {
    let mut hasher = hasher.build_hasher();
    hasher.write(name.as_bytes());
    // No byte of UTF-8: where the name ends is part of what is hashed.
    hasher.write_u8(0xff);
    hasher.write(value.as_bytes());
    hasher.finish() as u32
}

fn compare_values(symbols: &Symbols, entries: &Paged<Entry>, a: PairId, b: PairId) -> Ordering {
    let text = |id: PairId| symbols.text(entries[id.0 as usize].value);
    text(a).cmp(text(b))
}

/// Pairs of one name in order of their values: by the eight bytes behind what all of them begin with, as far as these differ.
fn sorted_by_value(symbols: &Symbols, entries: &Paged<Entry>, pairs: &[PairId]) -> Vec<PairId> {
    let value = |id: &PairId| symbols.text(entries[id.0 as usize].value).as_bytes();
    let same = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let first = pairs.first().map_or(&[][..], value);
    let mut keyed: Vec<(u64, &[u8], PairId)> = pairs.iter().map(|id| (0, value(id), *id)).collect();
    let common = keyed.iter().fold(first.len(), |common, (_, value, _)| same(&first[..common], value));
    for (key, value, _) in &mut keyed {
        let mut bytes = [0; 8];
        let rest = &value[common..];
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        *key = u64::from_be_bytes(bytes);
    }
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, _, id)| id).collect()
}

impl Values {
    /// How many series have the label.
    pub(super) fn series_count(&self) -> u64 {
        self.series
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All values, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = PairId> + '_ {
        self.pages.iter().flatten().copied()
    }

    /// Values that start with `prefix`, in order.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str, pairs: &'a Pairs) -> impl Iterator<Item = PairId> + 'a {
        let first = self.pages.partition_point(|page| page.last().is_some_and(|last| pairs.value_text(*last) < prefix));
        let skipped = self.pages.get(first).map_or(0, |page| page.partition_point(|id| pairs.value_text(*id) < prefix));
        let from_first = self.pages[first..].iter().flatten().copied().skip(skipped);
        from_first.take_while(move |id| pairs.value_text(*id).starts_with(prefix))
    }

    /// Inserts pairs that are in order and new.
    fn insert_sorted(&mut self, new: &[PairId], compare: impl Fn(PairId, PairId) -> Ordering) {
        if new.len() * MERGED_SHARE < self.len {
            return new.iter().for_each(|id| self.insert(*id, &compare));
        }
        let old: Vec<PairId> = self.iter().collect();
        let (mut old, mut new) = (old.into_iter().peekable(), new.iter().copied().peekable());
        *self = Self { pages: Vec::new(), len: 0, series: self.series };
        loop {
            let is_old = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => compare(*old, *new).is_lt(),
                (old, _) => old.is_some(),
            };
            let Some(id) = (if is_old { old.next() } else { new.next() }) else { break };
            match self.pages.last_mut() {
                Some(page) if page.len() < DICTIONARY_PAGE => page.push(id),
                _ => self.pages.push(vec![id]),
            }
            self.len += 1;
        }
        self.pages.iter_mut().for_each(Vec::shrink_to_fit);
    }

    fn insert(&mut self, id: PairId, compare: impl Fn(PairId, PairId) -> Ordering) {
        self.len += 1;
        let at_page = self.page_of(id, &compare).min(self.pages.len().saturating_sub(1));
        let is_last = at_page + 1 >= self.pages.len();
        let Some(page) = self.pages.get_mut(at_page) else {
            self.pages.push(vec![id]);
            return;
        };
        let at = page.partition_point(|known| compare(*known, id).is_lt());
        if page.len() < DICTIONARY_PAGE {
            if page.len() == page.capacity() {
                page.reserve_exact((page.len() / 4).max(4).min(DICTIONARY_PAGE - page.len()));
            }
            page.insert(at, id);
            return;
        }
        // Values that come in order fill their pages; others leave them half full to begin with.
        let middle = if is_last && at == page.len() { at } else { page.len() / 2 };
        let mut upper = Vec::with_capacity(page.len() - middle + DICTIONARY_PAGE / 8);
        upper.extend_from_slice(&page[middle..]);
        page.truncate(middle);
        if at <= middle && middle < DICTIONARY_PAGE {
            page.insert(at, id);
            page.shrink_to(page.len() + DICTIONARY_PAGE / 8);
        } else {
            upper.insert(at - middle, id);
        }
        self.pages.insert(at_page + 1, upper);
    }

    fn remove(&mut self, id: PairId, compare: impl Fn(PairId, PairId) -> Ordering) {
        let at_page = self.page_of(id, &compare);
        let Some(page) = self.pages.get_mut(at_page) else { return };
        let at = page.partition_point(|known| compare(*known, id).is_lt());
        if page.get(at) != Some(&id) {
            return;
        }
        page.remove(at);
        self.len -= 1;
        let left = page.len();
        if left == 0 {
            self.pages.remove(at_page);
        } else if left < DICTIONARY_PAGE / 4
            && let Some(next) = self.pages.get(at_page + 1)
            && left + next.len() <= DICTIONARY_PAGE / 2
        {
            let next = self.pages.remove(at_page + 1);
            self.pages[at_page].extend_from_slice(&next);
        }
    }

    /// The first page whose last value is not below this one.
    fn page_of(&self, id: PairId, compare: &impl Fn(PairId, PairId) -> Ordering) -> usize {
        self.pages.partition_point(|page| page.last().is_some_and(|last| compare(*last, id).is_lt()))
    }
}
