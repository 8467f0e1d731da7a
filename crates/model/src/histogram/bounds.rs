//! Where the buckets of a histogram lie.

use super::{FloatHistogram, SCHEMA_CUSTOM, Span};
use std::sync::LazyLock;

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Does an observation of the lower bound count here?
    pub lower_inclusive: bool,
    /// Does an observation of the upper bound count here?
    pub upper_inclusive: bool,
    /// The observations.
    pub count: f64,
}

/// What multiplying a bound by gives the next one, for schemas 1 to 8. The first is a little less than the root of two:
/// Prometheus's, and bounds must be its bounds to the last bit.
#[expect(clippy::approx_constant, reason = "the constant is the next float")]
const FACTORS: [f64; 8] = [
    1.414213562373095,
    1.189207115002721,
    1.0905077326652577,
    1.0442737824274138,
    1.0218971486541166,
    1.0108892860517005,
    1.0054299011128027,
    1.0027112750502025,
];

/// The bounds of schema 8 within [0.5, 1); those of coarser schemas are among them.
static FRACTIONS: LazyLock<[f64; 256]> = LazyLock::new(|| {
    let mut fractions = [0.5; 256];
    for (level, factor) in FACTORS.iter().enumerate() {
        let (stride, half) = (256 >> level, 256 >> (level + 1));
        for at in (0..256).step_by(stride) {
            fractions[at + half] = fractions[at] * factor;
        }
    }
    fractions
});

/// The upper bound of the bucket `index` of an exponential schema (-4 to 8).
pub(super) fn exponential(index: i32, schema: i32) -> f64 {
    if schema < 0 {
        return power_of_two(1.0, i64::from(index) << -schema, 1024);
    }
    let within = (index & ((1 << schema) - 1)) as usize;
    let fraction = FRACTIONS[(within << (8 - schema)) & 255];
    let exponent = (i64::from(index) >> schema) + 1;
    power_of_two(fraction, exponent, if fraction == 0.5 { 1025 } else { i64::MAX })
}

/// `fraction * 2^exponent`; the largest float where the exponent is `last`: the bucket of infinite values comes after.
fn power_of_two(fraction: f64, exponent: i64, last: i64) -> f64 {
    if exponent == last {
        return f64::MAX;
    }
    // In two steps, each within a float's range.
    let exponent = exponent.clamp(-2200, 2200) as i32;
    let half = exponent / 2;
    if half.abs() < 1000 {
        fraction * 2f64.powi(half) * 2f64.powi(exponent - half)
    } else if exponent > 0 {
        f64::INFINITY
    } else {
        0.0
    }
}

