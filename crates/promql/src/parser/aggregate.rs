//! Aggregations, and lists of labels in parentheses.

use super::expression::Node;
use super::literal::unquote;
use super::{Fail, Parsed, Parser};
use crate::ast::{Aggregate, AggregateOp, Expr, Span};
use crate::lexer::{Keyword, Kind, Token, is_space};

struct Grouping {
    labels: Vec<String>,
    without: bool,
}

impl Parser<'_> {
    /// An aggregation whose operator was taken already.
    pub(super) fn aggregate(&mut self, op: AggregateOp, start: usize) -> Parsed<Node> {
        self.aggregate_body(op, start).map_err(|fail| self.unexpected(fail, "aggregation", ""))
    }

    fn aggregate_body(&mut self, op: AggregateOp, start: usize) -> Parsed<Node> {
        let mut grouping = self.grouping()?;
        let arguments = self.arguments()?;
        let mut end = self.last_closing;
        if grouping.is_none() {
            grouping = self.grouping()?;
            // Without a grouping behind it too, one token more than the aggregation was read.
            end = if grouping.is_none() { self.previous_paren() } else { self.last_closing };
        }
        let Grouping { labels, without } = grouping.unwrap_or(Grouping { labels: Vec::new(), without: false });
        let span = Span { start, end };
        let height = arguments.iter().map(|argument| argument.height).max().unwrap_or(0);
        let (parameter, expr) = self.aggregate_operands(op, span, arguments)?;
        self.node(Expr::Aggregate(Box::new(Aggregate { op, expr, parameter, grouping: labels, without, span })), height)
    }

    fn aggregate_operands(&self, op: AggregateOp, span: Span, arguments: Vec<Node>) -> Parsed<(Option<Expr>, Expr)> {
        if arguments.is_empty() {
            return Err(self.fail(span, "no arguments for aggregate expression provided"));
        }
        if let AggregateOp::LimitK | AggregateOp::LimitRatio = op
            && !self.options.experimental_functions
        {
            let name = op.as_str();
            let message = format!("{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions");
            return Err(self.fail(span, message));
        }
        let (wanted, got) = (if op.has_parameter() { 2 } else { 1 }, arguments.len());
        let mut arguments = arguments.into_iter().map(|argument| argument.expr);
        let parameter = if op.has_parameter() { arguments.next() } else { None };
        match arguments.next().filter(|_| got == wanted) {
            Some(expr) => Ok((parameter, expr)),
            None => {
                let message = format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}");
                Err(self.fail(span, message))
            }
        }
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match self.peek()?.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some(Grouping { labels: self.labels()?, without }))
    }

    /// `(a, "b", c,)`
    pub(super) fn labels(&mut self) -> Parsed<Vec<String>> {
        const RULE: &str = "grouping opts";
        self.expect(Kind::LeftParen).map_err(|fail| self.unexpected(fail, RULE, r#""(""#))?;
        let mut labels = Vec::new();
        loop {
            if self.accept(Kind::RightParen)?.is_some() {
                return Ok(labels);
            }
            let token = self.peek()?;
            let label = match token.kind {
                Kind::String => unquote(token.text),
                kind if is_label(kind) => token.text.to_owned(),
                _ => return Err(self.unexpected(Fail::Unexpected, RULE, "label")),
            };
            self.next()?;
            if label.is_empty() {
                return Err(self.fail(token.span(), r#"invalid label name for grouping: """#));
            }
            labels.push(label);
            if self.accept(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightParen {
                return Err(self.unexpected(Fail::Unexpected, RULE, r#""," or ")""#));
            }
        }
    }

    /// The closing parenthesis before the one that was read ahead, as Prometheus looks for it; else the last closing token.
    fn previous_paren(&self) -> usize {
        let bytes = self.text.as_bytes();
        if self.last_start == 0 || bytes.get(self.last_start) != Some(&b')') {
            return self.last_closing;
        }
        let before = bytes[..self.last_start].iter().rposition(|b| !is_space(char::from(*b)));
        before.filter(|at| *at > 0 && bytes[*at] == b')').map_or(self.last_closing, |at| at + 1)
    }
}

/// The words that may be labels in a list: all but `without`, numbers and what has no letters.
fn is_label(kind: Kind) -> bool {
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) => true,
        Kind::Binary(op) => op.is_set() || op == crate::ast::BinaryOp::Atan2,
        Kind::Keyword(keyword) => keyword != Keyword::Without,
        _ => false,
    }
}

/// Would this token, behind an aggregation's name, make it an aggregation instead of a metric?
pub(super) fn opens_aggregation(token: Token<'_>) -> bool {
    matches!(token.kind, Kind::LeftParen | Kind::Keyword(Keyword::By | Keyword::Without))
}
