//! One series' samples: an open chunk, and the full ones before it.
//!
//! Nearly all series have plain floats, an open chunk and some chunks in files, so that is what a slot is made for. All else (an open
//! chunk of another encoding, full chunks that no file has yet, out-of-order samples, deletions) lies in a box that few
//! have, or have for a moment.
//!
//! # Invariants
//! - Chunks in order come in three runs: those in files, those in memory, the open one; each run and all of them
//!   together ascend in time and do not overlap; none crosses a boundary of the chunk range.
//! - There is at most one open chunk: plain floats (the appender has samples), or any other encoding (in the box).
//! - `last_commit` is the highest sequence that wrote to the series in order; the newest sample's time less `since` lies before that
//!   commit's samples and not before any sample that was there.

use super::mapped::MappedChunk;
use super::ooo::OooSeries;
use super::sequence::Sequence;
use crate::chunk::open::{self, OpenChunk};
use crate::chunk::xor::{self, XorAppender};
use crate::chunk::{EncodeOptions, Encoded, Encoding, Sample, Value};
use crate::prefetch::prefetch;
use crate::tombstones::Intervals;
use std::sync::Arc;
use storage::{SeriesRef, Slot};

/// Samples of a chunk: from here, staggered by slot, so that a million series do not all close their chunks at once.
const CHUNK_SAMPLES_MIN: u32 = 96;
/// And at most so many more.
const CHUNK_SAMPLES_SPREAD: u32 = 49;
/// The first chunk of a range may be as short as this.
const CHUNK_SAMPLES_FIRST_MIN: u32 = 16;
/// Bytes of a chunk after which no sample is added: with a longest sample (19 bytes) it stays within 1,024.
const CHUNK_BYTES_MAX: usize = 1024 - 19;
/// A chunk of histograms of this many bytes is full, once it has [`HISTOGRAMS_MIN`].
const HISTOGRAM_BYTES: usize = 1024;
/// Fewer histograms make a chunk full only at the end of the range.
const HISTOGRAMS_MIN: u16 = 10;
/// Room that appending a sample may need: the longest sample and the eight bytes that the encoder writes at once.
const SAMPLE_ROOM: usize = 19 + 8;
/// Room that an open chunk is given: sizes that the allocator has blocks of, as what it rounds up is wasted. Doubling would
/// waste more memory than all else of a series takes.
const ROOMS: [usize; 14] = [48, 80, 112, 160, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1280];

/// A full chunk: in memory until a file has it.
#[derive(Clone, Debug)]
pub enum FullChunk {
    /// Its bytes.
    Memory(Encoded),
    /// Where they are.
    Mapped(MappedChunk),
}

/// One series' samples.
#[derive(Debug)]
pub struct MemSeries {
    series_ref: SeriesRef,
    pub(super) last_commit: Sequence,
    /// State of the open chunk of plain floats; without samples there is none.
    appender: XorAppender,
    bytes: Vec<u8>,
    more: Option<Box<More>>,
    /// From the open chunk's first sample to the newest, in milliseconds; of plain floats only.
    span: u32,
    /// See the invariants.
    pub(super) since: u32,
}

#[derive(Debug, Default)]
struct More {
    mapped: Vec<MappedChunk>,
    rare: Option<Box<Rare>>,
}

const _: () = assert!(size_of::<Rare>() <= 80);

#[derive(Debug, Default)]
struct Rare {
    full: Vec<Encoded>,
    /// Boxed, as it is large and few have it; all have a full chunk where the chunk range ends, and until it is in a file.
    other: Option<Box<Other>>,
    ooo: Option<Box<OooSeries<FullChunk>>>,
    deleted: Intervals,
    /// See [`MemSeries::note_late`].
    late_until: Option<i64>,
}

impl Rare {
    /// Exactly as long as need be: a million series make one full at once.
    fn push_full(&mut self, chunk: Encoded) {
        self.full.reserve_exact(1);
        self.full.push(chunk);
    }
}

