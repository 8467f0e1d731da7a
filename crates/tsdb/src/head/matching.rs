//! From matchers to slots: set algebra over postings.
//!
//! A matcher that a missing label satisfies cannot be answered from the postings of its matching values, as series
//! without the label stand in no list. It is turned round: the series whose value does *not* match are taken away.
//!
//! Cheap matchers run first. What they left is handed to the others: of each list only the part in it is taken, and where
//! few series are left, their labels are looked at instead of all values.

use super::index::Index;
use super::pairs::PairId;
use super::postings::{Form, Postings, from_sorted};
use hashbrown::HashMap;
use model::{MatchOp, Matcher};
use roaring::RoaringBitmap;
use storage::Checks;

/// Running the regex engine on a value costs about so many steps through a list.
const ENGINE_COST: u64 = 8;
/// Finding a label of a series costs about so many.
const LABEL_COST: u64 = 8;

impl Index {
    /// The slots of series that satisfy all matchers; without matchers, of all. Worth nothing once `checks` has said no.
    pub fn matching(&self, matchers: &[Matcher], checks: &Checks<'_>) -> RoaringBitmap {
        let mut adding: Vec<(u64, &Matcher)> = Vec::with_capacity(matchers.len());
        let mut taking: Vec<(u64, &Matcher)> = Vec::new();
        for matcher in matchers {
            if matcher.matches_empty() {
                taking.push((self.cost(matcher), matcher));
            } else if let Some(cost) = self.cost_of_adding(matcher) {
                adding.push((cost, matcher));
            } else {
                return RoaringBitmap::new();
            }
        }
        adding.sort_by_key(|(cost, _)| *cost);
        taking.sort_by_key(|(cost, _)| *cost);
        let mut found: Option<RoaringBitmap> = None;
        for (cost, matcher) in adding {
            found = Some(match found {
                None => self.having(matcher, checks),
                Some(found) if found.is_empty() => return found,
                Some(found) => self.having_of(found, matcher, cost, checks),
            });
        }
        let mut found = found.unwrap_or_else(|| self.slots().clone());
        for (cost, matcher) in taking {
            if found.is_empty() {
                break;
            }
            self.take_lacking(&mut found, matcher, cost, checks);
        }
        found
    }

    /// About how many steps a matcher takes by itself.
    fn cost(&self, matcher: &Matcher) -> u64 {
        let Some(values) = self.pairs.values(&matcher.name) else { return 0 };
        match (matcher.op, matcher.regex().and_then(|regex| regex.literals())) {
            (MatchOp::Equal | MatchOp::NotEqual, _) if matcher.value.is_empty() => values.series_count(),
            (MatchOp::Equal | MatchOp::NotEqual, _) => self.postings_of(&matcher.name, &matcher.value).map_or(0, Postings::slot_count),
            (MatchOp::Regex | MatchOp::NotRegex, Some(literals)) => {
                literals.iter().filter_map(|value| self.postings_of(&matcher.name, value)).map(Postings::slot_count).sum()
            }
            (MatchOp::Regex | MatchOp::NotRegex, None) => values.len() as u64 * ENGINE_COST + values.series_count() / 8,
        }
    }

    /// The same of a matcher that needs the label; none if no series has a matching one.
    fn cost_of_adding(&self, matcher: &Matcher) -> Option<u64> {
        self.pairs.values(&matcher.name)?;
        match matcher.op {
            MatchOp::Equal => self.postings_of(&matcher.name, &matcher.value).map(Postings::slot_count),
            _ => Some(self.cost(matcher)),
        }
    }

    /// Series that have the label with a matching value.
    fn having(&self, matcher: &Matcher, checks: &Checks<'_>) -> RoaringBitmap {
        if matcher.op == MatchOp::Equal {
            return self.postings_of(&matcher.name, &matcher.value).map(Postings::to_set).unwrap_or_default();
        }
        let mut union = Union::default();
        self.each_pair(matcher, true, checks, |pair| union.add(self.pairs.postings(pair)));
        union.finish(self.slot_end())
    }

    /// Those of `found` that have the label with a matching value.
    fn having_of(&self, found: RoaringBitmap, matcher: &Matcher, cost: u64, checks: &Checks<'_>) -> RoaringBitmap {
        if matcher.op == MatchOp::Equal {
            return self.postings_of(&matcher.name, &matcher.value).map(|postings| postings.common(&found)).unwrap_or_default();
        }
        if found.len() * LABEL_COST < cost {
            return self.filter(&found, matcher, checks);
        }
        let mut union = Union::default();
        self.each_pair(matcher, true, checks, |pair| union.add_common(self.pairs.postings(pair), &found));
        union.finish(self.slot_end())
    }

    /// Takes out of `found` the series that have the label with a value that does not match.
    fn take_lacking(&self, found: &mut RoaringBitmap, matcher: &Matcher, cost: u64, checks: &Checks<'_>) {
        if found.len() * LABEL_COST < cost {
            *found = self.filter(found, matcher, checks);
            return;
        }
        self.each_pair(matcher, false, checks, |pair| self.pairs.postings(pair).take_from(found));
    }

