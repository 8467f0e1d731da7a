//! A disk that takes nothing any more, altogether or in one of the folders: what cannot be kept is refused, queries go on with
//! all that was acknowledged, and once there is room everything goes on and nothing is missing, also after `kill -9`.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, MatchOp, Matcher, Timestamp};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use storage::{Appender, Batch, Column, CommitError, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use testkit::disk::{Disk, Tear};
use tsdb::{Db, DbStats, Options};
use world::Files;

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const DIR: &str = "/data";
/// Blocks are that wide, in milliseconds.
const WIDTH: i64 = 1000;

fn options(disk: &Disk) -> Options {
    let mut options = Options::new(DIR);
    options.files = Arc::new(disk.clone());
    options.no_lockfile = true;
    options.background = false;
    options.min_block_ms = WIDTH;
    options.max_block_ms = 3 * WIDTH;
    options.wal.segment_bytes_max = 64 << 10;
    options.settings.out_of_order_window_ms = 100 * WIDTH;
    options
}

/// Number of the series, and time.
type Samples = BTreeSet<(u32, i64)>;

fn labels(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", n.to_string().as_str())])
}

/// Both series at this time; the second one late now and then.
fn batch(time: i64) -> (Batch, Samples) {
    let mut batch = Batch::default();
    let mut samples = Samples::new();
    for n in 0..2 {
        let time = if n == 1 && time % 70 == 0 { time - WIDTH / 2 - 5 } else { time };
        samples.insert((n, time));
        batch.labels.push(labels(n));
        let value = RowValue::Float(time as f64 * 1.1);
        batch.rows.push(Row { series: RowSeries::Labels(n), start: Timestamp(0), timestamp: Timestamp(time), value });
    }
    (batch, samples)
}

fn shown(db: &Db) -> Samples {
    let selection = db.select(ALL, &[], &SelectHints::default()).unwrap();
    assert!(selection.warnings.is_empty(), "{:?}", selection.warnings);
    let mut shown = Samples::new();
    for series in &selection.series {
        let mut column = Column::default();
        series.decode(ALL, &mut column).unwrap();
        let n: u32 = series.labels().get("n").unwrap().parse().unwrap();
        shown.extend(column.times.iter().map(|time| (n, *time)));
    }
    shown
}

/// A query shows everything that was acknowledged, and of what was refused only what may be.
#[track_caller]
fn check(db: &Db, kept: &Samples, maybe: &Samples) {
    let found = shown(db);
    let lost = kept.difference(&found).next();
    assert!(lost.is_none(), "acknowledged, and not shown: {lost:?}");
    let more = found.difference(kept).find(|sample| !maybe.contains(sample));
    assert!(more.is_none(), "refused or deleted, and shown: {more:?}");
}

/// Appends from one time to before another; the samples that were taken.
fn append(db: &Db, times: std::ops::Range<i64>, kept: &mut Samples, maybe: &mut Samples) -> u64 {
    let mut refused = 0;
    let mut result = Committed::default();
    for time in times.step_by(10) {
        let (batch, samples) = batch(time);
        match db.commit(&batch, &mut result) {
            Ok(()) => {
                assert_eq!(result.stored, 2, "at {time}: {result:?}");
                kept.extend(samples);
            }
            Err(CommitError::Log(_)) => {
                refused += 1;
                // That the log of late samples takes nothing shows only when they are in their place.
                maybe.extend(samples.into_iter().filter(|_| time % 70 == 0));
            }
            Err(other) => panic!("{other}"),
        }
    }
    check(db, kept, maybe);
    refused
}

fn equal(n: &str) -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::new(MatchOp::Equal, "n", n).unwrap()]]
}

/// What the disk does, what the counters say then, and whether samples must have been refused.
fn survives(fail: impl Fn(&Disk), told: impl Fn(&DbStats, &DbStats) -> bool, refuses: Option<bool>) {
    let disk = Disk::new();
    disk.create_folder(Path::new(DIR)).unwrap();
    let db = Db::open(options(&disk)).unwrap();
    let (mut kept, mut maybe) = (Samples::new(), Samples::new());
    assert_eq!(append(&db, 10_000..14_000, &mut kept, &mut maybe), 0);
    db.maintain().unwrap();
    assert_eq!(append(&db, 14_000..15_000, &mut kept, &mut maybe), 0);
    let before = db.stats();
    assert!(before.blocks > 0);

    fail(&disk);
    let mut refused = 0;
    for round in 0..4 {
        refused += append(&db, 15_000 + round * 1000..16_000 + round * 1000, &mut kept, &mut maybe);
        let _may_fail = db.maintain();
        check(&db, &kept, &maybe);
        // All of a deletion, or what it did before it failed; again is harmless.
        let time = 10_050 + round * 20;
        let range = Interval { start: Timestamp(time), end: Timestamp(time + 9) };
        if db.delete(range, &equal("0")).is_ok() {
            kept.retain(|(n, at)| *n != 0 || !(time..time + 10).contains(at));
        }
        let found = shown(&db);
        kept.retain(|sample| found.contains(sample) || !(sample.0 == 0 && (time..time + 10).contains(&sample.1)));
        check(&db, &kept, &maybe);
        let _may_fail = db.clean_tombstones();
        check(&db, &kept, &maybe);
    }
    let stats = db.stats();
    assert!(told(&before, &stats), "{stats:?}");
    if let Some(refuses) = refuses {
        assert_eq!(refused > 0, refuses, "{refused} batches were refused");
    }
    // Killed there, everything acknowledged is found again.
    let killed = Db::open(options(&disk.after_power_cut(Tear::Kept))).unwrap();
    assert_kept(&shown(&killed), &kept);
    drop(killed);

    disk.set_space(None);
    disk.set_broken(None);
    assert_eq!(append(&db, 19_000..24_000, &mut kept, &mut maybe), 0, "there is room again");
    db.maintain().unwrap();
    check(&db, &kept, &maybe);
    db.clean_tombstones().unwrap();
    check(&db, &kept, &maybe);
    assert!(db.stats().blocks > 0);
    let killed = Db::open(options(&disk.after_power_cut(Tear::Kept))).unwrap();
    assert_kept(&shown(&killed), &kept);
    drop(killed);
    db.close().unwrap();
    drop(db);
    let again = Db::open(options(&disk)).unwrap();
    assert_kept(&shown(&again), &kept);
    assert_eq!(again.stats().damaged_blocks, 0);
    assert_eq!(append(&again, 24_000..25_000, &mut shown(&again), &mut maybe), 0);
}

