//! `labels/`: matchers and regular expressions.

use crate::table::{Score, read, rows};
use model::regex::AnchoredRegex;
use model::{MatchOp, Matcher};
use std::path::Path;

pub fn run(folder: &Path) -> Vec<Score> {
    vec![regexes(folder), matchers(folder)]
}

fn regexes(folder: &Path) -> Score {
    let mut score = Score::new("regex_matches");
    let table = read(&folder.join("regex_matches.json"));
    let values: Vec<Option<&str>> = table["values"].as_array().unwrap().iter().map(|v| v.as_str()).collect();
    let list = table["cases"].as_array();
    for row in list.expect("a list of regexes") {
        let pattern = row["regex"].as_str().unwrap();
        score.case(pattern, || {
            let regex = AnchoredRegex::new(pattern).map_err(|e| e.to_string())?;
            let want: Vec<u64> = row["matches"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
            for (i, value) in values.iter().enumerate() {
                // Labels are UTF-8: bytes that are not cannot reach a matcher.
                let Some(value) = value else { continue };
                if regex.matches(value) != want.contains(&(i as u64)) {
                    return Err(format!("value {value:?}: got {}", regex.matches(value)));
                }
            }
            Ok(())
        });
    }
    score
}

fn matchers(folder: &Path) -> Score {
    let mut score = Score::new("matchers");
    for row in rows(&folder.join("matchers.json")) {
        let op = match row["op"].as_str().unwrap() {
            "=" => MatchOp::Equal,
            "!=" => MatchOp::NotEqual,
            "=~" => MatchOp::Regex,
            _ => MatchOp::NotRegex,
        };
        score.case(&row.to_string(), || {
            let matcher = Matcher::new(op, "a", row["pattern"].as_str().unwrap()).map_err(|e| e.to_string())?;
            let got = matcher.matches(row["value"].as_str().unwrap());
            if got == row["match"].as_bool().unwrap() { Ok(()) } else { Err(format!("got {got}")) }
        });
    }
    score
}
