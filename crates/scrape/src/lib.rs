//! Scraping: pools of targets, the schedule, HTTP, limits, staleness, reports.
//!
//! [`Manager`] owns everything: it makes targets of a configuration, runs a loop for each, and hands each
//! scrape's samples and its report to the store as one batch.

#![forbid(unsafe_code)]

pub mod cache;
pub mod counters;
mod family;
pub mod fetch;
pub mod gzip;
mod intervals;
pub mod labels;
mod looper;
pub mod manager;
pub mod metadata;
pub mod schedule;
pub mod snapshot;
pub mod state;
pub mod target;
mod workers;

pub use counters::{CounterValues, IntervalLength, PoolCounters, Stats};
pub use manager::{ApplyError, Manager, Options};
pub use snapshot::{ActiveTarget, DroppedTarget, Health, PoolSnapshot, Snapshot, TargetMetadata};
