//! `prometheus.WriteRequest`, read in place.
//!
//! | message | field | type | meaning |
//! |---|---|---|---|
//! | WriteRequest | 1 | TimeSeries, repeated | the series |
//! | TimeSeries | 1 | Label, repeated | field 1 name, 2 value |
//! | TimeSeries | 2 | Sample, repeated | field 1 double value, 2 int64 milliseconds |
//! | TimeSeries | 3 | Exemplar, repeated | field 1 Label repeated, 2 double value, 3 int64 milliseconds |
//! | TimeSeries | 4 | Histogram, repeated | see [`crate::histogram`] |
//!
//! Metadata (WriteRequest 3) is read over, as Prometheus does.

use crate::wire::{WireError, next_field, varint};
use model::exemplar::EXEMPLAR_CHARS_MAX;
use model::labels::METRIC_NAME;
use model::{Exemplar, Labels, Timestamp};

/// Calls `each` with the bytes of every series.
pub(crate) fn each_series<'a>(mut request: &'a [u8], mut each: impl FnMut(&'a [u8]) -> Result<(), WireError>) -> Result<(), WireError> {
    while let Some((field, value)) = next_field(&mut request)? {
        match field {
            1 => each(value.bytes(1)?)?,
            3 => drop(value.bytes(3)?),
            _ => {}
        }
    }
    Ok(())
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub time: Timestamp,
    pub value: f64,
}

/// What a series holds beside its samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents<'a> {
    /// The bytes from its first label's field to the end of its last one: the same for the same
    /// series of the same sender, hence what the cache knows it by.
    pub label_bytes: &'a [u8],
    /// The label fields do not stand together, so that `label_bytes` holds samples too.
    pub scattered: bool,
}

/// What few series have; still a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rare<'a> {
    Exemplar(&'a [u8]),
    Histogram(&'a [u8]),
}

/// Reads a series; its samples go to `each_sample`, exemplars and histograms to `rare`.
#[inline]
pub(crate) fn series<'a>(
    series: &'a [u8],
    mut each_sample: impl FnMut(Sample),
    rare: &mut Vec<Rare<'a>>,
) -> Result<Contents<'a>, WireError> {
    let mut label_end = plain_labels_len(series);
    let mut label_start = (label_end > 0).then_some(0);
    let mut rest = &series[label_end..];
    let mut contents = Contents { label_bytes: &[], scattered: false };
    loop {
        let start = series.len() - rest.len();
        let Some((field, value)) = next_field(&mut rest)? else { break };
        match field {
            1 => {
                value.bytes(1)?;
                contents.scattered |= label_start.is_some() && label_end != start;
                label_start.get_or_insert(start);
                label_end = series.len() - rest.len();
            }
            2 => {
                let message = value.bytes(2)?;
                let sample = plain_sample(message).map_or_else(|| sample(message), Ok);
                each_sample(sample?);
            }
            3 => rare.push(Rare::Exemplar(value.bytes(3)?)),
            4 => rare.push(Rare::Histogram(value.bytes(4)?)),
            _ => {}
        }
    }
    contents.label_bytes = &series[label_start.unwrap_or(0)..label_end];
    Ok(contents)
}

/// How many bytes at the front are labels of less than 128 bytes each: as senders write them, labels first. What else
/// there is takes the general way, and so does what is no message.
#[inline]
fn plain_labels_len(series: &[u8]) -> usize {
    let mut len = 0;
    while let [0x0a, label_len @ 0..0x80, rest @ ..] = &series[len..]
        && usize::from(*label_len) <= rest.len()
    {
        len += 2 + usize::from(*label_len);
    }
    len
}

/// A sample as senders write it: the value, then the time, and nothing else. `None`: it takes the general way.
#[inline]
fn plain_sample(message: &[u8]) -> Option<Sample> {
    let ([0x09, value @ .., 0x10], mut time) = message.split_first_chunk::<10>()? else { return None };
    let value = f64::from_le_bytes(*value.first_chunk::<8>()?);
    let time = varint(&mut time).ok().filter(|_| time.is_empty())?;
    Some(Sample { time: Timestamp(time.cast_signed()), value })
}

#[inline]
fn sample(mut message: &[u8]) -> Result<Sample, WireError> {
    let mut sample = Sample { time: Timestamp(0), value: 0.0 };
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => sample.value = value.double(1)?,
            2 => sample.time = Timestamp(value.int64(2)?),
            _ => {}
        }
    }
    Ok(sample)
}

