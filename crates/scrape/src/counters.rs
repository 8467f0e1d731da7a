//! What is counted for Prometheus's own `prometheus_target_*` metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Counters as they go up.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $field: AtomicU64,)*
        }
        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct CounterValues {
            $($(#[$doc])* pub $field: u64,)*
        }
        impl Counters {
            pub(crate) fn read(&self) -> CounterValues {
                CounterValues { $($field: self.$field.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// `prometheus_target_scrape_pools_total`
    pools,
    /// `prometheus_target_scrape_pools_failed_total`
    pools_failed,
    /// `prometheus_target_scrape_pool_reloads_total`
    pool_reloads,
    /// `prometheus_target_scrape_pool_reloads_failed_total`
    pool_reloads_failed,
    /// `prometheus_target_scrape_pool_exceeded_target_limit_total`
    exceeded_target_limit,
    /// `prometheus_target_scrapes_exceeded_body_size_limit_total`
    exceeded_body_size_limit,
    /// `prometheus_target_scrapes_exceeded_sample_limit_total`
    exceeded_sample_limit,
    /// `prometheus_target_scrape_pool_exceeded_label_limits_total`
    exceeded_label_limits,
    /// `prometheus_target_scrapes_cache_flush_forced_total`
    cache_flush_forced,
    /// `prometheus_target_scrapes_sample_duplicate_timestamp_total`
    sample_duplicate,
    /// `prometheus_target_scrapes_sample_out_of_order_total`
    sample_out_of_order,
    /// `prometheus_target_scrapes_sample_out_of_bounds_total`
    sample_out_of_bounds,
    /// Scrapes that were finished, good or not.
    scrapes,
    /// Scrapes whose batch the store refused as a whole.
    commits_failed,
}

/// Adds to a counter; the order against other counters does not matter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Relaxed);
    }
}

/// What is counted for each pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolCounters {
    /// The job's name, the label `scrape_job`.
    pub name: String,
    /// `prometheus_target_scrape_pool_sync_total`
    pub syncs: u64,
    /// `prometheus_target_sync_failed_total`
    pub sync_failed: u64,
    /// `prometheus_target_scrape_pool_targets`
    pub targets: u64,
    /// `prometheus_target_scrape_pool_target_limit`
    pub target_limit: u64,
    /// Entries of the metadata caches, `prometheus_target_metadata_cache_entries`
    pub metadata_entries: u64,
    /// Bytes of the metadata caches, `prometheus_target_metadata_cache_bytes`
    pub metadata_bytes: u64,
}

/// How far apart the scrapes of one interval really were, `prometheus_target_interval_length_seconds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntervalLength {
    /// The label `interval`, such as `15s`.
    pub interval: String,
    /// Sum of all observations.
    pub sum_seconds: f64,
    /// How many there were.
    pub count: u64,
    /// Quantiles 0.01, 0.05, 0.5, 0.9 and 0.99 of the newest observations; NaN without any.
    pub quantiles: [(f64, f64); 5],
}

/// All that is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Over all pools.
    pub totals: CounterValues,
    /// Pool by pool, sorted by name.
    pub pools: Vec<PoolCounters>,
    /// Interval by interval, sorted by length.
    pub intervals: Vec<IntervalLength>,
}
