//! Compaction: the head to a block by copying (a snapshot) and by packing, blocks to larger ones; CPU of the thread that does it, and memory.
//!
//! Shape: targets of 2,000 series with 10 labels each, scraped every 15 s for ten hours; a third of the values do not change, a third are
//! counters with restarts, a third are random with few digits. What is due is done every hour of data.
//!
//! `cargo bench -p tsdb --bench compact` (`-- --targets 25 --hours 10 --snapshots 3`; memory at a million series: `--targets 500`)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, Timestamp};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{Appender, Batch, Committed, Row, RowSeries, RowValue, SeriesHandle};
use tsdb::{Db, Options};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: u32 = 2000;
const INTERVAL_MS: i64 = 15_000;
/// A boundary of eighteen hours.
const BEGIN: i64 = 1_699_963_200_000;
const STEPS_PER_HOUR: i64 = 240;

fn main() {
    let value = |name: &str, or: i64| std::env::args().skip_while(|arg| arg != name).nth(1).map_or(or, |n| n.parse().unwrap());
    let (targets, hours, snapshots) = (value("--targets", 25) as u32, value("--hours", 10), value("--snapshots", 3));
    let temporary = tempfile::tempdir().unwrap();
    let mut options = Options::new(temporary.path());
    options.no_lockfile = true;
    options.background = false;
    options.max_block_ms = 9 * options.min_block_ms;
    let db = Db::open(options).unwrap();
    let mut feed = Feed { seed: 1, batch: Batch::default(), handles: Vec::new() };
    for hour in 0..hours {
        for step in hour * STEPS_PER_HOUR..(hour + 1) * STEPS_PER_HOUR {
            feed.step(&db, targets, step);
            if step % 20 == 19 {
                db.head().map_full_chunks().unwrap();
            }
        }
        let samples = |hours: i64| f64::from(targets * SERIES) * (hours * STEPS_PER_HOUR) as f64;
        if hour == 1 {
            for number in 0..snapshots {
                let folder = temporary.path().join("snapshots").join(number.to_string());
                let (cpu, above) = measure(|| db.snapshot(&folder, true).unwrap());
                println!(
                    "snapshot: {:.1} M samples per CPU-s, {:.2} us a series, {above} MiB above idle; {:.3} bytes a sample",
                    samples(2) / cpu / 1e6,
                    cpu / f64::from(targets * SERIES) * 1e6,
                    bytes(&folder) as f64 / samples(2)
                );
            }
        }
        let before = db.stats().compactions;
        let (cpu, above) = measure(|| db.maintain().unwrap());
        let done = db.stats().compactions - before;
        let stored: u64 = db.block_metas().iter().map(|meta| meta.stats.samples).sum();
        println!(
            "after {} hours: {done} blocks written, {:.4} CPU-s per 1M samples of two hours, {above} MiB above idle; blocks {:.3} bytes a sample",
            hour + 1,
            cpu / samples(2) * 1e6,
            db.stats().block_bytes as f64 / stored as f64
        );
    }
}

struct Feed {
    seed: u64,
    batch: Batch,
    handles: Vec<Vec<SeriesHandle>>,
}

impl Feed {
    fn step(&mut self, db: &Db, targets: u32, step: i64) {
        let Self { seed, batch, handles } = self;
        let mut result = Committed::default();
        let time = BEGIN + step * INTERVAL_MS;
        for target in 0..targets {
            batch.rows.clear();
            batch.labels.clear();
            if step == 0 {
                batch.labels.extend((0..SERIES).map(|n| labels(target, n)));
            }
            for n in 0..SERIES {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let random = *seed >> 40;
                let value = match n % 3 {
                    0 => f64::from(n),
                    1 => (step % 1000 * 7) as f64 + f64::from(n) + (random & 7) as f64,
                    _ => (random % 1000) as f64 / 8.0,
                };
                let series = handles.get(target as usize).map_or(RowSeries::Labels(n), |known| RowSeries::Known(known[n as usize]));
                batch.rows.push(Row { series, start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(value) });
            }
            db.commit(batch, &mut result).unwrap();
            assert_eq!(result.stored, u64::from(SERIES));
            if step == 0 {
                handles.push(result.handles.iter().map(|handle| handle.unwrap()).collect());
            }
        }
    }
}

fn labels(target: u32, n: u32) -> Labels {
    let (instance, metric, part) =
        (format!("10.0.{}.{}:9100", target / 250, target % 250), format!("metric_{}_total", n / 8), (n % 8).to_string());
    Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("cluster", "eu-1"),
        ("container", "app"),
        ("env", "prod"),
        ("instance", &instance),
        ("job", "node"),
        ("namespace", "default"),
        ("part", &part),
        ("region", "west"),
        ("team", "storage"),
    ])
}

/// CPU-seconds of this thread, and MiB of anonymous memory above what there was before.
fn measure(work: impl FnOnce()) -> (f64, u64) {
    let (done, idle) = (AtomicBool::new(false), anonymous_kib());
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = idle;
            while !done.load(Ordering::Relaxed) {
                most = most.max(anonymous_kib());
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let started = cpu();
        work();
        let took = cpu() - started;
        done.store(true, Ordering::Relaxed);
        (took, (watch.join().unwrap() - idle) >> 10)
    })
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { bytes(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}
