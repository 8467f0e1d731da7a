//! Samples in memory, for both engines: a map from labels to points, every selector looks at every series.

use super::Value;
use model::{Labels, Matcher, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{Column, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};

/// One sample as it is stored.
#[derive(Clone, Debug)]
pub struct Point {
    pub t: i64,
    /// When the counter began; 0 if nobody knows.
    pub start: i64,
    pub value: Value,
}

/// Series in label order, their points in order of time.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub series: BTreeMap<Labels, Arc<Vec<Point>>>,
}

impl Store {
    /// What all matchers accept.
    pub fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = (&'a Labels, &'a Arc<Vec<Point>>)> {
        self.series.iter().filter(|(labels, _)| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))))
    }
}

struct StoredSeries {
    labels: Labels,
    points: Arc<Vec<Point>>,
}

impl Series for StoredSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        for point in self.points.iter().filter(|point| (range.start.0..=range.end.0).contains(&point.t)) {
            match &point.value {
                Value::Float(v) => column.push(Timestamp(point.t), *v),
                Value::Histogram(h) => column.push_histogram(Timestamp(point.t), Arc::clone(h)),
            }
            column.set_start(Timestamp(point.start));
        }
        Ok(())
    }

    fn samples_estimate(&self) -> usize {
        self.points.len()
    }
}

impl Queryable for Store {
    fn select(&self, _: Interval, matchers: &[Matcher], _: &SelectHints) -> Result<Selection, SelectError> {
        let series = self
            .matching(matchers)
            .map(|(labels, points)| Box::new(StoredSeries { labels: labels.clone(), points: Arc::clone(points) }) as Box<dyn Series>)
            .collect();
        Ok(Selection { series, warnings: Vec::new() })
    }

    fn label_names(&self, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        Ok(Names::default())
    }

    fn label_values(&self, _: &str, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        Ok(Names::default())
    }
}
