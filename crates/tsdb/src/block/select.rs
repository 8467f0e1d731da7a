//! Selecting from a block: series entries of those that match, chunks decoded by whoever asks.
//!
//! A damaged series entry is left out and named in the warnings. A damaged chunk costs its own samples: the others are
//! decoded, and the error comes after them.

use super::index::SeriesReader;
use super::matching::matching;
use super::open::Opened;
use super::{Block, BlockError, ChunkMeta, SeriesEntry, SeriesId};
use crate::tombstones::{Intervals, Tombstones};
use crate::{chunk, merge};
use model::{Labels, Matcher};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use storage::{Checks, Column, EncodedChunk, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};

/// Samples that a chunk is taken to have before anybody has looked.
const SAMPLES_PER_CHUNK: usize = 120;

/// What was selected, shared by its series.
struct Selected {
    block: Arc<Opened>,
    tombstones: Arc<Tombstones>,
    series: Vec<Entry>,
    chunks: Vec<ChunkMeta>,
}

struct Entry {
    id: SeriesId,
    labels: Labels,
    chunks: Range<usize>,
    /// Some of its chunks overlap, as old versions of Prometheus could write them.
    overlapping: bool,
}

struct BlockSeries {
    selected: Arc<Selected>,
    at: usize,
}

impl Block {
    fn overlaps(&self, range: Interval) -> bool {
        let meta = self.meta();
        meta.min_time <= range.end.0 && range.start.0 < meta.max_time
    }

    /// The ids of series that satisfy any of the sets.
    fn matching_any(&self, matcher_sets: &[Vec<Matcher>], checks: &Checks<'_>) -> Result<RoaringBitmap, SelectError> {
        let mut ids = RoaringBitmap::new();
        for matchers in matcher_sets {
            ids |= matching(&self.0.index, matchers, checks).map_err(|what| self.failed(what))?;
            checks.outcome()?;
        }
        self.sound()?;
        Ok(ids)
    }

    fn failed(&self, what: impl std::fmt::Display) -> SelectError {
        SelectError::Corrupt(self.0.corrupt(what).to_string())
    }

    /// Where the index cannot be read, zeros are: no answer that it gave meanwhile may be believed.
    fn sound(&self) -> Result<(), SelectError> {
        if self.0.index.is_faulty() { Err(self.failed("a part of it cannot be read")) } else { Ok(()) }
    }

    /// The first `limit` (0 = all) of sorted names or values.
    fn names<'t>(
        &self,
        texts: impl Iterator<Item = &'t str>,
        warnings: Vec<String>,
        limit: usize,
        checks: &Checks<'_>,
    ) -> Result<Names, SelectError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let names = texts.take_while(|_| checks.go_on()).take(limit).map(str::to_owned).collect();
        checks.outcome()?;
        self.sound()?;
        Ok(Names { names, warnings })
    }
}

impl Queryable for Block {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        if !self.overlaps(range) {
            return Ok(Selection::default());
        }
        let checks = hints.cancel.checks();
        let ids = matching(&self.0.index, matchers, &checks).map_err(|what| self.failed(what))?;
        checks.outcome()?;
        let tombstones = self.tombstones();
        let mut selected = Selected { block: self.0.clone(), tombstones, series: Vec::new(), chunks: Vec::new() };
        let mut warnings = Vec::new();
        let mut reader = SeriesReader::new(&self.0.index);
        let mut entry = SeriesEntry::default();
        for id in ids {
            checks.step()?;
            if hints.limit > 0 && selected.series.len() == hints.limit {
                break;
            }
            let id = SeriesId(id);
            let deleted = selected.tombstones.get(id.0.into());
            let wanted = |chunk: &ChunkMeta| {
                chunk.max_time >= range.start.0
                    && chunk.min_time <= range.end.0
                    && deleted.is_none_or(|deleted| !deleted.covers_all(chunk.min_time, chunk.max_time))
            };
            let from = selected.chunks.len();
            let labels = if hints.labels_only {
                reader.labels_if(id, wanted)
            } else {
                reader.read(id, &mut entry).map(|()| {
                    selected.chunks.extend(entry.chunks.iter().filter(|chunk| wanted(chunk)));
                    (selected.chunks.len() > from).then(|| std::mem::take(&mut entry.labels))
                })
            };
            let labels = match labels {
                Ok(Some(labels)) => labels,
                Ok(None) => continue,
                Err(what) => {
                    warnings.push(self.0.corrupt(format_args!("series {}: {what}", id.0)).to_string());
                    continue;
                }
            };
            let chunks = from..selected.chunks.len();
            let overlapping = !selected.chunks[chunks.clone()].is_sorted_by(|before, after| before.max_time < after.min_time);
            selected.series.push(Entry { id, labels, chunks, overlapping });
        }
        self.sound()?;
        let selected = Arc::new(selected);
        // Ids ascend with labels: the order is the caller's, asked for or not.
        let mut series: Vec<Box<dyn Series>> = Vec::with_capacity(selected.series.len());
        for at in 0..selected.series.len() {
            checks.step()?;
            series.push(Box::new(BlockSeries { selected: selected.clone(), at }));
        }
        Ok(Selection { series, warnings })
    }

    fn label_names(&self, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        if !self.overlaps(range) {
            return Ok(Names::default());
        }
        let checks = hints.cancel.checks();
        if matcher_sets.is_empty() {
            return self.names(self.0.index.label_names(), Vec::new(), hints.limit, &checks);
        }
        let (mut symbols, mut warnings) = (BTreeSet::new(), Vec::new());
        for id in self.matching_any(matcher_sets, &checks)? {
            checks.step()?;
            let read = self.0.index.pairs(SeriesId(id), |name, _| _ = symbols.insert(name));
            warnings.extend(read.err().map(|what| self.0.corrupt(format_args!("series {id}: {what}")).to_string()));
        }
        // Symbols are sorted: so are their numbers and places.
        self.names(symbols.iter().filter_map(|symbol| self.0.index.symbol(*symbol)), warnings, hints.limit, &checks)
    }

    fn label_values(&self, name: &str, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        if !self.overlaps(range) {
            return Ok(Names::default());
        }
        let checks = hints.cancel.checks();
        if matcher_sets.is_empty() {
            return self.names(self.0.index.values(name).map(|(value, _)| value), Vec::new(), hints.limit, &checks);
        }
        let Some(wanted) = self.0.index.find_symbol(name) else { return Ok(Names::default()) };
        let (mut symbols, mut warnings) = (BTreeSet::new(), Vec::new());
        for id in self.matching_any(matcher_sets, &checks)? {
            checks.step()?;
            let read = self.0.index.pairs(SeriesId(id), |name, value| {
                if name == wanted {
                    symbols.insert(value);
                }
            });
            warnings.extend(read.err().map(|what| self.0.corrupt(format_args!("series {id}: {what}")).to_string()));
        }
        // Symbols are sorted: so are their numbers and places.
        self.names(symbols.iter().filter_map(|symbol| self.0.index.symbol(*symbol)), warnings, hints.limit, &checks)
    }
}

