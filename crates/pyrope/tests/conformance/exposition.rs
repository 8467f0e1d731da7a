//! `exposition/`: payloads served by this test and scraped by a real scrape manager over HTTP, each into a head of its own.
//!
//! Left out are bodies in protobuf, `convert_classic_histograms_to_nhcb` and the setting `scrape_native_histograms`: native
//! histograms come with the store, and what cannot be read is never asked for.

use crate::support::DEADLINE;
use crate::table::{Score, pairs, rows, same};
use model::{Labels, Matcher, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use storage::{Appender, Batch, Column, CommitError, Committed, Interval, Queryable as _, RowSeries, SelectHints};
use tsdb::Head;
use world::{Clock as _, SystemClock};

/// Cases scraped at one time.
const AT_ONCE: usize = 24;
const REPORTS: [&str; 5] =
    ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
const PARTS: [&str; 4] = ["captures", "openmetrics", "textparse", "text_made"];

pub fn run(folder: &Path) -> Vec<Score> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    PARTS.iter().map(|part| runtime.block_on(run_part(&folder.join(part), part))).collect()
}

async fn run_part(folder: &Path, part: &'static str) -> Score {
    let mut score = Score::new(part);
    let cases = rows(&folder.join("expected.json"));
    let later = |row: &Value| is_read_as_protobuf(row) || accept_names_protobuf(row);
    for group in cases.chunks(AT_ONCE) {
        let mut running = Vec::new();
        for row in group {
            if later(row) {
                running.push(None);
                continue;
            }
            let (folder, row) = (folder.to_owned(), row.clone());
            running.push(Some(tokio::spawn(async move { run_case(&folder, &row).await })));
        }
        for (row, task) in group.iter().zip(running) {
            let outcome = match task {
                Some(task) => task.await.unwrap_or_else(|e| Err(e.to_string())),
                None => Err("protobuf is not read yet".into()),
            };
            score.case(row["file"].as_str().unwrap(), || outcome);
        }
    }
    score
}

fn is_read_as_protobuf(row: &Value) -> bool {
    let said = row["content_type"].as_str().or(row["settings"]["fallback_scrape_protocol"].as_str()).unwrap_or("");
    row["file"].as_str().unwrap().ends_with(".pb") && (said.contains("protobuf") || said == "PrometheusProto")
}

fn accept_names_protobuf(row: &Value) -> bool {
    row["request"]["Accept"].as_str().is_some_and(|accept| accept.contains("protobuf"))
}

async fn run_case(folder: &Path, row: &Value) -> Result<(), String> {
    let target = Target::start(folder, row);
    let store = Arc::new(Store::default());
    let manager = scrape::Manager::new(scrape::Options {
        appender: store.clone(),
        clock: Arc::new(SystemClock),
        host_name: "h".into(),
        workers: 1,
        start_timestamps: false,
        type_and_unit_labels: false,
    });
    let targets: Vec<Value> = row["target_labels"].as_array().cloned().unwrap_or_else(|| vec![serde_json::json!({})]);
    let config = config::parse(&configuration(row, &targets, target.port), folder, |_| None).map_err(|e| format!("config: {e}"))?;
    manager.apply(&config).await.map_err(|e| e.to_string())?;
    let outcome = judge(folder, row, &store, &manager, &target, targets.len()).await;
    manager.stop().await;
    outcome
}

fn configuration(row: &Value, targets: &[Value], port: u16) -> String {
    let mut job = serde_json::json!({ "job_name": "j", "scrape_interval": "1s", "scrape_timeout": "1s", "metrics_path": "/m" });
    for (name, value) in row["settings"].as_object().into_iter().flatten() {
        job[name] = value.clone();
    }
    let groups = targets.iter().map(|labels| serde_json::json!({ "targets": [format!("127.0.0.1:{port}")], "labels": labels }));
    job["static_configs"] = groups.collect();
    // JSON is YAML.
    serde_json::json!({ "scrape_configs": [job] }).to_string()
}

