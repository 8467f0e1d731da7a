//! The owner of all pools and loops.
//!
//! # Who owns what
//! `running` belongs to [`Manager::apply`] and [`Manager::stop`]: loops and their tasks. `views` is what readers see of it.
//! Locks are taken in this order, never across an await. Every task is in one set, which `stop` waits for.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::{Config, HttpClientSettings, ScrapeConfig, ScrapeProtocol};
use exposition::Format;
use model::{Labels, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, PoolCounters, Stats, add};
use crate::fetch::{Buffers, Request};
use crate::intervals::Intervals;
use crate::labels::Rules;
use crate::looper::{Live, LoopSettings, ScrapeLoop, Shared};
use crate::schedule::Schedule;
use crate::snapshot::{ActiveTarget, DroppedTarget, PoolSnapshot, Snapshot, TargetMetadata};
use crate::state::Settings;
use crate::target::{self, Built, Target};
use crate::workers::Workers;

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
    /// Read `_created` lines of OpenMetrics as start timestamps (`st-storage`).
    pub start_timestamps: bool,
    /// Give series their family's type and unit as labels (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
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
pub struct Manager(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    host_name: String,
    start_timestamps: bool,
    type_and_unit_labels: bool,
    running: Mutex<Running>,
    views: Mutex<BTreeMap<String, View>>,
}

#[derive(Default)]
struct Running {
    pools: BTreeMap<String, Pool>,
    tasks: JoinSet<()>,
}

struct Pool {
    http: HttpClientSettings,
    client: reqwest::Client,
    /// What series' labels follow from: a cache made under other rules is worthless.
    rules: String,
    loops: HashMap<u64, Loop>,
}

/// Our end of a [`ScrapeLoop`]. Dropping it stops the loop.
struct Loop {
    live: Arc<Live>,
    settings: watch::Sender<Arc<LoopSettings>>,
    stop: CancellationToken,
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What readers see of a pool.
#[derive(Default)]
struct View {
    active: Vec<(Arc<Target>, Arc<Live>)>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    target_limit: u64,
    syncs: u64,
    sync_failed: u64,
}

impl Manager {
    /// A manager without targets. Starts nothing before [`Manager::apply`].
    pub fn new(options: Options) -> Self {
        let shared = Shared {
            appender: options.appender,
            clock: options.clock,
            workers: Arc::new(Workers::new(options.workers)),
            counters: Counters::default(),
            intervals: Intervals::default(),
            buffers: Buffers::default(),
            shutdown: CancellationToken::new(),
            // Decides nothing that can be seen; it only must not be known to targets.
            cache_seed: std::hash::RandomState::new().hash_one(0),
        };
        Self(Arc::new(Inner {
            shared: Arc::new(shared),
            host_name: options.host_name,
            start_timestamps: options.start_timestamps,
            type_and_unit_labels: options.type_and_unit_labels,
            running: Mutex::default(),
            views: Mutex::default(),
        }))
    }

    /// Makes the jobs and targets those of `config`: unchanged loops keep running, changed ones take their new settings
    /// between two scrapes. Needs the runtime that the loops shall run on.
    ///
    /// # Errors
    /// When an HTTP client cannot be made; then all stays as it was.
    pub async fn apply(&self, config: &Config) -> Result<(), ApplyError> {
        let inner = &*self.0;
        let counters = &inner.shared.counters;
        let mut running = lock(&inner.running);
        if inner.shared.shutdown.is_cancelled() {
            return Err(ApplyError::Stopped);
        }
        let mut clients = Vec::with_capacity(config.scrape_configs.len());
        for job in &config.scrape_configs {
            let known = running.pools.get(&job.job_name);
            match known.filter(|pool| pool.http == job.http) {
                Some(pool) => clients.push(pool.client.clone()),
                None => clients.push(http_client::build(&job.http).map_err(|error| {
                    add(if known.is_some() { &counters.pool_reloads_failed } else { &counters.pools_failed }, 1);
                    ApplyError::Client { job: job.job_name.clone(), message: error.to_string() }
                })?),
            }
        }

        // From here on nothing fails. Loops of jobs that are gone end as their pools are dropped.
        while running.tasks.try_join_next().is_some() {}
        running.pools.retain(|name, _| config.scrape_configs.iter().any(|job| job.job_name == *name));
        lock(&inner.views).retain(|name, _| running.pools.contains_key(name));
        let seed = target::offset_seed(&inner.host_name, &config.global.external_labels);
        let now = Timestamp(inner.shared.clock.now_ms());
        for (job, client) in config.scrape_configs.iter().zip(clients) {
            inner.apply_job(job, client, seed, now, &mut running);
        }
        Ok(())
    }

