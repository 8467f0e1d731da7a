//! Binary operators.

use super::{Error, Frame, Naive, Sample, Value, Vector, notes};
use model::histogram::{Keep, ResetHint};
use model::{FloatHistogram, Labels, labels::LabelsBuilder, math};
use promql::ast::{Binary, BinaryOp, Cardinality, Matching, ValueType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is said of a pair: a warning or an info.
enum Note {
    Warning(String),
    Info(String),
}

/// What an operator makes of two values.
enum Pair {
    /// The value, whether a comparison holds, and what there is to say.
    Done(Value, bool, Option<Note>),
    /// No result, and why.
    Refused(Note),
}

impl Naive<'_> {
    /// An operation of which one side at least is a vector.
    pub fn binary(&self, b: &Binary, frame: Frame) -> Result<Vec<Vector>, Error> {
        let times = frame.times();
        let mut steps = Vec::new();
        match (b.left.value_type(), b.right.value_type()) {
            (ValueType::Scalar, _) => {
                let (numbers, vectors) = (self.scalars(&b.left, frame)?, self.vectors(&b.right, frame)?);
                for (vector, number) in vectors.into_iter().zip(numbers) {
                    steps.push(self.with_number(b, vector, number, true));
                }
            }
            (_, ValueType::Scalar) => {
                let (vectors, numbers) = (self.vectors(&b.left, frame)?, self.scalars(&b.right, frame)?);
                for (vector, number) in vectors.into_iter().zip(numbers) {
                    steps.push(self.with_number(b, vector, number, false));
                }
            }
            _ => {
                let (left, right) = (self.vectors(&b.left, frame)?, self.vectors(&b.right, frame)?);
                let matching = b.matching.clone().unwrap_or_default();
                for ((left, right), t) in left.into_iter().zip(right).zip(times) {
                    let step = if b.op.is_set() {
                        Ok(set_operation(b.op, left, right, &matching))
                    } else {
                        self.matched(b, &matching, left, right, t)
                    };
                    match step {
                        Ok(step) => steps.push(step),
                        // What is wrong with the steps before comes first.
                        Err(error) => return self.settled(steps, frame).and(Err(error)),
                    }
                }
            }
        }
        self.settled(steps, frame)
    }

    fn say(&self, note: Option<Note>, at: usize) {
        match note {
            Some(Note::Warning(text)) => self.warn(text, at),
            Some(Note::Info(text)) => self.info(text, at),
            None => {}
        }
    }

    fn with_number(&self, b: &Binary, vector: Vector, number: f64, number_is_left: bool) -> Vector {
        let mut out = Vector::new();
        let mut note = None;
        for sample in vector {
            let number = Value::Float(number);
            let pair = if number_is_left { operate(b.op, &number, &sample.value) } else { operate(b.op, &sample.value, &number) };
            let (mut value, holds) = match pair {
                Pair::Refused(why) => {
                    note = Some(why);
                    continue;
                }
                Pair::Done(value, holds, _) => (value, holds),
            };
            if b.op.is_comparison() && number_is_left {
                value = sample.value.clone();
            }
            if b.return_bool {
                value = Value::Float(f64::from(u8::from(holds)));
            } else if !holds {
                continue;
            }
            out.push(if b.op.changes_metric() || b.return_bool { self.changed(&sample, value) } else { Sample { value, ..sample } });
        }
        self.say(note, b.span.start);
        out
    }

    fn matched(&self, b: &Binary, matching: &Matching, left: Vector, right: Vector, t: i64) -> Result<Vector, Error> {
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if (left.is_empty() && right.is_empty()) || ((left.is_empty() || right.is_empty()) && !fills) {
            return Ok(Vector::new());
        }
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut ones: BTreeMap<Labels, Sample> = BTreeMap::new();
        for sample in &one {
            let group = match_group(&sample.labels, matching);
            if let Some(other) = ones.insert(group, sample.clone()) {
                let side = if swapped { "left" } else { "right" };
                let mut both = [sample.labels.to_string(), other.labels.to_string()];
                both.sort();
                let group = match_group(&sample.labels, matching);
                return Err(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}]\
                     ;many-to-many matching not allowed: matching labels must be unique on one side",
                    both[0], both[1]
                ));
            }
        }
        let filled =
            |labels: &Labels, v: f64| Sample { labels: match_group(labels, matching), t, value: Value::Float(v), drop_name: false };
        let (fill_one, fill_many) = (matching.fill_right, matching.fill_left);
        let mut results = Results { seen: BTreeMap::new(), out: Vector::new(), note: None };
        for sample in &many {
            let group = match_group(&sample.labels, matching);
            match (ones.get(&group), fill_one) {
                (Some(other), _) => self.pair(b, matching, sample, other, group, &mut results)?,
                (None, Some(v)) => self.pair(b, matching, sample, &filled(&sample.labels, v), group, &mut results)?,
                (None, None) => {}
            }
        }
        if let Some(v) = fill_many {
            for sample in &one {
                let group = match_group(&sample.labels, matching);
                if !results.seen.contains_key(&group) {
                    self.pair(b, matching, &filled(&sample.labels, v), sample, group, &mut results)?;
                }
            }
        }
        self.say(results.note, b.span.start);
        Ok(results.out)
    }

    /// One of the many (or the left one) with its one.
    fn pair(
        &self,
        b: &Binary,
        matching: &Matching,
        many: &Sample,
        one: &Sample,
        group: Labels,
        results: &mut Results,
    ) -> Result<(), Error> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let pair = if swapped { operate(b.op, &one.value, &many.value) } else { operate(b.op, &many.value, &one.value) };
        let (mut value, holds) = match pair {
            Pair::Refused(note) => {
                results.note = Some(note);
                return Ok(());
            }
            Pair::Done(value, holds, note) => {
                results.note = note.or(results.note.take());
                (value, holds)
            }
        };
        let mut labels = LabelsBuilder::from_labels(&many.labels);
        if b.op.changes_metric() || (b.return_bool && !self.options.delayed_name_removal) {
            labels = LabelsBuilder::from_labels(&super::eval::nameless(&many.labels));
        }
        if matching.cardinality == Cardinality::OneToOne {
            labels.retain(|name, _| matching.labels.iter().any(|l| l == name) == matching.on);
        }
        for name in &matching.include {
            labels.set(name, one.labels.get(name).unwrap_or(""));
        }
        let labels = labels.build();
        let seen = results.seen.entry(group).or_default();
        if matching.cardinality == Cardinality::OneToOne {
            if !seen.is_empty() {
                return Err("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".into());
            }
        } else if seen.contains(&labels) {
            return Err("multiple matches for labels: grouping labels must ensure unique matches".into());
        }
        seen.insert(labels.clone());
        if b.return_bool {
            value = Value::Float(f64::from(u8::from(holds)));
        }
        if holds || b.return_bool {
            results.out.push(Sample { labels, t: many.t, value, drop_name: b.return_bool });
        }
        Ok(())
    }
}

