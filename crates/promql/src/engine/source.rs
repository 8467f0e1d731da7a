//! Series that are still to be computed: labels first, values on demand, in parallel, and handed
//! out in series order, so that whoever adds them up gets the same bits with any number of threads.

use super::ahead::Ahead;
use super::api::QueryError;
use super::bulk::Bulk;
use super::by_labels::ByLabels;
use super::context::Context;
use super::memory::Charge;
use super::pace::{self, Pace};
use super::vector::{Head, StepSeries, Steps};
use std::ops::Range;
use std::sync::Mutex;
use storage::Column;

/// Buffers of one worker, charged to the query.
pub(crate) struct Scratch {
    pub column: Column,
    pub ahead: Ahead,
    pub held: Charge,
    /// Series up to this one will be asked for, each after the one before it.
    pub upto: usize,
}

impl Scratch {
    pub fn new(ctx: &Context<'_>) -> Self {
        Self { column: Column::default(), ahead: Ahead::new(), held: ctx.account(), upto: 0 }
    }
}

/// Computes one series' steps. Called once for each series, on any thread.
pub(crate) type Compute<'c> = Box<dyn Fn(usize, &mut Scratch) -> Result<Steps, QueryError> + Send + Sync + 'c>;

/// A vector over steps whose values are not computed yet.
pub(crate) struct Source<'c> {
    pub heads: Vec<Head>,
    pub steps: usize,
    pub compute: Compute<'c>,
}

/// A vector over steps in memory, charged to the query. Series without any step are left out.
pub(crate) struct Materialised {
    pub series: Bulk<StepSeries>,
    charge: Charge,
}

/// Bytes that may be computed before it is their turn; they stay in the cache until they are added up.
const AHEAD_BYTES: u64 = 2 << 20;
/// At most so many series one thread takes after each other: those of few chunks are decoded together.
const RUN: usize = 16;
/// Each thread takes at least so many times, if there are as many series.
const TAKES: usize = 8;
/// Below so many values threads cost more than they save.
const PARALLEL_VALUES: usize = 4096;

impl<'c> Source<'c> {
    pub fn empty(steps: usize) -> Self {
        Self { heads: Vec::new(), steps, compute: Box::new(move |_, _| Ok(Steps::absent(steps))) }
    }

    /// Changes each series' values on the way.
    pub fn map(self, f: impl Fn(&mut Steps) + Send + Sync + 'c) -> Self {
        let Self { heads, steps, compute } = self;
        Self {
            heads,
            steps,
            compute: Box::new(move |i, scratch| {
                let mut values = compute(i, scratch)?;
                f(&mut values);
                Ok(values)
            }),
        }
    }

    /// Hands each series to `f`, in series order.
    pub fn for_each(&self, ctx: &Context<'_>, f: impl FnMut(usize, Steps) -> Result<(), QueryError>) -> Result<(), QueryError> {
        self.for_each_in(ctx, 0..self.heads.len(), &mut Scratch::new(ctx), f)
    }

    /// Hands some of them to `f`, in series order: while others are computed, if they are many.
    pub fn for_each_in(
        &self,
        ctx: &Context<'_>,
        mut series: Range<usize>,
        scratch: &mut Scratch,
        mut f: impl FnMut(usize, Steps) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let threads = ctx.crew.threads();
        let few = !ctx.options.alone.is_zero() && series.len() * self.steps.max(32) < PARALLEL_VALUES;
        let on_one = few || threads == 1 || ctx.profile.is_some();
        scratch.upto = series.end;
        while on_one || ctx.is_alone() {
            let Some(i) = series.next() else { return Ok(()) };
            ctx.check()?;
            f(i, (self.compute)(i, scratch)?)?;
        }
        // Whoever may not wait for other threads, which may have much to do, stops here.
        ctx.check()?;
        // Nothing may be left when it has run alone for long enough.
        let run = run(series.len(), self.steps, threads);
        let compute = |number: usize, scratch: &mut Scratch| {
            let from = series.start + number * run;
            scratch.upto = series.end.min(from + run);
            let mut held = ctx.account();
            let mut computed = Vec::with_capacity(scratch.upto - from);
            for i in from..scratch.upto {
                ctx.check()?;
                let steps = (self.compute)(i, scratch)?;
                held.add(steps.size())?;
                computed.push((i, steps));
            }
            Ok((computed, held))
        };
        let weigh = |(computed, held): &(Vec<(usize, Steps)>, Charge)| size_of_val(computed.as_slice()) as u64 + held.bytes();
        let give = |(computed, _held): (Vec<(usize, Steps)>, Charge)| computed.into_iter().try_for_each(|(i, steps)| f(i, steps));
        ctx.crew.in_order(series.len().div_ceil(run), AHEAD_BYTES, scratch, || Scratch::new(ctx), (compute, weigh), give)
    }

