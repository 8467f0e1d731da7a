//! Adding, subtracting and scaling histograms of different layouts.
//!
//! Two histograms add up in the coarser of their resolutions, with the wider of their zero buckets; custom bounds in those
//! that both have. Long sums are compensated bucket by bucket: the compensation is itself a histogram of the sum's layout.

use super::bounds::each;
use super::{FloatHistogram, ResetHint, SCHEMA_CUSTOM, Span};
use std::sync::Arc;

/// What adding or subtracting had to gloss over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One histogram was the first after a reset, the other none.
    pub resets_collide: bool,
    /// Custom bounds differed: those that both have were kept.
    pub bounds: bool,
}

/// Exponential and custom buckets do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// One bucket: index, count and what rounding has lost of it.
type Item = (i32, f64, f64);

/// How the buckets of the other histogram enter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Add,
    Subtract,
    /// Compensated addition.
    Kahan,
}

/// Kahan–Neumaier: adds to a sum and its compensation.
fn kahan(value: f64, sum: &mut f64, c: &mut f64) {
    let total = *sum + value;
    if total.is_infinite() {
        *c = 0.0;
    } else if sum.abs() >= value.abs() {
        *c += (*sum - total) + value;
    } else {
        *c += (value - total) + *sum;
    }
    *sum = total;
}

impl FloatHistogram {
    /// Are the bounds custom ones?
    pub fn has_custom_bounds(&self) -> bool {
        self.schema == SCHEMA_CUSTOM
    }

    /// Adds another histogram.
    ///
    /// # Errors
    /// If one has custom bounds and the other has not.
    pub fn add(&mut self, other: &Self) -> Result<Reconciled, IncompatibleSchemas> {
        self.combine(other, Mode::Add, None)
    }

    /// Subtracts another histogram; counts may become negative.
    ///
    /// # Errors
    /// As of [`Self::add`].
    pub fn subtract(&mut self, other: &Self) -> Result<Reconciled, IncompatibleSchemas> {
        self.combine(other, Mode::Subtract, None)
    }

    /// Adds another histogram and keeps what rounding loses in `compensation`, which is to be added at the end.
    ///
    /// # Errors
    /// As of [`Self::add`].
    pub fn add_compensated(&mut self, other: &Self, compensation: &mut Option<Self>) -> Result<Reconciled, IncompatibleSchemas> {
        self.combine(other, Mode::Kahan, Some(compensation))
    }

    fn combine(&mut self, other: &Self, mode: Mode, compensation: Option<&mut Option<Self>>) -> Result<Reconciled, IncompatibleSchemas> {
        if self.has_custom_bounds() != other.has_custom_bounds() {
            return Err(IncompatibleSchemas);
        }
        let resets_collide = self.meet_hint(other);
        let mut none = None;
        let c = match compensation {
            Some(slot) => Some(slot.get_or_insert_with(|| self.compensation())),
            None => none.as_mut(),
        };
        let mut unused = Self::default();
        let compensated = c.is_some();
        let c = c.unwrap_or(&mut unused);
        let bounds = if self.has_custom_bounds() {
            self.combine_totals(other, mode, c);
            self.combine_custom(other, mode, compensated.then_some(&mut *c))
        } else {
            let (zero, zero_lost) = self.widen_zero(other, compensated.then_some(&mut *c));
            match mode {
                Mode::Add => self.zero_count += zero,
                Mode::Subtract => self.zero_count -= zero,
                Mode::Kahan => {
                    kahan(zero, &mut self.zero_count, &mut c.zero_count);
                    kahan(zero_lost, &mut self.zero_count, &mut c.zero_count);
                }
            }
            self.combine_totals(other, mode, c);
            self.combine_exponential(other, mode, compensated.then_some(&mut *c));
            false
        };
        Ok(Reconciled { resets_collide, bounds })
    }

