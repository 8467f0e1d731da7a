//! Every configuration of the conformance data is accepted or refused as in Prometheus, with its words.
//!
//! Level 1 is acceptance, level 2 the fragments of the message. Skipped where the data is absent.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use config::Mode;

fn conformance() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("PYROPE_CONFORMANCE").map(PathBuf::from);
    let candidates = named.into_iter().chain([root.join("../shared/conformance"), root.join("shared/conformance")]);
    candidates.map(|folder| folder.join("config")).find(|folder| folder.join("expected.json").is_file())
}

#[test]
fn files_are_judged_as_by_prometheus() {
    let Some(folder) = conformance() else {
        eprintln!("skipped: no conformance data");
        return;
    };
    let rows: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let mut failures = Vec::new();
    for row in &rows {
        let file = row["file"].as_str().unwrap();
        let mode = if row["mode"] == "agent" { Mode::Agent } else { Mode::Server };
        let outcome = config::load_as(&folder.join(file), mode);
        let message = match &outcome {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        // The expectations name files by Prometheus's own folder.
        let message = message.replace(folder.to_str().unwrap(), "testdata");
        if outcome.is_ok() != (row["expect"] == "ok") {
            failures.push(format!("{file}: level 1: want {}, got {message:?}", row["expect"]));
            continue;
        }
        for fragment in row["contains"].as_array().unwrap() {
            if !message.contains(fragment.as_str().unwrap()) {
                failures.push(format!("{file}: level 2: want {fragment}, got {message:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), rows.len(), failures.join("\n"));
}
