//! Text to a typed, checked tree; and selectors and series alone.
//!
//! Recursive descent with precedence climbing. Prometheus's own parser is generated from a grammar, and its messages are
//! part of its interface: where several rules of the grammar could explain a refused token, the innermost rule that is
//! prepared for errors gives the text. Here a function that is such a rule turns a [`Fail::Unexpected`] that reaches it
//! into its message, and one that is not just passes it on. Prometheus collects errors and shows the first; we stop there.
//!
//! # Invariants
//! - No tree is higher than [`DEPTH_MAX`], so that whoever walks it may recurse, as may the parser to [`NESTING_MAX`].
//! - What leaves here is well typed; the engine checks nothing again.
//! - A token is asked for exactly when Prometheus's parser would ask for it, since a fault of the lexer goes before one of
//!   the grammar or of the types that is found later.

mod aggregate;
mod check;
mod duration;
mod error;
mod expression;
mod histogram;
mod literal;
mod modifier;
mod selector;
mod series;

pub(crate) use duration::SECONDS_MAX;
pub use error::{ParseError, Position};
pub use series::SequenceValue;

use crate::ast::{Expr, Span};
use crate::lexer::{Keyword, Kind, Lexer, Token};
use model::{Labels, Matcher};

/// How high a tree may be, chains of operators included. Whoever walks it has four kibibytes of stack a level in a thread
/// of two mebibytes.
pub const DEPTH_MAX: usize = 512;

/// How many expressions may be open at once, in parentheses or calls. These cost the parser itself about four kibibytes
/// each, and whoever parses has a stack that is in use already.
pub const NESTING_MAX: usize = 256;

/// What the language has beyond its stable part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParserOptions {
    /// `limitk` and `limit_ratio`, and functions that are marked so.
    pub experimental_functions: bool,
    /// `[5m * 2]`, `offset step()`
    pub duration_expressions: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
}

impl ParserOptions {
    /// The whole language.
    pub const fn all() -> Self {
        Self { experimental_functions: true, duration_expressions: true, fill_modifiers: true, extended_range_selectors: true }
    }
}

/// Reads a query and checks its types.
pub fn parse(text: &str, options: &ParserOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, Lexer::new(text), *options);
    let mut expr = parser.whole(|parser| {
        if parser.peek()?.kind == Kind::Eof {
            return Err(parser.fail(Span::default(), "no expression found in input"));
        }
        parser.expression()
    })?;
    check::check(text, &mut expr)?;
    Ok(expr)
}

/// Reads a selector, as in `match[]`. That it may select everything is for the caller to judge.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text, Lexer::new(text), ParserOptions::default());
    parser.whole(Parser::vector_selector).map(|selector| selector.matchers)
}

/// Reads a series and its values, as in rule tests: `up{job="a"} 1 2 _x3 4+1x5 stale`.
pub fn parse_series_description(text: &str) -> Result<(Labels, Vec<SequenceValue>), ParseError> {
    let mut parser = Parser::new(text, Lexer::for_series(text), ParserOptions::default());
    parser.whole(Parser::series_description)
}

/// Why a rule of the grammar did not apply.
#[derive(Debug)]
enum Fail {
    /// The token that comes next fits nothing; no rule has named itself yet.
    Unexpected,
    /// Final.
    Error(ParseError),
}

type Parsed<T> = Result<T, Fail>;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The token that comes next, if it was asked for already.
    ahead: Option<Token<'a>>,
    /// Where the token asked for last begins.
    last_start: usize,
    /// Behind the last token asked for that can close an expression. Prometheus takes it as some expressions' end, which
    /// is one token too far if it had to look ahead.
    last_closing: usize,
    options: ParserOptions,
    /// Expressions that are open.
    depth: usize,
    /// Operators in computed durations so far: no tree of them may be higher.
    duration_operators: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, lexer: Lexer<'a>, options: ParserOptions) -> Self {
        Self { text, lexer, ahead: None, last_start: 0, last_closing: 0, options, depth: 0, duration_operators: 0 }
    }

    /// The rule, and behind it nothing.
    fn whole<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Result<T, ParseError> {
        let outcome = rule(self).and_then(|value| match self.peek()?.kind {
            Kind::Eof => Ok(value),
            _ => Err(Fail::Unexpected),
        });
        outcome.map_err(|fail| match self.unexpected(fail, "", "") {
            Fail::Error(error) => error,
            Fail::Unexpected => unreachable!("`unexpected` makes errors of these"),
        })
    }

    fn peek(&mut self) -> Parsed<Token<'a>> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = self.lexer.next_token().map_err(Fail::Error)?;
        self.last_start = token.start;
        if let Kind::RightBrace | Kind::RightParen | Kind::RightBracket | Kind::Duration | Kind::Number = token.kind {
            self.last_closing = token.span().end;
        }
        self.ahead = Some(token);
        Ok(token)
    }

    fn next(&mut self) -> Parsed<Token<'a>> {
        let token = self.peek()?;
        self.ahead = None;
        Ok(token)
    }

    fn expect(&mut self, kind: Kind) -> Parsed<Token<'a>> {
        if self.peek()?.kind != kind {
            return Err(Fail::Unexpected);
        }
        self.next()
    }

    /// The token if it is of that kind.
    fn accept(&mut self, kind: Kind) -> Parsed<Option<Token<'a>>> {
        if self.peek()?.kind == kind { self.next().map(Some) } else { Ok(None) }
    }

    fn accept_keyword(&mut self, keyword: Keyword) -> Parsed<bool> {
        Ok(self.accept(Kind::Keyword(keyword))?.is_some())
    }

    fn fail(&self, span: Span, message: impl Into<String>) -> Fail {
        Fail::Error(ParseError::new(self.text, span, message))
    }

    /// Names the rule in which the next token is unexpected, unless an inner rule did.
    fn unexpected(&mut self, fail: Fail, rule: &str, expected: &str) -> Fail {
        let token = match (fail, self.peek()) {
            (Fail::Error(error), _) | (Fail::Unexpected, Err(Fail::Error(error))) => return Fail::Error(error),
            (Fail::Unexpected, Ok(token)) => token,
            (Fail::Unexpected, Err(Fail::Unexpected)) => unreachable!("`peek` fails with the lexer's errors only"),
        };
        let mut message = format!("unexpected {}", token.describe());
        if !rule.is_empty() {
            message.push_str(" in ");
            message.push_str(rule);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.fail(token.span(), message)
    }
}
