//! What a browser finds at `/` until the page's own issue brings the page.

use crate::app::App;
use axum::extract::State;
use axum::response::Html;
use std::sync::Arc;

/// Where to go from here, in plain HTML without scripts.
pub async fn index(State(app): State<Arc<App>>) -> Html<String> {
    let prefix = &app.options.route_prefix;
    let link = |path: &str, text: &str| format!("<li><a href=\"{prefix}{path}\">{text}</a></li>");
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Pyrope</title></head><body><h1>Pyrope {}</h1><form action=\"{prefix}/api/v1/query\"><input name=\"query\" size=\"80\" value=\"up\" aria-label=\"expression\"> <button>Query</button></form><ul>{}{}{}{}</ul></body></html>",
        app.options.build.version,
        link("/api/v1/targets", "targets"),
        link("/api/v1/status/config", "configuration"),
        link("/api/v1/status/flags", "flags"),
        link("/metrics", "the server's own metrics"),
    ))
}
