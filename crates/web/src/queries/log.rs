//! `global.query_log_file`: a line of JSON for each query that is done.

use crate::api::query::{Timing, write_stats_object};
use crate::json;
use crate::listen::Peer;
use axum::extract::{FromRequestParts, OriginalUri};
use http::HeaderMap;
use http::request::Parts;
use promql::engine::QueryStats;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use time::OffsetDateTime;

/// What Grafana says of a panel, worth having beside a slow query.
const HEADERS: [&str; 4] = ["x-dashboard-uid", "x-panel-id", "x-rule-uid", "x-query-group-id"];

/// The file.
#[derive(Debug)]
pub struct QueryLog(File);

/// Who asked.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The client's address, if it is known.
    pub client: Option<IpAddr>,
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// Headers of Grafana's: names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
}

impl Origin {
    /// Of a request.
    pub fn new(client: Option<IpAddr>, method: &http::Method, path: &str, headers: &HeaderMap) -> Self {
        let value = |name: &'static str| Some((name, headers.get(name)?.to_str().ok()?.to_owned()));
        Self { client, method: method.to_string(), path: path.to_owned(), headers: HEADERS.into_iter().filter_map(value).collect() }
    }
}

/// A query that is done.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its text.
    pub query: &'a str,
    /// Milliseconds: the first step, the last one, and between two; 0 for an instant query.
    pub range: (i64, i64, i64),
    /// Why there is no answer.
    pub error: Option<String>,
    /// What it cost; without an answer only its time is known.
    pub stats: QueryStats,
    /// How long it took.
    pub timing: Timing,
    /// Who asked.
    pub origin: &'a Origin,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let client = parts.extensions.get::<Peer>().map(|Peer(address)| *address);
        // With the route prefix, as the client wrote it.
        let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |OriginalUri(uri)| uri.path());
        Ok(Self::new(client, &parts.method, path, &parts.headers))
    }
}

impl QueryLog {
    /// Opens a file to append to it.
    ///
    /// # Errors
    /// The text says which file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.map(Self).map_err(|error| format!("can't create json log file: open {}: {error}", path.display()))
    }

    /// Appends a line. That the disk is full is said in the server's own log: the query has its answer all the same.
    pub fn write(&self, entry: &Entry<'_>, now_ms: i64) {
        if let Err(error) = (&self.0).write_all(&line(entry, now_ms)) {
            tracing::error!(err = %error, "can't log query");
        }
    }
}

fn line(entry: &Entry<'_>, now_ms: i64) -> Vec<u8> {
    let Entry { query, range: (start, end, step), error, stats, timing, origin } = entry;
    let mut out = br#"{"time":"#.to_vec();
    json::text(&mut out, &date(now_ms));
    out.extend_from_slice(br#","level":"INFO","source":"query","msg":"promql query logged","params":{"end":"#);
    json::text(&mut out, &date(*end));
    out.extend_from_slice(br#","query":"#);
    json::text(&mut out, query);
    out.extend_from_slice(br#","start":"#);
    json::text(&mut out, &date(*start));
    out.extend_from_slice(format!(r#","step":{}}}"#, step / 1000).as_bytes());
    if let Some(error) = error {
        out.extend_from_slice(br#","error":"#);
        json::text(&mut out, error);
    }
    out.extend_from_slice(br#","stats":"#);
    write_stats_object(&mut out, stats, *timing);
    out.extend_from_slice(br#","httpRequest":{"clientIP":"#);
    json::text(&mut out, &origin.client.map(|client| client.to_string()).unwrap_or_default());
    for (name, value) in [("method", &origin.method), ("path", &origin.path)].into_iter().chain(origin.headers.iter().map(|(n, v)| (*n, v)))
    {
        out.push(b',');
        json::text(&mut out, name);
        out.push(b':');
        json::text(&mut out, value);
    }
    out.extend_from_slice(b"}}\n");
    out
}

/// As `2026-11-21T20:00:00.000Z`; as a number where there is no such time.
fn date(ms: i64) -> String {
    let Ok(t) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000) else { return ms.to_string() };
    let (year, month, day) = t.to_calendar_date();
    let (hour, minute, second, ms) = (t.hour(), t.minute(), t.second(), t.millisecond());
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", u8::from(month))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_line_has_prometheus_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("query.log");
        let mut headers = HeaderMap::new();
        headers.insert("X-Panel-Id", "7".parse().unwrap());
        let origin = Origin::new(Some([127, 0, 0, 1].into()), &http::Method::GET, "/api/v1/query_range", &headers);
        let entry = Entry {
            query: "up{a=\"b\"}",
            range: (1_700_000_000_123, 1_700_000_060_000, 15_000),
            error: Some("query timed out".into()),
            stats: QueryStats::default(),
            timing: Timing::default(),
            origin: &origin,
        };
        QueryLog::open(&path).unwrap().write(&entry, 0);
        QueryLog::open(&path).unwrap().write(&entry, 0);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with(
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"INFO","source":"query","msg":"promql query logged","params":{"end":"2023-11-14T22:14:20.000Z","query":"up{a=\"b\"}","start":"2023-11-14T22:13:20.123Z","step":15},"error":"query timed out","stats":{"timings":{"#
        ));
        assert!(
            lines[0].ends_with(r#""httpRequest":{"clientIP":"127.0.0.1","method":"GET","path":"/api/v1/query_range","x-panel-id":"7"}}"#)
        );
        let error = QueryLog::open(&folder.path().join("none").join("query.log")).unwrap_err();
        assert!(error.starts_with("can't create json log file: open "), "{error}");
    }
}
