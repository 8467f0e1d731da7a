//! Random queries over random data: the engine against a naive one.
//!
//! `PYROPE_RANDOM_SEED` begins elsewhere, `PYROPE_RANDOM_RUNS` asks more queries, `PYROPE_RANDOM_MINUTES` goes on for so long,
//! and `PYROPE_RANDOM_FAILURES` goes on until so many have failed:
//! `PYROPE_RANDOM_MINUTES=10 cargo test --release -p promql --test random -- --nocapture`
#![allow(clippy::unwrap_used, reason = "tests")]

mod compare;
mod data;
#[path = "../naive/mod.rs"]
mod naive;
mod query;
mod rng;
mod shrink;
mod unshared;

use compare::Order;
use model::{Millis, Timestamp};
use naive::{Frame, Options, Store};
use promql::ParserOptions;
use promql::ast::{AggregateOp, Expr};
use promql::engine::{Control, Engine, EngineOptions, QueryError, QueryResult, Value};
use query::Query;
use rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As many queries are asked of one store.
const QUERIES: u64 = 12;
const LANGUAGE: ParserOptions =
    ParserOptions { experimental_functions: true, duration_expressions: true, fill_modifiers: true, extended_range_selectors: true };

/// A query with its data.
#[derive(Clone)]
struct Case {
    store: Store,
    query: Query,
    options: Options,
}

impl Case {
    /// The case of a seed. Seeds of one dozen have the same data.
    fn random(seed: u64) -> Self {
        let store = data::store(&mut Rng::new(seed / QUERIES));
        let mut rng = Rng::new(seed ^ 0x5eed_0000_0000_0000);
        let options = Options {
            lookback: if rng.chance(0.2) { 70_000 } else { 300_000 },
            default_step: 60_000,
            delayed_name_removal: rng.chance(0.2),
            use_start_timestamps: rng.chance(0.3),
            type_and_unit_labels: rng.chance(0.2),
        };
        Self { store, query: query::query(&mut rng), options }
    }

    /// The expression, unless it is ill-formed.
    fn parsed(&self) -> Option<Expr> {
        promql::parse(&self.query.text, &LANGUAGE).ok()
    }
}

/// The engines: with 1, 2 and 8 threads, for each way to set their options.
struct Engines(Vec<([bool; 3], Vec<Engine>)>);

impl Engines {
    fn new() -> Self {
        let engine = |[delayed_name_removal, use_start_timestamps, type_and_unit_labels]: [bool; 3], threads| {
            Engine::new(EngineOptions {
                threads,
                per_step_stats: true,
                delayed_name_removal,
                use_start_timestamps,
                type_and_unit_labels,
                experimental_functions: true,
                timeout: Duration::from_secs(600),
                alone: Duration::ZERO,
                ..EngineOptions::default()
            })
        };
        let options = (0..8).map(|bits| [1, 2, 4].map(|bit| bits & bit != 0));
        Self(options.map(|options| (options, [1, 2, 8].map(|threads| engine(options, threads)).into())).collect())
    }

    fn of(&self, options: &Options) -> &[Engine] {
        let wanted = [options.delayed_name_removal, options.use_start_timestamps, options.type_and_unit_labels];
        &self.0.iter().find(|(options, _)| *options == wanted).unwrap().1
    }
}

type Given = Result<QueryResult, QueryError>;

