//! Names of metrics and labels, and Go's quoting.

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_legacy_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes[0].is_ascii_digit() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_legacy_metric_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes[0].is_ascii_digit() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b':')
}

/// The name with `_` for each character that a legacy name may not have; it may still begin with a digit. (What service
/// discovery makes of names.)
pub fn sanitize_label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// The same, but always a legacy name: also a first digit becomes `_`, and so does an empty name.
pub fn sanitize_full_label_name(name: &str) -> String {
    let sanitized = sanitize_label_name(name);
    match sanitized.chars().next() {
        None => "_".into(),
        Some(first) if first.is_ascii_digit() => format!("_{}", &sanitized[1..]),
        Some(_) => sanitized,
    }
}

/// Go's `strconv.Quote`.
pub fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// The same for bytes that may be no UTF-8.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid(), &mut out);
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_ascii() || is_printable(c) => out.push(c),
            c if c <= '\u{ffff}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
}

/// Go's `unicode.IsPrint` of what is not ASCII: neither blank, control, format nor unassigned.
fn is_printable(c: char) -> bool {
    // The standard library escapes the same in a text, but for marks at its beginning.
    let mut bytes = [b'x', 0, 0, 0, 0];
    let len = 1 + c.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..len]).is_ok_and(|text| text.escape_debug().nth(1) != Some('\\'))
}

/// Undoes the `U__` escaping of names (`U__my_2e_label` is `my.label`); a name with a wrong escape is
/// taken as it is. (Prometheus's `UnescapeName` with `ValueEncodingEscaping`.)
pub fn unescape_value_encoding(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        // `_HEX_`, at most six digits.
        let Some((digits, tail)) = rest.split_once('_') else { return name.to_owned() };
        let lower_hex = |b: u8| b.is_ascii_hexdigit();
        let code = (1..=6).contains(&digits.len()).then(|| digits.bytes().all(lower_hex)).filter(|ok| *ok);
        let character = code.and_then(|_| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
        let Some(character) = character else { return name.to_owned() };
        out.push(character);
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_as_by_go() {
        for (text, quoted) in [
            ("a\"\\\n\x01\x7f", r#""a\"\\\n\x01\x7f""#),
            ("é\u{301}日😀\u{fffd}", "\"é\u{301}日😀\u{fffd}\""),
            ("\u{a0}\u{85}\u{ad}\u{200b}\u{3000}\u{e000}", r#""\u00a0\u0085\u00ad\u200b\u3000\ue000""#),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
        assert_eq!(quote_bytes(b"a\xff"), r#""a\xff""#);
    }

    #[test]
    fn value_encoding() {
        for (escaped, name) in [
            ("U__my_2e_label", "my.label"),
            ("U__caf_e9_", "café"),
            ("U__a__b", "a_b"),
            ("plain_name", "plain_name"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__open_2e", "U__open_2e"),
        ] {
            assert_eq!(unescape_value_encoding(escaped), name, "{escaped}");
        }
    }
}
