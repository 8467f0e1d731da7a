//! The query engine on the store: scans of a block, and a selector over one of a million series of the head.
//!
//! Shape of the scans: classic histograms' buckets (12 to a histogram, whole numbers that grow by up to 20 observations a scrape, shared among
//! the buckets), 24 hours at 15 s, in one XOR block in the page cache; times exact, and off by up to 20 ms. The query is
//! `sum by (job) (rate(…[5m]))` over the last 23 hours at 60 s: decoding, windows, extrapolation and aggregation.
//! Times are CPU-seconds of the process, so that builds that run beside disturb less; the two threads' figure is wall time,
//! and wants a machine of its own.
//!
//! `cargo bench -p pyrope --bench query` (`-- --series N` for other scans than of 2,100 series)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, Millis, Timestamp};
use promql::engine::{Control, Engine, EngineOptions, Value};
use promql::{ParserOptions, parse};
use std::sync::Arc;
use std::time::Instant;
use storage::{Appender, Batch, Committed, Queryable, Row, RowSeries, RowValue};
use tsdb::Head;
use tsdb::block::{Block, BlockOptions, BlockWriter, ChunkIn, MetaSeed};
use tsdb::chunk::Encoding;
use tsdb::chunk::block::BlockEncoder;
use ulid::Ulid;
use world::{Files, RealFiles};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BUCKETS: usize = 12;
const INTERVAL_MS: i64 = 15_000;
const SAMPLES: usize = 24 * 240;
const BEGIN_MS: i64 = 1_700_000_000_000;
const PASSES: usize = 7;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--series").skip(1);
    let series: usize = args.next().map_or(2100, |n| n.parse().unwrap());
    for jitter in [0, 20] {
        scans(series, jitter);
    }
    one_of_a_million();
}

fn scans(series: usize, jitter: u64) {
    let temp = tempfile::tempdir().unwrap();
    let block = block(temp.path(), series, jitter);
    let (minute, hour) = (60_000, 3_600_000);
    let end = BEGIN_MS + 24 * hour;
    // What it reads, how far before its start, the share of series, start and step.
    let queries = [
        ("decode, rate and sum", "sum by (job) (rate(buckets[5m]))", 5 * minute, 1.0, end - 23 * hour, minute),
        ("rate over a day", "rate(buckets[1d])", 24 * hour, 1.0, end - 100 * minute, minute / 10),
        ("sum over a day", "sum_over_time(buckets[1d])", 24 * hour, 1.0, end - 100 * minute, minute / 10),
        ("selector", "sum by (job) (buckets)", 5 * minute, 1.0, end - 23 * hour, minute),
        ("selector, half the series", "sum by (job) (buckets{half=\"0\"})", 5 * minute, 0.5, end - 23 * hour, minute),
        ("selector, half the steps", "sum by (job) (buckets)", 5 * minute, 1.0, end - 23 * hour, 2 * minute),
        ("a sum twice", "sum by (job) (rate(buckets[5m])) / sum by (job) (rate(buckets[5m]))", 5 * minute, 1.0, end - 23 * hour, minute),
        ("a rate twice", "sum by (job) (rate(buckets[5m])) / count by (job) (rate(buckets[5m]))", 5 * minute, 1.0, end - 23 * hour, minute),
    ];
    println!("{series} series, jitter of {jitter} ms:");
    for (what, query, before, share, start, step) in queries {
        let (one, wall) = ask(&block, query, (start, end, step), 1);
        let (_, two) = ask(&block, query, (start, end, step), 2);
        let samples = share * (series as i64 * ((end - start + before) / INTERVAL_MS).min(SAMPLES as i64)) as f64;
        println!(
            "  {what}: {:.1} CPU-ms, {:.0} M samples a CPU-second; two threads {:.2} times as fast",
            one * 1e3,
            samples / one / 1e6,
            wall / two
        );
    }
}

/// CPU-seconds and seconds: medians.
fn ask(store: &dyn Queryable, query: &str, (start, end, step): (i64, i64, i64), threads: usize) -> (f64, f64) {
    let engine = Engine::new(EngineOptions { threads, ..EngineOptions::default() });
    let expression = parse(query, &ParserOptions::default()).unwrap();
    let runs: Vec<(f64, f64)> = (0..PASSES)
        .map(|_| {
            let (cpu_before, begun) = (cpu(), Instant::now());
            let answer = engine.range(store, &expression, Timestamp(start), Timestamp(end), Millis(step), &Control::default()).unwrap();
            assert!(matches!(answer.value, Value::Matrix(series) if !series.is_empty()));
            (cpu() - cpu_before, begun.elapsed().as_secs_f64())
        })
        .collect();
    (median(runs.iter().map(|run| run.0)), median(runs.iter().map(|run| run.1)))
}

