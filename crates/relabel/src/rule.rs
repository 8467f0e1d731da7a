//! One rule: its fields with their defaults, and what makes it invalid.

use model::name::{is_legacy_label_name, quote};
use model::regex::{AnchoredRegex, RegexError};
use std::fmt;
use std::sync::Arc;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Sets a label from a template if the value matches.
    #[default]
    Replace,
    /// Drops unless the value matches.
    Keep,
    /// Drops if the value matches.
    Drop,
    /// Drops unless the value equals the target label.
    KeepEqual,
    /// Drops if the value equals the target label.
    DropEqual,
    /// Sets a label to the value's hash modulo a number.
    HashMod,
    /// Copies labels whose name matches to a name from a template.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Sets a label to the value in lower case.
    Lowercase,
    /// Sets a label to the value in upper case.
    Uppercase,
}

impl Action {
    /// The name in the configuration; any case of letters is accepted.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "replace" => Self::Replace,
            "keep" => Self::Keep,
            "drop" => Self::Drop,
            "keepequal" => Self::KeepEqual,
            "dropequal" => Self::DropEqual,
            "hashmod" => Self::HashMod,
            "labelmap" => Self::LabelMap,
            "labeldrop" => Self::LabelDrop,
            "labelkeep" => Self::LabelKeep,
            "lowercase" => Self::Lowercase,
            "uppercase" => Self::Uppercase,
            _ => return None,
        })
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which label names a rule may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameScheme {
    /// Any text that is not empty.
    #[default]
    Utf8,
    /// Letters, digits and `_`.
    Legacy,
}

impl NameScheme {
    /// May a label be called this?
    pub fn is_valid_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_label_name(name),
        }
    }
}

/// A rule as it stands in the configuration; `None` where a key is absent, so that defaults apply.
/// A key that is there without a value (YAML's null) is the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSpec {
    /// Labels whose values are joined to the value that is looked at.
    pub source_labels: Option<Vec<String>>,
    /// What stands between them (`;`).
    pub separator: Option<String>,
    /// What the value, or a label's name, is matched with as a whole (`(.*)`).
    pub regex: Option<String>,
    /// For `hashmod`.
    pub modulus: u64,
    /// The label to set; a template for `replace`.
    pub target_label: Option<String>,
    /// Template of the new value, or of the new name for `labelmap` (`$1`).
    pub replacement: Option<String>,
    /// The action's name (`replace`).
    pub action: Option<String>,
}

/// Why a rule is refused; the texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A source label cannot be a label's name.
    #[error("{} is not a valid label name", quote(.0))]
    SourceLabel(String),
    /// No such action.
    #[error("unknown relabel action {}", quote(.0))]
    UnknownAction(String),
    /// The action is there, but empty.
    #[error("relabel action cannot be empty")]
    EmptyAction,
    /// The regular expression does not parse.
    #[error(transparent)]
    Regex(#[from] RegexError),
    /// `hashmod` by nothing.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    ZeroModulus,
    /// The action writes or compares a label, but none is named.
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTargetLabel(Action),
    /// The target label's name breaks the naming scheme.
    #[error("{name} is invalid 'target_label' for {1} action", name = quote(.0))]
    TargetLabel(String, Action),
    /// The replacement's name breaks the naming scheme.
    #[error("{name} is invalid 'replacement' for {1} action", name = quote(.0))]
    Replacement(String, Action),
    /// The action has no use for a replacement.
    #[error("'replacement' can not be set for {0} action")]
    ReplacementSet(Action),
    /// The action knows two fields.
    #[error("{0} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlyLabels(Action),
    /// The action knows one field.
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(Action),
}

