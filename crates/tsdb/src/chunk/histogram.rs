//! Chunks of histograms: the layout once, then each sample's fields as differences to the sample before.
//!
//! What integer and float histograms share is here; their fields are in [`super::integer`] and [`super::float`].
//!
//! # Invariants
//! - All samples of a chunk have the same buckets. A staleness marker has none, and only such follow it.
//! - Decoding any bytes returns, without panic; samples times buckets never exceed the chunk's bits.

use super::bits::{Reader, Writer, is_stale};
use super::layout::{Layout, storable};
use super::starts::Starts;
use super::{Corrupt, Encoding};
use model::{FloatHistogram, ResetHint, Span};
use std::fmt::Debug;
use std::sync::Arc;

/// Bytes before the stream of bits: count of samples, counter reset, and the byte of [`Starts`].
pub(super) const HEADER_LEN: usize = 3;
/// Bits of the count where it shares its bytes with the counter reset.
const SHARED_COUNT_MAX: u16 = 0x3fff;

/// What a chunk's header says of the chunk before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ResetHeader {
    /// To be found out by comparing.
    Unknown = 0,
    /// The counter went on.
    NotReset = 0x40,
    /// The counter began anew.
    Reset = 0x80,
    /// These are gauges.
    Gauge = 0xc0,
}

impl ResetHeader {
    fn of(byte: u8) -> Self {
        match byte & 0xc0 {
            0 => Self::Unknown,
            0x40 => Self::NotReset,
            0x80 => Self::Reset,
            _ => Self::Gauge,
        }
    }
}

/// A histogram of integers or floats, as codecs see it. Sides are 0, positive, and 1, negative.
pub(super) trait Shape: Clone + Debug + Default {
    /// What is stored per bucket.
    type Bucket: Copy + Debug + Default + PartialOrd;
    /// What is kept between samples beside the last one.
    type State: Clone + Debug;
    /// The least that a bucket of the first sample takes.
    const BUCKET_BITS: usize;
    /// What the header of a counter's chunk says that follows gauges.
    const AFTER_GAUGES: ResetHeader;

