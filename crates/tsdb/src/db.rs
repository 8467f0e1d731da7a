//! A database: the head over a data directory of Prometheus's layout.
//!
//! Opening goes through the directory in an order that leaves it untouched until nothing can go wrong any more: look for
//! what we do not read yet, take the lock, replay the log, repair its damaged segments, begin a new segment.
//!
//! # Invariants
//! - Only one process has the directory open: `<data>/lock` is held by flock, as Prometheus does.
//! - A directory that is refused has the bytes that it had before.
//! - The log is synced every [`Options::sync_interval`] and when the database is closed.

mod blocks;
mod deletion;
mod leftovers;
mod lifecycle;
mod lock;
mod options;
mod progress;
mod querier;
mod read_only;
mod replay;
pub mod saved;
mod settled;
mod snapshot;
mod waiting;
mod worker;

pub use options::{FloatEncoding, Options, Retention, Settings};

pub use progress::ReplayProgress;

use crate::block::{self, Block, BlockError, Meta};
use crate::compact::run::CompactError;
use crate::head::mapped::Mapped;
use crate::head::{self, Head, HeadOptions, HeadStats};
use crate::wal::{self, CheckpointError, Wal};
use blocks::Blocks;
use lifecycle::{MAINTENANCE_PAUSE, MAPPING_PAUSE, Maintenance, Nameless};
use lock::LockFile;
use progress::Progress;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use storage::{Appender, Batch, CommitError, Committed, SelectError};
use ulid::Ulid;
use waiting::Waiting;
use worker::{Priority, Worker};

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("lock DB directory: resource temporarily unavailable")]
    Locked,
    /// The lock file cannot be made.
    #[error("lock DB directory: {0}")]
    Lock(#[source] io::Error),
    /// The blocks cannot be listed.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Samples whose series are nowhere.
    #[error(
        "replay WAL: {samples} samples of {series} unknown series: of the log that came before segment {first} files are missing; \
             restore them or move {first} and later ones away"
    )]
    SeriesMissing {
        /// How many samples.
        samples: u64,
        /// Of how many series.
        series: u64,
        /// The first segment behind what is missing.
        first: PathBuf,
    },
    /// It was closed while the log was being replayed.
    #[error("replay WAL: the database was closed")]
    Closed,
    /// Segments cannot be listed.
    #[error("replay WAL: {0}")]
    Segments(#[from] wal::segment::ListError),
    /// A file or folder cannot be read or written.
    #[error("{action} {path}: {error}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// What a database holds and has done since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct DbStats {
    /// The head's part.
    pub head: HeadStats,
    /// The log's segment that is being written.
    pub wal_segment: u32,
    /// Bytes of both logs, checkpoints included.
    pub wal_bytes: u64,
    /// Commits that the log refused.
    pub wal_writes_failed: u64,
    /// Syncs that failed.
    pub wal_syncs_failed: u64,
    /// Damaged segments that were repaired, at the start or when a checkpoint needed them, and gaps between segments.
    pub wal_corruptions: u64,
    /// Records of kinds that nobody knows, found by the replay.
    pub wal_unknown_records: u64,
    /// How long the replay took.
    pub replay: Duration,
    /// Open blocks.
    pub blocks: usize,
    /// Their bytes.
    pub block_bytes: u64,
    /// Time of the oldest sample of blocks and head; none without samples.
    pub lowest_time: Option<i64>,
    /// Times that the set of blocks was brought in line with the directory.
    pub reloads: u64,
    /// Those that failed.
    pub reloads_failed: u64,
    /// Those that found blocks too old.
    pub time_retentions: u64,
    /// Those that found no room for some blocks.
    pub size_retentions: u64,
    /// Damaged blocks that were set aside.
    pub damaged_blocks: u64,
    /// Blocks written.
    pub compactions: u64,
    /// Rounds of maintenance that failed.
    pub compactions_failed: u64,
    /// How long writing blocks took altogether.
    pub compaction: Duration,
    /// Truncations of the head.
    pub head_truncations: u64,
    /// Those that failed.
    pub head_truncations_failed: u64,
    /// Checkpoints begun.
    pub checkpoints: u64,
    /// Those that failed.
    pub checkpoints_failed: u64,
    /// Truncations of the log.
    pub wal_truncations: u64,
    /// Those that failed.
    pub wal_truncations_failed: u64,
}

