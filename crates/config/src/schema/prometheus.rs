//! The file's own sections: `global`, scrape jobs, `alerting`, `storage`, `tracing`, `otlp`, relabelling rules.

use model::Millis;
use model::name::{is_legacy_label_name, quote};

use super::http::{self, refuse};
use super::remote::{REMOTE_READ, REMOTE_WRITE, SIGV4, check_reserved};
use super::{Table, Type, anything, discovery, field};
use crate::decode::LABEL_NAME;
use crate::types::ScrapeProtocol;
use crate::value::{Record, Value};
use Type::{Bool, Checked, Duration, Float, Int, List, Map, Path, Size, Str, Uint};

pub(crate) const RELABEL_RULES: Type = List(&Type::Record(&RELABEL));
const PROTOCOLS: Type = List(&Str);
const SCHEME: Type = Checked("string", check_validation_scheme);

pub(crate) static CONFIG: Table = Table {
    go: "config.Config",
    plain: "config.plain",
    fields: &[&[
        field("global", Type::Record(&GLOBAL)).default("{}").always(),
        field("runtime", Type::Record(&RUNTIME)).default("{}"),
        field("alerting", Type::Record(&ALERTING)),
        field("rule_files", List(&Path)),
        field("scrape_config_files", List(&Path)),
        field("scrape_configs", List(&Type::Record(&SCRAPE))),
        field("storage", Type::Record(&STORAGE)).default("{}"),
        field("tracing", Type::Record(&TRACING)),
        field("remote_write", List(&Type::Record(&REMOTE_WRITE))),
        field("remote_read", List(&Type::Record(&REMOTE_READ))),
        field("otlp", Type::Record(&OTLP)).default("{}"),
    ]],
    overrides: &[],
    check: check_config,
};

static GLOBAL: Table = Table {
    go: "config.GlobalConfig",
    plain: "config.plain",
    fields: &[&[
        field("scrape_interval", Duration),
        field("scrape_timeout", Duration),
        field("scrape_protocols", PROTOCOLS),
        field("evaluation_interval", Duration),
        field("rule_query_offset", Duration),
        field("query_log_file", Path),
        field("scrape_failure_log_file", Path),
        field("external_labels", Map(&Str)),
        field("body_size_limit", Size),
        field("sample_limit", Uint),
        field("target_limit", Uint),
        field("label_limit", Uint),
        field("label_name_length_limit", Uint),
        field("label_value_length_limit", Uint),
        field("keep_dropped_targets", Uint),
        field("metric_name_validation_scheme", SCHEME),
        field("metric_name_escaping_scheme", Str),
        field("scrape_native_histograms", Bool).unless_unset(),
        field("convert_classic_histograms_to_nhcb", Bool),
        field("always_scrape_classic_histograms", Bool),
        field("extra_scrape_metrics", Bool).unless_unset(),
    ]],
    overrides: &[],
    check: check_global,
};

static RUNTIME: Table = Table {
    go: "config.RuntimeConfig",
    plain: "config.RuntimeConfig",
    fields: &[&[field("gogc", Int).default("75")]],
    overrides: &[],
    check: anything,
};

/// What a file of `scrape_config_files` holds.
pub(crate) static SCRAPE_FILE: Table = Table {
    go: "config.ScrapeConfigs",
    plain: "config.ScrapeConfigs",
    fields: &[&[field("scrape_configs", List(&Type::Record(&SCRAPE)))]],
    overrides: &[],
    check: anything,
};

