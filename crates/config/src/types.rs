//! The configuration as the rest of the server sees it: plain data, already checked and with every default filled in.

use std::path::PathBuf;

use model::{Labels, Millis};
pub use relabel::NameScheme as ValidationScheme;

/// A checked `prometheus.yml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// What holds for every section that does not say otherwise.
    pub global: Global,
    /// The scrape jobs of the file itself and, behind them, those of the `scrape_config_files`.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Patterns of rule files, relative ones joined to the folder of the configuration.
    pub rule_files: Vec<PathBuf>,
    /// Patterns of files with more scrape jobs, joined likewise.
    pub scrape_config_files: Vec<PathBuf>,
    /// Where alerts would go.
    pub alerting: Alerting,
    /// The part of the storage that is configured here rather than by flags.
    pub storage: Storage,
    /// `runtime.gogc`, kept for the status page only.
    pub gogc: i64,
    /// The values as they were read, for printing and for what is not supported.
    pub(crate) record: Option<crate::value::Record>,
    /// Those of the `scrape_config_files`, with their paths.
    pub(crate) scrape_files: Vec<(PathBuf, crate::value::Record)>,
}

/// The `global` section.
#[derive(Clone, Debug)]
pub struct Global {
    /// Time between two scrapes of a target.
    pub scrape_interval: Millis,
    /// Time after which a scrape is given up.
    pub scrape_timeout: Millis,
    /// Time between two evaluations of a rule group.
    pub evaluation_interval: Millis,
    /// How far into the past rules are evaluated.
    pub rule_query_offset: Millis,
    /// Labels that identify this server to others, with `${VAR}` expanded.
    pub external_labels: Labels,
    /// Where queries are logged; `None` for nowhere.
    pub query_log_file: Option<PathBuf>,
    /// Where failures of scrapes are logged; `None` for nowhere.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// Which names of metrics and labels are valid, in rule files too.
    pub metric_name_validation_scheme: ValidationScheme,
}

/// One scrape job, with the globals already applied.
#[derive(Clone, Debug)]
pub struct ScrapeConfig {
    /// Value of the `job` label, unique among the jobs.
    pub job_name: String,
    /// Time between two scrapes of a target.
    pub scrape_interval: Millis,
    /// Time after which a scrape is given up; never above the interval.
    pub scrape_timeout: Millis,
    /// Path of the target's metrics.
    pub metrics_path: String,
    /// `http` or `https`, before relabelling.
    pub scheme: String,
    /// Query parameters, sorted by name.
    pub params: Vec<(String, Vec<String>)>,
    /// Whether labels of the target win over those of the server.
    pub honor_labels: bool,
    /// Whether timestamps of the target are kept.
    pub honor_timestamps: bool,
    /// Whether series with own timestamps become stale when they vanish.
    pub track_timestamps_staleness: bool,
    /// Bytes of an uncompressed body above which a scrape fails; 0 for no limit.
    pub body_size_limit: u64,
    /// Samples after relabelling above which a scrape fails; 0 for no limit.
    pub sample_limit: u64,
    /// Labels of a series above which a scrape fails; 0 for no limit.
    pub label_limit: u64,
    /// Length of a label's name above which a scrape fails; 0 for no limit.
    pub label_name_length_limit: u64,
    /// Length of a label's value above which a scrape fails; 0 for no limit.
    pub label_value_length_limit: u64,
    /// Targets above which all scrapes of the job fail; 0 for no limit.
    pub target_limit: u64,
    /// Dropped targets to remember; 0 for all.
    pub keep_dropped_targets: u64,
    /// Formats to ask for, the most wanted first; never empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// Format to assume of a response that names none that we know.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Which names of metrics and labels are valid.
    pub metric_name_validation_scheme: ValidationScheme,
    /// How names that the scheme forbids are asked to be escaped.
    pub metric_name_escaping_scheme: EscapingScheme,
    /// Whether to ask for a compressed body.
    pub enable_compression: bool,
    /// Whether the `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` series are written.
    pub extra_scrape_metrics: bool,
    /// Whether native histograms are scraped.
    pub scrape_native_histograms: bool,
    /// Whether classic histograms are kept beside native ones.
    pub always_scrape_classic_histograms: bool,
    /// Whether classic histograms become native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Buckets of a native histogram above which they are merged; 0 for no limit.
    pub native_histogram_bucket_limit: u64,
    /// Growth factor of buckets below which they are merged; 0 for none.
    pub native_histogram_min_bucket_factor: f64,
    /// Where failures of scrapes are logged; `None` for nowhere.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// How to speak with the targets.
    pub http: HttpClientSettings,
    /// Rules on the labels of targets.
    pub relabel_configs: Vec<relabel::Rule>,
    /// Rules on the labels of scraped series.
    pub metric_relabel_configs: Vec<relabel::Rule>,
    /// Targets written into the configuration.
    pub static_configs: Vec<StaticGroup>,
}

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticGroup {
    /// Values of `__address__`.
    pub targets: Vec<String>,
    /// Labels of every target of the group.
    pub labels: Labels,
}

