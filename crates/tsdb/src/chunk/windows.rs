//! Where it pays to open a new window of significant bits.
//!
//! A changed float costs as many bits as its window is wide. Opening a window costs eleven or twelve more, and each float since
//! then must fit. Who writes as samples come keeps a window until a float does not fit, so that one far leap makes all later
//! ones dear. Who has all samples can do better: this finds the cheapest sequence of windows.
//!
//! For each place where the last window may have been opened, the cost of everything so far is kept, as if that window had been
//! as wide from the start as it must be by now. The cheapest of them is the cost up to here; one that is dearer by what
//! opening a window costs can never win again. Few remain.

use super::bits::Window;

/// What opening a window costs more than keeping one, at most.
const OPEN_BITS: u32 = 12;
/// Places that are kept at once.
const KEPT: usize = 6;

/// A window that was opened at some change, and what all changes have cost until now.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    window: Window,
    cost: u32,
    /// The change that it was opened at.
    opened: u16,
    /// Changes since then, with that one.
    changes: u32,
}

/// Finds the cheapest windows for a run of changes.
#[derive(Debug, Default)]
pub(super) struct Windows {
    candidates: Vec<Candidate>,
    needed: Vec<Window>,
    /// After each change: where the window of the cheapest way was opened.
    opened: Vec<u16>,
    plan: Vec<Window>,
}

impl Windows {
    /// Forgets all changes.
    pub(super) fn clear(&mut self) {
        self.candidates.clear();
        self.needed.clear();
        self.opened.clear();
    }

    /// Adds a change that needs this window, and costs `keep` bits beside the window's width, or `open` with a new one; gives
    /// the cost of all changes so far.
    #[inline]
    pub(super) fn add(&mut self, needed: Window, keep: u32, open: u32) -> u32 {
        let at = self.needed.len() as u16;
        self.needed.push(needed);
        let before = self.cost();
        let mut kept = 0;
        let mut best = Candidate { window: needed, cost: before + open + needed.width(), opened: at, changes: 1 };
        let fresh = best;
        for i in 0..self.candidates.len() {
            let mut candidate = self.candidates[i];
            let (leading, trailing) = (candidate.window.leading.min(needed.leading), candidate.window.trailing.min(needed.trailing));
            let wider = u32::from(candidate.window.leading - leading) + u32::from(candidate.window.trailing - trailing);
            candidate.window = Window { leading, trailing };
            candidate.cost += candidate.changes * wider + keep + candidate.window.width();
            candidate.changes += 1;
            if candidate.cost < best.cost {
                best = candidate;
            }
            // Later windows are within earlier ones: an equal one is its neighbour.
            match kept {
                1.. if self.candidates[kept - 1].window == candidate.window => {
                    if candidate.cost <= self.candidates[kept - 1].cost {
                        self.candidates[kept - 1] = candidate;
                    }
                }
                _ => {
                    self.candidates[kept] = candidate;
                    kept += 1;
                }
            }
        }
        self.candidates.truncate(kept);
        if self.candidates.last().is_none_or(|last| last.window != fresh.window || last.cost > fresh.cost) {
            self.candidates.push(fresh);
        }
        self.candidates.retain(|candidate| candidate.cost <= best.cost + OPEN_BITS);
        if self.candidates.len() > KEPT {
            let dearest = (0..self.candidates.len()).max_by_key(|i| self.candidates[*i].cost).unwrap_or(0);
            self.candidates.remove(dearest);
        }
        self.opened.push(best.opened);
        best.cost
    }

    /// The cost of all changes so far.
    fn cost(&self) -> u32 {
        self.candidates.iter().map(|candidate| candidate.cost).min().unwrap_or(0)
    }

    /// Plans the window of each of the first `changes` changes.
    pub(super) fn plan(&mut self, changes: usize) {
        self.plan.clear();
        self.plan.resize(changes, Window::NONE);
        let mut end = changes;
        while end > 0 {
            let opened = usize::from(self.opened[end - 1]);
            let window = self.needed[opened..end].iter().fold(self.needed[opened], |window, needed| Window {
                leading: window.leading.min(needed.leading),
                trailing: window.trailing.min(needed.trailing),
            });
            self.plan[opened..end].fill(window);
            end = opened;
        }
    }

    /// What was planned last.
    pub(super) fn planned(&self) -> &[Window] {
        &self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost(needed: &[Window], windows: &[Window], keep: u32, open: u32) -> u32 {
        let mut last = Window::NONE;
        let mut cost = 0;
        for (needed, window) in needed.iter().zip(windows) {
            assert!(window.covers(*needed));
            cost += window.width() + if *window == last { keep } else { open };
            last = *window;
        }
        cost
    }

    /// The twin: tries every place for every window.
    fn cheapest(needed: &[Window], keep: u32, open: u32) -> u32 {
        let mut best = vec![0];
        for end in 1..=needed.len() {
            let mut window = needed[end - 1];
            let mut cheapest = u32::MAX;
            for from in (0..end).rev() {
                window = Window { leading: window.leading.min(needed[from].leading), trailing: window.trailing.min(needed[from].trailing) };
                let changes = (end - from) as u32;
                cheapest = cheapest.min(best[from] + open + (changes - 1) * keep + changes * window.width());
            }
            best.push(cheapest);
        }
        best[needed.len()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_plan_is_close_to_the_cheapest(bits in prop::collection::vec(prop_oneof![4 => 1u64 << 40..1 << 44, 2 => 1u64 << 30..1 << 52, 1 => 1u64..], 1..150)) {
            let needed: Vec<Window> = bits.iter().map(|bits| Window::of(*bits)).collect();
            let mut windows = Windows::default();
            let costs: Vec<u32> = needed.iter().map(|needed| windows.add(*needed, 2, 13)).collect();
            windows.plan(needed.len());
            let planned = windows.planned().to_vec();
            let got = cost(&needed, &planned, 2, 13);
            prop_assert!(got <= *costs.last().unwrap_or(&0));
            let best = cheapest(&needed, 2, 13);
            prop_assert!(got <= best + best / 100 + 11, "{got} bits where {best} are possible");
            // Prefixes have plans of their own.
            let half = needed.len() / 2;
            windows.plan(half);
            let planned = windows.planned().to_vec();
            prop_assert!(cost(&needed[..half], &planned, 2, 13) <= half.checked_sub(1).map_or(0, |last| costs[last]));
        }
    }

    #[test]
    fn a_leap_does_not_make_the_rest_dear() {
        let small = Window::of(0b11 << 48);
        let large = Window::of(u64::MAX >> 4);
        let needed: Vec<Window> = [vec![small; 20], vec![large], vec![small; 20]].concat();
        let mut windows = Windows::default();
        for needed in &needed {
            windows.add(*needed, 2, 13);
        }
        windows.plan(41);
        assert_eq!(windows.planned(), needed);
    }
}
