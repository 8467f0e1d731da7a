//! What reads the store: selectors, and the columns that windows are cut from.

use super::api::QueryError;
use super::bulk::Bulk;
use super::context::{Context, column_bytes, left_open, storage_error};
use super::eval::Evaluator;
use super::extended;
use super::memory::{Charge, Size};
use super::mixed::{self, Behind};
use super::pace::{self, Pace};
use super::source::{Scratch, Source};
use super::tally::Counter;
use super::vector::{Grid, Head, Steps};
use super::window::Border;
use crate::ast::{Extended, Span};
use crate::plan::{Selector, WindowSource, Windows};
use model::value::is_stale;
use model::{FloatHistogram, Matcher, Timestamp};
use std::ops::Deref;
use std::sync::Arc;
use storage::{Column, Interval, SelectHints, Series};

/// Fills a column with one series' samples. The scratch is the worker's.
type Fill<'c> = Box<dyn Fn(usize, &mut Scratch, &mut Column) -> Result<(), QueryError> + Send + Sync + 'c>;

/// Milliseconds and values, floats and histograms apart.
#[derive(Default)]
pub(crate) struct Points {
    pub floats: Vec<(i64, f64)>,
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

/// What an instant selector gives of a sample.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    Value,
    /// In seconds.
    Time,
    /// In seconds, but histograms as they are.
    FloatTime,
    /// The start timestamp, in seconds; 0 if there is none.
    Start,
}

/// What becomes of windows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    ByFunction,
    /// They are the answer to the query.
    AsAnswer,
}

/// Series whose windows are to be looked at.
pub(crate) struct Columns<'c> {
    pub heads: Vec<Head>,
    pub fill: Fill<'c>,
}

impl Columns<'_> {
    /// The first error in filling them.
    pub fn check(&self, ctx: &Context<'_>) -> Result<(), QueryError> {
        let (mut scratch, mut column) = (Scratch::new(ctx), Column::default());
        for i in 0..self.heads.len() {
            ctx.check()?;
            (self.fill)(i, &mut scratch, &mut column)?;
        }
        Ok(())
    }
}

/// What a selection takes for each series beside its labels: the store's view of it, and its head.
const SERIES_BYTES: usize = 192;

/// Series of the store, charged to the query as long as they may be decoded.
struct Selected {
    series: Bulk<Box<dyn Series>>,
    _held: Charge,
}

impl Selected {
    fn heads(&self, ctx: &Context<'_>) -> Result<Vec<Head>, QueryError> {
        pace::collect(ctx, self.series.iter(), |series| Head { labels: series.labels().clone(), drop_name: false })
    }
}

impl Deref for Selected {
    type Target = [Box<dyn Series>];

    fn deref(&self) -> &Self::Target {
        &self.series
    }
}

impl<'c> Evaluator<'c> {
    fn select(self, matchers: &[Matcher], interval: Interval) -> Result<Selected, QueryError> {
        self.select_with(matchers, interval, false)
    }

    fn select_with(self, matchers: &[Matcher], interval: Interval, newest_only: bool) -> Result<Selected, QueryError> {
        let hints = SelectHints { sorted: true, newest_only, cancel: self.ctx.cancel.clone(), ..SelectHints::default() };
        let selection = self.ctx.preparing(|| self.ctx.store.select(interval, matchers, &hints)).map_err(|error| {
            // The store does not know whether it was the time or the client.
            self.ctx.check().err().unwrap_or_else(|| storage_error(error))
        })?;
        if !selection.warnings.is_empty() {
            self.ctx.annotate(|a| selection.warnings.into_iter().for_each(|w| a.storage_warning(w)));
        }
        if let Some(profile) = self.ctx.profile {
            profile.selected(selection.series.len());
        }
        let series = Bulk::from(selection.series);
        let mut held = self.ctx.account();
        let pace = Pace::new(self.ctx);
        let mut bytes = 0;
        for series in series.iter() {
            pace.step()?;
            bytes += series.labels().as_bytes().len() + SERIES_BYTES;
        }
        held.add(Size::bytes(bytes as u64))?;
        Ok(Selected { series, _held: held })
    }

