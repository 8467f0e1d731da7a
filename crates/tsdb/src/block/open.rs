//! An open block.

use super::chunks::Segments;
use super::index::{Index, SeriesReader};
use super::{BlockError, ChunkMeta, ChunkRef, Meta, Numbering, SeriesEntry, SeriesId, SymbolPair, index, tombstones};
use crate::chunk::Encoding;
use crate::tombstones::Tombstones;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use world::Files;

/// An open block; clones are the same one. The files stay readable while a clone or a series selected from it lives, also
/// when the block has been deleted meanwhile.
#[derive(Clone)]
pub struct Block(pub(super) Arc<Opened>);

pub(super) struct Opened {
    files: Arc<dyn Files>,
    pub dir: PathBuf,
    pub index: Index,
    pub segments: Segments,
    meta_bytes: u64,
    /// Held while one of the files that change is replaced.
    replacing: Mutex<()>,
    changing: RwLock<Changing>,
}

/// What may change of a block.
struct Changing {
    meta: Arc<Meta>,
    tombstones: Arc<Tombstones>,
    tombstones_bytes: u64,
}

impl Block {
    /// Opens the block in a folder.
    ///
    /// # Errors
    /// When a file is missing or its header, tables or their checksums are not in order.
    pub fn open(files: &Arc<dyn Files>, dir: &Path) -> Result<Self, BlockError> {
        let meta = Meta::read(&**files, dir)?;
        let meta_bytes = files.len(&dir.join(super::meta::FILE_NAME)).map_err(|error| BlockError::io(dir, error))?;
        let segments = Segments::open(&**files, dir)?;
        let path = dir.join(index::FILE_NAME);
        let map = files.map(&path).map_err(|error| BlockError::io(&path, error))?;
        let index = Index::open(map).map_err(|what| BlockError::Corrupt(format!("{}: {what}", path.display())))?;
        let (tombstones, tombstones_bytes) = tombstones::read(&**files, dir)?;
        let changing = Changing { meta: Arc::new(meta), tombstones: Arc::new(tombstones), tombstones_bytes };
        Ok(Self(Arc::new(Opened {
            files: files.clone(),
            dir: dir.to_owned(),
            index,
            segments,
            meta_bytes,
            replacing: Mutex::new(()),
            changing: RwLock::new(changing),
        })))
    }

    /// What it says of itself.
    pub fn meta(&self) -> Arc<Meta> {
        self.0.read().meta.clone()
    }

    /// Changes what it says of itself, durably.
    ///
    /// # Errors
    /// The operating system's; then nothing has changed.
    pub fn update_meta(&self, change: impl FnOnce(&mut Meta)) -> Result<(), BlockError> {
        let _one = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut meta = (*self.meta()).clone();
        change(&mut meta);
        meta.write(&*self.0.files, &self.0.dir)?;
        self.0.write().meta = Arc::new(meta);
        Ok(())
    }

    /// What is deleted of it, by [`SeriesId`].
    pub fn tombstones(&self) -> Arc<Tombstones> {
        self.0.read().tombstones.clone()
    }

    /// Replaces what is deleted of it, durably, and counts it in the meta. Selections that exist go on with the old ones.
    ///
    /// # Errors
    /// The operating system's; the new tombstones may then be in force all the same.
    pub fn set_tombstones(&self, tombstones: Tombstones) -> Result<(), BlockError> {
        {
            let _one = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = super::tombstones::write(&*self.0.files, &self.0.dir, &tombstones)?;
            let mut changing = self.0.write();
            changing.tombstones = Arc::new(tombstones);
            changing.tombstones_bytes = bytes;
        }
        let count = self.tombstones().interval_count();
        self.update_meta(|meta| meta.stats.tombstones = count)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Bytes of all its files.
    pub fn size_bytes(&self) -> u64 {
        self.0.index.size_bytes() + self.0.segments.size_bytes() + self.0.meta_bytes + self.0.read().tombstones_bytes
    }

    /// Bytes of memory that it takes while it is open, but for the maps.
    pub fn memory_bytes(&self) -> usize {
        self.0.index.memory_bytes()
    }

    /// Names and values of its labels, sorted, each once.
    pub fn symbols(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.index.symbols()
    }

    /// All series in label order.
    ///
    /// # Errors
    /// When the list of them is damaged.
    pub fn series_ids(&self) -> Result<impl ExactSizeIterator<Item = SeriesId> + '_, BlockError> {
        let ids = self.0.index.all_postings().map_err(|what| self.0.corrupt(what))?;
        Ok(ids.map(SeriesId))
    }

    /// Reads a series' entry. Many of them are read faster by [`Self::reader`].
    ///
    /// # Errors
    /// When it is damaged.
    pub fn series(&self, id: SeriesId, entry: &mut SeriesEntry) -> Result<(), BlockError> {
        self.reader().series(id, entry)
    }

    /// Reads series' entries one after another.
    pub fn reader(&self) -> Reader<'_> {
        Reader { block: &self.0, series: SeriesReader::new(&self.0.index) }
    }

    /// The way to numbers of [`Self::symbols`], for [`Self::numbered`].
    pub(crate) fn numbering(&self) -> Numbering {
        self.0.index.numbering()
    }

    /// Reads a series' labels, as numbers of [`Self::symbols`], and its chunks.
    ///
    /// # Errors
    /// When the entry is damaged.
    pub(crate) fn numbered(
        &self,
        id: SeriesId,
        numbering: &Numbering,
        labels: &mut Vec<SymbolPair>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), BlockError> {
        let read = self.0.index.numbered(id, numbering, labels, chunks);
        self.0.sound(id, read)
    }

    /// A chunk's encoding and bytes, after comparing the checksum.
    ///
    /// # Errors
    /// When it is damaged or of an unknown encoding.
    pub fn chunk(&self, chunk_ref: ChunkRef) -> Result<(Encoding, &[u8]), BlockError> {
        self.0.segments.chunk(chunk_ref)
    }
}

/// Reads series' entries one after another; keeps symbols that it has met.
pub struct Reader<'b> {
    block: &'b Opened,
    series: SeriesReader<'b>,
}

impl Reader<'_> {
    /// Reads a series' entry.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn series(&mut self, id: SeriesId, entry: &mut SeriesEntry) -> Result<(), BlockError> {
        let read = self.series.read(id, entry);
        self.block.sound(id, read)
    }
}

impl Opened {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Changing> {
        self.changing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Changing> {
        self.changing.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read of a series.
    fn sound(&self, id: SeriesId, read: Result<(), index::Corrupt>) -> Result<(), BlockError> {
        // Where a file cannot be read, zeros are: they could pass for other symbols.
        if self.index.is_faulty() {
            return Err(self.corrupt("a part of it cannot be read"));
        }
        read.map_err(|what| self.corrupt(format_args!("series {}: {what}", id.0)))
    }

    /// Something in the index is.
    pub fn corrupt(&self, what: impl std::fmt::Display) -> BlockError {
        BlockError::Corrupt(format!("{}: {what}", self.dir.join(index::FILE_NAME).display()))
    }
}
