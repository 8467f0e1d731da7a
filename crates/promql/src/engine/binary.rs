//! Operators between two vectors: match groups from labels first, then whole columns at a time.
//!
//! Prometheus goes step by step and fails at the first step with an ambiguous match. Here each
//! match group finds its own earliest failure, and the earliest of all wins.

use super::api::QueryError;
use super::by_labels::ByLabels;
use super::context::Context;
use super::eval::{Evaluator, nameless};
use super::pace::Pace;
use super::source::{Materialised, Source, same_labelset};
use super::vector::{Grid, Head, Presence, StepSeries, Steps};
use crate::ast::{BinaryOp, Cardinality, Matching, Span};
use crate::plan::Plan;
use crate::plan::operator::{arithmetic, compare};
use model::histogram::{Keep, ResetHint};
use model::labels::METRIC_NAME;
use model::{FloatHistogram, Labels, LabelsBuilder};
use std::sync::Arc;

/// An operator between two vectors at all steps.
#[expect(clippy::too_many_arguments, reason = "an operation has as many parts")]
pub(crate) fn vectors<'c>(
    evaluator: Evaluator<'c>,
    op: BinaryOp,
    left: &'c Plan,
    right: &'c Plan,
    matching: &'c Matching,
    return_bool: bool,
    span: Span,
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let left = evaluator.materialised(left, grid)?;
    let right = evaluator.materialised(right, grid)?;
    let series = if op.is_set() {
        set(evaluator.ctx, op, &left.series, &right.series, matching, grid)?
    } else {
        Operation { evaluator, span, op, matching, return_bool, grid }.run(&left.series, &right.series)?
    };
    drop((left, right));
    let mut result = Materialised::from_series(series, evaluator.ctx)?;
    if grid.count > 1 || !evaluator.ctx.options.delayed_name_removal {
        result.merge_same_labels(evaluator.ctx)?;
    }
    Ok(result.into_source(grid.count))
}

/// The labels by which series meet.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let listed = |name: &[u8]| matching.labels.iter().any(|l| l.as_bytes() == name);
    if matching.on { labels.filtered(listed) } else { labels.filtered(|name| name != METRIC_NAME.as_bytes() && !listed(name)) }
}

