//! Runs of samples into chunks.

use super::xor::XorAppender;
use super::{Encoded, Encoding, Sample, Value};
use crate::db::FloatEncoding;

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
}

/// Encodes samples in order of time, of any mixture, as few chunks with right headers.
pub fn encode(samples: &[Sample], options: &EncodeOptions) -> Vec<Encoded> {
    let mut chunks = Vec::new();
    for run in samples.chunks(usize::from(options.samples_max.max(1))) {
        let mut bytes = Vec::new();
        let mut appender = XorAppender::start(&mut bytes);
        for sample in run {
            if let Value::Float(value) = sample.value {
                appender.append(&mut bytes, sample.time, value);
            }
        }
        if let [first, .., last] | [first @ last] = run {
            chunks.push(Encoded { min_time: first.time, max_time: last.time, encoding: Encoding::Xor, bytes: bytes.into() });
        }
    }
    chunks
}
