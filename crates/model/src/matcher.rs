//! One test of one label.

use crate::regex::{AnchoredRegex, RegexError};
use std::fmt;
use std::sync::Arc;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As written in a selector.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A label matcher. A label that a series lacks has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Which label.
    pub name: String,
    /// How.
    pub op: MatchOp,
    /// With what.
    pub value: String,
    regex: Option<Arc<AnchoredRegex>>,
}

impl Matcher {
    /// # Errors
    /// When a regex operator's value is not a regular expression.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(AnchoredRegex::new(&value)?)),
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// `name = value`, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Does a label with this value satisfy it?
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Regex, Some(regex)) => regex.matches(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.matches(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => unreachable!("`new` compiles the regex of these"),
        }
    }

    /// Does it also select series without the label?
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The compiled expression of `=~` and `!~`.
    pub fn regex(&self) -> Option<&AnchoredRegex> {
        self.regex.as_deref()
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if crate::name::is_legacy_label_name(&self.name) { self.name.clone() } else { crate::name::quote(&self.name) };
        write!(f, "{name}{}{}", self.op.as_str(), crate::name::quote(&self.value))
    }
}
