//! Warnings and infos beside an answer, in Prometheus's words.

use crate::ast::Span;
use crate::plan::Plan;
use model::name::quote;
use std::collections::{BTreeMap, BTreeSet};

/// Collected annotations: each text once, as in Prometheus at the place that gives it last, whichever thread was first here.
/// Prometheus evaluates parts before what is made of them, and what stands on the left first, so that is the place whose text
/// ends last; but subqueries before parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    warnings: BTreeMap<String, Option<Span>>,
    infos: BTreeMap<String, Option<Span>>,
    /// What it took to make bucket counts rise, and where; by metric name.
    forced_monotonic: BTreeMap<String, (Span, Forced)>,
    /// How often start timestamps overlapped, and where; by metric name.
    start_time_overlaps: BTreeMap<String, (Span, usize)>,
    late: Late,
}

/// Places of parameters and of what stands behind them and comes before them.
#[derive(Clone, Debug, Default)]
struct Late(Vec<(Span, Span)>);

impl Late {
    /// The place of which Prometheus speaks last. Of places that end alike the outer one is.
    fn last(&self, a: Span, b: Span) -> Span {
        // Some places have forgotten where they begin.
        let within = |outer: &Span, inner: Span| (outer.start + 1..=outer.end).contains(&inner.end);
        let is_late = |a: Span, b: Span| self.0.iter().any(|(parameter, before)| within(parameter, a) && within(before, b));
        let follows = (b.end, std::cmp::Reverse(b.start)) >= (a.end, std::cmp::Reverse(a.start));
        if is_late(b, a) || follows && !is_late(a, b) { b } else { a }
    }
}

const FORCED_MONOTONIC: &str = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";

/// How far classic histograms had to be repaired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forced {
    pub first: i64,
    pub last: i64,
    pub min_bucket: f64,
    pub max_bucket: f64,
    pub max_diff: f64,
    pub samples: usize,
}

impl Annotations {
    /// None yet, of this query.
    pub fn of(plan: &Plan) -> Self {
        Self { late: Late(plan.late_parameters()), ..Self::default() }
    }

    /// None yet, of the same query.
    pub fn none_yet(&self) -> Self {
        Self { late: self.late.clone(), ..Self::default() }
    }

    /// A fault of the store that cost a part of the answer.
    pub fn storage_warning(&mut self, text: String) {
        self.warnings.insert(text, None);
    }

    pub fn sort_in_range_query(&mut self, span: Span) {
        self.warn("sort is ineffective for range queries since results are always ordered by labels".into(), span);
    }

    pub fn invalid_quantile(&mut self, q: f64, span: Span) {
        self.warn(format!("quantile value should be between 0 and 1, got {}", format_g(q)), span);
    }

    pub fn invalid_ratio(&mut self, ratio: f64, capped: f64, span: Span) {
        let (ratio, capped) = (format_g(ratio), format_g(capped));
        self.warn(format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}"), span);
    }

