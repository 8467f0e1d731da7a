//! Wiring: what is started in which order, and ended in which.
//!
//! Order of the start: configuration, listeners, store, scraping, replay of the log, readiness. Order of the end: readiness is taken back,
//! scrape loops end (batches under way are committed), connections finish, the store is synced and closed.

use crate::flags::Flags;
use crate::memory;
use crate::{PROMETHEUS_VERSION, allocator, rules, store};
use config::Config;
use promql::engine::{Engine, EngineOptions, MemoryPool};
use promql::parser::ParserOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use web::queries::{ActiveQueries, QueryLog};
use web::{App, AppOptions, BuildInfo, Lifecycle, Limits, ReloadRequest};

use world::{Clock, SystemClock};

/// How long requests under way may take once the server ends.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a thread waits for blocking work before it ends: the allocator keeps some pages for each thread, and starting one is cheap.
const IDLE_THREADS: Duration = Duration::from_secs(2);

/// Queries that are noted while they run; each takes a thousand bytes of a file.
const QUERIES_NOTED_MAX: usize = 10_000;

/// Why the server does not start; each has been logged in one line.
enum Refusal {
    /// The configuration or a flag cannot be used: 2, as Prometheus.
    Config,
    /// The machine does not give what is needed (port, directory): 1.
    World,
}

/// Runs the server until it is told to end.
pub fn run(flags: &Flags) -> ExitCode {
    // They only move bytes: pages, batches and queries are worked on by blocking threads. Where they outnumber their work,
    // they spend a tenth of a scrape's CPU on waking each other.
    let io_threads = std::thread::available_parallelism().map_or(1, |cores| usize::from(cores).div_ceil(4));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(io_threads).thread_keep_alive(IDLE_THREADS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(err = %error, "Starting the I/O runtime failed");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(serve(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Config) => ExitCode::from(2),
        Err(Refusal::World) => ExitCode::from(1),
    }
}

async fn serve(flags: &Flags) -> Result<(), Refusal> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), behaves_as = PROMETHEUS_VERSION, "Starting Pyrope");
    let parser = ParserOptions {
        experimental_functions: flags.feature("promql-experimental-functions"),
        duration_expressions: true,
        fill_modifiers: flags.feature("promql-binop-fill-modifiers"),
        extended_range_selectors: flags.feature("promql-extended-range-selectors"),
    };
    let config_path = PathBuf::from(flags.text("config.file"));
    let checked = load(&config_path, &parser).map_err(|error| {
        tracing::error!(file = %absolute(&config_path).display(), err = %error, "Error loading config (--config.file={})", config_path.display());
        Refusal::Config
    })?;
    let external_url = external_url(flags).map_err(|error| {
        tracing::error!(err = %error, "parse external URL");
        Refusal::Config
    })?;
    let cors_origin = model::regex::AnchoredRegex::new(flags.text("web.cors.origin")).map_err(|error| {
        tracing::error!(err = %error, "could not compile CORS regex string");
        Refusal::Config
    })?;

    let receiver_options = receiver_options(flags)?;

    let listeners = listen(flags.list("web.listen-address")).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let db = open_store(flags, &checked.config)?;

    let scrape = scrape::Manager::new(scrape::Options {
        appender: db.clone(),
        clock: clock.clone(),
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        workers: 0,
        start_timestamps: flags.feature("st-storage"),
        type_and_unit_labels: flags.feature("type-and-unit-labels"),
    });
    let (reload, mut reloads) = mpsc::channel::<ReloadRequest>(1);
    let (quit, mut quits) = mpsc::channel(1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let active_queries = active_queries(flags);
    let query_memory = Arc::new(MemoryPool::new(flags.share("query.max-memory", memory::available())));
    let app = Arc::new(App::new(AppOptions {
        queryable: db.clone(),
        db: db.clone(),
        engine: engine(flags, &checked.config, query_memory),
        active_queries,
        parser,
        scrape: scrape.clone(),
        receiver: flags.bool("web.enable-remote-write-receiver").then(|| remote::Receiver::new(db.clone(), receiver_options)),
        exemplars: Some(db.clone()),
        admin: flags.bool("web.enable-admin-api").then(|| Arc::new(store::Administration::new(db.clone(), flags)) as Arc<dyn web::Admin>),
        lifecycle: flags.bool("web.enable-lifecycle").then(|| Lifecycle { reload, quit }),
        clock,
        flags: flags.all(),
        build: BuildInfo { prometheus_version: PROMETHEUS_VERSION, version: env!("CARGO_PKG_VERSION"), revision: "" },
        route_prefix: route_prefix(flags, &external_url),
        external_url,
        cors_origin,
        query_concurrency: usize::try_from(flags.int("query.max-concurrency")).unwrap_or(usize::MAX >> 4),
        write_concurrency: cores * 2,
        listen_address: flags.list("web.listen-address").first().cloned().unwrap_or_default(),
    }));

    let stop = CancellationToken::new();
    let limits = Limits {
        connections: usize::try_from(flags.int("web.max-connections")).unwrap_or(512),
        read_timeout: Duration::from_millis(flags.duration("web.read-timeout").0.unsigned_abs()),
        drain: DRAIN,
    };
    let http = tokio::spawn(web::serve(listeners, web::router(app.clone()), limits, stop.clone()));

    let handle = |error: std::io::Error| {
        tracing::error!(err = %error, "Listening for signals failed");
        Refusal::World
    };
    // Ends with the runtime.
    tokio::spawn(allocator::give_back_regularly());

    let mut hangup = signal(SignalKind::hangup()).map_err(handle)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(handle)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(handle)?;

    let mut outcome = Ok(());
    if let Err(error) = apply(&app, &scrape, &db, flags, &checked).await {
        tracing::error!(err = %error, "Applying the configuration failed");
        outcome = Err(Refusal::World);
    } else {
        // Scraping has begun: what comes meanwhile waits in the store.
        let replaying = db.clone();
        let mut replay = tokio::task::spawn_blocking(move || replaying.replay());
        loop {
            tokio::select! {
                replayed = &mut replay, if !app.is_ready() => match replayed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                    Ok(()) => {
                        app.set_ready();
                        tracing::info!("Server is ready to receive web requests.");
                    }
                    Err(error) => {
                        log_refusal(&error, flags);
                        outcome = Err(Refusal::World);
                        break;
                    }
                },
                _ = hangup.recv() => {
                    // The outcome is logged and stands in the metrics.
                    let _ = reload_now(&app, &scrape, &db, flags, &config_path, &parser).await;
                }
                Some(done) = reloads.recv() => {
                    // Whoever asked may be gone by now.
                    let _ = done.send(reload_now(&app, &scrape, &db, flags, &config_path, &parser).await);
                }
                _ = terminate.recv() => { tracing::warn!(signal = "terminated", "Received an OS signal, exiting gracefully..."); break }
                _ = interrupt.recv() => { tracing::warn!(signal = "interrupt", "Received an OS signal, exiting gracefully..."); break }
                Some(()) = quits.recv() => { tracing::warn!("Received termination request via web service, exiting gracefully..."); break }
            }
        }
    }

    app.stop();
    tracing::info!("Stopping scrape manager...");
    scrape.stop().await;
    stop.cancel();
    if let Err(error) = http.await {
        tracing::error!(err = %error, "The HTTP server ended badly");
    }
    let closed = tokio::task::spawn_blocking(move || db.close()).await;
    match closed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(err = %error, "Closing the store failed");
            outcome = Err(Refusal::World);
        }
        Err(error) => {
            tracing::error!(err = %error, "Closing the store failed");
            outcome = Err(Refusal::World);
        }
    }
    tracing::info!("See you next time!");
    outcome
}