async fn judge(
    folder: &Path,
    row: &Value,
    store: &Store,
    manager: &scrape::Manager,
    target: &Target,
    target_count: usize,
) -> Result<(), String> {
    let file = row["file"].as_str().unwrap();
    let ups = |after: usize| store.latest("up").iter().filter(|(_, history)| history.len() > after).count() >= target_count;
    until(store, || ups(0)).await?;
    // The first scrape is what counts; a series' first sample is of it, but for those with times of their own.
    let sum = |name: &str| store.latest(name).values().map(|history| history[0].1).sum::<f64>();
    let accepted = row["accepted"].as_bool().unwrap();
    same("up", &(sum("up") == target_count as f64), &accepted)?;
    let counts = [
        ("samples_scraped", "scrape_samples_scraped"),
        ("series_added", "scrape_series_added"),
        ("samples_post_relabel", "scrape_samples_post_metric_relabeling"),
    ];
    for (field, metric) in counts {
        // For a refused payload these are told, and judged for `text_made` only where all of them are.
        if let Some(want) = row[field].as_u64().filter(|_| accepted) {
            same(field, &sum(metric), &(want as f64))?;
        }
    }
    if let Some(request) = row["request"].as_object() {
        let got = target.request_headers();
        for (name, want) in request {
            same(name, &got.get(&name.to_ascii_lowercase()).map(String::as_str).unwrap_or(""), &want.as_str().unwrap_or(""))?;
        }
    }
    if accepted {
        judge_metadata(row, manager)?;
        judge_series(folder, file, row, store, target)?;
        judge_exemplars(folder, file, row, store)?;
    }
    if let Some(after) = row.get("after_second") {
        until(store, || ups(1)).await?;
        let up = store.latest("up").values().all(|history| history[1].1 == 1.0);
        same("second up", &up, &after["accepted"].as_bool().unwrap())?;
        let got: BTreeSet<String> = store.visible().iter().map(|(labels, value)| line(labels, *value, None, false)).collect();
        let want = after["series"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect();
        same("visible after the second scrape", &got, &want)?;
    }
    Ok(())
}

fn judge_metadata(row: &Value, manager: &scrape::Manager) -> Result<(), String> {
    let mut families = BTreeMap::new();
    let mut family_count = 0;
    for target in manager.metadata() {
        family_count += target.families.len() as u64;
        families.extend(target.families);
    }
    if let Some(want) = row["metadata_families"].as_u64() {
        same("metadata_families", &family_count, &want)?;
    }
    for (name, want) in row["metadata"].as_object().into_iter().flatten() {
        let known = families.get(name).ok_or_else(|| format!("no metadata of {name:?}"))?;
        same("type", &known.kind.as_str(), &want[0].as_str().unwrap())?;
        match &want[1] {
            Value::Number(len) => same("length of the help", &(known.help.len() as u64), &len.as_u64().unwrap())?,
            help => same("help", &known.help.as_str(), &help.as_str().unwrap_or(""))?,
        }
        same("unit", &known.unit.as_str(), &want[2].as_str().unwrap_or(""))?;
    }
    Ok(())
}

fn judge_series(folder: &Path, file: &str, row: &Value, store: &Store, target: &Target) -> Result<(), String> {
    let beside = std::fs::read_to_string(folder.join(format!("{file}.series"))).unwrap_or_default();
    let want: BTreeSet<String> = match row["series"].as_array() {
        Some(list) => list.iter().map(|s| s.as_str().unwrap().to_owned()).collect(),
        None => lines(&beside.replace("@NOW-2000@", &target.served_at_minus_2000().to_string())),
    };
    let kept_as_they_are = !folder.ends_with("text_made");
    let own_labels = row["own_labels"] == true;
    let mut got = BTreeSet::new();
    let ups = store.latest("up");
    let firsts: BTreeSet<i64> = ups.values().map(|history| history[0].0).collect();
    let laters: BTreeSet<i64> = ups.values().flat_map(|history| &history[1..]).map(|(time, _)| *time).collect();
    for (labels, history) in store.all() {
        if REPORTS.contains(&labels.metric_name()) && labels.get("job") == Some("j") {
            continue;
        }
        let labels = shown(&labels, kept_as_they_are, own_labels, target.port);
        for (time, value) in history.into_iter().filter(|(time, _)| !laters.contains(time)) {
            got.insert(line(&labels, value, (!firsts.contains(&time)).then_some(time), true));
        }
    }
    let (missing, extra): (Vec<_>, Vec<_>) = (want.difference(&got).take(3).collect(), got.difference(&want).take(3).collect());
    if missing.is_empty() && extra.is_empty() { Ok(()) } else { Err(format!("series: missing {missing:?}, beyond {extra:?}")) }
}

/// A value may hold a raw newline only as `\n`, so lines are series.
fn lines(text: &str) -> BTreeSet<String> {
    text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

/// Labels as the tables have them: without the target's `job` and `instance`.
fn shown(labels: &Labels, kept_as_they_are: bool, own_labels: bool, port: u16) -> Vec<(String, String)> {
    let instance = format!("127.0.0.1:{port}");
    let mut out = Vec::new();
    for (name, value) in labels {
        let own = (name == "job" && value == "j") || (name == "instance" && value == instance);
        let name = if kept_as_they_are {
            name.strip_prefix("exported_").filter(|n| matches!(*n, "job" | "instance")).unwrap_or(name)
        } else {
            name
        };
        match (own, own_labels, name) {
            (true, false, _) => {}
            (true, true, "job") => out.push((name.into(), "JOB".into())),
            (true, true, _) => out.push((name.into(), "TARGET".into())),
            (false, true, _) => out.push((name.into(), value.replace(&instance, "TARGET"))),
            (false, false, _) => out.push((name.into(), value.into())),
        }
    }
    out.sort();
    out
}

fn line(labels: &[(String, String)], value: f64, time: Option<i64>, with_time: bool) -> String {
    let quoted = |name: &str, legacy: bool| if legacy { name.to_owned() } else { serde_json::to_string(name).unwrap() };
    let metric = labels.iter().find(|(n, _)| n == "__name__").map_or("", |(_, v)| v.as_str());
    let rest: Vec<String> = labels
        .iter()
        .filter(|(n, _)| n != "__name__")
        .map(|(n, v)| format!("{}={}", quoted(n, model::name::is_legacy_label_name(n)), serde_json::to_string(v).unwrap()))
        .collect();
    let metric = if metric.is_empty() { String::new() } else { quoted(metric, model::name::is_legacy_metric_name(metric)) };
    let time = time.filter(|_| with_time).map_or(String::new(), |t| format!(" {t}"));
    format!("{metric}{{{}}} {}{time}", rest.join(","), model::number::format_json(value))
}

fn judge_exemplars(folder: &Path, file: &str, row: &Value, store: &Store) -> Result<(), String> {
    let beside = folder.join(format!("{file}.exemplars.json"));
    let want = match row["exemplars"].as_array() {
        Some(list) => list.clone(),
        None if beside.is_file() => rows(&beside),
        None => Vec::new(),
    };
    let mut expected = BTreeSet::new();
    for entry in &want {
        let mut series = pairs(&entry["series"]);
        series.sort();
        for exemplar in entry["exemplars"].as_array().unwrap() {
            let time = exemplar["timestamp"].as_f64().map(|s| (s * 1000.0).round() as i64);
            let mut labels = pairs(&exemplar["labels"]);
            labels.sort();
            expected.insert(format!("{series:?} {labels:?} {} {time:?}", exemplar["value"].as_str().unwrap()));
        }
    }
    let got = store.exemplars.lock().unwrap().clone();
    same("exemplars", &got, &expected)
}

/// Looks again after each commit.
async fn until(store: &Store, done: impl Fn() -> bool) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !done() {
        tokio::time::timeout_at(deadline, store.committed.notified()).await.map_err(|_| "no scrape in time".to_owned())?;
    }
    Ok(())
}

/// A head that also notes the exemplars of the first batch.
#[derive(Default)]
struct Store {
    head: Head,
    exemplars: Mutex<BTreeSet<String>>,
    batches: AtomicUsize,
    committed: tokio::sync::Notify,
}

impl Appender for Store {
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        self.head.commit(batch, result)?;
        if self.batches.fetch_add(1, Ordering::Relaxed) == 0 {
            self.note_exemplars(batch, result);
        }
        self.committed.notify_one();
        Ok(())
    }
}

