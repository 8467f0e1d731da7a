//! From refs of the log to slots.
//!
//! Refs are given in ascending order and samples come in the order of their series, so neighbours lie together: a page is
//! looked for once for many samples. Pages are small, as a log may name few of many refs.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use storage::{SeriesRef, Slot};

/// Refs of a page: it takes about the memory of a series.
const PAGE: usize = 64;
const NONE: u32 = u32::MAX;

/// Slots by ref.
#[derive(Debug, Default)]
pub struct Refs {
    pages: Vec<[u32; PAGE]>,
    by_number: HashMap<u64, u32, FixedState>,
    /// The number of the page that was asked for last, and where it is.
    last: Option<(u64, u32)>,
}

impl Refs {
    /// The slot of a ref.
    #[inline]
    pub fn get(&mut self, series_ref: SeriesRef) -> Option<Slot> {
        let number = series_ref.0 / PAGE as u64;
        let at = match self.last {
            Some((last, at)) if last == number => at,
            _ => {
                let at = *self.by_number.get(&number)?;
                self.last = Some((number, at));
                at
            }
        };
        let slot = self.pages[at as usize][series_ref.0 as usize % PAGE];
        (slot != NONE).then_some(Slot(slot))
    }

    /// Gives a ref a slot.
    pub fn set(&mut self, series_ref: SeriesRef, slot: Slot) {
        let number = series_ref.0 / PAGE as u64;
        let pages = &mut self.pages;
        let at = match self.last {
            Some((last, at)) if last == number => at,
            _ => *self.by_number.entry(number).or_insert_with(|| {
                pages.push([NONE; PAGE]);
                u32::try_from(pages.len() - 1).expect("2^32 pages do not fit in memory")
            }),
        };
        self.last = Some((number, at));
        self.pages[at as usize][series_ref.0 as usize % PAGE] = slot.0;
    }

    /// Forgets all refs of some slots, which are sorted.
    pub fn forget(&mut self, slots: &[Slot]) {
        for slot in self.pages.iter_mut().flatten() {
            if *slot != NONE && slots.binary_search(&Slot(*slot)).is_ok() {
                *slot = NONE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_near_and_far_have_their_own_slots() {
        let mut refs = Refs::default();
        let all = [1, 2, 63, 64, 65, 1 << 20, (1 << 40) - 1];
        for (slot, series_ref) in (0..).zip(all) {
            assert_eq!(refs.get(SeriesRef(series_ref)), None);
            refs.set(SeriesRef(series_ref), Slot(slot));
        }
        for (slot, series_ref) in (0..).zip(all) {
            assert_eq!(refs.get(SeriesRef(series_ref)), Some(Slot(slot)));
        }
        refs.forget(&[Slot(1), Slot(3)]);
        assert_eq!((refs.get(SeriesRef(2)), refs.get(SeriesRef(64)), refs.get(SeriesRef(65))), (None, None, Some(Slot(4))));
    }
}