/// A configuration, and the rule files that it names with the number of rules in each.
struct Checked {
    config: Config,
    rule_files: Vec<(PathBuf, usize)>,
}

/// Reads and checks all that a configuration names. Changes nothing.
fn load(path: &Path, parser: &ParserOptions) -> Result<Checked, String> {
    let config = config::load(path).map_err(|e| e.to_string())?;
    if let Some(first) = config.unsupported().first() {
        return Err(format!("{}: {first}", path.display()));
    }
    let rule_files = rules::check(&config.rule_files, parser)?;
    Ok(Checked { config, rule_files })
}

/// Puts a checked configuration in force.
async fn apply(app: &App, scrape: &scrape::Manager, db: &tsdb::Db, flags: &Flags, checked: &Checked) -> Result<(), String> {
    let config = &checked.config;
    let settings = store::settings(flags, &config.storage)?;
    db.apply(settings).map_err(|e| e.to_string())?;
    scrape.apply(config).await.map_err(|e| e.to_string())?;
    // Opened anew each time, so that a log that was moved away is let go.
    app.set_query_log(config.global.query_log_file.as_deref().map(QueryLog::open).transpose()?);
    app.set_engine(engine(flags, config, app.query_memory()));
    app.config_loaded(&config.to_yaml());
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for (file, rule_count) in &checked.rule_files {
        tracing::warn!(file = %file.display(), rules = rule_count, "rule file is checked but not evaluated yet");
    }
    Ok(())
}

async fn reload_now(
    app: &App,
    scrape: &scrape::Manager,
    db: &tsdb::Db,
    flags: &Flags,
    path: &Path,
    parser: &ParserOptions,
) -> Result<(), String> {
    tracing::info!(filename = %path.display(), "Loading configuration file");
    let outcome = match load(path, parser) {
        Ok(checked) => apply(app, scrape, db, flags, &checked).await,
        Err(error) => Err(format!("couldn't load configuration (--config.file={}): {error}", model::name::quote(&path.to_string_lossy()))),
    };
    match &outcome {
        Ok(()) => tracing::info!(filename = %path.display(), "Completed loading of configuration file"),
        Err(error) => {
            app.config_refused();
            tracing::error!(err = %error, "Error reloading config");
        }
    }
    outcome
}

