//! Step results: one series' values at all steps, dense, with a bitmap of presence.
//!
//! # Invariants
//! - `values.len() == present.len()` for all series of one grid.
//! - Where a step is absent its value is 0 and means nothing; absence is never a NaN.

use super::memory::Size;
use super::mixed;
use model::{FloatHistogram, Labels};
use std::sync::Arc;

/// The steps of an evaluation: `start + i * step` for `i` in `0..count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub start: i64,
    pub step: i64,
    pub count: usize,
    /// Where it ends, which may be behind the last step.
    pub until: i64,
}

impl Grid {
    /// A single step.
    pub fn instant(time: i64) -> Self {
        Self { start: time, step: 1, count: 1, until: time }
    }

    /// From `start` up to at most `end`.
    pub fn range(start: i64, end: i64, step: i64) -> Self {
        let count = if end < start || step <= 0 { 0 } else { (end.saturating_sub(start) / step) as usize + 1 };
        Self { start, step, count, until: end }
    }

    /// The time of a step.
    pub fn time(&self, step: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(step as i64))
    }

    /// The time of the last step.
    pub fn end(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }

    /// Does it end where it starts, as that of an instant query? Then results keep their order.
    pub fn is_instant(&self) -> bool {
        self.start == self.until
    }

    /// Only the first step.
    pub fn first(&self) -> Self {
        Self { count: self.count.min(1), until: self.start, ..*self }
    }
}

/// Which steps are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    words: Vec<u64>,
    len: usize,
}

impl Presence {
    /// None of `len`.
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// All of `len`.
    pub fn all(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let (Some(last), true) = (words.last_mut(), !len.is_multiple_of(64)) {
            *last = (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    #[inline]
    pub fn get(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    #[inline]
    pub fn set(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
    }

    /// Sets `count` that follow each other.
    pub fn set_run(&mut self, from: usize, count: usize) {
        let end = from + count;
        for (word, begin) in self.words.iter_mut().zip((0..).step_by(64)).take(end.div_ceil(64)).skip(from / 64) {
            let (low, high) = (from.max(begin) - begin, end.min(begin + 64) - begin);
            if low < high {
                *word |= u64::MAX >> (64 - (high - low)) << low;
            }
        }
    }

    #[inline]
    pub fn unset(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
    }

    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    pub fn is_none(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    pub fn is_all(&self) -> bool {
        self.count() == self.len
    }

    /// How many steps there are, present or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first step that is there.
    pub fn first(&self) -> Option<usize> {
        let word = self.words.iter().position(|w| *w != 0)?;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }

    /// Steps that are there, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    i * 64 + bit
                })
            })
        })
    }

    /// Adds the steps at which a series has a float, and gives these to `each`, with whether the step is new.
    #[inline]
    pub fn take_in(&mut self, series: &Steps, mut each: impl FnMut(usize, f64, bool)) {
        for (at, (seen, there)) in self.words.iter_mut().zip(&series.present.words).enumerate() {
            let from = at * 64;
            if *there == u64::MAX && *seen == u64::MAX {
                series.values[from..from + 64].iter().enumerate().for_each(|(i, value)| each(from + i, *value, false));
                continue;
            }
            let mut rest = *there;
            while rest != 0 {
                let step = from + rest.trailing_zeros() as usize;
                each(step, series.values[step], *seen >> (step % 64) & 1 == 0);
                rest &= rest - 1;
            }
            *seen |= there;
        }
    }

    pub fn union_with(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub fn intersect_with(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    /// The steps in both.
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.intersect_with(other);
        both
    }
}

/// One series' values at the steps of a grid.
///
/// # Invariants
/// - `histograms` is in ascending order of steps, none of which is in `present`: that is for floats alone, so that
///   whoever knows only those passes histograms by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    pub values: Vec<f64>,
    pub present: Presence,
    pub histograms: Vec<(usize, Arc<FloatHistogram>)>,
}

impl Steps {
    pub fn absent(len: usize) -> Self {
        Self::of(vec![0.0; len], Presence::none(len))
    }

    pub fn full(values: Vec<f64>) -> Self {
        let present = Presence::all(values.len());
        Self::of(values, present)
    }

    /// Floats alone.
    pub fn of(values: Vec<f64>, present: Presence) -> Self {
        Self { values, present, histograms: Vec::new() }
    }

