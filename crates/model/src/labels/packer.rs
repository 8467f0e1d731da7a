//! Label sets built one after the other, each from numbers of pairs and mostly like the one before.

use super::{Labels, push_text, text_at};

/// Builds label sets of pairs that have keys, where a key always means the same pair. A pair that the label set before has at
/// the same place is copied from there, without a look at its texts.
#[derive(Debug)]
pub struct Packer<K> {
    now: Packed<K>,
    /// What the set before has behind the pairs with which both begin.
    rest: Packed<K>,
}

/// Why there is no label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpackable {
    /// Names do not increase, or a text is empty.
    Order,
    /// A key has no texts.
    Unknown,
}

#[derive(Debug)]
struct Packed<K> {
    bytes: Vec<u8>,
    /// Each pair's key and where it ends.
    pairs: Vec<(K, usize)>,
}

impl<K> Packed<K> {
    /// Where a pair begins, at most one after the last.
    fn begin(&self, pair: usize) -> usize {
        pair.checked_sub(1).map_or(0, |before| self.pairs[before].1)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.pairs.clear();
    }

    /// Moves all pairs from this one on.
    fn split_off(&mut self, pair: usize, rest: &mut Self) {
        let begin = self.begin(pair);
        rest.clear();
        rest.bytes.extend_from_slice(&self.bytes[begin..]);
        rest.pairs.extend(self.pairs.drain(pair..).map(|(key, end)| (key, end - begin)));
        self.bytes.truncate(begin);
    }
}

impl<K> Default for Packer<K> {
    fn default() -> Self {
        let packed = || Packed { bytes: Vec::new(), pairs: Vec::new() };
        Self { now: packed(), rest: packed() }
    }
}

impl<K: PartialEq> Packer<K> {
    /// The label set of these pairs; `texts` gives a key's name and value.
    ///
    /// # Errors
    /// See [`Unpackable`].
    pub fn pack<'t>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
        texts: impl FnMut(&K) -> Option<(&'t str, &'t str)>,
    ) -> Result<Labels, Unpackable> {
        self.fill(keys.into_iter(), texts).inspect_err(|_| self.now.clear())?;
        Ok(Labels(self.now.bytes.as_slice().into()))
    }

    fn fill<'t>(
        &mut self,
        mut keys: impl Iterator<Item = K>,
        mut texts: impl FnMut(&K) -> Option<(&'t str, &'t str)>,
    ) -> Result<(), Unpackable> {
        let Self { now, rest } = self;
        // Those that come one after the other mostly begin alike: that stays where it is.
        let mut same = 0;
        let mut next = keys.next();
        while let (Some(key), Some((known, _))) = (&next, now.pairs.get(same)) {
            if key != known {
                break;
            }
            same += 1;
            next = keys.next();
        }
        now.split_off(same, rest);
        // Of pairs that stood beside each other before the order is known.
        let mut in_order = true;
        for (at, key) in next.into_iter().chain(keys).enumerate() {
            let begin = now.bytes.len();
            let kept = rest.pairs.get(at).filter(|(known, _)| *known == key);
            if let Some((_, end)) = kept {
                now.bytes.extend_from_slice(&rest.bytes[rest.begin(at)..*end]);
            } else {
                let (name, value) = texts(&key).ok_or(Unpackable::Unknown)?;
                if name.is_empty() || value.is_empty() {
                    return Err(Unpackable::Order);
                }
                push_text(&mut now.bytes, name);
                push_text(&mut now.bytes, value);
            }
            let (name, before) = (|at| text_at(&now.bytes, at).0, (same + at).checked_sub(1));
            if before.is_some_and(|before| !(in_order && kept.is_some()) && name(now.begin(before)) >= name(begin)) {
                return Err(Unpackable::Order);
            }
            in_order = kept.is_some();
            now.pairs.push((key, now.bytes.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(key: &(usize, usize)) -> Option<(&'static str, &'static str)> {
        let texts = ["", "a", "ab", "b", "c", "longer than sixteen bytes"];
        (key.1 < 7).then(|| (texts[key.0 % 6], texts[key.1 % 6]))
    }

    proptest::proptest! {
        /// Each set is one by itself, whatever came before it.
        #[test]
        fn sets_after_each_other_are_sets_one_by_one(
            sets in proptest::collection::vec((proptest::collection::btree_map(0..6usize, 1..6usize, 0..6), 0..40usize), 0..20),
        ) {
            let mut packer = Packer::default();
            for (set, fault) in sets {
                let mut keys: Vec<(usize, usize)> = set.into_iter().filter(|(name, _)| *name > 0).collect();
                match fault {
                    // What no label set may have.
                    0 => keys.push((5, 7)),
                    1 => keys.reverse(),
                    2 => keys.insert(0, (0, 1)),
                    3 => keys.push((5, 0)),
                    _ => {}
                }
                let pairs: Option<Vec<_>> = keys.iter().map(texts).collect();
                let want = match pairs {
                    Some(pairs) if !pairs.is_sorted_by(|a, b| a.0 < b.0) || pairs.iter().any(|(a, b)| a.is_empty() || b.is_empty()) => Err(Unpackable::Order),
                    Some(pairs) => Ok(Labels::from_sorted(pairs)),
                    None => Err(Unpackable::Unknown),
                };
                proptest::prop_assert_eq!(packer.pack(keys, texts), want);
            }
        }
    }
}
