//! The real binary against targets that misbehave, sudden death, an orderly end, and changes of its configuration.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use support::exporter::{Exporter, Reply};
use support::remote_write::{Sender, labels, now_ms, write};
use support::samples::{Samples, assert_kept, merge, shown};
use support::{Server, poll, send};

const PAGE: &str = "# TYPE requests counter\nrequests{code=\"200\"} $N\nrequests{code=\"500\"} 2\n# TYPE open gauge\nopen 7\n";

#[test]
fn targets_that_misbehave_are_reported_and_disturb_nobody() {
    let huge = format!("{PAGE}# {}\n", "x".repeat(4096));
    let exporter = Exporter::start(&[
        ("/good", Reply::Page(PAGE.into())),
        ("/slow", Reply::Hold),
        ("/broken", Reply::Status(500)),
        ("/garbage", Reply::Page("open 7\nwhat is this\n".into())),
        ("/huge", Reply::Page(huge)),
        ("/hangup", Reply::Hangup),
    ]);
    let jobs = ["good", "slow", "broken", "garbage", "hangup", "huge"];
    let config = config(&exporter, &jobs) + "    body_size_limit: 1KB\n";
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &config);

    let get = |path: &str| format!("Get \"http://{}/{path}\": ", exporter.address);
    let want: BTreeMap<&str, (&str, String)> = [
        ("good", ("up", String::new())),
        ("slow", ("down", get("slow") + "context deadline exceeded")),
        ("broken", ("down", "server returned HTTP status 500 Internal Server Error".into())),
        ("garbage", ("down", "strconv.ParseFloat: parsing \"is\": invalid syntax while parsing: \"what is\" (line 2, column 6)".into())),
        ("hangup", ("down", get("hangup") + "EOF")),
        ("huge", ("down", "body size limit exceeded".into())),
    ]
    .into();
    for job in jobs {
        // A busy machine may let a target time out now and then, so each is given until the deadline.
        let (want_health, want_error) = &want[job];
        poll(&format!("{job}: {:?}", want[job]), || health(&server, job), |(health, error)| health == want_health && error == want_error);
    }
    for (job, (health, _)) in &want {
        let up = if *health == "up" { 1.0 } else { 0.0 };
        poll(&format!("up of {job}"), || value(&server, &format!("up{{job=\"{job}\"}}")), |v| *v == Some(up));
        assert!(value(&server, &format!("scrape_duration_seconds{{job=\"{job}\"}}")).is_some(), "{job}");
    }
    for (query, want) in [
        ("max_over_time(scrape_samples_scraped{job=\"good\"}[1h])", 3.0),
        ("max_over_time(scrape_samples_post_metric_relabeling{job=\"good\"}[1h])", 3.0),
        ("max_over_time(scrape_series_added{job=\"good\"}[1h])", 3.0),
        ("max_over_time(scrape_samples_scraped{job=\"huge\"}[1h])", 0.0),
        ("count({__name__=~\".+\",job=\"good\"})", 8.0),
        ("open{job=\"good\"}", 7.0),
    ] {
        poll(query, || value(&server, query), |v| *v == Some(want));
    }
    for job in ["garbage", "huge", "slow", "broken", "hangup"] {
        let query = format!("count_over_time({{__name__=~\"open|requests\",job=\"{job}\"}}[1h])");
        assert_eq!(value(&server, &query), None, "nothing of a scrape that failed may be kept: {job}");
    }
}

#[test]
fn what_vanishes_becomes_stale() {
    let exporter = Exporter::start(&[("/good", Reply::Page(PAGE.into()))]);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &config(&exporter, &["good"]));
    poll("the first scrape", || value(&server, "open"), |v| *v == Some(7.0));

    exporter.set("/good", Reply::Page("requests{code=\"200\"} $N\n".into()));
    poll(
        "a series to vanish",
        || (value(&server, "open"), value(&server, "requests")),
        |(open, requests)| open.is_none() && requests.is_some(),
    );
    assert!(value(&server, "count_over_time(open[1h])").is_some(), "what was stored stays");

    exporter.set("/good", Reply::Status(503));
    poll("a target's series to vanish", || (value(&server, "requests"), value(&server, "up")), |got| *got == (None, Some(0.0)));

    exporter.set("/good", Reply::Page(PAGE.into()));
    poll("the series to come back", || (value(&server, "open"), value(&server, "up")), |got| *got == (Some(7.0), Some(1.0)));
}

