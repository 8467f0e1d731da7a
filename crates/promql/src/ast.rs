//! The typed tree of an expression, with where each part stands in the text.

use model::{Matcher, Millis, Timestamp};

/// A part of the query text: bytes `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// Text.
    String,
    /// One sample per series and step.
    Vector,
    /// A window of samples per series and step.
    Matrix,
}

impl ValueType {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }

    /// Prometheus's word for it in error messages and, apart from `instant vector` and
    /// `range vector`, in results.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1f`, `5m`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `name{…}` with its modifiers.
    Vector(VectorSelector),
    /// `name{…}[5m]`
    Matrix(MatrixSelector),
    /// `expr[1h:5m]`
    Subquery(Box<Subquery>),
    /// `f(args)`
    Call(Call),
    /// `sum by (a) (expr)`
    Aggregate(Box<Aggregate>),
    /// `a + b`
    Binary(Box<Binary>),
    /// `-a`
    Unary(Box<Unary>),
    /// `(a)`
    Paren(Box<Paren>),
}

/// A number; `duration` if it was written as one.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value, seconds for a duration.
    pub value: f64,
    /// Written with units.
    pub duration: bool,
    /// Where.
    pub span: Span,
}

/// A text.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// Unquoted; where escapes make bytes that are no UTF-8, with replacement characters.
    pub value: String,
    /// The bytes, if they are no UTF-8.
    pub no_utf8: Option<Box<[u8]>>,
    /// Where.
    pub span: Span,
}

/// `@ …`
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// A fixed time.
    Time(Timestamp),
    /// The outermost query's start.
    Start,
    /// The outermost query's end.
    End,
}

/// An instant selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name written before the braces (also a matcher in `matchers`).
    pub name: Option<String>,
    /// All matchers, `__name__` of `name` as the last.
    pub matchers: Vec<Matcher>,
    /// `offset`; positive looks back. 0 if it has to be computed.
    pub offset: Millis,
    /// The offset if it has to be computed.
    pub offset_expr: Option<Box<Duration>>,
    /// `@`
    pub at: Option<At>,
    /// `anchored` or `smoothed`
    pub extended: Option<Extended>,
    /// Where.
    pub span: Span,
}

/// How a window reaches out for what lies behind its borders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extended {
    /// It begins with the last sample before it.
    Anchored,
    /// At its borders are the values that a line through the samples around them has.
    Smoothed,
}

impl Extended {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

/// A range selector: the samples in `(t - range, t]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// What is selected, with offset and `@`.
    pub vector: VectorSelector,
    /// The window's length. 0 if it has to be computed.
    pub range: Millis,
    /// The window's length if it has to be computed.
    pub range_expr: Option<Box<Duration>>,
    /// Where, brackets and modifiers included.
    pub span: Span,
}

/// A duration that is computed when the query's times are known.
#[derive(Clone, Debug, PartialEq)]
pub enum Duration {
    /// `5m`, `300`
    Number(NumberLiteral),
    /// `step()`: the query's step, 0 in an instant query.
    Step(Span),
    /// `range()`: from the query's start to its end.
    Range(Span),
    /// `min_of(a, b)` or `max_of(a, b)`
    Extreme {
        /// The greater of both.
        max: bool,
        /// The first.
        left: Box<Duration>,
        /// The second.
        right: Box<Duration>,
        /// Where.
        span: Span,
    },
    /// `-a`
    Negated(Box<Duration>, Span),
    /// `a + b` and other arithmetic.
    Binary {
        /// Which.
        op: BinaryOp,
        /// The first.
        left: Box<Duration>,
        /// The second.
        right: Box<Duration>,
    },
    /// `(a)`
    Paren(Box<Duration>),
}

impl Duration {
    /// Where it stands; parentheses do not count.
    pub fn span(&self) -> Span {
        match self {
            Self::Number(number) => number.span,
            Self::Step(span) | Self::Range(span) | Self::Extreme { span, .. } | Self::Negated(_, span) => *span,
            Self::Binary { left, right, .. } => Span { start: left.span().start, end: right.span().end },
            Self::Paren(inner) => inner.span(),
        }
    }
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// Evaluated at multiples of the step.
    pub expr: Expr,
    /// The window's length. 0 if it has to be computed.
    pub range: Millis,
    /// The window's length if it has to be computed.
    pub range_expr: Option<Box<Duration>>,
    /// `None`: the global evaluation interval, or it has to be computed.
    pub step: Option<Millis>,
    /// The step if it has to be computed.
    pub step_expr: Option<Box<Duration>>,
    /// `offset`; positive looks back. 0 if it has to be computed.
    pub offset: Millis,
    /// The offset if it has to be computed.
    pub offset_expr: Option<Box<Duration>>,
    /// `@`
    pub at: Option<At>,
    /// Where.
    pub span: Span,
}

