//! How far apart scrapes really are: sums, and quantiles of the newest observations of each interval.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Millis, duration};

use crate::counters::IntervalLength;

/// How many observations quantiles are taken of.
const KEPT: usize = 4096;
const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];

/// Observations by interval.
#[derive(Debug, Default)]
pub(crate) struct Intervals(Mutex<BTreeMap<Millis, Ring>>);

#[derive(Debug, Default)]
struct Ring {
    sum_seconds: f64,
    count: u64,
    newest: Vec<f32>,
}

impl Intervals {
    pub(crate) fn observe(&self, interval: Millis, length: Duration) {
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = rings.entry(interval).or_default();
        let at = (ring.count % KEPT as u64) as usize;
        ring.sum_seconds += length.as_secs_f64();
        ring.count += 1;
        match ring.newest.get_mut(at) {
            Some(oldest) => *oldest = length.as_secs_f32(),
            None => ring.newest.push(length.as_secs_f32()),
        }
    }

    pub(crate) fn read(&self) -> Vec<IntervalLength> {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rings
            .iter()
            .map(|(interval, ring)| {
                let mut sorted = ring.newest.clone();
                sorted.sort_unstable_by(f32::total_cmp);
                let at = |quantile: f64| {
                    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
                    sorted.get(rank - 1).map_or(f64::NAN, |length| f64::from(*length))
                };
                IntervalLength {
                    interval: duration::format(*interval),
                    sum_seconds: ring.sum_seconds,
                    count: ring.count,
                    quantiles: QUANTILES.map(|quantile| (quantile, at(quantile))),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_newest() {
        let intervals = Intervals::default();
        for _ in 0..KEPT {
            intervals.observe(Millis(15_000), Duration::from_secs(1000));
        }
        for length in 1..=KEPT as u64 {
            intervals.observe(Millis(15_000), Duration::from_secs(length));
        }
        intervals.observe(Millis(5_000), Duration::from_secs(5));
        let read = intervals.read();
        assert_eq!(read.iter().map(|length| length.interval.as_str()).collect::<Vec<_>>(), ["5s", "15s"]);
        assert_eq!((read[0].sum_seconds, read[0].count, read[0].quantiles[4]), (5.0, 1, (0.99, 5.0)));
        assert_eq!(read[1].quantiles[2], (0.5, 2048.0));
        assert_eq!(read[1].count, 2 * KEPT as u64);
    }
}
