//! Chunks: runs of one series' samples as bytes, in Prometheus's encodings.

pub mod encode;
pub mod open;
pub mod xor;

pub use encode::{EncodeOptions, encode};
pub use open::{Appended, OpenChunk};

use model::{FloatHistogram, Histogram};
use std::ops::RangeInclusive;
use std::sync::Arc;
use storage::Column;

/// How a chunk's samples are encoded; the number is the byte that files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Integer histograms.
    Histogram = 2,
    /// Float histograms.
    FloatHistogram = 3,
    /// Floats with start timestamps, denser.
    Xor2 = 4,
    /// Integer histograms with start timestamps.
    HistogramSt = 5,
    /// Float histograms with start timestamps.
    FloatHistogramSt = 6,
}

impl Encoding {
    /// The encoding that a byte stands for.
    pub fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Xor),
            2 => Some(Self::Histogram),
            3 => Some(Self::FloatHistogram),
            4 => Some(Self::Xor2),
            5 => Some(Self::HistogramSt),
            6 => Some(Self::FloatHistogramSt),
            _ => None,
        }
    }
}

/// What a sample holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A float, or a staleness marker.
    Float(f64),
    /// An integer histogram; one whose sum is the staleness marker ends the series.
    Histogram(Arc<Histogram>),
    /// A float histogram; likewise.
    FloatHistogram(Arc<FloatHistogram>),
}

/// One sample, decoded; times in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Start timestamp; 0 = none.
    pub start: i64,
    /// When.
    pub time: i64,
    /// What.
    pub value: Value,
}

/// A chunk that takes no more samples, in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Time of the first sample.
    pub min_time: i64,
    /// Time of the last sample.
    pub max_time: i64,
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// The samples, with the encoding's own header, without length, encoding byte or checksum.
    pub bytes: Arc<[u8]>,
}

/// A chunk whose bytes are not what a writer of its encoding leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Not even the header is there.
    #[error("chunk of {len} bytes has no header")]
    NoHeader {
        /// Length of the chunk.
        len: usize,
    },
    /// The header counts more samples than the bits hold.
    #[error("chunk of {len} bytes ends before its {count} samples do")]
    Short {
        /// Length of the chunk.
        len: usize,
        /// Samples that the header counts.
        count: u16,
    },
    /// A field holds what no writer writes.
    #[error("chunk has an impossible {field} in sample {sample}")]
    Field {
        /// What the field means.
        field: &'static str,
        /// Position of the sample, from 0.
        sample: u16,
    },
    /// A histogram whose buckets nobody can place.
    #[error(
        "histogram has an unknown schema, which must be between -9 and 52 for exponential buckets, or -53 for custom buckets, got schema {schema}"
    )]
    Schema {
        /// The schema.
        schema: i64,
    },
}

/// How many samples a chunk's header counts; none if there is no header.
pub fn sample_count(encoding: Encoding, bytes: &[u8]) -> Option<u16> {
    let count = xor::sample_count(bytes)?;
    match encoding {
        Encoding::HistogramSt | Encoding::FloatHistogramSt => Some(count & 0x3fff),
        _ => Some(count),
    }
}

/// Appends the samples of a chunk with times in `range` to `column`, as queries see them.
///
/// Integer histograms become float histograms. A histogram's reset hint is "gauge" in a chunk of gauges, else "unknown" for the
/// chunk's first sample and "no reset" for all others; whatever came before the chunk may be gone or have changed, so that
/// its own header says nothing to a query. On an error `column` is as it was.
///
/// # Errors
/// [`Corrupt`] when the bytes end too early or hold what no writer writes.
pub fn decode(encoding: Encoding, bytes: &[u8], range: RangeInclusive<i64>, column: &mut Column) -> Result<(), Corrupt> {
    match encoding {
        Encoding::Xor => {
            xor::decode(bytes, range, &mut column.times, &mut column.values)?;
            if !column.starts.is_empty() {
                column.starts.resize(column.times.len(), 0);
            }
            Ok(())
        }
        _ => Err(Corrupt::NoHeader { len: bytes.len() }),
    }
}

/// Gives each sample of a chunk, exactly as stored, to `each`; hints as in [`decode`].
///
/// # Errors
/// [`Corrupt`] as for [`decode`]; samples before the damage may have been given.
pub fn samples(encoding: Encoding, bytes: &[u8], mut each: impl FnMut(Sample)) -> Result<(), Corrupt> {
    match encoding {
        Encoding::Xor => {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            xor::decode(bytes, i64::MIN..=i64::MAX, &mut times, &mut values)?;
            for (time, value) in times.into_iter().zip(values) {
                each(Sample { start: 0, time, value: Value::Float(value) });
            }
            Ok(())
        }
        _ => Err(Corrupt::NoHeader { len: bytes.len() }),
    }
}
