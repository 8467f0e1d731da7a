//! Parses expressions as they stand in dashboards and rules.
//!
//! `short` is what most panels ask; `kilobyte` is a rule of an availability objective, of about that length: comments, matchers,
//! aggregations, joins and durations. `plain` is the same without regular expressions: these are checked but not compiled.
//!
//! Command: `cargo bench -p promql --bench parse`. Figures are medians of nine runs.

use promql::{ParserOptions, parse};
use std::hint::black_box;
use std::time::Instant;

const SHORT: &str = r#"sum by (job, instance) (rate(http_requests_total{job="api",code=~"5.."}[5m]))"#;

const KILOBYTE: &str = r#"# Errors of the API as a share of all requests, where there are enough of them.
(
    sum by (cluster, namespace, job) (
      rate(http_server_requests_seconds_count{namespace=~"prod-.+", job!~"canary|batch", code=~"5..", le!="+Inf"}[5m])
    )
  /
    sum by (cluster, namespace, job) (
      rate(http_server_requests_seconds_count{namespace=~"prod-.+", job!~"canary|batch"}[5m])
    )
  > on (cluster, namespace) group_left (severity, team)
    (14.4 * 0.001 * max without (instance, pod) (slo_threshold_ratio{objective="availability"} offset 1m))
)
and on (cluster, namespace, job)
  (
    histogram_quantile(0.99, sum by (cluster, namespace, job, le) (rate(http_server_requests_seconds_bucket{namespace=~"prod-.+"}[5m]))) > 0.25
  or
    max_over_time(label_replace(up{job="api-gateway"} == bool 1, "cluster", "$1", "region", "(.+)-.*")[1h:5m] @ end()) < 1
  )
unless on (cluster) (maintenance_window_active == 1 or absent(kube_node_info{cluster="eu-west-1"}))
"#;

fn main() {
    let plain = KILOBYTE.replace("=~", "=").replace("!~", "!=");
    for (name, text) in [("short", SHORT), ("kilobyte", KILOBYTE), ("plain", &plain)] {
        let options = ParserOptions::default();
        assert!(parse(text, &options).is_ok(), "{name}");
        let mut runs: Vec<f64> = (0..9).map(|_| micros(text, &options)).collect();
        runs.sort_by(f64::total_cmp);
        println!("{name}: {} bytes, {:.2} µs", text.len(), runs[4]);
    }
}

/// The time of one parse, of many.
fn micros(text: &str, options: &ParserOptions) -> f64 {
    const TIMES: u32 = 5_000;
    let begun = Instant::now();
    for _ in 0..TIMES {
        let _ = black_box(parse(black_box(text), options));
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
}
