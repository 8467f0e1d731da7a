//! What can be known of a regular expression's matches without running it.
//!
//! Works on the parsed form of the anchored pattern. Everything said here is exact or a necessary
//! condition; what is not understood is simply not said.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// More literals than this are not listed.
pub(super) const LITERALS_MAX: usize = 256;
/// Longer affixes are cut: `a{1000}` nested in groups could make them huge.
const AFFIX_MAX: usize = 1024;

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// All matches, sorted, each once.
    pub literals: Option<Vec<String>>,
    /// Every match starts with this.
    pub prefix: String,
    /// Every match ends with this.
    pub suffix: String,
    /// Every match holds this; empty if an affix says as much.
    pub contains: String,
    /// The matches are exactly the texts described so.
    pub exact: Option<Exact>,
}

/// Whole languages that need no engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exact {
    /// One of the literals.
    Literals,
    /// Prefix, at least so many characters (0 or 1), suffix.
    Affixes {
        /// 0 for `.*`, 1 for `.+`.
        between_min: usize,
    },
    /// `.*` and `.+` around the literal that is contained: at least so many characters before and after.
    Contains {
        /// Before it.
        before_min: usize,
        /// After it.
        after_min: usize,
    },
}

pub(super) fn shape(anchored: &Hir) -> Shape {
    let Some(inner) = without_anchors(anchored) else { return Shape::default() };
    if let Some(literals) = literals(&inner) {
        return of_literals(literals);
    }
    let prefix = affix(&inner, Side::Start).text;
    let suffix = affix(&inner, Side::End).text;
    let items = items(&inner);
    let mut shape = Shape { prefix: text(prefix, Side::Start), suffix: text(suffix, Side::End), ..Shape::default() };
    shape.exact = exact(&items, &mut shape.contains);
    if shape.contains.is_empty() && shape.prefix.is_empty() && shape.suffix.is_empty() {
        shape.contains = items.iter().filter_map(|item| literal_text(item)).max_by_key(|text| text.len()).unwrap_or_default();
    }
    shape
}

/// `literals` are sorted, each once.
pub(super) fn of_literals(literals: Vec<String>) -> Shape {
    let common = |a: &str, b: &str| a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y).map(|((at, _), _)| at);
    let prefix = match (literals.first(), literals.last()) {
        // Sorted, so the first and the last differ earliest.
        (Some(first), Some(last)) => first[..common(first, last).unwrap_or(first.len().min(last.len()))].to_owned(),
        _ => String::new(),
    };
    Shape { literals: Some(literals), prefix, exact: Some(Exact::Literals), ..Shape::default() }
}

/// The pattern between `^` and `$`; `None` if it is built in another way (`a)|(b` put into a wrapper).
fn without_anchors(anchored: &Hir) -> Option<Hir> {
    match anchored.kind() {
        HirKind::Concat(items) => match items.as_slice() {
            [first, inner @ .., last] if is_look(first, Look::Start) && is_look(last, Look::End) => Some(Hir::concat(inner.to_vec())),
            _ => None,
        },
        HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Capture(_)
        | HirKind::Alternation(_) => None,
    }
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

/// All matches of `hir`, sorted, if they are few.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    let mut all = match hir.kind() {
        HirKind::Empty => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8(literal.0.to_vec()).ok()?],
        HirKind::Class(Class::Unicode(class)) => {
            let count = |range: &regex_syntax::hir::ClassUnicodeRange| range.end() as usize - range.start() as usize + 1;
            if class.iter().map(count).sum::<usize>() > LITERALS_MAX {
                return None;
            }
            class.iter().flat_map(|range| range.start()..=range.end()).map(String::from).collect()
        }
        HirKind::Class(Class::Bytes(class)) => {
            let class = class.to_unicode_class()?;
            class.iter().flat_map(|range| range.start()..=range.end()).map(String::from).collect()
        }
        HirKind::Look(_) => return None,
        HirKind::Capture(capture) => literals(&capture.sub)?,
        HirKind::Repetition(repetition) => {
            let max = repetition.max.filter(|max| *max as usize <= LITERALS_MAX)?;
            let once = literals(&repetition.sub)?;
            let mut all = Vec::new();
            let mut power = vec![String::new()];
            for count in 0..=max {
                if count >= repetition.min {
                    all.extend_from_slice(&power);
                }
                if all.len() > LITERALS_MAX {
                    return None;
                }
                if count < max {
                    power = product(&power, &once)?;
                }
            }
            all
        }
        HirKind::Concat(items) => {
            let mut all = vec![String::new()];
            for item in items {
                all = product(&all, &literals(item)?)?;
            }
            all
        }
        HirKind::Alternation(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(literals(item)?);
                if all.len() > LITERALS_MAX {
                    return None;
                }
            }
            all
        }
    };
    all.sort_unstable();
    all.dedup();
    Some(all)
}