    fn combine_totals(&mut self, other: &Self, mode: Mode, c: &mut Self) {
        match mode {
            Mode::Add => {
                self.count += other.count;
                self.sum += other.sum;
            }
            Mode::Subtract => {
                self.count -= other.count;
                self.sum -= other.sum;
            }
            Mode::Kahan => {
                kahan(other.count, &mut self.count, &mut c.count);
                kahan(other.sum, &mut self.sum, &mut c.sum);
            }
        }
    }

    fn combine_exponential(&mut self, other: &Self, mode: Mode, mut c: Option<&mut Self>) {
        let schema = self.schema.min(other.schema);
        let threshold = self.zero_threshold;
        for positive in [true, false] {
            if mode != Mode::Kahan && self.add_in_place(other, mode, positive) {
                continue;
            }
            let lost = c.as_deref().map(|c| c.side(positive).1);
            let mut mine = items(self.side(positive), lost);
            let mut theirs = items(other.side(positive), None);
            coarsen(&mut mine, self.schema - schema);
            coarsen(&mut theirs, other.schema - schema);
            // What begins in the zero bucket was counted there.
            let inside = theirs.iter().take_while(|(index, ..)| super::bounds::exponential(*index, schema) <= threshold).count();
            theirs.drain(..inside);
            let joined = joined(&mine, &theirs, mode);
            self.set_side(positive, joined, c.as_deref_mut());
        }
        self.schema = schema;
        if let Some(c) = c {
            c.schema = schema;
            c.zero_threshold = threshold;
        }
    }

    /// Adds bucket by bucket where layouts are the same, as they mostly are.
    fn add_in_place(&mut self, other: &Self, mode: Mode, positive: bool) -> bool {
        let (spans, theirs) = other.side(positive);
        let same = self.schema == other.schema && *self.side(positive).0 == *spans;
        let mine = if positive { &mut self.positive_counts } else { &mut self.negative_counts };
        let first = spans.first().map_or(0, |span| span.offset);
        if !same || mine.len() != theirs.len() || super::bounds::exponential(first, self.schema) <= self.zero_threshold {
            return false;
        }
        for (mine, theirs) in mine.iter_mut().zip(theirs) {
            *mine = if mode == Mode::Subtract { *mine - theirs } else { *mine + theirs };
        }
        true
    }

    /// Adds custom buckets; whether bounds differed.
    fn combine_custom(&mut self, other: &Self, mode: Mode, c: Option<&mut Self>) -> bool {
        if same_bounds(&self.custom_values, &other.custom_values) {
            let lost = c.as_deref().map(|c| c.side(true).1);
            let mine = items(self.side(true), lost);
            let joined = joined(&mine, &items(other.side(true), None), mode);
            self.set_side(true, joined, c);
            return false;
        }
        let common = common_bounds(&self.custom_values, &other.custom_values);
        let mut target = vec![(0.0, 0.0); common.len() + 1];
        let lost = c.as_deref().map(|c| c.side(true).1);
        for (index, count, lost) in items(self.side(true), lost) {
            let at = target_of(index, &self.custom_values, &common);
            let (sum, sum_lost) = &mut target[at];
            kahan(count, sum, sum_lost);
            if c.is_some() {
                kahan(lost, sum, sum_lost);
            }
        }
        for (index, count, _) in items(other.side(true), None) {
            let at = target_of(index, &other.custom_values, &common);
            let count = if mode == Mode::Subtract { -count } else { count };
            let (sum, lost) = &mut target[at];
            kahan(count, sum, lost);
        }
        let filled = target.into_iter().enumerate().filter(|(_, (count, lost))| *count != 0.0 || *lost != 0.0);
        let filled: Vec<Item> = filled.map(|(at, (count, lost))| (at as i32, count, lost)).collect();
        self.custom_values = common.into();
        match c {
            Some(c) => {
                c.custom_values = Arc::clone(&self.custom_values);
                self.set_side(true, filled, Some(c));
            }
            None => self.set_side(true, filled, None),
        }
        true
    }

