//! A compaction: series of several sources, merged in label order into a new block.
//!
//! ```text
//! symbols := all sources' symbols, merged
//! while a source has a series:
//!     labels := the least of the sources' next ones
//!     write labels with the chunks of all sources that have them, and go on in these
//! ```
//!
//! One series of each source is in memory at a time, and the block's writer streams; so memory is bounded by the widest series,
//! not by the size of the blocks.

use super::read::Merged;
use super::series::Builder;
use super::source::{MergedSymbols, SeriesSource, SourceError};
use super::{Origin, series};
use crate::block::{BlockError, BlockOptions, BlockWriter, Compaction, Meta, MetaSeed, Parent};
use crate::chunk::Corrupt;
use model::Labels;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use ulid::Ulid;
use world::Files;

pub use series::Floats;

/// The block that a compaction writes.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub ulid: Ulid,
    /// Samples before it are left out (milliseconds).
    pub min_time: i64,
    /// Samples from it on are left out.
    pub max_time: i64,
    /// Largest size of a file of chunks, in bytes.
    pub segment_bytes_max: u64,
    /// Where it comes from: [`of_head`], [`of_blocks`] or [`of_block`].
    pub compaction: Compaction,
    /// What becomes of floats.
    pub floats: Floats,
}

/// Why a compaction gave up; nothing is left of the block.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// A source cannot be read whole.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A chunk that must be merged or encoded anew does not decode.
    #[error("series {labels}: {error}")]
    Chunk {
        /// Whose chunk.
        labels: Labels,
        /// What is wrong.
        error: Corrupt,
    },
    /// The block cannot be written.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The caller asked for it.
    #[error("context canceled")]
    Cancelled,
}

/// Writes a block of all that the sources have in its time; none if that is nothing.
///
/// `cancel` is looked at before each series.
///
/// # Errors
/// See [`CompactError`].
pub fn run(
    files: &Arc<dyn Files>,
    data_dir: &Path,
    sources: &mut [Box<dyn SeriesSource + '_>],
    target: Target,
    cancel: &AtomicBool,
) -> Result<Option<Meta>, CompactError> {
    let options = BlockOptions { ulid: target.ulid, segment_bytes_max: target.segment_bytes_max };
    let mut symbols = MergedSymbols::of(sources);
    let mut writer = BlockWriter::create(files, data_dir, &options, &mut symbols)?;
    let numbers = symbols.into_numbers();
    let mut builder = Builder::new(target.min_time, target.max_time, target.floats);

    let mut merged = Merged::begin(sources, &numbers)?;
    while merged.advance()? {
        if cancel.load(Ordering::Relaxed) {
            return Err(CompactError::Cancelled);
        }
        let labels = merged.labels();
        let same = merged.same();
        let chunks = builder.build(&same).map_err(|error| CompactError::Chunk { labels: writer.labels(labels), error })?;
        if !chunks.is_empty() {
            writer.add_numbered(labels, &chunks)?;
        }
    }
    let seed = MetaSeed { min_time: target.min_time, max_time: target.max_time, compaction: target.compaction, ..MetaSeed::default() };
    Ok(writer.finish(seed)?)
}

/// Where a block of the head's samples comes from.
pub fn of_head(ulid: Ulid, origin: Origin) -> Compaction {
    let hints = origin.hints().into_iter().map(str::to_owned).collect();
    Compaction { level: 1, sources: vec![ulid], hints, ..Compaction::default() }
}

/// Where a block comes from that replaces a single one, without what its tombstones delete.
pub fn of_block(ulid: Ulid, base: &Meta) -> Compaction {
    let origin = Origin::of_hints(base.compaction.hints.iter().map(String::as_str));
    Compaction { parents: vec![parent(base)], ..of_head(ulid, origin) }
}

/// Where a block comes from that several are merged into; its level is one above theirs.
///
/// It holds only samples that came out of order if they all do, but only stale series if any does: those are merged with
/// their like only ([`super::plan`]), and to say so in doubt merely keeps the log longer.
pub fn of_blocks(metas: &[&Meta]) -> Compaction {
    let origins: Vec<Origin> = metas.iter().map(|meta| Origin::of_hints(meta.compaction.hints.iter().map(String::as_str))).collect();
    let origin = Origin {
        out_of_order: origins.iter().all(|origin| origin.out_of_order),
        stale_series: origins.iter().any(|origin| origin.stale_series),
        selected_series: origins.iter().any(|origin| origin.selected_series),
    };
    let mut sources: Vec<Ulid> = metas.iter().flat_map(|meta| meta.compaction.sources.iter().copied()).collect();
    sources.sort_unstable();
    sources.dedup();
    Compaction {
        level: metas.iter().map(|meta| meta.compaction.level).max().unwrap_or(0).saturating_add(1),
        sources,
        parents: metas.iter().map(|meta| parent(meta)).collect(),
        hints: origin.hints().into_iter().map(str::to_owned).collect(),
        ..Compaction::default()
    }
}

fn parent(meta: &Meta) -> Parent {
    Parent { ulid: meta.ulid, min_time: meta.min_time, max_time: meta.max_time }
}