    /// All targets, as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let views = lock(&self.0.views);
        Snapshot { pools: views.iter().map(|(name, view)| view.snapshot(name)).collect() }
    }

    /// What active targets say of their metric families.
    pub fn metadata(&self) -> Vec<TargetMetadata> {
        let views = lock(&self.0.views);
        let of_pool = |(name, view): (&String, &View)| -> Vec<_> {
            let of_target = |(target, live): &(Arc<Target>, Arc<Live>)| TargetMetadata {
                scrape_pool: name.clone(),
                labels: target.public.clone(),
                families: live.metadata.list(),
            };
            view.active.iter().map(of_target).collect()
        };
        views.iter().flat_map(of_pool).collect()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        let pools = lock(&self.0.views).iter().map(|(name, view)| view.counters(name)).collect();
        Stats { totals: self.0.shared.counters.read(), pools, intervals: self.0.shared.intervals.read() }
    }

    /// Ends all loops: requests under way are given up, batches under way are committed. Writes no staleness markers,
    /// as a server that stops will come back.
    pub async fn stop(&self) {
        self.0.shared.shutdown.cancel();
        let mut tasks = std::mem::take(&mut lock(&self.0.running).tasks);
        while tasks.join_next().await.is_some() {}
    }
}

impl Inner {
    fn apply_job(&self, job: &ScrapeConfig, client: reqwest::Client, seed: u64, now: Timestamp, running: &mut Running) {
        let counters = &self.shared.counters;
        let mut targets = Targets::of(job);
        let count = targets.active.len() as u64;
        let forced_error = (job.target_limit > 0 && count > job.target_limit).then(|| {
            add(&counters.exceeded_target_limit, 1);
            format!("target_limit exceeded (number of targets: {count}, limit: {})", job.target_limit)
        });
        let has_credentials = job.http.basic_auth.is_some() || job.http.authorization.is_some() || !job.http.http_headers.is_empty();
        let credentials = has_credentials.then(|| Arc::new(job.http.clone()));
        let settings = JobSettings {
            job,
            name: job.job_name.as_str().into(),
            client: client.clone(),
            credentials,
            forced_error,
            start_timestamps: self.start_timestamps,
            type_and_unit_labels: self.type_and_unit_labels,
        };

        // Relabel rules have no equality; their debug form says all that they are made of.
        let rules = format!("{:?}", settings.rules());
        let Running { pools, tasks } = running;
        let pool = match pools.entry(job.job_name.clone()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                add(&counters.pools, 1);
                place.insert(Pool { http: job.http.clone(), client, rules, loops: HashMap::new() })
            }
            std::collections::btree_map::Entry::Occupied(place) => {
                add(&counters.pool_reloads, 1);
                let pool = place.into_mut();
                if pool.rules != rules {
                    pool.loops.clear();
                }
                (pool.http, pool.client, pool.rules) = (job.http.clone(), client, rules);
                pool
            }
        };
        pool.loops.retain(|hash, _| targets.active.contains_key(hash));
        for (hash, target) in &targets.active {
            let new = Arc::new(settings.of(target));
            match pool.loops.get(hash) {
                Some(known) => drop(known.settings.send_replace(new)),
                None => drop(pool.loops.insert(*hash, self.start(target, *hash ^ seed, new, now, tasks))),
            }
        }
        let mut active: Vec<_> = targets.active.into_iter().map(|(hash, target)| (target, Arc::clone(&pool.loops[&hash].live))).collect();
        active.sort_by(|a, b| a.0.url.cmp(&b.0.url));
        let dropped_count = targets.dropped.len();
        if job.keep_dropped_targets > 0 {
            targets.dropped.truncate(usize::try_from(job.keep_dropped_targets).unwrap_or(usize::MAX));
        }
        let mut views = lock(&self.views);
        let view = views.entry(job.job_name.clone()).or_default();
        *view = View {
            active,
            dropped: targets.dropped,
            dropped_count,
            target_limit: job.target_limit,
            syncs: view.syncs + 1,
            sync_failed: view.sync_failed + targets.failed,
        };
    }

    fn start(&self, target: &Target, phase: u64, settings: Arc<LoopSettings>, now: Timestamp, tasks: &mut JoinSet<()>) -> Loop {
        let (settings, receiver) = watch::channel(settings);
        let started = Loop { live: Arc::default(), settings, stop: CancellationToken::new() };
        let task = ScrapeLoop {
            shared: Arc::clone(&self.shared),
            live: Arc::clone(&started.live),
            settings: receiver,
            stop: started.stop.clone(),
            interval: target.interval,
            schedule: Schedule::new(target.interval, phase, now),
        };
        tasks.spawn(task.run());
        started
    }
}

