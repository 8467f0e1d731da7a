//! Writing a block: under a temporary name until all of it is durable.

use super::chunks::SegmentWriter;
use super::index::IndexWriter;
use super::{BlockError, BlockOptions, CREATION_SUFFIX, ChunkIn, ChunkMeta, Meta, MetaSeed, Stats, SymbolPair, tombstones};
use crate::chunk::{self, Encoding};
use crate::tombstones::Tombstones;
use model::Labels;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ulid::Ulid;
use world::Files;

/// Writes a block. Dropped unfinished, it leaves nothing behind.
pub struct BlockWriter {
    folder: Unfinished,
    data_dir: PathBuf,
    ulid: Ulid,
    index: IndexWriter,
    chunks: SegmentWriter,
    stats: Stats,
    places: Vec<ChunkMeta>,
}

/// The folder being written, which goes unless it is published.
struct Unfinished {
    files: Arc<dyn Files>,
    path: PathBuf,
    published: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = self.files.remove_folder(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(dir = %self.path.display(), %error, "removed tmp folder after failed compaction");
        }
    }
}

impl BlockWriter {
    /// Begins one under a temporary name in `data_dir`; all names and values of its labels come first, sorted, each once.
    ///
    /// # Errors
    /// The operating system's, or that symbols do not strictly increase.
    pub fn create<'s>(
        files: &Arc<dyn Files>,
        data_dir: &Path,
        options: &BlockOptions,
        symbols: impl IntoIterator<Item = &'s str>,
    ) -> Result<Self, BlockError> {
        let path = data_dir.join(format!("{}{CREATION_SUFFIX}", options.ulid));
        let folder = Unfinished { files: files.clone(), path, published: false };
        files.create_folder(&folder.path).map_err(|error| BlockError::io(&folder.path, error))?;
        let chunks = SegmentWriter::create(files, &folder.path, options.segment_bytes_max)?;
        let index = IndexWriter::create(&**files, &folder.path, symbols)?;
        let (data_dir, ulid) = (data_dir.to_owned(), options.ulid);
        Ok(Self { folder, data_dir, ulid, index, chunks, stats: Stats::default(), places: Vec::new() })
    }

    /// Adds a series, later in label order than all before, with chunks that follow each other in time without overlap.
    ///
    /// # Errors
    /// The operating system's, or what is out of order; the writer is of no more use.
    pub fn add_series(&mut self, labels: &Labels, chunks: &[ChunkIn<'_>]) -> Result<(), BlockError> {
        let labels = self.index.numbers(labels)?;
        self.add_numbered(&labels, chunks)
    }

    /// The labels that [`Self::add_numbered`] would write.
    ///
    /// # Panics
    /// When there is no such symbol.
    pub(crate) fn labels(&self, labels: &[SymbolPair]) -> Labels {
        self.index.labels(labels)
    }

    /// As [`Self::add_series`], with numbers of the symbols that came first, from 0: order of numbers is order of texts, and there is no
    /// text to look up or to compare.
    ///
    /// # Errors
    /// Likewise.
    pub fn add_numbered(&mut self, labels: &[SymbolPair], chunks: &[ChunkIn<'_>]) -> Result<(), BlockError> {
        self.chunks.add(chunks, &mut self.places)?;
        self.index.add_series(labels, &self.places)?;
        self.stats.series += 1;
        self.stats.chunks += chunks.len() as u64;
        for chunk in chunks {
            let samples = u64::from(chunk::sample_count(chunk.encoding, chunk.bytes).unwrap_or(0));
            self.stats.samples += samples;
            match chunk.encoding {
                Encoding::Xor | Encoding::Xor2 => self.stats.float_samples += samples,
                _ => self.stats.histogram_samples += samples,
            }
        }
        Ok(())
    }

    /// Makes it durable and gives it its name; none if it has no samples.
    ///
    /// # Errors
    /// The operating system's; then there is no block, or, if only the last step failed, one that a power cut may take back.
    pub fn finish(self, seed: MetaSeed) -> Result<Option<Meta>, BlockError> {
        let Self { mut folder, data_dir, ulid, index, chunks, stats, places: _ } = self;
        if stats.samples == 0 {
            return Ok(None);
        }
        let files = folder.files.clone();
        index.finish()?;
        chunks.finish()?;
        tombstones::write(&*files, &folder.path, &Tombstones::new())?;
        let MetaSeed { min_time, max_time, compaction, extra } = seed;
        let meta = Meta { ulid, min_time, max_time, stats, compaction, extra };
        meta.write(&*files, &folder.path)?;
        files.sync_folder(&folder.path).map_err(|error| BlockError::io(&folder.path, error))?;
        let path = data_dir.join(ulid.to_string());
        files.rename(&folder.path, &path).map_err(|error| BlockError::io(&path, error))?;
        folder.published = true;
        files.sync_folder(&data_dir).map_err(|error| BlockError::io(&data_dir, error))?;
        Ok(Some(meta))
    }
}
