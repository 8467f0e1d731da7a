//! What histograms tell: quantiles, fractions, deviations; of native ones and of classic ones (series by `le`).

use super::eval::place;
use super::invariant::unwrapped;
use super::number::Kahan;
use super::{Naive, Sample, Value, Vector, notes};
use model::labels::LabelsBuilder;
use model::{FloatHistogram, Labels, math};
use promql::ast::Expr;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The upper bound of a classic bucket, and the observations up to it.
type Classic = (f64, f64);

/// `histogram_count` and its like.
pub fn number(function: &str, h: &FloatHistogram) -> f64 {
    match function {
        "histogram_count" => h.count,
        "histogram_sum" => h.sum,
        "histogram_avg" => h.sum / h.count,
        "histogram_stddev" => variance(h).sqrt(),
        "histogram_stdvar" => variance(h),
        other => unreachable!("no such function: {other}"),
    }
}

fn variance(h: &FloatHistogram) -> f64 {
    let mean = h.sum / h.count;
    let mut sum = Kahan::default();
    for bucket in h.buckets().into_iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if h.has_custom_bounds() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    (sum.sum + sum.c) / h.count
}

/// The histograms of a vector.
struct Histograms<'v> {
    native: Vec<(&'v Labels, &'v FloatHistogram)>,
    /// By their labels but `le`.
    classic: BTreeMap<Labels, Vec<Classic>>,
}

