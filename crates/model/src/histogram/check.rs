//! Which histograms are valid, and what Prometheus says of those that are not.

use super::{FloatHistogram, Histogram, SCHEMA_CUSTOM, SCHEMA_MAX, SCHEMA_MIN, Span};

/// Why a histogram is not valid. The texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// Fewer observations than its buckets hold.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountTooSmall {
        /// Of all buckets.
        buckets: u64,
        /// As stated.
        count: u64,
    },
    /// Another number of observations than its buckets hold.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// Of all buckets.
        buckets: u64,
        /// As stated.
        count: u64,
    },
    /// Less than no observations.
    #[error("observation count is  {0}: histogram's observation count is negative")]
    NegativeCount(f64),
    /// Less than none in the zero bucket.
    #[error("zero bucket has observation count of {0}: histogram has a bucket whose observation count is negative")]
    NegativeZeroCount(f64),
    /// The fault lies on one side of zero, or in the custom bounds.
    #[error("{0}: {1}")]
    In(&'static str, #[source] Box<HistogramError>),
    /// Less than none in a bucket; counted from 1.
    #[error("bucket number {number} has observation count of {count}: histogram has a bucket whose observation count is negative")]
    NegativeBucket {
        /// Which.
        number: usize,
        /// As stated.
        count: f64,
    },
    /// A span that begins before the end of its predecessor; counted from 1.
    #[error("span number {number} with offset {offset}: histogram has a span whose offset is negative")]
    NegativeOffset {
        /// Which.
        number: usize,
        /// As stated.
        offset: i32,
    },
    /// Spans and counts do not belong together.
    #[error("spans need {need} buckets, have {have} buckets: histogram spans specify different number of buckets than provided")]
    Buckets {
        /// By the spans.
        need: u64,
        /// As many counts.
        have: usize,
    },
    /// Fewer bounds than buckets.
    #[error(
        "only {bounds} custom bounds defined which is insufficient to cover total span length of {spans}: histogram custom bounds are too few"
    )]
    FewBounds {
        /// How many.
        bounds: usize,
        /// What the spans cover.
        spans: u64,
    },
    /// Bounds do not rise.
    #[error("previous bound is {previous:.6} and current is {current:.6}: histogram custom bounds must be in strictly increasing order")]
    BoundsOrder {
        /// The one before.
        previous: f64,
        /// Not above it.
        current: f64,
    },
    /// +Inf is never written.
    #[error("last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    InfiniteBound,
    /// Not a number.
    #[error("histogram custom bounds must not be NaN")]
    NanBound,
    /// Something that histograms with custom bounds do not have.
    #[error("custom buckets: must {0}")]
    Custom(&'static str),
    /// Custom bounds of an exponential schema.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialBounds,
    /// No such schema.
    #[error(
        "histogram has an invalid schema, which must be between {SCHEMA_MIN} and {SCHEMA_MAX} for exponential buckets, or {SCHEMA_CUSTOM} for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// Resolution can only become coarser, and only of exponential schemas.
    #[error("cannot reduce resolution from schema {0} to {1}")]
    Resolution(i32, i32),
}

use HistogramError as E;

fn on(side: &'static str) -> impl Fn(E) -> E {
    move |error| E::In(side, Box::new(error))
}

impl Histogram {
    /// Whether spans, counts, bounds and the stated count fit together.
    ///
    /// # Errors
    /// With the first fault.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let layout = Layout {
            schema: self.schema,
            zero_count: self.zero_count as f64,
            zero_threshold: self.zero_threshold,
            negative: (&self.negative_spans, self.negative_deltas.len()),
            positive: (&self.positive_spans, self.positive_deltas.len()),
            bounds: &self.custom_values,
        };
        layout.check_spans()?;
        let negative = check_deltas(&self.negative_deltas).map_err(on("negative side"))?;
        layout.check_bounds_absent()?;
        let positive = check_deltas(&self.positive_deltas).map_err(on("positive side"))?;
        let (buckets, count) = (negative.wrapping_add(positive).wrapping_add(self.zero_count), self.count);
        if self.sum.is_nan() {
            if buckets > count { Err(E::CountTooSmall { buckets, count }) } else { Ok(()) }
        } else if buckets != count {
            Err(E::CountMismatch { buckets, count })
        } else {
            Ok(())
        }
    }
}

