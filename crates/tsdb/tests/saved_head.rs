//! What is saved of the head, now and then and by a clean stop: used where it fits the directory, and nowhere else.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use storage::{Appender, Batch, Column, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints, SeriesRef};
use testkit::disk::{Disk, Fault, Tear};
use tsdb::wal::record::SamplesEncoder;
use tsdb::wal::{Records, Wal};
use tsdb::{Db, Options};
use world::Files as _;

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const SERIES: u32 = 30;
const HOUR: i64 = 3_600_000;

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

/// A directory of a database that was killed some scrapes after it was last saved, and what it held.
fn killed(dir: &Path) -> (Samples, u64) {
    let run = tempfile::tempdir().unwrap();
    let db = Db::open(options(run.path())).unwrap();
    append(&db, 0..150);
    db.delete(Interval { start: Timestamp(10_000), end: Timestamp(20_000) }, &[vec![]]).unwrap();
    db.maintain().unwrap();
    append(&db, 150..300);
    db.maintain().unwrap();
    append(&db, 300..310);
    let found = (samples(&db), db.head().last_ref().0);
    assert_eq!(found.0[0].1.len(), 299);
    copy(run.path(), dir);
    found
}

#[test]
fn after_a_kill_only_the_end_of_the_log_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let want = killed(dir.path());
    let all = segments(dir.path());
    assert!(all.len() > 2);
    for segment in &all[..all.len() - 1] {
        let len = std::fs::metadata(segment).unwrap().len();
        std::fs::write(segment, vec![0xff; usize::try_from(len).unwrap()]).unwrap();
    }
    for _ in 0..2 {
        let again = tempfile::tempdir().unwrap();
        copy(dir.path(), again.path());
        let db = Db::open(options(again.path())).unwrap();
        assert_eq!((samples(&db), db.head().last_ref().0), want);
        assert_eq!(db.stats().wal_corruptions, 0);
        // Killed again before anything is saved.
        copy(again.path(), dir.path());
    }
}

/// Times in minutes: `old` has samples until it is in a block and gone, then again under another ref.
fn with_two_refs(dir: &Path) -> Samples {
    let run = tempfile::tempdir().unwrap();
    let db = Db::open(options(run.path())).unwrap();
    let commit = |name: &str, minute: i64| {
        let labels = vec![Labels::from_pairs([("__name__", name)])];
        let (timestamp, value) = (Timestamp(minute * 60_000), RowValue::Float(minute as f64));
        let rows = vec![Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp, value }];
        db.commit(&Batch { labels, rows, ..Batch::default() }, &mut Committed::default()).unwrap();
    };
    commit("old", 0);
    (0..250).for_each(|minute| commit("other", minute));
    db.maintain().unwrap();
    assert_eq!(db.head().stats().series_count, 1);
    commit("old", 250);
    db.maintain().unwrap();
    commit("other", 251);
    let found = samples(&db);
    copy(run.path(), dir);
    found
}

#[test]
fn another_program_that_used_another_ref_makes_it_void() {
    let dir = tempfile::tempdir().unwrap();
    let mut want = with_two_refs(dir.path());
    // To whoever reads the log from its beginning the first ref is that of the series.
    let files: Arc<dyn world::Files> = options(dir.path()).files;
    let log = Wal::create(files, &dir.path().join("wal"), Default::default()).unwrap();
    let mut records = Records::new();
    records.add(|bytes| SamplesEncoder::start(bytes).push(SeriesRef(1), 252 * 60_000, 7.0));
    log.log(&records).unwrap();
    drop(log);
    want[0].1.push(252 * 60_000);
    want[0].2.push(7.0);
    let db = Db::open(options(dir.path())).unwrap();
    assert_eq!(samples(&db), want);
    assert!(!dir.path().join("pyrope/head").exists());
}

/// A directory of a database that was killed after its log got a checkpoint, and the hours of samples that it has seen.
fn with_checkpoint(dir: &Path) -> i64 {
    let run = tempfile::tempdir().unwrap();
    let db = Db::open(options(run.path())).unwrap();
    let mut hours = 0;
    while checkpoints(run.path()).is_empty() {
        assert!(hours < 40, "no checkpoint");
        append_hour(&db, hours);
        hours += 1;
    }
    append(&db, hours * 14_400..hours * 14_400 + 10);
    copy(run.path(), dir);
    hours
}

/// Four hours of samples, one a minute, and what is due then.
fn append_hour(db: &Db, hour: i64) {
    (0..240).map(|minute| hour * 14_400 + minute * 60).for_each(|second| append(db, second..second + 1));
    db.maintain().unwrap();
}

fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    segments(dir).into_iter().filter(|path| path.is_dir()).collect()
}

