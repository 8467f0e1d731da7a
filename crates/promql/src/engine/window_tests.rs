use super::*;
use crate::engine::Control;
use proptest::prelude::*;
use storage::Cancel;

fn windows(times: &[i64], grid: Grid, when: When, range: i64) -> (Vec<Window>, usize) {
    let (never, control) = (Cancel::default(), Control::default());
    let pace = Pace::of(never.checks(), &control);
    let values = vec![0.0; times.len()];
    let windowed = Windowed { pace: &pace, times, values: &values, starts: &[], grid, when, range };
    let mut found = Vec::new();
    windowed.each(|window| found.push(window));
    let mut runs = 0;
    windowed.each_run(|_| {
        runs += 1;
        true
    });
    (found, runs)
}

/// The twin: both borders of each window by counting.
fn plain(times: &[i64], grid: Grid, when: When, range: i64) -> Vec<Window> {
    let window = |step| {
        let at = when.time(grid.time(step));
        let from = at.saturating_sub(range);
        let until = |limit: i64| times.iter().filter(|time| **time <= limit).count();
        Window { step, begin: until(from), end: until(at), from, at }
    };
    (0..grid.count).map(window).filter(|window| window.begin < window.end).collect()
}

proptest! {
    #[test]
    fn windows_in_runs_are_windows_one_by_one(
        gaps in prop::collection::vec(prop_oneof![30 => Just(15i64), 1 => Just(16), 1 => 1..200i64], 0..120),
        (first, start) in prop_oneof![9 => (-50..50i64, -100..100i64), 1 => Just((i64::MIN, i64::MIN)), 1 => Just((i64::MAX - 1000, i64::MAX - 900))],
        (step, count) in (prop_oneof![Just(15i64), Just(60), Just(7), 1..100i64], 1..80usize),
        (range, offset) in (1..400i64, -50..50i64),
        at in prop::option::weighted(0.1, 0..500i64),
    ) {
        let later = gaps.iter().scan(first, |time, gap| { *time = time.checked_add(*gap)?; Some(*time) });
        let times: Vec<i64> = std::iter::once(first).chain(later).collect();
        let count = count.min(1 + (i64::MAX.saturating_sub(start) / step) as usize);
        let grid = Grid { start, step, count, until: start + step * (count as i64 - 1) };
        let when = When { at, offset };
        prop_assert_eq!(windows(&times, grid, when, range).0, plain(&times, grid, when, range));
    }
}

#[test]
fn windows_of_a_regular_series_are_few_runs() {
    let times: Vec<i64> = (0..2_000).map(|i| i * 15_000).collect();
    let grid = Grid::range(600_000, 28_800_000, 60_000);
    let (found, runs) = windows(&times, grid, When { at: None, offset: 0 }, 300_000);
    assert_eq!((found.len(), runs), (grid.count, 2));
    // Longer ones than a run may be.
    let grid = Grid::range(0, 29_700_000, 10_000);
    let when = When { at: None, offset: 0 };
    assert_eq!(windows(&times, grid, when, 300_000).0, plain(&times, grid, when, 300_000));
    let grid = Grid::range(0, 29_700_000, 15_000);
    assert!(grid.count > RUN_MAX);
    let (found, runs) = windows(&times, grid, when, 300_000);
    assert_eq!(found, plain(&times, grid, when, 300_000));
    assert!(runs < 40, "{runs}");
}
