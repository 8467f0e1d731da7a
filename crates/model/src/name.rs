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
            c => out.push(c),
        }
    }
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
