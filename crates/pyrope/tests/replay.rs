//! The real binary while it replays its log.
//!
//! The replay is held by a segment that is a pipe: it is opened like a file, but that lasts until somebody opens its other end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::path::{Path, PathBuf};
use support::exporter::{Exporter, Reply};
use support::remote_write::{Sender, labels, now_ms, write};
use support::samples::{Samples, assert_kept, shown};
use support::{Server, Signal, command, free_port, get, poll};

/// A pipe in place of an empty segment behind all others.
struct Held {
    segment: PathBuf,
    /// Another name of the pipe, and an empty file.
    pipe: PathBuf,
    empty: PathBuf,
    number: u64,
}

impl Held {
    fn new(folder: &Path) -> Self {
        let wal = folder.join("data/wal");
        let numbers = std::fs::read_dir(&wal).unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok());
        let number = numbers.max().unwrap() + 1;
        let held = Self { segment: wal.join(format!("{number:08}")), pipe: folder.join("pipe"), empty: folder.join("empty"), number };
        mknodat(CWD, &held.segment, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::fs::hard_link(&held.segment, &held.pipe).unwrap();
        std::fs::write(&held.empty, "").unwrap();
        held
    }

    /// Makes the segment the empty file that it stands for, and lets go whoever waits for it until `passed`.
    ///
    /// Once would not do: what the server says of its replay it says before it opens the segment, so that it may come to
    /// the pipe only now. And the other end alone, opened for writing, would wait for a reader that may never come.
    fn release(&self, mut passed: impl FnMut() -> bool) {
        std::fs::rename(&self.empty, &self.segment).unwrap();
        let both_ends = || drop(std::fs::File::options().read(true).write(true).open(&self.pipe).unwrap());
        poll(
            "the server to pass the pipe",
            || {
                both_ends();
                passed()
            },
            |passed| *passed,
        );
    }
}

/// A folder of a server that was killed, what it had acknowledged, and the next one, held in its replay.
fn held(folder: &Path, config: &str) -> (Samples, Held, Server) {
    let server = Server::start(folder, config);
    let sender = Sender::start(&server.address, "written");
    sender.wait_for(20);
    server.kill();
    let acknowledged = sender.acknowledged();
    let held = Held::new(folder);
    let port = free_port();
    let server = Server::begin(folder, port, command(folder, port));
    let replay = || get(&server.address, "/api/v1/status/walreplay").map(|answer| answer.json()["data"].clone());
    let behind = |number: u64| serde_json::json!({"min": 0, "max": number, "current": number - 1});
    poll("the replay to come to the pipe", replay, |replay| *replay == Some(behind(held.number)));
    (acknowledged, held, server)
}

#[test]
fn meanwhile_it_scrapes_and_answers_that_it_is_not_ready() {
    let exporter = Exporter::start(&[("/metrics", Reply::Page("scraped $N\n".into()))]);
    let config =
        format!("scrape_configs: [{{job_name: j, scrape_interval: 100ms, static_configs: [{{targets: ['{}']}}]}}]\n", exporter.address);
    let folder = tempfile::tempdir().unwrap();
    let (acknowledged, held, server) = held(folder.path(), &config);
    for path in ["/-/ready", "/api/v1/query?query=up", "/api/v1/query_range?query=up&start=0&end=1&step=1", "/api/v1/labels"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (503, "Service Unavailable"), "{path}");
        assert_eq!(answer.header("X-Prometheus-Stopping"), Some("false"), "{path}");
    }
    assert_eq!(server.get("/-/healthy").status, 200);
    let sample: Samples = [(labels("refused", &[]), [(now_ms(), 0)].into())].into();
    assert_eq!(write(&server.address, &sample), Some(503));
    let before = exporter.count("/metrics");
    poll("two more scrapes", || exporter.count("/metrics"), |count| *count > before + 2);
    assert_eq!(server.get("/-/ready").status, 503);

    held.release(|| server.ready());
    let shown = shown(&server);
    assert_kept(&acknowledged, &shown);
    let scraped = shown.iter().filter(|(labels, _)| labels["__name__"] == "scraped").flat_map(|(_, points)| points.values());
    let values: Vec<u64> = scraped.map(|bits| f64::from_bits(*bits) as u64).collect();
    assert!(values.contains(&(before + 1)), "what was scraped meanwhile is there: {values:?}");
    assert!(!shown.contains_key(&labels("refused", &[])));
}

#[test]
fn it_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (acknowledged, held, mut server) = held(folder.path(), "");
    server.signal(Signal::TERM);
    poll("the listener to close", || get(&server.address, "/-/healthy").is_some(), |answered| !answered);
    let mut ended = None;
    held.release(|| {
        ended = server.ended();
        ended.is_some()
    });
    assert_eq!(ended, Some(0));

    let server = Server::start(folder.path(), "");
    assert_kept(&acknowledged, &shown(&server));
    assert_eq!(server.terminate(), Some(0));
}
