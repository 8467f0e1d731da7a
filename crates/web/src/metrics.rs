//! The server's own metrics, under Prometheus's names, in the text format.

mod store;

use crate::app::App;
use crate::routes::handler_name;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Upper bounds of `prometheus_http_request_duration_seconds`.
const DURATION_BOUNDS: [f64; 10] = [0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0, f64::INFINITY];

/// What is counted of requests, by handler. Handlers are few and fixed, so this does not grow.
#[derive(Debug, Default)]
pub(crate) struct HttpCounters(Mutex<BTreeMap<String, HandlerCounters>>);

#[derive(Clone, Debug, Default)]
struct HandlerCounters {
    by_code: BTreeMap<u16, u64>,
    buckets: [u64; DURATION_BOUNDS.len()],
    seconds: f64,
}

/// Counts every request.
pub(crate) async fn count(State(app): State<Arc<App>>, request: axum::extract::Request, next: Next) -> Response {
    let handler = handler_name(&request);
    let started = Instant::now();
    let response = next.run(request).await;
    let seconds = started.elapsed().as_secs_f64();
    let mut handlers = app.http.0.lock().unwrap_or_else(PoisonError::into_inner);
    let counters = handlers.entry(handler).or_default();
    *counters.by_code.entry(response.status().as_u16()).or_default() += 1;
    if let Some(bucket) = DURATION_BOUNDS.iter().position(|bound| seconds <= *bound) {
        counters.buckets[bucket] += 1;
    }
    counters.seconds += seconds;
    drop(handlers);
    response
}

/// GET `/metrics`
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut page = Page(String::with_capacity(32 << 10));
    build(&mut page, &app);
    config(&mut page, &app);
    http(&mut page, &app);
    store::write(&mut page, &app);
    scraping(&mut page, &app);
    process(&mut page, &app);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")], page.0).into_response()
}

/// A page in the text format.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.write(format_args!("{}{label}=\"{escaped}\"", if i == 0 { '{' } else { ',' }));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{close} {}\n", model::number::format_general(value)));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.single(name, "counter", help, value as f64);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.single(name, "gauge", help, value);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes every write");
    }
}

fn build(page: &mut Page, app: &App) {
    let build = &app.options.build;
    page.family("prometheus_build_info", "gauge", "A metric with a constant '1' value labeled by version, revision, branch, goversion from which prometheus was built, and the goos and goarch for the build.");
    let labels = [
        ("branch", "HEAD"),
        ("goarch", std::env::consts::ARCH),
        ("goos", std::env::consts::OS),
        ("goversion", ""),
        ("revision", build.revision),
        ("tags", ""),
        ("version", build.prometheus_version),
    ];
    page.sample("prometheus_build_info", &labels, 1.0);
    page.family("pyrope_build_info", "gauge", "Pyrope's own version.");
    page.sample("pyrope_build_info", &[("revision", build.revision), ("version", build.version)], 1.0);
}

fn config(page: &mut Page, app: &App) {
    let state = app.config();
    page.gauge(
        "prometheus_config_last_reload_successful",
        "Whether the last configuration reload attempt was successful.",
        f64::from(u8::from(state.last_reload_successful)),
    );
    page.gauge(
        "prometheus_config_last_reload_success_timestamp_seconds",
        "Timestamp of the last successful configuration reload.",
        state.last_success_ms as f64 / 1000.0,
    );
    page.gauge(
        "prometheus_ready",
        "Whether Prometheus startup was fully completed and the server is ready for normal operation.",
        f64::from(u8::from(app.is_ready())),
    );
}

fn http(page: &mut Page, app: &App) {
    let engine = app.engine();
    page.gauge(
        "prometheus_engine_queries",
        "The current number of queries being executed or waiting.",
        (app.options.query_concurrency - app.query_slots.available_permits().min(app.options.query_concurrency)) as f64,
    );
    page.gauge("prometheus_engine_queries_concurrent_max", "The max number of concurrent queries.", app.options.query_concurrency as f64);
    page.gauge("pyrope_engine_samples_max", "The most samples one query may hold.", engine.options().max_samples as f64);
    page.gauge("pyrope_engine_memory_max_bytes", "The most memory that all queries may hold.", engine.options().memory.limit() as f64);
    page.gauge("pyrope_engine_memory_bytes", "The memory that queries hold.", engine.options().memory.used() as f64);
    let handlers = app.http.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let name = "prometheus_http_requests_total";
    page.family(name, "counter", "Counter of HTTP requests.");
    for (handler, counters) in &handlers {
        for (code, count) in &counters.by_code {
            page.sample(name, &[("code", &code.to_string()), ("handler", handler)], *count as f64);
        }
    }
    let name = "prometheus_http_request_duration_seconds";
    page.family(name, "histogram", "Histogram of latencies for HTTP requests.");
    for (handler, counters) in &handlers {
        let mut below = 0;
        for (bound, count) in DURATION_BOUNDS.iter().zip(counters.buckets) {
            below += count;
            page.sample(&format!("{name}_bucket"), &[("handler", handler), ("le", &model::number::format_general(*bound))], below as f64);
        }
        page.sample(&format!("{name}_sum"), &[("handler", handler)], counters.seconds);
        page.sample(&format!("{name}_count"), &[("handler", handler)], below as f64);
    }
}

