//! Evaluating a plan: each part gives, for all steps at once, numbers or a source of series.

use super::aggregate;
use super::api::QueryError;
use super::binary;
use super::context::Context;
use super::date::Civil;
use super::extended;
use super::histogram;
use super::info;
use super::mixed::Mixed;
use super::native;
use super::pace::{self, Pace};
use super::relabel;
use super::select::{Columns, Pick, Taken, metric_names};
use super::shared;
use super::source::{Materialised, Scratch, Source, same_labelset};
use super::tally::{Tally, WindowCounter};
use super::vector::{Grid, Head, Presence, StepSeries, Steps};
use super::window::Windowed;
use crate::ast::{BinaryOp, Extended, Span};
use crate::plan::operator::{Calendar, Elementwise, WindowFunction, arithmetic, compare, go_max, go_min, scalar_binary};
use crate::plan::{HistogramNumber, Kind, Plan, WindowSource, Windows};
use model::value::NORMAL_NAN;
use model::{Labels, LabelsBuilder, MatchOp, Matcher};
use std::sync::Arc;

/// Evaluates plans within one query.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'c> {
    pub ctx: &'c Context<'c>,
    /// Where samples that are looked at here count.
    pub tally: Tally,
}

impl<'c> Evaluator<'c> {
    pub fn new(ctx: &'c Context<'c>) -> Self {
        Self { ctx, tally: Tally::QUERY }
    }

    /// The values of a scalar expression at all steps.
    pub fn scalar(self, plan: &'c Plan, grid: Grid) -> Result<Vec<f64>, QueryError> {
        let _at_work = self.ctx.enter(plan);
        self.check_steps(grid)?;
        if let Kind::Number(value) = plan.kind {
            return Ok(vec![value; grid.count]);
        }
        if plan.invariant && !grid.is_instant() {
            let inner = Self { tally: self.tally.once(self.ctx, grid), ..self };
            let first = inner.scalar(plan, grid.first())?;
            return Ok(vec![first.first().copied().unwrap_or(NORMAL_NAN); grid.count]);
        }
        match &plan.kind {
            Kind::Time => Ok((0..grid.count).map(|i| grid.time(i) as f64 / 1000.0).collect()),
            Kind::Negate(inner) => Ok(self.scalar(inner, grid)?.into_iter().map(|v| -v).collect()),
            Kind::ScalarBinary { op, left, right } => {
                let (left, right) = (self.scalar(left, grid)?, self.scalar(right, grid)?);
                if op.is_trim() && grid.count > 0 {
                    let op = model::name::quote(op.as_str());
                    return Err(QueryError::Execution(format!("operator {op} not allowed for Scalar operations")));
                }
                Ok(left.into_iter().zip(right).map(|(a, b)| scalar_binary(*op, a, b)).collect())
            }
            Kind::ScalarExtreme { max, left, right } => {
                let (left, right) = (self.scalar(left, grid)?, self.scalar(right, grid)?);
                let pick = if *max { go_max } else { go_min };
                Ok(left.into_iter().zip(right).map(|(a, b)| pick(a, b)).collect())
            }
            Kind::ScalarOf(input) => self.scalar_of(input, grid),
            other => unreachable!("the parser lets no {other:?} stand for a scalar"),
        }
    }

    /// Refuses a grid (a subquery's may be anything) of which not even one series could be held.
    fn check_steps(self, grid: Grid) -> Result<(), QueryError> {
        self.ctx.check()?;
        self.ctx.charge(1, grid.count).map(drop)
    }

    fn scalar_of(self, input: &'c Plan, grid: Grid) -> Result<Vec<f64>, QueryError> {
        let source = self.vector(input, grid)?;
        let mut values = vec![NORMAL_NAN; grid.count];
        let (mut seen, mut several) = (Presence::none(grid.count), Presence::none(grid.count));
        source.for_each(self.ctx, |_, steps| {
            several.union_with(&seen.and(&steps.present));
            for step in steps.present.iter() {
                values[step] = steps.values[step];
            }
            seen.union_with(&steps.present);
            Ok(())
        })?;
        several.iter().for_each(|step| values[step] = NORMAL_NAN);
        Ok(values)
    }

