//! Functions of sliding windows: all steps of one series in one pass.
//!
//! The window of a step is `(t - range, t]`; its borders only move forward, so each sample enters
//! and leaves once. What can be carried from step to step is (reset positions, a monotonic deque,
//! exact prefix sums of whole numbers); where the reference's order of float additions forbids it
//! (sums of fractions, variance, regression), the window is added up anew, to have its bits.

use super::exact;
use super::kahan::Kahan;
use super::pace::Pace;
use super::vector::{Grid, Steps};
use crate::plan::When;
use crate::plan::operator::WindowFunction;
use std::collections::VecDeque;

/// Samples of a series without staleness markers, and where the steps look.
pub(crate) struct Windowed<'c> {
    /// When it stops, what has been found is worth nothing.
    pub pace: &'c Pace<'c>,
    pub times: &'c [i64],
    pub values: &'c [f64],
    /// Start timestamps, if they are to be looked at and there are any.
    pub starts: &'c [i64],
    pub grid: Grid,
    pub when: When,
    pub range: i64,
}

/// One step's window: samples `begin..end`, never empty, of the times after `from` until `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    step: usize,
    begin: usize,
    end: usize,
    from: i64,
    at: i64,
}

/// Between two looks whether to go on there are not many more windows.
const RUN_MAX: usize = 1024;

/// Windows of steps that follow each other. What they have lies at the same distances from their borders, each `stride` samples
/// behind the one before.
#[derive(Clone, Copy)]
struct Run {
    /// The first one.
    window: Window,
    windows: usize,
    stride: usize,
    /// From step to step, in milliseconds.
    interval: i64,
}

impl Run {
    fn window(&self, i: usize) -> Window {
        let Window { step, begin, end, from, at } = self.window;
        let (moved, by) = (i * self.stride, (i as i64).wrapping_mul(self.interval));
        Window { step: step + i, begin: begin + moved, end: end + moved, from: from.wrapping_add(by), at: at.wrapping_add(by) }
    }
}

