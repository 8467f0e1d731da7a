//! Samples of overlapping chunks of one series in order of time, each time once.
//!
//! Chunks overlap when samples came out of order, or when somebody put blocks of another server into the directory. Of several
//! samples at one time Prometheus keeps "a random one": which one follows from its heap of iterators. This is that heap, move for
//! move, so that a directory compacted by either holds the same samples.
//!
//! # Invariants
//! - Times strictly increase.
//! - A counter histogram that did not follow its predecessor in one of the chunks says nothing about a reset between them.

use crate::chunk::{Sample, Value};
use model::histogram::ResetHint;
use std::sync::Arc;

/// Merges chunks, each in order of time; given in the order of their first samples.
pub(super) fn merge(mut chunks: Vec<Vec<Sample>>) -> Vec<Sample> {
    let mut merged = Vec::with_capacity(chunks.iter().map(Vec::len).sum());
    if chunks.is_empty() {
        return merged;
    }
    // The reference lists the first chunk last, and begins with the first of the list.
    chunks.rotate_left(1);
    let mut cursors: Vec<Cursor> = chunks.into_iter().map(|samples| Cursor { samples, next: 0 }).collect();
    let mut heap = Heap::default();
    for i in 1..cursors.len() {
        if cursors[i].advance() {
            heap.push(i, &cursors);
        }
    }
    let mut current = 0;
    let mut last_time = None;
    let mut neighbours = false;
    loop {
        if cursors[current].advance() {
            let time = cursors[current].time();
            if Some(time) == last_time {
                continue;
            }
            if heap.top().is_none_or(|top| time < cursors[top].time()) {
                merged.push(cursors[current].take(neighbours));
                last_time = Some(time);
                neighbours = true;
                continue;
            }
            heap.push(current, &cursors);
        }
        let Some(top) = heap.pop(&cursors) else { return merged };
        current = top;
        neighbours = false;
        let time = cursors[current].time();
        if Some(time) != last_time {
            merged.push(cursors[current].take(false));
            last_time = Some(time);
            neighbours = true;
        }
    }
}

/// One chunk's samples; the current one is before `next`.
struct Cursor {
    samples: Vec<Sample>,
    next: usize,
}

impl Cursor {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.samples.len()
    }

    fn time(&self) -> i64 {
        self.samples[self.next - 1].time
    }

    fn take(&self, neighbour_of_last: bool) -> Sample {
        let mut sample = self.samples[self.next - 1].clone();
        if !neighbour_of_last {
            forget_hint(&mut sample.value);
        }
        sample
    }
}

fn forget_hint(value: &mut Value) {
    let says_something = |hint: ResetHint| matches!(hint, ResetHint::Reset | ResetHint::NoReset);
    match value {
        Value::Histogram(histogram) if says_something(histogram.reset_hint) => Arc::make_mut(histogram).reset_hint = ResetHint::Unknown,
        Value::FloatHistogram(histogram) if says_something(histogram.reset_hint) => {
            Arc::make_mut(histogram).reset_hint = ResetHint::Unknown
        }
        Value::Float(_) | Value::Histogram(_) | Value::FloatHistogram(_) => {}
    }
}

/// A binary heap of cursors by time, which treats ties as the heap of Go's library does.
#[derive(Default)]
struct Heap(Vec<usize>);

impl Heap {
    fn top(&self) -> Option<usize> {
        self.0.first().copied()
    }

    fn less(&self, a: usize, b: usize, cursors: &[Cursor]) -> bool {
        cursors[self.0[a]].time() < cursors[self.0[b]].time()
    }

