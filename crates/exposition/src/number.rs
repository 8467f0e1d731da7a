//! Numbers as Go reads them: `strconv.ParseFloat` without hexadecimal and underscores, `ParseInt`, and the float form of
//! OpenMetrics for `le` and `quantile`.

use std::borrow::Cow;

use model::number::format_plain;
use model::value::NORMAL_NAN;

use crate::text::GoQuoted;

/// A word that is no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// `p`, `P` or `_`, which Go allows in floats and the formats do not.
    #[error("unsupported character in float")]
    Character,
    /// Not a float.
    #[error("strconv.ParseFloat: parsing {}: invalid syntax", GoQuoted(.0))]
    FloatSyntax(Vec<u8>),
    /// A float above the largest.
    #[error("strconv.ParseFloat: parsing {}: value out of range", GoQuoted(.0))]
    FloatRange(Vec<u8>),
    /// An integer above 2^63-1.
    #[error("strconv.ParseInt: parsing {}: value out of range", GoQuoted(.0))]
    IntegerRange(Vec<u8>),
}

/// Reads a float; every NaN is the canonical one.
pub fn parse_float(word: &[u8]) -> Result<f64, NumberError> {
    match leading_decimal(word) {
        Some((value, length)) if length == word.len() => Ok(value),
        _ => parse_any_float(word),
    }
}

/// The same without the fast path for short decimals.
pub(crate) fn parse_any_float(word: &[u8]) -> Result<f64, NumberError> {
    if word.iter().any(|c| matches!(c, b'p' | b'P' | b'_')) {
        return Err(NumberError::Character);
    }
    let syntax = || NumberError::FloatSyntax(word.to_vec());
    let (negative, unsigned) = match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    };
    let magnitude = match unsigned.first() {
        Some(b'0'..=b'9' | b'.') => {
            let value: f64 = fast_float2::parse(unsigned).map_err(|_| syntax())?;
            if value.is_infinite() {
                return Err(NumberError::FloatRange(word.to_vec()));
            }
            value
        }
        Some(b'i' | b'I') if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") => f64::INFINITY,
        Some(b'n' | b'N') if word.eq_ignore_ascii_case(b"nan") => return Ok(NORMAL_NAN),
        _ => return Err(syntax()),
    };
    Ok(if negative { -magnitude } else { magnitude })
}

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

/// The decimal that `bytes` begin with, and its length, if it can be had exactly by one multiplication or division
/// (Clinger's fast path): at most 18 digits, a mantissa that fits 53 bits, a power of ten up to 22.
///
/// The caller checks what follows. `None` says nothing: it may be a number all the same.
#[inline]
pub(crate) fn leading_decimal(bytes: &[u8]) -> Option<(f64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let mut mantissa = 0_u64;
    while let Some(digit) = digit_at(bytes, at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        at += 1;
    }
    let mut digits = at - start;
    let mut exponent = 0_i64;
    if bytes.get(at) == Some(&b'.') {
        let point = at;
        at += 1;
        while let Some(digit) = digit_at(bytes, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        let fraction = at - point - 1;
        digits += fraction;
        exponent = -(fraction as i64);
    }
    if digits == 0 || digits > 18 || mantissa > 1 << 53 {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let (written, length) = leading_exponent(&bytes[at + 1..])?;
        exponent += written;
        at += 1 + length;
    }
    let magnitude = match exponent {
        0 => mantissa as f64,
        1..=22 => mantissa as f64 * POWERS[exponent as usize],
        -22..=-1 => mantissa as f64 / POWERS[-exponent as usize],
        _ => return None,
    };
    Some((if negative { -magnitude } else { magnitude }, at))
}

fn leading_exponent(bytes: &[u8]) -> Option<(i64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative || bytes.first() == Some(&b'+'));
    let mut at = start;
    let mut value = 0_i64;
    while let Some(digit) = digit_at(bytes, at) {
        if at - start == 3 {
            return None;
        }
        value = value * 10 + digit as i64;
        at += 1;
    }
    (at > start).then_some((if negative { -value } else { value }, at))
}

fn digit_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at).map(|c| c.wrapping_sub(b'0')).filter(|&digit| digit < 10).map(u64::from)
}

/// Reads a word of digits as `ParseInt` does.
pub(crate) fn parse_digits(word: &[u8]) -> Result<i64, NumberError> {
    word.iter()
        .try_fold(0_i64, |value, c| value.checked_mul(10)?.checked_add(i64::from(c - b'0')))
        .ok_or_else(|| NumberError::IntegerRange(word.to_vec()))
}

/// Seconds as milliseconds, cut towards zero as Go's conversion on amd64 does: what does not fit is the least integer.
pub(crate) fn millis_of_seconds(seconds: f64) -> i64 {
    let millis = seconds * 1000.0;
    // 2^63 is exact as a float, and the first that does not fit.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&millis) { millis as i64 } else { i64::MIN }
}

