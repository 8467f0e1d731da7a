//! Leaving out empty buckets.

use super::{FloatHistogram, Histogram, Span};
use std::sync::Arc;

impl Histogram {
    /// Leaves out empty buckets at the ends of spans, and between others where more than `empty_max` lie together; joins spans
    /// that are at most that far apart.
    ///
    /// A histogram whose spans do not match its buckets stays as it is.
    pub fn compact(&mut self, empty_max: u32) {
        for (spans, deltas) in
            [(&mut self.positive_spans, &mut self.positive_deltas), (&mut self.negative_spans, &mut self.negative_deltas)]
        {
            let mut count = 0i64;
            let mut counts = deltas.clone();
            for delta in &mut counts {
                count = count.wrapping_add(*delta);
                *delta = count;
            }
            if let Some((compact, mut counts)) = compact(spans, &counts, empty_max) {
                let mut before = 0i64;
                for count in &mut counts {
                    let delta = count.wrapping_sub(before);
                    before = std::mem::replace(count, delta);
                }
                (*spans, *deltas) = (compact, counts);
            }
        }
    }
}

impl FloatHistogram {
    /// Leaves out empty buckets at the ends of spans, and between others where more than `empty_max` lie together; joins spans
    /// that are at most that far apart.
    ///
    /// A histogram whose spans do not match its buckets stays as it is.
    pub fn compact(&mut self, empty_max: u32) {
        for (spans, counts) in
            [(&mut self.positive_spans, &mut self.positive_counts), (&mut self.negative_spans, &mut self.negative_counts)]
        {
            if let Some(compact) = compact(spans, counts, empty_max) {
                (*spans, *counts) = compact;
            }
        }
    }
}

fn compact<T: Copy + Default + PartialEq>(spans: &[Span], counts: &[T], empty_max: u32) -> Option<(Arc<[Span]>, Vec<T>)> {
    let occupied: u64 = spans.iter().map(|span| u64::from(span.len)).sum();
    if occupied != counts.len() as u64 {
        return None;
    }
    let mut compact: Vec<Span> = Vec::new();
    let mut kept = Vec::with_capacity(counts.len());
    let mut rest = counts.iter();
    let (mut index, mut next) = (0i64, 0i64);
    for span in spans {
        index += i64::from(span.offset);
        for count in rest.by_ref().take(span.len as usize) {
            if *count != T::default() {
                let gap = index - next;
                match compact.last_mut() {
                    Some(last) if gap >= 0 && gap <= i64::from(empty_max) => {
                        kept.resize(kept.len() + gap as usize, T::default());
                        last.len += gap as u32 + 1;
                    }
                    _ => compact.push(Span { offset: i32::try_from(gap).ok()?, len: 1 }),
                }
                kept.push(*count);
                next = index + 1;
            }
            index += 1;
        }
    }
    Some((compact.into(), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_buckets_go_and_near_spans_join() {
        let span = |offset, len| Span { offset, len };
        let mut histogram = Histogram {
            // Buckets -1…3 and 5…6: 0, 2, 0, 0, 3 and 1, 0.
            positive_spans: [span(-1, 5), span(0, 0), span(1, 2)].into(),
            positive_deltas: vec![0, 2, -2, 0, 3, -2, -1],
            ..Histogram::default()
        };
        let mut float = histogram.to_float();
        histogram.compact(0);
        assert_eq!(*histogram.positive_spans, [span(0, 1), span(2, 1), span(1, 1)]);
        assert_eq!(histogram.positive_deltas, [2, 1, -2]);
        float.compact(1);
        assert_eq!(*float.positive_spans, [span(0, 1), span(2, 3)]);
        assert_eq!(float.positive_counts, [2.0, 3.0, 0.0, 1.0]);
        float.compact(2);
        assert_eq!(*float.positive_spans, [span(0, 6)]);
    }
}
