//! Sorting many label sets.
//!
//! Sets that are asked for together mostly begin alike, and comparing two goes over that again. So what a run of sets has in
//! common is found once, they are sorted by the eight bytes of text behind it, and so on with those that have these in common.

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

/// Places in the order of what stands there, each with bytes that are of no more use.
fn order<'a>(count: usize, labels: impl Fn(u32) -> &'a Labels) -> Vec<(u64, u32)> {
    let places = u32::try_from(count).expect("so many label sets do not fit in memory");
    let bytes = |place: u32| &*labels(place).0;
    let mut order: Vec<(u64, u32)> = (0..places).map(|place| (0, place)).collect();
    let mut runs = vec![Run { start: 0, end: count, at: 0, same: 0 }];
    while let Some(Run { start, end, mut at, mut same }) = runs.pop() {
        let run = &mut order[start..end];
        let compared = |run: &mut [(u64, u32)]| run.sort_unstable_by(|a, b| compare_from(bytes(a.1), bytes(b.1), at).then(a.1.cmp(&b.1)));
        if run.len() <= COMPARED {
            compared(run);
            continue;
        }
        let first = bytes(run[0].1);
        let common = |other: &(u64, u32)| {
            let other = bytes(other.1);
            first_difference_from(first, other, at).unwrap_or(first.len().min(other.len()))
        };
        let differs = run[1..].iter().map(common).fold(first.len(), usize::min);
        while at < first.len() {
            let (text, end) = text_at(first, at);
            if differs < end {
                // Where the lengths are not the same, more of the texts may be.
                same = same.max(differs.saturating_sub(end - text.len()));
                break;
            }
            (at, same) = (end, 0);
        }
        // The text is as long or longer; a set that ends has none.
        let text = |place: u32| if at < bytes(place).len() { text_at(bytes(place), at).0 } else { &[] };
        for (key, place) in &mut *run {
            *key = eight(text(*place).get(same..).unwrap_or_default());
        }
        run.sort_unstable();
        let mut from = 0;
        while from < run.len() {
            let alike = run[from..].iter().take_while(|(key, _)| *key == run[from].0).count();
            let (start, end) = (start + from, start + from + alike);
            let alike = &mut run[from..from + alike];
            from += alike.len();
            if alike.len() == 1 {
                continue;
            }
            let length = text(alike[0].1).len();
            if alike.iter().all(|(_, place)| text(*place).len() >= same + 8) {
                runs.push(Run { start, end, at, same: same + 8 });
            } else if alike.iter().any(|(_, place)| text(*place).len() != length) {
                // Zeros that are text, and such that are none.
                alike.sort_unstable_by(|a, b| compare_from(bytes(a.1), bytes(b.1), at).then(a.1.cmp(&b.1)));
            } else if alike.iter().any(|(_, place)| bytes(*place) != bytes(alike[0].1)) {
                runs.push(Run { start, end, at, same: 0 });
            }
        }
    }
    order
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

    fn value() -> impl Strategy<Value = String> {
        prop_oneof!["[ab]{1,3}", "a{6,18}b?", "a{1,2}\0{0,9}", "\0{1,2}", "a{124,130}[ab]"]
    }

    proptest! {
        #[test]
        fn sorts_as_the_standard_library(sets in proptest::collection::vec(proptest::collection::vec(("[ab]{1,2}|a{9}", value()), 0..5), 0..40)) {
            let sets = sets.iter().map(|pairs| Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
            let mut items: Vec<(Labels, usize)> = sets.zip(0..).collect();
            let mut want = items.clone();
            want.sort_by(|a, b| a.0.cmp(&b.0));
            sort(&mut items, |item| &item.0);
            prop_assert_eq!(items, want);
        }
    }
}
