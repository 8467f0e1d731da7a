//! Where it pays to open a new window of significant bits.
//!
//! A changed float costs as many bits as its window is wide. Opening a window costs eleven or twelve more, and each float since
//! then must fit. Who writes as samples come keeps a window until a float does not fit, so that one far leap makes all later
//! ones dear. Who has all samples can do better: this finds a cheap sequence of windows.
//!
//! For some places where the last window may have been opened, the cost of everything so far is kept, as if that window had been
//! as wide from the start as it must be by now. The cheapest of them is the cost up to here. Eight places are kept, in lanes
//! of small integers that the compiler turns into a few vector instructions; a new place takes the lane of the dearest one.
//!
//! # Invariants
//! - Costs of lanes are relative to the cheapest one's, which is 0, and at most [`DEAR`]: what is dearer by more than opening a
//!   window costs can never win again.

use super::bits::Window;

/// Places that are kept at once.
const LANES: usize = 8;
/// The cost of a lane that cannot win, or that is not in use. With the most that widening 480 changes costs it fits 16 bits.
const DEAR: i16 = 500;

/// Finds cheap windows for a run of changes.
#[derive(Debug)]
pub(super) struct Windows {
    leading: [i16; LANES],
    trailing: [i16; LANES],
    /// What all changes have cost.
    cost: [i16; LANES],
    /// Changes in the window.
    changes: [i16; LANES],
    /// The change that the window was opened at.
    opened: [u16; LANES],
    /// What the cheapest way costs.
    best: u32,
    /// For each change: the window that it needs, and where the window of the cheapest way up to it was opened.
    seen: Vec<(Window, u16)>,
    plan: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Self {
        let lanes = [0; LANES];
        let (seen, plan) = (Vec::new(), Vec::new());
        Self { leading: lanes, trailing: lanes, cost: [DEAR; LANES], changes: lanes, opened: [0; LANES], best: 0, seen, plan }
    }
}

impl Windows {
    /// Forgets all changes.
    pub(super) fn clear(&mut self) {
        self.cost = [DEAR; LANES];
        self.changes = [0; LANES];
        self.best = 0;
        self.seen.clear();
    }

    /// Adds a change that needs this window, and costs `keep` bits beside the window's width, or `open` with a new one; gives
    /// the cost of all changes so far. There are at most 480.
    #[inline]
    pub(super) fn add(&mut self, needed: Window, keep: u32, open: u32) -> u32 {
        let (leading, trailing) = (i16::from(needed.leading), i16::from(needed.trailing));
        let keep = keep as i16;
        for lane in 0..LANES {
            let before = self.leading[lane] + self.trailing[lane];
            self.leading[lane] = self.leading[lane].min(leading);
            self.trailing[lane] = self.trailing[lane].min(trailing);
            let now = self.leading[lane] + self.trailing[lane];
            self.cost[lane] += self.changes[lane] * (before - now) + keep + 64 - now;
            self.changes[lane] += 1;
        }
        let fresh = open as i16 + 64 - leading - trailing;
        // Cost and lane in one number: its least and greatest name the lanes.
        let mut least = i32::from(fresh) << 4 | LANES as i32;
        let mut greatest = 0;
        let mut known = false;
        for lane in 0..LANES {
            let tagged = i32::from(self.cost[lane]) << 4 | lane as i32;
            least = least.min(tagged);
            greatest = greatest.max(tagged);
            known |= self.leading[lane] == leading && self.trailing[lane] == trailing && self.cost[lane] <= fresh;
        }
        let at = self.seen.len() as u16;
        let cheapest = (least & 15) as usize;
        let opened = if cheapest < LANES { self.opened[cheapest] } else { at };
        self.seen.push((needed, opened));
        if !known {
            let dearest = (greatest & 15) as usize % LANES;
            self.leading[dearest] = leading;
            self.trailing[dearest] = trailing;
            self.cost[dearest] = fresh;
            self.changes[dearest] = 1;
            self.opened[dearest] = at;
        }
        let least = (least >> 4) as i16;
        for cost in &mut self.cost {
            *cost = (*cost - least).min(DEAR);
        }
        self.best += least as u32;
        self.best
    }

    /// Plans the window of each of the first `changes` changes.
    pub(super) fn plan(&mut self, changes: usize) {
        self.plan.clear();
        self.plan.resize(changes, Window::NONE);
        let mut end = changes;
        while end > 0 {
            let opened = usize::from(self.seen[end - 1].1);
            let window = self.seen[opened..end].iter().fold(self.seen[opened].0, |window, (needed, _)| Window {
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
#[path = "windows_tests.rs"]
mod tests;
