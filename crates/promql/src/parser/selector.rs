//! Instant selectors and their matchers.

use super::literal::unquote;
use super::{Fail, Parsed, Parser};
use crate::ast::{BinaryOp, Span, VectorSelector};
use crate::lexer::{Keyword, Kind, Token};
use model::matcher::MatchOp;
use model::{Matcher, Millis};

impl<'a> Parser<'a> {
    /// `name`, `name{…}` or `{…}`
    pub(super) fn vector_selector(&mut self) -> Parsed<VectorSelector> {
        let first = self.peek()?;
        if first.kind == Kind::LeftBrace {
            let (matchers, span) = self.matchers()?;
            return Ok(VectorSelector { name: None, matchers, offset: Millis(0), offset_expr: None, at: None, extended: None, span });
        }
        if !is_metric_name(first.kind) {
            return Err(Fail::Unexpected);
        }
        self.next()?;
        self.named_selector(first)
    }

    /// The selector whose name was taken already.
    pub(super) fn named_selector(&mut self, name: Token<'a>) -> Parsed<VectorSelector> {
        let (mut matchers, mut span) = (Vec::new(), name.span());
        if self.peek()?.kind == Kind::LeftBrace {
            let (inner, braces) = self.matchers()?;
            matchers = inner;
            span.end = braces.end;
        }
        matchers.push(Matcher::equal("__name__", name.text));
        Ok(VectorSelector {
            name: Some(name.text.to_owned()),
            matchers,
            offset: Millis(0),
            offset_expr: None,
            at: None,
            extended: None,
            span,
        })
    }

    fn matchers(&mut self) -> Parsed<(Vec<Matcher>, Span)> {
        let open = self.expect(Kind::LeftBrace)?;
        let mut matchers = Vec::new();
        loop {
            // An empty list and a comma behind the last one are fine, a comma alone is not.
            if let Some(close) = self.accept(Kind::RightBrace)? {
                return Ok((matchers, Span { start: open.start, end: close.span().end }));
            }
            matchers.push(self.matcher()?);
            if self.accept(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightBrace {
                return Err(self.unexpected(Fail::Unexpected, "label matching", r#""," or "}""#));
            }
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let name = self.peek()?;
        let label = match name.kind {
            Kind::Identifier => name.text.to_owned(),
            Kind::String => unquote(name.text),
            _ => return Err(self.unexpected(Fail::Unexpected, "label matching", r#"identifier or "}""#)),
        };
        self.next()?;
        let op = match self.peek()?.kind {
            Kind::Assign => MatchOp::Equal,
            Kind::Binary(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::EqualRegex => MatchOp::Regex,
            Kind::NotEqualRegex => MatchOp::NotRegex,
            // A quoted text alone is the metric's name.
            _ if name.kind == Kind::String => return Ok(Matcher::equal("__name__", label)),
            _ => return Err(self.unexpected(Fail::Unexpected, "label matching", "label matching operator")),
        };
        self.next()?;
        let value = self.expect(Kind::String).map_err(|fail| self.unexpected(fail, "label matching", "string"))?;
        let span = Span { start: name.start, end: value.span().end };
        Matcher::new(op, label, unquote(value.text)).map_err(|error| self.fail(span, error.to_string()))
    }
}

/// The words that may name a metric outside of quotes, keywords among them.
pub(super) fn is_metric_name(kind: Kind) -> bool {
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) => true,
        Kind::Binary(op) => op.is_set(),
        Kind::Keyword(keyword) => {
            !matches!(keyword, Keyword::Bool | Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight)
        }
        _ => false,
    }
}