/// An open chunk that is not plain floats.
#[derive(Debug)]
struct Other {
    chunk: OpenChunk,
    min_time: i64,
    max_time: i64,
}

/// What the newest sample is.
#[derive(Clone, Debug)]
pub enum Newest {
    /// A float.
    Float(f64),
    /// Something else; this is it.
    Other(Value),
    /// It is in a full chunk, which a commit does not read.
    Unknown,
}

/// How chunks are cut and encoded.
#[derive(Clone, Copy, Debug)]
pub struct Cutting {
    /// No chunk crosses a multiple of it.
    pub chunk_range_ms: i64,
    /// How samples are encoded.
    pub encode: EncodeOptions,
}

/// The open chunk, to be copied.
#[derive(Clone, Copy, Debug)]
pub struct Open<'s> {
    /// How its bytes are to be read.
    pub encoding: Encoding,
    /// Its bytes so far.
    pub bytes: &'s [u8],
    /// Time of its first sample.
    pub min_time: i64,
    /// Time of its last sample.
    pub max_time: i64,
    /// Its samples so far.
    pub samples: u16,
}

/// What appending in order did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    /// The open chunk has one more sample.
    Sample,
    /// The sample began a chunk, the first of the series or the first after others were dropped.
    First,
    /// The sample began a chunk, and made another one full.
    Next,
}

impl MemSeries {
    pub(super) fn new(series_ref: SeriesRef) -> Self {
        let appender = XorAppender::start(&mut Vec::new());
        Self { series_ref, last_commit: Sequence(0), appender, bytes: Vec::new(), more: None, span: 0, since: 0 }
    }

    /// Its name in the log.
    #[inline]
    pub fn series_ref(&self) -> SeriesRef {
        self.series_ref
    }

    #[inline]
    fn is_plain(&self) -> bool {
        self.appender.sample_count() > 0
    }

    fn rare(&self) -> Option<&Rare> {
        self.more.as_ref()?.rare.as_deref()
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.more.get_or_insert_default().rare.get_or_insert_default()
    }

    /// Gives back boxes that hold nothing.
    fn tidy(&mut self) {
        let Some(more) = &mut self.more else { return };
        if more.rare.as_ref().is_some_and(|rare| {
            rare.full.is_empty() && rare.other.is_none() && rare.ooo.is_none() && rare.deleted.is_empty() && rare.late_until.is_none()
        }) {
            more.rare = None;
        }
        if more.rare.is_none() && more.mapped.is_empty() {
            self.more = None;
        }
    }

    /// Time of its newest sample in order.
    #[inline]
    pub fn newest_time(&self) -> Option<i64> {
        if self.is_plain() { Some(self.appender.last_time()) } else { self.newest_time_elsewhere() }
    }

    fn newest_time_elsewhere(&self) -> Option<i64> {
        let more = self.more.as_ref()?;
        let rare = more.rare.as_ref();
        let other = rare.and_then(|rare| rare.other.as_ref()).map(|other| other.max_time);
        other.or_else(|| Some(rare?.full.last()?.max_time)).or_else(|| Some(more.mapped.last()?.max_time()))
    }

    /// Its newest sample in order, if there is any.
    #[inline]
    pub fn newest(&self) -> Newest {
        if self.is_plain() {
            return Newest::Float(self.appender.last_value());
        }
        match self.rare().and_then(|rare| rare.other.as_ref()) {
            Some(other) => match other.chunk.last().value {
                Value::Float(value) => Newest::Float(value),
                value => Newest::Other(value),
            },
            None => Newest::Unknown,
        }
    }

    /// Chunks in files, oldest first.
    pub fn mapped(&self) -> &[MappedChunk] {
        self.more.as_ref().map_or(&[], |more| &more.mapped)
    }

    /// Full chunks that no file has yet, oldest first.
    pub fn full(&self) -> &[Encoded] {
        self.rare().map_or(&[], |rare| &rare.full)
    }

