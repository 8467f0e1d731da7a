//! Running rules.

use crate::rule::has_variable;
use crate::{Action, Rule, case};
use md5::{Digest, Md5};
use model::LabelsBuilder;
use model::regex::expand;
use std::borrow::Cow;

/// Applies `rules` in order. False means: dropped, and `builder` is as the dropping rule found it.
pub fn process(builder: &mut LabelsBuilder, rules: &[Rule]) -> bool {
    rules.iter().all(|rule| apply(rule, builder))
}

fn apply(rule: &Rule, builder: &mut LabelsBuilder) -> bool {
    match rule.action {
        Action::LabelMap => {
            label_map(rule, builder);
            return true;
        }
        Action::LabelDrop => {
            builder.retain(|name, _| !rule.regex.matches(name));
            return true;
        }
        Action::LabelKeep => {
            builder.retain(|name, _| rule.regex.matches(name));
            return true;
        }
        Action::Replace
        | Action::Keep
        | Action::Drop
        | Action::KeepEqual
        | Action::DropEqual
        | Action::HashMod
        | Action::Lowercase
        | Action::Uppercase => {}
    }
    let value = source_value(rule, builder);
    let target = rule.target_label.as_str();
    let new = match rule.action {
        Action::Keep => return rule.regex.matches(&value),
        Action::Drop => return !rule.regex.matches(&value),
        Action::KeepEqual => return builder.get(target).unwrap_or("") == value,
        Action::DropEqual => return builder.get(target).unwrap_or("") != value,
        Action::Lowercase => case::to_lower(&value),
        Action::Uppercase => case::to_upper(&value),
        Action::HashMod => (last_half_of_md5(&value) % rule.modulus).to_string(),
        Action::Replace => {
            if let Some((target, new)) = replacement(rule, &value) {
                builder.set(&target, &new);
            }
            return true;
        }
        Action::LabelMap | Action::LabelDrop | Action::LabelKeep => unreachable!("handled above"),
    };
    builder.set(target, &new);
    true
}

/// The source labels' values, joined. Owned unless there is one label or none, because the builder
/// is written to while the value is in use.
fn source_value(rule: &Rule, builder: &LabelsBuilder) -> String {
    let mut value = String::new();
    for (i, name) in rule.source_labels.iter().enumerate() {
        if i > 0 {
            value.push_str(&rule.separator);
        }
        value.push_str(builder.get(name).unwrap_or(""));
    }
    value
}

/// Which label becomes what; `None` if nothing matches or the name would be invalid.
fn replacement<'a>(rule: &'a Rule, value: &'a str) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let (target, template) = (rule.target_label.as_str(), rule.replacement.as_str());
    let (target_varies, value_varies) = (has_variable(target), has_variable(template));
    // The commonest rules need no captures.
    if !target_varies && rule.has_default_regex() && template == "$1" {
        return Some((Cow::Borrowed(target), Cow::Borrowed(value)));
    }
    if !target_varies && !value_varies {
        return rule.regex.matches(value).then_some((Cow::Borrowed(target), Cow::Borrowed(template)));
    }
    let captures = rule.regex.captures(value)?;
    let target = if target_varies { Cow::Owned(expand(&rule.regex, target, &captures)) } else { Cow::Borrowed(target) };
    if !rule.scheme.is_valid_label_name(&target) {
        return None;
    }
    let new = if value_varies { Cow::Owned(expand(&rule.regex, template, &captures)) } else { Cow::Borrowed(template) };
    Some((target, new))
}

/// Copies: the old label stays, and names that are written do not take part themselves.
fn label_map(rule: &Rule, builder: &mut LabelsBuilder) {
    let copies: Vec<(String, String)> = builder
        .iter()
        .filter_map(|(name, value)| {
            let captures = rule.regex.captures(name)?;
            Some((expand(&rule.regex, &rule.replacement, &captures), value.to_owned()))
        })
        .collect();
    for (name, value) in &copies {
        builder.set(name, value);
    }
}

