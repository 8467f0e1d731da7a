//! Opening a directory after a SIGKILL: time, CPU and memory until the last sample can be queried.
//!
//! Shape: targets of 2,000 series with 10 labels each, scraped in turn every 15 s; a third of the values do not change, a third are
//! counters, a third are random. Full chunks go to files as they do in the server; the directory is left as it is, and a second
//! process opens it (page cache warm).
//!
//! `cargo bench -p tsdb --bench start` (`-- --targets 500 --steps 18`, `--clean` for a clean stop before, `--dir D` to keep it)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, Timestamp};
use std::path::Path;
use std::time::Instant;
use storage::{Appender, Batch, Committed, Row, RowSeries, RowValue, SeriesHandle};
use tsdb::{Db, Options};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: u32 = 2000;
const INTERVAL_MS: i64 = 15_000;
const BEGIN: i64 = 1_700_000_000_000;

fn main() {
    let value = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
    if let Some(dir) = value("--open") {
        open(Path::new(&dir));
        return;
    }
    let targets: u32 = value("--targets").map_or(500, |n| n.parse().unwrap());
    let steps: i64 = value("--steps").map_or(18, |n| n.parse().unwrap());
    let clean = std::env::args().any(|arg| arg == "--clean");
    let temporary = tempfile::tempdir().unwrap();
    let dir = value("--dir").map_or_else(|| temporary.path().to_owned(), Into::into);
    if !dir.join("wal").is_dir() {
        make(&dir, targets, steps, clean);
    }
    for _ in 0..2 {
        let opened = std::process::Command::new(std::env::current_exe().unwrap()).arg("--open").arg(&dir).status().unwrap();
        assert!(opened.success());
    }
}

fn make(dir: &Path, targets: u32, steps: i64, clean: bool) {
    let mut options = Options::new(dir);
    options.no_lockfile = true;
    options.background = false;
    let db = Db::open(options).unwrap();
    let mut result = Committed::default();
    let mut batch = Batch::default();
    let mut handles: Vec<Vec<SeriesHandle>> = Vec::new();
    let mut seed = 1u64;
    for step in 0..steps {
        let time = BEGIN + step * INTERVAL_MS;
        for target in 0..targets {
            batch.rows.clear();
            batch.labels.clear();
            if step == 0 {
                batch.labels.extend((0..SERIES).map(|n| labels(target, n)));
            }
            for n in 0..SERIES {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let value = match n % 3 {
                    0 => f64::from(n),
                    1 => (step * 7) as f64 + f64::from(n),
                    _ => (seed >> 20) as f64,
                };
                let series = handles.get(target as usize).map_or(RowSeries::Labels(n), |known| RowSeries::Known(known[n as usize]));
                batch.rows.push(Row { series, start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(value) });
            }
            db.commit(&batch, &mut result).unwrap();
            assert_eq!(result.stored, u64::from(SERIES));
            if step == 0 {
                handles.push(result.handles.iter().map(|handle| handle.unwrap()).collect());
            }
        }
        db.head().map_full_chunks().unwrap();
    }
    let stats = db.stats();
    println!(
        "made: {} series, {} chunks, {} MiB of log, rss {}",
        stats.head.series_count,
        stats.head.chunk_count,
        stats.wal_bytes >> 20,
        status("VmRSS")
    );
    if clean {
        db.close().unwrap();
    } else {
        std::mem::forget(db);
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

fn open(dir: &Path) {
    let mut options = Options::new(dir);
    options.no_lockfile = true;
    options.background = false;
    let started = Instant::now();
    let db = Db::begin(options).unwrap();
    db.replay().unwrap();
    let (took, cpu) = (started.elapsed(), cpu_seconds());
    let stats = db.stats();
    println!(
        "open: {:.2} s, {cpu:.2} CPU-s, peak {}, now {}; {} series, {:?}",
        took.as_secs_f64(),
        status("VmHWM"),
        status("VmRSS"),
        stats.head.series_count,
        db.head().time_range().map(|(first, last)| ((first - BEGIN) / INTERVAL_MS, (last - BEGIN) / INTERVAL_MS))
    );
    std::process::exit(0);
}

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    format!("{} MiB", kib >> 10)
}

/// Of this process, in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
