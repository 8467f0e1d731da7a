//! What stands in the brackets of a range and behind `offset`: numbers and durations, and what calculates with them.
//!
//! Where calculating is not enabled it is read all the same, so that it is refused with the same words as by Prometheus.

use super::{DEPTH_MAX, Fail, Parsed, Parser};
use crate::ast::{BinaryOp, Duration, NumberLiteral, Span};
use crate::lexer::{Keyword, Kind};
use model::Millis;

/// Above this many seconds Go's duration, 64 bits of nanoseconds, overflows.
pub(crate) const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

const OPERATORS: u8 = 1;
const FACTORS: u8 = 2;
const POWERS: u8 = 3;

/// A duration, and what it is computed from if it is no plain one.
pub(super) type Read = (Millis, Option<Box<Duration>>);

impl Parser<'_> {
    /// A range or a step, more than zero.
    pub(super) fn positive_duration(&mut self) -> Parsed<Read> {
        let duration = self.duration(OPERATORS)?;
        if let Duration::Number(number) = &duration
            && number.value <= 0.0
        {
            return Err(self.fail(number.span, "duration must be greater than 0"));
        }
        Ok(read(duration))
    }

    /// An offset. What begins with a number or a function ends there: `a offset 5m + b` adds vectors.
    pub(super) fn offset_duration(&mut self) -> Parsed<Read> {
        let sign = self.accept_sign()?;
        let duration = match self.peek()?.kind {
            Kind::Number | Kind::Duration => {
                let mut number = self.signed_number()?;
                if let Some((negative, start)) = sign {
                    number.span = Span { start, end: start + 1 };
                    number.value = if negative { -number.value } else { number.value };
                }
                self.check_range(&number)?;
                return Ok(read(Duration::Number(number)));
            }
            Kind::Keyword(_) => self.duration_operand()?,
            // Prometheus takes a sign before parentheses for no calculation.
            Kind::LeftParen if sign.is_some() => {
                self.next()?;
                let inner = self.duration(OPERATORS)?;
                self.expect(Kind::RightParen)?;
                match inner {
                    Duration::Number(_) if !self.options.duration_expressions => inner,
                    inner => Duration::Paren(Box::new(inner)),
                }
            }
            // A second sign makes a calculation of it: `a offset --5m + 1m` is one offset.
            Kind::Binary(_) if let Some((negative, start)) = sign => {
                let operand = self.duration(POWERS)?;
                let calculated = self.duration_operators_behind(signed(operand, negative, start), OPERATORS)?;
                return Ok(read(calculated));
            }
            _ => self.duration(OPERATORS)?,
        };
        Ok(read(match sign {
            Some((true, start)) => negated(duration, start),
            _ => duration,
        }))
    }

    fn duration(&mut self, precedence_min: u8) -> Parsed<Duration> {
        self.nested(|parser| {
            let operand = parser.duration_operand()?;
            parser.duration_operators_behind(operand, precedence_min)
        })
    }

    /// What is calculated with `left` by the operators that follow.
    fn duration_operators_behind(&mut self, mut left: Duration, precedence_min: u8) -> Parsed<Duration> {
        loop {
            let token = self.peek()?;
            let Kind::Binary(op) = token.kind else { return Ok(left) };
            let precedence = match op {
                BinaryOp::Add | BinaryOp::Sub => OPERATORS,
                BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => FACTORS,
                BinaryOp::Pow => POWERS,
                _ => return Ok(left),
            };
            if precedence < precedence_min {
                return Ok(left);
            }
            self.next()?;
            self.duration_operators += 1;
            if self.duration_operators > DEPTH_MAX {
                return Err(self.too_deep(token.span(), DEPTH_MAX));
            }
            let right = self.duration(if precedence == POWERS { POWERS } else { precedence + 1 })?;
            self.check_enabled(left.span())?;
            if let (Duration::Number(number), BinaryOp::Div | BinaryOp::Mod) = (&right, op)
                && number.value == 0.0
            {
                let what = if op == BinaryOp::Div { "division" } else { "modulo" };
                return Err(self.fail(token.span(), format!("{what} by zero")));
            }
            left = Duration::Binary { op, left: Box::new(left), right: Box::new(right) };
        }
    }

    fn duration_operand(&mut self) -> Parsed<Duration> {
        if let Some((negative, start)) = self.accept_sign()? {
            return Ok(signed(self.duration(POWERS)?, negative, start));
        }
        match self.peek()?.kind {
            Kind::Number | Kind::Duration => {
                let number = self.signed_number()?;
                self.check_range(&number)?;
                Ok(Duration::Number(number))
            }
            Kind::LeftParen => {
                self.next()?;
                let inner = self.duration(OPERATORS)?;
                self.expect(Kind::RightParen)?;
                self.check_enabled(inner.span())?;
                Ok(Duration::Paren(Box::new(inner)))
            }
            Kind::Keyword(keyword @ (Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf)) => {
                let start = self.next()?.start;
                self.expect(Kind::LeftParen)?;
                let operands = if let Keyword::MaxOf | Keyword::MinOf = keyword {
                    let left = self.duration(OPERATORS)?;
                    self.expect(Kind::Comma)?;
                    Some((left, self.duration(OPERATORS)?))
                } else {
                    None
                };
                let end = self.expect(Kind::RightParen)?.span().end;
                let span = Span { start, end };
                self.check_enabled(span)?;
                Ok(match operands {
                    Some((left, right)) => {
                        let max = keyword == Keyword::MaxOf;
                        Duration::Extreme { max, left: Box::new(left), right: Box::new(right), span }
                    }
                    None if keyword == Keyword::Step => Duration::Step(span),
                    None => Duration::Range(span),
                })
            }
            _ => Err(Fail::Unexpected),
        }
    }

    fn check_range(&self, number: &NumberLiteral) -> Parsed<()> {
        if number.value.abs() > SECONDS_MAX {
            return Err(self.fail(number.span, "duration out of range"));
        }
        Ok(())
    }

    fn check_enabled(&self, span: Span) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        Err(self.fail(span, "experimental duration expression is not enabled"))
    }
}

fn signed(duration: Duration, negative: bool, start: usize) -> Duration {
    match duration {
        inner if negative => negated(inner, start),
        Duration::Number(number) => Duration::Number(NumberLiteral { span: Span { start, ..number.span }, ..number }),
        inner => inner,
    }
}

fn negated(duration: Duration, start: usize) -> Duration {
    match duration {
        Duration::Number(number) => Duration::Number(NumberLiteral { value: -number.value, span: Span { start, ..number.span }, ..number }),
        other => {
            let end = other.span().end;
            Duration::Negated(Box::new(other), Span { start, end })
        }
    }
}

fn read(duration: Duration) -> Read {
    match duration {
        Duration::Number(number) => (millis(number.value), None),
        other => (Millis(0), Some(Box::new(other))),
    }
}

/// Prometheus rounds to nanoseconds and evaluates whole milliseconds; of NaN its amd64 build makes the least duration there is.
fn millis(seconds: f64) -> Millis {
    if seconds.is_nan() {
        return Millis(i64::MIN / 1_000_000);
    }
    Millis((seconds * 1e9).round() as i64 / 1_000_000)
}