impl Windowed<'_> {
    /// The function at all steps; counts the samples looked at, and the windows in which start timestamps overlap.
    pub fn apply(&self, function: WindowFunction, parameters: &[Vec<f64>], looked_at: &mut u64, overlaps: &mut u64) -> Steps {
        let parameter = parameters.first();
        let mut out = Steps::absent(self.grid.count);
        if self.times.is_empty() {
            return out;
        }
        use WindowFunction as F;
        let count = |looked: &mut u64, w: Window| *looked += (w.end - w.begin) as u64;
        match function {
            F::Rate | F::Increase | F::Delta => self.extrapolated(function, &mut out, looked_at, overlaps),
            F::Irate | F::Idelta => self.each(|w| {
                count(looked_at, w);
                if let Some(v) = self.instant_value(w, function == F::Irate) {
                    out.put(w.step, v);
                }
            }),
            F::Min | F::Max => self.extreme(function == F::Max, &mut out, looked_at),
            F::Sum | F::Avg => self.sums(function == F::Avg, &mut out, looked_at),
            F::Changes | F::Resets => self.pairs(function == F::Changes, &mut out, looked_at),
            F::Count => self.each(|w| {
                count(looked_at, w);
                out.put(w.step, (w.end - w.begin) as f64);
            }),
            F::Last | F::First => self.each(|w| {
                count(looked_at, w);
                out.put(w.step, self.values[if function == F::Last { w.end - 1 } else { w.begin }]);
            }),
            F::TsOfFirst | F::TsOfLast => self.each(|w| {
                count(looked_at, w);
                out.put(w.step, self.times[if function == F::TsOfLast { w.end - 1 } else { w.begin }] as f64 / 1000.0);
            }),
            F::TsOfMin | F::TsOfMax => self.each(|w| {
                count(looked_at, w);
                let beats = |new: f64, old: f64| if function == F::TsOfMax { new >= old } else { new <= old };
                let better = |best: usize, at: usize| {
                    if beats(self.values[at], self.values[best]) || self.values[best].is_nan() { at } else { best }
                };
                out.put(w.step, self.times[(w.begin..w.end).fold(w.begin, better)] as f64 / 1000.0);
            }),
            F::Mad => self.each(|w| {
                count(looked_at, w);
                out.put(w.step, median_deviation(&self.values[w.begin..w.end]));
            }),
            F::DoubleExponentialSmoothing => self.each(|w| {
                count(looked_at, w);
                if let (true, [smoothing, trend]) = (w.end - w.begin > 1, parameters) {
                    out.put(w.step, smoothed(&self.values[w.begin..w.end], smoothing[w.step], trend[w.step]));
                }
            }),
            F::Present => self.each(|w| {
                count(looked_at, w);
                out.put(w.step, 1.0);
            }),
            F::Stddev | F::Stdvar => self.each(|w| {
                count(looked_at, w);
                let variance = variance(&self.values[w.begin..w.end]);
                out.put(w.step, if function == F::Stddev { variance.sqrt() } else { variance });
            }),
            F::Quantile => {
                let mut sorted = Vec::new();
                self.each(|w| {
                    count(looked_at, w);
                    sorted.clear();
                    sorted.extend_from_slice(&self.values[w.begin..w.end]);
                    out.put(w.step, quantile(parameter.map_or(f64::NAN, |p| p[w.step]), &mut sorted));
                });
            }
            F::Deriv | F::PredictLinear => self.each(|w| {
                count(looked_at, w);
                if w.end - w.begin < 2 {
                    return;
                }
                let (times, values) = (&self.times[w.begin..w.end], &self.values[w.begin..w.end]);
                let value = match (function, parameter) {
                    (F::PredictLinear, Some(seconds)) => {
                        let (slope, intercept) = regression(times, values, self.grid.time(w.step));
                        slope * seconds[w.step] + intercept
                    }
                    _ => regression(times, values, times[0]).0,
                };
                out.put(w.step, value);
            }),
        }
        out
    }

    /// Calls `f` for each step whose window holds a sample, in order.
    fn each(&self, mut f: impl FnMut(Window)) {
        self.each_run(|run| {
            for i in 0..run.windows {
                let w = run.window(i);
                // Some functions look at each sample of each window.
                if !self.pace.go_on_after(1 + (w.end - w.begin) / 128) {
                    return false;
                }
                f(w);
            }
            true
        });
    }

    /// As [`Self::each`], windows that look alike at once; until `f` says that it is enough.
    fn each_run(&self, mut f: impl FnMut(Run) -> bool) {
        let (mut begins, mut ends) = (Border::default(), Border::default());
        let saturating = |step| {
            let at = self.when.time(self.grid.time(step));
            (at.saturating_sub(self.range), at)
        };
        // Mostly times are far from where they end, which need not be asked at each step.
        let ((from, at), (_, end)) = (saturating(0), saturating(self.grid.count.saturating_sub(1)));
        let interval = if self.when.at.is_none() { self.grid.step } else { 0 };
        let way = interval.checked_mul(self.grid.count as i64 - 1);
        let plain = way.is_some() && at.checked_sub(self.range) == Some(from) && end.checked_sub(at) == way;
        let mut step = 0;
        let mut before: Option<Window> = None;
        while step < self.grid.count {
            let by = interval.wrapping_mul(step as i64);
            let (from, at) = if plain { (from.wrapping_add(by), at.wrapping_add(by)) } else { saturating(step) };
            let end = ends.advance(self.times, at);
            let begin = begins.advance(self.times, from).min(end);
            if begin == end {
                (before, step) = (None, step + 1);
                if !self.pace.go_on_after(1) {
                    return;
                }
                continue;
            }
            let window = Window { step, begin, end, from, at };
            let mut run = Run { window, windows: 1, stride: 0, interval };
            let moved = |to: usize, from: usize| self.times[to].wrapping_sub(self.times[from]) == interval;
            let is_alike = |before: &Window| {
                let strides = (begin.wrapping_sub(before.begin), end.wrapping_sub(before.end));
                plain && before.begin < begin && strides.0 == strides.1 && moved(begin, before.begin) && moved(end - 1, before.end - 1)
            };
            if let Some(before) = before.filter(is_alike) {
                run.stride = begin - before.begin;
                run.windows = self.alike(before, &run);
                begins.skip(run.windows - 1);
                ends.skip(run.windows - 1);
            }
            if !f(run) {
                return;
            }
            (before, step) = (Some(run.window(run.windows - 1)), step + run.windows);
        }
    }

    /// How many windows from that of a run, which does, on have what the one before it has, moved by as many samples and as much time.
    fn alike(&self, before: Window, run: &Run) -> usize {
        let Window { step, begin, end, from, at } = before;
        let is_alike = |i: usize| {
            let (moved, by) = (i * run.stride, (i as i64).wrapping_mul(run.interval));
            let ends = end + moved;
            ends <= self.times.len()
                && self.times[begin + moved].wrapping_sub(by) == self.times[begin]
                && self.times[ends - 1].wrapping_sub(by) == self.times[end - 1]
                && self.times[begin + moved - 1] <= from.wrapping_add(by)
                && self.times.get(ends).is_none_or(|time| at.wrapping_add(by) < *time)
        };
        let most = (self.grid.count - 1 - step).min(RUN_MAX);
        // Those of times at equal distances are, each with the times beside it.
        let first = begin.saturating_sub(1);
        let beside = end.saturating_add(most.saturating_mul(run.stride)).saturating_add(1).min(self.times.len());
        let even = first + even(&self.times[first..beside]);
        let last = if even == self.times.len() { even } else { even.saturating_sub(1) };
        let even = (last.saturating_sub(end) / run.stride).min(most);
        if even > 1 {
            return even;
        }
        1 + (2..=most).take_while(|i| is_alike(*i)).count()
    }

    /// `rate`, `increase`, `delta`: what the counter gained between the window's first and last
    /// sample, extrapolated to its borders.
    fn extrapolated(&self, function: WindowFunction, out: &mut Steps, looked_at: &mut u64, overlaps: &mut u64) {
        let counter = function != WindowFunction::Delta;
        // (index of the sample after the reset, value before it), walked along with the window.
        let mut resets: Vec<(usize, f64)> = Vec::new();
        if counter && (!self.starts.is_empty() || any_falls(self.values)) {
            for (i, pair) in self.values.windows(2).enumerate() {
                if pair[1] < pair[0] || (!self.starts.is_empty() && is_start_reset(self.times, self.starts, i + 1)) {
                    resets.push((i + 1, pair[0]));
                }
            }
        }
        let per = (function == WindowFunction::Rate).then(|| seconds_of_range(self.range));
        let mut reach = Reach::of(Shape::default(), per);
        if resets.is_empty() && self.starts.is_empty() {
            // Windows of regular series look alike, so that nothing is left but two values of each.
            return self.each_run(|Run { window: w, windows, stride, .. }| {
                *looked_at += (windows * (w.end - w.begin)) as u64;
                if w.end - w.begin > 1 && windows == 1 {
                    let first = self.values[w.begin];
                    out.put(w.step, self.reach(w, &mut reach, per).extrapolate(counter, first, self.values[w.end - 1] - first, per));
                } else if w.end - w.begin > 1 {
                    let reach = self.reach(w, &mut reach, per);
                    let every = |from: usize| self.values[from..].iter().step_by(stride);
                    let places = out.values[w.step..w.step + windows].iter_mut();
                    for ((place, first), last) in places.zip(every(w.begin)).zip(every(w.end - 1)) {
                        *place = reach.extrapolate(counter, *first, last - first, per);
                    }
                    out.present.set_run(w.step, windows);
                }
                self.pace.go_on_after(windows)
            });
        }
        let mut next_reset = 0;
        self.each(|w| {
            *looked_at += (w.end - w.begin) as u64;
            let started = if counter { self.started_within(w) } else { None };
            if w.end - w.begin == 1 && started.is_none() {
                return;
            }
            if counter && !self.starts.is_empty() {
                let overlap = (w.begin + 1..w.end).any(|at| starts_overlap(self.times, self.starts, at));
                *overlaps += u64::from(overlap);
            }
            let first_value = self.values[w.begin];
            let mut gain = self.values[w.end - 1] - first_value;
            while next_reset < resets.len() && resets[next_reset].0 <= w.begin {
                next_reset += 1;
            }
            for (index, before) in &resets[next_reset..] {
                if *index >= w.end {
                    break;
                }
                gain += before;
            }
            let reach = self.reach(w, &mut reach, per);
            let value = match started {
                // It began at zero then, and there is nothing to extrapolate.
                Some(start) => {
                    let since = (self.times[w.end - 1] - start) as f64 / 1000.0;
                    (gain + first_value) * extrapolation(since, 0.0, reach.to_end, per)
                }
                None => reach.extrapolate(counter, first_value, gain, per),
            };
            out.put(w.step, value);
        });
    }

    /// That of a window, mostly as that of the one before.
    #[inline(always)]
    fn reach(&self, w: Window, before: &mut Reach, per: Option<f64>) -> Reach {
        let (first, last) = (self.times[w.begin], self.times[w.end - 1]);
        let (to_start, to_end) = (first.saturating_sub(w.from), w.at.saturating_sub(last));
        let shape = Shape { intervals: w.end - w.begin - 1, to_start, to_end, sampled: last - first };
        if shape != before.shape {
            *before = Reach::of(shape, per);
        }
        *before
    }

    /// When the counter began, if that was in the window and before its first sample.
    fn started_within(&self, w: Window) -> Option<i64> {
        let start = *self.starts.get(w.begin)?;
        (start != 0 && start > w.from && start < self.times[w.begin]).then_some(start)
    }

    fn instant_value(&self, w: Window, rate: bool) -> Option<f64> {
        if w.end - w.begin < 2 {
            return None;
        }
        let (previous, last) = (self.values[w.end - 2], self.values[w.end - 1]);
        // After a reset a counter has gained what it shows.
        let reset = last < previous || (!self.starts.is_empty() && is_start_reset(self.times, self.starts, w.end - 1));
        let gain = if rate && reset { last } else { last - previous };
        let interval = self.times[w.end - 1] - self.times[w.end - 2];
        Some(if rate { gain / (interval as f64 / 1000.0) } else { gain })
    }

    /// A deque of candidates: values that no later one in the window beats. The earliest of equal
    /// ones stays, as in a scan; NaN counts only where there is nothing else.
    fn extreme(&self, max: bool, out: &mut Steps, looked_at: &mut u64) {
        let beats = |new: f64, old: f64| if max { new > old } else { new < old };
        let mut candidates: VecDeque<usize> = VecDeque::new();
        let mut entered = 0;
        self.each(|w| {
            *looked_at += (w.end - w.begin) as u64;
            entered = entered.max(w.begin);
            for index in entered..w.end {
                let value = self.values[index];
                if value.is_nan() {
                    continue;
                }
                while candidates.back().is_some_and(|back| beats(value, self.values[*back])) {
                    candidates.pop_back();
                }
                candidates.push_back(index);
            }
            entered = w.end;
            while candidates.front().is_some_and(|front| *front < w.begin) {
                candidates.pop_front();
            }
            let index = candidates.front().copied().unwrap_or(w.end - 1);
            out.put(w.step, self.values[index]);
        });
    }

    fn sums(&self, average: bool, out: &mut Steps, looked_at: &mut u64) {
        // One window needs no sums of others.
        let prefix = if self.grid.count > 1 { exact::prefix_sums(self.values) } else { None };
        self.each(|w| {
            *looked_at += (w.end - w.begin) as u64;
            let window = &self.values[w.begin..w.end];
            let exact = match &prefix {
                Some(prefix) => Some(prefix[w.end] - prefix[w.begin]),
                None if self.grid.count == 1 => exact::sum(window),
                None => None,
            };
            let value = match (exact, average) {
                (Some(exact), false) => exact,
                (Some(exact), true) => exact / window.len() as f64,
                (None, false) => sum(window),
                (None, true) => mean(window),
            };
            out.put(w.step, value);
        });
    }

    /// How many neighbours in the window differ (`changes`) or fall (`resets`), from prefix counts.
    fn pairs(&self, changes: bool, out: &mut Steps, looked_at: &mut u64) {
        let mut prefix = Vec::with_capacity(self.values.len());
        let mut total = 0u64;
        for (i, value) in self.values.iter().enumerate() {
            if i > 0 {
                let previous = self.values[i - 1];
                let counts = if changes { *value != previous && !(value.is_nan() && previous.is_nan()) } else { *value < previous };
                let counts = counts || (!changes && !self.starts.is_empty() && is_start_reset(self.times, self.starts, i));
                total += u64::from(counts);
            }
            prefix.push(total);
        }
        self.each(|w| {
            *looked_at += (w.end - w.begin) as u64;
            out.put(w.step, (prefix[w.end - 1] - prefix[w.begin]) as f64);
        });
    }
}

