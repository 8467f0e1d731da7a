//! How long a query goes on when nobody waits for it any more, at a million series of the head.
//!
//! A query ends where it looks whether somebody still waits, so it can go on for the longest time between two looks, and for what
//! it takes to give back what it holds after the last one. Both are measured, of each thread in CPU-time, so that
//! whatever else the machine does counts little. Looking costs some hundred nanoseconds here, each thousand steps or so.
//!
//! `cargo bench -p pyrope --bench cancel` (`-- --series N` for other than a million, `--only TEXT` for queries that hold it)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, Millis, Timestamp};
use promql::engine::{Control, Engine, EngineOptions};
use promql::{ParserOptions, parse};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::{Appender, Batch, Cancel, Committed, Row, RowSeries, RowValue};
use tsdb::Head;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BEGIN_MS: i64 = 1_700_000_000_000;
/// So often each query is ended, at looks in equal distances.
const ENDS: u64 = 8;
const QUERIES: &[&str] = &[
    r#"{__name__=~".+"}"#,
    r#"sum by (instance, id) ({__name__=~".+"})"#,
    r#"label_replace({__name__=~".+"}, "x", "$1-$2", "instance", "(.*):(.*)")"#,
    r#"{__name__=~".+"} + ignoring (foo) {__name__=~".+"}"#,
    r#"topk(100000, {__name__=~".+"})"#,
    r#"max_over_time({__name__=~".+"}[1m:15s])"#,
    r#"sort_desc({__name__=~".+"})"#,
    r#"{__name__=~".+"} unless {__name__=~"metric_0."}"#,
    r#"count_values("v", {__name__=~".+"})"#,
    r#"rate({__name__=~".+"}[1m])"#,
];

/// Looks, and the longest times around them, in nanoseconds.
#[derive(Default)]
struct Watch {
    looks: AtomicU64,
    /// Between two looks of one thread.
    longest: AtomicU64,
}

thread_local! {
    /// When this thread looked last; 0 if it has not.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

impl Watch {
    /// To be called at each look; how many there were before.
    fn look(&self) -> u64 {
        let now = thread_ns();
        let before = LAST.replace(now);
        if before > 0 {
            self.longest.fetch_max(now - before, Ordering::Relaxed);
        }
        self.looks.fetch_add(1, Ordering::Relaxed)
    }
}

fn main() {
    let argument = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
    let series: u32 = argument("--series").map_or(1_000_000, |n| n.parse().unwrap());
    let only = argument("--only").unwrap_or_default();
    let head = head(series);
    for query in QUERIES.iter().filter(|query| query.contains(&only)) {
        let (all, looks) = run(&head, query, u64::MAX);
        let after = (0..ENDS).map(|n| run(&head, query, looks * (2 * n + 1) / (2 * ENDS)).0.after).max().unwrap();
        println!(
            "{:7.1} ms in {looks:6} looks, longest without one {:5.1} ms, until all is given back {:5.1} ms  {query}",
            all.took as f64 / 1e6,
            all.longest as f64 / 1e6,
            after as f64 / 1e6
        );
    }
}

/// Nanoseconds.
struct Times {
    took: u64,
    longest: u64,
    /// After the last look.
    after: u64,
}

/// Asks until the given look. All is done by this thread, as the answer is to be explained.
fn run(head: &Head, query: &str, until: u64) -> (Times, u64) {
    let engine = Engine::new(EngineOptions { threads: 1, max_samples: usize::MAX, ..EngineOptions::default() });
    let expression = parse(query, &ParserOptions::default()).unwrap();
    let watch = Arc::new(Watch::default());
    let watched = watch.clone();
    let control = Control { cancel: Cancel::when(move || watched.look() >= until), explain: true, ..Control::default() };
    LAST.set(0);
    let begun = thread_ns();
    let result = engine.range(head, &expression, Timestamp(BEGIN_MS), Timestamp(BEGIN_MS + 60_000), Millis(15_000), &control);
    let done = thread_ns();
    assert_eq!(result.is_ok(), until == u64::MAX, "{query}");
    let times = Times { took: done - begun, longest: watch.longest.load(Ordering::Relaxed), after: done - LAST.get() };
    (times, watch.looks.load(Ordering::Relaxed))
}

fn head(series: u32) -> Head {
    let head = Head::default();
    let mut batch = Batch::default();
    for series in 0..series {
        let (name, instance, id) =
            (format!("metric_{:02}", series % 40), format!("host-{}:9100", series / 2000), format!("{}", series % 2000));
        let pod = format!("deployment-{:08x}-{series:05x}", series.wrapping_mul(0x9e37_79b9));
        batch.labels.push(Labels::from_pairs([
            ("__name__", name.as_str()),
            ("cluster", "production-eu-west-1"),
            ("id", &id),
            ("instance", &instance),
            ("job", "node"),
            ("pod", &pod),
        ]));
    }
    for scrape in 0..5 {
        batch.rows = (0..series)
            .map(|n| {
                let value = RowValue::Float(f64::from(n.wrapping_mul(0x9e37_79b9)) + f64::from(scrape));
                Row {
                    series: RowSeries::Labels(n),
                    start: Timestamp(0),
                    timestamp: Timestamp(BEGIN_MS + i64::from(scrape) * 15_000),
                    value,
                }
            })
            .collect();
        head.commit(&batch, &mut Committed::default()).unwrap();
    }
    head
}

/// CPU-time of this thread in nanoseconds.
fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
