//! What a compaction reads: series in label order, each with its chunks as they are stored and with what was deleted of it.
//!
//! A source copies a series' chunks into a [`SourceSeries`], which its reader uses again for the next one: so a source lends
//! nothing, and a compaction holds one series of each source in memory, whatever the blocks' size.
//!
//! Labels are numbers of the source's symbols: blocks store them so, the head nearly does, and numbers are compared and written
//! without a look at texts.
//!
//! # Invariants
//! - [`SeriesSource::next`] yields label sets that strictly increase.
//! - [`SeriesSource::symbols`] strictly increase bytewise, and each number of a label is below their count.

use crate::block::{Block, BlockError, ChunkMeta, Numbering, SeriesId, SymbolPair};
use crate::chunk::Encoding;
use crate::tombstones::{Intervals, Tombstones};
use std::iter::Peekable;
use std::sync::Arc;

/// Something that a block can be written from.
pub trait SeriesSource {
    /// Names and values of labels, sorted, each once: all that the series use, and possibly more. Labels are their numbers, from 0.
    fn symbols(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// Puts the next series into `series`, which is emptied first; false (and an empty one) after the last.
    ///
    /// Chunks come in any order and may overlap; those that have no sample in the range of the new block may be left out.
    ///
    /// # Errors
    /// What made it impossible to read the series whole: the compaction gives up rather than lose samples.
    fn next(&mut self, series: &mut SourceSeries) -> Result<bool, SourceError>;
}

/// Symbols of several sources, sorted, each once; on the way it learns which number each source's symbols have among them.
pub(super) struct MergedSymbols<'s> {
    sources: Vec<Peekable<Box<dyn Iterator<Item = &'s str> + 's>>>,
    numbers: Vec<Vec<u32>>,
    next: u32,
}

impl<'s> MergedSymbols<'s> {
    pub(super) fn of(sources: &'s [Box<dyn SeriesSource + '_>]) -> Self {
        let numbers = vec![Vec::new(); sources.len()];
        Self { sources: sources.iter().map(|source| source.symbols().peekable()).collect(), numbers, next: 0 }
    }

    /// For each source the numbers of its symbols; none for a single one, whose own numbers are right. All symbols must have been read.
    pub(super) fn into_numbers(self) -> Vec<Vec<u32>> {
        if self.numbers.len() > 1 { self.numbers } else { Vec::new() }
    }
}

impl<'s> Iterator for MergedSymbols<'s> {
    type Item = &'s str;

    fn next(&mut self) -> Option<&'s str> {
        if let [only] = &mut self.sources[..] {
            return only.next();
        }
        let least = self.sources.iter_mut().filter_map(|symbols| symbols.peek().copied()).min()?;
        for (symbols, numbers) in self.sources.iter_mut().zip(&mut self.numbers) {
            if symbols.next_if_eq(&least).is_some() {
                numbers.push(self.next);
            }
        }
        // Who collects them refuses more than fit.
        self.next = self.next.wrapping_add(1);
        Some(least)
    }
}

/// Why a series could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl SourceError {
    /// Of any other error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// One series of a source.
#[derive(Clone, Debug, Default)]
pub struct SourceSeries {
    labels: Vec<SymbolPair>,
    chunks: Vec<SourceChunk>,
    bytes: Vec<u8>,
    deleted: Intervals,
}

/// One chunk of a series; its bytes lie in the [`SourceSeries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceChunk {
    /// Time of the first sample, in milliseconds.
    pub min_time: i64,
    /// Time of the last sample, in milliseconds.
    pub max_time: i64,
    /// How the bytes are to be read.
    pub encoding: Encoding,
    offset: usize,
    len: usize,
}

impl SourceSeries {
    /// An empty one, to be filled by [`SeriesSource::next`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all, but keeps capacity.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.chunks.clear();
        self.bytes.clear();
        self.deleted = Intervals::new();
    }

    /// Sets whose chunks these are: labels in order of name.
    pub fn set_labels(&mut self, labels: impl IntoIterator<Item = SymbolPair>) {
        self.labels.clear();
        self.labels.extend(labels);
    }

    /// Gives the symbols other numbers: those at their places in `numbers`. False if there is no such place.
    pub(super) fn renumber(&mut self, numbers: &[u32]) -> bool {
        self.labels.iter_mut().all(|pair| match (numbers.get(pair.name as usize), numbers.get(pair.value as usize)) {
            (Some(name), Some(value)) => {
                *pair = SymbolPair { name: *name, value: *value };
                true
            }
            _ => false,
        })
    }

    /// Adds a chunk: the bytes of its encoding, without length, encoding byte or checksum.
    pub fn push_chunk(&mut self, min_time: i64, max_time: i64, encoding: Encoding, bytes: &[u8]) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.chunks.push(SourceChunk { min_time, max_time, encoding, offset, len: bytes.len() });
    }

    /// Says which of the samples are deleted.
    pub fn set_deleted(&mut self, deleted: Intervals) {
        self.deleted = deleted;
    }

    /// Whose chunks these are.
    pub fn labels(&self) -> &[SymbolPair] {
        &self.labels
    }

    /// The chunks, in the order they were added.
    pub fn chunks(&self) -> &[SourceChunk] {
        &self.chunks
    }

    /// Bytes of one of [`Self::chunks`].
    ///
    /// # Panics
    /// When `chunk` is not one of this series.
    pub fn bytes(&self, chunk: &SourceChunk) -> &[u8] {
        &self.bytes[chunk.offset..chunk.offset + chunk.len]
    }

    /// Which of the samples are deleted.
    pub fn deleted(&self) -> &Intervals {
        &self.deleted
    }
}

/// A block's series.
pub struct BlockSource<'b> {
    block: &'b Block,
    numbering: Numbering,
    ids: Box<dyn Iterator<Item = SeriesId> + 'b>,
    chunks: Vec<ChunkMeta>,
    tombstones: Arc<Tombstones>,
}

impl<'b> BlockSource<'b> {
    /// Before the block's first series.
    ///
    /// # Errors
    /// When the list of its series is damaged.
    pub fn open(block: &'b Block) -> Result<Self, BlockError> {
        let ids = Box::new(block.series_ids()?);
        Ok(Self { block, numbering: block.numbering(), ids, chunks: Vec::new(), tombstones: block.tombstones() })
    }
}

impl SeriesSource for BlockSource<'_> {
    fn symbols(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.block.symbols())
    }

    fn next(&mut self, series: &mut SourceSeries) -> Result<bool, SourceError> {
        series.clear();
        let Some(id) = self.ids.next() else { return Ok(false) };
        self.block.numbered(id, &self.numbering, &mut series.labels, &mut self.chunks).map_err(SourceError::new)?;
        if let Some(deleted) = self.tombstones.get(u64::from(id.0)) {
            series.set_deleted(deleted.clone());
        }
        for chunk in &self.chunks {
            let (encoding, bytes) = self.block.chunk(chunk.chunk_ref).map_err(SourceError::new)?;
            series.push_chunk(chunk.min_time, chunk.max_time, encoding, bytes);
        }
        Ok(true)
    }
}