    /// The open chunk.
    pub fn open(&self) -> Option<Open<'_>> {
        if self.is_plain() {
            let max_time = self.appender.last_time();
            let samples = self.appender.sample_count();
            return Some(Open {
                encoding: Encoding::Xor,
                bytes: &self.bytes,
                min_time: max_time - i64::from(self.span),
                max_time,
                samples,
            });
        }
        let Other { chunk, min_time, max_time } = self.rare()?.other.as_deref()?;
        Some(Open { encoding: chunk.encoding(), bytes: chunk.bytes(), min_time: *min_time, max_time: *max_time, samples: chunk.count() })
    }

    /// Its out-of-order samples.
    pub fn ooo(&self) -> Option<&OooSeries<FullChunk>> {
        self.rare()?.ooo.as_deref()
    }

    /// Its out-of-order samples, to be changed; [`Self::settle`] must follow a removal.
    pub fn ooo_mut(&mut self) -> &mut OooSeries<FullChunk> {
        self.rare_mut().ooo.get_or_insert_default()
    }

    /// Gives back what out-of-order samples took that are gone.
    pub fn settle(&mut self) {
        if let Some(rare) = self.more.as_mut().and_then(|more| more.rare.as_mut()) {
            rare.ooo.take_if(|ooo| ooo.is_empty());
        }
        self.tidy();
    }

    /// Notes that out-of-order samples up to this time are in the log, though not here any more (they are in a block now) or not from it. A
    /// series that goes before the log lets go of them could not be told that they are deleted, and they would come back with it.
    pub fn note_late(&mut self, time: i64) {
        if self.newest_time().is_none_or(|newest| newest < time) {
            let until = &mut self.rare_mut().late_until;
            *until = Some(until.map_or(time, |before| before.max(time)));
        }
    }

    /// Time of the newest out-of-order sample that the log has of it, if none in order is as new: whoever reads the whole log takes that one
    /// for the newest in order.
    pub fn late_until(&self) -> Option<i64> {
        let rare = self.rare()?;
        let late = rare.ooo.as_ref().and_then(|ooo| ooo.time_range()).map(|(_, last)| last);
        late.max(rare.late_until).filter(|late| self.newest_time().is_none_or(|newest| newest < *late))
    }

    /// What is deleted of it.
    pub fn deleted(&self) -> Option<&Intervals> {
        self.rare().map(|rare| &rare.deleted).filter(|deleted| !deleted.is_empty())
    }

    /// Deletes a stretch of time.
    pub fn delete(&mut self, interval: storage::Interval) {
        self.rare_mut().deleted.add(interval);
    }

    /// Neither samples in order nor others, nor any that the log brings back.
    pub fn is_empty(&self) -> bool {
        self.newest_time().is_none()
            && self.rare().is_none_or(|rare| rare.ooo.as_ref().is_none_or(|ooo| ooo.is_empty()) && rare.late_until.is_none())
    }

    /// Its chunks in order.
    pub fn chunk_count(&self) -> usize {
        self.mapped().len() + self.full().len() + usize::from(self.open().is_some())
    }

    /// Time of its oldest sample in order.
    pub fn oldest_time(&self) -> Option<i64> {
        let first = self.mapped().first().map(|chunk| chunk.min_time());
        first.or_else(|| self.full().first().map(|chunk| chunk.min_time)).or_else(|| self.open().map(|open| open.min_time))
    }

    /// Times of its first and last sample, in order or not.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let in_order = self.oldest_time().zip(self.newest_time());
        in_order.into_iter().chain(self.ooo().and_then(OooSeries::time_range)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Whether its newest sample in order ends it, as far as that can be seen without reading a file.
    pub fn is_stale(&self) -> bool {
        match self.newest() {
            Newest::Float(value) => model::value::is_stale(value),
            Newest::Other(Value::Histogram(histogram)) => model::value::is_stale(histogram.sum),
            Newest::Other(Value::FloatHistogram(histogram)) => model::value::is_stale(histogram.sum),
            Newest::Other(Value::Float(_)) | Newest::Unknown => false,
        }
    }

    /// Adds a chunk that a file has and that overlaps no other, before all that is in memory; whether that is so. Chunks in files need
    /// not come in order: where a series had two refs, those of one come after all of the other's.
    pub fn add_mapped(&mut self, chunk: MappedChunk) -> bool {
        let in_memory = self.full().first().map(|chunk| chunk.min_time).or_else(|| self.open().map(|open| open.min_time));
        let at = self.mapped().partition_point(|known| known.max_time() < chunk.min_time());
        let next = self.mapped().get(at).map(|next| next.min_time()).or(in_memory);
        if next.is_some_and(|next| next <= chunk.max_time()) {
            return false;
        }
        let mapped = &mut self.more.get_or_insert_default().mapped;
        if mapped.len() == mapped.capacity() {
            mapped.reserve_exact(2);
        }
        mapped.insert(at, chunk);
        true
    }

    /// Replaces the oldest full chunk in memory, if it still is these bytes, by its place in a file.
    pub fn replace_by_mapped(&mut self, bytes: &Arc<[u8]>, chunk: MappedChunk) -> bool {
        let Some(more) = &mut self.more else { return false };
        let Some(rare) = &mut more.rare else { return false };
        if !rare.full.first().is_some_and(|first| Arc::ptr_eq(&first.bytes, bytes)) {
            return false;
        }
        rare.full.remove(0);
        if more.mapped.len() == more.mapped.capacity() {
            more.mapped.reserve_exact(2);
        }
        more.mapped.push(chunk);
        self.tidy();
        true
    }

    /// Appends a float, later than all samples in order.
    #[inline]
    pub(super) fn append_float(&mut self, slot: Slot, cutting: &Cutting, start: i64, time: i64, value: f64) -> Grown {
        let plain = self.is_plain();
        if (!plain && self.more.is_some()) || cutting.encode.float_starts {
            return self.append(slot, cutting, &Sample { start, time, value: Value::Float(value) });
        }
        self.append_plain(slot, cutting, time, value)
    }

    /// Makes a chunk of plain floats the open one, where there is no sample yet that is not before it, nor another open chunk; times of
    /// its first and last sample, and how many it has. None if it does not fit, or is none; then nothing has changed.
    pub(super) fn adopt(&mut self, bytes: &[u8], cutting: &Cutting, from: i64) -> Option<(i64, i64, u64)> {
        if cutting.encode.float_starts || self.open().is_some() || bytes.len() > CHUNK_BYTES_MAX + SAMPLE_ROOM {
            return None;
        }
        let (appender, len) = XorAppender::resume_within(bytes).ok()?;
        let (min_time, max_time) = (xor::first_time(bytes)?, appender.last_time());
        let span = u32::try_from(max_time.checked_sub(min_time)?).ok()?;
        let is_later = min_time >= from && self.newest_time().is_none_or(|newest| newest < min_time);
        if appender.sample_count() == 0 || !is_later || max_time >= range_end(min_time, cutting.chunk_range_ms) {
            return None;
        }
        self.bytes = bytes[..len].to_vec();
        self.appender = appender;
        (self.span, self.since) = (span, 0);
        Some((min_time, max_time, u64::from(appender.sample_count())))
    }

    #[inline]
    fn append_plain(&mut self, slot: Slot, cutting: &Cutting, time: i64, value: f64) -> Grown {
        let count = u32::from(self.appender.sample_count());
        let grown = if count == 0 {
            Grown::First
        } else {
            let min_time = self.appender.last_time() - i64::from(self.span);
            let span = time.wrapping_sub(min_time) as u64;
            let full = count >= samples_max(slot)
                || (count == first_samples_max(slot) && self.begins_anew(min_time, cutting))
                || self.bytes.len() > CHUNK_BYTES_MAX
                || time >= range_end(min_time, cutting.chunk_range_ms)
                || span > u64::from(u32::MAX);
            if full {
                self.close_plain();
                Grown::Next
            } else {
                self.span = span as u32;
                Grown::Sample
            }
        };
        if self.bytes.capacity() - self.bytes.len() < SAMPLE_ROOM {
            self.grow();
        }
        if grown != Grown::Sample {
            self.appender = XorAppender::start(&mut self.bytes);
            self.span = 0;
        }
        self.appender.append(&mut self.bytes, time, value);
        grown
    }

    /// Whether the open chunk is the first that it has, or the first of a chunk range.
    #[cold]
    fn begins_anew(&self, min_time: i64, cutting: &Cutting) -> bool {
        self.more.is_none() || min_time.rem_euclid(cutting.chunk_range_ms) <= self.appender.last_delta().saturating_mul(2)
    }

    fn grow(&mut self) {
        let len = self.bytes.len();
        let room = ROOMS.into_iter().find(|room| *room >= len + SAMPLE_ROOM).unwrap_or(len + SAMPLE_ROOM);
        self.bytes.reserve_exact(room - len);
    }

    /// Has the processor fetch what a sample changes beside the slot: the chunk's header and its end.
    #[inline]
    pub(super) fn prefetch_chunk(&self) {
        prefetch(self.bytes.as_ptr());
        prefetch(self.bytes.as_ptr_range().end);
    }

    /// Makes the open chunk of plain floats a full one. The next one grows anew: a buffer that is half empty on average would
    /// cost more than all else of a series.
    fn close_plain(&mut self) {
        let max_time = self.appender.last_time();
        let min_time = max_time - i64::from(self.span);
        let chunk = Encoded { min_time, max_time, encoding: Encoding::Xor, bytes: std::mem::take(&mut self.bytes).into() };
        self.rare_mut().push_full(chunk);
    }

    /// Appends a sample of any kind, later than all samples in order.
    pub(super) fn append(&mut self, slot: Slot, cutting: &Cutting, sample: &Sample) -> Grown {
        let wanted = cutting.encode.encoding_of(sample);
        if self.is_plain() {
            if let (Encoding::Xor, Value::Float(value)) = (wanted, &sample.value) {
                return self.append_plain(slot, cutting, sample.time, *value);
            }
            self.close_plain();
            self.forget_plain();
            self.rare_mut().other = Some(Box::new(Other::start(sample, wanted, None)));
            return Grown::Next;
        }
        let Some(other) = self.more.as_mut().and_then(|more| more.rare.as_mut()).and_then(|rare| rare.other.as_mut()) else {
            if let (Encoding::Xor, Value::Float(value)) = (wanted, &sample.value) {
                return self.append_plain(slot, cutting, sample.time, *value);
            }
            self.rare_mut().other = Some(Box::new(Other::start(sample, wanted, None)));
            return Grown::First;
        };
        if other.takes(slot, cutting, sample, wanted) && other.chunk.append(sample) == open::Appended::Same {
            other.max_time = sample.time;
            return Grown::Sample;
        }
        let Some(before) = self.rare_mut().other.take() else { return Grown::First };
        if let (Encoding::Xor, Value::Float(value)) = (wanted, &sample.value) {
            self.rare_mut().push_full(before.into_encoded());
            self.append_plain(slot, cutting, sample.time, *value);
        } else {
            let next = Other::start(sample, wanted, Some(&before.chunk));
            let rare = self.rare_mut();
            rare.push_full(before.into_encoded());
            rare.other = Some(Box::new(next));
        }
        Grown::Next
    }

    fn forget_plain(&mut self) {
        self.bytes = Vec::new();
        self.appender = XorAppender::start(&mut Vec::new());
        self.span = 0;
    }

    /// Drops chunks in order all of whose samples are older than `time`; how many.
    pub fn truncate_before(&mut self, time: i64) -> usize {
        let mut dropped = 0;
        if let Some(more) = &mut self.more {
            let gone = more.mapped.partition_point(|chunk| chunk.max_time() < time);
            if gone > 0 {
                more.mapped.drain(..gone);
                more.mapped.shrink_to_fit();
                dropped += gone;
            }
            if let Some(rare) = &mut more.rare {
                rare.late_until = rare.late_until.filter(|until| *until >= time);
                let gone = rare.full.partition_point(|chunk| chunk.max_time < time);
                rare.full.drain(..gone);
                dropped += gone;
                dropped += usize::from(rare.other.take_if(|other| other.max_time < time).is_some());
                // Late samples may be older, and are still to be written to a block.
                let late = rare.ooo.as_ref().and_then(|ooo| ooo.time_range()).map_or(time, |(first, _)| first.min(time));
                rare.deleted.truncate_before(late);
            }
        }
        if self.is_plain() && self.appender.last_time() < time {
            self.forget_plain();
            dropped += 1;
        }
        self.tidy();
        dropped
    }

    /// Drops all samples.
    pub fn clear(&mut self) {
        *self = Self { last_commit: self.last_commit, ..Self::new(self.series_ref) };
    }

    /// The lowest number of a file that has a chunk of it, in order or not.
    pub fn oldest_file(&self) -> Option<u32> {
        let late = self.ooo().into_iter().flat_map(|ooo| ooo.full()).filter_map(|full| match &full.chunk {
            FullChunk::Mapped(chunk) => Some(chunk.place().file),
            FullChunk::Memory(_) => None,
        });
        self.mapped().first().map(|chunk| chunk.place().file).into_iter().chain(late).min()
    }
}

