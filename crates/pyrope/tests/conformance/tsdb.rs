//! `tsdb/`: data directories that Prometheus wrote, whole and damaged, with what it answers on them.
//!
//! A folder `data_*` holds `data/` and `answers*.json`; each is opened as a fresh copy, asked, stopped cleanly, opened and asked
//! again. `damage.json` names changes to such copies and what Prometheus keeps of them: we keep at least as much, start
//! wherever it starts, and say what was lost where it refuses to. The server gets only the `storage` part of the
//! configuration, so that nothing is scraped.

use crate::support::{Server, percent};
use crate::table::{Score, read, same};
use model::{Matcher, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Interval, Queryable, SelectHints};
use tsdb::block::Block;
use world::{Files, RealFiles};

pub fn run(folder: &Path) -> Vec<Score> {
    let mut scores = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for data in folders.iter().filter(|path| path.join("data").is_dir()) {
        let mut files: Vec<PathBuf> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("answers")));
        files.sort();
        for answers in files {
            scores.extend(answered(data, &answers));
        }
    }
    scores.push(old_formats(folder));
    if folder.join("damage.json").is_file() {
        scores.push(damaged(folder));
    }
    scores
}

/// A folder's questions, before and after a clean restart.
fn answered(data: &Path, answers: &Path) -> [Score; 2] {
    let name = format!("{} {}", name_of(data), answers.file_stem().unwrap().to_string_lossy());
    let recorded = read(answers);
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&data.join("data"), &copy.path().join("data"));
    let mut scores = [Score::new(leak(name.clone())), Score::new(leak(format!("{name} after a restart")))];
    let mut running = Ok(());
    for score in &mut scores {
        let server = running.clone().and_then(|()| start(copy.path(), &recorded));
        for case in recorded["cases"].as_array().unwrap() {
            let title = format!("{} {}", case["path"].as_str().unwrap(), case["params"]);
            score.case(&title, || ask(server.as_ref().map_err(Clone::clone)?, case));
        }
        running = server.and_then(stop);
    }
    scores
}

fn start(folder: &Path, recorded: &Value) -> Result<Server, String> {
    let flags: Vec<&str> = recorded["flags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    start_with(folder, &storage_part(recorded["config"].as_str().unwrap_or_default()), &flags)
}

/// The error is the log if the server does not come up.
fn start_with(folder: &Path, config: &str, flags: &[&str]) -> Result<Server, String> {
    // Every server of the tests has this one.
    let flags: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "--web.enable-remote-write-receiver").collect();
    let _ = std::fs::remove_file(folder.join("log"));
    Server::try_start_with(folder, config, &flags).map_err(|why| format!("does not start: {why}"))
}

fn stop(server: Server) -> Result<(), String> {
    same("exit code", &server.terminate(), &Some(0))
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// The lines of the key `storage` of a configuration.
fn storage_part(config: &str) -> String {
    let mut within = false;
    let mut part = String::new();
    for line in config.lines() {
        if !line.starts_with([' ', '-', '#']) {
            within = line.starts_with("storage:");
        }
        if within {
            part.push_str(line);
            part.push('\n');
        }
    }
    part
}

fn ask(server: &Server, case: &Value) -> Result<(), String> {
    let answer = server.get(&path_of(case["path"].as_str().unwrap(), &case["params"]));
    same("status", &u64::from(answer.status), &case["status"].as_u64().unwrap()).map_err(|e| format!("{e}: {:.200}", answer.text()))?;
    if case["data"].is_null() {
        return Ok(());
    }
    differs(&normal(&case["data"]), &normal(&answer.json()["data"])).map_or(Ok(()), Err)
}

fn path_of(path: &str, params: &Value) -> String {
    let mut full = path.to_owned();
    let mut separator = '?';
    for (name, value) in params.as_object().into_iter().flatten() {
        let values = value.as_array().map_or_else(|| vec![value.clone()], Clone::clone);
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            full.push_str(&format!("{separator}{}={}", percent(name), percent(&text)));
            separator = '&';
        }
    }
    full
}

