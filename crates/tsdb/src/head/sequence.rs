//! The order of commits, for isolation; the argument why it suffices stands in [`super`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A commit's number. Numbers are given out in order; 0 is the state before the first commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Gives out numbers and knows up to which one everything is applied.
#[derive(Debug, Default)]
pub struct Sequencer {
    state: Mutex<State>,
    advanced: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The last number given out.
    last: u64,
    /// Commits above the watermark, by number.
    open: BTreeMap<u64, Progress>,
    /// Everything up to here is applied.
    watermark: u64,
    /// Watermarks that readers hold, and how many hold each.
    readers: BTreeMap<u64, usize>,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    Applying,
    /// Applied, but its samples in some series show only together with those of this later commit.
    Applied {
        tied_to: u64,
    },
}

/// A commit that is being applied.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// Its number.
    pub sequence: Sequence,
    /// No reader, now or later, asks for a state before this one.
    pub floor: Sequence,
}

/// A reader's view: commits up to `upto` and no others. The view ends with the value.
#[derive(Debug)]
pub struct View<'a> {
    sequencer: &'a Sequencer,
    upto: Sequence,
}

impl View<'_> {
    /// The last commit that it sees.
    pub fn upto(&self) -> Sequence {
        self.upto
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        let mut state = self.sequencer.lock();
        if let Some(count) = state.readers.get_mut(&self.upto.0) {
            *count -= 1;
            if *count == 0 {
                state.readers.remove(&self.upto.0);
            }
        }
    }
}

impl Sequencer {
    /// Starts applying a commit; [`Self::finish`] must follow.
    pub fn begin(&self) -> Begun {
        let mut state = self.lock();
        state.last += 1;
        let sequence = state.last;
        state.open.insert(sequence, Progress::Applying);
        let oldest = state.readers.first_key_value().map_or(state.watermark, |(upto, _)| (*upto).min(state.watermark));
        Begun { sequence: Sequence(sequence), floor: Sequence(oldest) }
    }

    /// Says that a commit is applied, and waits until every reader that comes from now on sees it: that is, for the
    /// commits that began before it, which are only ever working in memory.
    pub fn finish(&self, sequence: Sequence, tied_to: Sequence) {
        let mut state = self.lock();
        state.open.insert(sequence.0, Progress::Applied { tied_to: tied_to.0.max(sequence.0) });
        let before = state.watermark;
        state.advance();
        if state.watermark > before {
            self.advanced.notify_all();
        }
        while state.watermark < sequence.0 {
            state = self.advanced.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A view of all that is applied now.
    pub fn view(&self) -> View<'_> {
        let mut state = self.lock();
        let upto = state.watermark;
        *state.readers.entry(upto).or_default() += 1;
        View { sequencer: self, upto: Sequence(upto) }
    }

    /// The last commit that a view of now sees.
    pub fn watermark(&self) -> Sequence {
        Sequence(self.lock().watermark)
    }

    /// Whether a view of commits up to `upto`, or of fewer, is open.
    pub fn has_view_up_to(&self, upto: Sequence) -> bool {
        self.lock().readers.first_key_value().is_some_and(|(oldest, _)| *oldest <= upto.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Moves the watermark to the highest number below which nothing is being applied and no tie reaches above it.
    fn advance(&mut self) {
        let mut reach = self.last;
        loop {
            let stop = self.open.iter().take_while(|(sequence, _)| **sequence <= reach).find(|(_, progress)| match progress {
                Progress::Applying => true,
                Progress::Applied { tied_to } => *tied_to > reach,
            });
            match stop {
                Some((sequence, _)) => reach = sequence - 1,
                None => break,
            }
        }
        self.watermark = self.watermark.max(reach);
        self.open = self.open.split_off(&(self.watermark + 1));
    }
}

/// The commits that are under way, from before their first look at the index to their end.
#[derive(Debug, Default)]
pub struct Commits {
    state: Mutex<Underway>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Underway {
    next: u64,
    open: BTreeSet<u64>,
}

/// A commit under way; it ends with the value.
#[derive(Debug)]
pub struct OpenCommit<'a> {
    commits: &'a Commits,
    number: u64,
}

impl Commits {
    /// A commit begins.
    pub fn begin(&self) -> OpenCommit<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        OpenCommit { commits: self, number }
    }

    /// Commits that have begun have lower numbers, later ones have not.
    pub fn turn(&self) -> u64 {
        self.lock().next
    }

    /// Waits until all commits with numbers below `turn` have ended.
    pub fn wait_for(&self, turn: u64) {
        let mut state = self.lock();
        while state.open.first().is_some_and(|oldest| *oldest < turn) {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Underway> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenCommit<'_> {
    fn drop(&mut self) {
        self.commits.lock().open.remove(&self.number);
        self.commits.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_commit_waits_for_the_earlier_one() {
        let sequencer = Sequencer::default();
        let (first, second) = (sequencer.begin(), sequencer.begin());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sequencer.finish(second.sequence, second.sequence));
            assert_eq!(sequencer.view().upto(), Sequence(0));
            sequencer.finish(first.sequence, first.sequence);
            waiting.join().expect("the thread does not panic");
        });
        assert_eq!(sequencer.view().upto(), Sequence(2));
    }

    #[test]
    fn tied_commits_show_together() {
        let mut state = State { last: 3, ..State::default() };
        state.open.insert(1, Progress::Applied { tied_to: 3 });
        state.open.insert(2, Progress::Applied { tied_to: 2 });
        state.open.insert(3, Progress::Applying);
        state.advance();
        assert_eq!(state.watermark, 0);
        state.open.insert(3, Progress::Applied { tied_to: 3 });
        state.advance();
        assert_eq!((state.watermark, state.open.len()), (3, 0));
    }

    #[test]
    fn the_floor_is_the_oldest_reader() {
        let sequencer = Sequencer::default();
        let old = sequencer.view();
        let commit = sequencer.begin();
        sequencer.finish(commit.sequence, commit.sequence);
        assert_eq!(sequencer.begin().floor, Sequence(0));
        drop(old);
        assert_eq!(sequencer.begin().floor, Sequence(1));
    }
}