static SCRAPE: Table = Table {
    go: "config.ScrapeConfig",
    plain: "config.ScrapeConfig",
    fields: &[
        &[
            field("job_name", Str).always(),
            field("honor_labels", Bool),
            field("honor_timestamps", Bool).default("true").always(),
            field("track_timestamps_staleness", Bool).always(),
            field("params", Map(&List(&Str))),
            field("scrape_interval", Duration),
            field("scrape_timeout", Duration),
            field("scrape_protocols", PROTOCOLS),
            field("fallback_scrape_protocol", Str),
            field("scrape_native_histograms", Bool).unless_unset(),
            field("always_scrape_classic_histograms", Bool).unless_unset(),
            field("convert_classic_histograms_to_nhcb", Bool).unless_unset(),
            field("scrape_failure_log_file", Path),
            field("metrics_path", Str).default("/metrics"),
            field("scheme", Str).default("http"),
            field("enable_compression", Bool).default("true").always(),
            field("body_size_limit", Size),
            field("sample_limit", Uint),
            field("target_limit", Uint),
            field("label_limit", Uint),
            field("label_name_length_limit", Uint),
            field("label_value_length_limit", Uint),
            field("native_histogram_bucket_limit", Uint),
            field("native_histogram_min_bucket_factor", Float),
            field("keep_dropped_targets", Uint),
            field("metric_name_validation_scheme", SCHEME),
            field("metric_name_escaping_scheme", Str),
            field("extra_scrape_metrics", Bool).unless_unset(),
        ],
        http::FIELDS,
        &[field("relabel_configs", RELABEL_RULES), field("metric_relabel_configs", RELABEL_RULES)],
        discovery::FIELDS,
    ],
    overrides: &[],
    check: check_scrape,
};

static RELABEL: Table = Table {
    go: "relabel.Config",
    plain: "relabel.plain",
    fields: &[&[
        field("source_labels", List(&LABEL_NAME)),
        field("separator", Str).default(";").always(),
        // Without a default: a regex that is written out counts as a field even if it is the default's text.
        field("regex", Checked("string", check_regex)).unless_unset(),
        field("modulus", Uint),
        field("target_label", Str),
        field("replacement", Str).default("$1").always(),
        field("action", Checked("string", check_action)).default("replace"),
    ]],
    overrides: &[],
    check: check_relabel,
};

static ALERTING: Table = Table {
    go: "config.AlertingConfig",
    plain: "config.plain",
    fields: &[&[field("alert_relabel_configs", RELABEL_RULES), field("alertmanagers", List(&Type::Record(&ALERTMANAGER)))]],
    overrides: &[],
    check: |alerting| refuse(has_null(alerting, "alert_relabel_configs"), "empty or null alert relabeling rule"),
};

static ALERTMANAGER: Table = Table {
    go: "config.AlertmanagerConfig",
    plain: "config.AlertmanagerConfig",
    fields: &[
        http::FIELDS,
        &[
            field("sigv4", Type::Record(&SIGV4)).unless_unset(),
            field("scheme", Str).default("http"),
            field("path_prefix", Str),
            field("timeout", Duration).default("10s"),
            field("api_version", Checked("config.plain", check_api_version)).default("v2").always(),
            field("relabel_configs", RELABEL_RULES),
            field("alert_relabel_configs", RELABEL_RULES),
        ],
        discovery::FIELDS,
    ],
    overrides: &[],
    check: check_alertmanager,
};

static STORAGE: Table = Table {
    go: "config.StorageConfig",
    plain: "config.StorageConfig",
    fields: &[&[
        field("tsdb", Type::Record(&TSDB)).default("{}").unless_unset(),
        field("exemplars", Type::Record(&EXEMPLARS)).unless_unset(),
    ]],
    overrides: &[],
    check: anything,
};

static TSDB: Table = Table {
    go: "config.TSDBConfig",
    plain: "config.plain",
    fields: &[&[
        // Go's own name of a field without tag; Prometheus prints it, hence must read it back.
        field("outofordertimewindow", Int).always(),
        field("out_of_order_time_window", Duration),
        field("stale_series_compaction_threshold", Float),
        field("chunk_encoding", Type::Record(&CHUNK_ENCODING)),
        field("retention", Type::Record(&RETENTION)).default("{}").unless_unset(),
    ]],
    overrides: &[],
    check: check_tsdb,
};

static CHUNK_ENCODING: Table = Table {
    go: "config.ChunkEncodingConfig",
    plain: "config.ChunkEncodingConfig",
    fields: &[&[field("floats", Str)]],
    overrides: &[],
    check: anything,
};

static RETENTION: Table = Table {
    go: "config.TSDBRetentionConfig",
    plain: "config.plain",
    fields: &[&[field("time", Duration), field("size", Size), field("percentage", Float)]],
    overrides: &[],
    check: check_retention,
};

static EXEMPLARS: Table = Table {
    go: "config.ExemplarsConfig",
    plain: "config.ExemplarsConfig",
    fields: &[&[field("max_exemplars", Int)]],
    overrides: &[],
    check: anything,
};

