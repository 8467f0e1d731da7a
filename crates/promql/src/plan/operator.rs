//! Functions as the engine knows them, and what they do to single numbers.

use crate::ast::BinaryOp;
use model::math;

/// Functions of a window of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WindowFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Sum,
    Avg,
    Count,
    Min,
    Max,
    First,
    Last,
    Present,
    Mad,
    TsOfFirst,
    TsOfLast,
    TsOfMin,
    TsOfMax,
    DoubleExponentialSmoothing,
    Stddev,
    Stdvar,
    Quantile,
    Changes,
    Resets,
}

impl WindowFunction {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::Irate,
            "idelta" => Self::Idelta,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "sum_over_time" => Self::Sum,
            "avg_over_time" => Self::Avg,
            "count_over_time" => Self::Count,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "mad_over_time" => Self::Mad,
            "ts_of_first_over_time" => Self::TsOfFirst,
            "ts_of_last_over_time" => Self::TsOfLast,
            "ts_of_min_over_time" => Self::TsOfMin,
            "ts_of_max_over_time" => Self::TsOfMax,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            "present_over_time" => Self::Present,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "quantile_over_time" => Self::Quantile,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            _ => return None,
        })
    }
}

/// Fields of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Calendar {
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

/// Functions of one sample at a time.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Elementwise {
    Math(fn(f64) -> f64),
    Clamp,
    ClampMax,
    ClampMin,
    Round,
    Calendar(Calendar),
}

impl Elementwise {
    pub fn named(name: &str) -> Option<Self> {
        use Elementwise::Math;
        Some(match name {
            "abs" => Math(f64::abs),
            "acos" => Math(math::acos),
            "acosh" => Math(math::acosh),
            "asin" => Math(math::asin),
            "asinh" => Math(math::asinh),
            "atan" => Math(math::atan),
            "atanh" => Math(math::atanh),
            "ceil" => Math(f64::ceil),
            "cos" => Math(math::cos),
            "cosh" => Math(math::cosh),
            // In this order of operations, so not `to_degrees`.
            "deg" => Math(|v| v * 180.0 / std::f64::consts::PI),
            "exp" => Math(math::exp),
            "floor" => Math(f64::floor),
            "ln" => Math(math::ln),
            "log10" => Math(math::log10),
            "log2" => Math(math::log2),
            "rad" => Math(|v| v * std::f64::consts::PI / 180.0),
            "sgn" => Math(sign),
            "sin" => Math(math::sin),
            "sinh" => Math(math::sinh),
            "sqrt" => Math(f64::sqrt),
            "tan" => Math(math::tan),
            "tanh" => Math(math::tanh),
            "clamp" => Self::Clamp,
            "clamp_max" => Self::ClampMax,
            "clamp_min" => Self::ClampMin,
            "round" => Self::Round,
            "day_of_month" => Self::Calendar(Calendar::DayOfMonth),
            "day_of_week" => Self::Calendar(Calendar::DayOfWeek),
            "day_of_year" => Self::Calendar(Calendar::DayOfYear),
            "days_in_month" => Self::Calendar(Calendar::DaysInMonth),
            "hour" => Self::Calendar(Calendar::Hour),
            "minute" => Self::Calendar(Calendar::Minute),
            "month" => Self::Calendar(Calendar::Month),
            "year" => Self::Calendar(Calendar::Year),
            _ => return None,
        })
    }
}

/// -1, 1, or the value itself (zeros and NaN).
fn sign(v: f64) -> f64 {
    if v < 0.0 {
        -1.0
    } else if v > 0.0 {
        1.0
    } else {
        v
    }
}

/// Go's `math.Max`: NaN wins, unlike in `f64::max`.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a.is_infinite() && a > 0.0 || b.is_infinite() && b > 0.0 {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        model::value::NORMAL_NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: NaN wins, unlike in `f64::min`.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a.is_infinite() && a < 0.0 || b.is_infinite() && b < 0.0 {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        model::value::NORMAL_NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// An operator between two scalars; comparisons give 0 or 1.
pub(crate) fn scalar_binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    match compare(op, a, b) {
        Some(holds) => f64::from(u8::from(holds)),
        None => arithmetic(op, a, b),
    }
}

/// The comparison's truth, if it is one.
#[inline]
pub(crate) fn compare(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Greater => a > b,
        BinaryOp::Less => a < b,
        BinaryOp::GreaterOrEqual => a >= b,
        BinaryOp::LessOrEqual => a <= b,
        _ => return None,
    })
}

/// The arithmetic operators; of others the left value, which is what filters keep.
#[inline]
pub(crate) fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => math::pow(a, b),
        BinaryOp::Atan2 => math::atan2(a, b),
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Greater
        | BinaryOp::Less
        | BinaryOp::GreaterOrEqual
        | BinaryOp::LessOrEqual
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless
        | BinaryOp::TrimBelow
        | BinaryOp::TrimAbove => a,
    }
}
