//! What a case expects, and how answers are compared with it.

use crate::engine::{MatrixSeries, QueryResult, Value, VectorSample};
use crate::parser::SequenceValue;
use model::regex::AnchoredRegex;
use model::value::is_stale;
use model::{FloatHistogram, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An answer, or the error's text.
pub(crate) type Outcome = Result<QueryResult, String>;

/// A text that has to be equal, to be found by an expression, or just to be there.
enum Text {
    Any,
    Message(String),
    Regex(AnchoredRegex),
}

/// An `eval` block.
#[derive(Default)]
pub(crate) struct Block {
    fail: Option<Text>,
    warn: Vec<Text>,
    info: Vec<Text>,
    no_warn: bool,
    no_info: bool,
    ordered: bool,
    string: Option<String>,
    scalar: Option<f64>,
    /// Of `expect range vector`: first time, last time, step.
    matrix: Option<(i64, i64, i64)>,
    series: Vec<(Labels, Vec<SequenceValue>)>,
}

type Points = BTreeMap<i64, Point>;

/// A value, expected or got.
#[derive(Clone, Debug)]
enum Point {
    Float(f64),
    /// And whether its hint is to be looked at.
    Histogram(Arc<FloatHistogram>, bool),
}

impl Point {
    fn is_wanted(&self, want: &Self) -> bool {
        match (self, want) {
            (Self::Float(got), Self::Float(want)) => almost_equal(*want, *got),
            (Self::Histogram(got, _), Self::Histogram(want, hint)) => {
                (!hint || got.reset_hint == want.reset_hint) && same_histogram(got, want)
            }
            _ => false,
        }
    }
}

/// Equal as to observations; empty buckets do not matter.
fn same_histogram(got: &FloatHistogram, want: &FloatHistogram) -> bool {
    let (mut got, mut want) = (got.clone(), want.clone());
    got.compact(0);
    want.compact(0);
    let counts = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*b, *a));
    got.schema == want.schema
        && got.zero_threshold == want.zero_threshold
        && got.custom_values == want.custom_values
        && got.positive_spans == want.positive_spans
        && got.negative_spans == want.negative_spans
        && counts(&[got.count, got.sum, got.zero_count], &[want.count, want.sum, want.zero_count])
        && counts(&got.positive_counts, &want.positive_counts)
        && counts(&got.negative_counts, &want.negative_counts)
}

fn points_of(series: &MatrixSeries) -> Points {
    let floats = series.points.iter().map(|(time, value)| (*time, Point::Float(*value)));
    floats.chain(series.histograms.iter().map(|(time, histogram)| (*time, Point::Histogram(histogram.clone(), false)))).collect()
}

impl Block {
    pub fn read(flavour: &str, lines: &[&str]) -> Result<Self, String> {
        let mut block = Self::default();
        match flavour {
            "eval_fail" => block.fail = Some(Text::Any),
            "eval_warn" => block.warn.push(Text::Any),
            "eval_info" => block.info.push(Text::Any),
            "eval_ordered" => block.ordered = true,
            _ => {}
        }
        for line in lines {
            if let Some(expectation) = line.strip_prefix("expect ") {
                block.expectation(expectation.trim())?;
            } else if let Some(value) = number(line) {
                block.scalar = Some(value);
            } else {
                block.series.push(crate::parse_series_description(line).map_err(|e| format!("{line}: {e}"))?);
            }
        }
        Ok(block)
    }

