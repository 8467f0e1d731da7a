//! Whoever waits for a query reaches the store through it.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Matcher, Millis, Timestamp};
use promql::engine::{Control, Engine, EngineOptions, QueryError};
use promql::parser::{ParserOptions, parse};
use promql::testlang::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use storage::{Cancel, Interval, Names, Queryable, SelectError, SelectHints, Selection};

/// A store that never finds anything, and looks for it as long as somebody waits.
struct Endless {
    /// Set when the selection has begun.
    client_goes: Option<Arc<AtomicBool>>,
}

impl Queryable for Endless {
    fn select(&self, _: Interval, _: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        assert!(hints.cancel.check().is_ok(), "somebody waits at first");
        if let Some(flag) = &self.client_goes {
            flag.store(true, Ordering::Relaxed);
        }
        let checks = hints.cancel.checks();
        loop {
            checks.step()?;
        }
    }

    fn label_names(&self, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for names")
    }

    fn label_values(&self, _: &str, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for values")
    }
}

fn run(store: &Endless, timeout: Duration, control: &Control) -> QueryError {
    let engine = Engine::new(EngineOptions { threads: 1, timeout, ..EngineOptions::default() });
    let expr = parse("sum(rate(a[5m]))", &ParserOptions::default()).unwrap();
    engine.instant(store, &expr, Timestamp(0), control).unwrap_err()
}

#[test]
fn a_client_that_goes_ends_the_selection() {
    let flag = Arc::new(AtomicBool::new(false));
    let gone = flag.clone();
    let control = Control { cancel: Cancel::when(move || gone.load(Ordering::Relaxed)), ..Control::default() };
    let store = Endless { client_goes: Some(flag) };
    let error = run(&store, Duration::from_secs(3600), &control);
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");
}

#[test]
fn so_does_the_end_of_its_time() {
    let error = run(&Endless { client_goes: None }, Duration::from_millis(200), &Control::default());
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}

const SERIES: usize = 50_000;

/// As many series with a sample each, in no order of value.
fn many() -> MemoryStore {
    let mut store = MemoryStore::default();
    for i in 0..SERIES {
        let text = i.to_string();
        let pairs = [("__name__", "m"), ("i", text.as_str()), ("le", text.as_str()), ("instance", "a"), ("job", "b")];
        store.add(Labels::from_pairs(pairs), [(0, (i * 7919 % SERIES) as f64)]);
    }
    store.add(Labels::from_pairs([("__name__", "target_info"), ("instance", "a"), ("job", "b"), ("x", "y")]), [(0, 1.0)]);
    store
}

/// How often a query on one thread looks whether somebody still waits. With `until`, nobody does from that look on.
fn looks(store: &MemoryStore, text: &str, until: Option<usize>) -> (usize, Result<(), QueryError>) {
    looks_on(1, store, text, until)
}

fn looks_on(threads: usize, store: &MemoryStore, text: &str, until: Option<usize>) -> (usize, Result<(), QueryError>) {
    let language = ParserOptions { experimental_functions: true, ..ParserOptions::default() };
    let expr = parse(text, &language).unwrap_or_else(|error| panic!("{text}: {error}"));
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = looks.clone();
    let cancel = Cancel::when(move || counted.fetch_add(1, Ordering::Relaxed) >= until.unwrap_or(usize::MAX));
    let control = Control { cancel, ..Control::default() };
    let engine = Engine::new(EngineOptions { threads, alone: Duration::ZERO, ..EngineOptions::default() });
    // Two steps, so that nothing is taken for an instant query.
    let result = engine.range(store, &expr, Timestamp(0), Timestamp(1_000), Millis(1_000), &control).map(drop);
    (looks.load(Ordering::Relaxed), result)
}

