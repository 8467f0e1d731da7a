//! The fields of integer histograms: counts and buckets as changes of differences, the sum as XOR.

use super::Encoding;
use super::bits::{Reader, Window, Writer};
use super::histogram::{ResetHeader, Shape};
use super::layout::Layout;
use model::value::STALE_NAN;
use model::{FloatHistogram, Histogram, ResetHint, Span};
use std::sync::Arc;

/// Differences between the last two samples.
#[derive(Clone, Debug)]
pub(super) struct State {
    count: i64,
    zero_count: i64,
    buckets: [Vec<i64>; 2],
    sum: Window,
}

impl Shape for Histogram {
    type Bucket = i64;
    type State = State;
    const BUCKET_BITS: usize = 1;
    const AFTER_GAUGES: ResetHeader = ResetHeader::NotReset;

    fn encoding(with_starts: bool) -> Encoding {
        if with_starts { Encoding::HistogramSt } else { Encoding::Histogram }
    }

    fn of_layout(layout: &Layout) -> Self {
        Self {
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            positive_spans: Arc::clone(&layout.spans[0]),
            negative_spans: Arc::clone(&layout.spans[1]),
            positive_deltas: vec![0; layout.buckets(0)],
            negative_deltas: vec![0; layout.buckets(1)],
            custom_values: Arc::clone(&layout.custom_values),
            ..Self::default()
        }
    }

    fn layout(&self) -> Layout {
        Layout {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            spans: [Arc::clone(&self.positive_spans), Arc::clone(&self.negative_spans)],
            custom_values: Arc::clone(&self.custom_values),
        }
    }

    fn hint(&self) -> ResetHint {
        self.reset_hint
    }

    fn set_hint(&mut self, hint: ResetHint) {
        self.reset_hint = hint;
    }

    fn sum(&self) -> f64 {
        self.sum
    }

    fn schema(&self) -> i32 {
        self.schema
    }

    fn zero_threshold(&self) -> f64 {
        self.zero_threshold
    }

    fn custom_values(&self) -> &[f64] {
        &self.custom_values
    }

    fn spans(&self, side: usize) -> &Arc<[Span]> {
        if side == 0 { &self.positive_spans } else { &self.negative_spans }
    }

    fn bucket_values(&self, side: usize) -> &[i64] {
        if side == 0 { &self.positive_deltas } else { &self.negative_deltas }
    }

    fn set_buckets(&mut self, side: usize, spans: Arc<[Span]>, buckets: Vec<i64>) {
        if side == 0 {
            (self.positive_spans, self.positive_deltas) = (spans, buckets);
        } else {
            (self.negative_spans, self.negative_deltas) = (spans, buckets);
        }
    }

    fn set_spans(&mut self, spans: &[Arc<[Span]>; 2]) {
        let [positive, negative] = spans.each_ref().map(Arc::clone);
        (self.positive_spans, self.negative_spans) = (positive, negative);
    }

    fn stale() -> Self {
        Self { sum: STALE_NAN, ..Self::default() }
    }

    fn count_of(before: i64, bucket: i64) -> i64 {
        before.wrapping_add(bucket)
    }

    fn bucket_of(before: i64, count: i64) -> i64 {
        count.wrapping_sub(before)
    }

    fn count_below(&self, other: &Self) -> bool {
        self.count < other.count
    }

    fn zero_count_below(&self, other: &Self) -> bool {
        self.zero_count < other.zero_count
    }

    fn state(layout: &Layout) -> State {
        State { count: 0, zero_count: 0, buckets: [vec![0; layout.buckets(0)], vec![0; layout.buckets(1)]], sum: Window::NONE }
    }

    fn write_first(&self, writer: &mut Writer) {
        writer.varbit_unsigned(self.count);
        writer.varbit_unsigned(self.zero_count);
        writer.put(self.sum.to_bits(), 64);
        for bucket in self.positive_deltas.iter().chain(&self.negative_deltas) {
            writer.varbit(*bucket);
        }
    }

    fn write_next(&self, last: &Self, state: &mut State, writer: &mut Writer) {
        if self.is_stale() {
            // No change of either difference, whatever they are.
            writer.put(0, 2);
            return state.sum.write(writer, last.sum.to_bits(), self.sum.to_bits());
        }
        let mut change = |new: u64, old: u64, delta: &mut i64| {
            let now = new.wrapping_sub(old) as i64;
            writer.varbit(now.wrapping_sub(*delta));
            *delta = now;
        };
        change(self.count, last.count, &mut state.count);
        change(self.zero_count, last.zero_count, &mut state.zero_count);
        state.sum.write(writer, last.sum.to_bits(), self.sum.to_bits());
        for (side, deltas) in state.buckets.iter_mut().enumerate() {
            for ((new, old), delta) in self.bucket_values(side).iter().zip(last.bucket_values(side)).zip(deltas) {
                let now = new.wrapping_sub(*old);
                writer.varbit(now.wrapping_sub(*delta));
                *delta = now;
            }
        }
    }

    fn read_first(&mut self, reader: &mut Reader<'_>) {
        self.count = reader.varbit_unsigned();
        self.zero_count = reader.varbit_unsigned();
        self.sum = f64::from_bits(reader.take(64));
        for bucket in self.positive_deltas.iter_mut().chain(&mut self.negative_deltas) {
            *bucket = reader.varbit();
        }
    }

    fn read_next(&mut self, state: &mut State, reader: &mut Reader<'_>) -> Option<()> {
        state.count = state.count.wrapping_add(reader.varbit());
        self.count = self.count.wrapping_add(state.count as u64);
        state.zero_count = state.zero_count.wrapping_add(reader.varbit());
        self.zero_count = self.zero_count.wrapping_add(state.zero_count as u64);
        let mut sum = self.sum.to_bits();
        state.sum.read(reader, &mut sum)?;
        self.sum = f64::from_bits(sum);
        if self.is_stale() {
            return Some(());
        }
        let [positive, negative] = &mut state.buckets;
        for (buckets, deltas) in [(&mut self.positive_deltas, positive), (&mut self.negative_deltas, negative)] {
            for (bucket, delta) in buckets.iter_mut().zip(deltas) {
                *delta = delta.wrapping_add(reader.varbit());
                *bucket = bucket.wrapping_add(*delta);
            }
        }
        Some(())
    }

    fn to_float(&self) -> FloatHistogram {
        self.to_float()
    }

    fn reduced(mut self, schema: i32) -> Option<Self> {
        self.reduce_resolution(schema).ok()?;
        Some(self)
    }
}
