//! From a discovered target to one that can be scraped: labels, relabelling, checks, URL, and the hash that is its identity.

use std::fmt::Write as _;

use config::ScrapeConfig;
use discovery::Group;
use model::{Labels, LabelsBuilder, Millis, duration};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";
const META: &str = "__meta_";
const RESERVED: &str = "__";
const CONVERT_HISTOGRAMS: &str = "__convert_classic_histograms_to_nhcb__";
const CLASSIC_HISTOGRAMS: &str = "__always_scrape_classic_histograms__";
const NATIVE_HISTOGRAMS: &str = "__scrape_native_histograms__";

/// A target that is to be scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Labels before relabelling.
    pub discovered: Labels,
    /// All labels behind relabelling, those beginning with `__` included.
    pub all: Labels,
    /// Labels of its series.
    pub public: Labels,
    /// Where it is scraped.
    pub url: String,
    /// Time between two scrapes.
    pub interval: Millis,
    /// When a scrape is given up.
    pub timeout: Millis,
}

impl Target {
    /// The interval as its label says it.
    pub fn interval_text(&self) -> &str {
        self.all.get(INTERVAL).unwrap_or_default()
    }

    /// The timeout as its label says it.
    pub fn timeout_text(&self) -> &str {
        self.all.get(TIMEOUT).unwrap_or_default()
    }

    /// What makes it this target, Prometheus's own number: targets with equal hashes of a job are one.
    pub fn hash(&self) -> u64 {
        let labels = format!("{:016}", labels_hash(&self.all));
        fnv1a(fnv1a(FNV_START, labels.as_bytes()), self.url.as_bytes())
    }
}

/// Why a target cannot be scraped. The texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `__address__` is empty.
    #[error("no address")]
    NoAddress,
    /// `__address__` is a URL.
    #[error("{} is not a valid hostname", model::name::quote(.0))]
    Address(String),
    /// `__scrape_interval__` or `__scrape_timeout__` is no duration.
    #[error("error parsing scrape {what}: {error}")]
    Duration {
        /// Which.
        what: &'static str,
        /// Why not.
        error: duration::DurationError,
    },
    /// One of them is 0.
    #[error("scrape {0} cannot be 0")]
    Zero(&'static str),
    /// The timeout is above the interval.
    #[error("scrape timeout cannot be greater than scrape interval ({} > {})", model::name::quote(.timeout), model::name::quote(.interval))]
    TimeoutAboveInterval {
        /// `__scrape_timeout__`
        timeout: String,
        /// `__scrape_interval__`
        interval: String,
    },
    /// A label that says yes or no says neither.
    #[error("error parsing {what}: strconv.ParseBool: parsing {}: invalid syntax", model::name::quote(.value))]
    Bool {
        /// Which.
        what: &'static str,
        /// What it says.
        value: String,
    },
}

/// What became of a discovered target.
#[derive(Clone, Debug, PartialEq)]
pub enum Built {
    /// It is to be scraped.
    Active(Box<Target>),
    /// Relabelling dropped it; these were its labels.
    Dropped(Labels),
}

/// Makes a target of `target`, one of `group`'s.
///
/// # Errors
/// When its labels behind relabelling make no sense.
pub fn build(job: &ScrapeConfig, group: &Group, target: &Labels) -> Result<Built, TargetError> {
    let mut labels = discovered_labels(job, group, target);
    let discovered = labels.build();
    if !relabel::process(&mut labels, &job.relabel_configs) {
        return Ok(Built::Dropped(discovered));
    }
    let get = |name: &str| labels.get(name).unwrap_or_default();
    let address = get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::Address(address));
    }
    let interval = positive_duration(get(INTERVAL), "interval")?;
    let timeout = positive_duration(get(TIMEOUT), "timeout")?;
    if timeout > interval {
        return Err(TargetError::TimeoutAboveInterval { timeout: get(TIMEOUT).to_owned(), interval: get(INTERVAL).to_owned() });
    }
    for (name, what) in [
        (CONVERT_HISTOGRAMS, "convert classic histograms to nhcb"),
        (CLASSIC_HISTOGRAMS, "always scrape classic histograms"),
        (NATIVE_HISTOGRAMS, "scrape native histograms"),
    ] {
        let value = get(name);
        if !value.is_empty() && !is_go_bool(value) {
            return Err(TargetError::Bool { what, value: value.to_owned() });
        }
    }
    labels.retain(|name, _| !name.starts_with(META));
    if labels.get("instance").is_none() {
        labels.set("instance", &address);
    }
    let all = labels.build();
    let public = labels.retain(|name, _| !name.starts_with(RESERVED)).build();
    let url = url_of(&all, &job.params);
    Ok(Built::Active(Box::new(Target { discovered, all, public, url, interval, timeout })))
}