/// A format of a scrape, as it is named in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`.
    PrometheusProto,
    /// `PrometheusText0.0.4`.
    PrometheusText0_0_4,
    /// `PrometheusText1.0.0`.
    PrometheusText1_0_0,
    /// `OpenMetricsText0.0.1`.
    OpenMetricsText0_0_1,
    /// `OpenMetricsText1.0.0`.
    OpenMetricsText1_0_0,
}

impl ScrapeProtocol {
    /// All of them, sorted by name.
    pub const ALL: [Self; 5] = [
        Self::OpenMetricsText0_0_1,
        Self::OpenMetricsText1_0_0,
        Self::PrometheusProto,
        Self::PrometheusText0_0_4,
        Self::PrometheusText1_0_0,
    ];

    /// What a job asks for unless it says otherwise.
    pub const DEFAULT: [Self; 4] =
        [Self::OpenMetricsText1_0_0, Self::OpenMetricsText0_0_1, Self::PrometheusText1_0_0, Self::PrometheusText0_0_4];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText0_0_4 => "PrometheusText0.0.4",
            Self::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Self::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The media type of an `Accept` header, without weight or escaping.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            Self::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            Self::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            Self::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// The protocol of that name, in this very spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }
}

/// How a target is asked to write names beyond the legacy characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapingScheme {
    /// `allow-utf-8`: as they are.
    #[default]
    AllowUtf8,
    /// `underscores`.
    Underscores,
    /// `dots`.
    Dots,
    /// `values`.
    Values,
}

impl EscapingScheme {
    /// The name, in the configuration and in an `Accept` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// A secret: its value, or the file that holds it and is read again for each use.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The value itself.
    Inline(String),
    /// A file whose trimmed content is the value.
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    /// Never shows the value.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => out.write_str("<secret>"),
            Self::File(path) => write!(out, "file {}", path.display()),
        }
    }
}

/// How to speak HTTP with a peer. Paths are already joined to the folder of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClientSettings {
    /// User and password.
    pub basic_auth: Option<BasicAuth>,
    /// The `Authorization` header; a `bearer_token` is one of type `Bearer`.
    pub authorization: Option<Authorization>,
    /// Whether OAuth 2.0 is configured. Nothing speaks it yet, so a server refuses such a file.
    pub oauth2: bool,
    /// TLS of the client's side.
    pub tls: TlsSettings,
    /// The proxy to go through.
    pub proxy_url: Option<String>,
    /// Hosts that are reached without proxy, comma-separated; may be empty.
    pub no_proxy: String,
    /// Whether the proxy comes from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy_from_environment: bool,
    /// Headers for the proxy's `CONNECT`, sorted by name.
    pub proxy_connect_header: Vec<(String, Vec<String>)>,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered.
    pub enable_http2: bool,
    /// Headers of every request, sorted by name.
    pub http_headers: Vec<(String, Vec<Secret>)>,
}

impl Default for HttpClientSettings {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            oauth2: false,
            tls: TlsSettings::default(),
            proxy_url: None,
            no_proxy: String::new(),
            proxy_from_environment: false,
            proxy_connect_header: Vec::new(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: Vec::new(),
        }
    }
}

/// HTTP basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The user; may be empty.
    pub username: Secret,
    /// The password; `None` for an empty one.
    pub password: Option<Secret>,
}

/// An `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The scheme, such as `Bearer`.
    pub kind: String,
    /// What follows the scheme; `None` leaves the header away.
    pub credentials: Option<Secret>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.0.
    Tls10,
    /// 1.1.
    Tls11,
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// TLS of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Authorities to trust instead of the system's.
    pub ca: Option<Secret>,
    /// The client's certificate.
    pub cert: Option<Secret>,
    /// The key of that certificate.
    pub key: Option<Secret>,
    /// The name to ask for and to verify instead of the host; may be empty.
    pub server_name: String,
    /// Whether any certificate is accepted.
    pub insecure_skip_verify: bool,
    /// The lowest version accepted.
    pub min_version: Option<TlsVersion>,
    /// The highest version accepted.
    pub max_version: Option<TlsVersion>,
}

/// The `alerting` section, as far as it is used.
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    /// How many groups of Alertmanagers are configured.
    pub alertmanager_count: usize,
    /// Rules on the labels of alerts.
    pub alert_relabel_configs: Vec<relabel::Rule>,
}

/// What is deleted for its age or size; 0 = no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Retention {
    /// `time`
    pub time: Millis,
    /// `size` in bytes.
    pub size: u64,
    /// `percentage` of the file system.
    pub percentage: f64,
}

/// The `storage` section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// How old a sample may be and still be taken out of order.
    pub out_of_order_time_window: Millis,
    /// `tsdb.retention`; `None` when the flags decide.
    pub retention: Option<Retention>,
    /// `tsdb.chunk_encoding.floats`: `xor` or `xor2`; empty when the flags decide.
    pub float_encoding: String,
    /// `tsdb.stale_series_compaction_threshold`: a share from 0 (never) to 1.
    pub stale_series_compaction_threshold: f64,
    /// How many exemplars are kept.
    pub exemplars_max: i64,
}
