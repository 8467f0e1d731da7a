//! `dump` and `dump-openmetrics`: prints the samples of a data directory, series by series in label order, exactly as stored.

use super::satisfies;
use crate::tool::{Failure, go};
use model::histogram::{FloatHistogram, Histogram};
use model::labels::METRIC_NAME;
use model::{Labels, Matcher, Timestamp};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use storage::Interval;
use tsdb::chunk::{Sample, Value};
use tsdb::compact::CompactError;
use tsdb::{Db, Options};

/// What is dumped.
pub struct Selection<'a> {
    /// The first instant, in milliseconds.
    pub first: i64,
    /// The last instant.
    pub last: i64,
    /// Series that match any of these.
    pub selectors: Vec<&'a str>,
}

/// How it is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `{labels} value time`
    Samples,
    /// Labels only, an object a line.
    SeriesJson,
    /// As a page that can be imported again; floats only.
    OpenMetrics,
}

/// Prints a directory's samples.
pub fn dump(dir: &Path, selection: &Selection<'_>, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let selectors: Vec<Vec<Matcher>> =
        selection.selectors.iter().map(|text| promql::parser::parse_selector(text)).collect::<Result<_, _>>()?;
    let db = Db::open_read_only(Options::new(dir))?;
    let range = Interval { start: Timestamp(selection.first), end: Timestamp(selection.last) };
    let selected = |labels: &Labels| selectors.iter().any(|matchers| satisfies(labels, matchers));
    db.each_series(range, selected, |labels, samples| match format {
        Format::Samples => print_samples(labels, &samples, out).map_err(Stop::Print),
        Format::SeriesJson => writeln!(out, "{}", json(labels)).map_err(Stop::Print),
        Format::OpenMetrics => print_open_metrics(labels, &samples, out).map_err(Stop::Print),
    })
    .map_err(Failure::from)?;
    if format == Format::OpenMetrics {
        writeln!(out, "# EOF")?;
    }
    Ok(())
}

/// Why a dump ended early.
enum Stop {
    Read(CompactError),
    Print(std::io::Error),
}

impl From<CompactError> for Stop {
    fn from(error: CompactError) -> Self {
        Self::Read(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Read(error) => error.into(),
            Stop::Print(error) => error.into(),
        }
    }
}

fn print_samples(labels: &Labels, samples: &[Sample], out: &mut dyn Write) -> std::io::Result<()> {
    for sample in samples {
        let value = match &sample.value {
            Value::Float(value) => go::general(*value),
            Value::Histogram(histogram) => integer_text(histogram),
            Value::FloatHistogram(histogram) => float_text(histogram),
        };
        writeln!(out, "{labels} {value} {}", sample.time)?;
    }
    Ok(())
}

/// Floats up to the first histogram: the page has no place for those, and Prometheus stops at one.
fn print_open_metrics(labels: &Labels, samples: &[Sample], out: &mut dyn Write) -> std::io::Result<()> {
    let mut series = labels.metric_name().to_owned();
    series.push('{');
    for (i, (name, value)) in labels.iter().filter(|(name, _)| *name != METRIC_NAME).enumerate() {
        let separator = if i == 0 { "" } else { "," };
        let _ = write!(series, "{separator}{name}={}", model::name::quote(value));
    }
    series.push('}');
    for sample in samples {
        let Value::Float(value) = sample.value else { break };
        writeln!(out, "{series} {} {:.3}", go::general(value), sample.time as f64 / 1_000.0)?;
    }
    Ok(())
}

/// An object of all labels, escaped as Go does.
fn json(labels: &Labels) -> String {
    let mut text = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        let separator = if i == 0 { "" } else { "," };
        let _ = write!(text, "{separator}{}:{}", serde_json::Value::from(name), serde_json::Value::from(value));
    }
    text.push('}');
    let special = [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u{2028}", "\\u2028"), ("\u{2029}", "\\u2029")];
    special.iter().fold(text, |text, (plain, escaped)| text.replace(plain, escaped))
}

fn float_text(histogram: &FloatHistogram) -> String {
    text(histogram, &go::general(histogram.count), go::value)
}

fn integer_text(histogram: &Histogram) -> String {
    text(&histogram.to_float(), &histogram.count.to_string(), |count| format!("{}", count as u64))
}

/// `{count:12, sum:18.4, [-2,-1):3, [-0.001,0.001]:2, (1,2]:4}`: buckets that are not empty, with the bounds of their schema.
fn text(histogram: &FloatHistogram, count: &str, number: impl Fn(f64) -> String) -> String {
    let mut text = format!("{{count:{count}, sum:{}", go::general(histogram.sum));
    let one_side = |negative: bool| {
        // Without a zero bucket no bound is cut at its threshold.
        let mut side = FloatHistogram { zero_count: 0.0, zero_threshold: 0.0, ..histogram.clone() };
        if negative {
            side.positive_counts.clear();
        } else {
            side.negative_counts.clear();
        }
        side.buckets()
    };
    let mut bucket = |open: char, lower: f64, upper: f64, close: char, count: f64| {
        let _ = write!(text, ", {open}{},{}{close}:{}", go::general(lower), go::general(upper), number(count));
    };
    let brackets = |b: &model::histogram::Bucket| (if b.lower_inclusive { '[' } else { '(' }, if b.upper_inclusive { ']' } else { ')' });
    let mut side = |negative: bool| {
        for b in one_side(negative).iter().filter(|b| b.count != 0.0) {
            let (open, close) = brackets(b);
            bucket(open, b.lower, b.upper, close, b.count);
        }
        if negative && histogram.zero_count != 0.0 {
            bucket('[', -histogram.zero_threshold, histogram.zero_threshold, ']', histogram.zero_count);
        }
    };
    side(true);
    side(false);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::histogram::Span;

    #[test]
    fn labels_as_go_writes_json() {
        let labels = Labels::from_pairs([("__name__", "up"), ("a", "<\"&\u{2028}ü")]);
        assert_eq!(json(&labels), r#"{"__name__":"up","a":"\u003c\"\u0026\u2028ü"}"#);
    }

    #[test]
    fn histograms_as_prometheus_prints_them() {
        let histogram = Histogram {
            count: 1_234_567,
            sum: 18.4,
            zero_threshold: 0.001,
            zero_count: 2,
            positive_spans: vec![Span { offset: 0, len: 2 }, Span { offset: 1, len: 1 }].into(),
            positive_deltas: vec![1, 1, -1],
            negative_spans: vec![Span { offset: 0, len: 2 }].into(),
            negative_deltas: vec![3, -3],
            ..Histogram::default()
        };
        assert_eq!(integer_text(&histogram), "{count:1234567, sum:18.4, [-1,-0.5):3, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2, (4,8]:1}");
        assert_eq!(
            float_text(&histogram.to_float()),
            "{count:1.234567e+06, sum:18.4, [-1,-0.5):3, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2, (4,8]:1}"
        );
    }
}
