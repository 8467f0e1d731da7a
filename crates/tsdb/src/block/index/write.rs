//! Writing an index of version 2, front to back.
//!
//! Nothing is written twice, so that a file that can only be appended to is enough: symbols come first and are known whole,
//! and the sizes of postings and of their table follow from counts. Per label of a series four bytes are kept until the end,
//! the number of its pair; lists are then filled some millions of entries at a time.
//!
//! # Invariants
//! - Symbols, and label sets of series, strictly increase.

use super::{FILE_NAME, HEADER_BYTES, MAGIC, SERIES_ALIGN, Toc};
use crate::block::cursor::{Cursor, put_text, put_uvarint, put_varint, uvarint_len};
use crate::block::{BlockError, ChunkMeta, SymbolPair};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::Labels;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use world::{File, Files};

/// Bytes to collect before they are written: so few that the kernel still finds them in the core's cache.
const WRITE_BYTES: usize = 128 << 10;
/// Entries of postings lists that are put in order at a time.
const POSTINGS_AT_ONCE: u64 = 4 << 20;
/// Set on the last pair of a series.
const LAST: u32 = 1 << 31;
/// No number takes more bytes.
const LEN_BYTES_MAX: usize = 10;
/// Of a pair whose turn has not come.
const ELSEWHERE: u32 = u32::MAX;

/// The file being written.
struct Output {
    path: PathBuf,
    file: Box<dyn File>,
    collected: Vec<u8>,
    position: u64,
}

impl Output {
    fn put(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.collected.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
        if self.collected.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn pad(&mut self, align: u64) -> Result<(), BlockError> {
        let zeros = [0; SERIES_ALIGN as usize];
        let missing = self.position.next_multiple_of(align) - self.position;
        self.put(&zeros[..missing as usize])
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.file.append(&self.collected).map_err(|error| BlockError::io(&self.path, error))?;
        self.collected.clear();
        Ok(())
    }
}

/// All symbols as the file holds them, and, once somebody asks, the way from a text to its number.
struct Symbols {
    texts: Vec<u8>,
    /// Where each begins in `texts`.
    places: Vec<u32>,
    numbers: Option<HashTable<u32>>,
    hasher: RandomState,
}

impl Symbols {
    fn collect<'s>(symbols: impl IntoIterator<Item = &'s str>) -> Result<Self, BlockError> {
        let mut all = Self { texts: Vec::new(), places: Vec::new(), numbers: None, hasher: RandomState::default() };
        let mut last: Option<&str> = None;
        for symbol in symbols {
            if last.is_some_and(|last| last >= symbol) {
                return Err(BlockError::Refused(format!("symbol {symbol:?} out-of-order")));
            }
            last = Some(symbol);
            // The section's length counts the four bytes of the count too.
            let place = u32::try_from(all.texts.len() + symbol.len() + 16)
                .map(|_| all.texts.len() as u32)
                .map_err(|_| BlockError::Refused("symbol table size exceeds 4294967295 bytes".to_owned()))?;
            put_text(&mut all.texts, symbol.as_bytes());
            all.places.push(place);
        }
        Ok(all)
    }

    fn number(&mut self, symbol: &str) -> Result<u32, BlockError> {
        let Self { texts, places, numbers, hasher } = self;
        let numbers = numbers.get_or_insert_with(|| {
            let hash = |number: &u32| hasher.hash_one(text(texts, places, *number));
            let mut numbers = HashTable::with_capacity(places.len());
            for number in 0..places.len() as u32 {
                numbers.insert_unique(hash(&number), number, hash);
            }
            numbers
        });
        let found = numbers.find(hasher.hash_one(symbol.as_bytes()), |number| text(texts, places, *number) == symbol.as_bytes());
        found.copied().ok_or_else(|| BlockError::Refused(format!("symbol entry for {symbol:?} does not exist")))
    }

    fn text(&self, number: u32) -> &[u8] {
        text(&self.texts, &self.places, number)
    }
}

fn text<'t>(texts: &'t [u8], places: &[u32], number: u32) -> &'t [u8] {
    Cursor::new(&texts[places[number as usize] as usize..]).text().expect("`collect` wrote a text at each place")
}