#[test]
fn a_checkpoint_that_is_gone_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    with_checkpoint(dir.path());
    let whole = tempfile::tempdir().unwrap();
    copy(dir.path(), whole.path());
    let want = samples(&Db::open(options(whole.path())).unwrap());
    for path in checkpoints(dir.path()) {
        std::fs::remove_dir_all(path).unwrap();
    }
    let db = Db::open(options(dir.path())).unwrap();
    assert_eq!(samples(&db), want);
}

#[test]
fn damage_that_no_start_saw_does_not_keep_the_log_from_being_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let mut hour = with_checkpoint(dir.path());
    let before = checkpoints(dir.path());
    // In the checkpoint, which names all series, and behind it in front of what a start reads.
    let behind = segments(dir.path()).into_iter().find(|path| path.is_file()).unwrap();
    for path in [before[0].join("00000000"), behind] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let db = Db::open(options(dir.path())).unwrap();
    assert_eq!(db.stats().wal_corruptions, 0);
    hour += 1;
    while checkpoints(dir.path()) == before {
        assert!(hour < 80, "no checkpoint");
        append_hour(&db, hour);
        hour += 1;
    }
    append(&db, hour * 14_400..hour * 14_400 + 10);
    assert_eq!((db.stats().wal_corruptions, db.stats().checkpoints_failed), (2, 0));
    assert_eq!(std::fs::read_dir(dir.path().join("pyrope/damaged")).unwrap().count(), 2);
    // The log by itself has all that is not in blocks, and the names of its series.
    let want = samples(&db);
    let killed = tempfile::tempdir().unwrap();
    copy(dir.path(), killed.path());
    std::fs::remove_file(killed.path().join("pyrope/head")).unwrap();
    assert_eq!(samples(&Db::open(options(killed.path())).unwrap()), want);
}

#[test]
fn a_block_that_cannot_be_read_makes_it_void() {
    let dir = tempfile::tempdir().unwrap();
    let run = tempfile::tempdir().unwrap();
    let db = Db::open(options(run.path())).unwrap();
    append_hour(&db, 0);
    db.delete(Interval { start: Timestamp(60_000), end: Timestamp(120_000) }, &[vec![]]).unwrap();
    assert_eq!(db.stats().blocks, 1);
    db.maintain().unwrap();
    let want = samples(&db);
    copy(run.path(), dir.path());
    // What is a folder cannot be read as a file, which is no damage of the file's.
    let block = db.block_metas()[0].ulid.to_string();
    let (index, aside) = (dir.path().join(block).join("index"), dir.path().join("index"));
    std::fs::rename(&index, &aside).unwrap();
    std::fs::create_dir(&index).unwrap();
    let db = Db::open(options(dir.path())).unwrap();
    assert_eq!(db.stats().blocks, 0);
    let times = |found: &Samples| found[0].1.clone();
    let (seen, wanted) = (times(&samples(&db)), times(&want));
    assert!(wanted.iter().all(|time| seen.contains(time)), "{} of {} samples", seen.len(), wanted.len());
    drop(db);
    std::fs::remove_dir(&index).unwrap();
    std::fs::rename(&aside, &index).unwrap();
    assert_eq!(samples(&Db::open(options(dir.path())).unwrap()), want);
}

