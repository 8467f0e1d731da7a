//! Rule files: their shape. Expressions and templates are only handed on, since their languages live elsewhere.
//!
//! Unlike the main file, Prometheus reads these with a library that reports every fault, so [`Error`] holds a list.

use std::fmt;
use std::path::{Path, PathBuf};

use model::Millis;
use model::name::{is_legacy_label_name, is_legacy_metric_name, quote};
use yaml::Node;

use crate::decode;
use crate::load::matching_files;
use crate::schema::{Table, Type, anything, field};
use crate::types::ValidationScheme;
use crate::value::{Record, Value};
use Type::{Duration, Int, List, Map, Str};

static FILE: Table = Table {
    go: "rulefmt.RuleGroups",
    plain: "rulefmt.RuleGroups",
    fields: &[&[field("groups", List(&Type::Record(&GROUP)))]],
    overrides: &[],
    check: anything,
};

static GROUP: Table = Table {
    go: "rulefmt.RuleGroup",
    plain: "rulefmt.RuleGroup",
    fields: &[&[
        field("name", Str),
        field("interval", Duration),
        field("query_offset", Duration),
        field("limit", Int),
        field("rules", List(&Type::Record(&RULE))),
        field("labels", Map(&Str)),
    ]],
    overrides: &[],
    check: anything,
};

static RULE: Table = Table {
    go: "rulefmt.Rule",
    plain: "rulefmt.Rule",
    fields: &[&[
        field("record", Str),
        field("alert", Str),
        field("expr", Str),
        field("for", Duration),
        field("keep_firing_for", Duration),
        field("labels", Map(&Str)),
        field("annotations", Map(&Str)),
    ]],
    overrides: &[],
    check: anything,
};

/// The rules of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFile {
    /// Groups, in the order of the file; their names differ.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleGroup {
    /// The name, unique in the file.
    pub name: String,
    /// Where the group starts, from 1.
    pub line: usize,
    /// Time between two evaluations; `None` for the global one.
    pub interval: Option<Millis>,
    /// How far into the past the rules are evaluated; `None` for the global offset.
    pub query_offset: Option<Millis>,
    /// How many alerts or series a rule may give; 0 for no limit.
    pub limit: i64,
    /// Labels of everything that the rules give, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is.
    pub kind: RuleKind,
    /// The series that is recorded, or the alert's name.
    pub name: String,
    /// The PromQL expression, never empty.
    pub expr: String,
    /// Line of the expression, from 1.
    pub line: usize,
    /// Column of the expression, from 1.
    pub column: usize,
    /// Labels to add, sorted by name; templates in an alerting rule.
    pub labels: Vec<(String, String)>,
}

/// What a rule does with the result of its expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Stores it as a series.
    Recording,
    /// Makes alerts of it.
    Alerting {
        /// How long a series must be there before its alert fires.
        hold: Millis,
        /// How long an alert fires on when its series is gone.
        keep_firing: Millis,
        /// Templates of texts for people, sorted by name.
        annotations: Vec<(String, String)>,
    },
}

/// Everything that is wrong with a file, a line each; the words are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub Vec<String>);

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Error {}

/// The files that one of the `rule_files` names, sorted; none is no fault.
///
/// # Errors
/// When the pattern itself is broken.
pub fn expand(pattern: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = pattern.to_string_lossy();
    let open_set = text.rfind('[').is_some_and(|at| !text[at..].contains(']'));
    if open_set {
        return Err(Error(vec![format!("error retrieving rule files for {text}: syntax error in pattern")]));
    }
    Ok(matching_files(pattern))
}

/// Reads a rule file in which any UTF-8 is a name.
///
/// # Errors
/// See [`Error`].
pub fn parse(text: &str) -> Result<RuleFile, Error> {
    parse_with(text, ValidationScheme::Utf8)
}

