//! The blocks of a data directory: which are open, and how that set changes.
//!
//! Readers take the whole set at once and keep it while they read: a block that leaves the set lives, mapped, until the
//! last of them is done, whatever has become of its folder.
//!
//! # Invariants
//! - The set is replaced as a whole, sorted by first instant.
//! - What cannot be read for its content is moved to `pyrope/damaged/`; what cannot be read because the disk fails stays where
//!   it is, and the next reload tries again.

use super::options::Retention;
use crate::block::{self, Block, BlockError};
use crate::compact::{BlockFacts, reload, retention};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use ulid::Ulid;
use world::Files;

/// The open blocks of a data directory.
pub(super) struct Blocks {
    files: Arc<dyn Files>,
    dir: PathBuf,
    open: RwLock<Arc<[Block]>>,
    /// Held while the set is changed.
    changing: Mutex<()>,
    pub(super) counters: Counters,
}

/// What reloads have done.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub reloads: AtomicU64,
    pub reloads_failed: AtomicU64,
    pub time_retentions: AtomicU64,
    pub size_retentions: AtomicU64,
    pub damaged: AtomicU64,
}

impl Blocks {
    /// None are open yet.
    pub fn new(files: Arc<dyn Files>, dir: PathBuf) -> Self {
        Self { files, dir, open: RwLock::new(Arc::from([])), changing: Mutex::default(), counters: Counters::default() }
    }

    /// The open blocks by their first instant.
    pub fn open(&self) -> Arc<[Block]> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What decisions need to know of the open blocks.
    pub fn facts(&self) -> Vec<BlockFacts> {
        self.open().iter().map(facts).collect()
    }

    /// Bytes of all open blocks.
    pub fn size_bytes(&self) -> u64 {
        self.open().iter().map(Block::size_bytes).sum()
    }