/// Each commit of a writer has a sample of a series of its own, and one of a series that is new every tenth time.
#[test]
fn what_is_committed_while_it_is_saved_is_found_after_a_kill() {
    const WRITERS: usize = 2;
    let disk = Disk::new();
    let options = |disk: &Disk| Options { files: Arc::new(disk.clone()), no_lockfile: true, ..options(Path::new("/data")) };
    let db = Db::open(options(&disk)).unwrap();
    let acknowledged: [AtomicI64; WRITERS] = Default::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let (db, stop, writer) = (&db, &stop, writer.to_string());
            scope.spawn(move || {
                for time in 1.. {
                    let fresh = (time / 10).to_string();
                    let labels = vec![
                        Labels::from_pairs([("__name__", "own"), ("writer", &*writer)]),
                        Labels::from_pairs([("__name__", "new"), ("fresh", &*fresh), ("writer", &*writer)]),
                    ];
                    let value = RowValue::Float(time as f64);
                    let row = |at| Row { series: RowSeries::Labels(at), start: Timestamp(0), timestamp: Timestamp(time), value };
                    let batch = Batch { labels, rows: vec![row(0), row(1)], ..Batch::default() };
                    db.commit(&batch, &mut Committed::default()).unwrap();
                    acknowledged.store(time, Ordering::Release);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for round in 0..12 {
            db.maintain().unwrap();
            let expected = acknowledged.each_ref().map(|acknowledged| acknowledged.load(Ordering::Acquire));
            let found = samples(&Db::open(options(&disk.after_power_cut(Tear::Kept))).unwrap());
            for (writer, expected) in expected.iter().enumerate() {
                for name in ["own", "new"] {
                    let of_writer =
                        |labels: &Labels| labels.get("__name__") == Some(name) && labels.get("writer") == Some(&writer.to_string());
                    let series = found.iter().filter(|(labels, ..)| of_writer(labels));
                    let mut times: Vec<i64> = series.flat_map(|(_, times, _)| times.iter().copied()).collect();
                    times.sort_unstable();
                    assert!(times.len() as i64 >= *expected, "round {round}: {name} has {} of {expected}", times.len());
                    assert!(times.iter().copied().eq(1..=times.len() as i64), "round {round}: {name} has gaps");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_one_is_not_used(at in any::<prop::sample::Index>(), cut in any::<bool>(), clean in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let want = if clean { made(dir.path()) } else { killed(dir.path()) };
        let path = dir.path().join("pyrope/head");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 }
        std::fs::write(&path, bytes).unwrap();
        let db = Db::open(options(dir.path())).unwrap();
        prop_assert_eq!((samples(&db), db.head().last_ref().0), want);
    }
}

/// A disk after a kill that holds a series of late samples only, of which the last came after the head was saved; with the file of the late log
/// as it was before that one.
fn killed_with_late_samples() -> (Disk, PathBuf, Vec<u8>) {
    let disk = Disk::new();
    let db = Db::open(late_options(&disk)).unwrap();
    commit(&db, "newest", 10 * HOUR, 1.0);
    commit(&db, "late", 8 * HOUR, 1.0);
    db.maintain().unwrap();
    let wbl = disk.paths().into_iter().rfind(|path| path.starts_with("/data/wbl")).unwrap();
    let before = disk.read(&wbl).unwrap();
    commit(&db, "late", 7 * HOUR, 1.0);
    assert_eq!(samples(&db)[0].1, [7 * HOUR, 8 * HOUR]);
    disk.set_fault(Some(Fault::PowerOff(disk.operations())));
    drop(db);
    (disk.after_power_cut(Tear::Kept), wbl, before)
}

fn late_options(disk: &Disk) -> Options {
    let mut options = options(Path::new("/data"));
    options.files = Arc::new(disk.clone());
    options.no_lockfile = true;
    options.settings.out_of_order_window_ms = 6 * HOUR;
    options
}

fn commit(db: &Db, name: &str, time: i64, value: f64) {
    let labels = vec![Labels::from_pairs([("__name__", name)])];
    let row = Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(value) };
    let mut result = Committed::default();
    db.commit(&Batch { labels, rows: vec![row], ..Batch::default() }, &mut result).unwrap();
    assert_eq!((result.stored, &*result.refused), (1, &[][..]));
}

/// What is found with the saved head, whether it was used, and what is found without.
fn with_and_without(disk: &Disk) -> (Samples, bool, Samples) {
    let opened = |disk: &Disk| {
        let db = Db::open(late_options(disk)).unwrap();
        let found = samples(&db);
        disk.set_fault(Some(Fault::PowerOff(disk.operations())));
        (found, disk.after_power_cut(Tear::Kept))
    };
    let (with, after) = opened(disk);
    // It is removed where it cannot be used.
    let used = after.paths().contains(&PathBuf::from("/data/pyrope/head"));
    if used {
        after.remove(Path::new("/data/pyrope/head")).unwrap();
    }
    (with, used, opened(&after).0)
}

#[test]
fn late_samples_behind_it_are_found_as_in_the_whole_log() {
    let (disk, ..) = killed_with_late_samples();
    let (with, used, without) = with_and_without(&disk);
    assert_eq!(with[0].1.len(), 2);
    assert!(used);
    assert_eq!(with, without);
}

#[test]
fn a_late_sample_that_a_power_cut_left_in_one_log_is_found_always_or_never() {
    let (disk, wbl, before) = killed_with_late_samples();
    disk.put(&wbl, before);
    let (with, _, without) = with_and_without(&disk);
    assert_eq!(with, without);
}

/// The series with the newest sample goes, and a start does not know of it any more: what came late before may come in order now.
#[test]
fn what_comes_after_late_samples_and_is_older_is_found_in_the_whole_log() {
    let disk = Disk::new();
    let mut options = late_options(&disk);
    options.settings.stale_series_threshold = 0.2;
    let db = Db::open(options.clone()).unwrap();
    commit(&db, "newest", 10 * HOUR, 1.0);
    commit(&db, "newest", 10 * HOUR + 1, model::value::STALE_NAN);
    commit(&db, "late", 8 * HOUR, 1.0);
    db.maintain().unwrap();
    assert_eq!(db.head().series_count(), 1);
    disk.set_fault(Some(Fault::PowerOff(disk.operations())));
    drop(db);

    let disk = disk.after_power_cut(Tear::Kept);
    let db = Db::open(late_options(&disk)).unwrap();
    commit(&db, "late", 15 * HOUR / 2, 1.0);
    disk.set_fault(Some(Fault::PowerOff(disk.operations())));
    drop(db);

    let (with, _, without) = with_and_without(&disk.after_power_cut(Tear::Kept));
    for found in [with, without] {
        assert_eq!(found[0].1, [15 * HOUR / 2, 8 * HOUR]);
    }
}
