//! Expressions: operators by precedence, operands, calls.

use super::aggregate::opens_aggregation;
use super::literal::unquote_bytes;
use super::selector::is_metric_name;
use super::{DEPTH_MAX, Fail, NESTING_MAX, Parsed, Parser};
use crate::ast::{Binary, BinaryOp, Call, Cardinality, Expr, Matching, Paren, Span, StringLiteral, Unary};
use crate::functions;
use crate::lexer::{Keyword, Kind, Token};

/// An expression, and how many levels it has.
pub(super) struct Node {
    pub(super) expr: Expr,
    pub(super) height: usize,
}

/// How strongly operators bind, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Or,
    And,
    Comparison,
    Sum,
    Product,
    Power,
}

impl Precedence {
    fn of(op: BinaryOp) -> Self {
        match op {
            BinaryOp::Or => Self::Or,
            BinaryOp::And | BinaryOp::Unless => Self::And,
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Greater
            | BinaryOp::Less
            | BinaryOp::GreaterOrEqual
            | BinaryOp::LessOrEqual
            | BinaryOp::TrimBelow
            | BinaryOp::TrimAbove => Self::Comparison,
            BinaryOp::Add | BinaryOp::Sub => Self::Sum,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => Self::Product,
            BinaryOp::Pow => Self::Power,
        }
    }

    /// The least precedence that an operator in the right operand may have.
    fn on_the_right(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Comparison,
            Self::Comparison => Self::Sum,
            Self::Sum => Self::Product,
            // Powers are the only ones that associate to the right.
            Self::Product | Self::Power => Self::Power,
        }
    }
}

