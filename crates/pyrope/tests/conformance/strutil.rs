//! `strutil/`: quoted texts, names made legal, links to the page.

use crate::table::{Score, rows, same};
use model::name::{sanitize_full_label_name, sanitize_label_name};
use promql::ast::Expr;
use promql::parser::{ParserOptions, parse};
use std::path::Path;

pub fn run(folder: &Path) -> Vec<Score> {
    vec![
        names(folder, "sanitize_label_name", sanitize_label_name),
        names(folder, "sanitize_full_label_name", sanitize_full_label_name),
        links(folder),
        unquoted(folder),
    ]
}

fn names(folder: &Path, part: &'static str, sanitize: fn(&str) -> String) -> Score {
    let mut score = Score::new(part);
    for row in rows(&folder.join(format!("{part}.json"))) {
        let name = row["in"].as_str().unwrap();
        score.case(name, || same("name", &sanitize(name).as_str(), &row["out"].as_str().unwrap()));
    }
    score
}

fn links(folder: &Path) -> Score {
    let mut score = Score::new("links");
    for row in rows(&folder.join("links.json")) {
        let expr = row["expr"].as_str().unwrap();
        score.case(expr, || {
            same("graph", &web::links::graph(expr).as_str(), &row["graph"].as_str().unwrap())?;
            same("table", &web::links::table(expr).as_str(), &row["table"].as_str().unwrap())
        });
    }
    score
}

fn unquoted(folder: &Path) -> Score {
    let mut score = Score::new("unquote");
    for row in rows(&folder.join("unquote.json")) {
        let literal = row["in"].as_str().unwrap();
        score.case(literal, || {
            let parsed = parse(literal, &ParserOptions::default());
            if !row["ok"].as_bool().unwrap() {
                return if matches!(parsed, Ok(Expr::String(_))) { Err("was accepted".into()) } else { Ok(()) };
            }
            let Ok(Expr::String(text)) = parsed else { return Err(format!("{parsed:?}")) };
            let got = text.no_utf8.as_deref().unwrap_or(text.value.as_bytes());
            match row["out"].as_str() {
                Some(want) => same("text", &got, &want.as_bytes()),
                None => {
                    let hex: String = got.iter().map(|byte| format!("{byte:02x}")).collect();
                    same("bytes", &hex.as_str(), &row["out"]["hex"].as_str().unwrap())
                }
            }
        });
    }
    score
}
