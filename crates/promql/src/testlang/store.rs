//! A store in memory: plain vectors of samples by labels, matched by looking at each.

use model::{Labels, Matcher};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::{Column, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};

/// Series in label order.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Arc<Vec<(i64, f64)>>>,
}

impl MemoryStore {
    /// Adds samples (milliseconds and values); of two at one time the later added one stays.
    pub fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        let entry = self.series.entry(labels).or_default();
        let mut by_time: BTreeMap<i64, f64> = entry.iter().copied().collect();
        by_time.extend(samples);
        *entry = Arc::new(by_time.into_iter().collect());
    }

    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = (&'a Labels, &'a Arc<Vec<(i64, f64)>>)> {
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
    samples: Arc<Vec<(i64, f64)>>,
}

impl Series for MemorySeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        let begin = self.samples.partition_point(|(t, _)| *t < range.start.0);
        for (time, value) in self.samples[begin..].iter().take_while(|(t, _)| *t <= range.end.0) {
            column.push(model::Timestamp(*time), *value);
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

    fn label_names(&self, _: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<Names, SelectError> {
        let names: BTreeSet<String> =
            self.matching_any(matcher_sets).into_iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned())).collect();
        Ok(Names { names: names.into_iter().collect(), warnings: Vec::new() })
    }

    fn label_values(&self, name: &str, _: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<Names, SelectError> {
        let names: BTreeSet<String> = self.matching_any(matcher_sets).into_iter().filter_map(|l| l.get(name).map(str::to_owned)).collect();
        Ok(Names { names: names.into_iter().collect(), warnings: Vec::new() })
    }
}
