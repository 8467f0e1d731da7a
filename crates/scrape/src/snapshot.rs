//! What the HTTP API shows of targets: values copied out, so that nobody waits for a scrape.

use std::time::Duration;

use model::{Labels, Metadata, Timestamp};

/// All pools, sorted by name.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// One for each job.
    pub pools: Vec<PoolSnapshot>,
}

/// The targets of one job.
#[derive(Clone, Debug, Default)]
pub struct PoolSnapshot {
    /// The job's name.
    pub name: String,
    /// Targets that are scraped, sorted by URL.
    pub active: Vec<ActiveTarget>,
    /// Targets that relabelling dropped: at most `keep_dropped_targets`.
    pub dropped: Vec<DroppedTarget>,
    /// How many were dropped, remembered or not.
    pub dropped_count: usize,
}

/// What the last scrape said of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape was good.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that is scraped.
#[derive(Clone, Debug, Default)]
pub struct ActiveTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels of its series: those that do not begin with `__`.
    pub labels: Labels,
    /// The job.
    pub scrape_pool: String,
    /// Where it is scraped. `globalUrl` is this with a local host's name replaced by that of the server's external URL.
    pub scrape_url: String,
    /// Why the last scrape failed, or empty.
    pub last_error: String,
    /// When the last scrape was; `None` before the first.
    pub last_scrape: Option<Timestamp>,
    /// How long it took.
    pub last_scrape_duration: Duration,
    /// How it went.
    pub health: Health,
    /// The interval as the target's label says it, such as `15s`.
    pub scrape_interval: String,
    /// The timeout as the target's label says it.
    pub scrape_timeout: String,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, Default)]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// The job.
    pub scrape_pool: String,
}

/// What one active target says of its metric families.
#[derive(Clone, Debug, Default)]
pub struct TargetMetadata {
    /// The job.
    pub scrape_pool: String,
    /// The target's labels, as [`ActiveTarget::labels`].
    pub labels: Labels,
    /// Families and what is known of each, in no order.
    pub families: Vec<(String, Metadata)>,
}