    /// The hint of a result; whether the two contradict each other.
    fn meet_hint(&mut self, other: &Self) -> bool {
        use ResetHint::{Gauge, Unknown};
        let (mine, theirs) = (self.reset_hint, other.reset_hint);
        if mine == theirs || mine == Gauge || (mine == Unknown && theirs != Gauge) {
            return false;
        }
        self.reset_hint = if theirs == Gauge { Gauge } else { Unknown };
        theirs != Gauge && theirs != Unknown
    }

    /// Nothing yet, in the layout of this histogram.
    fn compensation(&self) -> Self {
        Self {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive_spans: Arc::clone(&self.positive_spans),
            negative_spans: Arc::clone(&self.negative_spans),
            positive_counts: vec![0.0; self.positive_counts.len()],
            negative_counts: vec![0.0; self.negative_counts.len()],
            custom_values: Arc::clone(&self.custom_values),
            ..Self::default()
        }
    }

    fn side(&self, positive: bool) -> (&[Span], &[f64]) {
        if positive { (&self.positive_spans, &self.positive_counts) } else { (&self.negative_spans, &self.negative_counts) }
    }

    /// Sets one side's buckets, here and in the compensation.
    fn set_side(&mut self, positive: bool, items: Vec<Item>, c: Option<&mut Self>) {
        let spans = spans_of(&items);
        let set = |histogram: &mut Self, counts: Vec<f64>, spans: Arc<[Span]>| {
            if positive {
                (histogram.positive_spans, histogram.positive_counts) = (spans, counts);
            } else {
                (histogram.negative_spans, histogram.negative_counts) = (spans, counts);
            }
        };
        if let Some(c) = c {
            set(c, items.iter().map(|(_, _, lost)| *lost).collect(), Arc::clone(&spans));
        }
        set(self, items.into_iter().map(|(_, count, _)| count).collect(), spans);
    }

    /// Widens the zero bucket to that of the other histogram; gives what the other has in a zero bucket of that width.
    fn widen_zero(&mut self, other: &Self, mut c: Option<&mut Self>) -> (f64, f64) {
        let (mut zero, mut threshold, mut lost) = (other.zero_count, other.zero_threshold, 0.0);
        // NaN would never be equal to anything.
        while threshold != self.zero_threshold && !threshold.is_nan() && !self.zero_threshold.is_nan() {
            if self.zero_threshold > threshold {
                (zero, threshold, lost) = other.zero_within(self.zero_threshold, None);
            }
            if threshold > self.zero_threshold {
                let my_lost;
                (self.zero_count, self.zero_threshold, my_lost) = self.zero_within(threshold, c.as_deref());
                if let Some(c) = c.as_deref_mut() {
                    c.zero_count = my_lost;
                }
                self.empty_zero(c.as_deref_mut());
            }
        }
        (zero, lost)
    }

