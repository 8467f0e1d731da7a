//! Runs of samples into chunks.

use super::{Appended, Encoded, Encoding, OpenChunk, Sample, Value};
use crate::db::FloatEncoding;
use std::borrow::Cow;

/// Histograms that a chunk takes however many bytes they have.
const HISTOGRAMS_MIN: u16 = 10;

/// How [`encode`] cuts and encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// How floats are encoded.
    pub float: FloatEncoding,
    /// Whether start timestamps of floats are kept: a float that has one goes to an XOR2 chunk.
    pub float_starts: bool,
    /// Whether start timestamps of histograms are kept, likewise.
    pub histogram_starts: bool,
    /// No chunk has more samples.
    pub samples_max: u16,
    /// A chunk of this many bytes takes no more samples (histograms: once it has ten).
    pub bytes_max: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { float: FloatEncoding::Xor, float_starts: false, histogram_starts: false, samples_max: 120, bytes_max: 1024 }
    }
}

impl EncodeOptions {
    /// The encoding of a chunk that begins with this sample.
    pub fn encoding_of(&self, sample: &Sample) -> Encoding {
        let has_start = sample.start != 0;
        match &sample.value {
            Value::Float(_) if self.float == FloatEncoding::Xor2 || (has_start && self.float_starts) => Encoding::Xor2,
            Value::Float(_) => Encoding::Xor,
            Value::Histogram(_) if has_start && self.histogram_starts => Encoding::HistogramSt,
            Value::Histogram(_) => Encoding::Histogram,
            Value::FloatHistogram(_) if has_start && self.histogram_starts => Encoding::FloatHistogramSt,
            Value::FloatHistogram(_) => Encoding::FloatHistogram,
        }
    }

    /// Without a start that is not to be kept.
    fn without_start<'a>(&self, sample: &'a Sample) -> Cow<'a, Sample> {
        let kept = if matches!(sample.value, Value::Float(_)) { self.float_starts } else { self.histogram_starts };
        if kept || sample.start == 0 { Cow::Borrowed(sample) } else { Cow::Owned(Sample { start: 0, ..sample.clone() }) }
    }

    /// Whether a chunk may take a sample that would begin one of this encoding.
    fn may_go_on(&self, chunk: &OpenChunk, encoding: Encoding) -> bool {
        let is_histogram = !matches!(chunk.encoding(), Encoding::Xor | Encoding::Xor2);
        let has_space = chunk.bytes().len() < self.bytes_max || (is_histogram && chunk.count() < HISTOGRAMS_MIN);
        let suits = match encoding {
            Encoding::Xor2 | Encoding::HistogramSt | Encoding::FloatHistogramSt => chunk.encoding() == encoding,
            _ => true,
        };
        has_space && suits && chunk.count() < self.samples_max
    }
}

/// Encodes samples in order of time, of any mixture, as few chunks with right headers.
///
/// A float chunk without start timestamps ends where a float has one that is to be kept; a chunk that can hold them goes on
/// where they are missing.
pub fn encode(samples: &[Sample], options: &EncodeOptions) -> Vec<Encoded> {
    let mut chunks: Vec<Encoded> = Vec::new();
    let mut open: Option<(i64, OpenChunk)> = None;
    for sample in samples {
        let encoding = options.encoding_of(sample);
        let sample = &options.without_start(sample);
        if let Some((_, chunk)) = &mut open
            && options.may_go_on(chunk, encoding)
            && chunk.append(sample) == Appended::Same
        {
            continue;
        }
        let next = OpenChunk::start(sample, encoding, open.as_ref().map(|(_, before)| before));
        chunks.extend(open.replace((sample.time, next)).map(sealed));
    }
    chunks.extend(open.map(sealed));
    chunks
}

fn sealed((min_time, chunk): (i64, OpenChunk)) -> Encoded {
    Encoded { min_time, max_time: chunk.last_time(), encoding: chunk.encoding(), bytes: chunk.into_bytes().into() }
}
