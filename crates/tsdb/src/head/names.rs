//! Label names and values in use, for whoever lists them.

use super::index::Index;
use super::pairs::PairId;
use super::symbols::SymbolId;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

impl Index {
    /// Label names in use, sorted; given slots, of those series only.
    pub fn label_names(&self, slots: Option<&RoaringBitmap>) -> Vec<String> {
        let mut names: BTreeSet<SymbolId> = BTreeSet::new();
        match slots.filter(|slots| !self.slots().is_subset(slots)) {
            None => names.extend(self.pairs.dictionaries().map(|(name, _)| name)),
            Some(slots) => self.each_pair_once(slots, |pair| {
                names.insert(self.pairs.name(pair));
            }),
        }
        let mut names: Vec<String> = names.into_iter().map(|id| self.symbols().text(id).to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Values of a label, sorted; given slots, of those series only.
    pub fn label_values(&self, name: &str, slots: Option<&RoaringBitmap>) -> Vec<String> {
        let Some(values) = self.pairs.values(name) else { return Vec::new() };
        let text = |pair: PairId| self.pairs.value_text(pair).to_owned();
        let Some(slots) = slots.filter(|slots| !self.slots().is_subset(slots)) else { return values.iter().map(text).collect() };
        // Slots in limbo are in no postings: their pairs are looked at.
        if slots.len() / 4 > values.len() as u64 && slots.is_subset(self.slots()) {
            return values.iter().filter(|pair| self.pairs.postings(*pair).meets(slots)).map(text).collect();
        }
        let Some(name) = self.symbols().find(name) else { return Vec::new() };
        let mut pairs: Vec<PairId> = slots.iter().filter_map(|slot| self.pair_named(slot, name)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut texts: Vec<String> = pairs.into_iter().map(text).collect();
        texts.sort_unstable();
        texts
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

    fn each_pair_once(&self, slots: &RoaringBitmap, mut visit: impl FnMut(PairId)) {
        let mut seen = vec![0u64; self.pairs.id_end().div_ceil(64)];
        for pair in slots.iter().flat_map(|slot| self.pair_ids(slot)) {
            let (word, bit) = (&mut seen[pair.0 as usize / 64], 1 << (pair.0 % 64));
            if *word & bit == 0 {
                *word |= bit;
                visit(pair);
            }
        }
    }
}