static TRACING: Table = Table {
    go: "config.TracingConfig",
    plain: "config.plain",
    fields: &[&[
        field("client_type", Checked("config.plain", check_client_type)).default("grpc"),
        field("endpoint", Str),
        field("sampling_fraction", Float),
        field("insecure", Bool),
        field("tls_config", Type::Record(&http::TLS)),
        field("headers", Map(&Str)),
        field("compression", Str),
        field("timeout", Duration),
    ]],
    overrides: &[],
    check: check_tracing,
};

static OTLP: Table = Table {
    go: "config.OTLPConfig",
    plain: "config.plain",
    fields: &[&[
        field("promote_all_resource_attributes", Bool),
        field("promote_resource_attributes", List(&Str)),
        field("ignore_resource_attributes", List(&Str)),
        field("translation_strategy", Str).default("UnderscoreEscapingWithSuffixes"),
        field("keep_identifying_resource_attributes", Bool),
        field("convert_histograms_to_nhcb", Bool),
        field("promote_scope_metadata", Bool),
        field("label_name_underscore_sanitization", Bool).default("true"),
        field("label_name_preserve_multiple_underscores", Bool).default("true"),
    ]],
    overrides: &[],
    check: check_otlp,
};

/// Whether a list has a null among its items.
pub(crate) fn has_null(record: &Record, list: &str) -> bool {
    record.list(list).contains(&Value::Null)
}

fn check_config(config: &mut Record) -> Result<(), String> {
    // An open but empty section means the defaults, as no section at all.
    for name in ["global", "runtime", "storage"] {
        if !config.has(name) {
            let Some(Type::Record(table)) = CONFIG.field(name).map(|field| field.kind) else { continue };
            let section = crate::decode::defaults(table)?;
            config.set(name, Value::Record(section));
        }
    }
    for (list, what) in [("rule_files", "rule file"), ("scrape_config_files", "scrape config file")] {
        for path in config.strings(list) {
            refuse(!is_glob(path), &format!("invalid {what} path {}", quote(path)))?;
        }
    }
    let Some(global) = config.record("global").cloned() else { return Ok(()) };
    if let Some(Value::List(jobs)) = config.get_mut("scrape_configs") {
        apply_global(jobs, &global)?;
    }
    check_unique_jobs(config)?;
    let scheme = global.str("metric_name_validation_scheme");
    if let Some(alerting) = config.record("alerting") {
        check_rules(alerting, "alert_relabel_configs", scheme)?;
        for alertmanager in alerting.records("alertmanagers") {
            check_rules(alertmanager, "alert_relabel_configs", scheme)?;
            check_rules(alertmanager, "relabel_configs", scheme)?;
        }
    }
    for (list, what) in [("remote_write", "remote write"), ("remote_read", "remote read")] {
        refuse(has_null(config, list), &format!("empty or null {what} config section"))?;
        let mut names: Vec<&str> = Vec::new();
        for remote in config.records(list) {
            let name = remote.str("name");
            let repeated = !name.is_empty() && names.contains(&name);
            refuse(repeated, &format!("found multiple {what} configs with job name {}", quote(name)))?;
            check_rules(remote, "write_relabel_configs", scheme)?;
            names.push(name);
        }
    }
    Ok(())
}

fn check_unique_jobs(config: &Record) -> Result<(), String> {
    let mut names: Vec<&str> = Vec::new();
    for job in config.records("scrape_configs") {
        let name = job.str("job_name");
        refuse(names.contains(&name), &format!("found multiple scrape configs with job name {}", quote(name)))?;
        names.push(name);
    }
    Ok(())
}

/// `^[^*]*(\*[^/]*)?$`: a star only in the last part.
fn is_glob(path: &str) -> bool {
    path.split_once('*').is_none_or(|(_, rest)| !rest.contains('/'))
}

