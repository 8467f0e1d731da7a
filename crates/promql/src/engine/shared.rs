//! Parts that a query contains more than once are evaluated once.
//!
//! The first place that asks evaluates the part for all; the values are kept until the last one has asked. What the answer says
//! does not change: samples count for each place, and annotations are given for each, with its own position in the text.
//!
//! What is kept is charged to the query and bounded: an eighth of what the query may hold, and of series that would otherwise pass
//! one by one without being held, no more than a fixed size. Beyond that each place evaluates.

use super::annotations::Annotations;
use super::api::{EngineOptions, QueryError};
use super::context::Context;
use super::eval::Evaluator;
use super::memory::{Charge, Size};
use super::pace::{self, Pace};
use super::source::{Scratch, Source};
use super::tally::Counted;
use super::vector::{Grid, Head, Steps};
use crate::ast::Span;
use crate::plan::Plan;
use crate::plan::repeat::{Repeated, repeated};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that may be kept of series that would pass one by one: four million values.
const STREAMED_BYTES: u64 = 32 << 20;
/// So many series are computed between two looks at what they take.
const BATCH_MAX: usize = 4096;

/// The repeated parts of a query.
pub(crate) struct Shared {
    /// Which slot is a part's, by address: a plan does not move while it is evaluated.
    places: HashMap<usize, usize>,
    slots: Vec<Mutex<Slot>>,
    /// What may still be kept.
    room: Mutex<Size>,
}

enum Slot {
    /// Not evaluated yet; for so many places.
    Awaited(usize),
    Known(Box<Known>),
    /// Each place evaluates for itself.
    Nothing,
}

/// The values of a part.
struct Known {
    heads: Vec<Head>,
    values: Arc<Values>,
    /// Samples that it has looked at and read.
    counted: Counted,
    /// Places that have not asked yet.
    uses: usize,
    /// What there was to say of it.
    said: Annotations,
    /// The places that this may name; the first is where it was evaluated.
    places: Vec<Span>,
}

/// The values of series, in order.
struct Values {
    cells: Vec<Mutex<Cell>>,
    /// How often each is asked for; the last time without a copy.
    uses: usize,
    steps: usize,
    charge: Charge,
    bytes: u64,
}

struct Cell {
    /// Nothing at all of a series that is not there.
    steps: Steps,
    asked: usize,
}

impl Shared {
    /// Of a plan.
    pub fn of(plan: &Plan, options: &EngineOptions) -> Self {
        let mut places = HashMap::new();
        let slots = repeated(plan).into_iter().enumerate().map(|(slot, Repeated { places: parts, uses })| {
            places.extend(parts.into_iter().map(|part| (address(part), slot)));
            Mutex::new(Slot::Awaited(uses))
        });
        let slots = slots.collect();
        let bytes = options.max_query_memory.min(options.memory.limit()) / 8;
        Self { places, slots, room: Mutex::new(Size { samples: options.max_samples as u64 / 8, bytes }) }
    }

    fn slot(&self, plan: &Plan) -> Option<&Mutex<Slot>> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots.get(*self.places.get(&address(plan))?)
    }
}

/// The series of a part: evaluated, or known from an equal one.
pub(crate) fn source<'c>(evaluator: Evaluator<'c>, plan: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
    let ctx = evaluator.ctx;
    let Some(slot) = ctx.shared.slot(plan) else { return evaluator.operation(plan, grid) };
    let found = std::mem::replace(&mut *lock(slot), Slot::Nothing);
    match found {
        Slot::Nothing => evaluator.operation(plan, grid),
        Slot::Awaited(uses) => evaluate(evaluator, slot, uses, plan, grid),
        Slot::Known(mut known) => {
            let Some(said) = known.said_of(plan) else {
                *lock(slot) = Slot::Known(known);
                return evaluator.operation(plan, grid);
            };
            ctx.annotate(|a| a.absorb(said));
            ctx.counts.add_again(&known.counted);
            if let Some(profile) = ctx.profile {
                profile.taken(plan, known.places[0]);
            }
            known.uses -= 1;
            let values = known.values.clone();
            let heads = if known.uses == 0 {
                known.heads
            } else {
                let heads = pace::collect(ctx, &known.heads, Head::clone)?;
                *lock(slot) = Slot::Known(known);
                heads
            };
            Ok(Source { heads, steps: grid.count, compute: Box::new(move |i, _| Ok(values.give(i).unwrap_or_default())) })
        }
    }
}

