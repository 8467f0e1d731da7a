//! Letter case as Go's `strings.ToLower` and `strings.ToUpper`: one character becomes one character.
//!
//! Rust's own conversions use the full mappings (`ß` becomes `SS`, a final sigma differs), which
//! would give other label values than Prometheus.

pub(crate) fn to_lower(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            // Its full mapping is two characters long, the simple one is not.
            '\u{130}' => 'i',
            c => single(c.to_lowercase(), c),
        })
        .collect()
}

pub(crate) fn to_upper(text: &str) -> String {
    text.chars().map(|c| simple_upper(c).unwrap_or_else(|| single(c.to_uppercase(), c))).collect()
}

/// Greek letters with iota subscript: title case is their simple upper case, beside their own.
fn simple_upper(c: char) -> Option<char> {
    let offset = match c as u32 {
        0x1f80..=0x1faf if c as u32 & 8 == 0 => 8,
        0x1fb3 | 0x1fc3 | 0x1ff3 => 9,
        _ => return None,
    };
    char::from_u32(c as u32 + offset)
}

fn single(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => original,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_one() {
        assert_eq!(to_upper("aßéᾳ1"), "AßÉᾼ1");
        assert_eq!(to_lower("ΑΣ É İ"), "ασ é i");
    }
}