    /// Of these slots those that satisfy a matcher, by looking at the label of each; each value is matched once.
    fn filter(&self, slots: &RoaringBitmap, matcher: &Matcher, checks: &Checks<'_>) -> RoaringBitmap {
        let Some(name) = self.symbols().find(&matcher.name) else {
            return if matcher.matches_empty() { slots.clone() } else { RoaringBitmap::new() };
        };
        let without = matcher.matches_empty();
        let mut known: HashMap<PairId, bool> = HashMap::new();
        let mut matches = |pair: PairId| *known.entry(pair).or_insert_with(|| matcher.matches(self.pairs.value_text(pair)));
        let looked_at = slots.iter().take_while(|_| checks.go_on());
        from_sorted(looked_at.filter(|slot| self.pair_named(*slot, name).map_or(without, &mut matches)))
    }

    fn postings_of(&self, name: &str, value: &str) -> Option<&Postings> {
        self.pairs.find(name, value).map(|pair| self.pairs.postings(pair)).filter(|postings| !postings.is_empty())
    }

    /// Visits the pairs of a matcher's name for whose value it says `wanted`.
    fn each_pair(&self, matcher: &Matcher, wanted: bool, checks: &Checks<'_>, mut visit: impl FnMut(PairId)) {
        let Some(values) = self.pairs.values(&matcher.name) else { return };
        let matches = |pair: &PairId| checks.go_on() && matcher.matches(self.pairs.value_text(*pair)) == wanted;
        match narrowed(matcher, wanted) {
            Candidates::Exactly(texts) => texts.iter().filter_map(|text| self.pairs.find(&matcher.name, text)).for_each(visit),
            Candidates::WithPrefix(prefix) => values.with_prefix(prefix, &self.pairs).filter(matches).for_each(visit),
            Candidates::AllBut(texts) => {
                let excepted: Vec<PairId> = texts.iter().filter_map(|text| self.pairs.find(&matcher.name, text)).collect();
                values.iter().filter(|pair| checks.go_on() && !excepted.contains(pair)).for_each(visit);
            }
            Candidates::Any => values.iter().filter(matches).for_each(&mut visit),
        }
    }
}

/// The values among which are all for which the matcher says `wanted`.
fn narrowed(matcher: &Matcher, wanted: bool) -> Candidates<'_> {
    // What the expression or text itself accepts is what the positive operator accepts and the negative one refuses.
    let accepted = match matcher.op {
        MatchOp::Equal | MatchOp::Regex => wanted,
        MatchOp::NotEqual | MatchOp::NotRegex => !wanted,
    };
    let exactly = match matcher.regex() {
        None => Some(std::slice::from_ref(&matcher.value)),
        Some(regex) => regex.literals(),
    };
    match (exactly, matcher.regex().map_or("", |regex| regex.prefix())) {
        (Some(texts), _) if accepted => Candidates::Exactly(texts),
        (Some(texts), _) if texts.len() < 8 => Candidates::AllBut(texts),
        (None, prefix) if accepted && !prefix.is_empty() => Candidates::WithPrefix(prefix),
        _ => Candidates::Any,
    }
}

/// Values that may match.
enum Candidates<'m> {
    /// These and no others match.
    Exactly(&'m [String]),
    /// All that match start so.
    WithPrefix(&'m str),
    /// These and no others do not match.
    AllBut(&'m [String]),
    /// Any.
    Any,
}

/// A union of lists that have no slot in common: those of one label.
#[derive(Default)]
struct Union {
    /// Of short lists, in no order.
    slots: Vec<u32>,
    set: RoaringBitmap,
}

impl Union {
    fn add(&mut self, postings: &Postings) {
        match postings.form() {
            Form::List(slots) => self.slots.extend_from_slice(slots),
            Form::Set(set) => self.set |= set,
        }
    }

    fn add_common(&mut self, postings: &Postings, with: &RoaringBitmap) {
        match postings.form() {
            Form::List(slots) => self.slots.extend(slots.iter().filter(|slot| with.contains(**slot))),
            Form::Set(set) => self.set |= set & with,
        }
    }

    fn finish(mut self, slot_end: u32) -> RoaringBitmap {
        let few = self.slots.len() < slot_end as usize / 64;
        let short = if few {
            self.slots.sort_unstable();
            from_sorted(self.slots.into_iter())
        } else {
            // Many: setting bits costs less than sorting.
            let mut bytes = vec![0u8; (slot_end as usize).div_ceil(8)];
            for slot in self.slots {
                bytes[slot as usize / 8] |= 1 << (slot % 8);
            }
            RoaringBitmap::from_lsb0_bytes(0, &bytes)
        };
        if self.set.is_empty() { short } else { self.set | short }
    }
}
