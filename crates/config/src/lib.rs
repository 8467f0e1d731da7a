//! The typed `prometheus.yml`: read, checked with Prometheus's own messages, and filled with its defaults.

#![forbid(unsafe_code)]

mod document;
mod types;

pub use types::{
    Alerting, Authorization, BasicAuth, Config, EscapingScheme, Global, HttpClientSettings, ScrapeConfig, ScrapeProtocol, Secret,
    StaticGroup, Storage, TlsSettings, TlsVersion, ValidationScheme,
};

impl Default for Global {
    fn default() -> Self {
        use model::{Labels, Millis};
        Self {
            scrape_interval: Millis(60_000),
            scrape_timeout: Millis(10_000),
            evaluation_interval: Millis(60_000),
            rule_query_offset: Millis(0),
            external_labels: Labels::empty(),
            query_log_file: None,
            scrape_failure_log_file: None,
        }
    }
}

impl Config {
    /// The effective configuration as YAML, secrets shown as `<secret>`.
    pub fn to_yaml(&self) -> &str {
        &self.document.yaml
    }
}