impl BlockSeries {
    fn entry(&self) -> &Entry {
        &self.selected.series[self.at]
    }

    fn metas(&self) -> &[ChunkMeta] {
        &self.selected.chunks[self.entry().chunks.clone()]
    }

    fn metas_in(&self, range: Interval) -> impl Iterator<Item = &ChunkMeta> {
        self.metas().iter().filter(move |chunk| chunk.max_time >= range.start.0 && chunk.min_time <= range.end.0)
    }

    fn deleted(&self) -> Option<&Intervals> {
        self.selected.tombstones.get(self.entry().id.0.into())
    }
}

impl Series for BlockSeries {
    fn labels(&self) -> &Labels {
        &self.entry().labels
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        let mut failed: Option<String> = None;
        let mut fail = |what: &dyn std::fmt::Display| {
            failed.get_or_insert_with(|| format!("{}: {what}", self.selected.block.dir.display()));
        };
        // What other sources have put there may be later.
        let begin = column.len();
        let times = range.start.0..=range.end.0;
        let cannot = |chunk: &ChunkMeta, what| BlockError::Corrupt(format!("cannot populate chunk {}: {what}", chunk.chunk_ref.0));
        let wanted = self.metas_in(range);
        if self.entry().overlapping {
            let mut chunks: Vec<ChunkMeta> = wanted.copied().collect();
            let range_of = |chunk: &ChunkMeta| (chunk.min_time, chunk.max_time);
            let merged: Result<(), Infallible> = merge::decode_chunks(&mut chunks, range_of, column, |chunk, column| {
                let bytes = self.selected.block.segments.chunk(chunk.chunk_ref);
                let decoded = bytes.and_then(|(encoding, bytes)| {
                    chunk::decode(encoding, bytes, times.clone(), column).map_err(|what| cannot(chunk, what))
                });
                if let Err(error) = decoded {
                    fail(&error);
                }
                Ok(())
            });
            let Ok(()) = merged;
        } else {
            let (mut metas, mut chunks) = (Vec::new(), Vec::new());
            for meta in wanted {
                match self.selected.block.segments.chunk(meta.chunk_ref) {
                    Ok(chunk) => {
                        metas.push(meta);
                        chunks.push(chunk);
                    }
                    Err(error) => fail(&error),
                }
            }
            chunk::decode_run(&chunks, times, column, |at, what| fail(&cannot(metas[at], what)));
        }
        if let Some(deleted) = self.deleted() {
            deleted.retain(column, begin);
        }
        failed.map_or(Ok(()), |what| Err(SelectError::Corrupt(what)))
    }

    fn samples_estimate(&self) -> usize {
        self.metas().len() * SAMPLES_PER_CHUNK
    }

    fn chunks<'s>(&'s self, range: Interval, into: &mut Vec<EncodedChunk<'s>>) -> bool {
        if self.entry().overlapping || self.deleted().is_some() {
            return false;
        }
        self.metas_in(range).all(|&ChunkMeta { min_time, max_time, chunk_ref }| {
            let Ok((encoding, bytes)) = self.selected.block.segments.chunk(chunk_ref) else { return false };
            into.push(EncodedChunk { encoding: encoding as u8, min_time, max_time, bytes: bytes.into() });
            true
        })
    }

    fn decode_several(&self, others: &[Box<dyn Series>], range: Interval, columns: &mut [Column]) -> Result<usize, SelectError> {
        merge::decode_several(self, others, range, columns)
    }
}