/// Every number as a float, so that `1` and `1.0` are one.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), normal(value))).collect(),
        other => other.clone(),
    }
}

/// What differs: of query results labels and times exactly, floats to a billionth, histograms exactly; lists sorted.
fn differs(want: &Value, got: &Value) -> Option<String> {
    if want["resultType"].is_string() {
        return results_differ(want, got);
    }
    if let (Some(want), Some(got)) = (want.as_array(), got.as_array()) {
        let sorted = |list: &[Value]| {
            let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
            texts.sort();
            texts
        };
        let (want, got) = (sorted(want), sorted(got));
        let missing: Vec<&String> = want.iter().filter(|entry| !got.contains(entry)).take(3).collect();
        let extra: Vec<&String> = got.iter().filter(|entry| !want.contains(entry)).take(3).collect();
        return (want != got).then(|| format!("missing {missing:?}, extra {extra:?}"));
    }
    (want != got).then(|| format!("got {got:.300}, want {want:.300}", got = got.to_string(), want = want.to_string()))
}

fn results_differ(want: &Value, got: &Value) -> Option<String> {
    if want["resultType"] != got["resultType"] {
        return Some(format!("got type {}, want {}", got["resultType"], want["resultType"]));
    }
    let (want, got) = (by_metric(want), by_metric(got));
    let missing: Vec<&String> = want.keys().filter(|metric| !got.contains_key(*metric)).take(3).collect();
    let extra: Vec<&String> = got.keys().filter(|metric| !want.contains_key(*metric)).take(3).collect();
    if !missing.is_empty() || !extra.is_empty() {
        return Some(format!("series: missing {missing:?}, extra {extra:?}"));
    }
    want.iter().find_map(|(metric, series)| series_differ(series, got[metric]).map(|why| format!("{metric}: {why}")))
}

fn by_metric(result: &Value) -> BTreeMap<String, &Value> {
    result["result"].as_array().into_iter().flatten().map(|series| (series["metric"].to_string(), series)).collect()
}

fn series_differ(want: &Value, got: &Value) -> Option<String> {
    let (floats, got_floats) = (points(want, "value"), points(got, "value"));
    if floats.len() != got_floats.len() {
        return Some(format!("{} floats, want {}", got_floats.len(), floats.len()));
    }
    for (want, got) in floats.iter().zip(&got_floats) {
        if want[0] != got[0] || !near(&want[1], &got[1]) {
            return Some(format!("got {got}, want {want}"));
        }
    }
    let (histograms, got_histograms) = (points(want, "histogram"), points(got, "histogram"));
    if histograms.len() != got_histograms.len() {
        return Some(format!("{} histograms, want {}", got_histograms.len(), histograms.len()));
    }
    let pair = histograms.iter().zip(&got_histograms).find(|(want, got)| want != got)?;
    Some(format!("got {}, want {}", pair.1, pair.0))
}

/// The points of an instant (`value`) or of a range (`values`).
fn points(series: &Value, what: &str) -> Vec<Value> {
    let one = series.get(what).cloned();
    one.into_iter().chain(series[format!("{what}s")].as_array().into_iter().flatten().cloned()).collect()
}

fn near(want: &Value, got: &Value) -> bool {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let (Some(want), Some(got)) = (number(want), number(got)) else { return want == got };
    want == got || (want.is_nan() && got.is_nan()) || (want.is_finite() && (want - got).abs() <= 1e-9 * want.abs().max(got.abs()))
}