impl Other {
    fn start(sample: &Sample, encoding: Encoding, before: Option<&OpenChunk>) -> Self {
        Self { chunk: OpenChunk::start(sample, encoding, before), min_time: sample.time, max_time: sample.time }
    }

    /// Whether the chunk has the sample's kind and room for it; the chunk itself may see that differently.
    fn takes(&self, slot: Slot, cutting: &Cutting, sample: &Sample, wanted: Encoding) -> bool {
        let has = self.chunk.encoding();
        let same_kind = has == wanted
            || matches!(
                (has, wanted),
                (Encoding::HistogramSt, Encoding::Histogram)
                    | (Encoding::FloatHistogramSt, Encoding::FloatHistogram)
                    | (Encoding::Xor2, Encoding::Xor)
            );
        let (bytes, count) = (self.chunk.bytes().len(), self.chunk.count());
        let full = match sample.value {
            Value::Float(_) => u32::from(count) >= samples_max(slot) || bytes > CHUNK_BYTES_MAX,
            Value::Histogram(_) | Value::FloatHistogram(_) => bytes >= HISTOGRAM_BYTES && count >= HISTOGRAMS_MIN,
        };
        let span = sample.time.checked_sub(self.min_time).is_some_and(|span| span <= i64::from(u32::MAX));
        same_kind && !full && span && sample.time < range_end(self.min_time, cutting.chunk_range_ms)
    }

