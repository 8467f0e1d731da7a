//! The way back: what Pyrope leaves, killed or stopped, is read by Prometheus and by promtool. And the way in: what Prometheus leaves, we read.
//!
//! The programs are those that `PROMETHEUS` and `PROMTOOL` name, else those on the `PATH`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::exporter::{Exporter, Reply};
use support::feed::{self, assert_same};
use support::remote_write::{self, Sender};
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

/// Blocks of ten minutes, merged into ones of half an hour; the steps are in the past, so they are made at once.
const BLOCKS: [&str; 3] = ["--storage.tsdb.min-block-duration=10m", "--storage.tsdb.max-block-duration=30m", "--web.enable-admin-api"];
/// What comes late is taken.
const LATE: &str = "storage: {tsdb: {out_of_order_time_window: 1h}}\n";
/// More than a block's worth of steps, with part of the next.
const PART: i64 = 270;

/// A multiple of the steps' and the blocks' width.
fn first_ms() -> i64 {
    (remote_write::now_ms() - 5 * 3_600_000) / 600_000 * 600_000
}

fn start_prometheus(program: &Path, folder: &Path, config: &str) -> Server {
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"])
        .args(BLOCKS);
    Server::spawn(folder, port, command)
}

/// The blocks that are there, once there are that many.
fn wait_for_blocks(data: &Path, count: usize) {
    let blocks = || std::fs::read_dir(data).unwrap().filter(|entry| entry.as_ref().unwrap().path().join("meta.json").is_file()).count();
    poll("blocks", blocks, |found| *found >= count);
}

#[test]
fn prometheus_reads_blocks_histograms_late_samples_and_deletions_of_ours() {
    let Some(prometheus) = program("PROMETHEUS", "prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = first_ms();
    let mut plain = 0;
    for (part, killed) in [true, false, false].into_iter().enumerate() {
        let begin = part as i64 * (PART + 10);
        let server = Server::start_with(folder.path(), LATE, &BLOCKS);
        feed::send(&server.address, first, begin..begin + PART);
        wait_for_blocks(&data, 1);
        // In a block, across blocks and the head, and in the head.
        feed::delete(&server, r#"f{n="1"}"#, first, begin..begin + 20);
        feed::delete(&server, r#"{__name__=~"f|h",n=~"0|2"}"#, first, begin + 100..begin + PART - 60);
        feed::delete(&server, r#"f{n="3"}"#, first, begin + PART - 30..begin + PART - 10);
        feed::send(&server.address, first, begin + PART..begin + PART + 5);
        feed::delete(&server, "gap", first, begin + PART..begin + PART + 2);
        let last = begin + PART + 5;
        let ours = feed::shown(&server, first, last);
        assert_eq!(ours.len(), 16);
        plain = ours.iter().filter(|(labels, _)| labels.contains(r#""f""#)).map(|(_, points)| points.len()).sum();
        if killed {
            server.kill();
        } else {
            assert_eq!(server.terminate(), Some(0));
        }
        let copy = tempfile::tempdir().unwrap();
        copy_to(&data, &copy.path().join("data"));
        let theirs = start_prometheus(&prometheus, copy.path(), LATE);
        assert_same(&format!("part {part}"), &ours, &feed::shown(&theirs, first, last));
        let page = theirs.get("/metrics").text();
        for name in [
            "prometheus_tsdb_wal_corruptions_total",
            "prometheus_tsdb_mmap_chunk_corruptions_total",
            "prometheus_tsdb_reloads_failures_total",
        ] {
            assert_eq!(page.lines().find(|line| line.starts_with(&format!("{name} "))), Some(&*format!("{name} 0")));
        }
        // And we go on with what it makes of that.
        feed::send(&theirs.address, first, last..last + 3);
        let after = feed::shown(&theirs, first, last + 3);
        theirs.kill();
        let again = Server::start_with(copy.path(), LATE, &BLOCKS);
        assert_same(&format!("part {part}, there and back"), &after, &feed::shown(&again, first, last + 3));
    }
    dumps_are_alike(folder.path(), plain);
}

/// What promtool prints of a directory, our tool prints of it; so many samples in all.
fn dumps_are_alike(folder: &Path, count: usize) {
    let Some(promtool) = program("PROMTOOL", "promtool") else { return };
    let copy = copy_of(&folder.join("data"));
    let dump = |mut command: Command| {
        let output = command.args(["tsdb", "dump", r#"--match={__name__="f"}"#]).arg(copy.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let theirs = dump(Command::new(promtool));
    let mut ours = Command::new(env!("CARGO_BIN_EXE_pyrope"));
    ours.arg("tool");
    let ours = dump(ours);
    assert!(theirs.lines().count() > 1000, "{theirs}");
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (theirs, ours) = (sorted(&theirs), sorted(&ours));
    // That of 2.42 leaves out what is in the head and older than the newest block, also where that has late samples only.
    assert!(theirs.is_subset(&ours), "{:?}", theirs.difference(&ours).next());
    assert_eq!(ours.len(), count);
}

#[test]
fn directories_of_prometheus_are_read_with_all_that_is_in_them() {
    let Some(prometheus) = program("PROMETHEUS", "prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = first_ms();
    for (part, killed) in [true, false].into_iter().enumerate() {
        let begin = part as i64 * (PART + 10);
        let server = start_prometheus(&prometheus, folder.path(), LATE);
        feed::send(&server.address, first, begin..begin + PART);
        wait_for_blocks(&data, 1);
        feed::delete(&server, r#"f{n="1"}"#, first, begin..begin + 20);
        feed::delete(&server, r#"{__name__=~"f|h",n=~"0|2"}"#, first, begin + 100..begin + PART - 60);
        feed::send(&server.address, first, begin + PART..begin + PART + 5);
        let last = begin + PART + 5;
        let theirs = feed::shown(&server, first, last);
        assert_eq!(theirs.len(), 16);
        if killed {
            server.kill();
        } else {
            assert_eq!(server.terminate(), Some(0));
        }
        let copy = tempfile::tempdir().unwrap();
        copy_to(&data, &copy.path().join("data"));
        for stopped in 0..2 {
            let ours = Server::start_with(copy.path(), LATE, &BLOCKS);
            assert_same(&format!("part {part}, start {stopped}"), &theirs, &feed::shown(&ours, first, last));
            assert_eq!(ours.terminate(), Some(0));
        }
    }
}

#[test]
fn a_prometheus_killed_in_mid_scrape_leaves_what_we_read() {
    let Some(prometheus) = program("PROMETHEUS", "prometheus") else { return };
    let lines: String = (0..3000).map(|n| format!("busy{{n=\"{n}\"}} $N\n")).collect();
    let exporter = Exporter::start(&[("/metrics", Reply::Page(lines))]);
    let config = format!(
        "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
         scrape_configs: [{{job_name: a, static_configs: [{{targets: ['{}']}}]}}]\n",
        exporter.address
    );
    for round in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let server = start_prometheus(&prometheus, folder.path(), &config);
        let scraped = || server.query("busy{n=\"2999\"}", None);
        poll("a scrape", scraped, |data| data["result"].as_array().unwrap().iter().any(|s| s["value"][1] != "1"));
        let theirs = shown(&server);
        server.kill();
        let ours = Server::start(folder.path(), "");
        let kept = shown(&ours);
        assert_kept(&theirs, &kept);
        assert!(kept.values().flat_map(|points| points.values()).all(|bits| f64::from_bits(*bits).is_finite()), "round {round}");
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
    copy_to(data, copy.path());
    copy
}

fn copy_to(data: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-r").arg(data.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}
