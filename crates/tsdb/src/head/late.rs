//! Applying out-of-order samples.
//!
//! Their log must have them in the order in which they were inserted, because a marker in it says that a series' samples before it
//! are in a file now. So commits that have any insert them one commit at a time, from the first look at a series until the
//! log's queue has the records; commits without any do not notice.

use super::Head;
use super::commit::{Accepted, AcceptedValue, LockedSlab};
use super::mapped::{MappedChunk, ToWrite};
use super::ooo::{Full, Outcome};
use super::records;
use super::sequence::Sequence;
use super::series::{FullChunk, MemSeries};
use super::slab::Commit;
use crate::chunk::{EncodeOptions, Encoded, Sample, Value, encode};
use crate::wal::{Records, Ticket, Wal};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use storage::SeriesRef;

impl Head {
    /// Inserts the rows of `accepted` that `late` names, and hands their records to the log; those records are answered, too.
    pub(super) fn insert_late(
        &self,
        late: &[u32],
        accepted: &[Accepted],
        others: &[Sample],
        commit: &Commit,
        tied_to: &mut Sequence,
        log: Option<&Wal>,
    ) -> Option<(Ticket, Records)> {
        let _in_order = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Records::new();
        let mut inserted: Vec<(SeriesRef, Sample)> = Vec::new();
        let (mut min, mut max, mut stored) = (i64::MAX, i64::MIN, 0u64);
        let mut slab = LockedSlab::default();
        for row in late.iter().filter_map(|at| accepted.get(*at as usize)) {
            let Some(slab) = slab.get_then(self, row.slot, |slab| slab.forget_below(commit.floor)) else { continue };
            let Some(series) = slab.series_mut(row.slot) else { continue };
            if series.newest_time() == Some(row.time) {
                continue;
            }
            let sample = match row.value {
                AcceptedValue::Float(value) => Sample { start: row.start, time: row.time, value: Value::Float(value) },
                AcceptedValue::Other(at) => others[at as usize].clone(),
            };
            let answer = series.ooo_mut().insert(sample.clone(), self.options.out_of_order_samples_max, commit.sequence, commit.floor);
            if let Some(full) = answer.full {
                let (place, all_mapped) = self.keep_full(series, &full, &commit.cutting.encode);
                if let Some(place) = place.filter(|_| all_mapped) {
                    // The samples before the marker are those of the full chunk; this one comes behind it.
                    records::add_late(&mut records, &inserted, self.options.start_timestamps);
                    inserted.clear();
                    records::add_markers(&mut records, &[(row.series_ref, place)]);
                }
                if !all_mapped {
                    slab.await_file(row.slot);
                }
            }
            match answer.outcome {
                Outcome::Stored => {
                    inserted.push((row.series_ref, sample));
                    (min, max, stored) = (min.min(row.time), max.max(row.time), stored + 1);
                }
                Outcome::Duplicate(by) => *tied_to = by.map_or(*tied_to, |by| by.max(*tied_to)),
            }
        }
        drop(slab);
        if stored > 0 {
            self.reach_late(min, max);
            self.counters.late.fetch_add(stored, Ordering::Relaxed);
        }
        records::add_late(&mut records, &inserted, self.options.start_timestamps);
        log.filter(|_| !records.is_empty()).map(|log| (log.enqueue(&records), records))
    }

    /// Logs what the log is owed. While it takes nothing no more out-of-order samples are taken either, so that it is not owed much.
    pub(super) fn pay_late_log(&self, log: Option<&Wal>) -> io::Result<()> {
        let Some(log) = log else { return Ok(()) };
        // Held until it is written, so that nobody takes it for paid before it is.
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if !owed.is_empty() {
            log.log(&owed)?;
            owed.clear();
        }
        Ok(())
    }

    /// Encodes the samples of a full out-of-order chunk and puts the chunks into files, those that no file takes into memory. The
    /// last place in a file, and whether a file took all.
    pub(super) fn keep_full(&self, series: &mut MemSeries, full: &Full, options: &EncodeOptions) -> (Option<u64>, bool) {
        let (mut last, mut all_mapped) = (None, true);
        let mut chunks = 0;
        for chunk in encode(&full.samples, options) {
            let mapped = self.write_late(series.series_ref(), &chunk);
            last = mapped.map(|mapped| mapped.place().to_u64()).or(last);
            all_mapped &= mapped.is_some();
            let (min_time, max_time) = (chunk.min_time, chunk.max_time);
            let kept = mapped.map_or(FullChunk::Memory(chunk), FullChunk::Mapped);
            series.ooo_mut().add(min_time, max_time, kept, full);
            chunks += 1;
        }
        self.counters.chunks_created.fetch_add(chunks, Ordering::Relaxed);
        (last, all_mapped)
    }

    /// Likewise, but leaves all chunks in memory: replay only reads.
    pub(super) fn keep_in_memory(&self, series: &mut MemSeries, full: &Full, options: &EncodeOptions) {
        for chunk in encode(&full.samples, options) {
            series.ooo_mut().add(chunk.min_time, chunk.max_time, FullChunk::Memory(chunk), full);
            self.counters.chunks_created.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a chunk of out-of-order samples to a file, if there are files and they take it.
    pub(super) fn write_late(&self, series_ref: SeriesRef, chunk: &Encoded) -> Option<MappedChunk> {
        let Encoded { min_time, max_time, encoding, ref bytes } = *chunk;
        let to_write = ToWrite { series_ref, min_time, max_time, encoding, out_of_order: true, bytes };
        self.mapped.as_ref()?.write(&to_write).ok().flatten()
    }
}