/// Label pairs by the symbols' numbers, and how many series have each.
#[derive(Default)]
struct Pairs {
    pairs: Vec<SymbolPair>,
    counts: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Pairs {
    fn number(&mut self, pair: SymbolPair) -> u32 {
        let Self { pairs, counts, numbers, hasher } = self;
        let hash = hasher.hash_one(pair);
        let found = numbers.entry(hash, |number| pairs[*number as usize] == pair, |number| hasher.hash_one(pairs[*number as usize]));
        *found
            .or_insert_with(|| {
                pairs.push(pair);
                counts.push(0);
                (pairs.len() - 1) as u32
            })
            .get()
    }
}

/// Writes an index.
pub(in crate::block) struct IndexWriter {
    out: Output,
    toc: Toc,
    symbols: Symbols,
    pairs: Pairs,
    /// Each series' pairs, the last with [`LAST`].
    labelled: Vec<u32>,
    series: Vec<u32>,
    /// The last series' labels, and the numbers of these pairs.
    last: Vec<SymbolPair>,
    last_pairs: Vec<u32>,
    entry: Vec<u8>,
}

impl IndexWriter {
    pub fn create<'s>(files: &dyn Files, block: &Path, symbols: impl IntoIterator<Item = &'s str>) -> Result<Self, BlockError> {
        let symbols = Symbols::collect(symbols)?;
        let path = block.join(FILE_NAME);
        let file = files.create_new(&path).map_err(|error| BlockError::io(&path, error))?;
        let mut out = Output { path, file, collected: Vec::new(), position: 0 };
        out.put(&MAGIC)?;
        out.put(&[2])?;
        let count = (symbols.places.len() as u32).to_be_bytes();
        out.put(&(symbols.texts.len() as u32 + 4).to_be_bytes())?;
        out.put(&count)?;
        out.put(&symbols.texts)?;
        out.put(&crc32c::crc32c_append(crc32c::crc32c(&count), &symbols.texts).to_be_bytes())?;
        let toc = Toc { symbols: HEADER_BYTES as u64, series: out.position, ..Toc::default() };
        Ok(Self {
            out,
            toc,
            symbols,
            pairs: Pairs::default(),
            labelled: Vec::new(),
            series: Vec::new(),
            last: Vec::new(),
            last_pairs: Vec::new(),
            entry: Vec::new(),
        })
    }

    /// The numbers of labels' names and values.
    pub fn numbers(&mut self, labels: &Labels) -> Result<Vec<SymbolPair>, BlockError> {
        labels.iter().map(|(name, value)| Ok(SymbolPair { name: self.symbols.number(name)?, value: self.symbols.number(value)? })).collect()
    }

    /// The labels with these numbers, of which each must be a symbol's.
    pub fn labels(&self, pairs: &[SymbolPair]) -> Labels {
        let text = |number| std::str::from_utf8(self.symbols.text(number)).expect("`collect` was given texts");
        Labels::from_pairs(pairs.iter().map(|pair| (text(pair.name), text(pair.value))))
    }

    pub fn add_series(&mut self, labels: &[SymbolPair], chunks: &[ChunkMeta]) -> Result<(), BlockError> {
        if labels.iter().any(|pair| pair.name.max(pair.value) as usize >= self.symbols.places.len()) {
            return Err(BlockError::Refused("a label is none of the symbols".to_owned()));
        }
        if *labels <= *self.last {
            let (labels, last) = (self.labels(labels), self.labels(&self.last));
            return Err(BlockError::Refused(format!("out-of-order series added with label set {labels}, last label set {last}")));
        }
        check_order(chunks)?;
        self.out.pad(SERIES_ALIGN)?;
        let id =
            u32::try_from(self.out.position / SERIES_ALIGN).map_err(|_| BlockError::Refused("exceeding max size of 64GiB".to_owned()))?;
        self.number_pairs(labels)?;
        let Self { entry, pairs, labelled, .. } = self;
        entry.clear();
        // Room for the length, which is known in the end.
        entry.resize(LEN_BYTES_MAX, 0);
        put_uvarint(entry, labels.len() as u64);
        for (label, pair) in labels.iter().zip(&self.last_pairs) {
            put_uvarint(entry, u64::from(label.name));
            put_uvarint(entry, u64::from(label.value));
            pairs.counts[*pair as usize] += 1;
            labelled.push(*pair);
        }
        if let Some(last) = labelled.last_mut() {
            *last |= LAST;
        }
        put_chunks(entry, chunks);
        let len = (entry.len() - LEN_BYTES_MAX) as u64;
        let checksum = crc32c::crc32c(&entry[LEN_BYTES_MAX..]);
        entry.extend_from_slice(&checksum.to_be_bytes());
        let start = LEN_BYTES_MAX - uvarint_len(len) as usize;
        put_uvarint_at(&mut entry[start..], len);
        self.out.put(&entry[start..])?;
        self.series.push(id);
        self.last.clear();
        self.last.extend_from_slice(labels);
        Ok(())
    }

