//! The symbol table: all names and values of labels, sorted, by number.
//!
//! A series of version 2 calls a symbol by its number, one of version 1 by its place in the file.

use super::{Corrupt, SAMPLE_EVERY, section};
use crate::block::cursor::Cursor;

/// The way from what series call symbols to their places among all of them that are texts, from 0.
#[derive(Debug)]
pub(crate) struct Numbering {
    /// What series call them, ascending; none if that is the place.
    names: Option<Vec<u32>>,
    count: u32,
    first_is_empty: bool,
}

impl Numbering {
    /// The place of the symbol that a series calls so.
    pub fn number(&self, name: u32) -> Option<u32> {
        match &self.names {
            None => (name < self.count).then_some(name),
            Some(names) => names.binary_search(&name).ok().map(|place| place as u32),
        }
    }

    /// Whether the symbol at a place is the empty text.
    pub fn is_empty(&self, number: u32) -> bool {
        number == 0 && self.first_is_empty
    }
}

/// Where the symbols of a mapped index lie.
#[derive(Debug)]
pub(super) struct Symbols {
    /// Place of the first in the file, and of what is behind the last.
    from: usize,
    upto: usize,
    count: u32,
    by_place: bool,
    /// Every 32nd one's distance from the first.
    sampled: Vec<u32>,
}

impl Symbols {
    /// Walks the whole table, once.
    pub fn open(file: &[u8], offset: u64, version: u8) -> Result<Self, Corrupt> {
        let content = section(file, offset)?;
        let mut cursor = Cursor::new(content);
        let count = cursor.be32().ok_or(Corrupt("read symbols: invalid size"))?;
        let texts = cursor.rest().len();
        // A symbol takes at least a byte.
        if count as usize > texts {
            return Err(Corrupt("read symbols: invalid size"));
        }
        let mut sampled = Vec::with_capacity(count as usize / SAMPLE_EVERY + 1);
        for at in 0..count as usize {
            if at.is_multiple_of(SAMPLE_EVERY) {
                // A section is shorter than 2^32.
                sampled.push((texts - cursor.rest().len()) as u32);
            }
            cursor.text().ok_or(Corrupt("read symbols: invalid size"))?;
        }
        // `section` has found these places in the file: behind the length and the count.
        let from = offset as usize + 8;
        Ok(Self { from, upto: from + texts, count, by_place: version == 1, sampled })
    }

    /// The symbol that a series calls so.
    pub fn text<'f>(&self, file: &'f [u8], name: u32) -> Option<&'f str> {
        let (from, skipped) = if self.by_place {
            let place = name as usize;
            (if place >= self.from { place } else { return None }, 0)
        } else {
            if name >= self.count {
                return None;
            }
            let sampled = self.sampled.get(name as usize / SAMPLE_EVERY)?;
            (self.from + *sampled as usize, name as usize % SAMPLE_EVERY)
        };
        let mut cursor = Cursor::new(file.get(from..self.upto)?);
        for _ in 0..skipped {
            cursor.text()?;
        }
        std::str::from_utf8(cursor.text()?).ok()
    }

    /// What a series calls this symbol.
    pub fn find(&self, file: &[u8], text: &str) -> Option<u32> {
        let texts = file.get(self.from..self.upto)?;
        let at = |distance: &u32| Cursor::new(texts.get(*distance as usize..).unwrap_or_default());
        let run =
            self.sampled.partition_point(|distance| at(distance).text().is_some_and(|known| known <= text.as_bytes())).checked_sub(1)?;
        let mut cursor = at(self.sampled.get(run)?);
        for step in 0..SAMPLE_EVERY {
            let place = self.upto - cursor.rest().len();
            if cursor.text()? == text.as_bytes() {
                return u32::try_from(if self.by_place { place } else { run * SAMPLE_EVERY + step }).ok();
            }
        }
        None
    }

    /// All of them in order; those that are not UTF-8 are left out.
    pub fn iter<'f>(&self, file: &'f [u8]) -> impl Iterator<Item = &'f str> + use<'f> {
        let mut cursor = Cursor::new(file.get(self.from..self.upto).unwrap_or_default());
        (0..self.count).map_while(move |_| cursor.text()).filter_map(|text| std::str::from_utf8(text).ok())
    }

    /// The way from what series call symbols to places among [`Self::iter`].
    pub fn numbering(&self, file: &[u8]) -> Numbering {
        let texts = file.get(self.from..self.upto).unwrap_or_default();
        let mut cursor = Cursor::new(texts);
        let (mut names, mut all, mut first_is_empty) = (Vec::new(), !self.by_place, false);
        for at in 0..self.count {
            let place = self.upto - cursor.rest().len();
            let Some(text) = cursor.text() else { break };
            if std::str::from_utf8(text).is_err() {
                all = false;
                continue;
            }
            first_is_empty |= names.is_empty() && text.is_empty();
            names.push(if self.by_place { u32::try_from(place).unwrap_or(u32::MAX) } else { at });
        }
        let count = names.len() as u32;
        Numbering { names: (!all).then_some(names), count, first_is_empty }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.sampled.capacity() * size_of::<u32>()
    }
}
