//! Parameters of API requests: form and URL merged, times, durations, limits.

use model::{Millis, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The earliest time that the API accepts, also written `-292273086-05-16T16:47:06Z`.
pub const MIN_TIME: Timestamp = Timestamp((i64::MIN / 1000 + 62_135_596_801) * 1000);
/// The latest time that the API accepts, also written `292277025-08-18T07:12:54.999999999Z`.
pub const MAX_TIME: Timestamp = Timestamp((i64::MAX / 1000 - 62_135_596_801) * 1000 + 999);

/// The merged parameters of a request. Of a name that is given more than once the first counts, and
/// the body comes before the URL, as in Go's `Request.FormValue`.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

/// A parameter that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid parameter {}: {message}", model::name::quote(name))]
pub struct ParamError {
    /// Which parameter.
    pub name: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Form {
    /// From a body of type `application/x-www-form-urlencoded` and the URL's query.
    pub fn new(body: &[u8], query: &str) -> Self {
        let pieces = body.split(|b| *b == b'&').chain(query.as_bytes().split(|b| *b == b'&'));
        let pairs = pieces.filter(|piece| is_readable(piece)).flat_map(form_urlencoded::parse);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The value that counts, empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All values of a name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A time that must be there.
    pub fn time(&self, name: &'static str) -> Result<Timestamp, ParamError> {
        parse_time(self.value(name)).map_err(|message| ParamError { name, message })
    }

    /// A time, or `default` if there is none.
    pub fn time_or(&self, name: &'static str, default: Timestamp) -> Result<Timestamp, ParamError> {
        match self.value(name) {
            "" => Ok(default),
            text => parse_time(text).map_err(|e| ParamError { name, message: format!("invalid time value for '{name}': {e}") }),
        }
    }

    /// A duration that must be there.
    pub fn duration(&self, name: &'static str) -> Result<Nanos, ParamError> {
        parse_duration(self.value(name)).map_err(|message| ParamError { name, message })
    }

    /// How many entries the answer may have; 0 = all.
    pub fn limit(&self) -> Result<usize, ParamError> {
        let name = "limit";
        let text = self.value(name);
        if text.is_empty() {
            return Ok(0);
        }
        let invalid = |message: String| ParamError { name, message };
        let limit = parse_int(text).map_err(invalid)?;
        usize::try_from(limit).map_err(|_| invalid("limit must be non-negative".into()))
    }
}

/// Go leaves out pairs with a semicolon or with a `%` that two hexadecimal digits do not follow.
fn is_readable(pair: &[u8]) -> bool {
    let escapes = pair.split(|b| *b == b'%').skip(1);
    !pair.contains(&b';') && escapes.into_iter().all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit))
}

/// Go's `strconv.Atoi` with its message.
pub fn parse_int(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|e| {
        let reason = match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {}: {reason}", model::name::quote(text))
    })
}

/// A duration in nanoseconds, the unit in which Prometheus reads the API's durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub i64);

impl Nanos {
    /// Whole milliseconds, cut towards zero as Prometheus does.
    pub fn to_millis(self) -> Millis {
        Millis(self.0 / 1_000_000)
    }
}

/// Unix seconds with a fraction, rounded to milliseconds, or RFC 3339, cut to milliseconds.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    let unreadable = || format!("cannot parse {} to a valid timestamp", model::name::quote(text));
    if let Some(seconds) = parse_go_float(text) {
        let (whole, fraction) = (seconds.trunc(), seconds.fract());
        if !seconds.is_finite() || whole.abs() > (i64::MAX / 1000) as f64 {
            return Err(unreadable());
        }
        let fraction_ms = (fraction * 1000.0).round() as i64;
        return Ok(Timestamp((whole as i64) * 1000 + fraction_ms));
    }
    match text {
        "-292273086-05-16T16:47:06Z" => return Ok(MIN_TIME),
        "292277025-08-18T07:12:54.999999999Z" | "+292277025-08-18T07:12:54.999999999Z" => return Ok(MAX_TIME),
        _ => {}
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| unreadable())?;
    let ms = time.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(ms).map(Timestamp).map_err(|_| unreadable())
}

/// Seconds as a float, or a duration such as `1h30m`.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let quoted = || model::name::quote(text);
    if let Some(seconds) = parse_go_float(text) {
        let nanos = seconds * 1e9;
        if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(format!("cannot parse {} to a valid duration. It overflows int64", quoted()));
        }
        return Ok(Nanos(nanos as i64));
    }
    let span = model::duration::parse(text).map_err(|_| format!("cannot parse {} to a valid duration", quoted()))?;
    Ok(Nanos(span.0.saturating_mul(1_000_000)))
}

/// Floats as Go reads them, as far as a parameter may hold one: decimal, `Inf`, `NaN`.
fn parse_go_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    // Rust reads `1e999` as infinity, Go refuses it.
    let spelt = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    (value.is_finite() || spelt == "inf" || spelt == "infinity" || spelt == "nan").then_some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn pairs_that_go_cannot_read_are_left_out() {
        let form = Form::new(b"query=%zz&time=1;&limit=%3", "query=b&time=2&step=%41");
        assert_eq!((form.value("query"), form.value("time"), form.value("limit"), form.value("step")), ("b", "2", "", "A"));
    }

    #[test]
    fn body_counts_before_url() {
        let form = Form::new(b"query=a&match[]=x", "query=b&match%5B%5D=y&limit=3");
        assert_eq!(form.value("query"), "a");
        assert_eq!(form.values("match[]").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(form.limit(), Ok(3));
        assert_eq!(Form::new(b"", "limit=-1").limit().unwrap_err().to_string(), r#"invalid parameter "limit": limit must be non-negative"#);
    }

    #[test]
    fn times() {
        for (text, ms) in [
            ("1.5", 1500),
            ("1435781430.781", 1_435_781_430_781),
            ("1543578564.705", 1_543_578_564_705),
            ("-1.0005", -1000),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
        ] {
            assert_eq!(parse_time(text), Ok(Timestamp(ms)), "{text}");
        }
        for bad in ["", "abc", "30s", "2015-06-03", "Inf"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, nanos) in [("5m", 300_000_000_000), ("0.5", 500_000_000), ("-1", -1_000_000_000), ("1.5e1", 15_000_000_000)] {
            assert_eq!(parse_duration(text), Ok(Nanos(nanos)), "{text}");
        }
        assert!(parse_duration("1e30").unwrap_err().contains("overflows int64"));
        assert!(parse_duration("foo").is_err());
    }
}
