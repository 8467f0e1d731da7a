//! From checked values to the plain [`Config`].

use std::path::PathBuf;

use model::Labels;
use relabel::{Rule, RuleSpec};

use crate::types::{
    Alerting, Authorization, BasicAuth, Config, EscapingScheme, Global, HttpClientSettings, Retention, ScrapeConfig, ScrapeProtocol,
    Secret, StaticGroup, Storage, TlsSettings, TlsVersion, ValidationScheme,
};
use crate::value::{Record, Value};

/// The whole file, without the `scrape_config_files`.
pub(crate) fn config(record: &Record) -> Result<Config, String> {
    let global = section(record, "global")?;
    let scheme = global.str("metric_name_validation_scheme");
    let jobs: Result<Vec<ScrapeConfig>, String> = record.records("scrape_configs").map(scrape_config).collect();
    let alerting = match record.record("alerting") {
        Some(alerting) => Alerting {
            alertmanager_count: alerting.list("alertmanagers").len(),
            alert_relabel_configs: relabel_rules(alerting, "alert_relabel_configs", scheme)?,
        },
        None => Alerting::default(),
    };
    Ok(Config {
        global: self::global(global),
        scrape_configs: jobs?,
        rule_files: record.strings("rule_files").map(PathBuf::from).collect(),
        scrape_config_files: record.strings("scrape_config_files").map(PathBuf::from).collect(),
        alerting,
        storage: storage(section(record, "storage")?),
        gogc: record.record("runtime").map_or(0, |runtime| runtime.int("gogc")),
        record: None,
        scrape_files: Vec::new(),
    })
}

/// A section that the defaults always fill in.
fn section<'a>(record: &'a Record, name: &str) -> Result<&'a Record, String> {
    record.record(name).ok_or_else(|| format!("section {name} is missing"))
}

fn global(record: &Record) -> Global {
    Global {
        scrape_interval: record.duration("scrape_interval"),
        scrape_timeout: record.duration("scrape_timeout"),
        evaluation_interval: record.duration("evaluation_interval"),
        rule_query_offset: record.duration("rule_query_offset"),
        external_labels: labels(record, "external_labels"),
        query_log_file: path(record, "query_log_file"),
        scrape_failure_log_file: path(record, "scrape_failure_log_file"),
        metric_name_validation_scheme: scheme(record.str("metric_name_validation_scheme")),
    }
}

fn storage(record: &Record) -> Storage {
    let tsdb = record.record("tsdb");
    let retention = tsdb.and_then(|tsdb| tsdb.record("retention")).filter(|retention| retention.line > 0);
    Storage {
        out_of_order_time_window: tsdb.map(|tsdb| tsdb.duration("out_of_order_time_window")).unwrap_or_default(),
        retention: retention.map(|retention| Retention {
            time: retention.duration("time"),
            size: retention.int("size").unsigned_abs(),
            percentage: retention.float("percentage"),
        }),
        float_encoding: tsdb.and_then(|tsdb| tsdb.record("chunk_encoding")).map_or("", |encoding| encoding.str("floats")).to_owned(),
        stale_series_compaction_threshold: tsdb.map_or(0.0, |tsdb| tsdb.float("stale_series_compaction_threshold")),
        exemplars_max: match record.record("exemplars") {
            Some(exemplars) => exemplars.int("max_exemplars"),
            None => 100_000,
        },
    }
}

/// One job, with the globals applied.
pub(crate) fn scrape_config(record: &Record) -> Result<ScrapeConfig, String> {
    let name_scheme = record.str("metric_name_validation_scheme");
    let groups = record
        .records("static_configs")
        .map(|group| StaticGroup { targets: group.strings("targets").map(str::to_owned).collect(), labels: labels(group, "labels") });
    Ok(ScrapeConfig {
        job_name: record.str("job_name").to_owned(),
        scrape_interval: record.duration("scrape_interval"),
        scrape_timeout: record.duration("scrape_timeout"),
        metrics_path: record.str("metrics_path").to_owned(),
        scheme: record.str("scheme").to_owned(),
        params: record.map("params").iter().map(|(name, values)| (name.clone(), texts(values))).collect(),
        honor_labels: record.bool("honor_labels"),
        honor_timestamps: record.bool("honor_timestamps"),
        track_timestamps_staleness: record.bool("track_timestamps_staleness"),
        // A negative size means no limit, as zero does.
        body_size_limit: u64::try_from(record.int("body_size_limit")).unwrap_or(0),
        sample_limit: record.uint("sample_limit"),
        label_limit: record.uint("label_limit"),
        label_name_length_limit: record.uint("label_name_length_limit"),
        label_value_length_limit: record.uint("label_value_length_limit"),
        target_limit: record.uint("target_limit"),
        keep_dropped_targets: record.uint("keep_dropped_targets"),
        scrape_protocols: record.strings("scrape_protocols").filter_map(ScrapeProtocol::from_name).collect(),
        fallback_scrape_protocol: ScrapeProtocol::from_name(record.str("fallback_scrape_protocol")),
        metric_name_validation_scheme: scheme(name_scheme),
        metric_name_escaping_scheme: match record.str("metric_name_escaping_scheme") {
            "underscores" => EscapingScheme::Underscores,
            "dots" => EscapingScheme::Dots,
            "values" => EscapingScheme::Values,
            _ => EscapingScheme::AllowUtf8,
        },
        enable_compression: record.bool("enable_compression"),
        extra_scrape_metrics: record.bool("extra_scrape_metrics"),
        scrape_native_histograms: record.bool("scrape_native_histograms"),
        always_scrape_classic_histograms: record.bool("always_scrape_classic_histograms"),
        convert_classic_histograms_to_nhcb: record.bool("convert_classic_histograms_to_nhcb"),
        native_histogram_bucket_limit: record.uint("native_histogram_bucket_limit"),
        native_histogram_min_bucket_factor: record.float("native_histogram_min_bucket_factor"),
        scrape_failure_log_file: path(record, "scrape_failure_log_file"),
        http: http_client(record),
        relabel_configs: relabel_rules(record, "relabel_configs", name_scheme)?,
        metric_relabel_configs: relabel_rules(record, "metric_relabel_configs", name_scheme)?,
        static_configs: groups.collect(),
    })
}

