//! Label names and values in use, for whoever lists them.

use super::index::Index;
use super::pairs::PairId;
use super::symbols::SymbolId;
use crate::merge::sort_first;
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
        Ok(sort_first(names, limit, Ord::cmp, checks)?.into_iter().map(str::to_owned).collect())
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
        Ok(sort_first(texts, limit, Ord::cmp, checks)?.into_iter().map(str::to_owned).collect())
    }

    /// All strings that label names and values use, sorted, each once: the symbols of a block of all series.
    pub fn sorted_symbols(&self) -> Vec<String> {
        let ids = self.pairs.dictionaries().flat_map(|(name, values)| {
            let texts = values.iter().map(|pair| self.pairs.value_text(pair));
            std::iter::once(self.symbols().text(name)).chain(texts)
        });
        let mut texts: Vec<&str> = ids.collect();
        // Values of a name come in order: this sort merges runs.
        texts.sort();
        texts.dedup();
        texts.into_iter().map(str::to_owned).collect()
    }

    fn each_pair_once(&self, slots: &RoaringBitmap, checks: &Checks<'_>, mut visit: impl FnMut(PairId)) {
        let mut seen = vec![0u64; self.pairs.id_end().div_ceil(64)];
        let looked_at = slots.iter().take_while(|_| checks.go_on());
        for pair in looked_at.flat_map(|slot| self.pair_ids(slot)) {
            let (word, bit) = (&mut seen[pair.0 as usize / 64], 1 << (pair.0 % 64));
            if *word & bit == 0 {
                *word |= bit;
                visit(pair);
            }
        }
    }
}
