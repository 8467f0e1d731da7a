//! Strings as the formats and Go's messages write them.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

/// Which escapes are undone; all others stay as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// `\\` and `\n`: HELP texts of the Prometheus format.
    Help,
    /// Also `\"`: everything else.
    All,
}

/// Undoes escapes; borrows if there are none.
pub(crate) fn unescape(text: &str, escapes: Escapes) -> Cow<'_, str> {
    let Some(first) = memchr(b'\\', text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let undone = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => Some('\\'),
            Some(b'n') => Some('\n'),
            Some(b'"') if escapes == Escapes::All => Some('"'),
            _ => None,
        };
        out.push(undone.unwrap_or('\\'));
        rest = &rest[at + if undone.is_some() { 2 } else { 1 }..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Prints bytes as Go's `%q` does.
pub(crate) struct GoQuoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for GoQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| quote_char(f, c))?;
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        f.write_str("\"")
    }
}

fn quote_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        '\x07' => f.write_str("\\a"),
        '\x08' => f.write_str("\\b"),
        '\x0c' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\x0b' => f.write_str("\\v"),
        ' '..='~' => write!(f, "{c}"),
        '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(c)),
        // What Rust would escape in a string, Go does not call printable either, up to their versions of Unicode;
        // the form for a grapheme extension differs, so it is printed as it is.
        c if c.is_control() || c.is_whitespace() => write!(f, "\\u{:04x}", u32::from(c)),
        c => write!(f, "{c}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_are_undone() {
        for (text, help, all) in [
            ("plain", "plain", "plain"),
            (r"a\\b\nc", "a\\b\nc", "a\\b\nc"),
            (r#"say \"x\""#, r#"say \"x\""#, r#"say "x""#),
            (r"\t\x\\n", r"\t\x\n", r"\t\x\n"),
            (r"end\", r"end\", r"end\"),
            ("ü\\nü", "ü\nü", "ü\nü"),
        ] {
            assert_eq!(unescape(text, Escapes::Help), help);
            assert_eq!(unescape(text, Escapes::All), all);
        }
    }

    #[test]
    fn quotes_as_go_does() {
        for (bytes, want) in [(&b"a\"b\\"[..], r#""a\"b\\""#), (b"\x00\x07\n\x7f", r#""\x00\a\n\x7f""#), (b"\xff\xc3\xbc", "\"\\xffü\"")] {
            assert_eq!(GoQuoted(bytes).to_string(), want);
        }
    }
}
