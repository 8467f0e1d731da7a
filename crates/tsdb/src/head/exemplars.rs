//! Exemplars in memory: a ring that all series share, in which the newest replace the oldest.
//!
//! A ring bounds what a series with many exemplars can take. The exemplars of a series are linked in order of time, so that a
//! select walks a series without looking at the rest.
//!
//! # Invariants
//! - Places of the ring are filled in the order of arrival; `next` is the oldest one once the ring is full, else its end.
//! - The list of a series ascends in time; a series without exemplars is not kept.
//! - A series is found by its ref, or by its labels when it came back under another ref: then it goes on as it was.

use hashbrown::{HashMap, HashTable};
use model::exemplar::EXEMPLAR_CHARS_MAX;
use model::{Exemplar, Labels, Matcher};
use std::cmp::Ordering;
use std::hash::BuildHasher;
use storage::{Cancel, Interval, SelectError, SeriesExemplars, SeriesRef};

const NONE: u32 = u32::MAX;

/// Why an exemplar is not taken; the texts are Prometheus's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExemplarError {
    /// The series' newest exemplar again: no fault of whoever sends it.
    #[error("duplicate exemplar")]
    Duplicate,
    /// Older than the series' newest one, or at its time and lesser.
    #[error("out of order exemplar")]
    OutOfOrder,
    /// Too many characters in its labels.
    #[error("label length for exemplar exceeds maximum of {EXEMPLAR_CHARS_MAX} UTF-8 characters")]
    LabelLength,
    /// None are kept.
    #[error("exemplar storage is disabled or max exemplars is less than or equal to 0")]
    Disabled,
}

/// What the ring holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExemplarStats {
    /// How many it can hold.
    pub capacity: usize,
    /// How many it holds.
    pub count: usize,
    /// Series that have some.
    pub series_count: usize,
    /// Time of the one that came first of all, in milliseconds; none if there are none.
    pub oldest_time: Option<i64>,
    /// Taken since the start, replayed ones included.
    pub appended: u64,
    /// Refused as out of order.
    pub out_of_order: u64,
    /// Bytes of memory.
    pub bytes: usize,
}

/// The exemplars of all series; the owner locks it.
#[derive(Debug, Default)]
pub struct Exemplars {
    capacity: usize,
    out_of_order_window_ms: i64,
    ring: Vec<Place>,
    next: usize,
    series: Vec<Series>,
    free: Vec<u32>,
    by_ref: HashMap<SeriesRef, u32, foldhash::fast::FixedState>,
    by_labels: HashTable<u32>,
    /// Of labels, those of exemplars and of series.
    label_bytes: usize,
    appended: u64,
    out_of_order: u64,
}

#[derive(Debug)]
struct Place {
    exemplar: Exemplar,
    series: u32,
    earlier: u32,
    later: u32,
}

#[derive(Debug)]
struct Series {
    labels: Labels,
    series_ref: SeriesRef,
    oldest: u32,
    newest: u32,
}

impl Exemplars {
    /// For `capacity` exemplars; 0 = none are taken. One older than its series' newest by `out_of_order_window_ms` or more is refused.
    pub fn new(capacity: usize, out_of_order_window_ms: i64) -> Self {
        let mut exemplars = Self::default();
        exemplars.resize(capacity);
        exemplars.set_out_of_order_window(out_of_order_window_ms);
        exemplars
    }

    /// How many it can hold; 0 = none are taken.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes from when on an exemplar is too old; 0 = those of a series come in order.
    pub fn set_out_of_order_window(&mut self, window_ms: i64) {
        self.out_of_order_window_ms = window_ms.max(0);
    }

    /// Whether [`Self::add`] would take an exemplar now; what is committed before it may change that.
    ///
    /// # Errors
    /// [`ExemplarError`].
    pub fn check(&self, series: SeriesRef, labels: impl FnOnce() -> Labels, exemplar: &Exemplar) -> Result<(), ExemplarError> {
        self.admit(exemplar)?;
        let at = self.by_ref.get(&series).copied().or_else(|| self.find(&labels()));
        at.map_or(Ok(()), |at| self.follows(at, exemplar))
    }