/// Why something could not be done with an open database; doing it again later is harmless.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A compaction.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// A block that was just written; whatever it was made from is still there.
    #[error("reload blocks: the new block {ulid} cannot be read")]
    Unreadable {
        /// Its name.
        ulid: Ulid,
    },
    /// A checkpoint of the log.
    #[error("create checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A log, or chunks of the head.
    #[error("{action}: {error}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
    /// It is closed, or its log is not replayed yet.
    #[error("TSDB not ready")]
    NotReady,
}

/// How far a database has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// The log is being replayed: batches wait, queries are refused.
    Starting,
    Open,
    Closed,
}

/// An open database.
///
/// Locks, in this order: maintenance, the head's, the set of blocks. `waiting` is taken alone.
pub struct Db {
    options: Options,
    settings: RwLock<Settings>,
    head: Head,
    blocks: Blocks,
    logs: RwLock<Option<Logs>>,
    phase: AtomicU8,
    /// Batches that came before the replay was done; `None` from then on.
    waiting: Mutex<Option<Waiting>>,
    maintenance: Mutex<Maintenance>,
    /// Compactions look at it and give up.
    stopping: AtomicBool,
    counters: lifecycle::Counters,
    progress: Progress,
    writes_failed: AtomicU64,
    syncs_failed: AtomicU64,
    replayed: OnceLock<replay::Replayed>,
    threads: Mutex<Vec<Worker>>,
    lock: Mutex<Option<LockFile>>,
}

/// The logs that are written.
#[derive(Clone)]
struct Logs {
    wal: Arc<Wal>,
    /// Only where samples come out of order, or did.
    wbl: Option<Arc<Wal>>,
}