fn one_of_a_million() {
    let head = Head::default();
    let mut batch = Batch::default();
    for series in 0..1_000_000u32 {
        let (name, instance, id) =
            (format!("metric_{:02}", series % 40), format!("host-{}:9100", series / 2000), format!("{}", series % 2000));
        batch.labels.push(Labels::from_pairs([("__name__", name.as_str()), ("id", &id), ("instance", &instance), ("job", "node")]));
        let row =
            Row { series: RowSeries::Labels(series), start: Timestamp(0), timestamp: Timestamp(BEGIN_MS), value: RowValue::Float(1.0) };
        batch.rows.push(row);
    }
    head.commit(&batch, &mut Committed::default()).unwrap();
    let engine = Engine::new(EngineOptions::default());
    for query in ["metric_07{instance=\"host-3:9100\",id=\"47\"}", "metric_07{instance=~\"host-3:.*\",id=\"47\"}"] {
        let runs = (0..1000).map(|_| {
            let begun = Instant::now();
            let expression = parse(query, &ParserOptions::default()).unwrap();
            let answer = engine.instant(&head, &expression, Timestamp(BEGIN_MS), &Control::default()).unwrap();
            assert!(matches!(answer.value, Value::Vector(series) if series.len() == 1));
            begun.elapsed().as_secs_f64()
        });
        println!("one of a million series, {query}: {:.1} us", median(runs) * 1e6);
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn block(dir: &std::path::Path, series: usize, jitter: u64) -> Block {
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let ulid = Ulid::from_parts(1, 1);
    let numbers: Vec<String> = (0..series).map(|n| format!("{n:06}")).collect();
    let mut symbols = vec!["__name__", "buckets", "half", "0", "1", "job", "api", "web", "id"];
    symbols.extend(numbers.iter().map(String::as_str));
    symbols.sort_unstable();
    let mut writer = BlockWriter::create(&files, dir, &BlockOptions::new(ulid), symbols).unwrap();
    let mut all = Vec::with_capacity(series);
    let (mut encoder, mut random) = (BlockEncoder::new(), Random(0x9e37_79b9_7f4a_7c15));
    for number in &numbers {
        let id: usize = number.parse().unwrap();
        let share = (id % BUCKETS + 1) as f64 / BUCKETS as f64;
        let (mut times, mut values) = (Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES));
        let mut value = 0.0;
        let pace = 1 + random.below(20);
        for at in 0..SAMPLES {
            times.push(BEGIN_MS + at as i64 * INTERVAL_MS + random.below(jitter + 1) as i64);
            values.push(value);
            value += (0..random.below(pace + 1)).filter(|_| (random.below(1000) as f64) < share * 1000.0).count() as f64;
        }
        let labels = Labels::from_pairs([
            ("__name__", "buckets"),
            ("half", if id.is_multiple_of(2) { "0" } else { "1" }),
            ("id", number.as_str()),
            ("job", if id.is_multiple_of(3) { "api" } else { "web" }),
        ]);
        let mut chunks: Vec<(i64, i64, Vec<u8>)> = Vec::new();
        encoder.xor(&times, &values, |first, last, bytes| chunks.push((first, last, bytes.to_vec())));
        all.push((labels, chunks));
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (labels, chunks) in &all {
        let chunks: Vec<ChunkIn<'_>> = chunks
            .iter()
            .map(|(min_time, max_time, bytes)| ChunkIn { min_time: *min_time, max_time: *max_time, encoding: Encoding::Xor, bytes })
            .collect();
        writer.add_series(labels, &chunks).unwrap();
    }
    let seed = MetaSeed { min_time: BEGIN_MS, max_time: BEGIN_MS + SAMPLES as i64 * INTERVAL_MS, ..MetaSeed::default() };
    writer.finish(seed).unwrap().unwrap();
    Block::open(&files, &dir.join(ulid.to_string())).unwrap()
}

/// xorshift64.
struct Random(u64);

impl Random {
    /// From 0 to `bound`, exclusive.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// CPU-seconds of this process, with all threads.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
