//! Interned label names and values of the head.
//!
//! A million series share a few thousand strings, so a series holds numbers and the text is stored once. Text lies in
//! pages that never move: one allocation for thousands of strings, and no growth by copying.
//!
//! # Invariants
//! - Equal strings have equal ids; ids are dense from 0 and stay.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Bytes of a page; a longer string gets a page of its own.
const PAGE_LEN: usize = 64 * 1024;

/// An interned string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(pub u32);

/// Where a string lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: u32,
    start: u32,
    len: u32,
}

/// The strings and their ids.
#[derive(Debug, Default)]
pub struct Symbols {
    pages: Vec<String>,
    places: Vec<Place>,
    ids: HashTable<u32>,
    hasher: FixedState,
}

impl Symbols {
    /// The string of an id that this table gave.
    #[inline]
    pub fn text(&self, id: SymbolId) -> &str {
        text(&self.pages, self.places[id.0 as usize])
    }

    /// The id of a string, if it is interned.
    #[inline]
    pub fn find(&self, wanted: &str) -> Option<SymbolId> {
        let hash = self.hasher.hash_one(wanted);
        self.ids.find(hash, |id| text(&self.pages, self.places[*id as usize]) == wanted).map(|id| SymbolId(*id))
    }

    /// The id of a string, interned now if it was not.
    pub fn intern(&mut self, wanted: &str) -> SymbolId {
        if let Some(id) = self.find(wanted) {
            return id;
        }
        let id = u32::try_from(self.places.len()).expect("strings of a head that fits in memory count below 2^32");
        let place = self.store(wanted);
        self.places.push(place);
        let (pages, places, hasher) = (&self.pages, &self.places, &self.hasher);
        self.ids.insert_unique(hasher.hash_one(wanted), id, |id| hasher.hash_one(text(pages, places[*id as usize])));
        SymbolId(id)
    }

    /// How many strings.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    fn store(&mut self, wanted: &str) -> Place {
        let room = self.pages.last().is_some_and(|page| page.capacity() - page.len() >= wanted.len());
        if !room {
            self.pages.push(String::with_capacity(PAGE_LEN.max(wanted.len())));
        }
        let index = self.pages.len() - 1;
        let page = &mut self.pages[index];
        let start = page.len();
        page.push_str(wanted);
        let narrow = |n: usize| u32::try_from(n).expect("pages are counted below 2^32 and a label below 4 GiB");
        Place { page: narrow(index), start: narrow(start), len: narrow(wanted.len()) }
    }
}

#[inline]
fn text(pages: &[String], place: Place) -> &str {
    &pages[place.page as usize][place.start as usize..][..place.len as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_whatever_their_length() {
        let mut symbols = Symbols::default();
        let texts: Vec<String> =
            (0..2000).map(|i| "é".repeat(i % 97) + &i.to_string()).chain(["x".repeat(200_000), String::new()]).collect();
        let ids: Vec<_> = texts.iter().map(|t| symbols.intern(t)).collect();
        for (text, id) in texts.iter().zip(&ids) {
            assert_eq!(symbols.text(*id), text);
            assert_eq!(symbols.find(text), Some(*id));
            assert_eq!(symbols.intern(text), *id);
        }
        assert_eq!(symbols.count(), texts.len());
        assert_eq!(symbols.find("absent"), None);
    }
}
