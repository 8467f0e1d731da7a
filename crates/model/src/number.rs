//! How floats are written for users, as Go's `strconv.FormatFloat` does.

/// `FormatFloat(v, 'f', -1, 64)`: shortest digits that read back, never an exponent; `+Inf`, `-Inf`, `NaN`.
pub fn format_plain(value: f64) -> String {
    with_plain(value, str::to_owned)
}

/// Gives `write` the text of [`format_plain`], which mostly takes no memory.
pub fn with_plain<T>(value: f64, write: impl FnOnce(&str) -> T) -> T {
    if value.is_nan() {
        return write("NaN");
    }
    if value.is_infinite() {
        return write(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    if (1e-5..1e16).contains(&value.abs()) {
        // It writes no exponent between these.
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value);
        return write(text.strip_suffix(".0").unwrap_or(text));
    }
    let (sign, Decimal { digits, point }) = (if value.is_sign_negative() { "-" } else { "" }, Decimal::of(value));
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if point <= 0 && !digits.is_empty() {
        return write(&format!("{sign}0.{}{digits}", zeros(-point)));
    }
    let whole = if digits.is_empty() { "0" } else { &digits };
    write(&format!("{sign}{whole}{}", zeros(point - digits.len() as i32)))
}

/// A number's magnitude is `0.digits` times ten to the power of `point`; nought has no digits.
struct Decimal {
    /// Without noughts at the ends.
    digits: String,
    point: i32,
}

impl Decimal {
    /// The shortest that reads back, and of two that are as near the even one, as Go does (and `fmt` does not). Of finite numbers.
    fn of(value: f64) -> Self {
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let point = whole.len() as i32 + exponent.parse().unwrap_or(0) - (all.len() - digits.len()) as i32;
        Self { digits: digits.trim_end_matches('0').to_owned(), point }
    }
}

/// `FormatFloat(v, 'g', -1, 64)`: an exponent if it is below -4 or at least 6.
/// (`fmt`'s `%v` waits until 21.).
pub fn format_general(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format_plain(value);
    }
    let exponent = Decimal::of(value).point - 1;
    if (-4..6).contains(&exponent) { format_plain(value) } else { with_exponent(value) }
}

/// Is [`format_json`] the same as [`format_plain`]?
pub fn is_plain_in_json(value: f64) -> bool {
    !value.is_finite() || value == 0.0 || (1e-6..1e21).contains(&value.abs())
}

/// The form of the HTTP API's JSON: an exponent only if |v| < 1e-6 or |v| >= 1e21.
pub fn format_json(value: f64) -> String {
    if is_plain_in_json(value) {
        return format_plain(value);
    }
    with_exponent(value)
}

/// Go writes at least two digits and a sign in exponents. Of finite numbers but nought.
fn with_exponent(value: f64) -> String {
    let Decimal { digits, point } = Decimal::of(value);
    let (first, rest) = digits.split_at(digits.len().min(1));
    let (sign, dot) = (if value.is_sign_negative() { "-" } else { "" }, if rest.is_empty() { "" } else { "." });
    let exponent = point - 1;
    format!("{sign}{first}{dot}{rest}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_text_that_reads_back_and_of_two_the_even_one() {
        assert_eq!(format_plain(2_548_635_234_646_725.0 / 4.0), "637158808661681.2");
        assert_eq!(format_general(2_548_635_234_646_725.0 / 4.0), "6.371588086616812e+14");
        assert_eq!(format_plain(-2_548_635_234_646_727.0 / 4.0), "-637158808661681.8");
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..100_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            // All exponents, and more of those that occur.
            let value = if bits.is_multiple_of(4) { f64::from_bits(bits) } else { (bits >> 11) as f64 / 10f64.powi((bits % 24) as i32) };
            if value.is_finite() {
                let text = format_plain(value);
                assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{text}");
                assert!(!text.contains(['e', 'E']) && text.len() == format!("{value}").len(), "{text}, {value}");
            }
        }
    }

    #[test]
    fn as_go_writes_them() {
        for (value, plain, general, json) in [
            (1.0, "1", "1", "1"),
            (-0.0, "-0", "-0", "-0"),
            (0.1, "0.1", "0.1", "0.1"),
            (1e-7, "0.0000001", "1e-07", "1e-07"),
            (1e-5, "0.00001", "1e-05", "0.00001"),
            (123456.0, "123456", "123456", "123456"),
            (1e6, "1000000", "1e+06", "1000000"),
            (12345678.5, "12345678.5", "1.23456785e+07", "12345678.5"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN", "NaN"),
            (1.5e300, &("15".to_owned() + &"0".repeat(299)), "1.5e+300", "1.5e+300"),
        ] {
            assert_eq!(format_plain(value), plain);
            assert_eq!(format_general(value), general);
            assert_eq!(format_json(value), json);
        }
    }
}
