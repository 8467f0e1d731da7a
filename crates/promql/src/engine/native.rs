//! What queries read off native histograms, and their sums.

use super::annotations::format_g;
use super::kahan::Kahan;
use model::FloatHistogram;
use model::histogram::{Bucket, IncompatibleSchemas, Reconciled, ResetHint};
use model::math;

/// A compensated sum of histograms, or from where it would overflow on their mean.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    sum: FloatHistogram,
    lost: Option<FloatHistogram>,
    count: f64,
    is_mean: bool,
    reset_seen: bool,
    no_reset_seen: bool,
    /// Custom bounds differed.
    pub bounds_reconciled: bool,
}

impl Sum {
    pub fn new(first: &FloatHistogram) -> Self {
        let mut sum = Self {
            sum: first.clone(),
            lost: None,
            count: 1.0,
            is_mean: false,
            reset_seen: false,
            no_reset_seen: false,
            bounds_reconciled: false,
        };
        sum.track(first);
        sum
    }

    fn track(&mut self, histogram: &FloatHistogram) {
        self.reset_seen |= histogram.reset_hint == ResetHint::Reset;
        self.no_reset_seen |= histogram.reset_hint == ResetHint::NoReset;
    }

    /// Were there both: the first after a reset, and one that is none?
    pub fn resets_collide(&self) -> bool {
        self.reset_seen && self.no_reset_seen
    }

    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.track(histogram);
        let Reconciled { bounds, .. } = self.sum.add_compensated(histogram, &mut self.lost)?;
        self.bounds_reconciled |= bounds;
        Ok(())
    }

    pub fn add_to_mean(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.track(histogram);
        self.count += 1.0;
        if !self.is_mean {
            let (mut sum, mut lost) = (self.sum.clone(), self.lost.clone());
            let Reconciled { bounds, .. } = sum.add_compensated(histogram, &mut lost)?;
            self.bounds_reconciled |= bounds;
            if !sum.has_overflow() {
                (self.sum, self.lost) = (sum, lost);
                return Ok(());
            }
            self.is_mean = true;
            self.sum.divide(self.count - 1.0);
            if let Some(lost) = &mut self.lost {
                lost.divide(self.count - 1.0);
            }
        }
        let q = (self.count - 1.0) / self.count;
        if let Some(lost) = &mut self.lost {
            lost.scale(q);
        }
        let mut part = histogram.clone();
        part.divide(self.count);
        self.sum.scale(q);
        let Reconciled { bounds, .. } = self.sum.add_compensated(&part, &mut self.lost)?;
        self.bounds_reconciled |= bounds;
        Ok(())
    }

    pub fn total(self) -> FloatHistogram {
        let mut total = self.sum;
        if let Some(lost) = self.lost {
            // The compensation has the sum's layout.
            total.add(&lost).unwrap_or_default();
        }
        total
    }

    pub fn mean(mut self) -> FloatHistogram {
        if !self.is_mean {
            self.sum.divide(self.count);
            if let Some(lost) = &mut self.lost {
                lost.divide(self.count);
            }
        }
        self.total()
    }
}

/// What a reading had to cope with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanObservations {
    /// They made the result NaN.
    Result,
    /// They shift the result upwards.
    Skew,
    /// They are in no fraction.
    LeftOut,
}

/// The φ-quantile.
pub(crate) fn quantile(q: f64, histogram: &FloatHistogram) -> (f64, Option<NanObservations>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (model::value::NORMAL_NAN, None);
    }
    // Observations of NaN are in no bucket, so that the rank has to be counted from below.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let mut rank = if forward { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut buckets = histogram.buckets();
    if !forward {
        buckets.reverse();
    }
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let mut count = 0.0;
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        bucket = *next;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    if histogram.has_custom_bounds() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bound_zero_bucket(&mut bucket, histogram);
    }
    count = if count > histogram.count { histogram.count } else { count };
    if count < rank {
        return if histogram.sum.is_nan() { (f64::NAN, Some(NanObservations::Result)) } else { (bucket.upper, None) };
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let mut skew = None;
    if histogram.sum.is_nan() {
        for next in rest {
            // As in Prometheus, it is the last bucket then in which the result lies.
            bucket = *next;
            count += next.count;
        }
        skew = (count < histogram.count).then_some(NanObservations::Skew);
    }
    let fraction = rank / bucket.count;
    if histogram.has_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, skew);
    }
    let (lower, upper) = (math::log2(bucket.lower.abs()), math::log2(bucket.upper.abs()));
    let value = if bucket.lower > 0.0 {
        math::exp2(lower + (upper - lower) * fraction)
    } else {
        -math::exp2(upper + (lower - upper) * (1.0 - fraction))
    };
    (value, skew)
}

