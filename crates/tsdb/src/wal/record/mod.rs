//! Records of the write-ahead log: what one record says, encoded and decoded.
//!
//! Encoding appends to a buffer of the caller's and allocates nothing itself. Decoding checks every length against what
//! is left, and hands what it finds to a visitor, so that replay decides what to keep. Layouts: docs/formats.md.
//!
//! # Invariants
//! - What an encoder wrote, its decoder gives back.
//! - Any bytes decode without panic; what was visited before an error was well-formed in itself.
//! - Decoding allocates at most a few times the record's own length.

mod deletions;
mod histograms;
mod samples;
mod series;
mod wire;

pub use deletions::{MmapMarkersEncoder, TombstonesEncoder, decode_mmap_markers, decode_tombstones};
pub use histograms::{Buckets, HistogramsEncoder, Layout, decode_histograms};
pub use samples::{ExemplarsEncoder, SamplesEncoder, SamplesV2Encoder, decode_exemplars, decode_samples, decode_samples_v2};
pub use series::{MetadataEncoder, SeriesEncoder, decode_metadata, decode_series, decode_series_rows};

/// What a record holds, by its first byte. The names are those of Prometheus's constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The labels of new series.
    Series,
    /// Float samples.
    Samples,
    /// Deleted time ranges.
    Tombstones,
    /// Exemplars.
    Exemplars,
    /// Out-of-order chunks that were mapped; only in `wbl/`, nothing is lost by skipping them.
    MmapMarkers,
    /// Types, units and help texts of series.
    Metadata,
    /// Native histograms.
    Histograms,
    /// Native histograms with float counts.
    FloatHistograms,
    /// Native histograms with custom buckets.
    CustomBucketsHistograms,
    /// Native histograms with custom buckets and float counts.
    CustomBucketsFloatHistograms,
    /// Float samples with start timestamps.
    SamplesV2,
    /// Native histograms, also of custom buckets, with start timestamps.
    HistogramsV2,
    /// Native histograms with float counts, also of custom buckets, with start timestamps.
    FloatHistogramsV2,
    /// A byte that no Prometheus up to 3.14 writes: to be skipped and counted.
    Unknown(u8),
}

impl Kind {
    /// The kind's name as Prometheus prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Samples => "samples",
            Self::Tombstones => "tombstones",
            Self::Exemplars => "exemplars",
            Self::MmapMarkers => "mmapmarkers",
            Self::Metadata => "metadata",
            Self::Histograms => "histogram_samples",
            Self::FloatHistograms => "float_histogram_samples",
            Self::CustomBucketsHistograms => "custom_buckets_histogram_samples",
            Self::CustomBucketsFloatHistograms => "custom_buckets_float_histogram_samples",
            Self::SamplesV2 => "samples_v2",
            Self::HistogramsV2 => "histogram_samples_v2",
            Self::FloatHistogramsV2 => "float_histogram_samples_v2",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The record's first byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Series => SERIES,
            Self::Samples => SAMPLES,
            Self::Tombstones => TOMBSTONES,
            Self::Exemplars => EXEMPLARS,
            Self::MmapMarkers => MMAP_MARKERS,
            Self::Metadata => METADATA,
            Self::Histograms => HISTOGRAMS,
            Self::FloatHistograms => FLOAT_HISTOGRAMS,
            Self::CustomBucketsHistograms => CUSTOM_BUCKETS_HISTOGRAMS,
            Self::CustomBucketsFloatHistograms => CUSTOM_BUCKETS_FLOAT_HISTOGRAMS,
            Self::SamplesV2 => SAMPLES_V2,
            Self::HistogramsV2 => HISTOGRAMS_V2,
            Self::FloatHistogramsV2 => FLOAT_HISTOGRAMS_V2,
            Self::Unknown(byte) => byte,
        }
    }
}

/// A record that does not hold what its kind promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first byte is not that of the kind to be decoded.
    #[error("invalid record type {0}")]
    Kind(u8),
    /// No bytes at all.
    #[error("empty record")]
    Empty,
    /// The record ends within an item.
    #[error("record ends within {0}")]
    Short(&'static str),
    /// A number takes more than 64 bits.
    #[error("number of more than 64 bits in {0}")]
    Number(&'static str),
    /// Text that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    Text(&'static str),
}

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const TOMBSTONES: u8 = 3;
const EXEMPLARS: u8 = 4;
const MMAP_MARKERS: u8 = 5;
const METADATA: u8 = 6;
const HISTOGRAMS: u8 = 7;
const FLOAT_HISTOGRAMS: u8 = 8;
const CUSTOM_BUCKETS_HISTOGRAMS: u8 = 9;
const CUSTOM_BUCKETS_FLOAT_HISTOGRAMS: u8 = 10;
const SAMPLES_V2: u8 = 11;
const HISTOGRAMS_V2: u8 = 12;
const FLOAT_HISTOGRAMS_V2: u8 = 13;

/// What kind of record these bytes are.
///
/// # Errors
/// [`Malformed::Empty`].
pub fn kind(record: &[u8]) -> Result<Kind, Malformed> {
    Ok(match *record.first().ok_or(Malformed::Empty)? {
        SERIES => Kind::Series,
        SAMPLES => Kind::Samples,
        TOMBSTONES => Kind::Tombstones,
        EXEMPLARS => Kind::Exemplars,
        MMAP_MARKERS => Kind::MmapMarkers,
        METADATA => Kind::Metadata,
        HISTOGRAMS => Kind::Histograms,
        FLOAT_HISTOGRAMS => Kind::FloatHistograms,
        CUSTOM_BUCKETS_HISTOGRAMS => Kind::CustomBucketsHistograms,
        CUSTOM_BUCKETS_FLOAT_HISTOGRAMS => Kind::CustomBucketsFloatHistograms,
        SAMPLES_V2 => Kind::SamplesV2,
        HISTOGRAMS_V2 => Kind::HistogramsV2,
        FLOAT_HISTOGRAMS_V2 => Kind::FloatHistogramsV2,
        other => Kind::Unknown(other),
    })
}

#[cfg(test)]
mod tests;
