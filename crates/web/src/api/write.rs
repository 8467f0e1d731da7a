//! `/write`: the remote write receiver.

use super::blocking;
use crate::app::App;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::sync::Arc;

/// The receiver decodes at most 64 MiB, and snappy makes nothing longer than that and a sixth more.
pub(crate) const BODY_BYTES_MAX: usize = 80 << 20;

/// POST `/api/v1/write`
pub async fn write(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    if app.options.receiver.is_none() {
        let hint = "remote write receiver needs to be enabled with --web.enable-remote-write-receiver";
        return (StatusCode::NOT_FOUND, format!("{hint}\n")).into_response();
    }
    if !app.is_ready() {
        return crate::routes::service_unavailable(&app);
    }
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (content_type, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    let _slot = app.write_slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    let now_ms = app.options.clock.now_ms();
    let work = move || {
        let receiver = app.options.receiver.as_ref().expect("checked above, and never taken away");
        Ok(receiver.write(content_type.as_deref(), encoding.as_deref(), &body, now_ms))
    };
    match blocking(work).await {
        Ok(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = (status, answer.body).into_response();
            for (name, value) in answer.headers {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert(HeaderName::from_static(name), value);
                }
            }
            response
        }
        Err(error) => error.into_response(),
    }
}