    fn push(&mut self, cursor: usize, cursors: &[Cursor]) {
        self.0.push(cursor);
        let mut child = self.0.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.less(child, parent, cursors) {
                break;
            }
            self.0.swap(parent, child);
            child = parent;
        }
    }

    fn pop(&mut self, cursors: &[Cursor]) -> Option<usize> {
        let len = self.0.len().checked_sub(1)?;
        self.0.swap(0, len);
        let mut parent = 0;
        loop {
            let left = 2 * parent + 1;
            if left >= len {
                break;
            }
            let right = left + 1;
            let child = if right < len && self.less(right, left, cursors) { right } else { left };
            if !self.less(child, parent, cursors) {
                break;
            }
            self.0.swap(parent, child);
            parent = child;
        }
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Histogram;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn float(time: i64, value: f64) -> Sample {
        Sample { start: 0, time, value: Value::Float(value) }
    }

    /// Chunks of floats; the value says which chunk.
    #[track_caller]
    fn check(chunks: &[&[i64]], want: &[(i64, f64)]) {
        let chunks = chunks.iter().enumerate().map(|(i, times)| times.iter().map(|&time| float(time, i as f64)).collect()).collect();
        let got: Vec<(i64, f64)> = merge(chunks).into_iter().map(|sample| (sample.time, number(&sample))).collect();
        assert_eq!(got, want);
    }

    fn number(sample: &Sample) -> f64 {
        let Value::Float(value) = sample.value else { panic!("a float") };
        value
    }

    #[test]
    fn of_equal_times_one_stays() {
        check(&[], &[]);
        check(&[&[1, 2]], &[(1, 0.0), (2, 0.0)]);
        check(&[&[1, 3], &[2, 4]], &[(1, 0.0), (2, 1.0), (3, 0.0), (4, 1.0)]);
        // Same times all along: those of the chunk that the reference has in its heap.
        check(&[&[1, 2, 3], &[1, 2, 3]], &[(1, 0.0), (2, 0.0), (3, 0.0)]);
        // The one that yielded the sample before goes to the heap behind the other.
        check(&[&[1, 2, 3], &[1, 3]], &[(1, 0.0), (2, 0.0), (3, 1.0)]);
        check(&[&[], &[1]], &[(1, 1.0)]);
        check(&[&[i64::MIN, i64::MAX], &[i64::MAX]], &[(i64::MIN, 0.0), (i64::MAX, 1.0)]);
    }

    #[test]
    fn hints_hold_between_neighbours_only() {
        let histogram = |time, reset_hint| {
            let histogram = Histogram { reset_hint, count: time as u64, ..Histogram::default() };
            Sample { start: 0, time, value: Value::Histogram(Arc::new(histogram)) }
        };
        use ResetHint::{Gauge, NoReset, Unknown};
        let merged = merge(vec![
            vec![histogram(1, Unknown), histogram(2, NoReset), histogram(5, NoReset)],
            vec![histogram(3, Gauge), histogram(4, Gauge), histogram(6, NoReset), histogram(7, NoReset)],
        ]);
        let hints: Vec<(i64, ResetHint)> = merged
            .iter()
            .map(|sample| match &sample.value {
                Value::Histogram(histogram) => (sample.time, histogram.reset_hint),
                _ => panic!("a histogram"),
            })
            .collect();
        assert_eq!(hints, [(1, Unknown), (2, NoReset), (3, Gauge), (4, Gauge), (5, Unknown), (6, Unknown), (7, NoReset)]);
    }

    proptest! {
        #[test]
        fn a_map_by_time_has_the_same(times in prop::collection::vec(prop::collection::btree_set(0i64..60, 0..20), 0..6)) {
            let mut times: Vec<Vec<i64>> = times.into_iter().map(|times| times.into_iter().collect()).collect();
            times.sort();
            let chunks: Vec<Vec<Sample>> = times.iter().enumerate().map(|(i, times)| times.iter().map(|&t| float(t, i as f64)).collect()).collect();
            let mut model: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for sample in chunks.iter().flatten() {
                model.entry(sample.time).or_default().push(number(sample));
            }
            let merged = merge(chunks);
            prop_assert_eq!(merged.iter().map(|s| s.time).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            for sample in &merged {
                prop_assert!(model[&sample.time].contains(&number(sample)));
            }
        }
    }
}
