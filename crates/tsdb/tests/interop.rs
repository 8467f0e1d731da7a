//! What we write, Prometheus's own tools read: `promtool tsdb dump` over a directory of ours, sample by sample.
//!
//! The program is the one that `PROMTOOL` names, else the one on PATH; without any the test says so and passes.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use std::collections::BTreeSet;
use std::process::Command;
use storage::{Appender, Batch, Committed, Row, RowSeries, RowValue};
use tsdb::{Db, Options};

#[test]
fn promtool_dumps_every_sample() {
    let promtool = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    if Command::new(&promtool).arg("--version").output().is_err() {
        eprintln!("skipped: no promtool (set PROMTOOL)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.wal.segment_bytes_max = 64 << 10;
    let mut want = BTreeSet::new();
    let mut result = Committed::default();
    let start = 1_700_000_000_000i64;
    for run in 0..2 {
        let db = Db::open(options.clone()).unwrap();
        for scrape in 0..50i64 {
            let time = start + (run * 50 + scrape) * 15_000;
            let mut batch = Batch::default();
            for n in 0..200u32 {
                let value = f64::from(n) + scrape as f64 / 4.0;
                batch.labels.push(Labels::from_pairs([("__name__", "up"), ("n", n.to_string().as_str())]));
                batch.rows.push(Row {
                    series: RowSeries::Labels(n),
                    start: Timestamp(0),
                    timestamp: Timestamp(time),
                    value: RowValue::Float(value),
                });
                want.insert((n.to_string(), time, value.to_bits()));
            }
            db.commit(&batch, &mut result).unwrap();
            assert_eq!(result.stored, 200);
        }
        // The first run ends like a killed process, the second in order.
        if run == 1 {
            db.close().unwrap();
        }
    }
    let output = Command::new(&promtool).args(["tsdb", "dump"]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        // {__name__="up", n="7"} 7.25 1700000000000
        let (labels, rest) = line.split_once("} ").unwrap();
        let (value, time) = rest.split_once(' ').unwrap();
        let n = labels.split("n=\"").last().unwrap().trim_end_matches('"');
        found.insert((n.to_owned(), time.parse().unwrap(), value.parse::<f64>().unwrap().to_bits()));
    }
    assert_eq!(found, want);
}