/// Mostly no value is less than the one before, which is found out faster when nothing else is asked.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn any_falls(values: &[f64]) -> bool {
    values.iter().skip(1).zip(values).fold(false, |any, (next, before)| any | (next < before))
}

/// How many of these times, from the first on, are at equal distances.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn even(times: &[i64]) -> usize {
    let [first, second, ..] = times else { return times.len() };
    let distance = second.wrapping_sub(*first);
    let is_uneven = |(a, b): (&i64, &i64)| b.wrapping_sub(*a) ^ distance;
    let mut at = 1;
    // Many at once, and then one by one where it ends.
    for block in times[1..].chunks(64) {
        let before = &times[at - 1..at - 1 + block.len()];
        if before.iter().zip(block).fold(0, |any, pair| any | is_uneven(pair)) != 0 {
            return at + before.iter().zip(block).take_while(|pair| is_uneven(*pair) == 0).count();
        }
        at += block.len();
    }
    at
}

/// How many samples lie before a limit, which never falls from one call to the next, or on it.
#[derive(Default)]
pub(crate) struct Border {
    at: usize,
    /// How far it went the last time.
    stride: usize,
}

impl Border {
    #[inline]
    pub fn advance(&mut self, times: &[i64], limit: i64) -> usize {
        // Series and steps are regular, mostly: it goes as far as the last time.
        let at = self.at + self.stride;
        if let Some([before, after]) = times.get(at.wrapping_sub(1)..at + 1)
            && *before <= limit
            && limit < *after
        {
            self.at = at;
            return at;
        }
        self.look(times, limit)
    }