/// Series indices of each side by match group, in order of first appearance.
struct Matches {
    groups: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Matches {
    fn new(ctx: &Context<'_>, left: &[StepSeries], right: &[StepSeries], matching: &Matching) -> Result<Self, QueryError> {
        let pace = Pace::new(ctx);
        let mut groups: Vec<(Vec<usize>, Vec<usize>)> = Vec::with_capacity(left.len());
        let (mut by_signature, mut signatures) = (ByLabels::default(), Vec::with_capacity(left.len()));
        let mut group_of = |labels: &Labels, groups: &mut Vec<(Vec<usize>, Vec<usize>)>| {
            let signature = signature(labels, matching);
            let group = by_signature.number(&signature, groups.len(), |group| &signatures[group]);
            if group == groups.len() {
                groups.push(Default::default());
                signatures.push(signature);
            }
            group
        };
        for (i, series) in left.iter().enumerate() {
            pace.step()?;
            let group = group_of(&series.head.labels, &mut groups);
            groups[group].0.push(i);
        }
        for (i, series) in right.iter().enumerate() {
            pace.step()?;
            let group = group_of(&series.head.labels, &mut groups);
            groups[group].1.push(i);
        }
        Ok(Self { groups })
    }
}

fn set(
    ctx: &Context<'_>,
    op: BinaryOp,
    left: &[StepSeries],
    right: &[StepSeries],
    matching: &Matching,
    grid: Grid,
) -> Result<Vec<StepSeries>, QueryError> {
    let matches = Matches::new(ctx, left, right, matching)?;
    let pace = Pace::new(ctx);
    let any = |series: &[StepSeries], of: &[usize]| {
        let mut present = Presence::none(grid.count);
        of.iter().for_each(|i| present.union_with(&series[*i].steps.occupied()));
        present
    };
    // In series order, left before right.
    let mut keep_left: Vec<Option<Presence>> = vec![None; left.len()];
    let mut keep_right: Vec<Option<Presence>> = vec![None; right.len()];
    for (lefts, rights) in &matches.groups {
        if !pace.go_on_after(lefts.len() + rights.len()) {
            break;
        }
        match op {
            BinaryOp::Or => {
                let there = any(left, lefts);
                for i in lefts {
                    keep_left[*i] = Some(left[*i].steps.occupied());
                }
                for i in rights {
                    let mut present = right[*i].steps.occupied();
                    present.subtract(&there);
                    keep_right[*i] = Some(present);
                }
            }
            _ => {
                let there = any(right, rights);
                for i in lefts {
                    let mut present = left[*i].steps.occupied();
                    if op == BinaryOp::And {
                        present.intersect_with(&there)
                    } else {
                        present.subtract(&there)
                    }
                    keep_left[*i] = Some(present);
                }
            }
        }
    }
    pace.outcome()?;
    let mut out = Vec::new();
    for (series, present) in left.iter().zip(keep_left).chain(right.iter().zip(keep_right)) {
        pace.step()?;
        if let Some(present) = present.filter(|present| !present.is_none()) {
            let mut kept = series.clone();
            kept.steps.retain(|step| present.get(step));
            out.push(kept);
        }
    }
    Ok(out)
}

/// One operand of a pair that has a histogram.
enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

/// What a pair gives.
enum Outcome {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
    /// A comparison; it keeps the left one if it holds.
    Holds(bool),
}

/// What there is to say of a pair.
#[derive(Clone, Copy)]
enum Note {
    Types(&'static str, &'static str),
    Layout,
    ResetsCollide(&'static str),
    Bounds(&'static str),
}

impl Note {
    fn give(self, ctx: &Context<'_>, op: BinaryOp, span: Span) {
        ctx.annotate(|a| match self {
            Self::Types(left, right) => a.incompatible_types(left, op.as_str(), right, span),
            Self::Layout => a.incompatible_layout(op.as_str(), span),
            Self::ResetsCollide(during) => a.resets_collide(during, span),
            Self::Bounds(during) => a.bounds_reconciled(during, span),
        });
    }
}

/// An operator on at least one histogram; `None` if that has no result. And what there is to say of it.
fn element(op: BinaryOp, left: &Operand<'_>, right: &Operand<'_>) -> (Option<Outcome>, Option<Note>) {
    let changed = |histogram: &Arc<FloatHistogram>, change: &dyn Fn(&mut FloatHistogram)| {
        let mut histogram = FloatHistogram::clone(histogram);
        change(&mut histogram);
        Outcome::Histogram(Arc::new(histogram))
    };
    let outcome = match (op, left, right) {
        (BinaryOp::Mul, Operand::Histogram(h), Operand::Float(v)) | (BinaryOp::Mul, Operand::Float(v), Operand::Histogram(h)) => {
            changed(h, &|h| {
                h.scale(*v);
                h.compact(0);
            })
        }
        (BinaryOp::Div, Operand::Histogram(h), Operand::Float(v)) => changed(h, &|h| {
            h.divide(*v);
            h.compact(0);
        }),
        (BinaryOp::TrimBelow, Operand::Histogram(h), Operand::Float(v)) => changed(h, &|h| h.trim(*v, Keep::Below)),
        (BinaryOp::TrimAbove, Operand::Histogram(h), Operand::Float(v)) => changed(h, &|h| h.trim(*v, Keep::Above)),
        (BinaryOp::Add | BinaryOp::Sub, Operand::Histogram(a), Operand::Histogram(b)) => return sum(op, a, b),
        (BinaryOp::Equal | BinaryOp::NotEqual, Operand::Histogram(a), Operand::Histogram(b)) => {
            Outcome::Holds(a.is_same(b) == (op == BinaryOp::Equal))
        }
        (_, Operand::Float(a), Operand::Float(b)) if !op.is_trim() => match compare(op, *a, *b) {
            Some(holds) => Outcome::Holds(holds),
            None => Outcome::Float(arithmetic(op, *a, *b)),
        },
        _ => {
            let kind = |operand: &Operand<'_>| if matches!(operand, Operand::Float(_)) { "float" } else { "histogram" };
            return (None, Some(Note::Types(kind(left), kind(right))));
        }
    };
    (Some(outcome), None)
}

/// The sum or difference of two histograms. It is none where one is the first after a reset and the other is not.
fn sum(op: BinaryOp, a: &Arc<FloatHistogram>, b: &Arc<FloatHistogram>) -> (Option<Outcome>, Option<Note>) {
    let mut result = FloatHistogram::clone(a);
    let (reconciled, during) = match op {
        BinaryOp::Add => (result.add(b), "addition"),
        _ => (result.subtract(b), "subtraction"),
    };
    let Ok(reconciled) = reconciled else { return (None, Some(Note::Layout)) };
    if reconciled.resets_collide {
        return (None, Some(Note::ResetsCollide(during)));
    }
    if op == BinaryOp::Sub {
        result.reset_hint = ResetHint::Gauge;
    }
    result.compact(0);
    (Some(Outcome::Histogram(Arc::new(result))), reconciled.bounds.then_some(Note::Bounds(during)))
}

/// An operator between histograms and a number.
pub(crate) fn histograms_with_numbers(
    ctx: &Context<'_>,
    op: BinaryOp,
    histograms: Vec<(usize, Arc<FloatHistogram>)>,
    numbers: &[f64],
    scalar_left: bool,
    span: Span,
) -> Vec<(usize, Arc<FloatHistogram>)> {
    let result = |(step, histogram): (usize, Arc<FloatHistogram>)| {
        let (number, histogram) = (Operand::Float(numbers[step]), Operand::Histogram(&histogram));
        let (outcome, note) = if scalar_left { element(op, &number, &histogram) } else { element(op, &histogram, &number) };
        if let Some(note) = note {
            note.give(ctx, op, span);
        }
        match outcome? {
            Outcome::Histogram(result) => Some((step, result)),
            Outcome::Float(_) | Outcome::Holds(_) => None,
        }
    };
    histograms.into_iter().filter_map(result).collect()
}

struct Operation<'c> {
    evaluator: Evaluator<'c>,
    span: Span,
    op: BinaryOp,
    matching: &'c Matching,
    return_bool: bool,
    grid: Grid,
}

/// The earliest failure: step, then whether the one side (0), a pair (1) or one filled in on the many side (2) is at fault.
struct Failure(Option<((usize, u8, usize), String)>);

/// For each step the last note and where Prometheus comes to it: in the pairs of the many side or in those filled in for
/// what is missing there, and at which series. It says no other.
struct Notes(Vec<Option<((u8, usize), Note)>>);

impl Notes {
    fn put(&mut self, step: usize, at: (u8, usize), note: Note) {
        if self.0[step].is_none_or(|(last, _)| last <= at) {
            self.0[step] = Some((at, note));
        }
    }
}

impl Failure {
    /// May another one be met before it?
    fn leaves_steps_before(&self) -> bool {
        self.0.as_ref().is_none_or(|((step, ..), _)| *step > 0)
    }

