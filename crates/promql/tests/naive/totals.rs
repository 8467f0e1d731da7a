//! What Prometheus reads of native histograms where only their count and sum are asked for: it leaves the buckets out, and
//! tells resets by hints instead, as far as it has seen the histogram before. This shows where hints collide.

use super::{Naive, Point, Value};
use model::FloatHistogram;
use model::histogram::ResetHint;
use promql::ast::{Expr, VectorSelector};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where the selectors stand of whose histograms only totals are read: below `histogram_count` or its like, and below
/// nothing that needs buckets.
pub fn selectors(e: &Expr) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    collect(e, false, &mut found);
    found
}

fn collect(e: &Expr, totals: bool, found: &mut BTreeSet<usize>) {
    let mut selector = |s: &VectorSelector| {
        if totals {
            found.insert(s.span.start);
        }
    };
    match e {
        Expr::Number(_) | Expr::String(_) | Expr::Subquery(_) => {}
        Expr::Vector(s) => selector(s),
        Expr::Matrix(m) => selector(&m.vector),
        Expr::Call(c) => match c.function.name {
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {}
            name => {
                let totals = totals || ["histogram_count", "histogram_sum", "histogram_avg"].contains(&name);
                c.args.iter().for_each(|argument| collect(argument, totals, found));
            }
        },
        Expr::Aggregate(a) => [&a.expr].into_iter().chain(&a.parameter).for_each(|part| collect(part, totals, found)),
        Expr::Binary(b) if b.op.is_trim() => {}
        Expr::Binary(b) => [&b.left, &b.right].into_iter().for_each(|part| collect(part, totals, found)),
        Expr::Unary(u) => collect(&u.expr, totals, found),
        Expr::Paren(p) => collect(&p.expr, totals, found),
    }
}

impl Naive<'_> {
    /// The points as the selector reads them behind a time in windows that begin and end so. Where a window begins behind all
    /// that has been read, what came before is forgotten.
    pub fn as_read(&self, selector: &VectorSelector, points: &Arc<Vec<Point>>, behind: i64, windows: &[(i64, i64)]) -> Arc<Vec<Point>> {
        if !self.totals.contains(&selector.span.start) {
            return Arc::clone(points);
        }
        let mut read: Vec<Point> = points.iter().take_while(|point| point.t <= behind).cloned().collect();
        let mut last: Option<&FloatHistogram> = None;
        let mut reached = i64::MIN;
        for (begin, end) in windows {
            if *begin > reached {
                last = None;
                let skipped = points[read.len()..].iter().take_while(|point| point.t < *begin);
                read.extend(skipped.cloned());
            }
            while let Some(point) = points.get(read.len()) {
                reached = point.t;
                if point.t > *end {
                    break;
                }
                read.push(total(point, last));
                if let Value::Histogram(h) = &point.value
                    && !point.value.is_stale()
                {
                    last = Some(h);
                }
                // It stands on this one, and has not looked further.
                if point.t == *end {
                    break;
                }
            }
        }
        // The last window may end before a sample.
        if let Some(point) = points.get(read.len()) {
            read.push(total(point, last));
        }
        Arc::new(read)
    }
}

fn total(point: &Point, last: Option<&FloatHistogram>) -> Point {
    let Value::Histogram(h) = &point.value else { return point.clone() };
    let reset_hint = match (h.reset_hint, last) {
        (ResetHint::Unknown, Some(last)) if !point.value.is_stale() => {
            if h.is_reset_since(last) {
                ResetHint::Reset
            } else {
                ResetHint::NoReset
            }
        }
        (hint, _) => hint,
    };
    let h = FloatHistogram { reset_hint, schema: h.schema, count: h.count, sum: h.sum, ..FloatHistogram::default() };
    Point { value: Value::Histogram(Arc::new(h)), ..*point }
}
