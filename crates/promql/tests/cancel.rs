//! Whoever waits for a query reaches the store through it.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Matcher, Timestamp};
use promql::engine::{Control, Engine, EngineOptions, QueryError};
use promql::parser::{ParserOptions, parse};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{Interval, Names, Queryable, SelectError, SelectHints, Selection};

/// A store that never finds anything, and looks for it as long as somebody waits.
struct Endless {
    /// Set when the selection has begun.
    client_goes: Option<Arc<AtomicBool>>,
}

impl Queryable for Endless {
    fn select(&self, _: Interval, _: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        assert!(hints.cancel.check().is_ok(), "somebody waits at first");
        if let Some(flag) = &self.client_goes {
            flag.store(true, Ordering::Relaxed);
        }
        let checks = hints.cancel.checks();
        loop {
            checks.step()?;
        }
    }

    fn label_names(&self, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for names")
    }

    fn label_values(&self, _: &str, _: Interval, _: &[Vec<Matcher>], _: &SelectHints) -> Result<Names, SelectError> {
        unreachable!("queries do not ask for values")
    }
}

fn run(store: &Endless, timeout: Duration, control: &Control) -> QueryError {
    let engine = Engine::new(EngineOptions { threads: 1, timeout, ..EngineOptions::default() });
    let expr = parse("sum(rate(a[5m]))", &ParserOptions::default()).unwrap();
    engine.instant(store, &expr, Timestamp(0), control).unwrap_err()
}

#[test]
fn a_client_that_goes_ends_the_selection() {
    let control = Control::default();
    let store = Endless { client_goes: Some(control.cancel.clone()) };
    let error = run(&store, Duration::from_secs(3600), &control);
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");
}

#[test]
fn so_does_the_end_of_its_time() {
    let error = run(&Endless { client_goes: None }, Duration::from_millis(200), &Control::default());
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}
