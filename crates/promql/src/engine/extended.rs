//! `anchored` and `smoothed`: windows that reach out for a sample behind their borders, so that nothing is extrapolated.
//!
//! An anchored window begins with the last sample before it, a smoothed one with what a line through the samples around
//! its borders gives there. Both look at most a lookback further.

use super::context::Context;
use super::pace::Pace;
use super::vector::{Grid, Steps};
use super::window;
use crate::ast::{Extended, Span};
use crate::plan::When;
use crate::plan::operator::WindowFunction;
use model::FloatHistogram;
use model::histogram::{IncompatibleSchemas, ResetHint};
use std::sync::Arc;
use storage::Column;

/// A series decoded as wide as its windows reach, and where the steps look.
pub(crate) struct Windows<'a> {
    pub ctx: &'a Context<'a>,
    /// When it stops, what has been found is worth nothing.
    pub pace: &'a Pace<'a>,
    pub column: &'a Column,
    pub kind: Extended,
    pub grid: Grid,
    pub when: When,
    pub range: i64,
    pub name: &'a str,
    pub span: Span,
}

/// Samples of one kind with their times.
type Points<T> = Vec<(i64, T)>;

/// Which samples of a window matter, and the borders.
#[derive(Clone, Copy)]
struct Bounds {
    first: usize,
    last: usize,
    start: i64,
    end: i64,
}

impl Bounds {
    fn of<T>(points: &Points<T>, smoothed: bool, start: i64, end: i64) -> Option<Self> {
        let last = points.len().checked_sub(1)?;
        let first = points[..last].partition_point(|(time, _)| *time <= start).saturating_sub(1);
        let last = if smoothed { points[..last].partition_point(|(time, _)| *time < end) } else { last };
        let outside = points[last].0 <= start || (smoothed && points[first].0 > end);
        (!outside).then_some(Self { first, last, start, end })
    }

    /// Without the samples that lie on or behind a border.
    fn inner<'p, T>(&self, points: &'p Points<T>) -> &'p [(i64, T)] {
        let first = self.first + usize::from(points[self.first].0 <= self.start);
        let end = self.last + usize::from(points[self.last].0 < self.end);
        points.get(first..end).unwrap_or_default()
    }
}

fn interpolate(before: (i64, f64), after: (i64, f64), time: i64, counter: bool) -> f64 {
    // After a reset a counter has risen from zero.
    let from = if counter && after.1 < before.1 { 0.0 } else { before.1 };
    from + (after.1 - from) * (time - before.0) as f64 / (after.0 - before.0) as f64
}

/// The values at the borders.
fn border_values(points: &Points<f64>, bounds: Bounds, smoothed: bool, counter: bool) -> (f64, f64) {
    let Bounds { first, last, start, end } = bounds;
    let left = match points.get(first + 1) {
        Some(next) if smoothed && points[first].0 < start => interpolate(points[first], *next, start, counter),
        _ => points[first].1,
    };
    let right = if smoothed && last > 0 && points[last].0 > end {
        interpolate(points[last - 1], points[last], end, counter)
    } else {
        points[last].1
    };
    (left, right)
}

/// The points of a range selector, borders first and last.
pub(crate) fn points(points: Points<f64>, kind: Extended, start: i64, end: i64) -> Points<f64> {
    let smoothed = kind == Extended::Smoothed;
    let Some(last) = points.len().checked_sub(1) else { return points };
    let first = points[..last].partition_point(|(time, _)| *time <= start).saturating_sub(1);
    let last = if smoothed { points[..last].partition_point(|(time, _)| *time < end) } else { last };
    if points[last].0 <= start {
        return Vec::new();
    }
    let bounds = Bounds { first, last, start, end };
    let (left, right) = border_values(&points, bounds, smoothed, false);
    let mut out = vec![(start, left)];
    out.extend_from_slice(bounds.inner(&points));
    out.push((end, right));
    out
}