fn relabel_rules(record: &Record, list: &str, scheme: &str) -> Result<Vec<Rule>, String> {
    record.records(list).map(|rule| relabel_rule(rule, scheme)).collect()
}

/// One rule, with the checks that depend on which names are valid.
pub(crate) fn relabel_rule(record: &Record, name_scheme: &str) -> Result<Rule, String> {
    let text = |name: &str| Some(record.str(name).to_owned());
    let spec = RuleSpec {
        source_labels: record.has("source_labels").then(|| record.strings("source_labels").map(str::to_owned).collect()),
        separator: text("separator"),
        regex: record.has("regex").then(|| record.str("regex").to_owned()),
        modulus: record.uint("modulus"),
        target_label: text("target_label"),
        replacement: text("replacement"),
        action: text("action"),
    };
    Rule::new(spec, scheme(name_scheme)).map_err(|error| error.to_string())
}

/// The embedded client settings of a section.
fn http_client(record: &Record) -> HttpClientSettings {
    let headers = record.map("http_headers").iter().filter_map(|(name, header)| match header {
        Value::Record(header) => Some((name.clone(), header_values(header))),
        _ => None,
    });
    let proxy_headers = record.map("proxy_connect_header").iter().map(|(name, values)| (name.clone(), texts(values)));
    HttpClientSettings {
        basic_auth: record.record("basic_auth").map(|basic| BasicAuth {
            username: secret(basic, "username", "username_file").unwrap_or(Secret::Inline(String::new())),
            password: secret(basic, "password", "password_file"),
        }),
        authorization: record.record("authorization").map(|authorization| Authorization {
            kind: authorization.str("type").to_owned(),
            credentials: secret(authorization, "credentials", "credentials_file"),
        }),
        oauth2: record.has("oauth2"),
        tls: record.record("tls_config").map(tls).unwrap_or_default(),
        proxy_url: Some(record.str("proxy_url")).filter(|url| !url.is_empty()).map(str::to_owned),
        no_proxy: record.str("no_proxy").to_owned(),
        proxy_from_environment: record.bool("proxy_from_environment"),
        proxy_connect_header: proxy_headers.collect(),
        follow_redirects: record.bool("follow_redirects"),
        enable_http2: record.bool("enable_http2"),
        http_headers: headers.collect(),
    }
}

fn header_values(header: &Record) -> Vec<Secret> {
    let inline = header.strings("values").chain(header.strings("secrets")).map(|value| Secret::Inline(value.to_owned()));
    inline.chain(header.strings("files").map(|path| Secret::File(PathBuf::from(path)))).collect()
}

fn tls(record: &Record) -> TlsSettings {
    let version = |name: &str| match record.str(name) {
        "TLS10" => Some(TlsVersion::Tls10),
        "TLS11" => Some(TlsVersion::Tls11),
        "TLS12" => Some(TlsVersion::Tls12),
        "TLS13" => Some(TlsVersion::Tls13),
        _ => None,
    };
    TlsSettings {
        ca: secret(record, "ca", "ca_file"),
        cert: secret(record, "cert", "cert_file"),
        key: secret(record, "key", "key_file"),
        server_name: record.str("server_name").to_owned(),
        insecure_skip_verify: record.bool("insecure_skip_verify"),
        min_version: version("min_version"),
        max_version: version("max_version"),
    }
}

fn secret(record: &Record, inline: &str, file: &str) -> Option<Secret> {
    match (record.str(inline), record.str(file)) {
        ("", "") => None,
        ("", path) => Some(Secret::File(PathBuf::from(path))),
        (text, _) => Some(Secret::Inline(text.to_owned())),
    }
}

fn scheme(name: &str) -> ValidationScheme {
    if name == "legacy" { ValidationScheme::Legacy } else { ValidationScheme::Utf8 }
}

fn path(record: &Record, name: &str) -> Option<PathBuf> {
    Some(record.str(name)).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn labels(record: &Record, name: &str) -> Labels {
    // A label without value is no label.
    let pairs = record.map(name).iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Labels::from_pairs(pairs.filter(|(_, value)| !value.is_empty()))
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().map(|item| item.as_str().to_owned()).collect(),
        _ => Vec::new(),
    }
}