    pub fn bad_bucket_label(&mut self, metric: &str, label: &str, span: Span) {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}", quote(label));
        self.warn(with_metric(text, metric), span);
    }

    pub fn possible_non_counter(&mut self, metric: &str, span: Span) {
        self.info(format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}", quote(metric)), span);
    }

    pub fn no_counter_type(&mut self, metric: &str, kind: &str, span: Span) {
        let text = r#"metric might not be a counter, __type__ label is not set to "counter" or "histogram", got"#;
        self.info(format!("{text} {}: {}", quote(kind), quote(metric)), span);
    }

    pub fn mixed_floats_histograms(&mut self, metric: &str, span: Span) {
        self.warn(format!("encountered a mix of histograms and floats for metric name {}", quote(metric)), span);
    }

    pub fn mixed_aggregation(&mut self, span: Span) {
        self.warn("encountered a mix of histograms and floats for aggregation".into(), span);
    }

    pub fn mixed_classic_native(&mut self, metric: &str, span: Span) {
        self.warn(with_metric("vector contains a mix of classic and native histograms".into(), metric), span);
    }

    pub fn not_a_counter(&mut self, metric: &str, span: Span) {
        self.warn(format!("this native histogram metric is not a counter: {}", quote(metric)), span);
    }

    pub fn not_a_gauge(&mut self, metric: &str, span: Span) {
        self.warn(format!("this native histogram metric is not a gauge: {}", quote(metric)), span);
    }

    pub fn mixed_schemas(&mut self, metric: &str, span: Span) {
        let what = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
        self.warn(format!("{what} {}", quote(metric)), span);
    }

    pub fn incompatible_layout(&mut self, op: &str, span: Span) {
        self.warn(format!("incompatible bucket layout encountered for binary operator {op}"), span);
    }

    pub fn incompatible_types(&mut self, left: &str, op: &str, right: &str, span: Span) {
        let op_quoted = quote(op);
        self.info(format!("incompatible sample types encountered for binary operator {op_quoted}: {left} {op} {right}"), span);
    }

    pub fn ignored_in_aggregation(&mut self, aggregation: &str, span: Span) {
        self.info(format!("ignored histogram in {aggregation} aggregation"), span);
    }

    pub fn ignored_in_range(&mut self, metric: &str, span: Span) {
        self.info(format!("ignored histograms in a range containing both floats and histograms for metric name {}", quote(metric)), span);
    }

    pub fn quantile_is_nan(&mut self, metric: &str, span: Span) {
        self.info(with_metric("input to histogram_quantile has NaN observations, result is NaN".into(), metric), span);
    }

    pub fn quantile_is_skewed(&mut self, metric: &str, span: Span) {
        self.info(with_metric("input to histogram_quantile has NaN observations, result is skewed higher".into(), metric), span);
    }

    pub fn fraction_leaves_out(&mut self, metric: &str, span: Span) {
        let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        self.info(with_metric(text.into(), metric), span);
    }

    pub fn resets_collide(&mut self, during: &str, span: Span) {
        self.warn(format!("conflicting counter resets during histogram {during}"), span);
    }

    pub fn bounds_reconciled(&mut self, during: &str, span: Span) {
        self.info(format!("mismatched custom buckets were reconciled during {during}"), span);
    }

    pub fn start_time_overlap(&mut self, metric: &str, span: Span) {
        let found = self.start_time_overlaps.entry(metric.to_owned()).or_insert((span, 0));
        *found = (self.late.last(found.0, span), found.1 + 1);
    }

    pub fn forced_monotonic(&mut self, metric: &str, span: Span, add: Forced) {
        let (place, all) = match self.forced_monotonic.get(metric) {
            None => (span, add),
            Some((place, f)) => (
                self.late.last(*place, span),
                Forced {
                    first: f.first.min(add.first),
                    last: f.last.max(add.last),
                    min_bucket: f.min_bucket.min(add.min_bucket),
                    max_bucket: f.max_bucket.max(add.max_bucket),
                    max_diff: f.max_diff.max(add.max_diff),
                    samples: f.samples + add.samples,
                },
            ),
        };
        self.forced_monotonic.insert(metric.to_owned(), (place, all));
    }

    pub fn is_empty(&self) -> bool {
        let Self { warnings, infos, forced_monotonic, start_time_overlaps, late: _ } = self;
        warnings.is_empty() && infos.is_empty() && forced_monotonic.is_empty() && start_time_overlaps.is_empty()
    }

    /// The same said of other places: of the one in `to` that has the number of the one in `from`. `None` if that is not clear.
    pub fn moved(&self, from: &[Span], to: &[Span]) -> Option<Self> {
        let mut moved = self.clone();
        let texts = moved.warnings.values_mut().chain(moved.infos.values_mut()).flatten();
        let forced = moved.forced_monotonic.values_mut().map(|(span, _)| span);
        let overlaps = moved.start_time_overlaps.values_mut().map(|(span, _)| span);
        for span in texts.chain(forced).chain(overlaps) {
            let mut candidates = from.iter().zip(to).filter(|(from, _)| *from == span).map(|(_, to)| *to);
            let to = candidates.next()?;
            if candidates.any(|other| other != to) {
                return None;
            }
            *span = to;
        }
        Some(moved)
    }

    /// Says all that as well.
    pub fn absorb(&mut self, said: Self) {
        for (mine, theirs) in [(&mut self.warnings, said.warnings), (&mut self.infos, said.infos)] {
            for (text, span) in theirs {
                let place = mine.entry(text).or_default();
                *place = place.zip(span).map(|(a, b)| self.late.last(a, b)).or(*place).or(span);
            }
        }
        said.forced_monotonic.into_iter().for_each(|(metric, (span, forced))| self.forced_monotonic(&metric, span, forced));
        for (metric, (span, count)) in said.start_time_overlaps {
            let found = self.start_time_overlaps.entry(metric).or_insert((span, 0));
            *found = (self.late.last(found.0, span), found.1 + count);
        }
    }

    fn warn(&mut self, text: String, span: Span) {
        let place = self.warnings.entry(format!("PromQL warning: {text}")).or_default();
        *place = Some(place.map_or(span, |other| self.late.last(other, span)));
    }

    fn info(&mut self, text: String, span: Span) {
        let place = self.infos.entry(format!("PromQL info: {text}")).or_default();
        *place = Some(place.map_or(span, |other| self.late.last(other, span)));
    }

    /// Warnings and infos, sorted, with positions if the query's text is known.
    pub fn into_texts(self, query: Option<&str>) -> (Vec<String>, Vec<String>) {
        let placed = |(text, span): (String, Option<Span>)| match (span, query) {
            (Some(span), Some(query)) => format!("{text} ({})", line_and_column(query, span.start)),
            _ => text,
        };
        let warnings: BTreeSet<String> = self.warnings.into_iter().map(placed).collect();
        let mut infos: BTreeSet<String> = self.infos.into_iter().map(placed).collect();
        let mut warnings = warnings;
        for (metric, (span, count)) in self.start_time_overlaps {
            let text =
                format!("PromQL warning: sample has start time that overlaps with previous sample timestamp for metric {}", quote(&metric));
            let times = if count > 1 { format!(" ({count} occurrences)") } else { String::new() };
            warnings.insert(match query {
                None => text,
                Some(query) => format!("{text}{times} ({})", line_and_column(query, span.start)),
            });
        }
        for (metric, (span, f)) in self.forced_monotonic {
            let text = with_metric(FORCED_MONOTONIC.to_owned(), &metric);
            infos.insert(match query {
                None => text,
                Some(query) => format!(
                    "{text}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({})",
                    format_g(f.min_bucket),
                    format_g(f.max_bucket),
                    two_digits(f.max_diff),
                    f.samples,
                    super::date::rfc3339(f.first.div_euclid(1000)),
                    super::date::rfc3339(f.last.div_euclid(1000)),
                    line_and_column(query, span.start)
                ),
            });
        }
        (warnings.into_iter().collect(), infos.into_iter().collect())
    }
}

