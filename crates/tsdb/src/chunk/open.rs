//! Chunks that still take samples.

use super::bits::is_stale;
use super::histogram::{Decoder, Encoder, ResetHeader, Shape};
use super::spans::{Union, spread, union};
use super::xor::XorAppender;
use super::xor2::Xor2Appender;
use super::{Corrupt, Encoding, Sample, Value};
use model::{FloatHistogram, Histogram, ResetHint};
use std::borrow::Cow;
use std::sync::Arc;

/// What became of an appended sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is the chunk's last one now.
    Same,
    /// The chunk is as it was: this sample must begin a new one ([`OpenChunk::start`], with this chunk as the one before).
    Full,
}

/// A chunk of any encoding that takes samples.
#[derive(Clone, Debug)]
pub struct OpenChunk(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Xor { appender: XorAppender, bytes: Vec<u8> },
    Xor2(Xor2Appender),
    Histogram(Encoder<Histogram>),
    FloatHistogram(Encoder<FloatHistogram>),
}

impl OpenChunk {
    /// Begins a chunk with a sample; `before` is the chunk that the series' samples before it are in, if there is one: it
    /// decides what the new chunk's header says about a counter reset.
    ///
    /// `encoding` is one that suits the sample's kind ([`super::EncodeOptions::encoding_of`]); of another one only whether it
    /// has start timestamps is heeded.
    pub fn start(sample: &Sample, encoding: Encoding, before: Option<&OpenChunk>) -> Self {
        let with_starts = matches!(encoding, Encoding::Xor2 | Encoding::HistogramSt | Encoding::FloatHistogramSt);
        match &sample.value {
            Value::Float(value) if with_starts => {
                let mut appender = Xor2Appender::new();
                appender.append(sample.start, sample.time, *value);
                Self(Kind::Xor2(appender))
            }
            Value::Float(value) => {
                let mut bytes = Vec::with_capacity(128);
                let mut appender = XorAppender::start(&mut bytes);
                appender.append(&mut bytes, sample.time, *value);
                Self(Kind::Xor { appender, bytes })
            }
            Value::Histogram(histogram) => {
                let before = before.and_then(|before| if let Kind::Histogram(encoder) = &before.0 { Some(encoder) } else { None });
                Self(Kind::Histogram(begin(sample, histogram, with_starts, before)))
            }
            Value::FloatHistogram(histogram) => {
                let before = before.and_then(|before| if let Kind::FloatHistogram(encoder) = &before.0 { Some(encoder) } else { None });
                Self(Kind::FloatHistogram(begin(sample, histogram, with_starts, before)))
            }
        }
    }

    /// Appends a sample, later than all before, if the chunk can hold it; histograms with new buckets may re-encode all of it.
    ///
    /// A start timestamp that the encoding has no place for is dropped. An XOR2 chunk whose starts never change takes 127
    /// samples: with one more each would have a number for its start, of some 24 bits.
    pub fn append(&mut self, sample: &Sample) -> Appended {
        match (&mut self.0, &sample.value) {
            (Kind::Xor { appender, bytes }, Value::Float(value)) if appender.sample_count() < u16::MAX => {
                appender.append(bytes, sample.time, *value);
                Appended::Same
            }
            (Kind::Xor2(appender), Value::Float(value)) if appender.has_room(sample.start) => {
                appender.append(sample.start, sample.time, *value);
                Appended::Same
            }
            (Kind::Histogram(encoder), Value::Histogram(histogram)) => append(encoder, sample, histogram),
            (Kind::FloatHistogram(encoder), Value::FloatHistogram(histogram)) => append(encoder, sample, histogram),
            _ => Appended::Full,
        }
    }