    /// The series of a vector expression.
    pub fn vector(self, plan: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
        let Some(profile) = self.ctx.profile else { return self.source(plan, grid) };
        let Source { heads, steps, compute } = {
            let _at_work = profile.enter(plan);
            self.source(plan, grid)?
        };
        let compute = Box::new(move |i: usize, scratch: &mut Scratch| {
            let _at_work = profile.enter(plan);
            let values = compute(i, scratch)?;
            profile.gave(&values);
            Ok(values)
        });
        Ok(Source { heads, steps, compute })
    }

    fn source(self, plan: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
        self.check_steps(grid)?;
        if grid.count == 0 {
            return Ok(Source::empty(0));
        }
        if plan.invariant && !grid.is_instant() {
            let inner = Self { tally: self.tally.once(self.ctx, grid), ..self };
            let Source { heads, compute, .. } = inner.source(plan, grid.first())?;
            let compute = Box::new(move |i: usize, scratch: &mut Scratch| Ok(compute(i, scratch)?.broadcast(grid.count)));
            return Ok(Source { heads, steps: grid.count, compute });
        }
        shared::source(self, plan, grid)
    }

    /// What a part does, by itself.
    pub fn operation(self, plan: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
        match &plan.kind {
            Kind::Selector(selector) if selector.extended == Some(Extended::Smoothed) => self.select_smoothed(selector, plan.span, grid),
            Kind::Selector(selector) => self.select_instant(selector, grid, Pick::Value),
            Kind::SampleTime(selector) => {
                let source = self.select_instant(selector, grid, Pick::Time)?;
                self.dropping_names(source, grid)
            }
            Kind::Info { input, when, matchers } => info::info(self, input, *when, matchers, grid),
            Kind::SampleStart(selector) if self.ctx.options.use_start_timestamps => {
                let source = self.select_instant(selector, grid, Pick::Start)?;
                self.dropping_names(source, grid)
            }
            Kind::SampleStart(selector) => self.nothing(&self.select_instant(selector, grid, Pick::Time)?),
            Kind::NoStarts(input) => self.nothing(&self.vector(input, grid)?),
            Kind::StepTime(input) => {
                let source = self.vector(input, grid)?.map(move |steps| {
                    for (step, _) in std::mem::take(&mut steps.histograms) {
                        steps.put(step, 0.0);
                    }
                    steps.filter_map(|step, _| Some(grid.time(step) as f64 / 1000.0));
                });
                self.dropping_names(source, grid)
            }
            Kind::Window { function, windows, parameters } => self.window(*function, windows, parameters, grid),
            Kind::AbsentOverTime { windows } => self.absent_over_time(windows, grid),
            Kind::Absent { input, matchers } => self.absent(input, matchers.as_deref(), grid),
            Kind::Elementwise { function, input, parameters } => self.elementwise(*function, input, parameters, grid),
            Kind::Negate(input) => {
                let source = self.vector(input, grid)?.map(negate);
                self.dropping_names(source, grid)
            }
            Kind::Plus(input) => self.vector(input, grid),
            Kind::Calendar(field) => {
                let values = (0..grid.count).map(|i| calendar(*field, (grid.time(i) / 1000) as f64)).collect();
                self.one_series(Steps::full(values))
            }
            Kind::VectorOf(input) => self.one_series(Steps::full(self.scalar(input, grid)?)),
            Kind::Sort { input, descending, labels } => self.sort(input, *descending, labels.as_deref(), plan.span, grid),
            Kind::LabelReplace { input, destination, replacement, source, regex } => {
                let replace = relabel::replacer(destination, replacement, source, regex)?;
                self.relabelled(input, destination, grid, replace)
            }
            Kind::LabelJoin { input, destination, separator, sources } => {
                relabel::check_join(destination, sources)?;
                self.relabelled(input, destination, grid, |labels| Some(relabel::joined(labels, destination, separator, sources)))
            }
            Kind::HistogramNumber { number, input } => {
                let number = *number;
                let mut source = self.vector(input, grid)?.map(move |steps| {
                    let histograms = std::mem::take(&mut steps.histograms);
                    steps.present = Presence::none(grid.count);
                    for (step, histogram) in histograms {
                        let value = match number {
                            HistogramNumber::Count => histogram.count,
                            HistogramNumber::Sum => histogram.sum,
                            HistogramNumber::Average => histogram.sum / histogram.count,
                            HistogramNumber::Stdvar => native::variance(&histogram),
                            HistogramNumber::Stddev => native::variance(&histogram).sqrt(),
                        };
                        steps.put(step, value);
                    }
                });
                // Unlike all others, Prometheus's functions for numbers of histograms leave type and unit.
                if self.ctx.options.delayed_name_removal {
                    return self.dropping_names(source, grid);
                }
                let pace = Pace::new(self.ctx);
                for head in &mut source.heads {
                    pace.step()?;
                    head.labels = LabelsBuilder::from_labels(&head.labels).remove(model::labels::METRIC_NAME).build();
                    head.drop_name = true;
                }
                self.merged(source, grid)
            }
            Kind::HistogramQuantile { quantile, input } => histogram::quantile(self, quantile, input, grid),
            Kind::HistogramQuantiles { input, label, quantiles } => histogram::quantiles(self, input, label, quantiles, grid),
            Kind::HistogramFraction { lower, upper, input } => histogram::fraction(self, lower, upper, input, grid),
            Kind::Aggregate { aggregate, input, parameter } => {
                aggregate::aggregate(self, aggregate, input, parameter.as_deref(), plan.span, grid)
            }
            Kind::VectorScalar { op, vector, scalar, scalar_left, return_bool } => {
                let (numbers, source) = if *scalar_left {
                    (self.scalar(scalar, grid)?, self.vector(vector, grid)?)
                } else {
                    let source = self.vector(vector, grid)?;
                    (self.after(&source, self.scalar(scalar, grid))?, source)
                };
                self.vector_scalar(*op, source, (numbers, *scalar_left), *return_bool, plan.span, grid)
            }
            Kind::VectorBinary { op, left, right, matching, return_bool } => {
                binary::vectors(self, *op, left, right, matching, *return_bool, plan.span, grid)
            }
            other => unreachable!("the parser lets no {other:?} stand for a vector"),
        }
    }

