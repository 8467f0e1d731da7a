//! What the runners share: tables of JSON and scores.

use serde_json::Value;
use std::path::Path;

/// How a part of a folder came out.
#[derive(Default)]
pub struct Score {
    pub part: &'static str,
    pub passed: usize,
    pub total: usize,
    pub failures: Vec<String>,
}

impl Score {
    pub fn new(part: &'static str) -> Self {
        Self { part, ..Self::default() }
    }

    /// Counts a case; `Err` says what went wrong. A panic counts as a failure of that case alone.
    pub fn case(&mut self, name: &str, run: impl FnOnce() -> Result<(), String>) {
        self.total += 1;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| Err("panicked".into()));
        match outcome {
            Ok(()) => self.passed += 1,
            Err(why) => self.failures.push(format!("{}: {name}: {why}", self.part)),
        }
    }
}

/// The rows of a table.
pub fn rows(file: &Path) -> Vec<Value> {
    match read(file) {
        Value::Array(rows) => rows,
        other => panic!("{}: a table expected, found {other}", file.display()),
    }
}

/// A whole file.
pub fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Pairs of an object of texts.
pub fn pairs(value: &Value) -> Vec<(String, String)> {
    let object = value.as_object().into_iter().flatten();
    object.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// `Ok` if both are equal, else both in a text.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}