    /// Puts the numbers of the pairs into `last_pairs`. Neighbours in label order share most of them.
    fn number_pairs(&mut self, labels: &[SymbolPair]) -> Result<(), BlockError> {
        self.last_pairs.resize(labels.len(), 0);
        for (at, pair) in labels.iter().enumerate() {
            if self.last.get(at) == Some(pair) {
                continue;
            }
            let number = self.pairs.number(*pair);
            if number >= LAST {
                return Err(BlockError::Refused("too many label pairs".to_owned()));
            }
            self.last_pairs[at] = number;
        }
        Ok(())
    }

    /// Writes the rest and makes it durable.
    pub fn finish(self) -> Result<(), BlockError> {
        let Self { mut out, mut toc, pairs: Pairs { pairs, counts, .. }, labelled, series, symbols, .. } = self;
        toc.label_indices = out.position;
        toc.postings = out.position;
        out.pad(4)?;
        let first_list = out.position;
        // Symbols are sorted, so numbers are as good as texts.
        let mut order: Vec<u32> = (0..pairs.len() as u32).collect();
        order.sort_unstable_by_key(|number| pairs[*number as usize]);
        put_list(&mut out, &series)?;
        put_lists(&mut out, &labelled, &series, &order, &counts)?;

        toc.label_indices_table = out.position;
        toc.postings_table = out.position;
        let lists = std::iter::once((&[][..], &[][..], series.len() as u64)).chain(order.iter().map(|number| {
            let SymbolPair { name, value } = pairs[*number as usize];
            (symbols.text(name), symbols.text(value), u64::from(counts[*number as usize]))
        }));
        let mut next_list = first_list;
        let entries = lists.map(move |(name, value, count)| {
            let place = next_list;
            next_list += list_len(count);
            (name, value, place)
        });
        put_table(&mut out, entries, order.len() + 1)?;
        out.put(&toc.write())?;
        out.flush()?;
        out.file.sync().map_err(|error| BlockError::io(&out.path, error))
    }
}

/// Writes a number into the first bytes, as [`put_uvarint`] does.
fn put_uvarint_at(bytes: &mut [u8], mut value: u64) {
    for byte in bytes {
        *byte = value as u8 & 0x7f;
        value >>= 7;
        if value == 0 {
            return;
        }
        *byte |= 0x80;
    }
}

fn check_order(chunks: &[ChunkMeta]) -> Result<(), BlockError> {
    let mut last: Option<&ChunkMeta> = None;
    for chunk in chunks {
        if let Some(last) = last.filter(|last| chunk.min_time <= last.max_time) {
            let what = format!("chunk minT {} is not higher than previous chunk maxT {}", chunk.min_time, last.max_time);
            return Err(BlockError::Refused(what));
        }
        if chunk.max_time < chunk.min_time {
            return Err(BlockError::Refused(format!("chunk maxT {} is less than minT {}", chunk.max_time, chunk.min_time)));
        }
        last = Some(chunk);
    }
    Ok(())
}

fn put_chunks(entry: &mut Vec<u8>, chunks: &[ChunkMeta]) {
    put_uvarint(entry, chunks.len() as u64);
    let mut last: Option<&ChunkMeta> = None;
    for chunk in chunks {
        let duration = chunk.max_time.wrapping_sub(chunk.min_time).cast_unsigned();
        match last {
            None => {
                put_varint(entry, chunk.min_time);
                put_uvarint(entry, duration);
                put_uvarint(entry, chunk.chunk_ref.0);
            }
            Some(last) => {
                put_uvarint(entry, chunk.min_time.wrapping_sub(last.max_time).cast_unsigned());
                put_uvarint(entry, duration);
                put_varint(entry, chunk.chunk_ref.0.wrapping_sub(last.chunk_ref.0).cast_signed());
            }
        }
        last = Some(chunk);
    }
}