/// What goes over all series without decoding any looks every now and then, too.
#[test]
fn whatever_goes_over_many_series_looks() {
    let store = many();
    let (least, result) = looks(&store, "m", None);
    assert!(result.is_ok() && least > SERIES, "each series is a look");
    // How often an operation goes over all series beside decoding them, at the least.
    for (text, decoded, passes) in [
        ("count(m)", 1, 2),
        ("sum by (i) (m)", 1, 6),
        ("quantile(0.5, m)", 1, 2),
        ("topk(100000, m)", 1, 4),
        ("limitk(100000, m)", 1, 4),
        ("limit_ratio(0.5, m)", 1, 3),
        ("count_values(\"v\", m)", 1, 2),
        ("-m", 1, 5),
        ("label_replace(m, \"j\", \"$1\", \"i\", \"(.*)\")", 1, 5),
        ("label_join(m, \"j\", \"-\", \"i\")", 1, 5),
        ("m and m", 2, 12),
        ("m or m", 2, 12),
        ("m + m", 2, 12),
        ("m + on (i) group_left () m", 2, 12),
        ("rate(m[1m])", 1, 4),
        ("max_over_time(m[1m:10s])", 1, 4),
        ("histogram_quantile(0.5, m)", 1, 2),
        ("info(m)", 1, 7),
        ("absent_over_time(m[1m])", 1, 2),
    ] {
        let (found, result) = looks(&store, text, None);
        assert!(result.is_ok(), "{text}: {result:?}");
        // In one pass of a thousand steps or so between two looks there are no fewer than these.
        let wanted = decoded * SERIES + passes * (SERIES / 1100);
        assert!(found >= wanted, "{text} looks {found} times, should do so {wanted} times");
    }
}

/// A long window is looked at sample by sample, and a subquery may have more steps than there are samples.
#[test]
fn whatever_goes_over_many_samples_of_one_series_looks() {
    let mut store = MemoryStore::default();
    store.add(Labels::from_pairs([("__name__", "m")]), (0..200_000).map(|t| (t, t as f64 * 0.1)));
    store.add(Labels::from_pairs([("__name__", "falling")]), (0..200_000).map(|t| (t, (t % 3) as f64)));
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    for (text, wanted) in [
        // 200 windows, half of them of 100,000 samples each.
        ("stddev_over_time(m[100s])", 60),
        ("quantile_over_time(0.5, m[100s])", 60),
        ("rate(falling[100s])", 60),
        ("max_over_time(m[100s:1ms])", 100),
        ("sum(max_over_time(m[100s:1ms]))", 100),
    ] {
        let expr = parse(text, &ParserOptions::default()).unwrap();
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        let cancel = Cancel::when(move || counted.fetch_add(1, Ordering::Relaxed) > 1_000_000);
        let control = Control { cancel, ..Control::default() };
        engine.range(&store, &expr, Timestamp(0), Timestamp(200_000), Millis(1_000), &control).unwrap();
        let found = looks.load(Ordering::Relaxed);
        assert!(found >= wanted, "{text} looks {found} times, should do so {wanted} times");
    }
}

/// Wherever the client goes, the query ends with the next look and says so.
#[test]
fn a_query_ends_with_the_look_that_finds_nobody() {
    let mut store = MemoryStore::default();
    for i in 0..3_000 {
        store.add(Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]), [(0, f64::from(i * 7919 % 3_000))]);
    }
    for text in ["m + m", "sum by (i) (m)", "topk(2000, m)", "label_replace(m, \"j\", \"$1\", \"i\", \"(.*)\")", "rate(m[1m])", "m or m"] {
        let (all, _) = looks(&store, text, None);
        for until in (0..all).step_by(all / 60) {
            let (found, result) = looks(&store, text, Some(until));
            let error = result.expect_err("nobody waits");
            assert_eq!(error.to_string(), "query was canceled in expression evaluation", "{text}");
            // The one that found it, and those that ask who it was.
            assert!(found <= until + 4, "{text}: {found} looks, {until} before the client went");
            let (found, result) = looks_on(3, &store, text, Some(until));
            let error = result.expect_err("nobody waits");
            assert_eq!(error.to_string(), "query was canceled in expression evaluation", "{text}");
            // Of each thread, which takes one more run before it knows.
            assert!(found <= until + 3 * 4 + 2, "{text}: {found} looks, {until} before the client went");
        }
    }
}

#[test]
fn sorting_looks() {
    let store = many();
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let looks = |text: &str| {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        let cancel = Cancel::when(move || counted.fetch_add(1, Ordering::Relaxed) > 1_000_000);
        let language = ParserOptions { experimental_functions: true, ..ParserOptions::default() };
        let control = Control { cancel, ..Control::default() };
        engine.instant(&store, &parse(text, &language).unwrap(), Timestamp(0), &control).unwrap();
        looks.load(Ordering::Relaxed)
    };
    let unsorted = looks("m");
    for text in ["sort(m)", "sort_desc(m)", "sort_by_label_desc(m, \"i\")"] {
        assert!(looks(text) >= unsorted + SERIES / 4096, "{text}");
    }
}
