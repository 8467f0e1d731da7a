//! Computed durations: what they are once the query's times are known.

use super::{PlanError, Planner, operator};
use crate::ast::{BinaryOp, Duration};

impl Planner {
    /// A duration as it stands there, or computed.
    pub(super) fn computed(
        &self,
        plain: model::Millis,
        computed: Option<&Duration>,
        may_be_negative: bool,
    ) -> Result<model::Millis, PlanError> {
        let Some(computed) = computed else { return Ok(plain) };
        let at = |what: &str| {
            let span = computed.span();
            PlanError::Duration(format!("{}:{}: {what}", span.start, span.end))
        };
        let seconds = self.seconds(computed)?;
        if !seconds.is_finite() {
            return Err(at("duration is NaN or infinite"));
        }
        if seconds <= 0.0 && !may_be_negative {
            return Err(at("duration must be greater than 0"));
        }
        if seconds.abs() > crate::parser::SECONDS_MAX {
            return Err(at("duration is out of range"));
        }
        Ok(model::Millis((seconds * 1000.0) as i64))
    }

    fn seconds(&self, duration: &Duration) -> Result<f64, PlanError> {
        Ok(match duration {
            Duration::Number(number) => number.value,
            Duration::Step(_) => self.step as f64 / 1000.0,
            Duration::Range(_) => self.end.0.saturating_sub(self.start.0) as f64 / 1000.0,
            Duration::Extreme { max, left, right, .. } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if *max { operator::go_max(left, right) } else { operator::go_min(left, right) }
            }
            Duration::Negated(inner, _) => -self.seconds(inner)?,
            Duration::Paren(inner) => self.seconds(inner)?,
            Duration::Binary { op, left, right } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if right == 0.0 && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
                    let (span, what) = (duration.span(), if *op == BinaryOp::Div { "division" } else { "modulo" });
                    return Err(PlanError::Duration(format!("{}:{}: {what} by zero", span.start, span.end)));
                }
                operator::arithmetic(*op, left, right)
            }
        })
    }
}
