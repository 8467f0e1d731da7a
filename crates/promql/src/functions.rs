//! The functions' names and types. A function is listed here once the engine evaluates it, never before: what is not
//! listed is an unknown function to the parser, as it is to a Prometheus that is too old.
//!
//! # Invariants
//! - Names strictly increase, because `find` searches by halving; a test holds it.

use crate::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function's type.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// As written in queries.
    pub name: &'static str,
    /// The arguments' types; the last one repeats for `variadic`.
    pub args: &'static [ValueType],
    /// How many arguments may be missing or added: 0 none, n > 0 the last may be missing and up to n may stand in its
    /// place, -1 any number (with the last one optional).
    pub variadic: i8,
    /// What it gives.
    pub result: ValueType,
    /// Only with `promql-experimental-functions`.
    pub experimental: bool,
}

/// The function of that name.
pub fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.binary_search_by_key(&name, |signature| signature.name).ok().map(|at| &SIGNATURES[at])
}

/// All of them, by name.
pub fn all() -> &'static [Signature] {
    SIGNATURES
}

const fn experimental_scalar(name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { name, args, variadic: 0, result: Scalar, experimental: true }
}

const fn fixed(name: &'static str, args: &'static [ValueType], result: ValueType) -> Signature {
    Signature { name, args, variadic: 0, result, experimental: false }
}

const fn experimental(name: &'static str, args: &'static [ValueType], variadic: i8) -> Signature {
    Signature { name, args, variadic, result: Vector, experimental: true }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: i8) -> Signature {
    Signature { name, args, variadic, result: Vector, experimental: false }
}

const SIGNATURES: &[Signature] = &[
    fixed("abs", &[Vector], Vector),
    fixed("absent", &[Vector], Vector),
    fixed("absent_over_time", &[Matrix], Vector),
    fixed("acos", &[Vector], Vector),
    fixed("acosh", &[Vector], Vector),
    fixed("asin", &[Vector], Vector),
    fixed("asinh", &[Vector], Vector),
    fixed("atan", &[Vector], Vector),
    fixed("atanh", &[Vector], Vector),
    fixed("avg_over_time", &[Matrix], Vector),
    fixed("ceil", &[Vector], Vector),
    fixed("changes", &[Matrix], Vector),
    fixed("clamp", &[Vector, Scalar, Scalar], Vector),
    fixed("clamp_max", &[Vector, Scalar], Vector),
    fixed("clamp_min", &[Vector, Scalar], Vector),
    fixed("cos", &[Vector], Vector),
    fixed("cosh", &[Vector], Vector),
    fixed("count_over_time", &[Matrix], Vector),
    variadic("day_of_month", &[Vector], 1),
    variadic("day_of_week", &[Vector], 1),
    variadic("day_of_year", &[Vector], 1),
    variadic("days_in_month", &[Vector], 1),
    fixed("deg", &[Vector], Vector),
    fixed("delta", &[Matrix], Vector),
    fixed("deriv", &[Matrix], Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0),
    experimental_scalar("end", &[]),
    fixed("exp", &[Vector], Vector),
    fixed("first_over_time", &[Matrix], Vector),
    fixed("floor", &[Vector], Vector),
    fixed("histogram_avg", &[Vector], Vector),
    fixed("histogram_count", &[Vector], Vector),
    fixed("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    fixed("histogram_quantile", &[Scalar, Vector], Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9),
    fixed("histogram_stddev", &[Vector], Vector),
    fixed("histogram_stdvar", &[Vector], Vector),
    fixed("histogram_sum", &[Vector], Vector),
    variadic("hour", &[Vector], 1),
    fixed("idelta", &[Matrix], Vector),
    fixed("increase", &[Matrix], Vector),
    experimental("info", &[Vector, Vector], 1),
    fixed("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, String, String, String], -1),
    fixed("label_replace", &[Vector, String, String, String, String], Vector),
    fixed("last_over_time", &[Matrix], Vector),
    fixed("ln", &[Vector], Vector),
    fixed("log10", &[Vector], Vector),
    fixed("log2", &[Vector], Vector),
    experimental("mad_over_time", &[Matrix], 0),
    experimental_scalar("max_of", &[Scalar, Scalar]),
    fixed("max_over_time", &[Matrix], Vector),
    experimental_scalar("min_of", &[Scalar, Scalar]),
    fixed("min_over_time", &[Matrix], Vector),
    variadic("minute", &[Vector], 1),
    variadic("month", &[Vector], 1),
    fixed("pi", &[], Scalar),
    fixed("predict_linear", &[Matrix, Scalar], Vector),
    fixed("present_over_time", &[Matrix], Vector),
    fixed("quantile_over_time", &[Scalar, Matrix], Vector),
    fixed("rad", &[Vector], Vector),
    experimental_scalar("range", &[]),
    fixed("rate", &[Matrix], Vector),
    fixed("resets", &[Matrix], Vector),
    variadic("round", &[Vector, Scalar], 1),
    fixed("scalar", &[Vector], Scalar),
    fixed("sgn", &[Vector], Vector),
    fixed("sin", &[Vector], Vector),
    fixed("sinh", &[Vector], Vector),
    fixed("sort", &[Vector], Vector),
    experimental("sort_by_label", &[Vector, String], -1),
    experimental("sort_by_label_desc", &[Vector, String], -1),
    fixed("sort_desc", &[Vector], Vector),
    fixed("sqrt", &[Vector], Vector),
    experimental_scalar("start", &[]),
    experimental("start_timestamp", &[Vector], 0),
    fixed("stddev_over_time", &[Matrix], Vector),
    fixed("stdvar_over_time", &[Matrix], Vector),
    experimental_scalar("step", &[]),
    fixed("sum_over_time", &[Matrix], Vector),
    fixed("tan", &[Vector], Vector),
    fixed("tanh", &[Vector], Vector),
    fixed("time", &[], Scalar),
    fixed("timestamp", &[Vector], Vector),
    experimental("ts_of_first_over_time", &[Matrix], 0),
    experimental("ts_of_last_over_time", &[Matrix], 0),
    experimental("ts_of_max_over_time", &[Matrix], 0),
    experimental("ts_of_min_over_time", &[Matrix], 0),
    fixed("vector", &[Scalar], Vector),
    variadic("year", &[Vector], 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_strictly_increase() {
        for pair in SIGNATURES.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} stands before {}", pair[0].name, pair[1].name);
        }
    }

    #[test]
    fn finds_what_is_listed_only() {
        for signature in all() {
            assert_eq!(find(signature.name), Some(signature));
        }
        for name in ["", "Rate", "nonsense"] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