    fn encoding(with_starts: bool) -> Encoding;
    /// With all counts 0.
    fn of_layout(layout: &Layout) -> Self;
    fn layout(&self) -> Layout;
    fn hint(&self) -> ResetHint;
    fn set_hint(&mut self, hint: ResetHint);
    fn sum(&self) -> f64;
    fn schema(&self) -> i32;
    fn zero_threshold(&self) -> f64;
    fn custom_values(&self) -> &[f64];
    fn spans(&self, side: usize) -> &Arc<[Span]>;
    fn bucket_values(&self, side: usize) -> &[Self::Bucket];
    fn set_buckets(&mut self, side: usize, spans: Arc<[Span]>, buckets: Vec<Self::Bucket>);
    fn set_spans(&mut self, spans: &[Arc<[Span]>; 2]);
    /// A staleness marker.
    fn stale() -> Self;
    /// The count of a bucket, from that of the one before it.
    fn count_of(before: Self::Bucket, bucket: Self::Bucket) -> Self::Bucket;
    /// What is stored for a count, from that of the bucket before it.
    fn bucket_of(before: Self::Bucket, count: Self::Bucket) -> Self::Bucket;
    /// Whether its count of all observations is smaller.
    fn count_below(&self, other: &Self) -> bool;
    /// Whether its count of the zero bucket is smaller.
    fn zero_count_below(&self, other: &Self) -> bool;
    /// The state after the first sample.
    fn state(layout: &Layout) -> Self::State;
    /// The fields of the first sample.
    fn write_first(&self, writer: &mut Writer);
    /// The fields of a later sample, which has the buckets of `last` or is a staleness marker.
    fn write_next(&self, last: &Self, state: &mut Self::State, writer: &mut Writer);
    /// The counterpart of [`Shape::write_first`].
    fn read_first(&mut self, reader: &mut Reader<'_>);
    /// The counterpart of [`Shape::write_next`]; none where a field is impossible.
    fn read_next(&mut self, state: &mut Self::State, reader: &mut Reader<'_>) -> Option<()>;
    /// As queries see it.
    fn to_float(&self) -> FloatHistogram;
    /// Made coarser; none if its spans do not match its buckets.
    fn reduced(self, schema: i32) -> Option<Self>;

    fn is_stale(&self) -> bool {
        is_stale(self.sum().to_bits())
    }
}

/// The state of a chunk between two samples, of a writer or a reader.
#[derive(Clone, Debug)]
pub(super) struct Progress<H: Shape> {
    pub(super) header: ResetHeader,
    pub(super) count: u16,
    /// None where the encoding has no start timestamps.
    pub(super) starts: Option<Starts>,
    pub(super) time: i64,
    time_delta: i64,
    pub(super) layout: Layout,
    pub(super) last: H,
    state: H::State,
}

impl<H: Shape> Progress<H> {
    fn new(header: ResetHeader, starts: Option<Starts>) -> Self {
        let layout = Layout::default();
        Self { header, count: 0, starts, time: i64::MIN, time_delta: 0, last: H::of_layout(&layout), state: H::state(&layout), layout }
    }

    fn start_with(&mut self, layout: Layout) {
        self.last = H::of_layout(&layout);
        self.state = H::state(&layout);
        self.layout = layout;
    }
}

/// Writes a chunk whose samples all have the same layout.
#[derive(Clone, Debug)]
pub(super) struct Encoder<H: Shape> {
    pub(super) writer: Writer,
    pub(super) progress: Progress<H>,
}

impl<H: Shape> Encoder<H> {
    pub(super) fn new(header: ResetHeader, with_starts: bool) -> Self {
        let starts = with_starts.then_some(Starts::NONE);
        Self { writer: Writer::with_header(HEADER_LEN), progress: Progress::new(header, starts) }
    }

    /// The state after all samples of a chunk; unused bits after them are cleared.
    pub(super) fn resume(encoding: Encoding, mut bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let mut decoder = Decoder::<H>::new(encoding, &bytes)?;
        while decoder.next()? {}
        let len = HEADER_LEN + decoder.reader.position.div_ceil(8);
        let free = decoder.reader.free_bits();
        let progress = decoder.progress;
        bytes.truncate(len);
        if let Some(last) = bytes.last_mut()
            && len > HEADER_LEN
        {
            *last &= 0xff << free;
        }
        Ok(Self { writer: Writer { bytes, free }, progress })
    }

    /// Whether the header can count one more.
    pub(super) fn has_room(&self) -> bool {
        self.progress.count < if self.progress.starts.is_some() { SHARED_COUNT_MAX } else { u16::MAX }
    }

    /// Appends a histogram that has the buckets of the chunk, or is a staleness marker; the first one sets them.
    pub(super) fn push(&mut self, start: i64, time: i64, histogram: &H) {
        let stale;
        let histogram = if histogram.is_stale() {
            stale = H::stale();
            &stale
        } else {
            histogram
        };
        let Self { writer, progress } = self;
        let time_before = progress.time;
        if progress.count == 0 {
            let mut layout = histogram.layout();
            layout.spans = layout.spans.each_ref().map(storable);
            layout.write(writer);
            writer.varbit(time);
            progress.start_with(layout);
            histogram.write_first(writer);
        } else {
            let delta = time.wrapping_sub(progress.time);
            writer.varbit(delta.wrapping_sub(progress.time_delta));
            progress.time_delta = delta;
            histogram.write_next(&progress.last, &mut progress.state, writer);
        }
        progress.time = time;
        progress.last.clone_from(histogram);
        progress.last.set_spans(&progress.layout.spans);
        if let Some(starts) = &mut progress.starts {
            starts.write(writer, progress.count, time, time_before, start);
        }
        progress.count += 1;
        self.write_header();
    }

    fn write_header(&mut self) {
        let Progress { header, count, starts, .. } = &self.progress;
        let header = match starts {
            None => [(count >> 8) as u8, *count as u8, *header as u8],
            Some(starts) => [(count >> 8) as u8 | *header as u8, *count as u8, starts.header],
        };
        self.writer.bytes[..HEADER_LEN].copy_from_slice(&header);
    }
}

/// Reads a chunk, sample by sample.
#[derive(Clone, Debug)]
pub(super) struct Decoder<'a, H: Shape> {
    pub(super) reader: Reader<'a>,
    total: u16,
    pub(super) progress: Progress<H>,
}

impl<'a, H: Shape> Decoder<'a, H> {
    pub(super) fn new(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let Some(([first, second, third], stream)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(Corrupt::NoHeader { len: bytes.len() });
        };
        let count = u16::from_be_bytes([*first, *second]);
        let (total, header, starts) = match encoding {
            Encoding::HistogramSt | Encoding::FloatHistogramSt => {
                (count & SHARED_COUNT_MAX, ResetHeader::of(*first), Some(Starts::reading(*third)))
            }
            _ => (count, ResetHeader::of(*third), None),
        };
        Ok(Self { reader: Reader::new(stream), total, progress: Progress::new(header, starts) })
    }