    /// At each step the newest sample within the lookback, unless it is a staleness marker.
    pub fn select_instant(self, selector: &Selector, grid: Grid, pick: Pick) -> Result<Source<'c>, QueryError> {
        let (ctx, when, lookback) = (self.ctx, selector.when, self.ctx.lookback);
        let totals_only = selector.totals_only;
        let interval = left_open(when.time(grid.start).saturating_sub(lookback), when.time(grid.end()));
        let series = self.select_with(&selector.matchers, interval, grid.count == 1 && !totals_only)?;
        let heads = series.heads(ctx)?;
        let counter = Counter::new(ctx, self.tally);
        let compute = Box::new(move |i: usize, scratch: &mut Scratch| {
            let mut column = std::mem::take(&mut scratch.column);
            ctx.decode(&series, i, interval, &mut column, scratch)?;
            if totals_only {
                let times = (0..grid.count).map(|step| when.time(grid.time(step)));
                let windows = times.map(|at| (at.saturating_sub(lookback), at));
                mixed::keep_totals(&mut column, windows, Behind::Next);
            }
            let mut out = Steps::absent(grid.count);
            let mut newest = Border::default();
            // How many histograms lie before `next`.
            let mut histograms = 0;
            let pace = Pace::new(ctx);
            for step in 0..grid.count {
                pace.step()?;
                let at = when.time(grid.time(step));
                let next = newest.advance(&column.times, at);
                if next == 0 {
                    continue;
                }
                let (time, value) = (column.times[next - 1], column.values[next - 1]);
                // A histogram's value is its sum, which also marks its end.
                if time <= at.saturating_sub(lookback) || is_stale(value) {
                    continue;
                }
                if pick == Pick::Value && column.histograms.is_empty() {
                    out.put(step, value);
                    continue;
                }
                while column.histograms.get(histograms).is_some_and(|(index, _)| (*index as usize) < next) {
                    histograms += 1;
                }
                let last = histograms.checked_sub(1).map(|last| &column.histograms[last]);
                match last.filter(|(index, _)| *index as usize == next - 1) {
                    _ if pick == Pick::Time => out.put(step, time as f64 / 1000.0),
                    _ if pick == Pick::Start => out.put(step, column.starts.get(next - 1).copied().unwrap_or(0) as f64 / 1000.0),
                    Some((_, histogram)) => out.put_histogram(step, histogram.clone()),
                    None if pick == Pick::FloatTime => out.put(step, time as f64 / 1000.0),
                    None => out.put(step, value),
                }
            }
            counter.instant(&out);
            scratch.column = column;
            Ok(out)
        });
        Ok(Source { heads, steps: grid.count, compute })
    }

    /// At each step what a line through the samples around it has. As in Prometheus, its samples are not counted.
    pub fn select_smoothed(self, selector: &'c Selector, span: Span, grid: Grid) -> Result<Source<'c>, QueryError> {
        let (ctx, when, lookback) = (self.ctx, selector.when, self.ctx.lookback);
        let totals_only = selector.totals_only;
        let begin = when.time(grid.start).saturating_sub(lookback);
        let interval = left_open(begin, when.time(grid.end()).saturating_add(lookback));
        let series = self.select(&selector.matchers, interval)?;
        let heads = series.heads(ctx)?;
        let names = metric_names(ctx, &heads)?;
        let compute = Box::new(move |i: usize, scratch: &mut Scratch| {
            let mut column = std::mem::take(&mut scratch.column);
            ctx.decode(&series, i, interval, &mut column, scratch)?;
            if totals_only {
                mixed::keep_totals(&mut column, std::iter::once((begin, i64::MAX)), Behind::AtEnd);
            }
            drop_stale(&mut column);
            let (name, kind) = (&names[i], Extended::Smoothed);
            let pace = Pace::new(ctx);
            let out = extended::Windows { ctx, pace: &pace, column: &column, kind, grid, when, range: 0, name, span }.smoothed();
            scratch.column = column;
            pace.outcome().map(|()| out)
        });
        Ok(Source { heads, steps: grid.count, compute })
    }

    /// The samples that windows are cut from, without staleness markers.
    pub fn columns(self, windows: &'c Windows, grid: Grid, taken: Taken) -> Result<Columns<'c>, QueryError> {
        let ctx = self.ctx;
        let begin = windows.when.time(grid.start).saturating_sub(windows.range);
        let end = windows.when.time(grid.end());
        match &windows.source {
            WindowSource::Selector(matchers) => {
                let totals_only = windows.totals_only;
                let (before, after) = match windows.extended {
                    None => (0, 0),
                    Some(Extended::Anchored) => (ctx.lookback, 0),
                    Some(Extended::Smoothed) => (ctx.lookback, ctx.lookback),
                };
                let interval = left_open(begin.saturating_sub(before), end.saturating_add(after));
                let (when, range) = (windows.when, windows.range.saturating_add(before));
                let series = self.select(matchers, interval)?;
                let heads = series.heads(ctx)?;
                let fill = Box::new(move |i: usize, scratch: &mut Scratch, column: &mut Column| {
                    ctx.decode(&series, i, interval, column, scratch)?;
                    if totals_only {
                        let times = (0..grid.count).map(|step| when.time(grid.time(step)));
                        let ends = times.map(|at| (at.saturating_sub(range), at.saturating_add(after)));
                        mixed::keep_totals(column, ends, Behind::AtEnd);
                    }
                    drop_stale(column);
                    Ok(())
                });
                Ok(Columns { heads, fill })
            }
            WindowSource::Subquery(inner, step) => {
                let step = step.unwrap_or(ctx.options.default_step.0).max(1);
                // The first multiple of the step strictly after the window's begin.
                let first = begin.div_euclid(step).saturating_add(1).saturating_mul(step);
                let inner_grid = Grid::range(first, end, step);
                let tally = match taken {
                    Taken::ByFunction => self.tally.within(ctx, windows, inner_grid, grid),
                    Taken::AsAnswer => self.tally.whole(),
                };
                let Source { heads, compute, .. } = Self { tally, ..self }.vector(inner, inner_grid)?;
                let fill = Box::new(move |i: usize, scratch: &mut Scratch, column: &mut Column| {
                    let steps = compute(i, scratch)?;
                    column.clear();
                    if steps.histograms.is_empty() {
                        for step in steps.present.iter() {
                            column.push(Timestamp(inner_grid.time(step)), steps.values[step]);
                        }
                        return scratch.held.grow_to(column_bytes(column));
                    }
                    let mut histograms = steps.histograms.iter().peekable();
                    for step in steps.occupied().iter() {
                        let time = Timestamp(inner_grid.time(step));
                        match histograms.next_if(|(at, _)| *at == step) {
                            Some((_, histogram)) => column.push_histogram(time, mixed::without_reset_hint(histogram)),
                            None => column.push(time, steps.values[step]),
                        }
                    }
                    scratch.held.grow_to(column_bytes(column))
                });
                Ok(Columns { heads, fill })
            }
        }
    }

    /// The windows themselves, as points, for a range vector as a whole query.
    pub fn raw_windows(self, windows: &'c Windows, time: i64) -> Result<Vec<(Head, Points)>, QueryError> {
        let Columns { heads, fill } = self.columns(windows, Grid::instant(time), Taken::AsAnswer)?;
        let counter = Counter::new(self.ctx, self.tally);
        let is_selector = matches!(windows.source, WindowSource::Selector(_));
        let mut scratch = Scratch::new(self.ctx);
        let mut column = Column::default();
        let mut out = Vec::new();
        for (i, head) in heads.into_iter().enumerate() {
            self.ctx.check()?;
            fill(i, &mut scratch, &mut column)?;
            if !column.is_empty() {
                let histograms: Vec<_> = column.histograms.iter().map(|(at, h)| (column.times[*at as usize], h.clone())).collect();
                drop_histograms(&mut column);
                let mut floats: Vec<(i64, f64)> = column.times.iter().copied().zip(column.values.iter().copied()).collect();
                if let Some(kind) = windows.extended {
                    if !histograms.is_empty() {
                        let text = format!("{} modifier is not supported with histograms", kind.as_str());
                        return Err(QueryError::Execution(text));
                    }
                    let end = windows.when.time(time);
                    floats = extended::points(floats, kind, end.saturating_sub(windows.range), end);
                    if floats.is_empty() {
                        continue;
                    }
                }
                if is_selector {
                    let sizes: u64 = histograms.iter().map(|(_, histogram)| mixed::size(histogram)).sum();
                    counter.points(floats.len() as u64 + sizes);
                }
                out.push((head, Points { floats, histograms }));
            }
        }
        Ok(out)
    }
}

/// Leaves out staleness markers, of floats and of histograms.
fn drop_stale(column: &mut Column) {
    if may_have_nan(&column.values) && column.values.iter().any(|value| is_stale(*value)) {
        retain(column, |value, _| !is_stale(value));
    }
}

/// May there be a NaN? What a NaN is added to is one: adding up is the fastest way to see that there is none.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn may_have_nan(values: &[f64]) -> bool {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().chain(rest).any(|sum| sum.is_nan())
}