    fn note(&mut self, at: (usize, u8, usize), text: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            self.0 = Some((at, text()));
        }
    }
}

impl Operation<'_> {
    fn run(&self, left: &[StepSeries], right: &[StepSeries]) -> Result<Vec<StepSeries>, QueryError> {
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let ctx = self.evaluator.ctx;
        let matches = Matches::new(ctx, left, right, self.matching)?;
        let pace = Pace::new(ctx);
        // Steps with an empty side fail nobody.
        let mut both = any_present(&pace, left, self.grid)?;
        if self.matching.fill_left.is_none() && self.matching.fill_right.is_none() {
            both.intersect_with(&any_present(&pace, right, self.grid)?);
        } else {
            both.union_with(&any_present(&pace, right, self.grid)?);
        }
        let mut failure = Failure(None);
        let mut notes = Notes(vec![None; self.grid.count]);
        let mut out = Outputs {
            series: Vec::with_capacity(matches.groups.len()),
            by_labels: ByLabels::default(),
            delayed_instant: self.delayed_instant(),
        };
        for (lefts, rights) in &matches.groups {
            ctx.check()?;
            let (many, many_at, one, one_at) = if swapped { (right, rights, left, lefts) } else { (left, lefts, right, rights) };
            self.check_one_side(&pace, one, one_at, &both, swapped, &mut failure)?;
            self.pairs(&pace, many, many_at, one, one_at, swapped, (&mut failure, &mut notes, &mut out))?;
        }
        for (_, note) in notes.0.into_iter().flatten() {
            note.give(self.evaluator.ctx, self.op, self.span);
        }
        match failure.0 {
            Some((_, text)) => Err(QueryError::Execution(text)),
            None => Ok(out.series),
        }
    }

