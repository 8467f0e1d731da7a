//! The way back: what Pyrope leaves, killed or stopped, is read by Prometheus and by promtool.
//!
//! The programs are those that `PROMETHEUS` and `PROMTOOL` name, else those on the `PATH`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::exporter::{Exporter, Reply};
use support::remote_write::Sender;
use support::samples::{Samples, assert_kept, dumped, merge, shown};
use support::{Server, free_port, poll, skipped};

#[test]
fn promtool_dumps_every_acknowledged_sample() {
    let Some(promtool) = program("PROMTOOL", "promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (run, stop) in [Stop::Kill, Stop::Orderly].into_iter().enumerate() {
        let acknowledged = runs(folder.path(), run, stop);
        let copy = copy_of(&folder.path().join("data"));
        let output = Command::new(&promtool).args(["tsdb", "dump"]).arg(copy.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_kept(&acknowledged, &dumped(&String::from_utf8(output.stdout).unwrap()));
    }
}

#[test]
fn prometheus_goes_on_with_every_acknowledged_sample() {
    let Some(prometheus) = program("PROMETHEUS", "prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (run, stop) in [Stop::Kill, Stop::Orderly].into_iter().enumerate() {
        let acknowledged = runs(folder.path(), run, stop);
        let copy = copy_of(&folder.path().join("data"));
        let config = copy.path().join("empty.yml");
        std::fs::write(&config, "").unwrap();
        let port = free_port();
        let mut command = Command::new(&prometheus);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", copy.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let server = Server::spawn(folder.path(), port, command);
        assert_kept(&acknowledged, &shown(&server));
        let page = server.get("/metrics").text();
        let corruptions = page.lines().find(|line| line.starts_with("prometheus_tsdb_wal_corruptions_total "));
        assert_eq!(corruptions, Some("prometheus_tsdb_wal_corruptions_total 0"));
    }
}

#[derive(Clone, Copy)]
enum Stop {
    Kill,
    Orderly,
}

/// Starts, appends and is killed; starts again, appends, and ends this way. All that has been acknowledged.
fn runs(folder: &Path, number: usize, stop: Stop) -> Samples {
    let exporter = Exporter::start(&[(
        "/metrics",
        Reply::Page("# TYPE requests counter\nrequests $N\nodd{a=\"b c\"} 0.1\nnone NaN\nmost +Inf\n".into()),
    )]);
    let config = format!(
        "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\n\
         scrape_configs: [{{job_name: a, static_configs: [{{targets: ['{}']}}]}}]\n",
        exporter.address
    );
    let mut acknowledged = Samples::new();
    for (part, stop) in [Stop::Kill, stop].into_iter().enumerate() {
        let server = Server::start(folder, &config);
        let sender = Sender::start(&server.address, &format!("written_{number}_{part}"));
        sender.wait_for(200);
        let instance = &exporter.address;
        let of_target = || server.query(&format!("requests{{instance=\"{instance}\"}}"), None);
        poll("a scrape", of_target, |data| !data["result"].as_array().unwrap().is_empty());
        merge(&mut acknowledged, shown(&server));
        match stop {
            Stop::Kill => server.kill(),
            Stop::Orderly => assert_eq!(server.terminate(), Some(0)),
        }
        merge(&mut acknowledged, sender.acknowledged());
    }
    acknowledged
}

/// The program to use, or a visible word that there is none.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let on_path = || {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    let found = named.or_else(on_path);
    if found.is_none() {
        skipped(&format!("no {name} on the PATH; name one with {variable}"));
    }
    found
}

/// As it is on the disk, without the lock's meaning: nobody has the copy open.
fn copy_of(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(data.join(".")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    copy
}
