//! The types of an expression's parts, and what the grammar cannot say. Faults are looked for in Prometheus's order.

use super::ParseError;
use crate::ast::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, Span, ValueType, VectorSelector};
use crate::lexer::is_space;

/// Checks a tree, and takes the matching from operations that are not between two vectors.
pub(super) fn check(text: &str, expr: &mut Expr) -> Result<(), ParseError> {
    Checker { text }.expr(expr).map(|_| ())
}

struct Checker<'a> {
    text: &'a str,
}

type Checked<T = ()> = Result<T, ParseError>;

impl Checker<'_> {
    fn fail<T>(&self, span: Span, message: impl Into<String>) -> Checked<T> {
        Err(ParseError::new(self.text, span, message))
    }

    fn expr(&self, expr: &mut Expr) -> Checked<ValueType> {
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Vector(vector) => self.selector(vector)?,
            Expr::Matrix(matrix) => self.selector(&matrix.vector)?,
            Expr::Subquery(subquery) => {
                let inner = self.expr(&mut subquery.expr)?;
                if inner != ValueType::Vector {
                    let word = short_name(inner);
                    return self.fail(subquery.span, format!("subquery is only allowed on instant vector, got {word} instead"));
                }
            }
            Expr::Call(call) => self.call(call)?,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate)?,
            Expr::Binary(binary) => self.binary(binary)?,
            Expr::Unary(unary) => {
                let inner = self.expr(&mut unary.expr)?;
                if !matches!(inner, ValueType::Scalar | ValueType::Vector) {
                    let word = inner.documented();
                    let message = format!("unary expression only allowed on expressions of type scalar or instant vector, got \"{word}\"");
                    return self.fail(unary.span, message);
                }
            }
            Expr::Paren(paren) => {
                self.expr(&mut paren.expr)?;
            }
        }
        Ok(expr.value_type())
    }

    fn expect(&self, expr: &mut Expr, want: ValueType, place: &str) -> Checked {
        let got = self.expr(expr)?;
        if got == want {
            return Ok(());
        }
        self.fail(expr.span(), format!("expected type {} in {place}, got {}", want.documented(), got.documented()))
    }

    fn selector(&self, vector: &VectorSelector) -> Checked {
        let Some(name) = &vector.name else {
            // Else a slip of the pen would read the whole database.
            if vector.matchers.iter().all(|matcher| matcher.matches_empty()) {
                return self.fail(vector.span, "vector selector must contain at least one non-empty matcher");
            }
            return Ok(());
        };
        let others = vector.matchers.split_last().map_or(&[][..], |(_, others)| others);
        if let Some(again) = others.iter().find(|matcher| matcher.name == "__name__") {
            let (name, again) = (model::name::quote(name), model::name::quote(&again.value));
            return self.fail(vector.span, format!("metric name must not be set twice: {name} or {again}"));
        }
        Ok(())
    }

    fn call(&self, call: &mut Call) -> Checked {
        let function = call.function;
        let (listed, got) = (function.args.len(), call.args.len());
        let complaint = if function.variadic == 0 {
            (listed != got).then(|| format!("expected {listed}"))
        } else {
            let least = listed.saturating_sub(1);
            // Negative: no limit.
            let most = usize::try_from(function.variadic).map_or(usize::MAX, |added| least + added);
            match got {
                _ if got < least => Some(format!("expected at least {least}")),
                _ if got > most => Some(format!("expected at most {most}")),
                _ => None,
            }
        };
        if let Some(complaint) = complaint {
            return self.fail(call.span, format!("{complaint} argument(s) in call to \"{}\", got {got}", function.name));
        }
        let place = format!("call to function \"{}\"", function.name);
        for (i, argument) in call.args.iter_mut().enumerate() {
            if (function.name, i) == ("info", 1) {
                self.info_labels(argument, &place)?;
                continue;
            }
            if let Some(want) = function.args.get(i).or(function.args.last()) {
                self.expect(argument, *want, &place)?;
            }
        }
        Ok(())
    }

    /// The second argument of `info` is a selector, but selects labels; so it may match everything.
    fn info_labels(&self, argument: &Expr, place: &str) -> Checked {
        let span = argument.span();
        match argument {
            Expr::Vector(vector) if vector.name.is_none() => Ok(()),
            Expr::Vector(_) => self.fail(span, "expected label selectors only, got vector selector instead"),
            other if other.value_type() != ValueType::Vector => {
                let got = other.value_type().documented();
                self.fail(span, format!("expected type {} in {place}, got {got}", ValueType::Vector.documented()))
            }
            _ => self.fail(span, "expected label selectors only"),
        }
    }

    fn aggregate(&self, aggregate: &mut Aggregate) -> Checked {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
        let want = if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        match &mut aggregate.parameter {
            Some(parameter) => self.expect(parameter, want, "aggregation parameter"),
            None => Ok(()),
        }
    }

    fn binary(&self, binary: &mut Binary) -> Checked {
        let left = self.expr(&mut binary.left)?;
        let right = self.expr(&mut binary.right)?;
        let op = binary.op;
        if binary.return_bool && !op.is_comparison() {
            return self.fail(self.operator_span(binary), "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !binary.return_bool && (left, right) == (ValueType::Scalar, ValueType::Scalar) {
            return self.fail(self.operator_span(binary), "comparisons between scalars must use BOOL modifier");
        }
        let mut matching = binary.matching.take().unwrap_or_default();
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        if let Some(twice) = matching.labels.iter().find(|label| matching.on && matching.include.contains(label)) {
            let message = format!("label {} must not occur in ON and GROUP clause at once", model::name::quote(twice));
            return self.fail(self.operator_span(binary), message);
        }
        for (operand, side) in [(left, &binary.left), (right, &binary.right)] {
            if !matches!(operand, ValueType::Scalar | ValueType::Vector) {
                return self.fail(side.span(), "binary expression must contain only scalar and instant vector types");
            }
        }
        if (left, right) != (ValueType::Vector, ValueType::Vector) {
            if !matching.labels.is_empty() {
                return self.fail(binary.span, "vector matching only allowed between instant vectors");
            }
            if filled {
                return self.fail(binary.span, "filling in missing series only allowed between instant vectors");
            }
            if op.is_set() {
                let message = format!("set operator \"{}\" not allowed in binary scalar expression", op.as_str());
                return self.fail(binary.span, message);
            }
            return Ok(());
        }
        if op.is_set() && matching.cardinality != Cardinality::ManyToMany {
            return self.fail(binary.span, format!("no grouping allowed for \"{}\" operation", op.as_str()));
        }
        if op.is_set() && filled {
            return self.fail(binary.span, "filling in missing series not allowed for set operators");
        }
        binary.matching = Some(matching);
        Ok(())
    }

    /// The operator with its modifiers. As Prometheus has it, the end stands on the last byte and not behind it.
    fn operator_span(&self, binary: &Binary) -> Span {
        let bytes = self.text.as_bytes();
        let space = |at: usize| bytes.get(at).is_some_and(|b| is_space(char::from(*b)));
        let mut span = Span { start: binary.left.span().end, end: binary.right.span().start.saturating_sub(1) };
        while space(span.start) {
            span.start += 1;
        }
        while span.end > span.start && space(span.end) {
            span.end -= 1;
        }
        span.end = span.end.max(span.start);
        span
    }
}

/// Prometheus's word for it in results.
fn short_name(value: ValueType) -> &'static str {
    match value {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}
