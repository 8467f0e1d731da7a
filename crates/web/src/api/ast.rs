//! `/format_query` and `/parse_query`: an expression pretty-printed, and its tree.

use crate::api::query::parse;
use crate::app::App;
use crate::json;
use crate::params::Form;
use crate::respond::{self, ApiError};
use axum::extract::State;
use axum::response::Response;
use model::Matcher;
use promql::ast::{At, Cardinality, Duration, Expr, Extended, Matching, NumberLiteral, ValueType, VectorSelector};
use promql::prettier::{LINE_LEN, prettify};
use std::sync::Arc;

/// GET and POST `/api/v1/format_query`.
pub async fn format_query(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let expr = parse(&app, &form)?;
    Ok(respond::success(|out| json::text(out, &prettify(&expr, LINE_LEN)), &[]))
}

/// GET and POST `/api/v1/parse_query`.
pub async fn parse_query(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let expr = parse(&app, &form)?;
    Ok(respond::success(|out| node(out, &expr), &[]))
}

/// A JSON object, its fields in the order of their names, as Go writes maps.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Where the value is to be written.
    fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        json::text(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, value: &str) {
        json::text(self.field(name), value);
    }

    /// A number, a truth value or `null`, as it is to stand there.
    fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        self.field(name).extend_from_slice(value.to_string().as_bytes());
    }

    fn optional<T>(&mut self, name: &str, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        match value {
            Some(value) => write(self.field(name), value),
            None => self.plain(name, "null"),
        }
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn node(out: &mut Vec<u8>, expr: &Expr) {
    let mut object = Object::begin(out);
    match expr {
        Expr::Number(number) => number_fields(&mut object, number, false),
        Expr::String(string) => {
            object.text("type", "stringLiteral");
            object.text("val", &string.value);
        }
        Expr::Vector(selector) => {
            selector_fields(&mut object, selector, "vectorSelector", |_| {});
        }
        Expr::Matrix(matrix) => selector_fields(&mut object, &matrix.vector, "matrixSelector", |object| {
            object.plain("range", matrix.range.0);
            object.optional("rangeExpr", matrix.range_expr.as_deref(), duration);
        }),
        Expr::Subquery(subquery) => {
            node(object.field("expr"), &subquery.expr);
            object.plain("offset", subquery.offset.0);
            object.optional("offsetExpr", subquery.offset_expr.as_deref(), duration);
            object.plain("range", subquery.range.0);
            object.optional("rangeExpr", subquery.range_expr.as_deref(), duration);
            object.optional("startOrEnd", subquery.at.and_then(start_or_end), json::text);
            object.plain("step", subquery.step.map_or(0, |step| step.0));
            object.optional("stepExpr", subquery.step_expr.as_deref(), duration);
            object.optional("timestamp", subquery.at.and_then(timestamp), plain);
            object.text("type", "subquery");
        }
        Expr::Call(call) => {
            list(object.field("args"), &call.args, node);
            let mut function = Object::begin(object.field("func"));
            let kind = |out: &mut Vec<u8>, kind: ValueType| json::text(out, kind.as_str());
            list(function.field("argTypes"), call.function.args.iter().copied(), kind);
            function.text("name", call.function.name);
            kind(function.field("returnType"), call.function.result);
            function.plain("variadic", call.function.variadic);
            function.end();
            object.text("type", "call");
        }
        Expr::Aggregate(aggregate) => {
            node(object.field("expr"), &aggregate.expr);
            list(object.field("grouping"), &aggregate.grouping, |out, label| json::text(out, label));
            object.text("op", aggregate.op.as_str());
            object.optional("param", aggregate.parameter.as_ref(), node);
            object.text("type", "aggregation");
            object.plain("without", aggregate.without);
        }
        Expr::Binary(binary) => {
            object.plain("bool", binary.return_bool);
            node(object.field("lhs"), &binary.left);
            object.optional("matching", binary.matching.as_ref(), matching);
            object.text("op", binary.op.as_str());
            node(object.field("rhs"), &binary.right);
            object.text("type", "binaryExpr");
        }
        Expr::Unary(unary) => {
            node(object.field("expr"), &unary.expr);
            object.text("op", if unary.negative { "-" } else { "+" });
            object.text("type", "unaryExpr");
        }
        Expr::Paren(paren) => {
            node(object.field("expr"), &paren.expr);
            object.text("type", "parenExpr");
        }
    }
    object.end();
}

fn number_fields(object: &mut Object<'_>, number: &NumberLiteral, in_duration: bool) {
    if in_duration {
        object.plain("duration", number.duration);
    }
    object.text("type", "numberLiteral");
    object.text("val", &model::number::format_plain(number.value));
}

/// `between` writes what stands between the offset and the rest.
fn selector_fields(object: &mut Object<'_>, selector: &VectorSelector, kind: &str, between: impl FnOnce(&mut Object<'_>)) {
    object.plain("anchored", selector.extended == Some(Extended::Anchored));
    list(object.field("matchers"), &selector.matchers, matcher);
    object.text("name", selector.name.as_deref().unwrap_or_default());
    object.plain("offset", selector.offset.0);
    object.optional("offsetExpr", selector.offset_expr.as_deref(), duration);
    between(object);
    object.plain("smoothed", selector.extended == Some(Extended::Smoothed));
    object.optional("startOrEnd", selector.at.and_then(start_or_end), json::text);
    object.optional("timestamp", selector.at.and_then(timestamp), plain);
    object.text("type", kind);
}