/// A function call, arguments checked by the parser.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which.
    pub function: &'static crate::functions::Signature,
    /// As written; missing optional ones are missing.
    pub args: Vec<Expr>,
    /// Where.
    pub span: Span,
}

/// The aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the words of the language")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    CountValues,
    Quantile,
    LimitK,
    LimitRatio,
}

impl AggregateOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::TopK => "topk",
            Self::BottomK => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::LimitK => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Does it take a parameter before the vector?
    pub fn has_parameter(self) -> bool {
        matches!(self, Self::TopK | Self::BottomK | Self::CountValues | Self::Quantile | Self::LimitK | Self::LimitRatio)
    }
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// What.
    pub expr: Expr,
    /// `k` of topk, `φ` of quantile, the label of count_values.
    pub parameter: Option<Expr>,
    /// Labels of `by` or `without`, as written.
    pub grouping: Vec<String>,
    /// `without` instead of `by`.
    pub without: bool,
    /// Where.
    pub span: Span,
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the operators of the language")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
    TrimBelow,
    TrimAbove,
}

impl BinaryOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimBelow => "</",
            Self::TrimAbove => ">/",
        }
    }

    /// `== != > < >= <=`
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterOrEqual | Self::LessOrEqual)
    }

    /// Does the result differ from the metric's values, so that it loses the name?
    pub fn changes_metric(self) -> bool {
        !self.is_comparison() && !self.is_trim() && !self.is_set()
    }

    /// `</ >/`
    pub fn is_trim(self) -> bool {
        matches!(self, Self::TrimBelow | Self::TrimAbove)
    }

    /// `and or unless`
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// How many series of each side may meet in a match group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One and one.
    #[default]
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// `on`, `ignoring`, `group_left`, `group_right` of an operation between two vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// How many meet.
    pub cardinality: Cardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// `on` instead of `ignoring`.
    pub on: bool,
    /// Labels that `group_left`/`group_right` copy from the one side.
    pub include: Vec<String>,
    /// `fill_left`: the value of a series that is missing on the left.
    pub fill_left: Option<f64>,
    /// `fill_right`
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// Only between two vectors.
    pub matching: Option<Matching>,
    /// `bool`
    pub return_bool: bool,
    /// Where.
    pub span: Span,
}

/// Negation (`+a` is parsed to this too, so that it prints as written).
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// `-`, else `+`.
    pub negative: bool,
    /// Of what.
    pub expr: Expr,
    /// Where.
    pub span: Span,
}

/// Parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Paren {
    /// What is inside.
    pub expr: Expr,
    /// Where, parentheses included.
    pub span: Span,
}

impl Expr {
    /// The matchers of each selector in it, in the order of the text.
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut found = Vec::new();
        self.add_selectors(&mut found);
        found
    }

    fn add_selectors<'e>(&'e self, found: &mut Vec<&'e [Matcher]>) {
        match self {
            Self::Number(_) | Self::String(_) => {}
            Self::Vector(selector) => found.push(&selector.matchers),
            Self::Matrix(selector) => found.push(&selector.vector.matchers),
            Self::Subquery(subquery) => subquery.expr.add_selectors(found),
            Self::Call(call) => call.args.iter().for_each(|argument| argument.add_selectors(found)),
            Self::Aggregate(aggregate) => {
                aggregate.expr.add_selectors(found);
                aggregate.parameter.iter().for_each(|parameter| parameter.add_selectors(found));
            }
            Self::Binary(binary) => {
                binary.left.add_selectors(found);
                binary.right.add_selectors(found);
            }
            Self::Unary(unary) => unary.expr.add_selectors(found),
            Self::Paren(paren) => paren.expr.add_selectors(found),
        }
    }

    /// What it gives.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(call) => call.function.result,
            Self::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Paren(paren) => paren.expr.value_type(),
        }
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Number(e) => e.span,
            Self::String(e) => e.span,
            Self::Vector(e) => e.span,
            Self::Matrix(e) => e.span,
            Self::Subquery(e) => e.span,
            Self::Call(e) => e.span,
            Self::Aggregate(e) => e.span,
            Self::Binary(e) => e.span,
            Self::Unary(e) => e.span,
            Self::Paren(e) => e.span,
        }
    }
}
