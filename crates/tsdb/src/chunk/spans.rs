//! Bringing histograms to the same buckets.
//!
//! A chunk's histograms share their buckets. A later sample may bring new ones, which the chunk's samples then get as empty
//! ones, and may lack some, as long as they are empty in the chunk (or it is a gauge).

use super::histogram::Shape;
use model::Span;
use std::sync::Arc;

/// How the buckets of a chunk and of a new sample come together, on one side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Union {
    /// What both have afterwards.
    pub(super) spans: Arc<[Span]>,
    /// The chunk gets buckets.
    pub(super) widens_chunk: bool,
    /// The sample gets buckets.
    pub(super) widens_sample: bool,
}

/// None if the sample shows a reset of a counter whose last sample in the chunk is `last`.
pub(super) fn union<H: Shape>(last: &H, new: &H, side: usize, gauge: bool) -> Option<Union> {
    let (old_spans, new_spans) = (last.spans(side), new.spans(side));
    let mut old = counts(last, side).peekable();
    let mut new = counts(new, side).peekable();
    let (mut widens_chunk, mut widens_sample) = (false, false);
    let zero = H::Bucket::default();
    loop {
        match (old.peek().copied(), new.peek().copied()) {
            (Some((old_index, old_count)), Some((new_index, new_count))) if old_index == new_index => {
                if !gauge && old_count > new_count {
                    return None;
                }
                old.next();
                new.next();
            }
            (Some((old_index, old_count)), other) if other.is_none_or(|(new_index, _)| old_index < new_index) => {
                if !gauge && old_count != zero {
                    return None;
                }
                widens_sample = true;
                old.next();
            }
            (_, Some(_)) => {
                widens_chunk = true;
                new.next();
            }
            (_, None) => break,
        }
    }
    let spans = match (widens_chunk, widens_sample) {
        (false, _) => Arc::clone(old_spans),
        (true, false) => Arc::clone(new_spans),
        (true, true) => join(old_spans, new_spans),
    };
    Some(Union { spans, widens_chunk, widens_sample })
}

/// The buckets of a side, spread over `spans`, which have all of them and more.
pub(super) fn spread<H: Shape>(histogram: &H, side: usize, spans: &[Span]) -> Vec<H::Bucket> {
    let mut counts = counts(histogram, side).peekable();
    let mut before = H::Bucket::default();
    let mut bucket = |index| {
        let count = counts.next_if(|(own, _)| *own == index).map_or(H::Bucket::default(), |(_, count)| count);
        H::bucket_of(std::mem::replace(&mut before, count), count)
    };
    indexes(spans).map(&mut bucket).collect()
}

/// The buckets' indexes, ascending unless a later span has a negative offset.
fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> {
    let mut next = 0i64;
    spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.len);
        first..next
    })
}

fn counts<H: Shape>(histogram: &H, side: usize) -> impl Iterator<Item = (i64, H::Bucket)> {
    let mut count = H::Bucket::default();
    indexes(histogram.spans(side)).zip(histogram.bucket_values(side)).map(move |(index, bucket)| {
        count = H::count_of(count, *bucket);
        (index, count)
    })
}

fn join(left: &[Span], right: &[Span]) -> Arc<[Span]> {
    let (mut left, mut right) = (indexes(left).peekable(), indexes(right).peekable());
    let mut joined: Vec<Span> = Vec::new();
    let mut next = 0i64;
    while let Some(index) = [left.peek(), right.peek()].into_iter().flatten().min().copied() {
        left.next_if_eq(&index);
        right.next_if_eq(&index);
        match joined.last_mut() {
            Some(last) if index == next => last.len += 1,
            // Between two indexes that spans of 32 bits reach there may be more than an offset holds; no histogram has such.
            _ => joined.push(Span { offset: (index - next).clamp(i32::MIN.into(), i32::MAX.into()) as i32, len: 1 }),
        }
        next = index + 1;
    }
    joined.into()
}
