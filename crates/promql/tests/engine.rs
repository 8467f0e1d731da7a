//! The engine against expectations and against a naive twin.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Matcher, Millis, Timestamp};
use promql::ParserOptions;
use promql::engine::{Control, Engine, EngineOptions, MemoryPool, QueryError, Value};
use promql::testlang::{MemoryStore, run_script, run_script_with};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Column, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};

#[track_caller]
fn check(script: &str) {
    check_results(run_script(script));
}

/// With names dropped at once, as a server does by default.
#[track_caller]
fn check_default(script: &str) {
    check_results(run_script_with(script, EngineOptions::default()));
}

#[track_caller]
fn check_results(results: Vec<(String, Result<(), String>)>) {
    assert!(!results.is_empty());
    let failed: Vec<String> = results.into_iter().filter_map(|(name, r)| r.err().map(|e| format!("{name}\n    {e}"))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn selectors_look_back_and_stop_at_markers() {
    check(
        "load 1m
           a{x=\"1\"} 1 2 stale _ 5
           a{x=\"2\"} NaN

         eval instant at 1m30s a
           a{x=\"1\"} 2
           a{x=\"2\"} NaN

         eval instant at 2m a
           a{x=\"2\"} NaN

         eval instant at 4m59s999ms a{x=\"2\"}
           a{x=\"2\"} NaN

         eval instant at 5m a{x=\"2\"}

         eval range from 0 to 4m step 1m a{x=\"1\"} offset 1m
           a{x=\"1\"} _ 1 2 _ _
        ",
    );
}

#[test]
fn windows_are_open_on_the_left() {
    check(
        "load 1m
           c_total 0+60x10

         eval instant at 5m count_over_time(c_total[2m])
           {} 2

         eval instant at 5m rate(c_total[5m])
           {} 1

         eval instant at 5m max_over_time(c_total[3m:1m])
           {} 300

         eval instant at 5m sum_over_time(c_total[2m:30s])
           {} 960
        ",
    );
}

#[test]
fn annotations_have_prometheus_words_and_places() {
    check(
        "load 1m
           plain 0 1 2
           h_bucket{le=\"1\"} 3 3 3
           h_bucket{le=\"x\"} 3 3 3

         eval instant at 2m rate(plain[2m])
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"plain\" (1:6)
           {} 0.016666666666666666

         eval instant at 2m quantile(1.5, plain)
           expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)
           {} +Inf

         eval range from 0 to 2m step 1m sort(plain)
           expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
           plain 0 1 2
        ",
    );
}

#[test]
fn ambiguous_matches_are_refused() {
    check_default(
        "load 1m
           l{a=\"1\", b=\"1\"} 1 1
           l{a=\"1\", b=\"2\"} _ 2
           r{a=\"1\", c=\"1\"} 3 3
           r{a=\"2\", c=\"1\"} _ 3
           r{a=\"2\", c=\"2\"} _ 3

         eval range from 0 to 0 step 1m l * on(a) r
           {a=\"1\"} 3

         eval instant at 1m l * on(a) r
           expect fail msg: found duplicate series for the match group {a=\"2\"} on the right hand-side of the operation: [{__name__=\"r\", a=\"2\", c=\"1\"}, {__name__=\"r\", a=\"2\", c=\"2\"}];many-to-many matching not allowed: matching labels must be unique on one side

         eval instant at 1m l * on(a) r{a=\"1\"}
           expect fail msg: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)

         eval instant at 1m l * on(a) group_left(c) r{a=\"1\"}
           {a=\"1\", b=\"1\", c=\"1\"} 3
           {a=\"1\", b=\"2\", c=\"1\"} 6

         eval instant at 1m {a=\"1\"} + 1
           {a=\"1\", b=\"1\"} 2
           {a=\"1\", b=\"2\"} 3
           {a=\"1\", c=\"1\"} 4

         eval instant at 1m label_replace(l, \"b\", \"0\", \"\", \"\")
           expect fail msg: vector cannot contain metrics with the same labelset
        ",
    );
}

#[test]
fn ranking_keeps_the_query_s_order() {
    check(
        "load 1m
           a{x=\"1\"} 3
           a{x=\"2\"} NaN
           a{x=\"3\"} 5
           a{x=\"4\"} 4

         eval instant at 0 topk(3, a)
           expect ordered
           a{x=\"3\"} 5
           a{x=\"4\"} 4
           a{x=\"1\"} 3

         eval instant at 0 sort(a) * 2
           expect ordered
           {x=\"1\"} 6
           {x=\"4\"} 8
           {x=\"3\"} 10
           {x=\"2\"} NaN

         eval instant at 0 count(limitk(2, a))
           {} 2

         eval instant at 0 count(limit_ratio(0.3, a) or limit_ratio(-0.7, a))
           {} 4
        ",
    );
}

fn engine(threads: usize) -> Engine {
    Engine::new(EngineOptions { threads, alone: Duration::ZERO, ..EngineOptions::default() })
}

fn run(engine: &Engine, store: &MemoryStore, query: &str, start: i64, end: i64, step: i64) -> Result<Value, QueryError> {
    let expr = promql::parse(query, &ParserOptions::default()).unwrap();
    engine.range(store, &expr, Timestamp(start), Timestamp(end), Millis(step), &Control::default()).map(|r| r.value)
}

/// Bits, so that NaN equals itself and -0 is not 0.
fn bits(value: &Value) -> Vec<(String, Vec<(i64, u64)>)> {
    let Value::Matrix(series) = value else { panic!("a matrix") };
    series.iter().map(|s| (s.labels.to_string(), s.points.iter().map(|(t, v)| (*t, v.to_bits())).collect())).collect()
}

#[test]
fn limits_end_a_query() {
    let mut store = MemoryStore::default();
    for i in 0..100 {
        store.add(Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]), (0..100).map(|t| (t * 1000, 1.0)));
    }
    let small = Engine::new(EngineOptions { max_samples: 1000, ..EngineOptions::default() });
    let error = run(&small, &store, "m", 0, 99_000, 1000).unwrap_err();
    assert_eq!(error.to_string(), "query processing would load too many samples into memory in query execution");
    // Refused before its 31 million steps take memory.
    let error = run(&small, &store, "max_over_time(m[1y:1s])", 0, 0, 1000).unwrap_err();
    assert!(matches!(error, QueryError::TooManySamples(_)));
    let control = Control { cancel: storage::Cancel::when(|| true), ..Control::default() };
    let expr = promql::parse("sum(m)", &ParserOptions::default()).unwrap();
    let error = small.instant(&store, &expr, Timestamp(0), &control).unwrap_err();
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");
    let control = Control { deadline: Some(std::time::Instant::now()), ..Control::default() };
    let error = small.instant(&store, &expr, Timestamp(0), &control).unwrap_err();
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}

#[test]
fn memory_is_limited_for_one_query_and_for_all() {
    let mut store = MemoryStore::default();
    for i in 0..100 {
        store.add(Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]), (0..100).map(|t| (t * 1000, 1.0)));
    }
    // 100 series of 100 steps are 80 kB at the least.
    let memory = Arc::new(MemoryPool::new(1 << 20));
    let with = |max_query_memory| Engine::new(EngineOptions { max_query_memory, memory: memory.clone(), ..EngineOptions::default() });
    let error = run(&with(64 << 10), &store, "m", 0, 99_000, 1000).unwrap_err();
    assert_eq!(error.to_string(), "query processing would take the memory of the query beyond 64 KiB (--query.max-memory-per-query)");
    let engine = with(u64::MAX);
    let expr = promql::parse("m", &ParserOptions::default()).unwrap();
    let ask = || engine.range(&store, &expr, Timestamp(0), Timestamp(99_000), Millis(1000), &Control::default());
    // Answers count until they are dropped.
    let mut answers = Vec::new();
    let error = loop {
        match ask() {
            Ok(answer) => answers.push(answer),
            Err(error) => break error,
        }
        assert!(memory.used() >= answers.len() as u64 * 160_000);
    };
    assert_eq!(error.to_string(), "query processing would take the memory of all queries beyond 1 MiB (--query.max-memory)");
    assert!((2..7).contains(&answers.len()));
    drop(answers);
    assert_eq!(memory.used(), 0);
    // A query that gives nothing holds the series that it found all the same.
    let none = engine.instant(&store, &promql::parse("m > 5", &ParserOptions::default()).unwrap(), Timestamp(0), &Control::default());
    assert!(none.unwrap().stats.peak_bytes >= 100 * 200);
    assert!(ask().unwrap().stats.peak_bytes >= 80_000);
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let mut store = MemoryStore::default();
    for i in 0..300u32 {
        let labels = Labels::from_pairs([("__name__", "m_total"), ("i", i.to_string().as_str()), ("g", ["a", "b"][i as usize % 2])]);
        store.add(labels, (0..200).map(|t| (t * 15_000, 0.1 * (t as f64) * f64::from(i % 17 + 1))));
    }
    for query in ["sum by (g) (rate(m_total[5m]))", "avg(m_total)", "stddev by (g) (m_total)", "topk(3, m_total)", "quantile(0.9, m_total)"]
    {
        let one = run(&engine(1), &store, query, 0, 3_000_000, 30_000).unwrap();
        let many = run(&engine(4), &store, query, 0, 3_000_000, 30_000).unwrap();
        assert_eq!(bits(&one), bits(&many), "{query}");
    }
}

/// The functions by their definition: each window looked up anew.
fn naive(function: &str, samples: &[(i64, f64)], time: i64, range: i64) -> Option<f64> {
    let w: Vec<(i64, f64)> =
        samples.iter().copied().filter(|(t, v)| *t > time - range && *t <= time && !model::value::is_stale(*v)).collect();
    let (first, last) = (*w.first()?, *w.last()?);
    let kahan = |values: &[f64]| {
        let (mut sum, mut c) = (0.0f64, 0.0);
        for v in values {
            let t: f64 = sum + v;
            c = if t.is_infinite() {
                0.0
            } else if sum.abs() >= v.abs() {
                c + ((sum - t) + v)
            } else {
                c + ((v - t) + sum)
            };
            sum = t;
        }
        if sum.is_infinite() { sum } else { sum + c }
    };
    match function {
        "sum_over_time" => Some(kahan(&w.iter().map(|s| s.1).collect::<Vec<_>>())),
        "count_over_time" => Some(w.len() as f64),
        "last_over_time" => Some(last.1),
        "max_over_time" => Some(w.iter().fold(first.1, |m, s| if s.1 > m || m.is_nan() { s.1 } else { m })),
        "min_over_time" => Some(w.iter().fold(first.1, |m, s| if s.1 < m || m.is_nan() { s.1 } else { m })),
        "resets" => Some(w.windows(2).filter(|p| p[1].1 < p[0].1).count() as f64),
        "changes" => Some(w.windows(2).filter(|p| p[1].1 != p[0].1 && !(p[0].1.is_nan() && p[1].1.is_nan())).count() as f64),
        "idelta" => (w.len() > 1).then(|| last.1 - w[w.len() - 2].1),
        "increase" | "delta" => {
            if w.len() < 2 {
                return None;
            }
            let mut gain = last.1 - first.1;
            if function == "increase" {
                w.windows(2).filter(|p| p[1].1 < p[0].1).for_each(|p| gain += p[0].1);
            }
            let sampled = (last.0 - first.0) as f64 / 1000.0;
            let spacing = sampled / (w.len() - 1) as f64;
            let near = |d: f64| if d >= spacing * 1.1 { spacing / 2.0 } else { d };
            let mut to_start = near((first.0 - (time - range)) as f64 / 1000.0);
            if function == "increase" && gain > 0.0 && first.1 >= 0.0 {
                let to_zero = sampled * (first.1 / gain);
                to_start = if to_zero < to_start { to_zero } else { to_start };
            }
            Some(gain * ((sampled + to_start + near((time - last.0) as f64 / 1000.0)) / sampled))
        }
        other => panic!("{other}"),
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0..50i32).prop_map(f64::from),
        3 => -10.0..10.0f64,
        1 => Just(f64::NAN),
        1 => Just(model::value::STALE_NAN),
        1 => Just(-0.0),
    ]
}

proptest! {
    #[test]
    fn windows_are_those_of_the_naive_twin(
        gaps in prop::collection::vec((1..40_000i64, value()), 0..60),
        range in 1..200i64,
        step in 1..100i64,
    ) {
        let mut time = 0;
        let samples: Vec<(i64, f64)> = gaps.into_iter().map(|(gap, v)| { time += gap; (time, v) }).collect();
        let mut store = MemoryStore::default();
        store.add(Labels::from_pairs([("__name__", "m")]), samples.iter().copied());
        let (range, step) = (range * 1000, step * 1000);
        let engine = engine(1);
        for function in ["sum_over_time", "count_over_time", "last_over_time", "max_over_time", "min_over_time", "resets", "changes", "idelta", "increase", "delta"] {
            let got = run(&engine, &store, &format!("{function}(m[{}s])", range / 1000), 0, 1_000_000, step).unwrap();
            let got: Vec<(i64, u64)> = bits(&got).pop().map(|s| s.1).unwrap_or_default();
            let normal = |v: f64| if v.is_nan() { u64::MAX } else { v.to_bits() };
            let got: Vec<(i64, u64)> = got.into_iter().map(|(t, b)| (t, normal(f64::from_bits(b)))).collect();
            let want: Vec<(i64, u64)> = (0..=1_000_000 / step)
                .filter_map(|i| naive(function, &samples, i * step, range).map(|v| (i * step, normal(v))))
                .collect();
            prop_assert_eq!(got, want, "{}", function);
        }
    }
}

#[test]
fn control_text_gives_positions() {
    let store = {
        let mut store = MemoryStore::default();
        store.add(Labels::from_pairs([("__name__", "m")]), [(0, 1.0), (1000, 2.0)]);
        store
    };
    let query = "1 +\n rate(m[5m])";
    let expr = promql::parse(query, &ParserOptions::default()).unwrap();
    let control = Control { text: Some(Arc::from(query)), ..Control::default() };
    let result = engine(1).instant(&store, &expr, Timestamp(1000), &control).unwrap();
    assert!(result.infos[0].ends_with("(2:7)"), "{:?}", result.infos);
}

#[test]
fn a_query_is_explained_part_by_part() {
    let mut store = MemoryStore::default();
    for i in 0..10 {
        let labels = Labels::from_pairs([("__name__", "m_total"), ("i", i.to_string().as_str())]);
        store.add(labels, (0..100).map(|t| (t * 1000, t as f64)));
    }
    let text = "sum(rate(m_total[10s])) > scalar(vector(1 + 1)) * 1";
    let expr = promql::parse(text, &ParserOptions::default()).unwrap();
    let control = Control { text: Some(text.into()), explain: true, ..Control::default() };
    let answer = engine(2).range(&store, &expr, Timestamp(0), Timestamp(99_000), Millis(1000), &control).unwrap();
    let root = answer.explanation.unwrap();
    assert_eq!((root.operation.as_str(), root.expression.as_str()), ("vector > scalar", text));
    let [sum, number] = root.parts.as_slice() else { panic!("two sides") };
    assert_eq!((sum.operation.as_str(), sum.expression.as_str()), ("aggregate sum by ()", "sum(rate(m_total[10s]))"));
    let [rate] = sum.parts.as_slice() else { panic!("one input") };
    // Ten series of a hundred samples are decoded once each; the first step has no rate.
    assert_eq!((rate.series, rate.samples, rate.values), (10, 1000, 10 * 99));
    assert_eq!((sum.samples, sum.values), (0, 99));
    assert!(rate.bytes >= 16_000 && !rate.time.is_zero());
    assert!(number.notes.iter().any(|note| note.contains("once")), "{number:?}");
    let plain = engine(2).range(&store, &expr, Timestamp(0), Timestamp(99_000), Millis(1000), &Control::default()).unwrap();
    assert_eq!((plain.value, plain.explanation), (answer.value, None));
}

#[test]
fn nothing_to_choose_still_says_what_the_series_are() {
    check(
        "load 1m
           plain 0 1 2
           h {{schema:0 count:1 sum:1 buckets:[1]}}x2

         eval instant at 2m topk(0, rate(plain[2m]))
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"plain\" (1:14)

         eval instant at 2m limit_ratio(0, rate(plain[2m]))
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"plain\" (1:21)

         eval instant at 2m start_timestamp(rate(plain[2m]))
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"plain\" (1:22)

         eval instant at 2m topk(1e30, double_exponential_smoothing(plain[5m], 2, 0.5))
           expect fail msg: invalid smoothing factor. Expected: 0 < sf < 1, got: 2.000000

         eval range from 1m to 90s step 1m sort(h)
           expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
        ",
    );
}

#[test]
fn the_error_that_is_met_first_wins() {
    check(
        "load 1m
           a{x=\"1\"} 1 1
           a{x=\"2\"} 1 1

         eval instant at 1m predict_linear(a[1m] anchored, scalar(label_replace(a, \"y\", \"\", \"x\", \"(\")))
           expect fail msg: invalid regular expression in label_replace(): (

         eval instant at 1m clamp_min(label_replace(a, \"y\", \"\", \"x\", \"(\"), scalar(a * on() a))
           expect fail msg: invalid regular expression in label_replace(): (

         eval instant at 1m quantile_over_time(scalar(label_replace(a, \"y\", \"\", \"x\", \"(\")), (a * on() a)[1m:30s])
           expect fail msg: found duplicate series for the match group {} on the right hand-side of the operation: [{__name__=\"a\", x=\"1\"}, {__name__=\"a\", x=\"2\"}];many-to-many matching not allowed: matching labels must be unique on one side

         eval instant at 1m predict_linear(a[1m] anchored, 1)
           expect fail msg: anchored modifier can only be used with: changes, delta, increase, rate, resets - not with predict_linear
        ",
    );
}

#[test]
fn a_text_stands_where_prometheus_says_it_last() {
    check(
        "load 30s
           m 1 {{schema:0 count:1 sum:1 buckets:[1]}} 1 {{schema:0 count:2 sum:1 buckets:[2]}} 1

         eval range from 2m to 2m step 1m rate(m[1m]) + rate(m[2m])
           expect warn msg: PromQL warning: encountered a mix of histograms and floats for metric name \"m\" (1:20)

         eval range from 2m to 2m step 1m sum_over_time((m + 0 or m)[2m:30s]) or irate(m[2m])
           expect warn msg: PromQL warning: encountered a mix of histograms and floats for metric name \"m\" (1:46)
           expect info msg: PromQL info: incompatible sample types encountered for binary operator \"+\": histogram + float (1:16)

         eval range from 2m to 2m step 1m quantile_over_time(scalar(rate(m[1m])), rate(m[2m])[1m:1m])
           expect warn msg: PromQL warning: encountered a mix of histograms and floats for metric name \"m\" (1:32)

        ",
    );
}

/// They cut histograms. Whether scalars are cut is found where they are evaluated: a subquery without steps does not.
#[test]
fn scalars_cannot_be_cut() {
    check(
        "eval instant at 1m 1 </ 2
           expect fail msg: operator \"</\" not allowed for Scalar operations

         eval range from 0 to 1m step 1m vector(1) and vector(time() >/ 2)
           expect fail msg: operator \">/\" not allowed for Scalar operations

         eval instant at 30m sum_over_time(vector(1 </ 2)[1s:1h])
        ",
    );
}

#[test]
fn a_computed_duration_may_be_none_with_the_times_of_the_query() {
    for (text, error) in [
        ("a[step() * 3]", "2:12: duration must be greater than 0"),
        // Of several that are none, the outer one is named; in a subquery offset, step and range in this order.
        ("idelta(resets(a[step() * 3])[step() * 3:17s])", "29:39: duration must be greater than 0"),
        ("max_over_time(a[1m:step()] offset (1/step()))", "35:43: division by zero"),
    ] {
        let expr = promql::parse(text, &ParserOptions::all()).unwrap();
        let found = engine(1).instant(&MemoryStore::default(), &expr, Timestamp(0), &Control::default()).unwrap_err();
        assert_eq!(found, QueryError::Duration(error.into()), "{text}");
    }
}

/// A fixed expression is evaluated as an instant query, also in a subquery whose only step is not its end.
#[test]
fn sorting_what_is_fixed_is_no_range_query() {
    check(
        "eval range from 70s to 130s step 30s last_over_time(sort_by_label(vector(1), \"a\")[1m:] @ start())
           expect no_warn
           {} 1 1 1

         eval range from 70s to 130s step 30s last_over_time(sort_by_label(vector(time()), \"a\")[1m:] @ start())
           expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:16)
           {} 60 60 60

         eval range from 0 to 60s step 30s sort_by_label(vector(-pi()), \"a\")
           expect no_warn
           {} -3.141592653589793 -3.141592653589793 -3.141592653589793

         eval range from 0 to 60s step 30s sort_by_label(month(vector(1)), \"a\")
           expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
           {} 1 1 1

         eval range from 0 to 60s step 30s sort_by_label(vector(-range()), \"a\")
           expect no_warn
           {} -60 -60 -60
        ",
    );
}

/// The place of an argument is where its sign is, that of what warns by itself is behind it.
#[test]
fn a_plus_belongs_to_the_argument() {
    check(
        "load 1m
           h{le=\"1\"} 1 2
           h{le=\"+Inf\"} 1 2
           g 1 2

         eval instant at 1m histogram_quantile(+(5 ^ 2), h)
           expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 25 (1:20)
           {} +Inf

         eval instant at 1m histogram_quantile(+scalar(g), h)
           expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)
           {} +Inf

         eval instant at 1m histogram_quantile(0.5, +g)
           expect warn msg: PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" for metric name \"g\" (1:25)

         eval instant at 1m +rate(g[2m])
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (1:7)
           {} 0.016666666666666666
        ",
    );
}

/// A store whose last series takes until the query would wake other threads.
struct EndsLate {
    store: MemoryStore,
    begun: Instant,
}

const ALONE: Duration = Duration::from_millis(200);

struct Late(Box<dyn Series>, Instant);

impl Series for Late {
    fn labels(&self) -> &Labels {
        self.0.labels()
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        while self.1.elapsed() < 2 * ALONE {
            std::hint::spin_loop();
        }
        self.0.decode(range, column)
    }

    fn samples_estimate(&self) -> usize {
        self.0.samples_estimate()
    }
}

impl Queryable for EndsLate {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        let mut selection = self.store.select(range, matchers, hints)?;
        let last = selection.series.pop().map(|series| Box::new(Late(series, self.begun)) as Box<dyn Series>);
        selection.series.extend(last);
        Ok(selection)
    }

    fn label_names(&self, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for names")
    }

    fn label_values(&self, _: &str, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for values")
    }
}

#[test]
fn nothing_may_be_left_when_other_threads_are_woken() {
    let mut store = MemoryStore::default();
    for i in 0..200 {
        store.add(Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]), [(0, 1.0)]);
    }
    let store = EndsLate { store, begun: Instant::now() };
    let engine = Engine::new(EngineOptions { threads: 2, alone: ALONE, ..EngineOptions::default() });
    let expr = promql::parse("sum(m)", &ParserOptions::default()).unwrap();
    let answer = engine.instant(&store, &expr, Timestamp(0), &Control::default()).unwrap();
    let Value::Vector(samples) = answer.value else { panic!("a vector") };
    assert_eq!(samples[0].v, 200.0);
}

#[test]
fn whether_a_name_is_to_go_is_what_the_first_sample_says() {
    let mut store = MemoryStore::default();
    store.add(Labels::from_pairs([("__name__", "g"), ("a", "b")]), [(0, 5.0), (120_000, 7.0)]);
    let engine = Engine::new(EngineOptions { delayed_name_removal: true, ..EngineOptions::default() });
    for (text, lookback, wanted) in [("g or count_over_time(g[10m])", 30, None), ("count_over_time(g[30s]) or g", 300, Some("g"))] {
        let expr = promql::parse(text, &ParserOptions::default()).unwrap();
        let control = Control { lookback: Some(Millis(lookback * 1000)), ..Control::default() };
        let answer = engine.range(&store, &expr, Timestamp(60_000), Timestamp(120_000), Millis(60_000), &control).unwrap();
        let Value::Matrix(series) = answer.value else { panic!("a matrix") };
        assert_eq!(series[0].labels.get("__name__"), wanted, "{text}");
    }
}

#[test]
fn groups_are_added_up_in_the_order_of_their_first_samples() {
    check(
        "
        load 1m
          m{instance=\"a\", mode=\"1\"} _x9 1e308
          m{instance=\"a\", mode=\"2\"} -1e308 _x9
          m{instance=\"c\", mode=\"2\"} _x9 -1e308
          m{instance=\"b\", mode=\"3\"} _x8 1e308

        eval instant at 10m sum(max by (mode) (m))
          {} +Inf
        ",
    );
}