    fn delayed_instant(&self) -> bool {
        self.grid.count == 1 && self.evaluator.ctx.options.delayed_name_removal
    }

    /// At most one series of the one side may be there at a step.
    fn check_one_side(
        &self,
        pace: &Pace<'_>,
        one: &[StepSeries],
        at: &[usize],
        both: &Presence,
        swapped: bool,
        failure: &mut Failure,
    ) -> Result<(), QueryError> {
        if at.len() < 2 {
            return Ok(());
        }
        let mut seen = Presence::none(self.grid.count);
        for (nth, i) in at.iter().enumerate() {
            pace.step()?;
            let present = one[*i].steps.occupied().and(both);
            if let Some(step) = seen.and(&present).first() {
                failure.note((step, 0, *i), || {
                    let previous = at[..nth].iter().rev().find(|p| one[**p].steps.occupied().get(step)).unwrap_or(i);
                    let (a, b) = (one[*i].head.labels.to_string(), one[*previous].head.labels.to_string());
                    let (a, b) = if a > b { (b, a) } else { (a, b) };
                    let group = self.match_labels(&one[*i].head.labels);
                    let side = if swapped { "left" } else { "right" };
                    format!(
                        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{a}, {b}];many-to-many matching not allowed: matching labels must be unique on one side"
                    )
                });
            }
            seen.union_with(&present);
        }
        Ok(())
    }

    /// All pairs of one match group, and those with a value filled in for what is missing.
    #[expect(clippy::too_many_arguments, reason = "two sides, and what comes of them")]
    fn pairs(
        &self,
        pace: &Pace<'_>,
        many: &[StepSeries],
        many_at: &[usize],
        one: &[StepSeries],
        one_at: &[usize],
        swapped: bool,
        (failure, notes, out): (&mut Failure, &mut Notes, &mut Outputs),
    ) -> Result<(), QueryError> {
        let matched = Presence::none(self.grid.count);
        let mut pairs = Pairs { operation: self, swapped, matched, matched_labels: Matched::default(), failure, notes, out };
        let there = |series: &[StepSeries], at: &[usize]| {
            let mut there = Presence::none(self.grid.count);
            at.iter().for_each(|i| there.union_with(&series[*i].steps.occupied()));
            there
        };
        let filled = |value: f64, series: &StepSeries, missing: &Presence| StepSeries {
            head: Head { labels: self.match_labels(&series.head.labels), drop_name: false },
            steps: Steps::of(vec![value; self.grid.count], missing.clone()),
        };
        // As in Prometheus, the right value is for the one side, whichever side that is written on.
        let one_there = self.matching.fill_right.map(|value| (value, there(one, one_at)));
        for m in many_at {
            let occupied = many[*m].steps.occupied();
            pace.step()?;
            for o in one_at {
                pace.step()?;
                pairs.add((0, *m), &many[*m], &one[*o], occupied.and(&one[*o].steps.occupied()))?;
            }
            if let Some((value, there)) = &one_there {
                let mut missing = occupied;
                missing.subtract(there);
                pairs.add((0, *m), &many[*m], &filled(*value, &many[*m], &missing), missing)?;
            }
        }
        if let Some(value) = self.matching.fill_left {
            // A pair that had no result is none.
            let matched = pairs.matched.clone();
            for o in one_at {
                let mut missing = one[*o].steps.occupied();
                missing.subtract(&matched);
                pairs.add((1, *o), &filled(value, &one[*o], &missing), &one[*o], missing)?;
            }
        }
        Ok(())
    }

    /// The results, and the steps at which there is one, be it a comparison that does not hold.
    fn compute(&self, a: &Steps, b: &Steps, present: Presence, note: impl FnMut(usize, Note)) -> (Steps, Presence) {
        if !a.histograms.is_empty() || !b.histograms.is_empty() || self.op.is_trim() {
            return self.compute_mixed(a, b, present, note);
        }
        (self.compute_floats(a, b, present.clone()), present)
    }

    fn compute_floats(&self, a: &Steps, b: &Steps, mut present: Presence) -> Steps {
        let mut values = vec![0.0; self.grid.count];
        if !self.op.is_comparison() {
            if present.is_all() {
                for ((out, a), b) in values.iter_mut().zip(&a.values).zip(&b.values) {
                    *out = arithmetic(self.op, *a, *b);
                }
            } else {
                present.iter().for_each(|i| values[i] = arithmetic(self.op, a.values[i], b.values[i]));
            }
            return Steps::of(values, present);
        }
        for i in present.clone().iter() {
            let holds = compare(self.op, a.values[i], b.values[i]).unwrap_or(false);
            if self.return_bool {
                values[i] = f64::from(u8::from(holds));
            } else if holds {
                values[i] = a.values[i];
            } else {
                present.unset(i);
            }
        }
        Steps::of(values, present)
    }

    fn compute_mixed(&self, a: &Steps, b: &Steps, mut present: Presence, mut give: impl FnMut(usize, Note)) -> (Steps, Presence) {
        let mut out = Steps::absent(self.grid.count);
        let (mut rest_a, mut rest_b) = (a.histograms.iter().peekable(), b.histograms.iter().peekable());
        for step in present.clone().iter() {
            while rest_a.next_if(|(at, _)| *at < step).is_some() {}
            while rest_b.next_if(|(at, _)| *at < step).is_some() {}
            let left = rest_a.next_if(|(at, _)| *at == step).map_or(Operand::Float(a.values[step]), |(_, h)| Operand::Histogram(h));
            let right = rest_b.next_if(|(at, _)| *at == step).map_or(Operand::Float(b.values[step]), |(_, h)| Operand::Histogram(h));
            let (outcome, note) = element(self.op, &left, &right);
            if let Some(note) = note {
                give(step, note);
            }
            match (outcome, left) {
                (None, _) => present.unset(step),
                (Some(Outcome::Float(value)), _) => out.put(step, value),
                (Some(Outcome::Histogram(histogram)), _) => out.put_histogram(step, histogram),
                (Some(Outcome::Holds(holds)), _) if self.return_bool => out.put(step, f64::from(u8::from(holds))),
                (Some(Outcome::Holds(false)), _) => {}
                (Some(Outcome::Holds(true)), Operand::Float(value)) => out.put(step, value),
                (Some(Outcome::Holds(true)), Operand::Histogram(histogram)) => out.put_histogram(step, Arc::clone(histogram)),
            }
        }
        (out, present)
    }

    /// The result's labels from those of the many and the one side.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = self.matching;
        let drops_now = self.return_bool && !self.evaluator.ctx.options.delayed_name_removal;
        let stripped = if drops_now || self.op.changes_metric() { nameless(many) } else { many.clone() };
        let listed = |name: &str| matching.labels.iter().any(|l| l == name);
        let mut builder = LabelsBuilder::from_labels(&stripped);
        if matching.cardinality == Cardinality::OneToOne {
            builder.retain(|name, _| listed(name) == matching.on);
        }
        for name in &matching.include {
            builder.set(name, one.get(name).unwrap_or(""));
        }
        builder.build()
    }

    fn match_labels(&self, labels: &Labels) -> Labels {
        signature(labels, self.matching)
    }
}

