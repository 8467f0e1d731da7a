//! Aggregations: groups from labels first, then series stream through in series order, so that
//! no aggregation but `quantile` holds more than its groups.

use super::api::QueryError;
use super::by_labels::ByLabels;
use super::context::Context;
use super::eval::Evaluator;
use super::group::{Natives, Notes};
use super::kahan::Kahan;
use super::memory::Size;
use super::pace::{self, Pace};
use super::source::{Materialised, Scratch, Source};
use super::vector::{Grid, Head, Presence, StepSeries, Steps};
use super::window;
use crate::ast::{AggregateOp, Span};
use crate::plan::operator::{go_max, go_min};
use crate::plan::{Aggregation, Kind, Plan};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder};
use std::collections::HashMap;

/// An aggregation at all steps.
pub(crate) fn aggregate<'c>(
    evaluator: Evaluator<'c>,
    aggregation: &'c Aggregation,
    input: &'c Plan,
    parameter: Option<&'c Plan>,
    span: Span,
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let op = aggregation.op;
    if let (AggregateOp::CountValues, Some(Plan { kind: Kind::String(label), .. })) = (op, parameter) {
        return count_values(evaluator, aggregation, input, label, grid);
    }
    let numbers = match parameter {
        Some(parameter) => evaluator.scalar(parameter, grid)?,
        None => Vec::new(),
    };
    let source = evaluator.vector(input, grid)?;
    match op {
        AggregateOp::LimitRatio => {
            let start = parameter.map_or(0, |parameter| parameter.span.start);
            return limit_ratio(evaluator, source, numbers, Span { start, ..input.span });
        }
        AggregateOp::LimitK => return limit(evaluator, aggregation, source, &numbers, grid),
        AggregateOp::TopK | AggregateOp::BottomK => {
            return ranked(evaluator, aggregation, source, &numbers, span, grid);
        }
        AggregateOp::Quantile => {
            if let Some(parameter) = parameter {
                annotate_quantiles(evaluator, &numbers, Span { start: parameter.span.start, ..input.span });
            }
        }
        _ => {}
    }
    let mut groups = Groups::of(evaluator.ctx, aggregation, &source.heads)?;
    let _held = evaluator.ctx.charge(groups.labels.len() * 2, grid.count)?;
    let mut states = pace::collect(evaluator.ctx, &groups.labels, |_| State::new(op, grid.count))?;
    let mut drops = vec![false; groups.labels.len()];
    let mut order = Order::of(&groups);
    let mut buffered = evaluator.ctx.account();
    let mut notes = Notes::default();
    source.for_each(evaluator.ctx, |i, steps| {
        let group = groups.of_series[i];
        if steps.is_none() {
            return Ok(());
        }
        order.saw(group);
        drops[group] |= source.heads[i].drop_name;
        if op == AggregateOp::Quantile {
            // The one aggregation that keeps all its input until the end.
            buffered.add(Size::steps(1, steps.present.count()))?;
        }
        states[group].add(&steps);
        if !steps.histograms.is_empty() {
            let name = source.heads[i].labels.metric_name();
            let State { natives, seen, .. } = &mut states[group];
            natives.add(op, &steps, seen, name, &mut notes);
        }
        Ok(())
    })?;
    drop(source);
    let mut series = Vec::with_capacity(order.groups.len());
    let pace = Pace::new(evaluator.ctx);
    for group in order.groups {
        pace.step()?;
        let head = Head { labels: std::mem::replace(&mut groups.labels[group], Labels::empty()), drop_name: drops[group] };
        let state = std::mem::replace(&mut states[group], State::new(op, 0));
        series.push(StepSeries { head, steps: state.finish(&numbers, &mut notes, &pace) });
    }
    pace.outcome()?;
    notes.give(evaluator.ctx, op, input.span);
    Ok(Materialised::from_series(series, evaluator.ctx)?.into_source(grid.count))
}

