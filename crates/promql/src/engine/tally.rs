//! Samples that a query looks at and reads, counted as Prometheus counts them.
//!
//! A sample is *looked at* by each step whose window holds it, and *read* by the first of these only. Prometheus evaluates
//! a subquery, and a part whose value is the same at all steps, over steps of their own, and says afterwards at which steps
//! of the query around them their samples count. Here an evaluator carries a [`Tally`], which knows that beforehand. Where
//! only the sums are wanted and no step can drop out of them, a series is counted all at once.

use super::api::StepSamples;
use super::context::Context;
use super::mixed;
use super::vector::{Grid, Steps};
use crate::ast::Extended;
use crate::plan::{When, WindowSource, Windows};
use model::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage::Column;

/// One query's counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    total: Count,
    /// Of each step of the query, if that is wanted.
    steps: Vec<Count>,
    /// Subqueries met so far.
    subqueries: Mutex<Vec<Subquery>>,
}

#[derive(Debug, Default)]
struct Count {
    looked_at: AtomicU64,
    read: AtomicU64,
}

impl Count {
    fn add(&self, looked_at: u64, read: u64) {
        self.looked_at.fetch_add(looked_at, Ordering::Relaxed);
        self.read.fetch_add(read, Ordering::Relaxed);
    }

    fn take_back(&self, looked_at: u64, read: u64) {
        self.looked_at.fetch_sub(looked_at, Ordering::Relaxed);
        self.read.fetch_sub(read, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.looked_at.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed))
    }
}

impl Counts {
    /// Nothing yet. Counts at so many steps of the query as well as in all.
    pub fn new(steps: usize) -> Self {
        Self { steps: (0..steps).map(|_| Count::default()).collect(), ..Self::default() }
    }

    /// Samples looked at and read.
    pub fn total(&self) -> (u64, u64) {
        self.total.get()
    }

    /// The same at each step of the query, unless only sums are wanted.
    pub fn steps(&self, grid: Grid) -> Vec<StepSamples> {
        let samples = |(step, count): (usize, &Count)| {
            let (queryable, read) = count.get();
            StepSamples { time: Timestamp(grid.time(step)), queryable, read }
        };
        self.steps.iter().enumerate().map(samples).collect()
    }

    /// All that was counted so far.
    pub fn so_far(&self) -> Counted {
        Counted { total: self.total(), steps: self.steps.iter().map(Count::get).collect() }
    }

    /// What was counted since then.
    pub fn since(&self, then: &Counted) -> Counted {
        let less = |now: (u64, u64), then: &(u64, u64)| (now.0 - then.0, now.1 - then.1);
        let now = self.so_far();
        Counted {
            total: less(now.total, &then.total),
            steps: now.steps.into_iter().zip(&then.steps).map(|(now, then)| less(now, then)).collect(),
        }
    }

    /// Counts the same once more.
    pub fn add_again(&self, counted: &Counted) {
        self.total.add(counted.total.0, counted.total.1);
        for (count, (looked_at, read)) in self.steps.iter().zip(&counted.steps) {
            count.add(*looked_at, *read);
        }
    }

    /// As if what was counted since then had not been evaluated.
    pub fn forget_since(&self, then: &Counted) {
        let counted = self.since(then);
        self.total.take_back(counted.total.0, counted.total.1);
        for (count, (looked_at, read)) in self.steps.iter().zip(&counted.steps) {
            count.take_back(*looked_at, *read);
        }
    }

    fn subqueries(&self) -> MutexGuard<'_, Vec<Subquery>> {
        self.subqueries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a part of a query has counted: samples looked at and read, in all and at each step.
#[derive(Debug)]
pub(crate) struct Counted {
    total: (u64, u64),
    steps: Vec<(u64, u64)>,
}

/// Where the samples of an evaluator count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    /// How often a sample looked at counts in all: 0 in a subquery whose windows a function takes, since the function looks
    /// at its points instead.
    weight: u64,
    looked_at: LookedAt,
    read: Read,
}

/// At which of the query's steps what was looked at counts.
#[derive(Clone, Copy, Debug)]
enum LookedAt {
    /// At the evaluator's own.
    Same,
    First,
    /// At each, an equal part of the weight.
    All,
}

/// At which of the query's steps what was read counts.
#[derive(Clone, Copy, Debug)]
enum Read {
    Same,
    At(usize),
    Nowhere,
    /// Where the subquery of this number says.
    Subquery(usize),
}

