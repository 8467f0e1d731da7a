//! Long loops that end soon when nobody waits for the query any more, or its time is up.

use super::api::{Control, QueryError};
use super::context::{Context, PLACE};
use model::Labels;
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

    #[cfg(test)]
    pub fn of(checks: Checks<'c>, control: &'c Control) -> Self {
        Self { checks, control }
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

    /// Sorts stably.
    pub fn sort_by<T>(&self, elements: &mut [T], compare: impl Fn(&T, &T) -> Ordering) -> Result<(), QueryError> {
        if elements.len() <= SORTED_AT_ONCE {
            elements.sort_by(compare);
            self.go_on_after(elements.len());
            return self.outcome();
        }
        let order = order_by(self, elements.len(), |a, b| compare(&elements[a], &elements[b]))?;
        put_in_order(self, elements, order)
    }

    /// [`Self::sort_by`] label sets: many by comparing, as `model::labels::sort` looks at nothing else.
    pub fn sort_by_labels<T>(&self, elements: &mut [T], labels: impl Fn(&T) -> &Labels) -> Result<(), QueryError> {
        if elements.len() > SORTED_AT_ONCE {
            return self.sort_by(elements, |a, b| labels(a).cmp(labels(b)));
        }
        model::labels::sort(elements, labels);
        self.go_on_after(elements.len());
        self.outcome()
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
    let from = from.into_iter();
    // A list that grows is copied, and a long one for a long time.
    let mut made = Vec::with_capacity(from.size_hint().0);
    for element in from {
        pace.step()?;
        made.push(make(element));
    }
    Ok(made)
}

/// Sorts stably, if they are not in order.
pub(crate) fn sort_by<T>(ctx: &Context<'_>, elements: &mut [T], compare: impl Fn(&T, &T) -> Ordering) -> Result<(), QueryError> {
    let pace = Pace::new(ctx);
    if is_sorted(&pace, elements, &compare)? { Ok(()) } else { pace.sort_by(elements, compare) }
}

/// [`sort_by`] label sets.
pub(crate) fn sort_by_labels<T>(ctx: &Context<'_>, elements: &mut [T], labels: impl Fn(&T) -> &Labels) -> Result<(), QueryError> {
    let pace = Pace::new(ctx);
    let is_sorted = is_sorted(&pace, elements, |a, b| labels(a).cmp(labels(b)))?;
    if is_sorted { Ok(()) } else { pace.sort_by_labels(elements, labels) }
}

fn is_sorted<T>(pace: &Pace<'_>, elements: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Result<bool, QueryError> {
    for pair in elements.windows(2) {
        pace.step()?;
        if compare(&pair[0], &pair[1]).is_gt() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The stable order of `count` elements: runs are sorted and merged by twos, with a look at each step.
fn order_by(pace: &Pace<'_>, count: usize, compare: impl Fn(usize, usize) -> Ordering) -> Result<Vec<usize>, QueryError> {
    let mut order: Vec<usize> = (0..count).collect();
    for run in order.chunks_mut(SORTED_AT_ONCE) {
        run.sort_by(|a, b| compare(*a, *b));
        pace.go_on_after(run.len());
        pace.outcome()?;
    }
    let mut merged = Vec::with_capacity(count);
    let mut run_len = SORTED_AT_ONCE;
    while run_len < count {
        for two in order.chunks(2 * run_len) {
            let (mut left, mut right) = two.split_at(run_len.min(two.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                pace.step()?;
                let side = if compare(*a, *b).is_le() { &mut left } else { &mut right };
                merged.extend(side.split_off_first());
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut order, &mut merged);
        merged.clear();
        run_len *= 2;
    }
    Ok(order)
}

/// Moves elements so that the one at `order[i]` comes to stand at `i`. Worth nothing when the pace has stopped.
fn put_in_order<T>(pace: &Pace<'_>, elements: &mut [T], mut order: Vec<usize>) -> Result<(), QueryError> {
    for start in 0..elements.len() {
        // The cycle that leads back here; what stands right is marked as such.
        let mut at = start;
        loop {
            pace.step()?;
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            elements.swap(at, from);
            at = from;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering as Memory};
    use storage::Cancel;

    /// Numbers from 0 to `below`, of which many are equal, with their places.
    fn numbers(count: usize, below: u64) -> Vec<(u64, usize)> {
        (0..count as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % below).zip(0..).collect()
    }

    #[test]
    fn sorts_as_the_standard_library() {
        let (never, control) = (Cancel::default(), Control::default());
        for count in [0, 1, 2, 5, SORTED_AT_ONCE - 1, SORTED_AT_ONCE, SORTED_AT_ONCE + 1, 3 * SORTED_AT_ONCE + 7, 50_000] {
            let pace = Pace::of(never.checks(), &control);
            let mut elements = numbers(count, 1_000);
            let mut want = elements.clone();
            want.sort_by_key(|element| element.0);
            pace.sort_by(&mut elements, |a, b| a.0.cmp(&b.0)).unwrap();
            assert_eq!(elements, want, "{count}");
        }
    }

    /// The most comparisons between two looks.
    #[test]
    fn sorting_looks_after_few_comparisons() {
        let elements = numbers(300_000, u64::MAX);
        let control = Control::default();
        let (compared, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (since, longest) = (compared.clone(), most.clone());
        let cancel = Cancel::when(move || {
            longest.fetch_max(since.swap(0, Memory::Relaxed), Memory::Relaxed);
            false
        });
        let pace = Pace::of(cancel.checks(), &control);
        let compare = |a: usize, b: usize| {
            compared.fetch_add(1, Memory::Relaxed);
            elements[a].0.cmp(&elements[b].0)
        };
        order_by(&pace, elements.len(), compare).unwrap();
        let most = most.load(Memory::Relaxed);
        assert!(most < 100_000, "{most}");
    }

    #[test]
    fn moving_looks_also_in_one_long_cycle() {
        let count = 100_000;
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = seen.clone();
        let cancel = Cancel::when(move || counted.fetch_add(1, Memory::Relaxed) == usize::MAX);
        let control = Control::default();
        let pace = Pace::of(cancel.checks(), &control);
        let mut elements: Vec<usize> = (0..count).collect();
        let order = (1..count).chain([0]).collect();
        put_in_order(&pace, &mut elements, order).unwrap();
        assert!(elements.iter().copied().eq((1..count).chain([0])));
        assert!(seen.load(Memory::Relaxed) > 50);
    }
}
