//! Label order of the head's series.

use super::index::Index;
use std::cmp::Ordering;

impl Index {
    /// Brings slots into the order of their labels.
    pub fn sort_by_labels(&self, slots: &mut [u32]) {
        slots.sort_unstable_by(|a, b| self.compare_labels(*a, *b));
    }

    /// Prepares [`Self::sort_by_labels`] for at most `count` more series; whether there are still some left. Whoever is
    /// about to sort all series calls it until it says no, and gives the lock back in between.
    pub fn extend_ranks(&self, count: usize) -> bool {
        let _ = count;
        false
    }

    fn compare_labels(&self, a: u32, b: u32) -> Ordering {
        let text = |id| self.symbols.text(id);
        self.pairs(a).map(|(n, v)| (text(n), text(v))).cmp(self.pairs(b).map(|(n, v)| (text(n), text(v))))
    }
}
