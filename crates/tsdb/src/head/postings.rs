//! Postings of the head: which slots carry one label pair.
//!
//! Most pairs belong to a handful of series and a few (`job`, `instance`) to very many, so a list changes its form as
//! it grows and shrinks: in place, then a sorted vector, then a roaring bitmap.
//!
//! # Invariants
//! - A list is sorted and has a slot once.

use roaring::RoaringBitmap;

/// Slots kept without an allocation.
const INLINE: usize = 3;
/// Slots kept in a vector, even where a bitmap would be smaller.
const VECTOR_MIN: usize = 64;
/// Slots that are never kept in a vector.
const VECTOR_MAX: usize = 1024;
/// What a bitmap takes beside its slots, in itself and for each 65,536 slots that it touches.
const CONTAINER_BYTES: usize = 56;

/// The slots that carry one label pair.
#[derive(Debug)]
pub enum Postings {
    /// A few; the first field is how many.
    Inline(u8, [u32; INLINE]),
    /// Some. Boxed, as there are many lists and most are inline.
    Vector(Box<Vec<u32>>),
    /// Many.
    Bitmap(Box<Large>),
}

/// A bitmap, and when to look at its form again.
#[derive(Debug)]
pub struct Large {
    set: RoaringBitmap,
    /// How many slots: the bitmap would count its runs every time.
    count: u64,
    /// Slots when its containers got their best form.
    fitted: u64,
}

impl Default for Postings {
    fn default() -> Self {
        Self::Inline(0, [0; INLINE])
    }
}

impl Postings {
    /// Adds a slot; whether it was not there.
    pub fn insert(&mut self, slot: u32) -> bool {
        match self {
            Self::Inline(len, slots) => {
                let count = usize::from(*len);
                let Err(at) = slots[..count].binary_search(&slot) else { return false };
                if count < INLINE {
                    slots.copy_within(at..count, at + 1);
                    slots[at] = slot;
                    *len += 1;
                } else {
                    let mut vector = Vec::with_capacity(INLINE + 3);
                    vector.extend_from_slice(&slots[..at]);
                    vector.push(slot);
                    vector.extend_from_slice(&slots[at..]);
                    *self = Self::Vector(Box::new(vector));
                }
                true
            }
            Self::Vector(slots) => {
                let at = match slots.last() {
                    Some(last) if *last < slot => slots.len(),
                    _ => match slots.binary_search(&slot) {
                        Ok(_) => return false,
                        Err(at) => at,
                    },
                };
                if slots.len() == slots.capacity() {
                    if is_better_as_bitmap(slots) {
                        let mut large = Large::from_sorted(slots);
                        large.insert(slot);
                        *self = Self::Bitmap(Box::new(large));
                        return true;
                    }
                    slots.reserve_exact(2 + slots.len() / 4);
                }
                slots.insert(at, slot);
                true
            }
            Self::Bitmap(large) => large.insert(slot),
        }
    }

    /// Adds slots that follow each other; how many were not there.
    pub fn insert_run(&mut self, slots: std::ops::Range<u32>) -> u64 {
        match self {
            Self::Bitmap(large) if slots.len() > 1 => large.insert_run(slots),
            _ => slots.map(|slot| u64::from(self.insert(slot))).sum(),
        }
    }

    /// Takes out slots, which are sorted.
    pub fn remove(&mut self, gone: &[u32]) {
        match self {
            Self::Inline(len, slots) => {
                let mut left = [0; INLINE];
                let mut count = 0;
                for slot in slots[..usize::from(*len)].iter().filter(|slot| gone.binary_search(slot).is_err()) {
                    left[count] = *slot;
                    count += 1;
                }
                *self = Self::Inline(count as u8, left);
            }
            Self::Vector(slots) => {
                slots.retain(|slot| gone.binary_search(slot).is_err());
                let left = slots.len();
                if left <= INLINE {
                    *self = Self::from_few(slots);
                } else if left * 2 < slots.capacity() {
                    slots.shrink_to_fit();
                }
            }
            Self::Bitmap(large) => {
                large.remove(gone);
                let left = large.count;
                if left <= INLINE as u64 {
                    *self = Self::from_few(&large.set.iter().collect::<Vec<_>>());
                } else if left < VECTOR_MIN as u64 / 2 {
                    *self = Self::Vector(Box::new(large.set.iter().collect()));
                }
            }
        }
    }

    fn from_few(few: &[u32]) -> Self {
        let mut slots = [0; INLINE];
        slots[..few.len()].copy_from_slice(few);
        Self::Inline(few.len() as u8, slots)
    }

    /// How many slots.
    pub fn slot_count(&self) -> u64 {
        match self {
            Self::Bitmap(large) => large.count,
            Self::Inline(len, _) => u64::from(*len),
            Self::Vector(slots) => slots.len() as u64,
        }
    }

