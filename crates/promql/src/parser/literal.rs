//! The values of numbers, durations and quoted texts, as Go's `strconv` and Prometheus's `strutil` read them.

use super::{Fail, Parsed, Parser};
use crate::ast::NumberLiteral;
use crate::lexer::{Kind, Token};

impl<'a> Parser<'a> {
    /// The literal of a number or duration token just taken.
    pub(super) fn number(&self, token: Token<'_>) -> Parsed<NumberLiteral> {
        let duration = token.kind == Kind::Duration;
        let value = if duration { duration_seconds(token.text) } else { number_value(token.text) };
        let value = value.map_err(|message| self.fail(token.span(), message))?;
        Ok(NumberLiteral { value, duration, span: token.span() })
    }

    /// A number or a duration, with a sign or without.
    pub(super) fn signed_number(&mut self) -> Parsed<NumberLiteral> {
        let sign = self.accept_sign()?;
        let token = self.number_token()?;
        let mut number = self.number(token)?;
        if let Some((negative, start)) = sign {
            number.span.start = start;
            if negative {
                number.value = -number.value;
            }
        }
        Ok(number)
    }

    pub(super) fn number_token(&mut self) -> Parsed<Token<'a>> {
        match self.peek()?.kind {
            Kind::Number | Kind::Duration => self.next(),
            _ => Err(Fail::Unexpected),
        }
    }

    /// Whether it is negative, and where it stands.
    pub(super) fn accept_sign(&mut self) -> Parsed<Option<(bool, usize)>> {
        use crate::ast::BinaryOp::{Add, Sub};
        match self.peek()?.kind {
            Kind::Binary(op @ (Add | Sub)) => {
                let token = self.next()?;
                Ok(Some((op == Sub, token.start)))
            }
            _ => Ok(None),
        }
    }
}

fn duration_seconds(text: &str) -> Result<f64, String> {
    let span = model::duration::parse(text).map_err(|error| error.to_string())?;
    Ok((span.0 / 1000) as f64 + (span.0 % 1000) as f64 / 1000.0)
}

/// An integer in Go's notation, else a float. The lexer has seen to it that underscores stand between digits.
fn number_value(text: &str) -> Result<f64, String> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let lower = plain.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).map(|value| value as f64).map_err(|_| syntax_error(text));
    }
    let octal = plain.len() > 1 && plain.starts_with('0');
    if let Ok(value) = i64::from_str_radix(&plain, if octal { 8 } else { 10 }) {
        return Ok(value as f64);
    }
    match lower.parse::<f64>() {
        Ok(value) if value.is_nan() => Ok(model::value::NORMAL_NAN),
        Ok(value) if value.is_infinite() && lower != "inf" => Err(parse_error(text, "value out of range")),
        Ok(value) => Ok(value),
        Err(_) => Err(syntax_error(text)),
    }
}

fn syntax_error(text: &str) -> String {
    parse_error(text, "invalid syntax")
}

fn parse_error(text: &str, why: &str) -> String {
    format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", model::name::quote(text))
}

/// The value of a text that the lexer took for quoted, hence without faults.
///
/// Bytes that escapes put together to something that is no UTF-8 become replacement characters, as label values are UTF-8.
pub(super) fn unquote(quoted: &str) -> String {
    unquote_bytes(quoted).unwrap_or_else(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The same; bytes that are no UTF-8 are the error.
pub(super) fn unquote_bytes(quoted: &str) -> Result<String, Vec<u8>> {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    if quoted.starts_with('`') || !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            unescape(&mut chars, &mut bytes);
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes)
}

fn unescape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) {
    let Some(kind) = chars.next() else { return };
    let simple = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '\'' => b'\'',
        '"' => b'"',
        'x' => code(chars, 0, 2, 16) as u8,
        '0'..='7' => code(chars, kind.to_digit(8).unwrap_or(0), 2, 8) as u8,
        'u' | 'U' => {
            let number = code(chars, 0, if kind == 'u' { 4 } else { 8 }, 16);
            let c = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        other => {
            bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
    };
    bytes.push(simple);
}

fn code(chars: &mut std::str::Chars<'_>, first: u32, digits: usize, base: u32) -> u32 {
    chars.take(digits).fold(first, |value, c| value.wrapping_mul(base).wrapping_add(c.to_digit(base).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_reads_them() {
        for (text, want) in [
            ("0", 0.0),
            ("017", 15.0),
            ("08", 8.0),
            ("0_17", 15.0),
            ("1_000", 1000.0),
            ("0x1F", 31.0),
            ("0X_1f", 31.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1.5E-3", 0.0015),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("inf", f64::INFINITY),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(number_value(text), Ok(want), "{text}");
        }
        assert!(number_value("NaN").is_ok_and(f64::is_nan));
        for (text, why) in [("1e", "invalid syntax"), ("1e999", "value out of range"), ("0xffffffffffffffffff", "invalid syntax")] {
            assert_eq!(number_value(text), Err(parse_error(text, why)), "{text}");
        }
    }

    #[test]
    fn quoted_texts() {
        for (quoted, want) in [
            (r#""""#, ""),
            (r#"'a"b'"#, "a\"b"),
            (r"'it\'s'", "it's"),
            (r"`\n`", "\\n"),
            (r#""\a\b\f\n\r\t\v\\\"""#, "\x07\x08\x0c\n\r\t\x0b\\\""),
            (r#""\x41\101\u0041\U00000041""#, "AAAA"),
            (r#""\xc3\xa9""#, "é"),
            (r#""\xff""#, "\u{fffd}"),
            (r#""日\u672c""#, "日本"),
        ] {
            assert_eq!(unquote(quoted), want, "{quoted}");
        }
    }
}
