//! The engine: an expression, a store and a time in; a value out.

pub mod api;

pub use api::{Control, EngineOptions, MatrixSeries, QueryError, QueryResult, QueryStats, Value, VectorSample};

use crate::ast::Expr;
use model::{Millis, Timestamp};
use storage::Queryable;

/// Evaluates queries. Shared by all threads that ask.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine with these options.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The expression's value at `time`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(&self, store: &dyn Queryable, expr: &Expr, time: Timestamp, control: &Control) -> Result<QueryResult, QueryError> {
        let _ = (store, expr, time, control);
        Err(QueryError::Execution("not evaluated".into()))
    }

    /// The expression's values at `start`, `start + step`, … up to `end`.
    ///
    /// # Errors
    /// See [`QueryError`]; an expression that is neither a scalar nor an instant vector is one.
    pub fn range(&self, store: &dyn Queryable, expr: &Expr, start: Timestamp, end: Timestamp, step: Millis, control: &Control) -> Result<QueryResult, QueryError> {
        let _ = (store, expr, start, end, step, control);
        Err(QueryError::Execution("not evaluated".into()))
    }
}
