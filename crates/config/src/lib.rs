//! The typed `prometheus.yml`: read, checked with Prometheus's own messages, and filled with its defaults.
//!
//! A file goes through three steps. `decode` reads it by the tables of `schema`, which know every field of
//! Prometheus 3.14 at every depth; `convert` makes the plain [`Config`] of it; and [`Config::unsupported`] names what
//! is valid but not served yet, which a server refuses to start with while a checker of files accepts it.
//!
//! ```
//! let text = "scrape_configs:\n- job_name: node\n  static_configs:\n  - targets: ['localhost:9100']\n";
//! let config = config::parse(text, std::path::Path::new("/etc/prometheus"), |_| None).unwrap();
//! assert_eq!(config.scrape_configs[0].static_configs[0].targets, ["localhost:9100"]);
//! assert!(config.unsupported().is_empty());
//!
//! let error = config::parse("global:\n  scrap_interval: 1s\n", std::path::Path::new("."), |_| None).unwrap_err();
//! assert_eq!(error.to_string(), "yaml: unmarshal errors:\n  line 2: field scrap_interval not found in type config.plain");
//! ```

#![forbid(unsafe_code)]

mod convert;
mod decode;
mod load;
mod print;
pub mod rules;
mod schema;
mod size;
mod types;
mod unsupported;
mod url;
mod value;

pub use load::{Error, Mode, load, load_as, parse};
pub use types::{
    Alerting, Authorization, BasicAuth, Config, EscapingScheme, Global, HttpClientSettings, Retention, ScrapeConfig, ScrapeProtocol,
    Secret, StaticGroup, Storage, TlsSettings, TlsVersion, ValidationScheme,
};
pub use unsupported::{Unsupported, Warning};
