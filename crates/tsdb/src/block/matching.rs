//! From matchers to series of a block: set algebra over postings.
//!
//! A matcher that a missing label satisfies cannot be answered from the postings of its matching values, as series without
//! the label stand in no list. It is turned round: the series whose value does *not* match are taken away. Cheap matchers
//! run first; where few series are left and a matcher would have to look at many values, the series are looked at instead.

use super::SeriesId;
use super::index::{Corrupt, Index};
use model::{MatchOp, Matcher};
use roaring::RoaringBitmap;
use std::iter::Peekable;
use storage::Checks;

/// The ids of series that satisfy all matchers; without matchers, of all. Worth nothing once `checks` has said no.
pub(super) fn matching(index: &Index, matchers: &[Matcher], checks: &Checks<'_>) -> Result<RoaringBitmap, Corrupt> {
    let (mut adding, taking): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| !m.matches_empty());
    adding.sort_by_cached_key(|matcher| cost(index, matcher));
    let mut adding = adding.into_iter().peekable();
    let mut found = common_to_lists(index, &mut adding)?;
    for matcher in adding {
        found = Some(match found {
            Some(found) if found.is_empty() => return Ok(found),
            Some(found) if worth_looking(found.len(), index, matcher) => filter(index, &found, matcher, checks)?,
            Some(found) => match single(index, matcher) {
                Some(place) => set(common(found.iter(), index.postings(place)?)?.into_iter())?,
                None => found & union(index, matcher, true, checks)?,
            },
            None => union(index, matcher, true, checks)?,
        });
    }
    let mut found = match found {
        Some(found) => found,
        None => set(index.all_postings()?)?,
    };
    for matcher in taking {
        if found.is_empty() {
            break;
        }
        if worth_looking(found.len(), index, matcher) {
            found = filter(index, &found, matcher, checks)?;
        } else {
            found -= union(index, matcher, false, checks)?;
        }
    }
    Ok(found)
}

fn set(ids: impl Iterator<Item = u32>) -> Result<RoaringBitmap, Corrupt> {
    RoaringBitmap::from_sorted_iter(ids).map_err(|_| Corrupt::POSTINGS_ORDER)
}

/// Reading and comparing an entry costs some ten times a step through a list.
fn worth_looking(found: u64, index: &Index, matcher: &Matcher) -> bool {
    found.saturating_mul(10) < cost(index, matcher)
}

/// Of these series those that satisfy a matcher, by looking at each.
fn filter(index: &Index, ids: &RoaringBitmap, matcher: &Matcher, checks: &Checks<'_>) -> Result<RoaringBitmap, Corrupt> {
    let name = index.find_symbol(&matcher.name);
    let kept = |id: &u32| {
        let mut value = Some("");
        let read = index.pairs(SeriesId(*id), |n, v| {
            if Some(n) == name {
                value = index.symbol(v);
            }
        });
        // A damaged entry is kept: whoever reads it next says so.
        read.is_err() || value.is_none_or(|value| matcher.matches(value))
    };
    set(ids.iter().take_while(|_| checks.go_on()).filter(kept))
}

/// About how many postings or values have to be looked at.
fn cost(index: &Index, matcher: &Matcher) -> u64 {
    let values = index.value_count(&matcher.name) as u64;
    match (matcher.op, matcher.regex().and_then(|regex| regex.literals())) {
        (MatchOp::Equal | MatchOp::NotEqual, _) if matcher.value.is_empty() => values * 10,
        (MatchOp::Equal | MatchOp::NotEqual, _) => index.find(&matcher.name, &matcher.value).map_or(0, |place| index.postings_len(place)),
        (MatchOp::Regex | MatchOp::NotRegex, Some(literals)) => literals.len() as u64 * 10,
        // Running the engine on a value costs some ten times a step through a list.
        (MatchOp::Regex | MatchOp::NotRegex, None) => values * 10,
    }
}

