//! Interned label names and values of the head.
//!
//! A million series share some hundred thousand strings, so label pairs hold numbers and the text is stored once. Text
//! lies in pages: one allocation for thousands of strings, and no growth by copying.
//!
//! # Invariants
//! - Equal strings have equal ids. An id stays as long as it is in use, and is given to another string after that.

use super::paged::{Arena, Paged};
use super::table::{Table, spread};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// Bytes of a page; a longer string gets a page of its own.
const PAGE_LEN: usize = 64 * 1024;
/// Pages that one call of [`Symbols::compact`] empties: some milliseconds.
const COMPACTED: usize = 8;

/// An interned string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(pub u32);

/// Where a string lies, and how often it is used; an id in no use is free.
#[derive(Clone, Copy, Debug)]
struct Entry {
    page: u32,
    start: u32,
    len: u32,
    uses: u32,
    hash: u32,
}

/// The strings and their ids.
#[derive(Debug)]
pub struct Symbols {
    texts: Arena<String>,
    entries: Paged<Entry>,
    free: Vec<u32>,
    ids: Table,
    hasher: FixedState,
}

impl Default for Symbols {
    fn default() -> Self {
        let texts = Arena::new(PAGE_LEN);
        Self { texts, entries: Paged::default(), free: Vec::new(), ids: Table::default(), hasher: FixedState::default() }
    }
}

impl Symbols {
    /// The string of an id in use.
    #[inline]
    pub fn text(&self, id: SymbolId) -> &str {
        text(&self.texts, self.entries[id.0 as usize])
    }

    /// The id of a string, if it is interned.
    #[inline]
    pub fn find(&self, wanted: &str) -> Option<SymbolId> {
        self.find_hashed(self.hash(wanted), wanted)
    }

    /// The id of a string, interned now if it was not, and used once more.
    pub fn acquire(&mut self, wanted: &str) -> SymbolId {
        let hash = self.hash(wanted);
        if let Some(id) = self.find_hashed(hash, wanted) {
            self.entries[id.0 as usize].uses += 1;
            return id;
        }
        let (page, start) = self.texts.store(wanted);
        let len = u32::try_from(wanted.len()).expect("a label is shorter than 4 GiB");
        let entry = Entry { page, start, len, uses: 1, hash };
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            id
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("strings of a head that fits in memory count below 2^32")
        };
        let entries = &self.entries;
        self.ids.insert(spread(hash), id, |id| spread(entries[id as usize].hash));
        SymbolId(id)
    }

    /// The string is used once less; without any use it goes.
    pub fn release(&mut self, id: SymbolId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let entry = *entry;
        let entries = &self.entries;
        self.ids.remove(spread(entry.hash), id.0, |id| spread(entries[id as usize].hash));
        self.texts.release(entry.page, entry.len as usize);
        self.free.push(id.0);
    }

    /// Empties a few pages of which half is unused; whether there was one.
    pub fn compact(&mut self) -> bool {
        let sparse = self.texts.sparse(COMPACTED);
        if sparse.is_empty() {
            return false;
        }
        for id in 0..self.entries.len() {
            let entry = self.entries[id];
            if entry.uses > 0 && sparse.contains(&entry.page) {
                let moved = text(&self.texts, entry).to_owned();
                let (page, start) = self.texts.store(&moved);
                self.entries[id] = Entry { page, start, ..entry };
                self.texts.release(entry.page, entry.len as usize);
            }
        }
        true
    }

    /// One above the highest id.
    pub fn id_end(&self) -> usize {
        self.entries.len()
    }

    /// How many strings.
    pub fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.texts.capacity() + self.entries.bytes() + self.free.capacity() * size_of::<u32>() + self.ids.bytes()
    }

    fn find_hashed(&self, hash: u32, wanted: &str) -> Option<SymbolId> {
        let is = |id: u32| self.entries[id as usize].hash == hash && self.text(SymbolId(id)) == wanted;
        self.ids.find(spread(hash), is).map(SymbolId)
    }

    fn hash(&self, text: &str) -> u32 {
        self.hasher.hash_one(text) as u32
    }
}

#[inline]
fn text(texts: &Arena<String>, entry: Entry) -> &str {
    &texts.page(entry.page)[entry.start as usize..][..entry.len as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_whatever_their_length() {
        let mut symbols = Symbols::default();
        let texts: Vec<String> =
            (0..2000).map(|i| "é".repeat(i % 97) + &i.to_string()).chain(["x".repeat(200_000), String::new()]).collect();
        let ids: Vec<_> = texts.iter().map(|t| symbols.acquire(t)).collect();
        for (text, id) in texts.iter().zip(&ids) {
            assert_eq!(symbols.text(*id), text);
            assert_eq!(symbols.find(text), Some(*id));
            assert_eq!(symbols.acquire(text), *id);
        }
        assert_eq!(symbols.count(), texts.len());
        assert_eq!(symbols.find("absent"), None);
    }

    #[test]
    fn memory_of_strings_without_use_comes_back() {
        let mut symbols = Symbols::default();
        let text = |i: usize| format!("{i:0100}");
        let ids: Vec<_> = (0..20_000).map(|i| symbols.acquire(&text(i))).collect();
        let (full, ids_before) = (symbols.bytes(), symbols.entries.len());
        for (i, id) in ids.iter().enumerate().filter(|(i, _)| i % 10 > 0) {
            symbols.release(*id);
            assert_eq!(symbols.find(&text(i)), None);
        }
        while symbols.compact() {}
        assert_eq!(symbols.count(), 2000);
        assert!(symbols.texts.capacity() < 2000 * 100 * 2, "{} bytes of text", symbols.texts.capacity());
        for (i, id) in ids.iter().enumerate().filter(|(i, _)| i % 10 == 0) {
            assert_eq!(symbols.text(*id), text(i));
            assert_eq!(symbols.find(&text(i)), Some(*id));
        }
        for i in 0..20_000 {
            symbols.acquire(&text(i));
        }
        assert_eq!(symbols.entries.len(), ids_before);
        assert!(symbols.bytes() <= full + PAGE_LEN * 2 + ids_before * 4);
    }
}
