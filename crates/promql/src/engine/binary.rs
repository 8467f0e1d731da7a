//! Operators between two vectors: match groups from labels first, then whole columns at a time.
//!
//! Prometheus goes step by step and fails at the first step with an ambiguous match. Here each
//! match group finds its own earliest failure, and the earliest of all wins.

use super::api::QueryError;
use super::eval::{Evaluator, nameless};
use super::source::{Materialised, Source, same_labelset};
use super::vector::{Grid, Head, Presence, StepSeries, Steps};
use crate::ast::{BinaryOp, Cardinality, Matching};
use crate::plan::Plan;
use crate::plan::operator::{arithmetic, compare};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder};
use std::collections::HashMap;

/// An operator between two vectors at all steps.
pub(crate) fn vectors<'c>(
    evaluator: Evaluator<'c>,
    op: BinaryOp,
    left: &'c Plan,
    right: &'c Plan,
    matching: &'c Matching,
    return_bool: bool,
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let left = evaluator.materialised(left, grid)?;
    let right = evaluator.materialised(right, grid)?;
    let series = if op.is_set() {
        set(op, &left.series, &right.series, matching, grid)
    } else {
        Operation { evaluator, op, matching, return_bool, grid }.run(&left.series, &right.series)?
    };
    drop((left, right));
    let mut result = Materialised::from_series(series, evaluator.ctx)?;
    if grid.count > 1 || !evaluator.ctx.options.delayed_name_removal {
        result.merge_same_labels()?;
    }
    Ok(result.into_source(grid.count))
}

/// The labels by which series meet.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|l| l == name);
    if matching.on {
        Labels::from_sorted(labels.iter().filter(|(name, _)| listed(name)))
    } else {
        Labels::from_sorted(labels.iter().filter(|(name, _)| *name != METRIC_NAME && !listed(name)))
    }
}

