//! Numbers of bytes as text: `512MB`, `1GiB512MiB`. Every unit is a power of 1024.

const UNITS: [(&str, i64); 6] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40), ("P", 1 << 50), ("E", 1 << 60)];

/// Reads a size; only `0` needs no unit. Units end in `iB`, or all of them in `B`.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    parse_with(text, "iB").or_else(|_| parse_with(text, "B"))
}

fn parse_with(original: &str, suffix: &str) -> Result<i64, String> {
    let invalid = || format!("units: invalid {original}");
    let (negative, mut rest) = match original.as_bytes().first() {
        Some(b'-') => (true, &original[1..]),
        Some(b'+') => (false, &original[1..]),
        _ => (false, original),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_len = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.bytes().take_while(|byte| !byte.is_ascii_digit() && *byte != b'.').count();
        let (unit, tail) = tail.split_at(unit_len);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let factor = factor(unit, suffix).ok_or_else(|| format!("units: unknown unit {unit} in {original}"))?;
        total += number * factor as f64;
        rest = tail;
    }
    if total > i64::MAX as f64 {
        return Err("units: overflow parsing unit".to_owned());
    }
    Ok(if negative { -(total as i64) } else { total as i64 })
}

fn factor(unit: &str, suffix: &str) -> Option<i64> {
    if unit == "B" {
        return Some(1);
    }
    UNITS.iter().find(|(prefix, _)| unit.strip_prefix(prefix) == Some(suffix)).map(|(_, factor)| *factor)
}

/// Writes a size exactly, each unit at most once.
pub(crate) fn format(size: i64) -> String {
    let mut parts = Vec::new();
    let mut rest = size;
    for (at, prefix) in ["", "K", "M", "G", "T", "P", "E"].into_iter().enumerate() {
        if rest % 1024 != 0 || (at == 0 && rest == 0) {
            let suffix = if at == 0 { "B" } else { "iB" };
            parts.push(format!("{}{prefix}{suffix}", rest % 1024));
        }
        rest /= 1024;
        if rest == 0 {
            break;
        }
    }
    parts.reverse();
    parts.concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sizes_go_both_ways() {
        for (text, size, shown) in [
            ("0", 0, "0B"),
            ("15MB", 15 << 20, "15MiB"),
            ("1GiB512MiB", (1 << 30) + (512 << 20), "1GiB512MiB"),
            ("1.5KB", 1536, "1KiB512B"),
            ("-1KB", -1024, "-1KiB"),
            ("7B", 7, "7B"),
        ] {
            assert_eq!(parse(text).unwrap(), size, "{text}");
            assert_eq!(format(size), shown);
        }
        assert_eq!(parse("100").unwrap_err(), "units: unknown unit  in 100");
        assert_eq!(parse("1kB").unwrap_err(), "units: unknown unit kB in 1kB");
        assert_eq!(parse("").unwrap_err(), "units: invalid ");
        assert_eq!(parse("x").unwrap_err(), "units: invalid x");
        assert_eq!(parse("16EiB").unwrap_err(), "units: unknown unit EiB in 16EiB");
    }
}
