//! Functions of windows that hold native histograms, or histograms and floats.
//!
//! The floats of such a series are a column of their own that the functions of floats take; here is what histograms add to
//! that, step by step, and which mixtures have no answer.

use super::annotations::Annotations;
use super::context::Context;
use super::pace::Pace;
use super::vector::{Grid, Steps};
use super::window::{self, Windowed};
use crate::ast::Span;
use crate::plan::When;
use crate::plan::operator::WindowFunction;
use model::FloatHistogram;
use model::histogram::{Reconciled, ResetHint};
use model::value::is_stale;
use std::sync::Arc;
use storage::Column;

/// A series with histograms, and where the steps look.
pub(crate) struct Mixed<'a> {
    pub ctx: &'a Context<'a>,
    /// As of [`Windowed`].
    pub pace: &'a Pace<'a>,
    pub column: &'a Column,
    pub grid: Grid,
    pub when: When,
    pub range: i64,
    /// The metric's name and where annotations are to stand.
    pub name: &'a str,
    pub span: Span,
    /// Look at start timestamps?
    pub starts: bool,
}

/// One step's window, never empty.
struct Window<'a> {
    step: usize,
    /// Its end, in milliseconds.
    at: i64,
    /// Samples `begin..end` of the column.
    begin: usize,
    end: usize,
    histograms: &'a [(u32, Arc<FloatHistogram>)],
}

impl Window<'_> {
    fn floats(&self) -> usize {
        self.end - self.begin - self.histograms.len()
    }
}

/// A histogram's size in samples of 16 bytes, as Prometheus counts it.
pub(crate) fn size(histogram: &FloatHistogram) -> u64 {
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    let numbers = histogram.positive_counts.len() + histogram.negative_counts.len() + histogram.custom_values.len();
    (168 + 8 * (spans + numbers) as u64 + 8) / 16
}

/// Which sample at or behind a window's end Prometheus reads with the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// One at the very end.
    AtEnd,
    /// Whatever comes next, since it looks back from there.
    Next,
}

/// Leaves of histograms what `histogram_count` and its like read. Since resets can't be seen in that any more, the hints
/// tell them, as far as Prometheus has read the histogram before: it reads from window to window (begin and end), and
/// where one begins behind all that it has reached, it forgets.
pub(crate) fn keep_totals(column: &mut Column, windows: impl Iterator<Item = (i64, i64)>, behind: Behind) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    let mut histograms = column.histograms.iter_mut().peekable();
    let (mut next, mut reached) = (0, i64::MIN);
    for (begin, end) in windows {
        if begin > reached {
            previous = None;
            while column.times.get(next).is_some_and(|time| *time < begin) {
                histograms.next_if(|(index, _)| *index as usize == next);
                next += 1;
            }
        }
        while let Some(time) = column.times.get(next).copied() {
            reached = time;
            if time <= end || behind == Behind::Next {
                // Each is read once, however often it is reached.
                if let Some((_, histogram)) = histograms.next_if(|(index, _)| *index as usize == next) {
                    read_totals(histogram, &mut previous);
                }
            }
            if time >= end {
                break;
            }
            next += 1;
        }
    }
}

fn read_totals(histogram: &mut Arc<FloatHistogram>, previous: &mut Option<Arc<FloatHistogram>>) {
    let hint = match (histogram.reset_hint, &previous) {
        (ResetHint::Unknown, Some(previous)) if !is_stale(histogram.sum) => {
            if histogram.is_reset_since(previous) {
                ResetHint::Reset
            } else {
                ResetHint::NoReset
            }
        }
        (hint, _) => hint,
    };
    let (schema, count, sum) = (histogram.schema, histogram.count, histogram.sum);
    let totals = FloatHistogram { reset_hint: hint, schema, count, sum, ..FloatHistogram::default() };
    let whole = std::mem::replace(histogram, Arc::new(totals));
    if !is_stale(sum) {
        *previous = Some(whole);
    }
}

