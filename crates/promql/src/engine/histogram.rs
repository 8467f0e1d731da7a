//! `histogram_quantile` and its kin: over classic buckets, and native histograms beside them.

use super::annotations::Forced;
use super::api::QueryError;
use super::by_labels::ByLabels;
use super::eval::Evaluator;
use super::native::{self, NanObservations};
use super::pace::Pace;
use super::source::{Materialised, Source, same_labelset};
use super::vector::{Grid, Head, StepSeries, Steps};
use crate::ast::Span;
use crate::plan::Plan;
use model::{FloatHistogram, Labels, LabelsBuilder};

/// Differences of neighbouring counts below this are rounding.
const SMALL_DELTA: f64 = 1e-12;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// One histogram: a native one's series, or buckets that are series by bound, or both at different steps.
struct Group {
    /// Without `le`.
    labels: Labels,
    buckets: Vec<(f64, usize)>,
    natives: Vec<usize>,
}

/// The histograms of a vector.
struct Histograms<'c> {
    evaluator: Evaluator<'c>,
    input: &'c Plan,
    grid: Grid,
    done: Materialised,
    groups: Vec<Group>,
}

impl<'c> Histograms<'c> {
    fn new(evaluator: Evaluator<'c>, input: &'c Plan, grid: Grid) -> Result<Self, QueryError> {
        let ctx = evaluator.ctx;
        let done = evaluator.materialised(input, grid)?;
        let mut groups: Vec<Group> = Vec::new();
        let mut by_labels = ByLabels::default();
        let mut group_of = |labels: Labels, groups: &mut Vec<Group>| {
            let group = by_labels.number(&labels, groups.len(), |group| &groups[group].labels);
            if group == groups.len() {
                groups.push(Group { labels, buckets: Vec::new(), natives: Vec::new() });
            }
            group
        };
        let pace = Pace::new(ctx);
        for (i, series) in done.series.iter().enumerate() {
            pace.step()?;
            let labels = &series.head.labels;
            if !series.steps.histograms.is_empty() {
                let group = group_of(labels.clone(), &mut groups);
                groups[group].natives.push(i);
            }
            if series.steps.present.is_none() {
                continue;
            }
            let le = labels.get("le").unwrap_or("");
            let Some(upper) = parse_bound(le) else {
                let name = if ctx.options.delayed_name_removal { labels.metric_name() } else { "" };
                ctx.annotate(|a| a.bad_bucket_label(name, le, input.span));
                continue;
            };
            let group = group_of(LabelsBuilder::from_labels(labels).remove("le").build(), &mut groups);
            groups[group].buckets.push((upper, i));
        }
        for group in &mut groups {
            pace.sort_by(&mut group.buckets, |a, b| a.0.total_cmp(&b.0))?;
        }
        Ok(Self { evaluator, input, grid, done, groups })
    }