/// The pairs of one match group.
struct Pairs<'a, 'c> {
    operation: &'a Operation<'c>,
    swapped: bool,
    matched: Presence,
    matched_labels: Matched,
    failure: &'a mut Failure,
    notes: &'a mut Notes,
    out: &'a mut Outputs,
}

impl Pairs<'_, '_> {
    /// One pair at the steps where it meets; `at` is the series that Prometheus has in hand: 0 and one of the many side, or 1
    /// and one of the one side.
    fn add(&mut self, at: (u8, usize), many: &StepSeries, one: &StepSeries, present: Presence) -> Result<(), QueryError> {
        if present.is_none() {
            return Ok(());
        }
        let operation = self.operation;
        let labels = operation.result_labels(&many.head.labels, &one.head.labels);
        let (a, b) = if self.swapped { (one, many) } else { (many, one) };
        let (steps, present) = operation.compute(&a.steps, &b.steps, present, |step, note| self.notes.put(step, at, note));
        if operation.matching.cardinality == Cardinality::OneToOne {
            if let Some(step) = self.matched.and(&present).first() {
                self.failure.note((step, 1 + at.0, at.1), || {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".into()
                });
            }
        } else {
            let count = operation.grid.count;
            let seen = self.matched_labels.of(&labels, count);
            if let Some(step) = seen.and(&present).first() {
                self.failure
                    .note((step, 1 + at.0, at.1), || "multiple matches for labels: grouping labels must ensure unique matches".into());
            }
            seen.union_with(&present);
        }
        self.matched.union_with(&present);
        if !steps.is_none() && self.failure.leaves_steps_before() {
            let drop_name = operation.return_bool && operation.evaluator.ctx.options.delayed_name_removal;
            if let Some(step) = self.out.add(Head { labels, drop_name }, steps) {
                self.failure.note((step, 3, 0), || same_labelset().to_string());
            }
        }
        Ok(())
    }
}

