//! Which of many things has given labels.
//!
//! Entries keep their hash, so a table that grows does not read the labels again: of a million that would take longer, at one
//! go, than a query may go on when nobody waits for it. The labels themselves stay where they are.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use model::Labels;
use std::hash::BuildHasher;

/// Numbers of things by their labels.
#[derive(Default)]
pub(crate) struct ByLabels {
    state: RandomState,
    /// With their hashes.
    numbers: HashTable<(u64, usize)>,
}

impl ByLabels {
    /// The number of the thing that has these labels; `next`, which it is known by from now on, if none has. `labels_of`
    /// tells the labels of things that are known.
    pub fn number<'l>(&mut self, labels: &Labels, next: usize, labels_of: impl Fn(usize) -> &'l Labels) -> usize {
        let hash = self.state.hash_one(labels.as_bytes());
        match self.numbers.entry(hash, |(known, number)| *known == hash && labels_of(*number) == labels, |(hash, _)| *hash) {
            Entry::Occupied(entry) => entry.get().1,
            Entry::Vacant(place) => place.insert((hash, next)).get().1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_labels_gives_the_number() {
        let all: Vec<Labels> = (0..10_000).map(|n| Labels::from_pairs([("n", (n % 7_000).to_string().as_str())])).collect();
        let mut by_labels = ByLabels::default();
        for (n, labels) in all.iter().enumerate() {
            assert_eq!(by_labels.number(labels, n, |number| &all[number]), n % 7_000);
        }
    }
}