impl Store {
    fn note_exemplars(&self, batch: &Batch, result: &Committed) {
        let scraped_at = batch.rows.last().map(|row| row.timestamp);
        let mut noted = self.exemplars.lock().unwrap();
        for (series, exemplar) in &batch.exemplars {
            let RowSeries::Labels(index) = series else { continue };
            // A series whose samples were all refused is not there to have exemplars.
            if result.handles[*index as usize].is_none() {
                continue;
            }
            let mut series: Vec<_> = batch.labels[*index as usize].iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            series.retain(|(n, _)| n != "job" && n != "instance");
            let labels: Vec<_> = exemplar.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let time = Some(exemplar.timestamp).filter(|t| Some(*t) != scraped_at).map(|t| t.0);
            noted.insert(format!("{series:?} {labels:?} {} {time:?}", model::number::format_json(exemplar.value)));
        }
    }
}

type History = Vec<(i64, f64)>;

impl Store {
    fn select(&self, matcher: Matcher) -> BTreeMap<Labels, History> {
        let range = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
        let selection = self.head.select(range, &[matcher], &SelectHints::default()).unwrap();
        let mut found = BTreeMap::new();
        for series in &selection.series {
            let mut column = Column::default();
            series.decode(range, &mut column).unwrap();
            if !column.is_empty() {
                found.insert(series.labels().clone(), column.times.into_iter().zip(column.values).collect());
            }
        }
        found
    }

