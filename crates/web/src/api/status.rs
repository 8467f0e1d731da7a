//! `/status/…`

use crate::app::App;
use crate::json;
use crate::respond;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

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