    /// The state after all samples of an existing chunk, to append more; bytes behind them are cut off.
    ///
    /// # Errors
    /// [`Corrupt`] as for [`super::decode`].
    pub fn resume(encoding: Encoding, mut bytes: Vec<u8>) -> Result<Self, Corrupt> {
        Ok(Self(match encoding {
            Encoding::Xor => {
                let (appender, len) = XorAppender::resume_within(&bytes)?;
                bytes.truncate(len);
                Kind::Xor { appender, bytes }
            }
            Encoding::Xor2 => Kind::Xor2(Xor2Appender::resume(bytes)?),
            Encoding::Histogram | Encoding::HistogramSt => Kind::Histogram(Encoder::resume(encoding, bytes)?),
            Encoding::FloatHistogram | Encoding::FloatHistogramSt => Kind::FloatHistogram(Encoder::resume(encoding, bytes)?),
        }))
    }

    /// How its bytes are to be read.
    pub fn encoding(&self) -> Encoding {
        match &self.0 {
            Kind::Xor { .. } => Encoding::Xor,
            Kind::Xor2(_) => Encoding::Xor2,
            Kind::Histogram(encoder) if encoder.progress.starts.is_some() => Encoding::HistogramSt,
            Kind::Histogram(_) => Encoding::Histogram,
            Kind::FloatHistogram(encoder) if encoder.progress.starts.is_some() => Encoding::FloatHistogramSt,
            Kind::FloatHistogram(_) => Encoding::FloatHistogram,
        }
    }

    /// The chunk so far; always whole.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Xor { bytes, .. } => bytes,
            Kind::Xor2(appender) => appender.bytes(),
            Kind::Histogram(encoder) => &encoder.writer.bytes,
            Kind::FloatHistogram(encoder) => &encoder.writer.bytes,
        }
    }

    /// The chunk's bytes, to be kept.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Kind::Xor { bytes, .. } => bytes,
            Kind::Xor2(appender) => appender.into_bytes(),
            Kind::Histogram(encoder) => encoder.writer.bytes,
            Kind::FloatHistogram(encoder) => encoder.writer.bytes,
        }
    }

    /// Samples so far.
    pub fn count(&self) -> u16 {
        match &self.0 {
            Kind::Xor { appender, .. } => appender.sample_count(),
            Kind::Xor2(appender) => appender.sample_count(),
            Kind::Histogram(encoder) => encoder.progress.count,
            Kind::FloatHistogram(encoder) => encoder.progress.count,
        }
    }

    /// Time of the last sample.
    pub fn last_time(&self) -> i64 {
        match &self.0 {
            Kind::Xor { appender, .. } => appender.last_time(),
            Kind::Xor2(appender) => appender.last_time(),
            Kind::Histogram(encoder) => encoder.progress.time,
            Kind::FloatHistogram(encoder) => encoder.progress.time,
        }
    }

    /// The last sample, as the chunk holds it: a histogram may have got empty buckets, and its hint is not kept.
    pub fn last(&self) -> Sample {
        let time = self.last_time();
        match &self.0 {
            Kind::Xor { appender, .. } => Sample { start: 0, time, value: Value::Float(appender.last_value()) },
            Kind::Xor2(appender) => Sample { start: appender.last_start(), time, value: Value::Float(appender.last_value()) },
            Kind::Histogram(encoder) => {
                let start = encoder.progress.starts.map_or(0, |starts| starts.last);
                Sample { start, time, value: Value::Histogram(Arc::new(encoder.progress.last.clone())) }
            }
            Kind::FloatHistogram(encoder) => {
                let start = encoder.progress.starts.map_or(0, |starts| starts.last);
                Sample { start, time, value: Value::FloatHistogram(Arc::new(encoder.progress.last.clone())) }
            }
        }
    }
}

/// Whether and how a histogram goes into a chunk.
enum Fit {
    /// With these buckets on each side.
    Fits([Option<Union>; 2]),
    /// Not: the next chunk's header.
    No(ResetHeader),
}

fn begin<H: Shape>(sample: &Sample, histogram: &H, with_starts: bool, before: Option<&Encoder<H>>) -> Encoder<H> {
    let header = match (histogram.hint(), before) {
        (ResetHint::Gauge, _) => ResetHeader::Gauge,
        (ResetHint::Reset, _) => ResetHeader::Reset,
        (_, None) => ResetHeader::Unknown,
        (_, Some(before)) => match fit(before, histogram) {
            Fit::Fits(_) => ResetHeader::NotReset,
            Fit::No(header) => header,
        },
    };
    let mut encoder = Encoder::new(header, with_starts);
    encoder.push(sample.start, sample.time, &*whole(histogram));
    encoder
}

