//! Ingestion in process, without network: parse, cache, log, head; one thread.
//!
//! Shape: 500 targets of 2,000 series with 5 labels on the page (a million series), scraped in turn at 15 s; pages change in
//! every value, as counters do. The log is written to a temporary folder with the default options. Series are created
//! before the clock starts; the figure is the median of five passes over all targets, the making of pages left out.
//!
//! `cargo bench -p scrape --bench ingest` (`-- --targets N` for another number of targets)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Labels, Millis, Timestamp};
use scrape::state::{Page, ScrapeState, Settings, Times, Workspace};
use storage::{Appender, Batch, CommitError, Committed};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAMILIES: usize = 100;
const SERIES_PER_FAMILY: usize = 20;
const SERIES: u64 = (FAMILIES * SERIES_PER_FAMILY) as u64;
const PASSES: usize = 5;

/// Takes everything and does nothing: what is left is parsing and the cache.
struct Nowhere;

impl Appender for Nowhere {
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        result.refused.clear();
        result.handles.clear();
        let handle = |n| storage::SeriesHandle { slot: storage::Slot(n), series_ref: storage::SeriesRef(u64::from(n)) };
        result.handles.extend((0..batch.labels.len() as u32).map(|n| Some(handle(n))));
        result.stored = batch.rows.len() as u64;
        Ok(())
    }
}

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--targets").skip(1);
    let targets: usize = args.next().map_or(500, |n| n.parse().unwrap());
    run("parse and cache", &Nowhere, targets);
    let dir = tempfile::tempdir().unwrap();
    let db = tsdb::Db::open(tsdb::Options::new(dir.path())).unwrap();
    run("parse, cache, log and head", &*db, targets);
    db.close().unwrap();
}

fn run(name: &str, store: &dyn Appender, targets: usize) {
    let settings: Vec<Settings> = (0..targets)
        .map(|n| Settings {
            target: Labels::from_pairs([("job", "node"), ("instance", format!("host-{n}:9100").as_str())]),
            honor_timestamps: true,
            timeout: Millis(10_000),
            ..Settings::default()
        })
        .collect();
    let mut states: Vec<_> = (0..targets).map(|_| ScrapeState::new(42, Arc::default())).collect();
    let mut work = Workspace::default();
    let mut body = String::new();
    let mut pass = |round: i64| {
        page(&mut body, round);
        let now = Timestamp(1_700_000_000_000 + round * 15_000);
        let mut spent = Duration::ZERO;
        for (state, settings) in states.iter_mut().zip(&settings) {
            let page = Page::Body { bytes: body.as_bytes(), content_type: Some("text/plain; version=0.0.4") };
            let started = Instant::now();
            let outcome = state.scrape(settings, page, Times { sample: now, now }, || Duration::ZERO, store, &mut work);
            spent += started.elapsed();
            assert!(outcome.error.is_none() && outcome.commit_error.is_none() && outcome.scraped == SERIES);
        }
        spent.as_nanos() as f64 / (targets as u64 * SERIES) as f64
    };
    let create = pass(0);
    let mut passes: Vec<f64> = (1..=PASSES as i64).map(&mut pass).collect();
    passes.sort_by(f64::total_cmp);
    let [low, median, high] = [0, PASSES / 2, PASSES - 1].map(|at| passes[at]);
    println!("{name}: {median:.1} ns a sample ({low:.1} to {high:.1}), {:.2}M samples/s; new series {create:.0} ns", 1000.0 / median);
}

fn page(body: &mut String, round: i64) {
    body.clear();
    for family in 0..FAMILIES {
        writeln!(body, "# HELP app_metric_{family}_total Things counted.\n# TYPE app_metric_{family}_total counter").unwrap();
        for n in 0..SERIES_PER_FAMILY {
            let value = round * 17 + (family * 1000 + n) as i64;
            writeln!(body, "app_metric_{family}_total{{code=\"200\",device=\"dev{n}\",mode=\"idle\",zone=\"a\"}} {value}").unwrap();
        }
    }
}