/// What is wrong with the answers to the case, if anything is.
fn fault(case: &Case, engines: &Engines) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| fault_of_answers(case, engines))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Some(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn fault_of_answers(case: &Case, engines: &Engines) -> Option<String> {
    let sensitive = |expr: &Expr| adds_unordered(expr, &DEVIATIONS) || adds_unordered(expr, &SUMS) && selects_sensitive(case, expr);
    let expr = case.parsed().filter(|expr| !(is_undefined(expr) || sensitive(expr)))?;
    let Query { text, start, end, step } = &case.query;
    let control = Control { lookback: Some(Millis(case.options.lookback)), text: Some(Arc::from(text.as_str())), ..Control::default() };
    let engines = engines.of(&case.options);
    let range =
        |engine: &Engine, start: i64, end: i64| engine.range(&case.store, &expr, Timestamp(start), Timestamp(end), Millis(*step), &control);
    let relative = if shrink::parts(&expr).into_iter().any(|e| is_unordered(e) || is_ranking(e)) { 1e-12 } else { 0.0 };
    let instants: Vec<Given> = engines.iter().map(|engine| engine.instant(&case.store, &expr, Timestamp(*end), &control)).collect();
    let wanted = naive::instant(&case.store, case.options, &expr, text, *end);
    if let Some(found) = compare::difference(&instants[0], &wanted, order_of(&expr), relative) {
        return Some(format!("as an instant query: {found}"));
    }
    let ranges: Vec<Given> = engines.iter().map(|engine| range(engine, *start, *end)).collect();
    let frame = Frame { start: *start, end: *end, step: *step };
    let wanted = naive::range(&case.store, case.options, &expr, text, frame);
    if let Some(found) = compare::difference(&ranges[0], &wanted, Order::Labels, relative) {
        return Some(format!("as a range query: {found}"));
    }
    if let Some(found) = miscounted(case, &expr, &engines[0], &control, (&instants[0], &ranges[0])) {
        return Some(found);
    }
    if let Some(unshared) = unshared::unshared(&expr) {
        let each = engines[0].range(&case.store, &unshared, Timestamp(*start), Timestamp(*end), Millis(*step), &control);
        let (shared, each) = (shown(&ranges[0]), shown(&each));
        if shared != each {
            return Some(format!("shared, another answer: {shared}\nand not\n{each}"));
        }
    }
    for given in [&instants, &ranges] {
        let texts: Vec<String> = given.iter().map(shown).collect();
        if texts.iter().any(|text| *text != texts[0]) {
            return Some(format!("other threads, another answer: {texts:#?}"));
        }
    }
    // An instant query is a range query of one step, but for the length of that.
    if !text.contains("step()")
        && let (Ok(instant), Ok(range)) = (&instants[0], range(&engines[0], *end, *end))
        && let Some(found) = unlike_one_step(instant, &range)
    {
        return Some(format!("a range query of one step: {found}"));
    }
    unlike_parts(case, &expr, &engines[0], &control)
}

/// What is wrong with the samples counted at each step: they have to add up to those of the whole, and the last step's are those
/// of the instant query.
fn miscounted(case: &Case, expr: &Expr, engine: &Engine, control: &Control, (instant, range): (&Given, &Given)) -> Option<String> {
    let Query { text, start, end, step } = &case.query;
    let control = Control { per_step_stats: true, ..control.clone() };
    let each = engine.range(&case.store, expr, Timestamp(*start), Timestamp(*end), Millis(*step), &control).ok()?.stats;
    let whole = &range.as_ref().ok()?.stats;
    let sums = each.steps.iter().fold((0, 0), |(queryable, read), step| (queryable + step.queryable, read + step.read));
    let wanted = (whole.total_queryable_samples, whole.samples_read);
    if sums != wanted || (each.total_queryable_samples, each.samples_read) != wanted {
        return Some(format!("samples of {:?} add up to {sums:?}, wanted {wanted:?}", each.steps));
    }
    let (last, instant) = (each.steps.last()?, &instant.as_ref().ok()?.stats);
    let same = last.time.0 != *end || last.queryable == instant.total_queryable_samples;
    // Info metrics are selected for the series of all steps; a parameter of something with a fixed time is that of the first one.
    let depends_on_range = ["@", "range()", "step()", "info("].iter().any(|part| text.contains(part)) || aggregates_fixed(expr);
    (!same && !depends_on_range).then(|| format!("the last of {:?} should have {} samples", each.steps, instant.total_queryable_samples))
}

/// All of an answer that does not depend on how fast and with how much memory it was found.
fn shown(given: &Given) -> String {
    match given {
        Err(error) => error.to_string(),
        Ok(QueryResult { value, warnings, infos, stats, .. }) => {
            format!("{value:?} {warnings:?} {infos:?} {} {}", stats.total_queryable_samples, stats.samples_read)
        }
    }
}

/// What the instant query and the range query of that one step differ in.
fn unlike_one_step(instant: &QueryResult, range: &QueryResult) -> Option<String> {
    let Value::Matrix(series) = &range.value else { return Some(format!("no matrix: {:?}", range.value)) };
    let value = |v: f64, histogram: Option<&Arc<model::FloatHistogram>>| histogram.map_or(format!("{v:?}"), |h| format!("{h:?}"));
    let mut one: Vec<(String, String)> = match &instant.value {
        Value::Scalar { v, .. } => vec![("{}".into(), value(*v, None))],
        Value::Vector(samples) => samples.iter().map(|s| (s.labels.to_string(), value(s.v, s.histogram.as_ref()))).collect(),
        Value::String { .. } | Value::Matrix(_) => return None,
    };
    let other = series.iter().map(|s| {
        let float = s.points.first().map_or(0.0, |(_, v)| *v);
        (s.labels.to_string(), value(float, s.histograms.first().map(|(_, h)| h)))
    });
    let mut other: Vec<(String, String)> = other.collect();
    one.sort();
    other.sort();
    let annotations = instant.warnings != range.warnings || instant.infos != range.infos;
    (one != other || annotations).then(|| format!("{range:#?}\nand not\n{instant:#?}"))
}

/// The sum of a selector's samples is what adding them in the order of their labels gives; so is their number.
fn unlike_parts(case: &Case, expr: &Expr, engine: &Engine, control: &Control) -> Option<String> {
    let Expr::Vector(_) = expr else { return None };
    let ask = |text: &str| {
        let expr = promql::parse(text, &LANGUAGE).unwrap();
        engine.instant(&case.store, &expr, Timestamp(case.query.end), control).map(|result| result.value)
    };
    let Ok(Value::Vector(parts)) = ask(&expr.to_string()) else { return Some("no vector".into()) };
    if parts.is_empty() || parts.iter().any(|sample| sample.histogram.is_some()) {
        return None;
    }
    let mut sum = naive::Kahan { sum: parts[0].v, c: 0.0 };
    parts.iter().skip(1).for_each(|sample| sum.add(sample.v));
    let wanted = [("sum", sum.sum + sum.c), ("count", parts.len() as f64)];
    for (op, wanted) in wanted {
        let Ok(Value::Vector(given)) = ask(&format!("{op}({expr})")) else { return Some(format!("no {op}")) };
        if given[0].v.to_bits() != wanted.to_bits() && !(given[0].v.is_nan() && wanted.is_nan()) {
            return Some(format!("{op} is {}, its parts give {wanted}", given[0].v));
        }
    }
    None
}

/// The order of an instant query's samples.
fn order_of(e: &Expr) -> Order {
    match e {
        Expr::Paren(paren) => order_of(&paren.expr),
        Expr::Call(call) if call.function.name.starts_with("sort_by_label") => Order::Same,
        Expr::Call(call) if call.function.name.starts_with("sort") => Order::Values,
        // Groups may come in any order.
        Expr::Aggregate(a) if is_ranking(e) && !a.without && a.grouping.is_empty() => Order::Values,
        _ if shrink::parts(e).into_iter().any(is_ranking) || is_ranking(e) => Order::Any,
        _ => Order::Labels,
    }
}

/// Does it put samples in an order of values or labels?
fn is_ranking(e: &Expr) -> bool {
    match e {
        Expr::Call(call) => call.function.name.starts_with("sort"),
        Expr::Aggregate(a) => matches!(a.op, AggregateOp::TopK | AggregateOp::BottomK),
        _ => false,
    }
}

/// Does nothing define the order of its series?
fn is_unordered(e: &Expr) -> bool {
    match e {
        // Sorting is in vain in a range query.
        Expr::Call(call) => ["histogram_", "info", "sort"].iter().any(|start| call.function.name.starts_with(start)),
        Expr::Aggregate(_) | Expr::Binary(_) | Expr::Subquery(_) => true,
        _ => false,
    }
}

/// Does it choose the first ones of series whose order nothing defines?
fn is_undefined(e: &Expr) -> bool {
    let chooses = |e: &Expr| {
        let Expr::Aggregate(a) = e else { return false };
        let first = matches!(a.op, AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK);
        first && [&a.expr].into_iter().chain(shrink::parts(&a.expr)).any(is_unordered)
    };
    [e].into_iter().chain(shrink::parts(e)).any(chooses)
}

/// Does it aggregate what may be the same at all steps, with a parameter?
fn aggregates_fixed(e: &Expr) -> bool {
    let fixed = |e: &Expr| matches!(e, Expr::Aggregate(a) if a.parameter.is_some() && a.expr.selectors().is_empty());
    [e].into_iter().chain(shrink::parts(e)).any(fixed)
}

/// Does it add up series whose order nothing defines, or the naive engine does not know, with one of these?
fn adds_unordered(e: &Expr, ops: &[AggregateOp]) -> bool {
    let adds = |e: &Expr| {
        let Expr::Aggregate(a) = e else { return false };
        ops.contains(&a.op) && [&a.expr].into_iter().chain(shrink::parts(&a.expr)).any(is_unordered)
    };
    [e].into_iter().chain(shrink::parts(e)).any(adds)
}

const SUMS: [AggregateOp; 2] = [AggregateOp::Sum, AggregateOp::Avg];
/// Of close and large values all of a deviation may be what rounding left.
const DEVIATIONS: [AggregateOp; 2] = [AggregateOp::Stddev, AggregateOp::Stdvar];

/// Does it select what depends on the order in which it is added up, as in Prometheus: histograms whose zero buckets reach into
/// others, or of several kinds, or floats of which a few add up to infinity?
fn selects_sensitive(case: &Case, e: &Expr) -> bool {
    let (mut wide, mut kinds) = (false, std::collections::BTreeSet::new());
    for point in e.selectors().into_iter().flat_map(|matchers| case.store.matching(matchers)).flat_map(|(_, points)| points.iter()) {
        match &point.value {
            naive::Value::Float(v) => {
                wide |= v.is_finite() && v.abs() > 1e300;
                kinds.insert("float")
            }
            naive::Value::Histogram(h) => {
                wide |= h.zero_threshold > 0.1;
                kinds.insert(if h.has_custom_bounds() { "custom" } else { "exponential" })
            }
        };
    }
    wide || kinds.len() > 1
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_engine_agrees_with_the_naive_one() {
    let first = number("PYROPE_RANDOM_SEED").unwrap_or(1);
    let runs = number("PYROPE_RANDOM_RUNS").unwrap_or(3_000);
    let minutes = number("PYROPE_RANDOM_MINUTES");
    let enough = number("PYROPE_RANDOM_FAILURES").unwrap_or(1);
    let begin = Instant::now();
    let go_on = |seed: u64| match minutes {
        Some(minutes) => begin.elapsed() < Duration::from_secs(60 * minutes),
        None => seed < first + runs,
    };
    let engines = Engines::new();
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = Vec::new();
    let mut ill_formed = 0;
    let mut seed = first;
    while go_on(seed) && (failed.len() as u64) < enough {
        let case = Case::random(seed);
        ill_formed += u64::from(case.parsed().is_none());
        if fault(&case, &engines).is_some() {
            failed.push(report(seed, case, &engines));
        }
        seed += 1;
    }
    drop(std::panic::take_hook());
    println!("{} queries, {ill_formed} of them ill-formed", seed - first);
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// The failing case, made small.
fn report(seed: u64, case: Case, engines: &Engines) -> String {
    let text = case.query.text.clone();
    let small = shrink::shrunk(case, |case| fault(case, engines).is_some());
    let Query { text: query, start, end, step } = &small.query;
    let mut report =
        format!("PYROPE_RANDOM_SEED={seed} PYROPE_RANDOM_RUNS=1\n  {text}\n  {query}\n  {start}..{end} step {step}, {:?}\n", small.options);
    for (labels, points) in &small.store.series {
        report += &format!("  {labels}\n");
        for point in points.iter() {
            let start = if point.start == 0 { String::new() } else { format!(" (since {})", point.start) };
            report += &format!("    {}{start} {:?}\n", point.t, point.value);
        }
    }
    report + &fault(&small, engines).unwrap_or_default()
}
