//! Records of the write-ahead log: what one record says, encoded and decoded.
//!
//! Encoding appends to a buffer of the caller's and allocates nothing itself. Decoding checks every length against what
//! is left, and hands what it finds to a visitor, so that replay decides what to keep. Layouts: docs/formats.md.
//!
//! # Invariants
//! - What an encoder wrote, its decoder gives back.
//! - Any bytes decode without panic; what was visited before an error was well-formed in itself.

use model::MetricType;
use storage::SeriesRef;

/// What a record holds, by its first byte.
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
    /// Types, units and help texts of series.
    Metadata,
    /// Out-of-order chunks that were mapped; only in `wbl/`, nothing is lost by skipping them.
    MmapMarkers,
    /// Known, but not read yet: a directory with such records must be refused rather than half read.
    Unread(Unread),
}

/// Kinds of record that hold samples which we cannot read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unread {
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
    /// Native histograms with start timestamps.
    HistogramsV2,
    /// Native histograms with float counts and start timestamps.
    FloatHistogramsV2,
}

impl Unread {
    /// The kind's name as Prometheus prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Histograms => "histogram_samples",
            Self::FloatHistograms => "float_histogram_samples",
            Self::CustomBucketsHistograms => "custom_buckets_histogram_samples",
            Self::CustomBucketsFloatHistograms => "custom_buckets_float_histogram_samples",
            Self::SamplesV2 => "samples_v2",
            Self::HistogramsV2 => "histogram_samples_v2",
            Self::FloatHistogramsV2 => "float_histogram_samples_v2",
        }
    }
}

/// A record that does not hold what its kind promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first byte is no known kind.
    #[error("unknown record type {0}")]
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

/// What kind of record these bytes are.
///
/// # Errors
/// [`Malformed::Empty`], or [`Malformed::Kind`] for a byte that no Prometheus up to 3.14 writes.
pub fn kind(record: &[u8]) -> Result<Kind, Malformed> {
    Ok(match *record.first().ok_or(Malformed::Empty)? {
        SERIES => Kind::Series,
        SAMPLES => Kind::Samples,
        TOMBSTONES => Kind::Tombstones,
        EXEMPLARS => Kind::Exemplars,
        MMAP_MARKERS => Kind::MmapMarkers,
        METADATA => Kind::Metadata,
        7 => Kind::Unread(Unread::Histograms),
        8 => Kind::Unread(Unread::FloatHistograms),
        9 => Kind::Unread(Unread::CustomBucketsHistograms),
        10 => Kind::Unread(Unread::CustomBucketsFloatHistograms),
        11 => Kind::Unread(Unread::SamplesV2),
        12 => Kind::Unread(Unread::HistogramsV2),
        13 => Kind::Unread(Unread::FloatHistogramsV2),
        other => return Err(Malformed::Kind(other)),
    })
}

/// Writes one series record into a buffer. Nothing is written before the first push.
pub struct SeriesEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> SeriesEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// Adds a series; labels in order of their names.
    pub fn push<'l>(&mut self, series: SeriesRef, labels: impl ExactSizeIterator<Item = (&'l str, &'l str)>) {
        if !self.begun {
            self.to.push(SERIES);
            self.begun = true;
        }
        self.to.extend_from_slice(&series.0.to_be_bytes());
        put_labels(self.to, labels);
    }
}

/// Writes one record of float samples into a buffer. Nothing is written before the first push.
pub struct SamplesEncoder<'a> {
    to: &'a mut Vec<u8>,
    base: Option<(SeriesRef, i64)>,
}

impl<'a> SamplesEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, base: None }
    }

    /// Adds a sample. Refs and times near those of the first one take the fewest bytes.
    #[inline]
    pub fn push(&mut self, series: SeriesRef, time: i64, value: f64) {
        put_sample(self.to, SAMPLES, &mut self.base, series, time, value);
    }
}

