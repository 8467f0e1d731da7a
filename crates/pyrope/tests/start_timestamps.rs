//! `st-storage` from the target's page to the log and to blocks.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use model::{Matcher, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use storage::{Column, Interval, Queryable as _, SelectHints};
use support::exporter::{Exporter, Reply};
use support::{Server, poll};
use tsdb::db::FloatEncoding;
use tsdb::wal::read::SegmentReader;
use tsdb::wal::record;
use tsdb::{Db, Options};

const PAGE: &str =
    "# TYPE jobs counter\njobs_total{kind=\"a\"} $N\njobs_created{kind=\"a\"} 1700000000.25\n# TYPE open gauge\nopen 7\n# EOF\n";
const START: i64 = 1_700_000_000_250;
const ALL: Interval = Interval { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };

#[test]
fn from_created_lines_to_the_log_and_blocks() {
    let exporter = Exporter::start(&[("/metrics", Reply::Page(PAGE.into()))]);
    let config = format!(
        "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\nstorage: {{tsdb: {{chunk_encoding: {{floats: xor2}}}}}}\nscrape_configs:\n  - job_name: j\n    static_configs: [{{targets: ['{}']}}]\n",
        exporter.address
    );
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let count = |server: &Server| {
        let answer = server.query("sum(count_over_time(jobs_total[1h]))", None);
        answer["result"].get(0).map_or(0, |sum| sum["value"][1].as_str().unwrap().parse::<usize>().unwrap())
    };

    let server = Server::start_with(folder.path(), &config, &["--enable-feature=st-storage"]);
    poll("two scrapes", || count(&server), |count| *count >= 2);
    server.kill();
    let kinds = kinds_in_log(&data);
    assert!(kinds.contains("samples_v2") && !kinds.contains("samples"), "{kinds:?}");

    let server = Server::start_with(folder.path(), &config, &["--enable-feature=st-storage"]);
    let replayed = count(&server);
    assert!(replayed >= 2);
    poll("a scrape after the restart", || count(&server), |count| *count > replayed);
    assert_eq!(server.query("count({__name__=~\".+_created\"})", None)["result"].as_array().map(Vec::len), Some(0));
    assert_eq!(server.terminate(), Some(0));

    let db = open(&data);
    let held = starts(&db, "jobs_total");
    assert!(held.len() > replayed && held.iter().all(|start| *start == START), "{held:?}");
    assert!(starts(&db, "open").iter().chain(&starts(&db, "up")).all(|start| *start == 0));
    let snapshot = folder.path().join("snapshot");
    db.snapshot(&snapshot, true).unwrap();
    db.close().unwrap();

    let blocks = open(&snapshot);
    assert_eq!(starts(&blocks, "jobs_total"), held);
    blocks.close().unwrap();
}

fn kinds_in_log(data: &Path) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(data.join("wal")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let read = SegmentReader::new().each(&path, &std::fs::read(&path).unwrap(), |found| {
                kinds.insert(record::kind(found.bytes).unwrap().name());
            });
            read.unwrap();
        }
    }
    kinds
}

fn open(dir: &Path) -> Arc<Db> {
    let mut options = Options::new(dir);
    options.background = false;
    options.start_timestamps = true;
    options.settings.float_encoding = FloatEncoding::Xor2;
    Db::open(options).unwrap()
}

/// The start of each sample of the only series with this name, 0 for none.
fn starts(db: &Db, name: &str) -> Vec<i64> {
    let selection = db.select(ALL, &[Matcher::equal("__name__", name)], &SelectHints::default()).unwrap();
    assert_eq!((selection.series.len(), selection.warnings), (1, Vec::new()), "{name}");
    let mut column = Column::default();
    selection.series[0].decode(ALL, &mut column).unwrap();
    if column.starts.is_empty() { vec![0; column.len()] } else { column.starts }
}