impl Naive<'_> {
    fn split<'v>(&self, vector: &'v Vector, at: usize) -> Histograms<'v> {
        let mut found = Histograms { native: Vec::new(), classic: BTreeMap::new() };
        let known = |labels: &Labels| if self.options.delayed_name_removal { labels.metric_name().to_owned() } else { String::new() };
        for sample in vector {
            match &sample.value {
                Value::Histogram(h) => found.native.push((&sample.labels, h)),
                Value::Float(v) => {
                    let le = sample.labels.get("le").unwrap_or("");
                    match le.parse::<f64>() {
                        Ok(bound) => {
                            let labels = LabelsBuilder::from_labels(&sample.labels).remove("le").build();
                            found.classic.entry(labels).or_default().push((bound, *v));
                        }
                        Err(_) => {
                            let text = format!("bucket label \"le\" is missing or has a malformed value of {}", model::name::quote(le));
                            self.warn(notes::for_metric(&text, &known(&sample.labels)), at);
                        }
                    }
                }
            }
        }
        found.native.retain(|(labels, _)| {
            let conflict = found.classic.remove(*labels).is_some();
            if conflict {
                let text = "vector contains a mix of classic and native histograms";
                self.warn(notes::for_metric(text, &known(labels)), at);
            }
            !conflict
        });
        found
    }

    /// `histogram_quantile`, and `histogram_quantiles` with the label that tells the quantiles apart.
    pub fn histogram_quantile(&self, input: &Vector, qs: &[f64], label: Option<&str>, vector: &Expr, quantiles: &[Expr]) -> Vector {
        for (q, e) in qs.iter().zip(quantiles) {
            if !(0.0..=1.0).contains(q) {
                self.warn(notes::invalid_quantile(*q), unwrapped(e).span().start);
            }
        }
        let at = place(vector);
        let found = self.split(input, at);
        let mut out = Vector::new();
        for q in qs {
            let mut give = |labels: &Labels, v: f64| {
                let mut labels = LabelsBuilder::from_labels(&self.dropped(labels));
                if let Some(label) = label {
                    labels.set(label, &open_metrics(*q));
                }
                let t = input.first().map_or(0, |sample| sample.t);
                out.push(Sample { labels: labels.build(), t, value: Value::Float(v), drop_name: true });
            };
            for (labels, h) in &found.native {
                let name = if self.options.delayed_name_removal { labels.metric_name() } else { "" };
                give(labels, self.native_quantile(*q, h, name, at));
            }
            for (labels, buckets) in &found.classic {
                let (v, forced) = classic_quantile(*q, buckets);
                if forced {
                    let name = if self.options.delayed_name_removal { labels.metric_name() } else { "" };
                    let link = "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile";
                    let text = format!("input to histogram_quantile needed to be fixed for monotonicity (see {link})");
                    self.info(notes::for_metric(&text, name), at);
                }
                give(labels, v);
            }
        }
        out
    }

    fn native_quantile(&self, q: f64, h: &FloatHistogram, name: &str, at: usize) -> f64 {
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        if h.count == 0.0 || q.is_nan() {
            return model::value::NORMAL_NAN;
        }
        // Observations of NaN are in no bucket, so that only counting from below is right.
        let forward = h.sum.is_nan() || q < 0.5;
        let mut buckets = h.buckets();
        if !forward {
            buckets.reverse();
        }
        let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
        let mut count = 0.0;
        let mut rest = buckets.into_iter();
        let mut found = None;
        for bucket in rest.by_ref() {
            found = Some(bucket);
            if bucket.count == 0.0 {
                continue;
            }
            count += bucket.count;
            if count >= rank {
                break;
            }
        }
        let empty = model::histogram::Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
        let mut bucket = found.unwrap_or(empty);
        if h.has_custom_bounds() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return bucket.upper;
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return bucket.lower;
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            if h.negative_counts.is_empty() && !h.positive_counts.is_empty() {
                bucket.lower = 0.0;
            } else if h.positive_counts.is_empty() && !h.negative_counts.is_empty() {
                bucket.upper = 0.0;
            }
        }
        if count > h.count {
            count = h.count;
        }
        if count < rank {
            if h.sum.is_nan() {
                self.info(notes::for_metric("input to histogram_quantile has NaN observations, result is NaN", name), at);
                return model::value::NORMAL_NAN;
            }
            return bucket.upper;
        }
        rank = if forward { rank - (count - bucket.count) } else { count - rank };
        if h.sum.is_nan() {
            for next in rest {
                bucket = next;
                count += next.count;
            }
            if count < h.count {
                self.info(notes::for_metric("input to histogram_quantile has NaN observations, result is skewed higher", name), at);
            }
        }
        let fraction = rank / bucket.count;
        if h.has_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return bucket.lower + (bucket.upper - bucket.lower) * fraction;
        }
        let (lower, upper) = (math::log2(bucket.lower.abs()), math::log2(bucket.upper.abs()));
        if bucket.lower > 0.0 {
            math::exp2(lower + (upper - lower) * fraction)
        } else {
            -math::exp2(upper + (lower - upper) * (1.0 - fraction))
        }
    }

    pub fn histogram_fraction(&self, input: &Vector, lower: f64, upper: f64, at: usize) -> Vector {
        let found = self.split(input, at);
        let t = input.first().map_or(0, |sample| sample.t);
        let mut out = Vector::new();
        let mut give = |labels: &Labels, v: f64| {
            out.push(Sample { labels: self.dropped(labels), t, value: Value::Float(v), drop_name: true });
        };
        for (labels, h) in &found.native {
            let name = if self.options.delayed_name_removal { labels.metric_name() } else { "" };
            give(labels, self.native_fraction(lower, upper, h, name, at));
        }
        for (labels, buckets) in &found.classic {
            give(labels, classic_fraction(lower, upper, buckets));
        }
        out
    }

    fn native_fraction(&self, lower: f64, upper: f64, h: &FloatHistogram, name: &str, at: usize) -> f64 {
        if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return model::value::NORMAL_NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        let buckets = h.buckets();
        let below = |value: f64| {
            let mut rank = 0.0;
            for bucket in &buckets {
                let mut bucket = *bucket;
                let zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
                if zero && h.negative_counts.is_empty() && !h.positive_counts.is_empty() {
                    bucket.lower = 0.0;
                } else if zero && h.positive_counts.is_empty() && !h.negative_counts.is_empty() {
                    bucket.upper = 0.0;
                }
                if bucket.lower >= value {
                    return Some(rank);
                }
                if bucket.upper > value {
                    let linear = h.has_custom_bounds() || zero;
                    return Some(if linear && bucket.lower == f64::NEG_INFINITY {
                        bucket.count
                    } else {
                        rank + bucket.count * bucket.fraction_below(value, linear)
                    });
                }
                rank += bucket.count;
            }
            None
        };
        let mut count = h.count;
        if h.sum.is_nan() {
            count = buckets.iter().fold(0.0, |sum, bucket| sum + bucket.count);
            if count < h.count {
                let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                self.info(notes::for_metric(text, name), at);
            }
        }
        let rank = |value: f64| below(value).filter(|rank| rank.partial_cmp(&count) != Some(Ordering::Greater)).unwrap_or(count);
        (rank(upper) - rank(lower)) / h.count
    }
}

