//! Label order of the head's series.
//!
//! Comparing labels means looking at strings all over memory. So series get a *rank*: whoever sorts many ranks them first,
//! once, and the order of ranked series is an order of numbers. Series that came since are ranked with the next large
//! sort, and until then compared one by one.
//!
//! Where few came since, they are sorted and merged with the others. Where many did, all are ranked anew: the dictionaries
//! give each label pair a number in order of text, so labels are short lists of numbers ([`Ranker`]), which are copied some
//! thousand at a time and sorted without any lock, place by place.
//!
//! # Invariants
//! - Ranks of series in `ranked` ascend with their labels. They have gaps where series went.
//! - Slots in limbo may have a rank; free ones have none.

use super::index::Index;
use super::pairs::{PairId, UNLISTED};
use super::postings::from_sorted;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::sync::{PoisonError, RwLock};

/// What is worth ranking: so many slots to sort, or more.
const RANKED_MIN: usize = 4096;

/// New series are merged with the others if those are as many times more.
const MERGED_SHARE: u64 = 8;
/// Label lists that are sorted by comparing them.
const COMPARED_MAX: usize = 24;

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

    /// Begins to rank all series anew; none where nearly all have a rank, and [`Self::extend_ranks`] does the rest. Until the ranks are
    /// there no slot may be reclaimed.
    pub fn begin_ranks(&self) -> Option<Ranker> {
        let ranked = self.ranks.0.read().unwrap_or_else(PoisonError::into_inner).ranked.len();
        let all = self.slots().len();
        if all.saturating_sub(ranked) <= ranked / MERGED_SHARE {
            return None;
        }
        Some(Ranker { pair_ranks: self.pairs.ranks(), slots: self.slots().iter().collect(), keys: Vec::new(), ends: Vec::new() })
    }

    /// Copies the labels of at most `count` more series, as numbers; whether there are still some left. They may be in limbo by now.
    pub fn copy_keys(&self, ranker: &mut Ranker, count: usize) -> bool {
        let Ranker { pair_ranks, slots, keys, ends } = ranker;
        for slot in slots.iter().skip(ends.len()).take(count) {
            keys.extend(self.pair_ids(*slot).map(|pair| pair_ranks[pair.0 as usize]));
            ends.push(u32::try_from(keys.len()).expect("so many labels do not fit in memory"));
        }
        ends.len() < slots.len()
    }

    /// Sets the ranks that a [`Ranker`] found.
    pub fn set_ranks(&self, ordered: Ordered) {
        let mut ranking = self.ranks.0.write().unwrap_or_else(PoisonError::into_inner);
        let end = ordered.order.len() as u32;
        *ranking = Ranking { ranked: ordered.slots, ranks: vec![0; self.slot_end() as usize], end };
        for (rank, slot) in (0u32..).zip(&ordered.order) {
            ranking.ranks[*slot as usize] = rank;
        }
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

/// Ranks all series that there were at one moment.
#[derive(Debug)]
pub struct Ranker {
    /// By pair: its place in order of name and value.
    pair_ranks: Vec<u32>,
    slots: Vec<u32>,
    /// The labels of each series as ranks of its pairs, and where they end.
    keys: Vec<u32>,
    ends: Vec<u32>,
}

/// Slots in label order.
#[derive(Debug)]
pub struct Ordered {
    slots: RoaringBitmap,
    order: Vec<u32>,
}

impl Ranker {
    /// Sorts the series whose labels were copied.
    pub fn sort(self) -> Ordered {
        let mut numbers: Vec<u64> = (0..self.ends.len() as u64).collect();
        // Runs that are equal up to a place, and that place.
        let mut runs = vec![(0, numbers.len(), 0)];
        while let Some((start, end, place)) = runs.pop() {
            let run = &mut numbers[start..end];
            if run.len() <= COMPARED_MAX {
                run.sort_unstable_by(|a, b| self.key(*a, place).cmp(self.key(*b, place)));
                continue;
            }
            for number in &mut *run {
                // Who has no more labels comes first.
                let rank = self.key(*number, place).first().map_or(0, |rank| u64::from(*rank) + 1);
                *number = rank << 32 | *number & NUMBER;
            }
            run.sort_unstable();
            let mut from = start;
            for equal in run.chunk_by(|a, b| a >> 32 == b >> 32) {
                if equal.len() > 1 && equal[0] > NUMBER {
                    runs.push((from, from + equal.len(), place + 1));
                }
                from += equal.len();
            }
        }
        let order = numbers.into_iter().map(|number| self.slots[(number & NUMBER) as usize]).collect();
        Ordered { slots: from_sorted(self.slots.into_iter().take(self.ends.len())), order }
    }

    /// The labels of a series from a place on.
    #[inline]
    fn key(&self, number: u64, place: usize) -> &[u32] {
        let at = (number & NUMBER) as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.keys[start..self.ends[at] as usize].get(place..).unwrap_or_default()
    }
}

/// The half of a sorted number that says which series it is.
const NUMBER: u64 = u32::MAX as u64;

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
