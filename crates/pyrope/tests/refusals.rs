//! What the server does not start with: one line that says what is wrong and what to do, Prometheus's exit code, and
//! nothing damaged.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Server, command, free_port, remote_write, samples, skipped};

#[test]
fn the_command_line() {
    let run = |flag: &str| Command::new(env!("CARGO_BIN_EXE_pyrope")).arg(flag).output().unwrap();
    for (flag, want) in [("--version", "(behaves as Prometheus 3."), ("--help", "--config.file")] {
        let output = run(flag);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(text(&output.stdout).contains(want), "{flag}: {}", text(&output.stdout));
        assert_eq!(text(&output.stderr), "", "{flag}");
    }
    for (flag, want) in [
        ("--no.such.flag", &["--no.such.flag", "--help"][..]),
        ("--query.timeout=soon", &["query.timeout", "soon"]),
        ("--storage.tsdb.wal-segment-size=1MB", &["storage.tsdb.wal-segment-size", "between 10MB and 256MB"]),
        ("--web.cors.origin=(", &["CORS"]),
        ("--agent", &["--agent", "remove it"]),
    ] {
        let folder = folder_with("");
        let mut command = command(folder.path(), free_port());
        command.arg(flag);
        refused(command, 2, want);
        assert!(!folder.path().join("data").exists(), "{flag}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used() {
    for (config, want) in [
        ("scrape_configs: [", &["prometheus.yml"][..]),
        ("scrape_config: []\n", &["line 1", "scrape_config"]),
        ("global:\n  scrape_interval: soon\n", &["soon"]),
        ("rule_files: [rules.yml]\n", &["rules.yml", "could not parse expression"]),
    ] {
        let folder = folder_with(config);
        std::fs::write(folder.path().join("rules.yml"), "groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]").unwrap();
        refused(command(folder.path(), free_port()), 2, &[&["Error loading config (--config.file="], want].concat());
        assert!(!folder.path().join("data").exists(), "a configuration is checked before anything is made");
    }
    let folder = folder_with("");
    std::fs::remove_file(folder.path().join("prometheus.yml")).unwrap();
    refused(command(folder.path(), free_port()), 2, &["prometheus.yml", "no such file or directory"]);
}

#[test]
fn a_port_that_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder_with("");
    refused(command(folder.path(), other.local_addr().unwrap().port()), 1, &["bind: address already in use", "--web.listen-address"]);
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let folder = folder_with("");
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    refused(command(folder.path(), free_port()), 1, &["Opening storage failed", "data", "choose another --storage.tsdb.path"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("data")).unwrap(), "a file");

    let folder = folder_with("");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(data.join("probe"), "").is_ok() {
        skipped("a directory without permission to write: this user may write everywhere");
        return;
    }
    refused(command(folder.path(), free_port()), 1, &["Opening storage failed", "data", "ermission denied"]);
}

#[test]
fn a_directory_that_another_server_has_open() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let sample = [(remote_write::labels("kept", &[]), [(remote_write::now_ms(), 1.0_f64.to_bits())].into())].into();
    assert_eq!(remote_write::write(&server.address, &sample), Some(204));
    refused(
        command(folder.path(), free_port()),
        1,
        &["Opening storage failed", "lock DB directory: resource temporarily unavailable", "stop it"],
    );
    assert_eq!(server.get("/-/ready").status, 200);
    assert_eq!(
        remote_write::write(
            &server.address,
            &[(remote_write::labels("later", &[]), sample[&remote_write::labels("kept", &[])].clone())].into()
        ),
        Some(204)
    );
    server.kill();
    let server = Server::start(folder.path(), "");
    samples::assert_kept(&sample, &samples::shown(&server));
}

#[test]
fn a_log_whose_beginning_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let sample = |name: &str, time: i64| [(remote_write::labels(name, &[]), [(time, 1.0_f64.to_bits())].into())].into();
    let now = remote_write::now_ms();
    for time in [now, now + 1] {
        let server = Server::start(folder.path(), "");
        assert_eq!(remote_write::write(&server.address, &sample("kept", time)), Some(204));
        assert_eq!(server.terminate(), Some(0));
    }
    let data = folder.path().join("data");
    std::fs::remove_file(data.join("wal/00000000")).unwrap();
    // What only makes a start faster knows the series too.
    let _ = std::fs::remove_dir_all(data.join("pyrope"));
    let before = contents(&data.join("wal"));
    let mut command = command(folder.path(), free_port());
    command.stdout(std::process::Stdio::null());
    refused(command, 1, &["replay WAL", "unknown series", "00000001", "files are missing; restore them"]);
    assert_eq!(contents(&data.join("wal")), before);
}

#[test]
fn damaged_parts_of_a_directory_cost_only_themselves() {
    for name in ["01BKGV7JBM69T2G1BGBGM6KB12/meta.json", "wal/checkpoint.00000003/00000000", "chunks_head/000001", "wal/00000000"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let sample = [(remote_write::labels("kept", &[]), [(remote_write::now_ms(), 1.0_f64.to_bits())].into())].into();
        let file = data.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, [7; 64]).unwrap();
        let server = Server::start(folder.path(), "");
        assert_eq!(remote_write::write(&server.address, &sample), Some(204), "{name}");
        server.kill();
        let server = Server::start(folder.path(), "");
        samples::assert_kept(&sample, &samples::shown(&server));
        assert!(name.starts_with("0") == data.join("pyrope/damaged/01BKGV7JBM69T2G1BGBGM6KB12").is_dir(), "{name}");
    }
}

fn folder_with(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    folder
}

/// Runs it to its end: this exit code, one line of error, all of `want` in it.
#[track_caller]
fn refused(mut command: Command, exit_code: i32, want: &[&str]) {
    let output: Output = command.output().unwrap();
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_code), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| !["level=INFO", "level=WARN"].iter().any(|level| line.contains(level))).collect();
    assert_eq!(lines.len(), 1, "not one line of error: {log}");
    want.iter().for_each(|part| assert!(lines[0].contains(part), "no {part:?} in {}", lines[0]));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every path below `folder`, and every file's bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
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
