//! What a clean stop saves of the head: used where it fits the directory, and nowhere else.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use storage::{Appender, Batch, Column, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use tsdb::{Db, Options};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const SERIES: u32 = 30;

fn options(dir: &Path) -> Options {
    Options { background: false, ..Options::new(dir) }
}

fn append(db: &Db, times: std::ops::Range<i64>) {
    for time in times {
        let mut batch = Batch::default();
        for n in 0..SERIES {
            let name = ["a", "b", "c"][n as usize % 3];
            batch.labels.push(Labels::from_pairs([("__name__", name), ("n", n.to_string().as_str()), ("same", "x")]));
            let value = RowValue::Float(time as f64 * f64::from(n));
            batch.rows.push(Row { series: RowSeries::Labels(n), start: Timestamp(0), timestamp: Timestamp(time * 1000), value });
        }
        db.commit(&batch, &mut Committed::default()).unwrap();
    }
}

type Samples = Vec<(Labels, Vec<i64>, Vec<f64>)>;

fn samples(db: &Db) -> Samples {
    let selection = db.select(ALL, &[], &SelectHints { sorted: true, ..SelectHints::default() }).unwrap();
    let decode = |series: &dyn storage::Series| {
        let mut column = Column::default();
        series.decode(ALL, &mut column).unwrap();
        (series.labels().clone(), column.times, column.values)
    };
    selection.series.iter().map(|series| decode(&**series)).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// A directory that was closed in order after 300 scrapes and a deletion, and what it holds.
fn made(dir: &Path) -> (Samples, u64) {
    let db = Db::open(options(dir)).unwrap();
    append(&db, 0..300);
    db.delete(Interval { start: Timestamp(10_000), end: Timestamp(20_000) }, &[vec![]]).unwrap();
    append(&db, 300..310);
    let found = (samples(&db), db.head().last_ref().0);
    assert_eq!(found.0.len(), SERIES as usize);
    assert_eq!(found.0[0].1.len(), 299);
    db.close().unwrap();
    found
}

#[test]
fn a_clean_start_reads_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let want = made(dir.path());
    // The same lengths, so that only a reader notices.
    for segment in segments(dir.path()) {
        let len = std::fs::metadata(&segment).unwrap().len();
        std::fs::write(&segment, vec![0xff; usize::try_from(len).unwrap()]).unwrap();
    }
    let db = Db::open(options(dir.path())).unwrap();
    assert_eq!((samples(&db), db.head().last_ref().0), want);
    assert_eq!(db.stats().wal_corruptions, 0);
}

#[test]
fn a_log_that_grew_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (before, _) = made(dir.path());
    let db = Db::open(options(dir.path())).unwrap();
    append(&db, 310..320);
    let want = samples(&db);
    assert_eq!(want[0].1.len(), before[0].1.len() + 10);
    // As after a SIGKILL.
    let killed = tempfile::tempdir().unwrap();
    copy(dir.path(), killed.path());
    assert_eq!(samples(&Db::open(options(killed.path())).unwrap()), want);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { _ = std::fs::copy(entry.path(), target).unwrap() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_one_is_not_used(at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let want = made(dir.path());
        let path = dir.path().join("pyrope/head");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 }
        std::fs::write(&path, bytes).unwrap();
        let db = Db::open(options(dir.path())).unwrap();
        prop_assert_eq!((samples(&db), db.head().last_ref().0), want);
    }
}
