//! Duration expressions.

use super::{Error, Naive};
use promql::ast::{BinaryOp, Duration, Expr, VectorSelector};

impl Naive<'_> {
    /// Fails as Prometheus does before it evaluates anything.
    pub fn check_durations(&self, e: &Expr) -> Result<(), Error> {
        let selector = |s: &VectorSelector| self.check_duration(s.offset_expr.as_deref(), true);
        match e {
            Expr::Number(_) | Expr::String(_) => Ok(()),
            Expr::Vector(s) => selector(s),
            Expr::Matrix(m) => self.check_duration(m.range_expr.as_deref(), false).and_then(|()| selector(&m.vector)),
            Expr::Subquery(s) => {
                self.check_duration(s.offset_expr.as_deref(), true)?;
                self.check_duration(s.step_expr.as_deref(), false)?;
                self.check_duration(s.range_expr.as_deref(), false)?;
                self.check_durations(&s.expr)
            }
            Expr::Call(c) => c.args.iter().try_for_each(|argument| self.check_durations(argument)),
            Expr::Aggregate(a) => {
                self.check_durations(&a.expr)?;
                a.parameter.as_ref().map_or(Ok(()), |parameter| self.check_durations(parameter))
            }
            Expr::Binary(b) => self.check_durations(&b.left).and_then(|()| self.check_durations(&b.right)),
            Expr::Unary(u) => self.check_durations(&u.expr),
            Expr::Paren(p) => self.check_durations(&p.expr),
        }
    }

    fn check_duration(&self, d: Option<&Duration>, may_be_negative: bool) -> Result<(), Error> {
        let Some(d) = d else { return Ok(()) };
        let seconds = self.seconds(d)?;
        let fail = |what: &str| Err(format!("{}:{}: {what}", d.span().start, d.span().end));
        if !seconds.is_finite() {
            return fail("duration is NaN or infinite");
        }
        if seconds <= 0.0 && !may_be_negative {
            return fail("duration must be greater than 0");
        }
        if seconds.abs() > 2f64.powi(63) / 1e9 {
            return fail("duration is out of range");
        }
        Ok(())
    }

    /// Milliseconds of a duration that is computed, else those written.
    pub fn millis(&self, computed: Option<&Duration>, written: i64) -> i64 {
        match computed {
            Some(d) => (self.seconds(d).expect("checked before the evaluation") * 1000.0) as i64,
            None => written,
        }
    }

    fn seconds(&self, d: &Duration) -> Result<f64, Error> {
        Ok(match d {
            Duration::Number(number) => number.value,
            Duration::Step(_) => self.duration_step as f64 / 1000.0,
            Duration::Range(_) => (self.query.end - self.query.start) as f64 / 1000.0,
            Duration::Extreme { max, left, right, .. } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if *max { super::number::max(left, right) } else { super::number::min(left, right) }
            }
            Duration::Negated(inner, _) => -self.seconds(inner)?,
            Duration::Paren(inner) => self.seconds(inner)?,
            Duration::Binary { op, left, right } => {
                let (l, r) = (self.seconds(left)?, self.seconds(right)?);
                let by_zero = |what: &str| format!("{}:{}: {what} by zero", d.span().start, d.span().end);
                match op {
                    BinaryOp::Div if r == 0.0 => return Err(by_zero("division")),
                    BinaryOp::Mod if r == 0.0 => return Err(by_zero("modulo")),
                    _ => super::binary::arithmetic(*op, l, r),
                }
            }
        })
    }
}
