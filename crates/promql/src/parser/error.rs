//! What is wrong with a query's text, and where.

use crate::ast::Span;
use std::fmt;

/// A refusal of a text. Its `Display` is Prometheus's message: `1:14: parse error: unexpected …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The bytes it is about.
    pub span: Span,
    /// Where `span` starts; `None` if the text is empty.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
}

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Lines, ended by `\n`.
    pub line: usize,
    /// Bytes, as Prometheus counts.
    pub column: usize,
}

impl ParseError {
    /// An error at `span` of `text`.
    pub(crate) fn new(text: &str, span: Span, message: impl Into<String>) -> Self {
        Self { span, position: Position::of(text, span.start), message: message.into() }
    }
}

impl Position {
    fn of(text: &str, offset: usize) -> Option<Self> {
        let before = text.as_bytes().get(..offset).filter(|_| !text.is_empty())?;
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Some(Self { line, column: offset - line_start + 1 })
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{line}:{column}: parse error: {}", self.message),
            None => write!(f, "unknown position: parse error: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}
