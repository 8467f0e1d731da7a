//! What a file may say and Prometheus does, but this server does not do yet.
//!
//! A server refuses to start with it, by name and line, since ignoring it would mislead; a checker of files says
//! nothing. What misleads nobody for long is only warned of.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::schema::discovery;
use crate::types::Config;
use crate::value::Record;

/// A field that is not supported yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The file, if it is one of the `scrape_config_files`.
    pub file: Option<PathBuf>,
    /// The field's full name.
    pub field: String,
    /// Where it stands, from 1; 0 if it was inherited.
    pub line: usize,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{}: ", file.display())?;
        }
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        write!(out, "field {} is not supported yet", self.field)
    }
}

/// A field that is accepted but does less than it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The field's full name.
    pub field: &'static str,
    /// Where it stands, from 1.
    pub line: usize,
    /// What does not happen.
    pub message: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: field {}: {}", self.line, self.field, self.message)
    }
}

impl Config {
    /// The effective configuration as YAML, secrets shown as `<secret>`. The jobs of `scrape_config_files` are not
    /// part of it, as in Prometheus.
    pub fn to_yaml(&self) -> String {
        self.record.as_ref().map(crate::print::print).unwrap_or_default()
    }

    /// Every field that a server must refuse because it does not do it yet, in the order of the file.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let mut found = Vec::new();
        if let Some(record) = &self.record {
            in_config(record, &mut found);
        }
        found.sort_by_key(|field| field.line);
        for (path, file) in &self.scrape_files {
            let mut in_file = Vec::new();
            in_jobs(file, Some(path), &mut in_file);
            in_file.sort_by_key(|field| field.line);
            found.append(&mut in_file);
        }
        found
    }

    /// What is accepted but does less than it says.
    pub fn warnings(&self) -> Vec<Warning> {
        let Some(record) = &self.record else { return Vec::new() };
        let mut found = Vec::new();
        if self.alerting.alertmanager_count > 0 || !self.alerting.alert_relabel_configs.is_empty() {
            let line = record.line_of("alerting");
            found.push(Warning { field: "alerting", line, message: "alerts are not sent yet" });
        }
        found.sort_by_key(|warning| warning.line);
        found
    }
}

fn in_config(record: &Record, found: &mut Vec<Unsupported>) {
    for list in ["remote_write", "remote_read"] {
        note(record, list, list, !record.list(list).is_empty(), None, found);
    }
    note(record, "tracing", "tracing", record.has("tracing"), None, found);
    // The printed configuration always has this section, and must load again.
    let custom_otlp = record.record("otlp").is_some_and(|otlp| crate::decode::defaults(otlp.table).as_ref() != Ok(otlp));
    note(record, "otlp", "otlp", custom_otlp, None, found);
    if let Some(global) = record.record("global") {
        for flag in ["scrape_native_histograms", "convert_classic_histograms_to_nhcb"] {
            note(global, flag, &format!("global.{flag}"), global.bool(flag), None, found);
        }
        let protobuf = global.strings("scrape_protocols").any(|name| name == "PrometheusProto");
        note(global, "scrape_protocols", "global.scrape_protocols with PrometheusProto", protobuf, None, found);
        let file = "scrape_failure_log_file";
        note(global, file, &format!("global.{file}"), !global.str(file).is_empty(), None, found);
    }
    in_jobs(record, None, found);
}

fn in_jobs(record: &Record, file: Option<&Path>, found: &mut Vec<Unsupported>) {
    for job in record.records("scrape_configs") {
        let mut note_job = |field: &str, what: &str, present: bool| {
            // What a job takes from `global` is noted there.
            if job.line_of(field) > 0 {
                note(job, field, &format!("scrape_configs.{what}"), present, file, found);
            }
        };
        for mechanism in discovery::FIELDS.iter().map(|field| field.name).filter(|name| *name != "static_configs") {
            note_job(mechanism, mechanism, !job.list(mechanism).is_empty());
        }
        note_job("oauth2", "oauth2", job.has("oauth2"));
        for flag in ["scrape_native_histograms", "convert_classic_histograms_to_nhcb"] {
            note_job(flag, flag, job.bool(flag));
        }
        note_job("native_histogram_bucket_limit", "native_histogram_bucket_limit", job.uint("native_histogram_bucket_limit") > 0);
        let factor = "native_histogram_min_bucket_factor";
        note_job(factor, factor, job.float(factor) != 0.0);
        let protobuf = job.strings("scrape_protocols").any(|name| name == "PrometheusProto");
        note_job("scrape_protocols", "scrape_protocols with PrometheusProto", protobuf);
        let fallback = "fallback_scrape_protocol";
        note_job(fallback, "fallback_scrape_protocol: PrometheusProto", job.str(fallback) == "PrometheusProto");
        note_job("scrape_failure_log_file", "scrape_failure_log_file", !job.str("scrape_failure_log_file").is_empty());
        note_job("proxy_connect_header", "proxy_connect_header", !job.map("proxy_connect_header").is_empty());
        in_credentials(job, file, found);
    }
}

/// Credentials that come from a secret manager rather than the file itself.
fn in_credentials(job: &Record, file: Option<&Path>, found: &mut Vec<Unsupported>) {
    for section_name in ["basic_auth", "authorization", "tls_config"] {
        let Some(section) = job.record(section_name) else { continue };
        for field in section.table.all_fields().map(|field| field.name).filter(|name| name.ends_with("_ref")) {
            let name = format!("scrape_configs.{section_name}.{field}");
            note(section, field, &name, !section.str(field).is_empty(), file, found);
        }
    }
}

fn note(section: &Record, field: &str, name: &str, present: bool, file: Option<&Path>, found: &mut Vec<Unsupported>) {
    if present {
        found.push(Unsupported { file: file.map(Path::to_owned), field: name.to_owned(), line: section.line_of(field) });
    }
}
