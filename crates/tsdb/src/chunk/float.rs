//! The fields of float histograms: each a float of its own, as XOR with its predecessor.

use super::Encoding;
use super::bits::{Reader, Window, Writer};
use super::histogram::{ResetHeader, Shape};
use super::layout::Layout;
use model::value::STALE_NAN;
use model::{FloatHistogram, ResetHint, Span};
use std::sync::Arc;

/// Each field's window.
#[derive(Clone, Debug)]
pub(super) struct State {
    count: Window,
    zero_count: Window,
    sum: Window,
    buckets: [Vec<Window>; 2],
}

impl Shape for FloatHistogram {
    type Bucket = f64;
    type State = State;
    const BUCKET_BITS: usize = 64;
    const AFTER_GAUGES: ResetHeader = ResetHeader::Unknown;

    fn encoding(with_starts: bool) -> Encoding {
        if with_starts { Encoding::FloatHistogramSt } else { Encoding::FloatHistogram }
    }

    fn of_layout(layout: &Layout) -> Self {
        Self {
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            positive_spans: Arc::clone(&layout.spans[0]),
            negative_spans: Arc::clone(&layout.spans[1]),
            positive_counts: vec![0.0; layout.buckets(0)],
            negative_counts: vec![0.0; layout.buckets(1)],
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

    fn bucket_values(&self, side: usize) -> &[f64] {
        if side == 0 { &self.positive_counts } else { &self.negative_counts }
    }

    fn set_buckets(&mut self, side: usize, spans: Arc<[Span]>, buckets: Vec<f64>) {
        if side == 0 {
            (self.positive_spans, self.positive_counts) = (spans, buckets);
        } else {
            (self.negative_spans, self.negative_counts) = (spans, buckets);
        }
    }

    fn set_spans(&mut self, spans: &[Arc<[Span]>; 2]) {
        let [positive, negative] = spans.each_ref().map(Arc::clone);
        (self.positive_spans, self.negative_spans) = (positive, negative);
    }

    fn stale() -> Self {
        Self { sum: STALE_NAN, ..Self::default() }
    }

    fn count_of(_before: f64, bucket: f64) -> f64 {
        bucket
    }

    fn bucket_of(_before: f64, count: f64) -> f64 {
        count
    }

    fn count_below(&self, other: &Self) -> bool {
        self.count < other.count
    }

    fn zero_count_below(&self, other: &Self) -> bool {
        self.zero_count < other.zero_count
    }

    fn state(layout: &Layout) -> State {
        State {
            count: Window::NONE,
            zero_count: Window::NONE,
            sum: Window::NONE,
            buckets: [vec![Window::NONE; layout.buckets(0)], vec![Window::NONE; layout.buckets(1)]],
        }
    }

    fn write_first(&self, writer: &mut Writer) {
        for value in [self.count, self.zero_count, self.sum].iter().chain(&self.positive_counts).chain(&self.negative_counts) {
            writer.put(value.to_bits(), 64);
        }
    }

    fn write_next(&self, last: &Self, state: &mut State, writer: &mut Writer) {
        state.count.write(writer, last.count.to_bits(), self.count.to_bits());
        state.zero_count.write(writer, last.zero_count.to_bits(), self.zero_count.to_bits());
        state.sum.write(writer, last.sum.to_bits(), self.sum.to_bits());
        for (side, windows) in state.buckets.iter_mut().enumerate() {
            for ((new, old), window) in self.bucket_values(side).iter().zip(last.bucket_values(side)).zip(windows) {
                window.write(writer, old.to_bits(), new.to_bits());
            }
        }
    }

    fn read_first(&mut self, reader: &mut Reader<'_>) {
        let fields = [&mut self.count, &mut self.zero_count, &mut self.sum];
        for value in fields.into_iter().chain(&mut self.positive_counts).chain(&mut self.negative_counts) {
            *value = f64::from_bits(reader.take(64));
        }
    }

    fn read_next(&mut self, state: &mut State, reader: &mut Reader<'_>) -> Option<()> {
        fn next(window: &mut Window, value: &mut f64, reader: &mut Reader<'_>) -> Option<()> {
            let mut bits = value.to_bits();
            window.read(reader, &mut bits)?;
            *value = f64::from_bits(bits);
            Some(())
        }
        next(&mut state.count, &mut self.count, reader)?;
        next(&mut state.zero_count, &mut self.zero_count, reader)?;
        next(&mut state.sum, &mut self.sum, reader)?;
        if self.is_stale() {
            return Some(());
        }
        let [positive, negative] = &mut state.buckets;
        for (buckets, windows) in [(&mut self.positive_counts, positive), (&mut self.negative_counts, negative)] {
            for (bucket, window) in buckets.iter_mut().zip(windows) {
                next(window, bucket, reader)?;
            }
        }
        Some(())
    }

    fn to_float(&self) -> FloatHistogram {
        self.clone()
    }

    fn reduced(mut self, schema: i32) -> Option<Self> {
        self.reduce_resolution(schema).ok()?;
        Some(self)
    }
}
