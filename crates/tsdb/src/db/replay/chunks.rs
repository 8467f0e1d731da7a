//! Chunks in files whose series the log has not named yet.

use crate::head::mapped::{Found, MappedChunk};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use storage::SeriesRef;

const END: u32 = u32::MAX;

#[derive(Debug)]
struct Link {
    chunk: MappedChunk,
    out_of_order: bool,
    next: u32,
}

/// Lists of chunks by ref, each in the order of the files.
#[derive(Debug, Default)]
pub struct Chunks {
    links: Vec<Link>,
    /// First and last link.
    lists: HashMap<SeriesRef, (u32, u32), FixedState>,
}

impl Chunks {
    /// Adds a chunk behind the others of its series.
    pub fn add(&mut self, found: &Found) {
        // Files have room for fewer: each chunk takes tens of bytes, and 2^32 links would not fit in memory.
        let Ok(at) = u32::try_from(self.links.len()) else { return };
        self.links.push(Link { chunk: found.chunk, out_of_order: found.out_of_order, next: END });
        let list = self.lists.entry(found.series_ref).or_insert((at, at));
        if list.1 != at {
            self.links[list.1 as usize].next = at;
            list.1 = at;
        }
    }

    /// Takes the chunks of a series.
    pub fn take(&mut self, series_ref: SeriesRef, mut each: impl FnMut(MappedChunk, bool)) {
        if self.lists.is_empty() {
            return;
        }
        let Some((mut at, _)) = self.lists.remove(&series_ref) else { return };
        while let Some(link) = self.links.get(at as usize) {
            each(link.chunk, link.out_of_order);
            at = link.next;
        }
    }

    /// Refs of chunks that nobody took.
    pub fn refs(&self) -> impl Iterator<Item = SeriesRef> + '_ {
        self.lists.keys().copied()
    }
}
