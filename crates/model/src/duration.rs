//! Prometheus's duration text: `1h30m`, units `y w d h m s ms`, each at most once and in that order.

use crate::Millis;
use std::fmt;

/// The text is not a duration; the messages are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Nothing there.
    Empty,
    /// Not of the form.
    Syntax(String),
    /// No unit of ours.
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than 292 years (Go's range of nanoseconds).
    OutOfRange,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty duration string"),
            Self::Syntax(text) => write!(f, "not a valid duration string: {}", crate::name::quote(text)),
            Self::UnknownUnit { unit, text } => {
                write!(f, "unknown unit {} in duration {}", crate::name::quote(unit), crate::name::quote(text))
            }
            Self::OutOfRange => f.write_str("duration out of range"),
        }
    }
}
impl std::error::Error for DurationError {}

const UNITS: [(&str, i64); 7] =
    [("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration; `0` needs no unit.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Millis, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(Millis(0)),
        _ => {}
    }
    let syntax = || DurationError::Syntax(text.to_owned());
    let (mut rest, mut next_unit, mut total) = (text, 0, 0i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(syntax)?;
        if digits == 0 {
            return Err(syntax());
        }
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        if unit.is_empty() {
            return Err(syntax());
        }
        let unknown = || DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() };
        let at = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(unknown)?;
        if at < next_unit {
            return Err(syntax());
        }
        next_unit = at + 1;
        let number: i64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = number
            .checked_mul(UNITS[at].1)
            .and_then(|span| total.checked_add(span))
            .filter(|total| *total <= i64::MAX / 1_000_000)
            .ok_or(DurationError::OutOfRange)?;
        rest = tail;
    }
    Ok(Millis(total))
}

/// Writes a duration as Prometheus's `model.Duration.String`: years, weeks and days only where nothing is left over.
pub fn format(span: Millis) -> String {
    let mut left = span.0;
    if left == 0 {
        return "0s".into();
    }
    let mut out = String::new();
    if left < 0 {
        out.push('-');
        left = left.saturating_neg();
    }
    for (i, (unit, size)) in UNITS.iter().enumerate() {
        let exact_only = i < 3;
        if exact_only && left % size != 0 {
            continue;
        }
        if left >= *size {
            out.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, millis, back) in [
            ("0", 0, "0s"),
            ("15s", 15_000, "15s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("36h", 129_600_000, "36h"),
            ("14d", 1_209_600_000, "2w"),
            ("1y", 31_536_000_000, "1y"),
            ("1001ms", 1001, "1s1ms"),
        ] {
            assert_eq!(parse(text), Ok(Millis(millis)), "{text}");
            assert_eq!(format(Millis(millis)), back, "{text}");
        }
        for bad in ["", "1", "s", "1m1h", "1s1s", "-1s", "1.5h", "1 s", "99999999999y"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for (bad, why) in [
            ("5y1hs", "unknown unit \"hs\" in duration \"5y1hs\""),
            ("5m1h", "not a valid duration string: \"5m1h\""),
            ("", "empty duration string"),
        ] {
            assert_eq!(parse(bad).map_err(|error| error.to_string()), Err(why.to_owned()));
        }
    }
}