/// The targets of a job, each once.
#[derive(Default)]
struct Targets {
    active: HashMap<u64, Arc<Target>>,
    dropped: Vec<Labels>,
    failed: u64,
}

impl Targets {
    fn of(job: &ScrapeConfig) -> Self {
        let mut targets = Self::default();
        for group in discovery::static_groups(&job.static_configs) {
            for (index, discovered) in group.targets.iter().enumerate() {
                match target::build(job, &group, discovered) {
                    Ok(Built::Active(target)) => drop(targets.active.entry(target.hash()).or_insert_with(|| Arc::from(target))),
                    Ok(Built::Dropped(labels)) => targets.dropped.push(labels),
                    Err(error) => {
                        targets.failed += 1;
                        let err = format!("instance {index} in group {}: {error}", group.source);
                        tracing::error!(scrape_pool = job.job_name, err, "Creating target failed");
                    }
                }
            }
        }
        targets
    }
}

/// A job's settings, to be made into those of each target.
struct JobSettings<'a> {
    job: &'a ScrapeConfig,
    name: Arc<str>,
    client: reqwest::Client,
    credentials: Option<Arc<HttpClientSettings>>,
    forced_error: Option<String>,
    start_timestamps: bool,
    type_and_unit_labels: bool,
}

impl JobSettings<'_> {
    fn rules(&self) -> Rules {
        Rules::of(self.job)
    }

    fn of(&self, target: &Target) -> LoopSettings {
        let job = self.job;
        LoopSettings {
            job: Arc::clone(&self.name),
            client: self.client.clone(),
            request: Request::new(job, target.url.clone(), target.timeout),
            step: Settings {
                target: target.public.clone(),
                rules: self.rules(),
                sample_limit: job.sample_limit,
                honor_timestamps: job.honor_timestamps,
                track_timestamps_staleness: job.track_timestamps_staleness,
                fallback: job.fallback_scrape_protocol.and_then(format_of),
                extra_metrics: job.extra_scrape_metrics,
                start_timestamps: self.start_timestamps,
                type_and_unit_labels: self.type_and_unit_labels,
                timeout: target.timeout,
            },
            credentials: self.credentials.clone(),
            forced_error: self.forced_error.clone(),
        }
    }
}

fn format_of(protocol: ScrapeProtocol) -> Option<Format> {
    match protocol {
        ScrapeProtocol::PrometheusProto => None,
        ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => Some(Format::PrometheusText),
        ScrapeProtocol::OpenMetricsText0_0_1 | ScrapeProtocol::OpenMetricsText1_0_0 => Some(Format::OpenMetrics),
    }
}

impl View {
    fn snapshot(&self, name: &str) -> PoolSnapshot {
        let active = self.active.iter().map(|(target, live)| {
            let status = live.status();
            ActiveTarget {
                discovered_labels: target.discovered.clone(),
                labels: target.public.clone(),
                scrape_pool: name.to_owned(),
                scrape_url: target.url.clone(),
                last_error: status.last_error,
                last_scrape: status.last_scrape,
                last_scrape_duration: status.last_scrape_duration,
                health: status.health,
                scrape_interval: target.interval_text().to_owned(),
                scrape_timeout: target.timeout_text().to_owned(),
            }
        });
        let dropped = |labels: &Labels| DroppedTarget { discovered_labels: labels.clone(), scrape_pool: name.to_owned() };
        PoolSnapshot {
            name: name.to_owned(),
            active: active.collect(),
            dropped: self.dropped.iter().map(dropped).collect(),
            dropped_count: self.dropped_count,
        }
    }

    fn counters(&self, name: &str) -> PoolCounters {
        let sizes = self.active.iter().map(|(_, live)| live.metadata.size());
        let (metadata_entries, metadata_bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        PoolCounters {
            name: name.to_owned(),
            syncs: self.syncs,
            sync_failed: self.sync_failed,
            targets: self.active.len() as u64,
            target_limit: self.target_limit,
            metadata_entries,
            metadata_bytes,
        }
    }
}

/// After a panic of another holder the state may lack a part of a configuration, but no part of it is inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