/// Reads a rule file whose names obey `scheme`.
///
/// # Errors
/// See [`Error`].
pub fn parse_with(text: &str, scheme: ValidationScheme) -> Result<RuleFile, Error> {
    let file = decode::decode(text, &FILE).map_err(|message| Error(vec![message]))?;
    let (Some(file), Ok(Some(root))) = (file, yaml::parse(text)) else { return Ok(RuleFile::default()) };
    let mut checker = Checker { scheme, faults: Vec::new() };
    let mut groups: Vec<RuleGroup> = Vec::new();
    let group_nodes = child(&root, "groups").and_then(Node::items).unwrap_or_default();
    for (record, node) in file.list("groups").iter().zip(group_nodes) {
        let Value::Record(record) = record else {
            checker.faults.push(format!("{}:{}: Groupname must not be empty", node.line, node.column));
            continue;
        };
        let name = record.str("name");
        let place = format!("{}:{}", node.line, node.column);
        if name.is_empty() {
            checker.faults.push(format!("{place}: Groupname must not be empty"));
        }
        if groups.iter().any(|group| group.name == name) {
            checker.faults.push(format!("{place}: groupname: \"{name}\" is repeated in the same file"));
        }
        checker.labels(record, &|message| message);
        let rules = checker.rules(record, node);
        groups.push(RuleGroup {
            name: name.to_owned(),
            line: node.line,
            interval: Some(record.duration("interval")).filter(|interval| interval.0 != 0),
            query_offset: record.has("query_offset").then(|| record.duration("query_offset")),
            limit: record.int("limit"),
            labels: pairs(record, "labels"),
            rules,
        });
    }
    if checker.faults.is_empty() { Ok(RuleFile { groups }) } else { Err(Error(checker.faults)) }
}

struct Checker {
    scheme: ValidationScheme,
    faults: Vec<String>,
}

impl Checker {
    fn rules(&mut self, group: &Record, group_node: &Node) -> Vec<Rule> {
        let nodes = child(group_node, "rules").and_then(Node::items).unwrap_or_default();
        let mut rules = Vec::with_capacity(nodes.len());
        for (at, (record, node)) in group.list("rules").iter().zip(nodes).enumerate() {
            let empty = Record::new(&RULE, node.line);
            let record = if let Value::Record(record) = record { record } else { &empty };
            self.rule(group.str("name"), at + 1, record, node);
            let expr = child(node, "expr").unwrap_or(node);
            rules.push(Rule {
                kind: kind(record),
                name: rule_name(record).to_owned(),
                expr: record.str("expr").to_owned(),
                line: expr.line,
                column: expr.column,
                labels: pairs(record, "labels"),
            });
        }
        rules
    }

    /// The checks of one rule in Prometheus's order.
    fn rule(&mut self, group: &str, number: usize, rule: &Record, node: &Node) {
        let about = format!("group {}, rule {number}, {}: ", quote(group), quote(rule_name(rule)));
        let (record, alert, expr) = (rule.str("record"), rule.str("alert"), rule.str("expr"));
        let at = |field: &str| match child(node, field) {
            Some(node) => format!("{}:{}: ", node.line, node.column),
            // Go's zero node.
            None => "0:0: ".to_owned(),
        };
        let both = format!("{}{}{about}", at("record"), at("alert"));
        if !record.is_empty() && !alert.is_empty() {
            self.faults.push(format!("{both}only one of 'record' and 'alert' must be set"));
        }
        if record.is_empty() && alert.is_empty() {
            self.faults.push(format!("{both}one of 'record' or 'alert' must be set"));
        }
        if expr.is_empty() {
            self.faults.push(format!("{}{about}field 'expr' must be set in rule", at("expr")));
        }
        if !record.is_empty() {
            for (field, present) in [
                ("annotations", !rule.map("annotations").is_empty()),
                ("for", rule.duration("for").0 != 0),
                ("keep_firing_for", rule.duration("keep_firing_for").0 != 0),
            ] {
                if present {
                    self.faults.push(format!("{}{about}invalid field '{field}' in recording rule", at("record")));
                }
            }
            let valid = self.scheme == ValidationScheme::Utf8 || is_legacy_metric_name(record);
            if !valid {
                self.faults.push(format!("{}{about}invalid recording rule name: {record}", at("record")));
            }
            if record.contains(['{', '}']) {
                let place = at("record");
                self.faults.push(format!("{place}{about}braces present in the recording rule name; should it be in expr?: {record}"));
            }
        }
        self.labels(rule, &|message| format!("{about}{message}"));
        for (name, _) in rule.map("annotations") {
            if !self.is_label_name(name) {
                self.faults.push(format!("{about}invalid annotation name: {name}"));
            }
        }
    }

