//! Do the two engines say the same?

use crate::naive::{Answer, Outcome, Sample, Value};
use model::value::NORMAL_NAN;
use model::{FloatHistogram, Labels};
use promql::engine::{QueryError, QueryResult, Value as Given};
use std::collections::BTreeMap;

/// In which order an instant query's samples have to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Labels,
    /// That of the naive engine; of equal values either may come first.
    Values,
    /// That of the naive engine.
    Same,
    Any,
}

/// Series by labels, with whatever they have.
type Series = BTreeMap<Labels, Vec<(i64, Value)>>;

/// What differs, if anything does. Floats may be off by `relative`.
pub fn difference(given: &Result<QueryResult, QueryError>, wanted: &Answer, order: Order, relative: f64) -> Option<String> {
    let (given, outcome) = match (given, &wanted.outcome) {
        (Err(given), Err(wanted)) => {
            return (any_pair(&given.to_string()) != any_pair(wanted)).then(|| format!("error {given:?}, wanted {wanted:?}"));
        }
        (Err(given), Ok(wanted)) => return Some(format!("error {:?}, wanted {wanted:?}", given.to_string())),
        (Ok(given), Err(wanted)) => return Some(format!("{:?}, wanted error {wanted:?}", given.value)),
        (Ok(given), Ok(wanted)) => (given, wanted),
    };
    let found = match (&given.value, outcome) {
        (Given::Scalar { v, .. }, Outcome::Scalar(wanted)) => {
            (!same_float(*v, *wanted, relative)).then(|| format!("{v:?}, wanted {wanted:?}"))
        }
        (Given::String { s, .. }, Outcome::String(wanted)) => (s != wanted).then(|| format!("{s:?}, wanted {wanted:?}")),
        (Given::Vector(given), Outcome::Vector(wanted)) => {
            let value = |v: f64, h: &Option<_>| h.clone().map_or(Value::Float(v), Value::Histogram);
            let got: Vec<(Labels, Value)> = given.iter().map(|s| (s.labels.clone(), value(s.v, &s.histogram))).collect();
            vectors(&got, wanted, order, relative)
        }
        (Given::Matrix(given), Outcome::Matrix(wanted)) => {
            let mut got = Series::new();
            for series in given {
                let mut points: Vec<(i64, Value)> = series.points.iter().map(|(t, v)| (*t, Value::Float(*v))).collect();
                points.extend(series.histograms.iter().map(|(t, h)| (*t, Value::Histogram(h.clone()))));
                points.sort_by_key(|(t, _)| *t);
                if got.insert(series.labels.clone(), points).is_some() {
                    return Some(format!("{} twice", series.labels));
                }
            }
            if !given.is_sorted_by(|a, b| a.labels < b.labels) {
                return Some("series not in label order".into());
            }
            same_series(&got, &wanted.iter().cloned().collect(), relative)
        }
        (given, wanted) => Some(format!("{given:?}, wanted {wanted:?}")),
    };
    found.or_else(|| texts(&given.warnings, &wanted.warnings)).or_else(|| texts(&given.infos, &wanted.infos))
}

/// An error's text without the match group and the series that it names where any of several may be named.
fn any_pair(text: &str) -> &str {
    const DUPLICATE: &str = "found duplicate series for the match group";
    if text.starts_with(DUPLICATE) { DUPLICATE } else { text }
}

/// Annotations as sets. What stands between text and position in some of them is left out.
fn texts(given: &[String], wanted: &[String]) -> Option<String> {
    let plain = |text: &String| {
        let mut plain = text.clone();
        for mark in [", from buckets ", " (", ", with a max diff"] {
            let fixed = mark == " (" && !text.contains(" occurrences) (");
            if let (Some(begin), Some(end), false) = (plain.find(mark), plain.rfind(" ("), fixed)
                && begin < end
            {
                plain.replace_range(begin..end, "");
            }
        }
        plain
    };
    let mut given: Vec<String> = given.iter().map(plain).collect();
    let mut wanted = wanted.to_vec();
    given.sort();
    wanted.sort();
    (given != wanted).then(|| format!("annotations {given:#?}, wanted {wanted:#?}"))
}

/// Bit for bit, as both add in the order of labels; where nothing defines an order, sums may differ a little.
fn same_float(given: f64, wanted: f64, relative: f64) -> bool {
    given.to_bits() == wanted.to_bits()
        || (given.is_nan() && wanted.is_nan())
        || (given - wanted).abs() <= relative * given.abs().max(wanted.abs())
}

fn same(given: &Value, wanted: &Value, relative: f64) -> bool {
    match (given, wanted) {
        (Value::Float(a), Value::Float(b)) => same_float(*a, *b, relative),
        (Value::Histogram(a), Value::Histogram(b)) => plain(a).is_same(&plain(b)),
        _ => false,
    }
}

/// The histogram with one kind of NaN.
fn plain(h: &FloatHistogram) -> FloatHistogram {
    let mut h = h.clone();
    let totals = [&mut h.zero_count, &mut h.count, &mut h.sum];
    let all = totals.into_iter().chain(&mut h.positive_counts).chain(&mut h.negative_counts);
    all.filter(|v| v.is_nan()).for_each(|v| *v = NORMAL_NAN);
    h
}

fn vectors(given: &[(Labels, Value)], wanted: &[Sample], order: Order, relative: f64) -> Option<String> {
    let one = |(labels, value): (Labels, Value)| (labels, vec![(0, value)]);
    let got: Series = given.iter().cloned().map(one).collect();
    let want: Series = wanted.iter().map(|sample| one((sample.labels.clone(), sample.value.clone()))).collect();
    if got.len() < given.len() {
        return Some("labels twice".into());
    }
    if let Some(found) = same_series(&got, &want, relative) {
        return Some(found);
    }
    let in_order = match order {
        Order::Any => true,
        Order::Labels => given.is_sorted_by(|a, b| a.0 < b.0),
        Order::Same => given.iter().zip(wanted).all(|((labels, _), sample)| *labels == sample.labels),
        Order::Values => given.iter().zip(wanted).all(|((_, given), sample)| match (given, &sample.value) {
            (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            _ => true,
        }),
    };
    (!in_order).then(|| format!("other order: {given:?}, wanted {wanted:?}"))
}

fn same_series(given: &Series, wanted: &Series, relative: f64) -> Option<String> {
    for labels in given.keys() {
        if !wanted.contains_key(labels) {
            return Some(format!("unwanted {labels}: {:?}", given[labels]));
        }
    }
    for (labels, wanted) in wanted {
        let Some(given) = given.get(labels) else { return Some(format!("{labels} is missing: wanted {wanted:?}")) };
        let times = |points: &[(i64, Value)]| points.iter().map(|(t, _)| *t).collect::<Vec<_>>();
        if times(given) != times(wanted) {
            return Some(format!("{labels} at {:?}, wanted {:?}", times(given), times(wanted)));
        }
        for ((t, given), (_, wanted)) in given.iter().zip(wanted) {
            if !same(given, wanted, relative) {
                return Some(format!("{labels} at {t}: {given:?}, wanted {wanted:?}"));
            }
        }
    }
    None
}
