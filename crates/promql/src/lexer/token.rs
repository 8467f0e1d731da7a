//! The words of the language, and how messages name them.

use crate::ast::{AggregateOp, BinaryOp, Span};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Eof,
    Identifier,
    /// An identifier with colons.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    At,
    Binary(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    /// `_` in a series.
    Blank,
    /// `x` in a series.
    Times,
    /// White space, where it separates the values of a series.
    Space,
    /// `{{` in a series.
    OpenHistogram,
    /// `}}` in a series.
    CloseHistogram,
    /// What a histogram has, or its hint.
    HistogramWord,
}

/// The keywords that are neither operators nor aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Bool,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Offset,
    Smoothed,
    Anchored,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

impl Keyword {
    /// `start end step range max_of min_of`: words that are written like functions.
    pub fn is_preprocessor(self) -> bool {
        matches!(self, Self::Start | Self::End | Self::Step | Self::Range | Self::MaxOf | Self::MinOf)
    }
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start: usize,
    /// As written.
    pub text: &'a str,
}

impl Token<'_> {
    /// Where it stands.
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.start + self.text.len() }
    }

    /// As messages name it.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Eof => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", model::name::quote(self.text)),
            Kind::MetricIdentifier => format!("metric identifier {}", model::name::quote(self.text)),
            Kind::Number => format!("number {}", self.quoted()),
            Kind::Duration => format!("duration {}", self.quoted()),
            Kind::String => format!("string {}", self.quoted()),
            Kind::Binary(_) | Kind::EqualRegex | Kind::NotEqualRegex | Kind::At => format!("<op:{}>", self.text),
            Kind::Aggregate(_) => format!("<aggr:{}>", self.text),
            Kind::Keyword(keyword) if !keyword.is_preprocessor() => format!("<{}>", self.text),
            Kind::LeftParen
            | Kind::RightParen
            | Kind::LeftBrace
            | Kind::RightBrace
            | Kind::LeftBracket
            | Kind::RightBracket
            | Kind::Comma
            | Kind::Colon
            | Kind::Assign
            | Kind::Keyword(_)
            | Kind::Blank
            | Kind::Times
            | Kind::Space
            | Kind::OpenHistogram
            | Kind::CloseHistogram
            | Kind::HistogramWord => self.quoted(),
        }
    }

    /// Long texts are cut to ten characters.
    fn quoted(&self) -> String {
        if self.text.len() <= 10 {
            return model::name::quote(self.text);
        }
        let cut: String = self.text.chars().take(10).collect();
        format!("{}...", model::name::quote(&cut))
    }
}

/// The keyword of a word in any case; `inf` and `nan` are numbers.
pub(super) fn keyword(word: &str) -> Option<Kind> {
    let kind = match word.to_ascii_lowercase().as_str() {
        "and" => Kind::Binary(BinaryOp::And),
        "or" => Kind::Binary(BinaryOp::Or),
        "unless" => Kind::Binary(BinaryOp::Unless),
        "atan2" => Kind::Binary(BinaryOp::Atan2),
        "sum" => Kind::Aggregate(AggregateOp::Sum),
        "avg" => Kind::Aggregate(AggregateOp::Avg),
        "count" => Kind::Aggregate(AggregateOp::Count),
        "min" => Kind::Aggregate(AggregateOp::Min),
        "max" => Kind::Aggregate(AggregateOp::Max),
        "group" => Kind::Aggregate(AggregateOp::Group),
        "stddev" => Kind::Aggregate(AggregateOp::Stddev),
        "stdvar" => Kind::Aggregate(AggregateOp::Stdvar),
        "topk" => Kind::Aggregate(AggregateOp::TopK),
        "bottomk" => Kind::Aggregate(AggregateOp::BottomK),
        "count_values" => Kind::Aggregate(AggregateOp::CountValues),
        "quantile" => Kind::Aggregate(AggregateOp::Quantile),
        "limitk" => Kind::Aggregate(AggregateOp::LimitK),
        "limit_ratio" => Kind::Aggregate(AggregateOp::LimitRatio),
        "bool" => Kind::Keyword(Keyword::Bool),
        "by" => Kind::Keyword(Keyword::By),
        "without" => Kind::Keyword(Keyword::Without),
        "on" => Kind::Keyword(Keyword::On),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "fill" => Kind::Keyword(Keyword::Fill),
        "fill_left" => Kind::Keyword(Keyword::FillLeft),
        "fill_right" => Kind::Keyword(Keyword::FillRight),
        "offset" => Kind::Keyword(Keyword::Offset),
        "smoothed" => Kind::Keyword(Keyword::Smoothed),
        "anchored" => Kind::Keyword(Keyword::Anchored),
        "start" => Kind::Keyword(Keyword::Start),
        "end" => Kind::Keyword(Keyword::End),
        "step" => Kind::Keyword(Keyword::Step),
        "range" => Kind::Keyword(Keyword::Range),
        "max_of" => Kind::Keyword(Keyword::MaxOf),
        "min_of" => Kind::Keyword(Keyword::MinOf),
        "inf" | "nan" => Kind::Number,
        _ => return None,
    };
    Some(kind)
}
