//! Chunks in files whose series the log has not named yet.
//!
//! A million series have some ten million chunks, which lie in the files in the order of time and are asked for in the order of
//! their series: so they are ordered once by counting, and fetched ahead of being taken.

use crate::head::mapped::{Found, MappedChunk};
use crate::prefetch::prefetch;
use storage::SeriesRef;

/// Refs beyond so many times the chunks are too sparse to be counted in a table.
const SPARSE: u64 = 8;
/// And this many may be counted in any case.
const COUNTED_MIN: u64 = 1 << 16;
/// Chunks between the one that is taken and the one that is fetched.
const AHEAD: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    series_ref: SeriesRef,
    chunk: MappedChunk,
    out_of_order: bool,
}

/// Chunks as they are found, in the order of the files.
#[derive(Debug, Default)]
pub struct Unordered {
    entries: Vec<Entry>,
    last_ref: u64,
}

impl Unordered {
    /// Adds a chunk behind the others of its series.
    pub fn add(&mut self, found: &Found) {
        // Files have room for fewer: each chunk takes tens of bytes, and 2^32 entries would not fit in memory.
        if self.entries.len() < u32::MAX as usize {
            self.entries.push(Entry { series_ref: found.series_ref, chunk: found.chunk, out_of_order: found.out_of_order });
            self.last_ref = self.last_ref.max(found.series_ref.0);
        }
    }

    /// Orders them by ref.
    pub fn order(self) -> Chunks {
        let Self { entries, last_ref } = self;
        if last_ref > COUNTED_MIN.max(entries.len() as u64 * SPARSE) {
            let mut order: Vec<u32> = (0..entries.len() as u32).collect();
            order.sort_by_key(|at| entries[*at as usize].series_ref);
            let mut lists: Vec<(SeriesRef, u32)> = Vec::new();
            for (place, at) in (0..).zip(&order) {
                let series_ref = entries[*at as usize].series_ref;
                if lists.last().is_none_or(|(last, _)| *last != series_ref) {
                    lists.push((series_ref, place));
                }
            }
            return Chunks { taken: vec![false; lists.len()], lists: Lists::Sparse(lists), order, entries };
        }
        // One more than there are refs: where the last list ends.
        let mut starts = vec![0u32; last_ref as usize + 2];
        for entry in &entries {
            starts[entry.series_ref.0 as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut order = vec![0u32; entries.len()];
        let mut next = starts.clone();
        for (at, entry) in (0..).zip(&entries) {
            let place = &mut next[entry.series_ref.0 as usize];
            order[*place as usize] = at;
            *place += 1;
        }
        Chunks { taken: vec![false; starts.len()], lists: Lists::Dense(starts), order, entries }
    }
}

#[derive(Debug)]
enum Lists {
    /// By ref, where its list begins.
    Dense(Vec<u32>),
    /// Refs that have chunks, ascending, and where their lists begin.
    Sparse(Vec<(SeriesRef, u32)>),
}

/// Lists of chunks by ref, each in the order of the files.
#[derive(Debug)]
pub struct Chunks {
    entries: Vec<Entry>,
    /// Entries by ref.
    order: Vec<u32>,
    lists: Lists,
    taken: Vec<bool>,
}

impl Chunks {
    /// Takes the chunks of a series.
    pub fn take(&mut self, series_ref: SeriesRef, mut each: impl FnMut(MappedChunk, bool)) {
        let Some((list, begin, end)) = self.list(series_ref) else { return };
        if std::mem::replace(&mut self.taken[list], true) {
            return;
        }
        for place in begin..end {
            if let Some(ahead) = self.order.get(place + AHEAD) {
                prefetch(&raw const self.entries[*ahead as usize]);
            }
            let Entry { chunk, out_of_order, .. } = self.entries[self.order[place] as usize];
            each(chunk, out_of_order);
        }
    }

    /// Number, begin and end of a list.
    fn list(&self, series_ref: SeriesRef) -> Option<(usize, usize, usize)> {
        match &self.lists {
            Lists::Dense(starts) => {
                let list = usize::try_from(series_ref.0).ok()?;
                Some((list, *starts.get(list)? as usize, *starts.get(list.checked_add(1)?)? as usize))
            }
            Lists::Sparse(lists) => {
                let list = lists.binary_search_by_key(&series_ref, |(series_ref, _)| *series_ref).ok()?;
                Some((list, lists[list].1 as usize, lists.get(list + 1).map_or(self.order.len(), |(_, begin)| *begin as usize)))
            }
        }
    }

    /// Refs of chunks that nobody took.
    pub fn refs(&self) -> impl Iterator<Item = SeriesRef> + '_ {
        let of_entry = |at: &u32| self.entries[*at as usize].series_ref;
        self.order.iter().map(of_entry).filter(|series_ref| self.list(*series_ref).is_some_and(|(list, ..)| !self.taken[list]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::chunk::Encoding;
    use crate::head::mapped::Place;

    fn found(series_ref: u64, time: i64) -> Found {
        let place = Place { file: 1, offset: time as u32 };
        let chunk = MappedChunk::new(place, Encoding::Xor, time, time).unwrap();
        Found { series_ref: SeriesRef(series_ref), chunk, out_of_order: time % 2 == 1, samples: 1 }
    }

    #[test]
    fn each_series_has_its_chunks_once_in_their_order() {
        // Close together, and too far apart to be counted.
        for factor in [1, 1 << 40] {
            let mut unordered = Unordered::default();
            for (series_ref, time) in [(3, 1), (1, 2), (3, 4), (7, 5), (1, 7), (3, 9)] {
                unordered.add(&found(series_ref * factor, time));
            }
            let mut chunks = unordered.order();
            let mut take = |series_ref: u64| {
                let mut times = Vec::new();
                chunks.take(SeriesRef(series_ref * factor), |chunk, late| times.push((chunk.min_time(), late)));
                times
            };
            assert_eq!(take(3), [(1, true), (4, false), (9, true)]);
            assert_eq!((take(3), take(2), take(9)), (vec![], vec![], vec![]));
            assert_eq!(take(1), [(2, false), (7, true)]);
            assert_eq!(chunks.refs().collect::<Vec<_>>(), [SeriesRef(7 * factor)]);
        }
        let mut none = Unordered::default().order();
        none.take(SeriesRef(0), |_, _| panic!("nobody has chunks"));
        none.take(SeriesRef(u64::MAX), |_, _| panic!("nobody has chunks"));
        assert_eq!(none.refs().count(), 0);
    }
}