/// Where there are results, by their labels.
#[derive(Default)]
struct Matched {
    by_labels: ByLabels,
    all: Vec<(Labels, Presence)>,
}

impl Matched {
    /// Of these labels, at so many steps.
    fn of(&mut self, labels: &Labels, count: usize) -> &mut Presence {
        let at = self.by_labels.number(labels, self.all.len(), |at| &self.all[at].0);
        if at == self.all.len() {
            self.all.push((labels.clone(), Presence::none(count)));
        }
        &mut self.all[at].1
    }
}

/// Results by labels: pairs of different match groups may give the same labels at different steps.
struct Outputs {
    series: Vec<StepSeries>,
    by_labels: ByLabels,
    delayed_instant: bool,
}

impl Outputs {
    /// Gives the first step that has the labels already.
    fn add(&mut self, head: Head, steps: Steps) -> Option<usize> {
        if self.delayed_instant {
            self.series.push(StepSeries { head, steps });
            return None;
        }
        let at = self.by_labels.number(&head.labels, self.series.len(), |at| &self.series[at].head.labels);
        let Some(target) = self.series.get_mut(at).map(|series| &mut series.steps) else {
            self.series.push(StepSeries { head, steps });
            return None;
        };
        let twice = target.occupied().and(&steps.occupied()).first();
        steps.present.iter().for_each(|step| target.put(step, steps.values[step]));
        target.histograms.extend(steps.histograms);
        target.histograms.sort_by_key(|(step, _)| *step);
        twice
    }
}

fn any_present(pace: &Pace<'_>, series: &[StepSeries], grid: Grid) -> Result<Presence, QueryError> {
    let mut present = Presence::none(grid.count);
    for series in series {
        pace.step()?;
        present.union_with(&series.steps.occupied());
    }
    Ok(present)
}
