//! Which path leads where.

use crate::app::App;
use crate::{api, metrics, page};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post, put};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use std::sync::Arc;
use tower_http::compression::CompressionLayer;

/// Everything the server answers to.
pub fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/query", get(api::query::instant).post(api::query::instant))
        .route("/query_range", get(api::query::range).post(api::query::range))
        .route("/format_query", get(api::ast::format_query).post(api::ast::format_query))
        .route("/parse_query", get(api::ast::parse_query).post(api::ast::parse_query))
        .route("/labels", get(api::names::labels).post(api::names::labels))
        .route("/label/{name}/values", get(api::names::values))
        .route("/series", get(api::names::series).post(api::names::series))
        .route("/query_exemplars", get(api::exemplars::exemplars).post(api::exemplars::exemplars))
        .route("/metadata", get(api::targets::all_metadata))
        .route("/targets", get(api::targets::targets))
        .route("/targets/metadata", get(api::targets::metadata))
        .route("/scrape_pools", get(api::targets::pools))
        .route("/status/buildinfo", get(api::status::buildinfo))
        .route("/status/flags", get(api::status::flags))
        .route("/status/config", get(api::status::config))
        .route("/status/tsdb", get(api::status::tsdb))
        .route("/status/tsdb/blocks", get(api::status::blocks))
        .route("/admin/tsdb/delete_series", post(api::admin::delete_series).put(api::admin::delete_series))
        .route("/admin/tsdb/clean_tombstones", post(api::admin::clean_tombstones).put(api::admin::clean_tombstones))
        .route("/admin/tsdb/snapshot", post(api::admin::snapshot).put(api::admin::snapshot))
        .layer(middleware::from_fn_with_state(app.clone(), only_when_ready))
        .route("/status/walreplay", get(api::status::wal_replay))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(app.clone(), cors))
        .route("/write", post(api::write::write).layer(DefaultBodyLimit::max(api::write::BODY_BYTES_MAX)))
        .layer(DefaultBodyLimit::max(api::FORM_BYTES_MAX));

    let inner = Router::new()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::metrics))
        .route("/-/healthy", get(healthy).head(healthy))
        .route("/-/ready", get(ready).head(ready))
        .route("/-/reload", post(reload).put(reload).get(only_post_or_put))
        .route("/-/quit", put(quit).post(quit).get(only_post_or_put))
        .route("/", get(page::index))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method);

    let prefix = app.options.route_prefix.clone();
    let routes = if prefix.is_empty() {
        inner
    } else {
        let target = format!("{prefix}/");
        Router::new().nest(&prefix, inner).route("/", any(move || async move { Redirect::to(&target) })).fallback(not_found)
    };
    let routes = routes.layer(middleware::from_fn_with_state(app.clone(), metrics::count)).with_state(app.clone());
    // Around the routing, which has decided on the method when layers of the router itself are called.
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(app, go_methods))
}

/// What Go's `http.Error` sends along.
const NO_SNIFF: [(header::HeaderName, &str); 1] = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, NO_SNIFF, "404 page not found\n").into_response()
}

async fn wrong_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, NO_SNIFF, "Method Not Allowed\n").into_response()
}

async fn only_post_or_put() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed").into_response()
}

async fn healthy() -> &'static str {
    "Prometheus Server is Healthy.\n"
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.is_ready() { "Prometheus Server is Ready.\n".into_response() } else { service_unavailable(&app) }
}

/// Not ready yet, or no more.
pub(crate) fn service_unavailable(app: &App) -> Response {
    let stopping = if app.is_stopping() { "true" } else { "false" };
    (StatusCode::SERVICE_UNAVAILABLE, [("x-prometheus-stopping", stopping)], "Service Unavailable").into_response()
}

async fn only_when_ready(State(app): State<Arc<App>>, request: axum::extract::Request, next: middleware::Next) -> Response {
    if app.is_ready() { next.run(request).await } else { service_unavailable(&app) }
}

async fn reload(State(app): State<Arc<App>>) -> Response {
    let Some(lifecycle) = &app.options.lifecycle else {
        return (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response();
    };
    let (done, outcome) = tokio::sync::oneshot::channel();
    let answer = if lifecycle.reload.send(done).await.is_ok() { outcome.await.ok() } else { None };
    match answer {
        Some(Ok(())) => StatusCode::OK.into_response(),
        Some(Err(message)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {message}\n")).into_response(),
        None => service_unavailable(&app),
    }
}

async fn quit(State(app): State<Arc<App>>) -> Response {
    let Some(lifecycle) = &app.options.lifecycle else {
        return (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response();
    };
    // A full queue means that the server is ending already.
    let _ = lifecycle.quit.try_send(());
    "Requesting termination... Goodbye!".into_response()
}

/// Methods as Go's router has them: HEAD is no GET, OPTIONS is answered for every path, `Allow` names what there is.
async fn go_methods(State(app): State<Arc<App>>, mut request: axum::extract::Request, next: middleware::Next) -> Response {
    let path = request.uri().path().strip_prefix(app.options.route_prefix.as_str()).unwrap_or_default();
    let (with_head, api) = (matches!(path, "/-/healthy" | "/-/ready"), path.starts_with("/api/"));
    let options = request.method() == Method::OPTIONS;
    let origin = request.headers().get(header::ORIGIN).cloned();
    if request.method() == Method::HEAD && !with_head {
        // No route has this method, so that what follows is the answer to a wrong one.
        *request.method_mut() = Method::TRACE;
    }
    let mut response = next.run(request).await;
    let status = response.status();
    if status == StatusCode::METHOD_NOT_ALLOWED && options && api {
        let mut answer = StatusCode::NO_CONTENT.into_response();
        allow_origin(&app, origin, answer.headers_mut());
        return answer;
    }
    if let Some(Ok(allowed)) = response.headers().get(header::ALLOW).map(HeaderValue::to_str) {
        let mut methods: Vec<&str> = allowed.split(',').filter(|m| with_head || *m != "HEAD").chain(["OPTIONS"]).collect();
        methods.sort_unstable();
        if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
            if options {
                return ([(header::ALLOW, methods)], StatusCode::OK).into_response();
            }
            response.headers_mut().insert(header::ALLOW, methods);
        }
    }
    response
}

/// `Access-Control-*` for origins that `--web.cors.origin` names, as Prometheus's `SetCORS`.
async fn cors(State(app): State<Arc<App>>, request: axum::extract::Request, next: middleware::Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    allow_origin(&app, origin, response.headers_mut());
    response
}

fn allow_origin(app: &App, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    let Some(origin) = origin else { return };
    if !origin.to_str().is_ok_and(|o| app.options.cors_origin.matches(o)) {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// The path as metrics name it: parameters by their names.
pub(crate) fn handler_name(request: &Request<axum::body::Body>) -> String {
    let matched = request.extensions().get::<axum::extract::MatchedPath>();
    matched.map_or_else(|| "/*".to_owned(), |path| path.as_str().replace('{', ":").replace('}', ""))
}