/// Sorted by bound, those of one bound added up. None if the last is not infinite.
fn prepared(buckets: &[Classic]) -> Option<Vec<Classic>> {
    let mut sorted = buckets.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    if sorted.last()?.0 != f64::INFINITY {
        return None;
    }
    let mut merged: Vec<Classic> = Vec::new();
    for (bound, count) in sorted {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            _ => merged.push((bound, count)),
        }
    }
    Some(merged)
}

/// The quantile, and whether counts had to be made to rise.
fn classic_quantile(q: f64, buckets: &[Classic]) -> (f64, bool) {
    if q.is_nan() {
        return (model::value::NORMAL_NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    let Some(mut b) = prepared(buckets) else { return (model::value::NORMAL_NAN, false) };
    let mut forced = false;
    let mut before = b[0].1;
    for (_, count) in b.iter_mut().skip(1) {
        if almost_equal(before, *count) {
            *count = before;
        } else if *count < before {
            *count = before;
            forced = true;
        } else {
            before = *count;
        }
    }
    let last = b.len() - 1;
    let observations = b[last].1;
    if b.len() < 2 || observations == 0.0 {
        return (model::value::NORMAL_NAN, forced);
    }
    let rank = q * observations;
    let at = searched(last, |i| b[i].1 >= rank);
    let v = if at == last {
        b[last - 1].0
    } else if at == 0 && b[0].0 <= 0.0 {
        b[0].0
    } else {
        let (start, below) = if at > 0 { b[at - 1] } else { (0.0, 0.0) };
        let (end, count) = b[at];
        if at > 0 { start + (end - start) * ((rank - below) / (count - below)) } else { start + (end - start) * (rank / count) }
    };
    (v, forced)
}

/// Go's `sort.Search`: halves, so that with NaN among the counts it finds what Go finds.
fn searched(n: usize, found: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = (low + high) / 2;
        if found(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Do they differ by less than their sum times 1e-12?
fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-12 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-12
}

fn classic_fraction(lower: f64, upper: f64, buckets: &[Classic]) -> f64 {
    let Some(b) = prepared(buckets) else { return model::value::NORMAL_NAN };
    let count = b[b.len() - 1].1;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return model::value::NORMAL_NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let below = |value: f64| {
        let mut rank = 0.0;
        let mut from = if b[0].0 <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
        for (bound, up_to) in &b {
            if from >= value {
                return Some(rank);
            }
            if *bound > value {
                return Some(if from == f64::NEG_INFINITY { *up_to } else { rank + (up_to - rank) * (value - from) / (bound - from) });
            }
            rank = *up_to;
            from = *bound;
        }
        None
    };
    let rank = |value: f64| below(value).filter(|rank| rank.partial_cmp(&count) != Some(Ordering::Greater)).unwrap_or(count);
    (rank(upper) - rank(lower)) / count
}

/// As OpenMetrics writes floats: with a fraction or an exponent.
fn open_metrics(v: f64) -> String {
    let text = model::number::format_general(v);
    if v.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}