/// Writes one tombstones record into a buffer. Nothing is written before the first push.
pub struct TombstonesEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> TombstonesEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// Adds the deletion of a series' samples from `min_time` to `max_time`, both included.
    pub fn push(&mut self, series: SeriesRef, min_time: i64, max_time: i64) {
        if !self.begun {
            self.to.push(TOMBSTONES);
            self.begun = true;
        }
        self.to.extend_from_slice(&series.0.to_be_bytes());
        put_varint(self.to, min_time);
        put_varint(self.to, max_time);
    }
}

/// Writes one record of exemplars into a buffer. Nothing is written before the first push.
pub struct ExemplarsEncoder<'a> {
    to: &'a mut Vec<u8>,
    base: Option<(SeriesRef, i64)>,
}

impl<'a> ExemplarsEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, base: None }
    }

    /// Adds an exemplar of a series.
    pub fn push<'l>(&mut self, series: SeriesRef, time: i64, value: f64, labels: impl ExactSizeIterator<Item = (&'l str, &'l str)>) {
        put_sample(self.to, EXEMPLARS, &mut self.base, series, time, value);
        put_labels(self.to, labels);
    }
}

/// Writes one metadata record into a buffer. Nothing is written before the first push.
pub struct MetadataEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> MetadataEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// Adds the metadata of a series, which replaces what earlier records said.
    pub fn push(&mut self, series: SeriesRef, metric_type: MetricType, unit: &str, help: &str) {
        if !self.begun {
            self.to.push(METADATA);
            self.begun = true;
        }
        put_uvarint(self.to, series.0);
        self.to.push(metric_type_byte(metric_type));
        let fields = [(UNIT_FIELD, unit), (HELP_FIELD, help)];
        put_labels(self.to, fields.into_iter());
    }
}

const UNIT_FIELD: &str = "UNIT";
const HELP_FIELD: &str = "HELP";

/// Visits the series of a series record: ref and labels in the order they were written.
///
/// # Errors
/// [`Malformed`], after the series before the fault were visited.
pub fn decode_series<'r>(record: &'r [u8], mut visit: impl FnMut(SeriesRef, &[(&'r str, &'r str)])) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, SERIES)?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let series = SeriesRef(rest.u64("series ref")?);
        rest.labels(&mut labels)?;
        visit(series, &labels);
    }
    Ok(())
}

/// Visits the samples of a samples record: ref, time, value.
///
/// # Errors
/// [`Malformed`], after the samples before the fault were visited.
pub fn decode_samples(record: &[u8], mut visit: impl FnMut(SeriesRef, i64, f64)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, SAMPLES)?;
    let Some(base) = rest.base()? else { return Ok(()) };
    while !rest.is_empty() {
        let (series, time, value) = rest.sample(base)?;
        visit(series, time, value);
    }
    Ok(())
}

/// Visits the deletions of a tombstones record: ref, first and last time.
///
/// # Errors
/// [`Malformed`], after the deletions before the fault were visited.
pub fn decode_tombstones(record: &[u8], mut visit: impl FnMut(SeriesRef, i64, i64)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, TOMBSTONES)?;
    while !rest.is_empty() {
        let series = SeriesRef(rest.u64("tombstone ref")?);
        let (min_time, max_time) = (rest.varint("tombstone")?, rest.varint("tombstone")?);
        visit(series, min_time, max_time);
    }
    Ok(())
}

/// Visits the exemplars of an exemplars record: ref, time, value, labels.
///
/// # Errors
/// [`Malformed`], after the exemplars before the fault were visited.
pub fn decode_exemplars<'r>(record: &'r [u8], mut visit: impl FnMut(SeriesRef, i64, f64, &[(&'r str, &'r str)])) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, EXEMPLARS)?;
    let Some(base) = rest.base()? else { return Ok(()) };
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (series, time, value) = rest.sample(base)?;
        rest.labels(&mut labels)?;
        visit(series, time, value, &labels);
    }
    Ok(())
}

/// Visits the entries of a metadata record: ref, type, unit, help. Fields of other names are skipped.
///
/// # Errors
/// [`Malformed`], after the entries before the fault were visited.
pub fn decode_metadata<'r>(record: &'r [u8], mut visit: impl FnMut(SeriesRef, MetricType, &'r str, &'r str)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, METADATA)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let series = SeriesRef(rest.uvarint("metadata ref")?);
        let metric_type = metric_type_of(rest.u8("metadata type")?);
        rest.labels(&mut fields)?;
        let field = |wanted: &str| fields.iter().rev().find(|(name, _)| *name == wanted).map_or("", |(_, value)| *value);
        visit(series, metric_type, field(UNIT_FIELD), field(HELP_FIELD));
    }
    Ok(())
}

