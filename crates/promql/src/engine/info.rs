//! `info()`: labels of info metrics (`target_info` and its like) for the series of the same target.

use super::api::QueryError;
use super::eval::Evaluator;
use super::pace::Pace;
use super::select::Pick;
use super::source::{Materialised, Source};
use super::vector::{Grid, Presence, StepSeries};
use crate::plan::{Plan, Selector, When};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, MatchOp, Matcher};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What tells a target.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What info series have to be called. Exclusions alone leave those that are named like info metrics.
fn info_names(names: Vec<Matcher>) -> Result<Vec<Matcher>, QueryError> {
    if names.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, "target_info")]);
    }
    if names.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex)) {
        return Ok(names);
    }
    let mut all = vec![regex(METRIC_NAME, ".+_info")?];
    all.extend(names);
    Ok(all)
}

fn regex(name: &str, text: &str) -> Result<Matcher, QueryError> {
    Matcher::new(MatchOp::Regex, name, text).map_err(|error| QueryError::Execution(error.to_string()))
}

/// A text as an expression that matches just it.
fn escaped(text: &str) -> String {
    let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The name of an info metric, and whose info it is.
type Key = (String, [Option<String>; 2]);

/// The labels that identify a series' target.
fn identity(labels: &Labels) -> [Option<String>; 2] {
    IDENTIFYING.map(|name| labels.get(name).map(str::to_owned))
}

/// The info metrics that are to be joined.
struct Info<'a> {
    /// Matchers of labels that are wanted; all labels if there are none.
    wanted: Vec<&'a Matcher>,
    series: Vec<StepSeries>,
    /// Which series holds for a target at each step.
    newest: BTreeMap<Key, Vec<Option<usize>>>,
}

/// The series of `input` with the labels that info metrics have for them at each step.
pub(crate) fn info<'c>(
    evaluator: Evaluator<'c>,
    input: &'c Plan,
    when: When,
    matchers: &'c [Matcher],
    grid: Grid,
) -> Result<Source<'c>, QueryError> {
    let base = evaluator.materialised(input, grid)?;
    let (names, wanted): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| m.name == METRIC_NAME);
    let names = info_names(names.into_iter().cloned().collect())?;
    // Info metrics are left as they are.
    let is_info = |labels: &Labels| names.iter().all(|m| m.matches(labels.metric_name()));
    let series = select(evaluator, &base.series, is_info, &names, &wanted, when, grid)?;
    let mut there = Presence::none(grid.count);
    let pace = Pace::new(evaluator.ctx);
    for series in base.series.iter() {
        pace.step()?;
        there.union_with(&series.steps.occupied());
    }
    let (newest, mut failure) = newest(&pace, &series, &there, grid)?;
    let info = Info { wanted, series, newest };
    let mut out = Vec::new();
    for series in base.series.iter() {
        evaluator.ctx.check()?;
        if is_info(&series.head.labels) {
            out.push(series.clone());
        } else {
            info.join(series, grid, &mut out, &mut failure);
        }
    }
    drop(base);
    if let Some((_, error)) = failure {
        return Err(error);
    }
    let mut result = Materialised::from_series(out, evaluator.ctx)?;
    result.merge_same_labels(evaluator.ctx)?;
    Ok(result.into_source(grid.count))
}

/// Info series of the targets that the base has; values are the times of their samples.
fn select(
    evaluator: Evaluator<'_>,
    base: &[StepSeries],
    is_info: impl Fn(&Labels) -> bool,
    names: &[Matcher],
    wanted: &[&Matcher],
    when: When,
    grid: Grid,
) -> Result<Vec<StepSeries>, QueryError> {
    let pace = Pace::new(evaluator.ctx);
    let mut matchers = Vec::new();
    for name in IDENTIFYING {
        let mut values = BTreeSet::new();
        for labels in base.iter().map(|series| &series.head.labels) {
            pace.step()?;
            if !is_info(labels) {
                values.extend(labels.get(name).filter(|value| !value.is_empty()));
            }
        }
        if !values.is_empty() {
            matchers.push(regex(name, &values.into_iter().map(escaped).collect::<Vec<_>>().join("|"))?);
        }
    }
    if matchers.is_empty() {
        return Ok(Vec::new());
    }
    matchers.extend(wanted.iter().map(|m| (*m).clone()));
    matchers.extend(names.iter().cloned());
    let selector = Selector { matchers, when, extended: None, totals_only: false };
    let mut series = Vec::new();
    let source = evaluator.select_instant(&selector, grid, Pick::FloatTime)?;
    source.for_each(evaluator.ctx, |i, steps| {
        if !steps.histograms.is_empty() {
            let labels = &source.heads[i].labels;
            return Err(QueryError::Execution(format!("this should be an info metric, with float samples: {labels}")));
        }
        if !steps.is_none() {
            series.push(StepSeries { head: source.heads[i].clone(), steps });
        }
        Ok(())
    })?;
    Ok(series)
}

