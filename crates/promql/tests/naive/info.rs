//! `info`: adds labels of info series, such as `target_info`, that have the same `job` and `instance`.

use super::eval::{same_drops, same_labelset};
use super::invariant::unwrapped;
use super::{Error, Frame, Naive, Point, Sample, Value, Vector};
use model::matcher::{MatchOp, Matcher};
use model::{Labels, labels::LabelsBuilder};
use promql::ast::{Call, Expr, Subquery, VectorSelector};
use std::collections::{BTreeMap, BTreeSet};

const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// An info series at a step, and when its sample is of.
type Found<'s> = (&'s Labels, i64);

impl Naive<'_> {
    pub fn add_info(&self, call: &Call, frame: Frame) -> Result<Vec<Vector>, Error> {
        let (at, offset) = self.times_of_first_selector(&call.args[0]);
        let input = self.vectors(&call.args[0], frame)?;
        let matchers: &[Matcher] = match call.args.get(1).map(unwrapped) {
            Some(Expr::Vector(selector)) => &selector.matchers,
            _ => &[],
        };
        let data: Vec<&Matcher> = matchers.iter().filter(|m| m.name != "__name__").collect();
        let names = name_matchers(matchers);
        let is_info = |labels: &Labels| names.iter().all(|m| m.matches(labels.metric_name()));
        // Only series that belong to one of the input's jobs and instances are looked at.
        let mut identifying: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for sample in input.iter().flatten().filter(|sample| !is_info(&sample.labels)) {
            for name in IDENTIFYING {
                if let Some(value) = sample.labels.get(name) {
                    identifying.entry(name).or_default().insert(value.to_owned());
                }
            }
        }
        let belongs = |labels: &Labels| {
            !identifying.is_empty() && identifying.iter().all(|(name, values)| values.contains(labels.get(name).unwrap_or("")))
        };
        let all: Vec<(&Labels, &[Point])> = self
            .store
            .matching(&[])
            .filter(|(labels, _)| is_info(labels) && belongs(labels))
            .filter(|(labels, _)| data.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))))
            .map(|(labels, points)| (labels, points.as_slice()))
            .collect();
        let mut found_at = vec![Vec::new(); frame.times().len()];
        for (labels, points) in all {
            for (t, found) in frame.times().into_iter().zip(&mut found_at) {
                match self.newest(points, at.unwrap_or(t) - offset) {
                    None => {}
                    Some(Point { value: Value::Histogram(_), .. }) => {
                        return Err(format!("this should be an info metric, with float samples: {labels}"));
                    }
                    Some(point) => found.push((labels, point.t)),
                }
            }
        }
        let mut steps = Vec::new();
        for (vector, found) in input.into_iter().zip(found_at) {
            steps.push(enriched(vector, &found, &data, is_info)?);
        }
        same_drops(&mut steps);
        Ok(steps)
    }

    /// When the first selector in the expression looks: fixed by its own `@` or by that of a subquery around it.
    fn times_of_first_selector(&self, e: &Expr) -> (Option<i64>, i64) {
        let Some((selector, around)) = first_selector(e) else { return (None, 0) };
        let (mut at, mut offset) = (self.at(selector.at), self.offset(selector));
        for subquery in around {
            if at.is_none() {
                offset += self.millis(subquery.offset_expr.as_deref(), subquery.offset.0);
                at = self.at(subquery.at);
            }
        }
        (at, offset)
    }
}

/// The first selector and the subqueries around it, the innermost first.
fn first_selector(e: &Expr) -> Option<(&VectorSelector, Vec<&Subquery>)> {
    match e {
        Expr::Number(_) | Expr::String(_) => None,
        Expr::Vector(s) => Some((s, Vec::new())),
        Expr::Matrix(m) => Some((&m.vector, Vec::new())),
        Expr::Subquery(s) => {
            let (selector, mut around) = first_selector(&s.expr)?;
            around.push(s);
            Some((selector, around))
        }
        Expr::Call(c) => c.args.iter().find_map(first_selector),
        Expr::Aggregate(a) => first_selector(&a.expr).or_else(|| a.parameter.as_ref().and_then(first_selector)),
        Expr::Binary(b) => first_selector(&b.left).or_else(|| first_selector(&b.right)),
        Expr::Unary(u) => first_selector(&u.expr),
        Expr::Paren(p) => first_selector(&p.expr),
    }
}

/// The matchers of the info metrics' names: `target_info` if there are none, `.+_info` besides if they only exclude.
fn name_matchers(matchers: &[Matcher]) -> Vec<Matcher> {
    let mut names: Vec<Matcher> = matchers.iter().filter(|m| m.name == "__name__").cloned().collect();
    if names.is_empty() {
        return vec![Matcher::equal("__name__", "target_info")];
    }
    if !names.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex)) {
        names.push(Matcher::new(MatchOp::Regex, "__name__", ".+_info").expect("a regular expression"));
    }
    names
}

fn identity(labels: &Labels) -> [String; 2] {
    IDENTIFYING.map(|name| labels.get(name).unwrap_or("").to_owned())
}

fn enriched(input: Vector, found: &[Found<'_>], data: &[&Matcher], is_info: impl Fn(&Labels) -> bool) -> Result<Vector, Error> {
    if input.is_empty() {
        return Ok(Vector::new());
    }
    // Of two info series of one metric, job and instance the one with the newer sample counts.
    let mut newest: BTreeMap<(&str, [String; 2]), Found<'_>> = BTreeMap::new();
    for (labels, t) in found {
        let key = (labels.metric_name(), identity(labels));
        match newest.get(&key) {
            Some((other, other_t)) if other_t == t => {
                return Err(format!("found duplicate series for info metric: existing {other} @ {t}, new {labels} @ {t}"));
            }
            Some((_, other_t)) if other_t > t => {}
            _ => {
                newest.insert(key, (labels, *t));
            }
        }
    }
    let mut out: Vector = Vec::new();
    for sample in input {
        let mut labels = LabelsBuilder::from_labels(&sample.labels);
        if !is_info(&sample.labels) {
            let mut added: BTreeMap<&str, &str> = BTreeMap::new();
            let mut any = false;
            for ((_, key), (info, _)) in &newest {
                if *key != identity(&sample.labels) {
                    continue;
                }
                any = true;
                for (name, value) in info.iter().filter(|(name, _)| *name != "__name__") {
                    if !data.is_empty() && !data.iter().any(|m| m.name == name) {
                        continue;
                    }
                    if added.get(name).is_some_and(|other| *other != value) {
                        return Err(format!("conflicting label: {name}"));
                    }
                    if sample.labels.get(name).is_none() {
                        added.insert(name, value);
                    }
                }
            }
            if !any && !data.iter().all(|m| m.matches_empty()) {
                continue;
            }
            for (name, value) in added {
                labels.set(name, value);
            }
        }
        let labels = labels.build();
        if out.iter().any(|other| other.labels == labels) {
            return Err(same_labelset());
        }
        out.push(Sample { labels, ..sample });
    }
    Ok(out)
}