impl FloatHistogram {
    /// Whether spans, counts and bounds fit together.
    ///
    /// # Errors
    /// With the first fault.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let layout = Layout {
            schema: self.schema,
            zero_count: self.zero_count,
            zero_threshold: self.zero_threshold,
            negative: (&self.negative_spans, self.negative_counts.len()),
            positive: (&self.positive_spans, self.positive_counts.len()),
            bounds: &self.custom_values,
        };
        layout.check_spans()?;
        check_counts(&self.negative_counts).map_err(on("negative side"))?;
        if self.zero_count < 0.0 {
            return Err(E::NegativeZeroCount(self.zero_count));
        }
        layout.check_bounds_absent()?;
        if self.count < 0.0 {
            return Err(E::NegativeCount(self.count));
        }
        check_counts(&self.positive_counts).map_err(on("positive side"))
    }
}

/// What both kinds of histograms are laid out by. Sides are spans and how many counts there are.
struct Layout<'a> {
    schema: i32,
    zero_count: f64,
    zero_threshold: f64,
    negative: (&'a [Span], usize),
    positive: (&'a [Span], usize),
    bounds: &'a [f64],
}

impl Layout<'_> {
    fn check_spans(&self) -> Result<(), E> {
        match self.schema {
            SCHEMA_CUSTOM => {
                self.check_custom().map_err(on("custom buckets"))?;
                if self.zero_count != 0.0 {
                    return Err(E::Custom("have zero count of 0"));
                }
                if self.zero_threshold != 0.0 {
                    return Err(E::Custom("have zero threshold of 0"));
                }
                if !self.negative.0.is_empty() {
                    return Err(E::Custom("not have negative spans"));
                }
                if self.negative.1 != 0 {
                    return Err(E::Custom("not have negative buckets"));
                }
                Ok(())
            }
            SCHEMA_MIN..=SCHEMA_MAX => {
                check_side(self.positive, 1).map_err(on("positive side"))?;
                check_side(self.negative, 1).map_err(on("negative side"))
            }
            schema => Err(E::Schema(schema)),
        }
    }

    fn check_custom(&self) -> Result<(), E> {
        let mut previous = f64::NEG_INFINITY;
        for (at, &current) in self.bounds.iter().enumerate() {
            if current.is_nan() {
                return Err(E::NanBound);
            }
            if at > 0 && current <= previous {
                return Err(E::BoundsOrder { previous, current });
            }
            previous = current;
        }
        if previous == f64::INFINITY {
            return Err(E::InfiniteBound);
        }
        check_side(self.positive, 0)?;
        // No offset is negative.
        let spans = self.positive.0.iter().map(|span| u64::from(span.len) + u64::from(span.offset.unsigned_abs())).sum();
        let bounds = self.bounds.len();
        if (bounds as u64 + 1) < spans { Err(E::FewBounds { bounds, spans }) } else { Ok(()) }
    }

    fn check_bounds_absent(&self) -> Result<(), E> {
        if self.schema != SCHEMA_CUSTOM && !self.bounds.is_empty() { Err(E::ExponentialBounds) } else { Ok(()) }
    }
}

/// Spans from `first` on have no negative offset, and all together as many buckets as there are.
fn check_side((spans, have): (&[Span], usize), first: usize) -> Result<(), E> {
    for (at, span) in spans.iter().enumerate().skip(first) {
        if span.offset < 0 {
            return Err(E::NegativeOffset { number: at + 1, offset: span.offset });
        }
    }
    let need = spans.iter().map(|span| u64::from(span.len)).sum();
    if need == have as u64 { Ok(()) } else { Err(E::Buckets { need, have }) }
}