fn scraping(page: &mut Page, app: &App) {
    let stats = app.options.scrape.stats();
    let totals = stats.totals;
    for (name, help, value) in [
        ("prometheus_target_scrape_pools_total", "Total number of scrape pool creation attempts.", totals.pools),
        ("prometheus_target_scrape_pools_failed_total", "Total number of scrape pool creations that failed.", totals.pools_failed),
        ("prometheus_target_scrape_pool_reloads_total", "Total number of scrape pool reloads.", totals.pool_reloads),
        ("prometheus_target_scrape_pool_reloads_failed_total", "Total number of failed scrape pool reloads.", totals.pool_reloads_failed),
        (
            "prometheus_target_scrape_pool_exceeded_target_limit_total",
            "Total number of times scrape pools hit the target limit, during sync or config reload.",
            totals.exceeded_target_limit,
        ),
        (
            "prometheus_target_scrape_pool_exceeded_label_limits_total",
            "Total number of times scrape pools hit the label limits, during sync or config reload.",
            totals.exceeded_label_limits,
        ),
        (
            "prometheus_target_scrapes_exceeded_body_size_limit_total",
            "Total number of scrapes that hit the body size limit",
            totals.exceeded_body_size_limit,
        ),
        (
            "prometheus_target_scrapes_exceeded_sample_limit_total",
            "Total number of scrapes that hit the sample limit and were rejected.",
            totals.exceeded_sample_limit,
        ),
        (
            "prometheus_target_scrapes_cache_flush_forced_total",
            "How many times a scrape cache was flushed due to getting big while scrapes are failing.",
            totals.cache_flush_forced,
        ),
        (
            "prometheus_target_scrapes_sample_duplicate_timestamp_total",
            "Total number of samples rejected due to duplicate timestamps but different values.",
            totals.sample_duplicate,
        ),
        (
            "prometheus_target_scrapes_sample_out_of_order_total",
            "Total number of samples rejected due to not being out of the expected order.",
            totals.sample_out_of_order,
        ),
        (
            "prometheus_target_scrapes_sample_out_of_bounds_total",
            "Total number of samples rejected due to timestamp falling outside of the time bounds.",
            totals.sample_out_of_bounds,
        ),
        ("pyrope_scrapes_total", "Scrapes that were finished, good or not.", totals.scrapes),
        ("pyrope_scrape_commits_failed_total", "Scrapes whose batch the store refused as a whole.", totals.commits_failed),
    ] {
        page.counter(name, help, value);
    }
    type PoolFigure = fn(&scrape::PoolCounters) -> u64;
    let by_pool: [(&str, &str, &str, PoolFigure); 6] = [
        ("prometheus_target_scrape_pool_sync_total", "counter", "Total number of syncs that were executed on a scrape pool.", |p| p.syncs),
        ("prometheus_target_sync_failed_total", "counter", "Total number of target sync failures.", |p| p.sync_failed),
        ("prometheus_target_scrape_pool_targets", "gauge", "Current number of targets in this scrape pool.", |p| p.targets),
        ("prometheus_target_scrape_pool_target_limit", "gauge", "Maximum number of targets allowed in this scrape pool.", |p| {
            p.target_limit
        }),
        ("prometheus_target_metadata_cache_entries", "gauge", "Total number of metric metadata entries in the cache", |p| {
            p.metadata_entries
        }),
        (
            "prometheus_target_metadata_cache_bytes",
            "gauge",
            "The number of bytes that are currently used for storing metric metadata in the cache",
            |p| p.metadata_bytes,
        ),
    ];
    for (name, kind, help, figure) in by_pool {
        page.family(name, kind, help);
        for pool in &stats.pools {
            page.sample(name, &[("scrape_job", &pool.name)], figure(pool) as f64);
        }
    }
    let name = "prometheus_target_interval_length_seconds";
    page.family(name, "summary", "Actual intervals between scrapes.");
    for interval in &stats.intervals {
        for (quantile, value) in interval.quantiles {
            page.sample(name, &[("interval", &interval.interval), ("quantile", &model::number::format_general(quantile))], value);
        }
        page.sample(&format!("{name}_sum"), &[("interval", &interval.interval)], interval.sum_seconds);
        page.sample(&format!("{name}_count"), &[("interval", &interval.interval)], interval.count as f64);
    }
}

/// The process's own figures, from `/proc` where there is one.
fn process(page: &mut Page, app: &App) {
    page.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", app.started_ms as f64 / 1000.0);
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // Behind the command's name in parentheses; field 14 and 15 of the whole are user and system ticks.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    /// `sysconf(_SC_CLK_TCK)` on every Linux of today.
    const TICKS_PER_SECOND: f64 = 100.0;
    page.single(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        (field(14) + field(15)) / TICKS_PER_SECOND,
    );
    page.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", field(23));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident_kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    page.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident_kib.unwrap_or(0.0) * 1024.0);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    page.gauge("process_open_fds", "Number of open file descriptors.", open as f64);
}
