//! The handlers of `/api/v1`.

pub mod admin;
pub mod ast;
pub mod exemplars;
pub mod explain;
pub mod names;
pub mod query;
pub(crate) mod quick;
pub mod status;
pub mod targets;
pub mod write;

use crate::params::Form;
use crate::respond::ApiError;
use axum::body::Bytes;
use axum::extract::FromRequest;
use http::{Method, header};
use model::Matcher;
use promql::parser::parse_selector;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::Cancel;

/// Forms beyond this are refused before they are read to the end, as Go's `ParseForm` does.
pub(crate) const FORM_BYTES_MAX: usize = 10 << 20;

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, ApiError> {
        let query = request.uri().query().unwrap_or("").to_owned();
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or("");
        if request.method() != Method::POST || !content_type.starts_with("application/x-www-form-urlencoded") {
            return Ok(Self::new(b"", &query));
        }
        let failed = |why: &dyn std::fmt::Display| ApiError::BadData(format!("error parsing form values: {why}"));
        let body = Bytes::from_request(request, state).await.map_err(|_| failed(&"http: request body too large"))?;
        Ok(Self::new(&body, &query))
    }
}

/// The selectors of all `match[]`.
fn matcher_sets(form: &Form) -> Result<Vec<Vec<Matcher>>, String> {
    let sets = form.values("match[]").map(|text| parse_selector(text).map_err(|e| e.to_string())).collect::<Result<Vec<_>, _>>()?;
    if sets.iter().any(|set| set.iter().all(Matcher::matches_empty)) {
        return Err("match[] must contain at least one non-empty matcher".into());
    }
    Ok(sets)
}

/// Whoever has it waits for an answer. Dropped with the request, as happens when its client goes away, it sets its flag.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// For the store.
    fn cancel(&self) -> Cancel {
        let flag = self.0.clone();
        Cancel::when(move || flag.load(Ordering::Relaxed))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on a blocking thread; a panic there ends this request alone.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(panicked(&failure)),
    }
}

fn panicked(what: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(err = %what, "a request's work panicked");
    ApiError::Internal("unexpected error: the request's work panicked; see the log".into())
}

const TRUNCATED: &str = "results truncated due to limit";

fn array<T>(out: &mut Vec<u8>, entries: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, entry) in entries.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, entry);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_dropped_tells_the_store() {
        let waiting = CancelOnDrop::default();
        let cancel = waiting.cancel();
        assert!(!cancel.is_cancelled());
        drop(waiting);
        assert!(cancel.is_cancelled());
    }
}
