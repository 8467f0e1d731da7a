//! Label sets that come one after the other, as in the log and in the saved head: a target's series have most of their label pairs in
//! common, so each pair is looked at once, gets a number, and a series is a list of numbers.
//!
//! # Invariants
//! - A number stands for one pair until numbers begin anew, and equal pairs have equal numbers.
//! - [`LabelRow::packed`] is what [`model::Labels::as_bytes`] gives for the same labels.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use model::Labels;
use std::hash::BuildHasher;

/// The labels of one series: names ascend, and no value is empty.
#[derive(Clone, Copy, Debug)]
pub struct LabelRow<'s> {
    /// All of them, packed.
    pub packed: &'s [u8],
    /// The numbers of its pairs.
    pub numbers: &'s [u32],
    /// Names and values of all pairs by number.
    pub texts: &'s [(&'s str, &'s str)],
    /// Numbers begin anew: what they stood for before is void.
    pub begins: bool,
}

impl<'s> LabelRow<'s> {
    /// Hands labels as a row on, with numbers of its own.
    pub fn visit<T>(labels: &'s Labels, visit: impl FnOnce(LabelRow<'_>) -> T) -> T {
        let texts: Vec<(&str, &str)> = labels.iter().collect();
        let numbers: Vec<u32> = (0..).take(texts.len()).collect();
        visit(LabelRow { packed: labels.as_bytes(), numbers: &numbers, texts: &texts, begins: true })
    }
}

/// Whether [`Labels`] would hold a pair as it lies there: it has a value, and no length is longer than it need be.
fn is_clean(packed: &[u8], (name, value): (&str, &str)) -> bool {
    let lens = uvarint_len(name.len()) + uvarint_len(value.len());
    !value.is_empty() && lens + name.len() + value.len() == packed.len()
}

fn uvarint_len(number: usize) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// The pairs that were met, and the series that was met last.
#[derive(Debug, Default)]
pub struct Neighbours<'b> {
    /// Pairs by number: all bytes, and name and value.
    packed: Vec<&'b [u8]>,
    texts: Vec<(&'b str, &'b str)>,
    numbers: HashTable<u32>,
    hasher: FixedState,
    row: Vec<u32>,
    /// The place of the next pair; what lies behind it is the series before's.
    at: usize,
    /// The pair before is another one than the series before has there.
    changed: bool,
    /// The names so far ascend.
    ordered: bool,
    /// Those of the series before did.
    was_ordered: bool,
    /// A pair that is not clean was met.
    unclean: bool,
}

impl<'b> Neighbours<'b> {
    /// Begins the next series.
    pub fn begin(&mut self) {
        self.at = 0;
        self.changed = false;
        self.was_ordered = self.ordered;
        self.ordered = true;
    }

    /// The pair that the series before has at the place of the next one.
    #[inline]
    pub fn before(&self) -> Option<&'b [u8]> {
        self.row.get(self.at).map(|number| self.packed[*number as usize])
    }

    /// The next pair is that of the series before.
    #[inline]
    pub fn same(&mut self) {
        if self.changed || !self.was_ordered {
            self.check_order();
        }
        self.changed = false;
        self.at += 1;
    }

    /// The next pair, of which `packed` is all bytes; `texts` is asked for name and value of one that is new.
    ///
    /// # Errors
    /// Those of `texts`.
    pub fn other<E>(&mut self, packed: &'b [u8], texts: impl FnOnce() -> Result<(&'b str, &'b str), E>) -> Result<(), E> {
        let hash = self.hasher.hash_one(packed);
        let number = match self.numbers.find(hash, |number| self.packed[*number as usize] == packed) {
            Some(number) => *number,
            None => {
                let texts = texts()?;
                self.add(hash, packed, texts)
            }
        };
        match self.row.get_mut(self.at) {
            Some(place) => *place = number,
            None => self.row.push(number),
        }
        self.check_order();
        self.changed = true;
        self.at += 1;
        Ok(())
    }

    fn add(&mut self, hash: u64, packed: &'b [u8], texts: (&'b str, &'b str)) -> u32 {
        self.unclean |= !is_clean(packed, texts);
        let number = u32::try_from(self.texts.len()).expect("2^32 pairs do not fit in memory");
        self.packed.push(packed);
        self.texts.push(texts);
        let (all, hasher) = (&self.packed, &self.hasher);
        self.numbers.insert_unique(hash, number, |number| hasher.hash_one(all[*number as usize]));
        number
    }

    fn check_order(&mut self) {
        let name = |at: usize| self.texts[self.row[at] as usize].0;
        self.ordered &= self.at == 0 || name(self.at - 1) < name(self.at);
    }

    /// Ends the series; whether its labels are as they should be. If not [`Self::labels`] has what there is.
    pub fn end(&mut self) -> bool {
        self.row.truncate(self.at);
        let is_clean = |number: &u32| is_clean(self.packed[*number as usize], self.texts[*number as usize]);
        self.ordered && (!self.unclean || self.row.iter().all(is_clean))
    }

    /// The series that was met last, if it is as it should be; `packed` has all of its labels.
    pub fn row<'s>(&'s self, packed: &'s [u8], begins: bool) -> LabelRow<'s> {
        LabelRow { packed, numbers: &self.row, texts: &self.texts, begins }
    }

    /// The labels of the series that was met last.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&'b str, &'b str)> {
        self.row.iter().map(|number| self.texts[*number as usize])
    }

    /// The labels of the series that was met last, as they lie in the file.
    pub fn packed(&self) -> impl Iterator<Item = &'b [u8]> {
        self.row.iter().map(|number| self.packed[*number as usize])
    }

    /// How many pairs were met.
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    /// Forgets all pairs but those of the series that was met last, which get new numbers.
    pub fn begin_anew(&mut self) {
        let (packed, texts) = (std::mem::take(&mut self.packed), std::mem::take(&mut self.texts));
        self.numbers.clear();
        self.unclean = false;
        let mut row = std::mem::take(&mut self.row);
        for number in &mut row {
            let at = *number as usize;
            *number = self.add(self.hasher.hash_one(packed[at]), packed[at], texts[at]);
        }
        self.row = row;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    proptest! {
        #[test]
        fn rows_stay_what_they_are_when_numbers_begin_anew(
            rows in prop::collection::vec(prop::collection::btree_map("[a-c]{1,2}", "[xyz]", 0..5), 1..40),
            every in 1..6usize,
        ) {
            let rows: Vec<Labels> =
                rows.iter().map(|row| Labels::from_sorted(row.iter().map(|(name, value)| (name.as_str(), value.as_str())))).collect();
            let pairs: Vec<Vec<Labels>> = rows.iter().map(|row| row.iter().map(|pair| Labels::from_sorted([pair])).collect()).collect();
            let mut neighbours = Neighbours::default();
            for (at, (row, pairs)) in rows.iter().zip(&pairs).enumerate() {
                neighbours.begin();
                for (pair, texts) in pairs.iter().zip(row.iter()) {
                    if neighbours.before() == Some(pair.as_bytes()) {
                        neighbours.same();
                    } else {
                        neighbours.other(pair.as_bytes(), || Ok::<_, Infallible>(texts)).unwrap();
                    }
                }
                prop_assert!(neighbours.end());
                prop_assert!(neighbours.labels().eq(row.iter()));
                prop_assert_eq!(neighbours.packed().collect::<Vec<_>>().concat(), row.as_bytes());
                if at % every == 0 {
                    neighbours.begin_anew();
                    prop_assert!(neighbours.labels().eq(row.iter()));
                    prop_assert_eq!(neighbours.count(), row.len());
                }
            }
        }
    }
}
