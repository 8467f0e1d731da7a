//! A series that the log knows by two refs, because it was removed and came back: whichever of them it goes by in a run, none of
//! its samples are lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use std::sync::Arc;
use storage::{Appender, Batch, Column, Committed, Interval, OnRefused, Queryable, Row, RowSeries, RowValue, SelectHints, SeriesRef};
use testkit::disk::{Disk, Fault, Tear};
use tsdb::{Db, Options};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;

fn open(disk: &Disk) -> Arc<Db> {
    let mut options = Options::new("/data");
    options.files = Arc::new(disk.clone());
    options.no_lockfile = true;
    options.background = false;
    // Each commit begins a segment.
    options.wal.segment_bytes_max = 1;
    Db::open(options).unwrap()
}

/// The disk after a SIGKILL.
fn kill(disk: &Disk, db: Arc<Db>) -> Disk {
    disk.set_fault(Some(Fault::PowerOff(disk.operations())));
    drop(db);
    disk.after_power_cut(Tear::Kept)
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name)])
}

/// Commits a sample to each series, or to none if one is refused; the ref of the first.
fn commit(db: &Db, names: &[&str], time: i64, value: f64) -> SeriesRef {
    let row = |at| Row { series: RowSeries::Labels(at), start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(value) };
    let batch = Batch {
        labels: names.iter().map(|name| labels(name)).collect(),
        rows: (0..names.len() as u32).map(row).collect(),
        on_refused: OnRefused::DropBatch,
        ..Batch::default()
    };
    let mut result = Committed::default();
    db.commit(&batch, &mut result).unwrap();
    result.handles[0].unwrap().series_ref
}

fn times(db: &Db) -> Vec<i64> {
    let selection = db.select(ALL, &[], &SelectHints::default()).unwrap();
    let mut column = Column::default();
    let series = selection.series.iter().find(|series| *series.labels() == labels("twice")).unwrap();
    series.decode(ALL, &mut column).unwrap();
    column.times
}

/// A disk whose log knows `twice` by two refs, with samples of these seconds under the second one.
fn made(seconds: impl Iterator<Item = i64>) -> Disk {
    let disk = Disk::new();
    let db = open(&disk);
    commit(&db, &["other"], 0, 1.0);
    // Refused as a whole, so that its new series stays without samples and goes with the next start.
    let first = commit(&db, &["twice", "other"], 0, 2.0);
    let disk = kill(&disk, db);
    let db = open(&disk);
    for second in seconds {
        assert!(commit(&db, &["twice"], second * SECOND, 1.0) > first);
    }
    db.maintain().unwrap();
    kill(&disk, db)
}

#[test]
fn chunks_in_files_under_either_ref_are_found_by_every_start() {
    let mut disk = made(0..300);
    let mut want: Vec<i64> = (0..300).map(|second| second * SECOND).collect();
    for run in 0..4 {
        let db = open(&disk);
        assert_eq!(times(&db), want, "run {run}");
        for second in 300 + run * 200..500 + run * 200 {
            commit(&db, &["twice"], second * SECOND, 1.0);
            want.push(second * SECOND);
        }
        db.maintain().unwrap();
        // Both with and without a clean stop, after which the log is not read.
        if run % 2 == 1 {
            db.close().unwrap();
        }
        disk = kill(&disk, db);
    }
    assert_eq!(times(&open(&disk)), want);
}

#[test]
fn a_checkpoint_keeps_the_labels_of_the_ref_that_its_samples_have() {
    let seconds = |hour: i64| hour * 3600..hour * 3600 + 20;
    let disk = made((0..3).flat_map(seconds));
    let db = open(&disk);
    let want: Vec<i64> = (0..3).flat_map(seconds).map(|second| second * SECOND).collect();
    // Enough segments for the checkpoint to reach those of this run, and no sample that makes a chunk full, which would go to a file.
    for second in 3 * 3600 + 600..3 * 3600 + 800 {
        commit(&db, &["other"], second * SECOND, 1.0);
    }
    db.maintain().unwrap();
    assert_eq!(db.head().min_valid_time(), 2 * HOUR);
    assert!(db.stats().checkpoints > 0);
    assert_eq!(times(&db), want);
    let disk = kill(&disk, db);
    assert_eq!(times(&open(&disk)), want);
}