    /// Goes as far as the last time, so often: for whoever knows that it would.
    fn skip(&mut self, often: usize) {
        self.at += often * self.stride;
    }

    fn look(&mut self, times: &[i64], limit: i64) -> usize {
        let mut at = (self.at + self.stride).min(times.len());
        if at > self.at && times[at - 1] > limit {
            at = self.at + times[self.at..at].partition_point(|time| *time <= limit);
        } else {
            let mut reach = 1;
            while times.get(at + reach - 1).is_some_and(|time| *time <= limit) {
                at += reach;
                reach *= 2;
            }
            let end = times.len().min(at + reach);
            at += times[at..end].partition_point(|time| *time <= limit);
        }
        self.stride = at - self.at;
        self.at = at;
        at
    }
}

/// A window's samples and borders, in milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    intervals: usize,
    /// From the window's begin to the first sample.
    to_start: i64,
    /// From the last sample to the window's end.
    to_end: i64,
    sampled: i64,
}

/// How far a window's samples are extrapolated, in seconds, and by which factor.
#[derive(Clone, Copy)]
struct Reach {
    shape: Shape,
    to_start: f64,
    to_end: f64,
    sampled: f64,
    factor: f64,
}

impl Reach {
    #[inline(always)]
    fn of(shape: Shape, per: Option<f64>) -> Self {
        let [mut to_start, mut to_end, sampled] = [shape.to_start, shape.to_end, shape.sampled].map(|ms| ms as f64 / 1000.0);
        // Mostly a product tells that neither reaches as far as a tenth more than the spacing, by more than rounding could change.
        let intervals = shape.intervals as f64;
        if to_start.max(to_end) * intervals > sampled * (1.1 - 1e-9) || shape.intervals == 0 {
            let spacing = if shape.intervals == 0 { 0.0 } else { sampled / intervals };
            let threshold = spacing * 1.1;
            if to_start >= threshold {
                to_start = spacing / 2.0;
            }
            if to_end >= threshold {
                to_end = spacing / 2.0;
            }
        }
        Self { shape, to_start, to_end, sampled, factor: extrapolation(sampled, to_start, to_end, per) }
    }