/// Where all observations are on one side of zero, the zero bucket ends there.
fn bound_zero_bucket(bucket: &mut Bucket, histogram: &FloatHistogram) {
    match (histogram.negative_counts.is_empty(), histogram.positive_counts.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// Which part of the observations lies between two values.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &FloatHistogram) -> (f64, Option<NanObservations>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (model::value::NORMAL_NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let (mut count, mut rank) = (0.0, 0.0);
    let (mut lower_rank, mut upper_rank) = (None, None);
    let buckets = histogram.buckets();
    let mut rest = buckets.iter();
    for bucket in rest.by_ref() {
        let mut bucket = *bucket;
        count += bucket.count;
        let zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if zero {
            bound_zero_bucket(&mut bucket, histogram);
        }
        let linear = histogram.has_custom_bounds() || zero;
        let rank_of = |value: f64| {
            if linear && bucket.lower == f64::NEG_INFINITY {
                return bucket.count;
            }
            rank + bucket.count * bucket.fraction_below(value, linear)
        };
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && bucket.lower >= value {
                *found = Some(rank);
            } else if found.is_none() && bucket.lower < value && bucket.upper > value {
                *found = Some(rank_of(value));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut left_out = None;
    if histogram.sum.is_nan() {
        rest.for_each(|bucket| count += bucket.count);
        left_out = (count < histogram.count).then_some(NanObservations::LeftOut);
    } else {
        count = histogram.count;
    }
    ((capped(upper_rank, count) - capped(lower_rank, count)) / histogram.count, left_out)
}

/// A rank that was found, but at most all observations; NaN stays.
pub(crate) fn capped(rank: Option<f64>, count: f64) -> f64 {
    match rank {
        Some(rank) if rank > count => count,
        Some(rank) => rank,
        None => count,
    }
}

/// The variance, with observations in the middles of their buckets.
pub(crate) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = Kahan::default();
    for bucket in histogram.buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.has_custom_bounds() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let root = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -root } else { root }
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    (sum.sum + sum.c) / histogram.count
}

/// As `count_values` writes it into a label.
pub(crate) fn text(histogram: &FloatHistogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", format_g(histogram.count), format_g(histogram.sum));
    for bucket in histogram.whole_buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        text += &format!(", {open}{},{}{close}:{}", format_g(bucket.lower), format_g(bucket.upper), format_g(bucket.count));
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::histogram::Span;

    fn positive() -> FloatHistogram {
        FloatHistogram {
            count: 4.0,
            sum: 5.0,
            positive_spans: [Span { offset: 0, len: 2 }].into(),
            positive_counts: vec![2.0, 2.0],
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn quantiles_lie_evenly_on_a_logarithmic_scale() {
        // Go's square root of 2 is one bit less this way.
        assert_eq!(quantile(0.75, &positive()).0, 2f64.sqrt().next_down());
        assert_eq!(quantile(1.0, &positive()).0, 2.0);
        assert_eq!(quantile(-1.0, &positive()).0, f64::NEG_INFINITY);
        assert_eq!(fraction(1.0, 2f64.sqrt(), &positive()).0, 0.25);
        assert!(fraction(f64::NAN, 2.0, &positive()).0.is_nan());
    }

    #[test]
    fn written_out() {
        assert_eq!(text(&positive()), "{count:4, sum:5, (0.5,1]:2, (1,2]:2}");
    }
}
