//! When two histograms are the same sample.

use super::{FloatHistogram, Histogram, SCHEMA_CUSTOM, Span};

impl Histogram {
    /// Whether both say the same: floats bit by bit, spans by the buckets they stand for, hints not at all.
    pub fn is_same(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count == other.count
            && self.sum.to_bits() == other.sum.to_bits()
            && (self.schema != SCHEMA_CUSTOM || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && self.zero_count == other.zero_count
            && self.negative_deltas == other.negative_deltas
            && self.positive_deltas == other.positive_deltas
            && spans_match(&self.negative_spans, &other.negative_spans)
            && spans_match(&self.positive_spans, &other.positive_spans)
    }
}

impl FloatHistogram {
    /// Whether both say the same: floats bit by bit, spans by the buckets they stand for, hints not at all.
    pub fn is_same(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (self.schema != SCHEMA_CUSTOM || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && bits_match(&self.negative_counts, &other.negative_counts)
            && bits_match(&self.positive_counts, &other.positive_counts)
            && spans_match(&self.negative_spans, &other.negative_spans)
            && spans_match(&self.positive_spans, &other.positive_spans)
    }
}

fn bits_match(left: &[f64], right: &[f64]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.to_bits() == right.to_bits())
}

/// Equal once spans of no length have given their offset to the next one.
fn spans_match(left: &[Span], right: &[Span]) -> bool {
    left == right || occupied(left).eq(occupied(right))
}

fn occupied(spans: &[Span]) -> impl Iterator<Item = (i64, u32)> {
    let mut gap = 0i64;
    spans.iter().filter_map(move |span| {
        gap += i64::from(span.offset);
        (span.len > 0).then(|| (std::mem::take(&mut gap), span.len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_no_length_are_gaps() {
        let span = |offset, len| Span { offset, len };
        assert!(spans_match(&[], &[span(3, 0)]));
        assert!(spans_match(&[span(1, 0), span(2, 2), span(1, 0), span(0, 0), span(1, 1), span(9, 0)], &[span(3, 2), span(2, 1)]));
        assert!(!spans_match(&[span(3, 2)], &[span(2, 2)]));
        assert!(!spans_match(&[span(3, 2)], &[span(3, 2), span(0, 1)]));
    }

    #[test]
    fn hints_say_nothing_and_signs_of_zero_do() {
        let left = FloatHistogram { sum: 0.0, ..FloatHistogram::default() };
        assert!(left.is_same(&FloatHistogram { reset_hint: super::super::ResetHint::Gauge, ..left.clone() }));
        assert!(!left.is_same(&FloatHistogram { sum: -0.0, ..left.clone() }));
    }
}
