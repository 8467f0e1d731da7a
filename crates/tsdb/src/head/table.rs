//! A hash table of numbers that never grows all at once.
//!
//! It is many tables, each of which grows by itself. If they were filled evenly they would all grow at the same time; so
//! each gets a share of the keys that is a little larger than the one's before, the last twice that of the first, and
//! whatever the number of keys, their loads lie evenly between half full and full.

use hashbrown::HashTable;

const SHARDS: usize = 128;
/// Steps in which the keys are shared out.
const STEPS: usize = 4096;

/// Numbers by hash.
#[derive(Debug)]
pub(super) struct Table {
    shards: Vec<HashTable<u32>>,
    /// By a part of the hash.
    shard_of: Box<[u8; STEPS]>,
}

impl Default for Table {
    fn default() -> Self {
        let mut shard_of = Box::new([0u8; STEPS]);
        for (step, shard) in shard_of.iter_mut().enumerate() {
            // log2(1 + x) for x in 0..1: the reverse of widths that grow from 1 to 2.
            *shard = (SHARDS as f64 * (1.0 + step as f64 / STEPS as f64).log2()) as u8;
        }
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), shard_of }
    }
}

impl Table {
    /// The number with this hash for which `is` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards[self.shard(hash)].find(hash, |number| is(*number)).copied()
    }

    /// Adds a number that is not there; `rehash` gives the hash of any that is.
    pub(super) fn insert(&mut self, hash: u64, number: u32, rehash: impl Fn(u32) -> u64) {
        let shard = self.shard(hash);
        self.shards[shard].insert_unique(hash, number, |number| rehash(*number));
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, hash: u64, number: u32, rehash: impl Fn(u32) -> u64) {
        let shard = self.shard(hash);
        let table = &mut self.shards[shard];
        if let Ok(entry) = table.find_entry(hash, |known| *known == number) {
            entry.remove();
            if table.len() * 4 < table.capacity() {
                table.shrink_to(table.len() * 3 / 2, |number| rehash(*number));
            }
        }
    }

    /// About how many bytes the tables take.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(HashTable::allocation_size).sum()
    }

    /// The table itself uses the highest and the lowest bits.
    #[inline]
    fn shard(&self, hash: u64) -> usize {
        usize::from(self.shard_of[(hash >> 40) as usize % STEPS])
    }
}

/// The table wants 64 bits: a product brings those of a hash of 32 into all of them.
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
