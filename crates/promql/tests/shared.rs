//! What a query contains more than once is evaluated once, and the answer does not show it.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::histogram::Span;
use model::{FloatHistogram, Labels, Matcher, Millis, Timestamp};
use promql::ParserOptions;
use promql::engine::{Control, Engine, EngineOptions, Explanation, MemoryPool, QueryError, QueryResult};
use promql::testlang::{Loaded, LoadedValue, MemoryStore, ScriptStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage::{Interval, Names, Queryable, SelectError, SelectHints, Selection};

const LANGUAGE: ParserOptions =
    ParserOptions { experimental_functions: true, duration_expressions: true, fill_modifiers: true, extended_range_selectors: true };
const SERIES: usize = 20;
/// Of the queries here.
const STEPS: u64 = 61;

/// A store that counts what it is asked for.
struct Counting {
    store: MemoryStore,
    selections: AtomicUsize,
}

impl Queryable for Counting {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        self.selections.fetch_add(1, Ordering::Relaxed);
        self.store.select(range, matchers, hints)
    }

    fn label_names(&self, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for names")
    }

    fn label_values(&self, _: &str, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for values")
    }
}

/// Counters and gauges with a sample each ten seconds for twenty minutes.
fn store() -> Counting {
    let mut store = MemoryStore::default();
    for (name, slope) in [("a_total", 1.0), ("b_total", 2.0), ("g", -3.0)] {
        for i in 0..SERIES {
            let labels = Labels::from_pairs([("__name__", name), ("i", i.to_string().as_str())]);
            store.add(labels, (0..120).map(|t| (t * 10_000, slope * (t * (i as i64 + 1)) as f64)));
        }
    }
    Counting { store, selections: AtomicUsize::new(0) }
}

fn ask_with(options: EngineOptions, store: &Counting, text: &str, explain: bool) -> Result<QueryResult, QueryError> {
    let expr = promql::parse(text, &LANGUAGE).unwrap();
    let control = Control { text: Some(Arc::from(text)), explain, ..Control::default() };
    let (start, end) = (Timestamp(600_000), Timestamp(1_200_000));
    Engine::new(EngineOptions { experimental_functions: true, ..options }).range(store, &expr, start, end, Millis(10_000), &control)
}

fn ask(store: &Counting, text: &str) -> QueryResult {
    ask_with(EngineOptions { threads: 2, ..EngineOptions::default() }, store, text, false).unwrap()
}

fn selections(text: &str) -> usize {
    let store = store();
    ask(&store, text);
    store.selections.into_inner()
}

#[test]
fn the_same_is_selected_once() {
    for (text, wanted) in [
        ("sum(rate(a_total[5m])) / (sum(rate(a_total[5m])) + sum(rate(b_total[5m])))", 2),
        ("g > 0 or g < -5", 1),
        ("g / on() group_left sum(g)", 1),
        ("sum(g) / count(g)", 1),
        ("g and g and g unless g", 1),
        // Layout and parentheses play no role.
        ("sum by (i) (g)\n/ ( sum(((g)))  by(i)  )", 1),
        // Of a label's matchers the order does; it is rarely another one.
        ("a_total{i=\"1\",j=\"\"} + a_total{j=\"\",i=\"1\"}", 2),
        ("g @ 700 + g @ 700", 1),
        ("g @ end() + g @ 1200", 1),
        ("max_over_time(sum(g)[5m:1m]) - min_over_time(sum(g)[5m:1m])", 1),
        ("max_over_time(sum(g)[5m:1m]) + max_over_time(sum(g)[5m:1m])", 1),
        ("clamp_max(g, scalar(sum(g)))", 1),
        ("a_total / scalar(sum(g)) + b_total / scalar(sum(g))", 3),
        ("limitk(3, g) + limitk(3, g)", 1),
        ("topk(scalar(count(g)), g)", 1),
        ("absent(g) or absent(g)", 1),
        ("absent_over_time(g[5m]) or absent_over_time(g[5m])", 1),
        ("timestamp(g) - timestamp(g)", 1),
        ("rate(a_total[5m] smoothed) + rate(a_total[5m] smoothed)", 1),
    ] {
        assert_eq!(selections(text), wanted, "{text}");
    }
}

#[test]
fn what_differs_is_selected_each_time() {
    for text in [
        "g + b_total",
        "g + g offset 1m",
        "g + g @ 700",
        "g + timestamp(g)",
        "rate(a_total[5m]) + rate(a_total[4m])",
        "rate(a_total[5m]) + increase(a_total[5m])",
        "rate(a_total[5m]) + rate(a_total[5m] anchored)",
        "a_total{i=\"1\"} + a_total{i=~\"1\"}",
        // The steps are others.
        "sum(g) + max_over_time(sum(g)[5m:1m])",
        "max_over_time(sum(g)[5m:1m]) + max_over_time(sum(g)[5m:2m])",
        "max_over_time(sum(g)[5m:1m]) + max_over_time(sum(g)[5m:1m] offset 1m)",
        "sum by (i) (g) + sum without (i) (g offset 1s)",
        "quantile(0.5, g) + quantile(0.5, g offset 1s)",
        // Of histograms one reads sums alone.
        "histogram_sum(g) or g",
    ] {
        assert_eq!(selections(text), 2, "{text}");
    }
}

