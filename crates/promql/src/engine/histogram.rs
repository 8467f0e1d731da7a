//! `histogram_quantile` over classic buckets.

use super::annotations::Forced;
use super::api::QueryError;
use super::eval::Evaluator;
use super::source::{Materialised, Source};
use super::vector::{Grid, Head, StepSeries, Steps};
use crate::plan::Plan;
use model::{Labels, LabelsBuilder};
use std::collections::HashMap;

/// Differences of neighbouring counts below this are rounding.
const SMALL_DELTA: f64 = 1e-12;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// Buckets of one histogram: series index by bound.
struct Group {
    labels: Labels,
    buckets: Vec<(f64, usize)>,
}

/// The φ-quantile of each histogram at each step.
pub(crate) fn quantile<'c>(evaluator: Evaluator<'c>, quantile: &'c Plan, input: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
    let ctx = evaluator.ctx;
    let delayed = ctx.options.delayed_name_removal;
    let q = evaluator.scalar(quantile, grid)?;
    let done = evaluator.materialised(input, grid)?;
    // Said whether or not there are buckets, as Prometheus does.
    for q in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        ctx.annotate(|a| a.invalid_quantile(*q, quantile.span));
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut by_labels: HashMap<Labels, usize> = HashMap::new();
    for (i, series) in done.series.iter().enumerate() {
        let labels = &series.head.labels;
        let le = labels.get("le").unwrap_or("");
        let name = if delayed { labels.metric_name() } else { "" };
        let Some(upper) = parse_bound(le) else {
            ctx.annotate(|a| a.bad_bucket_label(name, le, input.span));
            continue;
        };
        let signature = LabelsBuilder::from_labels(labels).remove("le").build();
        let group = *by_labels.entry(signature).or_insert_with_key(|signature| {
            let labels = LabelsBuilder::from_labels(signature).remove(model::labels::METRIC_NAME).build();
            groups.push(Group { labels, buckets: Vec::new() });
            groups.len() - 1
        });
        groups[group].buckets.push((upper, i));
    }
    let mut out = Vec::with_capacity(groups.len());
    let mut buckets = Vec::new();
    for mut group in groups {
        ctx.check()?;
        group.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut steps = Steps::absent(grid.count);
        for (step, q) in q.iter().enumerate() {
            buckets.clear();
            buckets.extend(
                group.buckets.iter().filter_map(|(upper, i)| done.series[*i].steps.get(step).map(|count| Bucket { upper: *upper, count })),
            );
            if buckets.is_empty() {
                continue;
            }
            let (value, forced) = bucket_quantile(*q, &mut buckets);
            steps.put(step, value);
            if let Some((min_bucket, max_bucket, max_diff)) = forced {
                let time = grid.time(step);
                let forced = Forced { first: time, last: time, min_bucket, max_bucket, max_diff, samples: 1 };
                ctx.annotate(|a| a.forced_monotonic(input.span, forced));
            }
        }
        let mut head = Head { labels: group.labels, drop_name: false };
        evaluator.drop_name(&mut head);
        out.push(StepSeries { head, steps });
    }
    drop(done);
    let mut result = Materialised::from_series(out, ctx)?;
    result.merge_same_labels()?;
    Ok(result.into_source(grid.count))
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
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
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
