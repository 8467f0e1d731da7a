//! Postings of the head: which slots carry one label pair.
//!
//! Most pairs belong to a handful of series and a few (`job`, `instance`) to very many, so a list changes its form as
//! it grows: in place, then a vector, then a roaring bitmap.
//!
//! # Invariants
//! - A slot stands in a list once.

use roaring::RoaringBitmap;

/// Slots kept without an allocation.
const INLINE: usize = 4;
/// Slots kept in a vector; more become a bitmap.
const VECTOR_MAX: usize = 64;

/// The slots that carry one label pair.
#[derive(Debug)]
pub enum Postings {
    /// A few; the second field is how many.
    Inline([u32; INLINE], u8),
    /// Some.
    Vector(Vec<u32>),
    /// Many.
    Bitmap(Box<RoaringBitmap>),
}

impl Default for Postings {
    fn default() -> Self {
        Self::Inline([0; INLINE], 0)
    }
}

impl Postings {
    /// Adds a slot that is not there.
    pub fn insert(&mut self, slot: u32) {
        self.push(slot);
    }

    /// Takes a slot out.
    pub fn remove(&mut self, slot: u32) {
        let mut set = self.to_set();
        set.remove(slot);
        *self = if set.is_empty() { Self::default() } else { Self::Bitmap(Box::new(set)) };
    }

    fn push(&mut self, slot: u32) {
        match self {
            Self::Inline(slots, len) if usize::from(*len) < INLINE => {
                slots[usize::from(*len)] = slot;
                *len += 1;
            }
            Self::Inline(slots, _) => {
                let mut vector = Vec::with_capacity(2 * INLINE);
                vector.extend_from_slice(slots.as_slice());
                vector.push(slot);
                *self = Self::Vector(vector);
            }
            Self::Vector(slots) if slots.len() < VECTOR_MAX => {
                if slots.len() == slots.capacity() {
                    slots.reserve_exact(slots.len() / 2);
                }
                slots.push(slot);
            }
            Self::Vector(slots) => {
                let mut bitmap: RoaringBitmap = slots.iter().copied().collect();
                bitmap.insert(slot);
                *self = Self::Bitmap(Box::new(bitmap));
            }
            Self::Bitmap(bitmap) => {
                bitmap.insert(slot);
            }
        }
    }

    /// How many slots.
    pub fn slot_count(&self) -> u64 {
        match self {
            Self::Inline(_, len) => u64::from(*len),
            Self::Vector(slots) => slots.len() as u64,
            Self::Bitmap(bitmap) => bitmap.len(),
        }
    }

    /// Adds all slots to a set.
    pub fn add_to(&self, set: &mut RoaringBitmap) {
        match self {
            Self::Inline(slots, len) => set.extend(slots[..usize::from(*len)].iter().copied()),
            Self::Vector(slots) => set.extend(slots.iter().copied()),
            Self::Bitmap(bitmap) => *set |= bitmap.as_ref(),
        }
    }

    /// Keeps in a set only what is here too.
    pub fn keep_in(&self, set: &mut RoaringBitmap) {
        match self {
            Self::Bitmap(bitmap) => *set &= bitmap.as_ref(),
            Self::Inline(..) | Self::Vector(_) => *set &= self.to_set(),
        }
    }

    /// The slots as a set.
    pub fn to_set(&self) -> RoaringBitmap {
        let mut set = RoaringBitmap::new();
        self.add_to(&mut set);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_holds_what_was_pushed() {
        let mut postings = Postings::default();
        for i in 0..200u32 {
            postings.insert(i * 3);
            assert_eq!(postings.slot_count(), u64::from(i) + 1);
            assert!(postings.to_set().iter().eq((0..=i).map(|i| i * 3)));
        }
        let mut set: RoaringBitmap = (0..10).collect();
        postings.keep_in(&mut set);
        assert!(set.iter().eq([0, 3, 6, 9]));
    }
}
