//! Telling whoever works on an answer that nobody waits for it any more.

use crate::SelectError;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// So many steps (of about a microsecond or less) pass between two looks.
const STEPS_PER_LOOK: u32 = 1024;

/// Whether anybody still waits. Cheap to clone; the default is that somebody always does.
#[derive(Clone, Default)]
pub struct Cancel(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Cancel {
    /// Cancelled as soon as `gone` says so: it is asked every now and then, from any thread.
    pub fn when(gone: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(gone)))
    }

    /// Does nobody wait any more?
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|gone| gone())
    }

    /// # Errors
    /// [`SelectError::Cancelled`].
    pub fn check(&self) -> Result<(), SelectError> {
        if self.is_cancelled() { Err(SelectError::Cancelled) } else { Ok(()) }
    }

    /// For a loop of many small steps.
    pub fn checks(&self) -> Checks<'_> {
        Checks { cancel: self, left: Cell::new(STEPS_PER_LOOK), stopped: Cell::new(false) }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Cancel(when)" } else { "Cancel(never)" })
    }
}

/// Looks at a [`Cancel`] every thousand steps or so. Once it has seen that nobody waits it says nothing else.
#[derive(Debug)]
pub struct Checks<'c> {
    cancel: &'c Cancel,
    left: Cell<u32>,
    stopped: Cell<bool>,
}

impl Checks<'_> {
    /// To be asked at each step: shall it be done? After a `false` what has been done is worth nothing.
    #[inline]
    pub fn go_on(&self) -> bool {
        self.go_on_after(1)
    }

    /// The same after a step that is worth `steps` of them.
    #[inline]
    pub fn go_on_after(&self, steps: u32) -> bool {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                !self.stopped.get()
            }
            None => self.look(),
        }
    }

    /// As [`Checks::go_on`], for whoever can leave with an error.
    ///
    /// # Errors
    /// [`SelectError::Cancelled`].
    #[inline]
    pub fn step(&self) -> Result<(), SelectError> {
        if self.go_on() { Ok(()) } else { Err(SelectError::Cancelled) }
    }

    /// Was every step done?
    ///
    /// # Errors
    /// [`SelectError::Cancelled`].
    pub fn outcome(&self) -> Result<(), SelectError> {
        if self.stopped.get() { Err(SelectError::Cancelled) } else { Ok(()) }
    }

    #[cold]
    fn look(&self) -> bool {
        self.left.set(STEPS_PER_LOOK);
        if !self.stopped.get() && self.cancel.is_cancelled() {
            self.stopped.set(true);
        }
        !self.stopped.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Says no from the `nth` look on; how often it was asked.
    fn after(nth: u32) -> (Cancel, Arc<AtomicU32>) {
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        (Cancel::when(move || counted.fetch_add(1, Ordering::Relaxed) >= nth), looks)
    }

    #[test]
    fn by_default_nobody_ever_goes_away() {
        let never = Cancel::default();
        let checks = never.checks();
        assert!((0..10 * STEPS_PER_LOOK).all(|_| checks.go_on()));
        assert!(checks.outcome().is_ok() && never.check().is_ok());
    }

    #[test]
    fn a_loop_ends_within_so_many_steps_and_does_not_ask_again() {
        let (cancel, looks) = after(2);
        let checks = cancel.checks();
        let done = (0..10 * STEPS_PER_LOOK).filter(|_| checks.go_on()).count() as u32;
        assert!((2 * STEPS_PER_LOOK..=3 * STEPS_PER_LOOK + 3).contains(&done), "{done}");
        assert_eq!(looks.load(Ordering::Relaxed), 3);
        assert!(matches!(checks.outcome(), Err(SelectError::Cancelled)));
        assert!(matches!(checks.step(), Err(SelectError::Cancelled)));
    }

    #[test]
    fn long_steps_are_looked_at_more_often() {
        let (cancel, looks) = after(u32::MAX);
        let checks = cancel.checks();
        assert!((0..10).all(|_| checks.go_on_after(u32::MAX)));
        assert_eq!(looks.load(Ordering::Relaxed), 10);
    }
}
