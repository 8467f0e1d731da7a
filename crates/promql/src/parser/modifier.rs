//! What stands behind an expression: `[5m]`, `[1h:5m]`, `offset 5m`, `@ 1234`.

use super::duration::Read;
use super::{Fail, Parsed, Parser};
use crate::ast::{At, Duration, Expr, Extended, MatrixSelector, Span, Subquery};
use crate::lexer::{Keyword, Kind};
use model::{Millis, Timestamp};

const DURATION: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// The expression with one modifier more, or as it was if none follows.
    pub(super) fn modifier(&mut self, expr: Expr) -> Parsed<Result<Expr, Expr>> {
        match self.peek()?.kind {
            Kind::LeftBracket => self.range_or_subquery(expr).map(Ok),
            Kind::Keyword(Keyword::Offset) => self.offset(expr).map(Ok),
            Kind::At => self.at(expr).map(Ok),
            Kind::Keyword(keyword @ (Keyword::Anchored | Keyword::Smoothed)) => {
                self.next()?;
                let extended = if keyword == Keyword::Anchored { Extended::Anchored } else { Extended::Smoothed };
                self.extended(expr, extended).map(Ok)
            }
            _ => Ok(Err(expr)),
        }
    }

    fn extended(&self, mut expr: Expr, extended: Extended) -> Parsed<Expr> {
        let word = extended.as_str();
        let span = expr.span();
        if !self.options.extended_range_selectors {
            return Err(self.fail(span, format!("{word} modifier is experimental and not enabled")));
        }
        let place = match &mut expr {
            Expr::Vector(vector) => &mut vector.extended,
            Expr::Matrix(matrix) => &mut matrix.vector.extended,
            Expr::Subquery(_) => return Err(self.fail(span, format!("{word} modifier is not supported for subqueries"))),
            _ => return Err(self.fail(span, format!("{word} modifier not implemented"))),
        };
        if place.is_some_and(|other| other != extended) {
            return Err(self.fail(span, "anchored and smoothed modifiers cannot be used together"));
        }
        *place = Some(extended);
        Ok(expr)
    }

    fn range_or_subquery(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.next()?.start;
        let (range, range_expr) = self.positive_duration().map_err(|fail| self.unexpected(fail, "subquery or range selector", DURATION))?;
        let separator = self.peek()?;
        match separator.kind {
            Kind::RightBracket => {
                self.next()?;
                self.matrix(expr, (range, range_expr), Span { start: open, end: separator.span().end })
            }
            Kind::Colon => {
                self.next()?;
                let (step, step_expr) = self.step()?;
                let close = self.expect(Kind::RightBracket).map_err(|fail| self.unexpected(fail, "subquery selector", r#""]""#))?;
                let span = Span { start: expr.span().start, end: close.span().end };
                // Prometheus takes a step that rounds to zero for a missing one.
                let step = step.filter(|step| step.0 != 0);
                Ok(Expr::Subquery(Box::new(Subquery {
                    expr,
                    range,
                    range_expr,
                    step,
                    step_expr,
                    offset: Millis(0),
                    offset_expr: None,
                    at: None,
                    span,
                })))
            }
            _ => Err(self.unexpected(Fail::Unexpected, "subquery or range", r#"":" or "]""#)),
        }
    }

    fn step(&mut self) -> Parsed<(Option<Millis>, Option<Box<Duration>>)> {
        if self.peek()?.kind == Kind::RightBracket {
            return Ok((None, None));
        }
        let expected = format!("{}, or \"]\"", DURATION.replace("or range()", "range()"));
        self.positive_duration()
            .map(|(step, computed)| (Some(step), computed))
            .map_err(|fail| self.unexpected(fail, "subquery selector", &expected))
    }

    fn matrix(&self, expr: Expr, (range, range_expr): Read, brackets: Span) -> Parsed<Expr> {
        let Expr::Vector(vector) = expr else {
            return Err(self.fail(brackets, "ranges only allowed for vector selectors"));
        };
        if vector.offset.0 != 0 || vector.offset_expr.is_some() {
            return Err(self.fail(brackets, "no offset modifiers allowed before range"));
        }
        if vector.at.is_some() {
            return Err(self.fail(brackets, "no @ modifiers allowed before range"));
        }
        let span = Span { start: vector.span.start, end: brackets.end };
        Ok(Expr::Matrix(MatrixSelector { vector, range, range_expr, span }))
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.next()?;
        let (offset, computed) = self.offset_duration().map_err(|fail| self.unexpected(fail, "offset", DURATION))?;
        let Some((place, place_computed, _, end)) = modifiers(&mut expr) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.fail(expr.span(), message));
        };
        if place.0 != 0 || place_computed.is_some() {
            return Err(self.fail(expr.span(), "offset may not be set multiple times"));
        }
        *place = offset;
        *place_computed = computed;
        *end = self.last_closing;
        Ok(expr)
    }

    fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.next()?;
        let at = self.at_time(&expr).map_err(|fail| self.unexpected(fail, "@", "timestamp"))?;
        let Some((_, _, place, end)) = modifiers(&mut expr) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.fail(expr.span(), message));
        };
        if place.is_some() {
            return Err(self.fail(expr.span(), "@ <timestamp> may not be set multiple times"));
        }
        *place = Some(at);
        *end = self.last_closing;
        Ok(expr)
    }

    fn at_time(&mut self, expr: &Expr) -> Parsed<At> {
        if let Kind::Keyword(keyword @ (Keyword::Start | Keyword::End)) = self.peek()?.kind {
            self.next()?;
            self.expect(Kind::LeftParen)?;
            self.expect(Kind::RightParen)?;
            return Ok(if keyword == Keyword::Start { At::Start } else { At::End });
        }
        let seconds = self.signed_number()?.value;
        if !(seconds > i64::MIN as f64 && seconds < i64::MAX as f64) {
            let shown = if seconds.is_finite() { format!("{seconds:.6}") } else { model::number::format_plain(seconds) };
            return Err(self.fail(expr.span(), format!("timestamp out of bounds for @ modifier: {shown}")));
        }
        Ok(At::Time(Timestamp((seconds * 1000.0).round() as i64)))
    }
}

/// Where the expression keeps its offset, its `@` and its end.
#[expect(clippy::type_complexity, reason = "four places of one expression")]
fn modifiers(expr: &mut Expr) -> Option<(&mut Millis, &mut Option<Box<Duration>>, &mut Option<At>, &mut usize)> {
    match expr {
        Expr::Vector(e) => Some((&mut e.offset, &mut e.offset_expr, &mut e.at, &mut e.span.end)),
        Expr::Matrix(e) => Some((&mut e.vector.offset, &mut e.vector.offset_expr, &mut e.vector.at, &mut e.span.end)),
        Expr::Subquery(e) => Some((&mut e.offset, &mut e.offset_expr, &mut e.at, &mut e.span.end)),
        Expr::Number(_) | Expr::String(_) | Expr::Call(_) | Expr::Aggregate(_) | Expr::Binary(_) | Expr::Unary(_) | Expr::Paren(_) => None,
    }
}