/// The sum of the counts.
fn check_deltas(deltas: &[i64]) -> Result<u64, E> {
    let (mut count, mut sum) = (0i64, 0u64);
    for (at, delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(*delta);
        if count < 0 {
            return Err(E::NegativeBucket { number: at + 1, count: count as f64 });
        }
        sum = sum.wrapping_add(count.cast_unsigned());
    }
    Ok(sum)
}

fn check_counts(counts: &[f64]) -> Result<(), E> {
    match counts.iter().position(|count| *count < 0.0) {
        Some(at) => Err(E::NegativeBucket { number: at + 1, count: counts[at] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Histogram {
        Histogram {
            schema: 3,
            count: 6,
            zero_count: 1,
            positive_spans: vec![Span { offset: -2, len: 2 }].into(),
            positive_deltas: vec![2, 1],
            ..Histogram::default()
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Histogram), want: &str) {
        let mut histogram = valid();
        change(&mut histogram);
        assert_eq!(histogram.validate().map_or_else(|error| error.to_string(), |()| String::new()), want);
    }

    #[test]
    fn faults_of_integer_histograms() {
        check(|_| {}, "");
        check(
            |h| h.schema = 9,
            "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema 9",
        );
        check(
            |h| h.positive_deltas = vec![2],
            "positive side: spans need 2 buckets, have 1 buckets: histogram spans specify different number of buckets than provided",
        );
        check(
            |h| h.positive_deltas = vec![2, -3],
            "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation count is negative",
        );
        check(
            |h| h.negative_spans = vec![Span { offset: 0, len: 0 }, Span { offset: -1, len: 0 }].into(),
            "negative side: span number 2 with offset -1: histogram has a span whose offset is negative",
        );
        check(|h| h.custom_values = vec![1.0].into(), "histogram with exponential schema must not have custom bounds");
        check(
            |h| h.count = 7,
            "6 observations found in buckets, but the Count field is 7: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)",
        );
        check(|h| (h.count, h.sum) = (7, f64::NAN), "");
        check(
            |h| (h.count, h.sum) = (5, f64::NAN),
            "6 observations found in buckets, but the Count field is 5: histogram's observation count should be at least the number of observations found in the buckets",
        );
        // What a sender may claim without having it.
        check(
            |h| h.positive_spans = vec![Span { offset: i32::MIN, len: u32::MAX }; 3].into(),
            "positive side: span number 2 with offset -2147483648: histogram has a span whose offset is negative",
        );
        check(
            |h| h.positive_deltas = vec![i64::MAX, 1],
            "positive side: bucket number 2 has observation count of -9223372036854776000: histogram has a bucket whose observation count is negative",
        );
    }

    #[test]
    fn faults_of_custom_bounds() {
        let custom = |change: &dyn Fn(&mut FloatHistogram)| {
            let mut histogram = FloatHistogram {
                schema: SCHEMA_CUSTOM,
                positive_spans: vec![Span { offset: 0, len: 2 }].into(),
                positive_counts: vec![1.0, 2.0],
                custom_values: vec![1.0, 2.0].into(),
                ..FloatHistogram::default()
            };
            change(&mut histogram);
            histogram.validate().map_or_else(|error| error.to_string(), |()| String::new())
        };
        assert_eq!(custom(&|_| {}), "");
        assert_eq!(
            custom(&|h| h.custom_values = vec![].into()),
            "custom buckets: only 0 custom bounds defined which is insufficient to cover total span length of 2: histogram custom bounds are too few"
        );
        assert_eq!(
            custom(&|h| h.custom_values = vec![2.0, 2.0].into()),
            "custom buckets: previous bound is 2.000000 and current is 2.000000: histogram custom bounds must be in strictly increasing order"
        );
        assert_eq!(
            custom(&|h| h.custom_values = vec![2.0, f64::INFINITY].into()),
            "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite"
        );
        assert_eq!(custom(&|h| h.zero_count = 1.0), "custom buckets: must have zero count of 0");
        assert_eq!(custom(&|h| h.count = -1.0), "observation count is  -1: histogram's observation count is negative");
    }
}
