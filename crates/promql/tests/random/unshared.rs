//! A query whose repeated parts are told apart, so that the engine evaluates each of them.

use model::{MatchOp, Matcher};
use promql::ast::Expr;

/// The same query, but no two of its selectors are alike: each has another matcher that all series match.
/// None of `info()`, where matchers say which labels are wanted.
pub fn unshared(expr: &Expr) -> Option<Expr> {
    let mut expr = expr.clone();
    let mut selectors = 0;
    tell_apart(&mut expr, &mut selectors).then_some(expr)
}

fn tell_apart(expr: &mut Expr, selectors: &mut usize) -> bool {
    let mut add = |matchers: &mut Vec<Matcher>| {
        *selectors += 1;
        matchers.push(Matcher::new(MatchOp::Regex, format!("selector_{selectors}"), ".*").unwrap());
    };
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Vector(vector) => add(&mut vector.matchers),
        Expr::Matrix(matrix) => add(&mut matrix.vector.matchers),
        Expr::Subquery(subquery) => return tell_apart(&mut subquery.expr, selectors),
        Expr::Call(call) => {
            return call.function.name != "info" && call.args.iter_mut().all(|arg| tell_apart(arg, selectors));
        }
        Expr::Aggregate(aggregate) => {
            let parts = aggregate.parameter.iter_mut().chain([&mut aggregate.expr]);
            return parts.into_iter().all(|part| tell_apart(part, selectors));
        }
        Expr::Binary(binary) => return tell_apart(&mut binary.left, selectors) && tell_apart(&mut binary.right, selectors),
        Expr::Unary(unary) => return tell_apart(&mut unary.expr, selectors),
        Expr::Paren(paren) => return tell_apart(&mut paren.expr, selectors),
    }
    true
}