/// Notes which queries are under way, and says which were when the last run ended.
fn active_queries(flags: &Flags) -> Option<Arc<ActiveQueries>> {
    let path = Path::new(flags.text("storage.tsdb.path")).join("queries.active");
    let concurrency = usize::try_from(flags.int("query.max-concurrency")).unwrap_or(usize::MAX).min(QUERIES_NOTED_MAX);
    match ActiveQueries::open(&path, concurrency) {
        Ok((queries, unfinished)) => {
            if let Some(queries) = unfinished {
                tracing::info!(queries, "These queries didn't finish in prometheus' last run:");
            }
            Some(Arc::new(queries))
        }
        Err(error) => {
            tracing::error!(file = %path.display(), err = %error, "Error opening query log file");
            None
        }
    }
}

fn engine(flags: &Flags, config: &Config, memory: Arc<MemoryPool>) -> Engine {
    Engine::new(EngineOptions {
        lookback: flags.duration("query.lookback-delta"),
        max_samples: usize::try_from(flags.int("query.max-samples")).unwrap_or(usize::MAX),
        max_query_memory: flags.share("query.max-memory-per-query", memory.limit()),
        memory,
        timeout: Duration::from_millis(flags.duration("query.timeout").0.unsigned_abs()),
        default_step: config.global.evaluation_interval,
        delayed_name_removal: flags.feature("promql-delayed-name-removal"),
        experimental_functions: flags.feature("promql-experimental-functions"),
        per_step_stats: flags.feature("promql-per-step-stats"),
        type_and_unit_labels: flags.feature("type-and-unit-labels"),
        use_start_timestamps: flags.feature("use-start-timestamps"),
        ..EngineOptions::default()
    })
}

fn receiver_options(flags: &Flags) -> Result<remote::Options, Refusal> {
    let mut accepted = Vec::new();
    for message in flags.list("web.remote-write-receiver.accepted-protobuf-messages").iter().flat_map(|list| list.split(',')) {
        let version = remote::Version::from_message(message).ok_or_else(|| {
            tracing::error!("unknown type for remote write protobuf message {message}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request");
            Refusal::Config
        })?;
        accepted.push(version);
    }
    let type_and_unit_labels = flags.feature("type-and-unit-labels");
    Ok(remote::Options { accepted, metadata: flags.feature("metadata-wal-records"), type_and_unit_labels })
}

fn open_store(flags: &Flags, config: &Config) -> Result<Arc<tsdb::Db>, Refusal> {
    let options = store::options(flags, &config.storage).map_err(|error| {
        tracing::error!("{error}");
        Refusal::Config
    })?;
    if let Some(warning) = store::warnings(&config.storage) {
        tracing::warn!("{warning}");
    }
    tsdb::Db::begin(options).map_err(|error| {
        log_refusal(&error, flags);
        Refusal::World
    })
}

fn log_refusal(error: &tsdb::OpenError, flags: &Flags) {
    tracing::error!(err = %format_args!("{error}{}", storage_hint(error, flags.text("storage.tsdb.path"))), "Opening storage failed");
}

/// The next step, where the error itself does not name it.
fn storage_hint(error: &tsdb::OpenError, dir: &str) -> String {
    use tsdb::OpenError::{Block, Closed, Io, Lock, Locked, Segments, SeriesMissing};
    match error {
        Locked => format!("; another server has {dir} open: stop it, or choose another --storage.tsdb.path"),
        Lock(_) | Io { .. } => format!("; give this user access to {dir}, or choose another --storage.tsdb.path"),
        Block(_) | Closed | SeriesMissing { .. } | Segments(_) => String::new(),
    }
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, Refusal> {
    let mut listeners = Vec::new();
    for address in addresses {
        // Go reads an empty host as every address.
        let bound = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.clone() };
        let listener = TcpListener::bind(&bound).await.map_err(|error| {
            tracing::error!(err = %format_args!("listen tcp {address}: {}", bind_fault(&error)), "Unable to start web listener; choose another --web.listen-address");
            Refusal::World
        })?;
        tracing::info!(address = %address, "Start listening for connections");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// As Go words it.
fn bind_fault(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match error.kind() {
        AddrInUse => "bind: address already in use".to_owned(),
        AddrNotAvailable => "bind: cannot assign requested address".to_owned(),
        PermissionDenied => "bind: permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn external_url(flags: &Flags) -> Result<url::Url, String> {
    let given = flags.text("web.external-url");
    let text = if given.is_empty() {
        let port = flags.text("web.listen-address").rsplit(':').next().unwrap_or("9090").to_owned();
        format!("http://{}:{port}/", rustix::system::uname().nodename().to_string_lossy())
    } else if given.starts_with('/') {
        format!("http://localhost{given}")
    } else {
        given.to_owned()
    };
    url::Url::parse(&text).map_err(|error| format!("{text:?}: {error}"))
}

fn route_prefix(flags: &Flags, external: &url::Url) -> String {
    let given = flags.text("web.route-prefix");
    let path = if given.is_empty() { external.path() } else { given };
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
