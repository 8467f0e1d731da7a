//! Samples of the head's series: an open chunk each, and the closed chunks before it.
//!
//! Series created together (one target's) lie together, 1,024 to a slab with one lock, so a commit of one target takes
//! few locks and touches neighbouring memory.
//!
//! # Invariants
//! - A series' chunks are in order of time and do not overlap; none crosses a boundary of the chunk range.
//! - `last_commit` is the highest sequence that wrote to the series; `before` is the series' last time before it.

use super::sequence::Sequence;
use crate::chunk::xor::XorAppender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use storage::{SeriesRef, Slot};

/// Slots of a slab.
pub const SLAB_SLOTS: u32 = 1024;
/// Slabs that a head can have: 33 million series.
const SLABS_MAX: usize = 1 << 15;
/// Series that a head can have.
pub const SLOTS_MAX: u64 = SLABS_MAX as u64 * SLAB_SLOTS as u64;

/// Samples of a chunk: from here, staggered by slot, so that a million series do not all close their chunks at once.
const CHUNK_SAMPLES_MIN: u32 = 96;
/// And at most so many more.
const CHUNK_SAMPLES_SPREAD: u32 = 49;
/// Bytes of a chunk after which no sample is added: with a longest sample (19 bytes) it stays within 1,024.
const CHUNK_BYTES_MAX: usize = 1024 - 19;
/// Room that appending a sample may need: the longest sample and the eight bytes that the encoder writes at once.
const SAMPLE_ROOM: usize = 19 + 8;
/// Open chunks grow by a third, and by at least so many bytes: doubling would waste more memory than all else of a series takes.
const CHUNK_GROWTH_MIN: usize = 40;

/// A chunk that takes no more samples.
#[derive(Clone, Debug)]
pub struct ClosedChunk {
    /// Time of the first sample.
    pub min_time: i64,
    /// Time of the last sample.
    pub max_time: i64,
    /// XOR encoded.
    pub bytes: Arc<[u8]>,
}

/// One series' samples.
#[derive(Debug)]
pub struct MemSeries {
    series_ref: SeriesRef,
    /// State of the open chunk; it always holds the newest sample, if there is any.
    appender: XorAppender,
    bytes: Vec<u8>,
    /// Time of the open chunk's first sample.
    open_since: i64,
    /// Boxed, as most series have none for their first half hour.
    #[expect(clippy::box_collection, reason = "a pointer instead of three words, a million times")]
    closed: Option<Box<Vec<ClosedChunk>>>,
    last_commit: Sequence,
    before: i64,
}

/// What appending did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The sample is there, and the one before it belongs to the same chunk.
    Sample,
    /// The sample is there and began a new chunk.
    Chunk,
    /// The series has a sample as late or later.
    Late,
}

/// Series of 1,024 consecutive slots.
#[derive(Debug, Default)]
pub struct Slab {
    series: Vec<MemSeries>,
    /// For views older than a series' last commit: commits before that one, and the series' last time before them.
    older: Vec<Older>,
}

#[derive(Clone, Copy, Debug)]
struct Older {
    index: u16,
    sequence: Sequence,
    before: i64,
}

/// All slabs.
#[derive(Debug)]
pub struct Slabs(Box<[OnceLock<Box<Mutex<Slab>>>]>);

impl Default for Slabs {
    fn default() -> Self {
        Self((0..SLABS_MAX).map(|_| OnceLock::new()).collect())
    }
}

impl Slabs {
    /// Locks the slab of a slot.
    pub fn lock(&self, slot: Slot) -> Option<MutexGuard<'_, Slab>> {
        Some(self.0.get(slab_number(slot))?.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the next series.
    pub fn push(&self, slot: Slot, series_ref: SeriesRef) {
        // At its full size at once: a slab fills up, and growing would copy it ten times.
        let empty = || Box::new(Mutex::new(Slab { series: Vec::with_capacity(SLAB_SLOTS as usize), older: Vec::new() }));
        let slab = self.0[slab_number(slot)].get_or_init(empty);
        let mut slab = slab.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(slab.series.len(), index_in_slab(slot), "slots are given out in order");
        slab.series.push(MemSeries::new(series_ref));
    }
}

/// Which slab a slot lies in.
pub fn slab_number(slot: Slot) -> usize {
    (slot.0 / SLAB_SLOTS) as usize
}

fn index_in_slab(slot: Slot) -> usize {
    (slot.0 % SLAB_SLOTS) as usize
}

impl Slab {
    /// The series in a slot of this slab.
    #[inline]
    pub fn series(&self, slot: Slot) -> Option<&MemSeries> {
        self.series.get(index_in_slab(slot))
    }

