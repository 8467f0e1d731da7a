//! Which parts of a plan occur more than once, so that one evaluation does for all of them.
//!
//! Parts are the same if they do the same to the same, at the same steps: those of a subquery, and the one step of what does not
//! change, are others than the query's. Where a part stands in the text, and in how many parentheses, plays no role.

use super::{Kind, Plan, Selector, WindowSource, Windows};
use crate::ast::{Matching, Span, ValueType};
use model::Matcher;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// Parts that give the same vector.
pub(crate) struct Repeated<'p> {
    /// All of them, those within parts that are repeated themselves included.
    pub places: Vec<&'p Plan>,
    /// How many of them are asked for if each repeated part is evaluated once; at least two.
    pub uses: usize,
}

/// The repeated parts of a plan that read samples.
pub(crate) fn repeated(plan: &Plan) -> Vec<Repeated<'_>> {
    if !selects_twice(plan) {
        return Vec::new();
    }
    let mut numbering = Numbering::default();
    let top = numbering.steps(None);
    let root = numbering.part(plan, top, false);
    let mut parts: Vec<(Repeated<'_>, bool)> = Vec::new();
    count(&root, true, &mut parts);
    parts.into_iter().filter(|(part, wanted)| *wanted && part.uses > 1).map(|(part, _)| part).collect()
}

/// May it read the same series at two places? Else nothing that reads can be repeated, as nearly always.
fn selects_twice(plan: &Plan) -> bool {
    fn collect<'p>(plan: &'p Plan, selected: &mut Vec<&'p [Matcher]>) {
        selected.extend(plan.matchers());
        plan.children().into_iter().for_each(|part| collect(part, selected));
    }
    fn texts(matchers: &[Matcher]) -> impl Iterator<Item = (&str, &str)> {
        matchers.iter().map(|matcher| (matcher.value.as_str(), matcher.name.as_str()))
    }
    let mut selected = Vec::new();
    collect(plan, &mut selected);
    selected.sort_unstable_by(|a, b| texts(a).cmp(texts(b)));
    selected.windows(2).any(|pair| texts(pair[0]).eq(texts(pair[1])))
}

/// A part with the number of what it gives. Parts of one number give the same.
struct Numbered<'p> {
    plan: &'p Plan,
    number: usize,
    reads: bool,
    parts: Vec<Numbered<'p>>,
}

/// Numbers for parts and for the steps at which they are evaluated.
#[derive(Default)]
struct Numbering {
    known: HashMap<Vec<u8>, usize>,
}

/// Steps within the steps around them.
#[derive(Hash)]
struct Within {
    around: usize,
    how: Steps,
}

#[derive(Hash)]
enum Steps {
    /// The first of those around.
    First,
    /// Those of a subquery.
    Subquery { when: super::When, range: i64, step: Option<i64> },
}

impl Numbering {
    fn number(&mut self, key: Key) -> usize {
        let next = self.known.len();
        *self.known.entry(key.0).or_insert(next)
    }

    fn steps(&mut self, within: Option<Within>) -> usize {
        let mut key = Key::default();
        ("steps", within).hash(&mut key);
        self.number(key)
    }

    /// `steps` are those around it; `first` if they are a single one already.
    fn part<'p>(&mut self, plan: &'p Plan, steps: usize, first: bool) -> Numbered<'p> {
        let (steps, first) = match plan.invariant && !first {
            true => (self.steps(Some(Within { around: steps, how: Steps::First })), true),
            false => (steps, first),
        };
        let inner = plan.windows().and_then(|windows| match &windows.source {
            WindowSource::Subquery(inner, step) => {
                let how = Steps::Subquery { when: windows.when, range: windows.range, step: *step };
                Some((&**inner, self.steps(Some(Within { around: steps, how }))))
            }
            WindowSource::Selector(_) => None,
        });
        let number_part = |part: &'p Plan| match inner {
            Some((inner, inner_steps)) if std::ptr::eq(inner, part) => self.part(part, inner_steps, false),
            _ => self.part(part, steps, first),
        };
        let parts: Vec<Numbered<'p>> = plan.children().into_iter().map(number_part).collect();
        let mut key = Key::default();
        ("part", steps).hash(&mut key);
        hash_own(&plan.kind, &mut key);
        parts.iter().for_each(|part| part.number.hash(&mut key));
        let reads = plan.matchers().is_some() || parts.iter().any(|part| part.reads);
        Numbered { plan, number: self.number(key), reads, parts }
    }
}

/// Notes the part and those below it, and if it is worth to be evaluated once. It is `asked` for unless a part around it is
/// known already.
fn count<'p>(part: &Numbered<'p>, asked: bool, parts: &mut Vec<(Repeated<'p>, bool)>) {
    if parts.len() <= part.number {
        parts.resize_with(part.number + 1, || (Repeated { places: Vec::new(), uses: 0 }, false));
    }
    let (repeated, wanted) = &mut parts[part.number];
    *wanted = part.reads && part.plan.value_type == ValueType::Vector;
    repeated.places.push(part.plan);
    repeated.uses += usize::from(asked);
    // What is not shared asks for its parts at each place.
    let asked = asked && (repeated.uses == 1 || !*wanted);
    part.parts.iter().for_each(|part| count(part, asked, parts));
}