    /// No series. Those of the source are evaluated all the same, for errors and for what there is to say about them.
    pub fn nothing(self, source: &Source<'c>) -> Result<Source<'c>, QueryError> {
        source.for_each(self.ctx, |_, _| Ok(()))?;
        Ok(Source::empty(source.steps))
    }

    /// What was evaluated after a source, or the error of one of both; that of the source goes first.
    pub fn after<T>(self, source: &Source<'c>, result: Result<T, QueryError>) -> Result<T, QueryError> {
        if result.is_err() {
            self.nothing(source)?;
        }
        result
    }

    pub fn materialised(self, plan: &'c Plan, grid: Grid) -> Result<Materialised, QueryError> {
        self.vector(plan, grid)?.materialise(self.ctx)
    }

    fn one_series(self, steps: Steps) -> Result<Source<'c>, QueryError> {
        let count = steps.values.len();
        let series = vec![StepSeries { head: Head { labels: Labels::empty(), drop_name: false }, steps }];
        Ok(Materialised::from_series(series, self.ctx)?.into_source(count))
    }

    fn window(self, function: WindowFunction, windows: &'c Windows, parameters: &'c [Plan], grid: Grid) -> Result<Source<'c>, QueryError> {
        let ctx = self.ctx;
        let numbers = parameters.iter().map(|p| self.scalar(p, grid)).collect::<Result<Vec<_>, _>>();
        if numbers.is_err() && matches!(windows.source, WindowSource::Subquery(..)) {
            // Prometheus evaluates a subquery before the parameters.
            self.columns(windows, grid, Taken::ByFunction)?.check(ctx)?;
        }
        let numbers = numbers?;
        check_refusal(windows)?;
        let Columns { heads, fill } = self.columns(windows, grid, Taken::ByFunction)?;
        let counter = matches!(function, WindowFunction::Rate | WindowFunction::Increase);
        // Prometheus has forgotten where a subquery stood when it judges the name.
        let span = match windows.source {
            WindowSource::Selector(_) => windows.span,
            WindowSource::Subquery(..) => Span { start: 0, ..windows.span },
        };
        let by_type = ctx.options.type_and_unit_labels;
        let suspects = if counter { pace::collect(ctx, &heads, |head| suspect_counter(&head.labels, by_type))? } else { Vec::new() };
        let quantile_span = parameters.first().filter(|_| function == WindowFunction::Quantile);
        let quantile_span = quantile_span.map(|quantile| Span { start: quantile.span.start, ..windows.span });
        // Prometheus points at the first argument, whatever it is.
        let mixed_span = quantile_span.unwrap_or(span);
        let names = metric_names(ctx, &heads)?;
        let (when, range) = (windows.when, windows.range);
        let counter = WindowCounter::new(ctx, self.tally, windows, grid);
        let compute = Box::new(move |i: usize, scratch: &mut Scratch| {
            let mut column = std::mem::take(&mut scratch.column);
            fill(i, scratch, &mut column)?;
            if function == WindowFunction::DoubleExponentialSmoothing {
                let holds = |step: usize| {
                    let at = when.time(grid.time(step));
                    let newest = column.times[..column.times.partition_point(|t| *t <= at)].last();
                    newest.is_some_and(|t| *t > at.saturating_sub(range))
                };
                check_smoothing(&numbers, holds)?;
            }
            let pace = Pace::new(ctx);
            let (mut looked_at, mut overlaps) = (0, 0);
            let starts = ctx.options.use_start_timestamps;
            let out = if let Some(kind) = windows.extended {
                counter.each(&column);
                extended::Windows { ctx, pace: &pace, column: &column, kind, grid, when, range, name: &names[i], span }.apply(function)
            } else if column.histograms.is_empty() {
                let starts: &[i64] = if starts { &column.starts } else { &[] };
                let windowed = Windowed { pace: &pace, times: &column.times, values: &column.values, starts, grid, when, range };
                let out = windowed.apply(function, &numbers, &mut looked_at, &mut overlaps);
                counter.floats(&column, looked_at);
                out
            } else {
                let mixed = Mixed { ctx, pace: &pace, column: &column, grid, when, range, name: &names[i], span: mixed_span, starts };
                counter.each(&column);
                mixed.apply(function, &numbers)
            };
            scratch.column = column;
            pace.outcome()?;
            for _ in 0..overlaps {
                ctx.annotate(|a| a.start_time_overlap(&names[i], span));
            }
            if let (Some(Some(Suspect { name, kind })), false) = (suspects.get(i), out.present.is_none()) {
                ctx.annotate(|a| match kind {
                    Some(kind) => a.no_counter_type(name, kind, span),
                    None => a.possible_non_counter(name, span),
                });
            }
            if let (Some(span), Some(numbers)) = (quantile_span, numbers.first()) {
                for step in out.present.iter().filter(|s| !(0.0..=1.0).contains(&numbers[*s])) {
                    ctx.annotate(|a| a.invalid_quantile(numbers[step], span));
                }
            }
            Ok(out)
        });
        let source = Source { heads, steps: grid.count, compute };
        let source = if matches!(function, WindowFunction::Last | WindowFunction::First) {
            if ctx.options.delayed_name_removal || !source.heads.iter().any(|head| head.drop_name) {
                return Ok(source);
            }
            // They keep names, but of a subquery only those that are not to go anyway.
            let mut source = source;
            let pace = Pace::new(ctx);
            for head in source.heads.iter_mut().filter(|head| head.drop_name) {
                pace.step()?;
                head.labels = nameless(&head.labels);
            }
            source
        } else {
            self.without_names(source)?
        };
        if ctx.options.delayed_name_removal || !source.has_duplicates(ctx)? {
            return Ok(source);
        }
        // Series without a value at any step don't count.
        let done = source.materialise(ctx)?;
        if super::source::has_duplicates(ctx, done.series.len(), |i| &done.series[i].head.labels)? {
            return Err(same_labelset());
        }
        Ok(done.into_source(grid.count))
    }

    /// Takes the names away, or notes that they go at the end.
    pub fn without_names(self, mut source: Source<'c>) -> Result<Source<'c>, QueryError> {
        let pace = Pace::new(self.ctx);
        for head in &mut source.heads {
            pace.step()?;
            self.drop_name(head);
        }
        Ok(source)
    }

    pub fn drop_name(self, head: &mut Head) {
        if self.ctx.options.delayed_name_removal {
            head.drop_name = true;
        } else {
            head.labels = nameless(&head.labels);
        }
    }

    /// As [`Self::without_names`]; series that become alike are merged, or refused if they meet.
    fn dropping_names(self, source: Source<'c>, grid: Grid) -> Result<Source<'c>, QueryError> {
        let source = self.without_names(source)?;
        self.merged(source, grid)
    }

    /// Merges series of the same labels. Those of an instant query may wait for the removal of names; a subquery of one step is none.
    fn merged(self, source: Source<'c>, grid: Grid) -> Result<Source<'c>, QueryError> {
        if (grid.is_instant() && self.ctx.options.delayed_name_removal) || !source.has_duplicates(self.ctx)? {
            return Ok(source);
        }
        let mut done = source.materialise(self.ctx)?;
        done.merge_same_labels(self.ctx)?;
        Ok(done.into_source(grid.count))
    }

    fn absent(self, input: &'c Plan, matchers: Option<&[Matcher]>, grid: Grid) -> Result<Source<'c>, QueryError> {
        let source = self.vector(input, grid)?;
        let mut found = Presence::none(grid.count);
        source.for_each(self.ctx, |_, steps| {
            found.union_with(&steps.occupied());
            Ok(())
        })?;
        self.absence(found, matchers, false, grid)
    }

    fn absent_over_time(self, windows: &'c Windows, grid: Grid) -> Result<Source<'c>, QueryError> {
        let ctx = self.ctx;
        check_refusal(windows)?;
        let Columns { heads, fill } = self.columns(windows, grid, Taken::ByFunction)?;
        let (when, range) = (windows.when, windows.range);
        let counter = WindowCounter::new(ctx, self.tally, windows, grid);
        let compute = Box::new(move |i: usize, scratch: &mut Scratch| {
            let mut column = std::mem::take(&mut scratch.column);
            fill(i, scratch, &mut column)?;
            let mut looked_at = 0;
            let pace = Pace::new(ctx);
            let windowed = Windowed { pace: &pace, times: &column.times, values: &column.values, starts: &[], grid, when, range };
            let out = windowed.apply(WindowFunction::Present, &[], &mut looked_at, &mut 0);
            if column.histograms.is_empty() {
                counter.floats(&column, looked_at)
            } else {
                counter.each(&column)
            }
            scratch.column = column;
            pace.outcome().map(|()| out)
        });
        let mut found = Presence::none(grid.count);
        Source { heads, steps: grid.count, compute }.for_each(ctx, |_, steps| {
            found.union_with(&steps.present);
            Ok(())
        })?;
        let matchers = match &windows.source {
            WindowSource::Selector(matchers) => Some(matchers.as_slice()),
            WindowSource::Subquery(..) => None,
        };
        self.absence(found, matchers, true, grid)
    }

    /// One series with 1 where nothing was found.
    fn absence(self, found: Presence, matchers: Option<&[Matcher]>, drop_name: bool, grid: Grid) -> Result<Source<'c>, QueryError> {
        let mut present = Presence::all(grid.count);
        present.subtract(&found);
        let head = Head { labels: absent_labels(matchers.unwrap_or_default()), drop_name };
        let series = vec![StepSeries { head, steps: Steps::of(vec![1.0; grid.count], present) }];
        Ok(Materialised::from_series(series, self.ctx)?.into_source(grid.count))
    }

    fn elementwise(self, function: Elementwise, input: &'c Plan, parameters: &'c [Plan], grid: Grid) -> Result<Source<'c>, QueryError> {
        let source = self.vector(input, grid)?;
        let numbers = parameters.iter().map(|p| self.scalar(p, grid)).collect::<Result<Vec<_>, _>>();
        let numbers = self.after(&source, numbers)?;
        let number = move |at: usize, step: usize, default: f64| numbers.get(at).map_or(default, |n| n[step]);
        let clamp = |v: f64, low: f64, high: f64| if high < low { None } else { Some(go_max(low, go_min(high, v))) };
        let source = source.map(move |steps| match function {
            Elementwise::Math(f) => steps.map(f),
            Elementwise::Clamp => steps.filter_map(|s, v| clamp(v, number(0, s, f64::NEG_INFINITY), number(1, s, f64::INFINITY))),
            Elementwise::ClampMax => steps.filter_map(|s, v| clamp(v, f64::NEG_INFINITY, number(0, s, f64::INFINITY))),
            Elementwise::ClampMin => steps.filter_map(|s, v| clamp(v, number(0, s, f64::NEG_INFINITY), f64::INFINITY)),
            Elementwise::Round => steps.filter_map(|s, v| {
                let inverse = 1.0 / number(0, s, 1.0);
                Some((v * inverse + 0.5).floor() / inverse)
            }),
            Elementwise::Calendar(field) => steps.map(|v| calendar(field, v)),
        });
        self.dropping_names(source, grid)
    }

    fn vector_scalar(
        self,
        op: BinaryOp,
        source: Source<'c>,
        (numbers, scalar_left): (Vec<f64>, bool),
        return_bool: bool,
        span: Span,
        grid: Grid,
    ) -> Result<Source<'c>, QueryError> {
        let ctx = self.ctx;
        if op.is_trim() && scalar_left {
            return self.trimmed_number(op, source, span);
        }
        let source = source.map(move |steps| {
            let histograms = std::mem::take(&mut steps.histograms);
            if !histograms.is_empty() {
                steps.histograms = binary::histograms_with_numbers(ctx, op, histograms, &numbers, scalar_left, span);
            }
            if matches!(op, BinaryOp::TrimBelow | BinaryOp::TrimAbove) && !steps.present.is_none() {
                ctx.annotate(|a| a.incompatible_types("float", op.as_str(), "float", span));
                steps.present = Presence::none(steps.values.len());
                return;
            }
            let kept = std::mem::take(&mut steps.histograms);
            steps.filter_map(|step, v| {
                let (a, b) = if scalar_left { (numbers[step], v) } else { (v, numbers[step]) };
                match compare(op, a, b) {
                    None => Some(arithmetic(op, a, b)),
                    Some(holds) if return_bool => Some(f64::from(u8::from(holds))),
                    // A filter keeps the vector's value, on whichever side it stands.
                    Some(true) => Some(v),
                    Some(false) => None,
                }
            });
            steps.histograms = kept;
        });
        if !op.changes_metric() && !return_bool { Ok(source) } else { self.dropping_names(source, grid) }
    }

    /// Numbers have nothing to trim. Of what a step refuses, Prometheus names only the last.
    fn trimmed_number(self, op: BinaryOp, source: Source<'c>, span: Span) -> Result<Source<'c>, QueryError> {
        let mut last: Vec<Option<&str>> = vec![None; source.steps];
        source.for_each(self.ctx, |_, steps| {
            steps.present.iter().for_each(|step| last[step] = Some("float"));
            steps.histograms.iter().for_each(|(step, _)| last[*step] = Some("histogram"));
            Ok(())
        })?;
        for refused in last.into_iter().flatten() {
            self.ctx.annotate(|a| a.incompatible_types("float", op.as_str(), refused, span));
        }
        Ok(Source::empty(source.steps))
    }

    fn sort(self, input: &'c Plan, descending: bool, labels: Option<&[String]>, span: Span, grid: Grid) -> Result<Source<'c>, QueryError> {
        if !grid.is_instant() {
            let source = self.vector(input, grid)?;
            self.ctx.annotate(|a| a.sort_in_range_query(span));
            return Ok(if labels.is_some() { source } else { source.map(|steps| steps.histograms.clear()) });
        }
        let mut done = self.materialised(input, grid)?;
        if let Some(labels) = labels {
            pace::sort_by(self.ctx, &mut done.series, |a, b| {
                let order = relabel::compare_by(&a.head.labels, &b.head.labels, labels);
                if descending { order.reverse() } else { order }
            })?;
            return Ok(done.into_source(grid.count));
        }
        // Histograms have no order, and go.
        done.series.retain(|series| !series.steps.present.is_none());
        pace::sort_by(self.ctx, &mut done.series, |a, b| {
            let (a, b) = (a.steps.values[0], b.steps.values[0]);
            let order = if descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
            order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        })?;
        Ok(done.into_source(grid.count))
    }

    /// Gives series the labels that `relabel` makes of theirs.
    fn relabelled(
        self,
        input: &'c Plan,
        destination: &str,
        grid: Grid,
        relabel: impl Fn(&Labels) -> Option<Labels>,
    ) -> Result<Source<'c>, QueryError> {
        let mut source = self.vector(input, grid)?;
        let pace = Pace::new(self.ctx);
        for head in &mut source.heads {
            pace.step()?;
            if let Some(labels) = relabel(&head.labels) {
                head.labels = labels;
                head.drop_name &= destination != model::labels::METRIC_NAME;
            }
        }
        if !source.has_duplicates(self.ctx)? {
            return Ok(source);
        }
        let mut done = source.materialise(self.ctx)?;
        done.merge_same_labels(self.ctx)?;
        Ok(done.into_source(grid.count))
    }
}

fn negate(steps: &mut Steps) {
    let mut histograms = std::mem::take(&mut steps.histograms);
    steps.map(|v| -v);
    for (_, histogram) in &mut histograms {
        Arc::make_mut(histogram).scale(-1.0);
    }
    steps.histograms = histograms;
}

fn check_refusal(windows: &Windows) -> Result<(), QueryError> {
    windows.refusal.clone().map_or(Ok(()), |text| Err(QueryError::Execution(text)))
}

/// Both factors have to lie between 0 and 1 at steps whose window holds a sample.
fn check_smoothing(numbers: &[Vec<f64>], holds: impl Fn(usize) -> bool) -> Result<(), QueryError> {
    let outside = |factor: f64| factor <= 0.0 || factor >= 1.0;
    let steps = numbers.first().map_or(0, Vec::len);
    for step in (0..steps).filter(|step| numbers.iter().any(|factors| outside(factors[*step])) && holds(*step)) {
        let named = numbers.iter().map(|factors| factors[step]).zip([("smoothing", "sf"), ("trend", "tf")]);
        if let Some((factor, (name, short))) = named.into_iter().find(|(factor, _)| outside(*factor)) {
            let got = if factor.is_finite() { format!("{factor:.6}") } else { model::number::format_plain(factor) };
            return Err(QueryError::Execution(format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {got}")));
        }
    }
    Ok(())
}

/// Without the name and what describes it.
pub(crate) fn nameless(labels: &Labels) -> Labels {
    use model::labels::{METRIC_NAME, METRIC_TYPE, METRIC_UNIT};
    const RESERVED: [&[u8]; 3] = [METRIC_NAME.as_bytes(), METRIC_TYPE.as_bytes(), METRIC_UNIT.as_bytes()];
    labels.filtered(|name| !RESERVED.contains(&name))
}

/// A metric that does not look like a counter.
struct Suspect {
    name: String,
    /// Its type, where that is looked at instead of the name.
    kind: Option<String>,
}

/// The metric of a series, if it does not look like a counter. It does by its type or else by its name.
fn suspect_counter(labels: &Labels, by_type: bool) -> Option<Suspect> {
    let name = labels.metric_name();
    let kind = by_type.then(|| labels.get(model::labels::METRIC_TYPE).unwrap_or_default());
    let counts = match kind {
        Some(kind) => ["counter", "histogram"].contains(&kind),
        None => ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)),
    };
    (!counts && !name.is_empty()).then(|| Suspect { name: name.to_owned(), kind: kind.map(str::to_owned) })
}

/// The labels that an absent series surely would have: those with one `=` and nothing else.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|m| m.name != model::labels::METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

fn calendar(field: Calendar, seconds: f64) -> f64 {
    let date = Civil::from_value(seconds);
    let number = match field {
        Calendar::DayOfMonth => date.day,
        Calendar::DayOfWeek => date.weekday,
        Calendar::DayOfYear => date.year_day,
        Calendar::DaysInMonth => date.days_in_month(),
        Calendar::Hour => date.hour,
        Calendar::Minute => date.minute,
        Calendar::Month => date.month,
        Calendar::Year => date.year,
    };
    number as f64
}