impl<'a> Parser<'a> {
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.operation(Precedence::Or).map(|node| node.expr)
    }

    fn operation(&mut self, least: Precedence) -> Parsed<Node> {
        self.nested(|parser| {
            let mut left = parser.modified_operand()?;
            while let Kind::Binary(op) = parser.peek()?.kind
                && Precedence::of(op) >= least
            {
                parser.next()?;
                left = parser.binary(op, left)?;
            }
            Ok(left)
        })
    }

    fn binary(&mut self, op: BinaryOp, left: Node) -> Parsed<Node> {
        let return_bool = self.accept_keyword(Keyword::Bool)?;
        let mut matching = self.matching()?;
        self.fill(&mut matching)?;
        let right = self.operation(Precedence::of(op).on_the_right())?;
        let span = Span { start: left.expr.span().start, end: right.expr.span().end };
        if !self.options.fill_modifiers && (matching.fill_left.is_some() || matching.fill_right.is_some()) {
            return Err(self.fail(span, "binop fill modifiers are experimental and not enabled"));
        }
        let height = left.height.max(right.height);
        let (left, right) = (left.expr, right.expr);
        self.node(Expr::Binary(Box::new(Binary { op, left, right, matching: Some(matching), return_bool, span })), height)
    }

    fn matching(&mut self) -> Parsed<Matching> {
        let mut matching = Matching::default();
        match self.peek()?.kind {
            Kind::Keyword(Keyword::On) => matching.on = true,
            Kind::Keyword(Keyword::Ignoring) => {}
            _ => return Ok(matching),
        }
        self.next()?;
        matching.labels = self.labels()?;
        matching.cardinality = match self.peek()?.kind {
            Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(matching),
        };
        self.next()?;
        if self.peek()?.kind == Kind::LeftParen {
            matching.include = self.labels()?;
        }
        Ok(matching)
    }

    fn fill(&mut self, matching: &mut Matching) -> Parsed<()> {
        let (left, other) = match self.peek()?.kind {
            Kind::Keyword(Keyword::Fill) => (None, None),
            Kind::Keyword(Keyword::FillLeft) => (Some(true), Some(Keyword::FillRight)),
            Kind::Keyword(Keyword::FillRight) => (Some(false), Some(Keyword::FillLeft)),
            _ => return Ok(()),
        };
        self.next()?;
        let value = self.fill_value()?;
        let second = match other {
            Some(other) if self.accept_keyword(other)? => Some(self.fill_value()?),
            _ => None,
        };
        (matching.fill_left, matching.fill_right) = match left {
            None => (Some(value), Some(value)),
            Some(true) => (Some(value), second),
            Some(false) => (second, Some(value)),
        };
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen)?;
        let value = self.signed_number()?.value;
        self.expect(Kind::RightParen)?;
        Ok(value)
    }

    fn modified_operand(&mut self) -> Parsed<Node> {
        let Node { mut expr, mut height } = self.operand()?;
        loop {
            match self.modifier(expr)? {
                Ok(modified) => Node { expr, height } = self.node(modified, height)?,
                Err(unmodified) => return Ok(Node { expr: unmodified, height }),
            }
        }
    }

    fn operand(&mut self) -> Parsed<Node> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                self.next()?;
                let number = self.number(token)?;
                self.node(Expr::Number(number), 0)
            }
            Kind::String => {
                self.next()?;
                let (value, no_utf8) = match unquote_bytes(token.text) {
                    Ok(value) => (value, None),
                    Err(bytes) => (String::from_utf8_lossy(&bytes).into_owned(), Some(bytes.into())),
                };
                self.node(Expr::String(StringLiteral { value, no_utf8, span: token.span() }), 0)
            }
            Kind::LeftParen => self.parenthesized(),
            Kind::Binary(BinaryOp::Add | BinaryOp::Sub) => self.unary(),
            Kind::LeftBrace => {
                let selector = self.vector_selector()?;
                self.node(Expr::Vector(selector), 0)
            }
            kind if is_metric_name(kind) => {
                self.next()?;
                self.named(token)
            }
            _ => Err(Fail::Unexpected),
        }
    }

    fn parenthesized(&mut self) -> Parsed<Node> {
        let start = self.next()?.start;
        let inner = self.operation(Precedence::Or)?;
        let end = self.expect(Kind::RightParen)?.span().end;
        self.node(Expr::Paren(Box::new(Paren { expr: inner.expr, span: Span { start, end } })), inner.height)
    }

    /// A sign binds like a product: `-1 ^ 2` is -1.
    fn unary(&mut self) -> Parsed<Node> {
        let Some((negative, start)) = self.accept_sign()? else { return Err(Fail::Unexpected) };
        let operand = self.operation(Precedence::Power)?;
        if let Expr::Number(mut number) = operand.expr {
            number.span.start = start;
            number.value = if negative { -number.value } else { number.value };
            return Ok(Node { expr: Expr::Number(number), height: operand.height });
        }
        let span = Span { start, end: operand.expr.span().end };
        self.node(Expr::Unary(Box::new(Unary { negative, expr: operand.expr, span })), operand.height)
    }

    /// What begins with a word: an aggregation, a call or a selector.
    fn named(&mut self, word: Token<'a>) -> Parsed<Node> {
        let follows = self.peek()?;
        match word.kind {
            Kind::Aggregate(op) if opens_aggregation(follows) => self.aggregate(op, word.start),
            Kind::Identifier if follows.kind == Kind::LeftParen => self.call(word),
            Kind::Keyword(keyword) if keyword.is_preprocessor() && follows.kind == Kind::LeftParen => self.call(word),
            _ => {
                let selector = self.named_selector(word)?;
                self.node(Expr::Vector(selector), 0)
            }
        }
    }

    fn call(&mut self, name: Token<'a>) -> Parsed<Node> {
        let arguments = self.arguments()?;
        let Some(function) = functions::find(name.text) else {
            return Err(self.fail(name.span(), format!("unknown function with name {}", model::name::quote(name.text))));
        };
        if function.experimental && !self.options.experimental_functions {
            return Err(self.fail(name.span(), format!("function {} is not enabled", model::name::quote(name.text))));
        }
        let span = Span { start: name.start, end: self.last_closing };
        let height = arguments.iter().map(|argument| argument.height).max().unwrap_or(0);
        let args = arguments.into_iter().map(|argument| argument.expr).collect();
        self.node(Expr::Call(Call { function, args, span }), height)
    }

    /// `(a, b)`
    pub(super) fn arguments(&mut self) -> Parsed<Vec<Node>> {
        self.expect(Kind::LeftParen)?;
        let mut arguments = Vec::new();
        if self.accept(Kind::RightParen)?.is_some() {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.operation(Precedence::Or)?);
            if self.peek()?.kind != Kind::Comma {
                break;
            }
            let comma = self.next()?;
            if !starts_expression(self.peek()?.kind) {
                return Err(self.fail(comma.span(), "trailing commas not allowed in function call args"));
            }
        }
        self.expect(Kind::RightParen)?;
        Ok(arguments)
    }

    /// One level above what has `height`.
    pub(super) fn node(&self, expr: Expr, height: usize) -> Parsed<Node> {
        if height >= DEPTH_MAX {
            return Err(self.too_deep(expr.span(), DEPTH_MAX));
        }
        Ok(Node { expr, height: height + 1 })
    }

    /// Applies a rule one level below; the only way in which rules may recurse.
    pub(super) fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= NESTING_MAX {
            let span = self.peek()?.span();
            return Err(self.too_deep(span, NESTING_MAX));
        }
        self.depth += 1;
        let outcome = rule(self);
        self.depth -= 1;
        outcome
    }

    pub(super) fn too_deep(&self, span: Span, levels: usize) -> Fail {
        self.fail(span, format!("expression is nested too deeply, at most {levels} levels are allowed"))
    }
}

fn starts_expression(kind: Kind) -> bool {
    match kind {
        Kind::Number | Kind::Duration | Kind::String | Kind::LeftParen | Kind::LeftBrace => true,
        Kind::Binary(BinaryOp::Add | BinaryOp::Sub) => true,
        kind => is_metric_name(kind),
    }
}
