//! Expressions over several lines, as `/api/v1/format_query` gives them.
//!
//! An expression that fits on a line stays on one; else its parts go on lines of their own, one level further in.

use crate::ast::Expr;
use crate::printer::{aggregate_head, operator_text, subquery_suffix};

/// The server's line length.
pub const LINE_LEN: usize = 100;

/// Prints with lines that are, where they can be split, at most `line_len` bytes long without their indent.
pub fn prettify(expr: &Expr, line_len: usize) -> String {
    Prettier { line_len }.pretty(expr, 0)
}

struct Prettier {
    line_len: usize,
}

impl Prettier {
    fn pretty(&self, expr: &Expr, level: usize) -> String {
        let indent = "  ".repeat(level);
        match expr {
            // Here Prometheus splits what is below, however short the whole is.
            Expr::Unary(unary) => {
                let inner = self.pretty(&unary.expr, level);
                format!("{indent}{}{}", if unary.negative { '-' } else { '+' }, inner.trim())
            }
            // And here it forgets the indent.
            Expr::Subquery(_) if self.fits(expr) => expr.to_string(),
            Expr::Subquery(subquery) => format!("{}{}", self.pretty(&subquery.expr, level), subquery_suffix(subquery)),
            _ if self.fits(expr) => format!("{indent}{expr}"),
            Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => format!("{indent}{expr}"),
            Expr::Call(call) => {
                let arguments: Vec<_> = call.args.iter().map(|argument| self.pretty(argument, level + 1)).collect();
                format!("{indent}{}(\n{}\n{indent})", call.function.name, arguments.join(",\n"))
            }
            Expr::Aggregate(aggregate) => {
                let parameter = aggregate.parameter.as_ref();
                let parameter = parameter.map(|parameter| self.pretty(parameter, level + 1) + ",\n").unwrap_or_default();
                let inner = self.pretty(&aggregate.expr, level + 1);
                format!("{indent}{}(\n{parameter}{inner}\n{indent})", aggregate_head(aggregate))
            }
            Expr::Binary(binary) => {
                let (left, right) = (self.pretty(&binary.left, level + 1), self.pretty(&binary.right, level + 1));
                format!("{left}\n{indent}{}\n{right}", operator_text(binary))
            }
            Expr::Paren(paren) => format!("{indent}(\n{}\n{indent})", self.pretty(&paren.expr, level + 1)),
        }
    }

    fn fits(&self, expr: &Expr) -> bool {
        expr.to_string().len() <= self.line_len
    }
}