    /// Adds a histogram at a step later than all that have one.
    pub fn put_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        self.histograms.push((step, histogram));
    }

    /// What it takes.
    pub fn size(&self) -> Size {
        let Size { samples, bytes } = Size::steps(1, self.values.len());
        Size { samples, bytes: bytes + self.histogram_bytes() }
    }

    /// What its histograms take, each as if nobody else had it too.
    pub fn histogram_bytes(&self) -> u64 {
        self.histograms.iter().map(|(_, histogram)| 16 * (mixed::size(histogram) + 1)).sum()
    }

    /// Neither a float nor a histogram at any step.
    pub fn is_none(&self) -> bool {
        self.histograms.is_empty() && self.present.is_none()
    }

    /// The steps that have a float or a histogram.
    pub fn occupied(&self) -> Presence {
        let mut occupied = self.present.clone();
        self.histograms.iter().for_each(|(step, _)| occupied.set(*step));
        occupied
    }

    #[inline]
    pub fn put(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }

    #[inline]
    pub fn get(&self, step: usize) -> Option<f64> {
        self.present.get(step).then(|| self.values[step])
    }

    /// Keeps the steps for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.histograms.retain(|(step, _)| keep(*step));
        for step in self.present.clone().iter().filter(|step| !keep(*step)) {
            self.present.unset(step);
        }
    }

    /// Replaces each value that is there; histograms go.
    pub fn map(&mut self, f: impl Fn(f64) -> f64) {
        self.histograms.clear();
        if self.present.is_all() {
            self.values.iter_mut().for_each(|v| *v = f(*v));
        } else {
            for step in self.present.iter() {
                self.values[step] = f(self.values[step]);
            }
        }
    }

    /// Replaces or removes each value that is there; histograms go.
    pub fn filter_map(&mut self, f: impl Fn(usize, f64) -> Option<f64>) {
        self.histograms.clear();
        let present = self.present.clone();
        for step in present.iter() {
            match f(step, self.values[step]) {
                Some(value) => self.values[step] = value,
                None => self.present.unset(step),
            }
        }
    }

    /// The one value of a step-invariant part, at all steps.
    pub fn broadcast(&self, len: usize) -> Self {
        let mut steps = match self.get(0) {
            Some(value) => Self::full(vec![value; len]),
            None => Self::absent(len),
        };
        if let Some((_, histogram)) = self.histograms.first() {
            steps.histograms = (0..len).map(|step| (step, histogram.clone())).collect();
        }
        steps
    }
}

/// What is known of a series before its samples are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub labels: Labels,
    /// The name goes at the end of the query (only with delayed name removal).
    pub drop_name: bool,
}

/// A series of a materialised vector.
#[derive(Clone, Debug)]
pub(crate) struct StepSeries {
    pub head: Head,
    pub steps: Steps,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn presence_at_word_borders() {
        for len in [0, 1, 63, 64, 65, 130] {
            let all = Presence::all(len);
            assert_eq!(all.count(), len);
            assert!(all.is_all());
            assert_eq!(all.iter().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            let mut none = Presence::none(len);
            assert!(none.is_none() && none.first().is_none());
            if len > 0 {
                none.set(len - 1);
                assert_eq!(none.first(), Some(len - 1));
                assert!(none.get(len - 1));
                none.unset(len - 1);
                assert!(none.is_none());
            }
        }
    }

    #[test]
    fn presence_in_runs() {
        for (from, count) in [(0, 0), (0, 1), (3, 61), (3, 62), (63, 2), (64, 64), (5, 190), (199, 1), (0, 200)] {
            let mut run = Presence::none(200);
            run.set(7);
            run.set_run(from, count);
            let want: Vec<usize> = (0..200).filter(|at| *at == 7 || (from..from + count).contains(at)).collect();
            assert_eq!(run.iter().collect::<Vec<_>>(), want, "{from} {count}");
        }
    }

    #[test]
    fn grids_include_an_end_on_the_grid() {
        assert_eq!(Grid::range(0, 10, 5).count, 3);
        assert_eq!(Grid::range(0, 9, 5).count, 2);
        assert_eq!(Grid::range(1, 0, 5).count, 0);
        assert_eq!(Grid::range(3, 14, 5).end(), 13);
    }
}
