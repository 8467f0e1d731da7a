//! What every answer of the API has: status, data, warnings, or an error of a kind.

use crate::json;
use crate::params::ParamError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use promql::engine::QueryError;
use storage::SelectError;

/// Prometheus shows at most this many warnings and as many infos, and then counts the rest.
const ANNOTATIONS_MAX: usize = 10;

/// Why a request failed; the kind decides the status code.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A parameter or expression that cannot be used: 400.
    #[error("{0}")]
    BadData(String),
    /// The evaluation failed: 422.
    #[error("{0}")]
    Execution(String),
    /// The query ran out of time: 503.
    #[error("{0}")]
    Timeout(String),
    /// The client went away: 499.
    #[error("{0}")]
    Canceled(String),
    /// The store failed: 500.
    #[error("{0}")]
    Internal(String),
    /// Switched off, or not ready yet: 503, or 500 where Prometheus says so.
    #[error("{0}")]
    Unavailable(String),
}

impl ApiError {
    fn kind(&self) -> (&'static str, u16) {
        match self {
            Self::BadData(_) => ("bad_data", 400),
            Self::Execution(_) => ("execution", 422),
            Self::Timeout(_) => ("timeout", 503),
            Self::Canceled(_) => ("canceled", 499),
            Self::Internal(_) => ("internal", 500),
            Self::Unavailable(_) => ("unavailable", 500),
        }
    }
}

impl From<ParamError> for ApiError {
    fn from(error: ParamError) -> Self {
        Self::BadData(error.to_string())
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let text = error.to_string();
        match error {
            QueryError::Timeout(_) => Self::Timeout(text),
            QueryError::Cancelled(_) => Self::Canceled(text),
            QueryError::Storage(_) => Self::Internal(text),
            QueryError::Duration(_) => ParamError { name: "query", message: text }.into(),
            QueryError::Execution(_) | QueryError::TooManySamples(_) | QueryError::TooMuchMemory { .. } => Self::Execution(text),
        }
    }
}

impl From<SelectError> for ApiError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::NotReady => Self::Unavailable(error.to_string()),
            SelectError::Cancelled => Self::Canceled(error.to_string()),
            SelectError::Corrupt(_) => Self::Execution(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (kind, status) = self.kind();
        let mut out = br#"{"status":"error","errorType":"#.to_vec();
        json::text(&mut out, kind);
        out.extend_from_slice(br#","error":"#);
        json::text(&mut out, &self.to_string());
        out.push(b'}');
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        with_type(status, out.into())
    }
}

/// Begins a successful answer: what follows is `data`.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"status":"success","data":"#);
}

/// Ends a successful answer behind its data.
pub fn finish(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    annotations(out, "warnings", "warning", warnings);
    annotations(out, "infos", "info", infos);
    out.push(b'}');
}

/// A whole answer around `data`.
pub fn success(data: impl FnOnce(&mut Vec<u8>), warnings: &[String]) -> Response {
    let mut out = Vec::with_capacity(1024);
    begin(&mut out);
    data(&mut out);
    finish(&mut out, warnings, &[]);
    with_type(StatusCode::OK, out.into())
}

/// A whole answer around `data`, which may fail, and gives the warnings.
pub fn success_with<E>(data: impl FnOnce(&mut Vec<u8>) -> Result<Vec<String>, E>) -> Result<Response, E> {
    let mut out = Vec::with_capacity(1024);
    begin(&mut out);
    let warnings = data(&mut out)?;
    finish(&mut out, &warnings, &[]);
    Ok(with_type(StatusCode::OK, out.into()))
}

/// An answer of the API's content type.
pub fn with_type(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn annotations(out: &mut Vec<u8>, field: &str, word: &str, list: &[String]) {
    if list.is_empty() {
        return;
    }
    let mut shown: Vec<&str> = list.iter().map(String::as_str).collect();
    shown.sort_unstable();
    shown.dedup();
    let rest = shown.len().saturating_sub(ANNOTATIONS_MAX);
    shown.truncate(ANNOTATIONS_MAX);
    let more = format!("{rest} more {word} annotations omitted");
    out.push(b',');
    json::text(out, field);
    out.push(b':');
    json::texts(out, shown.into_iter().chain((rest > 0).then_some(more.as_str())));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of a query are no data: what is wrong with it because of them is the sender's fault.
    #[test]
    fn a_duration_that_is_none_is_a_bad_parameter() {
        let error = ApiError::from(QueryError::Duration("2:8: duration must be greater than 0".into()));
        assert_eq!(error.kind(), ("bad_data", 400));
        assert_eq!(error.to_string(), r#"invalid parameter "query": 2:8: duration must be greater than 0"#);
        assert_eq!(ApiError::from(QueryError::Execution("x".into())).kind(), ("execution", 422));
    }
}