#[test]
fn sudden_death_loses_nothing_acknowledged() {
    let exporter = Exporter::start(&[("/good", Reply::Page(PAGE.into()))]);
    let config = config(&exporter, &["good"]);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Samples::new();
    for run in 0..4 {
        let server = Server::start(folder.path(), &config);
        if run > 0 {
            assert_kept(&acknowledged, &shown(&server));
        }
        let sender = Sender::start(&server.address, &format!("written_{run}"));
        sender.wait_for(20);
        let before = count_of(&server, "requests");
        poll("a scrape", || count_of(&server, "requests"), |count| *count > before);
        merge(&mut acknowledged, shown(&server));
        sender.wait_for(5);
        server.kill();
        merge(&mut acknowledged, sender.acknowledged());
        // What a power cut may leave of a record: the next start cuts it off and goes on.
        let tail: &[u8] = [&b""[..], &[0xff; 100], &[1, 0, 200, 1, 2, 3, 4, 5, 6], &[0; 50]][run];
        std::fs::File::options().append(true).open(last_segment(folder.path())).unwrap().write_all(tail).unwrap();
    }
    let server = Server::start(folder.path(), &config);
    assert_kept(&acknowledged, &shown(&server));
}

#[test]
fn several_segments_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--storage.tsdb.wal-segment-size=10MB", "--no-storage.tsdb.wal-compression"];
    let server = Server::start_with(folder.path(), "", &flags);
    // Long label values fill segments with few samples.
    let padding = "x".repeat(500_000);
    let mut acknowledged = Samples::new();
    for number in 0..45 {
        let series = labels("wide", &[("number", &number.to_string()), ("padding", &padding)]);
        let samples: Samples = [(series, [(now_ms(), 1.5_f64.to_bits())].into())].into();
        assert_eq!(write(&server.address, &samples), Some(204));
        merge(&mut acknowledged, samples);
    }
    server.kill();
    assert!(segments(folder.path()).len() >= 3, "{:?}", segments(folder.path()));
    let server = Server::start_with(folder.path(), "", &flags);
    assert_kept(&acknowledged, &shown(&server));
}

