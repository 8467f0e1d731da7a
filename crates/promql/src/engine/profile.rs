//! What each part of a plan did, for those who ask why a query is slow.
//!
//! A query that is explained runs on one thread, so that time belongs to whoever is on top of a stack.

use super::annotations::line_and_column;
use super::vector::Steps;
use crate::ast::Span;
use crate::plan::Plan;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A part of a plan, what it did and what it is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What it does.
    pub operation: String,
    /// Its text in the query; empty where the text is not known.
    pub expression: String,
    /// What was pushed down to it, is done only once, or has to be held.
    pub notes: Vec<String>,
    /// Series that it looked at.
    pub series: u64,
    /// Samples that it decoded.
    pub samples: u64,
    /// Values and histograms that it gave, over all steps.
    pub values: u64,
    /// Bytes of what it decoded and of what it gave.
    pub bytes: u64,
    /// Without the parts below it.
    pub time: Duration,
    /// What it is made from.
    pub parts: Vec<Explanation>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    series: u64,
    samples: u64,
    values: u64,
    bytes: u64,
    time: Duration,
    shared: Option<Sharing>,
}

/// What a part that the query contains more than once has to do with the others.
#[derive(Clone, Copy, Debug)]
enum Sharing {
    /// It is evaluated for so many places.
    Evaluated(usize),
    /// The part at that place gave its values.
    Taken(Span),
}

#[derive(Debug)]
struct Frame {
    node: usize,
    entered: Instant,
    /// Spent in frames above it.
    nested: Duration,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Counters>,
    stack: Vec<Frame>,
}

/// Counters of all parts of one plan.
#[derive(Debug)]
pub(crate) struct Profile {
    /// By address: a plan does not move while it is evaluated.
    numbers: HashMap<usize, usize>,
    state: Mutex<State>,
}

impl Profile {
    pub fn of(plan: &Plan) -> Self {
        let mut numbers = HashMap::new();
        let mut rest = vec![plan];
        while let Some(next) = rest.pop() {
            numbers.insert(address(next), numbers.len());
            rest.extend(next.children());
        }
        let state = State { nodes: vec![Counters::default(); numbers.len()], stack: Vec::new() };
        Self { numbers, state: Mutex::new(state) }
    }

    /// From here on, until it is dropped, time and samples are this part's.
    pub fn enter(&self, plan: &Plan) -> Scope<'_> {
        let node = self.numbers.get(&address(plan)).copied();
        if let Some(node) = node {
            self.state().stack.push(Frame { node, entered: Instant::now(), nested: Duration::ZERO });
        }
        Scope { profile: self, counted: node.is_some() }
    }

    pub fn decoded(&self, samples: usize, bytes: u64) {
        self.count(|counters| {
            counters.samples += samples as u64;
            counters.bytes += bytes;
        });
    }

    pub fn selected(&self, series: usize) {
        self.count(|counters| counters.series += series as u64);
    }

    pub fn gave(&self, steps: &Steps) {
        self.count(|counters| {
            counters.values += (steps.present.count() + steps.histograms.len()) as u64;
            counters.bytes += steps.size().bytes;
        });
    }

    /// The part is evaluated for so many places.
    pub fn shared(&self, plan: &Plan, places: usize) {
        self.put(plan, Sharing::Evaluated(places));
    }

    /// The part has the values of the one at `from`.
    pub fn taken(&self, plan: &Plan, from: Span) {
        self.put(plan, Sharing::Taken(from));
    }

    fn put(&self, plan: &Plan, sharing: Sharing) {
        if let Some(node) = self.numbers.get(&address(plan)) {
            self.state().nodes[*node].shared = Some(sharing);
        }
    }

    /// Counts for whoever is at work.
    fn count(&self, add: impl FnOnce(&mut Counters)) {
        let mut state = self.state();
        if let Some(node) = state.stack.last().map(|frame| frame.node) {
            add(&mut state.nodes[node]);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as a tree. `text` is the query's.
    pub fn explain(&self, plan: &Plan, text: Option<&str>) -> Explanation {
        let number = self.numbers.get(&address(plan)).copied();
        let Counters { series, samples, values, bytes, time, shared } = number.map_or_else(Counters::default, |at| self.state().nodes[at]);
        let expression = text.and_then(|text| text.get(plan.span.start..plan.span.end)).unwrap_or_default().to_owned();
        let parts = plan.children().into_iter().map(|part| self.explain(part, text)).collect();
        let mut notes = plan.notes();
        notes.extend(shared.map(|sharing| match (sharing, text) {
            (Sharing::Evaluated(places), _) => format!("shared: evaluated once for {places} places"),
            (Sharing::Taken(from), Some(text)) => format!("shared: not evaluated, taken from {}", line_and_column(text, from.start)),
            (Sharing::Taken(_), None) => "shared: not evaluated, taken from an equal part".into(),
        }));
        Explanation { operation: plan.operation(), expression, notes, series, samples, values, bytes, time, parts }
    }
}

/// A part at work.
pub(crate) struct Scope<'p> {
    profile: &'p Profile,
    counted: bool,
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let mut state = self.profile.state();
        let Some(frame) = state.stack.pop() else { return };
        let took = frame.entered.elapsed();
        state.nodes[frame.node].time += took.saturating_sub(frame.nested);
        if let Some(below) = state.stack.last_mut() {
            below.nested += took;
        }
    }
}

fn address(plan: &Plan) -> usize {
    std::ptr::from_ref(plan).addr()
}
