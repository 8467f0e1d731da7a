//! A label set: pairs of names and values, sorted by name, packed in one allocation.
//!
//! # Invariants
//! - Names strictly increase (bytewise); no value is empty; all text is UTF-8.
//! - Layout: each string as a LEB128 length and its bytes; name, value, name, value, …
//!   so equality and hashing are those of one byte string.

mod packer;
mod sort;

pub use packer::{Packer, Unpackable};
pub use sort::sort;
use std::cmp::Ordering;
use std::fmt;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds the metric's type, where types are labels.
pub const METRIC_TYPE: &str = "__type__";
/// The label that holds the metric's unit, where units are labels.
pub const METRIC_UNIT: &str = "__unit__";

/// A sorted, immutable set of labels.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Box<[u8]>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Self::default()
    }

    /// From pairs whose names strictly increase and whose values are not empty.
    ///
    /// # Panics
    /// If the order is broken: our own fault, as input goes through [`LabelsBuilder`].
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::with_capacity(128);
        let mut previous: Option<&str> = None;
        for (name, value) in pairs {
            assert!(previous.is_none_or(|p| p < name), "labels out of order at {name:?}");
            debug_assert!(!value.is_empty(), "empty value of label {name:?}");
            previous = Some(name);
            push_text(&mut bytes, name);
            push_text(&mut bytes, value);
        }
        Self(bytes.into_boxed_slice())
    }

    /// From pairs in any order; empty values vanish, of repeated names the last wins.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// Pairs in order of name.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// As [`Self::iter`], as bytes.
    pub fn iter_bytes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at == self.0.len() {
                return None;
            }
            let (name, value_at) = text_at(&self.0, at);
            let (value, end) = text_at(&self.0, value_at);
            at = end;
            Some((name, value))
        })
    }

    /// The value of `name`, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric's name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// Those pairs of whose name, given as bytes, `keep` says so.
    pub fn filtered(&self, mut keep: impl FnMut(&[u8]) -> bool) -> Self {
        let mut kept = Vec::with_capacity(self.0.len());
        let mut at = 0;
        while at < self.0.len() {
            let (name, value_at) = text_at(&self.0, at);
            let (_, end) = text_at(&self.0, value_at);
            if keep(name) {
                kept.extend_from_slice(&self.0[at..end]);
            }
            at = end;
        }
        Self(kept.into_boxed_slice())
    }

    /// How many labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// No labels at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The packed bytes: equal label sets have equal bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Prometheus's order: pair by pair, name before value, the shorter set first.
    fn cmp(&self, other: &Self) -> Ordering {
        compare_from(&self.0, &other.0, 0)
    }
}

/// Compares what comes from `at` on, where in both a text begins; before it they are the same.
fn compare_from(a: &[u8], b: &[u8], mut at: usize) -> Ordering {
    // Sorting and merging series compares little else, so not text by text: the texts up to the first byte that differs are
    // the same.
    let Some(differs) = first_difference_from(a, b, at) else { return a.len().cmp(&b.len()) };
    loop {
        let (text_a, end) = text_at(a, at);
        if differs < end {
            return text_a.cmp(text_at(b, at).0);
        }
        at = end;
    }
}

impl fmt::Display for Labels {
    /// `{a="b", __name__="x"}` in label order, as Prometheus's `Labels.String`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if crate::name::is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&crate::name::quote(name))?;
            }
            write!(f, "={}", crate::name::quote(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Pairs of a [`Labels`] in order of name.
#[derive(Clone)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some((take_text(&mut self.0), take_text(&mut self.0)))
    }
}

/// The first place, at `from` or behind it, at which both have a byte, and not the same.
fn first_difference_from(a: &[u8], b: &[u8], from: usize) -> Option<usize> {
    let (a, b) = (&a[from..], &b[from..]);
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    for (at, (a, b)) in words_a.iter().zip(words_b).enumerate() {
        let differs = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differs != 0 {
            return Some(from + 8 * at + differs.trailing_zeros() as usize / 8);
        }
    }
    let same = 8 * words_a.len().min(words_b.len());
    let rest = a[same..].iter().zip(&b[same..]).position(|(a, b)| a != b)?;
    Some(from + same + rest)
}

/// The text whose length stands at `at`, and where it ends.
fn text_at(bytes: &[u8], mut at: usize) -> (&[u8], usize) {
    let (mut len, mut shift) = (0usize, 0);
    loop {
        let byte = bytes[at];
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (&bytes[at..at + len], at + len);
        }
        shift += 7;
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let mut len = text.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(text.as_bytes());
}

#[inline]
fn take_text<'a>(bytes: &mut &'a [u8]) -> &'a str {
    let (mut len, mut shift, mut at) = (0usize, 0, 0);
    loop {
        let byte = bytes[at];
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    let (text, rest) = bytes[at..].split_at(len);
    *bytes = rest;
    std::str::from_utf8(text).expect("only `push_text` writes these bytes, from a str")
}

/// Builds a [`Labels`] from changes in any order.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with what `labels` holds.
    pub fn from_labels(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Sets `name`; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) if value.is_empty() => drop(self.pairs.remove(at)),
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name`, if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// Keeps only the pairs for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, v)| keep(n, v));
        self
    }

    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(&self.pairs[at].1)
    }

    /// Pairs in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// No label set.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_last_wins_and_empty_vanishes() {
        let l = Labels::from_pairs([("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(l.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(l.get("c"), None);
        assert_eq!(l.to_string(), r#"{a="2", b="3"}"#);
    }

    #[test]
    fn order_is_pair_by_pair_not_by_packed_bytes() {
        let short = Labels::from_pairs([("a", "zz")]);
        let long = Labels::from_pairs([("a", "aaaa")]);
        assert!(long < short);
        assert!(Labels::empty() < long);
    }

    proptest::proptest! {
        #[test]
        fn filtering_keeps_whole_pairs(pairs in proptest::collection::vec(("[ab]{1,3}", "[ab]{1,9}|a{126,129}"), 0..5), kept in "[ab]{1,2}") {
            let all = Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let want = Labels::from_sorted(all.iter().filter(|(name, _)| name.starts_with(&kept)));
            proptest::prop_assert_eq!(all.filtered(|name| name.starts_with(kept.as_bytes())), want);
        }

        #[test]
        fn the_order_is_that_of_the_texts(
            a in proptest::collection::vec(("[ab]{1,3}", "[ab]{1,9}|a{126,129}"), 0..5),
            b in proptest::collection::vec(("[ab]{1,3}", "[ab]{1,9}|a{126,129}"), 0..5),
            common in 0..5usize,
        ) {
            let b: Vec<_> = a.iter().take(common).chain(&b).cloned().collect();
            let [a, b] = [&a, &b].map(|pairs| Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
            proptest::prop_assert_eq!(a.cmp(&b), a.iter().cmp(b.iter()));
        }
    }

    #[test]
    fn long_values_round_trip() {
        let long = "x".repeat(70_000);
        let l = Labels::from_pairs([("a", long.as_str()), ("b", "y")]);
        assert_eq!(l.get("a"), Some(long.as_str()));
        assert_eq!(l.get("b"), Some("y"));
    }
}
