//! Loading as a user meets it: defaults, refusals, what is not supported yet, the printed configuration.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use config::{Config, Mode, Retention, Secret};
use model::Millis;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Config, String> {
    config::parse(text, Path::new("/etc/p"), |_| None).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, want: &str) {
    assert_eq!(parse(text).unwrap_err(), want, "{text}");
}

#[track_caller]
fn faults(text: &str, want: &[&str]) {
    refused(text, &format!("yaml: unmarshal errors:\n  {}", want.join("\n  ")));
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "# nothing", "global:\n", "global:\nruntime:\nstorage:\n"] {
        let config = parse(text).unwrap();
        assert_eq!(config.global.scrape_interval, Millis(60_000));
        assert_eq!(config.global.scrape_timeout, Millis(10_000));
        assert_eq!(config.gogc, 75);
        assert!(config.unsupported().is_empty() && config.warnings().is_empty());
    }
}

#[test]
fn a_missing_file_is_named() {
    let message = config::load(Path::new("/nonexistent/prometheus.yml")).unwrap_err().to_string();
    assert_eq!(message, "open /nonexistent/prometheus.yml: no such file or directory");
}

#[test]
fn jobs_take_from_global() {
    let text = "global: {scrape_interval: 5s, sample_limit: 7}\nscrape_configs:\n- job_name: a\n- job_name: b\n  scrape_interval: 1m\n  sample_limit: 8\n";
    let jobs = parse(text).unwrap().scrape_configs;
    assert_eq!((jobs[0].scrape_interval, jobs[0].scrape_timeout, jobs[0].sample_limit), (Millis(5000), Millis(5000), 7));
    assert_eq!((jobs[1].scrape_interval, jobs[1].scrape_timeout, jobs[1].sample_limit), (Millis(60_000), Millis(5000), 8));
    assert_eq!((jobs[0].metrics_path.as_str(), jobs[0].scheme.as_str()), ("/metrics", "http"));
    assert!(jobs[0].honor_timestamps && jobs[0].enable_compression && jobs[0].http.follow_redirects);
}

#[test]
fn what_does_not_fit_is_listed_by_line() {
    faults(
        "nope: 1\nglobal:\n  what: 2\n",
        &["line 1: field nope not found in type config.plain", "line 3: field what not found in type config.plain"],
    );
    faults("scrape_configs:\n- job_name: a\n  foo: 1\n", &["line 3: field foo not found in type config.ScrapeConfig"]);
    faults("scrape_configs: 5\n", &["line 1: cannot unmarshal !!int `5` into []*config.ScrapeConfig"]);
    faults("global: [1]\n", &["line 1: cannot unmarshal !!seq into config.plain"]);
    faults("scrape_configs:\n- {job_name: a, honor_labels: perhaps}\n", &["line 2: cannot unmarshal !!str `perhaps` into bool"]);
    faults("global: {sample_limit: a-long-text}\n", &["line 1: cannot unmarshal !!str `a-long-...` into uint"]);
    faults("global:\n  scrape_interval: 1s\n  scrape_interval: 2s\n", &["line 3: field scrape_interval already set in type config.plain"]);
    faults("global:\n  external_labels:\n    a: b\n    a: c\n", &["line 4: key \"a\" already set in map"]);
    faults(
        "scrape_configs:\n- job_name: a\n  static_configs:\n  - target: [x]\n",
        &[
            "line 4: field target not found in type struct { Targets []string \"yaml:\\\"targets\\\"\"; Labels model.LabelSet \"yaml:\\\"labels\\\"\" }",
        ],
    );
}

#[test]
fn checks_have_the_words_of_prometheus() {
    refused("global: {scrape_interval: -1h}\n", "not a valid duration string: \"-1h\"");
    refused("global: {scrape_interval: 15}\n", "not a valid duration string: \"15\"");
    refused("global: {scrape_interval: 1s, scrape_timeout: 2s}\n", "global scrape timeout greater than scrape interval");
    refused("scrape_configs: [{}]\n", "job_name is empty");
    refused("scrape_configs: [null]\n", "empty or null scrape config section");
    refused(
        "scrape_configs: [{job_name: a, scrape_timeout: 2m}]\n",
        "scrape timeout greater than scrape interval for scrape config with job name \"a\"",
    );
    refused("scrape_configs: [{job_name: a}, {job_name: a}]\n", "found multiple scrape configs with job name \"a\"");
    refused("scrape_configs: [{job_name: a, static_configs: [{targets: ['http://x']}]}]\n", "\"http://x\" is not a valid hostname");
    refused(
        "scrape_configs: [{job_name: a, authorization: {type: Basic}}]\n",
        "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
    );
    refused("rule_files: ['a/*/b.yml']\n", "invalid rule file path \"a/*/b.yml\"");
    refused("scrape_configs: [{job_name: a, file_sd_configs: [null]}]\n", "empty or null section in file_sd_configs");
}

#[test]
fn scalars_are_read_as_by_go() {
    let text = "scrape_configs:\n- job_name: 010\n  honor_labels: yes\n  sample_limit: 0x10\n  params: {a: [1.10, on]}\n";
    let job = parse(text).unwrap().scrape_configs.remove(0);
    assert_eq!((job.job_name.as_str(), job.honor_labels, job.sample_limit), ("010", true, 16));
    assert_eq!(job.params, [("a".to_owned(), vec!["1.10".to_owned(), "on".to_owned()])]);
}

