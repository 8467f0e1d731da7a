//! Chunks: runs of one series' samples as bytes, in Prometheus's encodings.

mod bits;
pub mod block;
pub mod encode;
mod float;
mod histogram;
mod integer;
mod lanes;
mod layout;
pub mod open;
mod sink;
mod spans;
mod starts;
#[cfg(target_arch = "x86_64")]
mod wide;
mod windows;
pub mod xor;
pub mod xor2;
mod xor_decoder;

pub use encode::{EncodeOptions, encode};
pub use open::{Appended, OpenChunk};

use histogram::{Decoder, Shape};
use lanes::Stretch;
use model::{FloatHistogram, Histogram, Timestamp};
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
        Encoding::Histogram | Encoding::HistogramSt => decode_histograms::<Histogram>(encoding, bytes, range, column),
        Encoding::FloatHistogram | Encoding::FloatHistogramSt => decode_histograms::<FloatHistogram>(encoding, bytes, range, column),
        Encoding::Xor2 => xor2::decode(bytes, range, column),
    }
}

/// Appends the samples of XOR chunks that follow each other, each list's to its column, as [`decode`] does one by one but faster.
/// On an error the columns are as they were.
///
/// # Errors
/// As for [`decode`].
pub fn decode_several<'c>(
    lists: impl IntoIterator<Item = (&'c [&'c [u8]], &'c mut Column)>,
    range: RangeInclusive<i64>,
) -> Result<(), Corrupt> {
    let (mut stretches, mut starts) = (Vec::new(), Vec::new());
    for (chunks, column) in lists {
        let Column { times, values, starts: of_column, .. } = column;
        stretches.push(Stretch { chunks, times, values });
        starts.push(of_column);
    }
    lanes::decode(&mut stretches, range)?;
    for (starts, stretch) in starts.into_iter().zip(stretches).filter(|(starts, _)| !starts.is_empty()) {
        starts.resize(stretch.times.len(), 0);
    }
    Ok(())
}

/// Appends the samples of chunks that follow each other and of which no two overlap, as [`decode`] does one by one but faster.
///
/// Tells `failed` which chunk, by its place, is damaged; the others' samples are there all the same.
pub fn decode_run(chunks: &[(Encoding, &[u8])], range: RangeInclusive<i64>, column: &mut Column, mut failed: impl FnMut(usize, Corrupt)) {
    let mut at = 0;
    for run in chunks.chunk_by(|a, b| a.0 == Encoding::Xor && b.0 == Encoding::Xor) {
        let together: Vec<&[u8]> = run.iter().map(|(_, bytes)| *bytes).collect();
        let done = run.len() > 1 && decode_several([(together.as_slice(), &mut *column)], range.clone()).is_ok();
        for (encoding, bytes) in run.iter().filter(|_| !done) {
            if let Err(corrupt) = decode(*encoding, bytes, range.clone(), column) {
                failed(at, corrupt);
            }
            at += 1;
        }
        at += if done { run.len() } else { 0 };
    }
}

fn decode_histograms<H: Shape>(encoding: Encoding, bytes: &[u8], range: RangeInclusive<i64>, column: &mut Column) -> Result<(), Corrupt> {
    let (samples_before, histograms_before, had_starts) = (column.times.len(), column.histograms.len(), !column.starts.is_empty());
    let mut run = || {
        let mut decoder = Decoder::<H>::new(encoding, bytes)?;
        while decoder.next()? {
            let time = decoder.progress.time;
            if time > *range.end() {
                break;
            }
            if time >= *range.start() {
                column.push_histogram(Timestamp(time), Arc::new(decoder.float_histogram()?));
                column.set_start(Timestamp(decoder.start()));
            }
        }
        Ok(())
    };
    let result = run();
    if result.is_err() {
        column.times.truncate(samples_before);
        column.values.truncate(samples_before);
        column.histograms.truncate(histograms_before);
        column.starts.truncate(if had_starts { samples_before } else { 0 });
    }
    result
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
        Encoding::Histogram | Encoding::HistogramSt => histogram_samples(encoding, bytes, |start, time, histogram| {
            each(Sample { start, time, value: Value::Histogram(Arc::new(histogram)) });
        }),
        Encoding::FloatHistogram | Encoding::FloatHistogramSt => histogram_samples(encoding, bytes, |start, time, histogram| {
            each(Sample { start, time, value: Value::FloatHistogram(Arc::new(histogram)) });
        }),
        Encoding::Xor2 => xor2::samples(bytes, |start, time, value| each(Sample { start, time, value: Value::Float(value) })),
    }
}

fn histogram_samples<H: Shape>(encoding: Encoding, bytes: &[u8], mut each: impl FnMut(i64, i64, H)) -> Result<(), Corrupt> {
    let mut decoder = Decoder::<H>::new(encoding, bytes)?;
    while decoder.next()? {
        each(decoder.start(), decoder.progress.time, decoder.histogram()?);
    }
    Ok(())
}
