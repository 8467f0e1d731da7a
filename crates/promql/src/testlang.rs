//! Prometheus's test language for queries: `load` series, `eval` queries, expect values.
//!
//! A script runs against a store in memory. Each `eval` is one case; an instant one is also run
//! with `@` added at other times and as a range query, and all runs have to agree.

mod expect;
mod load;
mod store;

pub use store::{Loaded, LoadedValue, MemoryStore, ScriptStore};

use crate::ast::{At, Expr, VectorSelector};
use crate::engine::{Control, Engine, EngineOptions, QueryError, QueryResult, Value};
use crate::parser::{ParserOptions, parse};
use expect::{Block, Outcome};
use model::{Millis, Timestamp};
use std::sync::Arc;

/// One case's name, `line N: eval …`, and what was wrong with it.
pub type CaseResult = (String, Result<(), String>);

/// Runs a script; gives a result for each `eval` in it, and one for each line that is no command.
pub fn run_script(text: &str) -> Vec<CaseResult> {
    run_script_with(text, script_options())
}

/// The engine that Prometheus's own scripts expect.
pub fn script_options() -> EngineOptions {
    EngineOptions {
        max_samples: 10_000,
        timeout: std::time::Duration::from_secs(100),
        delayed_name_removal: true,
        experimental_functions: true,
        use_start_timestamps: true,
        ..EngineOptions::default()
    }
}

/// Runs a script on an engine of one's own.
pub fn run_script_with(text: &str, options: EngineOptions) -> Vec<CaseResult> {
    run_script_on(text, options, MemoryStore::default)
}

/// Runs a script on an engine and stores of one's own; `clear` takes an empty one.
pub fn run_script_on<S: ScriptStore>(text: &str, options: EngineOptions, empty: impl Fn() -> S) -> Vec<CaseResult> {
    let mut script = Script { engine: Engine::new(options), store: empty() };
    let lines: Vec<&str> = text.split('\n').map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let mut results = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let begin = at;
        at += 1;
        if line.is_empty() {
            continue;
        }
        let name = format!("line {}: {line}", begin + 1);
        let command = line.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        if command == "clear" {
            script.store = empty();
            continue;
        }
        let eval = command.starts_with("eval");
        while at < lines.len() && !lines[at].is_empty() {
            at += 1;
            // A scalar ends its block even without an empty line.
            if eval && expect::number(lines[at - 1]).is_some() {
                break;
            }
        }
        let block = &lines[begin + 1..at];
        if eval {
            results.push((name, script.eval(line, block)));
        } else if command.starts_with("load") {
            if let Err(error) = script.load(line, block) {
                results.push((name, Err(error)));
            }
        } else {
            results.push((name, Err("no such command".into())));
        }
    }
    // A load that could not be read fails the cases that need it, and is no case itself.
    results.retain(|(name, _)| !name.contains(": load"));
    results
}

struct Script<S> {
    engine: Engine,
    store: S,
}

/// An `eval` line.
struct Evaluation<'a> {
    flavour: &'a str,
    query: &'a str,
    /// Start, end, step; an instant has none.
    range: Option<(i64, i64, i64)>,
    time: i64,
}

impl<S: ScriptStore> Script<S> {
    fn load(&mut self, line: &str, block: &[&str]) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let custom = match words.next() {
            Some("load") => false,
            Some("load_with_nhcb") => true,
            _ => return Err("no such command".into()),
        };
        let step = duration(words.next().unwrap_or(""))?;
        load::load(&mut self.store, block, step, custom)
    }

    fn eval(&self, line: &str, block: &[&str]) -> Result<(), String> {
        let evaluation = Evaluation::read(line)?;
        let block = Block::read(evaluation.flavour, block)?;
        if let Some((start, end, step)) = evaluation.range {
            let outcome = self.range(evaluation.query, start, end, step);
            block.check_range(&outcome, start, step)?;
            return Ok(());
        }
        let time = evaluation.time;
        self.instant_and_range(evaluation.query, time, time, &block)?;
        let Ok(mut expr) = parse(evaluation.query, &self.parser_options()) else { return Ok(()) };
        if !may_be_fixed(&expr) {
            return Ok(());
        }
        fix(&mut expr, Timestamp(time));
        let printed = expr.to_string();
        let times = if time == 0 { vec![-1000, 0, 1000] } else { vec![-10 * time, 0, time / 5, time, 10 * time] };
        for at in times {
            self.instant_and_range(&printed, at, time, &block).map_err(|e| format!("{printed} at {at} ms: {e}"))?;
        }
        Ok(())
    }

    fn instant_and_range(&self, query: &str, at: i64, _written: i64, block: &Block) -> Result<(), String> {
        let time = block.evaluation_time().unwrap_or(at);
        let outcome = self.instant(query, time);
        block.check_instant(&outcome, time)?;
        let bound = ["start()", "end()", "range()", "step()"].iter().any(|f| query.contains(f));
        if outcome.is_err() || block.only_instant() || bound {
            return Ok(());
        }
        let outcome = self.range(query, time - 60_000, time + 60_000, 60_000);
        block.check_middle(&outcome, time).map_err(|e| format!("as a range query: {e}"))
    }

    fn parser_options(&self) -> ParserOptions {
        ParserOptions { experimental_functions: self.engine.options().experimental_functions, ..ParserOptions::all() }
    }

    fn instant(&self, query: &str, time: i64) -> Outcome {
        let expr = parse(query, &self.parser_options()).map_err(|e| e.to_string())?;
        text_error(self.engine.instant(&self.store, &expr, Timestamp(time), &control(query)))
    }

    fn range(&self, query: &str, start: i64, end: i64, step: i64) -> Outcome {
        let expr = parse(query, &self.parser_options()).map_err(|e| e.to_string())?;
        let result = self.engine.range(&self.store, &expr, Timestamp(start), Timestamp(end), Millis(step), &control(query));
        let result = text_error(result)?;
        if let Value::Matrix(series) = &result.value
            && !series.is_sorted_by(|a, b| a.labels <= b.labels)
        {
            return Err("the matrix is not sorted by labels".into());
        }
        Ok(result)
    }
}