/// A checked relabel rule, ready to run.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) action: Action,
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: Arc<AnchoredRegex>,
    regex_text: Option<String>,
    pub(crate) modulus: u64,
    pub(crate) target_label: String,
    pub(crate) replacement: String,
    pub(crate) scheme: NameScheme,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let key = |rule: &Self| (rule.action, rule.modulus, rule.scheme);
        key(self) == key(other)
            && self.source_labels == other.source_labels
            && self.separator == other.separator
            && self.regex_text == other.regex_text
            && self.target_label == other.target_label
            && self.replacement == other.replacement
    }
}
impl Eq for Rule {}

impl Rule {
    /// Fills in the defaults and checks the whole.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(spec: RuleSpec, scheme: NameScheme) -> Result<Self, Error> {
        if let Some(bad) = spec.source_labels.iter().flatten().find(|name| name.is_empty()) {
            return Err(Error::SourceLabel(bad.clone()));
        }
        let action = match spec.action.as_deref() {
            None => Action::Replace,
            Some("") => return Err(Error::EmptyAction),
            Some(name) => Action::from_name(name).ok_or_else(|| Error::UnknownAction(name.to_owned()))?,
        };
        let has_source_labels = spec.source_labels.is_some();
        let rule = Self {
            action,
            source_labels: spec.source_labels.unwrap_or_default(),
            separator: spec.separator.unwrap_or_else(|| DEFAULT_SEPARATOR.into()),
            regex: Arc::new(AnchoredRegex::new_wrapped(spec.regex.as_deref().unwrap_or(DEFAULT_REGEX))?),
            regex_text: spec.regex,
            modulus: spec.modulus,
            target_label: spec.target_label.unwrap_or_default(),
            replacement: spec.replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.into()),
            scheme,
        };
        rule.validate(has_source_labels)?;
        Ok(rule)
    }

    /// The checks in Prometheus's order, as the first that fails gives the message.
    fn validate(&self, has_source_labels: bool) -> Result<(), Error> {
        use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
        let action = self.action;
        let compares = matches!(action, KeepEqual | DropEqual);
        let converts = compares || matches!(action, Lowercase | Uppercase);
        if action == HashMod && self.modulus == 0 {
            return Err(Error::ZeroModulus);
        }
        if (converts || matches!(action, Replace | HashMod)) && self.target_label.is_empty() {
            return Err(Error::NoTargetLabel(action));
        }
        let target_is_valid = match action {
            Replace if has_variable(&self.target_label) => self.is_valid_template(&self.target_label),
            Replace | KeepEqual | DropEqual | Lowercase | Uppercase => self.scheme.is_valid_label_name(&self.target_label),
            _ => true,
        };
        if !target_is_valid {
            return Err(Error::TargetLabel(self.target_label.clone(), action));
        }
        if converts && self.replacement != DEFAULT_REPLACEMENT {
            return Err(Error::ReplacementSet(action));
        }
        if action == LabelMap && !self.is_valid_template(&self.replacement) {
            return Err(Error::Replacement(self.replacement.clone(), action));
        }
        if action == HashMod && !self.scheme.is_valid_label_name(&self.target_label) {
            return Err(Error::TargetLabel(self.target_label.clone(), action));
        }
        let other_fields = self.modulus != 0 || self.separator != DEFAULT_SEPARATOR || self.replacement != DEFAULT_REPLACEMENT;
        // A regex that is written down counts as a field even if it is the default's text.
        if compares && (self.regex_text.is_some() || other_fields) {
            return Err(Error::OnlyLabels(action));
        }
        if matches!(action, LabelDrop | LabelKeep) && (has_source_labels || !self.target_label.is_empty() || other_fields) {
            return Err(Error::OnlyRegex(action));
        }
        Ok(())
    }

    fn is_valid_template(&self, template: &str) -> bool {
        match self.scheme {
            NameScheme::Utf8 => !template.is_empty(),
            NameScheme::Legacy => is_legacy_template(template),
        }
    }

    /// What it does.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The labels it looks at.
    pub fn source_labels(&self) -> &[String] {
        &self.source_labels
    }

    /// What stands between their values.
    pub fn separator(&self) -> &str {
        &self.separator
    }

    /// The regular expression, if one was given.
    pub fn regex(&self) -> Option<&str> {
        self.regex_text.as_deref()
    }

    /// For `hashmod`, else 0.
    pub fn modulus(&self) -> u64 {
        self.modulus
    }

    /// The label it sets or compares, or empty.
    pub fn target_label(&self) -> &str {
        &self.target_label
    }

    /// The template of the new value or name.
    pub fn replacement(&self) -> &str {
        &self.replacement
    }

    /// Which names it may write.
    pub fn scheme(&self) -> NameScheme {
        self.scheme
    }

    pub(crate) fn has_default_regex(&self) -> bool {
        self.regex_text.is_none()
    }
}

