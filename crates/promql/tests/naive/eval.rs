//! Expressions to vectors or numbers, one for each step of a frame.

use super::invariant::{is_invariant, unwrapped};
use super::{Error, Frame, Naive, Sample, Value, Vector};
use model::{Labels, labels::LabelsBuilder};
use promql::ast::{Expr, ValueType};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A series of steps: whether its name is to go, and its points.
pub type SeriesPoints = (bool, Vec<(i64, Value)>);

impl Naive<'_> {
    /// An instant vector for each step.
    pub fn vectors(&self, e: &Expr, frame: Frame) -> Result<Vec<Vector>, Error> {
        let times = frame.times();
        if times.is_empty() {
            return Ok(Vec::new());
        }
        if !frame.is_single() && is_invariant(e) {
            let first = self.vectors(e, frame.first())?.swap_remove(0);
            let at = |t: i64| first.iter().map(|sample| Sample { t, ..sample.clone() }).collect();
            return Ok(times.into_iter().map(at).collect());
        }
        match e {
            Expr::Vector(selector) => Ok(self.select(selector, frame)),
            Expr::Call(call) => self.call(call, frame),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, frame),
            Expr::Binary(binary) => self.binary(binary, frame),
            Expr::Paren(paren) => self.vectors(&paren.expr, frame),
            Expr::Unary(unary) => {
                let steps = self.vectors(&unary.expr, frame)?;
                if !unary.negative {
                    return Ok(steps);
                }
                let negate = |sample: Sample| self.changed(&sample, negated(&sample.value));
                let steps: Vec<Vector> = steps.into_iter().map(|vector| vector.into_iter().map(negate).collect()).collect();
                if !self.options.delayed_name_removal {
                    check_unique(&steps)?;
                }
                Ok(steps)
            }
            Expr::Number(_) | Expr::String(_) | Expr::Matrix(_) | Expr::Subquery(_) => unreachable!("not an instant vector: {e}"),
        }
    }

    /// A number for each step.
    pub fn scalars(&self, e: &Expr, frame: Frame) -> Result<Vec<f64>, Error> {
        let times = frame.times();
        if times.is_empty() {
            return Ok(Vec::new());
        }
        if !frame.is_single() && is_invariant(e) {
            let first = self.scalars(e, frame.first())?[0];
            return Ok(vec![first; times.len()]);
        }
        match e {
            Expr::Number(number) => Ok(vec![number.value; times.len()]),
            Expr::Paren(paren) => self.scalars(&paren.expr, frame),
            Expr::Unary(unary) => {
                let values = self.scalars(&unary.expr, frame)?;
                Ok(if unary.negative { values.into_iter().map(|v| -v).collect() } else { values })
            }
            Expr::Binary(binary) => {
                let (left, right) = (self.scalars(&binary.left, frame)?, self.scalars(&binary.right, frame)?);
                Ok(left.into_iter().zip(right).map(|(l, r)| super::binary::arithmetic(binary.op, l, r)).collect())
            }
            Expr::Call(call) => self.scalar_call(call, frame),
            Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) | Expr::Subquery(_) | Expr::Aggregate(_) => {
                unreachable!("not a scalar: {e}")
            }
        }
    }

    /// The sample with another value, and so without its name.
    pub fn changed(&self, sample: &Sample, value: Value) -> Sample {
        Sample { labels: self.dropped(&sample.labels), t: sample.t, value, drop_name: true }
    }

    /// Labels of a result that is no longer the metric: names go now or at the end.
    pub fn dropped(&self, labels: &Labels) -> Labels {
        if self.options.delayed_name_removal { labels.clone() } else { nameless(labels) }
    }

    /// What Prometheus checks when it makes series of the steps of a result.
    pub fn settled(&self, mut steps: Vec<Vector>, frame: Frame) -> Result<Vec<Vector>, Error> {
        if !self.options.delayed_name_removal || !frame.is_single() {
            check_unique(&steps)?;
        }
        same_drops(&mut steps);
        Ok(steps)
    }
}

/// Whether a series' name is to go is what its first sample says.
pub fn same_drops(steps: &mut [Vector]) {
    let mut first: BTreeMap<Labels, bool> = BTreeMap::new();
    if steps.len() > 1 {
        for sample in steps.iter_mut().flatten() {
            sample.drop_name = *first.entry(sample.labels.clone()).or_insert(sample.drop_name);
        }
    }
}

/// Where an argument stands; parentheses around it do not count.
pub fn place(e: &Expr) -> usize {
    unwrapped(e).span().start
}

/// The text of a string argument.
pub fn text_of(e: &Expr) -> String {
    match unwrapped(e) {
        Expr::String(s) => s.value.clone(),
        other => unreachable!("not a string: {other} is a {:?}", other.value_type() == ValueType::String),
    }
}

/// The labels without the metric's name, type and unit.
pub fn nameless(labels: &Labels) -> Labels {
    LabelsBuilder::from_labels(labels).remove("__name__").remove("__type__").remove("__unit__").build()
}

/// No two samples of a step have the same labels.
pub fn check_unique(steps: &[Vector]) -> Result<(), Error> {
    for vector in steps {
        let mut seen = HashSet::new();
        if !vector.iter().all(|sample| seen.insert(&sample.labels)) {
            return Err(same_labelset());
        }
    }
    Ok(())
}

pub fn same_labelset() -> Error {
    "vector cannot contain metrics with the same labelset".into()
}

/// The points of each series, in label order.
pub fn series_of(steps: &[Vector]) -> BTreeMap<Labels, SeriesPoints> {
    let mut series: BTreeMap<Labels, SeriesPoints> = BTreeMap::new();
    for sample in steps.iter().flatten() {
        let (_, points) = series.entry(sample.labels.clone()).or_insert((sample.drop_name, Vec::new()));
        points.push((sample.t, sample.value.clone()));
    }
    series
}

fn negated(value: &Value) -> Value {
    match value {
        Value::Float(v) => Value::Float(-v),
        Value::Histogram(h) => {
            let mut h = h.as_ref().clone();
            h.scale(-1.0);
            Value::Histogram(Arc::new(h))
        }
    }
}