/// What is not the same all the way down shares what is below.
#[test]
fn parts_that_differ_share_their_parts() {
    for text in [
        "g + -g",
        "g * 0 + g * -0",
        "g > bool 0 or g > 0",
        "sum(g) + max(g)",
        "sum by (i) (g) + sum without (i) (g)",
        "topk(1, g) or bottomk(1, g)",
        "quantile(0.5, g) + quantile(0.6, g)",
        "label_replace(g, \"j\", \"1\", \"i\", \".*\") or label_replace(g, \"j\", \"2\", \"i\", \".*\")",
        "count_values(\"x\", g) or count_values(\"y\", g)",
        "(g + on (i) a_total) or (g + ignoring (j) a_total)",
        "(g + on (i) fill (0) a_total) - (g + on (i) fill (-0) a_total)",
    ] {
        let store = store();
        let shared = ask(&store, text).value;
        let once = ask(&store, &text.replacen("g", "{__name__=~\"g\"}", 1).replacen("a_total", "{__name__=~\"a_total\"}", 1)).value;
        assert_eq!(format!("{shared:?}"), format!("{once:?}"), "{text}");
        assert_eq!(selections(text), text.matches("a_total").count().min(1) + 1, "{text}");
    }
}

#[test]
fn samples_count_at_each_place() {
    let store = store();
    let counted = |text: &str| {
        let stats = ask(&store, text).stats;
        (stats.total_queryable_samples, stats.samples_read)
    };
    for part in ["g", "sum(rate(a_total[5m]))", "g @ 700", "max_over_time(rate(a_total[1m])[5m:30s])", "sum(g) + sum(g)"] {
        let (looked_at, read) = counted(part);
        assert_eq!(counted(&format!("({part}) + ({part}) * ({part})")), (3 * looked_at, 3 * read), "{part}");
    }
    assert_eq!(counted("g + g"), (2 * STEPS * SERIES as u64, 2 * STEPS * SERIES as u64));
}

/// Annotations name the place that speaks last.
#[test]
fn annotations_are_those_of_each_place() {
    for (text, wanted) in [
        (
            "sum(rate(g[5m])) /\n  (sum(rate(g[5m])) + 1)",
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (2:13)",
        ),
        // In another layout.
        (
            "rate(g[5m]) + (\n rate(\n  (g[5m])))",
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (3:4)",
        ),
        (
            "sum(quantile_over_time(2, g[5m])) or\n sum(quantile_over_time(2, g[5m]))",
            "quantile value should be between 0 and 1, got 2 (2:25)",
        ),
        ("quantile(7, g) or\n quantile( 7, g)", "quantile value should be between 0 and 1, got 7 (2:12)"),
        // As in Prometheus the subquery's begin is forgotten.
        (
            "sum(rate(g[5m:])) + sum(rate(g[5m:]))",
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (1:1)",
        ),
        ("sort(g) or\n sort(g)", "sort is ineffective for range queries since results are always ordered by labels (2:2)"),
        // Where operator and operand begin at one place here, but not there.
        (
            "(sort(g) + a_total) or\n ((sort(g)) + a_total)",
            "sort is ineffective for range queries since results are always ordered by labels (2:4)",
        ),
    ] {
        let store = store();
        let answer = ask(&store, text);
        let said: Vec<&String> = answer.infos.iter().chain(&answer.warnings).collect();
        assert!(said.len() == 1 && said[0].ends_with(wanted), "{text}: {said:?}");
        assert_eq!(store.selections.into_inner(), 1 + usize::from(text.contains("a_total")), "{text}");
    }
}

/// The part with this text, the `nth` one.
fn part(root: &Explanation, text: &str, nth: usize) -> Explanation {
    fn collect(part: &Explanation, text: &str, found: &mut Vec<Explanation>) {
        if part.expression == text {
            found.push(part.clone());
        }
        part.parts.iter().for_each(|part| collect(part, text, found));
    }
    let mut found = Vec::new();
    collect(root, text, &mut found);
    found[nth].clone()
}

#[test]
fn an_explanation_tells_who_evaluated() {
    let answer = ask_with(EngineOptions::default(), &store(), "sum(g) /\n (sum(g) + max(g))", true).unwrap();
    let root = answer.explanation.unwrap();
    let said = |text: &str, nth: usize, note: &str| part(&root, text, nth).notes.iter().any(|n| n == note);
    assert!(said("sum(g)", 0, "shared: evaluated once for 2 places"), "{root:#?}");
    assert!(said("sum(g)", 1, "shared: not evaluated, taken from 1:1"));
    assert!(said("g", 0, "shared: evaluated once for 2 places"));
    assert!(said("g", 2, "shared: not evaluated, taken from 1:5"));
    let decoded = |nth: usize| (part(&root, "g", nth).samples > 0, part(&root, "g", nth).values);
    let values = STEPS * SERIES as u64;
    assert_eq!((decoded(0), decoded(1), decoded(2)), ((true, values), (false, 0), (false, values)));
    assert_eq!(part(&root, "sum(g)", 1).values, STEPS);
}

