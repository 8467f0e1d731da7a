//! From the tree of an expression to what the engine runs.
//!
//! Done here, once per query: parentheses vanish, `start()` and `end()` become times, functions
//! become operators, constants are folded, and parts that do not depend on the step are marked,
//! so that the engine evaluates them once.

mod duration;
pub(crate) mod operator;
pub(crate) mod repeat;
mod tree;

use crate::ast::{
    Aggregate, AggregateOp, At, Binary, Call, Expr, Extended, MatrixSelector, Span, StringLiteral, Subquery, ValueType, VectorSelector,
};
use model::{Matcher, Timestamp};
use operator::{Calendar, Elementwise, WindowFunction};

/// A planned part.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub kind: Kind,
    pub span: Span,
    pub value_type: ValueType,
    /// Its value is the same at all steps: everything below it has a fixed time.
    pub invariant: bool,
}

/// When a selector or subquery looks: at its own time if fixed, else at the step's; less the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct When {
    pub at: Option<i64>,
    pub offset: i64,
}

impl When {
    pub fn time(&self, step_time: i64) -> i64 {
        self.at.unwrap_or(step_time).saturating_sub(self.offset)
    }
}

/// An instant selector.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub matchers: Vec<Matcher>,
    pub when: When,
    pub extended: Option<Extended>,
    /// Of histograms only the count and the sum are read.
    pub totals_only: bool,
}

/// What gives windows of samples.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    pub source: WindowSource,
    pub when: When,
    pub range: i64,
    pub span: Span,
    pub extended: Option<Extended>,
    /// As of a [`Selector`].
    pub totals_only: bool,
    /// Why the function around them can't be evaluated. Said only when it comes to that, since other errors go first.
    pub refusal: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum WindowSource {
    Selector(Vec<Matcher>),
    /// The inner expression and the step, if one is written.
    Subquery(Box<Plan>, Option<i64>),
}

/// What `histogram_count` and its like read off.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum HistogramNumber {
    Count,
    Sum,
    Average,
    Stddev,
    Stdvar,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Number(f64),
    String(String),
    Selector(Selector),
    /// A range vector as the whole query.
    Windows(Windows),
    /// A function of windows; `parameters` are its scalars in order.
    Window {
        function: WindowFunction,
        windows: Windows,
        parameters: Vec<Plan>,
    },
    AbsentOverTime {
        windows: Windows,
    },
    Elementwise {
        function: Elementwise,
        input: Box<Plan>,
        parameters: Vec<Plan>,
    },
    Negate(Box<Plan>),
    /// What an argument with a `+` is: itself, but warnings about the argument are about the sign, too.
    Plus(Box<Plan>),
    Absent {
        input: Box<Plan>,
        matchers: Option<Vec<Matcher>>,
    },
    /// `timestamp(selector)`: the samples' own times.
    SampleTime(Selector),
    /// `start_timestamp(selector)`
    SampleStart(Selector),
    /// `timestamp(anything else)`: the step's time.
    StepTime(Box<Plan>),
    /// `time()`
    Time,
    /// `hour()` and its kin without argument.
    Calendar(Calendar),
    ScalarOf(Box<Plan>),
    VectorOf(Box<Plan>),
    Sort {
        input: Box<Plan>,
        descending: bool,
        /// By these labels instead of by value.
        labels: Option<Vec<String>>,
    },
    /// `min_of` and `max_of`
    ScalarExtreme {
        max: bool,
        left: Box<Plan>,
        right: Box<Plan>,
    },
    /// `start_timestamp(anything else)`: no series at all.
    NoStarts(Box<Plan>),
    /// `when` is that of the first selector in the input; `matchers` are of labels and names of info metrics.
    Info {
        input: Box<Plan>,
        when: When,
        matchers: Vec<Matcher>,
    },
    LabelReplace {
        input: Box<Plan>,
        destination: String,
        replacement: String,
        source: String,
        regex: String,
    },
    LabelJoin {
        input: Box<Plan>,
        destination: String,
        separator: String,
        sources: Vec<String>,
    },
    /// A number of each native histogram; floats go.
    HistogramNumber {
        number: HistogramNumber,
        input: Box<Plan>,
    },
    HistogramQuantile {
        quantile: Box<Plan>,
        input: Box<Plan>,
    },
    /// Several quantiles, each with its value in a label.
    HistogramQuantiles {
        input: Box<Plan>,
        label: String,
        quantiles: Vec<Plan>,
    },
    HistogramFraction {
        lower: Box<Plan>,
        upper: Box<Plan>,
        input: Box<Plan>,
    },
    Aggregate {
        aggregate: Aggregation,
        input: Box<Plan>,
        parameter: Option<Box<Plan>>,
    },
    ScalarBinary {
        op: crate::ast::BinaryOp,
        left: Box<Plan>,
        right: Box<Plan>,
    },
    /// A vector and a scalar; `scalar_left` tells which is which.
    VectorScalar {
        op: crate::ast::BinaryOp,
        vector: Box<Plan>,
        scalar: Box<Plan>,
        scalar_left: bool,
        return_bool: bool,
    },
    VectorBinary {
        op: crate::ast::BinaryOp,
        left: Box<Plan>,
        right: Box<Plan>,
        matching: crate::ast::Matching,
        return_bool: bool,
    },
}