impl FloatHistogram {
    /// All buckets in ascending order, empty ones too: negative ones, the zero bucket if it has observations, positive ones.
    /// Where a bucket overlaps the zero bucket it begins or ends at the zero threshold.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> =
            each(&self.negative_spans, &self.negative_counts).map(|(index, count)| self.bucket(index, count, false)).collect();
        buckets.reverse();
        if self.zero_count > 0.0 {
            buckets.push(Bucket {
                lower: -self.zero_threshold,
                upper: self.zero_threshold,
                lower_inclusive: true,
                upper_inclusive: true,
                count: self.zero_count,
            });
        }
        buckets.extend(each(&self.positive_spans, &self.positive_counts).map(|(index, count)| self.bucket(index, count, true)));
        buckets
    }

    /// As [`Self::buckets`], but buckets that overlap the zero bucket are not cut.
    pub fn whole_buckets(&self) -> Vec<Bucket> {
        let mut buckets = self.side_buckets(false);
        buckets.reverse();
        if self.zero_count != 0.0 {
            let (lower, upper) = (-self.zero_threshold, self.zero_threshold);
            buckets.push(Bucket { lower, upper, lower_inclusive: true, upper_inclusive: true, count: self.zero_count });
        }
        buckets.extend(self.side_buckets(true));
        buckets
    }

    /// The buckets of one side from zero outwards, the zero bucket not looked at.
    pub(super) fn side_buckets(&self, positive: bool) -> Vec<Bucket> {
        let side =
            if positive { each(&self.positive_spans, &self.positive_counts) } else { each(&self.negative_spans, &self.negative_counts) };
        side.map(|(index, count)| self.whole_bucket(index, count, positive)).collect()
    }

    fn bucket(&self, index: i32, count: f64, positive: bool) -> Bucket {
        let mut bucket = self.whole_bucket(index, count, positive);
        if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
            bucket.upper = -self.zero_threshold;
        } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
            bucket.lower = self.zero_threshold;
        }
        bucket
    }

    fn whole_bucket(&self, index: i32, count: f64, positive: bool) -> Bucket {
        let (near, far) = (self.bound(index.wrapping_sub(1)), self.bound(index));
        let (lower, upper) = if positive { (near, far) } else { (-far, -near) };
        let (lower_inclusive, upper_inclusive) = if self.schema == SCHEMA_CUSTOM { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
    }

    /// The upper bound of the positive bucket `index`.
    pub(super) fn bound(&self, index: i32) -> f64 {
        match self.schema {
            SCHEMA_CUSTOM => match usize::try_from(index) {
                Ok(at) => self.custom_values.get(at).copied().unwrap_or(f64::INFINITY),
                Err(_) => f64::NEG_INFINITY,
            },
            schema @ -9..=8 => exponential(index, schema),
            _ => f64::NAN,
        }
    }
}

/// Indices and counts of the buckets that spans describe, as many as there are of both.
pub(super) fn each<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0i32;
    let indices = spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add(span.len as i32);
        (0..span.len).map(move |at| first.wrapping_add(at as i32))
    });
    indices.zip(counts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_exponential_schemas() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-1, 0, 0.5),
            (1, -1, 4.0),
            (0, 3, 1.0),
            (-4, 3, 0.7071067811865475),
            (-3, 3, 0.7711054127039704),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (512, -1, f64::MAX),
            (-1074, 0, 5e-324),
            (-1075, 0, 0.0),
            (i32::MIN, 0, 0.0),
            (i32::MAX, -4, f64::INFINITY),
        ] {
            assert_eq!(exponential(index, schema), bound, "{index} of schema {schema}");
        }
        assert!(FRACTIONS.windows(2).all(|two| two[0] < two[1]));
    }

    #[test]
    fn the_zero_bucket_cuts_its_neighbours() {
        let histogram = FloatHistogram {
            zero_threshold: 0.75,
            zero_count: 2.0,
            positive_spans: vec![Span { offset: 0, len: 2 }].into(),
            positive_counts: vec![3.0, 4.0],
            negative_spans: vec![Span { offset: 1, len: 1 }].into(),
            negative_counts: vec![5.0],
            ..FloatHistogram::default()
        };
        let found: Vec<_> = histogram.buckets().iter().map(|b| (b.lower, b.upper, b.lower_inclusive, b.upper_inclusive, b.count)).collect();
        let want =
            [(-2.0, -1.0, true, false, 5.0), (-0.75, 0.75, true, true, 2.0), (0.75, 1.0, false, true, 3.0), (1.0, 2.0, false, true, 4.0)];
        assert_eq!(found, want);
    }

    #[test]
    fn custom_bounds() {
        let histogram = FloatHistogram {
            schema: SCHEMA_CUSTOM,
            positive_spans: vec![Span { offset: 0, len: 2 }].into(),
            positive_counts: vec![1.0, 2.0],
            custom_values: vec![0.5].into(),
            ..FloatHistogram::default()
        };
        let found: Vec<_> = histogram.buckets().iter().map(|b| (b.lower, b.upper, b.lower_inclusive, b.count)).collect();
        assert_eq!(found, [(f64::NEG_INFINITY, 0.5, true, 1.0), (0.5, f64::INFINITY, false, 2.0)]);
    }
}
