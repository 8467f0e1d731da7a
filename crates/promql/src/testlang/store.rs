//! A store in memory: plain vectors of samples by labels, matched by looking at each.

use model::histogram::ResetHint;
use model::value::is_stale;
use model::{FloatHistogram, Labels, Matcher, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::{Column, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};

/// One sample's value.
#[derive(Clone, Debug)]
pub enum LoadedValue {
    /// A float, or the staleness marker.
    Float(f64),
    /// A histogram.
    Histogram(Arc<FloatHistogram>),
}

/// A sample that a script loads; times in milliseconds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// When.
    pub time: i64,
    /// Its start timestamp; 0 = none.
    pub start: i64,
    /// What.
    pub value: LoadedValue,
}

/// What a script is run on.
pub trait ScriptStore: Queryable {
    /// Appends one block's series, each with its samples in order of time.
    ///
    /// # Errors
    /// What the store refuses, in its words.
    fn load(&mut self, series: Vec<(Labels, Vec<Loaded>)>) -> Result<(), String>;
}

type Samples = Arc<Vec<Loaded>>;

/// Series in label order.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Samples>,
}

impl MemoryStore {
    /// Adds samples (milliseconds and values); of two at one time the later added one stays.
    pub fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        self.add_samples(labels, samples.into_iter().map(|(time, value)| Loaded { time, start: 0, value: LoadedValue::Float(value) }));
    }

    /// As [`Self::add`].
    fn add_samples(&mut self, labels: Labels, samples: impl IntoIterator<Item = Loaded>) {
        let entry = self.series.entry(labels).or_default();
        let mut by_time: BTreeMap<i64, Loaded> = entry.iter().map(|sample| (sample.time, sample.clone())).collect();
        by_time.extend(samples.into_iter().map(|sample| (sample.time, sample)));
        *entry = Arc::new(by_time.into_values().collect());
    }

    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = (&'a Labels, &'a Samples)> {
        self.series.iter().filter(|(labels, _)| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))))
    }

    fn matching_any<'a>(&'a self, sets: &'a [Vec<Matcher>]) -> Vec<&'a Labels> {
        if sets.is_empty() {
            return self.series.keys().collect();
        }
        let found: BTreeSet<&Labels> = sets.iter().flat_map(|set| self.matching(set).map(|(labels, _)| labels)).collect();
        found.into_iter().collect()
    }
}

impl ScriptStore for MemoryStore {
    fn load(&mut self, series: Vec<(Labels, Vec<Loaded>)>) -> Result<(), String> {
        for (labels, mut samples) in series {
            hint(&mut samples);
            self.add_samples(labels, samples);
        }
        Ok(())
    }
}

/// Replaces hints by those that a chunk gives back: it knows of its own samples only that there is no reset between them.
fn hint(samples: &mut [Loaded]) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for sample in samples {
        let LoadedValue::Histogram(histogram) = &mut sample.value else {
            previous = None;
            continue;
        };
        let given = Arc::clone(histogram);
        let continues = previous.as_deref().is_some_and(|previous| {
            let unhinted = FloatHistogram { reset_hint: ResetHint::Unknown, ..FloatHistogram::clone(&given) };
            given.reset_hint != ResetHint::Reset
                && previous.reset_hint != ResetHint::Gauge
                && previous.schema == given.schema
                && previous.zero_threshold == given.zero_threshold
                && previous.custom_values == given.custom_values
                && !is_stale(previous.sum)
                && !unhinted.is_reset_since(previous)
        });
        let reset_hint = match given.reset_hint {
            ResetHint::Gauge => ResetHint::Gauge,
            _ if continues => ResetHint::NoReset,
            _ => ResetHint::Unknown,
        };
        if reset_hint != given.reset_hint {
            *histogram = Arc::new(FloatHistogram { reset_hint, ..FloatHistogram::clone(&given) });
        }
        previous = Some(given);
    }
}

struct MemorySeries {
    labels: Labels,
    samples: Samples,
}

impl Series for MemorySeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        let begin = self.samples.partition_point(|sample| sample.time < range.start.0);
        for sample in self.samples[begin..].iter().take_while(|sample| sample.time <= range.end.0) {
            match &sample.value {
                LoadedValue::Float(value) => column.push(Timestamp(sample.time), *value),
                LoadedValue::Histogram(histogram) => column.push_histogram(Timestamp(sample.time), Arc::clone(histogram)),
            }
            column.set_start(Timestamp(sample.start));
        }
        Ok(())
    }

    fn samples_estimate(&self) -> usize {
        self.samples.len()
    }
}

impl Queryable for MemoryStore {
    fn select(&self, _: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        let limit = if hints.limit == 0 { usize::MAX } else { hints.limit };
        let series = self
            .matching(matchers)
            .take(limit)
            .map(|(labels, samples)| Box::new(MemorySeries { labels: labels.clone(), samples: samples.clone() }) as Box<dyn Series>)
            .collect();
        Ok(Selection { series, warnings: Vec::new() })
    }

    fn label_names(&self, _: Interval, matcher_sets: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        let names: BTreeSet<String> =
            self.matching_any(matcher_sets).into_iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned())).collect();
        Ok(Names { names: names.into_iter().collect(), warnings: Vec::new() })
    }

    fn label_values(&self, name: &str, _: Interval, matcher_sets: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        let names: BTreeSet<String> = self.matching_any(matcher_sets).into_iter().filter_map(|l| l.get(name).map(str::to_owned)).collect();
        Ok(Names { names: names.into_iter().collect(), warnings: Vec::new() })
    }
}
