//! The head: the series of the last hours, in memory, in front of the log.
//!
//! # Isolation: why a select sees whole commits only
//!
//! A commit checks its rows, waits until the log holds them, and only then changes the head. That change is not one
//! instant: it goes through the slabs one by one, each under its lock, while selects copy from the same slabs.
//!
//! - Before its first change a commit takes a number from the [`Sequencer`](sequence::Sequencer); numbers ascend. When
//!   all its changes are made it is *applied*. The *watermark* is the highest number up to which all commits are applied.
//!   A commit returns when the watermark has reached it, so whoever committed sees it; it waits for nothing but work in memory.
//! - A select takes the watermark `W` as its view, and must see the samples of commits `≤ W` and no others.
//! - A series' samples ascend in time, and a series keeps for its last commit `n` the time `b` of the newest sample
//!   before it. So if `n ≤ W` all samples are seen. Else exactly those up to `b` precede `n`, and those of earlier commits
//!   `m > W` among them are found in the slab's list of older commits, which has their `b` too: the least `b` is the limit.
//! - That list gets an entry `(m, b)` when a commit replaces `m` as a series' last commit and some view, open or to come,
//!   may be older than `m`. Such views are not older than the *floor*: the least of the open views and of the
//!   watermark, both read under the sequencer's lock when the commit takes its number. Later views start at a watermark
//!   that is no lower. So entries with `m ≤ floor` are neither needed nor kept.
//! - Two commits with the same series may reach it in the wrong order: `m < n`, yet `n` came first, and the check
//!   lets `m` through only if its sample is later still. `m`'s sample then counts as `n`'s in that series: to keep `m` whole
//!   the watermark must not stop between them. `m` is *tied* to `n` and does not count as applied before `n` is.
//! - A sample that is refused when it is applied (another commit wrote a later one since the check) is in the log but
//!   not in the head, as in Prometheus; replay refuses it likewise.
//!
//! Out-of-order samples have no place in that order: they bear their commit's number ([`ooo`] has the argument), inserted
//! under the same number of the sequencer as the batch's other samples. Why a commit never loses its series to a removal, and a
//! select never meets another series in a slot, stands in `gc.rs`.
//!
//! # Where chunks are
//! An open chunk lies in its series; full ones wait there until [`Head::map_full_chunks`] has moved them to files, and a
//! truncation deletes files that no series needs. Whoever reads takes the place of a chunk under the slab's lock and holds its file from then
//! on: as long as a series has the chunk its file is there, because truncation drops chunks first, and reads which files are
//! needed before it deletes the others.
//!
//! # Locks
//! Order: mapping or inserting; creating; index; slab; then one of metadata, exemplars, files. The sequencer's and that of the
//! commits under way are taken alone. None is held while the log is waited for, nor while full chunks are written, but for a
//! full chunk of out-of-order samples: its place goes into a marker between the samples before and behind it.

mod annotate;
mod cardinality;
mod commit;
mod delete;
pub mod exemplars;
pub mod export;
mod gc;
pub mod index;
mod late;
mod map;
pub mod mapped;
pub mod matching;
pub mod metadata;
mod names;
pub mod ooo;
mod options;
mod paged;
mod pairs;
pub mod postings;
mod rank;
mod records;
pub mod replay;
pub mod select;
pub mod sequence;
pub mod series;
pub mod slab;
pub mod source;
mod stats;
pub mod symbols;
mod table;

pub use cardinality::Cardinality;
pub use gc::Collected;
pub use options::HeadOptions;
pub use stats::HeadStats;

use crate::chunk::EncodeOptions;
use crate::db::{FloatEncoding, Settings};
use crate::wal::{Records, Wal};
use exemplars::Exemplars;
use index::Index;
use mapped::Mapped;
use metadata::SeriesMetadata;
use sequence::{Commits, Sequencer};
use series::Cutting;
use slab::Slabs;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use storage::{Appender, Batch, CommitError, Committed, SeriesHandle};

/// Prometheus's smallest block: the range of time that a chunk may not leave.
pub const CHUNK_RANGE_MS: i64 = 2 * 60 * 60 * 1000;

/// Series in memory.
#[derive(Debug, Default)]
pub struct Head {
    options: HeadOptions,
    /// May change while it runs.
    out_of_order_window_ms: AtomicI64,
    /// Where full chunks go; without it they stay in memory.
    mapped: Option<Arc<Mapped>>,
    index: RwLock<Index>,
    slabs: Slabs,
    sequencer: Sequencer,
    commits: Commits,
    garbage: gc::Garbage,
    /// The highest ref given; changed under the index's write lock or while series are created.
    last_ref: AtomicU64,
    times: Times,
    counters: stats::Counters,
    scratch: Mutex<Vec<commit::Scratch>>,
    /// Held by whoever creates series, from the choice of refs until they can be found.
    creating: Mutex<()>,
    /// Held from the insertion of out-of-order samples until their log has them in its queue: it has them in that order.
    inserting: Mutex<()>,
    /// Records of out-of-order samples that are inserted and that their log failed to take.
    owed: Mutex<Records>,
    /// Held by whoever moves full chunks to files: a series' chunks get there in order.
    mapping: Mutex<()>,
    exemplars: Mutex<Exemplars>,
    metadata: Mutex<SeriesMetadata>,
    /// Series whose record the log failed to take.
    unlogged: Mutex<Vec<SeriesHandle>>,
}