impl Db {
    /// Opens or makes a database, replaying its log.
    ///
    /// # Errors
    /// [`OpenError`]; nothing that the directory held is lost.
    pub fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let db = Self::begin(options)?;
        db.replay()?;
        Ok(db)
    }

    /// The first part of [`Self::open`], which takes no time: locks the directory and opens its blocks. Batches are taken from
    /// now on and wait, within bounds, until [`Self::replay`] has been called; queries are refused until then.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn begin(options: Options) -> Result<Arc<Self>, OpenError> {
        let (files, dir) = (options.files.clone(), options.dir.clone());
        files.create_folder(&dir).map_err(|error| OpenError::Io { action: "create data directory", path: dir.clone(), error })?;
        let lock = if options.no_lockfile { None } else { Some(LockFile::take(&dir)?) };
        leftovers::remove(&*files, &dir)?;
        for (ulid, block) in
            block::folders(&*files, &dir).map_err(|error| OpenError::Io { action: "read directory", path: dir.clone(), error })?
        {
            // What else is wrong with a block is found when it is opened.
            if let Ok(true) = block::repair_version(&*files, &block) {
                tracing::info!(component = "tsdb", block = %ulid, "Found healthy block with a wrong index version; repaired");
            }
        }
        let blocks = Blocks::new(files, dir.clone());
        // Retention waits until the server runs: a directory that cannot be opened must not lose blocks.
        blocks.reload(&Retention::default(), 0).map_err(OpenError::Block)?;
        Ok(Self::over(options, blocks, lock))
    }

    /// With an empty head, starting.
    fn over(options: Options, blocks: Blocks, lock: Option<LockFile>) -> Arc<Self> {
        let mapped = Arc::new(Mapped::new(options.files.clone(), &options.dir.join("chunks_head")));
        let head = Head::new(head_options(&options), Some(mapped));
        Arc::new(Self {
            settings: RwLock::new(options.settings.clone()),
            head,
            blocks,
            logs: RwLock::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
            waiting: Mutex::new(Some(Waiting::default())),
            maintenance: Mutex::default(),
            stopping: AtomicBool::new(false),
            counters: lifecycle::Counters::default(),
            progress: Progress::default(),
            writes_failed: AtomicU64::new(0),
            syncs_failed: AtomicU64::new(0),
            replayed: OnceLock::new(),
            threads: Mutex::default(),
            lock: Mutex::new(lock),
            options,
        })
    }

    /// The second part of [`Self::open`]: reads the log, makes it one that can be written, and commits what waited meanwhile.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was, and the database stays one that takes batches and answers nothing.
    pub fn replay(self: &Arc<Self>) -> Result<(), OpenError> {
        let (files, dir) = (&self.options.files, &self.options.dir);
        let (wal_dir, wbl_dir) = (dir.join("wal"), dir.join("wbl"));
        // Whoever closes it meanwhile waits for the end of this.
        let mut maintenance = self.maintaining();
        let mut replayed = replay::replay(self)?;
        if !replayed.restored {
            let remove = saved::remove(&**files, dir);
            remove.map_err(|error| OpenError::Io { action: "remove", path: saved::path(dir), error })?;
        }
        replay::repair(&**files, dir, &replayed)?;
        if let Some(mapped) = self.head.mapped() {
            if let Some(damage) = mapped.damage() {
                tracing::error!(
                    component = "tsdb", file = %damage.path.display(), err = damage.what, files_dropped = damage.behind.len(),
                    "Loading on-disk chunks failed: what is behind comes from the log, but out-of-order samples that were only there are lost"
                );
            }
            mapped.repair().map_err(|error| OpenError::Io { action: "repair", path: dir.join("chunks_head"), error })?;
        }
        replay::look_again_at_blocks(self)?;
        leftovers::remove_foreign_state(&**files, dir)?;
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { action, path, error }
        };
        let wal = Arc::new(Wal::create(files.clone(), &wal_dir, self.options.wal).map_err(io("open WAL", &wal_dir))?);
        let out_of_order = self.settings().out_of_order_window_ms > 0 || self.head.late_time_range().is_some();
        let wbl = match out_of_order {
            true => Some(Arc::new(Wal::create(files.clone(), &wbl_dir, self.options.wal).map_err(io("open WBL", &wbl_dir))?)),
            false => None,
        };
        // No segment of this run has samples under these names.
        let begun = wal.segment();
        let known = std::mem::take(&mut replayed.known_aliases);
        for (alias, series_ref) in known.iter().chain(&replayed.aliases) {
            let aliases = maintenance.aliases.entry(*series_ref).or_default();
            if !aliases.contains(alias) {
                aliases.push(*alias);
            }
        }
        let newest = self.head.time_range().map_or(i64::MIN, |(_, newest)| newest);
        let nameless = |max_time| move |series_ref| (series_ref, Nameless { segment: begun, max_time });
        maintenance.removed.extend(std::mem::take(&mut replayed.removed));
        for series_ref in self.head.take_removed() {
            maintenance.aliases.remove(&series_ref);
            maintenance.removed.extend([nameless(i64::MIN)(series_ref)]);
        }
        let aliases = std::mem::take(&mut replayed.aliases).into_iter().map(|(alias, _)| alias);
        maintenance.removed.extend(aliases.map(nameless(newest)));
        if replayed.log_again {
            self.head.log_all_again();
        }
        maintenance.log_lacks = replayed.log_again || !replayed.damages.is_empty() || !replayed.gaps.is_empty();
        *self.logs.write().unwrap_or_else(PoisonError::into_inner) = Some(Logs { wal, wbl });
        drop(maintenance);
        // Whoever opens a database twice finds it locked, so this is the first time.
        let _ = self.replayed.set(replayed);
        self.commit_waiting();
        if self.options.background {
            self.start_workers().map_err(io("start a thread for", dir))?;
        }
        Ok(())
    }

    /// Commits what waited, until nothing does; from then on batches go straight to the head.
    fn commit_waiting(&self) {
        let mut result = Committed::default();
        loop {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let batches = waiting.as_mut().map(Waiting::take).unwrap_or_default();
            if batches.is_empty() {
                if let Some(refused) = waiting.take().map(|waiting| waiting.refused()).filter(|refused| *refused > 0) {
                    tracing::warn!(component = "tsdb", scrapes = refused, "scrapes were skipped while the log was replayed");
                }
                // It stays closed if somebody was quicker.
                let _ = self.phase.compare_exchange(Phase::Starting as u8, Phase::Open as u8, Ordering::AcqRel, Ordering::Acquire);
                return;
            }
            drop(waiting);
            for batch in batches {
                if let Err(error) = self.commit_now(&batch, &mut result) {
                    tracing::error!(component = "tsdb", err = %error, "a scrape that waited for the replay is lost");
                }
            }
        }
    }

    /// An error once it is closed.
    fn may_go_on(&self) -> Result<(), OpenError> {
        if self.phase() == Phase::Closed { Err(OpenError::Closed) } else { Ok(()) }
    }

    fn start_workers(self: &Arc<Self>) -> io::Result<()> {
        let sync = self.options.sync_interval;
        let workers = vec![
            Worker::start("wal-sync", Priority::Normal, self, sync, move |db| {
                db.sync();
                sync
            })?,
            Worker::start("tsdb-chunks", Priority::Low, self, MAPPING_PAUSE, |db| {
                db.map_full_chunks();
                MAPPING_PAUSE
            })?,
            Worker::start("tsdb-maintain", Priority::Low, self, MAINTENANCE_PAUSE, |db| db.maintain_by_itself())?,
        ];
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) = workers;
        Ok(())
    }

    /// Makes both logs durable.
    fn sync(&self) {
        let Some(logs) = self.logs() else { return };
        for log in std::iter::once(&logs.wal).chain(&logs.wbl) {
            if let Err(error) = log.sync() {
                self.syncs_failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(component = "tsdb", err = %error, "sync WAL");
            }
        }
    }

    /// Takes no more batches, makes everything durable and gives the directory free. A second call does nothing.
    ///
    /// # Errors
    /// When a log cannot be synced.
    pub fn close(&self) -> io::Result<()> {
        if self.phase.swap(Phase::Closed as u8, Ordering::AcqRel) == Phase::Closed as u8 {
            return Ok(());
        }
        self.stopping.store(true, Ordering::Relaxed);
        drop(std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)));
        let maintenance = self.maintaining();
        self.head.wait_for_commits();
        let Some(logs) = self.logs() else {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
            return Ok(());
        };
        let chunks = self.head.mapped().map_or(Ok(()), |mapped| mapped.sync());
        let synced = logs.wal.sync();
        let synced = logs.wbl.map_or(Ok(()), |wbl| wbl.sync()).and(synced);
        if chunks.is_ok()
            && synced.is_ok()
            && let Err(error) = saved::write_last(self, &maintenance)
        {
            tracing::warn!(component = "tsdb", err = %error, "the head was not saved: the next start replays more of the log");
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        synced.and(chunks)
    }

    /// Changes what may change while it runs.
    ///
    /// # Errors
    /// When the log of out-of-order samples cannot be made; then nothing has changed.
    pub fn apply(&self, settings: Settings) -> Result<(), DbError> {
        if settings.out_of_order_window_ms > 0 && self.logs().is_some_and(|logs| logs.wbl.is_none()) {
            // Made without the lock, which every commit takes; of two at a time the second leaves an empty segment behind.
            let wbl = Wal::create(self.options.files.clone(), &self.options.dir.join("wbl"), self.options.wal);
            let wbl = Arc::new(wbl.map_err(|error| DbError::Io { action: "open WBL", error })?);
            if let Some(logs) = self.logs.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
                logs.wbl.get_or_insert(wbl);
            }
        }
        self.head.apply_settings(&settings);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(())
    }

    /// What is in force.
    pub fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The series in memory.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Metas of the open blocks, by first instant.
    pub fn block_metas(&self) -> Vec<Arc<Meta>> {
        self.blocks.open().iter().map(Block::meta).collect()
    }

    /// How far the replay has come.
    pub fn replay_progress(&self) -> ReplayProgress {
        self.progress.get()
    }

    /// What it holds and has done.
    pub fn stats(&self) -> DbStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (head, blocks, replayed) = (self.head.stats(), self.blocks.open(), self.replayed.get());
        let (done, reloaded) = (&self.counters, &self.blocks.counters);
        let lowest_block = blocks.iter().map(|block| block.meta().min_time).min();
        DbStats {
            head,
            wal_segment: self.logs().map_or(0, |logs| logs.wal.segment().0),
            wal_bytes: self.log_bytes(),
            wal_writes_failed: count(&self.writes_failed),
            wal_syncs_failed: count(&self.syncs_failed),
            wal_corruptions: replayed
                .map_or(0, |replayed| (replayed.damages.len() + replayed.late_damages.len() + replayed.gaps.len()) as u64)
                + count(&done.log_repairs),
            wal_unknown_records: replayed.map_or(0, |replayed| replayed.unknown_records),
            replay: replayed.map_or(Duration::ZERO, |replayed| replayed.time),
            blocks: blocks.len(),
            block_bytes: self.blocks.size_bytes(),
            lowest_time: lowest_block.into_iter().chain(head.min_time).min(),
            reloads: count(&reloaded.reloads),
            reloads_failed: count(&reloaded.reloads_failed),
            time_retentions: count(&reloaded.time_retentions),
            size_retentions: count(&reloaded.size_retentions),
            damaged_blocks: count(&reloaded.damaged),
            compactions: count(&done.compactions),
            compactions_failed: count(&done.compactions_failed),
            compaction: Duration::from_millis(count(&done.compaction_ms)),
            head_truncations: count(&done.head_truncations),
            head_truncations_failed: count(&done.head_truncations_failed),
            checkpoints: count(&done.checkpoints),
            checkpoints_failed: count(&done.checkpoints_failed),
            wal_truncations: count(&done.log_truncations),
            wal_truncations_failed: count(&done.log_truncations_failed),
        }
    }

    /// Bytes of both logs; 0 while they cannot be measured.
    fn log_bytes(&self) -> u64 {
        let Some(logs) = self.logs() else { return 0 };
        std::iter::once(&logs.wal).chain(&logs.wbl).map(|log| log.size_bytes().unwrap_or(0)).sum()
    }

    fn logs(&self) -> Option<Logs> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Open,
            _ => Phase::Closed,
        }
    }

    fn ready(&self) -> Result<(), SelectError> {
        if self.phase() == Phase::Open { Ok(()) } else { Err(SelectError::NotReady) }
    }

    fn commit_now(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        let logs = self.logs().ok_or(CommitError::NotReady)?;
        self.head.commit_logged(batch, result, logs.head()).inspect_err(|error| {
            if matches!(error, CommitError::Log(_)) {
                self.writes_failed.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

fn head_options(options: &Options) -> HeadOptions {
    HeadOptions {
        chunk_range_ms: options.min_block_ms,
        out_of_order_window_ms: options.settings.out_of_order_window_ms,
        start_timestamps: options.start_timestamps,
        histogram_start_timestamps: options.histogram_start_timestamps,
        metadata_records: options.metadata_records,
        exemplars_max: options.settings.exemplars_max,
        ..HeadOptions::default()
    }
}

impl Logs {
    fn head(&self) -> head::Logs<'_> {
        head::Logs { wal: Some(&self.wal), late: self.wbl.as_deref() }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(component = "tsdb", err = %error, "close the database");
        }
    }
}

impl Appender for Db {
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        if self.phase() == Phase::Starting {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waiting) = waiting.as_mut() {
                return waiting.push(batch, result);
            }
        }
        if self.phase() == Phase::Closed {
            return Err(CommitError::NotReady);
        }
        self.commit_now(batch, result)
    }
}