    /// Brings the set in line with the directory: opens what is new, deletes what was merged or is beyond retention.
    /// `head_bytes` are those of the logs and the head's chunks. Answers the blocks that are not open because they could not be read.
    ///
    /// # Errors
    /// When the directory cannot be listed, or a block not be deleted; all else has been done.
    pub fn reload(&self, retention: &Retention, head_bytes: u64) -> Result<Vec<Ulid>, BlockError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.counters.reloads.fetch_add(1, Ordering::Relaxed);
        self.reload_now(retention, head_bytes).inspect_err(|_| {
            self.counters.reloads_failed.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Opens what is there, and changes nothing in the directory.
    ///
    /// # Errors
    /// When the directory cannot be listed, or a block not be read that is not in another one too.
    pub fn look(&self) -> Result<(), BlockError> {
        let Found { loadable, corrupted, unread, .. } = self.find()?;
        let facts: Vec<BlockFacts> = loadable.iter().map(facts).collect();
        let failed: Vec<(Ulid, BlockError)> = corrupted.into_iter().map(|(ulid, _, error)| (ulid, error)).chain(unread).collect();
        let ulids: Vec<Ulid> = failed.iter().map(|(ulid, _)| *ulid).collect();
        let decided = reload::reload(&facts, &ulids, std::iter::empty());
        self.set(&loadable, &decided.load);
        failed.into_iter().find(|(ulid, _)| decided.corrupted.contains(ulid)).map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What is in the directory.
    fn find(&self) -> Result<Found, BlockError> {
        let before = self.open();
        let folders = block::folders(&*self.files, &self.dir).map_err(|error| BlockError::Io { path: self.dir.clone(), error })?;
        let (mut loadable, mut corrupted, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for (ulid, folder) in &folders {
            if let Some(open) = before.iter().find(|open| open.meta().ulid == *ulid) {
                loadable.push(open.clone());
                continue;
            }
            match Block::open(&self.files, folder) {
                Ok(block) => loadable.push(block),
                Err(BlockError::Io { path, error })
                    if error.kind() == io::ErrorKind::NotFound && path.ends_with(block::meta::FILE_NAME) =>
                {
                    tracing::warn!(component = "tsdb", block = %ulid, err = %error, "a folder without meta.json is not loaded");
                }
                Err(error @ BlockError::Io { .. }) if !is_missing(&error) => {
                    tracing::error!(component = "tsdb", block = %ulid, err = %error, "block cannot be read now; trying again later");
                    unread.push((*ulid, error));
                }
                Err(error @ BlockError::Version { .. }) => {
                    tracing::error!(component = "tsdb", block = %ulid, err = %error, "block of another version is not loaded");
                }
                Err(error) => corrupted.push((*ulid, folder.clone(), error)),
            }
        }
        Ok(Found { folders, loadable, corrupted, unread })
    }

    fn reload_now(&self, retention: &Retention, head_bytes: u64) -> Result<Vec<Ulid>, BlockError> {
        let io = |error| BlockError::Io { path: self.dir.clone(), error };
        let Found { folders, loadable, corrupted, unread } = self.find()?;
        let facts: Vec<BlockFacts> = loadable.iter().map(facts).collect();
        let disk_bytes = self.files.space(&self.dir).ok().map(|space| space.total);
        let beyond = retention::beyond(&facts, retention, retention::Surroundings { head_bytes, disk_bytes });
        self.counters.time_retentions.fetch_add(u64::from(!beyond.time.is_empty()), Ordering::Relaxed);
        self.counters.size_retentions.fetch_add(u64::from(!beyond.size.is_empty()), Ordering::Relaxed);
        let damaged: Vec<Ulid> = corrupted.iter().map(|(ulid, ..)| *ulid).collect();
        let decided = reload::reload(&facts, &damaged, beyond.all());

        // Readers see the new set before anything is deleted.
        self.set(&loadable, &decided.load);

        for (ulid, folder, error) in corrupted.iter().filter(|(ulid, ..)| decided.corrupted.contains(ulid)) {
            tracing::error!(component = "tsdb", block = %ulid, err = %error, "block is damaged; moved to pyrope/damaged");
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            set_aside(&*self.files, &self.dir, folder).map_err(io)?;
        }
        for ulid in &decided.delete {
            if let Some((_, folder)) = folders.iter().find(|(found, _)| found == ulid) {
                block::delete(&*self.files, folder)?;
                tracing::info!(component = "tsdb", block = %ulid, "Deleting obsolete block");
            }
        }
        Ok(unread.into_iter().map(|(ulid, _)| ulid).chain(damaged).collect())
    }

    /// From now on these blocks are open.
    fn set(&self, loadable: &[Block], ulids: &[Ulid]) {
        let open = ulids.iter().filter_map(|ulid| loadable.iter().find(|block| block.meta().ulid == *ulid).cloned());
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open.collect();
    }
}

/// Blocks of a directory.
struct Found {
    folders: Vec<(Ulid, PathBuf)>,
    loadable: Vec<Block>,
    corrupted: Vec<(Ulid, PathBuf, BlockError)>,
    /// Those that the disk does not give now.
    unread: Vec<(Ulid, BlockError)>,
}

fn is_missing(error: &BlockError) -> bool {
    matches!(error, BlockError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
}

/// Moves a file or folder of the data directory to `pyrope/damaged/`, under a name that is free there.
pub(super) fn set_aside(files: &dyn Files, dir: &Path, what: &Path) -> io::Result<()> {
    let damaged = dir.join("pyrope").join("damaged");
    files.create_folder(&damaged)?;
    let name = what.strip_prefix(dir).unwrap_or(what).to_string_lossy().replace('/', "-");
    let taken = files.list(&damaged)?;
    let free = (0..).map(|n| if n == 0 { name.clone() } else { format!("{name}.{n}") }).map(|name| damaged.join(name));
    let Some(free) = free.into_iter().find(|path| !taken.contains(path)) else { return Ok(()) };
    files.rename(what, &free)?;
    files.sync_folder(&damaged)?;
    what.parent().map_or(Ok(()), |parent| files.sync_folder(parent))
}

/// What decisions need to know of a block.
pub(super) fn facts(block: &Block) -> BlockFacts {
    let meta = block.meta();
    BlockFacts {
        ulid: meta.ulid,
        min_time: meta.min_time,
        max_time: meta.max_time,
        bytes: block.size_bytes(),
        series: meta.stats.series,
        tombstones: meta.stats.tombstones,
        level: meta.compaction.level,
        deletable: meta.compaction.deletable,
        failed: meta.compaction.failed,
        origin: crate::compact::Origin::of_hints(meta.compaction.hints.iter().map(String::as_str)),
        parents: meta.compaction.parents.iter().map(|parent| parent.ulid).collect(),
    }
}
