//! `rate` and its kin, plain and with windows that are `anchored` or `smoothed`.

use super::histograms::Place;
use super::{Error, Naive, Point, Value, notes};
use model::{FloatHistogram, histogram::ResetHint};
use promql::ast::Extended;
use std::sync::Arc;

/// One series' samples at one step, and what functions want to know of the selector.
pub struct Window<'w> {
    pub name: &'w str,
    pub points: &'w [Point],
    /// The time of the step.
    pub t: i64,
    /// Exclusive.
    pub start: i64,
    /// Inclusive.
    pub end: i64,
    pub extended: Option<Extended>,
    /// Where the first argument stands.
    pub at: usize,
}

type Float = (i64, f64);

impl<'w> Window<'w> {
    pub fn floats(&self) -> Vec<Float> {
        floats(self.points)
    }

    pub fn histograms(&self) -> Vec<(i64, &'w FloatHistogram)> {
        let histogram = |point: &'w Point| match &point.value {
            Value::Float(_) => None,
            Value::Histogram(h) => Some((point.t, h.as_ref())),
        };
        self.points.iter().filter_map(histogram).collect()
    }

    pub fn place(&self) -> Place<'w> {
        Place { name: self.name, at: self.at }
    }

    fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}

fn floats(points: &[Point]) -> Vec<Float> {
    let float = |point: &Point| match point.value {
        Value::Float(v) => Some((point.t, v)),
        Value::Histogram(_) => None,
    };
    points.iter().filter_map(float).collect()
}

/// `rate` is both, `increase` a counter, `delta` neither.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub counter: bool,
    pub per_second: bool,
}