/// The earliest step that fails, and why.
type Failure = Option<(usize, QueryError)>;

/// For each target the info series with the newest sample; two that are equally new are an error where anybody asks.
#[expect(clippy::type_complexity, reason = "a map and what is wrong")]
fn newest(
    pace: &Pace<'_>,
    series: &[StepSeries],
    there: &Presence,
    grid: Grid,
) -> Result<(BTreeMap<Key, Vec<Option<usize>>>, Failure), QueryError> {
    let mut newest: BTreeMap<Key, Vec<Option<usize>>> = BTreeMap::new();
    let mut clash: Option<(usize, usize, usize)> = None;
    for (i, info) in series.iter().enumerate() {
        pace.step()?;
        let labels = &info.head.labels;
        let steps = newest.entry((labels.metric_name().to_owned(), identity(labels))).or_insert_with(|| vec![None; grid.count]);
        for step in info.steps.present.iter() {
            let time = info.steps.values[step];
            match steps[step].map(|other| (other, series[other].steps.values[step])) {
                Some((_, other)) if other > time => {}
                Some((at, other)) if other == time => {
                    if there.get(step) && clash.is_none_or(|(earliest, ..)| step < earliest) {
                        clash = Some((step, at, i));
                    }
                }
                _ => steps[step] = Some(i),
            }
        }
    }
    let Some((step, existing, new)) = clash else { return Ok((newest, None)) };
    let shown = |i: usize| format!("{} @ {}", series[i].head.labels, (series[i].steps.values[step] * 1000.0).round());
    let text = format!("found duplicate series for info metric: existing {}, new {}", shown(existing), shown(new));
    Ok((newest, Some((step, QueryError::Execution(text)))))
}

impl Info<'_> {
    /// One series with the labels of its info metrics; where these change it becomes several.
    fn join(&self, series: &StepSeries, grid: Grid, out: &mut Vec<StepSeries>, failure: &mut Failure) {
        let base = &series.head.labels;
        let target = identity(base);
        let infos: Vec<&Vec<Option<usize>>> =
            self.newest.iter().filter(|((_, identity), _)| *identity == target).map(|(_, steps)| steps).collect();
        // Steps by the info series that hold at them.
        let mut steps_of: HashMap<Vec<usize>, Presence> = HashMap::new();
        let mut order = Vec::new();
        for step in series.steps.occupied().iter() {
            let holding: Vec<usize> = infos.iter().filter_map(|steps| steps[step]).collect();
            let steps = steps_of.entry(holding.clone()).or_insert_with(|| {
                order.push(holding);
                Presence::none(grid.count)
            });
            steps.set(step);
        }
        for holding in order {
            let Some(steps) = steps_of.get(&holding) else { continue };
            let labels = match self.labels(base, &holding) {
                Ok(Some(labels)) => labels,
                Ok(None) => continue,
                Err(error) => {
                    let first = steps.first().unwrap_or(0);
                    if failure.as_ref().is_none_or(|(earliest, _)| first < *earliest) {
                        *failure = Some((first, error));
                    }
                    continue;
                }
            };
            let mut joined = series.clone();
            joined.head.labels = labels;
            joined.steps.retain(|step| steps.get(step));
            out.push(joined);
        }
    }

    /// The labels of a series and of its info series; `None` if it goes for want of them.
    fn labels(&self, base: &Labels, holding: &[usize]) -> Result<Option<Labels>, QueryError> {
        if holding.is_empty() {
            let may_be_missing = self.wanted.iter().all(|m| m.matches_empty());
            return Ok(may_be_missing.then(|| base.clone()));
        }
        let mut added: BTreeMap<&str, &str> = BTreeMap::new();
        for i in holding {
            for (name, value) in self.series[*i].head.labels.iter() {
                let is_wanted = self.wanted.is_empty() || self.wanted.iter().any(|m| m.name == name);
                if name == METRIC_NAME || !is_wanted {
                    continue;
                }
                if added.get(name).is_some_and(|other| *other != value) {
                    return Err(QueryError::Execution(format!("conflicting label: {name}")));
                }
                if base.get(name).is_none() {
                    added.insert(name, value);
                }
            }
        }
        let mut builder = LabelsBuilder::from_labels(base);
        for (name, value) in added {
            builder.set(name, value);
        }
        Ok(Some(builder.build()))
    }
}