/// Evaluates a part at its first place, and keeps the values if there is room.
fn evaluate<'c>(evaluator: Evaluator<'c>, slot: &Mutex<Slot>, uses: usize, plan: &'c Plan, grid: Grid) -> Result<Source<'c>, QueryError> {
    let ctx = evaluator.ctx;
    let before = ctx.counts.so_far();
    let ((source, values), said) = ctx.listening(|| {
        let source = evaluator.operation(plan, grid)?;
        let values = Values::of(&source, ctx, plan.streams())?;
        Ok((source, values))
    })?;
    let Some(mut values) = values else { return Ok(source) };
    let Source { heads, compute, .. } = source;
    let whole = values.cells.len() == heads.len();
    if whole {
        values.uses = uses;
    }
    let values = Arc::new(values);
    if whole {
        let mut room = lock(&ctx.shared.room);
        room.samples = room.samples.saturating_sub(Size::steps(heads.len(), grid.count).samples);
        room.bytes = room.bytes.saturating_sub(values.bytes);
        drop(room);
        let heads = pace::collect(ctx, &heads, Head::clone)?;
        let (counted, places) = (ctx.counts.since(&before), plan.places());
        let known = Known { heads, values: values.clone(), counted, said, places, uses: uses - 1 };
        *lock(slot) = Slot::Known(Box::new(known));
        if let Some(profile) = ctx.profile {
            profile.shared(plan, uses);
        }
    }
    // What it was computed from goes now, if nothing is left to be computed.
    let rest = (!whole).then_some(compute);
    let compute = Box::new(move |i: usize, scratch: &mut Scratch| match (values.give(i), &rest) {
        (Some(steps), _) => Ok(steps),
        (None, Some(rest)) => rest(i, scratch),
        (None, None) => Ok(Steps::absent(grid.count)),
    });
    Ok(Source { heads, steps: grid.count, compute })
}

impl Known {
    /// What there is to say of it at another place, unless it is not clear which part of that is meant.
    fn said_of(&self, plan: &Plan) -> Option<Annotations> {
        if self.said.is_empty() { Some(Annotations::default()) } else { self.said.moved(&self.places, &plan.places()) }
    }
}

impl Values {
    /// The values of the first series: of all, if there is room for them.
    fn of(source: &Source<'_>, ctx: &Context<'_>, streams: bool) -> Result<Option<Self>, QueryError> {
        // No more than a small part of what is left, so that what is kept makes no query fail.
        let (room, left) = (*lock(&ctx.shared.room), ctx.left());
        let room = Size { samples: room.samples.min(left.samples / 8), bytes: room.bytes.min(left.bytes / 8) };
        let bytes = if streams { room.bytes.min(STREAMED_BYTES) } else { room.bytes };
        let size = Size::steps(source.heads.len(), source.steps);
        let pace = Pace::new(ctx);
        let mut labels = 0;
        for head in &source.heads {
            pace.step()?;
            labels += (head.labels.as_bytes().len() + size_of::<Head>()) as u64;
        }
        if size.samples > room.samples || size.bytes.saturating_add(labels) > bytes {
            return Ok(None);
        }
        let mut values = Self { cells: Vec::new(), uses: 1, steps: source.steps, charge: ctx.account(), bytes: labels };
        values.charge.add(Size::bytes(labels))?;
        let mut scratch = Scratch::new(ctx);
        let (mut batch, mut end) = (16, 0);
        while end < source.heads.len() {
            let begin = end;
            end = (begin + batch).min(source.heads.len());
            // How large histograms are is not known before, so that the first few speak for the next.
            let next = (values.bytes - labels) * (end - begin) as u64 / begin.max(1) as u64;
            if values.bytes.saturating_add(next) > bytes {
                break;
            }
            let (counted, kept) = (ctx.counts.so_far(), values.cells.len());
            source.for_each_in(ctx, begin..end, &mut scratch, |_, steps| if values.bytes > bytes { Ok(()) } else { values.push(steps) })?;
            if values.bytes > bytes {
                // Larger than those before them: these are evaluated, and count, where they are asked for.
                values.cells.truncate(kept);
                ctx.counts.forget_since(&counted);
                break;
            }
            batch = (2 * batch).min(BATCH_MAX);
        }
        Ok(Some(values))
    }

    fn push(&mut self, steps: Steps) -> Result<(), QueryError> {
        let steps = if steps.is_none() {
            Steps::default()
        } else {
            let size = steps.size();
            self.bytes = self.bytes.saturating_add(size.bytes);
            self.charge.add(size)?;
            steps
        };
        self.cells.push(Mutex::new(Cell { steps, asked: 0 }));
        Ok(())
    }

    /// A series' values for one of those who ask.
    fn give(&self, series: usize) -> Option<Steps> {
        let mut cell = lock(self.cells.get(series)?);
        cell.asked += 1;
        if cell.steps.present.len() == 0 {
            return Some(Steps::absent(self.steps));
        }
        Some(if cell.asked < self.uses { cell.steps.clone() } else { std::mem::take(&mut cell.steps) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn address(plan: &Plan) -> usize {
    std::ptr::from_ref(plan).addr()
}