    /// What a window gained, extrapolated to its borders.
    #[inline]
    fn extrapolate(&self, counter: bool, first: f64, gain: f64, per: Option<f64>) -> f64 {
        let Self { to_start, to_end, sampled, factor, .. } = *self;
        // A counter was never below zero: don't extrapolate to before it was zero. Mostly a look without a division
        // tells that it was zero long before, by more than rounding could change.
        let reached = to_start * gain;
        let long_before = reached > f64::MIN_POSITIVE * 1e20 && first * sampled > reached * (1.0 + 1e-9);
        if counter && !long_before && gain > 0.0 && first >= 0.0 {
            let to_zero = sampled * (first / gain);
            if to_zero < to_start {
                return gain * extrapolation(sampled, to_zero, to_end, per);
            }
        }
        gain * factor
    }
}

/// By what a gain is multiplied; `per` so many seconds if it is a rate.
fn extrapolation(sampled: f64, to_start: f64, to_end: f64, per: Option<f64>) -> f64 {
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    per.map_or(factor, |seconds| factor / seconds)
}

/// Does its start timestamp say that a sample is the first after a reset? One that points at the predecessor does if
/// that one's is known, as in a series of deltas.
pub(crate) fn is_start_reset(times: &[i64], starts: &[i64], at: usize) -> bool {
    let (start, before) = (starts[at], times[at - 1]);
    if start == 0 || start >= times[at] || start < before {
        return false;
    }
    start > before || (starts[at - 1] < before && starts[at - 1] != 0)
}