    /// Takes an exemplar, in place of the oldest one if the ring is full. Of a late one at the time of another nothing is kept.
    ///
    /// # Errors
    /// [`ExemplarError`], though never [`ExemplarError::Duplicate`]: that one is there.
    pub fn add(&mut self, series: SeriesRef, labels: impl FnOnce() -> Labels, exemplar: Exemplar) -> Result<(), ExemplarError> {
        self.admit(&exemplar)?;
        let at = match self.by_ref.get(&series) {
            Some(at) => *at,
            None => self.enter(series, labels()),
        };
        match self.follows(at, &exemplar) {
            Ok(()) => {}
            Err(ExemplarError::Duplicate) => return Ok(()),
            Err(error) => {
                self.out_of_order += u64::from(error == ExemplarError::OutOfOrder);
                return Err(error);
            }
        }
        let late = self.newest(at).is_some_and(|newest| exemplar.timestamp < newest.timestamp);
        let same_time = |place: u32| self.ring[place as usize].exemplar.timestamp == exemplar.timestamp;
        if late && self.place_before(at, &exemplar).is_some_and(same_time) {
            return Ok(());
        }
        if self.ring.len() == self.capacity {
            let emptied = self.unlink(self.next);
            if let Some(emptied) = emptied.filter(|emptied| *emptied != at) {
                self.leave(emptied);
            }
        }
        self.link(at, exemplar);
        self.appended += 1;
        Ok(())
    }

    /// Makes room for more exemplars, or for less: then the newest stay. Returns how many there are.
    pub fn resize(&mut self, capacity: usize) -> usize {
        // Places are numbered in 32 bits.
        let capacity = capacity.min(NONE as usize);
        let order = self.arrivals();
        let gone = order.len().saturating_sub(capacity);
        for place in &order[..gone] {
            if let Some(emptied) = self.unlink(*place) {
                self.leave(emptied);
            }
        }
        let kept = &order[gone..];
        let mut moved = vec![NONE; self.ring.len()];
        for (to, from) in (0u32..).zip(kept) {
            moved[*from] = to;
        }
        let to = |from: u32| moved.get(from as usize).copied().unwrap_or(NONE);
        let mut old: Vec<Option<Place>> = std::mem::take(&mut self.ring).into_iter().map(Some).collect();
        self.ring = kept.iter().filter_map(|from| old[*from].take()).collect();
        for place in &mut self.ring {
            (place.earlier, place.later) = (to(place.earlier), to(place.later));
        }
        for at in self.by_ref.values() {
            let series = &mut self.series[*at as usize];
            (series.oldest, series.newest) = (to(series.oldest), to(series.newest));
        }
        self.capacity = capacity;
        self.next = 0;
        self.ring.len()
    }