/// What would pass without being held is not held because it comes twice, unless there is room.
#[test]
fn sharing_keeps_a_small_part_of_what_a_query_may_hold() {
    let store = store();
    let held = SERIES * STEPS as usize;
    let text = "sum(g) / count(g)";
    let with = |max_samples: usize| {
        let before = store.selections.load(Ordering::Relaxed);
        let answer = ask_with(EngineOptions { threads: 1, max_samples, ..EngineOptions::default() }, &store, text, false).unwrap();
        (store.selections.load(Ordering::Relaxed) - before, answer)
    };
    let (once, shared) = with(8 * held);
    let (twice, each) = with(8 * held - 1);
    assert_eq!((once, twice), (1, 2));
    assert_eq!((shared.value, shared.warnings, shared.infos), (each.value, each.warnings, each.infos));
    assert!((held..held + 20 * STEPS as usize).contains(&(shared.stats.peak_samples as usize)), "{}", shared.stats.peak_samples);
    assert!(each.stats.peak_samples < held as u64);
    // Far less than the selector has is enough.
    assert_eq!(with(held / 2).0, 2);
}

/// How large histograms are is found out on the way: what has been kept by then goes to the first place alone.
#[test]
fn histograms_too_large_to_be_kept_are_evaluated_at_each_place() {
    let histogram = FloatHistogram {
        count: 200.0,
        sum: 1.0,
        positive_spans: [Span { offset: 0, len: 200 }].into(),
        positive_counts: vec![1.0; 200],
        ..FloatHistogram::default()
    };
    let value = LoadedValue::Histogram(Arc::new(histogram));
    let samples = [590_000, 1_190_000].map(|time| Loaded { time, start: 0, value: value.clone() });
    let series = |i: usize| (Labels::from_pairs([("__name__", "h"), ("i", i.to_string().as_str())]), samples.to_vec());
    let mut store = MemoryStore::default();
    store.load((0..250).map(series).collect()).unwrap();
    let store = Counting { store, selections: AtomicUsize::new(0) };
    let memory = Arc::new(MemoryPool::new(1 << 30));
    // About fourteen megabytes, in series that pass and in groups that are held.
    for text in ["sum(h) / count(h)", "avg by (i) (h) + avg by (i) (h)"] {
        let ask = |max_query_memory: u64| {
            store.selections.store(0, Ordering::Relaxed);
            let options = EngineOptions { threads: 2, max_query_memory, memory: memory.clone(), ..EngineOptions::default() };
            let answer = ask_with(options, &store, text, false).unwrap();
            (store.selections.load(Ordering::Relaxed), format!("{:?} {:?} {:?}", answer.value, answer.warnings, answer.infos))
        };
        let (once, each) = (ask(1 << 29), ask(1 << 26));
        assert_eq!((once.0, each.0), (1, 2), "{text}");
        assert!(once.1 == each.1, "{text}");
        assert_eq!(memory.used(), 0);
    }
}

/// Those before them say nothing of it.
#[test]
fn large_histograms_behind_floats_make_no_query_fail() {
    let mut histogram = FloatHistogram { count: 1e4, sum: 1.0, ..FloatHistogram::default() };
    histogram.positive_spans = [Span { offset: 0, len: 10_000 }].into();
    histogram.positive_counts = vec![1.0; 10_000];
    let large = LoadedValue::Histogram(Arc::new(histogram));
    let series = |i: usize| {
        let value = if i < 600 { LoadedValue::Float(1.0) } else { large.clone() };
        (Labels::from_pairs([("__name__", "m"), ("i", format!("{i:04}").as_str())]), vec![Loaded { time: 1_195_000, start: 0, value }])
    };
    let mut store = MemoryStore::default();
    store.load((0..2000).map(series).collect()).unwrap();
    let store = Counting { store, selections: AtomicUsize::new(0) };
    let ask = |max_query_memory| {
        let options =
            EngineOptions { threads: 2, max_query_memory, memory: Arc::new(MemoryPool::new(1 << 34)), ..EngineOptions::default() };
        ask_with(options, &store, "count(m) + on () count without (i) (m)", false).unwrap()
    };
    // At one step, two hundred megabytes.
    let (some, all) = (ask(1 << 25), ask(1 << 34));
    assert!(format!("{:?}", some.value).contains("4000"), "{:?}", some.value);
    // Those that were evaluated before there was no room for them count once for each place.
    assert_eq!(some.value, all.value);
    assert_eq!(some.stats.total_queryable_samples, all.stats.total_queryable_samples);
}

#[test]
fn errors_are_those_of_the_first_place() {
    let text = "label_replace(g, \"i\", \"\", \"i\", \".*\") + label_replace(g, \"i\", \"\", \"i\", \".*\")";
    let error = ask_with(EngineOptions::default(), &store(), text, false).unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
}