fn matcher(out: &mut Vec<u8>, matcher: &Matcher) {
    let mut object = Object::begin(out);
    object.text("name", &matcher.name);
    object.text("type", matcher.op.as_str());
    object.text("value", &matcher.value);
    object.end();
}

fn matching(out: &mut Vec<u8>, matching: &Matching) {
    let mut object = Object::begin(out);
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    object.text("card", card);
    let mut fill = Object::begin(object.field("fillValues"));
    fill.optional("lhs", matching.fill_left, number);
    fill.optional("rhs", matching.fill_right, number);
    fill.end();
    list(object.field("include"), &matching.include, |out, label| json::text(out, label));
    list(object.field("labels"), &matching.labels, |out, label| json::text(out, label));
    object.plain("on", matching.on);
    object.end();
}

fn duration(out: &mut Vec<u8>, expr: &Duration) {
    part_of_duration(out, expr, false);
}

fn part_of_duration(out: &mut Vec<u8>, expr: &Duration, wrapped: bool) {
    let (op, left, right): (_, Option<&Duration>, Option<&Duration>) = match expr {
        // Parentheses are a mark of what is inside; a number has room for none, and becomes `+` of itself.
        Duration::Paren(inner) if matches!(**inner, Duration::Number(_)) => ("+", None, Some(&**inner)),
        Duration::Paren(inner) => return part_of_duration(out, inner, true),
        Duration::Number(number) => {
            let mut object = Object::begin(out);
            number_fields(&mut object, number, true);
            return object.end();
        }
        Duration::Step(_) => ("step", None, None),
        Duration::Range(_) => ("range", None, None),
        Duration::Extreme { max, left, right, .. } => (if *max { "max_of" } else { "min_of" }, Some(left), Some(right)),
        Duration::Negated(inner, _) => ("-", None, Some(inner)),
        Duration::Binary { op, left, right } => (op.as_str(), Some(left), Some(right)),
    };
    let mut object = Object::begin(out);
    object.optional("lhs", left, duration);
    object.text("op", op);
    object.optional("rhs", right, duration);
    object.text("type", "durationExpr");
    object.plain("wrapped", wrapped || matches!(expr, Duration::Paren(_)));
    object.end();
}

fn start_or_end(at: At) -> Option<&'static str> {
    match at {
        At::Start => Some("start"),
        At::End => Some("end"),
        At::Time(_) => None,
    }
}

fn timestamp(at: At) -> Option<i64> {
    match at {
        At::Time(time) => Some(time.0),
        At::Start | At::End => None,
    }
}

fn number(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(model::number::format_json(number).as_bytes());
}

fn plain(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use promql::ParserOptions;

    fn tree(query: &str) -> String {
        let mut out = Vec::new();
        node(&mut out, &promql::parse(query, &ParserOptions::all()).unwrap());
        String::from_utf8(out).unwrap()
    }

    /// As Prometheus's `translate_ast.go` has it, fields sorted by name.
    #[test]
    fn trees_have_prometheus_fields() {
        let number = |n: &str| format!(r#"{{"type":"numberLiteral","val":"{n}"}}"#);
        assert_eq!(tree("1.50"), number("1.5"));
        assert_eq!(tree("-(2)"), format!(r#"{{"expr":{{"expr":{},"type":"parenExpr"}},"op":"-","type":"unaryExpr"}}"#, number("2")));
        let selector = |rest: &str| {
            format!(r#"{{"anchored":false,"matchers":[{{"name":"__name__","type":"=","value":"m"}}],"name":"m","offset":{rest}"#)
        };
        let m = selector(r#"0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}"#);
        assert_eq!(tree("m"), m);
        assert_eq!(
            tree("m[5m] offset 1m @ end()"),
            selector(
                r#"60000,"offsetExpr":null,"range":300000,"rangeExpr":null,"smoothed":false,"startOrEnd":"end","timestamp":null,"type":"matrixSelector"}"#
            )
        );
        assert_eq!(
            tree("m[(1m)]"),
            selector(
                r#"0,"offsetExpr":null,"range":0,"rangeExpr":{"lhs":null,"op":"+","rhs":{"duration":true,"type":"numberLiteral","val":"60"},"type":"durationExpr","wrapped":true},"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}"#
            )
        );
        assert_eq!(
            tree("sum by (a) (m)"),
            format!(r#"{{"expr":{m},"grouping":["a"],"op":"sum","param":null,"type":"aggregation","without":false}}"#)
        );
        let matching = r#"{"card":"many-to-one","fillValues":{"lhs":null,"rhs":0},"include":["c"],"labels":["a"],"on":true}"#;
        assert_eq!(
            tree("m * on (a) group_left (c) fill_right (0) m"),
            format!(r#"{{"bool":false,"lhs":{m},"matching":{matching},"op":"*","rhs":{m},"type":"binaryExpr"}}"#)
        );
        assert_eq!(
            tree("round(m)"),
            format!(
                r#"{{"args":[{m}],"func":{{"argTypes":["vector","scalar"],"name":"round","returnType":"vector","variadic":1}},"type":"call"}}"#
            )
        );
    }
}
