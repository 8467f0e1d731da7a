//! Calls of functions over range vectors.

use super::eval::{check_unique, place, same_drops};
use super::invariant::unwrapped;
use super::rate::Window;
use super::{Error, Frame, Naive, Sample, Value, Vector};
use model::{Labels, Matcher, labels::LabelsBuilder};
use promql::ast::{Call, Expr, Extended, ValueType};
use std::collections::{BTreeMap, BTreeSet};

/// Functions that can be asked for windows with a modifier.
const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

impl Naive<'_> {
    pub fn range_call(&self, call: &Call, frame: Frame) -> Result<Vec<Vector>, Error> {
        let name = call.function.name;
        let argument = call.args.iter().map(unwrapped).find(|e| e.value_type() == ValueType::Matrix).expect("a range vector");
        let (at, offset, range, extended) = match argument {
            Expr::Matrix(m) => {
                let range = self.millis(m.range_expr.as_deref(), m.range.0);
                (self.at(m.vector.at), self.offset(&m.vector), range, m.vector.extended)
            }
            Expr::Subquery(s) => {
                let range = self.millis(s.range_expr.as_deref(), s.range.0);
                (self.at(s.at), self.millis(s.offset_expr.as_deref(), s.offset.0), range, None)
            }
            other => unreachable!("not a range vector: {other}"),
        };
        let windows = self.windows(argument, frame)?;
        let mut numbers = Vec::new();
        for e in call.args.iter().filter(|e| e.value_type() == ValueType::Scalar) {
            numbers.push(self.scalars(e, frame)?);
        }
        check_modifier(name, extended)?;
        // Prometheus forgets where a subquery stands.
        let first = &call.args[0];
        let position = if matches!(unwrapped(first), Expr::Subquery(_)) { 0 } else { place(first) };
        let times = frame.times();
        let mut steps = vec![Vector::new(); times.len()];
        let mut seen = BTreeSet::new();
        for series in windows {
            let metric = series.labels.metric_name();
            let drop_name = series.drop_name || !["first_over_time", "last_over_time"].contains(&name);
            let labels = if drop_name { self.dropped(&series.labels) } else { series.labels.clone() };
            let (mut any, mut any_float) = (false, false);
            for (i, t) in times.iter().enumerate() {
                if series.steps[i].is_empty() {
                    continue;
                }
                let end = at.unwrap_or(*t) - offset;
                let points = &series.steps[i];
                let window = Window { name: metric, points, t: *t, start: end - range, end, extended, at: position };
                let at_step: Vec<f64> = numbers.iter().map(|values| values[i]).collect();
                if let Some(value) = self.over_window(name, &window, &at_step)? {
                    any = true;
                    any_float |= matches!(value, Value::Float(_));
                    steps[i].push(Sample { labels: labels.clone(), t: *t, value, drop_name });
                }
            }
            let kind = series.labels.get("__type__").unwrap_or_default();
            let (told, text) = if self.options.type_and_unit_labels {
                let text = "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got";
                (kind == "counter" || kind == "histogram", format!("{text} {kind:?}"))
            } else {
                let told = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix));
                (told, "metric might not be a counter, name does not end in _total/_sum/_count/_bucket".to_owned())
            };
            if ["rate", "increase"].contains(&name) && any_float && !metric.is_empty() && !told {
                self.info(format!("{text}: {}", model::name::quote(metric)), position);
            }
            let again = any && !seen.insert(labels);
            if again && name != "absent_over_time" && !self.options.delayed_name_removal {
                return Err(super::eval::same_labelset());
            }
        }
        if name == "absent_over_time" {
            let matchers = if let Expr::Matrix(m) = argument { m.vector.matchers.as_slice() } else { &[] };
            let labels = labels_of_absent(matchers);
            let absent = |(step, t): (&mut Vector, &i64)| {
                let sample = Sample { labels: labels.clone(), t: *t, value: Value::Float(1.0), drop_name: true };
                *step = if step.is_empty() { vec![sample] } else { Vec::new() };
            };
            steps.iter_mut().zip(&times).for_each(absent);
        }
        if self.options.delayed_name_removal {
            same_drops(&mut steps);
        } else {
            check_unique(&steps)?;
        }
        Ok(steps)
    }
}

fn check_modifier(function: &str, extended: Option<Extended>) -> Result<(), Error> {
    let allowed: &[&str] = match extended {
        None => return Ok(()),
        Some(Extended::Anchored) => &ANCHORED,
        Some(Extended::Smoothed) => &SMOOTHED,
    };
    if allowed.contains(&function) {
        return Ok(());
    }
    let modifier = extended.map_or("", Extended::as_str);
    Err(format!("{modifier} modifier can only be used with: {} - not with {function}", allowed.join(", ")))
}

/// The labels that matchers fix: those with one `=` and nothing else.
pub fn labels_of_absent(matchers: &[Matcher]) -> Labels {
    let mut fixed: BTreeMap<&str, bool> = BTreeMap::new();
    let mut labels = LabelsBuilder::new();
    for m in matchers.iter().filter(|m| m.name != "__name__") {
        if m.op == model::matcher::MatchOp::Equal && !fixed.contains_key(m.name.as_str()) {
            fixed.insert(&m.name, true);
            labels.set(&m.name, &m.value);
        } else {
            labels.remove(&m.name);
        }
    }
    labels.build()
}