    /// Computes all of it.
    pub fn materialise(mut self, ctx: &Context<'_>) -> Result<Materialised, QueryError> {
        let none = Head { labels: model::Labels::empty(), drop_name: false };
        // The loop below needs only the number of heads.
        let without = vec![none; self.heads.len()];
        let mut heads = pace::collect(ctx, std::mem::replace(&mut self.heads, without), Some)?;
        let mut done = Materialised { series: Bulk::from(Vec::with_capacity(heads.len())), charge: ctx.account() };
        self.for_each(ctx, |i, steps| {
            if steps.is_none() {
                return Ok(());
            }
            done.charge.add(steps.size())?;
            if let Some(head) = heads[i].take() {
                done.series.push(StepSeries { head, steps });
            }
            Ok(())
        })?;
        Ok(done)
    }

    /// Are there two series with the same labels?
    pub fn has_duplicates(&self, ctx: &Context<'_>) -> Result<bool, QueryError> {
        has_duplicates(ctx, self.heads.len(), |i| &self.heads[i].labels)
    }
}

/// So many series one thread takes after each other: fewer where there are few of them, or a few fill what may be computed ahead.
fn run(series: usize, steps: usize, threads: usize) -> usize {
    let fill = AHEAD_BYTES as usize / size_of::<f64>() / steps.max(1) / (2 * threads);
    series.div_ceil(TAKES * threads).min(fill).clamp(1, RUN)
}

/// Of so many label sets.
pub(crate) fn has_duplicates<'a>(ctx: &Context<'_>, count: usize, labels: impl Fn(usize) -> &'a model::Labels) -> Result<bool, QueryError> {
    let pace = Pace::new(ctx);
    let mut seen = ByLabels::default();
    for i in 0..count {
        pace.step()?;
        if seen.number(labels(i), i, &labels) != i {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Materialised {
    /// Series made from others; charges them.
    pub fn from_series(series: Vec<StepSeries>, ctx: &Context<'_>) -> Result<Self, QueryError> {
        let (mut charge, pace) = (ctx.account(), Pace::new(ctx));
        for series in &series {
            pace.step()?;
            charge.add(series.steps.size())?;
        }
        Ok(Self { series: series.into(), charge })
    }

    /// As a source again; the charge lasts as long as it does.
    pub fn into_source<'c>(mut self, steps: usize) -> Source<'c> {
        let charge = self.charge;
        let mut heads = Vec::with_capacity(self.series.len());
        let mut values = Vec::with_capacity(self.series.len());
        for series in self.series.take() {
            heads.push(series.head);
            values.push(Mutex::new(series.steps));
        }
        Source {
            heads,
            steps,
            compute: Box::new(move |i, _| {
                let _held = &charge;
                Ok(std::mem::take(&mut *values[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
            }),
        }
    }

    /// Merges series of the same labels that never meet at a step.
    ///
    /// # Errors
    /// When two do.
    pub fn merge_same_labels(&mut self, ctx: &Context<'_>) -> Result<(), QueryError> {
        if !has_duplicates(ctx, self.series.len(), |i| &self.series[i].head.labels)? {
            return Ok(());
        }
        let mut by_labels = ByLabels::default();
        let mut merged: Vec<StepSeries> = Vec::with_capacity(self.series.len());
        let pace = Pace::new(ctx);
        for series in self.series.take() {
            pace.step()?;
            let at = by_labels.number(&series.head.labels, merged.len(), |at| &merged[at].head.labels);
            if at == merged.len() {
                merged.push(series);
                continue;
            }
            let StepSeries { head, steps: target } = &mut merged[at];
            let (there, new) = (target.occupied(), series.steps.occupied());
            if !there.and(&new).is_none() {
                return Err(same_labelset());
            }
            // Whether the name is to go is what the first sample says.
            if new.first().is_some_and(|new| there.first().is_none_or(|there| new < there)) {
                head.drop_name = series.head.drop_name;
            }
            for step in series.steps.present.iter() {
                target.put(step, series.steps.values[step]);
            }
            target.histograms.extend(series.steps.histograms);
            target.histograms.sort_by_key(|(step, _)| *step);
        }
        self.series = merged.into();
        Ok(())
    }
}

pub(crate) fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_short_where_series_are_few_or_long() {
        for (series, steps, threads, want) in [
            (0, 0, 2, 1),
            (3, 1, 2, 1),
            (100, 1, 2, 7),
            (2_000, 361, 2, 16),
            (1_000_000, 1, 8, 16),
            (2_000, 11_000, 2, 5),
            (1_000_000, 11_000, 64, 1),
            (1_000_000, 10_000_000, 2, 1),
            (1_000_000, 1, 512, 16),
        ] {
            assert_eq!(run(series, steps, threads), want, "{series} {steps} {threads}");
        }
    }
}