    fn expectation(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let text = || -> Result<Text, String> {
            let rest = rest.trim();
            if let Some(message) = rest.strip_prefix("msg:") {
                Ok(Text::Message(message.trim().to_owned()))
            } else if let Some(regex) = rest.strip_prefix("regex:") {
                let found = format!(".*(?:{}).*", regex.trim());
                AnchoredRegex::new(&found).map(Text::Regex).map_err(|e| e.to_string())
            } else {
                Ok(Text::Any)
            }
        };
        match word {
            "fail" => self.fail = Some(text()?),
            "warn" => self.warn.push(text()?),
            "info" => self.info.push(text()?),
            "no_warn" => self.no_warn = true,
            "no_info" => self.no_info = true,
            "ordered" => self.ordered = true,
            "string" => match crate::parse(rest, &crate::ParserOptions::default()) {
                Ok(crate::ast::Expr::String(literal)) => self.string = Some(literal.value),
                _ => return Err(format!("{rest} is not a string")),
            },
            "range" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let ["vector", "from", from, "to", to, "step", step] = words.as_slice() else {
                    return Err(format!("expect range {rest} is not understood"));
                };
                self.matrix = Some((super::duration(from)?, super::duration(to)?, super::duration(step)?));
            }
            other => return Err(format!("expect {other} is not understood")),
        }
        Ok(())
    }

    /// Not to be repeated as a range query.
    pub fn only_instant(&self) -> bool {
        self.matrix.is_some() || self.string.is_some()
    }

    /// When a range vector says so itself.
    pub fn evaluation_time(&self) -> Option<i64> {
        self.matrix.map(|(_, to, _)| to)
    }

    pub fn check_instant(&self, outcome: &Outcome, time: i64) -> Result<(), String> {
        let Some(result) = self.check_failure(outcome)? else { return Ok(()) };
        self.check_annotations(result)?;
        match &result.value {
            Value::Scalar { v, .. } => match self.scalar {
                Some(want) if almost_equal(want, *v) => Ok(()),
                want => Err(format!("got scalar {v}, want {want:?}")),
            },
            Value::String { s, .. } => {
                if self.string.as_ref() == Some(s) {
                    Ok(())
                } else {
                    Err(format!("got string {s:?}, want {:?}", self.string))
                }
            }
            Value::Vector(samples) => {
                let point = |s: &VectorSample| match &s.histogram {
                    Some(histogram) => Point::Histogram(histogram.clone(), false),
                    None => Point::Float(s.v),
                };
                let got: Vec<(&Labels, Points)> = samples.iter().map(|s| (&s.labels, Points::from([(time, point(s))]))).collect();
                self.check_series(&got, time, 1)
            }
            Value::Matrix(series) => {
                let (from, _, step) = self.matrix.ok_or("got a range vector")?;
                let got: Vec<(&Labels, Points)> = series.iter().map(|s| (&s.labels, points_of(s))).collect();
                self.check_series(&got, from, step)
            }
        }
    }

    pub fn check_range(&self, outcome: &Outcome, start: i64, step: i64) -> Result<(), String> {
        let Some(result) = self.check_failure(outcome)? else { return Ok(()) };
        self.check_annotations(result)?;
        let Value::Matrix(series) = &result.value else { return Err("a range query gave no matrix".into()) };
        let got: Vec<(&Labels, Points)> = series.iter().map(|s| (&s.labels, points_of(s))).collect();
        self.check_series(&got, start, step)
    }

    /// The step at `time` of a range query against what an instant one has to give.
    pub fn check_middle(&self, outcome: &Outcome, time: i64) -> Result<(), String> {
        let result = outcome.as_ref().map_err(|e| format!("failed: {e}"))?;
        let Value::Matrix(series) = &result.value else { return Err("a range query gave no matrix".into()) };
        let got: Vec<(&Labels, Points)> = series
            .iter()
            .filter_map(|s| {
                let point = points_of(s).remove(&time)?;
                Some((&s.labels, Points::from([(time, point)])))
            })
            .collect();
        if let Some(want) = self.scalar {
            let value = got.first().and_then(|(_, points)| points.get(&time));
            return if value.is_some_and(|v| v.is_wanted(&Point::Float(want))) {
                Ok(())
            } else {
                Err(format!("got {value:?}, want {want}"))
            };
        }
        if self.ordered { Ok(()) } else { self.check_series(&got, time, 1) }
    }

    /// The result, unless a failure was expected and seen.
    fn check_failure<'r>(&self, outcome: &'r Outcome) -> Result<Option<&'r QueryResult>, String> {
        match (&self.fail, outcome) {
            (None, Ok(result)) => Ok(Some(result)),
            (None, Err(error)) => Err(format!("failed: {error}")),
            (Some(_), Ok(_)) => Err("should have failed".into()),
            (Some(text), Err(error)) if text.holds(error) => Ok(None),
            (Some(text), Err(error)) => Err(format!("failed with {error:?}, want {text}")),
        }
    }

    fn check_annotations(&self, result: &QueryResult) -> Result<(), String> {
        for (kind, want, none, got) in
            [("warning", &self.warn, self.no_warn, &result.warnings), ("info", &self.info, self.no_info, &result.infos)]
        {
            if none && !got.is_empty() {
                return Err(format!("unexpected {kind}s {got:?}"));
            }
            if let Some(text) = want.iter().find(|w| !got.iter().any(|g| w.holds(g))) {
                return Err(format!("no {kind} {text} among {got:?}"));
            }
            if let (false, Some(other)) = (want.is_empty(), got.iter().find(|g| !want.iter().any(|w| w.holds(g)))) {
                return Err(format!("unexpected {kind} {other:?}"));
            }
        }
        Ok(())
    }

    fn check_series(&self, got: &[(&Labels, Points)], start: i64, step: i64) -> Result<(), String> {
        if self.ordered {
            let order: Vec<&Labels> = got.iter().map(|(labels, _)| *labels).collect();
            let want: Vec<&Labels> = self.series.iter().map(|(labels, _)| labels).collect();
            if order != want {
                return Err(format!("got the order {order:?}, want {want:?}"));
            }
        }
        let mut want: BTreeMap<&Labels, Points> = BTreeMap::new();
        for (labels, values) in &self.series {
            let points: Points = points(values, start, step).collect();
            if !points.is_empty() {
                want.insert(labels, points);
            }
        }
        for (labels, points) in got {
            let Some(want) = want.remove(labels) else { return Err(format!("unexpected series {labels} {points:?}")) };
            let same =
                points.len() == want.len() && points.iter().zip(&want).all(|((t, v), (want_t, want_v))| t == want_t && v.is_wanted(want_v));
            if !same {
                return Err(format!("{labels}: got {points:?}, want {want:?}"));
            }
        }
        match want.into_iter().next() {
            Some((labels, points)) => Err(format!("series {labels} is missing, want {points:?}")),
            None => Ok(()),
        }
    }
}