/// A histogram for a subquery's window: samples before it may have been left out or taken twice, so what it says of a reset
/// before it no longer holds.
pub(crate) fn without_reset_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.reset_hint {
        ResetHint::Unknown | ResetHint::Gauge => Arc::clone(histogram),
        ResetHint::Reset | ResetHint::NoReset => {
            Arc::new(FloatHistogram { reset_hint: ResetHint::Unknown, ..FloatHistogram::clone(histogram) })
        }
    }
}

impl<'a> Mixed<'a> {
    /// The function at all steps.
    pub fn apply(&self, function: WindowFunction, parameters: &[Vec<f64>]) -> Steps {
        use WindowFunction as F;
        let mut out = if self.column.histograms.len() == self.column.len() {
            Steps::absent(self.grid.count)
        } else {
            self.of_floats(function, parameters)
        };
        let mut histograms = Vec::new();
        let mut ignored = false;
        let pairs = self.pair_counts(function);
        self.each(|w| {
            let mixed = w.floats() > 0 && !w.histograms.is_empty();
            match function {
                F::Count => out.put(w.step, (w.end - w.begin) as f64),
                F::Present => out.put(w.step, 1.0),
                F::Changes | F::Resets => out.put(w.step, (pairs[w.end - 1] - pairs[w.begin]) as f64),
                F::TsOfFirst => out.put(w.step, self.column.times[w.begin] as f64 / 1000.0),
                F::TsOfLast => out.put(w.step, self.column.times[w.end - 1] as f64 / 1000.0),
                F::First | F::Last => {
                    let (at, histogram) = match function {
                        F::First => (w.begin, w.histograms.first()),
                        _ => (w.end - 1, w.histograms.last()),
                    };
                    match histogram.filter(|(index, _)| *index as usize == at) {
                        Some((_, histogram)) => {
                            out.present.unset(w.step);
                            histograms.push((w.step, Arc::clone(histogram)));
                        }
                        None => out.put(w.step, self.column.values[at]),
                    }
                }
                F::Irate | F::Idelta => {
                    out.present.unset(w.step);
                    self.of_last_two(&w, function == F::Irate, &mut out, &mut histograms);
                }
                F::Rate | F::Increase | F::Delta | F::Sum | F::Avg if mixed => {
                    out.present.unset(w.step);
                    self.note(|a, name, span| a.mixed_floats_histograms(name, span));
                }
                F::Rate | F::Increase | F::Delta if !w.histograms.is_empty() => {
                    histograms.extend(self.extrapolated(&w, function).map(|histogram| (w.step, Arc::new(histogram))));
                }
                F::Sum | F::Avg if !w.histograms.is_empty() => {
                    let total = if function == F::Sum { self.sum(w.histograms) } else { self.average(w.histograms) };
                    histograms.extend(total.map(|histogram| (w.step, Arc::new(histogram))));
                }
                F::Rate | F::Increase if self.starts && !self.column.starts.is_empty() => {
                    if (w.begin + 1..w.end).any(|at| window::starts_overlap(&self.column.times, &self.column.starts, at)) {
                        self.note(|a, name, span| a.start_time_overlap(name, span));
                    }
                }
                F::Rate | F::Increase | F::Delta | F::Sum | F::Avg => {}
                F::Min
                | F::Max
                | F::Stddev
                | F::Stdvar
                | F::Quantile
                | F::Deriv
                | F::PredictLinear
                | F::Mad
                | F::TsOfMin
                | F::TsOfMax
                | F::DoubleExponentialSmoothing => ignored |= mixed,
            }
        });
        if ignored {
            self.note(|a, name, span| a.ignored_in_range(name, span));
        }
        out.histograms = histograms;
        out
    }

    fn note(&self, add: impl FnOnce(&mut Annotations, &str, Span)) {
        self.ctx.annotate(|a| add(a, self.name, self.span));
    }

