//! When a target is scraped, and which time its samples get. Pure: the time is handed in.
//!
//! Scrapes lie on a grid of wall-clock times, `offset + k · interval`, that follows from the target alone: a restart or
//! a reload does not move it. Samples get the grid's time where the scrape began within the tolerance, since equal
//! distances compress to nothing in the store.

use std::time::Duration;

use model::{Millis, Timestamp};

/// How late a scrape may begin and still get the grid's time, unless 1 % of the interval is less.
const TOLERANCE_MAX: Millis = Millis(2);

/// How much earlier than its time a loop wakes up: timers of the runtime fire up to a millisecond late, and a scrape that
/// begins a little early gets the grid's time just as well.
const EARLY: Millis = Millis(1);

/// The scrapes of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval: Millis,
    next: Timestamp,
}

impl Schedule {
    /// The first scrape is at the first time of the grid behind `now`. `phase` is the target's hash.
    pub fn new(interval: Millis, phase: u64, now: Timestamp) -> Self {
        let interval = Millis(interval.0.max(1));
        let offset = i64::try_from(phase % interval.0.unsigned_abs()).expect("a remainder is below the interval, an i64");
        let wait = (offset - now.0.rem_euclid(interval.0)).rem_euclid(interval.0);
        Self { interval, next: now + Millis(wait) }
    }

    /// The time of the next scrape.
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// How long to sleep before the next scrape. A clock that was set back does not stop the scrapes: the grid follows it.
    pub fn wait(&mut self, now: Timestamp) -> Duration {
        let ahead = (self.next - now).0;
        // A scrape that began early may be done before its own time: that is no clock set back.
        if ahead > self.interval.0 + EARLY.0 {
            self.next = self.next - Millis(ahead / self.interval.0 * self.interval.0);
        }
        let wait = ((self.next - now).0 - EARLY.0).max(0);
        Duration::from_millis(wait.unsigned_abs())
    }

    /// A scrape begins: gives its samples' time and moves on. Times of the grid that have gone by are left out, but for the
    /// newest one, which this scrape makes up for.
    pub fn begin(&mut self, now: Timestamp) -> Timestamp {
        let late = (now - self.next).0;
        if late >= self.interval.0 {
            self.next = self.next + Millis(late / self.interval.0 * self.interval.0);
        }
        let aligned = self.next;
        self.next = aligned + self.interval;
        let tolerance = TOLERANCE_MAX.0.min(self.interval.0 / 100);
        let late = (now - aligned).0;
        if (-EARLY.0..=tolerance).contains(&late) { aligned } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_scrape_is_at_the_phase_of_the_grid() {
        for (interval, phase, now, want) in [
            (15_000, 0, 30_000, 30_000),
            (15_000, 0, 30_001, 45_000),
            (15_000, 4_000, 30_001, 34_000),
            (15_000, 4_000, 34_001, 49_000),
            (15_000, 15_000 * 7 + 4_000, 34_000, 34_000),
            (15_000, u64::MAX, -5, 6_615),
            (0, 3, 7, 7),
        ] {
            let schedule = Schedule::new(Millis(interval), phase, Timestamp(now));
            assert_eq!(schedule.next(), Timestamp(want), "{interval} {phase} {now}");
        }
    }

    #[test]
    fn samples_get_the_time_of_the_grid_within_the_tolerance() {
        // (interval, begins at, sample time, next scrape) of a scrape due at 100,000.
        for (interval, begin, sample, next) in [
            (15_000, 99_999, 100_000, 115_000),
            (15_000, 100_000, 100_000, 115_000),
            (15_000, 100_002, 100_000, 115_000),
            (15_000, 100_003, 100_003, 115_000),
            (100, 100_001, 100_000, 100_100),
            (100, 100_002, 100_002, 100_100),
            (15_000, 114_999, 114_999, 115_000),
            (15_000, 115_001, 115_000, 130_000),
            (15_000, 147_000, 147_000, 160_000),
            (15_000, 90_000, 90_000, 115_000),
        ] {
            let mut schedule = Schedule { interval: Millis(interval), next: Timestamp(100_000) };
            assert_eq!(schedule.begin(Timestamp(begin)), Timestamp(sample), "{interval} {begin}");
            assert_eq!(schedule.next(), Timestamp(next), "{interval} {begin}");
        }
    }

    #[test]
    fn waits_until_just_before() {
        for (now, wait) in [(99_000, 999), (100_000, 0), (100_500, 0), (99_999, 0), (99_998, 1)] {
            let mut schedule = Schedule { interval: Millis(15_000), next: Timestamp(100_000) };
            assert_eq!(schedule.wait(Timestamp(now)), Duration::from_millis(wait), "{now}");
        }
    }

    #[test]
    fn a_scrape_done_before_its_own_time_is_not_repeated() {
        let mut schedule = Schedule { interval: Millis(300), next: Timestamp(100_000) };
        assert_eq!(schedule.begin(Timestamp(99_999)), Timestamp(100_000));
        schedule.wait(Timestamp(99_999));
        assert_eq!(schedule.next(), Timestamp(100_300));
    }

    #[test]
    fn a_clock_set_back_keeps_the_grid() {
        let mut schedule = Schedule { interval: Millis(15_000), next: Timestamp(3_700_000) };
        assert_eq!(schedule.wait(Timestamp(95_000)), Duration::from_millis(4_999));
        assert_eq!(schedule.next(), Timestamp(100_000));
        assert_eq!(schedule.begin(Timestamp(100_000)), Timestamp(100_000));
    }
}
