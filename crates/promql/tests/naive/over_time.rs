//! Functions of windows beside `rate` and its kin.

use super::histograms::{self, Total};
use super::number::{Kahan, mean, quantile};
use super::rate::{Kind, Window};
use super::{Error, Naive, Point, Value, notes};
use model::{FloatHistogram, histogram::ResetHint};
use promql::ast::Extended;
use std::sync::Arc;

impl Naive<'_> {
    /// The function's value for one window that has samples; `numbers` are its scalar arguments.
    pub fn over_window(&self, name: &str, window: &Window<'_>, numbers: &[f64]) -> Result<Option<Value>, Error> {
        let (floats, histograms) = (window.floats(), window.histograms());
        let values: Vec<f64> = floats.iter().map(|(_, v)| *v).collect();
        let float = |v: f64| Ok(Some(Value::Float(v)));
        match name {
            "rate" => return Ok(self.rate(window, Kind { counter: true, per_second: true })),
            "increase" => return Ok(self.rate(window, Kind { counter: true, per_second: false })),
            "delta" => return Ok(self.rate(window, Kind { counter: false, per_second: false })),
            "irate" => return Ok(self.instant_value(window, true)),
            "idelta" => return Ok(self.instant_value(window, false)),
            "resets" => return Ok(self.count_pairs(window, |naive, a, b| naive.is_reset(a, b))),
            "changes" => return Ok(self.count_pairs(window, |_, a, b| is_change(a, b))),
            "count_over_time" => return float(window.points.len() as f64),
            "present_over_time" | "absent_over_time" => return float(1.0),
            "first_over_time" => return Ok(window.points.first().map(|point| point.value.clone())),
            "last_over_time" => return Ok(window.points.last().map(|point| point.value.clone())),
            "ts_of_first_over_time" => return float(window.points[0].t as f64 / 1000.0),
            "ts_of_last_over_time" => return float(window.points[window.points.len() - 1].t as f64 / 1000.0),
            "sum_over_time" | "avg_over_time" => {
                if !floats.is_empty() && !histograms.is_empty() {
                    self.warn(notes::mixed_floats_histograms(window.name), window.at);
                    return Ok(None);
                }
                if !histograms.is_empty() {
                    return Ok(self.total_over_time(window, name == "avg_over_time"));
                }
                return float(if name == "avg_over_time" { mean(&values) } else { sum(&values) });
            }
            _ => {}
        }
        // All others look at floats only and say so where there are histograms too.
        let ignored = || {
            if !histograms.is_empty() {
                self.info(notes::ignored_in_range(window.name), window.at);
            }
        };
        if name == "double_exponential_smoothing" {
            for (which, factor) in ["smoothing", "trend"].into_iter().zip(numbers) {
                if *factor <= 0.0 || *factor >= 1.0 {
                    let short = if which == "smoothing" { "sf" } else { "tf" };
                    return Err(format!("invalid {which} factor. Expected: 0 < {short} < 1, got: {}", six_digits(*factor)));
                }
            }
        }
        if floats.is_empty() {
            return Ok(None);
        }
        if name == "quantile_over_time" && !(0.0..=1.0).contains(&numbers[0]) {
            self.warn(notes::invalid_quantile(numbers[0]), window.at);
        }
        ignored();
        let extreme = |better: fn(f64, f64) -> bool| {
            floats.iter().fold(floats[0], |best, now| if better(now.1, best.1) || best.1.is_nan() { *now } else { best })
        };
        match name {
            "max_over_time" => float(extreme(|now, best| now > best).1),
            "min_over_time" => float(extreme(|now, best| now < best).1),
            "ts_of_max_over_time" => float(extreme(|now, best| now >= best).0 as f64 / 1000.0),
            "ts_of_min_over_time" => float(extreme(|now, best| now <= best).0 as f64 / 1000.0),
            "quantile_over_time" => float(quantile(numbers[0], &values)),
            "mad_over_time" => float(median_deviation(&values)),
            "stddev_over_time" => float(variance(&values).sqrt()),
            "stdvar_over_time" => float(variance(&values)),
            _ if floats.len() < 2 => Ok(None),
            "deriv" => float(regression(&floats, floats[0].0).0),
            "predict_linear" => {
                let (slope, intercept) = regression(&floats, window.t);
                float(slope * numbers[0] + intercept)
            }
            "double_exponential_smoothing" => float(smoothing(&values, numbers[0], numbers[1])),
            other => unreachable!("no function of windows: {other}"),
        }
    }

    fn total_over_time(&self, window: &Window<'_>, mean: bool) -> Option<Value> {
        let histograms: Vec<&FloatHistogram> = window.histograms().into_iter().map(|(_, h)| h).collect();
        let Total { result: Some(result), bounds_reconciled, .. } = histograms::total(&histograms, mean) else {
            self.warn(notes::mixed_schemas(window.name), window.at);
            return None;
        };
        if bounds_reconciled {
            self.info(notes::bounds_reconciled("aggregation"), window.at);
        }
        let has = |hint: ResetHint| histograms.iter().any(|h| h.reset_hint == hint);
        if has(ResetHint::Reset) && has(ResetHint::NoReset) {
            self.warn(notes::resets_collide("aggregation"), window.at);
        }
        Some(Value::Histogram(Arc::new(result)))
    }

    /// How many samples differ from their predecessor. An anchored window begins with the last sample before it.
    fn count_pairs(&self, window: &Window<'_>, differ: impl Fn(&Self, &Point, &Point) -> bool) -> Option<Value> {
        let mut points = window.points;
        if window.extended == Some(Extended::Anchored) {
            let before = points.iter().filter(|point| point.t <= window.start).count();
            if before == points.len() {
                return None;
            }
            points = &points[before.saturating_sub(1)..];
        }
        Some(Value::Float(points.windows(2).filter(|pair| differ(self, &pair[0], &pair[1])).count() as f64))
    }

    fn is_reset(&self, a: &Point, b: &Point) -> bool {
        match (&a.value, &b.value) {
            (Value::Float(x), Value::Float(y)) => y < x || self.is_start_reset(a, b),
            (Value::Histogram(x), Value::Histogram(y)) => self.is_start_reset(a, b) || y.is_reset_since(x),
            _ => true,
        }
    }
}

