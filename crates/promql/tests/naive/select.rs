//! What selectors and subqueries give.

use super::eval::{same_labelset, series_of};
use super::{Error, Frame, Matrix, Naive, Point, Sample, Value, Vector, histograms, notes};
use model::value::is_stale;
use model::{FloatHistogram, Labels, histogram::ResetHint};
use promql::ast::{At, Expr, Extended, Subquery, VectorSelector};
use std::sync::Arc;

/// One series' windows, one for each step.
pub struct SeriesWindows {
    pub labels: Labels,
    pub drop_name: bool,
    pub steps: Vec<Vec<Point>>,
}

impl Value {
    /// Does it end its series?
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(v) => is_stale(*v),
            Self::Histogram(h) => is_stale(h.sum),
        }
    }
}

impl Naive<'_> {
    /// The fixed time of `@`.
    pub fn at(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Time(time) => time.0,
            At::Start => self.query.start,
            At::End => self.query.end,
        })
    }

    pub fn offset(&self, selector: &VectorSelector) -> i64 {
        self.millis(selector.offset_expr.as_deref(), selector.offset.0)
    }

    /// An instant selector.
    pub fn select(&self, selector: &VectorSelector, frame: Frame) -> Vec<Vector> {
        let times = frame.times();
        let (at, offset) = (self.at(selector.at), self.offset(selector));
        let mut steps = vec![Vector::new(); times.len()];
        let lookback = self.options.lookback;
        let read = |t: &i64| {
            let when = at.unwrap_or(*t) - offset;
            match selector.extended {
                // The buffer is as long as the query and both lookbacks.
                Some(Extended::Smoothed) => (when + lookback - 2 * lookback - (frame.end - frame.start), when + lookback),
                Some(Extended::Anchored) | None => (when - lookback, when),
            }
        };
        let windows: Vec<(i64, i64)> = times.iter().map(read).collect();
        let since = at.unwrap_or(frame.start) - offset;
        for (labels, points) in self.store.matching(&selector.matchers) {
            let points = &self.as_read(selector, points, since - lookback, &windows);
            for (t, step) in times.iter().zip(&mut steps) {
                let when = at.unwrap_or(*t) - offset;
                let value = match selector.extended {
                    Some(Extended::Smoothed) => self.smoothed(labels, points, when, selector.span.start),
                    Some(Extended::Anchored) | None => self.newest(points, when).map(|point| point.value.clone()),
                };
                step.extend(value.map(|value| Sample { labels: labels.clone(), t: *t, value, drop_name: false }));
            }
        }
        steps
    }

    /// The newest sample, if the lookback reaches it and the series has not ended.
    pub fn newest<'p>(&self, points: &'p [Point], when: i64) -> Option<&'p Point> {
        let newest = points.iter().rfind(|point| point.t <= when)?;
        (newest.t > when - self.options.lookback && !newest.value.is_stale()).then_some(newest)
    }

    /// The value on a line through the samples before and after.
    fn smoothed(&self, labels: &Labels, points: &[Point], when: i64, at: usize) -> Option<Value> {
        let window = window(points, when - self.options.lookback, when + self.options.lookback);
        let histograms = window.iter().filter(|point| matches!(point.value, Value::Histogram(_))).count();
        if histograms > 0 && histograms < window.len() {
            self.warn(notes::mixed_floats_histograms(labels.metric_name()), at);
            return None;
        }
        let before = window.iter().rfind(|point| point.t < when);
        let after = window.iter().find(|point| point.t >= when);
        match (before, after) {
            (_, Some(exact)) if exact.t == when => Some(exact.value.clone()),
            (Some(before), Some(after)) => match (&before.value, &after.value) {
                (Value::Float(a), Value::Float(b)) => Some(Value::Float(super::rate::on_line((before.t, *a), (after.t, *b), when, false))),
                (Value::Histogram(a), Value::Histogram(b)) => {
                    if a.has_custom_bounds() != b.has_custom_bounds() {
                        self.warn(notes::mixed_schemas(labels.metric_name()), at);
                        return None;
                    }
                    let counter = a.reset_hint != ResetHint::Gauge || b.reset_hint != ResetHint::Gauge;
                    let place = histograms::Place { name: labels.metric_name(), at };
                    self.histogram_on_line((before.t, a), (after.t, b), when, counter, place).map(|h| Value::Histogram(Arc::new(h)))
                }
                _ => unreachable!("all floats or all histograms"),
            },
            (Some(before), None) => Some(match &before.value {
                Value::Histogram(h) => Value::Histogram(unknown_hint(h)),
                float => float.clone(),
            }),
            (None, _) => None,
        }
    }

    /// The windows of a range selector or subquery at each step.
    pub fn windows(&self, e: &Expr, frame: Frame) -> Result<Vec<SeriesWindows>, Error> {
        match e {
            Expr::Matrix(matrix) => {
                let (at, offset) = (self.at(matrix.vector.at), self.offset(&matrix.vector));
                let range = self.millis(matrix.range_expr.as_deref(), matrix.range.0);
                let (before, after) = match matrix.vector.extended {
                    None => (0, 0),
                    Some(Extended::Anchored) => (self.options.lookback, 0),
                    Some(Extended::Smoothed) => (self.options.lookback, self.options.lookback),
                };
                let window_at = |t: i64| {
                    let end = at.unwrap_or(t) - offset;
                    (end - range - before, end + after)
                };
                let windows: Vec<(i64, i64)> = frame.times().into_iter().map(window_at).collect();
                let since = at.unwrap_or(frame.start) - offset;
                let series = self.store.matching(&matrix.vector.matchers).map(|(labels, points)| {
                    let points = self.as_read(&matrix.vector, points, since - range - before, &windows);
                    let steps = windows.iter().map(|(begin, end)| window(&points, *begin, *end)).collect();
                    SeriesWindows { labels: labels.clone(), drop_name: false, steps }
                });
                Ok(series.collect())
            }
            Expr::Subquery(subquery) => {
                let (range, offset) = self.subquery_times(subquery);
                let at = self.at(subquery.at);
                let inner = self.subquery(subquery, frame)?;
                let series = inner.into_iter().map(|(labels, drop_name, points)| SeriesWindows {
                    labels,
                    drop_name,
                    steps: frame
                        .times()
                        .into_iter()
                        .map(|t| window(&points, at.unwrap_or(t) - offset - range, at.unwrap_or(t) - offset))
                        .collect(),
                });
                Ok(series.collect())
            }
            other => unreachable!("not a range vector: {other}"),
        }
    }

    fn subquery_times(&self, subquery: &Subquery) -> (i64, i64) {
        let range = self.millis(subquery.range_expr.as_deref(), subquery.range.0);
        (range, self.millis(subquery.offset_expr.as_deref(), subquery.offset.0))
    }

    /// The inner expression at multiples of the subquery's step, as far as the windows of all steps reach. Whether there was
    /// a reset before a histogram is no longer known: samples may have been left out or taken twice.
    fn subquery(&self, subquery: &Subquery, frame: Frame) -> Result<Vec<(Labels, bool, Vec<Point>)>, Error> {
        let steps = self.vectors(&subquery.expr, self.subquery_frame(subquery, frame))?;
        let point = |(t, value): (i64, Value)| match value {
            Value::Histogram(h) if matches!(h.reset_hint, ResetHint::Reset | ResetHint::NoReset) => {
                Point { t, start: 0, value: Value::Histogram(unknown_hint(&h)) }
            }
            value => Point { t, start: 0, value },
        };
        Ok(series_of(&steps).into_iter().map(|(labels, (drop, points))| (labels, drop, points.into_iter().map(point).collect())).collect())
    }

    fn subquery_frame(&self, subquery: &Subquery, frame: Frame) -> Frame {
        let (range, offset) = self.subquery_times(subquery);
        let offset = offset + self.at(subquery.at).map_or(0, |at| frame.start - at);
        let step = match self.millis(subquery.step_expr.as_deref(), subquery.step.map_or(0, |step| step.0)) {
            0 => self.options.default_step,
            step => step,
        };
        // Prometheus goes on behind a fixed window for as long as the query is, but no function sees what it finds there.
        let last = if subquery.at.is_some() { frame.start } else { frame.times().last().copied().unwrap_or(frame.start) };
        let begin = frame.start - offset - range;
        let mut start = step * (begin / step);
        if start <= begin {
            start += step;
        }
        Frame { start, end: last - offset, step }
    }

    /// A range vector as the whole query.
    pub fn raw_windows(&self, e: &Expr, frame: Frame) -> Result<Matrix, Error> {
        let mut found = Matrix::new();
        match super::invariant::unwrapped(e) {
            Expr::Subquery(subquery) => {
                let steps = self.vectors(&subquery.expr, self.subquery_frame(subquery, frame))?;
                for (labels, (drop_name, points)) in series_of(&steps) {
                    let labels = if drop_name && self.options.delayed_name_removal { super::eval::nameless(&labels) } else { labels };
                    found.push((labels, points));
                }
            }
            e => {
                let Expr::Matrix(matrix) = e else { unreachable!("not a range vector: {e}") };
                for series in self.windows(e, frame)? {
                    let points: Vec<(i64, Value)> = series.steps[0].iter().map(|point| (point.t, point.value.clone())).collect();
                    let points = match matrix.vector.extended {
                        None => points,
                        Some(extended) => {
                            let end = self.at(matrix.vector.at).unwrap_or(frame.start) - self.offset(&matrix.vector);
                            let range = self.millis(matrix.range_expr.as_deref(), matrix.range.0);
                            super::rate::extended_points(&points, end - range, end, extended)?
                        }
                    };
                    if !points.is_empty() {
                        found.push((series.labels, points));
                    }
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        if found.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(same_labelset());
        }
        Ok(found)
    }
}

/// The samples in `(begin, end]` that do not end the series.
fn window(points: &[Point], begin: i64, end: i64) -> Vec<Point> {
    points.iter().filter(|point| begin < point.t && point.t <= end && !point.value.is_stale()).cloned().collect()
}

fn unknown_hint(h: &FloatHistogram) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram { reset_hint: ResetHint::Unknown, ..h.clone() })
}
