//! What the handlers share.

use crate::api::admin::Admin;
use crate::api::quick::Quick;
use crate::metrics::HttpCounters;
use crate::queries::{ActiveQueries, QueryLog};
use promql::engine::{Engine, MemoryPool};
use promql::parser::ParserOptions;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use storage::{ExemplarSource, Queryable};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Someone asks for a reload and waits for how it went.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// The ways in which HTTP may steer the process; `None` in [`AppOptions`] unless `--web.enable-lifecycle`.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Reload requests; the queue is short and a full one means a reload is under way: wait.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Told once to end the process.
    pub quit: mpsc::Sender<()>,
}

/// What `/api/v1/status/buildinfo` and `--version` say.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// The version of Prometheus whose behaviour we give.
    pub prometheus_version: &'static str,
    /// Our own.
    pub version: &'static str,
    /// The commit, or empty.
    pub revision: &'static str,
}

/// What an [`App`] is made of.
pub struct AppOptions {
    /// Where queries read.
    pub queryable: Arc<dyn Queryable>,
    /// The store itself, for its figures.
    pub db: Arc<tsdb::Db>,
    /// Evaluates queries.
    pub engine: Engine,
    /// What the language has.
    pub parser: ParserOptions,
    /// The scrape pools.
    pub scrape: scrape::Manager,
    /// `--web.enable-remote-write-receiver`
    pub receiver: Option<remote::Receiver>,
    /// `--web.enable-lifecycle`
    pub lifecycle: Option<Lifecycle>,
    /// Where exemplars are kept; `None` if nowhere.
    pub exemplars: Option<Arc<dyn ExemplarSource>>,
    /// `--web.enable-admin-api`
    pub admin: Option<Arc<dyn Admin>>,
    /// What time it is.
    pub clock: Arc<dyn world::Clock>,
    /// Every flag with its value.
    pub flags: BTreeMap<String, String>,
    /// Versions.
    pub build: BuildInfo,
    /// `--web.external-url`
    pub external_url: url::Url,
    /// `--web.route-prefix`, without a slash at the end; empty for none.
    pub route_prefix: String,
    /// `--web.cors.origin`
    pub cors_origin: model::regex::AnchoredRegex,
    /// Queries evaluated at one time (`--query.max-concurrency`); others wait.
    pub query_concurrency: usize,
    /// Write requests decoded and committed at one time; others wait.
    pub write_concurrency: usize,
    /// Notes which queries are under way.
    pub active_queries: Option<Arc<ActiveQueries>>,
    /// The first address listened on.
    pub listen_address: String,
}

/// The state behind all handlers.
pub struct App {
    pub(crate) options: AppOptions,
    pub(crate) query_slots: Arc<Semaphore>,
    pub(crate) write_slots: Arc<Semaphore>,
    pub(crate) quick: Arc<Quick>,
    pub(crate) http: HttpCounters,
    pub(crate) started_ms: i64,
    engine: RwLock<Arc<Engine>>,
    query_log: RwLock<Option<Arc<QueryLog>>>,
    config: RwLock<ConfigState>,
    ready: AtomicBool,
    stopping: AtomicBool,
}

/// The configuration in force, and how the last attempt to change it went.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigState {
    pub yaml: Arc<str>,
    pub last_reload_successful: bool,
    pub last_success_ms: i64,
}

impl App {
    /// Not ready until [`Self::set_ready`].
    pub fn new(mut options: AppOptions) -> Self {
        let engine = std::mem::replace(&mut options.engine, Engine::new(promql::engine::EngineOptions::default()));
        Self {
            query_slots: Arc::new(Semaphore::new(options.query_concurrency.max(1))),
            quick: Arc::default(),
            write_slots: Arc::new(Semaphore::new(options.write_concurrency.max(1))),
            http: HttpCounters::default(),
            started_ms: options.clock.now_ms(),
            engine: RwLock::new(Arc::new(engine)),
            query_log: RwLock::default(),
            config: RwLock::default(),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            options,
        }
    }

    /// From here on `/-/ready` answers 200.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The server stops: from here on `/-/ready` answers 503 and says why.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.ready.store(false, Ordering::Release);
    }

    /// Whether `/-/ready` answers 200.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Queries from here on are evaluated by this engine.
    pub fn set_engine(&self, engine: Engine) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
    }

    /// Queries that end from here on are logged there, or nowhere.
    pub fn set_query_log(&self, log: Option<QueryLog>) {
        *self.query_log.write().unwrap_or_else(PoisonError::into_inner) = log.map(Arc::new);
    }

    pub(crate) fn query_log(&self) -> Option<Arc<QueryLog>> {
        self.query_log.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all queries together may hold, whichever engine evaluates them.
    pub fn query_memory(&self) -> Arc<MemoryPool> {
        self.engine().options().memory.clone()
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A configuration is in force.
    pub fn config_loaded(&self, yaml: &str) {
        let now = self.options.clock.now_ms();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) =
            ConfigState { yaml: yaml.into(), last_reload_successful: true, last_success_ms: now };
    }

    /// A configuration was refused; the one before stays.
    pub fn config_refused(&self) {
        self.config.write().unwrap_or_else(PoisonError::into_inner).last_reload_successful = false;
    }

    pub(crate) fn config(&self) -> ConfigState {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