    /// A number of each histogram at each step.
    fn numbers(
        &self,
        native: impl Fn(usize, &FloatHistogram) -> (f64, Option<NanObservations>),
        classic: impl Fn(usize, &mut Vec<Bucket>) -> (f64, Option<(f64, f64, f64)>),
        labels: impl Fn(&Labels) -> Labels,
        out: &mut Vec<StepSeries>,
    ) -> Result<(), QueryError> {
        let (ctx, span) = (self.evaluator.ctx, self.input.span);
        let mut buckets = Vec::new();
        for group in &self.groups {
            ctx.check()?;
            let mut steps = Steps::absent(self.grid.count);
            let metric = if ctx.options.delayed_name_removal { group.labels.metric_name() } else { "" };
            let mut natives = Steps::absent(self.grid.count);
            for i in &group.natives {
                for (step, histogram) in &self.done.series[*i].steps.histograms {
                    if group.buckets.iter().any(|(_, i)| self.done.series[*i].steps.present.get(*step)) {
                        // It counts for nothing beside classic buckets.
                        natives.put(*step, 0.0);
                        continue;
                    }
                    if natives.get(*step).is_some() {
                        // Only with delayed name removal can two have come so far.
                        return Err(same_labelset());
                    }
                    let (value, nans) = native(*step, histogram);
                    natives.put(*step, value);
                    if let Some(nans) = nans {
                        ctx.annotate(|a| match nans {
                            NanObservations::Result => a.quantile_is_nan(metric, span),
                            NanObservations::Skew => a.quantile_is_skewed(metric, span),
                            NanObservations::LeftOut => a.fraction_leaves_out(metric, span),
                        });
                    }
                }
            }
            for step in 0..self.grid.count {
                buckets.clear();
                let count = |(upper, i): &(f64, usize)| self.done.series[*i].steps.get(step).map(|count| Bucket { upper: *upper, count });
                buckets.extend(group.buckets.iter().filter_map(count));
                match (natives.get(step), buckets.is_empty()) {
                    (None, true) => {}
                    (Some(value), true) => steps.put(step, value),
                    (Some(_), false) => ctx.annotate(|a| a.mixed_classic_native(metric, span)),
                    (None, false) => {
                        let (value, forced) = classic(step, &mut buckets);
                        steps.put(step, value);
                        if let Some((min_bucket, max_bucket, max_diff)) = forced {
                            let time = self.grid.time(step);
                            let forced = Forced { first: time, last: time, min_bucket, max_bucket, max_diff, samples: 1 };
                            ctx.annotate(|a| a.forced_monotonic(metric, span, forced));
                        }
                    }
                }
            }
            let mut head = Head { labels: group.labels.clone(), drop_name: false };
            self.evaluator.drop_name(&mut head);
            head.labels = labels(&head.labels);
            out.push(StepSeries { head, steps });
        }
        Ok(())
    }

    fn finish(self, out: Vec<StepSeries>) -> Result<Source<'c>, QueryError> {
        let (ctx, steps) = (self.evaluator.ctx, self.grid.count);
        drop(self.done);
        let mut result = Materialised::from_series(out, ctx)?;
        if !self.grid.is_instant() || !ctx.options.delayed_name_removal {
            result.merge_same_labels(ctx)?;
        }
        Ok(result.into_source(steps))
    }
}

fn check_quantiles(evaluator: Evaluator<'_>, q: &[f64], span: Span) {
    // Said whether or not there are histograms, as Prometheus does.
    for q in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        evaluator.ctx.annotate(|a| a.invalid_quantile(*q, span));
    }
}

/// The φ-quantile of each histogram at each step.
pub(crate) fn quantile<'c>(evaluator: Evaluator<'c>, quantile: &'c Plan, input: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
    let q = evaluator.scalar(quantile, grid)?;
    let histograms = Histograms::new(evaluator, input, grid)?;
    check_quantiles(evaluator, &q, Span { start: quantile.span.start, ..input.span });
    let mut out = Vec::new();
    histograms.numbers(|step, h| native::quantile(q[step], h), |step, b| bucket_quantile(q[step], b), Labels::clone, &mut out)?;
    histograms.finish(out)
}

/// Several quantiles of each histogram, told apart by a label.
pub(crate) fn quantiles<'c>(
    evaluator: Evaluator<'c>,
    input: &'c Plan,
    label: &str,
    quantiles: &'c [Plan],
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let histograms = Histograms::new(evaluator, input, grid)?;
    let mut out = Vec::new();
    for quantile in quantiles {
        let q = evaluator.scalar(quantile, grid)?;
        check_quantiles(evaluator, &q, quantile.span);
        let mut values: Vec<f64> = Vec::new();
        for q in &q {
            if !values.iter().any(|known| known.to_bits() == q.to_bits()) {
                values.push(*q);
            }
        }
        for value in values {
            let from = out.len();
            let labelled = |labels: &Labels| LabelsBuilder::from_labels(labels).set(label, &open_metrics(value)).build();
            histograms.numbers(|_, h| native::quantile(value, h), |_, b| bucket_quantile(value, b), labelled, &mut out)?;
            for series in &mut out[from..] {
                series.steps.retain(|step| q[step].to_bits() == value.to_bits());
            }
        }
    }
    out.retain(|series| !series.steps.is_none());
    histograms.finish(out)
}

