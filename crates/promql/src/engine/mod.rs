//! The engine: an expression, a store and a time in; a value out.
//!
//! All steps of a query are evaluated together, series by series: each series is decoded once
//! into a column, functions slide over it, and what comes out is a column of step results.
//! Nothing is evaluated step by step.
//!
//! # Invariants
//! - The bits of an answer do not depend on the number of threads: values are added up in series order.
//! - What is held is charged to the query; past `max_samples` it fails instead of growing.

mod aggregate;
mod ahead;
mod annotations;
pub mod api;
mod binary;
mod bulk;
mod by_labels;
mod context;
mod crew;
mod date;
mod eval;
mod exact;
mod extended;
mod group;
mod histogram;
mod info;
mod kahan;
mod memory;
mod mixed;
mod native;
mod pace;
mod profile;
mod relabel;
mod select;
mod shared;
mod source;
mod tally;
mod vector;
mod window;

pub use api::{Control, EngineOptions, MatrixSeries, QueryError, QueryResult, QueryStats, StepSamples, Value, VectorSample};

use crate::ast::{Expr, ValueType};
use crate::plan::{Kind, Plan, PlanError, Planner, Reading};
pub(crate) use annotations::format_g;
use context::Context;
use crew::Crew;
use eval::{Evaluator, nameless};
pub(crate) use histogram::parse_bound;
use memory::Held;
pub use memory::MemoryPool;
use model::{Labels, Millis, Timestamp};
use pace::Pace;
pub use profile::Explanation;
use profile::Profile;
use select::Points;
use source::Materialised;
use storage::Queryable;
use vector::{Grid, Head, StepSeries};

/// Evaluates queries. Shared by all threads that ask.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    crew: Crew,
}

impl Engine {
    /// An engine with these options.
    pub fn new(options: EngineOptions) -> Self {
        let crew = Crew::new(options.threads);
        Self { options, crew }
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
        let plan = self.plan(expr, time, time, 0)?;
        self.run(store, control, &plan, Grid::instant(time.0), |ctx| instant_value(Evaluator::new(ctx), &plan, time))
    }

    /// The expression's values at `start`, `start + step`, … up to `end`.
    ///
    /// # Errors
    /// See [`QueryError`]; an expression that is neither a scalar nor an instant vector is one.
    pub fn range(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: Millis,
        control: &Control,
    ) -> Result<QueryResult, QueryError> {
        if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            let got = expr.value_type().documented();
            return Err(QueryError::Execution(format!(
                "invalid expression type {got:?} for range query, must be Scalar or instant Vector"
            )));
        }
        let plan = self.plan(expr, start, end, step.0)?;
        let grid = Grid::range(start.0, end.0, step.0);
        self.run(store, control, &plan, grid, |ctx| range_value(Evaluator::new(ctx), &plan, grid))
    }

    fn plan(&self, expr: &Expr, start: Timestamp, end: Timestamp, step: i64) -> Result<Plan, QueryError> {
        let planner = Planner { start, end, step, reading: Reading::default() };
        planner.plan(expr).map_err(|error| match error {
            PlanError::Duration(text) => QueryError::Duration(text),
            PlanError::Execution(text) => QueryError::Execution(text),
        })
    }

    fn run(
        &self,
        store: &dyn Queryable,
        control: &Control,
        plan: &Plan,
        grid: Grid,
        evaluate: impl FnOnce(&Context<'_>) -> Result<Value, QueryError>,
    ) -> Result<QueryResult, QueryError> {
        let profile = control.explain.then(|| Profile::of(plan));
        let ctx = Context::new(store, self, control, plan, profile.as_ref(), grid);
        let value = evaluate(&ctx)?;
        let mut held = ctx.account();
        held.add(value.size())?;
        let stats = ctx.stats();
        let explanation = profile.as_ref().map(|profile| profile.explain(plan, control.text.as_deref()));
        let (warnings, infos) = ctx.into_annotations();
        Ok(QueryResult { value, warnings, infos, stats, explanation, held: Held::new(held) })
    }
}

