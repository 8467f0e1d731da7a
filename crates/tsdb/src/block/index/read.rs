//! An index as it is read: from names to lists of series, and from a series' id to its entry.

use super::symbols::{Numbering, Symbols};
use super::table::Table;
use super::{Corrupt, HEADER_BYTES, MAGIC, SERIES_ALIGN, Toc, checked, section};
use crate::block::cursor::Cursor;
use crate::block::{ChunkMeta, ChunkRef, SeriesEntry, SeriesId, SymbolPair};
use hashbrown::HashMap;
use model::Labels;
use model::labels::{Packer, Unpackable};
use std::sync::Arc;
use world::Map;

/// How many symbols a reader keeps before it forgets them all.
const SYMBOLS_KEPT_MAX: usize = 1 << 16;

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    map: Arc<Map>,
    version: u8,
    symbols: Symbols,
    table: Table,
}

impl Index {
    /// Checks header, table of contents, symbols and postings offset table.
    pub fn open(map: Arc<Map>) -> Result<Self, Corrupt> {
        let header = map.get(..HEADER_BYTES).ok_or(Corrupt("index header: invalid size"))?;
        if header[..4] != MAGIC {
            return Err(Corrupt("invalid magic number"));
        }
        let version = header[4];
        // Prometheus writes no version 3, but reads it like 2.
        if !(1..=3).contains(&version) {
            return Err(Corrupt("unknown index file version"));
        }
        let toc = Toc::read(&map)?;
        let symbols = Symbols::open(&map, toc.symbols, version)?;
        let table = Table::open(&map, toc.postings_table)?;
        Ok(Self { map, version, symbols, table })
    }

    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Bytes of memory, but for the map.
    pub fn memory_bytes(&self) -> usize {
        self.symbols.memory_bytes() + self.table.memory_bytes()
    }

    /// The file could not be read somewhere, and zeros were read instead.
    pub fn is_faulty(&self) -> bool {
        self.map.is_faulty()
    }

    pub fn symbols(&self) -> impl Iterator<Item = &str> + use<'_> {
        self.symbols.iter(&self.map)
    }

    /// The symbol that series entries call so.
    pub fn symbol(&self, name: u32) -> Option<&str> {
        self.symbols.text(&self.map, name)
    }

    /// What series entries call a symbol.
    pub fn find_symbol(&self, text: &str) -> Option<u32> {
        self.symbols.find(&self.map, text)
    }

    /// The way from what series entries call symbols to places among [`Self::symbols`].
    pub fn numbering(&self) -> Numbering {
        self.symbols.numbering(&self.map)
    }

    /// Label names in order.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.table.names().filter(|name| !name.is_empty())
    }

    /// How many values a name has.
    pub fn value_count(&self, name: &str) -> usize {
        self.table.value_count(name)
    }

    /// Values of a name in order, with the places of their postings.
    pub fn values(&self, name: &str) -> impl Iterator<Item = (&str, u64)> + use<'_> {
        self.table.values(&self.map, name)
    }

    /// Likewise those that start with `prefix`.
    pub fn values_with_prefix<'s>(&'s self, name: &str, prefix: &'s str) -> impl Iterator<Item = (&'s str, u64)> + use<'s> {
        self.table.values_from(&self.map, name, prefix).take_while(move |(value, _)| value.starts_with(prefix))
    }

    /// The place of a pair's postings.
    pub fn find(&self, name: &str, value: &str) -> Option<u64> {
        self.table.find(&self.map, name, value)
    }

    /// The list at a place, its checksum compared; ascending if the file is sound.
    pub fn postings(&self, place: u64) -> Result<impl ExactSizeIterator<Item = u32> + use<'_>, Corrupt> {
        let mut cursor = Cursor::new(section(&self.map, place)?);
        let count = cursor.be32().ok_or(Corrupt("decode postings: invalid size"))?;
        let (ids, rest) = cursor.rest().as_chunks::<4>();
        if ids.len() != count as usize || !rest.is_empty() {
            return Err(Corrupt("unexpected postings length"));
        }
        Ok(ids.iter().map(|id| u32::from_be_bytes(*id)))
    }

    /// How long the list at a place says it is, without looking further.
    pub fn postings_len(&self, place: u64) -> u64 {
        let count = || Cursor::new(self.map.get(usize::try_from(place).ok()?.checked_add(4)?..)?).be32();
        count().unwrap_or(0).into()
    }

    /// The list of all series.
    pub fn all_postings(&self) -> Result<impl ExactSizeIterator<Item = u32> + use<'_>, Corrupt> {
        // Blocks without series have no such list in some versions of Prometheus.
        let place = self.find("", "").ok_or(Corrupt("the list of all series is missing"))?;
        self.postings(place)
    }

    /// A series' entry, its checksum compared.
    fn entry(&self, id: SeriesId) -> Result<Cursor<'_>, Corrupt> {
        let offset = if self.version == 1 { u64::from(id.0) } else { u64::from(id.0) * SERIES_ALIGN };
        let bytes = usize::try_from(offset).ok().and_then(|offset| self.map.get(offset..)).ok_or(Corrupt("invalid size"))?;
        let mut cursor = Cursor::new(bytes);
        let len = cursor.uvarint().and_then(|len| usize::try_from(len).ok()).ok_or(Corrupt("invalid size"))?;
        checked(&mut cursor, len).map(Cursor::new)
    }

    /// Calls `each` with the symbols of a series' pairs.
    pub fn pairs(&self, id: SeriesId, mut each: impl FnMut(u32, u32)) -> Result<(), Corrupt> {
        pairs(&mut self.entry(id)?, &mut each)
    }
}