/// As OpenMetrics writes a float: never like an integer.
fn open_metrics(value: f64) -> String {
    let text = model::number::format_general(value);
    if value.is_finite() && !text.contains(['e', '.']) { text + ".0" } else { text }
}

/// Which part of each histogram lies between two values.
pub(crate) fn fraction<'c>(
    evaluator: Evaluator<'c>,
    lower: &'c Plan,
    upper: &'c Plan,
    input: &'c Plan,
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let (lower, upper) = (evaluator.scalar(lower, grid)?, evaluator.scalar(upper, grid)?);
    let histograms = Histograms::new(evaluator, input, grid)?;
    let mut out = Vec::new();
    histograms.numbers(
        |step, h| native::fraction(lower[step], upper[step], h),
        |step, b| (bucket_fraction(lower[step], upper[step], b), None),
        Labels::clone,
        &mut out,
    )?;
    histograms.finish(out)
}

/// Which part of the observations in sorted buckets lies between two values.
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return model::value::NORMAL_NAN;
    }
    coalesce(buckets);
    let count = buckets.last().map_or(0.0, |b| b.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return model::value::NORMAL_NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut begin = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets.iter() {
        let rank_of = |value: f64| {
            if begin == f64::NEG_INFINITY {
                return bucket.count;
            }
            rank + (bucket.count - rank) * (value - begin) / (bucket.upper - begin)
        };
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && begin >= value {
                *found = Some(rank);
            } else if found.is_none() && begin < value && bucket.upper > value {
                *found = Some(rank_of(value));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank = bucket.count;
        begin = bucket.upper;
    }
    (native::capped(upper_rank, count) - native::capped(lower_rank, count)) / count
}

/// Merges buckets of the same bound.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Go's `ParseFloat`, as far as bounds are written.
pub(crate) fn parse_bound(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "+inf" | "inf" | "+infinity" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

/// The quantile of sorted buckets, and how counts had to be repaired: from and to which bound, by how much.
fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<(f64, f64, f64)>) {
    let nan = model::value::NORMAL_NAN;
    if q.is_nan() {
        return (nan, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (nan, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    if buckets.len() < 2 {
        return (nan, forced);
    }
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if observations == 0.0 {
        return (nan, forced);
    }
    let mut rank = q * observations;
    let at = first_reaching(&buckets[..last], rank);
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, forced);
    }
    let (mut begin, end, mut count) = (0.0, buckets[at].upper, buckets[at].count);
    if at > 0 {
        begin = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (begin + (end - begin) * (rank / count), forced)
}

/// Go's binary search: with NaN among the counts the path taken matters.
fn first_reaching(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = (low + high) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Cumulative counts never fall: dents are filled, tiny ones silently.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<(f64, f64, f64)> {
    let mut forced: Option<(f64, f64, f64)> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if almost_equal(previous, count) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let (low, high, diff) = forced.unwrap_or((f64::INFINITY, f64::NEG_INFINITY, 0.0));
            forced = Some((low.min(bucket.upper), high.max(bucket.upper), diff.max(previous - count)));
        } else {
            previous = count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(q: f64, bounds: &[(f64, f64)], want: f64) {
        let mut buckets: Vec<Bucket> = bounds.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect();
        let got = bucket_quantile(q, &mut buckets).0;
        assert!(got == want || got.is_nan() && want.is_nan(), "{got} {want}");
    }

    #[test]
    fn borders() {
        let inf = f64::INFINITY;
        check(0.5, &[(1.0, 2.0), (inf, 4.0)], 1.0);
        check(0.25, &[(1.0, 2.0), (inf, 4.0)], 0.5);
        check(0.9, &[(1.0, 2.0), (inf, 4.0)], 1.0);
        check(0.5, &[(-1.0, 3.0), (inf, 4.0)], -1.0);
        check(0.5, &[(1.0, 2.0)], f64::NAN);
        check(0.5, &[(inf, 2.0)], f64::NAN);
        check(2.0, &[(1.0, 2.0)], inf);
        check(0.5, &[(1.0, 1.0), (1.0, 1.0), (inf, 2.0)], 0.5);
        check(0.5, &[(1.0, 4.0), (2.0, 2.0), (inf, 4.0)], 0.5);
    }
}
