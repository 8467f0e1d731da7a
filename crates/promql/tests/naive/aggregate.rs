//! Aggregations.

use super::eval::{place, text_of};
use super::histograms::{self, Total};
use super::number::{Kahan, mean, quantile};
use super::{Error, Frame, Naive, Sample, Value, Vector, notes, number};
use model::number::{format_general, format_plain};
use model::{FloatHistogram, Labels, labels::LabelsBuilder};
use promql::ast::{Aggregate, AggregateOp};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Naive<'_> {
    pub fn aggregate(&self, a: &Aggregate, frame: Frame) -> Result<Vec<Vector>, Error> {
        use AggregateOp::{BottomK, CountValues, LimitK, LimitRatio, TopK};
        if a.op == CountValues {
            return self.count_values(a, frame);
        }
        let parameters = match &a.parameter {
            Some(parameter) => self.scalars(parameter, frame)?,
            None => vec![0.0; frame.times().len()],
        };
        let input = self.vectors(&a.expr, frame)?;
        if !self.check_parameters(a, &parameters)? {
            return Ok(vec![Vector::new(); input.len()]);
        }
        let mut steps = Vec::new();
        for ((vector, parameter), t) in input.into_iter().zip(parameters).zip(frame.times()) {
            let mut out = Vector::new();
            for (labels, group) in groups(a, &vector) {
                match a.op {
                    TopK | BottomK => out.extend(self.extreme(a, group, parameter)),
                    LimitK => out.extend(group.into_iter().take(at_most(parameter)).cloned()),
                    LimitRatio => out.extend(group.into_iter().filter(|sample| is_in_ratio(parameter, &sample.labels)).cloned()),
                    _ => {
                        // Histograms that were ignored have no say in whether the name goes.
                        if let Some((value, drop_name)) = self.aggregated(a, &group, parameter) {
                            out.push(Sample { labels, t, value, drop_name });
                        }
                    }
                }
            }
            if !frame.is_single() {
                out.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            steps.push(out);
        }
        if matches!(a.op, TopK | BottomK | LimitK | LimitRatio) {
            super::eval::same_drops(&mut steps);
        } else {
            last_drops(&mut steps);
        }
        Ok(steps)
    }

    /// What Prometheus checks of the parameter at all steps; `false` if nothing is to be chosen at any.
    fn check_parameters(&self, a: &Aggregate, parameters: &[f64]) -> Result<bool, Error> {
        let largest = parameters.iter().copied().fold(f64::MIN, number::max);
        let least = parameters.iter().copied().fold(f64::MAX, number::min);
        let nan = parameters.iter().any(|p| p.is_nan());
        let at = a.parameter.as_ref().map_or(0, place);
        match a.op {
            AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK => {
                if largest < 1.0 {
                    return Ok(false);
                }
                if nan {
                    return Err("Parameter value is NaN".into());
                }
                if least <= -(2f64.powi(63)) {
                    return Err(format!("Scalar value {} underflows int64", format_general(least)));
                }
                if largest >= 2f64.powi(63) {
                    return Err(format!("Scalar value {} overflows int64", format_general(largest)));
                }
            }
            AggregateOp::LimitRatio => {
                if largest == 0.0 && least == 0.0 {
                    return Ok(false);
                }
                if nan {
                    return Err("Ratio value is NaN".into());
                }
                let outside = |ratio: f64, to: &str| {
                    format!("ratio value should be between -1 and 1, got {}, capping to {to}", format_general(ratio))
                };
                if largest > 1.0 {
                    self.warn(outside(largest, "1"), at);
                }
                if least < -1.0 {
                    self.warn(outside(least, "-1"), at);
                }
            }
            AggregateOp::Quantile => {
                if nan {
                    self.warn(notes::invalid_quantile(model::value::NORMAL_NAN), at);
                }
                if largest > 1.0 {
                    self.warn(notes::invalid_quantile(largest), at);
                }
                if least < 0.0 {
                    self.warn(notes::invalid_quantile(least), at);
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// One value of a group, and whether its name goes.
    fn aggregated(&self, a: &Aggregate, group: &[&Sample], parameter: f64) -> Option<(Value, bool)> {
        use AggregateOp::{Avg, Count, Group, Max, Min, Quantile, Stddev, Stdvar, Sum};
        let at = place(&a.expr);
        let drop_name = |sample: &&Sample| sample.drop_name;
        match a.op {
            Count => return Some((Value::Float(group.len() as f64), group.iter().any(drop_name))),
            Group => return Some((Value::Float(1.0), group.iter().any(drop_name))),
            Sum | Avg => return self.sum_or_mean(a, group, at).map(|value| (value, group.iter().any(drop_name))),
            _ => {}
        }
        let float = |sample: &&Sample| match sample.value {
            Value::Float(v) => Some((v, sample.drop_name)),
            Value::Histogram(_) => None,
        };
        let values: Vec<f64> = group.iter().filter_map(float).map(|(v, _)| v).collect();
        if values.len() < group.len() {
            self.info(notes::ignored_in_aggregation(a.op.as_str()), at);
        }
        let first = *values.first()?;
        let drop_name = group.iter().filter_map(float).any(|(_, drop)| drop);
        let fold = |better: fn(f64, f64) -> bool| {
            values.iter().skip(1).fold(first, |best, v| if better(*v, best) || best.is_nan() { *v } else { best })
        };
        let v = match a.op {
            Max => fold(|v, best| v > best),
            Min => fold(|v, best| v < best),
            Stdvar => variance(&values),
            Stddev => variance(&values).sqrt(),
            Quantile => quantile(parameter, &values),
            other => unreachable!("{other:?} is evaluated elsewhere"),
        };
        Some((Value::Float(v), drop_name))
    }

    fn sum_or_mean(&self, a: &Aggregate, group: &[&Sample], at: usize) -> Option<Value> {
        let mut floats = Vec::new();
        let mut all: Vec<(&str, &FloatHistogram)> = Vec::new();
        // For each float, how many histograms came before it.
        let mut before = Vec::new();
        for sample in group {
            match &sample.value {
                Value::Float(v) => {
                    floats.push(*v);
                    before.push(all.len());
                }
                Value::Histogram(h) => all.push((sample.labels.metric_name(), h)),
            }
        }
        let is_mean = a.op == AggregateOp::Avg;
        if all.is_empty() {
            return Some(Value::Float(if is_mean { mean(&floats) } else { sum(&floats) }));
        }
        // Histograms that come after a float at the group's begin are not looked at.
        let begins_with_float = matches!(group[0].value, Value::Float(_));
        let only: Vec<&FloatHistogram> = all.iter().map(|(_, h)| *h).collect();
        let total = if begins_with_float { Total::default() } else { histograms::total(&only, is_mean) };
        if total.bounds_reconciled {
            self.info(notes::bounds_reconciled("aggregation"), at);
        }
        if let Some(which) = total.incompatible {
            self.warn(notes::mixed_schemas(all[which].0), at);
        }
        // Nothing is looked at behind a histogram that does not fit.
        if before.iter().any(|before| total.incompatible.is_none_or(|which| *before <= which)) {
            self.warn("encountered a mix of histograms and floats for aggregation".into(), at);
            return None;
        }
        let mut result = total.result?;
        let has = |hint| only.iter().any(|h| h.reset_hint == hint);
        if has(model::histogram::ResetHint::Reset) && has(model::histogram::ResetHint::NoReset) {
            self.warn(notes::resets_collide("aggregation"), at);
        }
        result.compact(0);
        Some(Value::Histogram(Arc::new(result)))
    }

    /// `topk` and `bottomk`: the floats in order of value, NaN only where nothing else is left.
    fn extreme(&self, a: &Aggregate, group: Vec<&Sample>, k: f64) -> Vector {
        if k < 1.0 {
            return Vector::new();
        }
        let mut floats: Vec<(f64, &Sample)> = Vec::new();
        for sample in group {
            match sample.value {
                Value::Float(v) => floats.push((v, sample)),
                Value::Histogram(_) => self.info(notes::ignored_in_aggregation(a.op.as_str()), a.span.start),
            }
        }
        // Which of equal values stays is what Go's heap makes of it; its first is the worst.
        let top = a.op == AggregateOp::TopK;
        let worse = |a: f64, b: f64| a.is_nan() || if top { a < b } else { a > b };
        let mut heap: Vec<(f64, &Sample)> = Vec::new();
        for (v, sample) in floats {
            if heap.len() < at_most(k) {
                heap.push((v, sample));
                let mut i = heap.len() - 1;
                while i > 0 && worse(heap[i].0, heap[(i - 1) / 2].0) {
                    heap.swap(i, (i - 1) / 2);
                    i = (i - 1) / 2;
                }
            } else if !v.is_nan() && worse(heap[0].0, v) {
                heap[0] = (v, sample);
                let mut i = 0;
                while let Some(child) = worse_child(&heap, i, worse).filter(|child| worse(heap[*child].0, heap[i].0)) {
                    heap.swap(i, child);
                    i = child;
                }
            }
        }
        heap.sort_by(|(a, _), (b, _)| match (a.is_nan(), b.is_nan()) {
            (false, false) if top => b.partial_cmp(a).expect("no NaN"),
            (false, false) => a.partial_cmp(b).expect("no NaN"),
            (x, y) => x.cmp(&y),
        });
        heap.into_iter().map(|(_, sample)| sample.clone()).collect()
    }

    fn count_values(&self, a: &Aggregate, frame: Frame) -> Result<Vec<Vector>, Error> {
        let label = a.parameter.as_ref().map(text_of).unwrap_or_default();
        if frame.times().is_empty() {
            return Ok(Vec::new());
        }
        if label.is_empty() {
            return Err(format!("invalid label name {}", model::name::quote(&label)));
        }
        let mut steps = Vec::new();
        for (vector, t) in self.vectors(&a.expr, frame)?.into_iter().zip(frame.times()) {
            let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
            for sample in vector {
                let text = match &sample.value {
                    Value::Float(v) => format_plain(*v),
                    Value::Histogram(h) => histogram_text(h),
                };
                let labels = LabelsBuilder::from_labels(&sample.labels).set(&label, &text).build();
                let mut grouping = a.grouping.clone();
                if !a.without {
                    grouping.push(label.clone());
                }
                *counts.entry(group_labels(&labels, &grouping, a.without)).or_default() += 1.0;
            }
            let sample = |(labels, count)| Sample { labels, t, value: Value::Float(count), drop_name: false };
            steps.push(counts.into_iter().map(sample).collect());
        }
        self.settled(steps, frame)
    }
}

/// The groups of a vector in the order in which they begin.
fn groups<'v>(a: &Aggregate, vector: &'v Vector) -> Vec<(Labels, Vec<&'v Sample>)> {
    let mut groups: Vec<(Labels, Vec<&Sample>)> = Vec::new();
    for sample in vector {
        let labels = group_labels(&sample.labels, &a.grouping, a.without);
        match groups.iter_mut().find(|(group, _)| *group == labels) {
            Some((_, samples)) => samples.push(sample),
            None => groups.push((labels, vec![sample])),
        }
    }
    groups
}

fn group_labels(labels: &Labels, grouping: &[String], without: bool) -> Labels {
    let listed = |name: &str| grouping.iter().any(|g| g == name);
    let mut builder = LabelsBuilder::from_labels(labels);
    if without {
        builder.retain(|name, _| name != "__name__" && !listed(name));
    } else {
        builder.retain(|name, _| listed(name));
    }
    builder.build()
}

/// The worse of the children of a place in a heap.
fn worse_child(heap: &[(f64, &Sample)], i: usize, worse: impl Fn(f64, f64) -> bool) -> Option<usize> {
    let (left, right) = (2 * i + 1, 2 * i + 2);
    if right < heap.len() && worse(heap[right].0, heap[left].0) { Some(right) } else { (left < heap.len()).then_some(left) }
}

fn at_most(k: f64) -> usize {
    if k < 1.0 { 0 } else { k as usize }
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Kahan { sum: values[0], c: 0.0 };
    values.iter().skip(1).for_each(|v| sum.add(*v));
    sum.sum + sum.c
}

fn variance(values: &[f64]) -> f64 {
    let mut mean = values[0];
    let mut squares = if mean.is_finite() { 0.0 } else { model::value::NORMAL_NAN };
    for (i, v) in values.iter().enumerate().skip(1) {
        let delta = v - mean;
        mean += delta / (i + 1) as f64;
        squares += delta * (v - mean);
    }
    squares / values.len() as f64
}

/// Is the series' hash, as a part of the largest, below the ratio? A negative ratio takes those that its complement leaves.
fn is_in_ratio(ratio: f64, labels: &Labels) -> bool {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(len) if len < 255 => bytes.push(len),
                _ => bytes.extend([255, text.len() as u8, (text.len() >> 8) as u8, (text.len() >> 16) as u8]),
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    let place = twox_hash::XxHash64::oneshot(0, &bytes) as f64 / u64::MAX as f64;
    let ratio = ratio.clamp(-1.0, 1.0);
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// Whether the name of an aggregation's result goes is what its last step says.
fn last_drops(steps: &mut [Vector]) {
    let mut last: BTreeMap<Labels, bool> = BTreeMap::new();
    for sample in steps.iter().flatten() {
        last.insert(sample.labels.clone(), sample.drop_name);
    }
    for sample in steps.iter_mut().flatten() {
        sample.drop_name = last[&sample.labels];
    }
}

/// `{count:5, sum:18.4, [-4,-2):1, [-0.001,0.001]:2, (1,2]:2}`
fn histogram_text(h: &FloatHistogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", format_general(h.count), format_general(h.sum));
    for bucket in h.whole_buckets().into_iter().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(format_general);
        text += &format!(", {open}{lower},{upper}{close}:{count}");
    }
    text + "}"
}
