//! Records of float samples, without and with start timestamps, and of exemplars.

use super::wire::{FollowUp, Rest, Starts, put_labels, put_uvarint, zigzag};
use super::{EXEMPLARS, Malformed, SAMPLES, SAMPLES_V2};
use storage::SeriesRef;

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

/// Visits the samples of a samples record: ref, time, value.
///
/// # Errors
/// [`Malformed`], after the samples before the fault were visited.
#[inline]
pub fn decode_samples(record: &[u8], mut visit: impl FnMut(SeriesRef, i64, f64)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, SAMPLES)?;
    let Some(base) = rest.base()? else { return Ok(()) };
    while !rest.is_empty() {
        let (series, time, value) = rest.sample(base)?;
        visit(series, time, value);
    }
    Ok(())
}

/// Writes one record of float samples with start timestamps into a buffer. Nothing is written before the first push.
///
/// Versions of Prometheus that do not know start timestamps skip such records.
pub struct SamplesV2Encoder<'a> {
    to: &'a mut Vec<u8>,
    starts: Option<Starts>,
}

impl<'a> SamplesV2Encoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, starts: None }
    }

    /// Adds a sample; a `start` of 0 is none.
    #[inline]
    pub fn push(&mut self, series: SeriesRef, start: i64, time: i64, value: f64) {
        FollowUp { series, start, time }.put(self.to, SAMPLES_V2, &mut self.starts);
        self.to.extend_from_slice(&value.to_bits().to_be_bytes());
    }
}

/// Visits the samples of a record with start timestamps: ref, start (0 is none), time, value.
///
/// # Errors
/// [`Malformed`], after the samples before the fault were visited.
#[inline]
pub fn decode_samples_v2(record: &[u8], mut visit: impl FnMut(SeriesRef, i64, i64, f64)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, SAMPLES_V2)?;
    let mut starts = None;
    while !rest.is_empty() {
        let FollowUp { series, start, time } = FollowUp::read(&mut rest, &mut starts)?;
        visit(series, start, time, f64::from_bits(rest.u64("sample")?));
    }
    Ok(())
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