impl Tally {
    /// That of the query itself.
    pub const QUERY: Self = Self { weight: 1, looked_at: LookedAt::Same, read: Read::Same };

    /// For a part that is evaluated at the first step and has the same value at all of them.
    pub fn once(self, ctx: &Context<'_>, grid: Grid) -> Self {
        let looked_at = if let LookedAt::Same = self.looked_at { LookedAt::All } else { self.looked_at };
        Self { weight: self.weight.saturating_mul(grid.count as u64), looked_at, read: self.first_step(ctx) }
    }

    /// For the inner part of a subquery that is the whole query.
    pub fn whole(self) -> Self {
        Self { looked_at: LookedAt::First, read: Read::At(0), ..self }
    }

    /// For the inner part, with the steps `inner`, of a subquery whose windows a function takes at the steps of `grid`.
    pub fn within(self, ctx: &Context<'_>, windows: &Windows, inner: Grid, grid: Grid) -> Self {
        let read = if grid.count == 1 {
            self.first_step(ctx)
        } else {
            let mut subqueries = ctx.counts.subqueries();
            subqueries.push(Subquery { inner, outer: grid, when: windows.when, range: windows.range, around: self.read });
            Read::Subquery(subqueries.len() - 1)
        };
        Self { weight: 0, looked_at: LookedAt::First, read }
    }

    /// What is read counts where that of the first step does.
    fn first_step(self, ctx: &Context<'_>) -> Read {
        Counter::new(ctx, self).reading_step(0).map_or(Read::Nowhere, Read::At)
    }
}

/// Steps within steps. A window's samples are those of the first outer step that can use them.
#[derive(Clone, Copy, Debug)]
struct Subquery {
    inner: Grid,
    outer: Grid,
    when: When,
    range: i64,
    /// Of the evaluator around it.
    around: Read,
}

impl Subquery {
    /// The outer step at which an inner one counts; none if it lies in no window. As in Prometheus, a fixed time is not looked
    /// at here.
    fn outer_step(&self, inner: usize) -> Option<usize> {
        let at = self.inner.time(inner).saturating_add(self.when.offset);
        let behind = at.saturating_sub(self.outer.start).max(0);
        let last = self.outer.count.saturating_sub(1);
        let step = (behind.saturating_add(self.outer.step - 1) / self.outer.step.max(1)).min(last as i64) as usize;
        (at > self.outer.time(step).saturating_sub(self.range)).then_some(step)
    }

    fn may_skip(&self) -> bool {
        self.when.at.is_some() || self.range < self.outer.step
    }
}

/// Counts the samples of an evaluator's series.
pub(crate) struct Counter<'c> {
    counts: &'c Counts,
    weight: u64,
    looked_at: LookedAt,
    /// From the innermost outwards.
    subqueries: Vec<Subquery>,
    /// Where it goes from the outermost of them on.
    read: Read,
    /// Only sums are wanted, and all samples are in them.
    sums: bool,
}

impl<'c> Counter<'c> {
    pub fn new(ctx: &'c Context<'_>, tally: Tally) -> Self {
        let counts = &ctx.counts;
        let (mut subqueries, mut read) = (Vec::new(), tally.read);
        {
            let known = counts.subqueries();
            while let Read::Subquery(number) = read {
                let Some(subquery) = known.get(number) else { break };
                subqueries.push(*subquery);
                read = subquery.around;
            }
        }
        let sums = counts.steps.is_empty() && !subqueries.iter().any(Subquery::may_skip);
        Self { counts, weight: tally.weight, looked_at: tally.looked_at, subqueries, read, sums }
    }

    /// At which step of the query a sample counts that is read at an own step.
    fn reading_step(&self, mut step: usize) -> Option<usize> {
        for subquery in &self.subqueries {
            step = subquery.outer_step(step)?;
        }
        match self.read {
            Read::Same => Some(step),
            Read::At(step) => Some(step),
            Read::Nowhere | Read::Subquery(_) => None,
        }
    }

    /// Counts what was looked at and read, at any steps.
    fn add(&self, looked_at: u64, read: u64) {
        let read = if let Read::Nowhere = self.read { 0 } else { read };
        self.counts.total.add(looked_at.saturating_mul(self.weight), read);
    }

