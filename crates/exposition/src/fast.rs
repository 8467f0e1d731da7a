//! The lines that pages are made of, read without tokens.
//!
//! Each function takes a line that begins at the cursor, and either answers as the plain parser would and moves the
//! cursor, or answers `None` and leaves everything as it was. What is rare (escaped names, blanks inside braces, raw line
//! breaks, zero bytes, exemplars) and what is wrong goes the plain way.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use model::Timestamp;

use crate::Format;
use crate::entry::{Entry, Normalise, Sample};
use crate::lexer::{State, Token};
use crate::number::{leading_decimal, millis_of_seconds, parse_digits, parse_float};
use crate::plain::{Plain, metadata_entry};

/// Reads a metadata line or a sample.
#[inline]
pub(crate) fn line<'a>(plain: &mut Plain<'a>) -> Option<Entry<'a>> {
    let rest = rest(plain)?;
    match *rest.first()? {
        b'#' => metadata(plain, rest),
        c if METRIC_NAME[usize::from(c)] & START != 0 => {
            let series = series_len(rest)?;
            let (value, timestamp, length) = numbers(rest, series, plain.lexer.format)?;
            Some(sample(plain, rest, series, value, timestamp, length))
        }
        _ => None,
    }
}

/// Reads a sample without a timestamp whose series is known, by looking at its end only.
///
/// Why that is enough: lexing is deterministic and begins afresh at each line, so bytes that once were a series will be
/// lexed alike, up to what ends them; and here the byte behind them is the blank that ends them, and the rest of the line is one number.
#[inline]
pub(crate) fn known_line<'a>(plain: &mut Plain<'a>, known: &mut impl FnMut(&'a [u8], Normalise) -> bool) -> Option<Entry<'a>> {
    let rest = rest(plain)?;
    if METRIC_NAME[usize::from(*rest.first()?)] & START == 0 {
        return None;
    }
    let newline = memchr(b'\n', rest)?;
    let blank = last_blank(&rest[..newline])?;
    let (value, length) = leading_decimal(&rest[blank + 1..newline])?;
    if blank + 1 + length != newline || !known(&rest[..blank], plain.normalise) {
        return None;
    }
    Some(sample(plain, rest, blank, value, None, newline + 1))
}

fn rest<'a>(plain: &Plain<'a>) -> Option<&'a [u8]> {
    if plain.lexer.state != State::Init {
        return None;
    }
    plain.lexer.body.get(plain.lexer.at..)
}

fn sample<'a>(plain: &mut Plain<'a>, rest: &'a [u8], series: usize, value: f64, timestamp: Option<Timestamp>, length: usize) -> Entry<'a> {
    plain.lexer.at += length;
    let (normalise, format) = (plain.normalise, plain.lexer.format);
    Entry::Sample(Sample { series: &rest[..series], normalise, value, timestamp, exemplar: None, format })
}

