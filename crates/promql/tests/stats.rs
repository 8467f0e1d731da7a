//! Samples counted in all and at each step, as Prometheus's documentation of `promql-per-step-stats` has it.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Millis, Timestamp};
use promql::ParserOptions;
use promql::engine::{Control, Engine, EngineOptions, QueryStats};
use promql::testlang::MemoryStore;

const LANGUAGE: ParserOptions =
    ParserOptions { experimental_functions: true, duration_expressions: true, fill_modifiers: true, extended_range_selectors: true };

/// Two series with a sample each ten seconds, up to ten minutes.
fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    for i in ["1", "2"] {
        store.add(Labels::from_pairs([("__name__", "m"), ("i", i)]), (0..=60).map(|t| (t * 10_000, t as f64)));
    }
    store
}

fn engine() -> Engine {
    Engine::new(EngineOptions { threads: 2, per_step_stats: true, experimental_functions: true, ..EngineOptions::default() })
}

fn control(per_step_stats: bool) -> Control {
    Control { per_step_stats, ..Control::default() }
}

/// From five to ten minutes, each minute.
fn range(text: &str, per_step_stats: bool) -> QueryStats {
    let expr = promql::parse(text, &LANGUAGE).unwrap();
    let (start, end) = (Timestamp(300_000), Timestamp(600_000));
    engine().range(&store(), &expr, start, end, Millis(60_000), &control(per_step_stats)).unwrap().stats
}

fn instant(text: &str) -> QueryStats {
    let expr = promql::parse(text, &LANGUAGE).unwrap();
    engine().instant(&store(), &expr, Timestamp(600_000), &control(true)).unwrap().stats
}

#[track_caller]
fn check(text: &str, queryable: [u64; 6], read: [u64; 6]) {
    let stats = range(text, true);
    let given: (Vec<u64>, Vec<u64>) = stats.steps.iter().map(|step| (step.queryable, step.read)).unzip();
    assert_eq!(given, (queryable.to_vec(), read.to_vec()), "{text}");
    let times: Vec<i64> = stats.steps.iter().map(|step| step.time.0).collect();
    assert_eq!(times, [300_000, 360_000, 420_000, 480_000, 540_000, 600_000]);
    // The sums do not depend on whether anyone wants to know more.
    let sums = range(text, false);
    assert!(sums.steps.is_empty());
    for stats in [stats, sums] {
        assert_eq!((stats.total_queryable_samples, stats.samples_read), (queryable.iter().sum(), read.iter().sum()), "{text}");
    }
}

#[test]
fn a_sample_is_read_by_the_first_step_that_looks_at_it() {
    check("m", [2; 6], [2; 6]);
    check("sum(m) + 1", [2; 6], [2; 6]);
    check("timestamp(m)", [2; 6], [2; 6]);
    check("m and m", [4; 6], [4; 6]);
    check("rate(m[30s])", [6; 6], [6; 6]);
    check("rate(m[1m])", [12; 6], [12; 6]);
    check("rate(m[2m])", [24; 6], [24, 12, 12, 12, 12, 12]);
    check("quantile_over_time(0.5, m[2m] offset 1m)", [24; 6], [24, 12, 12, 12, 12, 12]);
    check("absent_over_time(m[2m])", [24; 6], [24, 12, 12, 12, 12, 12]);
    check("vector(1)", [0; 6], [0; 6]);
}

#[test]
fn windows_that_reach_out_count_as_far_as_they_reach() {
    // A lookback of five minutes more: at first all but the sample at zero, of both series.
    check("rate(m[1m] anchored)", [62, 72, 72, 72, 72, 72], [62, 12, 12, 12, 12, 12]);
    check("m smoothed", [0; 6], [0; 6]);
}

#[test]
fn what_is_the_same_at_all_steps_is_read_once() {
    check("m @ 300", [2; 6], [2, 0, 0, 0, 0, 0]);
    check("rate(m[2m] @ 600)", [24; 6], [24, 0, 0, 0, 0, 0]);
    check("m + rate(m[2m] @ 600)", [26; 6], [26, 2, 2, 2, 2, 2]);
    // Its parameter varies, so the whole does: the window is the same one at each step.
    check("predict_linear(m[2m] @ 600, time())", [24; 6], [24, 0, 0, 0, 0, 0]);
}

#[test]
fn a_subquery_reads_for_the_step_that_uses_it_first() {
    check("max_over_time(m[2m:30s])", [8; 6], [8, 4, 4, 4, 4, 4]);
    check("max_over_time(m[2m:30s] offset 30s)", [8; 6], [8, 4, 4, 4, 4, 4]);
    // Of what is evaluated between windows nothing counts.
    check("max_over_time(m[20s:10s])", [4; 6], [4; 6]);
    // A window's points are looked at, but its inner windows are read: the first with six samples, others with three more.
    check("max_over_time(rate(m[1m])[2m:30s])", [8; 6], [2 * (6 + 3 * 3), 12, 12, 12, 12, 12]);
    check("max_over_time((m @ 0)[2m:30s])", [8; 6], [2, 0, 0, 0, 0, 0]);
    check("max_over_time(max_over_time(m[20s:10s])[2m:1m])", [4; 6], [8, 4, 4, 4, 4, 4]);
    check("max_over_time(m[2m:30s] @ 600)", [8; 6], [8, 0, 0, 0, 0, 0]);
}

#[test]
fn range_vectors_as_answers() {
    for (text, samples) in [
        ("m[1m]", 12),
        ("m[1m:20s]", 6),
        ("rate(m[1m])[1m:20s]", 36),
        ("sum(m)[1m:20s]", 6),
        ("(m @ 0)[1m:20s]", 6),
        // With the borders of the window, one of which lies on a sample.
        ("m[1m] anchored", 14),
    ] {
        let stats = instant(text);
        assert_eq!(stats.total_queryable_samples, samples, "{text}");
        assert_eq!(stats.steps.len(), 1);
        assert_eq!((stats.steps[0].queryable, stats.steps[0].read), (stats.total_queryable_samples, stats.samples_read));
    }
    assert_eq!(instant("(m @ 0)[1m:20s]").samples_read, 2);
}

#[test]
fn only_where_the_engine_allows_it() {
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let stats = engine.instant(&store(), &promql::parse("m", &LANGUAGE).unwrap(), Timestamp(0), &control(true)).unwrap().stats;
    assert_eq!((stats.total_queryable_samples, stats.samples_read, stats.steps.len()), (2, 2, 0));
}
