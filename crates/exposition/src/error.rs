//! Why a page, a line, or a label set is refused.

/// A line that cannot be read. Its text is Prometheus's, with the place behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Line of the token that was not understood, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
}

/// Labels that no series can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A quoted metric name or label name is not UTF-8.
    #[error("invalid metric name or label names: {0}")]
    InvalidName(String),
    /// A name that comes twice.
    #[error("label name {0:?} is not unique: invalid sample")]
    Duplicate(String),
}