fn annotate_quantiles(evaluator: Evaluator<'_>, numbers: &[f64], span: Span) {
    // NaN is less and more than any: beside it nothing else is named.
    let min = numbers.iter().copied().fold(f64::MAX, go_min);
    let max = numbers.iter().copied().fold(f64::MIN, go_max);
    evaluator.ctx.annotate(|a| {
        if numbers.iter().any(|n| n.is_nan()) {
            a.invalid_quantile(f64::NAN, span);
        }
        if max > 1.0 {
            a.invalid_quantile(max, span);
        }
        if min < 0.0 {
            a.invalid_quantile(min, span);
        }
    });
}

/// Which series belong together.
struct Groups {
    /// In order of first appearance.
    labels: Vec<Labels>,
    of_series: Vec<usize>,
}

impl Groups {
    fn of(ctx: &Context<'_>, aggregation: &Aggregation, series: &[Head]) -> Result<Self, QueryError> {
        let (mut labels, mut by_labels) = (Vec::new(), ByLabels::default());
        let of_series = pace::collect(ctx, series, |head| {
            let key = group_labels(aggregation, &head.labels);
            let group = by_labels.number(&key, labels.len(), |group| &labels[group]);
            if group == labels.len() {
                labels.push(key);
            }
            group
        })?;
        Ok(Self { labels, of_series })
    }
}

/// Groups in the order of the first series of each that has a sample, which is Prometheus's: whoever adds groups up adds in it.
struct Order {
    groups: Vec<usize>,
    seen: Vec<bool>,
}

impl Order {
    fn of(groups: &Groups) -> Self {
        let count = groups.labels.len();
        Self { groups: Vec::with_capacity(count), seen: vec![false; count] }
    }

    /// A series of this group has a sample.
    fn saw(&mut self, group: usize) {
        if !std::mem::replace(&mut self.seen[group], true) {
            self.groups.push(group);
        }
    }
}

/// What grouping leaves of a label set.
fn group_labels(aggregation: &Aggregation, labels: &Labels) -> Labels {
    let named = |name: &[u8]| aggregation.grouping.binary_search_by(|g| g.as_bytes().cmp(name)).is_ok();
    if aggregation.without { labels.filtered(|name| name != METRIC_NAME.as_bytes() && !named(name)) } else { labels.filtered(named) }
}

/// A group's running values at all steps.
struct State {
    op: AggregateOp,
    seen: Presence,
    /// Sum, extreme or sum of squares.
    values: Vec<Kahan>,
    counts: Vec<f64>,
    /// The mean of `stddev`, or of `avg` from where its sum would overflow on.
    means: Vec<f64>,
    overflowed: Presence,
    lists: Vec<Vec<f64>>,
    natives: Natives,
}

impl State {
    fn new(op: AggregateOp, steps: usize) -> Self {
        let needs = |which: &[AggregateOp]| if which.contains(&op) { steps } else { 0 };
        use AggregateOp as A;
        Self {
            op,
            seen: Presence::none(steps),
            values: vec![Kahan::default(); needs(&[A::Sum, A::Avg, A::Min, A::Max, A::Stddev, A::Stdvar])],
            counts: vec![0.0; needs(&[A::Avg, A::Count, A::Stddev, A::Stdvar])],
            means: vec![0.0; needs(&[A::Avg, A::Stddev, A::Stdvar])],
            overflowed: Presence::none(needs(&[A::Avg])),
            lists: vec![Vec::new(); needs(&[A::Quantile])],
            natives: Natives::default(),
        }
    }