/// The last blank of a line that ends in a number, so within few bytes of the end: eight at a time.
#[inline]
fn last_blank(line: &[u8]) -> Option<usize> {
    let mut end = line.len();
    while let Some(word) = end.checked_sub(8).and_then(|start| line[start..end].first_chunk::<8>()) {
        let blanks = zero_bytes(u64::from_le_bytes(*word) ^ (ONES * b' ' as u64));
        if blanks != 0 {
            return Some(end - 1 - blanks.leading_zeros() as usize / 8);
        }
        end -= 8;
    }
    line[..end].iter().rposition(|&c| c == b' ')
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES * 0x80;

/// The high bit of each byte that is zero, and nothing else.
fn zero_bytes(word: u64) -> u64 {
    !(((word & !HIGHS) + !HIGHS) | word | !HIGHS)
}

const START: u8 = 1;
const FURTHER: u8 = 2;

const METRIC_NAME: [u8; 256] = name_bytes(true);
const LABEL_NAME: [u8; 256] = name_bytes(false);

const fn name_bytes(colon: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut c = 0;
    while c < 256 {
        let byte = c as u8;
        if byte.is_ascii_alphabetic() || byte == b'_' || (colon && byte == b':') {
            table[c] = START | FURTHER;
        } else if byte.is_ascii_digit() {
            table[c] = FURTHER;
        }
        c += 1;
    }
    table
}

/// Where the name that begins at `at` ends, if one does.
#[inline]
fn name_end(bytes: &[u8], mut at: usize, table: &[u8; 256]) -> Option<usize> {
    if table[usize::from(*bytes.get(at)?)] & START == 0 {
        return None;
    }
    loop {
        at += 1;
        if table[usize::from(*bytes.get(at)?)] & FURTHER == 0 {
            return Some(at);
        }
    }
}

/// The length of the series that `bytes` begin with, if a blank follows it.
#[inline]
fn series_len(bytes: &[u8]) -> Option<usize> {
    let mut at = name_end(bytes, 0, &METRIC_NAME)?;
    if bytes[at] == b'{' {
        at += 1;
        while bytes.get(at) != Some(&b'}') {
            at = name_end(bytes, at, &LABEL_NAME)?;
            if bytes.get(at..at + 2)? != b"=\"" {
                return None;
            }
            at = value_end(bytes, at + 2)?;
            match bytes.get(at)? {
                b',' => at += 1,
                b'}' => {}
                _ => return None,
            }
        }
        at += 1;
    }
    (bytes.get(at) == Some(&b' ')).then_some(at)
}

/// Where the label value that begins at `start` ends: behind its quote.
#[inline]
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut ascii = true;
    loop {
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let special = special_bytes(u64::from_le_bytes(*word));
            if special != 0 {
                at += special.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match *bytes.get(at)? {
            b'"' => break,
            b'\\' if !matches!(bytes.get(at + 1)?, 0 | b'\n') => {
                // What is escaped may be the first byte of a character.
                ascii &= bytes[at + 1].is_ascii();
                at += 2;
            }
            b'\\' | 0 | b'\n' => return None,
            c => {
                ascii &= c.is_ascii();
                at += 1;
            }
        }
    }
    (ascii || std::str::from_utf8(&bytes[start..at]).is_ok()).then_some(at + 1)
}

/// The high bit of each byte that is a quote, a backslash, a control character or not ASCII; also of some bytes above one
/// that is, so only the lowest counts.
fn special_bytes(word: u64) -> u64 {
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    (quote | backslash | control | word) & HIGHS
}

/// Value and timestamp behind the series, and where the next line begins.
#[inline]
fn numbers(bytes: &[u8], series: usize, format: Format) -> Option<(f64, Option<Timestamp>, usize)> {
    let start = series + 1;
    let (value, end) = match leading_decimal(&bytes[start..]) {
        Some((value, length)) if matches!(bytes.get(start + length), Some(b'\n' | b' ')) => (value, start + length),
        _ => {
            let length = memchr2(b' ', b'\n', &bytes[start..])?;
            (parse_float(&bytes[start..start + length]).ok()?, start + length)
        }
    };
    if bytes[end] == b'\n' {
        return Some((value, None, end + 1));
    }
    let start = end + 1;
    let length = memchr2(b' ', b'\n', &bytes[start..])?;
    let word = &bytes[start..start + length];
    if bytes[start + length] != b'\n' {
        return None;
    }
    let millis = match format {
        Format::PrometheusText if !word.is_empty() && word.iter().all(u8::is_ascii_digit) => parse_digits(word).ok()?,
        Format::PrometheusText => return None,
        Format::OpenMetrics => millis_of_seconds(parse_float(word).ok().filter(|seconds| seconds.is_finite())?),
    };
    Some((value, Some(Timestamp(millis)), start + length + 1))
}

/// `# HELP name text` or `# TYPE name text`.
fn metadata<'a>(plain: &mut Plain<'a>, rest: &'a [u8]) -> Option<Entry<'a>> {
    let token = match rest.first_chunk::<7>()? {
        b"# HELP " => Token::Help,
        b"# TYPE " => Token::Type,
        _ => return None,
    };
    // A family's lines follow one another: the name has mostly just been checked.
    let known = plain.family.len();
    let again = known > 0 && rest[7..].starts_with(plain.family.as_bytes()) && rest.get(7 + known) == Some(&b' ');
    let name = if again { 7 + known } else { name_end(rest, 7, &METRIC_NAME)? };
    if rest[name] != b' ' {
        return None;
    }
    if !again {
        plain.family = std::str::from_utf8(&rest[7..name]).ok()?;
    }
    let start = name + 1;
    let newline = start + memchr(b'\n', &rest[start..])?;
    // Blanks alone are no text, and zero bytes beside it are stepped over.
    if matches!(rest[start], b' ' | b'\t' | b'\n' | 0) || rest.get(newline + 1) == Some(&0) {
        return None;
    }
    let entry = metadata_entry(plain.lexer.format, token, Cow::Borrowed(plain.family), &rest[start..newline]).ok()?;
    if let Entry::Type { kind, .. } = &entry {
        plain.normalise = Normalise::of(*kind);
    }
    plain.lexer.at += newline + 1;
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn last_blank_is_the_last(line in "[ -~]{0,40}") {
            prop_assert_eq!(last_blank(line.as_bytes()), line.rfind(' '));
        }

        #[test]
        fn last_blank_among_any_bytes(line: Vec<u8>) {
            prop_assert_eq!(last_blank(&line), line.iter().rposition(|&c| c == b' '));
        }

        #[test]
        fn lowest_special_byte(bytes: [u8; 8]) {
            let want = bytes.iter().position(|&c| !(0x20..0x80).contains(&c) || c == b'"' || c == b'\\');
            let special = special_bytes(u64::from_le_bytes(bytes));
            prop_assert_eq!((special != 0).then(|| special.trailing_zeros() as usize / 8), want);
        }
    }
}
