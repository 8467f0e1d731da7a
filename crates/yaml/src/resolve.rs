//! What a scalar means: the implicit types of YAML 1.1 as Go's library knows them.

use crate::node::{Kind, Node};
use crate::parse::Error;

/// A scalar with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// A boolean, `yes` and `off` among them.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above every `i64`.
    Uint(u64),
    /// A number.
    Float(f64),
    /// A date, which everybody here treats as text.
    Timestamp,
    /// Text.
    Str,
    /// Decoded `!!binary`, which need not be UTF-8.
    Binary(Vec<u8>),
    /// Text with a tag that is not known.
    Other(String),
}

impl Scalar {
    /// The short tag, as messages have it.
    pub fn tag(&self) -> &str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Timestamp => "!!timestamp",
            Self::Str => "!!str",
            Self::Binary(_) => "!!binary",
            Self::Other(tag) => tag,
        }
    }
}

impl Node {
    /// The meaning of a scalar; collections resolve to text, so ask for their kind first.
    ///
    /// # Errors
    /// When the text does not hold what its explicit tag promises.
    pub fn resolve(&self) -> Result<Scalar, Error> {
        let Kind::Scalar { text, plain } = &self.kind else { return Ok(Scalar::Str) };
        let Some(tag) = self.tag.as_deref() else {
            return Ok(if *plain { implicit(text) } else { Scalar::Str });
        };
        let mismatch = |found: &Scalar| Error::Tag(format!("cannot decode {} `{text}` as a {tag}", found.tag()));
        match tag {
            "!!str" | "!" => Ok(Scalar::Str),
            "!!binary" => base64(text).map(Scalar::Binary).ok_or_else(|| Error::Tag("!!binary value contains invalid base64 data".into())),
            "!!float" => match implicit(text) {
                Scalar::Int(int) => Ok(Scalar::Float(int as f64)),
                found @ Scalar::Float(_) => Ok(found),
                found => Err(mismatch(&found)),
            },
            "!!bool" | "!!int" | "!!null" | "!!timestamp" => {
                let found = implicit(text);
                if found.tag() == tag { Ok(found) } else { Err(mismatch(&found)) }
            }
            other => Ok(Scalar::Other(other.to_owned())),
        }
    }
}

fn implicit(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'+' | b'-' => number(text),
        b'.' => float(text).unwrap_or(Scalar::Str),
        _ => Scalar::Str,
    }
}

fn number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain)).unwrap_or(Scalar::Str)
}

/// A date, or a date and a time; only the shape is looked at.
fn is_timestamp(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |part: &str| !part.is_empty() && part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let day_len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (day, time) = rest.split_at(day_len);
    year.len() == 4
        && year.bytes().all(|byte| byte.is_ascii_digit())
        && digits(month)
        && digits(day)
        && (time.is_empty() || time.starts_with(['T', 't', ' ']))
}

/// A whole number with the prefixes of Go: `0x`, `0o`, `0b`, and a bare `0` for octal.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Scalar::Int);
    }
    Some(i64::try_from(magnitude).map_or(Scalar::Uint(magnitude), Scalar::Int))
}

fn float(text: &str) -> Option<Scalar> {
    let numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let value: f64 = if numeric { text.parse().ok()? } else { return None };
    value.is_finite().then_some(Scalar::Float(value))
}

/// Standard base64 with padding; line breaks may stand anywhere.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut symbols: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let padding = symbols.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    symbols.truncate(symbols.len() - padding);
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3);
    for group in symbols.chunks(4) {
        let mut bits = 0u32;
        for (at, symbol) in group.iter().enumerate() {
            bits |= u32::from(sextet(*symbol)?) << (18 - 6 * at);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn sextet(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Scalar) {
        let node = crate::parse(text).unwrap().unwrap();
        assert_eq!(node.resolve().unwrap(), want, "{text}");
    }

    #[test]
    fn scalars_have_the_types_of_yaml_1_1() {
        check("yes", Scalar::Bool(true));
        check("Off", Scalar::Bool(false));
        check("'yes'", Scalar::Str);
        check("010", Scalar::Int(8));
        check("0o10", Scalar::Int(8));
        check("0x1F", Scalar::Int(31));
        check("-0b11", Scalar::Int(-3));
        check("1_000", Scalar::Int(1000));
        check("0", Scalar::Int(0));
        check("08", Scalar::Float(8.0));
        check("18446744073709551615", Scalar::Uint(u64::MAX));
        check("-9223372036854775808", Scalar::Int(i64::MIN));
        check("1.5e3", Scalar::Float(1500.0));
        check(".5", Scalar::Float(0.5));
        check("-.inf", Scalar::Float(f64::NEG_INFINITY));
        check("~", Scalar::Null);
        check("15s", Scalar::Str);
        check("1e", Scalar::Str);
        check("--1", Scalar::Str);
        check("2001-12-14", Scalar::Timestamp);
        check("!!str 12", Scalar::Str);
        check("!!float 12", Scalar::Float(12.0));
        check("!!binary aGk=", Scalar::Binary(b"hi".to_vec()));
        check("!!binary /w==", Scalar::Binary(vec![0xff]));
    }

    #[test]
    fn a_tag_that_lies_is_refused() {
        let refusal = |text: &str| crate::parse(text).unwrap().unwrap().resolve().unwrap_err().to_string();
        assert_eq!(refusal("!!int abc"), "yaml: cannot decode !!str `abc` as a !!int");
        assert_eq!(refusal("!!binary a"), "yaml: !!binary value contains invalid base64 data");
    }
}
