//! Cutting off the observations below or above a value, as far as buckets tell.

use super::{Bucket, FloatHistogram};
use crate::math;

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those up to the value (`</`).
    Below,
    /// Those from the value on (`>/`).
    Above,
}

impl FloatHistogram {
    /// Takes away observations; where the value cuts a bucket, its observations are thought to be spread evenly (on a
    /// logarithmic scale in exponential buckets). If anything went, count and sum are estimated from what is left.
    pub fn trim(&mut self, value: f64, keep: Keep) {
        let custom = self.has_custom_bounds();
        let (mut count, mut sum, mut cut) = (0.0, 0.0, false);
        let mut filled = [false; 2];
        for (side, filled) in filled.iter_mut().enumerate() {
            let positive = side == 0;
            for (at, bucket) in self.side_buckets(positive).into_iter().enumerate().filter(|(_, bucket)| bucket.count != 0.0) {
                *filled = true;
                let (inside, touched) = match keep {
                    Keep::Below => (bucket.upper <= value, bucket.lower < value),
                    Keep::Above => (bucket.lower >= value, bucket.upper > value),
                };
                let (kept, middle) = if inside {
                    (bucket.count, midpoint(bucket.lower, bucket.upper, positive, custom))
                } else if touched {
                    cut_bucket(bucket, value, keep, positive, custom)
                } else {
                    (0.0, 0.0)
                };
                if inside || touched {
                    count += kept;
                    sum += middle * kept;
                }
                let counts = if positive { &mut self.positive_counts } else { &mut self.negative_counts };
                if kept != bucket.count {
                    counts[at] = kept;
                    cut = true;
                }
            }
        }
        if self.zero_count > 0.0 {
            let [has_positive, has_negative] = filled;
            let (kept, middle) = self.cut_zero(value, keep, has_positive, has_negative);
            cut |= kept != self.zero_count;
            self.zero_count = kept;
            sum += middle * kept;
            count += kept;
        }
        if cut {
            (self.count, self.sum) = (count, sum);
            self.compact(0);
        }
    }

    fn cut_zero(&self, value: f64, keep: Keep, has_positive: bool, has_negative: bool) -> (f64, f64) {
        let lower = if has_positive && !has_negative { 0.0 } else { -self.zero_threshold };
        let upper = if has_negative && !has_positive { 0.0 } else { self.zero_threshold };
        let whole = (self.zero_count, (lower + upper) / 2.0);
        let (fraction, middle) = match keep {
            Keep::Below if value <= lower => return (0.0, 0.0),
            Keep::Below if value >= upper => return whole,
            Keep::Below => ((value - lower) / (upper - lower), (lower + value) / 2.0),
            Keep::Above if value <= lower => return whole,
            Keep::Above if value >= upper => return (0.0, 0.0),
            Keep::Above => ((upper - value) / (upper - lower), (value + upper) / 2.0),
        };
        (self.zero_count * fraction, middle)
    }
}

impl Bucket {
    /// Which part of the bucket's width lies below a value within its bounds: of the width itself, or of its logarithm.
    pub fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, at) = (math::log2(self.lower.abs()), math::log2(self.upper.abs()), math::log2(value.abs()));
        if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - ((at - upper) / (lower - upper)) }
    }
}

/// What stays of a bucket that the value cuts, and the middle of that.
fn cut_bucket(bucket: Bucket, value: f64, keep: Keep, positive: bool, custom: bool) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return cut_infinite(bucket, value, keep);
    }
    let below = if value <= bucket.lower {
        0.0
    } else if value >= bucket.upper {
        bucket.count
    } else {
        bucket.count * bucket.fraction_below(value, custom)
    };
    match keep {
        Keep::Below => (below, midpoint(bucket.lower, value, positive, custom)),
        Keep::Above => (bucket.count - below, midpoint(value, bucket.upper, positive, custom)),
    }
}

/// Nobody knows how observations are spread to infinity: mostly all or nothing stays.
fn cut_infinite(bucket: Bucket, value: f64, keep: Keep) -> (f64, f64) {
    let finite = |bound: f64| if bound.is_infinite() { 0.0 } else { bound };
    let Bucket { lower, upper, count, .. } = bucket;
    if lower == f64::NEG_INFINITY {
        return match keep {
            Keep::Below if value >= upper => (count, 0.0),
            // The lowest custom bucket begins at zero where its bound is positive.
            Keep::Below if value > 0.0 && upper > 0.0 && upper != f64::INFINITY => (count * value / upper, value / 2.0),
            Keep::Below if upper <= 0.0 => (count, value),
            Keep::Above if value <= lower => (count, 0.0),
            Keep::Above if value >= 0.0 && upper > value && upper != f64::INFINITY => {
                (count * (1.0 - value / upper), (value + upper) / 2.0)
            }
            Keep::Below | Keep::Above => (0.0, finite(upper)),
        };
    }
    match keep {
        Keep::Above if value >= lower => (count, value),
        Keep::Below | Keep::Above => (0.0, finite(lower)),
    }
}

fn midpoint(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) => {
            let middle = (lower * upper).abs().sqrt();
            if positive { middle } else { -middle }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SCHEMA_CUSTOM, Span};
    use super::*;

    #[test]
    fn cuts_within_a_bucket() {
        let mut histogram = FloatHistogram {
            schema: SCHEMA_CUSTOM,
            count: 12.0,
            sum: 100.0,
            positive_spans: vec![Span { offset: 0, len: 3 }].into(),
            positive_counts: vec![4.0, 4.0, 4.0],
            custom_values: vec![2.0, 4.0].into(),
            ..FloatHistogram::default()
        };
        let mut untouched = histogram.clone();
        untouched.trim(f64::INFINITY, Keep::Below);
        assert_eq!(untouched, histogram);
        histogram.trim(3.0, Keep::Below);
        assert_eq!((histogram.count, histogram.sum), (6.0, 4.0 + 5.0));
        assert_eq!(histogram.positive_counts, [4.0, 2.0]);
    }
}