pub(crate) fn has_variable(template: &str) -> bool {
    template.contains('$')
}

/// `^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$`: word characters and variables, no digit first.
fn is_legacy_template(template: &str) -> bool {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut rest = template.as_bytes();
    if rest.first().is_none_or(u8::is_ascii_digit) {
        return false;
    }
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'$' {
            let braced = rest.first() == Some(&b'{');
            rest = &rest[usize::from(braced)..];
            let name_len = rest.iter().take_while(|b| is_word(b)).count();
            rest = &rest[name_len..];
            if name_len == 0 || braced && rest.first() != Some(&b'}') {
                return false;
            }
            rest = &rest[usize::from(braced)..];
        } else if !is_word(first) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut RuleSpec), scheme: NameScheme, want: &str) {
        let mut spec = RuleSpec::default();
        change(&mut spec);
        let got = Rule::new(spec, scheme).map_or_else(|e| e.to_string(), |_| String::new());
        assert_eq!(got, want);
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn messages() {
        let utf8 = NameScheme::Utf8;
        check(|s| s.action = text(""), utf8, "relabel action cannot be empty");
        check(|s| s.action = text("Nope"), utf8, r#"unknown relabel action "Nope""#);
        check(|s| s.action = text("KEEP"), utf8, "");
        check(|_| {}, utf8, "relabel configuration for replace action requires 'target_label' value");
        check(|s| s.action = text("hashmod"), utf8, "relabel configuration for hashmod requires non-zero modulus");
        check(
            |s| {
                s.action = text("uppercase");
                s.target_label = text("a");
                s.replacement = text("x");
            },
            utf8,
            "'replacement' can not be set for uppercase action",
        );
        check(
            |s| {
                s.action = text("keepequal");
                s.target_label = text("a");
                s.regex = text("(.*)");
            },
            utf8,
            "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
        );
        check(
            |s| {
                s.action = text("labeldrop");
                s.source_labels = Some(vec![]);
            },
            utf8,
            "labeldrop action requires only 'regex', and no other fields",
        );
        check(|s| s.source_labels = Some(vec![String::new()]), utf8, r#""" is not a valid label name"#);
        check(
            |s| {
                s.action = text("keep");
                s.regex = text("(a");
            },
            utf8,
            "error parsing regexp: missing closing ): `^(?s:(a)$`",
        );
        let legacy = NameScheme::Legacy;
        check(|s| s.target_label = text("a.b"), utf8, "");
        check(|s| s.target_label = text("a.b"), legacy, r#""a.b" is invalid 'target_label' for replace action"#);
        check(
            |s| {
                s.action = text("labelmap");
                s.replacement = text("a.$1");
            },
            legacy,
            r#""a.$1" is invalid 'replacement' for labelmap action"#,
        );
    }

    #[test]
    fn legacy_templates() {
        for (template, want) in [
            ("a", true),
            ("a1", true),
            ("1a", false),
            ("", false),
            ("$1", true),
            ("${1}2", true),
            ("$", false),
            ("$$1", false),
            ("a${b", false),
            ("a$}", false),
            ("a-b", false),
        ] {
            assert_eq!(is_legacy_template(template), want, "{template}");
        }
    }
}
