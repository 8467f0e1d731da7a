//! `bench write`: how many samples a second the store takes.
//!
//! Series come from a file; shards of up to 1,000 of them are scraped side by side, every 30 s of made-up time, a hundred
//! scrapes at a time.

use crate::tool::Failure;
use model::{Labels, Timestamp};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use storage::{Appender as _, Batch, Committed, Row, RowSeries, RowValue};
use tsdb::{Db, Options};

/// Time between two scrapes, in milliseconds.
const INTERVAL_MS: i64 = 30_000;
/// Series of a shard.
const SHARD: usize = 1_000;
/// Scrapes that all shards do before the next ones begin.
const ROUND: usize = 100;

/// Writes into a new store at `out_dir` and prints how long it took.
pub fn write(out_dir: &Path, file: &Path, series_max: usize, scrapes: usize, out: &mut dyn Write) -> Result<(), Failure> {
    if out_dir.exists() {
        fs::remove_dir_all(out_dir)?;
    }
    fs::create_dir_all(out_dir)?;
    let db = Db::open(Options::new(out_dir.join("storage")))?;

    let (series, _) = stage("readData", out, |_| Ok(read_series(&fs::read_to_string(file)?, series_max)))?;
    let (total, took) = stage("ingestScrapes", out, |out| ingest(&db, &series, scrapes, out))?;
    writeln!(out, " > total samples: {total}")?;
    writeln!(out, " > samples/sec: {}", total as f64 / took.as_secs_f64())?;
    stage("stopStorage", out, |_| Ok(db.close()?))?;
    Ok(())
}

fn stage<T>(name: &str, out: &mut dyn Write, work: impl FnOnce(&mut dyn Write) -> Result<T, Failure>) -> Result<(T, Duration), Failure> {
    writeln!(out, ">> start stage={name}")?;
    out.flush()?;
    let start = Instant::now();
    let done = work(out)?;
    let took = start.elapsed();
    writeln!(out, ">> completed stage={name} duration={took:?}")?;
    Ok((done, took))
}

/// Label sets, one a line: `{"name":"value","name":"value"}`; repeated ones count once.
fn read_series(text: &str, series_max: usize) -> Vec<Labels> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for line in text.lines() {
        if all.len() == series_max {
            break;
        }
        let plain = line.replace(['"', '{', '}'], "");
        let labels = Labels::from_pairs(plain.split(',').filter_map(|pair| pair.split_once(':')));
        if seen.insert(labels.clone()) {
            all.push(labels);
        }
    }
    all
}

fn ingest(db: &Db, series: &[Labels], scrapes: usize, out: &mut dyn Write) -> Result<u64, Failure> {
    let mut total = 0;
    for first in (0..scrapes).step_by(ROUND) {
        let shards = std::thread::scope(|scope| {
            let threads: Vec<_> = series.chunks(SHARD).map(|shard| scope.spawn(move || scrape(db, shard, first))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for shard in shards {
            total += shard.map_err(|_| Failure::Message("a shard panicked".into()))??;
        }
    }
    writeln!(out, "ingestion completed")?;
    Ok(total)
}

/// A round of one shard.
fn scrape(db: &Db, shard: &[Labels], first: usize) -> Result<u64, storage::CommitError> {
    let (mut batch, mut committed) = (Batch { labels: shard.to_vec(), ..Batch::default() }, Committed::default());
    let mut series: Vec<RowSeries> = (0..).take(shard.len()).map(RowSeries::Labels).collect();
    let mut stored = 0;
    for scrape in 1..=ROUND as i64 {
        let timestamp = Timestamp((first as i64 + scrape) * INTERVAL_MS);
        let value = RowValue::Float((123_456_789 + 1_000 * scrape) as f64);
        batch.rows.clear();
        batch.rows.extend(series.iter().map(|series| Row { series: *series, start: Timestamp(0), timestamp, value }));
        db.commit(&batch, &mut committed)?;
        stored += committed.stored;
        if !batch.labels.is_empty() {
            for (series, handle) in series.iter_mut().zip(&committed.handles) {
                if let Some(handle) = handle {
                    *series = RowSeries::Known(*handle);
                }
            }
            batch.labels.clear();
        }
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_line_by_line() {
        let text = "{\"__name__\":\"up\",\"job\":\"a\"}\n{\"job\":\"a\",\"__name__\":\"up\"}\n{\"__name__\":\"x\"}\n{\"__name__\":\"y\"}\n";
        let want = [Labels::from_pairs([("__name__", "up"), ("job", "a")]), Labels::from_pairs([("__name__", "x")])];
        assert_eq!(read_series(text, 2), want);
    }
}
