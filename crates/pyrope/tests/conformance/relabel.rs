//! `relabel/`: rules applied to label sets, refused rules, target labels, rules as YAML.

use crate::table::{Score, pairs, rows, same};
use model::LabelsBuilder;
use relabel::{NameScheme, Rule, RuleSpec, process};
use serde_json::Value;
use std::path::Path;

pub fn run(folder: &Path) -> Vec<Score> {
    vec![apply(folder), validate(folder), target_labels(folder), roundtrip(folder)]
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// In this table a key that is empty takes the default too.
fn spec(config: &Value, empty_is_absent: bool) -> RuleSpec {
    let field = |name: &str| text(&config[name]).filter(|t| !(empty_is_absent && t.is_empty()));
    let names = config["source_labels"].as_array().map(|list| list.iter().filter_map(text).collect());
    RuleSpec {
        source_labels: names,
        separator: field("separator"),
        regex: field("regex"),
        modulus: config["modulus"].as_u64().unwrap_or(0),
        target_label: field("target_label"),
        replacement: field("replacement"),
        action: field("action"),
    }
}

fn apply(folder: &Path) -> Score {
    let mut score = Score::new("relabel");
    for row in rows(&folder.join("relabel.json")) {
        score.case(&row.to_string(), || {
            let configs = row["relabel_configs"].as_array().unwrap();
            let rules = configs
                .iter()
                .map(|c| Rule::new(spec(c, true), NameScheme::Utf8))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| e.to_string())?;
            let mut builder = LabelsBuilder::new();
            for (name, value) in pairs(&row["input"]) {
                builder.set(&name, &value);
            }
            let keep = process(&mut builder, &rules);
            same("keep", &keep, &row["keep"].as_bool().unwrap())?;
            if !keep {
                return Ok(());
            }
            let got: Vec<_> = builder.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let mut want = pairs(&row["output"]);
            want.sort();
            same("labels", &got, &want)
        });
    }
    score
}

fn validate(folder: &Path) -> Score {
    let mut score = Score::new("validate");
    for row in rows(&folder.join("validate.json")) {
        score.case(&row.to_string(), || {
            let config = &row["config"];
            let scheme = if config["name_validation_scheme"] == "legacy" { NameScheme::Legacy } else { NameScheme::Utf8 };
            let mut spec = spec(config, false);
            // Fields are taken literally: an absent action is an empty one.
            spec.action.get_or_insert_with(String::new);
            match (Rule::new(spec, scheme), row["ok"].as_bool().unwrap()) {
                (Ok(_), true) => Ok(()),
                (Err(error), false) => {
                    let fragment = row["contains"].as_str().unwrap_or("");
                    if error.to_string().contains(fragment) { Ok(()) } else { Err(format!("got {error}, want {fragment}")) }
                }
                (Ok(_), false) => Err("was accepted".into()),
                (Err(error), true) => Err(error.to_string()),
            }
        });
    }
    score
}

fn target_labels(folder: &Path) -> Score {
    let mut score = Score::new("target_label_legacy");
    for row in rows(&folder.join("target_label_legacy.json")) {
        score.case(&row.to_string(), || {
            let spec = RuleSpec { target_label: text(&row["target_label"]), source_labels: Some(vec!["a".into()]), ..RuleSpec::default() };
            same("valid", &Rule::new(spec, NameScheme::Legacy).is_ok(), &row["valid_legacy"].as_bool().unwrap())
        });
    }
    score
}

/// A rule is loaded as a part of a whole configuration, printed with it, and loaded again.
fn roundtrip(folder: &Path) -> Score {
    let mut score = Score::new("yaml_roundtrip");
    for row in rows(&folder.join("yaml_roundtrip.json")) {
        score.case(row["name"].as_str().unwrap(), || {
            let rule = row["yaml"].as_str().unwrap().replace('\n', "\n      ");
            let text = format!("scrape_configs:\n  - job_name: a\n    relabel_configs:\n    - {}\n", rule.trim_end());
            let load = |text: &str| config::parse(text, folder, |_| None).map_err(|e| e.to_string());
            let first = load(&text)?;
            let second = load(&first.to_yaml())?;
            same("rules", &first.scrape_configs[0].relabel_configs, &second.scrape_configs[0].relabel_configs)
        });
    }
    score
}