impl Index {
    /// Reads a series' labels, as numbers, and its chunks.
    pub fn numbered(
        &self,
        id: SeriesId,
        numbering: &Numbering,
        labels: &mut Vec<SymbolPair>,
        into: &mut Vec<ChunkMeta>,
    ) -> Result<(), Corrupt> {
        labels.clear();
        into.clear();
        let mut entry = self.entry(id)?;
        let mut whole = true;
        pairs(&mut entry, &mut |name, value| match (numbering.number(name), numbering.number(value)) {
            (Some(name), Some(value)) => labels.push(SymbolPair { name, value }),
            _ => whole = false,
        })?;
        if !whole {
            return Err(Corrupt("lookup label: unknown symbol"));
        }
        if !labels.is_sorted_by(|a, b| a.name < b.name) || labels.iter().any(|pair| numbering.is_empty(pair.name.min(pair.value))) {
            return Err(BAD_ORDER);
        }
        collect_chunks(&mut entry, into)
    }
}

const BAD_ORDER: Corrupt = Corrupt("labels of a series are out of order or empty");
const BAD_LABELS: Corrupt = Corrupt("read series label offsets: invalid size");
const BAD_CHUNKS: Corrupt = Corrupt("read meta for chunk: invalid size");

fn pairs(entry: &mut Cursor<'_>, each: &mut impl FnMut(u32, u32)) -> Result<(), Corrupt> {
    let mut number = || entry.uvarint().ok_or(BAD_LABELS);
    let symbol = |number: u64| u32::try_from(number).map_err(|_| BAD_LABELS);
    for _ in 0..number()? {
        each(symbol(number()?)?, symbol(number()?)?);
    }
    Ok(())
}

/// Reads series entries one after another; keeps symbols that it has met.
pub(crate) struct SeriesReader<'i> {
    index: &'i Index,
    met: HashMap<u32, &'i str, foldhash::fast::RandomState>,
    /// By the symbols of name and value.
    packer: Packer<(u32, u32)>,
    pairs: Vec<(u32, u32)>,
}

impl<'i> SeriesReader<'i> {
    pub fn new(index: &'i Index) -> Self {
        Self { index, met: HashMap::default(), packer: Packer::default(), pairs: Vec::new() }
    }

    /// Reads a series' labels and chunks.
    pub fn read(&mut self, id: SeriesId, into: &mut SeriesEntry) -> Result<(), Corrupt> {
        into.chunks.clear();
        let mut entry = self.index.entry(id)?;
        into.labels = self.labels(&mut entry)?;
        collect_chunks(&mut entry, &mut into.chunks)
    }

    /// The labels of a series with a chunk that is `wanted`, behind which it does not look.
    pub fn labels_if(&mut self, id: SeriesId, wanted: impl Fn(&ChunkMeta) -> bool) -> Result<Option<Labels>, Corrupt> {
        let mut entry = self.index.entry(id)?;
        let labels = self.labels(&mut entry)?;
        let mut found = false;
        chunks(&mut entry, |chunk| {
            found = wanted(&chunk);
            !found
        })?;
        Ok(found.then_some(labels))
    }

    fn labels(&mut self, entry: &mut Cursor<'_>) -> Result<Labels, Corrupt> {
        let Self { index, met, packer, pairs: symbols } = self;
        symbols.clear();
        pairs(entry, &mut |name, value| symbols.push((name, value)))?;
        let mut look_up = |symbol: u32| match met.get(&symbol) {
            Some(text) => Some(*text),
            None => {
                let text = index.symbol(symbol)?;
                if met.len() >= SYMBOLS_KEPT_MAX {
                    met.clear();
                }
                met.insert(symbol, text);
                Some(text)
            }
        };
        let packed = packer.pack(symbols.drain(..), |(name, value)| Some((look_up(*name)?, look_up(*value)?)));
        packed.map_err(|why| match why {
            Unpackable::Unknown => Corrupt("lookup label: unknown symbol"),
            Unpackable::Order => BAD_ORDER,
        })
    }
}

fn collect_chunks(entry: &mut Cursor<'_>, into: &mut Vec<ChunkMeta>) -> Result<(), Corrupt> {
    chunks(entry, |chunk| {
        into.push(chunk);
        true
    })
}

/// The chunks of an entry, for as long as `each` says so: times as differences to the end of the chunk before, places as
/// differences to its place.
fn chunks(entry: &mut Cursor<'_>, mut each: impl FnMut(ChunkMeta) -> bool) -> Result<(), Corrupt> {
    let count = entry.uvarint().ok_or(BAD_CHUNKS)?;
    let mut before: Option<ChunkMeta> = None;
    for _ in 0..count {
        // Times may be as far apart as an i64 reaches, so differences wrap.
        let mut unsigned = || Some(entry.uvarint()?.cast_signed());
        let chunk = match before {
            None => {
                let min_time = entry.varint().ok_or(BAD_CHUNKS)?;
                let mut unsigned = || entry.uvarint().ok_or(BAD_CHUNKS);
                ChunkMeta { min_time, max_time: min_time.wrapping_add(unsigned()?.cast_signed()), chunk_ref: ChunkRef(unsigned()?) }
            }
            Some(before) => {
                let min_time = before.max_time.wrapping_add(unsigned().ok_or(BAD_CHUNKS)?);
                let max_time = min_time.wrapping_add(unsigned().ok_or(BAD_CHUNKS)?);
                let distance = entry.varint().ok_or(BAD_CHUNKS)?;
                ChunkMeta { min_time, max_time, chunk_ref: ChunkRef(before.chunk_ref.0.wrapping_add_signed(distance)) }
            }
        };
        if chunk.min_time > chunk.max_time {
            return Err(Corrupt("a chunk ends before it begins"));
        }
        if !each(chunk) {
            break;
        }
        before = Some(chunk);
    }
    Ok(())
}