    /// Exemplars in `range` of series that satisfy any of the sets, in label order.
    ///
    /// # Errors
    /// [`SelectError::Cancelled`]
    pub fn select(&self, range: Interval, matcher_sets: &[Vec<Matcher>], cancel: &Cancel) -> Result<Vec<SeriesExemplars>, SelectError> {
        cancel.check()?;
        let checks = cancel.checks();
        let mut found = Vec::new();
        for at in self.by_ref.values() {
            checks.step()?;
            let series = &self.series[*at as usize];
            let ends = (&self.ring[series.oldest as usize].exemplar, &self.ring[series.newest as usize].exemplar);
            if ends.0.timestamp > range.end || ends.1.timestamp < range.start || !satisfies(&series.labels, matcher_sets) {
                continue;
            }
            let all = self.walk(series.newest, |place| place.earlier);
            let seen = all.take_while(|e| e.timestamp >= range.start).filter(|e| e.timestamp <= range.end);
            let mut exemplars: Vec<Exemplar> = seen.cloned().collect();
            if !exemplars.is_empty() {
                exemplars.reverse();
                found.push(SeriesExemplars { labels: series.labels.clone(), exemplars });
            }
        }
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    /// All exemplars in order of arrival, with their series' refs and labels.
    pub fn iter(&self) -> impl Iterator<Item = (SeriesRef, &Labels, &Exemplar)> {
        self.arrivals().into_iter().map(|at| {
            let place = &self.ring[at];
            let series = &self.series[place.series as usize];
            (series.series_ref, &series.labels, &place.exemplar)
        })
    }

    /// What the ring holds and has done.
    pub fn stats(&self) -> ExemplarStats {
        ExemplarStats {
            capacity: self.capacity,
            count: self.ring.len(),
            series_count: self.by_ref.len(),
            oldest_time: self.arrivals().first().map(|at| self.ring[*at].exemplar.timestamp.0),
            appended: self.appended,
            out_of_order: self.out_of_order,
            bytes: self.ring.capacity() * size_of::<Place>()
                + self.series.capacity() * size_of::<Series>()
                + self.by_ref.capacity() * (size_of::<(SeriesRef, u32)>() + 1)
                + self.by_labels.capacity() * (size_of::<u32>() + 1)
                + self.label_bytes,
        }
    }

    /// What can be said without the series.
    fn admit(&self, exemplar: &Exemplar) -> Result<(), ExemplarError> {
        if self.capacity == 0 {
            return Err(ExemplarError::Disabled);
        }
        let chars: usize = exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if chars > EXEMPLAR_CHARS_MAX { Err(ExemplarError::LabelLength) } else { Ok(()) }
    }

    /// Whether an exemplar may come after the newest one of its series.
    fn follows(&self, series: u32, exemplar: &Exemplar) -> Result<(), ExemplarError> {
        let Some(newest) = self.newest(series) else { return Ok(()) };
        let (time, newest_time) = (exemplar.timestamp.0, newest.timestamp.0);
        let timed = exemplar.has_timestamp || newest.has_timestamp;
        if exemplar.labels == newest.labels && exemplar.value == newest.value && (!timed || time == newest_time) {
            return Err(ExemplarError::Duplicate);
        }
        // A histogram has several at one time: those are in order of value, then of labels, so that a repetition is seen
        // without a look at all of them. (Prometheus orders by a hash of the labels where scrapes sort by the labels.)
        let lesser = match time.cmp(&newest_time) {
            Ordering::Less => time <= newest_time.saturating_sub(self.out_of_order_window_ms),
            Ordering::Equal => exemplar.value < newest.value || exemplar.value == newest.value && exemplar.labels < newest.labels,
            Ordering::Greater => false,
        };
        if lesser { Err(ExemplarError::OutOfOrder) } else { Ok(()) }
    }

    fn newest(&self, series: u32) -> Option<&Exemplar> {
        self.ring.get(self.series[series as usize].newest as usize).map(|place| &place.exemplar)
    }

    /// The series' last place in order of time that is not later than `exemplar`.
    fn place_before(&self, series: u32, exemplar: &Exemplar) -> Option<u32> {
        // Late ones lie close to the newest.
        let mut at = self.series[series as usize].newest;
        while let Some(place) = self.ring.get(at as usize) {
            if place.exemplar.timestamp <= exemplar.timestamp {
                return Some(at);
            }
            at = place.earlier;
        }
        None
    }

    fn walk(&self, from: u32, step: impl Fn(&Place) -> u32) -> impl Iterator<Item = &Exemplar> {
        std::iter::successors(self.ring.get(from as usize), move |place| self.ring.get(step(place) as usize)).map(|place| &place.exemplar)
    }

    /// Puts an exemplar at the next place and into the list of its series.
    fn link(&mut self, series: u32, exemplar: Exemplar) {
        let at = u32::try_from(self.next_place()).expect("a ring has fewer than 2^32 places");
        let earlier = self.place_before(series, &exemplar).unwrap_or(NONE);
        let ends = &mut self.series[series as usize];
        let later = match self.ring.get_mut(earlier as usize) {
            Some(place) => std::mem::replace(&mut place.later, at),
            None => std::mem::replace(&mut ends.oldest, at),
        };
        match self.ring.get_mut(later as usize) {
            Some(place) => place.earlier = at,
            None => ends.newest = at,
        }
        self.label_bytes += exemplar.labels.as_bytes().len();
        let place = Place { exemplar, series, earlier, later };
        match self.ring.get_mut(at as usize) {
            Some(old) => *old = place,
            None => self.ring.push(place),
        }
        self.next = if self.ring.len() < self.capacity { 0 } else { (at as usize + 1) % self.capacity };
    }

    fn next_place(&self) -> usize {
        if self.ring.len() < self.capacity { self.ring.len() } else { self.next }
    }

    /// Takes a place out of its series' list, and returns the series if that has none left.
    fn unlink(&mut self, at: usize) -> Option<u32> {
        let Place { series, earlier, later, .. } = self.ring[at];
        self.label_bytes -= self.ring[at].exemplar.labels.as_bytes().len();
        let ends = &mut self.series[series as usize];
        match self.ring.get_mut(earlier as usize) {
            Some(place) => place.later = later,
            None => ends.oldest = later,
        }
        match self.ring.get_mut(later as usize) {
            Some(place) => place.earlier = earlier,
            None => ends.newest = earlier,
        }
        (ends.oldest == NONE).then_some(series)
    }

    /// Places in order of arrival.
    fn arrivals(&self) -> Vec<usize> {
        (self.next..self.ring.len()).chain(0..self.next.min(self.ring.len())).collect()
    }

    fn find(&self, labels: &Labels) -> Option<u32> {
        self.by_labels.find(hash_of(labels), |at| self.series[*at as usize].labels == *labels).copied()
    }

    /// The series with these labels, new or known under another ref.
    fn enter(&mut self, series_ref: SeriesRef, labels: Labels) -> u32 {
        let at = self.find(&labels).unwrap_or_else(|| {
            let hash = hash_of(&labels);
            self.label_bytes += labels.as_bytes().len();
            let series = Series { labels, series_ref, oldest: NONE, newest: NONE };
            let at = match self.free.pop() {
                Some(at) => {
                    self.series[at as usize] = series;
                    at
                }
                None => {
                    self.series.push(series);
                    u32::try_from(self.series.len() - 1).expect("each series has a place of the ring, of which there are fewer than 2^32")
                }
            };
            self.by_labels.insert_unique(hash, at, |at| hash_of(&self.series[*at as usize].labels));
            at
        });
        let before = std::mem::replace(&mut self.series[at as usize].series_ref, series_ref);
        self.by_ref.remove(&before);
        self.by_ref.insert(series_ref, at);
        at
    }

    /// Forgets a series without exemplars.
    fn leave(&mut self, at: u32) {
        let series = &mut self.series[at as usize];
        let labels = std::mem::take(&mut series.labels);
        self.label_bytes -= labels.as_bytes().len();
        self.by_ref.remove(&series.series_ref);
        if let Ok(entry) = self.by_labels.find_entry(hash_of(&labels), |known| *known == at) {
            entry.remove();
        }
        self.free.push(at);
    }
}

fn hash_of(labels: &Labels) -> u64 {
    foldhash::fast::FixedState::default().hash_one(labels.as_bytes())
}

fn satisfies(labels: &Labels, matcher_sets: &[Vec<Matcher>]) -> bool {
    let value = |matcher: &Matcher| labels.get(&matcher.name).unwrap_or("");
    matcher_sets.iter().any(|matchers| matchers.iter().all(|matcher| matcher.matches(value(matcher))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use model::{MatchOp, Timestamp};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };

    fn exemplar(time: i64, value: f64, trace: &str) -> Exemplar {
        let labels = Labels::from_pairs([("trace_id", trace)]);
        Exemplar { labels, value, timestamp: Timestamp(time), has_timestamp: true }
    }

    fn series(n: u64) -> Labels {
        Labels::from_pairs([("n", n.to_string().as_str())])
    }

    fn select(all: &Exemplars, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Vec<SeriesExemplars> {
        assert!(matches!(all.select(range, matcher_sets, &Cancel::when(|| true)), Err(SelectError::Cancelled)));
        all.select(range, matcher_sets, &Cancel::default()).unwrap()
    }

    #[test]
    fn rules_and_their_messages() {
        let mut all = Exemplars::new(4, 0);
        let mut add = |exemplar: Exemplar| {
            let checked = all.check(SeriesRef(1), || series(1), &exemplar);
            let added = all.add(SeriesRef(1), || series(1), exemplar);
            assert_eq!(added, if checked == Err(ExemplarError::Duplicate) { Ok(()) } else { checked });
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(add(exemplar(10, 2.0, "b")), Ok(()));
        assert_eq!(add(exemplar(10, 2.0, "b")), Err("duplicate exemplar".to_owned()));
        assert_eq!(add(exemplar(9, 2.0, "b")), Err("out of order exemplar".to_owned()));
        assert_eq!(add(exemplar(10, 1.0, "b")), Err("out of order exemplar".to_owned()));
        assert_eq!(add(exemplar(10, 2.0, "a")), Err("out of order exemplar".to_owned()));
        assert_eq!(add(exemplar(10, 2.0, "c")), Ok(()));
        // Names and values count in characters: 8 and 120 are as many as there may be.
        assert_eq!(add(exemplar(11, 2.0, &"é".repeat(120))), Ok(()));
        let long = add(exemplar(12, 2.0, &"x".repeat(121)));
        assert_eq!(long, Err("label length for exemplar exceeds maximum of 128 UTF-8 characters".to_owned()));
        assert_eq!((all.stats().count, all.stats().appended, all.stats().out_of_order), (3, 3, 3));
        assert_eq!(all.resize(0), 0);
        assert_eq!(all.check(SeriesRef(1), || series(1), &exemplar(20, 1.0, "a")), Err(ExemplarError::Disabled));
        assert!(select(&all, ALL, &[vec![]]).is_empty());
    }

    #[test]
    fn one_without_a_time_of_its_own_is_the_same_at_the_next_scrape() {
        let mut all = Exemplars::new(4, 0);
        let scraped = |time| Exemplar { has_timestamp: false, ..exemplar(time, 1.0, "a") };
        all.add(SeriesRef(1), || series(1), scraped(10)).unwrap();
        assert_eq!(all.check(SeriesRef(1), || series(1), &scraped(20)), Err(ExemplarError::Duplicate));
        assert_eq!(all.check(SeriesRef(1), || series(1), &exemplar(20, 1.0, "a")), Ok(()));
    }

    #[test]
    fn a_series_that_came_back_goes_on() {
        let mut all = Exemplars::new(4, 0);
        all.add(SeriesRef(1), || series(1), exemplar(10, 1.0, "a")).unwrap();
        assert_eq!(all.add(SeriesRef(7), || series(1), exemplar(9, 1.0, "a")), Err(ExemplarError::OutOfOrder));
        all.add(SeriesRef(7), || unreachable!("known now"), exemplar(11, 1.0, "a")).unwrap();
        assert_eq!(select(&all, ALL, &[vec![Matcher::new(MatchOp::Equal, "n", "1").unwrap()]])[0].exemplars.len(), 2);
        assert!(select(&all, ALL, &[vec![Matcher::equal("n", "2")]]).is_empty());
        assert!(select(&all, ALL, &[]).is_empty());
    }

    /// Exemplars in order of arrival, and nothing else.
    #[derive(Default)]
    struct Twin {
        all: Vec<(u64, Exemplar)>,
        capacity: usize,
        window: i64,
    }

    impl Twin {
        fn of(&self, series: u64) -> Vec<Exemplar> {
            let mut own: Vec<Exemplar> = self.all.iter().filter(|(of, _)| *of == series).map(|(_, e)| e.clone()).collect();
            own.sort_by_key(|e| e.timestamp);
            own
        }

        fn add(&mut self, series: u64, new: Exemplar) -> Result<(), ExemplarError> {
            if self.capacity == 0 {
                return Err(ExemplarError::Disabled);
            }
            let own = self.of(series);
            if let Some(newest) = own.last() {
                let (time, last) = (new.timestamp.0, newest.timestamp.0);
                if new == *newest {
                    return Err(ExemplarError::Duplicate);
                }
                let lesser = (new.value, &new.labels) < (newest.value, &newest.labels);
                if time < last && time <= last - self.window || time == last && lesser {
                    return Err(ExemplarError::OutOfOrder);
                }
                if time < last && own.iter().any(|e| e.timestamp == new.timestamp) {
                    return Ok(());
                }
            }
            if self.all.len() == self.capacity {
                self.all.remove(0);
            }
            self.all.push((series, new));
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_a_list(
            steps in prop::collection::vec((0..5u64, 0..40i64, 0..3u8, 0..40usize), 0..150),
            capacity in 0..12usize,
            window in prop_oneof![Just(0), Just(10), Just(1000)],
        ) {
            let mut all = Exemplars::new(capacity, window);
            let mut twin = Twin { capacity, window, ..Twin::default() };
            for (n, time, value, choice) in steps {
                if choice == 0 {
                    twin.capacity = time as usize / 3;
                    let gone = twin.all.len().saturating_sub(twin.capacity);
                    twin.all.drain(..gone);
                    prop_assert_eq!(all.resize(twin.capacity), twin.all.len());
                } else {
                    let new = exemplar(time, f64::from(value), ["a", "b", "c"][choice % 3]);
                    // Now and then a series has another ref.
                    let series_ref = SeriesRef(n + 10 * (choice as u64 / 30));
                    let want = twin.add(n, new.clone());
                    let checked = all.check(series_ref, || series(n), &new);
                    prop_assert_eq!(checked, want);
                    let want = if want == Err(ExemplarError::Duplicate) { Ok(()) } else { want };
                    prop_assert_eq!(all.add(series_ref, || series(n), new), want);
                }
                let mut want = BTreeMap::new();
                for (n, _) in &twin.all {
                    want.insert(series(*n), twin.of(*n));
                }
                let found: Vec<SeriesExemplars> = select(&all, ALL, &[vec![]]);
                prop_assert!(found.is_sorted_by(|a, b| a.labels < b.labels));
                let found: BTreeMap<Labels, Vec<Exemplar>> = found.into_iter().map(|s| (s.labels, s.exemplars)).collect();
                prop_assert_eq!(found, want.clone());
                let part = Interval { start: Timestamp(10), end: Timestamp(20) };
                for own in want.values_mut() {
                    own.retain(|e| (10..=20).contains(&e.timestamp.0));
                }
                want.retain(|_, own| !own.is_empty());
                let found: BTreeMap<Labels, Vec<Exemplar>> = select(&all, part, &[vec![]]).into_iter().map(|s| (s.labels, s.exemplars)).collect();
                prop_assert_eq!(found, want);
                let arrivals: Vec<(Labels, Exemplar)> = all.iter().map(|(_, labels, e)| (labels.clone(), e.clone())).collect();
                prop_assert_eq!(arrivals, twin.all.iter().map(|(n, e)| (series(*n), e.clone())).collect::<Vec<_>>());
                let stats = all.stats();
                prop_assert_eq!(stats.oldest_time, twin.all.first().map(|(_, e)| e.timestamp.0));
                prop_assert_eq!(stats.count, twin.all.len());
                let exemplar_bytes: usize = twin.all.iter().map(|(_, e)| e.labels.as_bytes().len()).sum();
                let series_bytes: usize = all.by_ref.values().map(|at| all.series[*at as usize].labels.as_bytes().len()).sum();
                prop_assert_eq!(all.label_bytes, exemplar_bytes + series_bytes);
                prop_assert_eq!(all.by_labels.len(), all.by_ref.len());
            }
        }
    }
}