    /// Goes to the next sample, if there is one.
    pub(super) fn next(&mut self) -> Result<bool, Corrupt> {
        let Self { reader, total, progress } = self;
        if progress.count == *total {
            return Ok(false);
        }
        let time_before = progress.time;
        let sample = progress.count;
        let impossible = |field| Corrupt::Field { field, sample };
        if progress.count == 0 {
            let layout = Layout::read(reader, H::BUCKET_BITS)?;
            progress.start_with(layout);
            progress.time = reader.varbit();
            progress.last.read_first(reader);
        } else {
            progress.time_delta = progress.time_delta.wrapping_add(reader.varbit());
            progress.time = progress.time.wrapping_add(progress.time_delta);
            progress.last.read_next(&mut progress.state, reader).ok_or(impossible("count of significant bits"))?;
        }
        if let Some(starts) = &mut progress.starts {
            starts.read(reader, progress.count, progress.time, time_before).ok_or(impossible("variable-length number"))?;
        }
        progress.count += 1;
        if reader.exceeded() {
            return Err(Corrupt::Short { len: reader.stream.len() + HEADER_LEN, count: *total });
        }
        Ok(true)
    }

    /// Start of the sample; 0 = none.
    pub(super) fn start(&self) -> i64 {
        self.progress.starts.map_or(0, |starts| starts.last)
    }

    /// What Prometheus's iterators say of resets: inside a chunk there are none, and nothing is known of what came before it.
    fn hint(&self) -> ResetHint {
        match self.progress.header {
            ResetHeader::Gauge => ResetHint::Gauge,
            _ if self.progress.count > 1 => ResetHint::NoReset,
            _ => ResetHint::Unknown,
        }
    }

    /// The sample, as it was written, but for resolutions that only newer writers know.
    pub(super) fn histogram(&self) -> Result<H, Corrupt> {
        if self.progress.last.is_stale() {
            return Ok(H::stale());
        }
        let mut histogram = self.progress.last.clone();
        histogram.set_hint(self.hint());
        self.known(histogram)
    }

    /// The sample as queries see it.
    pub(super) fn float_histogram(&self) -> Result<FloatHistogram, Corrupt> {
        let last = &self.progress.last;
        if last.is_stale() {
            return Ok(FloatHistogram { sum: last.sum(), ..FloatHistogram::default() });
        }
        let mut histogram = last.to_float();
        histogram.reset_hint = self.hint();
        self.known(histogram)
    }

    fn known<T: Shape>(&self, histogram: T) -> Result<T, Corrupt> {
        if self.progress.layout.schema <= model::histogram::SCHEMA_MAX {
            return Ok(histogram);
        }
        histogram.reduced(model::histogram::SCHEMA_MAX).ok_or(Corrupt::Field { field: "span", sample: self.progress.count })
    }
}
