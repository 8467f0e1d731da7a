//! Putting what files and logs hold into an empty head, before anybody reads or commits.
//!
//! The order is: series before all that is theirs; of each series first its chunks in files, then the samples of the log, then
//! out-of-order ones. Different series may be replayed on different threads, best by slab.

use super::Head;
use super::commit::{LockedSlab, stale_as};
use super::index::Index;
use super::mapped::{MappedChunk, Place};
use super::ooo::OooChunk;
use super::sequence::Sequence;
use super::series::{FullChunk, Grown};
use super::slab::{Appended, Commit, SLOTS_MAX};
use crate::chunk::{Sample, Value, samples};
use crate::neighbours::LabelRow;
use crate::wal::record::{Malformed, decode_series_rows};
use std::ops::RangeInclusive;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::Ordering;
use storage::{Interval, SeriesHandle, SeriesRef, Slot};

/// Whether a series can have this ref: what a disk gives may be anything.
fn is_ref(series_ref: SeriesRef) -> bool {
    (1..1 << 40).contains(&series_ref.0)
}

/// One thread's part of a replay. It keeps the lock of the slab that it touched last until the next slab, or its end.
pub struct Replayer<'h> {
    head: &'h Head,
    slab: LockedSlab<'h>,
    commit: Commit,
    min_valid: i64,
    times: (i64, i64),
    late_times: (i64, i64),
    chunks: u64,
    /// Series have been noted that the log has late samples of.
    noted: bool,
    doubtful: Vec<(Slot, i64)>,
}

impl Head {
    /// Begins a replay, or one thread's part of it.
    pub fn replayer(&self) -> Replayer<'_> {
        let commit = Commit { sequence: Sequence(0), floor: Sequence(0), cutting: self.cutting() };
        let nothing = (i64::MAX, i64::MIN);
        let min_valid = self.min_valid_time();
        Replayer {
            head: self,
            slab: LockedSlab::default(),
            commit,
            min_valid,
            times: nothing,
            late_times: nothing,
            chunks: 0,
            noted: false,
            doubtful: Vec::new(),
        }
    }

    /// Adds the series of a record of the log, or finds those that have their labels already, and appends their refs in the log and what
    /// they are here to `named`. None of those that are too many, or whose ref is none that a series can have. [`Self::replayed_series`]
    /// must follow before anybody selects.
    ///
    /// # Errors
    /// [`Malformed`], after the series before the fault were added.
    pub fn replay_series(&self, record: &[u8], named: &mut Vec<(SeriesRef, SeriesHandle)>) -> Result<(), Malformed> {
        let mut index = self.write_index();
        let decoded = decode_series_rows(record, |series_ref, row| _ = self.prepare(&mut index, series_ref, &row));
        self.add_prepared(index, named);
        decoded
    }

    /// Takes a series along that [`Self::restore_series`] is to add, in a batch of some hundreds; no, as for [`Self::replay_series`].
    pub fn prepare_series(&self, series_ref: SeriesRef, row: &LabelRow<'_>) -> bool {
        self.prepare(&mut self.write_index(), series_ref, row)
    }

    /// Adds the series that were prepared, likewise.
    pub fn restore_series(&self, named: &mut Vec<(SeriesRef, SeriesHandle)>) {
        self.add_prepared(self.write_index(), named);
    }

    fn prepare(&self, index: &mut Index, series_ref: SeriesRef, row: &LabelRow<'_>) -> bool {
        let fits = is_ref(series_ref) && u64::from(index.slot_end()) + (index.prepared_count() as u64) < SLOTS_MAX;
        if fits {
            self.reserve_ref(series_ref);
            index.prepare(row, series_ref);
        } else {
            index.pass_over(row);
        }
        fits
    }

    fn add_prepared(&self, mut index: RwLockWriteGuard<'_, Index>, named: &mut Vec<(SeriesRef, SeriesHandle)>) {
        let mut new = Vec::new();
        index.find_or_insert_unlisted(|series_ref, handle, is_new| {
            named.push((series_ref, handle));
            if is_new {
                new.push(handle);
            }
        });
        drop(index);
        self.counters.series_created.fetch_add(new.len() as u64, Ordering::Relaxed);
        self.slabs.place(new);
    }

    /// Makes the series of [`Self::replay_series`] ones that selects find.
    pub fn replayed_series(&self) {
        self.write_index().list_all();
    }

    /// Removes series with all that they have: the log says that they are gone, and may name others with their labels later.
    pub fn replay_remove(&self, slots: &[Slot]) {
        let mut index = self.write_index();
        index.list_all();
        let mut removed = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(mut slab) = self.slabs.lock(*slot) else { continue };
            slab.mark_dying(*slot);
            removed.extend(slab.bury(*slot, |_| true).map(|(series_ref, _)| series_ref));
        }
        let numbers: Vec<u32> = slots.iter().map(|slot| slot.0).collect();
        let limbo = index.remove(&numbers);
        index.reclaim(limbo);
        drop(index);
        let mut metadata = self.metadata();
        slots.iter().for_each(|slot| metadata.remove(*slot));
        drop(metadata);
        self.counters.series_removed.fetch_add(removed.len() as u64, Ordering::Relaxed);
        self.add_removed(removed);
    }

    /// Forgets what was replayed, so that a replay can begin anew. Refs stay reserved.
    pub fn forget_replayed(&self) {
        self.replayed_series();
        let all: Vec<Slot> = self.read_index().slots().iter().map(Slot).collect();
        self.replay_remove(&all);
        self.take_removed();
        let mut ring = self.exemplar_ring();
        let capacity = ring.capacity();
        ring.resize(0);
        ring.resize(capacity);
    }

    /// Whether the log of late samples has brought all these. It has not if a power cut took them there and left them in the other log, or
    /// if they are in blocks.
    pub fn has_late(&self, mut doubtful: Vec<(Slot, i64)>) -> bool {
        doubtful.sort_unstable();
        doubtful.chunk_by(|one, other| one.0 == other.0).all(|of_one| {
            let (slot, range) = (of_one[0].0, of_one[0].1..=of_one[of_one.len() - 1].1);
            let times = self.late_times(slot, range);
            of_one.iter().all(|(_, time)| times.binary_search(time).is_ok())
        })
    }

    /// Times of a series' late samples, sorted: all of those in `range` that can be read.
    fn late_times(&self, slot: Slot, range: RangeInclusive<i64>) -> Vec<i64> {
        let mut times = Vec::new();
        let Some(slab) = self.slabs.lock(slot) else { return times };
        let Some(ooo) = slab.series(slot).and_then(|series| series.ooo()) else { return times };
        times.extend(ooo.open().iter().map(|sample| sample.time));
        for full in ooo.full().iter().filter(|full| full.min_time <= *range.end() && full.max_time >= *range.start()) {
            let mut each = |encoding, bytes: &[u8]| _ = samples(encoding, bytes, |sample| times.push(sample.time));
            match &full.chunk {
                FullChunk::Memory(chunk) => each(chunk.encoding, &chunk.bytes),
                FullChunk::Mapped(chunk) => {
                    let file = self.mapped().and_then(|mapped| mapped.file(chunk.place().file));
                    _ = file.map(|file| file.chunk(chunk.place().offset, each));
                }
            }
        }
        times.sort_unstable();
        times
    }

    /// Never gives this ref, nor a lower one, to a new series. One that no series can have is passed over.
    pub fn reserve_ref(&self, series_ref: SeriesRef) {
        if is_ref(series_ref) {
            self.last_ref.fetch_max(series_ref.0, Ordering::Relaxed);
        }
    }

    /// The highest ref that was given or reserved.
    pub fn last_ref(&self) -> SeriesRef {
        SeriesRef(self.last_ref.load(Ordering::Relaxed))
    }
}

