//! Opening a data directory: the lock, torn ends, missing parts, and what is refused untouched.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use std::path::Path;
use storage::{Appender, Batch, CommitError, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use tsdb::{Db, OpenError, Options};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };

fn sample(n: u32, time: i64) -> Batch {
    Batch {
        labels: vec![Labels::from_pairs([("__name__", "m"), ("n", n.to_string().as_str())])],
        rows: vec![Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(1.0) }],
        ..Batch::default()
    }
}

fn write(dir: &Path, series: std::ops::Range<u32>) {
    let db = Db::open(Options::new(dir)).unwrap();
    for n in series {
        db.commit(&sample(n, i64::from(n)), &mut Committed::default()).unwrap();
    }
    db.close().unwrap();
}

fn series_count(db: &Db) -> usize {
    db.select(ALL, &[], &SelectHints::default()).unwrap().series.len()
}

#[test]
fn a_second_opener_is_refused_and_the_lock_ends_with_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(Options::new(dir.path())).unwrap();
    let error = Db::open(Options::new(dir.path())).err().unwrap();
    assert_eq!(error.to_string(), "lock DB directory: resource temporarily unavailable");
    db.close().unwrap();
    assert!(matches!(db.commit(&sample(1, 1), &mut Committed::default()), Err(CommitError::NotReady)));
    drop(Db::open(Options::new(dir.path())).unwrap());
    assert!(!dir.path().join("lock").exists());
}

#[test]
fn a_torn_end_costs_only_the_torn_record() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..10);
    let segment = dir.path().join("wal/00000000");
    let content = std::fs::read(&segment).unwrap();
    for cut in 1..60 {
        std::fs::write(&segment, &content[..content.len() - cut]).unwrap();
        let db = Db::open(Options::new(dir.path())).unwrap();
        let found = series_count(&db);
        assert!((7..10).contains(&found), "{found} series after a cut of {cut} bytes");
        // A series that lost its record is made again, above all refs that the log knows.
        db.commit(&sample(9, 100), &mut Committed::default()).unwrap();
        db.close().unwrap();
        drop(db);
        let again = Db::open(Options::new(dir.path())).unwrap();
        assert_eq!(again.stats().wal_corruptions, 0, "the first start repaired the segment");
        assert!(series_count(&again) >= found);
        drop(again);
        std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
        std::fs::create_dir(dir.path().join("wal")).unwrap();
    }
}

#[test]
fn a_log_without_its_beginning_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..10);
    let db = Db::open(Options::new(dir.path())).unwrap();
    db.commit(&sample(1, 1000), &mut Committed::default()).unwrap();
    drop(db);
    std::fs::remove_file(dir.path().join("wal/00000000")).unwrap();
    // It knows the series.
    std::fs::remove_file(dir.path().join("pyrope/head")).unwrap();
    let before = std::fs::read(dir.path().join("wal/00000001")).unwrap();
    let error = Db::open(Options::new(dir.path())).err().unwrap();
    assert!(matches!(error, OpenError::SeriesMissing { samples: 1, series: 1, .. }), "{error}");
    assert_eq!(std::fs::read(dir.path().join("wal/00000001")).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path().join("wal")).unwrap().count(), 1);
}

/// A directory of runs that each began a segment and added a sample to each series; `new_in` is the run that saw one more series first.
fn of_runs(dir: &Path, runs: i64, new_in: i64) {
    for run in 0..runs {
        let db = Db::open(Options::new(dir)).unwrap();
        for n in 0..if run < new_in { 5 } else { 6 } {
            db.commit(&sample(n, run * 1000), &mut Committed::default()).unwrap();
        }
        db.close().unwrap();
    }
    std::fs::remove_file(dir.join("pyrope/head")).unwrap();
}

