//! Expressions as Prometheus writes them: normalized, on one line.

use crate::ast::{
    Aggregate, At, Binary, Cardinality, Duration, Expr, Extended, Matching, MatrixSelector, NumberLiteral, Subquery, VectorSelector,
};
use model::matcher::MatchOp;
use model::{Matcher, Millis};
use std::fmt::{self, Write};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => f.write_str(&number_text(number)),
            Self::String(string) => f.write_str(&model::name::quote_bytes(string.no_utf8.as_deref().unwrap_or(string.value.as_bytes()))),
            Self::Vector(vector) => {
                write_selection(f, vector)?;
                write!(
                    f,
                    "{}{}{}",
                    at_text(vector.at),
                    extended_text(vector.extended),
                    offset_text(vector.offset, vector.offset_expr.as_deref())
                )
            }
            Self::Matrix(MatrixSelector { vector, range, range_expr, .. }) => {
                write_selection(f, vector)?;
                write!(f, "[{}]", span_text(*range, range_expr.as_deref()))?;
                write!(
                    f,
                    "{}{}{}",
                    extended_text(vector.extended),
                    at_text(vector.at),
                    offset_text(vector.offset, vector.offset_expr.as_deref())
                )
            }
            Self::Subquery(subquery) => write!(f, "{}{}", subquery.expr, subquery_suffix(subquery)),
            Self::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (i, argument) in call.args.iter().enumerate() {
                    write!(f, "{}{argument}", if i > 0 { ", " } else { "" })?;
                }
                f.write_char(')')
            }
            Self::Aggregate(aggregate) => {
                write!(f, "{}(", aggregate_head(aggregate))?;
                if let Some(parameter) = &aggregate.parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Self::Binary(binary) => write!(f, "{} {} {}", binary.left, operator_text(binary), binary.right),
            Self::Unary(unary) => write!(f, "{}{}", if unary.negative { '-' } else { '+' }, unary.expr),
            Self::Paren(paren) => write!(f, "({})", paren.expr),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => f.write_str(&number_text(number)),
            Self::Step(_) => f.write_str("step()"),
            Self::Range(_) => f.write_str("range()"),
            Self::Extreme { max, left, right, .. } => write!(f, "{}({left}, {right})", if *max { "max_of" } else { "min_of" }),
            Self::Negated(inner, _) => write!(f, "-{inner}"),
            Self::Binary { op, left, right } => write!(f, "{left} {} {right}", op.as_str()),
            Self::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// `sum by (a, b) `
pub(crate) fn aggregate_head(aggregate: &Aggregate) -> String {
    let op = aggregate.op.as_str();
    let labels = label_list(&aggregate.grouping);
    match (aggregate.without, aggregate.grouping.is_empty()) {
        (true, _) => format!("{op} without ({labels}) "),
        (false, false) => format!("{op} by ({labels}) "),
        (false, true) => op.to_owned(),
    }
}

/// `== bool on (a) group_left (b)`
pub(crate) fn operator_text(binary: &Binary) -> String {
    let mut text = binary.op.as_str().to_owned();
    if binary.return_bool {
        text.push_str(" bool");
    }
    let Some(Matching { cardinality, labels, on, include, fill_left, fill_right }) = &binary.matching else { return text };
    let grouped = match cardinality {
        Cardinality::ManyToOne => Some("group_left"),
        Cardinality::OneToMany => Some("group_right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if *on || !labels.is_empty() || grouped.is_some() {
        text.push_str(if *on { " on (" } else { " ignoring (" });
        text.push_str(&label_list(labels));
        text.push(')');
    }
    if let Some(word) = grouped {
        text.push(' ');
        text.push_str(word);
        text.push_str(" (");
        text.push_str(&label_list(include));
        text.push(')');
    }
    let fills = match (fill_left, fill_right) {
        (Some(left), Some(right)) if left == right => [("fill", Some(left)), ("", None)],
        (left, right) => [("fill_left", left.as_ref()), ("fill_right", right.as_ref())],
    };
    for (word, value) in fills {
        if let Some(value) = value {
            text.push_str(&format!(" {word} ({})", crate::engine::format_g(*value)));
        }
    }
    text
}

/// `[1h:5m] @ start() offset 5m`
pub(crate) fn subquery_suffix(subquery: &Subquery) -> String {
    let computed = |step: &Duration| step.to_string();
    let step = subquery.step_expr.as_deref().map(computed).or(subquery.step.map(model::duration::format)).unwrap_or_default();
    let range = span_text(subquery.range, subquery.range_expr.as_deref());
    format!("[{range}:{step}]{}{}", at_text(subquery.at), offset_text(subquery.offset, subquery.offset_expr.as_deref()))
}

fn write_selection(f: &mut fmt::Formatter<'_>, vector: &VectorSelector) -> fmt::Result {
    f.write_str(vector.name.as_deref().unwrap_or_default())?;
    let is_name =
        |matcher: &Matcher| matcher.name == "__name__" && matcher.op == MatchOp::Equal && vector.name.as_ref() == Some(&matcher.value);
    let mut matchers: Vec<String> = vector.matchers.iter().filter(|matcher| !is_name(matcher)).map(Matcher::to_string).collect();
    if matchers.is_empty() {
        return Ok(());
    }
    matchers.sort_unstable();
    write!(f, "{{{}}}", matchers.join(","))
}

fn extended_text(extended: Option<Extended>) -> String {
    extended.map(|extended| format!(" {}", extended.as_str())).unwrap_or_default()
}

fn at_text(at: Option<At>) -> String {
    match at {
        Some(At::Time(time)) => format!(" @ {:.3}", time.0 as f64 / 1000.0),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        None => String::new(),
    }
}

fn span_text(plain: Millis, computed: Option<&Duration>) -> String {
    computed.map_or_else(|| model::duration::format(plain), Duration::to_string)
}

fn offset_text(offset: Millis, computed: Option<&Duration>) -> String {
    if let Some(computed) = computed {
        return format!(" offset {computed}");
    }
    if offset.0 == 0 { String::new() } else { format!(" offset {}", model::duration::format(offset)) }
}

fn number_text(number: &NumberLiteral) -> String {
    if number.duration {
        return model::duration::format(Millis((number.value * 1000.0).round() as i64));
    }
    model::number::format_plain(number.value)
}

fn label_list(labels: &[String]) -> String {
    let quoted =
        labels.iter().map(|label| if model::name::is_legacy_label_name(label) { label.clone() } else { model::name::quote(label) });
    quoted.collect::<Vec<_>>().join(", ")
}
