//! Calendar fields of Unix seconds in UTC, proleptic Gregorian as in Go.

/// A civil date with the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// 0 = Sunday.
    pub weekday: i64,
    /// From 1.
    pub year_day: i64,
}

const DAY: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const ERA_SHIFT: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// Seconds from the first one that Go's dates know to 1970; times before it wrap around to the far end.
const YEAR_ZERO: i64 = 9_223_372_028_741_760_000;
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

impl Civil {
    /// The date of so many seconds of a query's value. What is no 64-bit number of seconds is the least one, as it is
    /// for Prometheus on x86.
    pub fn from_value(seconds: f64) -> Self {
        let fits = (-TWO_TO_63..TWO_TO_63).contains(&seconds);
        Self::from_unix(if fits { seconds as i64 } else { i64::MIN })
    }

    /// The date of so many seconds after (or before) the epoch, by counting from March, so that
    /// leap days come last in their year.
    pub fn from_unix(seconds: i64) -> Self {
        let seconds = i128::from(seconds.wrapping_add(YEAR_ZERO) as u64) - i128::from(YEAR_ZERO);
        // The quotient of at most 65 bits fits, the rest is below a day.
        let days = seconds.div_euclid(i128::from(DAY)) as i64;
        let rest = seconds.rem_euclid(i128::from(DAY)) as i64;
        let shifted = days + ERA_SHIFT;
        let era = shifted.div_euclid(ERA);
        let day_of_era = shifted.rem_euclid(ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let before_month: i64 = (1..month).map(|m| days_in_month(year, m)).sum();
        Self {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7),
            year_day: before_month + day,
        }
    }

    pub fn days_in_month(&self) -> i64 {
        days_in_month(self.year, self.month)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `2006-01-02T15:04:05Z`
pub(crate) fn rfc3339(seconds: i64) -> String {
    let c = Civil::from_unix(seconds);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_seconds_have_the_dates_of_go() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let c = Civil::from_value(value);
            assert_eq!((c.year, c.month, c.day, c.hour, c.minute), (292_277_026_596, 12, 4, 15, 30));
            assert_eq!((c.weekday, c.year_day, c.days_in_month()), (0, 339, 31));
        }
        let c = Civil::from_value(-4_611_686_018_427_387_904.0);
        assert_eq!((c.year, c.month, c.day, c.hour, c.weekday, c.year_day), (-146_138_510_344, 7, 14, 16, 5, 196));
        assert_eq!(Civil::from_value(-0.5), Civil::from_unix(0));
    }

    #[test]
    fn known_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        let leap = Civil::from_unix(951_782_400);
        assert_eq!((leap.month, leap.day, leap.weekday, leap.year_day, leap.days_in_month()), (2, 29, 2, 60, 29));
    }
}
