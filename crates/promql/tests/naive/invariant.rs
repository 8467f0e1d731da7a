//! Which expressions have the same value at all steps. Prometheus evaluates those once, at the first step, which shows in
//! what it says about them and in `timestamp`.

use promql::ast::Expr;

/// Functions that look at the time of the evaluation, or at that of their arguments' samples.
const LOOK_AT_TIME: [&str; 11] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
];

/// Is it fixed, by `@` or because it is a constant?
pub fn is_invariant(e: &Expr) -> bool {
    match e {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(s) => s.at.is_some(),
        Expr::Matrix(m) => m.vector.at.is_some(),
        Expr::Subquery(s) => s.at.is_some(),
        // Prometheus does not ask for the parameter.
        Expr::Aggregate(a) => is_invariant(&a.expr),
        Expr::Binary(b) => is_invariant(&b.left) && is_invariant(&b.right),
        Expr::Unary(u) => is_invariant(&u.expr),
        Expr::Paren(p) => is_invariant(&p.expr),
        Expr::Call(c) => {
            let arguments = c.args.iter().all(is_invariant);
            let of_selector = c.function.name == "timestamp" && matches!(unwrapped(&c.args[0]), Expr::Vector(_));
            arguments && (!LOOK_AT_TIME.contains(&c.function.name) || of_selector)
        }
    }
}

/// The expression without parentheses around it.
pub fn unwrapped(e: &Expr) -> &Expr {
    match e {
        Expr::Paren(p) => unwrapped(&p.expr),
        other => other,
    }
}
