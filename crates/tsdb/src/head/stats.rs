//! What the head holds and has done, in figures.

use super::Head;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub samples: AtomicU64,
    pub histograms: AtomicU64,
    pub late: AtomicU64,
    pub chunks_created: AtomicU64,
    pub chunks_removed: AtomicU64,
    pub series_created: AtomicU64,
    pub series_removed: AtomicU64,
    pub out_of_order: AtomicU64,
    pub out_of_bounds: AtomicU64,
    pub too_old: AtomicU64,
    pub duplicates: AtomicU64,
    pub late_unlogged: AtomicU64,
    /// Times that the log failed to take series.
    pub unlogged: AtomicU64,
    pub truncations: AtomicU64,
}

/// What the head holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series.
    pub series_count: u64,
    /// Series created since the start, replayed ones included.
    pub series_created: u64,
    /// Series removed since the start.
    pub series_removed: u64,
    /// Series that a staleness marker has ended. Counted one by one: a hundredth of a second for a million series.
    pub stale_series_count: u64,
    /// Chunks, open ones included.
    pub chunk_count: u64,
    /// Chunks begun since the start.
    pub chunks_created: u64,
    /// Chunks dropped since the start.
    pub chunks_removed: u64,
    /// Distinct label pairs.
    pub label_pair_count: u64,
    /// Distinct strings of names and values.
    pub symbol_count: u64,
    /// Time of the oldest sample in order; none without samples.
    pub min_time: Option<i64>,
    /// Time of the newest sample in order.
    pub max_time: Option<i64>,
    /// Time of the oldest out-of-order sample.
    pub late_min_time: Option<i64>,
    /// Time of the newest out-of-order sample.
    pub late_max_time: Option<i64>,
    /// Samples before it are in blocks; `i64::MIN` while there are none.
    pub min_valid_time: i64,
    /// Samples appended since the start, of all kinds, without replayed ones.
    pub samples_appended: u64,
    /// Histograms among them.
    pub histograms_appended: u64,
    /// Out-of-order ones among them.
    pub out_of_order_appended: u64,
    /// Samples refused as out of order.
    pub out_of_order: u64,
    /// Samples refused as out of bounds.
    pub out_of_bounds: u64,
    /// Samples refused as older than the out-of-order window.
    pub too_old: u64,
    /// Samples refused as duplicates with another value.
    pub duplicates: u64,
    /// Commits whose out-of-order samples did not get into their log; they are in the other one.
    pub out_of_order_unlogged: u64,
    /// Truncations.
    pub truncations: u64,
    /// Writes of full chunks that failed; the chunks stayed in memory.
    pub chunk_writes_failed: u64,
    /// Bytes of the files of full chunks.
    pub chunk_file_bytes: u64,
}

impl Head {
    /// How many series it has.
    pub fn series_count(&self) -> u64 {
        self.read_index().series_count() as u64
    }

    /// Bytes of the files of full chunks.
    pub(crate) fn chunk_file_bytes(&self) -> u64 {
        self.mapped().map_or(0, |mapped| mapped.size_bytes())
    }

    /// What it holds and has done. Looks at each series.
    pub fn stats(&self) -> HeadStats {
        let counters = &self.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (min_time, max_time) = self.time_range().unzip();
        let (late_min_time, late_max_time) = self.late_time_range().unzip();
        let (chunks_created, chunks_removed) = (count(&counters.chunks_created), count(&counters.chunks_removed));
        let mut stale_series_count = 0;
        for number in 0.. {
            let Some(slab) = self.slabs.lock_number(number) else { break };
            stale_series_count += slab.all(number).filter(|(_, series)| series.is_stale()).count() as u64;
        }
        let index = self.read_index();
        HeadStats {
            series_count: index.series_count() as u64,
            series_created: count(&counters.series_created),
            series_removed: count(&counters.series_removed),
            stale_series_count,
            chunk_count: chunks_created.saturating_sub(chunks_removed),
            chunks_created,
            chunks_removed,
            label_pair_count: index.pair_count() as u64,
            symbol_count: index.symbols().count() as u64,
            min_time,
            max_time,
            late_min_time,
            late_max_time,
            min_valid_time: self.min_valid_time(),
            samples_appended: count(&counters.samples),
            histograms_appended: count(&counters.histograms),
            out_of_order_appended: count(&counters.late),
            out_of_order: count(&counters.out_of_order),
            out_of_bounds: count(&counters.out_of_bounds),
            too_old: count(&counters.too_old),
            duplicates: count(&counters.duplicates),
            out_of_order_unlogged: count(&counters.late_unlogged),
            truncations: count(&counters.truncations),
            chunk_writes_failed: self.mapped().map_or(0, |mapped| mapped.writes_failed()),
            chunk_file_bytes: self.chunk_file_bytes(),
        }
    }
}
