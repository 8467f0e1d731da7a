//! `promql explain`: a query's parts as a tree, with what each did.

use crate::tool::Failure;
use clap::ArgMatches;
use model::Timestamp;
use promql::engine::{Control, Engine, EngineOptions};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use tsdb::{Db, Options};
use web::params::{parse_duration, parse_time};
use world::{Clock, SystemClock};

/// When a query is evaluated.
enum Times {
    At(Timestamp),
    Range { start: Timestamp, end: Timestamp, step: model::Millis },
}

/// Evaluates and prints.
pub fn explain(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let query = text("query").unwrap_or_default();
    let time = |name: &str| text(name).map(parse_time).transpose().map_err(Failure::Message);
    let times = match (time("start")?, time("end")?) {
        (Some(start), Some(end)) => {
            let step = parse_duration(text("step").unwrap_or_default()).map_err(Failure::Message)?.to_millis();
            Times::Range { start, end, step: model::Millis(step.0.max(1)) }
        }
        _ => Times::At(time("time")?.unwrap_or_else(|| Timestamp(SystemClock.now_ms()))),
    };
    let tree = match text("data") {
        Some(dir) => of_directory(Path::new(dir), query, &times)?,
        None => of_server(text("server").unwrap_or_default(), query, &times)?,
    };
    print(&tree, out)
}

fn of_directory(dir: &Path, query: &str, times: &Times) -> Result<Value, Failure> {
    let expr = promql::parse(query, &promql::ParserOptions::all())?;
    let db = Db::open_read_only(Options::new(dir))?;
    let engine = Engine::new(EngineOptions { experimental_functions: true, ..EngineOptions::default() });
    let control = Control { text: Some(query.into()), explain: true, ..Control::default() };
    let answer = match *times {
        Times::At(time) => engine.instant(&*db, &expr, time, &control)?,
        Times::Range { start, end, step } => engine.range(&*db, &expr, start, end, step, &control)?,
    };
    let explanation = answer.explanation.as_ref().map(web::explanation_json).unwrap_or_default();
    Ok(serde_json::from_str(&explanation)?)
}

fn of_server(server: &str, query: &str, times: &Times) -> Result<Value, Failure> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", query).append_pair("explain", "true");
    let seconds = |ms: i64| format!("{}", ms as f64 / 1000.0);
    let path = match times {
        Times::At(time) => {
            form.append_pair("time", &seconds(time.0));
            "query"
        }
        Times::Range { start, end, step } => {
            form.append_pair("start", &seconds(start.0)).append_pair("end", &seconds(end.0)).append_pair("step", &seconds(step.0));
            "query_range"
        }
    };
    let url = format!("{}/api/v1/{path}", server.trim_end_matches('/'));
    let client = http_client::build(&config::HttpClientSettings::default())?;
    let answer = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let request = client.post(&url).header("Content-Type", "application/x-www-form-urlencoded").body(form.finish());
        request.send().await?.bytes().await
    })?;
    let mut answer: Value = serde_json::from_slice(&answer)?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(Failure::Message(error.to_owned()));
    }
    match answer.pointer_mut("/data/explain") {
        Some(tree) => Ok(tree.take()),
        None => Err(Failure::Message(format!("{server} does not explain queries: it is not Pyrope"))),
    }
}

fn print(tree: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{:>9}  {:>8}  {:>11}  {:>11}  {:>9}  PART", "TIME", "SERIES", "SAMPLES", "VALUES", "MEMORY")?;
    print_part(tree, "", "", out)
}

/// One part and those below it; `first` leads its line, `rest` the others'.
fn print_part(part: &Value, first: &str, rest: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let number = |name: &str| part[name].as_u64().unwrap_or(0);
    let text = |name: &str| part[name].as_str().unwrap_or_default();
    let figures = format!(
        "{:>9}  {:>8}  {:>11}  {:>11}  {:>9}",
        milliseconds(part["seconds"].as_f64().unwrap_or(0.0)),
        number("series"),
        number("samples"),
        number("values"),
        memory(number("bytes"))
    );
    writeln!(out, "{figures}  {first}{}: {}", text("operation"), one_line(text("expression")))?;
    let parts = part["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let below = if parts.is_empty() { "  " } else { "│ " };
    for note in part["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(out, "{:56}{rest}{below}  ({note})", "")?;
    }
    for (at, inner) in parts.iter().enumerate() {
        let (branch, trunk) = if at + 1 == parts.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        print_part(inner, &format!("{rest}{branch}"), &format!("{rest}{trunk}"), out)?;
    }
    Ok(())
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

fn memory(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn one_line(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ")
}
