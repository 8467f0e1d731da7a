//! Why a page, a line, or a label set is refused.

use std::fmt;

use crate::lexer::Token;
use crate::number::NumberError;
use crate::text::GoQuoted;

/// A line that cannot be read. Its text is Prometheus's, with the place behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (line {line}, column {column})")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Line of the token that was not understood, from 1.
    pub line: usize,
    /// Its column in bytes, from 1.
    pub column: usize,
}

/// What is wrong with a line. `parsing` is what had been read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// A token in the wrong place.
    Unexpected {
        /// What should have come, in Prometheus's words.
        expected: &'static str,
        /// What came.
        token: Token,
        /// Its bytes, and the one at which it ended.
        found: Vec<u8>,
        /// The line so far.
        parsing: Vec<u8>,
    },
    /// A metadata line without its text.
    NoText {
        /// Which kind of line.
        line: Token,
        /// What came instead; OpenMetrics does not say.
        found: Option<Token>,
    },
    /// A type that the format does not know.
    MetricType(Vec<u8>),
    /// A help text that is not UTF-8.
    HelpNotUtf8(Vec<u8>),
    /// A label value (with its quotes) that is not UTF-8.
    LabelValueNotUtf8(Vec<u8>),
    /// A second metric name.
    NameAgain(Vec<u8>),
    /// Braces without a metric name.
    NoName(Vec<u8>),
    /// A value or timestamp that is no number.
    Number {
        /// Why not.
        error: NumberError,
        /// The line so far.
        parsing: Vec<u8>,
    },
    /// A sample's time that is NaN or infinite.
    Timestamp(&'static str),
    /// An exemplar's time that is NaN or infinite.
    ExemplarTimestamp(&'static str),
    /// A unit that the metric's name does not end in.
    UnitNotSuffix {
        /// The unit.
        unit: Vec<u8>,
        /// The metric.
        name: Vec<u8>,
    },
    /// Something behind `# EOF`.
    DataAfterEof,
    /// No `# EOF`.
    NoEof,
}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { expected, token, found, parsing } => {
                write!(f, "{expected}, got {} (\"{token}\") while parsing: {}", GoQuoted(found), GoQuoted(parsing))
            }
            Self::NoText { line, found: Some(found) } => write!(f, "expected text in {line}, got {found}"),
            Self::NoText { line, found: None } => write!(f, "expected text in {line}"),
            Self::MetricType(text) => write!(f, "invalid metric type {}", GoQuoted(text)),
            Self::HelpNotUtf8(text) => write!(f, "help text {} is not a valid utf8 string", GoQuoted(text)),
            Self::LabelValueNotUtf8(text) => write!(f, "invalid UTF-8 label value: {}", GoQuoted(text)),
            Self::NameAgain(parsing) => write!(f, "metric name already set while parsing: {}", GoQuoted(parsing)),
            Self::NoName(parsing) => write!(f, "metric name not set while parsing: {}", GoQuoted(parsing)),
            Self::Number { error, parsing } => write!(f, "{error} while parsing: {}", GoQuoted(parsing)),
            Self::Timestamp(text) => write!(f, "invalid timestamp {text}"),
            Self::ExemplarTimestamp(text) => write!(f, "invalid exemplar timestamp {text}"),
            Self::UnitNotSuffix { unit, name } => write!(f, "unit {} not a suffix of metric {}", GoQuoted(unit), GoQuoted(name)),
            Self::DataAfterEof => f.write_str("unexpected data after # EOF"),
            Self::NoEof => f.write_str("data does not end with # EOF"),
        }
    }
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
