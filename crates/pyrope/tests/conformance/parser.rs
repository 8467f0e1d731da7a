//! `parser/`: expressions, series notation, printer, prettier.

use crate::table::{Score, pairs, rows, same};
use promql::ast::Expr;
use promql::parser::{ParserOptions, SequenceValue, parse, parse_series_description};
use std::path::Path;

const OPTIONS: ParserOptions = ParserOptions::all();

pub fn run(folder: &Path) -> Vec<Score> {
    let mut scores = expressions(folder);
    scores.extend([series(folder), printer(folder), prettier(folder)]);
    scores
}

fn expressions(folder: &Path) -> Vec<Score> {
    let (mut agrees, mut texts) = (Score::new("expressions"), Score::new("texts of errors"));
    for row in rows(&folder.join("expressions.json")) {
        let bytes = input_bytes(&row["input"]);
        // What is no UTF-8 reaches the parser with replacement characters, from where on its positions are others.
        let input = &*String::from_utf8_lossy(&bytes);
        let want_ok = row["ok"].as_bool().unwrap();
        agrees.case(input, || match (parse(input, &OPTIONS), want_ok) {
            (Ok(expr), true) => same("kind", &kind(&expr), &row["kind"].as_str().unwrap()),
            (Err(_), false) => Ok(()),
            (Ok(_), false) => Err("was accepted".into()),
            (Err(error), true) => Err(error.to_string()),
        });
        if want_ok {
            continue;
        }
        texts.case(input, || {
            let error = parse(input, &OPTIONS).err().ok_or("was accepted")?;
            let want = &row["errors"][0];
            let at = |name: &str| usize::try_from(want[name].as_u64().unwrap()).unwrap();
            same("message", &error.message.as_str(), &want["message"].as_str().unwrap())?;
            same("span", &(error.span.start, error.span.end.min(bytes.len())), &(at("start"), at("end")))
        });
    }
    vec![agrees, texts]
}

/// A text, or `{"hex":…}`.
fn input_bytes(input: &serde_json::Value) -> Vec<u8> {
    match input["hex"].as_str() {
        Some(hex) => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect(),
        None => input.as_str().unwrap().as_bytes().to_vec(),
    }
}

fn kind(expr: &Expr) -> &'static str {
    match expr {
        Expr::Number(_) => "NumberLiteral",
        Expr::String(_) => "StringLiteral",
        Expr::Vector(_) => "VectorSelector",
        Expr::Matrix(_) => "MatrixSelector",
        Expr::Subquery(_) => "SubqueryExpr",
        Expr::Call(_) => "Call",
        Expr::Aggregate(_) => "AggregateExpr",
        Expr::Binary(_) => "BinaryExpr",
        Expr::Unary(_) => "UnaryExpr",
        Expr::Paren(_) => "ParenExpr",
    }
}

fn series(folder: &Path) -> Score {
    let mut score = Score::new("series_descriptions");
    for row in rows(&folder.join("series_descriptions.json")) {
        let input = row["input"].as_str().unwrap();
        score.case(input, || match (parse_series_description(input), row["ok"].as_bool().unwrap()) {
            (Err(_), false) => Ok(()),
            (Ok(_), false) => Err("was accepted".into()),
            (Err(error), true) => Err(error.to_string()),
            (Ok((labels, values)), true) => {
                let got: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                let mut want = pairs(&row["labels"]);
                want.sort();
                same("labels", &got, &want)?;
                let got: Vec<String> = values
                    .iter()
                    .map(|v| match v {
                        SequenceValue::Omitted => "_".into(),
                        SequenceValue::Float(v) => format!("{v}"),
                        SequenceValue::Histogram { .. } => "histogram".into(),
                    })
                    .collect();
                let want = row["values"].as_array().unwrap().iter();
                let want: Vec<String> = want.map(|v| v.as_f64().map_or_else(|| special(v.as_str().unwrap()), |v| format!("{v}"))).collect();
                same("values", &got, &want)
            }
        });
    }
    score
}

fn special(text: &str) -> String {
    match text {
        "Inf" => "inf".into(),
        "-Inf" => "-inf".into(),
        other => other.into(),
    }
}

fn printer(folder: &Path) -> Score {
    let mut score = Score::new("printer");
    for row in rows(&folder.join("printer.json")) {
        let input = row["in"].as_str().unwrap();
        score.case(input, || {
            let printed = parse(input, &OPTIONS).map_err(|e| e.to_string())?.to_string();
            same("printed", &printed.as_str(), &row["out"].as_str().unwrap())
        });
    }
    score
}

fn prettier(folder: &Path) -> Score {
    let mut score = Score::new("prettier");
    for row in rows(&folder.join("prettier.json")) {
        let input = row["in"].as_str().unwrap();
        score.case(input, || {
            let expr = parse(input, &OPTIONS).map_err(|e| e.to_string())?;
            let width = usize::try_from(row["max_line"].as_u64().unwrap()).unwrap();
            same("pretty", &promql::prettify(&expr, width).as_str(), &row["out"].as_str().unwrap())
        });
    }
    score
}
