//! Coarser resolutions: buckets merge, none is cut.

use super::{FloatHistogram, Histogram, HistogramError, SCHEMA_CUSTOM, Span};

impl Histogram {
    /// Merges buckets until the resolution is that of `schema`.
    ///
    /// # Errors
    /// If it is not finer than that, has custom bounds, or spans and counts do not fit together; it may then be half done.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        check(self.schema, schema)?;
        for (spans, deltas) in
            [(&mut self.positive_spans, &mut self.positive_deltas), (&mut self.negative_spans, &mut self.negative_deltas)]
        {
            let mut count = 0i64;
            let counts = deltas.iter().map(|delta| {
                count = count.wrapping_add(*delta);
                count
            });
            let (new_spans, counts) = reduced(spans, counts, self.schema - schema, |sum: &mut i64, count| *sum = sum.wrapping_add(count))?;
            let mut previous = 0i64;
            *deltas = counts.into_iter().map(|count| count.wrapping_sub(std::mem::replace(&mut previous, count))).collect();
            *spans = new_spans.into();
        }
        self.schema = schema;
        Ok(())
    }
}

impl FloatHistogram {
    /// As [`Histogram::reduce_resolution`].
    ///
    /// # Errors
    /// As there.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        check(self.schema, schema)?;
        for (spans, counts) in
            [(&mut self.positive_spans, &mut self.positive_counts), (&mut self.negative_spans, &mut self.negative_counts)]
        {
            let steps = self.schema - schema;
            let (new_spans, new_counts) = reduced(spans, counts.iter().copied(), steps, |sum: &mut f64, count| *sum += count)?;
            (*spans, *counts) = (new_spans.into(), new_counts);
        }
        self.schema = schema;
        Ok(())
    }
}

fn check(from: i32, to: i32) -> Result<(), HistogramError> {
    let fits = from != SCHEMA_CUSTOM && to != SCHEMA_CUSTOM && to < from;
    if fits { Ok(()) } else { Err(HistogramError::Resolution(from, to)) }
}

/// Merges the buckets of one side: `2^steps` neighbours become one.
fn reduced<T: Copy>(
    spans: &[Span],
    counts: impl ExactSizeIterator<Item = T>,
    steps: i32,
    add: impl Fn(&mut T, T),
) -> Result<(Vec<Span>, Vec<T>), HistogramError> {
    let have = counts.len();
    let mut counts = counts;
    let mut new_spans: Vec<Span> = Vec::with_capacity(spans.len());
    let mut new_counts: Vec<T> = Vec::with_capacity(have);
    let mut index = 0i32;
    let mut last = 0i32;
    let need = spans.iter().map(|span| u64::from(span.len)).sum();
    for (at, span) in spans.iter().enumerate() {
        if at > 0 && span.offset < 0 {
            return Err(HistogramError::NegativeOffset { number: at + 1, offset: span.offset });
        }
        index = index.wrapping_add(span.offset);
        for _ in 0..span.len {
            let count = counts.next().ok_or(HistogramError::Buckets { need, have })?;
            let target = (index.wrapping_sub(1) >> steps.min(31)).wrapping_add(1);
            match (new_spans.last_mut(), new_counts.last_mut()) {
                (Some(_), Some(sum)) if target == last => add(sum, count),
                (Some(span), Some(_)) if target == last.wrapping_add(1) => {
                    span.len += 1;
                    new_counts.push(count);
                }
                (before, _) => {
                    let offset = if before.is_some() { target.wrapping_sub(last).wrapping_sub(1) } else { target };
                    new_spans.push(Span { offset, len: 1 });
                    new_counts.push(count);
                }
            }
            last = target;
            index = index.wrapping_add(1);
        }
    }
    if counts.next().is_some() { Err(HistogramError::Buckets { need, have }) } else { Ok((new_spans, new_counts)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn neighbours_merge() {
        let mut histogram = Histogram {
            schema: 2,
            positive_spans: vec![Span { offset: -1, len: 3 }, Span { offset: 5, len: 1 }].into(),
            // Buckets -1, 0, 1 and 7 with counts 1, 3, 2, 4.
            positive_deltas: vec![1, 2, -1, 2],
            ..Histogram::default()
        };
        histogram.reduce_resolution(1).unwrap();
        // -1 and 0 become 0, 1 becomes 1, 7 becomes 4.
        assert_eq!(histogram.positive_spans[..], [Span { offset: 0, len: 2 }, Span { offset: 2, len: 1 }]);
        assert_eq!(histogram.positive_deltas, [4, -2, 2]);
        assert_eq!(histogram.schema, 1);
        assert_eq!(histogram.reduce_resolution(1), Err(HistogramError::Resolution(1, 1)));
    }

    #[test]
    fn counts_that_do_not_fit_are_refused() {
        let mut histogram = FloatHistogram {
            schema: 52,
            positive_spans: vec![Span { offset: i32::MAX, len: u32::MAX }].into(),
            positive_counts: vec![1.0],
            ..FloatHistogram::default()
        };
        assert_eq!(histogram.reduce_resolution(8), Err(HistogramError::Buckets { need: u64::from(u32::MAX), have: 1 }));
    }
}