fn instant_value<'c>(evaluator: Evaluator<'c>, plan: &'c Plan, time: Timestamp) -> Result<Value, QueryError> {
    let grid = Grid::instant(time.0);
    match plan.value_type {
        ValueType::String => match &plan.kind {
            Kind::String(s) => Ok(Value::String { t: time, s: s.clone() }),
            _ => Err(QueryError::Execution("no expression but a literal is a string".into())),
        },
        ValueType::Scalar => {
            let v = evaluator.scalar(plan, grid)?.first().copied().unwrap_or(model::value::NORMAL_NAN);
            Ok(Value::Scalar { t: time, v })
        }
        ValueType::Vector => {
            let mut done = final_names(evaluator, evaluator.materialised(plan, grid)?)?;
            let sample = |mut s: StepSeries| {
                let histogram = s.steps.histograms.pop().map(|(_, histogram)| histogram);
                VectorSample { labels: s.head.labels, t: time, v: s.steps.values[0], histogram }
            };
            let mut samples = pace::collect(evaluator.ctx, done.series.take(), sample)?;
            if !plan.keeps_order() {
                evaluator.ctx.sorting(|| pace::sort_by_labels(evaluator.ctx, &mut samples, |sample| &sample.labels))?;
            }
            Ok(Value::Vector(samples))
        }
        ValueType::Matrix => {
            let Kind::Windows(windows) = &plan.kind else {
                return Err(QueryError::Execution("no expression but a selector or subquery is a range vector".into()));
            };
            let _at_work = evaluator.ctx.enter(plan);
            let delayed = evaluator.ctx.options.delayed_name_removal;
            let labels = |head: Head| if delayed { final_labels(&head) } else { head.labels };
            let mut series: Vec<MatrixSeries> = evaluator
                .raw_windows(windows, time.0)?
                .into_iter()
                .map(|(head, Points { floats, histograms })| MatrixSeries { labels: labels(head), points: floats, histograms })
                .collect();
            pace::sort_by_labels(evaluator.ctx, &mut series, |series| &series.labels)?;
            if series.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
                return Err(source::same_labelset());
            }
            Ok(Value::Matrix(series))
        }
    }
}

fn range_value<'c>(evaluator: Evaluator<'c>, plan: &'c Plan, grid: Grid) -> Result<Value, QueryError> {
    if plan.value_type == ValueType::Scalar {
        let values = evaluator.scalar(plan, grid)?;
        let points: Vec<(i64, f64)> = values.into_iter().enumerate().map(|(i, v)| (grid.time(i), v)).collect();
        let series =
            if points.is_empty() { Vec::new() } else { vec![MatrixSeries { labels: Labels::empty(), points, histograms: Vec::new() }] };
        return Ok(Value::Matrix(series));
    }
    let mut done = final_names(evaluator, evaluator.materialised(plan, grid)?)?;
    let mut series = pace::collect(evaluator.ctx, done.series.take(), |s| {
        let points = s.steps.present.iter().map(|step| (grid.time(step), s.steps.values[step])).collect();
        let histograms = s.steps.histograms.into_iter().map(|(step, histogram)| (grid.time(step), histogram)).collect();
        MatrixSeries { labels: s.head.labels, points, histograms }
    })?;
    evaluator.ctx.sorting(|| pace::sort_by_labels(evaluator.ctx, &mut series, |series| &series.labels))?;
    Ok(Value::Matrix(series))
}

/// Takes away the names that were to go at the end.
fn final_names<'c>(evaluator: Evaluator<'c>, mut done: Materialised) -> Result<Materialised, QueryError> {
    if evaluator.ctx.options.delayed_name_removal {
        let pace = Pace::new(evaluator.ctx);
        for series in done.series.iter_mut() {
            pace.step()?;
            series.head.labels = final_labels(&series.head);
        }
    }
    done.merge_same_labels(evaluator.ctx)?;
    Ok(done)
}

fn final_labels(head: &Head) -> Labels {
    if head.drop_name { nameless(&head.labels) } else { head.labels.clone() }
}