    /// Takes in one series.
    fn add(&mut self, steps: &Steps) {
        if matches!(self.op, AggregateOp::Count | AggregateOp::Group) {
            // The only ones that do not look at the value.
            for (step, _) in &steps.histograms {
                if self.seen.get(*step) {
                    self.next(*step, 0.0);
                } else {
                    self.seen.set(*step);
                    self.begin(*step, 0.0);
                }
            }
        }
        let mut seen = std::mem::take(&mut self.seen);
        match self.op {
            // What most queries do, without asking for each value which that is.
            AggregateOp::Sum => {
                let sums = &mut self.values;
                seen.take_in(steps, |step, value, first| if first { sums[step].sum = value } else { sums[step].add(value) });
            }
            _ => seen.take_in(steps, |step, value, first| if first { self.begin(step, value) } else { self.next(step, value) }),
        }
        self.seen = seen;
    }

    /// The first sample of a step.
    #[inline]
    fn begin(&mut self, step: usize, value: f64) {
        match self.op {
            AggregateOp::Sum | AggregateOp::Min | AggregateOp::Max => self.values[step].sum = value,
            AggregateOp::Avg => {
                self.values[step].sum = value;
                self.counts[step] = 1.0;
            }
            AggregateOp::Count => self.counts[step] = 1.0,
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                self.values[step].sum = if value.is_finite() { 0.0 } else { f64::NAN };
                self.means[step] = value;
                self.counts[step] = 1.0;
            }
            AggregateOp::Quantile => self.lists[step].push(value),
            AggregateOp::Group
            | AggregateOp::TopK
            | AggregateOp::BottomK
            | AggregateOp::CountValues
            | AggregateOp::LimitK
            | AggregateOp::LimitRatio => {}
        }
    }

    #[inline]
    fn next(&mut self, step: usize, value: f64) {
        match self.op {
            AggregateOp::Sum => self.values[step].add(value),
            AggregateOp::Avg => self.next_average(step, value),
            AggregateOp::Count => self.counts[step] += 1.0,
            AggregateOp::Max => {
                let extreme = &mut self.values[step].sum;
                if *extreme < value || extreme.is_nan() {
                    *extreme = value;
                }
            }
            AggregateOp::Min => {
                let extreme = &mut self.values[step].sum;
                if *extreme > value || extreme.is_nan() {
                    *extreme = value;
                }
            }
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                self.counts[step] += 1.0;
                let delta = value - self.means[step];
                self.means[step] += delta / self.counts[step];
                self.values[step].sum += delta * (value - self.means[step]);
            }
            AggregateOp::Quantile => self.lists[step].push(value),
            AggregateOp::Group
            | AggregateOp::TopK
            | AggregateOp::BottomK
            | AggregateOp::CountValues
            | AggregateOp::LimitK
            | AggregateOp::LimitRatio => {}
        }
    }

    /// Sums as long as the sum does not overflow, then keeps a running mean.
    fn next_average(&mut self, step: usize, value: f64) {
        self.counts[step] += 1.0;
        let count = self.counts[step];
        if !self.overflowed.get(step) {
            let mut sum = self.values[step];
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.values[step] = sum;
                return;
            }
            self.overflowed.set(step);
            self.means[step] = self.values[step].sum / (count - 1.0);
            self.values[step].c /= count - 1.0;
        }
        let q = (count - 1.0) / count;
        let mut mean = Kahan { sum: q * self.means[step], c: q * self.values[step].c };
        mean.add(value / count);
        self.means[step] = mean.sum;
        self.values[step].c = mean.c;
    }

    /// Worth nothing when the pace has stopped.
    fn finish(mut self, quantiles: &[f64], notes: &mut Notes, pace: &Pace<'_>) -> Steps {
        let mut out = Steps::of(vec![0.0; self.seen.len()], Presence::default());
        for step in self.seen.iter() {
            let sorted = self.lists.get(step).map_or(0, Vec::len);
            if !pace.go_on_after(1 + sorted / 16) {
                break;
            }
            out.values[step] = match self.op {
                AggregateOp::Sum => self.values[step].sum + self.values[step].c,
                AggregateOp::Min | AggregateOp::Max => self.values[step].sum,
                AggregateOp::Avg if self.overflowed.get(step) => self.means[step] + self.values[step].c,
                AggregateOp::Avg => self.values[step].sum / self.counts[step] + self.values[step].c / self.counts[step],
                AggregateOp::Count => self.counts[step],
                AggregateOp::Stdvar => self.values[step].sum / self.counts[step],
                AggregateOp::Stddev => (self.values[step].sum / self.counts[step]).sqrt(),
                AggregateOp::Quantile => window::quantile(quantiles[step], &mut self.lists[step]),
                AggregateOp::Group
                | AggregateOp::TopK
                | AggregateOp::BottomK
                | AggregateOp::CountValues
                | AggregateOp::LimitK
                | AggregateOp::LimitRatio => 1.0,
            };
        }
        out.present = self.seen;
        self.natives.finish(self.op, &mut out, notes);
        out
    }
}

