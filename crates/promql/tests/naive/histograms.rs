//! Arithmetic of histograms with what is said about it.

use super::{Naive, notes};
use model::FloatHistogram;

/// Which metric, and where in the query.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub name: &'a str,
    pub at: usize,
}

impl Naive<'_> {
    /// Adds; whether that could be done.
    pub fn add_histogram(&self, sum: &mut FloatHistogram, other: &FloatHistogram, place: Place<'_>) -> bool {
        match sum.add(other) {
            Err(_) => self.warn(notes::mixed_schemas(place.name), place.at),
            Ok(reconciled) => {
                if reconciled.bounds {
                    self.info(notes::bounds_reconciled("addition"), place.at);
                }
                return true;
            }
        }
        false
    }

    /// Subtracts; whether that could be done.
    pub fn subtract_histogram(&self, from: &mut FloatHistogram, other: &FloatHistogram, place: Place<'_>) -> bool {
        match from.subtract(other) {
            Err(_) => self.warn(notes::mixed_schemas(place.name), place.at),
            Ok(reconciled) => {
                if reconciled.bounds {
                    self.info(notes::bounds_reconciled("subtraction"), place.at);
                }
                return true;
            }
        }
        false
    }

    /// The histogram at `t` on a line through two. A counter that was reset between them began at zero.
    pub fn histogram_on_line(
        &self,
        a: (i64, &FloatHistogram),
        b: (i64, &FloatHistogram),
        t: i64,
        counter: bool,
        place: Place<'_>,
    ) -> Option<FloatHistogram> {
        if t == a.0 {
            return Some(a.1.clone());
        }
        if t == b.0 {
            return Some(b.1.clone());
        }
        let fraction = (t - a.0) as f64 / (b.0 - a.0) as f64;
        let mut result = b.1.clone();
        if counter && b.1.is_reset_since(a.1) {
            result.scale(fraction);
            return Some(result);
        }
        if !self.subtract_histogram(&mut result, a.1, place) {
            return None;
        }
        result.scale(fraction);
        self.add_histogram(&mut result, a.1, place).then_some(result)
    }
}

/// The sum of histograms with what rounding has lost of it.
#[derive(Clone, Default)]
struct Compensated {
    sum: FloatHistogram,
    c: Option<FloatHistogram>,
}

/// What adding up histograms came to.
#[derive(Default)]
pub struct Total {
    pub result: Option<FloatHistogram>,
    /// Which one was not of the kind of those before it.
    pub incompatible: Option<usize>,
    pub bounds_reconciled: bool,
}

/// The sum, or the mean: of the sum until that would overflow, from then on carried on itself.
pub fn total(histograms: &[&FloatHistogram], mean: bool) -> Total {
    let mut total = Total::default();
    let mut sum = Compensated { sum: histograms[0].clone(), c: None };
    let mut carried = false;
    for (i, h) in histograms.iter().enumerate().skip(1) {
        let count = (i + 1) as f64;
        if !carried {
            let mut next = sum.clone();
            match next.sum.add_compensated(h, &mut next.c) {
                Err(_) => return Total { incompatible: Some(i), ..total },
                Ok(reconciled) => total.bounds_reconciled |= reconciled.bounds,
            }
            if !mean || !next.sum.has_overflow() {
                sum = next;
                continue;
            }
            carried = true;
            sum.sum.divide(count - 1.0);
            sum.c.iter_mut().for_each(|c| c.divide(count - 1.0));
        }
        let q = (count - 1.0) / count;
        sum.sum.scale(q);
        sum.c.iter_mut().for_each(|c| c.scale(q));
        let mut part = (*h).clone();
        part.divide(count);
        match sum.sum.add_compensated(&part, &mut sum.c) {
            Err(_) => return Total { incompatible: Some(i), ..total },
            Ok(reconciled) => total.bounds_reconciled |= reconciled.bounds,
        }
    }
    if mean && !carried {
        sum.sum.divide(histograms.len() as f64);
        sum.c.iter_mut().for_each(|c| c.divide(histograms.len() as f64));
    }
    if let Some(c) = &sum.c {
        // They have the same layout.
        total.bounds_reconciled |= sum.sum.add(c).is_ok_and(|reconciled| reconciled.bounds);
    }
    total.result = Some(sum.sum);
    total
}
