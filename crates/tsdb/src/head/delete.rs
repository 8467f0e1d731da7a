//! Deleting samples of the head: its series note what is deleted, and readers leave it out.

use super::Head;
use super::commit::LockedSlab;
use crate::wal::record::TombstonesEncoder;
use crate::wal::{Records, Wal};
use model::{Matcher, Timestamp};
use roaring::RoaringBitmap;
use std::io;
use storage::{Cancel, Interval, SeriesHandle, Slot};

impl Head {
    /// Deletes the samples in `range` of all series that satisfy any of `matcher_sets`. Of each series only the time that it has
    /// samples in, or that the log may give it samples in at the next start: later ones are not deleted.
    ///
    /// Late samples are in both logs. Those that have gone to a block since, and so from here, the next start finds in the log of all
    /// samples, and takes them for samples in order if the series has no later ones. Nothing that is appended in order
    /// from now on is as old.
    ///
    /// # Errors
    /// When the log does not take it; then nothing is deleted.
    pub fn delete(&self, range: Interval, matcher_sets: &[Vec<Matcher>], log: &Wal) -> io::Result<()> {
        // While the view is open the slots stay these series'.
        let _view = self.sequencer.view();
        let mut slots = RoaringBitmap::new();
        for matchers in matcher_sets {
            slots |= self.read_index().matching(matchers, &Cancel::default().checks());
        }
        let replayed = (self.min_valid_time(), self.appendable_from().map_or(i64::MIN, |bound| bound.saturating_sub(1)));
        let mut deleted: Vec<(SeriesHandle, Interval)> = Vec::new();
        let mut slab = LockedSlab::default();
        for slot in slots.iter().map(Slot) {
            let Some(series) = slab.get(self, slot).and_then(|slab| slab.series(slot)) else { continue };
            if series.is_empty() {
                continue;
            }
            let (min, max) = series.time_range().map_or(replayed, |(min, max)| (min.min(replayed.0), max.max(replayed.1)));
            let (start, end) = (min.max(range.start.0), max.min(range.end.0));
            if start <= end {
                let handle = SeriesHandle { slot, series_ref: series.series_ref() };
                deleted.push((handle, Interval { start: Timestamp(start), end: Timestamp(end) }));
            }
        }
        drop(slab);
        if deleted.is_empty() {
            return Ok(());
        }
        let mut records = Records::new();
        records.add(|bytes| {
            let mut encoder = TombstonesEncoder::start(bytes);
            for (handle, interval) in &deleted {
                encoder.push(handle.series_ref, interval.start.0, interval.end.0);
            }
        });
        log.log(&records)?;
        let mut slab = LockedSlab::default();
        for (handle, interval) in deleted {
            let series = slab.get(self, handle.slot).and_then(|slab| slab.series_mut(handle.slot));
            if let Some(series) = series.filter(|series| series.series_ref() == handle.series_ref) {
                series.delete(interval);
            }
        }
        Ok(())
    }
}
