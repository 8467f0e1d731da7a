//! Deleting samples of a block: what is to go is written down, and readers leave it out until a compaction drops it.

use super::matching::matching;
use super::{Block, BlockError, SeriesEntry, SeriesId};
use model::{Matcher, Timestamp};
use storage::{Cancel, Interval};

impl Block {
    /// Deletes the samples in `range` of all series that satisfy any of `matcher_sets`, durably. Whether there were any such series.
    ///
    /// # Errors
    /// When a series cannot be read, or the tombstones not be written; what was deleted before stays so.
    pub fn delete(&self, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<bool, BlockError> {
        let mut tombstones = (*self.tombstones()).clone();
        let before = tombstones.clone();
        let mut entry = SeriesEntry::default();
        let mut reader = self.reader();
        for matchers in matcher_sets {
            for id in matching(&self.0.index, matchers, &Cancel::default().checks()).map_err(|what| self.0.corrupt(what))? {
                reader.series(SeriesId(id), &mut entry)?;
                let touched = entry.chunks.iter().any(|chunk| chunk.min_time <= range.end.0 && range.start.0 <= chunk.max_time);
                let first = entry.chunks.first().map(|chunk| chunk.min_time);
                let last = entry.chunks.iter().map(|chunk| chunk.max_time).max();
                if let (true, Some(first), Some(last)) = (touched, first, last) {
                    // What lies beyond the samples that are there must not hide others, should this block be merged.
                    let start = Timestamp(range.start.0.max(first));
                    tombstones.add(u64::from(id), Interval { start, end: Timestamp(range.end.0.min(last)) });
                }
            }
        }
        if tombstones == before {
            return Ok(false);
        }
        self.set_tombstones(tombstones).map(|()| true)
    }
}