/// Labels of target, group and job, in this order of precedence.
fn discovered_labels(job: &ScrapeConfig, group: &Group, target: &Labels) -> LabelsBuilder {
    let mut labels = LabelsBuilder::from_labels(target);
    let mut default = |name: &str, value: &str| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    for (name, value) in &group.labels {
        default(name, value);
    }
    default("job", &job.job_name);
    default(INTERVAL, &duration::format(job.scrape_interval));
    default(TIMEOUT, &duration::format(job.scrape_timeout));
    default(METRICS_PATH, &job.metrics_path);
    default(SCHEME, &job.scheme);
    for (name, on) in [
        (CONVERT_HISTOGRAMS, job.convert_classic_histograms_to_nhcb),
        (CLASSIC_HISTOGRAMS, job.always_scrape_classic_histograms),
        (NATIVE_HISTOGRAMS, job.scrape_native_histograms),
    ] {
        default(name, if on { "true" } else { "false" });
    }
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM}{name}"), first);
        }
    }
    labels
}

fn positive_duration(text: &str, what: &'static str) -> Result<Millis, TargetError> {
    match duration::parse(text) {
        Ok(Millis(0)) => Err(TargetError::Zero(what)),
        Ok(span) => Ok(span),
        Err(error) => Err(TargetError::Duration { what, error }),
    }
}

fn is_go_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False")
}

/// The URL as Go writes it. No port is added: that of the scheme is meant.
fn url_of(labels: &Labels, params: &[(String, Vec<String>)]) -> String {
    let get = |name: &str| labels.get(name).unwrap_or_default();
    let path = get(METRICS_PATH);
    let mut url = format!("{}://{}", get(SCHEME), get(ADDRESS));
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    escape(&mut url, path, |byte| b"-_.~$&+,/:;=@".contains(&byte));

    let mut params = params.to_vec();
    for (name, value) in labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(PARAM)?, value))) {
        match params.iter_mut().find(|(param, _)| param == name) {
            Some((_, values)) if values.is_empty() => values.push(value.to_owned()),
            Some((_, values)) => value.clone_into(&mut values[0]),
            None => params.push((name.to_owned(), vec![value.to_owned()])),
        }
    }
    params.sort_by(|a, b| a.0.cmp(&b.0));
    let mut separator = '?';
    for (name, value) in params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
        url.push(separator);
        separator = '&';
        escape(&mut url, name, is_query_byte);
        url.push('=');
        escape(&mut url, value, is_query_byte);
    }
    url
}

fn is_query_byte(byte: u8) -> bool {
    b"-_.~ ".contains(&byte)
}

