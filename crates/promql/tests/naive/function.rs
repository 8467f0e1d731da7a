//! Calls of functions over instant vectors and numbers.

use super::eval::{check_unique, place, text_of};
use super::invariant::unwrapped;
use super::range::labels_of_absent;
use super::{Error, Frame, Naive, Sample, Value, Vector, number};
use model::labels::LabelsBuilder;
use model::regex::{AnchoredRegex, expand};
use model::{Labels, math, value::NORMAL_NAN};
use promql::ast::{Call, Expr, ValueType, VectorSelector};
use std::cmp::Ordering;

impl Naive<'_> {
    /// A function that gives a number.
    pub fn scalar_call(&self, call: &Call, frame: Frame) -> Result<Vec<f64>, Error> {
        let times = frame.times();
        let same = |v: f64| Ok(vec![v; times.len()]);
        let seconds = |millis: i64| millis as f64 / 1000.0;
        match call.function.name {
            "pi" => same(std::f64::consts::PI),
            "start" => same(seconds(self.query.start)),
            "end" => same(seconds(self.query.end)),
            "range" => same(seconds(self.query.end - self.query.start)),
            "step" => same(if self.query.is_single() { 0.0 } else { seconds(self.query.step) }),
            "time" => Ok(times.into_iter().map(seconds).collect()),
            "max_of" | "min_of" => {
                let choose = if call.function.name == "max_of" { number::max } else { number::min };
                let (a, b) = (self.scalars(&call.args[0], frame)?, self.scalars(&call.args[1], frame)?);
                Ok(a.into_iter().zip(b).map(|(a, b)| choose(a, b)).collect())
            }
            "scalar" => {
                let only = |vector: Vector| match floats(&vector).as_slice() {
                    [(_, v)] => *v,
                    _ => NORMAL_NAN,
                };
                Ok(self.vectors(&call.args[0], frame)?.into_iter().map(only).collect())
            }
            other => unreachable!("no such function of numbers: {other}"),
        }
    }

    /// A function that gives an instant vector.
    pub fn call(&self, call: &Call, frame: Frame) -> Result<Vec<Vector>, Error> {
        if call.args.iter().any(|e| e.value_type() == ValueType::Matrix) {
            return self.range_call(call, frame);
        }
        let name = call.function.name;
        match name {
            "label_replace" => return self.label_replace(call, frame),
            "label_join" => return self.label_join(call, frame),
            "info" => return self.add_info(call, frame),
            "timestamp" | "start_timestamp" => {
                if let Expr::Vector(selector) = unwrapped(&call.args[0]) {
                    return self.settled(self.sample_times(selector, frame, name == "start_timestamp"), frame);
                }
            }
            _ => {}
        }
        let times = frame.times();
        let mut vectors: Vec<Vec<Vector>> = Vec::new();
        let mut numbers: Vec<Vec<f64>> = Vec::new();
        for e in &call.args {
            match e.value_type() {
                ValueType::Vector => vectors.push(self.vectors(e, frame)?),
                ValueType::Scalar => numbers.push(self.scalars(e, frame)?),
                ValueType::String | ValueType::Matrix => {}
            }
        }
        if name.starts_with("sort") && !frame.is_single() {
            self.warn("sort is ineffective for range queries since results are always ordered by labels".into(), call.span.start);
        }
        let mut steps = Vec::new();
        for (i, t) in times.iter().enumerate() {
            let input = vectors.first().map(|steps| steps[i].clone());
            let at_step: Vec<f64> = numbers.iter().map(|values| values[i]).collect();
            steps.push(self.at_step(call, *t, input, &at_step));
        }
        if name.starts_with("sort") && !frame.is_single() {
            steps.iter_mut().for_each(|vector| vector.sort_by(|a, b| a.labels.cmp(&b.labels)));
        }
        self.settled(steps, frame)
    }

    fn at_step(&self, call: &Call, t: i64, input: Option<Vector>, numbers: &[f64]) -> Vector {
        let name = call.function.name;
        let nameless = |v: f64| vec![Sample { labels: Labels::empty(), t, value: Value::Float(v), drop_name: false }];
        let Some(input) = input else {
            return nameless(if name == "vector" { numbers[0] } else { calendar(name, t.div_euclid(1000)) });
        };
        match name {
            "absent" => {
                let matchers = if let Expr::Vector(s) = unwrapped(&call.args[0]) { s.matchers.as_slice() } else { &[] };
                let sample = Sample { labels: labels_of_absent(matchers), t, value: Value::Float(1.0), drop_name: false };
                if input.is_empty() { vec![sample] } else { Vec::new() }
            }
            "timestamp" => input.iter().map(|sample| self.changed(sample, Value::Float(t as f64 / 1000.0))).collect(),
            "start_timestamp" => Vec::new(),
            "sort" | "sort_desc" => sorted_by_value(input, name == "sort_desc"),
            "sort_by_label" | "sort_by_label_desc" => {
                let labels: Vec<String> = call.args[1..].iter().map(text_of).collect();
                sorted_by_label(input, &labels, name == "sort_by_label_desc")
            }
            "histogram_quantile" => self.histogram_quantile(&input, &numbers[..1], None, &call.args[1], &call.args[..1]),
            "histogram_quantiles" => {
                let label = text_of(&call.args[1]);
                self.histogram_quantile(&input, numbers, Some(&label), &call.args[0], &call.args[2..])
            }
            "histogram_fraction" => self.histogram_fraction(&input, numbers[0], numbers[1], place(&call.args[2])),
            "histogram_count" | "histogram_sum" | "histogram_avg" | "histogram_stddev" | "histogram_stdvar" => {
                let of = |sample: &Sample| match &sample.value {
                    Value::Float(_) => None,
                    Value::Histogram(h) => {
                        let labels = if self.options.delayed_name_removal {
                            sample.labels.clone()
                        } else {
                            LabelsBuilder::from_labels(&sample.labels).remove("__name__").build()
                        };
                        Some(Sample { labels, t, value: Value::Float(super::buckets::number(name, h)), drop_name: true })
                    }
                };
                input.iter().filter_map(of).collect()
            }
            "clamp" if numbers[1] < numbers[0] => Vec::new(),
            _ => {
                let of = |sample: &Sample| match sample.value {
                    Value::Float(v) => Some(self.changed(sample, Value::Float(of_float(name, v, numbers)))),
                    Value::Histogram(_) => None,
                };
                input.iter().filter_map(of).collect()
            }
        }
    }

    /// The times of the selected samples, or when their counters began.
    fn sample_times(&self, selector: &VectorSelector, frame: Frame, starts: bool) -> Vec<Vector> {
        let (at, offset) = (self.at(selector.at), self.offset(selector));
        let mut steps = Vec::new();
        for t in frame.times() {
            let mut vector = Vector::new();
            for (labels, points) in self.store.matching(&selector.matchers) {
                if let Some(point) = self.newest(points, at.unwrap_or(t) - offset)
                    && (!starts || self.options.use_start_timestamps)
                {
                    let millis = if starts { point.start } else { point.t };
                    let value = Value::Float(millis as f64 / 1000.0);
                    vector.push(Sample { labels: self.dropped(labels), t, value, drop_name: true });
                }
            }
            steps.push(vector);
        }
        steps
    }

    fn label_replace(&self, call: &Call, frame: Frame) -> Result<Vec<Vector>, Error> {
        let [target, replacement, source, pattern] = [1, 2, 3, 4].map(|i| text_of(&call.args[i]));
        let regex = AnchoredRegex::new(&pattern).map_err(|_| format!("invalid regular expression in label_replace(): {pattern}"))?;
        if target.is_empty() {
            return Err(format!("invalid destination label name in label_replace(): {target}"));
        }
        self.relabelled(call, frame, |labels| {
            let text = labels.get(&source).unwrap_or("");
            let captures = regex.captures(text)?;
            Some(LabelsBuilder::from_labels(labels).set(&target, &expand(&regex, &replacement, &captures)).build())
        })
    }

    fn label_join(&self, call: &Call, frame: Frame) -> Result<Vec<Vector>, Error> {
        let (target, separator) = (text_of(&call.args[1]), text_of(&call.args[2]));
        let sources: Vec<String> = call.args[3..].iter().map(text_of).collect();
        if sources.iter().any(String::is_empty) {
            return Err("invalid source label name in label_join(): ".into());
        }
        if target.is_empty() {
            return Err(format!("invalid destination label name in label_join(): {target}"));
        }
        self.relabelled(call, frame, |labels| {
            let parts: Vec<&str> = sources.iter().map(|source| labels.get(source).unwrap_or("")).collect();
            Some(LabelsBuilder::from_labels(labels).set(&target, &parts.join(&separator)).build())
        })
    }

    /// Changes labels, where `change` gives new ones. A name that is set stays.
    fn relabelled(&self, call: &Call, frame: Frame, change: impl Fn(&Labels) -> Option<Labels>) -> Result<Vec<Vector>, Error> {
        let mut steps = self.vectors(&call.args[0], frame)?;
        for sample in steps.iter_mut().flatten() {
            if let Some(labels) = change(&sample.labels) {
                sample.labels = labels;
                sample.drop_name &= text_of(&call.args[1]) != "__name__";
            }
        }
        check_unique(&steps)?;
        Ok(steps)
    }
}