#[test]
fn a_missing_segment_costs_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    of_runs(dir.path(), 5, 9);
    for missing in [1, 3] {
        std::fs::remove_file(dir.path().join(format!("wal/{missing:08}"))).unwrap();
    }
    for (start, corruptions) in [(0, 2), (1, 0)] {
        let db = Db::open(Options::new(dir.path())).unwrap();
        let mut times: Vec<i64> = all(&db).iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        assert_eq!(times, [0, 2000, 4000].map(|time| [time; 5]).concat());
        assert_eq!(db.stats().wal_corruptions, corruptions, "start {start}");
        // Prometheus wants each number to be there.
        for segment in 0..6 {
            assert!(dir.path().join(format!("wal/{segment:08}")).exists());
        }
    }
}

#[test]
fn a_missing_segment_that_named_series_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    of_runs(dir.path(), 4, 1);
    std::fs::remove_file(dir.path().join("wal/00000001")).unwrap();
    let before = contents(dir.path());
    let error = Db::open(Options::new(dir.path())).err().unwrap();
    assert!(matches!(error, OpenError::SeriesMissing { samples: 2, series: 1, .. }), "{error}");
    assert!(error.to_string().contains("wal/00000002"), "{error}");
    assert!(contents(dir.path()).into_iter().filter(|(path, _)| !path.ends_with("lock")).eq(before));
    // The way out that it names.
    for segment in 2..4 {
        std::fs::remove_file(dir.path().join(format!("wal/{segment:08}"))).unwrap();
    }
    assert_eq!(series_count(&Db::open(Options::new(dir.path())).unwrap()), 5);
}

#[test]
fn refs_that_any_record_names_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let mut records = tsdb::wal::Records::new();
    records.add(|bytes| tsdb::wal::record::TombstonesEncoder::start(bytes).push(storage::SeriesRef(41), 0, 1));
    let wal =
        tsdb::wal::Wal::create(std::sync::Arc::new(world::RealFiles), &dir.path().join("wal"), tsdb::wal::Options::default()).unwrap();
    wal.log(&records).unwrap();
    drop(wal);
    let db = Db::open(Options::new(dir.path())).unwrap();
    assert_eq!(db.head().last_ref().0, 41);
}

/// Every file's bytes.
fn contents(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Option<Vec<u8>>> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.insert(path.clone(), std::fs::read(&path).ok());
        }
    }
    found
}

fn all(db: &Db) -> Vec<(Labels, i64)> {
    let mut found = Vec::new();
    db.each_series::<tsdb::compact::CompactError>(
        ALL,
        |_| true,
        |labels, samples| {
            found.extend(samples.iter().map(|sample| (labels.clone(), sample.time)));
            Ok(())
        },
    )
    .unwrap();
    found
}

#[test]
fn a_directory_is_read_while_it_is_written_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options { background: false, min_block_ms: 1000, max_block_ms: 1000, ..Options::new(dir.path()) };
    options.settings.out_of_order_window_ms = 100_000;
    let db = Db::open(options.clone()).unwrap();
    let mut want = Vec::new();
    // More than a chunk, in a block and in the head, and late ones.
    for (n, times) in [(1, (0..4000).step_by(2)), (1, (1..4000).step_by(400)), (2, (0..4000).step_by(100))] {
        for time in times {
            db.commit(&sample(n, time), &mut Committed::default()).unwrap();
            want.push((sample(n, 0).labels[0].clone(), time));
        }
    }
    want.sort();
    for _ in 0..2 {
        // The log's queue is written before a commit is answered, chunks are replayed from it.
        let before = contents(dir.path());
        let reader = Db::open_read_only(options.clone()).unwrap();
        assert_eq!(all(&reader), want);
        assert!(matches!(reader.commit(&sample(1, 10_000), &mut Committed::default()), Err(CommitError::NotReady)));
        assert_eq!(series_count(&reader), 2);
        drop(reader);
        assert!(contents(dir.path()) == before, "reading changed the directory");
        db.maintain().unwrap();
        assert!(db.stats().blocks > 0);
    }
}

#[test]
fn nothing_is_made_where_there_is_nothing_to_read() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Db::open_read_only(Options::new(dir.path().join("none"))).is_err());
    let empty = Db::open_read_only(Options::new(dir.path())).unwrap();
    assert_eq!(series_count(&empty), 0);
    drop(empty);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