impl Windows<'_> {
    /// The function at all steps.
    pub fn apply(&self, function: WindowFunction) -> Steps {
        let mut out = Steps::absent(self.grid.count);
        let column = self.column;
        let smoothed = self.kind == Extended::Smoothed;
        let lookback = self.ctx.lookback;
        let pairs = match function {
            WindowFunction::Changes | WindowFunction::Resets => self.mixed().pair_counts(function),
            _ => Vec::new(),
        };
        let (mut begin, mut end) = (0, 0);
        for step in 0..self.grid.count {
            let at = self.when.time(self.grid.time(step));
            let start = at.saturating_sub(self.range);
            let reach = if smoothed { at.saturating_add(lookback) } else { at };
            while end < column.len() && column.times[end] <= reach {
                end += 1;
            }
            while begin < end && column.times[begin] <= start.saturating_sub(lookback) {
                begin += 1;
            }
            if !self.pace.go_on_after(1 + (end - begin) / 16) {
                break;
            }
            if begin == end {
                continue;
            }
            if matches!(function, WindowFunction::Changes | WindowFunction::Resets) {
                let inside = column.times[begin..end].partition_point(|time| *time <= start);
                if begin + inside < end {
                    out.put(step, (pairs[end - 1] - pairs[begin + inside.saturating_sub(1)]) as f64);
                }
                continue;
            }
            let first = column.histograms.partition_point(|(index, _)| (*index as usize) < begin);
            let behind = column.histograms.partition_point(|(index, _)| (*index as usize) < end);
            let histograms = &column.histograms[first..behind];
            if histograms.is_empty() {
                let floats: Points<f64> = column.times[begin..end].iter().copied().zip(column.values[begin..end].iter().copied()).collect();
                if let Some(gain) = self.of_floats(&floats, function, start, at) {
                    out.put(step, gain);
                }
            } else if histograms.len() < end - begin {
                self.ctx.annotate(|a| a.mixed_floats_histograms(self.name, self.span));
            } else {
                let points: Points<Arc<FloatHistogram>> =
                    histograms.iter().map(|(index, histogram)| (column.times[*index as usize], Arc::clone(histogram))).collect();
                match self.of_histograms(&points, function, start, at) {
                    Ok(Some(gain)) => out.put_histogram(step, Arc::new(gain)),
                    Ok(None) => {}
                    Err(IncompatibleSchemas) => self.ctx.annotate(|a| a.mixed_schemas(self.name, self.span)),
                }
            }
        }
        out
    }

    fn mixed(&self) -> super::mixed::Mixed<'_> {
        super::mixed::Mixed {
            pace: self.pace,
            ctx: self.ctx,
            column: self.column,
            grid: self.grid,
            when: self.when,
            range: self.range,
            name: self.name,
            span: self.span,
            starts: self.ctx.options.use_start_timestamps,
        }
    }

    fn of_floats(&self, points: &Points<f64>, function: WindowFunction, start: i64, end: i64) -> Option<f64> {
        let (smoothed, counter) = (self.kind == Extended::Smoothed, function != WindowFunction::Delta);
        let bounds = Bounds::of(points, smoothed, start, end)?;
        let (left, right) = border_values(points, bounds, smoothed, counter);
        let mut gain = right - left;
        if counter {
            let (mut lost, mut previous) = (0.0, left);
            for value in bounds.inner(points).iter().map(|(_, value)| *value).chain([right]) {
                if value < previous {
                    lost += previous;
                }
                previous = value;
            }
            gain += lost;
        }
        Some(if function == WindowFunction::Rate { gain / window::seconds_of_range(self.range) } else { gain })
    }

    fn note_bounds(
        &self,
        outcome: Result<model::histogram::Reconciled, IncompatibleSchemas>,
        during: &str,
    ) -> Result<(), IncompatibleSchemas> {
        if outcome?.bounds {
            self.ctx.annotate(|a| a.bounds_reconciled(during, self.span));
        }
        Ok(())
    }

    fn of_histograms(
        &self,
        points: &Points<Arc<FloatHistogram>>,
        function: WindowFunction,
        start: i64,
        end: i64,
    ) -> Result<Option<FloatHistogram>, IncompatibleSchemas> {
        let (smoothed, counter) = (self.kind == Extended::Smoothed, function != WindowFunction::Delta);
        let Some(bounds) = Bounds::of(points, smoothed, start, end) else { return Ok(None) };
        let Bounds { first, last, .. } = bounds;
        let is_gauge = |h: &FloatHistogram| h.reset_hint == ResetHint::Gauge;
        for (_, point) in &points[first..=last.max(first)] {
            if point.has_custom_bounds() != points[first].1.has_custom_bounds() {
                return Err(IncompatibleSchemas);
            }
            if counter && is_gauge(point) {
                self.ctx.annotate(|a| a.not_a_counter(self.name, self.span));
            }
        }
        let left = if smoothed && points[first].0 < start {
            self.between(&points[first], &points[first + 1], start, counter)?
        } else {
            FloatHistogram::clone(&points[first].1)
        };
        let right = if smoothed && last > 0 && points[last].0 > end {
            self.between(&points[last - 1], &points[last], end, counter)?
        } else {
            FloatHistogram::clone(&points[last].1)
        };
        if !counter && (!is_gauge(&left) || !is_gauge(&right)) {
            self.ctx.annotate(|a| a.not_a_gauge(self.name, self.span));
        }
        let mut gain = right.clone();
        self.note_bounds(gain.subtract(&left), "subtraction")?;
        if counter && let Some(lost) = self.lost(points, bounds, &left, &right)? {
            self.note_bounds(gain.add(&lost), "addition")?;
        }
        if function == WindowFunction::Rate {
            gain.divide(window::seconds_of_range(self.range));
        }
        gain.reset_hint = ResetHint::Gauge;
        gain.compact(0);
        Ok(Some(gain))
    }

    /// What resets between the borders took away.
    fn lost(
        &self,
        points: &Points<Arc<FloatHistogram>>,
        bounds: Bounds,
        left: &FloatHistogram,
        right: &FloatHistogram,
    ) -> Result<Option<FloatHistogram>, IncompatibleSchemas> {
        let smoothed = self.kind == Extended::Smoothed;
        let mut begin = bounds.first + 1;
        let mut previous = left;
        if smoothed && points[bounds.first].0 < bounds.start && points[begin].1.is_reset_since(&points[bounds.first].1) {
            // The left border rose from zero already.
            previous = &points[begin].1;
            begin += 1;
        }
        if begin > bounds.last {
            return Ok(None);
        }
        let mut lost: Option<FloatHistogram> = None;
        let inner = points[begin..bounds.last].iter().map(|(_, point)| &**point);
        for point in inner.chain([right]) {
            if point.is_reset_since(previous) {
                match &mut lost {
                    None => lost = Some(previous.clone()),
                    Some(lost) => self.note_bounds(lost.add(previous), "addition")?,
                }
            }
            previous = point;
        }
        Ok(lost)
    }

    /// Between two histograms on a line, bucket by bucket.
    fn between(
        &self,
        before: &(i64, Arc<FloatHistogram>),
        after: &(i64, Arc<FloatHistogram>),
        time: i64,
        counter: bool,
    ) -> Result<FloatHistogram, IncompatibleSchemas> {
        if time == before.0 {
            return Ok(FloatHistogram::clone(&before.1));
        }
        let mut result = FloatHistogram::clone(&after.1);
        if time == after.0 {
            return Ok(result);
        }
        let fraction = (time - before.0) as f64 / (after.0 - before.0) as f64;
        if counter && after.1.is_reset_since(&before.1) {
            result.scale(fraction);
            return Ok(result);
        }
        self.note_bounds(result.subtract(&before.1), "subtraction")?;
        result.scale(fraction);
        self.note_bounds(result.add(&before.1), "addition")?;
        Ok(result)
    }

    /// `smoothed` at the steps themselves, as of an instant selector.
    pub fn smoothed(&self) -> Steps {
        let mut out = Steps::absent(self.grid.count);
        let (column, lookback) = (self.column, self.ctx.lookback);
        let (mut begin, mut end) = (0, 0);
        for step in 0..self.grid.count {
            let at = self.when.time(self.grid.time(step));
            while end < column.len() && column.times[end] <= at.saturating_add(lookback) {
                end += 1;
            }
            while begin < end && column.times[begin] <= at.saturating_sub(lookback) {
                begin += 1;
            }
            if !self.pace.go_on_after(1) {
                break;
            }
            let first = column.histograms.partition_point(|(index, _)| (*index as usize) < begin);
            let behind = column.histograms.partition_point(|(index, _)| (*index as usize) < end);
            let histograms = &column.histograms[first..behind];
            if !histograms.is_empty() && histograms.len() < end - begin {
                self.ctx.annotate(|a| a.mixed_floats_histograms(self.name, self.span));
                continue;
            }
            let next = begin + column.times[begin..end].partition_point(|time| *time < at);
            let exact = next < end && column.times[next] == at;
            if !exact && next == begin {
                continue;
            }
            if histograms.is_empty() {
                let point = |i: usize| (column.times[i], column.values[i]);
                let value = match next < end {
                    _ if exact => column.values[next],
                    true => interpolate(point(next - 1), point(next), at, false),
                    false => column.values[next - 1],
                };
                out.put(step, value);
                continue;
            }
            let point = |i: usize| (column.times[i], Arc::clone(&histograms[i - begin].1));
            let value = if exact {
                Ok(FloatHistogram::clone(&point(next).1))
            } else if next < end {
                let (before, after) = (point(next - 1), point(next));
                if before.1.has_custom_bounds() == after.1.has_custom_bounds() {
                    let gauges = before.1.reset_hint == ResetHint::Gauge && after.1.reset_hint == ResetHint::Gauge;
                    self.between(&before, &after, at, !gauges)
                } else {
                    Err(IncompatibleSchemas)
                }
            } else {
                // The hint told of the sample and not of its value.
                Ok(FloatHistogram { reset_hint: ResetHint::Unknown, ..FloatHistogram::clone(&point(next - 1).1) })
            };
            match value {
                Ok(value) => out.put_histogram(step, Arc::new(value)),
                Err(IncompatibleSchemas) => self.ctx.annotate(|a| a.mixed_schemas(self.name, self.span)),
            }
        }
        out
    }
}
