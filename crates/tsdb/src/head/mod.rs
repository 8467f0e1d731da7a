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
//! # Locks
//! Order: creating, index, slab. The sequencer's is taken alone. None is held while the log is waited for.

mod cardinality;
mod commit;
pub mod exemplars;
pub mod index;
pub mod mapped;
pub mod matching;
pub mod metadata;
mod names;
pub mod ooo;
mod paged;
mod pairs;
pub mod postings;
mod rank;
pub mod select;
pub mod sequence;
pub mod slab;
pub mod symbols;
mod table;

use crate::wal::Wal;
pub use cardinality::Cardinality;
use index::Index;
use sequence::Sequencer;
use slab::Slabs;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use storage::{Appender, Batch, CommitError, Committed, Slot};

/// Prometheus's smallest block: the range of time that a chunk may not leave.
pub const CHUNK_RANGE_MS: i64 = 2 * 60 * 60 * 1000;

/// Series in memory.
#[derive(Debug)]
pub struct Head {
    index: RwLock<Index>,
    slabs: Slabs,
    sequencer: Sequencer,
    /// The next ref to give; changed under the index's write lock.
    next_ref: AtomicU64,
    /// Of all samples; `i64::MAX` while there are none.
    min_time: AtomicI64,
    /// Of all samples; `i64::MIN` while there are none.
    max_time: AtomicI64,
    counters: Counters,
    scratch: Mutex<Vec<commit::Scratch>>,
    /// Held by whoever creates series, from the choice of refs until they can be found.
    creating: Mutex<()>,
    /// Series whose record the log failed to take.
    unlogged: Mutex<Vec<Slot>>,
}

#[derive(Debug, Default)]
struct Counters {
    samples: AtomicU64,
    chunks: AtomicU64,
    out_of_order: AtomicU64,
    out_of_bounds: AtomicU64,
    duplicates: AtomicU64,
}

/// What the head holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series.
    pub series_count: u64,
    /// Chunks, open ones included.
    pub chunk_count: u64,
    /// Distinct label pairs.
    pub label_pair_count: u64,
    /// Distinct strings of names and values.
    pub symbol_count: u64,
    /// Time of the oldest sample; none without samples.
    pub min_time: Option<i64>,
    /// Time of the newest sample.
    pub max_time: Option<i64>,
    /// Samples appended since the start, without replayed ones.
    pub samples_appended: u64,
    /// Samples refused as out of order.
    pub out_of_order: u64,
    /// Samples refused as out of bounds.
    pub out_of_bounds: u64,
    /// Samples refused as duplicates with another value.
    pub duplicates: u64,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            index: RwLock::default(),
            slabs: Slabs::default(),
            sequencer: Sequencer::default(),
            next_ref: AtomicU64::new(1),
            min_time: AtomicI64::new(i64::MAX),
            max_time: AtomicI64::new(i64::MIN),
            counters: Counters::default(),
            scratch: Mutex::default(),
            creating: Mutex::default(),
            unlogged: Mutex::default(),
        }
    }
}

impl Head {
    /// An empty head; used by itself it keeps everything in memory only.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it holds and has done.
    pub fn stats(&self) -> HeadStats {
        let index = self.read_index();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (min_time, max_time) = self.time_range().unzip();
        HeadStats {
            series_count: index.series_count() as u64,
            chunk_count: count(&self.counters.chunks),
            label_pair_count: index.pair_count() as u64,
            symbol_count: index.symbols().count() as u64,
            min_time,
            max_time,
            samples_appended: count(&self.counters.samples),
            out_of_order: count(&self.counters.out_of_order),
            out_of_bounds: count(&self.counters.out_of_bounds),
            duplicates: count(&self.counters.duplicates),
        }
    }

    /// Times of the oldest and the newest sample.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let max_time = self.max_time.load(Ordering::Acquire);
        let min_time = self.min_time.load(Ordering::Acquire);
        (min_time <= max_time).then_some((min_time, max_time))
    }

    /// Widens the range of time to these samples.
    fn reach(&self, min_time: i64, max_time: i64) {
        self.max_time.fetch_max(max_time, Ordering::AcqRel);
        self.min_time.fetch_min(min_time, Ordering::AcqRel);
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
        self.commit_logged(batch, result, None::<&Wal>)
    }
}