fn check_global(global: &mut Record) -> Result<(), String> {
    let scheme = match global.str("metric_name_validation_scheme") {
        "legacy" => "legacy",
        _ => "utf8",
    };
    global.set("metric_name_validation_scheme", Value::Str(scheme.to_owned()));
    for (name, _) in global.map("external_labels") {
        refuse(!is_label_name(name, scheme), &format!("{} is not a valid label name", quote(name)))?;
    }
    global.set_if_zero("scrape_interval", &Value::Duration(Millis(60_000)));
    let interval = global.duration("scrape_interval");
    refuse(global.duration("scrape_timeout") > interval, "global scrape timeout greater than scrape interval")?;
    global.set_if_zero("scrape_timeout", &Value::Duration(interval.min(Millis(10_000))));
    global.set_if_zero("evaluation_interval", &Value::Duration(Millis(60_000)));
    global.set_if_null("scrape_native_histograms", &Value::Bool(false));
    global.set_if_null("extra_scrape_metrics", &Value::Bool(false));
    if global.has("scrape_protocols") {
        check_protocols(global).map_err(|message| format!("{message} for global config"))?;
    }
    Ok(())
}

fn is_label_name(name: &str, scheme: &str) -> bool {
    if scheme == "legacy" { is_legacy_label_name(name) } else { !name.is_empty() }
}

fn check_protocols(section: &Record) -> Result<(), String> {
    let names: Vec<&str> = section.strings("scrape_protocols").collect();
    refuse(names.is_empty(), "scrape_protocols cannot be empty")?;
    for (at, name) in names.iter().enumerate() {
        let repeated = names[..at].iter().any(|earlier| earlier.eq_ignore_ascii_case(name));
        refuse(repeated, &format!("duplicated protocol in scrape_protocols, got [{}]", names.join(" ")))?;
        check_protocol(name).map_err(|message| format!("scrape_protocols: {message}"))?;
    }
    Ok(())
}

fn check_protocol(name: &str) -> Result<(), String> {
    let known: Vec<&str> = ScrapeProtocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
    refuse(!known.contains(&name), &format!("unknown scrape protocol {name}, supported: [{}]", known.join(" ")))
}

fn check_validation_scheme(scheme: &str) -> Result<(), String> {
    let known = matches!(scheme, "" | "utf8" | "legacy");
    refuse(!known, &format!("unrecognized ValidationScheme: {}", quote(scheme)))
}

fn check_scrape(job: &mut Record) -> Result<(), String> {
    discovery::check_empty(job)?;
    refuse(job.str("job_name").is_empty(), "job_name is empty")?;
    http::check(job)?;
    if job.list("relabel_configs").is_empty() {
        discovery::check_static_targets(job)?;
    }
    refuse(has_null(job, "relabel_configs"), "empty or null target relabeling rule in scrape config")?;
    refuse(has_null(job, "metric_relabel_configs"), "empty or null metric relabeling rule in scrape config")
}

/// Gives the jobs of a list what they take from `global`, and checks them with it.
pub(crate) fn apply_global(jobs: &mut [Value], global: &Record) -> Result<(), String> {
    for job in jobs {
        match job {
            Value::Record(job) => apply_global_to(job, global)?,
            _ => return Err("empty or null scrape config section".to_owned()),
        }
    }
    Ok(())
}

fn apply_global_to(job: &mut Record, global: &Record) -> Result<(), String> {
    let name = quote(job.str("job_name"));
    job.set_if_zero("scrape_interval", global.get("scrape_interval"));
    let interval = job.duration("scrape_interval");
    refuse(
        job.duration("scrape_timeout") > interval,
        &format!("scrape timeout greater than scrape interval for scrape config with job name {name}"),
    )?;
    job.set_if_zero("scrape_timeout", &Value::Duration(global.duration("scrape_timeout").min(interval)));
    for inherited in [
        "body_size_limit",
        "sample_limit",
        "target_limit",
        "label_limit",
        "label_name_length_limit",
        "label_value_length_limit",
        "keep_dropped_targets",
        "scrape_failure_log_file",
    ] {
        job.set_if_zero(inherited, global.get(inherited));
    }
    job.set_if_null("scrape_native_histograms", global.get("scrape_native_histograms"));
    job.set_if_null("extra_scrape_metrics", global.get("extra_scrape_metrics"));
    if !job.has("scrape_protocols") {
        job.set("scrape_protocols", default_protocols(job, global));
    }
    check_protocols(job).map_err(|message| format!("{message} for scrape config with job name {name}"))?;
    let fallback = job.str("fallback_scrape_protocol");
    if !fallback.is_empty() {
        check_protocol(fallback)
            .map_err(|message| format!("invalid fallback_scrape_protocol for scrape config with job name {name}: {message}"))?;
    }
    apply_name_schemes(job, global)?;
    for inherited in ["convert_classic_histograms_to_nhcb", "always_scrape_classic_histograms"] {
        job.set_if_null(inherited, &Value::Bool(global.bool(inherited)));
    }
    let scheme = job.str("metric_name_validation_scheme").to_owned();
    check_rules(job, "relabel_configs", &scheme)?;
    check_rules(job, "metric_relabel_configs", &scheme)
}

