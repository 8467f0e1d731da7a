//! Native histograms in aggregations.

use super::context::Context;
use super::native::Sum;
use super::vector::{Presence, Steps};
use crate::ast::{AggregateOp, Span};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What there is to tell of an aggregation of histograms.
#[derive(Default)]
pub(super) struct Notes {
    ignored: bool,
    mixed: bool,
    resets_collide: bool,
    bounds_reconciled: bool,
    mixed_schemas: BTreeSet<String>,
}

impl Notes {
    pub fn give(self, ctx: &Context<'_>, op: AggregateOp, span: Span) {
        ctx.annotate(|a| {
            if self.ignored {
                a.ignored_in_aggregation(op.as_str(), span);
            }
            if self.mixed {
                a.mixed_aggregation(span);
            }
            if self.resets_collide {
                a.resets_collide("aggregation", span);
            }
            if self.bounds_reconciled {
                a.bounds_reconciled("aggregation", span);
            }
            self.mixed_schemas.iter().for_each(|name| a.mixed_schemas(name, span));
        });
    }
}

/// The histograms of one group at one step.
#[derive(Clone, Default)]
enum Native {
    #[default]
    None,
    /// Floats came first: there is nothing to add up.
    AfterFloat,
    Sum(Box<Sum>),
    /// Exponential and custom buckets; perhaps floats before they met.
    Incompatible {
        after_float: bool,
    },
}

/// One group's histograms at all steps; empty until the first comes.
#[derive(Default)]
pub(super) struct Natives {
    steps: Vec<Native>,
}

impl Natives {
    /// Takes in one series' histograms; `floats` tells where the group has a float already.
    pub fn add(&mut self, op: AggregateOp, steps: &Steps, floats: &Presence, name: &str, notes: &mut Notes) {
        match op {
            AggregateOp::Sum | AggregateOp::Avg => {}
            AggregateOp::Count | AggregateOp::Group => return,
            _ => {
                notes.ignored = true;
                return;
            }
        }
        self.steps.resize(steps.values.len(), Native::None);
        for (step, histogram) in &steps.histograms {
            let native = &mut self.steps[*step];
            match native {
                Native::None if floats.get(*step) => *native = Native::AfterFloat,
                Native::None => *native = Native::Sum(Box::new(Sum::new(histogram))),
                Native::AfterFloat | Native::Incompatible { .. } => {}
                Native::Sum(sum) => {
                    let added = if op == AggregateOp::Sum { sum.add(histogram) } else { sum.add_to_mean(histogram) };
                    notes.bounds_reconciled |= sum.bounds_reconciled;
                    if added.is_err() {
                        notes.mixed_schemas.insert(name.to_owned());
                        *native = Native::Incompatible { after_float: floats.get(*step) };
                    }
                }
            }
        }
    }

    /// Puts the results beside those of the floats; a mixture has none.
    pub fn finish(self, op: AggregateOp, out: &mut Steps, notes: &mut Notes) {
        for (step, native) in self.steps.into_iter().enumerate() {
            match native {
                Native::None => {}
                Native::Incompatible { after_float } => {
                    out.present.unset(step);
                    notes.mixed |= after_float;
                }
                Native::AfterFloat | Native::Sum(_) if out.present.get(step) => {
                    out.present.unset(step);
                    notes.mixed = true;
                }
                Native::AfterFloat => {}
                Native::Sum(sum) => {
                    notes.resets_collide |= sum.resets_collide();
                    let mut result = if op == AggregateOp::Sum { sum.total() } else { sum.mean() };
                    result.compact(0);
                    out.put_histogram(step, Arc::new(result));
                }
            }
        }
    }
}