fn metric_type_byte(metric_type: MetricType) -> u8 {
    match metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}

fn metric_type_of(byte: u8) -> MetricType {
    match byte {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

#[inline]
fn put_sample(to: &mut Vec<u8>, kind: u8, base: &mut Option<(SeriesRef, i64)>, series: SeriesRef, time: i64, value: f64) {
    let (base_series, base_time) = *base.get_or_insert_with(|| {
        to.push(kind);
        to.extend_from_slice(&series.0.to_be_bytes());
        to.extend_from_slice(&time.to_be_bytes());
        (series, time)
    });
    let series_delta = zigzag(series.0.wrapping_sub(base_series.0) as i64);
    let time_delta = zigzag(time.wrapping_sub(base_time));
    // A scrape's rows differ from the first by a small ref and no time: three bytes and the value, put down at once.
    if series_delta < 1 << 14 && time_delta < 1 << 7 {
        let mut row = [0; 16];
        let len = if series_delta < 1 << 7 {
            row[0] = series_delta as u8;
            row[1] = time_delta as u8;
            row[2..10].copy_from_slice(&value.to_bits().to_be_bytes());
            10
        } else {
            row[0] = series_delta as u8 | 0x80;
            row[1] = (series_delta >> 7) as u8;
            row[2] = time_delta as u8;
            row[3..11].copy_from_slice(&value.to_bits().to_be_bytes());
            11
        };
        let end = to.len() + len;
        to.extend_from_slice(&row);
        to.truncate(end);
        return;
    }
    put_uvarint(to, series_delta);
    put_uvarint(to, time_delta);
    to.extend_from_slice(&value.to_bits().to_be_bytes());
}

fn put_labels<'l>(to: &mut Vec<u8>, labels: impl ExactSizeIterator<Item = (&'l str, &'l str)>) {
    put_uvarint(to, labels.len() as u64);
    for (name, value) in labels {
        put_text(to, name);
        put_text(to, value);
    }
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_uvarint(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_varint(to: &mut Vec<u8>, value: i64) {
    put_uvarint(to, zigzag(value));
}

fn put_uvarint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// What of a record has not been read.
struct Rest<'r>(&'r [u8]);

impl<'r> Rest<'r> {
    fn of(record: &'r [u8], kind: u8) -> Result<Self, Malformed> {
        match record.split_first() {
            None => Err(Malformed::Empty),
            Some((found, rest)) if *found == kind => Ok(Self(rest)),
            Some((found, _)) => Err(Malformed::Kind(*found)),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First ref and time of a record of samples; none if the record has no samples.
    fn base(&mut self) -> Result<Option<(u64, i64)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.u64("first ref")?, self.u64("first time")? as i64)))
    }

    #[inline]
    fn sample(&mut self, base: (u64, i64)) -> Result<(SeriesRef, i64, f64), Malformed> {
        let series = base.0.wrapping_add(self.varint("sample")? as u64);
        let time = base.1.wrapping_add(self.varint("sample")?);
        Ok((SeriesRef(series), time, f64::from_bits(self.u64("sample")?)))
    }

    fn labels(&mut self, labels: &mut Vec<(&'r str, &'r str)>) -> Result<(), Malformed> {
        labels.clear();
        for _ in 0..self.uvarint("count of labels")? {
            let name = self.text("label name")?;
            labels.push((name, self.text("label value")?));
        }
        Ok(())
    }

    fn text(&mut self, what: &'static str) -> Result<&'r str, Malformed> {
        let len = usize::try_from(self.uvarint(what)?).map_err(|_| Malformed::Short(what))?;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short(what))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Malformed::Text(what))
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(*byte)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    fn varint(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let zigzag = self.uvarint(what)?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    fn uvarint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Number(what))
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
