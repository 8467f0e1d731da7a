//! A second engine, for tests: the plainest evaluator of PromQL, written from Prometheus's documents and sources and not
//! from the engine's own code.
//!
//! Every expression is evaluated one step after the other; every window is cut out of its series anew; nothing is kept from
//! one step to the next. It shares with the engine only the parser, the model's types, and the arithmetic of histograms.
//!
//! An expression is evaluated within a [`Frame`]: the steps of the query, or of the subquery around it. What Prometheus
//! decides for all steps at once (series that would have the same labels, parameters out of range) is decided here too.

mod aggregate;
mod binary;
mod buckets;
mod duration;
mod eval;
mod function;
mod histograms;
mod info;
mod invariant;
mod notes;
mod number;
mod over_time;
mod range;
mod rate;
mod select;
mod store;
mod totals;

pub use number::Kahan;
pub use store::{Point, Store};

use model::{FloatHistogram, Labels};
use notes::Notes;
use promql::ast::{Expr, ValueType};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a query has no answer.
pub type Error = String;

/// A float or a histogram.
#[derive(Clone, Debug)]
pub enum Value {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// A sample of an instant vector.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: Labels,
    pub t: i64,
    pub value: Value,
    /// Its name goes at the end of the query (only with delayed name removal).
    pub drop_name: bool,
}

/// The samples of one step.
pub type Vector = Vec<Sample>;

/// Times at which an expression is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Frame {
    /// All times.
    pub fn times(self) -> Vec<i64> {
        let mut times = Vec::new();
        let mut t = self.start;
        while t <= self.end {
            times.push(t);
            t += self.step;
        }
        times
    }

    /// Only the first time.
    pub fn first(self) -> Self {
        Self { end: self.start, ..self }
    }

    /// Is there only one time, as in an instant query?
    pub fn is_single(self) -> bool {
        self.start == self.end
    }
}

/// Series in label order.
pub type Matrix = Vec<(Labels, Vec<(i64, Value)>)>;

/// What the query may be told besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub lookback: i64,
    pub default_step: i64,
    pub delayed_name_removal: bool,
    pub use_start_timestamps: bool,
    pub type_and_unit_labels: bool,
}

/// A query's value.
#[derive(Clone, Debug)]
pub enum Outcome {
    Scalar(f64),
    String(String),
    Vector(Vector),
    Matrix(Matrix),
}

/// A query's value and what is said about it: `text (position)`.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outcome: Result<Outcome, Error>,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// One query.
struct Naive<'s> {
    store: &'s Store,
    options: Options,
    /// The whole query's times.
    query: Frame,
    /// The step as duration expressions see it: none in an instant query.
    duration_step: i64,
    /// Where selectors stand of whose histograms only totals are read.
    totals: BTreeSet<usize>,
    notes: RefCell<Notes>,
}

/// The expression's value at `time`.
pub fn instant(store: &Store, options: Options, expr: &Expr, text: &str, time: i64) -> Answer {
    let frame = Frame { start: time, end: time, step: 1 };
    let naive = Naive { store, options, query: frame, duration_step: 0, totals: totals::selectors(expr), notes: RefCell::default() };
    let outcome = naive.check_durations(expr).and_then(|()| match expr.value_type() {
        ValueType::Scalar => Ok(Outcome::Scalar(naive.scalars(expr, frame)?[0])),
        ValueType::String => Ok(Outcome::String(eval::text_of(expr))),
        ValueType::Vector => {
            let steps = naive.vectors(expr, frame)?;
            Ok(Outcome::Vector(naive.without_names(steps)?.swap_remove(0)))
        }
        ValueType::Matrix => naive.raw_windows(expr, frame).map(Outcome::Matrix),
    });
    naive.answer(outcome, text)
}

/// The expression's values at all times of the frame.
pub fn range(store: &Store, options: Options, expr: &Expr, text: &str, frame: Frame) -> Answer {
    let naive =
        Naive { store, options, query: frame, duration_step: frame.step, totals: totals::selectors(expr), notes: RefCell::default() };
    let ranged = |outcome: &dyn Fn() -> Result<Outcome, Error>| naive.check_durations(expr).and_then(|()| outcome());
    let outcome = match expr.value_type() {
        ValueType::Scalar => ranged(&|| {
            let values = frame.times().into_iter().zip(naive.scalars(expr, frame)?.into_iter().map(Value::Float)).collect();
            Ok(Outcome::Matrix(vec![(Labels::empty(), values)]))
        }),
        ValueType::Vector => ranged(&|| {
            let steps = naive.vectors(expr, frame)?;
            let series = eval::series_of(&naive.without_names(steps)?);
            Ok(Outcome::Matrix(series.into_iter().map(|(labels, (_, points))| (labels, points)).collect()))
        }),
        other => Err(format!("invalid expression type {:?} for range query, must be Scalar or instant Vector", other.documented())),
    };
    naive.answer(outcome, text)
}

impl Naive<'_> {
    fn answer(self, outcome: Result<Outcome, Error>, text: &str) -> Answer {
        let (warnings, infos) = self.notes.into_inner().into_texts(text);
        Answer { outcome, warnings, infos }
    }

    /// Takes away the names that were to go at the end.
    fn without_names(&self, mut steps: Vec<Vector>) -> Result<Vec<Vector>, Error> {
        if self.options.delayed_name_removal {
            for sample in steps.iter_mut().flatten().filter(|sample| sample.drop_name) {
                sample.labels = eval::nameless(&sample.labels);
            }
            eval::check_unique(&steps)?;
        }
        Ok(steps)
    }

    fn warn(&self, text: String, at: usize) {
        self.notes.borrow_mut().warn(text, at);
    }

    fn info(&self, text: String, at: usize) {
        self.notes.borrow_mut().info(text, at);
    }
}
