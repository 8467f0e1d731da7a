//! Samples that passed the check as records of a log.
//!
//! Within one commit a series' samples of one kind stand in one record, in order. Records of floats come before those of
//! histograms, so a series with a float after a histogram needs a second *round* of records: replay must not find the float first.

use super::commit::{Accepted, AcceptedValue};
use crate::chunk::{Sample, Value};
use crate::wal::Records;
use crate::wal::record::{Buckets, HistogramsEncoder, Layout, MmapMarkersEncoder, SamplesEncoder, SamplesV2Encoder};
use storage::SeriesRef;

/// Adds the records of some accepted rows.
pub(super) fn add(records: &mut Records, accepted: &[Accepted], others: &[Sample], with_starts: bool) {
    let rounds = accepted.iter().map(|row| row.round).max().unwrap_or(0);
    for round in 0..=rounds {
        let rows = || accepted.iter().filter(move |row| row.round == round);
        let float = |row: &Accepted| match row.value {
            AcceptedValue::Float(value) => Some(value),
            AcceptedValue::Other(_) => None,
        };
        records.add(|bytes| {
            if with_starts {
                let mut encoder = SamplesV2Encoder::start(bytes);
                for row in rows() {
                    if let Some(value) = float(row) {
                        encoder.push(row.series_ref, row.start, row.time, value);
                    }
                }
            } else {
                let mut encoder = SamplesEncoder::start(bytes);
                for row in rows() {
                    if let Some(value) = float(row) {
                        encoder.push(row.series_ref, row.time, value);
                    }
                }
            }
        });
        if !others.is_empty() {
            let samples = || {
                rows().filter_map(|row| match row.value {
                    AcceptedValue::Other(at) => Some((row.series_ref, others.get(at as usize)?)),
                    AcceptedValue::Float(_) => None,
                })
            };
            add_others(records, samples, with_starts);
        }
    }
}

fn add_others<'s, I: Iterator<Item = (SeriesRef, &'s Sample)>>(records: &mut Records, samples: impl Fn() -> I, with_starts: bool) {
    add_kind(records, &samples, with_starts, |sample| match &sample.value {
        Value::Histogram(histogram) => Some(&**histogram),
        _ => None,
    });
    add_kind(records, &samples, with_starts, |sample| match &sample.value {
        Value::FloatHistogram(histogram) => Some(&**histogram),
        _ => None,
    });
}

fn add_kind<'s, H: Buckets + 's, I: Iterator<Item = (SeriesRef, &'s Sample)>>(
    records: &mut Records,
    samples: &impl Fn() -> I,
    with_starts: bool,
    of_kind: impl Fn(&'s Sample) -> Option<&'s H>,
) {
    let mut add = |layout: Layout, wanted: &dyn Fn(&H) -> bool| {
        records.add(|bytes| {
            let mut encoder = HistogramsEncoder::start(bytes, layout);
            for (series_ref, sample) in samples() {
                if let Some(histogram) = of_kind(sample).filter(|histogram| wanted(histogram)) {
                    encoder.push(series_ref, sample.start, sample.time, histogram);
                }
            }
        });
    };
    if with_starts {
        add(Layout::WithStarts, &|_| true);
    } else {
        add(Layout::Exponential, &|histogram| !histogram.has_custom_buckets());
        add(Layout::CustomBuckets, &Buckets::has_custom_buckets);
    }
}

/// Adds the records of out-of-order samples, as they were inserted one after another.
pub(super) fn add_late(records: &mut Records, samples: &[(SeriesRef, Sample)], with_starts: bool) {
    let mut rest = samples;
    // Runs of one kind, so that the order of insertion is kept.
    while let Some(((_, first), _)) = rest.split_first() {
        let kind = std::mem::discriminant(&first.value);
        let len = rest.iter().take_while(|(_, sample)| std::mem::discriminant(&sample.value) == kind).count();
        let (run, later) = rest.split_at(len);
        rest = later;
        if let Value::Float(_) = first.value {
            let floats = || {
                run.iter().filter_map(|(series_ref, sample)| match sample.value {
                    Value::Float(value) => Some((*series_ref, sample.start, sample.time, value)),
                    _ => None,
                })
            };
            records.add(|bytes| {
                if with_starts {
                    let mut encoder = SamplesV2Encoder::start(bytes);
                    floats().for_each(|(series_ref, start, time, value)| encoder.push(series_ref, start, time, value));
                } else {
                    let mut encoder = SamplesEncoder::start(bytes);
                    floats().for_each(|(series_ref, _, time, value)| encoder.push(series_ref, time, value));
                }
            });
        } else {
            add_others(records, || run.iter().map(|(series_ref, sample)| (*series_ref, sample)), with_starts);
        }
    }
}

/// Adds a record that says which chunks out-of-order samples before it have gone to.
pub(super) fn add_markers(records: &mut Records, markers: &[(SeriesRef, u64)]) {
    records.add(|bytes| {
        let mut encoder = MmapMarkersEncoder::start(bytes);
        for (series_ref, place) in markers {
            encoder.push(*series_ref, *place);
        }
    });
}

/// The place of a value's record among those of a round.
pub(super) fn rank_of(value: &Value) -> u8 {
    match value {
        Value::Float(_) => 0,
        Value::Histogram(histogram) => 1 + u8::from(histogram.has_custom_buckets()),
        Value::FloatHistogram(histogram) => 3 + u8::from(histogram.has_custom_buckets()),
    }
}