    /// Counts what one of its own steps has looked at and read.
    fn add_at(&self, step: usize, looked_at: u64, read: u64) {
        let looked_at = looked_at.saturating_mul(self.weight);
        let steps = &self.counts.steps;
        let reading = self.reading_step(step);
        self.counts.total.add(looked_at, if reading.is_some() { read } else { 0 });
        if steps.is_empty() {
            return;
        }
        if let Some(count) = reading.and_then(|step| steps.get(step)) {
            count.add(0, read);
        }
        match self.looked_at {
            _ if looked_at == 0 => {}
            LookedAt::Same => {
                steps.get(step).into_iter().for_each(|count| count.add(looked_at, 0));
            }
            LookedAt::First => steps[0].add(looked_at, 0),
            LookedAt::All => steps.iter().for_each(|count| count.add(looked_at / steps.len() as u64, 0)),
        }
    }

    /// Counts an instant selector's samples: one for each step that has a value.
    pub fn instant(&self, found: &Steps) {
        if self.sums {
            let histograms: u64 = found.histograms.iter().map(|(_, histogram)| mixed::size(histogram)).sum();
            let samples = found.present.count() as u64 + histograms;
            return self.add(samples, samples);
        }
        found.present.iter().for_each(|step| self.add_at(step, 1, 1));
        for (step, histogram) in &found.histograms {
            let size = mixed::size(histogram);
            self.add_at(*step, size, size);
        }
    }

    /// Counts points that are all of an answer.
    pub fn points(&self, samples: u64) {
        self.add_at(0, samples, samples);
    }
}

/// Counts the samples of windows.
pub(crate) struct WindowCounter<'c> {
    counter: Counter<'c>,
    grid: Grid,
    when: When,
    /// How far windows reach before and behind their steps' times.
    before: i64,
    after: i64,
    /// The samples are a subquery's results: what that has read is counted there.
    of_subquery: bool,
}

impl<'c> WindowCounter<'c> {
    pub fn new(ctx: &'c Context<'_>, tally: Tally, windows: &Windows, grid: Grid) -> Self {
        let (more, after) = match windows.extended {
            None => (0, 0),
            Some(Extended::Anchored) => (ctx.lookback, 0),
            Some(Extended::Smoothed) => (ctx.lookback, ctx.lookback),
        };
        let of_subquery = matches!(windows.source, WindowSource::Subquery(..));
        let before = windows.range.saturating_add(more);
        Self { counter: Counter::new(ctx, tally), grid, when: windows.when, before, after, of_subquery }
    }

    /// Counts the windows of a series of floats, of which all together have looked at so many samples.
    pub fn floats(&self, column: &Column, looked_at: u64) {
        if !self.counter.sums {
            return self.each(column);
        }
        let (first, width) = (self.when.time(self.grid.start), self.before.saturating_add(self.after));
        let read = if self.of_subquery || looked_at == 0 {
            0
        } else if self.when.at.is_some() {
            // All windows are the same one.
            looked_at / self.grid.count as u64
        } else if self.grid.count == 1 || self.grid.step > width {
            looked_at
        } else {
            let begin = first.saturating_sub(self.before);
            let end = self.when.time(self.grid.end()).saturating_add(self.after);
            (column.times.partition_point(|t| *t <= end) - column.times.partition_point(|t| *t <= begin)) as u64
        };
        self.counter.add(looked_at, read);
    }

    /// Counts the windows of a series one by one.
    pub fn each(&self, column: &Column) {
        let mut histograms = column.histograms.iter().peekable();
        // Samples before each index.
        let mut samples = Vec::with_capacity(column.len() + 1);
        samples.push(0);
        for at in 0..column.len() {
            let histogram = histograms.next_if(|(index, _)| *index as usize == at);
            samples.push(samples[at] + histogram.map_or(1, |(_, histogram)| mixed::size(histogram)));
        }
        let (mut begin, mut end, mut fresh) = (0, 0, 0);
        for step in 0..self.grid.count {
            let at = self.when.time(self.grid.time(step));
            let (from, to) = (at.saturating_sub(self.before), at.saturating_add(self.after));
            let upto = |mut index: usize, time: i64| {
                while index < column.len() && column.times[index] <= time {
                    index += 1;
                }
                index
            };
            (begin, end) = (upto(begin, from), upto(end, to));
            fresh = if step == 0 { begin } else { upto(fresh, to.saturating_sub(self.grid.step)).max(begin) };
            let read = match step {
                _ if self.of_subquery => 0,
                0 => samples[end] - samples[begin],
                _ if self.when.at.is_some() => 0,
                _ => samples[end] - samples[fresh],
            };
            if begin < end {
                self.counter.add_at(step, samples[end] - samples[begin], read);
            }
        }
    }
}
