//! Go's arithmetic of single floats, and Prometheus's compensated sums.

use model::value::NORMAL_NAN;

/// Kahan's sum with Neumaier's improvement: a sum and what rounding has lost of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kahan {
    pub sum: f64,
    pub c: f64,
}

impl Kahan {
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.c = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.c += (self.sum - total) + value;
        } else {
            self.c += (value - total) + self.sum;
        }
        self.sum = total;
    }
}

/// `math.Max`: infinity goes before NaN, and 0 is greater than -0.
pub fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        NORMAL_NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// `math.Min`, likewise.
pub fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

/// The mean of values, compensated; once the sum would overflow, the mean itself is carried on.
pub fn mean(values: &[f64]) -> f64 {
    let mut sum = Kahan { sum: values[0], c: 0.0 };
    let mut mean: Option<Kahan> = None;
    for (i, value) in values.iter().enumerate().skip(1) {
        let count = (i + 1) as f64;
        if mean.is_none() {
            let mut next = sum;
            next.add(*value);
            if !next.sum.is_infinite() {
                sum = next;
                continue;
            }
            mean = Some(Kahan { sum: sum.sum / (count - 1.0), c: sum.c / (count - 1.0) });
        }
        if let Some(mean) = &mut mean {
            let q = (count - 1.0) / count;
            *mean = Kahan { sum: q * mean.sum, c: q * mean.c };
            mean.add(value / count);
        }
    }
    let count = values.len() as f64;
    match mean {
        Some(mean) => mean.sum + mean.c,
        None => sum.sum / count + sum.c / count,
    }
}

/// The quantile of values; between two of them their weighted mean. NaN is less than any number.
pub fn quantile(q: f64, values: &[f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return NORMAL_NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).expect("no NaN"),
    });
    let n = sorted.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
}
