//! From matchers to slots: set algebra over postings.
//!
//! A matcher that a missing label satisfies cannot be answered from the postings of its matching values, as series
//! without the label stand in no list. It is turned round: the series whose value does *not* match are taken away.
//! Cheap matchers run first, and matchers that need the regex engine run against only the values that are left where
//! few series are left.

use super::index::Index;
use super::symbols::SymbolId;
use model::{MatchOp, Matcher};
use roaring::RoaringBitmap;

impl Index {
    /// The slots of series that satisfy all matchers; without matchers, of all.
    pub fn matching(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let (mut adding, taking): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| !m.matches_empty());
        adding.sort_by_cached_key(|matcher| self.cost(matcher));
        let mut found: Option<RoaringBitmap> = None;
        for matcher in adding {
            let next = match &found {
                Some(found) if found.is_empty() => return RoaringBitmap::new(),
                Some(found) if found.len() < self.cost(matcher) => self.filter(found, matcher),
                _ => self.having(matcher),
            };
            found = Some(match found {
                Some(found) => found & next,
                None => next,
            });
        }
        let mut found = found.unwrap_or_else(|| self.slots().clone());
        for matcher in taking {
            if found.is_empty() {
                break;
            }
            if found.len() < self.cost(matcher) {
                found = self.filter(&found, matcher);
            } else {
                found -= self.lacking(matcher);
            }
        }
        found
    }

    /// Of these slots those that satisfy a matcher, by looking at each: for few slots and many values.
    fn filter(&self, slots: &RoaringBitmap, matcher: &Matcher) -> RoaringBitmap {
        let name = self.symbols.find(&matcher.name);
        let value_of = |slot: u32| self.pairs(slot).find(|(n, _)| Some(*n) == name).map_or("", |(_, v)| self.symbols.text(v));
        slots.iter().filter(|slot| matcher.matches(value_of(*slot))).collect()
    }

    /// About how many postings or values have to be looked at.
    fn cost(&self, matcher: &Matcher) -> u64 {
        let Some(name) = self.symbols.find(&matcher.name) else { return 0 };
        let Some(values) = self.values.get(&name) else { return 0 };
        match (matcher.op, matcher.regex().and_then(|regex| regex.literals())) {
            (MatchOp::Equal | MatchOp::NotEqual, _) => {
                if matcher.value.is_empty() {
                    return values.labelled_count();
                }
                self.symbols.find(&matcher.value).and_then(|value| self.postings.get(&(name, value))).map_or(0, |p| p.slot_count())
            }
            (MatchOp::Regex | MatchOp::NotRegex, Some(literals)) => literals.len() as u64,
            // Running the engine on a value costs some ten times a step through a list.
            (MatchOp::Regex | MatchOp::NotRegex, None) => values.len() as u64 * 10,
        }
    }

    /// Series that have the label with a matching value.
    fn having(&self, matcher: &Matcher) -> RoaringBitmap {
        self.union(matcher, true)
    }

    /// Series that have the label with a value that does not match.
    fn lacking(&self, matcher: &Matcher) -> RoaringBitmap {
        self.union(matcher, false)
    }

    /// Series that have the label with a value for which the matcher says `wanted`.
    fn union(&self, matcher: &Matcher, wanted: bool) -> RoaringBitmap {
        let mut set = RoaringBitmap::new();
        let Some(name) = self.symbols.find(&matcher.name) else { return set };
        let Some(values) = self.values.get(&name) else { return set };
        let mut add = |value: SymbolId| {
            if let Some(postings) = self.postings.get(&(name, value)) {
                postings.add_to(&mut set);
            }
        };
        match narrowed(matcher, wanted) {
            Candidates::Exactly(texts) => texts.iter().filter_map(|text| self.symbols.find(text)).for_each(&mut add),
            Candidates::WithPrefix(prefix) => {
                values.with_prefix(prefix, &self.symbols).filter(|v| matcher.matches(self.symbols.text(*v)) == wanted).for_each(&mut add);
            }
            Candidates::All => values.iter().filter(|v| matcher.matches(self.symbols.text(*v)) == wanted).for_each(&mut add),
        }
        set
    }
}

/// The values among which are all for which the matcher says `wanted`.
fn narrowed(matcher: &Matcher, wanted: bool) -> Candidates<'_> {
    // What the expression or text itself accepts is what the positive operator accepts and the negative one refuses.
    let accepted = match matcher.op {
        MatchOp::Equal | MatchOp::Regex => wanted,
        MatchOp::NotEqual | MatchOp::NotRegex => !wanted,
    };
    if !accepted {
        return Candidates::All;
    }
    match matcher.regex() {
        None => Candidates::Exactly(std::slice::from_ref(&matcher.value)),
        Some(regex) => match (regex.literals(), regex.prefix()) {
            (Some(literals), _) => Candidates::Exactly(literals),
            (None, "") => Candidates::All,
            (None, prefix) => Candidates::WithPrefix(prefix),
        },
    }
}

/// Values that may match.
enum Candidates<'m> {
    /// These and no others match.
    Exactly(&'m [String]),
    /// All that match start so.
    WithPrefix(&'m str),
    /// Any.
    All,
}