/// The floats of a vector, and where they are in it.
fn floats(vector: &Vector) -> Vec<(usize, f64)> {
    let float = |(i, sample): (usize, &Sample)| match sample.value {
        Value::Float(v) => Some((i, v)),
        Value::Histogram(_) => None,
    };
    vector.iter().enumerate().filter_map(float).collect()
}

fn of_float(name: &str, v: f64, numbers: &[f64]) -> f64 {
    match name {
        "abs" => v.abs(),
        "ceil" => v.ceil(),
        "floor" => v.floor(),
        "exp" => math::exp(v),
        "sqrt" => v.sqrt(),
        "ln" => math::ln(v),
        "log2" => math::log2(v),
        "log10" => math::log10(v),
        "sin" => math::sin(v),
        "cos" => math::cos(v),
        "tan" => math::tan(v),
        "asin" => math::asin(v),
        "acos" => math::acos(v),
        "atan" => math::atan(v),
        "sinh" => math::sinh(v),
        "cosh" => math::cosh(v),
        "tanh" => math::tanh(v),
        "asinh" => math::asinh(v),
        "acosh" => math::acosh(v),
        "atanh" => math::atanh(v),
        "rad" => v * std::f64::consts::PI / 180.0,
        "deg" => v * 180.0 / std::f64::consts::PI,
        "sgn" if v < 0.0 => -1.0,
        "sgn" if v > 0.0 => 1.0,
        "sgn" => v,
        "clamp" => number::max(numbers[0], number::min(numbers[1], v)),
        "clamp_max" => number::max(f64::NEG_INFINITY, number::min(numbers[0], v)),
        "clamp_min" => number::max(numbers[0], number::min(f64::INFINITY, v)),
        "round" => {
            let inverse = 1.0 / numbers.first().copied().unwrap_or(1.0);
            (v * inverse + 0.5).floor() / inverse
        }
        other => calendar(other, v as i64),
    }
}