    /// Observations in a zero bucket of that width, which grows further where it would cut a bucket; its width; and what
    /// rounding has lost.
    fn zero_within(&self, threshold: f64, c: Option<&Self>) -> (f64, f64, f64) {
        let mut lost = c.map_or(0.0, |c| c.zero_count);
        let mut threshold = threshold;
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold, lost);
        }
        'outer: loop {
            let mut count = self.zero_count;
            for positive in [true, false] {
                for (at, (index, bucket)) in each(self.side(positive).0, self.side(positive).1).enumerate() {
                    let (near, far) = (self.bound(index.wrapping_sub(1)), self.bound(index));
                    if near >= threshold {
                        break;
                    }
                    kahan(bucket, &mut count, &mut lost);
                    if let Some(more) = c.and_then(|c| c.side(positive).1.get(at)) {
                        kahan(*more, &mut count, &mut lost);
                    }
                    if far > threshold {
                        if bucket != 0.0 {
                            threshold = far;
                            if !positive {
                                continue 'outer;
                            }
                        }
                        break;
                    }
                }
            }
            return (count, threshold, lost);
        }
    }

    /// Takes away the buckets that begin in the zero bucket, and empty ones.
    fn empty_zero(&mut self, mut c: Option<&mut Self>) {
        for positive in [true, false] {
            let lost = c.as_deref().map(|c| c.side(positive).1);
            let mut items = items(self.side(positive), lost);
            let inside = items.iter().take_while(|(index, ..)| self.bound(index.wrapping_sub(1)) < self.zero_threshold).count();
            items.drain(..inside);
            items.retain(|(_, count, lost)| *count != 0.0 || *lost != 0.0);
            self.set_side(positive, items, c.as_deref_mut());
        }
    }

    /// Multiplies all counts and the sum.
    pub fn scale(&mut self, factor: f64) {
        self.change(|value| value * factor);
        if factor < 0.0 {
            self.reset_hint = ResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum; division by zero leaves no buckets.
    pub fn divide(&mut self, divisor: f64) {
        if divisor == 0.0 {
            (self.positive_spans, self.negative_spans) = Default::default();
            (self.positive_counts, self.negative_counts) = Default::default();
        }
        self.change(|value| value / divisor);
        if divisor < 0.0 {
            self.reset_hint = ResetHint::Gauge;
        }
    }

    fn change(&mut self, f: impl Fn(f64) -> f64) {
        let totals = [&mut self.zero_count, &mut self.count, &mut self.sum];
        totals.into_iter().chain(&mut self.positive_counts).chain(&mut self.negative_counts).for_each(|value| *value = f(*value));
    }

    /// Is any number in it infinite?
    pub fn has_overflow(&self) -> bool {
        let totals = [self.zero_count, self.count, self.sum];
        let buckets = self.positive_counts.iter().chain(&self.negative_counts).chain(self.custom_values.iter());
        totals.iter().chain(buckets).any(|value| value.is_infinite())
    }

    /// Was there a counter reset between `previous` and this?
    pub fn is_reset_since(&self, previous: &Self) -> bool {
        match self.reset_hint {
            ResetHint::Reset => return true,
            ResetHint::NoReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.has_custom_bounds() {
            if !previous.has_custom_bounds() {
                return true;
            }
            if !same_bounds(&self.custom_values, &previous.custom_values) {
                return self.is_reset_between_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (zero, threshold, _) = previous.zero_within(self.zero_threshold, None);
        if threshold != self.zero_threshold || self.zero_count < zero {
            return true;
        }
        [true, false].into_iter().any(|positive| {
            let visible = |histogram: &Self| {
                let mut items = items(histogram.side(positive), None);
                coarsen(&mut items, histogram.schema - self.schema);
                if !self.has_custom_bounds() && self.zero_threshold != 0.0 {
                    let bound = |index: i32| super::bounds::exponential(index, self.schema);
                    let inside = items.iter().take_while(|(index, ..)| bound(*index) <= self.zero_threshold).count();
                    items.drain(..inside);
                }
                items
            };
            if self.schema == previous.schema && self.zero_threshold == 0.0 && Arc::ptr_eq(self.spans(positive), previous.spans(positive)) {
                let (now, before) = (self.side(positive).1, previous.side(positive).1);
                return now.iter().zip(before).any(|(now, before)| now < before);
            }
            let (now, before) = (visible(self), visible(previous));
            let mut rest = now.iter().peekable();
            before.iter().any(|(index, count, _)| {
                while rest.next_if(|(at, ..)| at < index).is_some() {}
                match rest.peek() {
                    Some((at, now, _)) if at == index => now < count,
                    _ => *count != 0.0,
                }
            })
        })
    }

    fn spans(&self, positive: bool) -> &Arc<[Span]> {
        if positive { &self.positive_spans } else { &self.negative_spans }
    }

    /// Different custom bounds: has the count between two that both have gone down?
    fn is_reset_between_bounds(&self, previous: &Self) -> bool {
        let common = common_bounds(&self.custom_values, &previous.custom_values);
        let sums = |histogram: &Self| {
            let mut sums = vec![0.0; common.len() + 1];
            for (index, count, _) in items(histogram.side(true), None) {
                sums[target_of(index, &histogram.custom_values, &common)] += count;
            }
            sums
        };
        sums(self).iter().zip(sums(previous)).any(|(now, before)| *now < before)
    }
}

fn same_bounds(left: &[f64], right: &[f64]) -> bool {
    left == right
}

/// Bounds, both ascending, that are in both.
fn common_bounds(left: &[f64], right: &[f64]) -> Vec<f64> {
    let mut right = right.iter().peekable();
    let mut common = Vec::new();
    for bound in left {
        while right.next_if(|other| *other < bound).is_some() {}
        common.extend(right.next_if(|other| *other == bound).copied());
    }
    common
}

/// Where a custom bucket lies among the common bounds; the last place is that of the infinite bucket.
fn target_of(index: i32, bounds: &[f64], common: &[f64]) -> usize {
    let bound = usize::try_from(index).ok().and_then(|at| bounds.get(at));
    bound.map_or(common.len(), |bound| common.partition_point(|other| other < bound))
}

fn items((spans, counts): (&[Span], &[f64]), lost: Option<&[f64]>) -> Vec<Item> {
    let lost = |at: usize| lost.and_then(|lost| lost.get(at)).copied().unwrap_or(0.0);
    each(spans, counts).enumerate().map(|(at, (index, count))| (index, count, lost(at))).collect()
}

fn spans_of(items: &[Item]) -> Arc<[Span]> {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0i32;
    for (index, ..) in items {
        match spans.last_mut() {
            Some(span) if *index == next => span.len += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(next), len: 1 }),
        }
        next = index.wrapping_add(1);
    }
    spans.into()
}

/// Merges `2^steps` neighbours into one. Sums are those of plain addition where nothing was lost before.
fn coarsen(items: &mut Vec<Item>, steps: i32) {
    if steps <= 0 {
        return;
    }
    let mut merged: Vec<Item> = Vec::with_capacity(items.len());
    for (index, count, lost) in items.drain(..) {
        let index = (index.wrapping_sub(1) >> steps.min(31)).wrapping_add(1);
        match merged.last_mut() {
            Some((last, sum, c)) if *last == index => {
                kahan(count, sum, c);
                kahan(lost, sum, c);
            }
            _ => merged.push((index, count, lost)),
        }
    }
    *items = merged;
}

/// The buckets of both, ascending.
fn joined(mine: &[Item], theirs: &[Item], mode: Mode) -> Vec<Item> {
    let mut out = Vec::with_capacity(mine.len().max(theirs.len()));
    let mut theirs = theirs.iter().copied().peekable();
    let signed = |(index, count, lost): Item| if mode == Mode::Subtract { (index, -count, -lost) } else { (index, count, lost) };
    for (index, mut count, mut lost) in mine.iter().copied() {
        while let Some(before) = theirs.next_if(|(at, ..)| *at < index) {
            out.push(signed(before));
        }
        if let Some((_, more, more_lost)) = theirs.next_if(|(at, ..)| *at == index).map(signed) {
            if mode == Mode::Kahan {
                kahan(more, &mut count, &mut lost);
                if more_lost != 0.0 {
                    kahan(more_lost, &mut count, &mut lost);
                }
            } else {
                count += more;
            }
        }
        out.push((index, count, lost));
    }
    out.extend(theirs.map(signed));
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn exponential(schema: i32, offset: i32, counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: counts.iter().sum(),
            positive_spans: vec![Span { offset, len: counts.len() as u32 }].into(),
            positive_counts: counts.to_vec(),
            ..FloatHistogram::default()
        }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
        FloatHistogram { custom_values: bounds.into(), ..exponential(SCHEMA_CUSTOM, 0, counts) }
    }

    #[test]
    fn the_coarser_resolution_wins() {
        let mut sum = exponential(1, 0, &[1.0, 2.0, 3.0]);
        sum.add(&exponential(0, 0, &[10.0, 0.0, 5.0])).unwrap();
        assert_eq!((sum.schema, sum.count), (0, 21.0));
        // Index 0 stays, 1 and 2 become 1.
        assert_eq!(sum.positive_counts, [11.0, 5.0, 5.0]);
        sum.subtract(&exponential(0, 0, &[10.0, 0.0, 5.0])).unwrap();
        assert_eq!(sum.positive_counts, [1.0, 5.0, 0.0]);
    }

    #[test]
    fn the_wider_zero_bucket_swallows_buckets() {
        let mut narrow = exponential(0, -2, &[1.0, 2.0, 3.0]);
        let wide = FloatHistogram { zero_threshold: 0.3, zero_count: 7.0, count: 7.0, ..FloatHistogram::default() };
        // (0.125, 0.25] and (0.25, 0.5], which 0.3 cuts, are swallowed.
        narrow.add(&wide).unwrap();
        assert_eq!((narrow.zero_threshold, narrow.zero_count), (0.5, 10.0));
        assert_eq!((&narrow.positive_counts[..], narrow.positive_spans[0].offset), (&[3.0][..], 0));
    }

    #[test]
    fn bounds_that_both_have_stay() {
        let mut sum = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0, 8.0]);
        assert!(sum.add(&custom(&[2.0, 5.0], &[16.0, 32.0, 64.0])).unwrap().bounds);
        assert_eq!((&sum.custom_values[..], &sum.positive_counts[..]), (&[2.0][..], &[19.0, 108.0][..]));
        assert_eq!(sum.add(&exponential(0, 0, &[1.0])), Err(IncompatibleSchemas));
    }

    #[test]
    fn what_rounding_loses_comes_back() {
        let mut sum = exponential(0, 0, &[1e17]);
        let mut lost = None;
        for _ in 0..16 {
            sum.add_compensated(&exponential(0, 0, &[1.0]), &mut lost).unwrap();
        }
        sum.add(&lost.unwrap()).unwrap();
        assert_eq!(sum.positive_counts, [1e17 + 16.0]);
    }

    #[test]
    fn resets() {
        let before = exponential(1, 0, &[1.0, 2.0, 3.0]);
        assert!(!exponential(1, 0, &[1.0, 2.0, 3.0, 1.0]).is_reset_since(&before));
        assert!(exponential(1, 0, &[1.0, 1.0, 3.0, 9.0]).is_reset_since(&before));
        assert!(exponential(1, 1, &[2.0, 3.0, 9.0]).is_reset_since(&before));
        assert!(exponential(2, 0, &[1.0, 2.0, 3.0, 9.0]).is_reset_since(&before));
        assert!(!exponential(0, 0, &[1.0, 5.0]).is_reset_since(&before));
        let hinted = FloatHistogram { reset_hint: ResetHint::Reset, ..before.clone() };
        assert!(hinted.is_reset_since(&before));
        let bounds = custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]);
        assert!(!custom(&[2.0], &[3.0, 3.0]).is_reset_since(&bounds));
        assert!(custom(&[2.0], &[2.0, 9.0]).is_reset_since(&bounds));
    }

    #[test]
    fn hints_of_results() {
        use ResetHint::*;
        for (left, right, want, collide) in [
            (Unknown, Reset, Unknown, false),
            (Reset, NoReset, Unknown, true),
            (NoReset, Gauge, Gauge, false),
            (Gauge, Reset, Gauge, false),
        ] {
            let mut sum = FloatHistogram { reset_hint: left, ..FloatHistogram::default() };
            let reconciled = sum.add(&FloatHistogram { reset_hint: right, ..FloatHistogram::default() }).unwrap();
            assert_eq!((sum.reset_hint, reconciled.resets_collide), (want, collide));
        }
        let mut negated = FloatHistogram::default();
        negated.scale(-1.0);
        assert_eq!(negated.reset_hint, Gauge);
    }
}
