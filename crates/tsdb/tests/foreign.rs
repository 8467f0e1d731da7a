//! Whole directories that Prometheus left behind after a SIGKILL: opened, counted as Prometheus counts them, closed and opened again.
//!
//! The data is at `PYROPE_CONFORMANCE`, else beside the workspace; without it the tests say so and pass.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::Timestamp;
use std::path::{Path, PathBuf};
use storage::{Column, Interval, Queryable, SelectHints};
use tsdb::{Db, Options};

const HOUR_MS: i64 = 3_600_000;

fn data(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("PYROPE_CONFORMANCE").map(PathBuf::from);
    let candidates = named.into_iter().chain([root.join("../shared/conformance"), root.join("shared/conformance")]);
    let found = candidates.map(|folder| folder.join("tsdb")).find(|folder| folder.join(name).is_dir());
    if found.is_none() {
        eprintln!("skipped: no conformance data for {name}");
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { _ = std::fs::copy(entry.path(), target).unwrap() }
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn options(dir: &Path, window_ms: i64) -> Options {
    let mut options = Options::new(dir);
    options.background = false;
    options.settings.out_of_order_window_ms = window_ms;
    options.settings.exemplars_max = 100_000;
    options
}

/// Series, floats and histograms in the window that ends at `end` and is open at its beginning.
fn count(db: &Db, end: i64, width_ms: i64) -> (u64, u64, u64) {
    let range = Interval { start: Timestamp(end - width_ms + 1), end: Timestamp(end) };
    let selection = db.select(range, &[], &SelectHints::default()).unwrap();
    assert!(selection.warnings.is_empty(), "{:?}", selection.warnings);
    let (mut series_count, mut floats, mut histograms) = (0, 0, 0);
    let mut column = Column::default();
    for series in selection.series {
        column.clear();
        series.decode(range, &mut column).unwrap();
        let stale = column.values.iter().zip(0u32..).filter(|(value, at)| {
            // A range selector passes over staleness markers.
            model::value::is_stale(**value) && column.histograms.binary_search_by_key(at, |(at, _)| *at).is_err()
        });
        let stale_floats = stale.count();
        let stale_histograms = column.histograms.iter().filter(|(_, histogram)| model::value::is_stale(histogram.sum)).count();
        let (mine, of_them) = (column.len() - stale_floats - stale_histograms, column.histograms.len() - stale_histograms);
        series_count += u64::from(mine > 0);
        histograms += of_them as u64;
        floats += (mine - of_them) as u64;
    }
    (series_count, floats, histograms)
}

fn opens_as_recorded(name: &str, window_ms: i64) {
    let Some(root) = data(name) else { return };
    let folder = tempfile::tempdir().unwrap();
    copy(&root.join(name).join("data"), folder.path());
    let answers = json(&root.join(name).join("answers.json"));
    let head = &answers["head_stats_after_replay"];
    let recorded = &json(&root.join("damage.json"))["dirs"][name];
    let mut last = None;
    for opening in 0..3 {
        let db = Db::open(options(folder.path(), window_ms)).unwrap();
        let stats = db.stats();
        assert_eq!(stats.wal_corruptions, 0);
        assert_eq!(stats.wal_unknown_records, 0);
        assert_eq!(stats.head.series_count as u64, head["numSeries"].as_u64().unwrap(), "series of opening {opening}");
        let times = db.head().time_range().unwrap();
        // Prometheus's least time counts out-of-order samples of the log, too, which it does not take from there.
        assert!(times.0 >= head["minTime"].as_i64().unwrap(), "{times:?} of opening {opening}");
        assert_eq!(times.1, head["maxTime"].as_i64().unwrap(), "opening {opening}");
        let end = recorded["time"].as_i64().map_or(times.1, |time| time * 1000);
        for (label, width) in [("10h", 10 * HOUR_MS), ("1h", HOUR_MS)] {
            let Some(window) = recorded["undamaged"][label].as_object() else { continue };
            let want = ["series", "samples", "histograms"].map(|field| window[field].as_u64().unwrap());
            let (series, floats, histograms) = count(&db, end, width);
            assert_eq!([series, floats, histograms], want, "{label} of opening {opening}");
        }
        let found = (count(&db, end, 100 * HOUR_MS), db.head().last_ref());
        assert!(last.is_none_or(|last| last == found), "opening {opening}: {found:?}, before {last:?}");
        last = Some(found);
        // One end in order, and one without.
        if opening == 0 {
            db.close().unwrap();
        }
    }
}

#[test]
fn a_directory_of_2_42() {
    opens_as_recorded("data_a", 30 * 60_000);
}

#[test]
fn a_directory_of_3_14() {
    opens_as_recorded("data_c", 6 * HOUR_MS);
}

#[test]
fn a_directory_of_3_14_in_its_newest_formats() {
    opens_as_recorded("data_e", 5 * HOUR_MS);
}
