//! `/targets`, `/targets/metadata`, `/metadata` and `/scrape_pools`.

use super::array;
use crate::app::App;
use crate::json;
use crate::params::{Form, ParamError, parse_int};
use crate::respond::{self, ApiError};
use axum::extract::State;
use axum::response::Response;
use model::{Labels, Matcher, Metadata, Timestamp};
use promql::parser::parse_selector;
use scrape::ActiveTarget;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use url::Url;

/// GET `/api/v1/targets`
pub async fn targets(State(app): State<Arc<App>>, form: Form) -> Response {
    let state = form.value("state").to_ascii_lowercase();
    let shows = |what: &str| matches!(state.as_str(), "" | "any") || state == what;
    let pool = form.value("scrapePool");
    let snapshot = app.options.scrape.snapshot();
    let pools = || snapshot.pools.iter().filter(|p| pool.is_empty() || p.name == pool);
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"activeTargets":"#);
        let active = pools().flat_map(|p| &p.active).filter(|_| shows("active"));
        array(out, active, |out, target| active_target(out, &app, target));
        out.extend_from_slice(br#","droppedTargets":"#);
        let dropped = pools().flat_map(|p| &p.dropped).filter(|_| shows("dropped"));
        array(out, dropped, |out, target| {
            out.extend_from_slice(br#"{"discoveredLabels":"#);
            json::labels(out, &target.discovered_labels);
            text_field(out, "scrapePool", &target.scrape_pool);
            out.push(b'}');
        });
        if !shows("dropped") {
            out.extend_from_slice(br#","droppedTargetCounts":null}"#);
            return;
        }
        out.extend_from_slice(br#","droppedTargetCounts":{"#);
        for (i, pool) in snapshot.pools.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            json::text(out, &pool.name);
            out.extend_from_slice(format!(":{}", pool.dropped_count).as_bytes());
        }
        out.extend_from_slice(b"}}");
    };
    respond::success(data, &[])
}

fn active_target(out: &mut Vec<u8>, app: &App, target: &ActiveTarget) {
    out.extend_from_slice(br#"{"discoveredLabels":"#);
    json::labels(out, &target.discovered_labels);
    out.extend_from_slice(br#","labels":"#);
    json::labels(out, &target.labels);
    text_field(out, "scrapePool", &target.scrape_pool);
    text_field(out, "scrapeUrl", &target.scrape_url);
    text_field(out, "globalUrl", &global_url(&target.scrape_url, &app.options.external_url, &app.options.listen_address));
    text_field(out, "lastError", &target.last_error);
    text_field(out, "lastScrape", &target.last_scrape.map_or_else(|| "0001-01-01T00:00:00Z".into(), rfc3339));
    out.extend_from_slice(
        format!(r#","lastScrapeDuration":{}"#, model::number::format_json(target.last_scrape_duration.as_secs_f64())).as_bytes(),
    );
    text_field(out, "health", target.health.as_str());
    text_field(out, "scrapeInterval", &target.scrape_interval);
    text_field(out, "scrapeTimeout", &target.scrape_timeout);
    out.push(b'}');
}

/// A target on this host under the name by which the server is reached from outside (Prometheus's `getGlobalURL`).
fn global_url(target: &str, external: &Url, listen_address: &str) -> String {
    let Ok(mut url) = Url::parse(target) else { return target.to_owned() };
    let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]" | "::1"));
    let Some(host) = external.host_str().filter(|_| local) else { return target.to_owned() };
    let own_port = listen_address.rsplit(':').next().and_then(|port| port.parse().ok());
    let ours = url.port_or_known_default().is_some() && url.port_or_known_default() == own_port;
    // These fail only for schemes without hosts, which targets do not have.
    let _ = url.set_host(Some(host));
    if ours {
        let _ = url.set_scheme(external.scheme());
        let _ = url.set_port(external.port());
    }
    url.to_string()
}

fn rfc3339(time: Timestamp) -> String {
    use time::format_description::well_known::Rfc3339;
    let nanos = i128::from(time.0) * 1_000_000;
    let formatted = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|t| t.format(&Rfc3339).ok());
    formatted.unwrap_or_else(|| "0001-01-01T00:00:00Z".into())
}

/// GET `/api/v1/targets/metadata`
pub async fn metadata(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let limit = match form.value("limit") {
        "" => usize::MAX,
        text => {
            let limit: i64 = text.parse().map_err(|_| ApiError::BadData("limit must be a number".into()))?;
            usize::try_from(limit).unwrap_or(usize::MAX)
        }
    };
    let matchers = match form.value("match_target") {
        "" => Vec::new(),
        text => parse_selector(text).map_err(|e| ParamError { name: "match_target", message: e.to_string() })?,
    };
    let metric = form.value("metric");
    let targets = app.options.scrape.metadata();
    let mut shown = 0;
    let data = |out: &mut Vec<u8>| {
        out.push(b'[');
        for target in targets.iter().filter(|t| matches_all(&t.labels, &matchers)) {
            if shown >= limit {
                break;
            }
            for (family, known) in target.families.iter().filter(|(family, _)| metric.is_empty() || family == metric) {
                if shown > 0 {
                    out.push(b',');
                }
                shown += 1;
                out.extend_from_slice(br#"{"target":"#);
                json::labels(out, &target.labels);
                if metric.is_empty() {
                    text_field(out, "metric", family);
                }
                text_field(out, "type", known.kind.as_str());
                text_field(out, "help", &known.help);
                text_field(out, "unit", &known.unit);
                out.push(b'}');
            }
        }
        out.push(b']');
    };
    Ok(respond::success(data, &[]))
}

/// GET `/api/v1/metadata`: what targets say of each metric family, each different saying once.
pub async fn all_metadata(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let limit = at_most(&form, "limit")?;
    let per_family = at_most(&form, "limit_per_metric")?.filter(|limit| *limit > 0);
    let wanted = form.value("metric");
    let mut families: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
    for (family, metadata) in app.options.scrape.metadata().into_iter().flat_map(|target| target.families) {
        if !wanted.is_empty() && family != wanted {
            continue;
        }
        let said = families.entry(family).or_default();
        if per_family.is_none_or(|limit| said.len() < limit) && !said.contains(&metadata) {
            said.push(metadata);
        }
    }
    let shown = limit.unwrap_or(families.len());
    let data = |out: &mut Vec<u8>| {
        out.push(b'{');
        for (i, (family, said)) in families.iter().take(shown).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            json::text(out, family);
            out.push(b':');
            array(out, said.iter(), |out, metadata| {
                out.extend_from_slice(br#"{"type":"#);
                json::text(out, metadata.kind.as_str());
                text_field(out, "unit", &metadata.unit);
                text_field(out, "help", &metadata.help);
                out.push(b'}');
            });
        }
        out.push(b'}');
    };
    Ok(respond::success(data, &[]))
}

/// A limit; none where it is negative or not given.
fn at_most(form: &Form, name: &str) -> Result<Option<usize>, ApiError> {
    match form.value(name) {
        "" => Ok(None),
        text => match parse_int(text) {
            Ok(limit) => Ok(usize::try_from(limit).ok()),
            Err(_) => Err(ApiError::BadData(format!("{name} must be a number"))),
        },
    }
}

/// GET `/api/v1/scrape_pools`
pub async fn pools(State(app): State<Arc<App>>) -> Response {
    let snapshot = app.options.scrape.snapshot();
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"scrapePools":"#);
        json::texts(out, snapshot.pools.iter().map(|pool| pool.name.as_str()));
        out.push(b'}');
    };
    respond::success(data, &[])
}

fn matches_all(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
}

fn text_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    json::text(out, name);
    out.push(b':');
    json::text(out, value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn local_targets_get_the_external_name() {
        let external = Url::parse("https://mon.example.org:444/x").unwrap();
        for (target, want) in [
            ("http://127.0.0.1:9090/metrics", "https://mon.example.org:444/metrics"),
            ("http://localhost:9100/metrics", "http://mon.example.org:9100/metrics"),
            ("http://host:9100/metrics", "http://host:9100/metrics"),
        ] {
            assert_eq!(global_url(target, &external, "0.0.0.0:9090"), want);
        }
    }
}