/// Leaves out histograms.
pub(crate) fn drop_histograms(column: &mut Column) {
    if !column.histograms.is_empty() {
        retain(column, |_, is_histogram| !is_histogram);
    }
}

/// Keeps the samples for whose value `keep` holds; it is also told whether that is a histogram's sum.
fn retain(column: &mut Column, keep: impl Fn(f64, bool) -> bool) {
    let histograms = std::mem::take(&mut column.histograms);
    let mut rest = histograms.into_iter().peekable();
    let mut kept = 0;
    for i in 0..column.len() {
        let histogram = rest.next_if(|(index, _)| *index as usize == i);
        if !keep(column.values[i], histogram.is_some()) {
            continue;
        }
        column.times[kept] = column.times[i];
        column.values[kept] = column.values[i];
        if !column.starts.is_empty() {
            column.starts[kept] = column.starts[i];
        }
        column.histograms.extend(histogram.map(|(_, histogram)| (kept as u32, histogram)));
        kept += 1;
    }
    column.times.truncate(kept);
    column.values.truncate(kept);
    column.starts.truncate(kept);
}

/// The metric names, each held once if they come in runs.
pub(crate) fn metric_names(ctx: &Context<'_>, heads: &[Head]) -> Result<Vec<Arc<str>>, QueryError> {
    let mut last: Option<Arc<str>> = None;
    pace::collect(ctx, heads, |head| {
        let name = head.labels.metric_name();
        let known = last.take().filter(|last| **last == *name);
        last.insert(known.unwrap_or_else(|| Arc::from(name))).clone()
    })
}
