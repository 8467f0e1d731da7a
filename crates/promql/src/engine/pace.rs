//! Long loops that end soon when nobody waits for the query any more, or its time is up.

use super::api::{Control, QueryError};
use super::context::{Context, PLACE};
use std::cmp::Ordering;
use storage::Checks;

/// So many elements are sorted without a look.
const SORTED_AT_ONCE: usize = 4096;

/// Looks every thousand small steps or so.
pub(crate) struct Pace<'c> {
    checks: Checks<'c>,
    control: &'c Control,
}

impl<'c> Pace<'c> {
    pub fn new(ctx: &'c Context<'_>) -> Self {
        Self { checks: ctx.cancel.checks(), control: ctx.control }
    }

    /// To be called at each step of at most about a microsecond.
    #[inline]
    pub fn step(&self) -> Result<(), QueryError> {
        if self.go_on_after(1) { Ok(()) } else { Err(self.error()) }
    }

    /// Shall it go on, after as many such steps? For whoever can't leave with an error; [`Self::outcome`] has it.
    #[inline]
    pub fn go_on_after(&self, steps: usize) -> bool {
        self.checks.go_on_after(steps as u32)
    }

    /// Was every step done?
    pub fn outcome(&self) -> Result<(), QueryError> {
        self.checks.outcome().map_err(|_| self.error())
    }

    #[cold]
    fn error(&self) -> QueryError {
        if self.control.is_cancelled() { QueryError::Cancelled(PLACE.into()) } else { QueryError::Timeout(PLACE.into()) }
    }
}

/// A vector made of what `make` makes of each element.
pub(crate) fn collect<T, U>(
    ctx: &Context<'_>,
    from: impl IntoIterator<Item = T>,
    mut make: impl FnMut(T) -> U,
) -> Result<Vec<U>, QueryError> {
    let pace = Pace::new(ctx);
    let made = |element| pace.step().map(|()| make(element));
    from.into_iter().map(made).collect()
}

/// Sorts stably, in runs that are merged by twos: sorting what is made of two sorted runs is merging them.
pub(crate) fn sort_by<T>(ctx: &Context<'_>, elements: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) -> Result<(), QueryError> {
    let pace = Pace::new(ctx);
    let mut sorted = true;
    for pair in elements.windows(2) {
        pace.step()?;
        sorted &= compare(&pair[0], &pair[1]).is_le();
        if !sorted {
            break;
        }
    }
    let mut run = SORTED_AT_ONCE;
    while !sorted {
        for part in elements.chunks_mut(run) {
            ctx.check()?;
            part.sort_by(&mut compare);
        }
        sorted = run >= elements.len();
        run = run.saturating_mul(2);
    }
    Ok(())
}