    /// What the function gives where the histograms are left out.
    fn of_floats(&self, function: WindowFunction, parameters: &[Vec<f64>]) -> Steps {
        let mut floats = self.column.clone();
        super::select::drop_histograms(&mut floats);
        let starts: &[i64] = if self.starts { &floats.starts } else { &[] };
        let windowed = Windowed {
            pace: self.pace,
            times: &floats.times,
            values: &floats.values,
            starts,
            grid: self.grid,
            when: self.when,
            range: self.range,
        };
        windowed.apply(function, parameters, &mut 0, &mut 0)
    }

    /// Calls `f` for each step whose window holds a sample, in order.
    fn each(&self, mut f: impl FnMut(Window<'a>)) {
        let column = self.column;
        let (mut begin, mut end, mut first, mut behind) = (0, 0, 0, 0);
        for step in 0..self.grid.count {
            let at = self.when.time(self.grid.time(step));
            let after = at.saturating_sub(self.range);
            while end < column.len() && column.times[end] <= at {
                end += 1;
            }
            while begin < end && column.times[begin] <= after {
                begin += 1;
            }
            if !self.pace.go_on_after(1 + (end - begin)) {
                return;
            }
            while column.histograms.get(behind).is_some_and(|(index, _)| (*index as usize) < end) {
                behind += 1;
            }
            while first < behind && (column.histograms[first].0 as usize) < begin {
                first += 1;
            }
            if begin < end {
                f(Window { step, at, begin, end, histograms: &column.histograms[first..behind] });
            }
        }
    }

    /// How many samples up to each differ from their predecessor, or are the first after a reset.
    pub fn pair_counts(&self, function: WindowFunction) -> Vec<u64> {
        if !matches!(function, WindowFunction::Changes | WindowFunction::Resets) {
            return Vec::new();
        }
        let mut rest = self.column.histograms.iter().peekable();
        let mut previous: Option<&Arc<FloatHistogram>> = None;
        let mut total = 0;
        let mut counts = Vec::with_capacity(self.column.len());
        for at in 0..self.column.len() {
            let now = rest.next_if(|(index, _)| *index as usize == at).map(|(_, histogram)| histogram);
            let counted = at > 0
                && match (previous, now, function) {
                    (Some(before), Some(now), WindowFunction::Changes) => !now.is_same(before),
                    (Some(before), Some(now), _) => self.is_start_reset(at) || now.is_reset_since(before),
                    (None, None, _) => {
                        let (before, now) = (self.column.values[at - 1], self.column.values[at]);
                        if function == WindowFunction::Changes {
                            now != before && !(now.is_nan() && before.is_nan())
                        } else {
                            now < before || self.is_start_reset(at)
                        }
                    }
                    _ => true,
                };
            total += u64::from(counted);
            counts.push(total);
            previous = now;
        }
        counts
    }

    /// Does its start timestamp say that a sample is the first after a reset?
    fn is_start_reset(&self, at: usize) -> bool {
        self.starts && !self.column.starts.is_empty() && window::is_start_reset(&self.column.times, &self.column.starts, at)
    }

    /// `irate` and `idelta`.
    fn of_last_two(&self, w: &Window<'_>, rate: bool, out: &mut Steps, histograms: &mut Vec<(usize, Arc<FloatHistogram>)>) {
        if w.end - w.begin < 2 {
            return;
        }
        let seconds = (self.column.times[w.end - 1] - self.column.times[w.end - 2]) as f64 / 1000.0;
        let of = |at: usize| w.histograms.iter().rev().take(2).find(|(index, _)| *index as usize == at).map(|(_, h)| h);
        let (before, now) = match (of(w.end - 2), of(w.end - 1)) {
            (Some(before), Some(now)) => (before, now),
            (None, None) => {
                let (before, now) = (self.column.values[w.end - 2], self.column.values[w.end - 1]);
                let reset = rate && (now < before || self.is_start_reset(w.end - 1));
                let gain = if reset { now } else { now - before };
                out.put(w.step, if rate { gain / seconds } else { gain });
                return;
            }
            _ => return self.note(|a, name, span| a.mixed_floats_histograms(name, span)),
        };
        let gauges = [before, now].iter().filter(|h| h.reset_hint == ResetHint::Gauge).count();
        if rate && gauges > 0 {
            self.note(|a, name, span| a.not_a_counter(name, span));
        }
        if !rate && gauges < 2 {
            self.note(|a, name, span| a.not_a_gauge(name, span));
        }
        let mut gain = FloatHistogram::clone(now);
        if !rate || !(self.is_start_reset(w.end - 1) || now.is_reset_since(before)) {
            match gain.subtract(before) {
                Ok(reconciled) => self.note_bounds(reconciled, "subtraction"),
                Err(_) => return self.note(|a, name, span| a.mixed_schemas(name, span)),
            }
        }
        gain.reset_hint = ResetHint::Gauge;
        gain.compact(0);
        if rate {
            gain.divide(seconds);
        }
        histograms.push((w.step, Arc::new(gain)));
    }

    fn note_bounds(&self, reconciled: Reconciled, during: &str) {
        if reconciled.bounds {
            self.note(|a, _, span| a.bounds_reconciled(during, span));
        }
    }

    /// `rate`, `increase`, `delta`, as of floats; but each bucket may be extrapolated below zero.
    fn extrapolated(&self, w: &Window<'_>, function: WindowFunction) -> Option<FloatHistogram> {
        let counter = function != WindowFunction::Delta;
        let intervals = w.histograms.len() - 1;
        let (first, last) = (self.column.times[w.begin], self.column.times[w.end - 1]);
        let begin = w.at.saturating_sub(self.range);
        let mut gain = if intervals > 0 { Some(self.gain(w, counter)?) } else { None };
        let mut sampled = (last - first) as f64 / 1000.0;
        let spacing = if intervals > 0 { sampled / intervals as f64 } else { 0.0 };
        let threshold = spacing * 1.1;
        let mut to_start = (first - begin) as f64 / 1000.0;
        let mut to_end = (w.at - last) as f64 / 1000.0;
        let start = if self.starts && counter { self.column.starts.get(w.begin).copied().unwrap_or(0) } else { 0 };
        if start != 0 && start > begin && start < first {
            // It began within the window, at zero.
            to_start = 0.0;
            sampled = (last - start) as f64 / 1000.0;
            let at_first = &w.histograms[0].1;
            match &mut gain {
                None => gain = Some(FloatHistogram::clone(at_first)),
                Some(gain) => match gain.add(at_first) {
                    Ok(reconciled) => self.note_bounds(reconciled, "addition"),
                    Err(_) => {
                        self.note(|a, name, span| a.mixed_schemas(name, span));
                        return None;
                    }
                },
            }
        } else {
            let gain = gain.as_ref()?;
            if to_start >= threshold {
                to_start = spacing / 2.0;
            }
            let at_first = w.histograms[0].1.count;
            if counter && gain.count > 0.0 && at_first >= 0.0 {
                to_start = to_start.min(sampled * (at_first / gain.count));
            }
        }
        let mut gain = gain?;
        if to_end >= threshold {
            to_end = spacing / 2.0;
        }
        let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
        if function == WindowFunction::Rate {
            factor /= window::seconds_of_range(self.range);
        }
        gain.scale(factor);
        Some(gain)
    }

    /// What a window's last histogram has more than its first, resets healed. Where schemas turn out to be mixed, Prometheus
    /// says nothing else of what it has found before.
    fn gain(&self, w: &Window<'_>, counter: bool) -> Option<FloatHistogram> {
        let points = w.histograms;
        let (first, last) = (&points[0].1, &points[points.len() - 1].1);
        let is_gauge = |h: &FloatHistogram| h.reset_hint == ResetHint::Gauge;
        let mut not_a_counter = counter && (is_gauge(first) || is_gauge(last));
        let mixed_schemas = || -> Option<FloatHistogram> {
            self.note(|a, name, span| a.mixed_schemas(name, span));
            None
        };
        let nothing;
        let mut previous: &FloatHistogram = first;
        let mut custom = previous.has_custom_bounds();
        let second = &points[1].1;
        if counter && (self.is_start_reset(w.begin + 1) || second.is_reset_since(previous)) {
            // The first one says nothing then, not even about the layout.
            nothing = FloatHistogram { schema: second.schema, custom_values: second.custom_values.clone(), ..FloatHistogram::default() };
            previous = &nothing;
            custom = second.has_custom_bounds();
        }
        if last.has_custom_bounds() != custom {
            if not_a_counter {
                self.note(|a, name, span| a.not_a_counter(name, span));
            }
            return mixed_schemas();
        }
        let mut schema = last.schema.min(previous.schema);
        if counter {
            for (_, point) in &points[1..points.len() - 1] {
                not_a_counter |= is_gauge(point);
                schema = schema.min(point.schema);
                if point.has_custom_bounds() != custom {
                    return mixed_schemas();
                }
            }
        }
        let mut gain = FloatHistogram::clone(last);
        if schema < gain.schema && gain.reduce_resolution(schema).is_err() {
            return None;
        }
        let mut reconciled = Vec::new();
        let mut overlap = false;
        match gain.subtract(previous) {
            Ok(done) => reconciled.push((done, "subtraction")),
            Err(_) => return mixed_schemas(),
        }
        if counter {
            let starts = self.starts && !self.column.starts.is_empty();
            for (at, (_, point)) in points.iter().enumerate().skip(1) {
                overlap |= starts && window::starts_overlap(&self.column.times, &self.column.starts, w.begin + at);
                if self.is_start_reset(w.begin + at) || point.is_reset_since(previous) {
                    match gain.add(previous) {
                        Ok(done) => reconciled.push((done, "addition")),
                        Err(_) => return mixed_schemas(),
                    }
                }
                previous = point;
            }
        } else if !is_gauge(first) || !is_gauge(last) {
            self.note(|a, name, span| a.not_a_gauge(name, span));
        }
        if not_a_counter {
            self.note(|a, name, span| a.not_a_counter(name, span));
        }
        if overlap {
            self.note(|a, name, span| a.start_time_overlap(name, span));
        }
        reconciled.into_iter().for_each(|(done, during)| self.note_bounds(done, during));
        gain.reset_hint = ResetHint::Gauge;
        gain.compact(0);
        Some(gain)
    }

    fn sum(&self, points: &[(u32, Arc<FloatHistogram>)]) -> Option<FloatHistogram> {
        let mut sum = super::native::Sum::new(&points[0].1);
        let added = points[1..].iter().try_for_each(|(_, point)| sum.add(point));
        self.finished(added.is_ok(), sum, super::native::Sum::total)
    }

    fn average(&self, points: &[(u32, Arc<FloatHistogram>)]) -> Option<FloatHistogram> {
        let mut sum = super::native::Sum::new(&points[0].1);
        let added = points[1..].iter().try_for_each(|(_, point)| sum.add_to_mean(point));
        self.finished(added.is_ok(), sum, super::native::Sum::mean)
    }

    fn finished(
        &self,
        compatible: bool,
        sum: super::native::Sum,
        result: impl Fn(super::native::Sum) -> FloatHistogram,
    ) -> Option<FloatHistogram> {
        if !compatible {
            self.note(|a, name, span| a.mixed_schemas(name, span));
            return None;
        }
        if sum.resets_collide() {
            self.note(|a, _, span| a.resets_collide("aggregation", span));
        }
        if sum.bounds_reconciled {
            self.note(|a, _, span| a.bounds_reconciled("aggregation", span));
        }
        Some(result(sum))
    }
}