    fn labels(&mut self, section: &Record, wrap: &dyn Fn(String) -> String) {
        for (name, _) in section.map("labels") {
            if !self.is_label_name(name) || name == model::labels::METRIC_NAME {
                self.faults.push(wrap(format!("invalid label name: {name}")));
            }
        }
    }

    fn is_label_name(&self, name: &str) -> bool {
        match self.scheme {
            ValidationScheme::Utf8 => !name.is_empty(),
            ValidationScheme::Legacy => is_legacy_label_name(name),
        }
    }
}

fn rule_name(rule: &Record) -> &str {
    match rule.str("alert") {
        "" => rule.str("record"),
        alert => alert,
    }
}

fn kind(rule: &Record) -> RuleKind {
    if rule.str("alert").is_empty() {
        return RuleKind::Recording;
    }
    RuleKind::Alerting {
        hold: rule.duration("for"),
        keep_firing: rule.duration("keep_firing_for"),
        annotations: pairs(rule, "annotations"),
    }
}

fn pairs(record: &Record, name: &str) -> Vec<(String, String)> {
    record.map(name).iter().map(|(name, value)| (name.clone(), value.as_str().to_owned())).collect()
}

/// The value of a key, its own or merged in.
fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let entries = node.entries()?;
    let own = entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| &**value);
    own.or_else(|| {
        let merged = entries.iter().filter(|(name, _)| name.is_merge());
        merged
            .flat_map(|(_, value)| value.items().map_or_else(|| vec![&**value], |items| items.iter().map(|item| &**item).collect()))
            .find_map(|source| child(source, key))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_gives_its_expressions_with_their_lines() {
        let text = "groups:\n- name: g\n  interval: 30s\n  rules:\n  - record: a:b\n    expr: sum(up)\n  - alert: Down\n    expr: |\n      up == 0\n    for: 1m\n    labels: {severity: page}\n    annotations: {summary: '{{ $value }}'}\n";
        let file = parse(text).unwrap();
        let group = &file.groups[0];
        assert_eq!((group.name.as_str(), group.line, group.interval), ("g", 2, Some(Millis(30_000))));
        assert_eq!((group.rules[0].name.as_str(), group.rules[0].line, group.rules[0].column), ("a:b", 6, 11));
        assert_eq!(group.rules[1].expr, "up == 0\n");
        assert!(matches!(&group.rules[1].kind, RuleKind::Alerting { hold: Millis(60_000), .. }));
        assert_eq!(parse("").unwrap(), RuleFile::default());
    }

    #[track_caller]
    fn check(rule: &str, want: &str) {
        let error = parse(&format!("groups:\n- name: g\n  rules:\n  - {rule}\n")).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn faults_have_the_words_of_prometheus() {
        check("{record: a, alert: b, expr: x}", "4:14: 4:24: group \"g\", rule 1, \"b\": only one of 'record' and 'alert' must be set");
        check("{expr: x}", "one of 'record' or 'alert' must be set");
        check("{record: a}", "field 'expr' must be set in rule");
        check("{record: a, expr: x, for: 1m}", "invalid field 'for' in recording rule");
        check("{record: 'a{}', expr: x}", "braces present in the recording rule name; should it be in expr?: a{}");
        check("{record: a, expr: x, labels: {__name__: y}}", "invalid label name: __name__");
        check("{record: a, expr: x, nope: y}", "line 4: field nope not found in type rulefmt.Rule");
        check("{record: a, expr: x, for: -1h}", "not a valid duration string: \"-1h\"");
    }

    #[test]
    fn names_of_groups_differ() {
        let error = parse("groups:\n- name: g\n  rules: []\n- name: g\n  rules: []\n").unwrap_err();
        assert_eq!(error.to_string(), "4:3: groupname: \"g\" is repeated in the same file");
    }

    #[test]
    fn legacy_names() {
        let text = "groups:\n- name: g\n  rules:\n  - {record: a.b, expr: x, labels: {c-d: e}}\n";
        assert!(parse(text).is_ok());
        let error = parse_with(text, ValidationScheme::Legacy).unwrap_err().to_string();
        assert!(error.contains("invalid recording rule name: a.b") && error.contains("invalid label name: c-d"), "{error}");
    }
}
