#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::neighbours::LabelRow;
use model::{MatchOp, Matcher};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use storage::Cancel;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn regex(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).unwrap()
}

/// What the index is, in the simplest way.
#[derive(Default)]
struct Twin {
    alive: BTreeMap<u32, (Labels, SeriesRef)>,
    limbo: BTreeMap<u32, Labels>,
}

impl Twin {
    fn matching(&self, matchers: &[Matcher]) -> Vec<u32> {
        let fits = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
        self.alive.iter().filter(|(_, (labels, _))| fits(labels)).map(|(slot, _)| *slot).collect()
    }

    fn check(&self, index: &Index, matchers: &[Matcher]) {
        assert_eq!(index.series_count(), self.alive.len());
        for (slot, (labels, series_ref)) in &self.alive {
            assert_eq!(index.find(labels), Some(SeriesHandle { slot: Slot(*slot), series_ref: *series_ref }));
        }
        let mut packer = Packer::default();
        for (slot, labels) in self.alive.iter().map(|(slot, (labels, _))| (slot, labels)).chain(&self.limbo) {
            assert_eq!(&index.labels(*slot), labels);
            assert_eq!(&index.pack(*slot, &mut packer), labels);
        }
        let found: Vec<u32> = index.matching(matchers, &Cancel::default().checks()).iter().collect();
        assert_eq!(found, self.matching(matchers), "{matchers:?}");
        self.check_names(index, &found);

        let mut sorted: Vec<u32> = self.alive.keys().copied().collect();
        index.sort_by_labels(&mut sorted);
        assert!(sorted.is_sorted_by(|a, b| self.alive[a].0 < self.alive[b].0));
        assert_eq!(sorted.len(), self.alive.len());
    }

    fn check_names(&self, index: &Index, found: &[u32]) {
        let pairs: BTreeSet<(&str, &str)> = self.alive.values().flat_map(|(labels, _)| labels.iter()).collect();
        assert_eq!(index.pair_count(), pairs.len());
        let symbols: BTreeSet<&str> = pairs.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let numbered = index.numbered_symbols(None);
        assert!(numbered.texts.iter().eq(symbols.iter().copied()));
        let numbered_found = index.numbered_symbols(Some(found));
        for (slot, numbered) in found.iter().flat_map(|slot| [(*slot, &numbered), (*slot, &numbered_found)]) {
            let text = |number| numbered.texts.get(number).unwrap();
            let labels = index.numbered_labels(slot, numbered).map(|pair| (text(pair.name), text(pair.value)));
            assert!(labels.eq(self.alive[&slot].0.iter()));
        }
        let of_found: BTreeSet<(&str, &str)> = found.iter().flat_map(|slot| self.alive[slot].0.iter()).collect();
        let slots: RoaringBitmap = found.iter().copied().collect();
        for (pairs, slots) in [(pairs, None), (of_found, Some(&slots))] {
            let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| *name).collect();
            assert!(index.label_names(slots, 0, &Cancel::default().checks()).unwrap().iter().eq(&names));
            for name in ["a", "b", "absent"] {
                let values: BTreeSet<&str> = pairs.iter().filter(|(n, _)| *n == name).map(|(_, value)| *value).collect();
                assert!(index.label_values(name, slots, 0, &Cancel::default().checks()).unwrap().iter().eq(&values), "{name} of {slots:?}");
            }
        }
    }
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let value = prop_oneof![4 => (0..6u32).prop_map(|n| format!("v{n}")), 1 => (0..400u32).prop_map(|n| format!("w{n}"))];
    prop::collection::vec(("[abcd]", value), 0..5)
        .prop_map(|pairs| Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
    let value = prop_oneof![
        Just(""),
        Just("v1"),
        Just("v1|v2"),
        Just("v.*"),
        Just(".*3"),
        Just(".+"),
        Just(".*"),
        Just("w1.*|v[0-3]"),
        Just("|v2")
    ];
    (op, "[abcde]", value).prop_map(|(op, name, value)| regex(op, &name, value))
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<Labels>),
    /// As a replay does it.
    InsertMany(Vec<Labels>),
    /// Every so many-th series, from an offset.
    Remove(usize, usize),
    Reclaim,
    Rank(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any_labels(), 1..80).prop_map(Step::Insert),
        1 => prop::collection::vec(any_labels(), 1..80).prop_map(Step::InsertMany),
        2 => (1usize..4, 0usize..4).prop_map(|(every, from)| Step::Remove(every, from)),
        2 => Just(Step::Reclaim),
        1 => (1usize..100).prop_map(Step::Rank),
    ]
}