#[test]
fn anchors_and_merges_work() {
    let text = "scrape_configs:\n- &base\n  job_name: a\n  scheme: https\n- <<: *base\n  job_name: b\n";
    let jobs = parse(text).unwrap().scrape_configs;
    assert_eq!((jobs[1].job_name.as_str(), jobs[1].scheme.as_str()), ("b", "https"));
}

#[test]
fn paths_and_variables_are_filled_in() {
    let text = "global: {external_labels: {a: 'x${V}', b: $V}}\nrule_files: [r/*.yml]\nscrape_configs:\n- job_name: j\n  basic_auth: {username: u, password_file: p}\n  tls_config: {ca_file: /abs}\n  bearer_token: ''\n";
    let config = config::parse(text, Path::new("/etc/p"), |name| (name == "V").then(|| "v".to_owned())).unwrap();
    assert_eq!(config.global.external_labels.get("a"), Some("xv"));
    assert_eq!(config.rule_files, [PathBuf::from("/etc/p/r/*.yml")]);
    let http = &config.scrape_configs[0].http;
    assert_eq!(http.basic_auth.as_ref().unwrap().password, Some(Secret::File("/etc/p/p".into())));
    assert_eq!(http.tls.ca, Some(Secret::File("/abs".into())));
}

#[test]
fn what_is_not_served_yet_is_named_with_its_line() {
    let text = "scrape_configs:\n- job_name: a\n  dns_sd_configs:\n  - names: [x]\n  oauth2: {client_id: c, token_url: http://t}\nremote_write:\n- url: http://w\nstorage:\n  tsdb:\n    out_of_order_time_window: 10m\ntracing: {endpoint: t}\n";
    let named: Vec<String> = parse(text).unwrap().unsupported().iter().map(ToString::to_string).collect();
    let want = [
        "line 3: field scrape_configs.dns_sd_configs is not supported yet",
        "line 5: field scrape_configs.oauth2 is not supported yet",
        "line 6: field remote_write is not supported yet",
        "line 11: field tracing is not supported yet",
    ];
    assert_eq!(named, want);
}

#[test]
fn alerting_is_warned_of() {
    let text = "alerting:\n  alertmanagers:\n  - static_configs: [{targets: [a:1]}]\nstorage:\n  tsdb:\n    retention: {time: 1d}\n";
    let config = parse(text).unwrap();
    assert!(config.unsupported().is_empty());
    let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    let want = ["line 1: field alerting: alerts are not sent yet"];
    assert_eq!(warnings, want);
    assert_eq!(config.storage.retention, Some(Retention { time: Millis(86_400_000), ..Retention::default() }));
}

#[test]
fn the_printed_configuration_hides_secrets_and_loads_again() {
    let text = "scrape_configs:\n- job_name: 'yes'\n  authorization: {credentials: s3cret}\n  proxy_url: http://u:pw@proxy\n  static_configs:\n  - targets: ['a:1']\n    labels: {x: '1'}\n  relabel_configs:\n  - {source_labels: [a, b], regex: '(.*)', target_label: c}\n";
    let printed = parse(text).unwrap().to_yaml();
    assert!(!printed.contains("s3cret") && printed.contains("credentials: <secret>"), "{printed}");
    assert!(printed.contains("proxy_url: http://u:xxxxx@proxy\n"), "{printed}");
    assert!(printed.contains("- job_name: \"yes\"\n"), "{printed}");
    assert!(printed.contains("  - source_labels: [a, b]\n    separator: ;\n    regex: (.*)\n    target_label: c\n"), "{printed}");
    let again = parse(&printed).unwrap();
    assert_eq!(again.to_yaml(), printed);
    assert!(again.unsupported().is_empty());
}

#[test]
fn scrape_config_files_are_read_and_checked() {
    let folder = std::env::temp_dir().join(format!("config-loading-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("prometheus.yml", "scrape_config_files: [jobs-*.yml]\nscrape_configs: [{job_name: a}]\n");
    write("jobs-1.yml", "scrape_configs:\n- job_name: b\n  scrape_failure_log_file: f\n");
    let path = folder.join("prometheus.yml");
    let config = config::load(&path).unwrap();
    assert_eq!(config.scrape_configs[1].scrape_failure_log_file, Some(folder.join("f")));
    assert_eq!(config.unsupported()[0].file, Some(folder.join("jobs-1.yml")));
    write("jobs-2.yml", "scrape_configs: [{job_name: a}]\n");
    let message = config::load(&path).unwrap_err().to_string();
    assert!(message.ends_with("jobs-2.yml\": found multiple scrape configs with job name \"a\""), "{message}");
    write("prometheus.yml", "nope: 1\n");
    let message = config::load(&path).unwrap_err().to_string();
    assert!(message.starts_with("parsing YAML file ") && message.ends_with("field nope not found in type config.plain"));
    write("prometheus.yml", "rule_files: [x]\n");
    let message = config::load_as(&path, Mode::Agent).unwrap_err().to_string();
    assert_eq!(message, "field rule_files is not allowed in agent mode");
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    #[test]
    fn any_text_returns(text in "(global|scrape_configs|storage|tsdb|- |job_name|: |\n  |\n|[a-z]|\\*|&|<<|!!binary |[0-9]{1,3}[smh]?|\\[|\\]|\\{|\\}|,){0,40}") {
        let _ = parse(&text).map(|config| config.to_yaml());
    }
}