/// Keeps the series whose hash falls into the first (or, if negative, last) part of all hashes.
fn limit_ratio<'c>(evaluator: Evaluator<'c>, source: Source<'c>, numbers: Vec<f64>, span: Span) -> Result<Source<'c>, QueryError> {
    if numbers.iter().all(|r| *r == 0.0) {
        return evaluator.nothing(&source);
    }
    if numbers.iter().any(|r| r.is_nan()) {
        evaluator.nothing(&source)?;
        return Err(QueryError::Execution("Ratio value is NaN".into()));
    }
    let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    for (outside, ratio, capped) in [(max > 1.0, max, 1.0), (min < -1.0, min, -1.0)] {
        if outside {
            evaluator.ctx.annotate(|a| a.invalid_ratio(ratio, capped, span));
        }
    }
    let places = pace::collect(evaluator.ctx, &source.heads, |head| prometheus_hash(&head.labels) as f64 / u64::MAX as f64)?;
    let Source { heads, steps, compute } = source;
    let compute = Box::new(move |i: usize, scratch: &mut Scratch| {
        let mut values = compute(i, scratch)?;
        let place = places[i];
        values.retain(|step| {
            let ratio = numbers[step].clamp(-1.0, 1.0);
            if ratio > 0.0 { place < ratio } else { ratio < 0.0 && place >= 1.0 + ratio }
        });
        Ok(values)
    });
    Ok(Source { heads, steps, compute })
}

/// Prometheus's hash of a label set, so that the same series are chosen: xxhash64 over lengths (a
/// byte, or 255 and three bytes) and texts.
fn prometheus_hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(labels.as_bytes().len() + 8);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(len) if len < 255 => bytes.push(len),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    twox_hash::XxHash64::oneshot(0, &bytes)
}

/// One ranked sample: its value and its series.
type Ranked = (f64, u32);

/// `limitk`: at each step the first k samples of each group.
fn limit<'c>(
    evaluator: Evaluator<'c>,
    aggregation: &'c Aggregation,
    source: Source<'c>,
    numbers: &[f64],
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    if numbers.iter().all(|k| *k < 1.0) {
        return evaluator.nothing(&source);
    }
    check_k(evaluator, &source, numbers)?;
    let groups = Groups::of(evaluator.ctx, aggregation, &source.heads)?;
    let _held = evaluator.ctx.charge(groups.labels.len(), grid.count)?;
    let mut taken = vec![0i64; groups.labels.len() * grid.count];
    let mut charge = evaluator.ctx.account();
    let mut series = Vec::new();
    source.for_each(evaluator.ctx, |i, mut steps| {
        let group = groups.of_series[i] * grid.count;
        let occupied = steps.occupied();
        steps.retain(|step| taken[group + step] < numbers[step] as i64);
        occupied.iter().for_each(|step| taken[group + step] += 1);
        if !steps.is_none() {
            charge.add(steps.size())?;
            series.push(StepSeries { head: source.heads[i].clone(), steps });
        }
        Ok(())
    })?;
    drop(charge);
    Ok(Materialised::from_series(series, evaluator.ctx)?.into_source(grid.count))
}

