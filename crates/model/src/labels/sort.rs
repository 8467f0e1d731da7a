//! Sorting many label sets.
//!
//! Sets that are asked for together mostly begin alike, and comparing two goes over that again. So:
//!
//! 1. Of a run of sets, all at first, the texts (names and values in turn) that all begin with are found.
//! 2. Of the next text it is found how much is the same in all.
//! 3. The sets are sorted by the eight bytes of it that come then, and by where they stood.
//! 4. Those with the same eight bytes are a run again, which is known to begin alike up to there.
//!
//! Each run is shorter, or knows more that is the same, than the one that it comes from: there is an end. Texts that end within
//! the eight bytes are filled up with zeros, and sets that end have zeros only; where that stands beside zeros that are text, sets
//! are compared.

use super::{Labels, compare_from, first_difference_from, text_at};

/// Runs no longer than this are sorted by comparing.
const COMPARED: usize = 2;

/// Sets that are the same up to a place.
struct Run {
    start: usize,
    end: usize,
    /// A text begins here, or the set ends.
    at: usize,
    /// So many bytes of the text are the same, whatever its length.
    same: usize,
}

/// Sorts by label sets; equal ones keep their order.
///
/// # Panics
/// If there are more than 2^32.
pub fn sort<T>(items: &mut [T], labels: impl Fn(&T) -> &Labels) {
    let of = |i: u32| labels(&items[i as usize]);
    let mut order = order(items.len(), of);
    for start in 0..items.len() {
        // The cycle that leads back here; what stands right is marked as such.
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at].1, at as u32) as usize;
            if from == start {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

/// Places in the order of what stands there, each with a number that is of no more use.
fn order<'a>(count: usize, labels: impl Fn(u32) -> &'a Labels) -> Vec<(u64, u32)> {
    let places = u32::try_from(count).expect("so many label sets do not fit in memory");
    let bytes = |place: u32| &*labels(place).0;
    let mut order: Vec<(u64, u32)> = (0..places).map(|place| (0, place)).collect();
    let mut runs = vec![Run { start: 0, end: count, at: 0, same: 0 }];
    while let Some(Run { start, end, mut at, mut same }) = runs.pop() {
        let run = &mut order[start..end];
        let compare = |run: &mut [(u64, u32)], at| {
            run.sort_unstable_by(|a, b| compare_from(bytes(a.1), bytes(b.1), at).then(a.1.cmp(&b.1)));
        };
        if run.len() <= COMPARED {
            compare(run, at);
            continue;
        }
        let first = bytes(run[0].1);
        let upto = alike(first, run[1..].iter().map(|(_, place)| bytes(*place)), at, same);
        while let Some(text) = text(first, at)
            && upto >= text.end
        {
            (at, same) = (text.end, 0);
        }
        let text = |place: u32| text(bytes(place), at).map(|text| text.bytes);
        let mut texts = run.iter().filter_map(|(_, place)| text(*place));
        // If all end here, they are equal.
        let Some(some) = texts.next() else { continue };
        same = texts.fold(some.len(), |least, text| common(&some[..least], text, same));
        for (key, place) in &mut *run {
            *key = text(*place).map_or(0, |text| eight(&text[same..]));
        }
        run.sort_unstable();
        let mut from = start;
        for equal in run.chunk_by_mut(|a, b| a.0 == b.0) {
            let (start, end) = (from, from + equal.len());
            from = end;
            let length = |(_, place): &(u64, u32)| text(*place).map(<[u8]>::len);
            let first = length(&equal[0]);
            if equal.len() == 1 {
                continue;
            }
            if equal.iter().all(|one| length(one).is_some_and(|length| length >= same + 8)) {
                runs.push(Run { start, end, at, same: same + 8 });
            } else if equal.iter().any(|one| length(one) != first) {
                compare(equal, at);
            } else if let Some(text) = self::text(bytes(equal[0].1), at) {
                runs.push(Run { start, end, at: text.end, same: 0 });
            }
        }
    }
    order
}

/// A text of a set, and where it ends.
struct Text<'a> {
    bytes: &'a [u8],
    end: usize,
}

/// The text whose length stands at `at`; none if the set ends there.
fn text(set: &[u8], at: usize) -> Option<Text<'_>> {
    (at < set.len()).then(|| text_at(set, at)).map(|(bytes, end)| Text { bytes, end })
}

/// How far all sets are the same, of which it is known that they are up to `same` bytes of the text at `at`; no further than there if not
/// all have a text of that length.
fn alike<'a>(first: &[u8], others: impl Iterator<Item = &'a [u8]>, at: usize, same: usize) -> usize {
    let Some(of_first) = text(first, at) else { return at };
    let length = of_first.bytes.len();
    let known = of_first.end - length + same;
    let mut upto = first.len();
    for other in others {
        if text(other, at).is_none_or(|text| text.bytes.len() != length) {
            return at;
        }
        upto = common(&first[..upto], other, known);
    }
    upto
}

/// How many bytes both begin with, of which it is known that they are `known` or more.
fn common(a: &[u8], b: &[u8], known: usize) -> usize {
    first_difference_from(a, b, known).unwrap_or(a.len().min(b.len()))
}

/// The first eight bytes, as a number of the same order.
fn eight(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let count = text.len().min(8);
    bytes[..count].copy_from_slice(&text[..count]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["[ab]{1,2}", "a{9}", "\0?"]
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof!["[ab]{1,3}", "a{6,18}b?", "a{1,2}\0{0,9}", "\0{1,2}", "a{124,130}[ab]"]
    }

    proptest! {
        #[test]
        fn sorts_as_the_standard_library(sets in proptest::collection::vec(proptest::collection::vec((name(), value()), 0..5), 0..40)) {
            let sets = sets.iter().map(|pairs| Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
            let mut items: Vec<(Labels, usize)> = sets.zip(0..).collect();
            let mut want = items.clone();
            want.sort_by(|a, b| a.0.cmp(&b.0));
            sort(&mut items, |item| &item.0);
            prop_assert_eq!(items, want);
        }
    }

    /// Whatever they have in common, each is looked at some ten times.
    #[test]
    fn long_texts_that_begin_alike_are_passed_over_at_once() {
        let common = "x".repeat(5_000);
        let numbers: [fn(usize) -> String; 3] = [|i| i.to_string(), |i| format!("{i:09}"), |i| format!("{}", 10_usize.pow(i as u32 % 10))];
        for number in numbers {
            let mut items: Vec<Labels> =
                (0..4000).map(|i| Labels::from_pairs([("a", format!("{common}{}", number(i * 7919 % 4000)).as_str())])).collect();
            let looked = std::cell::Cell::new(0);
            sort(&mut items, |item| {
                looked.set(looked.get() + 1);
                item
            });
            assert!(items.is_sorted());
            assert!(looked.get() < 40 * items.len(), "{}", looked.get());
        }
    }
}