proptest! {
    #[test]
    fn the_index_agrees_with_its_twin(steps in prop::collection::vec((any_step(), prop::collection::vec(any_matcher(), 0..4)), 1..30)) {
        let (mut index, mut twin) = (Index::default(), Twin::default());
        let mut limbos: Vec<Limbo> = Vec::new();
        let mut next_ref = 0xfe_0000_0000;
        for (step, matchers) in steps {
            match step {
                Step::Insert(fresh) => for labels in fresh {
                    if twin.alive.values().all(|(known, _)| *known != labels) {
                        prop_assert_eq!(index.find(&labels), None);
                        let lowest = (0..).find(|slot| !twin.alive.contains_key(slot) && !twin.limbo.contains_key(slot));
                        next_ref += 1;
                        let slot = index.insert(&labels, SeriesRef(next_ref));
                        prop_assert_eq!(Some(slot.0), lowest);
                        twin.alive.insert(slot.0, (labels, SeriesRef(next_ref)));
                    }
                },
                Step::InsertMany(fresh) => {
                    for labels in &fresh {
                        next_ref += 1;
                        LabelRow::visit(labels, |row| index.prepare(&row, SeriesRef(next_ref)));
                    }
                    let mut of_labels = fresh.iter();
                    index.find_or_insert_unlisted(|_, handle, is_new| {
                        let labels = of_labels.next().unwrap();
                        let known = twin.alive.iter().find(|(_, (known, _))| known == labels);
                        let expected = known.map(|(slot, (_, series_ref))| SeriesHandle { slot: Slot(*slot), series_ref: *series_ref });
                        assert_eq!(is_new, expected.is_none());
                        if let Some(expected) = expected {
                            assert_eq!(handle, expected);
                            return;
                        }
                        let lowest = (0..).find(|slot| !twin.alive.contains_key(slot) && !twin.limbo.contains_key(slot));
                        assert_eq!(Some(handle.slot.0), lowest);
                        twin.alive.insert(handle.slot.0, (labels.clone(), handle.series_ref));
                    });
                    assert_eq!(of_labels.next(), None);
                    index.list_all();
                }
                Step::Remove(every, from) => {
                    let gone: Vec<u32> = twin.alive.keys().skip(from).step_by(every).copied().collect();
                    let limbo = index.remove(&gone);
                    prop_assert_eq!(limbo.slots(), gone.as_slice());
                    for slot in gone {
                        twin.limbo.insert(slot, twin.alive.remove(&slot).unwrap().0);
                    }
                    limbos.push(limbo);
                }
                Step::Reclaim => if let Some(limbo) = limbos.pop() {
                    limbo.slots().iter().for_each(|slot| drop(twin.limbo.remove(slot)));
                    index.reclaim(limbo);
                    while index.compact() {}
                },
                Step::Rank(count) => match index.begin_ranks() {
                    Some(mut ranker) => {
                        while index.copy_keys(&mut ranker, count.max(1)) {}
                        index.set_ranks(ranker.sort());
                    }
                    None => drop(index.extend_ranks(count)),
                },
            }
            twin.check(&index, &matchers);
        }
        // Without series nothing is left.
        limbos.push(index.remove(&twin.alive.keys().copied().collect::<Vec<_>>()));
        limbos.into_iter().for_each(|limbo| index.reclaim(limbo));
        prop_assert_eq!((index.series_count(), index.pair_count(), index.symbols().count()), (0, 0, 0));
    }
}

/// Series of 500 targets, as many of each as asked for.
fn fill(index: &mut Index, per_target: u32, generation: &str) -> Vec<u32> {
    let mut slots = Vec::new();
    for target in 0..500 {
        let instance = format!("10.0.{target}.1:9100");
        for n in 0..per_target {
            let (name, pod) = (format!("metric_{}", n % 29), format!("pod-{generation}-{target}-{}", n / 29));
            let labels = labels(&[("__name__", &name), ("instance", &instance), ("job", "node"), ("pod", &pod), ("zone", "a")]);
            slots.push(index.insert(&labels, SeriesRef(1 + u64::from(n))).0);
        }
    }
    slots
}

