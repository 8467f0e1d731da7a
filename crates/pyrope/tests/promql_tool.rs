//! The PromQL tools as a user runs them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

fn tool(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pyrope")).arg("tool").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn scripts_are_run_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let load = "load 1m\n  m{a=\"1\"} 1 2 3\n  h {{schema:0 count:2 sum:3 buckets:[1 1]}}x3\n\n";
    let good =
        script("good.test", &format!("{load}eval instant at 2m sum(m)\n  {{}} 3\n\neval instant at 1m histogram_count(h)\n  {{}} 2\n"));
    let bad = script("bad.test", &format!("{load}eval instant at 2m m\n  m{{a=\"1\"}} 4\n\neval instant at 2m m\n  m{{a=\"1\"}} 3\n"));
    let passed = tool(&["promqltest", &good]);
    assert!(passed.status.success());
    assert_eq!(text(&passed.stdout), "2 passed, 0 failed\n");
    let failed = tool(&["promqltest", &good, &bad]);
    assert!(!failed.status.success());
    let out = text(&failed.stdout);
    assert!(out.contains("bad.test: line 5: eval instant at 2m m\n") && out.contains("want"), "{out}");
    assert!(out.ends_with("3 passed, 1 failed\n"), "{out}");
    let missing = tool(&["promqltest", "/nonexistent.test"]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("/nonexistent.test"));
}

fn import(folder: &Path) -> String {
    let page = folder.join("page.txt");
    std::fs::write(&page, "# TYPE m gauge\nm{a=\"1\"} 1 1700000000\nm{a=\"1\"} 2 1700000060\nm{a=\"2\"} 3 1700000060\n# EOF\n").unwrap();
    let data = folder.join("data").to_string_lossy().into_owned();
    let made = tool(&["tsdb", "create-blocks-from", "openmetrics", &page.to_string_lossy(), &data]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    data
}

#[test]
fn a_query_over_a_directory_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let data = import(folder.path());
    let explained =
        tool(&["promql", "explain", "--data", &data, "--start", "1700000000", "--end", "1700000060", "--step", "60", "sum(m) + 0"]);
    assert!(explained.status.success(), "{}", text(&explained.stderr));
    let out = text(&explained.stdout);
    let figures: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let part = |name: &str| figures.iter().find(|words| words.join(" ").contains(name)).unwrap();
    // Series, samples, values; the time and its unit stand before.
    assert_eq!(part("select: m")[2..5], ["2", "3", "3"], "{out}");
    assert_eq!(part("aggregate sum by (): sum(m)")[2..5], ["0", "0", "2"], "{out}");
    assert!(out.contains("└─ select: m") && out.contains("├─ aggregate sum"), "{out}");
    let wrong = tool(&["promql", "explain", "--data", &data, "sum(m"]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("parse error"), "{}", text(&wrong.stderr));
}
