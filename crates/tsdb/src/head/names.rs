//! Label names and values in use, for whoever lists them.

use super::index::Index;
use super::pairs::PairId;
use super::symbols::SymbolId;
use crate::block::SymbolPair;
use crate::compact::texts::Texts;
use crate::merge::{Order, sort_first};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use storage::{Checks, SelectError};

impl Index {
    /// The first `limit` (0 = all) label names in use, sorted; given slots, of those series only.
    ///
    /// # Errors
    /// [`SelectError::Cancelled`].
    pub fn label_names(&self, slots: Option<&RoaringBitmap>, limit: usize, checks: &Checks<'_>) -> Result<Vec<String>, SelectError> {
        let mut names: BTreeSet<SymbolId> = BTreeSet::new();
        match slots.filter(|slots| !self.slots().is_subset(slots)) {
            None => names.extend(self.pairs.dictionaries().map(|(name, _)| name)),
            Some(slots) => self.each_pair_once(slots, checks, |pair| {
                names.insert(self.pairs.name(pair));
            }),
        }
        checks.outcome()?;
        let names: Vec<&str> = names.into_iter().map(|id| self.symbols().text(id)).collect();
        sorted(names, limit, checks)
    }

    /// The first `limit` (0 = all) values of a label, sorted; given slots, of those series only.
    ///
    /// # Errors
    /// [`SelectError::Cancelled`].
    pub fn label_values(
        &self,
        name: &str,
        slots: Option<&RoaringBitmap>,
        limit: usize,
        checks: &Checks<'_>,
    ) -> Result<Vec<String>, SelectError> {
        let Some(values) = self.pairs.values(name) else { return Ok(Vec::new()) };
        let text = |pair: PairId| self.pairs.value_text(pair);
        let first = |pairs: &mut dyn Iterator<Item = PairId>| {
            let wanted = pairs.take_while(|_| checks.go_on()).take(if limit == 0 { usize::MAX } else { limit });
            let texts: Vec<String> = wanted.map(|pair| text(pair).to_owned()).collect();
            checks.outcome().map(|()| texts)
        };
        let Some(slots) = slots.filter(|slots| !self.slots().is_subset(slots)) else { return first(&mut values.iter()) };
        // Slots in limbo are in no postings: their pairs are looked at.
        if slots.len() / 4 > values.len() as u64 && slots.is_subset(self.slots()) {
            return first(&mut values.iter().filter(|pair| checks.go_on() && self.pairs.postings(*pair).meets(slots)));
        }
        let Some(name) = self.symbols().find(name) else { return Ok(Vec::new()) };
        let looked_at = slots.iter().take_while(|_| checks.go_on());
        let mut pairs: Vec<PairId> = looked_at.filter_map(|slot| self.pair_named(slot, name)).collect();
        checks.outcome()?;
        pairs.sort_unstable();
        pairs.dedup();
        let texts: Vec<&str> = pairs.into_iter().map(text).collect();
        sorted(texts, limit, checks)
    }

    /// The strings that these slots' labels use, or those of all series: the symbols of a block.
    pub fn numbered_symbols(&self, slots: Option<&[u32]>) -> Numbered {
        let mut numbers = vec![UNUSED; self.symbols().id_end()];
        let mut used: Vec<(&str, SymbolId)> = Vec::new();
        let mut add = |id: SymbolId| {
            let number = &mut numbers[id.0 as usize];
            if *number == UNUSED {
                *number = 0;
                used.push((self.symbols().text(id), id));
            }
        };
        match slots {
            Some(slots) => slots.iter().flat_map(|slot| self.pair_ids(*slot)).for_each(|pair| {
                let (name, value) = self.pairs.symbols_of(pair);
                add(name);
                add(value);
            }),
            None => {
                for (name, values) in self.pairs.dictionaries() {
                    add(name);
                    values.iter().for_each(|pair| add(self.pairs.symbols_of(pair).1));
                }
            }
        }
        // Values of a name come in order: this sort merges runs.
        used.sort_by_key(|(text, _)| *text);
        for (number, (_, id)) in (0u32..).zip(&used) {
            numbers[id.0 as usize] = number;
        }
        Numbered { texts: used.into_iter().map(|(text, _)| text).collect(), numbers }
    }

    /// The labels of a slot that has a series or is in limbo, as numbers.
    pub fn numbered_labels(&self, slot: u32, symbols: &Numbered) -> impl Iterator<Item = SymbolPair> {
        self.pair_ids(slot).map(|pair| {
            let (name, value) = self.pairs.symbols_of(pair);
            SymbolPair { name: symbols.numbers[name.0 as usize], value: symbols.numbers[value.0 as usize] }
        })
    }

    fn each_pair_once(&self, slots: &RoaringBitmap, checks: &Checks<'_>, mut visit: impl FnMut(PairId)) {
        let mut seen = vec![0u64; self.pairs.id_end().div_ceil(64)];
        for slot in slots.iter().take_while(|_| checks.go_on()) {
            for pair in self.pair_ids(slot) {
                let (word, bit) = (&mut seen[pair.0 as usize / 64], 1 << (pair.0 % 64));
                if *word & bit == 0 {
                    *word |= bit;
                    visit(pair);
                }
            }
        }
    }
}

/// Strings in order, and the numbers that they have by that.
#[derive(Debug)]
pub struct Numbered {
    pub(super) texts: Texts,
    /// By id.
    numbers: Vec<u32>,
}

impl Numbered {
    /// How many strings.
    pub fn count(&self) -> usize {
        self.texts.iter().count()
    }
}

/// In place of the number of a string that none of the series use.
const UNUSED: u32 = u32::MAX;

fn sorted(texts: Vec<&str>, limit: usize, checks: &Checks<'_>) -> Result<Vec<String>, SelectError> {
    let order = Order { sort: <[&str]>::sort_unstable, compare: |a: &&str, b: &&str| a.cmp(b) };
    Ok(sort_first(texts, limit, order, checks)?.into_iter().map(str::to_owned).collect())
}