#[test]
fn memory_follows_the_number_of_series() {
    let mut index = Index::default();
    let first = fill(&mut index, 100, "a");
    let full = index.bytes();
    // Churn: all is replaced, a thousand at a time, four times over.
    let mut old = first;
    for generation in ["b", "c", "d", "e"] {
        for slots in old.chunks(1000) {
            let limbo = index.remove(slots);
            index.reclaim(limbo);
        }
        while index.compact() {}
        old = fill(&mut index, 100, generation);
        assert_eq!(index.slot_end(), 50_000);
    }
    assert!(index.bytes().total() < full.total() * 5 / 4, "{full:?} became {:?}", index.bytes());
    // Shrinking: nine of ten go.
    let gone: Vec<u32> = old.iter().copied().filter(|slot| slot % 10 > 0).collect();
    for slots in gone.chunks(1000) {
        let limbo = index.remove(slots);
        index.reclaim(limbo);
    }
    while index.compact() {}
    let (left, rows) = (index.bytes(), full.rows);
    assert!(left.total() - rows < full.total() / 3, "{full:?} became {left:?}");
    assert_eq!(index.matching(&[Matcher::equal("job", "node")], &Cancel::default().checks()).len(), 5000);
}

#[test]
fn sorting_agrees_with_and_without_ranks() {
    let mut index = Index::default();
    fill(&mut index, 20, "a");
    let mut compared: Vec<u32> = index.slots().iter().collect();
    index.sort_by_labels(&mut compared);
    let expected: BTreeSet<Labels> = index.slots().iter().map(|slot| index.labels(slot)).collect();
    assert!(compared.iter().map(|slot| index.labels(*slot)).eq(expected));
    while index.extend_ranks(3000) {}
    let mut ranked: Vec<u32> = index.slots().iter().collect();
    index.sort_by_labels(&mut ranked);
    assert_eq!(ranked, compared);
    assert!(index.begin_ranks().is_none());
    index.forget_ranks();
    let mut ranker = index.begin_ranks().unwrap();
    while index.copy_keys(&mut ranker, 3000) {}
    index.set_ranks(ranker.sort());
    index.sort_by_labels(&mut ranked);
    assert_eq!(ranked, compared);
    // A few of many, and some that have no rank yet.
    let new: HashSet<u32> = fill(&mut index, 1, "z").into_iter().collect();
    let mut some: Vec<u32> = index.slots().iter().filter(|slot| slot % 17 == 0 || new.contains(slot)).collect();
    index.sort_by_labels(&mut some);
    assert!(some.is_sorted_by(|a, b| index.labels(*a) < index.labels(*b)));
}

#[test]
fn cardinality_counts_and_orders_ties_by_text() {
    let mut index = Index::default();
    for (name, code) in [("up", "1"), ("up", "2"), ("b", "1"), ("a", "1"), ("c", "")] {
        index.insert(&labels(&[("__name__", name), ("code", code)]), SeriesRef(1));
    }
    let top = index.cardinality(2);
    let list = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> { pairs.iter().map(|(text, n)| ((*text).to_owned(), *n)).collect() };
    assert_eq!(top.series_by_metric, list(&[("up", 2), ("a", 1)]));
    assert_eq!(top.values_by_label, list(&[("__name__", 4), ("code", 2)]));
    // A name of 8 and a value of 2 with a byte each for their lengths, twice; three with a value of 1.
    assert_eq!(top.bytes_by_label, list(&[("__name__", 2 * 12 + 3 * 11), ("code", 4 * 7)]));
    assert_eq!(top.series_by_pair, list(&[("code=1", 3), ("__name__=up", 2)]));
    assert_eq!(top.label_pair_count, 6);
}

#[test]
fn long_label_sets_and_values_are_kept() {
    let mut index = Index::default();
    let names: Vec<String> = (0..40_000).map(|n| format!("n{n:05}")).collect();
    let many = Labels::from_sorted(names.iter().map(|name| (name.as_str(), "x")));
    let long = labels(&[("a", &"y".repeat(300_000))]);
    let slots = [&many, &long, &Labels::empty()].map(|labels| index.insert(labels, SeriesRef(7)));
    for (slot, labels) in slots.iter().zip([&many, &long, &Labels::empty()]) {
        assert_eq!(&index.labels(slot.0), labels);
        assert_eq!(index.find(labels).map(|handle| handle.slot), Some(*slot));
    }
    let limbo = index.remove(&[0, 1, 2]);
    index.reclaim(limbo);
    assert_eq!((index.series_count(), index.symbols().count()), (0, 0));
}

/// Nobody may write one, but a log of other makers may have it.
#[test]
fn a_label_without_a_name_is_packed_as_it_is() {
    let (mut index, mut packer) = (Index::default(), Packer::default());
    for pairs in [[("", "x"), ("__name__", "m")], [("", "x"), ("__name__", "n")]] {
        let slot = index.insert(&labels(&pairs), SeriesRef(1));
        assert_eq!(index.pack(slot.0, &mut packer), labels(&pairs));
    }
}
