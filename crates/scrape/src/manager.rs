//! The owner of all pools and loops.

use std::sync::Arc;

use crate::counters::{Counters, Stats};
use crate::snapshot::{Snapshot, TargetMetadata};

/// What a manager is made of.
#[derive(Clone)]
pub struct Options {
    /// Where batches go.
    pub appender: Arc<dyn storage::Appender>,
    /// What time it is.
    pub clock: Arc<dyn world::Clock>,
    /// Name of this machine: with the external labels it decides when in the interval a target is scraped, so that two
    /// servers with equal configuration do not scrape at the same time.
    pub host_name: String,
    /// How many scrapes are parsed and committed at a time; 0 for twice the number of processors.
    pub workers: usize,
}

/// Why a configuration could not be applied. Nothing of it is in force then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A job's HTTP client could not be made.
    #[error("error creating HTTP client: {message} (scrape job {job:?})")]
    Client {
        /// The job.
        job: String,
        /// Why.
        message: String,
    },
    /// The manager has been stopped.
    #[error("the scrape manager has been stopped")]
    Stopped,
}

/// Runs the scrapes of a configuration. Cheap to clone: all clones are one manager.
#[derive(Clone)]
pub struct Manager(Arc<Shared>);

struct Shared {
    options: Options,
    counters: Counters,
}

impl Manager {
    /// A manager without targets. Starts nothing before [`Manager::apply`].
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Shared { options, counters: Counters::default() }))
    }

    /// Makes the jobs and targets those of `config`: unchanged loops keep running, changed ones take their new settings
    /// between two scrapes.
    ///
    /// # Errors
    /// When an HTTP client cannot be made; then all stays as it was.
    pub async fn apply(&self, config: &config::Config) -> Result<(), ApplyError> {
        let _ = (config, &self.0.options);
        Ok(())
    }

    /// All targets, as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }

    /// What active targets say of their metric families.
    pub fn metadata(&self) -> Vec<TargetMetadata> {
        Vec::new()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        Stats { totals: self.0.counters.read(), ..Stats::default() }
    }

    /// Ends all loops: requests under way are given up, batches under way are committed. Writes no staleness markers,
    /// as a server that stops will come back.
    pub async fn stop(&self) {}
}