/// What a step has come to so far.
struct Results {
    /// The labels of the results of each match group.
    seen: BTreeMap<Labels, BTreeSet<Labels>>,
    out: Vector,
    /// Prometheus says only the last of them.
    note: Option<Note>,
}

/// The labels by which two sides meet.
fn match_group(labels: &Labels, matching: &Matching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|l| l == name);
    let mut builder = LabelsBuilder::from_labels(labels);
    if matching.on {
        builder.retain(|name, _| listed(name));
    } else {
        builder.retain(|name, _| name != "__name__" && !listed(name));
    }
    builder.build()
}

fn set_operation(op: BinaryOp, left: Vector, right: Vector, matching: &Matching) -> Vector {
    let keys = |vector: &Vector| vector.iter().map(|sample| match_group(&sample.labels, matching)).collect::<BTreeSet<_>>();
    let (of_left, of_right) = (keys(&left), keys(&right));
    let in_right = |sample: &Sample| of_right.contains(&match_group(&sample.labels, matching));
    match op {
        BinaryOp::And => left.into_iter().filter(in_right).collect(),
        BinaryOp::Unless => left.into_iter().filter(|sample| !in_right(sample)).collect(),
        _ => {
            let only_right = right.into_iter().filter(|sample| !of_left.contains(&match_group(&sample.labels, matching)));
            left.into_iter().chain(only_right).collect()
        }
    }
}

