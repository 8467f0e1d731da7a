//! Appending through the batch path: check, encode, log, apply, publish; known series, one thread.
//!
//! Shape: 500 targets of 2,000 series with 10 labels each (a million series), one batch a target, in turn, as a scrape pool
//! does at 15 s; a third of the values do not change, a third are counters, a third are random. The log is written to a
//! temporary folder with the default options. Series are created before the clock starts; the figure is the median of five
//! passes of four scrapes of all targets. Memory is that of the process, so run it alone.
//!
//! `cargo bench -p tsdb --bench append` (`-- --targets N` for another number of targets)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, Timestamp};
use std::time::Instant;
use storage::{Appender, Batch, Committed, Row, RowSeries, RowValue, SeriesHandle};
use tsdb::{Db, Head, Options};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: u32 = 2000;
const INTERVAL_MS: i64 = 15_000;
const SCRAPES: i64 = 4;
const PASSES: usize = 5;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--targets").skip(1);
    let targets: u32 = args.next().map_or(500, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(Options::new(dir.path())).unwrap();
    run("head and log", &*db, targets);
    println!("rss {} MiB, stats {:?}", rss_mib(), db.stats());
    db.close().unwrap();
    drop(db);
    run("head alone", &Head::default(), targets);
}

fn run(name: &str, store: &dyn Appender, targets: u32) {
    let mut now = 1_700_000_000_000i64;
    let mut result = Committed::default();
    let started = Instant::now();
    let handles: Vec<Vec<SeriesHandle>> = (0..targets).map(|target| create(store, target, now, &mut result)).collect();
    let rows = f64::from(targets * SERIES);
    println!("{name}: create {:.0} ns a series", started.elapsed().as_nanos() as f64 / rows);

    let mut seed = 1u64;
    let mut batch = Batch::default();
    let mut on_processor = 0;
    let mut passes: Vec<f64> = (0..PASSES)
        .map(|_| {
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..SCRAPES {
                now += INTERVAL_MS;
                for handles in &handles {
                    fill(&mut batch, handles, now, &mut seed);
                    let (started, before) = (Instant::now(), processor_ns());
                    store.commit(&batch, &mut result).unwrap();
                    spent += started.elapsed();
                    on_processor += processor_ns() - before;
                    assert_eq!(result.stored, u64::from(SERIES));
                }
            }
            spent.as_nanos() as f64 / (rows * SCRAPES as f64)
        })
        .collect();
    passes.sort_by(f64::total_cmp);
    let on_processor = on_processor as f64 / (rows * SCRAPES as f64 * PASSES as f64);
    println!("{name}: of the processor {on_processor:.1} ns a sample, which other load does not lengthen");
    println!("{name}: append {:.1} ns a sample (median of {PASSES}; {:.1} to {:.1})", passes[PASSES / 2], passes[0], passes[PASSES - 1]);
}

fn create(store: &dyn Appender, target: u32, now: i64, result: &mut Committed) -> Vec<SeriesHandle> {
    let mut batch = Batch::default();
    let instance = format!("host-{target}:9100");
    for n in 0..SERIES {
        let (name, device, code) = (format!("metric_{}_total", n / 20), format!("dev{}", n % 20), format!("{}", 200 + n % 5));
        batch.labels.push(Labels::from_pairs([
            ("__name__", name.as_str()),
            ("instance", &instance),
            ("job", "node"),
            ("device", &device),
            ("code", &code),
            ("mode", "idle"),
            ("region", "eu-west-1"),
            ("zone", "a"),
            ("cluster", "main"),
            ("team", "infra"),
        ]));
        batch.rows.push(Row { series: RowSeries::Labels(n), start: Timestamp(0), timestamp: Timestamp(now), value: RowValue::Float(0.0) });
    }
    store.commit(&batch, result).unwrap();
    result.handles.iter().map(|handle| handle.unwrap()).collect()
}

fn fill(batch: &mut Batch, handles: &[SeriesHandle], now: i64, seed: &mut u64) {
    batch.clear();
    for (n, handle) in handles.iter().enumerate() {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let value = match n % 3 {
            0 => n as f64,
            1 => (now / 1000) as f64 + (*seed % 8) as f64,
            _ => (*seed % 100_000) as f64 / 100.0,
        };
        batch.rows.push(Row {
            series: RowSeries::Known(*handle),
            start: Timestamp(0),
            timestamp: Timestamp(now),
            value: RowValue::Float(value),
        });
    }
}

/// What this thread has had of the processor, where the system says it.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Resident memory, where the system says it.
fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
