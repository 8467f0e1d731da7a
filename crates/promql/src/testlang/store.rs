//! A store in memory: plain vectors of samples by labels, matched by looking at each.

use model::{FloatHistogram, Labels, Matcher, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::{Column, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};

/// One sample's value.
#[derive(Clone, Debug)]
pub(crate) enum StoredValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// One sample: its value, and its start timestamp or 0.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub time: i64,
    pub start: i64,
    pub value: StoredValue,
}

type Samples = Arc<Vec<Stored>>;

/// Series in label order.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Samples>,
}

impl MemoryStore {
    /// Adds samples (milliseconds and values); of two at one time the later added one stays.
    pub fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        self.add_samples(labels, samples.into_iter().map(|(time, value)| Stored { time, start: 0, value: StoredValue::Float(value) }));
    }

    /// As [`Self::add`].
    pub(crate) fn add_samples(&mut self, labels: Labels, samples: impl IntoIterator<Item = Stored>) {
        let entry = self.series.entry(labels).or_default();
        let mut by_time: BTreeMap<i64, Stored> = entry.iter().map(|sample| (sample.time, sample.clone())).collect();
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
                StoredValue::Float(value) => column.push(Timestamp(sample.time), *value),
                StoredValue::Histogram(histogram) => column.push_histogram(Timestamp(sample.time), Arc::clone(histogram)),
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