/// Blocks of old formats.
fn old_formats(folder: &Path) -> Score {
    let mut score = Score::new("old formats");
    let flags = ["--storage.tsdb.retention.time=100y"];
    let v1 = folder.join("index_format_v1");
    if v1.is_dir() {
        let copy = tempfile::tempdir().unwrap();
        let name = read(&v1.join("meta.json"))["ulid"].as_str().unwrap().to_owned();
        copy_folder(&v1, &copy.path().join("data").join(name));
        let server = start_with(copy.path(), "", &flags);
        for (selector, want) in [
            (r#"{foo="bar"}"#, vec![("bar", 0.001, "2")]),
            (r#"{foo="baz"}"#, vec![("baz", 0.003, "4")]),
            (r#"{foo!~"^.?$"}"#, vec![("bar", 0.001, "2"), ("baz", 0.003, "4")]),
        ] {
            score.case(&format!("index of version 1: {selector}"), || {
                let server = server.as_ref().map_err(Clone::clone)?;
                let result: Vec<Value> = want.iter().map(|(name, t, v)| json!({"metric": {"foo": name}, "values": [[t, v]]})).collect();
                let got = server.query(&format!("{selector}[1s]"), Some(1.0));
                differs(&normal(&json!({"resultType": "matrix", "result": result})), &normal(&got)).map_or(Ok(()), Err)
            });
        }
    }
    let repair = folder.join("repair_index_version");
    if repair.is_dir() {
        let copy = tempfile::tempdir().unwrap();
        let data = copy.path().join("data");
        copy_folder(&repair, &data);
        let blocks: Vec<PathBuf> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
        blocks.iter().for_each(|block| std::fs::create_dir_all(block.join("chunks")).unwrap());
        score.case("meta of version 2 is repaired", || {
            start_with(copy.path(), "", &flags)?.terminate();
            // Its series have no chunks, so that no query gives them, 3.14's neither; the index has them by their labels.
            let files: Arc<dyn Files> = Arc::new(RealFiles);
            let block = Block::open(&files, &blocks[0]).map_err(|error| error.to_string())?;
            let range = Interval { start: Timestamp::MIN, end: Timestamp(i64::MAX) };
            for (name, want) in [("a", vec!["1", "2"]), ("b", vec!["1"])] {
                let values = block.label_values(name, range, &[vec![Matcher::equal("b", "1")]], &SelectHints::default());
                let values = values.map_err(|error| error.to_string())?.names;
                same(name, &values.iter().map(String::as_str).collect(), &want)?;
            }
            let versions: Vec<Value> = blocks.iter().map(|block| read(&block.join("meta.json"))["version"].clone()).collect();
            same("versions", &versions, &vec![json!(1)])
        });
    }
    score
}

fn damaged(folder: &Path) -> Score {
    let mut score = Score::new("damage");
    let table = read(&folder.join("damage.json"));
    for case in table["cases"].as_array().unwrap() {
        score.case(case["name"].as_str().unwrap(), || damage(folder, &table, case));
    }
    score
}

fn damage(folder: &Path, table: &Value, case: &Value) -> Result<(), String> {
    let of = case["dir"].as_str().unwrap();
    let recorded = read(&folder.join(of).join("answers.json"));
    let copy = tempfile::tempdir().unwrap();
    let data = copy.path().join("data");
    copy_folder(&folder.join(of).join("data"), &data);
    let operations = case["operations"].as_array().unwrap();
    operations.iter().for_each(|operation| apply(&data, operation));
    let started = start(copy.path(), &recorded);
    let said = log(copy.path());
    if said.contains("panicked at") {
        return Err(format!("panics: {said}"));
    }
    let dir = &table["dirs"][of];
    if case["starts"] == json!(false) {
        return refused(started, &said, operations);
    }
    let server = started?;
    for (window, want) in case["kept"].as_object().into_iter().flatten() {
        keeps(&server, dir, window, want)?;
    }
    stop(server)?;
    let server = start(copy.path(), &recorded).map_err(|error| format!("after a restart: {error}"))?;
    let after = if case["after_a_restart"].is_object() { &case["after_a_restart"] } else { &case["kept"] };
    for (window, want) in after.as_object().into_iter().flatten() {
        keeps(&server, dir, window, want).map_err(|error| format!("after a restart: {error}"))?;
    }
    stop(server)
}

/// Where Prometheus refuses: so do we, naming the file, or we start and say what was lost.
fn refused(started: Result<Server, String>, said: &str, operations: &[Value]) -> Result<(), String> {
    match started {
        Ok(server) => {
            let warned = said.lines().any(|line| line.contains("level=WARN") || line.contains("level=ERROR"));
            let answer = server.get("/api/v1/query?query=1");
            same("status of a query", &answer.status, &200)?;
            if warned { stop(server) } else { Err(format!("starts and says nothing of what was lost: {said}")) }
        }
        Err(_) => {
            let touched = operations.iter().flat_map(|operation| ["file", "path", "from"].map(|field| operation[field].as_str()));
            let names: Vec<&str> = touched.flatten().flat_map(|path| path.split('/')).collect();
            if names.iter().any(|name| said.contains(name)) { Ok(()) } else { Err(format!("does not name the file: {said}")) }
        }
    }
}

/// At least as much as Prometheus, and nothing that never was.
fn keeps(server: &Server, dir: &Value, window: &str, want: &Value) -> Result<(), String> {
    let query = percent(&format!("{{__name__=~\".+\"}}[{window}]"));
    let answer = server.get(&format!("/api/v1/query?query={query}&time={}", dir["time"]));
    if answer.status != 200 {
        return if want["error"].is_string() { Ok(()) } else { Err(format!("{window}: {}: {:.200}", answer.status, answer.text())) };
    }
    let data = answer.json();
    let series = data["data"]["result"].as_array().unwrap();
    let count = |field: &str| series.iter().filter_map(|series| series[field].as_array()).map(Vec::len).sum::<usize>() as u64;
    for (what, got) in [("series", series.len() as u64), ("samples", count("values")), ("histograms", count("histograms"))] {
        let kept = want[what].as_u64().unwrap_or(0);
        let all = dir["undamaged"][window][what].as_u64().unwrap_or(0);
        if got < kept || got > all.max(kept) {
            return Err(format!("{window}: {got} {what}, 3.14 keeps {kept} of {all}"));
        }
    }
    Ok(())
}

fn apply(root: &Path, operation: &Value) {
    let text = |field: &str| operation[field].as_str().unwrap_or_default();
    let path = |field: &str| root.join(text(field));
    let at = operation["at"].as_u64().unwrap_or(0);
    match text("op") {
        "truncate" => std::fs::File::options().write(true).open(path("file")).unwrap().set_len(at).unwrap(),
        op @ ("flip" | "zero") => {
            let mut bytes = std::fs::read(path("file")).unwrap();
            let (begin, len) = (usize::try_from(at).unwrap(), operation["length"].as_u64().unwrap_or(1) as usize);
            let end = (begin + len).min(bytes.len());
            bytes[begin..end].iter_mut().for_each(|byte| *byte = if op == "flip" { 255 - *byte } else { 0 });
            std::fs::write(path("file"), bytes).unwrap();
        }
        "append" => {
            let mut bytes = std::fs::read(path("file")).unwrap();
            let hex = text("hex").as_bytes();
            let tail: Vec<u8> = hex.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect();
            (0..operation["times"].as_u64().unwrap_or(1)).for_each(|_| bytes.extend_from_slice(&tail));
            std::fs::write(path("file"), bytes).unwrap();
        }
        "create" => {
            std::fs::create_dir_all(path("file").parent().unwrap()).unwrap();
            std::fs::write(path("file"), text("text")).unwrap();
        }
        "mkdir" => std::fs::create_dir_all(path("path")).unwrap(),
        "remove" if path("path").is_dir() => std::fs::remove_dir_all(path("path")).unwrap(),
        "remove" => std::fs::remove_file(path("path")).unwrap(),
        "copy" if path("from").is_dir() => copy_folder(&path("from"), &path("to")),
        "copy" => drop(std::fs::copy(path("from"), path("to")).unwrap()),
        "rename" => std::fs::rename(path("from"), path("to")).unwrap(),
        "json" => {
            let mut document = read(&path("file"));
            for (name, value) in operation["set"].as_object().into_iter().flatten() {
                let pointer = format!("/{}", name.replace('.', "/"));
                let (parent, last) = pointer.rsplit_once('/').unwrap();
                document.pointer_mut(parent).unwrap()[last] = value.clone();
            }
            std::fs::write(path("file"), document.to_string()).unwrap();
        }
        other => panic!("no operation {other}"),
    }
}

/// Writable files, whatever the originals are.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Names of parts live as long as the run.
fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}