fn append<H: Shape>(encoder: &mut Encoder<H>, sample: &Sample, histogram: &H) -> Appended {
    if !encoder.has_room() {
        return Appended::Full;
    }
    let histogram = whole(histogram);
    let Fit::Fits(unions) = fit(encoder, &*histogram) else { return Appended::Full };
    if unions.iter().flatten().any(|union| union.widens_chunk) {
        match widened(encoder, &unions) {
            Ok(wider) => *encoder = wider,
            // Never of our own bytes; if memory has failed, the bad chunk ends here.
            Err(_) => return Appended::Full,
        }
    }
    let mut histogram = histogram;
    for (side, union) in unions.iter().enumerate() {
        if let Some(union) = union
            && union.widens_sample
        {
            let buckets = spread(&*histogram, side, &union.spans);
            histogram.to_mut().set_buckets(side, Arc::clone(&union.spans), buckets);
        }
    }
    encoder.push(sample.start, sample.time, &*histogram);
    Appended::Same
}

fn fit<H: Shape>(encoder: &Encoder<H>, new: &H) -> Fit {
    let progress = &encoder.progress;
    let last = &progress.last;
    let gauge = new.hint() == ResetHint::Gauge;
    if gauge != (progress.header == ResetHeader::Gauge) {
        return Fit::No(if gauge { ResetHeader::Gauge } else { H::AFTER_GAUGES });
    }
    let no = |header| Fit::No(if gauge { ResetHeader::Gauge } else { header });
    if new.hint() == ResetHint::Reset {
        return no(ResetHeader::Reset);
    }
    if is_stale(new.sum().to_bits()) {
        return Fit::Fits([None, None]);
    }
    if is_stale(last.sum().to_bits()) {
        return no(ResetHeader::Unknown);
    }
    if !gauge && new.count_below(last) {
        return no(ResetHeader::Reset);
    }
    if new.schema() != progress.layout.schema || new.zero_threshold() != progress.layout.zero_threshold {
        return no(ResetHeader::Unknown);
    }
    if new.schema() == super::layout::CUSTOM_BUCKETS && new.custom_values() != &*progress.layout.custom_values {
        return no(ResetHeader::Reset);
    }
    if !gauge && new.zero_count_below(last) {
        return no(ResetHeader::Reset);
    }
    match (union(last, new, 0, gauge), union(last, new, 1, gauge)) {
        (Some(positive), Some(negative)) => Fit::Fits([Some(positive), Some(negative)]),
        _ => no(ResetHeader::Reset),
    }
}

/// The same samples with more buckets.
fn widened<H: Shape>(encoder: &Encoder<H>, unions: &[Option<Union>; 2]) -> Result<Encoder<H>, Corrupt> {
    let with_starts = encoder.progress.starts.is_some();
    let mut wider = Encoder::new(encoder.progress.header, with_starts);
    let mut decoder = Decoder::<H>::new(H::encoding(with_starts), &encoder.writer.bytes)?;
    while decoder.next()? {
        let mut histogram = decoder.progress.last.clone();
        for (side, union) in unions.iter().enumerate() {
            if let Some(union) = union {
                let buckets = spread(&histogram, side, &union.spans);
                histogram.set_buckets(side, Arc::clone(&union.spans), buckets);
            }
        }
        wider.push(decoder.start(), decoder.progress.time, &histogram);
    }
    Ok(wider)
}

/// With as many buckets as its spans stand for: others cannot be encoded.
fn whole<H: Shape>(histogram: &H) -> Cow<'_, H> {
    let need = |side| histogram.spans(side).iter().map(|span| span.len as usize).sum::<usize>();
    let mut whole = Cow::Borrowed(histogram);
    for side in 0..2 {
        if need(side) != histogram.bucket_values(side).len() {
            whole.to_mut().set_buckets(side, Arc::default(), Vec::new());
        }
    }
    whole
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
