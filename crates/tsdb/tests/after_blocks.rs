//! What a start finds after samples went from the head to blocks, late ones and deleted ones among them.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use storage::{Appender, Batch, Column, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use testkit::disk::{Disk, Tear};
use tsdb::{Db, Options};
use world::Files as _;

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const MINUTE: i64 = 60_000;

fn open(disk: &Disk, out_of_order_minutes: i64) -> Arc<Db> {
    let mut options = Options { background: false, no_lockfile: true, max_block_ms: 18 * 60 * MINUTE, ..Options::new("/data") };
    options.files = Arc::new(disk.clone());
    options.settings.out_of_order_window_ms = out_of_order_minutes * MINUTE;
    Db::open(options).unwrap()
}

/// One sample of the one series.
fn commit(db: &Db, minute: i64) {
    let labels = vec![Labels::from_pairs([("__name__", "m")])];
    let (timestamp, value) = (Timestamp(minute * MINUTE), RowValue::Float(minute as f64));
    let rows = vec![Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp, value }];
    let mut result = Committed::default();
    db.commit(&Batch { labels, rows, ..Batch::default() }, &mut result).unwrap();
    assert_eq!(result.refused, []);
}

fn minutes(db: &Db) -> BTreeSet<i64> {
    let mut column = Column::default();
    for series in db.select(ALL, &[], &SelectHints::default()).unwrap().series {
        series.decode(ALL, &mut column).unwrap();
    }
    column.times.iter().map(|time| time / MINUTE).collect()
}

#[test]
fn late_blocks_ahead_of_the_head_do_not_hide_what_it_has_in_order() {
    let disk = Disk::new();
    let db = open(&disk, 600);
    // Every other minute of seven hours in order, some of the others late: when four hours have become two blocks the late ones of the
    // hours behind them are in two more, of which the first fills six hours together with those.
    (0..420).step_by(2).for_each(|minute| commit(&db, minute));
    (241..418).step_by(60).for_each(|minute| commit(&db, minute));
    let want = minutes(&db);
    db.maintain().unwrap();
    assert_eq!(db.head().min_valid_time(), 240 * MINUTE);
    assert_eq!(db.stats().blocks, 4);
    drop(db);
    let killed = disk.after_power_cut(Tear::Kept);
    assert_eq!(minutes(&open(&killed, 600)), want);
    killed.remove(Path::new("/data/pyrope/head")).unwrap();
    assert_eq!(minutes(&open(&killed, 600)), want);
}

#[test]
fn what_was_deleted_before_it_could_become_a_block_stays_deleted() {
    let disk = Disk::new();
    let db = open(&disk, 0);
    (0..150).for_each(|minute| commit(&db, minute));
    db.delete(Interval { start: Timestamp(0), end: Timestamp(120 * MINUTE - 1) }, &[vec![]]).unwrap();
    drop(db);
    // Each run begins a segment of the log.
    for run in 0..4 {
        let db = open(&disk, 0);
        (0..3).for_each(|more| commit(&db, 150 + run * 3 + more));
    }
    let db = open(&disk, 0);
    (200..220).for_each(|minute| commit(&db, minute));
    let want = minutes(&db);
    assert_eq!(want.first(), Some(&120));
    db.maintain().unwrap();
    // The log let go of the deletion, but the chunk file still has the samples.
    assert_eq!((db.stats().blocks, db.stats().checkpoints, db.head().min_valid_time()), (0, 1, 120 * MINUTE));
    let killed = disk.after_power_cut(Tear::Kept);
    killed.remove(Path::new("/data/pyrope/head")).unwrap();
    assert_eq!(minutes(&open(&killed, 0)), want);
}

#[test]
fn late_samples_do_not_vanish_for_one_start_only() {
    let disk = Disk::new();
    let db = open(&disk, 600);
    (0..90).for_each(|minute| commit(&db, minute));
    db.maintain().unwrap();
    commit(&db, 161);
    // Too late for its series to take it in order, but later than all that the series has in the log.
    let late = 99;
    let labels = vec![Labels::from_pairs([("__name__", "other")])];
    let rows =
        vec![Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp: Timestamp(late * MINUTE), value: RowValue::Float(1.0) }];
    db.commit(&Batch { labels, rows, ..Batch::default() }, &mut Committed::default()).unwrap();
    assert!(db.head().late_time_range().is_some());
    db.maintain().unwrap();
    let cut = disk.after_power_cut(Tear::Lost);
    let with_saved = minutes(&open(&cut, 600));
    let again = cut.after_power_cut(Tear::Kept);
    again.remove(Path::new("/data/pyrope/head")).unwrap();
    assert_eq!(minutes(&open(&again, 600)), with_saved);
}

#[test]
fn years_without_samples_make_no_work() {
    const YEAR: i64 = 365 * 24 * 60;
    let disk = Disk::new();
    let db = open(&disk, 0);
    for minute in [0, 1000 * YEAR, 1000 * YEAR + 1, 2000 * YEAR] {
        commit(&db, minute);
    }
    let before = disk.operations();
    db.maintain().unwrap();
    assert!(disk.operations() - before < 1000, "{} operations", disk.operations() - before);
    assert_eq!(db.stats().blocks, 2);
    assert_eq!(minutes(&db).into_iter().collect::<Vec<_>>(), [0, 1000 * YEAR, 1000 * YEAR + 1, 2000 * YEAR]);
}
