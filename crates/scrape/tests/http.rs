//! Whole loops against targets that misbehave.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::Store;
use scrape::{Health, Manager, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A target that answers every request with `answer`, and remembers what was asked.
struct Target {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// What a target does with a request.
#[derive(Clone)]
enum Answer {
    Bytes(Vec<u8>),
    Nothing,
}

async fn target(answer: Answer) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap() == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            seen.lock().unwrap().push(String::from_utf8(request).unwrap());
            match &answer {
                Answer::Bytes(bytes) => drop(stream.write_all(bytes).await),
                Answer::Nothing => open.push(stream),
            }
        }
    });
    Target { address, asked, _tasks: tasks }
}

fn ok(body: &[u8], headers: &str) -> Answer {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Answer::Bytes(bytes)
}

fn text(body: &str) -> Answer {
    ok(body.as_bytes(), "Content-Type: text/plain\r\n")
}

fn manager(store: &Arc<Store>) -> Manager {
    let (appender, clock) = (Arc::clone(store) as Arc<dyn storage::Appender>, Arc::new(world::SystemClock));
    let host_name = "test".into();
    Manager::new(Options { appender, clock, host_name, workers: 2, start_timestamps: false, type_and_unit_labels: false })
}

/// The first scrape comes within the interval. A timeout that a busy machine does not exceed.
fn config(address: &str, settings: &str) -> config::Config {
    let text = format!(
        "global: {{scrape_interval: 2s, scrape_timeout: 2s}}\nscrape_configs:\n- job_name: j\n{settings}  static_configs: [{{targets: ['{address}']}}]\n"
    );
    config::parse(&text, Path::new("/"), |_| None).unwrap()
}

/// The target's state after its first scrape.
async fn first_scrape(manager: &Manager) -> scrape::ActiveTarget {
    loop {
        let target = manager.snapshot().pools[0].active[0].clone();
        if target.health != Health::Unknown {
            return target;
        }
        tokio::task::yield_now().await;
    }
}

async fn last_error(answer: Answer, settings: &str) -> String {
    let target = target(answer).await;
    let manager = manager(&Arc::default());
    manager.apply(&config(&target.address, settings)).await.unwrap();
    let error = first_scrape(&manager).await.last_error;
    manager.stop().await;
    error.replace(&target.address, "TARGET")
}

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_prometheus_words() {
    let status = |line: &str| Answer::Bytes(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes());
    let packed = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n";
    let short = Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\na 1\n".to_vec());
    let cases = [
        (text("a 1\n"), "", ""),
        (ok(&gzip("a 1\n"), packed), "", ""),
        (status("500 Internal Server Error"), "", "server returned HTTP status 500 Internal Server Error"),
        (status("204 No Content"), "", "server returned HTTP status 204 No Content"),
        (Answer::Nothing, "", "Get \"http://TARGET/metrics\": context deadline exceeded"),
        (Answer::Bytes(Vec::new()), "", "Get \"http://TARGET/metrics\": EOF"),
        (short, "", "unexpected EOF"),
        (ok(b"a 1\n", packed), "", "unexpected EOF"),
        (text("a 1\n"), "  body_size_limit: 4B\n", "body size limit exceeded"),
        (text("a 1\n"), "  body_size_limit: 5B\n", ""),
        (ok(&gzip("a 1\n"), packed), "  body_size_limit: 4B\n", "body size limit exceeded"),
        (text("a 1\nb 2\n"), "  sample_limit: 1\n", "sample limit exceeded"),
    ];
    let ask = |(case, (answer, settings, want))| async move { (case, last_error(answer, settings).await, want) };
    let mut all: JoinSet<_> = cases.into_iter().enumerate().map(ask).collect();
    while let Some(done) = all.join_next().await {
        let (case, error, want) = done.unwrap();
        assert_eq!(error, want, "answer {case}");
    }
}

#[tokio::test]
async fn a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let manager = manager(&Arc::default());
    manager.apply(&config(&address, "")).await.unwrap();
    let target = first_scrape(&manager).await;
    assert_eq!(target.last_error, format!("Get \"http://{address}/metrics\": dial tcp {address}: connect: connection refused"));
    assert_eq!(target.health, Health::Down);
    manager.stop().await;
}

#[tokio::test]
async fn asks_as_prometheus_does_and_stores_with_the_report() {
    let target = target(text("# HELP a Help.\n# TYPE a gauge\na 1\n")).await;
    let store = Arc::new(Store::default());
    let manager = manager(&store);
    manager.apply(&config(&target.address, "  params: {x: ['1 2']}\n")).await.unwrap();
    let active = first_scrape(&manager).await;
    assert_eq!((active.health, active.scrape_interval.as_str()), (Health::Up, "2s"));
    assert_eq!(manager.metadata()[0].families[0].1.help, "Help.");
    manager.stop().await;
    assert_eq!(store.report("up"), 1.0);
    assert_eq!(store.newest().len(), 1);
    let asked = target.asked.lock().unwrap()[0].to_lowercase();
    for part in [
        "get /metrics?x=1+2 http/1.1",
        "user-agent: prometheus/3.14.0",
        "x-prometheus-scrape-timeout-seconds: 2",
        "accept-encoding: gzip",
        "accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(manager.stats().totals.scrapes >= 1);
}

#[tokio::test]
async fn reload_keeps_loops_and_ends_those_of_targets_that_are_gone() {
    let target = target(text("a 1\n")).await;
    let store = Arc::new(Store::default());
    let manager = manager(&store);
    manager.apply(&config(&target.address, "")).await.unwrap();
    let before = first_scrape(&manager).await;
    manager.apply(&config(&target.address, "  sample_limit: 7\n")).await.unwrap();
    let after = manager.snapshot().pools[0].active[0].clone();
    assert!(after.last_scrape >= before.last_scrape, "the loop and its status are still there");
    let none = config::parse("scrape_configs: []\n", Path::new("/"), |_| None).unwrap();
    manager.apply(&none).await.unwrap();
    assert!(manager.snapshot().pools.is_empty());
    while !store.report("up").is_nan() {
        tokio::task::yield_now().await;
    }
    assert!(store.newest()[0].starts_with("a stale@"));
    manager.stop().await;
    assert!(manager.apply(&none).await.is_err());
}

#[tokio::test]
async fn target_limit_fails_all_scrapes_without_asking() {
    let target = target(text("a 1\n")).await;
    let manager = manager(&Arc::default());
    let two = format!("{}', 'localhost:1", target.address);
    manager.apply(&config(&two, "  target_limit: 1\n")).await.unwrap();
    assert_eq!(first_scrape(&manager).await.last_error, "target_limit exceeded (number of targets: 2, limit: 1)");
    manager.stop().await;
    assert!(target.asked.lock().unwrap().is_empty());
}
