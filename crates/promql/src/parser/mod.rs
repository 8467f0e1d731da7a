//! Text to a typed, checked tree.

mod error;

pub use error::{ParseError, Position};

use crate::ast::{Expr, Span};
use model::Matcher;

/// What the language has beyond its stable part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParserOptions {
    /// `limitk`, `limit_ratio` and the experimental functions.
    pub experimental_functions: bool,
}

/// Reads a query.
pub fn parse(text: &str, _options: &ParserOptions) -> Result<Expr, ParseError> {
    Err(ParseError::new(text, Span::default(), "no expression found in input"))
}

/// Reads a selector, as in `match[]`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    Err(ParseError::new(text, Span::default(), "no expression found in input"))
}