fn with_metric(text: String, metric: &str) -> String {
    if metric.is_empty() { text } else { format!("{text} for metric name {}", quote(metric)) }
}

/// `line:column` of a byte offset, both from 1; columns count bytes as Prometheus does.
pub(crate) fn line_and_column(query: &str, start: usize) -> String {
    let before = &query.as_bytes()[..start.min(query.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("{line}:{column}")
}

/// Go's `%g`: shortest digits, with an exponent if it is below -4 or at least 6.
pub(crate) fn format_g(value: f64) -> String {
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if value.is_finite() && value != 0.0 => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            if (-4..6).contains(&exponent) {
                return model::number::format_plain(value);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => model::number::format_plain(value),
    }
}

/// Go's `%.2g`.
fn two_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return model::number::format_plain(value);
    }
    let scientific = format!("{value:.1e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = mantissa.strip_suffix(".0").unwrap_or(mantissa);
    if !(-4..2).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{trimmed}e{sign}{:02}", exponent.abs());
    }
    let rounded: f64 = scientific.parse().unwrap_or(value);
    model::number::format_plain(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_significant_digits() {
        for (value, want) in [(3.0, "3"), (10.0, "10"), (123.0, "1.2e+02"), (0.00012, "0.00012"), (1.25e-7, "1.2e-07"), (0.5, "0.5")] {
            assert_eq!(two_digits(value), want);
        }
    }

    #[test]
    fn shortest_digits() {
        for (value, want) in [(0.0, "0"), (1.5, "1.5"), (1e6, "1e+06"), (123_456.0, "123456"), (1e-5, "1e-05"), (f64::INFINITY, "+Inf")] {
            assert_eq!(format_g(value), want);
        }
    }

    #[test]
    fn a_text_given_twice_stands_at_its_last_place() {
        let at = |start| Span { start, end: start + 1 };
        let mut annotations = Annotations::default();
        for start in [4, 9] {
            annotations.invalid_quantile(2.0, at(start));
            annotations.possible_non_counter("up", at(start));
        }
        let (warnings, infos) = annotations.into_texts(Some("quantile(2, rate(up[1m]))"));
        assert_eq!(warnings, ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]);
        assert_eq!(infos.len(), 1);
    }

    #[test]
    fn outer_places_come_after_inner_ones_and_right_ones_after_left_ones() {
        for (a, b, want) in [((5, 9), (0, 20), (0, 20)), ((0, 20), (5, 9), (0, 20)), ((0, 9), (12, 20), (12, 20)), ((4, 9), (6, 9), (4, 9))]
        {
            let span = |(start, end)| Span { start, end };
            for (a, b) in [(a, b), (b, a)] {
                assert_eq!(Late::default().last(span(a), span(b)), span(want));
            }
        }
    }

    #[test]
    fn positions_count_lines_and_bytes() {
        assert_eq!(line_and_column("a +\n b", 5), "2:2");
        assert_eq!(line_and_column("abc", 0), "1:1");
    }
}