fn is_change(a: &Point, b: &Point) -> bool {
    match (&a.value, &b.value) {
        (Value::Float(x), Value::Float(y)) => x != y && !(x.is_nan() && y.is_nan()),
        (Value::Histogram(x), Value::Histogram(y)) => !x.is_same(y),
        _ => true,
    }
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Kahan::default();
    values.iter().for_each(|v| sum.add(*v));
    if sum.sum.is_infinite() { sum.sum } else { sum.sum + sum.c }
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for v in values {
        count += 1.0;
        let delta = v - (mean.sum + mean.c);
        mean.add(delta / count);
        squares.add(delta * (v - (mean.sum + mean.c)));
    }
    (squares.sum + squares.c) / count
}

fn median_deviation(values: &[f64]) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return model::value::NORMAL_NAN;
    }
    let median = quantile(0.5, values);
    let deviations: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
    quantile(0.5, &deviations)
}

/// Least squares: the slope, and the value at `origin`.
fn regression(floats: &[(i64, f64)], origin: i64) -> (f64, f64) {
    let first = floats[0].1;
    if floats.iter().skip(1).all(|(_, v)| *v == first) {
        return if first.is_infinite() { (model::value::NORMAL_NAN, model::value::NORMAL_NAN) } else { (0.0, first) };
    }
    let n = floats.len() as f64;
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [Kahan::default(); 4];
    for (t, y) in floats {
        let x = (t - origin) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(*y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let [x, y, xy, xx] = [sum_x, sum_y, sum_xy, sum_xx].map(|k| k.sum + k.c);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

fn smoothing(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let (mut before, mut now) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (i, v) in values.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * v + (1.0 - smoothing) * (now + slope);
        (before, now) = (now, next);
    }
    now
}

/// Go's `%f`.
fn six_digits(v: f64) -> String {
    if v.is_finite() { format!("{v:.6}") } else { model::number::format_plain(v) }
}