impl Text {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Message(message) => message == text,
            Self::Regex(regex) => regex.matches(text),
        }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Message(message) => write!(f, "{message:?}"),
            Self::Regex(regex) => write!(f, "a match of {:?}", regex.to_string()),
        }
    }
}

/// A line that is only a number.
pub(crate) fn number(line: &str) -> Option<f64> {
    let unsigned = line.strip_prefix(['-', '+']).unwrap_or(line);
    let sign = if line.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned.to_ascii_lowercase().as_str() {
        "inf" => Some(sign * f64::INFINITY),
        "nan" => Some(f64::NAN),
        text => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(|v| sign * v as f64),
            None if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse::<f64>().ok().map(|v| sign * v),
            None => None,
        },
    }
}

/// Values at `start + i * step`, omitted ones left out.
fn points(values: &[SequenceValue], start: i64, step: i64) -> impl Iterator<Item = (i64, Point)> {
    values.iter().enumerate().filter_map(move |(i, value)| {
        let point = match value {
            SequenceValue::Omitted => return None,
            SequenceValue::Float(value) => Point::Float(*value),
            SequenceValue::Histogram { histogram, hint_written } => Point::Histogram(histogram.clone(), *hint_written),
        };
        Some((start + i as i64 * step, point))
    })
}

/// Prometheus's comparison in tests.
fn almost_equal(a: f64, b: f64) -> bool {
    const EPSILON: f64 = 1e-6;
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}
