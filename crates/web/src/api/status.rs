//! `/status/…`

use super::{array, blocking};
use crate::app::App;
use crate::json;
use crate::params::{Form, parse_int};
use crate::respond::{self, ApiError};
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// Entries of each list of `/status/tsdb` where no limit is given, and the most that may be asked for.
const CARDINALITY_DEFAULT: usize = 10;
const CARDINALITY_MAX: usize = 10_000;

/// GET `/api/v1/status/buildinfo`. No `features`: Grafana would take us for Mimir.
pub async fn buildinfo(State(app): State<Arc<App>>) -> Response {
    let build = &app.options.build;
    let fields = [
        ("version", build.prometheus_version),
        ("revision", build.revision),
        ("branch", "HEAD"),
        ("buildUser", ""),
        ("buildDate", ""),
        ("goVersion", ""),
    ];
    respond::success(|out| object(out, fields.into_iter()), &[])
}

/// GET `/api/v1/status/flags`
pub async fn flags(State(app): State<Arc<App>>) -> Response {
    let fields = app.options.flags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    respond::success(|out| object(out, fields), &[])
}

/// GET `/api/v1/status/config`
pub async fn config(State(app): State<Arc<App>>) -> Response {
    let config = app.config();
    respond::success(|out| object(out, std::iter::once(("yaml", &*config.yaml))), &[])
}

/// GET `/api/v1/status/tsdb`
pub async fn tsdb(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let limit = match form.value("limit") {
        "" => CARDINALITY_DEFAULT,
        text => match parse_int(text).ok().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0) {
            None => return Err(ApiError::BadData("limit must be a positive number".into())),
            Some(limit) if limit > CARDINALITY_MAX => {
                return Err(ApiError::BadData(format!("limit must not exceed {CARDINALITY_MAX}")));
            }
            Some(limit) => limit,
        },
    };
    let (stats, cardinality) = blocking(move || Ok((app.options.db.stats().head, app.options.db.head().cardinality(limit)))).await?;
    let data = |out: &mut Vec<u8>| {
        // Before the first sample Prometheus shows the ends of time.
        let (min, max) = (stats.min_time.unwrap_or(i64::MAX), stats.max_time.unwrap_or(i64::MIN));
        let head = format!(
            r#"{{"headStats":{{"numSeries":{},"numLabelPairs":{},"chunkCount":{},"minTime":{min},"maxTime":{max}}}"#,
            stats.series_count, cardinality.label_pair_count, stats.chunk_count
        );
        out.extend_from_slice(head.as_bytes());
        for (name, list) in [
            ("seriesCountByMetricName", &cardinality.series_by_metric),
            ("labelValueCountByLabelName", &cardinality.values_by_label),
            ("memoryInBytesByLabelName", &cardinality.bytes_by_label),
            ("seriesCountByLabelValuePair", &cardinality.series_by_pair),
        ] {
            out.push(b',');
            json::text(out, name);
            out.push(b':');
            array(out, list.iter(), |out, (name, value)| {
                out.extend_from_slice(br#"{"name":"#);
                json::text(out, name);
                out.extend_from_slice(format!(r#","value":{value}}}"#).as_bytes());
            });
        }
        out.push(b'}');
    };
    Ok(respond::success(data, &[]))
}

/// GET `/api/v1/status/tsdb/blocks`
pub async fn blocks(State(app): State<Arc<App>>) -> Response {
    let metas = app.options.db.block_metas();
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"blocks":"#);
        array(out, metas.iter(), |out, meta| out.extend_from_slice(meta.to_json().as_bytes()));
        out.push(b'}');
    };
    respond::success(data, &[])
}

/// GET `/api/v1/status/walreplay`, also before the server is ready.
pub async fn wal_replay(State(app): State<Arc<App>>) -> Response {
    let progress = app.options.db.replay_progress();
    let text = format!(r#"{{"min":{},"max":{},"current":{}}}"#, progress.min, progress.max, progress.current);
    respond::success(|out| out.extend_from_slice(text.as_bytes()), &[])
}

fn object<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::text(out, name);
        out.push(b':');
        json::text(out, value);
    }
    out.push(b'}');
}