/// A batch that was refused may be in the log nevertheless: that is not held against it.
#[track_caller]
fn assert_kept(found: &Samples, kept: &Samples) {
    let lost: Vec<_> = kept.difference(found).collect();
    assert!(lost.is_empty(), "{} of {} are lost, first {:?}", lost.len(), kept.len(), lost[0]);
    let submitted: Samples = (10_000..25_000).step_by(10).flat_map(|time| batch(time).1).collect();
    assert!(found.is_subset(&submitted));
}

const ERRORS: [ErrorKind; 2] = [ErrorKind::StorageFull, ErrorKind::Other];

#[test]
fn a_disk_without_room() {
    survives(|disk| disk.set_space(Some(disk.used())), |before, now| now.wal_writes_failed > before.wal_writes_failed, Some(true));
}

#[test]
fn a_disk_with_little_room() {
    for room in [1 << 10, 4 << 10, 16 << 10] {
        survives(|disk| disk.set_space(Some(disk.used() + room)), |_, _| true, None);
    }
}

#[test]
fn a_log_that_cannot_be_written() {
    for error in ERRORS {
        survives(
            |disk| disk.set_broken(Some(("/wal/0", error))),
            |before, now| now.wal_writes_failed > before.wal_writes_failed,
            Some(true),
        );
    }
}

#[test]
fn a_log_of_late_samples_that_cannot_be_written() {
    for error in ERRORS {
        survives(
            |disk| disk.set_broken(Some(("/wbl/", error))),
            |before, now| now.head.out_of_order_unlogged > before.head.out_of_order_unlogged,
            Some(true),
        );
    }
}

#[test]
fn head_chunks_that_cannot_be_written() {
    for error in ERRORS {
        survives(
            |disk| disk.set_broken(Some(("chunks_head", error))),
            |before, now| now.head.chunk_writes_failed > before.head.chunk_writes_failed,
            Some(false),
        );
    }
}

#[test]
fn blocks_that_cannot_be_written() {
    for part in ["/chunks/", "/index", "meta.json", "tmp-for-creation"] {
        for error in ERRORS {
            survives(
                |disk| disk.set_broken(Some((part, error))),
                |before, now| now.compactions_failed > before.compactions_failed && now.blocks >= before.blocks,
                Some(false),
            );
        }
    }
}

#[test]
fn blocks_that_cannot_be_deleted() {
    survives(|disk| disk.set_broken(Some(("tmp-for-deletion", ErrorKind::Other))), |_, now| now.blocks > 0, Some(false));
}

#[test]
fn checkpoints_that_cannot_be_written() {
    for error in ERRORS {
        survives(
            |disk| disk.set_broken(Some(("checkpoint", error))),
            |before, now| now.checkpoints_failed > before.checkpoints_failed,
            Some(false),
        );
    }
}

#[test]
fn tombstones_that_cannot_be_written() {
    for error in ERRORS {
        survives(|disk| disk.set_broken(Some(("tombstones", error))), |_, _| true, Some(false));
    }
}

#[test]
fn a_block_that_is_cut_under_us_costs_its_samples_and_says_so() {
    for (file, len) in [("chunks/000001", 0), ("chunks/000001", 4096), ("index", 0), ("index", 4096)] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        (options.background, options.min_block_ms, options.max_block_ms) = (false, 100 * WIDTH, 100 * WIDTH);
        let db = Db::open(options).unwrap();
        let mut result = Committed::default();
        for time in (0..250_000).step_by(250) {
            let mut batch = Batch::default();
            for n in 0..20u32 {
                batch.labels.push(labels(n));
                let value = RowValue::Float((time as f64).sin());
                batch.rows.push(Row { series: RowSeries::Labels(n), start: Timestamp(0), timestamp: Timestamp(time), value });
            }
            db.commit(&batch, &mut result).unwrap();
        }
        db.maintain().unwrap();
        let meta = db.block_metas().first().unwrap().clone();
        let path = dir.path().join(meta.ulid.to_string()).join(file);
        let len = len.min(std::fs::metadata(&path).unwrap().len() / 2);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();

        let ask = |range: Interval| {
            let selection = db.select(range, &[], &SelectHints::default()).map_err(|error| error.to_string())?;
            let mut found = 0;
            for series in &selection.series {
                let mut column = Column::default();
                series.decode(range, &mut column).map_err(|error| error.to_string())?;
                found += column.times.len();
            }
            if selection.warnings.is_empty() { Ok(found) } else { Err(selection.warnings.join("; ")) }
        };
        assert!(ask(ALL).is_err(), "{file} cut to {len}: nothing is said of what is missing");
        let behind = Interval { start: Timestamp(meta.max_time), end: Timestamp::MAX };
        assert_eq!(ask(behind), Ok(20 * ((250_000 - meta.max_time) / 250) as usize), "what is elsewhere is there");
        let (batch, _) = batch(251_000);
        db.commit(&batch, &mut result).unwrap();
        assert_eq!(result.stored, 2);
    }
}