/// How series are grouped and combined.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Aggregation {
    pub op: crate::ast::AggregateOp,
    /// Sorted, each once.
    pub grouping: Vec<String>,
    pub without: bool,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planner {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Milliseconds; 0 in an instant query.
    pub step: i64,
    pub reading: Reading,
}

/// What is read of histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// They may be read whole by whoever gets the result.
    #[default]
    Whole,
    /// Only count and sum, by a function above.
    Totals,
    /// Buckets are needed, whatever is above.
    Buckets,
}

/// Why an expression cannot be planned: the text is the query's error.
#[derive(Debug)]
pub(crate) enum PlanError {
    /// One of its durations is none with the query's times.
    Duration(String),
    /// All else, which Prometheus finds when it evaluates.
    Execution(String),
}

impl From<String> for PlanError {
    fn from(text: String) -> Self {
        Self::Execution(text)
    }
}

impl Planner {
    pub fn plan(&self, expr: &Expr) -> Result<Plan, PlanError> {
        let (kind, invariant) = match expr {
            Expr::Paren(paren) => return self.plan(&paren.expr),
            Expr::Number(number) => (Kind::Number(number.value), true),
            Expr::String(text) => (Kind::String(text.value.clone()), true),
            Expr::Vector(selector) => {
                let selector = self.selector(selector)?;
                let fixed = selector.when.at.is_some();
                (Kind::Selector(selector), fixed)
            }
            Expr::Matrix(_) | Expr::Subquery(_) => {
                let windows = self.windows(expr)?;
                let fixed = windows.when.at.is_some();
                (Kind::Windows(windows), fixed)
            }
            Expr::Unary(unary) => {
                let inner = self.plan(&unary.expr)?;
                let (invariant, scalar) = (inner.invariant, inner.value_type == ValueType::Scalar);
                match inner.kind {
                    Kind::Number(value) if unary.negative => (Kind::Number(-value), true),
                    _ if unary.negative => (Kind::Negate(Box::new(inner)), invariant),
                    kind if scalar => (kind, invariant),
                    _ => (Kind::Plus(Box::new(inner)), invariant),
                }
            }
            Expr::Binary(binary) => self.binary(binary)?,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate)?,
            Expr::Call(call) => self.call(call)?,
        };
        Ok(Plan { kind, span: expr.span(), value_type: expr.value_type(), invariant })
    }

    /// For what is below something that reads histograms so.
    fn reading(&self, reading: Reading) -> Self {
        let reading = if self.reading == Reading::Buckets { Reading::Buckets } else { reading };
        Self { reading, ..*self }
    }

    fn boxed(&self, expr: &Expr) -> Result<Box<Plan>, PlanError> {
        self.plan(expr).map(Box::new)
    }

    /// When the first selector of an expression looks, subqueries around it included.
    fn first_when(&self, expr: &Expr) -> Result<Option<When>, PlanError> {
        let of_selector = |vector: &VectorSelector| -> Result<Option<When>, PlanError> {
            let offset = self.computed(vector.offset, vector.offset_expr.as_deref(), true)?;
            Ok(Some(self.when(vector.at, offset)))
        };
        let first_of = |exprs: &mut dyn Iterator<Item = &Expr>| -> Result<Option<When>, PlanError> {
            for expr in exprs {
                if let Some(when) = self.first_when(expr)? {
                    return Ok(Some(when));
                }
            }
            Ok(None)
        };
        match expr {
            Expr::Vector(vector) => of_selector(vector),
            Expr::Matrix(matrix) => of_selector(&matrix.vector),
            Expr::Number(_) | Expr::String(_) => Ok(None),
            Expr::Unary(unary) => self.first_when(&unary.expr),
            Expr::Paren(paren) => self.first_when(&paren.expr),
            Expr::Binary(binary) => first_of(&mut [&binary.left, &binary.right].into_iter()),
            Expr::Call(call) => first_of(&mut call.args.iter()),
            Expr::Aggregate(aggregate) => first_of(&mut [&aggregate.expr].into_iter().chain(aggregate.parameter.as_ref())),
            Expr::Subquery(subquery) => {
                let Some(inner) = self.first_when(&subquery.expr)? else { return Ok(None) };
                if inner.at.is_some() {
                    return Ok(Some(inner));
                }
                let offset = self.computed(subquery.offset, subquery.offset_expr.as_deref(), true)?;
                let outer = self.when(subquery.at, offset);
                Ok(Some(When { at: outer.at, offset: inner.offset.saturating_add(outer.offset) }))
            }
        }
    }

    fn when(&self, at: Option<At>, offset: model::Millis) -> When {
        let at = at.map(|at| match at {
            At::Time(time) => time.0,
            At::Start => self.start.0,
            At::End => self.end.0,
        });
        When { at, offset: offset.0 }
    }

    fn selector(&self, selector: &VectorSelector) -> Result<Selector, PlanError> {
        Ok(Selector {
            matchers: selector.matchers.clone(),
            when: self.when(selector.at, self.computed(selector.offset, selector.offset_expr.as_deref(), true)?),
            extended: selector.extended,
            totals_only: self.reading == Reading::Totals,
        })
    }

    fn windows(&self, expr: &Expr) -> Result<Windows, PlanError> {
        match unwrap(expr) {
            Expr::Matrix(MatrixSelector { vector, range, range_expr, span }) => Ok(Windows {
                source: WindowSource::Selector(vector.matchers.clone()),
                // In the order in which faults are named.
                range: self.computed(*range, range_expr.as_deref(), false)?.0,
                when: self.when(vector.at, self.computed(vector.offset, vector.offset_expr.as_deref(), true)?),
                span: *span,
                extended: vector.extended,
                totals_only: self.reading == Reading::Totals,
                refusal: None,
            }),
            Expr::Subquery(subquery) => {
                let Subquery { expr, range, range_expr, step, step_expr, offset, offset_expr, at, span } = subquery.as_ref();
                // In the order in which faults are named: those inside come last.
                let when = self.when(*at, self.computed(*offset, offset_expr.as_deref(), true)?);
                let step = match step_expr {
                    Some(computed) => Some(self.computed(model::Millis(0), Some(computed), false)?).filter(|step| step.0 != 0),
                    None => *step,
                };
                Ok(Windows {
                    when,
                    range: self.computed(*range, range_expr.as_deref(), false)?.0,
                    source: WindowSource::Subquery(self.reading(Reading::Buckets).boxed(expr)?, step.map(|s| s.0)),
                    span: *span,
                    extended: None,
                    totals_only: false,
                    refusal: None,
                })
            }
            other => Err(format!("expected a range vector, got {}", other.value_type().documented()).into()),
        }
    }

    fn binary(&self, binary: &Binary) -> Result<(Kind, bool), PlanError> {
        let inner = if binary.op.is_trim() { self.reading(Reading::Buckets) } else { *self };
        let (left, right) = (inner.boxed(&binary.left)?, inner.boxed(&binary.right)?);
        let invariant = left.invariant && right.invariant;
        let op = binary.op;
        let kind = match (left.value_type, right.value_type) {
            (ValueType::Scalar, ValueType::Scalar) => match (&left.kind, &right.kind) {
                (Kind::Number(a), Kind::Number(b)) if !op.is_trim() => Kind::Number(operator::scalar_binary(op, *a, *b)),
                _ => Kind::ScalarBinary { op, left, right },
            },
            (ValueType::Vector, ValueType::Scalar) => {
                Kind::VectorScalar { op, vector: left, scalar: right, scalar_left: false, return_bool: binary.return_bool }
            }
            (ValueType::Scalar, ValueType::Vector) => {
                Kind::VectorScalar { op, vector: right, scalar: left, scalar_left: true, return_bool: binary.return_bool }
            }
            _ => Kind::VectorBinary {
                op,
                left,
                right,
                matching: binary.matching.clone().unwrap_or_default(),
                return_bool: binary.return_bool,
            },
        };
        Ok((kind, invariant))
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<(Kind, bool), PlanError> {
        if let (AggregateOp::CountValues, Some(Expr::String(StringLiteral { no_utf8: Some(name), .. }))) =
            (aggregate.op, &aggregate.parameter)
        {
            return Err(format!("invalid label name {}", model::name::quote_bytes(name)).into());
        }
        let input = self.boxed(&aggregate.expr)?;
        let parameter = aggregate.parameter.as_ref().map(|p| self.boxed(p)).transpose()?;
        // As in Prometheus only the vector counts: a changing parameter is read at the first step.
        let invariant = input.invariant;
        let mut grouping = aggregate.grouping.clone();
        grouping.sort();
        grouping.dedup();
        let aggregation = Aggregation { op: aggregate.op, grouping, without: aggregate.without };
        Ok((Kind::Aggregate { aggregate: aggregation, input, parameter }, invariant))
    }

    fn call(&self, call: &Call) -> Result<(Kind, bool), PlanError> {
        let name = call.function.name;
        let args = &call.args;
        if let Some(function) = WindowFunction::named(name) {
            // quantile_over_time alone has its window second.
            let window_at = usize::from(function == WindowFunction::Quantile);
            let mut windows = self.windows(argument(args, window_at)?)?;
            windows.refusal = refusal(&windows, name);
            let scalars = args.iter().enumerate().filter(|(at, _)| *at != window_at);
            let parameters = scalars.map(|(_, scalar)| self.plan(scalar)).collect::<Result<Vec<_>, _>>()?;
            let invariant =
                windows.when.at.is_some() && parameters.iter().all(|p| p.invariant) && !matches!(function, WindowFunction::PredictLinear);
            return Ok((Kind::Window { function, windows, parameters }, invariant));
        }
        if let Some(function) = Elementwise::named(name) {
            if let (Elementwise::Calendar(field), true) = (function, args.is_empty()) {
                return Ok((Kind::Calendar(field), false));
            }
            let input = self.boxed(argument(args, 0)?)?;
            let parameters = args.iter().skip(1).map(|a| self.plan(a)).collect::<Result<Vec<_>, _>>()?;
            // Prometheus takes the date of something fixed for one that changes with the step.
            let dates = matches!(function, Elementwise::Calendar(_));
            let invariant = !dates && input.invariant && parameters.iter().all(|p| p.invariant);
            return Ok((Kind::Elementwise { function, input, parameters }, invariant));
        }
        let reading = match name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => self.reading(Reading::Totals),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => self.reading(Reading::Buckets),
            _ => *self,
        };
        let first = |_: &Self| reading.boxed(argument(args, 0)?);
        let kind = match name {
            "absent" => {
                let matchers = match unwrap(argument(args, 0)?) {
                    Expr::Vector(selector) => Some(selector.matchers.clone()),
                    _ => None,
                };
                Kind::Absent { input: first(self)?, matchers }
            }
            "absent_over_time" => {
                let mut windows = self.windows(argument(args, 0)?)?;
                windows.refusal = refusal(&windows, name);
                let fixed = windows.when.at.is_some();
                return Ok((Kind::AbsentOverTime { windows }, fixed));
            }
            "time" => return Ok((Kind::Time, false)),
            "pi" => Kind::Number(std::f64::consts::PI),
            "timestamp" => match unwrap(argument(args, 0)?) {
                Expr::Vector(selector) => {
                    let selector = self.selector(selector)?;
                    let fixed = selector.when.at.is_some();
                    return Ok((Kind::SampleTime(selector), fixed));
                }
                _ => return Ok((Kind::StepTime(first(self)?), false)),
            },
            "scalar" => Kind::ScalarOf(first(self)?),
            "vector" => Kind::VectorOf(first(self)?),
            "sort" | "sort_desc" => Kind::Sort { input: first(self)?, descending: name == "sort_desc", labels: None },
            "sort_by_label" | "sort_by_label_desc" => {
                let labels = (1..args.len()).map(|i| text(args, i)).collect::<Result<_, _>>()?;
                Kind::Sort { input: first(self)?, descending: name == "sort_by_label_desc", labels: Some(labels) }
            }
            "info" => {
                let input = first(self)?;
                let matchers = match args.get(1).map(unwrap) {
                    Some(Expr::Vector(selector)) => selector.matchers.clone(),
                    _ => Vec::new(),
                };
                let when = self.first_when(argument(args, 0)?)?.unwrap_or(When { at: None, offset: 0 });
                let invariant = input.invariant && args.len() == 1;
                return Ok((Kind::Info { input, when, matchers }, invariant));
            }
            "start" => Kind::Number(self.start.0 as f64 / 1000.0),
            "end" => Kind::Number(self.end.0 as f64 / 1000.0),
            "range" => Kind::Number(self.end.0.saturating_sub(self.start.0) as f64 / 1000.0),
            "step" => Kind::Number(if self.start == self.end { 0.0 } else { self.step as f64 / 1000.0 }),
            "min_of" | "max_of" => {
                Kind::ScalarExtreme { max: name == "max_of", left: first(self)?, right: self.boxed(argument(args, 1)?)? }
            }
            "start_timestamp" => match unwrap(argument(args, 0)?) {
                Expr::Vector(selector) => {
                    let selector = self.selector(selector)?;
                    let fixed = selector.when.at.is_some();
                    return Ok((Kind::SampleStart(selector), fixed));
                }
                _ => Kind::NoStarts(first(self)?),
            },
            "label_replace" => Kind::LabelReplace {
                input: first(self)?,
                destination: text(args, 1)?,
                replacement: text(args, 2)?,
                source: text(args, 3)?,
                regex: text(args, 4)?,
            },
            "label_join" => Kind::LabelJoin {
                input: first(self)?,
                destination: text(args, 1)?,
                separator: text(args, 2)?,
                sources: (3..args.len()).map(|i| text(args, i)).collect::<Result<_, _>>()?,
            },
            "histogram_avg" => Kind::HistogramNumber { number: HistogramNumber::Average, input: first(self)? },
            "histogram_count" => Kind::HistogramNumber { number: HistogramNumber::Count, input: first(self)? },
            "histogram_stddev" => Kind::HistogramNumber { number: HistogramNumber::Stddev, input: first(self)? },
            "histogram_stdvar" => Kind::HistogramNumber { number: HistogramNumber::Stdvar, input: first(self)? },
            "histogram_fraction" => Kind::HistogramFraction {
                lower: first(self)?,
                upper: self.boxed(argument(args, 1)?)?,
                input: reading.boxed(argument(args, 2)?)?,
            },
            "histogram_quantiles" => Kind::HistogramQuantiles {
                input: first(self)?,
                label: text(args, 1)?,
                quantiles: args.iter().skip(2).map(|a| self.plan(a)).collect::<Result<_, _>>()?,
            },
            "histogram_sum" => Kind::HistogramNumber { number: HistogramNumber::Sum, input: first(self)? },
            "histogram_quantile" => Kind::HistogramQuantile { quantile: first(self)?, input: reading.boxed(argument(args, 1)?)? },
            _ => return Err(format!("unknown function with name {}", model::name::quote(name)).into()),
        };
        let invariant = match &kind {
            Kind::Absent { input, .. }
            | Kind::ScalarOf(input)
            | Kind::VectorOf(input)
            | Kind::Sort { input, .. }
            | Kind::HistogramNumber { input, .. }
            | Kind::LabelReplace { input, .. }
            | Kind::NoStarts(input)
            | Kind::LabelJoin { input, .. } => input.invariant,
            Kind::ScalarExtreme { left, right, .. } => left.invariant && right.invariant,
            Kind::HistogramQuantile { quantile, input } => quantile.invariant && input.invariant,
            Kind::HistogramQuantiles { input, quantiles, .. } => input.invariant && quantiles.iter().all(|q| q.invariant),
            Kind::HistogramFraction { lower, upper, input } => lower.invariant && upper.invariant && input.invariant,
            _ => true,
        };
        Ok((kind, invariant))
    }
}

/// Windows that reach out are not for every function.
fn refusal(windows: &Windows, function: &str) -> Option<String> {
    let extended = windows.extended?;
    let allowed: &[&str] = match extended {
        Extended::Anchored => &["changes", "delta", "increase", "rate", "resets"],
        Extended::Smoothed => &["delta", "increase", "rate"],
    };
    let text = || format!("{} modifier can only be used with: {} - not with {function}", extended.as_str(), allowed.join(", "));
    (!allowed.contains(&function)).then(text)
}

fn unwrap(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => unwrap(&paren.expr),
        other => other,
    }
}

fn argument(args: &[Expr], at: usize) -> Result<&Expr, PlanError> {
    args.get(at).ok_or_else(|| format!("argument {} is missing", at + 1).into())
}

fn text(args: &[Expr], at: usize) -> Result<String, PlanError> {
    match unwrap(argument(args, at)?) {
        Expr::String(literal) => Ok(literal.value.clone()),
        other => Err(format!("expected a string, got {}", other.value_type().documented()).into()),
    }
}