fn default_protocols(job: &Record, global: &Record) -> Value {
    if global.has("scrape_protocols") {
        return global.get("scrape_protocols").clone();
    }
    let first = job.bool("scrape_native_histograms").then_some(ScrapeProtocol::PrometheusProto);
    let names = first.into_iter().chain(ScrapeProtocol::DEFAULT).map(|protocol| Value::Str(protocol.as_str().to_owned()));
    Value::List(names.collect())
}

fn apply_name_schemes(job: &mut Record, global: &Record) -> Result<(), String> {
    const ESCAPINGS: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];
    let for_scheme = |scheme: &str| if scheme == "legacy" { "underscores" } else { "allow-utf-8" };
    let unknown = |whose: &str, escaping: &str| {
        format!(
            "unknown {whose} name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got {}",
            quote(escaping)
        )
    };
    let is_set = !job.str("metric_name_validation_scheme").is_empty();
    job.set_if_zero("metric_name_validation_scheme", global.get("metric_name_validation_scheme"));
    let scheme = job.str("metric_name_validation_scheme").to_owned();
    let global_escaping = match global.str("metric_name_escaping_scheme") {
        "" => for_scheme(global.str("metric_name_validation_scheme")),
        escaping => escaping,
    };
    refuse(!ESCAPINGS.contains(&global_escaping), &unknown("global", global_escaping))?;
    let inferred = if is_set { for_scheme(&scheme) } else { global_escaping };
    job.set_if_zero("metric_name_escaping_scheme", &Value::Str(inferred.to_owned()));
    let escaping = job.str("metric_name_escaping_scheme");
    refuse(escaping == "allow-utf-8" && scheme != "utf8", "utf8 metric names requested but validation scheme is not set to UTF8")?;
    refuse(!ESCAPINGS.contains(&escaping), &unknown("scrape config", escaping))
}

fn check_rules(section: &Record, list: &str, scheme: &str) -> Result<(), String> {
    for rule in section.records(list) {
        crate::convert::relabel_rule(rule, scheme)?;
    }
    Ok(())
}

fn check_regex(pattern: &str) -> Result<(), String> {
    match model::regex::AnchoredRegex::new(pattern) {
        Ok(_) => Ok(()),
        Err(error) if error.0.starts_with("error parsing regexp") => Err(error.0),
        Err(error) => Err(format!("error parsing regexp: {error}")),
    }
}

fn check_action(action: &str) -> Result<(), String> {
    const ACTIONS: [&str; 11] =
        ["replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal", "dropequal"];
    let known = ACTIONS.contains(&action.to_lowercase().as_str());
    refuse(!known, &format!("unknown relabel action {}", quote(action)))
}

fn check_relabel(rule: &mut Record) -> Result<(), String> {
    let action = rule.str("action").to_lowercase();
    rule.set("action", Value::Str(action));
    if rule.line_of("regex") > 0 {
        rule.set_if_null("regex", &Value::Str(String::new()));
    }
    Ok(())
}

fn check_api_version(version: &str) -> Result<(), String> {
    refuse(version != "v2", &format!("expected Alertmanager api version to be one of [v2] but got {version}"))
}

fn check_alertmanager(alertmanager: &mut Record) -> Result<(), String> {
    discovery::check_empty(alertmanager)?;
    http::check(alertmanager)?;
    let has_auth = ["basic_auth", "authorization", "oauth2"].iter().any(|way| alertmanager.has(way));
    refuse(has_auth && alertmanager.has("sigv4"), "at most one of basic_auth, authorization, oauth2, & sigv4 must be configured")?;
    if alertmanager.list("relabel_configs").is_empty() {
        discovery::check_static_targets(alertmanager)?;
    }
    refuse(has_null(alertmanager, "relabel_configs"), "empty or null Alertmanager target relabeling rule")?;
    refuse(has_null(alertmanager, "alert_relabel_configs"), "empty or null Alertmanager alert relabeling rule")
}