    /// The target's own report of this name.
    fn latest(&self, name: &str) -> BTreeMap<Labels, History> {
        let mut found = self.select(Matcher::equal("__name__", name));
        found.retain(|labels, _| labels.get("job") == Some("j"));
        found
    }

    fn all(&self) -> BTreeMap<Labels, History> {
        self.select(Matcher::new(model::MatchOp::Regex, "__name__", ".*").unwrap())
    }

    /// What an instant query sees half a second after the newest scrape, without the reports.
    fn visible(&self) -> Vec<(Vec<(String, String)>, f64)> {
        let mut seen = Vec::new();
        for (labels, history) in self.all() {
            let Some((_, value)) = history.last().copied() else { continue };
            if REPORTS.contains(&labels.metric_name()) || model::value::is_stale(value) {
                continue;
            }
            let shown = labels.iter().filter(|(n, _)| *n != "job" && *n != "instance").map(|(n, v)| (n.to_owned(), v.to_owned()));
            seen.push((shown.collect(), value));
        }
        seen
    }
}

/// A scraped server with one payload, or a second one from the second scrape on.
struct Target {
    port: u16,
    state: Arc<TargetState>,
}

#[derive(Default)]
struct TargetState {
    requests: AtomicUsize,
    headers: Mutex<BTreeMap<String, String>>,
    served_at: Mutex<i64>,
}

struct Reply {
    status: u64,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_openmetrics: bool,
}

impl Target {
    fn start(folder: &Path, row: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = row["file"].as_str().unwrap();
        let first = Reply {
            status: row["status"].as_u64().unwrap_or(200),
            content_type: row["content_type"].as_str().map(str::to_owned),
            headers: row["headers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|h| (h[0].as_str().unwrap().into(), h[1].as_str().unwrap().into()))
                .collect(),
            body: std::fs::read(folder.join(file)).unwrap(),
            is_openmetrics: file.ends_with(".om"),
        };
        let second = row["second_file"].as_str().map(|name| Reply {
            status: row["second_status"].as_u64().unwrap_or(200),
            content_type: first.content_type.clone(),
            headers: first.headers.clone(),
            body: std::fs::read(folder.join(name)).unwrap(),
            is_openmetrics: first.is_openmetrics,
        });
        let state = Arc::new(TargetState::default());
        let shared = state.clone();
        // Ends with the process: the listener has nobody to close it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that breaks off is no concern of a target.
                let _ = serve(stream, &shared, &first, second.as_ref());
            }
        });
        Self { port, state }
    }

    fn request_headers(&self) -> BTreeMap<String, String> {
        self.state.headers.lock().unwrap().clone()
    }

    fn served_at_minus_2000(&self) -> i64 {
        *self.state.served_at.lock().unwrap() - 2000
    }
}

fn serve(mut stream: TcpStream, state: &TargetState, first: &Reply, second: Option<&Reply>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let moved = matches!(first.status, 301 | 307);
    let redirected = moved && !path.ends_with("/moved");
    if !redirected {
        state.requests.fetch_add(1, Ordering::Relaxed);
    }
    let reply = second.filter(|_| state.requests.load(Ordering::Relaxed) > 1).unwrap_or(first);
    let now = SystemClock.now_ms();
    if state.requests.load(Ordering::Relaxed) <= 1 {
        *state.headers.lock().unwrap() = headers;
        *state.served_at.lock().unwrap() = now;
    }
    let stamp = now - 2000;
    let stamp = if reply.is_openmetrics { format!("{}.{:03}", stamp / 1000, stamp % 1000) } else { stamp.to_string() };
    let body = replace(&reply.body, b"@NOW-2000@", stamp.as_bytes());
    let status = if moved && !redirected { 200 } else { reply.status };
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if redirected {
        head.push_str(&format!("Location: {path}/moved\r\nContent-Length: 0\r\n\r\n"));
        return stream.write_all(head.as_bytes());
    }
    if let Some(content_type) = &reply.content_type {
        head.push_str(&format!("Content-Type: {content_type}\r\n"));
    }
    reply.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) && status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if status == 204 { Ok(()) } else { stream.write_all(&body) }
}

fn replace(body: &[u8], token: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.windows(token.len()).position(|w| w == token) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(with);
        rest = &rest[at + token.len()..];
    }
    out.extend_from_slice(rest);
    out
}
