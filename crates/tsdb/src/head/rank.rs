//! Label order of the head's series.
//!
//! Comparing labels means looking at strings all over memory. So series get a *rank*: whoever sorts many ranks them first,
//! once, and the order of ranked series is an order of numbers. Series that came since are ranked with the next large
//! sort, and until then compared one by one.
//!
//! # Invariants
//! - Ranks of series in `ranked` ascend with their labels. They have gaps where series went.
//! - Slots in limbo keep their rank; free ones have none.

use super::index::Index;
use super::pairs::{PairId, UNLISTED};
use super::postings::from_sorted;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::sync::{PoisonError, RwLock};

/// What is worth ranking: so many slots to sort, or more.
const RANKED_MIN: usize = 4096;

/// A permutation of slots.
#[derive(Debug, Default)]
pub(super) struct Ranks(RwLock<Ranking>);

#[derive(Debug, Default)]
struct Ranking {
    ranked: RoaringBitmap,
    /// By slot; of no meaning unless the slot is in `ranked`.
    ranks: Vec<u32>,
    /// One above the highest rank.
    end: u32,
}

impl Ranks {
    /// The slot is free.
    pub(super) fn forget(&mut self, slot: u32) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).ranked.remove(slot);
    }

    pub(super) fn bytes(&self) -> usize {
        let ranking = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ranking.ranks.capacity() * size_of::<u32>() + ranking.ranked.serialized_size()
    }
}

impl Index {
    /// Brings slots, of which none stands there twice, into the order of their labels. They may be in limbo.
    pub fn sort_by_labels(&self, slots: &mut Vec<u32>) {
        let ranking = self.ranks.0.read().unwrap_or_else(PoisonError::into_inner);
        if ranking.ranked.is_empty() || slots.len() < 64 {
            slots.sort_unstable_by(|a, b| self.compare_labels(*a, *b));
            return;
        }
        let (mut ranked, mut others): (Vec<u32>, Vec<u32>) = slots.iter().partition(|slot| ranking.ranked.contains(**slot));
        ranking.sort(&mut ranked);
        others.sort_unstable_by(|a, b| self.compare_labels(*a, *b));
        merge(&ranked, &others, slots, |a, b| self.compare_labels(*a, *b));
    }

    /// Ranks at most `count` more series; whether there are still some left. Whoever is about to sort all series calls it
    /// until it says no, and gives the lock of the index back in between: some thousand take some ten milliseconds.
    pub fn extend_ranks(&self, count: usize) -> bool {
        let mut ranking = self.ranks.0.write().unwrap_or_else(PoisonError::into_inner);
        let unranked = self.slots() - &ranking.ranked;
        if unranked.is_empty() {
            return false;
        }
        let mut new: Vec<u32> = unranked.iter().take(count).collect();
        let more = unranked.len() > new.len() as u64;
        let pair_ranks = if new.len() * 4 > self.pair_count() { self.pairs.ranks() } else { Vec::new() };
        let compare = |a: &u32, b: &u32| self.compare_ranked(*a, *b, &pair_ranks);
        new.sort_unstable_by(compare);
        let old = ranking.order();
        let mut order = Vec::with_capacity(old.len() + new.len());
        merge(&old, &new, &mut order, compare);
        ranking.ranks.resize(self.slot_end() as usize, 0);
        for (rank, slot) in (0u32..).zip(&order) {
            ranking.ranks[*slot as usize] = rank;
        }
        ranking.end = order.len() as u32;
        order.sort_unstable();
        ranking.ranked = from_sorted(order.into_iter());
        more
    }

    /// Are so many slots worth ranking before they are sorted?
    pub fn is_worth_ranking(slots: usize) -> bool {
        slots >= RANKED_MIN
    }

    /// Gives the memory of the ranks back.
    pub fn forget_ranks(&self) {
        *self.ranks.0.write().unwrap_or_else(PoisonError::into_inner) = Ranking::default();
    }

    fn compare_labels(&self, a: u32, b: u32) -> Ordering {
        self.compare_ranked(a, b, &[])
    }

    /// Compares labels, by the ranks of their pairs where those are known.
    fn compare_ranked(&self, a: u32, b: u32, pair_ranks: &[u32]) -> Ordering {
        let mut a = self.pair_ids(a);
        let mut b = self.pair_ids(b);
        loop {
            match (a.next(), b.next()) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => {
                    let rank = |pair: PairId| pair_ranks.get(pair.0 as usize).copied().filter(|rank| *rank != UNLISTED);
                    return match (rank(a), rank(b)) {
                        (Some(a), Some(b)) => a.cmp(&b),
                        _ => self.pairs.compare(a, b),
                    };
                }
                (a, b) => return a.is_some().cmp(&b.is_some()),
            }
        }
    }
}

/// Merges two sorted lists into `merged`. The second is looked up in the first: it usually is much shorter.
fn merge(long: &[u32], short: &[u32], merged: &mut Vec<u32>, compare: impl Fn(&u32, &u32) -> Ordering) {
    merged.clear();
    let mut rest = long;
    for slot in short {
        let is_before = |other: &u32| compare(other, slot).is_lt();
        let mut step = 1;
        while rest.get(step - 1).is_some_and(is_before) {
            step *= 2;
        }
        // All up to half the step are before it.
        let known = step / 2;
        let upto = known + rest[known..rest.len().min(step)].partition_point(is_before);
        merged.extend_from_slice(&rest[..upto]);
        rest = &rest[upto..];
        merged.push(*slot);
    }
    merged.extend_from_slice(rest);
}

impl Ranking {
    /// Sorts ranked slots.
    fn sort(&self, slots: &mut [u32]) {
        if slots.len() * 8 < self.end as usize {
            slots.sort_unstable_by_key(|slot| self.ranks[*slot as usize]);
            return;
        }
        // Many of all: putting each in its place costs less than sorting.
        let sorted = self.spread(slots.iter().copied());
        slots.copy_from_slice(&sorted);
    }

    fn order(&self) -> Vec<u32> {
        self.spread(self.ranked.iter())
    }

    fn spread(&self, slots: impl Iterator<Item = u32>) -> Vec<u32> {
        const NOBODY: u32 = u32::MAX;
        let mut order = vec![NOBODY; self.end as usize];
        for slot in slots {
            order[self.ranks[slot as usize] as usize] = slot;
        }
        order.retain(|slot| *slot != NOBODY);
        order
    }
}