impl Naive<'_> {
    /// `rate`, `increase`, `delta`
    pub fn rate(&self, window: &Window<'_>, kind: Kind) -> Option<Value> {
        let (floats, histograms) = (window.floats(), window.histograms());
        if !floats.is_empty() && !histograms.is_empty() {
            self.warn(notes::mixed_floats_histograms(window.name), window.at);
            return None;
        }
        match window.extended {
            Some(extended) if histograms.is_empty() => extended_rate(window, &floats, kind, extended).map(Value::Float),
            Some(extended) => self.extended_histogram_rate(window, &histograms, kind, extended).map(|h| Value::Histogram(Arc::new(h))),
            None => self.extrapolated(window, kind, &floats, &histograms),
        }
    }

    fn extrapolated(&self, window: &Window<'_>, kind: Kind, floats: &[Float], histograms: &[(i64, &FloatHistogram)]) -> Option<Value> {
        let points = window.points;
        let (first, last) = (points.first()?, points.last()?);
        let gaps = points.len() - 1;
        let mut histogram = None;
        let mut float = 0.0;
        if histograms.len() > 1 {
            histogram = Some(self.histogram_rate(window, histograms, kind.counter)?);
        } else if histograms.is_empty() {
            float = floats[gaps].1 - floats[0].1;
            if kind.counter {
                self.note_overlap(window);
                for (pair, values) in points.windows(2).zip(floats.windows(2)) {
                    if values[1].1 < values[0].1 || self.is_start_reset(&pair[0], &pair[1]) {
                        float += values[0].1;
                    }
                }
            }
        }
        let mut to_start = (first.t - window.start) as f64 / 1000.0;
        let mut to_end = (window.end - last.t) as f64 / 1000.0;
        let mut sampled = (last.t - first.t) as f64 / 1000.0;
        let average = if gaps > 0 { sampled / gaps as f64 } else { 0.0 };
        let threshold = average * 1.1;
        let began = if self.options.use_start_timestamps { first.start } else { 0 };
        if kind.counter && began != 0 && began > window.start && began < first.t {
            to_start = 0.0;
            sampled = (last.t - began) as f64 / 1000.0;
            match &first.value {
                Value::Float(v) => float += v,
                Value::Histogram(h) => match &mut histogram {
                    None => histogram = Some(h.as_ref().clone()),
                    Some(sum) => {
                        if !self.add_histogram(sum, h, window.place()) {
                            return None;
                        }
                    }
                },
            }
        } else if gaps == 0 {
            return None;
        } else {
            if to_start >= threshold {
                to_start = average / 2.0;
            }
            if kind.counter {
                let to_zero = match (&first.value, &histogram) {
                    (Value::Float(v), _) if float > 0.0 && *v >= 0.0 => sampled * (v / float),
                    (Value::Histogram(h), Some(rate)) if rate.count > 0.0 && h.count >= 0.0 => sampled * (h.count / rate.count),
                    _ => to_start,
                };
                if to_zero < to_start {
                    to_start = to_zero;
                }
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
        if kind.per_second {
            factor /= window.seconds();
        }
        Some(match histogram {
            None => Value::Float(float * factor),
            Some(mut h) => {
                h.scale(factor);
                Value::Histogram(Arc::new(h))
            }
        })
    }

    /// The increase over two or more histograms.
    fn histogram_rate(&self, window: &Window<'_>, histograms: &[(i64, &FloatHistogram)], counter: bool) -> Option<FloatHistogram> {
        let name = window.name;
        let mixed = || self.warn(notes::mixed_schemas(name), window.at);
        let all: Vec<&FloatHistogram> = histograms.iter().map(|(_, h)| *h).collect();
        let (first, last) = (all[0], all[all.len() - 1]);
        let is_gauge = |h: &FloatHistogram| h.reset_hint == ResetHint::Gauge;
        // Prometheus gathers what it has to say and says nothing of it if schemas turn out to be mixed later.
        let mut not_a_counter = counter && (is_gauge(first) || is_gauge(last));
        let nothing =
            FloatHistogram { schema: all[1].schema, custom_values: Arc::clone(&all[1].custom_values), ..FloatHistogram::default() };
        let begin = if counter && (self.is_start_reset(&window.points[0], &window.points[1]) || all[1].is_reset_since(first)) {
            &nothing
        } else {
            first
        };
        if last.has_custom_bounds() != begin.has_custom_bounds() {
            if not_a_counter {
                self.warn(notes::not_a_counter(name), window.at);
            }
            mixed();
            return None;
        }
        let mut schema = last.schema.min(begin.schema);
        if counter {
            for h in &all[1..all.len() - 1] {
                not_a_counter |= is_gauge(h);
                schema = schema.min(h.schema);
                if h.has_custom_bounds() != begin.has_custom_bounds() {
                    mixed();
                    return None;
                }
            }
        }
        let mut reconciled = Vec::new();
        let mut result = last.clone();
        if schema != last.schema {
            result.reduce_resolution(schema).expect("a coarser exponential schema");
        }
        match result.subtract(begin) {
            Err(_) => {
                mixed();
                return None;
            }
            Ok(r) => reconciled.extend(r.bounds.then_some("subtraction")),
        }
        if counter {
            let mut previous = begin;
            for (i, h) in all.iter().enumerate().skip(1) {
                if self.is_start_reset(&window.points[i - 1], &window.points[i]) || h.is_reset_since(previous) {
                    match result.add(previous) {
                        Err(_) => {
                            mixed();
                            return None;
                        }
                        Ok(r) => reconciled.extend(r.bounds.then_some("addition")),
                    }
                }
                previous = h;
            }
            self.note_overlap(window);
        } else if !is_gauge(first) || !is_gauge(last) {
            self.warn(notes::not_a_gauge(name), window.at);
        }
        if not_a_counter {
            self.warn(notes::not_a_counter(name), window.at);
        }
        for during in reconciled {
            self.info(notes::bounds_reconciled(during), window.at);
        }
        result.reset_hint = ResetHint::Gauge;
        result.compact(0);
        Some(result)
    }

    /// Does the start timestamp say that the counter began anew?
    pub fn is_start_reset(&self, previous: &Point, current: &Point) -> bool {
        if !self.options.use_start_timestamps || current.start == 0 || current.start >= current.t || current.start < previous.t {
            return false;
        }
        if current.start > previous.t {
            return true;
        }
        previous.start <= previous.t && previous.start != 0 && previous.start != previous.t
    }

    fn note_overlap(&self, window: &Window<'_>) {
        let overlap = |pair: &[Point]| pair[1].start != 0 && pair[1].start < pair[0].t && pair[1].start != pair[0].start;
        if self.options.use_start_timestamps && window.points.windows(2).any(overlap) {
            let name = model::name::quote(window.name);
            self.warn(format!("sample has start time that overlaps with previous sample timestamp for metric {name}"), window.at);
        }
    }

    /// `irate` and `idelta`: the last two samples.
    pub fn instant_value(&self, window: &Window<'_>, counter: bool) -> Option<Value> {
        let [.., a, b] = window.points else { return None };
        let seconds = (b.t - a.t) as f64 / 1000.0;
        match (&a.value, &b.value) {
            (Value::Float(x), Value::Float(y)) => {
                let reset = counter && (y < x || self.is_start_reset(a, b));
                let change = if reset { *y } else { y - x };
                Some(Value::Float(if counter { change / seconds } else { change }))
            }
            (Value::Histogram(x), Value::Histogram(y)) => {
                let gauges = [x, y].into_iter().filter(|h| h.reset_hint == ResetHint::Gauge).count();
                if counter && gauges > 0 {
                    self.warn(notes::not_a_counter(window.name), window.at);
                }
                if !counter && gauges < 2 {
                    self.warn(notes::not_a_gauge(window.name), window.at);
                }
                let mut change = y.as_ref().clone();
                let reset = counter && (self.is_start_reset(a, b) || y.is_reset_since(x));
                if !reset && !self.subtract_histogram(&mut change, x, window.place()) {
                    return None;
                }
                change.reset_hint = ResetHint::Gauge;
                change.compact(0);
                if counter {
                    change.divide(seconds);
                }
                Some(Value::Histogram(Arc::new(change)))
            }
            _ => {
                self.warn(notes::mixed_floats_histograms(window.name), window.at);
                None
            }
        }
    }

    fn extended_histogram_rate(
        &self,
        window: &Window<'_>,
        h: &[(i64, &FloatHistogram)],
        kind: Kind,
        extended: Extended,
    ) -> Option<FloatHistogram> {
        let (place, smoothed) = (window.place(), extended == Extended::Smoothed);
        let times: Vec<i64> = h.iter().map(|(t, _)| *t).collect();
        let (first, last) = borders(&times, window.start, window.end, smoothed)?;
        for (_, histogram) in &h[first..=last] {
            if histogram.has_custom_bounds() != h[first].1.has_custom_bounds() {
                self.warn(notes::mixed_schemas(window.name), window.at);
                return None;
            }
            if kind.counter && histogram.reset_hint == ResetHint::Gauge {
                self.warn(notes::not_a_counter(window.name), window.at);
            }
        }
        let left = if smoothed && h[first].0 < window.start {
            self.histogram_on_line(h[first], h[first + 1], window.start, kind.counter, place)?
        } else {
            h[first].1.clone()
        };
        let right = if smoothed && last > 0 && h[last].0 > window.end {
            self.histogram_on_line(h[last - 1], h[last], window.end, kind.counter, place)?
        } else {
            h[last].1.clone()
        };
        if !kind.counter && (left.reset_hint != ResetHint::Gauge || right.reset_hint != ResetHint::Gauge) {
            self.warn(notes::not_a_gauge(window.name), window.at);
        }
        let mut result = right.clone();
        if !self.subtract_histogram(&mut result, &left, place) {
            return None;
        }
        if kind.counter {
            // The samples between both borders; a reset that the left border lies in has been counted there.
            let mut previous = &left;
            let mut begin = first + 1;
            if smoothed && h[first].0 < window.start && h[first + 1].1.is_reset_since(h[first].1) {
                previous = h[first + 1].1;
                begin += 1;
            }
            if begin <= last {
                let mut correction: Option<FloatHistogram> = None;
                for current in h[begin..last].iter().map(|(_, h)| *h).chain([&right]) {
                    if current.is_reset_since(previous) {
                        match &mut correction {
                            None => correction = Some(previous.clone()),
                            Some(sum) => {
                                if !self.add_histogram(sum, previous, place) {
                                    return None;
                                }
                            }
                        }
                    }
                    previous = current;
                }
                if let Some(correction) = correction
                    && !self.add_histogram(&mut result, &correction, place)
                {
                    return None;
                }
            }
        }
        if kind.per_second {
            result.divide(window.seconds());
        }
        result.reset_hint = ResetHint::Gauge;
        result.compact(0);
        Some(result)
    }
}

/// The first and the last sample that count: the first is the last one at or before the start, if there is one; for smoothed
/// windows the last is the first one at or after the end. None if nothing lies behind the start.
fn borders(times: &[i64], start: i64, end: i64, smoothed: bool) -> Option<(usize, usize)> {
    let newest = times.len().checked_sub(1)?;
    let behind_start = times[..newest].iter().position(|t| *t > start).unwrap_or(newest);
    let first = behind_start.saturating_sub(1);
    let last = if smoothed { times[..newest].iter().position(|t| *t >= end).unwrap_or(newest) } else { newest };
    (times[last] > start && !(smoothed && times[first] > end)).then_some((first, last))
}

/// The value at `t` on a line through two samples. A counter that was reset between them began at zero.
pub fn on_line(a: Float, b: Float, t: i64, counter: bool) -> f64 {
    let from = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

/// The values at both borders, and the indices of the samples strictly between them.
fn border_values(f: &[Float], (first, last): (usize, usize), start: i64, end: i64, extended: Extended, counter: bool) -> (f64, f64) {
    let smoothed = extended == Extended::Smoothed;
    let left = if smoothed && f[first].0 < start { on_line(f[first], f[first + 1], start, counter) } else { f[first].1 };
    let right = if smoothed && last > 0 && f[last].0 > end { on_line(f[last - 1], f[last], end, counter) } else { f[last].1 };
    (left, right)
}

fn between(f: &[Float], (first, last): (usize, usize), start: i64, end: i64) -> &[Float] {
    let begin = if f[first].0 <= start { first + 1 } else { first };
    let end = if f[last].0 >= end { last } else { last + 1 };
    f.get(begin..end).unwrap_or_default()
}

fn extended_rate(window: &Window<'_>, f: &[Float], kind: Kind, extended: Extended) -> Option<f64> {
    let times: Vec<i64> = f.iter().map(|(t, _)| *t).collect();
    let (start, end) = (window.start, window.end);
    let found = borders(&times, start, end, extended == Extended::Smoothed)?;
    let (left, right) = border_values(f, found, start, end, extended, kind.counter);
    let mut result = right - left;
    if kind.counter {
        let mut correction = 0.0;
        let mut previous = left;
        for (_, v) in between(f, found, start, end) {
            if *v < previous {
                correction += previous;
            }
            previous = *v;
        }
        if right < previous {
            correction += previous;
        }
        result += correction;
    }
    Some(if kind.per_second { result / window.seconds() } else { result })
}

/// What an extended range selector gives as a whole query: the samples within, and values at both borders.
pub fn extended_points(points: &[(i64, Value)], start: i64, end: i64, extended: Extended) -> Result<Vec<(i64, Value)>, Error> {
    let mut f = Vec::new();
    for (t, value) in points {
        match value {
            Value::Float(v) => f.push((*t, *v)),
            Value::Histogram(_) => return Err(format!("{} modifier is not supported with histograms", extended.as_str())),
        }
    }
    let times: Vec<i64> = f.iter().map(|(t, _)| *t).collect();
    let newest = times.len().checked_sub(1);
    let Some((first, last)) = newest.and(borders_of_selector(&times, start, end, extended)) else { return Ok(Vec::new()) };
    let (left, right) = border_values(&f, (first, last), start, end, extended, false);
    let inner = between(&f, (first, last), start, end).iter().copied();
    Ok([(start, left)].into_iter().chain(inner).chain([(end, right)]).map(|(t, v)| (t, Value::Float(v))).collect())
}

/// As [`borders`]; but a smoothed selector gives what lies wholly behind its end too.
fn borders_of_selector(times: &[i64], start: i64, end: i64, extended: Extended) -> Option<(usize, usize)> {
    borders(times, start, end, extended == Extended::Smoothed).or_else(|| {
        let first = *times.first()?;
        (extended == Extended::Smoothed && first > end).then_some((0, 0))
    })
}