/// Series that have the label with a value for which the matcher says `wanted`.
fn union(index: &Index, matcher: &Matcher, wanted: bool, checks: &Checks<'_>) -> Result<RoaringBitmap, Corrupt> {
    let name = matcher.name.as_str();
    // What the expression or text itself accepts is what the positive operator accepts and the negative one refuses.
    let accepted = match matcher.op {
        MatchOp::Equal | MatchOp::Regex => wanted,
        MatchOp::NotEqual | MatchOp::NotRegex => !wanted,
    };
    let asked = |(value, place): (&str, u64)| (checks.go_on() && matcher.matches(value) == wanted).then_some(place);
    match matcher.regex() {
        None if accepted => lists(index, index.find(name, &matcher.value)),
        Some(regex) if accepted => match (regex.literals(), regex.prefix()) {
            (Some(literals), _) => lists(index, literals.iter().filter_map(|literal| index.find(name, literal))),
            (None, "") => lists(index, index.values(name).filter_map(asked)),
            (None, prefix) => lists(index, index.values_with_prefix(name, prefix).filter_map(asked)),
        },
        _ => lists(index, index.values(name).filter_map(asked)),
    }
}

/// The list that a matcher stands for, if that is one.
fn single(index: &Index, matcher: &Matcher) -> Option<u64> {
    if matcher.op == MatchOp::Equal { index.find(&matcher.name, &matcher.value) } else { None }
}

/// The series that those of the first matchers take which stand for one list, if the first of these is short: to make a set of it
/// would cost more than all the rest.
fn common_to_lists<'m>(
    index: &Index,
    matchers: &mut Peekable<impl Iterator<Item = &'m Matcher>>,
) -> Result<Option<RoaringBitmap>, Corrupt> {
    let mut found: Option<Vec<u32>> = None;
    while let Some((matcher, place)) = matchers.peek().and_then(|matcher| Some((*matcher, single(index, matcher)?))) {
        found = match found {
            None if index.postings_len(place) > LONG as u64 => break,
            None => Some(ascending(index.postings(place)?.collect())),
            Some(found) if worth_looking(found.len() as u64, index, matcher) => return Ok(Some(set(found.into_iter())?)),
            Some(found) => Some(common(found.into_iter(), index.postings(place)?)?),
        };
        matchers.next();
    }
    found.map(|found| set(found.into_iter())).transpose()
}

/// Those of a damaged list may be in any order, or there twice.
fn ascending(mut ids: Vec<u32>) -> Vec<u32> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Those of ascending ids that are in a list too.
fn common(found: impl Iterator<Item = u32>, mut ids: impl Iterator<Item = u32>) -> Result<Vec<u32>, Corrupt> {
    let (mut at, mut sorted) = (ids.next(), true);
    let mut in_list = |id: u32| {
        while let Some(other) = at.filter(|other| *other < id) {
            at = ids.next();
            sorted &= at.is_none_or(|next| other < next);
        }
        at == Some(id)
    };
    let both = found.filter(|id| in_list(*id)).collect();
    in_list(u32::MAX);
    if sorted { Ok(both) } else { Err(Corrupt::POSTINGS_ORDER) }
}

/// The series of any of these lists.
fn lists(index: &Index, places: impl IntoIterator<Item = u64>) -> Result<RoaringBitmap, Corrupt> {
    let mut all = RoaringBitmap::new();
    // Most lists are short, and lists of one name share no series: collected and sorted, they are one list.
    let mut short: Vec<u32> = Vec::new();
    for place in places {
        let ids = index.postings(place)?;
        if ids.len() > LONG {
            all |= set(ids)?;
            continue;
        }
        short.extend(ids);
        if short.len() > SHORT_TOGETHER {
            add(&mut all, &mut short)?;
        }
    }
    add(&mut all, &mut short)?;
    Ok(all)
}

/// Lists longer than this become sets by themselves.
const LONG: usize = 4096;
/// So many entries of short lists are sorted at a time.
const SHORT_TOGETHER: usize = 1 << 20;

fn add(all: &mut RoaringBitmap, short: &mut Vec<u32>) -> Result<(), Corrupt> {
    // A damaged index may have a series in two lists of one name.
    *all |= set(ascending(std::mem::take(short)).into_iter())?;
    Ok(())
}
