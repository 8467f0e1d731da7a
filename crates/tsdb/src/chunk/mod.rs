//! Chunks: runs of one series' samples as bytes, in Prometheus's encodings.

pub mod xor;

use model::{FloatHistogram, Histogram};
use std::sync::Arc;

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
