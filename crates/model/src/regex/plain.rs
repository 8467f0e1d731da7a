//! Patterns whose characters alone say what they match: `a|b`, `prod-.+`, `.*east.*`, and most of what is asked.
//!
//! One pass over the text, which is far cheaper than the parser and tells no more than that would: what is plain cannot be
//! wrong, and what is not plain at first sight is left to the parser.

use super::shape::{Exact, Shape, of_literals};

/// What was seen at once.
pub(super) enum Plain {
    /// All about its matches.
    Known(Shape),
    /// It is an expression without a fault: text, dots and branches.
    Valid,
}

/// A part of a branch.
enum Piece {
    Text(String),
    /// `.*` and `.+`.
    Any {
        min: usize,
    },
    /// `.`
    One,
}

/// `None` if the pattern has something else than text, escaped punctuation, `|`, `.`, `.*` and `.+`. A dot matches a newline.
pub(super) fn plain(go: &str) -> Option<Plain> {
    let branches = branches(go)?;
    let texts = || branches.iter().map(|pieces| text(pieces).map(str::to_owned)).collect::<Option<Vec<_>>>();
    if let Some(mut literals) = texts() {
        literals.sort_unstable();
        literals.dedup();
        return Some(Plain::Known(of_literals(literals)));
    }
    let known = match branches.as_slice() {
        [pieces] => around(pieces),
        _ => None,
    };
    Some(known.map_or(Plain::Valid, Plain::Known))
}

fn branches(go: &str) -> Option<Vec<Vec<Piece>>> {
    let mut done = Vec::new();
    let mut pieces = Vec::new();
    let mut chars = go.chars();
    while let Some(c) = chars.next() {
        match c {
            '|' => done.push(std::mem::take(&mut pieces)),
            '.' => {
                let (min, rest) = match chars.as_str() {
                    rest if rest.starts_with('*') => (Some(0), &rest[1..]),
                    rest if rest.starts_with('+') => (Some(1), &rest[1..]),
                    rest => (None, rest),
                };
                chars = rest.chars();
                pieces.push(min.map_or(Piece::One, |min| Piece::Any { min }));
            }
            '\\' => push(&mut pieces, chars.next().filter(char::is_ascii_punctuation)?),
            // An operator that does not follow a dot, too.
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => push(&mut pieces, c),
        }
    }
    done.push(pieces);
    Some(done)
}

fn push(pieces: &mut Vec<Piece>, c: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.to_string())),
    }
}

/// The branch's only match.
fn text(pieces: &[Piece]) -> Option<&str> {
    match pieces {
        [] => Some(""),
        [Piece::Text(text)] => Some(text),
        _ => None,
    }
}

/// Anything with text around it, or text with anything around it.
fn around(pieces: &[Piece]) -> Option<Shape> {
    let affixes = |prefix: &str, between_min: usize, suffix: &str| Shape {
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
        exact: Some(Exact::Affixes { between_min }),
        ..Shape::default()
    };
    Some(match pieces {
        [Piece::Any { min }] => affixes("", *min, ""),
        [Piece::Text(prefix), Piece::Any { min }] => affixes(prefix, *min, ""),
        [Piece::Any { min }, Piece::Text(suffix)] => affixes("", *min, suffix),
        [Piece::Text(prefix), Piece::Any { min }, Piece::Text(suffix)] => affixes(prefix, *min, suffix),
        [Piece::Any { min: before_min }, Piece::Text(text), Piece::Any { min: after_min }] => Shape {
            contains: text.clone(),
            exact: Some(Exact::Contains { before_min: *before_min, after_min: *after_min }),
            ..Shape::default()
        },
        _ => return None,
    })
}
