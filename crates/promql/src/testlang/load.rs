//! `load` blocks: series with their values, start timestamps, and native histograms made of classic ones.

use super::duration;
use super::store::{Loaded, LoadedValue, ScriptStore};
use crate::parser::SequenceValue;
use model::histogram::{SCHEMA_CUSTOM, Span};
use model::{FloatHistogram, Labels, LabelsBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Loads a block. With `custom` classic histograms are stored as native ones besides.
pub(super) fn load(store: &mut impl ScriptStore, block: &[&str], step: i64, custom: bool) -> Result<(), String> {
    let mut all: BTreeMap<Labels, Vec<Loaded>> = BTreeMap::new();
    let mut errors = Vec::new();
    let mut starts = None;
    for line in block {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if let Some(name) = name.strip_suffix("@st") {
            match start_offsets(rest) {
                Ok(offsets) => starts = Some((name, offsets)),
                Err(error) => errors.push(format!("{line}: {error}")),
            }
            continue;
        }
        let offsets = starts.take().map(|(_, offsets)| offsets);
        match crate::parse_series_description(line) {
            Ok((labels, values)) => {
                all.insert(labels, samples(&values, step, offsets.as_deref()));
            }
            Err(error) => errors.push(format!("{line}: {error:?}")),
        }
    }
    if custom {
        all.extend(custom_histograms(&all)?);
    }
    if let Err(error) = store.load(all.into_iter().collect()) {
        errors.push(error);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

fn samples(values: &[SequenceValue], step: i64, offsets: Option<&[Option<i64>]>) -> Vec<Loaded> {
    let stored = |(i, value): (usize, &SequenceValue)| {
        let time = i as i64 * step;
        let value = match value {
            SequenceValue::Omitted => return None,
            SequenceValue::Float(value) => LoadedValue::Float(*value),
            SequenceValue::Histogram { histogram, .. } => LoadedValue::Histogram(histogram.clone()),
        };
        let offset = offsets.and_then(|offsets| offsets.get(i).copied().flatten());
        Some(Loaded { time, start: offset.map_or(0, |offset| time + offset), value })
    };
    values.iter().enumerate().filter_map(stored).collect()
}

/// `_`, `_xN`, `D`, `DxN`, `D+ExN`, `D-ExN`: milliseconds before or after each sample.
fn start_offsets(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut offsets = Vec::new();
    for item in text.split_whitespace() {
        let (value, times) = match item.rsplit_once('x') {
            Some((value, times)) => (value, Some(times.parse::<usize>().map_err(|error| error.to_string())?.min(1_000_000))),
            None => (item, None),
        };
        if value == "_" {
            offsets.extend((0..times.unwrap_or(1)).map(|_| None));
            continue;
        }
        let sign_at = value.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
        let (base, change) = match sign_at {
            Some(at) => (duration(&value[..at])?, duration(value[at..].strip_prefix('+').unwrap_or(&value[at..]))?),
            None => (duration(value)?, 0),
        };
        offsets.extend((0..=times.unwrap_or(0)).map(|i| Some(base + change * i as i64)));
    }
    Ok(offsets)
}

/// One classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// Cumulative counts by bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

fn custom_histograms(all: &BTreeMap<Labels, Vec<Loaded>>) -> Result<Vec<(Labels, Vec<Loaded>)>, String> {
    let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in all {
        let name = labels.metric_name();
        let Some((base, kind)) = ["_bucket", "_count", "_sum"].iter().find_map(|kind| Some((name.strip_suffix(kind)?, *kind))) else {
            continue;
        };
        let bound = labels.get("le").and_then(crate::engine::parse_bound).filter(|bound| !bound.is_nan());
        if kind == "_bucket" && bound.is_none() {
            continue;
        }
        let labels = LabelsBuilder::from_labels(labels).remove("le").set(model::labels::METRIC_NAME, base).build();
        let by_time = found.entry(labels).or_default();
        for sample in samples {
            let LoadedValue::Float(value) = sample.value else { continue };
            let classic = by_time.entry(sample.time).or_default();
            match (kind, bound) {
                ("_bucket", Some(bound)) => classic.buckets.push((bound, value)),
                ("_count", _) => classic.count = Some(value),
                _ => classic.sum = value,
            }
        }
    }
    let converted = |(labels, by_time): (Labels, BTreeMap<i64, Classic>)| {
        let samples = by_time
            .into_iter()
            .map(|(time, classic)| Ok(Loaded { time, start: 0, value: LoadedValue::Histogram(Arc::new(classic.into_custom()?)) }));
        Ok((labels, samples.collect::<Result<_, String>>()?))
    };
    found.into_iter().map(converted).collect()
}

impl Classic {
    fn into_custom(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by_key(|(bound, _)| *bound);
        let count = self.count.or(self.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_none_or(|(_, last)| *last != count) {
            return Err("the count of a classic histogram is not that of its last bucket".into());
        }
        let mut before = 0.0;
        let counts = self.buckets.iter().map(|(_, count)| count - std::mem::replace(&mut before, *count));
        let mut histogram = FloatHistogram {
            schema: SCHEMA_CUSTOM,
            count,
            sum: self.sum,
            positive_counts: counts.collect(),
            positive_spans: [Span { offset: 0, len: self.buckets.len() as u32 }].into(),
            custom_values: self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| *bound != f64::INFINITY).collect(),
            ..FloatHistogram::default()
        };
        histogram.compact(if self.buckets.iter().all(|(_, count)| count.fract() == 0.0) { 2 } else { 0 });
        histogram.validate().map_err(|error| error.to_string())?;
        Ok(histogram)
    }
}