/// The label set of a series that [`series`] has read. `None` if it is one that Prometheus skips in
/// silence: no or an empty metric name, an empty name, a name twice, text that is not UTF-8.
///
/// # Errors
/// When a label is no message. Only here: bytes that the cache knows have passed this before.
pub(crate) fn labels(series: &[u8]) -> Result<Option<Labels>, WireError> {
    let mut raw: Vec<(&[u8], &[u8])> = Vec::with_capacity(16);
    let mut rest = series;
    while let Some((field, value)) = next_field(&mut rest)? {
        if field != 1 {
            continue;
        }
        raw.push(label(value.bytes(1)?)?);
    }
    Ok(tidy(&raw))
}

fn label(mut message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut name, mut text): (&[u8], &[u8]) = (&[], &[]);
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => name = value.bytes(1)?,
            2 => text = value.bytes(2)?,
            _ => {}
        }
    }
    Ok((name, text))
}

/// Reads an exemplar. `None` if its labels are no text or longer than an exemplar's may be together: these are dropped in silence.
pub(crate) fn exemplar(mut message: &[u8]) -> Result<Option<Exemplar>, WireError> {
    let mut raw = Vec::new();
    let (mut number, mut timestamp) = (0.0, Timestamp(0));
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => raw.push(label(value.bytes(1)?)?),
            2 => number = value.double(2)?,
            3 => timestamp = Timestamp(value.int64(3)?),
            _ => {}
        }
    }
    Ok(exemplar_labels(&raw).map(|labels| Exemplar { labels, value: number, timestamp, has_timestamp: timestamp.0 != 0 }))
}

/// The labels of an exemplar; `None` as for [`exemplar`].
pub(crate) fn exemplar_labels(raw: &[(&[u8], &[u8])]) -> Option<Labels> {
    let mut pairs = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        pairs.push((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?));
    }
    let chars: usize =
        pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    (chars <= EXEMPLAR_CHARS_MAX).then(|| Labels::from_pairs(pairs))
}

/// Label pairs as one label set. `None` as for [`labels`].
pub(crate) fn tidy(raw: &[(&[u8], &[u8])]) -> Option<Labels> {
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
        pairs.push((name, std::str::from_utf8(value).ok()?));
    }
    pairs.sort_unstable_by_key(|(name, _)| *name);
    // Labels without a value count here, and vanish only then.
    if pairs.windows(2).any(|two| two[0].0 == two[1].0) || !pairs.iter().any(|(n, v)| *n == METRIC_NAME && !v.is_empty()) {
        return None;
    }
    Some(Labels::from_sorted(pairs.into_iter().filter(|(_, value)| !value.is_empty())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The general way gives the same as the short one, for each way to write a sample.
    #[test]
    fn plain_samples_are_samples() {
        let value = 1.5f64.to_le_bytes();
        let written = |order: &[&[u8]]| order.concat();
        let value_field = written(&[&[0x09], &value]);
        for (message, plain) in [
            (written(&[&value_field, &[0x10, 0x96, 0x01]]), true),
            (written(&[&value_field, &[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]]), true),
            (written(&[&value_field, &[0x10, 0]]), true),
            (written(&[&[0x10, 7], &value_field]), false),
            (value_field.clone(), false),
            (written(&[&value_field, &[0x10, 7, 0x10, 8]]), false),
            (written(&[&value_field, &[0x10, 7, 0x18, 8]]), false),
            (Vec::new(), false),
        ] {
            let general = sample(&message).unwrap();
            assert_eq!(plain_sample(&message), plain.then_some(general), "{message:?}");
        }
        assert_eq!(plain_sample(&written(&[&value_field, &[0x10, 0x96]])), None);
    }

    #[test]
    fn labels_are_found_however_they_are_written() {
        let sample: &[u8] = &[0x12, 2, 0x10, 7];
        let short: &[u8] = &[0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
        // The same length in two bytes.
        let long: &[u8] = &[0x0a, 0x86, 0, 0x0a, 1, b'a', 0x12, 1, b'b'];
        for (parts, label_len, scattered) in [
            (vec![short, sample], 8, false),
            (vec![short, short, sample], 16, false),
            (vec![short, long, sample], 17, false),
            (vec![long, short, sample], 17, false),
            (vec![sample, short], 8, false),
            (vec![sample], 0, false),
            (vec![short, sample, short], 20, true),
            (vec![sample, short, sample, long], 21, true),
        ] {
            let bytes = parts.concat();
            let mut count = 0;
            let contents = series(&bytes, |_| count += 1, &mut Vec::new()).unwrap();
            assert_eq!((contents.label_bytes.len(), contents.scattered), (label_len, scattered), "{bytes:?}");
            assert_eq!(count, parts.iter().filter(|part| **part == sample).count());
        }
        assert!(series(&[0x0a, 9, 1], |_| {}, &mut Vec::new()).is_err());
        assert!(series(&[0x0a], |_| {}, &mut Vec::new()).is_err());
    }
}