#[test]
fn an_orderly_end_loses_nothing() {
    let exporter = Exporter::start(&[("/good", Reply::Page(PAGE.into()))]);
    let config = config(&exporter, &["good"]);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &config);
    let sender = Sender::start(&server.address, "written");
    sender.wait_for(10);
    poll("a scrape", || count_of(&server, "requests"), |count| *count > 0.0);
    let mut acknowledged = shown(&server);
    assert_eq!(server.terminate(), Some(0));
    merge(&mut acknowledged, sender.acknowledged());

    let server = Server::start(folder.path(), &config);
    assert_kept(&acknowledged, &shown(&server));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_configuration_is_replaced_whole_or_not_at_all() {
    let exporter = Exporter::start(&["/first", "/second", "/third"].map(|path| (path, Reply::Page(PAGE.into()))));
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &config(&exporter, &["first"]));
    let save = |text: &str| std::fs::write(folder.path().join("prometheus.yml"), text).unwrap();
    let reload = || send(&server.address, "POST", "/-/reload", &[], b"").unwrap();
    assert_eq!((pools(&server), reload_successful(&server)), (vec!["first".to_owned()], 1.0));

    save(&config(&exporter, &["second", "third"]));
    server.signal(support::Signal::HUP);
    poll("the new configuration by SIGHUP", || pools(&server), |pools| *pools == ["second", "third"]);
    poll("its scrapes", || value(&server, "up{job=\"third\"}"), |up| *up == Some(1.0));
    poll("the old job to end", || value(&server, "up{job=\"first\"}"), |up| up.is_none());
    let in_force = server.get("/api/v1/status/config").json();
    assert!(in_force["data"]["yaml"].as_str().unwrap().contains("second"), "{in_force}");

    // The second job is valid: a configuration that fails halfway must not leave it behind.
    for invalid in [
        format!("{}  - job_name: third\n    scrape_interval: soon\n", config(&exporter, &["first"])),
        "scrape_configs: [".to_owned(),
        format!("{}  - job_name: first\n", config(&exporter, &["first"])),
        format!("{}rule_files: [rules.yml]\n", config(&exporter, &["first"])),
    ] {
        std::fs::write(folder.path().join("rules.yml"), "groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]").unwrap();
        save(&invalid);
        let answer = reload();
        assert_eq!(answer.status, 500);
        assert!(answer.text().starts_with("failed to reload config: couldn't load configuration (--config.file="), "{}", answer.text());
        assert_eq!(answer.text().trim_end().lines().count(), 1, "{}", answer.text());
        assert_eq!(reload_successful(&server), 0.0);
        assert_eq!(pools(&server), ["second", "third"]);
        assert_eq!(server.get("/api/v1/status/config").json(), in_force);
    }

    save(&config(&exporter, &["first"]));
    let answer = reload();
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!((pools(&server), reload_successful(&server)), (vec!["first".to_owned()], 1.0));

    save("scrape_configs: [");
    server.signal(support::Signal::HUP);
    poll("SIGHUP to refuse the configuration", || reload_successful(&server), |value| *value == 0.0);
    assert_eq!(pools(&server), ["first"]);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn listings_end_at_their_limit_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let mut samples = Samples::new();
    for id in ["a", "b", "c"] {
        samples.insert(labels("m", &[("id", id)]), [(now_ms(), 1.5_f64.to_bits())].into());
    }
    assert_eq!(write(&server.address, &samples), Some(204));
    for (path, limited, all) in [
        ("/api/v1/labels?", 1, 2),
        ("/api/v1/label/id/values?", 2, 3),
        ("/api/v1/label/id/values?match%5B%5D=m&", 2, 3),
        ("/api/v1/series?match%5B%5D=m&", 2, 3),
        ("/api/v1/series?match%5B%5D=%7Bid%3D%22a%22%7D&match%5B%5D=%7Bid%3D%22c%22%7D&", 1, 2),
    ] {
        for (limit, count) in [(0, all), (limited, limited), (all, all), (all + 1, all)] {
            let answer = server.get(&format!("{path}limit={limit}")).json();
            assert_eq!(answer["data"].as_array().map(Vec::len), Some(count), "{path} {limit}: {answer}");
            let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
            let want: &[&str] = if count < all { &["results truncated due to limit"] } else { &[] };
            assert_eq!(warnings, want, "{path} {limit}");
        }
    }
}

/// One job for each of the exporter's paths.
fn config(exporter: &Exporter, paths: &[&str]) -> String {
    let mut text = "global: {scrape_interval: 300ms, scrape_timeout: 300ms}\nscrape_configs:\n".to_owned();
    for path in paths {
        text.push_str(&format!(
            "  - job_name: {path}\n    metrics_path: /{path}\n    static_configs: [{{targets: ['{}']}}]\n",
            exporter.address
        ));
    }
    text
}

fn health(server: &Server, job: &str) -> (String, String) {
    let targets = server.get(&format!("/api/v1/targets?scrapePool={job}")).json();
    let target = &targets["data"]["activeTargets"][0];
    (target["health"].as_str().unwrap().to_owned(), target["lastError"].as_str().unwrap().to_owned())
}

/// The value of the first series of an instant query.
fn value(server: &Server, query: &str) -> Option<f64> {
    let data = server.query(query, None);
    data["result"].get(0).and_then(|series| series["value"][1].as_str()).map(|value| value.parse().unwrap())
}

fn count_of(server: &Server, name: &str) -> f64 {
    value(server, &format!("sum(count_over_time({name}[1h]))")).unwrap_or(0.0)
}

fn pools(server: &Server) -> Vec<String> {
    let pools = server.get("/api/v1/scrape_pools").json();
    let mut names: Vec<String> =
        pools["data"]["scrapePools"].as_array().unwrap().iter().map(|n: &Value| n.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn reload_successful(server: &Server) -> f64 {
    let page = server.get("/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix("prometheus_config_last_reload_successful "));
    line.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

/// The log's segments, oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("data/wal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    segments.sort();
    segments
}

fn last_segment(folder: &Path) -> PathBuf {
    segments(folder).pop().unwrap()
}