/// Length, count, entries, checksum: a multiple of four, so that no list needs padding before it.
fn list_len(count: u64) -> u64 {
    4 * count + 12
}

fn put_list(out: &mut Output, ids: &[u32]) -> Result<(), BlockError> {
    let too_large = || BlockError::Refused("posting size exceeds 4 bytes".to_owned());
    let len = u32::try_from(4 * ids.len() as u64 + 4).map_err(|_| too_large())?;
    out.put(&len.to_be_bytes())?;
    let count = ((len - 4) / 4).to_be_bytes();
    out.put(&count)?;
    let mut checksum = crc32c::crc32c(&count);
    let mut bytes = [0; 4096];
    for run in ids.chunks(bytes.len() / 4) {
        let run_bytes = &mut bytes[..4 * run.len()];
        for (place, id) in run_bytes.as_chunks_mut().0.iter_mut().zip(run) {
            *place = id.to_be_bytes();
        }
        checksum = crc32c::crc32c_append(checksum, run_bytes);
        out.put(run_bytes)?;
    }
    out.put(&checksum.to_be_bytes())
}

/// Writes the lists of all pairs in `order`: for as many of them as fit, one walk over all series fills their lists.
fn put_lists(out: &mut Output, labelled: &[u32], series: &[u32], order: &[u32], counts: &[u32]) -> Result<(), BlockError> {
    let mut next = vec![ELSEWHERE; counts.len()];
    let mut lists: Vec<u32> = Vec::new();
    let mut rest = order;
    while !rest.is_empty() {
        let mut filled = 0u64;
        let fit = rest.iter().take_while(|pair| {
            let before = filled;
            filled += u64::from(counts[**pair as usize]);
            before == 0 || filled <= POSTINGS_AT_ONCE
        });
        let (now, later) = rest.split_at(fit.count());
        let mut end = 0u32;
        for pair in now {
            next[*pair as usize] = end;
            end += counts[*pair as usize];
        }
        lists.clear();
        lists.resize(end as usize, 0);
        let mut ids = series.iter();
        let mut id = ids.next();
        for labelled in labelled {
            let place = &mut next[(labelled & !LAST) as usize];
            if *place != ELSEWHERE {
                lists[*place as usize] = *id.expect("each last pair is one series'");
                *place += 1;
            }
            if labelled & LAST != 0 {
                id = ids.next();
            }
        }
        let mut filled = &lists[..];
        for pair in now {
            let (list, others) = filled.split_at(counts[*pair as usize] as usize);
            put_list(out, list)?;
            filled = others;
            next[*pair as usize] = ELSEWHERE;
        }
        rest = later;
    }
    Ok(())
}

/// Writes the postings offset table; the entries are walked twice, as the length stands first.
fn put_table<'t>(
    out: &mut Output,
    entries: impl Iterator<Item = (&'t [u8], &'t [u8], u64)> + Clone,
    count: usize,
) -> Result<(), BlockError> {
    let text_len = |text: &[u8]| uvarint_len(text.len() as u64) + text.len() as u64;
    let body: u64 = entries.clone().map(|(name, value, place)| 1 + text_len(name) + text_len(value) + uvarint_len(place)).sum();
    let len = u32::try_from(body + 4).map_err(|_| BlockError::Refused("length size exceeds 4 bytes".to_owned()))?;
    out.put(&len.to_be_bytes())?;
    // Each entry takes more than a byte, so that their count is smaller than the length.
    let count = (count as u32).to_be_bytes();
    out.put(&count)?;
    let mut checksum = crc32c::crc32c(&count);
    let mut bytes = Vec::new();
    for (name, value, place) in entries {
        bytes.clear();
        put_uvarint(&mut bytes, 2);
        put_text(&mut bytes, name);
        put_text(&mut bytes, value);
        put_uvarint(&mut bytes, place);
        checksum = crc32c::crc32c_append(checksum, &bytes);
        out.put(&bytes)?;
    }
    out.put(&checksum.to_be_bytes())
}