fn control(query: &str) -> Control {
    Control { text: Some(Arc::from(query)), ..Control::default() }
}

fn text_error(result: Result<QueryResult, QueryError>) -> Outcome {
    result.map_err(|e| e.to_string())
}

impl<'a> Evaluation<'a> {
    fn read(line: &'a str) -> Result<Self, String> {
        let (flavour, rest) = line.split_once(char::is_whitespace).ok_or("an eval without a query")?;
        let (kind, rest) = rest.trim_start().split_once(char::is_whitespace).ok_or("an eval without a kind")?;
        let rest = rest.trim_start();
        match kind {
            "instant" => {
                let rest = rest.strip_prefix("at").ok_or("an instant without `at`")?.trim_start();
                let (time, query) = rest.split_once(char::is_whitespace).ok_or("an instant without a query")?;
                Ok(Self { flavour, query: query.trim(), range: None, time: duration(time)? })
            }
            "range" => {
                let mut words = rest.split_whitespace();
                let mut value = |word: &str| -> Result<i64, String> {
                    if words.next() != Some(word) {
                        return Err(format!("a range without `{word}`"));
                    }
                    duration(words.next().unwrap_or(""))
                };
                let range = (value("from")?, value("to")?, value("step")?);
                let mut query = rest;
                for _ in 0..6 {
                    query = query.split_once(char::is_whitespace).ok_or("a range without a query")?.1.trim_start();
                }
                Ok(Self { flavour, query: query.trim(), range: Some(range), time: range.1 })
            }
            other => Err(format!("unknown eval {other}")),
        }
    }
}

pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    model::duration::parse(text).map(|d| sign * d.0).map_err(|e| e.to_string())
}

/// Does nothing in it look at the evaluation time but selectors?
fn may_be_fixed(expr: &Expr) -> bool {
    const LOOKERS: [&str; 15] = [
        "end",
        "range",
        "start",
        "step",
        "days_in_month",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "hour",
        "minute",
        "month",
        "year",
        "predict_linear",
        "time",
        "timestamp",
    ];
    match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => true,
        Expr::Subquery(e) => may_be_fixed(&e.expr),
        Expr::Call(e) => !LOOKERS.contains(&e.function.name) && e.args.iter().all(may_be_fixed),
        Expr::Aggregate(e) => may_be_fixed(&e.expr) && e.parameter.as_ref().is_none_or(may_be_fixed),
        Expr::Binary(e) => may_be_fixed(&e.left) && may_be_fixed(&e.right),
        Expr::Unary(e) => may_be_fixed(&e.expr),
        Expr::Paren(e) => may_be_fixed(&e.expr),
    }
}

/// Gives every selector and subquery without `@` this time.
fn fix(expr: &mut Expr, time: Timestamp) {
    let selector = |s: &mut VectorSelector| s.at = s.at.or(Some(At::Time(time)));
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Vector(e) => selector(e),
        Expr::Matrix(e) => selector(&mut e.vector),
        // What is inside stays free: it is evaluated at the subquery's own steps.
        Expr::Subquery(e) => e.at = e.at.or(Some(At::Time(time))),
        Expr::Call(e) => e.args.iter_mut().for_each(|a| fix(a, time)),
        Expr::Aggregate(e) => {
            fix(&mut e.expr, time);
            if let Some(parameter) = &mut e.parameter {
                fix(parameter, time);
            }
        }
        Expr::Binary(e) => {
            fix(&mut e.left, time);
            fix(&mut e.right, time);
        }
        Expr::Unary(e) => fix(&mut e.expr, time),
        Expr::Paren(e) => fix(&mut e.expr, time),
    }
}