/// Percent-encodes all but letters, digits and what `keep` lets pass; a blank that passes becomes `+`.
fn escape(out: &mut String, text: &str, keep: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        match byte {
            b' ' if keep(byte) => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || keep(byte) => out.push(char::from(byte)),
            byte => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Prometheus's hash of a label set: xxHash64 of names and values, each behind its length (one byte, or 255 and three).
fn labels_hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(512);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(len) if len < 255 => bytes.push(len),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&text.len().to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    twox_hash::XxHash64::oneshot(0, &bytes)
}

/// A number of this server that shifts its scrapes against those of its twins.
pub fn offset_seed(host_name: &str, external_labels: &Labels) -> u64 {
    fnv1a(fnv1a(FNV_START, host_name.as_bytes()), external_labels.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::path::Path;

    fn job(yaml: &str) -> ScrapeConfig {
        let text = format!("scrape_configs:\n- job_name: j\n{yaml}");
        let config = config::parse(&text, Path::new("/"), |_| None).unwrap();
        config.scrape_configs.into_iter().next().unwrap()
    }

    fn built(yaml: &str, labels: &[(&str, &str)]) -> Result<Built, TargetError> {
        let group = Group { labels: Labels::from_pairs([("env", "prod"), ("__meta_x", "y")]), ..Group::default() };
        build(&job(yaml), &group, &Labels::from_pairs(labels.iter().copied()))
    }

    #[track_caller]
    fn active(yaml: &str, labels: &[(&str, &str)]) -> Target {
        match built(yaml, labels) {
            Ok(Built::Active(target)) => *target,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults() {
        let target = active("", &[(ADDRESS, "db:9100")]);
        assert_eq!(target.public.to_string(), r#"{env="prod", instance="db:9100", job="j"}"#);
        assert_eq!(target.url, "http://db:9100/metrics");
        assert_eq!((target.interval, target.timeout), (Millis(60_000), Millis(10_000)));
        assert_eq!((target.interval_text(), target.timeout_text()), ("1m", "10s"));
        assert_eq!(target.discovered.get("__meta_x"), Some("y"));
        assert_eq!(target.discovered.get("instance"), None);
        assert_eq!(target.all.get("__meta_x"), None);
    }

    #[test]
    fn urls() {
        for (yaml, labels, url) in [
            ("  scheme: https\n", &[(ADDRESS, "h")][..], "https://h/metrics"),
            ("  metrics_path: /a b/ü?c\n", &[(ADDRESS, "h:1")], "http://h:1/a%20b/%C3%BC%3Fc"),
            ("", &[(ADDRESS, "h:1"), ("__metrics_path__", "probe")], "http://h:1/probe"),
            ("  params: {b: [x, y z], a: ['1']}\n", &[(ADDRESS, "h:1")], "http://h:1/metrics?a=1&b=x&b=y+z"),
            ("  params: {b: [x, y]}\n", &[(ADDRESS, "h:1"), ("__param_b", "*"), ("__param_c", "~")], "http://h:1/metrics?b=%2A&b=y&c=~"),
            ("", &[(ADDRESS, "[::1]:9"), ("instance", "own")], "http://[::1]:9/metrics"),
        ] {
            assert_eq!(active(yaml, labels).url, url, "{yaml}");
        }
    }

    #[test]
    fn refused() {
        for (labels, message) in [
            (&[][..], "no address"),
            (&[(ADDRESS, "http://h:1/x")], "\"http://h:1/x\" is not a valid hostname"),
            (&[(ADDRESS, "h"), (INTERVAL, "x")], "error parsing scrape interval: not a valid duration string: \"x\""),
            (&[(ADDRESS, "h"), (INTERVAL, "0")], "scrape interval cannot be 0"),
            (&[(ADDRESS, "h"), (TIMEOUT, "0s")], "scrape timeout cannot be 0"),
            (&[(ADDRESS, "h"), (TIMEOUT, "2m")], "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")"),
            (
                &[(ADDRESS, "h"), (NATIVE_HISTOGRAMS, "yes")],
                "error parsing scrape native histograms: strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
        ] {
            assert_eq!(built("", labels).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn relabelling() {
        let drop = "  relabel_configs:\n  - {source_labels: [env], regex: prod, action: drop}\n";
        let Built::Dropped(labels) = built(drop, &[(ADDRESS, "h")]).unwrap() else { panic!("not dropped") };
        assert_eq!(labels.get("job"), Some("j"));
        let rename = "  relabel_configs:\n  - {source_labels: [__meta_x], target_label: instance}\n  - {target_label: __scheme__, replacement: https}\n";
        let target = active(rename, &[(ADDRESS, "h")]);
        assert_eq!((target.public.get("instance"), target.url.as_str()), (Some("y"), "https://h/metrics"));
    }

    #[test]
    fn the_hash_is_of_labels_and_url() {
        assert_eq!(fnv1a(FNV_START, b"a"), 0xaf63_dc4c_8601_ec8c);
        let one = active("", &[(ADDRESS, "h:1")]);
        assert_eq!(one.hash(), active("", &[(ADDRESS, "h:1")]).hash());
        assert_ne!(one.hash(), active("", &[(ADDRESS, "h:2")]).hash());
        assert_ne!(one.hash(), active("  params: {a: ['', b]}\n", &[(ADDRESS, "h:1")]).hash());
        let long = "x".repeat(300);
        assert_ne!(labels_hash(&Labels::from_pairs([("a", long.as_str())])), labels_hash(&Labels::empty()));
    }
}
