//! A directory that is only looked at, also while another process has it open.
//!
//! # Invariants
//! - No lock is taken and nothing is written: all that goes to the disk goes through files that refuse changes. The chunks that
//!   replay finds full stay in memory.
//! - Whoever has the directory open goes on meanwhile, so a file may be gone between being listed and being read. Then all is
//!   begun anew, some times.
//! - The log is read before the blocks that are answered from: what a compaction moves in between is in both.

use super::blocks::Blocks;
use super::{Db, OpenError, Options, Phase, replay};
use crate::block::BlockError;
use crate::chunk::Sample;
use crate::compact::CompactError;
use crate::compact::read::each_series;
use crate::compact::source::{BlockSource, SeriesSource};
use model::Labels;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::Interval;
use world::{File, Files, Map, ReadAt, Space};

/// How often a directory that changes under us is begun anew.
const ATTEMPTS: u32 = 5;

impl Db {
    /// Opens a directory to read what is in it now: blocks, and in memory what its logs and head chunks hold. Nothing is changed,
    /// and another process may have it open. Batches are refused.
    ///
    /// # Errors
    /// [`OpenError`]; among others when there is no such directory, or a block of it is damaged.
    pub fn open_read_only(options: Options) -> Result<Arc<Self>, OpenError> {
        let options = Options { files: Arc::new(ReadOnly(options.files)), background: false, ..options };
        for _ in 1..ATTEMPTS {
            match Self::look(options.clone()) {
                Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound && options.files.list(&options.dir).is_ok() => {
                }
                Err(OpenError::Block(BlockError::Io { error, .. })) if error.kind() == io::ErrorKind::NotFound => {}
                // A log that is being truncated may look like that for a moment.
                Err(OpenError::SeriesMissing { .. }) => {}
                outcome => return outcome,
            }
        }
        Self::look(options)
    }

    fn look(options: Options) -> Result<Arc<Self>, OpenError> {
        options.files.list(&options.dir).map_err(|error| OpenError::Io { action: "read directory", path: options.dir.clone(), error })?;
        let blocks = Blocks::new(options.files.clone(), options.dir.clone());
        blocks.look()?;
        let db = Self::over(options, blocks, None);
        let replayed = replay::replay(&db)?;
        let _ = db.replayed.set(replayed);
        db.blocks.look()?;
        db.phase.store(Phase::Open as u8, Ordering::Release);
        Ok(db)
    }

    /// Gives every sample in a range exactly as it is stored (integer histograms as such, with start timestamps), series by series
    /// in label order, to `each`: of the blocks, of the head, and those that came out of order.
    ///
    /// # Errors
    /// When something cannot be read, or what `each` says.
    pub fn each_series<E: From<CompactError>>(
        &self,
        range: Interval,
        selected: impl Fn(&Labels) -> bool,
        each: impl FnMut(&Labels, Vec<Sample>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Until it is done nothing moves from the head to blocks.
        let _nothing_else = self.maintaining();
        let blocks = self.blocks_in(range);
        let late = self.head.take_out_of_order(None).unwrap_or_default();
        let mut sources: Vec<Box<dyn SeriesSource + '_>> = vec![Box::new(self.head.source(range.start.0, range.end.0))];
        if let Some(late) = &late {
            sources.push(Box::new(late.source(range.start.0, range.end.0)));
        }
        for block in &blocks {
            sources.push(Box::new(BlockSource::open(block).map_err(CompactError::from)?));
        }
        each_series(&mut sources, range, selected, each)
    }
}

/// Files that can be read and not changed.
struct ReadOnly(Arc<dyn Files>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Files for ReadOnly {
    fn create_new(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        refused()
    }
    fn open_cut(&self, _path: &Path, _len: u64) -> io::Result<Box<dyn File>> {
        refused()
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(folder)
    }
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        refused()
    }
    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }
    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }
    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        refused()
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        self.0.len(path)
    }
    fn map(&self, path: &Path) -> io::Result<Arc<Map>> {
        self.0.map(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        self.0.open(path)
    }
    fn hard_link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }
    fn remove_folder(&self, _folder: &Path) -> io::Result<()> {
        refused()
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }
}