/// Does a sample claim to have begun before its predecessor, but not when that one did?
pub(crate) fn starts_overlap(times: &[i64], starts: &[i64], at: usize) -> bool {
    starts[at] != 0 && starts[at] < times[at - 1] && starts[at] != starts[at - 1]
}

/// The median of the distances from the median.
fn median_deviation(values: &[f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return model::value::NORMAL_NAN;
    }
    let mut values = values.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, &mut values)
}

/// Double exponential smoothing of at least two values.
fn smoothed(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let (mut before, mut now, mut slope) = (0.0, values[0], values[1] - values[0]);
    for (at, value) in values.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if at > 1 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        let rest = (1.0 - smoothing) * (now + slope);
        (before, now) = (now, scaled + rest);
    }
    now
}

/// Go's `Duration.Seconds`: whole seconds and the rest apart.
pub(crate) fn seconds_of_range(range: i64) -> f64 {
    (range / 1000) as f64 + ((range % 1000) * 1_000_000) as f64 / 1e9
}

/// `sum_over_time`'s order of additions.
fn sum(values: &[f64]) -> f64 {
    let mut sum = Kahan::default();
    values.iter().for_each(|v| sum.add(*v));
    if sum.sum.is_infinite() { sum.sum } else { sum.sum + sum.c }
}

/// Sum by count; from where the sum would overflow on, a running mean.
fn mean(values: &[f64]) -> f64 {
    let mut sum = Kahan { sum: values[0], c: 0.0 };
    let mut running: Option<Kahan> = None;
    let mut count = 1.0;
    for (i, value) in values[1..].iter().enumerate() {
        count = (i + 2) as f64;
        if running.is_none() {
            let mut next = sum;
            next.add(*value);
            if !next.sum.is_infinite() {
                sum = next;
                continue;
            }
            running = Some(Kahan { sum: sum.sum / (count - 1.0), c: sum.c / (count - 1.0) });
        }
        if let Some(mean) = &mut running {
            let q = (count - 1.0) / count;
            *mean = Kahan { sum: q * mean.sum, c: q * mean.c };
            mean.add(*value / count);
        }
    }
    match running {
        Some(mean) => mean.sum + mean.c,
        None => sum.sum / count + sum.c / count,
    }
}

fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut aux) = (0.0, Kahan::default(), Kahan::default());
    for value in values {
        count += 1.0;
        let delta = value - (mean.sum + mean.c);
        mean.add(delta / count);
        aux.add(delta * (value - (mean.sum + mean.c)));
    }
    (aux.sum + aux.c) / count
}

/// Least squares; the intercept is that at `origin`.
fn regression(times: &[i64], values: &[f64], origin: i64) -> (f64, f64) {
    let (mut x_sum, mut y_sum, mut xy_sum, mut x2_sum) = (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    let mut n = 0.0;
    let mut constant = true;
    for (time, y) in times.iter().zip(values) {
        constant = constant && (n == 0.0 || *y == values[0]);
        n += 1.0;
        let x = time.saturating_sub(origin) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        x2_sum.add(x * x);
    }
    if constant {
        return if values[0].is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, values[0]) };
    }
    let (x, y, xy, x2) = (x_sum.sum + x_sum.c, y_sum.sum + y_sum.c, xy_sum.sum + xy_sum.c, x2_sum.sum + x2_sum.c);
    let covariance = xy - x * y / n;
    let variance = x2 - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// The φ-quantile by linear interpolation; NaN sorts first. Sorts `values`.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return model::value::NORMAL_NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
    });
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