/// `topk` and `bottomk`: at each step a heap of at most k samples for each group.
fn ranked<'c>(
    evaluator: Evaluator<'c>,
    aggregation: &'c Aggregation,
    source: Source<'c>,
    numbers: &[f64],
    span: Span,
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let op = aggregation.op;
    if numbers.iter().all(|k| *k < 1.0) {
        return evaluator.nothing(&source);
    }
    check_k(evaluator, &source, numbers)?;
    let ctx = evaluator.ctx;
    let groups = Groups::of(evaluator.ctx, aggregation, &source.heads)?;
    let series_count = source.heads.len();
    let size = |step: usize| (numbers[step] as i64).min(series_count as i64);
    let bottom = op == AggregateOp::BottomK;
    // NaN ranks last in both directions.
    let less = move |a: f64, b: f64| a.is_nan() || if bottom { a > b } else { a < b };
    let mut heaps: Vec<Vec<Ranked>> = vec![Vec::new(); groups.labels.len() * grid.count];
    let mut charge = ctx.account();
    let mut charged = 0;
    let mut held = 0;
    let mut order = Order::of(&groups);
    source.for_each(ctx, |i, steps| {
        let group = groups.of_series[i];
        if !steps.is_none() {
            order.saw(group);
        }
        if steps.histograms.iter().any(|(step, _)| size(*step) >= 1) {
            ctx.annotate(|a| a.ignored_in_aggregation(op.as_str(), span));
        }
        for step in steps.present.iter() {
            let k = size(step);
            if k < 1 {
                continue;
            }
            let heap = &mut heaps[group * grid.count + step];
            let sample = (steps.values[step], i as u32);
            if (heap.len() as i64) < k {
                heap.push(sample);
                held += 1;
                sift_up(heap, less);
            } else {
                let worst = heap[0].0;
                let better = if bottom { worst > sample.0 } else { worst < sample.0 };
                if better || (worst.is_nan() && !sample.0.is_nan()) {
                    heap[0] = sample;
                    sift_down(heap, less);
                }
            }
        }
        if held > charged {
            charge.add(Size { samples: held - charged, bytes: (held - charged) * size_of::<Ranked>() as u64 })?;
            charged = held;
        }
        Ok(())
    })?;
    let pace = Pace::new(ctx);
    for heap in &mut heaps {
        // Best first; stable, so that equal ones stay in the heap's order as with Go's sort.
        pace.sort_by(heap, |a, b| match (less(b.0, a.0), less(a.0, b.0)) {
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            _ => std::cmp::Ordering::Equal,
        })?;
    }
    let mut place: HashMap<u32, usize> = HashMap::new();
    let mut series: Vec<StepSeries> = Vec::new();
    let in_order = order.groups.iter().flat_map(|group| (0..grid.count).map(move |step| (step, group * grid.count + step)));
    for (step, at) in in_order {
        for (value, i) in &heaps[at] {
            pace.step()?;
            let to = *place.entry(*i).or_insert_with(|| {
                series.push(StepSeries { head: source.heads[*i as usize].clone(), steps: Steps::absent(grid.count) });
                series.len() - 1
            });
            series[to].steps.put(step, *value);
        }
    }
    drop(charge);
    Ok(Materialised::from_series(series, ctx)?.into_source(grid.count))
}

fn check_k<'c>(evaluator: Evaluator<'c>, source: &Source<'c>, numbers: &[f64]) -> Result<(), QueryError> {
    // Faults of the series go first.
    let error = |text: String| evaluator.nothing(source).and(Err(QueryError::Execution(text)));
    if numbers.iter().any(|k| k.is_nan()) {
        return error("Parameter value is NaN".into());
    }
    let (min, max) = (numbers.iter().copied().fold(f64::INFINITY, f64::min), numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    if min <= i64::MIN as f64 {
        return error(format!("Scalar value {} underflows int64", super::annotations::format_g(min)));
    }
    if max >= i64::MAX as f64 {
        return error(format!("Scalar value {} overflows int64", super::annotations::format_g(max)));
    }
    Ok(())
}