/// Series indices of each side by match group, in order of first appearance.
struct Matches {
    groups: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Matches {
    fn new(left: &[StepSeries], right: &[StepSeries], matching: &Matching) -> Self {
        let mut groups: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        let mut by_signature: HashMap<Labels, usize> = HashMap::new();
        let mut group_of = |labels: &Labels, groups: &mut Vec<(Vec<usize>, Vec<usize>)>| {
            *by_signature.entry(signature(labels, matching)).or_insert_with(|| {
                groups.push(Default::default());
                groups.len() - 1
            })
        };
        for (i, series) in left.iter().enumerate() {
            let group = group_of(&series.head.labels, &mut groups);
            groups[group].0.push(i);
        }
        for (i, series) in right.iter().enumerate() {
            let group = group_of(&series.head.labels, &mut groups);
            groups[group].1.push(i);
        }
        Self { groups }
    }
}

fn set(op: BinaryOp, left: &[StepSeries], right: &[StepSeries], matching: &Matching, grid: Grid) -> Vec<StepSeries> {
    let matches = Matches::new(left, right, matching);
    let any = |series: &[StepSeries], of: &[usize]| {
        let mut present = Presence::none(grid.count);
        of.iter().for_each(|i| present.union_with(&series[*i].steps.present));
        present
    };
    // In series order, left before right.
    let mut keep_left: Vec<Option<Presence>> = vec![None; left.len()];
    let mut keep_right: Vec<Option<Presence>> = vec![None; right.len()];
    for (lefts, rights) in &matches.groups {
        match op {
            BinaryOp::Or => {
                let there = any(left, lefts);
                for i in lefts {
                    keep_left[*i] = Some(left[*i].steps.present.clone());
                }
                for i in rights {
                    let mut present = right[*i].steps.present.clone();
                    present.subtract(&there);
                    keep_right[*i] = Some(present);
                }
            }
            _ => {
                let there = any(right, rights);
                for i in lefts {
                    let mut present = left[*i].steps.present.clone();
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
    let kept = |series: &[StepSeries], keep: Vec<Option<Presence>>| -> Vec<StepSeries> {
        series
            .iter()
            .zip(keep)
            .filter_map(|(s, present)| {
                let present = present.filter(|p| !p.is_none())?;
                Some(StepSeries { head: s.head.clone(), steps: Steps::of(s.steps.values.clone(), present) })
            })
            .collect()
    };
    let mut out = kept(left, keep_left);
    out.extend(kept(right, keep_right));
    out
}

struct Operation<'c> {
    evaluator: Evaluator<'c>,
    op: BinaryOp,
    matching: &'c Matching,
    return_bool: bool,
    grid: Grid,
}

/// The earliest failure: step, then whether the one side (0) or a pair (1) is at fault.
struct Failure(Option<((usize, u8, usize), String)>);

impl Failure {
    fn note(&mut self, at: (usize, u8, usize), text: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            self.0 = Some((at, text()));
        }
    }
}

impl Operation<'_> {
    fn run(&self, left: &[StepSeries], right: &[StepSeries]) -> Result<Vec<StepSeries>, QueryError> {
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let matches = Matches::new(left, right, self.matching);
        // Steps with an empty side fail nobody.
        let mut both = any_present(left, self.grid);
        both.intersect_with(&any_present(right, self.grid));
        let mut failure = Failure(None);
        let mut out = Outputs { series: Vec::new(), by_labels: HashMap::new(), delayed_instant: self.delayed_instant() };
        for (lefts, rights) in &matches.groups {
            self.evaluator.ctx.check()?;
            let (many, many_at, one, one_at) = if swapped { (right, rights, left, lefts) } else { (left, lefts, right, rights) };
            self.check_one_side(one, one_at, &both, swapped, &mut failure);
            self.pairs(many, many_at, one, one_at, swapped, &mut failure, &mut out)?;
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
    fn check_one_side(&self, one: &[StepSeries], at: &[usize], both: &Presence, swapped: bool, failure: &mut Failure) {
        if at.len() < 2 {
            return;
        }
        let mut seen = Presence::none(self.grid.count);
        for (nth, i) in at.iter().enumerate() {
            let present = one[*i].steps.present.and(both);
            if let Some(step) = seen.and(&present).first() {
                failure.note((step, 0, *i), || {
                    let previous = at[..nth].iter().rev().find(|p| one[**p].steps.present.get(step)).unwrap_or(i);
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
    }

    /// All pairs of one match group.
    #[expect(clippy::too_many_arguments, reason = "two sides, where they are, and two results")]
    fn pairs(
        &self,
        many: &[StepSeries],
        many_at: &[usize],
        one: &[StepSeries],
        one_at: &[usize],
        swapped: bool,
        failure: &mut Failure,
        out: &mut Outputs,
    ) -> Result<(), QueryError> {
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let mut matched = Presence::none(self.grid.count);
        let mut matched_labels: HashMap<Labels, Presence> = HashMap::new();
        for m in many_at {
            for o in one_at {
                let (m_series, o_series) = (&many[*m], &one[*o]);
                let present = m_series.steps.present.and(&o_series.steps.present);
                if present.is_none() {
                    continue;
                }
                let labels = self.result_labels(&m_series.head.labels, &o_series.head.labels);
                if one_to_one {
                    if let Some(step) = matched.and(&present).first() {
                        failure.note((step, 1, *m), || {
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".into()
                        });
                    }
                    matched.union_with(&present);
                } else {
                    let seen = matched_labels.entry(labels.clone()).or_insert_with(|| Presence::none(self.grid.count));
                    if let Some(step) = seen.and(&present).first() {
                        failure.note((step, 1, *m), || "multiple matches for labels: grouping labels must ensure unique matches".into());
                    }
                    seen.union_with(&present);
                }
                let (a, b) = if swapped { (o_series, m_series) } else { (m_series, o_series) };
                let steps = self.compute(&a.steps, &b.steps, present);
                if !steps.present.is_none() && failure.0.is_none() {
                    out.add(Head { labels, drop_name: self.return_bool && self.evaluator.ctx.options.delayed_name_removal }, steps)?;
                }
            }
        }
        Ok(())
    }

    fn compute(&self, a: &Steps, b: &Steps, mut present: Presence) -> Steps {
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

    /// The result's labels from those of the many and the one side.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = self.matching;
        let drops_now = self.return_bool && !self.evaluator.ctx.options.delayed_name_removal;
        let stripped = if drops_now || !self.op.is_comparison() { nameless(many) } else { many.clone() };
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

/// Results by labels: pairs of different match groups may give the same labels at different steps.
struct Outputs {
    series: Vec<StepSeries>,
    by_labels: HashMap<Labels, usize>,
    delayed_instant: bool,
}

impl Outputs {
    fn add(&mut self, head: Head, steps: Steps) -> Result<(), QueryError> {
        if self.delayed_instant {
            self.series.push(StepSeries { head, steps });
            return Ok(());
        }
        match self.by_labels.get(&head.labels) {
            None => {
                self.by_labels.insert(head.labels.clone(), self.series.len());
                self.series.push(StepSeries { head, steps });
            }
            Some(at) => {
                let target = &mut self.series[*at].steps;
                if !target.present.and(&steps.present).is_none() {
                    return Err(same_labelset());
                }
                steps.present.iter().for_each(|step| target.put(step, steps.values[step]));
            }
        }
        Ok(())
    }
}

fn any_present(series: &[StepSeries], grid: Grid) -> Presence {
    let mut present = Presence::none(grid.count);
    series.iter().for_each(|s| present.union_with(&s.steps.present));
    present
}