/// What is hashed, one after the other: what is equal here is equal.
#[derive(Default)]
struct Key(Vec<u8>);

impl Hasher for Key {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// All that a part is beside the parts below it and its place.
fn hash_own(kind: &Kind, to: &mut impl Hasher) {
    std::mem::discriminant(kind).hash(to);
    match kind {
        Kind::Number(value) => value.to_bits().hash(to),
        Kind::String(text) => text.hash(to),
        Kind::Selector(selector) | Kind::SampleTime(selector) | Kind::SampleStart(selector) => hash_selector(selector, to),
        Kind::Windows(windows) | Kind::AbsentOverTime { windows } => hash_windows(windows, to),
        Kind::Window { function, windows, parameters: _ } => {
            function.hash(to);
            hash_windows(windows, to);
        }
        Kind::Elementwise { function, input: _, parameters } => (function, parameters.len()).hash(to),
        Kind::Negate(_) | Kind::Plus(_) | Kind::StepTime(_) | Kind::NoStarts(_) | Kind::ScalarOf(_) | Kind::VectorOf(_) | Kind::Time => {}
        Kind::Absent { input: _, matchers } => {
            matchers.is_some().hash(to);
            hash_matchers(matchers.as_deref().unwrap_or_default(), to);
        }
        Kind::Calendar(field) => field.hash(to),
        Kind::Sort { input: _, descending, labels } => (descending, labels).hash(to),
        Kind::ScalarExtreme { max, left: _, right: _ } => max.hash(to),
        Kind::Info { input: _, when, matchers } => {
            when.hash(to);
            hash_matchers(matchers, to);
        }
        Kind::LabelReplace { input: _, destination, replacement, source, regex } => (destination, replacement, source, regex).hash(to),
        Kind::LabelJoin { input: _, destination, separator, sources } => (destination, separator, sources).hash(to),
        Kind::HistogramNumber { number, input: _ } => number.hash(to),
        Kind::HistogramQuantile { quantile: _, input: _ } | Kind::HistogramFraction { lower: _, upper: _, input: _ } => {}
        Kind::HistogramQuantiles { input: _, label, quantiles } => (label, quantiles.len()).hash(to),
        Kind::Aggregate { aggregate, input: _, parameter } => (aggregate, parameter.is_some()).hash(to),
        Kind::ScalarBinary { op, left: _, right: _ } => op.hash(to),
        Kind::VectorScalar { op, vector: _, scalar: _, scalar_left, return_bool } => (op, scalar_left, return_bool).hash(to),
        Kind::VectorBinary { op, left: _, right: _, matching, return_bool } => {
            let Matching { cardinality, labels, on, include, fill_left, fill_right } = matching;
            (op, return_bool, cardinality, labels, on, include).hash(to);
            (fill_left.map(f64::to_bits), fill_right.map(f64::to_bits)).hash(to);
        }
    }
}

fn hash_selector(selector: &Selector, to: &mut impl Hasher) {
    let Selector { matchers, when, extended, totals_only } = selector;
    hash_matchers(matchers, to);
    (when, extended, totals_only).hash(to);
}

/// The refusal goes with the function around them.
fn hash_windows(windows: &Windows, to: &mut impl Hasher) {
    let Windows { source, when, range, span: _, extended, totals_only, refusal: _ } = windows;
    match source {
        WindowSource::Selector(matchers) => hash_matchers(matchers, to),
        WindowSource::Subquery(_, step) => ("subquery", step).hash(to),
    }
    (when, range, extended, totals_only).hash(to);
}

fn hash_matchers(matchers: &[Matcher], to: &mut impl Hasher) {
    matchers.len().hash(to);
    matchers.iter().for_each(|Matcher { name, op, value, .. }| (name, op, value).hash(to));
}

impl Plan {
    /// All places of the text that annotations of it and of the parts below it may name, in an order that is the same for parts
    /// that are the same.
    pub fn places(&self) -> Vec<Span> {
        let mut places = vec![self.span];
        // Some begin with the first argument, or have forgotten where they begin, as in Prometheus.
        let from = |start: usize, span: Span| Span { start, ..span };
        if let Some(windows) = self.windows() {
            places.extend([windows.span, from(0, windows.span)]);
        }
        match &self.kind {
            Kind::Window { windows, parameters, .. } => places.extend(parameters.iter().map(|p| from(p.span.start, windows.span))),
            Kind::Aggregate { input, parameter: Some(first), .. } | Kind::HistogramQuantile { quantile: first, input } => {
                places.push(from(first.span.start, input.span));
            }
            _ => {}
        }
        places.extend(self.children().into_iter().flat_map(Plan::places));
        places
    }

    fn windows(&self) -> Option<&Windows> {
        match &self.kind {
            Kind::Windows(windows) | Kind::AbsentOverTime { windows } | Kind::Window { windows, .. } => Some(windows),
            _ => None,
        }
    }

    /// What it selects by itself.
    fn matchers(&self) -> Option<&[Matcher]> {
        match &self.kind {
            Kind::Selector(selector) | Kind::SampleTime(selector) | Kind::SampleStart(selector) => Some(&selector.matchers),
            _ => self.windows().and_then(|windows| match &windows.source {
                WindowSource::Selector(matchers) => Some(matchers.as_slice()),
                WindowSource::Subquery(..) => None,
            }),
        }
    }
}
