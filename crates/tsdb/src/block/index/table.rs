//! The postings offset table: for each label pair where its list of series lies.
//!
//! Entries are sorted, so it is enough to know where every 32nd of a name lies. Version 1 knows no order; of a table that
//! is not sorted all places are kept, in order.
//!
//! # Invariants
//! - `names` strictly increase; the places of a name are in order of the values found there.

use super::{Corrupt, SAMPLE_EVERY, section};
use crate::block::cursor::Cursor;

#[derive(Debug)]
pub(super) struct Table {
    /// Place of the content in the file, and of what is behind it.
    from: usize,
    upto: usize,
    /// How many entries lie between two known places of a name, the first included.
    every: usize,
    names: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    name: Box<str>,
    values: usize,
    /// Places of entries within the content.
    places: Box<[u32]>,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
struct Entry<'f> {
    name: &'f [u8],
    value: &'f [u8],
    /// Where the list lies in the file.
    postings: u64,
}

fn entry<'f>(cursor: &mut Cursor<'f>) -> Option<Entry<'f>> {
    if cursor.uvarint()? != 2 {
        return None;
    }
    Some(Entry { name: cursor.text()?, value: cursor.text()?, postings: cursor.uvarint()? })
}

impl Table {
    /// Walks the whole table, once (twice if it is not sorted).
    pub fn open(file: &[u8], offset: u64) -> Result<Self, Corrupt> {
        let content = section(file, offset)?;
        // `section` has found this place in the file.
        let from = offset as usize + 4;
        let upto = from + content.len();
        if let Some(names) = sampled(content)? {
            return Ok(Self { from, upto, every: SAMPLE_EVERY, names });
        }
        Ok(Self { from, upto, every: 1, names: all(content)? })
    }

    /// All names in order; the list of all series stands under the empty one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &*name.name)
    }

    /// How many values a name has.
    pub fn value_count(&self, name: &str) -> usize {
        self.name(name).map_or(0, |name| name.values)
    }

    /// Where the list of a pair lies.
    pub fn find(&self, file: &[u8], name: &str, value: &str) -> Option<u64> {
        let (found, postings) = self.values_from(file, name, value).next()?;
        (found == value).then_some(postings)
    }

    /// Values of a name in order, with where their lists lie; those that are not UTF-8 are left out.
    pub fn values<'s, 'f: 's>(&'s self, file: &'f [u8], name: &str) -> impl Iterator<Item = (&'f str, u64)> + use<'s, 'f> {
        self.run(file, self.name(name), 0)
    }

    /// Likewise from the first value on that is not less than `value`.
    pub fn values_from<'s, 'f: 's>(
        &'s self,
        file: &'f [u8],
        name: &str,
        value: &str,
    ) -> impl Iterator<Item = (&'f str, u64)> + use<'s, 'f> {
        let name = self.name(name);
        let places = name.map_or(&[][..], |name| &name.places);
        let value_at = |place: &u32| Some(entry(&mut self.cursor(file, *place)?)?.value);
        let behind = places.partition_point(|place| value_at(place).is_some_and(|found| found <= value.as_bytes()));
        let wanted = value.to_owned();
        self.run(file, name, behind.saturating_sub(1)).skip_while(move |(found, _)| *found < wanted.as_str())
    }

    /// Entries of a name from a known place on.
    fn run<'s, 'f: 's>(
        &'s self,
        file: &'f [u8],
        name: Option<&'s Name>,
        first: usize,
    ) -> impl Iterator<Item = (&'f str, u64)> + use<'s, 'f> {
        let places = name.and_then(|name| name.places.get(first..)).unwrap_or_default();
        let count = name.map_or(0, |name| name.values.saturating_sub(first * self.every));
        let mut cursor = Cursor::new(&[]);
        (0..count)
            .map_while(move |at| {
                if at.is_multiple_of(self.every) {
                    cursor = self.cursor(file, *places.get(at / self.every)?)?;
                }
                entry(&mut cursor)
            })
            .filter_map(|entry| Some((std::str::from_utf8(entry.value).ok()?, entry.postings)))
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let at = self.names.binary_search_by(|known| (*known.name).cmp(name)).ok()?;
        self.names.get(at)
    }

    fn cursor<'f>(&self, file: &'f [u8], place: u32) -> Option<Cursor<'f>> {
        Some(Cursor::new(file.get(self.from.checked_add(place as usize)?..self.upto)?))
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.names.iter().map(|name| size_of::<Name>() + name.name.len() + name.places.len() * size_of::<u32>()).sum()
    }
}

/// Walks the entries with their places.
fn walk<'f>(content: &'f [u8], mut each: impl FnMut(u32, Entry<'f>)) -> Result<(), Corrupt> {
    let mut cursor = Cursor::new(content);
    let count = cursor.be32().ok_or(Corrupt("read postings table: invalid size"))?;
    for _ in 0..count {
        if cursor.rest().is_empty() {
            break;
        }
        // A section is shorter than 2^32.
        let place = (content.len() - cursor.rest().len()) as u32;
        each(place, entry(&mut cursor).ok_or(Corrupt("read postings table: invalid entry"))?);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<Box<str>, Corrupt> {
    std::str::from_utf8(bytes).map(Box::from).map_err(|_| Corrupt("read postings table: a name is not UTF-8"))
}

/// Every 32nd place of each name; none if the entries are not in order.
fn sampled(content: &[u8]) -> Result<Option<Vec<Name>>, Corrupt> {
    let mut names: Vec<(&[u8], usize, Vec<u32>)> = Vec::new();
    let mut last: Option<Entry<'_>> = None;
    let mut sorted = true;
    walk(content, |place, entry| {
        sorted &= last.is_none_or(|last| (last.name, last.value) < (entry.name, entry.value));
        if last.is_none_or(|last| last.name != entry.name) {
            names.push((entry.name, 0, Vec::new()));
        }
        if let Some((_, values, places)) = names.last_mut() {
            if values.is_multiple_of(SAMPLE_EVERY) {
                places.push(place);
            }
            *values += 1;
        }
        last = Some(entry);
    })?;
    if !sorted {
        return Ok(None);
    }
    let named = names.into_iter().map(|(name, values, places)| Ok(Name { name: text(name)?, values, places: places.into() }));
    named.collect::<Result<_, Corrupt>>().map(Some)
}

/// All places of each name, in order of value.
fn all(content: &[u8]) -> Result<Vec<Name>, Corrupt> {
    let mut entries: Vec<(&[u8], &[u8], u32)> = Vec::new();
    walk(content, |place, entry| entries.push((entry.name, entry.value, place)))?;
    entries.sort_unstable();
    let names = entries.chunk_by(|a, b| a.0 == b.0).map(|of_name| {
        let places = of_name.iter().map(|(_, _, place)| *place).collect();
        Ok(Name { name: text(of_name[0].0)?, values: of_name.len(), places })
    });
    names.collect()
}
