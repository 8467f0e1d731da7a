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

    /// As Prometheus compiles the expressions of relabel rules and `label_replace`: the pattern is
    /// put into `^(?s:…)$` as text, so messages show it wrapped.
    ///
    /// # Errors
    /// When it is not RE2 syntax.
    pub fn new_wrapped(pattern: &str) -> Result<Self, RegexError> {
        Self::new(pattern)
    }

    /// Group 0 is the whole of `text`; `None` if it does not match.
    pub fn captures<'t>(&self, text: &'t str) -> Option<regex::Captures<'t>> {
        self.regex.captures(text)
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

/// Fills `captures` of `regex` into `template` by Go's rules: `$1`, `${1}`, `$name`, `${name}`, `$$`;
/// a name is as long as possible (`$1x` is the group `1x`), an unknown or unmatched group is empty,
/// and a `$` that starts none of these stands for itself.
pub fn expand(regex: &AnchoredRegex, template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = template_name(rest) {
            out.push_str(group(regex, captures, name));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The group's name after a `$`, and what follows it.
fn template_name(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = text.strip_prefix('{').map_or((false, text), |text| (true, text));
    let end = text.find(|c: char| !(c == '_' || c.is_ascii_digit() || c.is_alphabetic())).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// Go allows several groups of one name: the first that took part counts.
fn group<'t>(regex: &AnchoredRegex, captures: &regex::Captures<'t>, name: &str) -> &'t str {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let found = if is_number {
        name.parse().ok().and_then(|index| captures.get(index))
    } else {
        let mut named = regex.compiled().capture_names().enumerate().filter(|(_, n)| *n == Some(name));
        named.find_map(|(index, _)| captures.get(index))
    };
    found.map_or("", |found| found.as_str())
}
