//! A database: the head over a data directory of Prometheus's layout.
//!
//! Opening goes through the directory in an order that leaves it untouched until nothing can go wrong any more: look for
//! what we do not read yet, take the lock, replay the log, repair its damaged segments, begin a new segment.
//!
//! # Invariants
//! - Only one process has the directory open: `<data>/lock` is held by flock, as Prometheus does.
//! - A directory that is refused has the bytes that it had before.
//! - The log is synced every [`Options::sync_interval`] and when the database is closed.

mod foreign;
mod options;
mod replay;

pub use options::{FloatEncoding, Options, Retention, Settings};

use crate::head::{Head, HeadStats};
use crate::wal::{self, Wal};
use model::Matcher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use storage::{Appender, Batch, CommitError, Committed, Interval, Names, Queryable, SelectError, SelectHints, Selection};

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("lock DB directory: resource temporarily unavailable")]
    Locked,
    /// The lock file cannot be made.
    #[error("lock DB directory: {0}")]
    Lock(#[source] io::Error),
    /// It holds what this version does not read.
    #[error(
        "data directory {dir} holds {what}, which this version cannot read yet: it was left untouched; choose another --storage.tsdb.path"
    )]
    Foreign {
        /// The data directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// Samples whose series are nowhere.
    #[error(
        "replay WAL: {samples} samples of {series} unknown series: the log begins with segment {first}, and what came before it is missing; \
             restore the missing files or move {first} and later ones away"
    )]
    SeriesMissing {
        /// How many samples.
        samples: u64,
        /// Of how many series.
        series: u64,
        /// The first segment that is there.
        first: PathBuf,
    },
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

/// What a database holds and has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct DbStats {
    /// The head's part.
    pub head: HeadStats,
    /// The log's segment that is being written.
    pub wal_segment: u32,
    /// Commits that the log refused.
    pub wal_writes_failed: u64,
    /// Syncs that failed.
    pub wal_syncs_failed: u64,
    /// Damaged segments that the start repaired.
    pub wal_corruptions: u64,
    /// How long the replay took.
    pub replay: Duration,
}

/// An open database.
pub struct Db {
    head: Head,
    wal: Arc<Wal>,
    closed: AtomicBool,
    writes_failed: AtomicU64,
    syncs_failed: Arc<AtomicU64>,
    replayed: replay::Replayed,
    replay_time: Duration,
    syncer: Mutex<Option<Syncer>>,
    lock: Mutex<Option<LockFile>>,
}

impl Db {
    /// Opens or makes a database, replaying its log.
    ///
    /// # Errors
    /// [`OpenError`]; the directory is then as it was.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { dir, files, wal: wal_options, sync_interval, no_lockfile, .. } = options;
        foreign::check(&*files, &dir)?;
        files.create_folder(&dir).map_err(|error| OpenError::Io { action: "create data directory", path: dir.clone(), error })?;
        let lock = if no_lockfile { None } else { Some(LockFile::take(&dir)?) };
        let wal_dir = dir.join("wal");
        let head = Head::default();
        tracing::info!(component = "tsdb", "Replaying WAL, this may take a while");
        let started = Instant::now();
        let replayed = replay::replay(&*files, &dir, &wal_dir, &head)?;
        let replay_time = started.elapsed();
        tracing::info!(component = "tsdb", segments = replayed.segments, samples = replayed.samples, total_replay_duration = ?replay_time, "WAL replay completed");
        replay::repair(&*files, &dir, &wal_dir, &replayed)?;
        let wal = Wal::create(files, &wal_dir, wal_options).map_err(|error| OpenError::Io { action: "open WAL", path: wal_dir, error })?;
        let wal = Arc::new(wal);
        let syncs_failed = Arc::<AtomicU64>::default();
        let syncer = Syncer::start(wal.clone(), sync_interval, syncs_failed.clone()).map_err(|error| OpenError::Io {
            action: "start the thread that syncs",
            path: dir,
            error,
        })?;
        Ok(Self {
            head,
            wal,
            closed: AtomicBool::new(false),
            writes_failed: AtomicU64::new(0),
            syncs_failed,
            replayed,
            replay_time,
            syncer: Mutex::new(Some(syncer)),
            lock: Mutex::new(lock),
        })
    }

    /// Takes no more batches, makes everything durable and gives the directory free. A second call does nothing.
    ///
    /// # Errors
    /// When the log cannot be synced.
    pub fn close(&self) -> io::Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        drop(self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take());
        let synced = self.wal.sync();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        synced
    }

    /// The series in memory.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What it holds and has done.
    pub fn stats(&self) -> DbStats {
        DbStats {
            head: self.head.stats(),
            wal_segment: self.wal.segment().0,
            wal_writes_failed: self.writes_failed.load(Ordering::Relaxed),
            wal_syncs_failed: self.syncs_failed.load(Ordering::Relaxed),
            wal_corruptions: self.replayed.damages.len() as u64,
            replay: self.replay_time,
        }
    }
}

impl Appender for Db {
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(CommitError::NotReady);
        }
        self.head.commit_logged(batch, result, Some(&self.wal)).inspect_err(|error| {
            if matches!(error, CommitError::Log(_)) {
                self.writes_failed.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

impl Queryable for Db {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        self.head.select(range, matchers, hints)
    }
    fn label_names(&self, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<Names, SelectError> {
        self.head.label_names(range, matcher_sets)
    }
    fn label_values(&self, name: &str, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<Names, SelectError> {
        self.head.label_values(name, range, matcher_sets)
    }
}

/// The thread that makes the log durable now and then; dropped, it has ended.
struct Syncer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    fn start(wal: Arc<Wal>, interval: Duration, failed: Arc<AtomicU64>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("wal-sync".to_owned()).spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = wal.sync() {
                    failed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(component = "tsdb", err = %error, "sync WAL");
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(component = "tsdb", "the thread that syncs the WAL panicked");
        }
    }
}

/// `<data>/lock`, locked. The lock ends with the process, whatever becomes of the file.
struct LockFile {
    path: PathBuf,
    _file: std::fs::File,
}

impl LockFile {
    fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(OpenError::Lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked),
            Err(std::fs::TryLockError::Error(error)) => Err(OpenError::Lock(error)),
        }
    }
}

impl Drop for LockFile {
    /// As Prometheus does, the file goes while it is still locked.
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(component = "tsdb", err = %error, "remove lock file");
        }
    }
}