/// Only the last 8 bytes count, big endian, as in Prometheus.
fn last_half_of_md5(value: &str) -> u64 {
    let hash: [u8; 16] = Md5::digest(value.as_bytes()).into();
    hash[8..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{NameScheme, RuleSpec};
    use model::Labels;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn spec(action: &str, source: &[&str]) -> RuleSpec {
        let source_labels = (!source.is_empty()).then(|| source.iter().map(|s| (*s).to_owned()).collect());
        RuleSpec { action: some(action), source_labels, ..RuleSpec::default() }
    }

    #[track_caller]
    fn check(rule: RuleSpec, want: Option<&str>) {
        let rule = Rule::new(rule, NameScheme::Utf8).unwrap();
        let mut builder = LabelsBuilder::new();
        builder.set("a", "Foo").set("b", "bar").set("c", "bar");
        let kept = process(&mut builder, &[rule]);
        let got: Option<Labels> = kept.then(|| builder.build());
        assert_eq!(got.map(|l| l.to_string()), want.map(str::to_owned));
    }

    #[test]
    fn actions() {
        let same = Some(r#"{a="Foo", b="bar", c="bar"}"#);
        check(RuleSpec { regex: some("F.*"), ..spec("keep", &["a"]) }, same);
        check(RuleSpec { regex: some("F"), ..spec("keep", &["a"]) }, None);
        check(RuleSpec { regex: some("Foo;bar"), ..spec("drop", &["a", "b"]) }, None);
        check(RuleSpec { target_label: some("c"), ..spec("keepequal", &["b"]) }, same);
        check(RuleSpec { target_label: some("c"), ..spec("dropequal", &["b"]) }, None);
        check(RuleSpec { target_label: some("a"), ..spec("lowercase", &["a"]) }, Some(r#"{a="foo", b="bar", c="bar"}"#));
        check(RuleSpec { target_label: some("b"), ..spec("uppercase", &["b"]) }, Some(r#"{a="Foo", b="BAR", c="bar"}"#));
        check(RuleSpec { regex: some("a|b"), ..spec("labeldrop", &[]) }, Some(r#"{c="bar"}"#));
        check(RuleSpec { regex: some("a|b"), ..spec("labelkeep", &[]) }, Some(r#"{a="Foo", b="bar"}"#));
        check(
            RuleSpec { regex: some("[ab]()"), replacement: some("x${1}y"), ..spec("labelmap", &[]) },
            Some(r#"{a="Foo", b="bar", c="bar", xy="bar"}"#),
        );
    }

    #[test]
    fn hashmod_is_the_last_half_of_md5() {
        // md5("Foo") = 1356c67d7ad1638d816bfb822dd2c25d
        let want = (0x816b_fb82_2dd2_c25d_u64 % 1000).to_string();
        let rule = RuleSpec { modulus: 1000, target_label: some("d"), ..spec("hashmod", &["a"]) };
        check(rule, Some(&format!(r#"{{a="Foo", b="bar", c="bar", d="{want}"}}"#)));
    }

    #[test]
    fn replace() {
        let rule = |regex: &str, target: &str, new: &str| RuleSpec {
            regex: some(regex),
            target_label: some(target),
            replacement: some(new),
            ..spec("replace", &["a"])
        };
        let same = Some(r#"{a="Foo", b="bar", c="bar"}"#);
        check(rule("F(.*)", "b", "<$1>"), Some(r#"{a="Foo", b="<oo>", c="bar"}"#));
        check(rule("G(.*)", "b", "<$1>"), same);
        check(rule("(?P<x>F).*", "${x}", "1"), Some(r#"{F="1", a="Foo", b="bar", c="bar"}"#));
        check(rule(".*", "b", ""), Some(r#"{a="Foo", c="bar"}"#));
        check(rule("(G)?.*", "$1", "1"), same);
        check(
            RuleSpec { target_label: some("d"), replacement: some("x"), ..spec("replace", &["none"]) },
            Some(r#"{a="Foo", b="bar", c="bar", d="x"}"#),
        );
        check(RuleSpec { target_label: some("b"), ..spec("replace", &["none"]) }, Some(r#"{a="Foo", c="bar"}"#));
    }
}
