//! Tombstones: which stretches of time of which series are deleted.
//!
//! Deleting writes no sample anywhere: readers leave deleted ones out, and the next compaction of the data drops them.
//! Deletions are few and long, so a series keeps a sorted list of stretches, and a reader cuts whole runs out of a column.
//!
//! # Invariants
//! - Both ends of a stretch are deleted.
//! - The stretches of a series ascend and neither overlap nor touch: between two of them lies an instant that is not deleted.

use model::Timestamp;
use std::collections::BTreeMap;
use std::collections::btree_map;
use storage::{Column, Interval};

/// Deleted stretches of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// Nothing is deleted.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Deletes one more stretch; what it overlaps or touches becomes one with it. One that ends before it starts deletes nothing.
    pub fn add(&mut self, interval: Interval) {
        let Interval { start, end } = interval;
        if start > end {
            return;
        }
        // Time is discrete: a stretch that ends just before `start` touches it. The ends of time have no neighbour.
        let from = self.0.partition_point(|known| known.end.0 < start.0.saturating_sub(1));
        let upto = from + self.0[from..].partition_point(|known| known.start.0 <= end.0.saturating_add(1));
        let joined = self.0[from..upto]
            .iter()
            .fold(interval, |joined, known| Interval { start: joined.start.min(known.start), end: joined.end.max(known.end) });
        self.0.splice(from..upto, [joined]);
    }

    /// Deletes all that `other` does.
    pub fn extend(&mut self, other: &Self) {
        for interval in &other.0 {
            self.add(*interval);
        }
    }

    /// The stretches in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Interval> + '_ {
        self.0.iter().copied()
    }

    /// Nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many stretches.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the sample at `time` is deleted.
    pub fn covers(&self, time: i64) -> bool {
        self.covers_all(time, time)
    }

    /// Whether all from `min_time` to `max_time`, both included, is deleted: a chunk of that range need not be read.
    pub fn covers_all(&self, min_time: i64, max_time: i64) -> bool {
        self.first_from(min_time).is_some_and(|known| known.start.0 <= min_time && max_time <= known.end.0)
    }

    /// Whether anything from `min_time` to `max_time`, both included, is deleted.
    pub fn overlaps(&self, min_time: i64, max_time: i64) -> bool {
        self.first_from(min_time).is_some_and(|known| known.start.0 <= max_time)
    }

    /// The first stretch that does not end before `time`.
    fn first_from(&self, time: i64) -> Option<&Interval> {
        self.0.get(self.0.partition_point(|known| known.end.0 < time))
    }

    /// Forgets stretches that end before `time`, where no data is left. Whether any were.
    pub fn truncate_before(&mut self, time: i64) -> bool {
        let gone = self.0.partition_point(|known| known.end.0 < time);
        self.0.drain(..gone);
        gone > 0
    }

    /// Takes the deleted samples out of `column`, of those from index `from` on.
    pub fn retain(&self, column: &mut Column, from: usize) {
        let Some((first, last)) = column.times.get(from).copied().zip(column.times.last().copied()) else { return };
        if !self.overlaps(first, last) {
            return;
        }
        let mut cuts: Vec<(usize, usize)> = Vec::new();
        let mut at = from;
        for known in &self.0 {
            let start = at + column.times[at..].partition_point(|time| *time < known.start.0);
            at = start + column.times[start..].partition_point(|time| *time <= known.end.0);
            if start < at {
                cuts.push((start, at));
            }
        }
        cut(&mut column.times, &cuts);
        cut(&mut column.values, &cuts);
        if !column.starts.is_empty() {
            cut(&mut column.starts, &cuts);
        }
        if !column.histograms.is_empty() {
            let (mut next, mut gone) = (0, 0);
            column.histograms.retain_mut(|(index, _)| {
                let place = *index as usize;
                while cuts.get(next).is_some_and(|(_, end)| *end <= place) {
                    gone += cuts[next].1 - cuts[next].0;
                    next += 1;
                }
                if cuts.get(next).is_some_and(|(start, _)| *start <= place) {
                    return false;
                }
                *index = u32::try_from(place - gone).expect("an index only gets smaller");
                true
            });
        }
    }
}

impl FromIterator<Interval> for Intervals {
    fn from_iter<I: IntoIterator<Item = Interval>>(intervals: I) -> Self {
        let mut all = Self::new();
        for interval in intervals {
            all.add(interval);
        }
        all
    }
}

/// Moves what lies between and behind the cuts, which ascend, over them.
fn cut<T: Copy>(items: &mut Vec<T>, cuts: &[(usize, usize)]) {
    let Some((mut kept, _)) = cuts.first().copied() else { return };
    for (at, (_, end)) in cuts.iter().enumerate() {
        let next = cuts.get(at + 1).map_or(items.len(), |(start, _)| *start);
        items.copy_within(*end..next, kept);
        kept += next - end;
    }
    items.truncate(kept);
}

/// Deleted stretches by series: the number by which a block's index, or the log, names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones(BTreeMap<u64, Intervals>);

impl Tombstones {
    /// Nothing is deleted.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Deletes one more stretch of a series.
    pub fn add(&mut self, series: u64, interval: Interval) {
        if interval.start <= interval.end {
            self.0.entry(series).or_default().add(interval);
        }
    }

    /// Deletes all that `other` does.
    pub fn extend(&mut self, other: &Self) {
        for (series, intervals) in &other.0 {
            self.0.entry(*series).or_default().extend(intervals);
        }
    }