/// Two numbers; comparisons give 1 or 0.
pub fn arithmetic(op: BinaryOp, l: f64, r: f64) -> f64 {
    match op {
        BinaryOp::Add => l + r,
        BinaryOp::Sub => l - r,
        BinaryOp::Mul => l * r,
        BinaryOp::Div => l / r,
        BinaryOp::Mod => l % r,
        BinaryOp::Pow => math::pow(l, r),
        BinaryOp::Atan2 => math::atan2(l, r),
        _ => f64::from(u8::from(holds(op, l, r))),
    }
}

fn holds(op: BinaryOp, l: f64, r: f64) -> bool {
    match op {
        BinaryOp::Equal => l == r,
        BinaryOp::NotEqual => l != r,
        BinaryOp::Greater => l > r,
        BinaryOp::Less => l < r,
        BinaryOp::GreaterOrEqual => l >= r,
        BinaryOp::LessOrEqual => l <= r,
        other => unreachable!("no comparison: {other:?}"),
    }
}

fn operate(op: BinaryOp, left: &Value, right: &Value) -> Pair {
    let refused = |l: &str, r: &str| {
        let op = op.as_str();
        Pair::Refused(Note::Info(format!("incompatible sample types encountered for binary operator \"{op}\": {l} {op} {r}")))
    };
    let histogram = |mut h: FloatHistogram, change: &dyn Fn(&mut FloatHistogram)| {
        change(&mut h);
        Pair::Done(Value::Histogram(Arc::new(h)), true, None)
    };
    match (left, right) {
        (Value::Float(_), Value::Float(_)) if op.is_trim() => refused("float", "float"),
        (Value::Float(l), Value::Float(r)) if op.is_comparison() => Pair::Done(left.clone(), holds(op, *l, *r), None),
        (Value::Float(l), Value::Float(r)) => Pair::Done(Value::Float(arithmetic(op, *l, *r)), true, None),
        (Value::Float(l), Value::Histogram(r)) if op == BinaryOp::Mul => histogram(r.as_ref().clone(), &|h| {
            h.scale(*l);
            h.compact(0);
        }),
        (Value::Float(_), Value::Histogram(_)) => refused("float", "histogram"),
        (Value::Histogram(l), Value::Float(r)) => match op {
            BinaryOp::Mul => histogram(l.as_ref().clone(), &|h| {
                h.scale(*r);
                h.compact(0);
            }),
            BinaryOp::Div => histogram(l.as_ref().clone(), &|h| {
                h.divide(*r);
                h.compact(0);
            }),
            BinaryOp::TrimBelow => histogram(l.as_ref().clone(), &|h| h.trim(*r, Keep::Below)),
            BinaryOp::TrimAbove => histogram(l.as_ref().clone(), &|h| h.trim(*r, Keep::Above)),
            _ => refused("histogram", "float"),
        },
        (Value::Histogram(l), Value::Histogram(r)) => match op {
            BinaryOp::Add | BinaryOp::Sub => sum_of_histograms(op, l, r),
            BinaryOp::Equal => Pair::Done(left.clone(), l.is_same(r), None),
            BinaryOp::NotEqual => Pair::Done(left.clone(), !l.is_same(r), None),
            _ => refused("histogram", "histogram"),
        },
    }
}

fn sum_of_histograms(op: BinaryOp, l: &FloatHistogram, r: &FloatHistogram) -> Pair {
    let mut h = l.clone();
    let (done, during) = if op == BinaryOp::Add { (h.add(r), "addition") } else { (h.subtract(r), "subtraction") };
    let Ok(reconciled) = done else {
        let text = format!("incompatible bucket layout encountered for binary operator {}", op.as_str());
        return Pair::Refused(Note::Warning(text));
    };
    if reconciled.resets_collide {
        return Pair::Refused(Note::Warning(notes::resets_collide(during)));
    }
    if op == BinaryOp::Sub {
        h.reset_hint = ResetHint::Gauge;
    }
    h.compact(0);
    let note = reconciled.bounds.then(|| Note::Info(notes::bounds_reconciled(during)));
    Pair::Done(Value::Histogram(Arc::new(h)), true, note)
}