    /// No slot is left.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Inline(0, _))
    }

    /// The slots in either of the two forms.
    pub(super) fn form(&self) -> Form<'_> {
        match self {
            Self::Inline(len, slots) => Form::List(&slots[..usize::from(*len)]),
            Self::Vector(slots) => Form::List(slots),
            Self::Bitmap(large) => Form::Set(&large.set),
        }
    }

    /// The slots that are in a set too.
    pub fn common(&self, set: &RoaringBitmap) -> RoaringBitmap {
        match self.form() {
            Form::List(slots) => from_sorted(slots.iter().copied().filter(|slot| set.contains(*slot))),
            Form::Set(mine) => mine & set,
        }
    }

    /// Is one of the slots in a set?
    pub fn meets(&self, set: &RoaringBitmap) -> bool {
        match self.form() {
            Form::List(slots) => slots.iter().any(|slot| set.contains(*slot)),
            Form::Set(mine) => !mine.is_disjoint(set),
        }
    }

    /// Takes the slots out of a set.
    pub fn take_from(&self, set: &mut RoaringBitmap) {
        match self.form() {
            Form::List(slots) => {
                for slot in slots {
                    set.remove(*slot);
                }
            }
            Form::Set(mine) => *set -= mine,
        }
    }

    /// The slots as a set.
    pub fn to_set(&self) -> RoaringBitmap {
        match self.form() {
            Form::List(slots) => from_sorted(slots.iter().copied()),
            Form::Set(set) => set.clone(),
        }
    }

    /// Bytes beside the list itself.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Vector(slots) => size_of::<Vec<u32>>() + slots.capacity() * size_of::<u32>(),
            Self::Bitmap(large) => {
                let all = large.set.statistics();
                let stored = all.n_bytes_array_containers + all.n_bytes_run_containers + all.n_bytes_bitset_containers;
                size_of::<Large>() + stored as usize + all.n_containers as usize * CONTAINER_BYTES
            }
        }
    }
}

/// Slots of a list, as they are kept.
pub(super) enum Form<'a> {
    /// Sorted.
    List(&'a [u32]),
    /// A bitmap.
    Set(&'a RoaringBitmap),
}

impl Large {
    fn from_sorted(slots: &[u32]) -> Self {
        let mut large = Self { set: from_sorted(slots.iter().copied()), count: slots.len() as u64, fitted: 0 };
        large.fit();
        large
    }

    fn insert(&mut self, slot: u32) -> bool {
        let inserted = self.set.try_push(slot).is_ok() || self.set.insert(slot);
        // Series of a family lie side by side: runs often are the smallest form. Looking for them costs as much as the
        // list is long, so it is done when the list has grown by a quarter.
        if inserted {
            self.count += 1;
            if self.count > self.fitted + self.fitted / 4 {
                self.fit();
            }
        }
        inserted
    }

    fn insert_run(&mut self, slots: std::ops::Range<u32>) -> u64 {
        let inserted = self.set.insert_range(slots);
        self.count += inserted;
        if self.count > self.fitted + self.fitted / 4 {
            self.fit();
        }
        inserted
    }

    fn remove(&mut self, gone: &[u32]) {
        if gone.len() < 16 {
            for slot in gone {
                self.set.remove(*slot);
            }
        } else {
            self.set -= from_sorted(gone.iter().copied());
        }
        self.count = self.set.len();
        if self.count < self.fitted / 2 {
            self.fit();
        }
    }

    /// Gives each container its best form, and back what they have too much.
    fn fit(&mut self) {
        self.set.optimize();
        self.fitted = self.count;
        // A copy has no room to spare.
        self.set = self.set.clone();
    }
}

/// Would a bitmap of these slots take less memory?
fn is_better_as_bitmap(slots: &[u32]) -> bool {
    if slots.len() < VECTOR_MIN {
        return false;
    }
    let containers = 1 + slots.windows(2).filter(|pair| pair[0] >> 16 != pair[1] >> 16).count();
    slots.len() >= VECTOR_MAX || size_of::<Large>() + containers * CONTAINER_BYTES + slots.len() * 2 < slots.len() * 4
}

/// A set of slots that ascend.
pub(super) fn from_sorted(slots: impl Iterator<Item = u32>) -> RoaringBitmap {
    let mut set = RoaringBitmap::new();
    set.append(slots).expect("the slots ascend");
    set
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(postings: &Postings, twin: &BTreeSet<u32>) {
        assert_eq!(postings.slot_count(), twin.len() as u64);
        assert_eq!(postings.is_empty(), twin.is_empty());
        assert!(postings.to_set().iter().eq(twin.iter().copied()));
    }

    #[test]
    fn every_form_holds_what_was_inserted_and_not_removed() {
        let mut postings = Postings::default();
        let mut twin = BTreeSet::new();
        for i in 0..5000u32 {
            // Runs, gaps, and both directions.
            let slot = if i % 2 == 0 { i / 40 * 1000 + i % 40 } else { 900_000 - i * 7 };
            assert_eq!(postings.insert(slot), twin.insert(slot));
            if i % 50 == 0 || i < 100 {
                check(&postings, &twin);
            }
        }
        assert!(matches!(postings, Postings::Bitmap(_)));
        let mut all: Vec<u32> = twin.iter().copied().collect();
        while !all.is_empty() {
            let step = 1 + all.len() / 9;
            let gone: Vec<u32> = all.iter().copied().step_by(step).collect();
            postings.remove(&gone);
            twin.retain(|slot| gone.binary_search(slot).is_err());
            all.retain(|slot| twin.contains(slot));
            check(&postings, &twin);
        }
        assert!(matches!(postings, Postings::Inline(0, _)));
    }

    #[test]
    fn a_list_takes_sixteen_bytes() {
        assert_eq!(size_of::<Postings>(), 16);
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_those_of_sets(slots in prop::collection::btree_set(0u32..200_000, 0..300), other in prop::collection::btree_set(0u32..200_000, 0..300)) {
            let mut postings = Postings::default();
            for slot in &slots {
                postings.insert(*slot);
            }
            let set: RoaringBitmap = other.iter().copied().collect();
            prop_assert!(postings.common(&set).iter().eq(slots.intersection(&other).copied()));
            prop_assert_eq!(postings.meets(&set), !slots.is_disjoint(&other));
            let mut rest = set.clone();
            postings.take_from(&mut rest);
            prop_assert!(rest.iter().eq(other.difference(&slots).copied()));
        }
    }
}
