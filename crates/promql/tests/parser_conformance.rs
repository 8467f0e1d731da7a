//! The parser against the conformance tables, where they are present.
#![allow(clippy::unwrap_used, reason = "tests")]

use promql::{ParserOptions, parse, parse_series_description, prettify};
use serde_json::Value;
use std::path::{Path, PathBuf};

const OPTIONS: ParserOptions = ParserOptions::all();

fn table(name: &str) -> Vec<Value> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let candidates = [
        std::env::var_os("PYROPE_CONFORMANCE").map(PathBuf::from),
        Some(workspace.join("../shared/conformance")),
        Some(workspace.join("shared/conformance")),
    ];
    let Some(folder) = candidates.into_iter().flatten().find(|folder| folder.is_dir()) else {
        eprintln!("skipped: no conformance data");
        return Vec::new();
    };
    serde_json::from_str(&std::fs::read_to_string(folder.join("parser").join(name)).unwrap()).unwrap()
}

/// Differences that are known. The offset is normalized: it has no expression in the tree that would remember the
/// parentheses.
const KNOWN: &[&str] = &["foo offset -(5)"];

/// What belongs to features that are off by default in Prometheus, or to functions that are not evaluated yet.
fn is_beyond(message: &str) -> bool {
    ["experimental", "unknown function", "<op:</>", "<op:>/>"].iter().any(|part| message.contains(part))
}

#[test]
fn expressions() {
    let (mut failed, mut beyond) = (Vec::new(), 0);
    for case in table("expressions.json") {
        // Inputs that are no UTF-8 cannot reach the parser.
        let Some(input) = case["input"].as_str() else { continue };
        let outcome = parse(input, &OPTIONS);
        let want = case["ok"].as_bool().unwrap();
        match outcome {
            Err(error) if is_beyond(&error.message) && !error.message.contains("\"non_existent") => beyond += 1,
            Ok(_) if want => {}
            Err(error) if !want => {
                let first = &case["errors"][0];
                let got = (error.span.start as u64, error.span.end as u64, error.message.as_str());
                let wanted = (first["start"].as_u64().unwrap(), first["end"].as_u64().unwrap(), first["message"].as_str().unwrap());
                if got != wanted {
                    failed.push(format!("{input}\n  got  {got:?}\n  want {wanted:?}"));
                }
            }
            other => failed.push(format!("{input}\n  got {:?}, want ok={want}", other.map_err(|error| error.to_string()))),
        }
    }
    eprintln!("skipped: {beyond} of features that are not there");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn printed() {
    let mut failed = Vec::new();
    for case in table("printer.json") {
        let (input, want) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        match parse(input, &OPTIONS) {
            Ok(expr) if expr.to_string() == want || KNOWN.contains(&input) => {}
            Ok(expr) => failed.push(format!("{input}\n  got  {expr}\n  want {want}")),
            Err(error) if is_beyond(&error.message) => {}
            Err(error) => failed.push(format!("{input}\n  {error}")),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn prettified() {
    let mut failed = Vec::new();
    for case in table("prettier.json") {
        let (input, want) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        let line_len = usize::try_from(case["max_line"].as_u64().unwrap()).unwrap();
        match parse(input, &OPTIONS) {
            Ok(expr) if prettify(&expr, line_len) == want => {}
            Ok(expr) => failed.push(format!("{input}\n  got\n{}\n  want\n{want}", prettify(&expr, line_len))),
            Err(error) if is_beyond(&error.message) => {}
            Err(error) => failed.push(format!("{input}\n  {error}")),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn series() {
    use promql::parser::SequenceValue;
    let mut failed = Vec::new();
    for case in table("series_descriptions.json") {
        let input = case["input"].as_str().unwrap();
        match (parse_series_description(input), case["ok"].as_bool().unwrap()) {
            (Ok((labels, values)), true) => {
                let values: Vec<_> = values
                    .iter()
                    .map(|value| match value {
                        SequenceValue::Omitted => "_".to_owned(),
                        SequenceValue::Float(value) if model::value::is_stale(*value) => "stale".to_owned(),
                        SequenceValue::Float(value) => value.to_string(),
                        SequenceValue::Histogram { .. } => "histogram".to_owned(),
                    })
                    .collect();
                let want: Vec<_> = case["values"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|v| v.as_str().map_or_else(|| v.as_f64().unwrap().to_string(), str::to_owned))
                    .collect();
                let wanted_labels = case["labels"].as_object().unwrap();
                let same = labels.iter().count() == wanted_labels.len()
                    && labels.iter().all(|(name, value)| wanted_labels.get(name).and_then(Value::as_str) == Some(value));
                if values != want || !same {
                    failed.push(format!("{input}\n  got  {values:?}\n  want {want:?}"));
                }
            }
            (Err(_), false) => {}
            (outcome, want) => failed.push(format!("{input}\n  got {outcome:?}, want ok={want}")),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}