fn product(firsts: &[String], seconds: &[String]) -> Option<Vec<String>> {
    let bytes: usize = firsts.iter().chain(seconds).map(String::len).sum();
    if firsts.len() * seconds.len() > LITERALS_MAX || bytes > 1 << 16 {
        return None;
    }
    Some(firsts.iter().flat_map(|a| seconds.iter().map(move |b| format!("{a}{b}"))).collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// Bytes that every match has at one side, and whether a match is nothing else.
struct Affix {
    text: Vec<u8>,
    whole: bool,
}

fn affix(hir: &Hir, side: Side) -> Affix {
    let nothing = || Affix { text: Vec::new(), whole: false };
    let mut found = match hir.kind() {
        HirKind::Empty => Affix { text: Vec::new(), whole: true },
        HirKind::Literal(literal) => Affix { text: literal.0.to_vec(), whole: true },
        HirKind::Class(_) => nothing(),
        // It can only forbid matches: what holds without it holds with it.
        HirKind::Look(_) => Affix { text: Vec::new(), whole: true },
        HirKind::Capture(capture) => affix(&capture.sub, side),
        HirKind::Repetition(repetition) if repetition.min == 0 => nothing(),
        HirKind::Repetition(repetition) => {
            let once = affix(&repetition.sub, side);
            Affix { whole: once.whole && repetition.min == 1 && repetition.max == Some(1), text: once.text }
        }
        HirKind::Concat(items) => match side {
            Side::Start => joined(items.iter(), side),
            Side::End => joined(items.iter().rev(), side),
        },
        HirKind::Alternation(items) => {
            let mut affixes = items.iter().map(|item| affix(item, side).text);
            let first = affixes.next().unwrap_or_default();
            Affix { text: affixes.fold(first, |a, b| common(&a, &b, side)), whole: false }
        }
    };
    if found.text.len() > AFFIX_MAX {
        match side {
            Side::Start => found.text.truncate(AFFIX_MAX),
            Side::End => drop(found.text.drain(..found.text.len() - AFFIX_MAX)),
        }
        found.whole = false;
    }
    found
}

fn joined<'a>(items: impl Iterator<Item = &'a Hir>, side: Side) -> Affix {
    let mut all = Affix { text: Vec::new(), whole: true };
    for item in items {
        let next = affix(item, side);
        match side {
            Side::Start => all.text.extend_from_slice(&next.text),
            Side::End => drop(all.text.splice(0..0, next.text)),
        }
        all.whole = next.whole;
        if !next.whole || all.text.len() > AFFIX_MAX {
            all.whole = false;
            break;
        }
    }
    all
}

fn common(a: &[u8], b: &[u8], side: Side) -> Vec<u8> {
    match side {
        Side::Start => a.iter().zip(b).take_while(|(x, y)| x == y).map(|(x, _)| *x).collect(),
        Side::End => {
            let len = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
            a[a.len() - len..].to_vec()
        }
    }
}

/// Whole characters of an affix that may have been cut within one.
fn text(mut bytes: Vec<u8>, side: Side) -> String {
    match side {
        Side::Start => {
            let valid = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
            bytes.truncate(valid);
        }
        Side::End => {
            let continued = bytes.iter().take_while(|b| **b & 0xc0 == 0x80).count();
            bytes.drain(..continued);
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// The parts of a concatenation, out of their capture groups.
fn items(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().flat_map(items).collect(),
        HirKind::Capture(capture) => items(&capture.sub),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => {
            vec![hir]
        }
    }
}

fn exact(items: &[&Hir], contains: &mut String) -> Option<Exact> {
    let is_literal = |hir: &Hir| matches!(hir.kind(), HirKind::Literal(literal) if literal.0.len() <= AFFIX_MAX);
    match items {
        [before, literal, after] if is_literal(literal) => {
            let (before_min, after_min) = (any_min(before)?, any_min(after)?);
            *contains = literal_text(literal)?;
            Some(Exact::Contains { before_min, after_min })
        }
        [any] => Some(Exact::Affixes { between_min: any_min(any)? }),
        [literal, any] if is_literal(literal) => Some(Exact::Affixes { between_min: any_min(any)? }),
        [any, literal] if is_literal(literal) => Some(Exact::Affixes { between_min: any_min(any)? }),
        [first, any, last] if is_literal(first) && is_literal(last) => Some(Exact::Affixes { between_min: any_min(any)? }),
        _ => None,
    }
}

/// 0 for `.*`, 1 for `.+`, where `.` is any character at all.
fn any_min(hir: &Hir) -> Option<usize> {
    let HirKind::Repetition(repetition) = hir.kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = repetition.sub.kind() else { return None };
    let is_any = matches!(class.ranges(), [range] if range.start() == '\0' && range.end() == char::MAX);
    (is_any && repetition.max.is_none() && repetition.min <= 1).then_some(repetition.min as usize)
}

fn literal_text(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok(),
        _ => None,
    }
}