fn check_tsdb(tsdb: &mut Record) -> Result<(), String> {
    let window = tsdb.duration("out_of_order_time_window");
    tsdb.set("outofordertimewindow", Value::Int(window.0));
    let floats = tsdb.record("chunk_encoding").map_or("", |encoding| encoding.str("floats"));
    refuse(
        !matches!(floats, "" | "xor" | "xor2"),
        &format!(
            "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got {}",
            quote(floats)
        ),
    )?;
    if !tsdb.has("retention") {
        tsdb.set("retention", Value::Record(Record::new(&RETENTION, 0)));
    }
    Ok(())
}

fn check_retention(retention: &mut Record) -> Result<(), String> {
    let size = retention.int("size");
    refuse(size < 0, &format!("'storage.tsdb.retention.size' must be greater than or equal to 0, got {}", crate::size::format(size)))?;
    let percentage = retention.float("percentage");
    refuse(
        !(0.0..=100.0).contains(&percentage),
        &format!("'storage.tsdb.retention.percentage' must be in the range [0, 100], got {percentage}"),
    )
}

fn check_client_type(kind: &str) -> Result<(), String> {
    refuse(!matches!(kind, "http" | "grpc"), &format!("expected tracing client type to be to be http or grpc, but got {kind}"))
}

fn check_tracing(tracing: &mut Record) -> Result<(), String> {
    check_reserved(tracing, "custom authorization header configuration is not yet supported")?;
    refuse(tracing.str("endpoint").is_empty(), "tracing endpoint must be set")?;
    let compression = tracing.str("compression");
    refuse(!matches!(compression, "" | "gzip"), &format!("invalid compression type {compression} provided, valid options: gzip"))
}

fn check_otlp(otlp: &mut Record) -> Result<(), String> {
    let (promoted, ignored) = ("promote_resource_attributes", "ignore_resource_attributes");
    if otlp.bool("promote_all_resource_attributes") {
        refuse(
            !otlp.list(promoted).is_empty(),
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
        )?;
        check_attributes(otlp, ignored, "ignored")
    } else {
        refuse(
            !otlp.list(ignored).is_empty(),
            "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
        )?;
        check_attributes(otlp, promoted, "promoted")
    }
}

/// Trims the attributes of a list and collects all that is wrong with them.
fn check_attributes(otlp: &mut Record, list: &'static str, adjective: &str) -> Result<(), String> {
    let trimmed: Vec<String> = otlp.strings(list).map(|attribute| attribute.trim().to_owned()).collect();
    let mut faults = Vec::new();
    for (at, attribute) in trimmed.iter().enumerate() {
        if attribute.is_empty() {
            faults.push(format!("empty {adjective} OTel resource attribute"));
        } else if trimmed[..at].contains(attribute) {
            faults.push(format!("duplicated {adjective} OTel resource attribute {}", quote(attribute)));
        }
    }
    if !faults.is_empty() {
        return Err(format!("invalid '{list}': {}", faults.join("\n")));
    }
    if otlp.has(list) {
        otlp.set(list, Value::List(trimmed.into_iter().map(Value::Str).collect()));
    }
    Ok(())
}

/// What holds for the whole file once environment variables are expanded.
pub(crate) fn check_translation(config: &Record) -> Result<(), String> {
    let strategy = config.record("otlp").map_or("", |otlp| otlp.str("translation_strategy"));
    let scheme = config.record("global").map_or("", |global| global.str("metric_name_validation_scheme"));
    match strategy {
        "" | "UnderscoreEscapingWithSuffixes" | "UnderscoreEscapingWithoutSuffixes" => Ok(()),
        "NoTranslation" | "NoUTF8EscapingWithSuffixes" => {
            refuse(scheme == "legacy", &format!("OTLP translation strategy {} is not allowed when UTF8 is disabled", quote(strategy)))
        }
        _ => Err(format!("unsupported OTLP translation strategy {}", quote(strategy))),
    }
}