/// As Go's `heap.Push`: which of equal samples goes first depends on it.
fn sift_up(heap: &mut [Ranked], less: impl Fn(f64, f64) -> bool) {
    let mut at = heap.len() - 1;
    while at > 0 {
        let parent = (at - 1) / 2;
        if !less(heap[at].0, heap[parent].0) {
            break;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

/// As Go's `heap.Fix` of the root.
fn sift_down(heap: &mut [Ranked], less: impl Fn(f64, f64) -> bool) {
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child = if right < heap.len() && less(heap[right].0, heap[left].0) { right } else { left };
        if !less(heap[child].0, heap[at].0) {
            break;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// How often each value occurs: a series for each value and group.
fn count_values<'c>(
    evaluator: Evaluator<'c>,
    aggregation: &'c Aggregation,
    input: &'c Plan,
    label: &str,
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    if !super::relabel::is_label_name(label) {
        return Err(QueryError::Execution(format!("invalid label name {}", model::name::quote(label))));
    }
    let mut aggregation = aggregation.clone();
    if let (false, Err(at)) = (aggregation.without, aggregation.grouping.binary_search_by(|g| g.as_str().cmp(label))) {
        aggregation.grouping.insert(at, label.to_owned());
    }
    let ctx = evaluator.ctx;
    let source = evaluator.vector(input, grid)?;
    let mut series: Vec<StepSeries> = Vec::new();
    let mut by_labels = ByLabels::default();
    let mut charge = ctx.account();
    source.for_each(ctx, |i, steps| {
        // One series mostly repeats its values.
        let mut by_value: HashMap<String, usize> = HashMap::new();
        let mut by_float: HashMap<u64, usize> = HashMap::new();
        let natives = steps.histograms.iter().map(|(step, histogram)| (*step, Some(histogram)));
        for (step, histogram) in steps.present.iter().map(|step| (step, None)).chain(natives) {
            let value = steps.values[step];
            let text = histogram.map(|histogram| super::native::text(histogram));
            let known = text.as_ref().map_or_else(|| by_float.get(&value.to_bits()), |text| by_value.get(text));
            let at = match known {
                Some(at) => *at,
                None => {
                    let written = text.clone().unwrap_or_else(|| model::number::format_plain(value));
                    let labels = LabelsBuilder::from_labels(&source.heads[i].labels).set(label, &written).build();
                    let key = group_labels(&aggregation, &labels);
                    let at = by_labels.number(&key, series.len(), |at| &series[at].head.labels);
                    if at == series.len() {
                        charge.add(Size::steps(1, grid.count))?;
                        series.push(StepSeries { head: Head { labels: key, drop_name: false }, steps: Steps::absent(grid.count) });
                    }
                    match text {
                        Some(text) => by_value.insert(text, at),
                        None => by_float.insert(value.to_bits(), at),
                    };
                    at
                }
            };
            let counted = &mut series[at].steps;
            let count = counted.get(step).unwrap_or(0.0) + 1.0;
            counted.put(step, count);
        }
        Ok(())
    })?;
    drop(source);
    drop(charge);
    Ok(Materialised::from_series(series, ctx)?.into_source(grid.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_keeps_the_best_and_nan_last() {
        let less = |a: f64, b: f64| a.is_nan() || a < b;
        let mut heap: Vec<Ranked> = Vec::new();
        for (i, v) in [3.0, f64::NAN, 5.0].iter().enumerate() {
            heap.push((*v, i as u32));
            sift_up(&mut heap, less);
        }
        assert!(heap[0].0.is_nan());
        heap[0] = (4.0, 3);
        sift_down(&mut heap, less);
        assert_eq!(heap[0].0, 3.0);
    }
}
