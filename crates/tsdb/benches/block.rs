//! Writing a block, opening it, selecting from it and decoding.
//!
//! Shape: a million series with 10 labels each (500 targets, 2,000 series a target), one XOR chunk of 120 samples a series,
//! the same bytes for all; files in a temporary folder, in the page cache when they are read. Times are CPU-seconds of the process, so that builds that run beside
//! disturb less; memory is that of the process, so run it alone.
//!
//! `cargo bench -p tsdb --bench block` (`-- --targets N` for another number of targets)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, MatchOp, Matcher, Timestamp};
use std::path::Path;
use std::sync::Arc;
use storage::{Column, Interval, Queryable, SelectHints};
use tsdb::block::{Block, BlockOptions, BlockWriter, ChunkIn, MetaSeed, SeriesEntry};
use tsdb::chunk::Encoding;
use tsdb::chunk::xor::XorAppender;
use ulid::Ulid;
use world::{Files, RealFiles};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: u32 = 2000;
const SAMPLES: i64 = 120;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--targets").skip(1);
    let targets: u32 = args.next().map_or(500, |n| n.parse().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let ulid = Ulid::from_parts(1, 1);

    let mut labels: Vec<Labels> = (0..targets).flat_map(|target| (0..SERIES).map(move |series| of(target, series))).collect();
    labels.sort_unstable();
    let mut symbols: Vec<String> = labels.iter().flat_map(|l| l.iter().flat_map(|(n, v)| [n.to_owned(), v.to_owned()])).collect();
    symbols.sort_unstable();
    symbols.dedup();
    let series = labels.len() as f64;
    let bytes = chunk();

    let (before, started) = (rss_mib(), cpu());
    let mut writer = BlockWriter::create(&files, temp.path(), &BlockOptions::new(ulid), symbols.iter().map(String::as_str)).unwrap();
    for labels in &labels {
        writer.add_series(labels, &[ChunkIn { min_time: 0, max_time: SAMPLES - 1, encoding: Encoding::Xor, bytes: &bytes }]).unwrap();
    }
    let held = rss_mib() - before;
    let seed = MetaSeed { min_time: 0, max_time: SAMPLES, ..MetaSeed::default() };
    let meta = writer.finish(seed).unwrap().unwrap();
    println!("write {:.0} ns a series, held {held} MiB, {} series", (cpu() - started) / series * 1e9, meta.stats.series);

    let dir = temp.path().join(ulid.to_string());
    let len = |name: &str| files.len(&dir.join(Path::new(name))).unwrap() as f64;
    println!("index {:.1} bytes a series", len("index") / series);
    let started = cpu();
    let block = Block::open(&files, &dir).unwrap();
    println!("open {:.1} ms, memory {} KiB", (cpu() - started) * 1e3, block.memory_bytes() >> 10);

    let started = cpu();
    let (mut reader, mut entry) = (block.reader(), SeriesEntry::default());
    let mut chunk_bytes = 0;
    for id in block.series_ids().unwrap() {
        reader.series(id, &mut entry).unwrap();
        chunk_bytes += entry.chunks.iter().map(|chunk| block.chunk(chunk.chunk_ref).unwrap().1.len()).sum::<usize>();
    }
    println!("walk {:.0} ns a series ({chunk_bytes} bytes of chunks)", (cpu() - started) / series * 1e9);

    let instance = || Matcher::equal("instance", "host-7.example.com:9100");
    let name = |value: &str| Matcher::equal("__name__", value);
    let regex = |name: &str, value: &str| Matcher::new(MatchOp::Regex, name, value).unwrap();
    for (what, matchers) in [
        ("one series", vec![name("metric_07"), instance(), Matcher::equal("id", "0007")]),
        ("one target", vec![instance()]),
        ("one name", vec![name("metric_07")]),
        ("one name, regex of targets", vec![name("metric_07"), regex("instance", "host-1.*")]),
        ("all but one name", vec![Matcher::new(MatchOp::NotEqual, "__name__", "metric_07").unwrap()]),
    ] {
        let range = Interval { start: Timestamp(0), end: Timestamp(SAMPLES) };
        let started = cpu();
        let selection = block.select(range, &matchers, &SelectHints::default()).unwrap();
        let selected = cpu() - started;
        let (mut column, mut samples) = (Column::default(), 0);
        let started = cpu();
        for series in &selection.series {
            column.clear();
            series.decode(range, &mut column).unwrap();
            samples += column.len();
        }
        let count = selection.series.len();
        let rate = samples as f64 / (cpu() - started) / 1e6;
        println!(
            "{what}: {count} series in {:.2} ms ({:.0} ns each), then {rate:.0} M samples/s",
            selected * 1e3,
            selected / count as f64 * 1e9
        );
    }
}

fn of(target: u32, series: u32) -> Labels {
    let (name, id, instance) = (format!("metric_{:02}", series % 40), format!("{series:04}"), format!("host-{target}.example.com:9100"));
    Labels::from_pairs([
        ("__name__", name.as_str()),
        ("cluster", "eu-west-1"),
        ("env", "production"),
        ("id", &id),
        ("instance", &instance),
        ("job", "node"),
        ("method", ["get", "post", "put"][series as usize % 3]),
        ("namespace", "monitoring"),
        ("pod", "node-exporter"),
        ("status", ["200", "404", "500", "503"][series as usize % 4]),
    ])
}

fn chunk() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut appender = XorAppender::start(&mut bytes);
    for time in 0..SAMPLES {
        appender.append(&mut bytes, time, (time * time % 17) as f64);
    }
    bytes
}

/// CPU-seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn rss_mib() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4 / 1024
}