    fn into_encoded(self) -> Encoded {
        let encoding = self.chunk.encoding();
        Encoded { min_time: self.min_time, max_time: self.max_time, encoding, bytes: self.chunk.into_bytes().into() }
    }
}

/// Where the chunks of floats of a slot are cut.
#[inline]
fn samples_max(slot: Slot) -> u32 {
    CHUNK_SAMPLES_MIN + slot.0.wrapping_mul(0x9e37_79b1) % CHUNK_SAMPLES_SPREAD
}

/// And the first one of a start or of a chunk range, when all series begin theirs: somewhere, so that from then on as many are nearly
/// full as nearly empty.
#[inline]
fn first_samples_max(slot: Slot) -> u32 {
    CHUNK_SAMPLES_FIRST_MIN + (slot.0.wrapping_mul(0x85eb_ca6b) >> 16) % (CHUNK_SAMPLES_MIN - CHUNK_SAMPLES_FIRST_MIN)
}

/// The end of the range that a time lies in, as Prometheus computes it (its division truncates).
#[inline]
pub(crate) fn range_end(time: i64, width: i64) -> i64 {
    (time / width).saturating_mul(width).saturating_add(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_and_its_boxes_are_small() {
        assert!(size_of::<MemSeries>() <= 88, "{}", size_of::<MemSeries>());
        assert!(size_of::<More>() <= 32, "{}", size_of::<More>());
        assert!(size_of::<Rare>() <= 80, "{}", size_of::<Rare>());
    }
}