/// Parts of the date that `seconds` after 1970 belongs to, by walking through the years and months.
fn calendar(name: &str, seconds: i64) -> f64 {
    const WHOLE: i64 = 400;
    const DAYS_OF_WHOLE: i64 = 146_097;
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let mut year = 1970 + days.div_euclid(DAYS_OF_WHOLE) * WHOLE;
    let mut day = days.rem_euclid(DAYS_OF_WHOLE);
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    let day_of_year = day + 1;
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let part = match name {
        "minute" => of_day % 3600 / 60,
        "hour" => of_day / 3600,
        "day_of_week" => (days + 4).rem_euclid(7),
        "day_of_month" => day + 1,
        "day_of_year" => day_of_year,
        "days_in_month" => lengths[month],
        "month" => month as i64 + 1,
        "year" => year,
        other => unreachable!("no such function: {other}"),
    };
    part as f64
}

/// Only floats; NaN comes last.
fn sorted_by_value(vector: Vector, descending: bool) -> Vector {
    let mut found = floats(&vector);
    found.sort_by(|(_, a), (_, b)| match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => b.partial_cmp(a).expect("no NaN"),
        (false, false) => a.partial_cmp(b).expect("no NaN"),
        (x, y) => x.cmp(&y),
    });
    found.into_iter().map(|(i, _)| vector[i].clone()).collect()
}

fn sorted_by_label(mut vector: Vector, names: &[String], descending: bool) -> Vector {
    vector.sort_by(|a, b| {
        let get = |sample: &Sample, name: &str| sample.labels.get(name).unwrap_or("").to_owned();
        let by_names = names.iter().map(|name| natural(&get(a, name), &get(b, name)));
        by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels))
    });
    if descending {
        vector.reverse();
    }
    vector
}

/// Text with numbers in it: digits compare as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let chunks = |text: &str| {
        let mut chunks: Vec<String> = Vec::new();
        for c in text.chars() {
            match chunks.last_mut() {
                Some(chunk) if chunk.ends_with(|last: char| last.is_ascii_digit()) == c.is_ascii_digit() => chunk.push(c),
                _ => chunks.push(c.to_string()),
            }
        }
        chunks
    };
    let (left, right) = (chunks(a), chunks(b));
    for (x, y) in left.iter().zip(&right) {
        let order = match (x.parse::<i64>(), y.parse::<i64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len())
}