    /// Appends a sample as part of a commit. The second result is the highest commit that wrote to the series.
    #[inline]
    pub fn append(&mut self, slot: Slot, commit: Commit, time: i64, value: f64) -> (Appended, Sequence) {
        let index = index_in_slab(slot);
        let series = &mut self.series[index];
        if series.newest().is_some_and(|(newest, _)| newest >= time) {
            return (Appended::Late, commit.sequence);
        }
        if series.last_commit < commit.sequence {
            if series.last_commit > commit.floor {
                let older = Older { index: index as u16, sequence: series.last_commit, before: series.before };
                self.older.push(older);
            }
            series.before = series.newest().map_or(i64::MIN, |(newest, _)| newest);
            series.last_commit = commit.sequence;
        }
        (series.append(slot, commit.chunk_range_ms, time, value), series.last_commit)
    }

    /// Forgets what no view can ask for any more.
    pub fn forget_below(&mut self, floor: Sequence) {
        if !self.older.is_empty() {
            self.older.retain(|older| older.sequence > floor);
        }
    }

    /// The last time of a series that a view of commits up to `upto` sees; none if it sees no sample.
    pub fn visible_until(&self, slot: Slot, upto: Sequence) -> Option<i64> {
        let series = self.series(slot)?;
        let (newest, _) = series.newest()?;
        if series.last_commit <= upto {
            return Some(newest);
        }
        let index = index_in_slab(slot);
        let hidden = self.older.iter().filter(|older| usize::from(older.index) == index && older.sequence > upto);
        let until = hidden.map(|older| older.before).fold(series.before, i64::min);
        (until > i64::MIN).then_some(until)
    }
}

/// The commit that an append belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Its number.
    pub sequence: Sequence,
    /// No view older than this is open or will be.
    pub floor: Sequence,
    /// No chunk crosses a multiple of it.
    pub chunk_range_ms: i64,
}

impl MemSeries {
    fn new(series_ref: SeriesRef) -> Self {
        let appender = XorAppender::start(&mut Vec::new());
        Self { series_ref, appender, bytes: Vec::new(), open_since: 0, closed: None, last_commit: Sequence(0), before: i64::MIN }
    }

    /// Its name in the log.
    #[inline]
    pub fn series_ref(&self) -> SeriesRef {
        self.series_ref
    }

    /// Time and value of its newest sample.
    #[inline]
    pub fn newest(&self) -> Option<(i64, f64)> {
        (self.appender.sample_count() > 0).then(|| (self.appender.last_time(), self.appender.last_value()))
    }

    /// Its closed chunks.
    pub fn closed(&self) -> &[ClosedChunk] {
        self.closed.as_ref().map_or(&[], |closed| closed)
    }

    /// The open chunk's bytes and the time of its first sample; meaningless without samples.
    pub fn open(&self) -> (&[u8], i64) {
        (&self.bytes, self.open_since)
    }

    /// Samples in the open chunk.
    pub fn open_samples(&self) -> u16 {
        self.appender.sample_count()
    }

    #[inline]
    fn append(&mut self, slot: Slot, chunk_range_ms: i64, time: i64, value: f64) -> Appended {
        let count = u32::from(self.appender.sample_count());
        let full = count >= CHUNK_SAMPLES_MIN + slot.0.wrapping_mul(0x9e37_79b1) % CHUNK_SAMPLES_SPREAD
            || self.bytes.len() > CHUNK_BYTES_MAX
            || time >= range_end(self.open_since, chunk_range_ms);
        let fresh = count == 0 || full;
        if fresh {
            self.open_chunk(time);
        }
        if self.bytes.capacity() - self.bytes.len() < SAMPLE_ROOM {
            self.bytes.reserve_exact(CHUNK_GROWTH_MIN.max(self.bytes.len() / 3));
        }
        self.appender.append(&mut self.bytes, time, value);
        if fresh { Appended::Chunk } else { Appended::Sample }
    }

    fn open_chunk(&mut self, time: i64) {
        if let Some((max_time, _)) = self.newest() {
            let chunk = ClosedChunk { min_time: self.open_since, max_time, bytes: Arc::from(self.bytes.as_slice()) };
            let closed = self.closed.get_or_insert_default();
            if closed.len() == closed.capacity() {
                closed.reserve_exact(4);
            }
            closed.push(chunk);
        } else {
            self.bytes.reserve_exact(CHUNK_GROWTH_MIN);
        }
        self.appender = XorAppender::start(&mut self.bytes);
        self.open_since = time;
    }
}

/// The end of the range that a time lies in, as Prometheus computes it (its division truncates).
fn range_end(time: i64, width: i64) -> i64 {
    (time / width).saturating_mul(width).saturating_add(width)
}
