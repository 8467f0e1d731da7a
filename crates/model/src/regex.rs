//! Go's RE2 syntax on Rust's `regex`, fully anchored, and what a matcher can know without running it.

use std::fmt;

/// The text is not a regular expression; the message is Go's where we know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError(pub String);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for RegexError {}

/// A regular expression that has to match the whole text; `.` matches a newline too (`^(?s:…)$`).
#[derive(Clone, Debug)]
pub struct AnchoredRegex {
    regex: regex::Regex,
}

impl AnchoredRegex {
    /// # Errors
    /// When `pattern` is not RE2 syntax.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let regex = regex::Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| RegexError(e.to_string()))?;
        Ok(Self { regex })
    }

    /// Does the whole of `text` match?
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The compiled expression, for captures; group 0 is the whole text.
    pub fn compiled(&self) -> &regex::Regex {
        &self.regex
    }

    /// All texts that match, if they are few and known (`a|b|c[12]`); sorted, each once.
    pub fn literals(&self) -> Option<&[String]> {
        None
    }

    /// A text that every match starts with; empty if none is known.
    pub fn prefix(&self) -> &str {
        ""
    }
}