/// The head's bounds in time.
#[derive(Debug)]
struct Times {
    /// Of samples in order; `i64::MAX` while there are none.
    min: AtomicI64,
    /// Of samples in order; `i64::MIN` while there are none.
    max: AtomicI64,
    /// Of out-of-order samples; `i64::MAX` while there are none.
    late_min: AtomicI64,
    /// Of out-of-order samples; `i64::MIN` while there are none.
    late_max: AtomicI64,
    /// No series is said, by what an earlier run saved, to have a later out-of-order sample in the log.
    noted: AtomicI64,
    /// Older samples are in blocks, and out of bounds.
    min_valid: AtomicI64,
}

impl Default for Times {
    fn default() -> Self {
        let (latest, earliest) = (|| AtomicI64::new(i64::MAX), || AtomicI64::new(i64::MIN));
        Self { min: latest(), max: earliest(), late_min: latest(), late_max: earliest(), noted: earliest(), min_valid: earliest() }
    }
}

/// The logs of a commit.
#[derive(Clone, Copy, Default)]
pub struct Logs<'w> {
    /// Has all that is acknowledged.
    pub wal: Option<&'w Wal>,
    /// Has out-of-order samples, in the order in which they were inserted.
    pub late: Option<&'w Wal>,
}

impl<'w> From<Option<&'w Arc<Wal>>> for Logs<'w> {
    fn from(wal: Option<&'w Arc<Wal>>) -> Self {
        Self { wal: wal.map(|wal| &**wal), late: None }
    }
}

impl Head {
    /// An empty head, whose full chunks go to `mapped`. [`Head::default`] keeps everything in memory only.
    pub fn new(options: HeadOptions, mapped: Option<Arc<Mapped>>) -> Self {
        let window = AtomicI64::new(options.out_of_order_window_ms);
        let exemplars = Mutex::new(Exemplars::new(options.exemplars_max, options.out_of_order_window_ms));
        Self { options, out_of_order_window_ms: window, mapped, exemplars, ..Self::default() }
    }

    /// Takes over what may change while it runs.
    pub fn apply_settings(&self, settings: &Settings) {
        self.out_of_order_window_ms.store(settings.out_of_order_window_ms, Ordering::Relaxed);
        let mut exemplars = self.exemplar_ring();
        exemplars.set_out_of_order_window(settings.out_of_order_window_ms);
        exemplars.resize(settings.exemplars_max);
    }

    /// Times of the oldest and the newest sample in order.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let max_time = self.times.max.load(Ordering::Acquire);
        let min_time = self.times.min.load(Ordering::Acquire);
        (min_time <= max_time).then_some((min_time, max_time))
    }

    /// Times of the oldest and the newest out-of-order sample; what is in blocks by now may still count.
    pub fn late_time_range(&self) -> Option<(i64, i64)> {
        let max_time = self.times.late_max.load(Ordering::Acquire);
        let min_time = self.times.late_min.load(Ordering::Acquire);
        (min_time <= max_time).then_some((min_time, max_time))
    }

    /// The least time that an appended sample may have without being out of order or out of bounds; none for an empty head.
    pub fn appendable_from(&self) -> Option<i64> {
        let newest = self.times.max.load(Ordering::Acquire);
        (newest > i64::MIN).then(|| self.bound(newest))
    }

    /// Samples before it are in blocks.
    pub fn min_valid_time(&self) -> i64 {
        self.times.min_valid.load(Ordering::Acquire)
    }

    /// Says which samples are in blocks, at the start, before the logs are replayed.
    pub fn set_min_valid_time(&self, time: i64) {
        self.times.min_valid.fetch_max(time, Ordering::AcqRel);
        // As if they had just been truncated: the head begins where the blocks end.
        self.reach(time, time);
    }

    fn bound(&self, newest: i64) -> i64 {
        newest.saturating_sub(self.options.chunk_range_ms / 2).max(self.min_valid_time())
    }

    /// Widens the range of time to these samples.
    fn reach(&self, min_time: i64, max_time: i64) {
        self.times.max.fetch_max(max_time, Ordering::AcqRel);
        self.times.min.fetch_min(min_time, Ordering::AcqRel);
    }

    /// Likewise for out-of-order samples.
    fn reach_late(&self, min_time: i64, max_time: i64) {
        self.times.late_max.fetch_max(max_time, Ordering::AcqRel);
        self.times.late_min.fetch_min(min_time, Ordering::AcqRel);
    }

    fn cutting(&self) -> Cutting {
        let encode = EncodeOptions {
            // Blocks are written as the configuration says; plain floats are the ones that the head appends to cheaply.
            float: FloatEncoding::Xor,
            float_starts: self.options.start_timestamps,
            histogram_starts: self.options.histogram_start_timestamps,
            ..EncodeOptions::default()
        };
        Cutting { chunk_range_ms: self.options.chunk_range_ms, encode }
    }

    /// Where full chunks go.
    pub fn mapped(&self) -> Option<&Arc<Mapped>> {
        self.mapped.as_ref()
    }

    fn read_index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_index(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appender for Head {
    /// Commits to memory only.
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        self.commit_logged(batch, result, Logs::default())
    }
}

#[cfg(test)]
mod tests;
