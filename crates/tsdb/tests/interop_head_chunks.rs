//! Files of head chunks that we write, Prometheus's own tools read, also one that a killed process left half written.
//!
//! The program is the one that `PROMTOOL` names, else the one on PATH; without any the test says so and passes.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use storage::{Appender, Batch, Committed, Row, RowSeries, RowValue, SeriesRef};
use tsdb::chunk::{EncodeOptions, Sample, Value, encode};
use tsdb::head::mapped::{Mapped, ToWrite};
use tsdb::{Db, Options};

const START: i64 = 1_700_000_000_000;

/// A log in which all values are 1, and chunks of the same samples in which they are 42.
fn write(dir: &Path) {
    let db = Db::open(Options::new(dir)).unwrap();
    let mut result = Committed::default();
    for at in 0..20 {
        let labels = vec![Labels::from_pairs([("__name__", "m")])];
        let (series, start, value) = (RowSeries::Labels(0), Timestamp(0), RowValue::Float(1.0));
        let rows = vec![Row { series, start, timestamp: Timestamp(START + at * 1000), value }];
        db.commit(&Batch { labels, rows, ..Batch::default() }, &mut result).unwrap();
    }
    db.close().unwrap();
    drop(db);
    let series_ref = result.handles[0].unwrap().series_ref;
    assert_eq!(series_ref, SeriesRef(1));
    let mapped = Mapped::new(Arc::new(world::RealFiles), &dir.join("chunks_head"));
    mapped.load(|_| {}).unwrap();
    let sample = |at: i64| Sample { start: 0, time: START + at * 1000, value: Value::Float(42.0) };
    for from in [0, 5] {
        let samples: Vec<Sample> = (from..from + 5).map(sample).collect();
        for chunk in encode(&samples, &EncodeOptions::default()) {
            let tsdb::chunk::Encoded { min_time, max_time, encoding, ref bytes } = chunk;
            mapped.write(&ToWrite { series_ref, min_time, max_time, encoding, out_of_order: false, bytes }).unwrap().unwrap();
        }
    }
    mapped.sync().unwrap();
}

fn dump(dir: &Path) -> Option<Vec<f64>> {
    let promtool = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    let output = Command::new(&promtool).args(["tsdb", "dump"]).arg(dir).output();
    let Ok(output) = output else {
        eprintln!("skipped: no promtool (set PROMTOOL)");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value = |line: &str| line.split_once("} ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().lines().map(value).collect())
}

#[test]
fn promtool_prefers_the_chunks_to_the_log() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let Some(values) = dump(dir.path()) else { return };
    assert_eq!(values, [vec![42.0; 10], vec![1.0; 10]].concat());
}

#[test]
fn promtool_opens_a_torn_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let path = dir.path().join("chunks_head").join("000001");
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() - 1, whole.len() - 30, whole.len() - 50, 9, 8, 3, 0] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let Some(values) = dump(dir.path()) else { return };
        assert_eq!(values.len(), 20, "cut at {cut}");
        // Nor do we mind.
        let db = Db::open(Options { no_lockfile: true, ..Options::new(dir.path()) }).unwrap();
        assert_eq!(db.head().time_range(), Some((START, START + 19_000)));
        db.close().unwrap();
        drop(db);
        std::fs::remove_dir_all(dir.path().join("chunks_head")).unwrap();
        std::fs::create_dir(dir.path().join("chunks_head")).unwrap();
    }
}
