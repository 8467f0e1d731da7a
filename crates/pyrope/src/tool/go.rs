//! Numbers, durations, times, sizes and tables as Go's libraries print them.

use std::io::{self, Write};
use time::OffsetDateTime;

/// `time.Duration`'s text: `1h39m23.625s`, `29.95s`, `500ms`, `0s`.
pub fn duration(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let all = milliseconds.unsigned_abs();
    if all == 0 {
        return "0s".into();
    }
    if all < 1_000 {
        return format!("{sign}{all}ms");
    }
    let (hours, minutes) = (all / 3_600_000, all / 60_000 % 60);
    let (seconds, rest) = (all / 1_000 % 60, all % 1_000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}").trim_end_matches('0').to_owned() };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// `time.Time`'s text in UTC, of whole seconds: `2026-11-21 00:20:34 +0000 UTC`; as a number where there is no such time.
pub fn time(milliseconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(milliseconds / 1_000) {
        Ok(t) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} +0000 UTC",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        ),
        Err(_) => milliseconds.to_string(),
    }
}

/// `units.Base2Bytes`'s text: each power of 1,024 that is not zero, the largest first: `108KiB31B`.
pub fn bytes(count: u64) -> String {
    let mut parts = Vec::new();
    let mut rest = count;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if !rest.is_multiple_of(1_024) || count == 0 {
            parts.push(format!("{}{unit}", rest % 1_024));
        }
        rest /= 1_024;
        if rest == 0 {
            break;
        }
    }
    parts.reverse();
    parts.concat()
}

/// `%v` of a float: as `%g`, but with an exponent only from 1e21 on.
pub fn value(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e21).contains(&magnitude) { model::number::format_plain(value) } else { general(value) }
}

/// `%g` of a float.
pub fn general(value: f64) -> String {
    model::number::format_general(value)
}

/// Prints rows with aligned columns, as a `tabwriter` of at least 13 characters a cell and two between does.
pub fn table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count() + 2).max().unwrap_or(0).max(13);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if i + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', widths[i].saturating_sub(cell.chars().count())));
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ms, want) in [
            (0, "0s"),
            (1, "1ms"),
            (29_950, "29.95s"),
            (60_000, "1m0s"),
            (7_200_000, "2h0m0s"),
            (5_963_625, "1h39m23.625s"),
            (-1_500, "-1.5s"),
            (864_000_000, "240h0m0s"),
        ] {
            assert_eq!(duration(ms), want);
        }
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(time(1_795_220_434_627), "2026-11-21 00:20:34 +0000 UTC");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
        for (count, want) in [
            (0, "0B"),
            (1, "1B"),
            (1_024, "1KiB"),
            (110_623, "108KiB31B"),
            (1 << 40, "1TiB"),
            (u64::MAX, "15EiB1023PiB1023TiB1023GiB1023MiB1023KiB1023B"),
        ] {
            assert_eq!(bytes(count), want);
        }
    }

    #[test]
    fn floats() {
        for (v, g, any) in [
            (1e6, "1e+06", "1000000"),
            (0.00001, "1e-05", "1e-05"),
            (0.0, "0", "0"),
            (1e21, "1e+21", "1e+21"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (2.5, "2.5", "2.5"),
        ] {
            assert_eq!((general(v), value(v)), (g.to_owned(), any.to_owned()));
        }
    }
}