impl Replayer<'_> {
    /// Adds a chunk that a file has. Of chunks in order one that overlaps others, or is not older than the samples of the log that the
    /// series has by now, is left out. Whether it was taken.
    pub fn mapped(&mut self, slot: Slot, chunk: MappedChunk, out_of_order: bool) -> bool {
        let (min_time, max_time) = (chunk.min_time(), chunk.max_time());
        if !out_of_order && max_time < self.min_valid {
            return false;
        }
        let Some(series) = self.slab.get(self.head, slot).and_then(|slab| slab.series_mut(slot)) else { return false };
        let taken = if out_of_order {
            series.ooo_mut().add_settled(min_time, max_time, FullChunk::Mapped(chunk));
            true
        } else {
            series.add_mapped(chunk)
        };
        let times = if out_of_order { &mut self.late_times } else { &mut self.times };
        if taken {
            // What is in blocks of a chunk does not count.
            *times = (times.0.min(if out_of_order { min_time } else { min_time.max(self.min_valid) }), times.1.max(max_time));
            self.chunks += 1;
        }
        taken
    }

    /// Appends a float of the log; whether the series takes it: what its chunks in files cover it does not.
    #[inline]
    pub fn float(&mut self, slot: Slot, start: i64, time: i64, value: f64) -> bool {
        if model::value::is_stale(value) {
            let series = self.slab.get(self.head, slot).and_then(|slab| slab.series(slot));
            if let Some(value) = series.and_then(|series| stale_as(series, None, value)) {
                return self.sample(slot, &Sample { start, time, value });
            }
        }
        self.append(slot, time, |slab, commit| slab.append_float(slot, commit, start, time, value).0)
    }

    /// Appends a sample of any kind of the log, likewise.
    pub fn sample(&mut self, slot: Slot, sample: &Sample) -> bool {
        match sample.value {
            Value::Float(value) if !model::value::is_stale(value) => self.float(slot, sample.start, sample.time, value),
            _ => self.append(slot, sample.time, |slab, commit| slab.append(slot, commit, sample).0),
        }
    }

    #[inline]
    fn append(&mut self, slot: Slot, time: i64, append: impl FnOnce(&mut super::slab::Slab, &Commit) -> Appended) -> bool {
        if time < self.min_valid {
            return false;
        }
        let Some(slab) = self.slab.get(self.head, slot) else { return false };
        let Some(series) = slab.series(slot) else { return false };
        if self.noted && series.late_until().is_some_and(|until| time <= until) {
            self.doubtful.push((slot, time));
            return false;
        }
        match append(slab, &self.commit) {
            Appended::Late => return false,
            Appended::Stored(Grown::Sample) => {}
            Appended::Stored(_) => self.chunks += 1,
        }
        self.times = (self.times.0.min(time), self.times.1.max(time));
        true
    }

    /// Makes a saved chunk of plain floats the open one of a series that has none, and no sample as late, without encoding it again;
    /// how many samples that are. None if that cannot be done: its samples are to be appended then.
    pub fn adopt(&mut self, slot: Slot, bytes: &[u8]) -> Option<u64> {
        let (slab, cutting) = (self.slab.get(self.head, slot)?, self.commit.cutting);
        let (min_time, max_time, count) = slab.series_mut(slot)?.adopt(bytes, &cutting, self.min_valid)?;
        self.chunks += 1;
        self.times = (self.times.0.min(min_time), self.times.1.max(max_time));
        Some(count)
    }

    /// Inserts an out-of-order sample of its log; whether it is new.
    pub fn late(&mut self, slot: Slot, sample: Sample) -> bool {
        let time = sample.time;
        let Some(slab) = self.slab.get(self.head, slot) else { return false };
        let Some(series) = slab.series_mut(slot) else { return false };
        let inserted = series.ooo_mut().insert(sample, self.head.options.out_of_order_samples_max, Sequence(0), Sequence(0));
        if let Some(full) = &inserted.full {
            self.head.keep_in_memory(series, full, &self.commit.cutting.encode);
            slab.await_file(slot);
        }
        self.late_times = (self.late_times.0.min(time), self.late_times.1.max(time));
        inserted.outcome == super::ooo::Outcome::Stored
    }

    /// A marker of the out-of-order log: the samples of a series before it are in the chunk at this place, and in those that were
    /// written together with it. The place alone says little: a power cut may have taken the file, and a later run have put another
    /// chunk of the series there. So the chunks are read, and the samples that they have not stay.
    pub fn marker(&mut self, slot: Slot, place: u64) {
        let Some(series) = self.slab.get(self.head, slot).and_then(|slab| slab.series_mut(slot)) else { return };
        let place = Place { file: (place >> 32) as u32, offset: place as u32 };
        let Some(ooo) = series.ooo() else { return };
        let Some((first, last)) = ooo.open().first().zip(ooo.open().last()).map(|(first, last)| (first.time, last.time)) else { return };
        let is_named = |full: &OooChunk<FullChunk>| matches!(&full.chunk, FullChunk::Mapped(chunk) if chunk.place() == place);
        let Some(at) = ooo.full().iter().position(is_named) else { return };
        let mut times: Vec<i64> = Vec::new();
        for full in ooo.full()[..=at].iter().rev() {
            let FullChunk::Mapped(chunk) = &full.chunk else { break };
            if chunk.min_time() < first || chunk.max_time() > last || times.len() >= ooo.open().len() {
                break;
            }
            let Some(file) = self.head.mapped().and_then(|mapped| mapped.file(chunk.place().file)) else { break };
            let read = file.chunk(chunk.place().offset, |encoding, bytes| samples(encoding, bytes, |sample| times.push(sample.time)));
            if !matches!(read, Ok(Ok(()))) {
                break;
            }
        }
        times.sort_unstable();
        series.ooo_mut().retain_open(|sample| times.binary_search(&sample.time).is_err());
    }

    /// Deletes a stretch of a series' time.
    pub fn tombstone(&mut self, slot: Slot, interval: Interval) {
        if let Some(series) = self.slab.get(self.head, slot).and_then(|slab| slab.series_mut(slot)) {
            series.delete(interval);
        }
    }

    /// The part of the log that is not read has late samples of a series up to this time. Who reads all of it takes them for samples in order, and
    /// older ones in the rest for late, which they may not have been when they came: they are kept out here, too, and are [`Self::doubtful`].
    pub fn note_late(&mut self, slot: Slot, time: i64) {
        self.noted = true;
        self.head.times.noted.fetch_max(time, Ordering::AcqRel);
        if let Some(series) = self.slab.get(self.head, slot).and_then(|slab| slab.series_mut(slot)) {
            series.note_late(time);
        }
    }

    /// Takes slots and times of the samples that only the log of late samples can have brought.
    pub fn doubtful(&mut self) -> Vec<(Slot, i64)> {
        std::mem::take(&mut self.doubtful)
    }

    /// Gives the slab that was touched last back.
    pub fn release(&mut self) {
        self.slab = LockedSlab::default();
    }
}

impl Drop for Replayer<'_> {
    fn drop(&mut self) {
        self.head.counters.chunks_created.fetch_add(self.chunks, Ordering::Relaxed);
        if self.times.0 <= self.times.1 {
            self.head.reach(self.times.0, self.times.1);
        }
        if self.late_times.0 <= self.late_times.1 {
            self.head.reach_late(self.late_times.0, self.late_times.1);
        }
    }
}