    /// What is deleted of a series.
    pub fn get(&self, series: u64) -> Option<&Intervals> {
        self.0.get(&series)
    }

    /// Forgets a series.
    pub fn remove(&mut self, series: u64) -> Option<Intervals> {
        self.0.remove(&series)
    }

    /// Series in ascending order, none of them without a stretch.
    pub fn iter(&self) -> btree_map::Iter<'_, u64, Intervals> {
        self.0.iter()
    }

    /// Nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many series have deleted stretches.
    pub fn series_count(&self) -> usize {
        self.0.len()
    }

    /// How many stretches, of all series: `meta.json`'s `numTombstones`.
    pub fn interval_count(&self) -> u64 {
        self.0.values().map(|intervals| intervals.len() as u64).sum()
    }

    /// Forgets stretches that end before `time`, where no data is left.
    pub fn truncate_before(&mut self, time: i64) {
        self.0.retain(|_, intervals| {
            intervals.truncate_before(time);
            !intervals.is_empty()
        });
    }
}

impl<'t> IntoIterator for &'t Tombstones {
    type Item = (&'t u64, &'t Intervals);
    type IntoIter = btree_map::Iter<'t, u64, Intervals>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// All of time: what a log's tombstone says when the series itself is gone.
pub const ALL_TIME: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };

#[cfg(test)]
mod tests {
    use super::*;
    use model::FloatHistogram;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn interval(start: i64, end: i64) -> Interval {
        Interval { start: Timestamp(start), end: Timestamp(end) }
    }

    fn pairs(intervals: &Intervals) -> Vec<(i64, i64)> {
        intervals.iter().map(|i| (i.start.0, i.end.0)).collect()
    }

    #[test]
    fn the_ends_of_time_have_no_neighbour() {
        let mut all: Intervals = [interval(0, 5), interval(i64::MIN, -7), interval(10, i64::MAX)].into_iter().collect();
        assert_eq!(pairs(&all), [(i64::MIN, -7), (0, 5), (10, i64::MAX)]);
        assert!(all.covers(i64::MIN) && all.covers(i64::MAX) && !all.covers(9));
        all.add(interval(6, 9));
        assert_eq!(pairs(&all), [(i64::MIN, -7), (0, i64::MAX)]);
        all.add(ALL_TIME);
        assert_eq!(pairs(&all), [(i64::MIN, i64::MAX)]);
        all.add(interval(3, 2));
        assert_eq!(pairs(&all), [(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn old_stretches_are_forgotten() {
        let mut all = Tombstones::new();
        all.add(1, interval(0, 5));
        all.add(2, interval(0, 9));
        all.add(2, interval(20, 29));
        assert_eq!((all.series_count(), all.interval_count()), (2, 3));
        all.truncate_before(9);
        assert_eq!(all.iter().map(|(series, i)| (*series, pairs(i))).collect::<Vec<_>>(), [(2, vec![(0, 9), (20, 29)])]);
        all.truncate_before(10);
        assert_eq!(all.get(2).map(pairs), Some(vec![(20, 29)]));
    }

    proptest! {
        #[test]
        fn they_agree_with_a_set_of_instants(
            added in prop::collection::vec((0..60i64, -2..9i64), 0..12),
            times in prop::collection::btree_set(0..70i64, 0..50),
            from in 0..50usize,
            range in (0..70i64, 0..20i64),
            with_starts in any::<bool>(),
        ) {
            let all: Intervals = added.iter().map(|(start, len)| interval(*start, start + len)).collect();
            let deleted: BTreeSet<i64> = added.iter().flat_map(|(start, len)| *start..=start + len).collect();
            for known in all.0.windows(2) {
                prop_assert!(known[0].end.0 + 1 < known[1].start.0);
            }
            for time in -1..80 {
                prop_assert_eq!(all.covers(time), deleted.contains(&time));
            }
            let (min, max) = (range.0, range.0 + range.1);
            prop_assert_eq!(all.overlaps(min, max), deleted.range(min..=max).next().is_some());
            prop_assert_eq!(all.covers_all(min, max), (min..=max).all(|time| deleted.contains(&time)));

            let mut column = Column::default();
            for time in &times {
                if time % 3 == 0 {
                    let histogram = FloatHistogram { sum: *time as f64, ..FloatHistogram::default() };
                    column.push_histogram(Timestamp(*time), Arc::new(histogram));
                } else {
                    column.push(Timestamp(*time), *time as f64);
                }
                if with_starts {
                    column.set_start(Timestamp(time - 1));
                }
            }
            all.retain(&mut column, from);
            let want: Vec<i64> = times.iter().enumerate().filter(|(at, time)| *at < from || !deleted.contains(time)).map(|(_, time)| *time).collect();
            prop_assert_eq!(&column.times, &want);
            prop_assert_eq!(column.values, want.iter().map(|time| *time as f64).collect::<Vec<_>>());
            let histograms: Vec<(u32, f64)> = column.histograms.iter().map(|(index, histogram)| (*index, histogram.sum)).collect();
            let wanted: Vec<(u32, f64)> = (0u32..).zip(&want).filter(|(_, time)| **time % 3 == 0).map(|(at, time)| (at, *time as f64)).collect();
            prop_assert_eq!(histograms, wanted);
            if with_starts {
                prop_assert_eq!(column.starts, want.iter().map(|time| time - 1).collect::<Vec<_>>());
            }
        }
    }
}
