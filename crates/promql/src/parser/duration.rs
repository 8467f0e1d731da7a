//! What stands in the brackets of a range and behind `offset`.
//!
//! Prometheus can calculate there if an experimental feature is on. We read that language, so that what is refused is
//! refused with the same words as by a Prometheus without the feature; hence each rule that calculates ends in an error.

use super::{Fail, Parsed, Parser};
use crate::ast::{BinaryOp, NumberLiteral, Span};
use crate::lexer::{Keyword, Kind};
use model::Millis;

/// Above this many seconds Go's duration, 64 bits of nanoseconds, overflows.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

const OPERATORS: u8 = 1;
const FACTORS: u8 = 2;
const POWERS: u8 = 3;

impl Parser<'_> {
    /// A range or a step, more than zero.
    pub(super) fn positive_duration(&mut self) -> Parsed<Millis> {
        let number = self.duration(OPERATORS)?;
        if number.value <= 0.0 {
            return Err(self.fail(number.span, "duration must be greater than 0"));
        }
        Ok(millis(number.value))
    }

    /// An offset. Calculations need parentheses here: `a offset 5m + b` adds vectors.
    pub(super) fn offset_duration(&mut self) -> Parsed<Millis> {
        let sign = self.accept_sign()?;
        if let Kind::Number | Kind::Duration = self.peek()?.kind {
            let mut number = self.signed_number()?;
            if let Some((negative, start)) = sign {
                number.span = Span { start, end: start + 1 };
                number.value = if negative { -number.value } else { number.value };
            }
            self.check_range(&number)?;
            return Ok(millis(number.value));
        }
        // Prometheus takes a sign before parentheses for no calculation.
        if let (Some((negative, _)), Kind::LeftParen) = (sign, self.peek()?.kind) {
            self.next()?;
            let number = self.duration(OPERATORS)?;
            self.expect(Kind::RightParen)?;
            return Ok(millis(if negative { -number.value } else { number.value }));
        }
        let number = self.duration(if sign.is_some() { POWERS } else { OPERATORS })?;
        Ok(millis(if let Some((true, _)) = sign { -number.value } else { number.value }))
    }

    fn duration(&mut self, precedence_min: u8) -> Parsed<NumberLiteral> {
        self.nested(|parser| {
            let left = parser.duration_operand()?;
            let Kind::Binary(op) = parser.peek()?.kind else { return Ok(left) };
            let precedence = match op {
                BinaryOp::Add | BinaryOp::Sub => OPERATORS,
                BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => FACTORS,
                BinaryOp::Pow => POWERS,
                _ => return Ok(left),
            };
            if precedence < precedence_min {
                return Ok(left);
            }
            parser.next()?;
            parser.duration(if precedence == POWERS { POWERS } else { precedence + 1 })?;
            Err(parser.not_enabled(left.span))
        })
    }

    fn duration_operand(&mut self) -> Parsed<NumberLiteral> {
        if let Some((negative, start)) = self.accept_sign()? {
            let mut number = self.duration(POWERS)?;
            number.span.start = start;
            number.value = if negative { -number.value } else { number.value };
            return Ok(number);
        }
        match self.peek()?.kind {
            Kind::Number | Kind::Duration => {
                let number = self.signed_number()?;
                self.check_range(&number)?;
                Ok(number)
            }
            Kind::LeftParen => {
                self.next()?;
                let inner = self.duration(OPERATORS)?;
                self.expect(Kind::RightParen)?;
                Err(self.not_enabled(inner.span))
            }
            Kind::Keyword(keyword @ (Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf)) => {
                let start = self.next()?.start;
                self.expect(Kind::LeftParen)?;
                if let Keyword::MaxOf | Keyword::MinOf = keyword {
                    self.duration(OPERATORS)?;
                    self.expect(Kind::Comma)?;
                    self.duration(OPERATORS)?;
                }
                let end = self.expect(Kind::RightParen)?.span().end;
                Err(self.not_enabled(Span { start, end }))
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

    fn not_enabled(&self, span: Span) -> Fail {
        self.fail(span, "experimental duration expression is not enabled")
    }
}

/// Prometheus rounds to nanoseconds and evaluates whole milliseconds.
fn millis(seconds: f64) -> Millis {
    Millis((seconds * 1e9).round() as i64 / 1_000_000)
}