/// `%f` of a number that is not finite.
pub(crate) fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// The value of `le` or `quantile` in the float form of OpenMetrics; what is no number stays.
///
/// Here Go's whole grammar counts, hexadecimal and underscores included, but nobody writes bounds so: they are left as they are.
pub(crate) fn open_metrics_float(text: Cow<'_, str>) -> Cow<'_, str> {
    let Ok(value) = parse_float(text.as_bytes()) else {
        return text;
    };
    let formatted = format_bound(value);
    if formatted == *text { text } else { Cow::Owned(formatted) }
}

/// Go's `FormatFloat(v, 'g', -1, 64)` (an exponent below -4 and from 6), with `.0` behind what would look like an integer.
fn format_bound(value: f64) -> String {
    let scientific = format!("{value:e}");
    let parts = scientific.split_once('e').and_then(|(mantissa, exponent)| Some((mantissa, exponent.parse::<i32>().ok()?)));
    match parts {
        Some((mantissa, exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        // Both zeros are written alike.
        Some(_) if value == 0.0 => "0.0".into(),
        Some((mantissa, _)) if value.fract() == 0.0 && mantissa != "NaN" => format!("{value}.0"),
        _ => format_plain(value),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::value::NORMAL_NAN_BITS;
    use proptest::prelude::*;

    #[test]
    fn accepted() {
        for (word, want) in [
            ("0", 0.0),
            ("1", 1.0),
            ("-1.5", -1.5),
            ("+7", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e5", 1e5),
            ("1E+05", 1e5),
            ("2.48430592e+08", 248_430_592.0),
            ("1e-400", 0.0),
            ("1e22", 1e22),
            ("1e23", 1e23),
            ("0.1", 0.1),
            ("0.30000000000000004", 0.300_000_000_000_000_04),
            ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("0000000000000000000000000001", 1.0),
        ] {
            assert_eq!(parse_float(word.as_bytes()), Ok(want), "{word}");
        }
        assert!(parse_float(b"-0").unwrap().is_sign_negative());
        for nan in ["nan", "NaN", "NAN"] {
            assert_eq!(parse_float(nan.as_bytes()).unwrap().to_bits(), NORMAL_NAN_BITS);
        }
    }

    #[test]
    fn refused() {
        for word in [
            "", ".", "-", "+", "e5", "1e", "1e+", "1.e", "--1", "+-1", "-NaN", "+nan", "infi", "infinit", "0x10", "1,5", "1 ", " 1",
            "1.2.3", "١",
        ] {
            assert_eq!(parse_float(word.as_bytes()), Err(NumberError::FloatSyntax(word.into())), "{word}");
        }
        for word in ["1_000", "0x1p4", "0X1P4", "p", "_"] {
            assert_eq!(parse_float(word.as_bytes()), Err(NumberError::Character), "{word}");
        }
        for word in ["1e400", "-1e309", "1e999999999999"] {
            assert_eq!(parse_float(word.as_bytes()), Err(NumberError::FloatRange(word.into())), "{word}");
        }
    }

    #[test]
    fn bounds_of_buckets() {
        for (text, want) in [
            ("1", "1.0"),
            ("100", "100.0"),
            ("0.5", "0.5"),
            ("1000000", "1e+06"),
            ("+Inf", "+Inf"),
            ("inf", "+Inf"),
            ("-1", "-1.0"),
            ("1234567", "1.234567e+06"),
            ("123456", "123456.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("-0", "0.0"),
            ("0", "0.0"),
            ("nan", "NaN"),
            ("x", "x"),
            ("", ""),
        ] {
            assert_eq!(open_metrics_float(text.into()), want, "{text}");
        }
    }

    #[test]
    fn seconds_to_millis() {
        for (seconds, want) in [(1.5, 1500), (-1.0005, -1000), (1e300, i64::MIN), (-1e300, i64::MIN), (0.0019, 1)] {
            assert_eq!(millis_of_seconds(seconds), want);
        }
        assert_eq!(parse_digits(b"9223372036854775807"), Ok(i64::MAX));
        assert!(parse_digits(b"9223372036854775808").is_err());
    }

    proptest! {
        #[test]
        fn fast_path_agrees(word in "[-+]?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][-+]?[0-9]{0,4})?") {
            let (fast, plain) = (parse_float(word.as_bytes()), parse_any_float(word.as_bytes()));
            prop_assert_eq!(fast.clone().map(f64::to_bits), plain.map(f64::to_bits));
            if let Ok(value) = fast {
                prop_assert_eq!(value.to_bits(), word.parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn shortest_form_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(parse_float(format!("{value:e}").as_bytes()).unwrap().to_bits(), bits);
        }
    }
}
