//! Runs the conformance material of the field: tables of inputs with the outcomes that Prometheus 3.14 gave.
//!
//! The folder is `PYROPE_CONFORMANCE`, else `shared/conformance` in or beside the workspace. Each of its folders with
//! a runner here prints `folder  passed/total`, the others `folder  not run`. The run is red if a folder passes fewer
//! cases than `testdata/conformance-floor.toml` says, which rises with the code. `CONFORMANCE_VERBOSE=1` prints each failure.

#![allow(clippy::unwrap_used, reason = "a test: material that does not read is a failure")]

mod config_files;
mod exposition;
mod labels;
mod parser;
mod promql_scripts;
mod relabel;
mod remote_write;
mod strutil;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tsdb;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Score;

type Runner = fn(&Path) -> Vec<Score>;

const RUNNERS: &[(&str, Runner)] = &[
    ("config", config_files::run),
    ("exposition", exposition::run),
    ("labels", labels::run),
    ("parser", parser::run),
    ("promqltest", promql_scripts::run),
    ("relabel", relabel::run),
    ("remote_write", remote_write::run),
    ("strutil", strutil::run),
    ("tsdb", tsdb::run),
];

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(root) = conformance_root(&workspace) else {
        println!("conformance: SKIPPED, no folder of that name (set PYROPE_CONFORMANCE)");
        return ExitCode::SUCCESS;
    };
    let floors = floors(&workspace);
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut red = false;
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let Some((_, runner)) = RUNNERS.iter().find(|(n, _)| *n == name) else {
            println!("{name}  not run");
            continue;
        };
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        for score in runner(&folder) {
            let label = if score.part.is_empty() { name.clone() } else { format!("{name}/{}", score.part) };
            println!("{label}  {}/{}", score.passed, score.total);
            if std::env::var_os("CONFORMANCE_VERBOSE").is_some() {
                score.failures.iter().for_each(|failure| println!("    {failure}"));
            }
            let floor = floors.get(&label).copied().unwrap_or(0);
            if score.passed < floor {
                println!("{label}  BELOW ITS FLOOR of {floor}");
                score.failures.iter().take(20).for_each(|failure| println!("    {failure}"));
                red = true;
            }
        }
    }
    if red { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn conformance_root(workspace: &Path) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PYROPE_CONFORMANCE") {
        return Some(named.into());
    }
    ["shared/conformance", "../shared/conformance"].iter().map(|p| workspace.join(p)).find(|p| p.is_dir())
}

/// `"folder/part" = passed`, a line each.
fn floors(workspace: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(workspace.join("testdata/conformance-floor.toml")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, floor)| (name.trim().trim_matches('"').to_owned(), floor.trim().parse().unwrap()))
        .collect()
}
