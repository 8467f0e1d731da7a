//! Records of native histograms: three layouts of the rows' refs and times, two kinds of counts.

use super::wire::{FollowUp, Rest, Starts, put_uvarint, put_varint};
use super::{
    CUSTOM_BUCKETS_FLOAT_HISTOGRAMS, CUSTOM_BUCKETS_HISTOGRAMS, FLOAT_HISTOGRAMS, FLOAT_HISTOGRAMS_V2, HISTOGRAMS, HISTOGRAMS_V2, Malformed,
};
use model::histogram::{FloatHistogram, Histogram, ResetHint, Span};
use std::sync::Arc;
use storage::SeriesRef;

/// Which record of histograms is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Exponential buckets, no start timestamps.
    Exponential,
    /// Custom buckets, no start timestamps.
    CustomBuckets,
    /// Buckets of any kind with start timestamps. Older versions of Prometheus skip it.
    WithStarts,
}

/// A histogram that a record can hold.
pub trait Buckets: Default + body::Body {
    /// Whether its buckets' bounds are listed with it.
    fn has_custom_buckets(&self) -> bool;
}

impl Buckets for Histogram {
    fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}

impl Buckets for FloatHistogram {
    fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}

/// Writes one record of histograms into a buffer. Nothing is written before the first push.
pub struct HistogramsEncoder<'a> {
    to: &'a mut Vec<u8>,
    layout: Layout,
    base: Option<(SeriesRef, i64)>,
    starts: Option<Starts>,
}

impl<'a> HistogramsEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>, layout: Layout) -> Self {
        Self { to, layout, base: None, starts: None }
    }

    /// Adds a histogram. All of one record have the same type `H`, and buckets as the layout says; a layout without starts
    /// does not store `start`.
    pub fn push<H: Buckets>(&mut self, series: SeriesRef, start: i64, time: i64, histogram: &H) {
        let kind = H::KINDS[self.layout as usize];
        if self.layout == Layout::WithStarts {
            FollowUp { series, start, time }.put(self.to, kind, &mut self.starts);
        } else {
            let (base_series, base_time) = *self.base.get_or_insert_with(|| {
                self.to.push(kind);
                self.to.extend_from_slice(&series.0.to_be_bytes());
                self.to.extend_from_slice(&time.to_be_bytes());
                (series, time)
            });
            put_varint(self.to, series.0.wrapping_sub(base_series.0) as i64);
            put_varint(self.to, time.wrapping_sub(base_time));
        }
        histogram.put(self.to);
    }
}

/// Visits the histograms of a record of any of the three layouts: ref, start (0 is none), time, and a histogram that the
/// visitor may change or take; its buffers serve again for the next one.
///
/// The histogram is as it was written: whether its schema is known and its buckets make sense is the visitor's to ask.
///
/// # Errors
/// [`Malformed`], after the histograms before the fault were visited.
pub fn decode_histograms<H: Buckets>(record: &[u8], mut visit: impl FnMut(SeriesRef, i64, i64, &mut H)) -> Result<(), Malformed> {
    let (first, bytes) = record.split_first().ok_or(Malformed::Empty)?;
    let mut rest = Rest::after_kind(bytes);
    let mut histogram = H::default();
    let mut layouts = Layouts::default();
    if *first == H::KINDS[Layout::WithStarts as usize] {
        let mut starts = None;
        while !rest.is_empty() {
            let FollowUp { series, start, time } = FollowUp::read(&mut rest, &mut starts)?;
            histogram.read(&mut rest, &mut layouts)?;
            visit(series, start, time, &mut histogram);
        }
        return Ok(());
    }
    if !H::KINDS.contains(first) {
        return Err(Malformed::Kind(*first));
    }
    let Some(base) = rest.base()? else { return Ok(()) };
    while !rest.is_empty() {
        let series = SeriesRef(base.0.wrapping_add(rest.varint("histogram ref")? as u64));
        let time = base.1.wrapping_add(rest.varint("histogram time")?);
        histogram.read(&mut rest, &mut layouts)?;
        visit(series, 0, time, &mut histogram);
    }
    Ok(())
}

mod body {
    use super::{Layouts, Malformed, Rest};

    /// How a histogram lies in a record.
    pub trait Body {
        /// First bytes of its records, in the order of [`super::Layout`].
        const KINDS: [u8; 3];
        fn read(&mut self, rest: &mut Rest<'_>, layouts: &mut Layouts) -> Result<(), Malformed>;
        fn put(&self, to: &mut Vec<u8>);
    }
}

/// The layouts of the histogram before, which the next one most often shares, and room to read into.
#[derive(Default)]
pub struct Layouts {
    /// Of positive and negative buckets.
    spans: [Arc<[Span]>; 2],
    custom_values: Arc<[f64]>,
    read_spans: Vec<Span>,
    read_values: Vec<f64>,
}

impl Layouts {
    fn spans(&mut self, rest: &mut Rest<'_>, side: usize) -> Result<Arc<[Span]>, Malformed> {
        self.read_spans.clear();
        for _ in 0..rest.count(SPAN_LEN_MIN, "spans")? {
            let offset = i32::try_from(rest.varint("span")?).map_err(|_| Malformed::Number("span"))?;
            let len = u32::try_from(rest.uvarint("span")?).map_err(|_| Malformed::Number("span"))?;
            self.read_spans.push(Span { offset, len });
        }
        if *self.spans[side] != *self.read_spans {
            self.spans[side] = self.read_spans.as_slice().into();
        }
        Ok(self.spans[side].clone())
    }

    fn custom_values(&mut self, rest: &mut Rest<'_>, schema: i32) -> Result<Arc<[f64]>, Malformed> {
        self.read_values.clear();
        if schema == CUSTOM_BUCKETS_SCHEMA {
            read_floats(rest, &mut self.read_values)?;
        }
        // By bits: a zero has two.
        if self.custom_values.iter().map(|value| value.to_bits()).ne(self.read_values.iter().map(|value| value.to_bits())) {
            self.custom_values = self.read_values.as_slice().into();
        }
        Ok(self.custom_values.clone())
    }
}

/// The schema whose bounds are listed with each histogram.
const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// Least bytes of a span, an integer bucket and a float.
const SPAN_LEN_MIN: usize = 2;
const DELTA_LEN_MIN: usize = 1;
const FLOAT_LEN: usize = 8;

impl body::Body for Histogram {
    const KINDS: [u8; 3] = [HISTOGRAMS, CUSTOM_BUCKETS_HISTOGRAMS, HISTOGRAMS_V2];

    fn read(&mut self, rest: &mut Rest<'_>, layouts: &mut Layouts) -> Result<(), Malformed> {
        (self.reset_hint, self.schema, self.zero_threshold) = read_start(rest)?;
        self.zero_count = rest.uvarint("zero count")?;
        self.count = rest.uvarint("count")?;
        self.sum = rest.f64("sum")?;
        self.positive_spans = layouts.spans(rest, 0)?;
        self.negative_spans = layouts.spans(rest, 1)?;
        read_deltas(rest, &mut self.positive_deltas)?;
        read_deltas(rest, &mut self.negative_deltas)?;
        self.custom_values = layouts.custom_values(rest, self.schema)?;
        Ok(())
    }

    fn put(&self, to: &mut Vec<u8>) {
        put_start(to, self.reset_hint, self.schema, self.zero_threshold);
        put_uvarint(to, self.zero_count);
        put_uvarint(to, self.count);
        put_f64(to, self.sum);
        put_spans(to, &self.positive_spans);
        put_spans(to, &self.negative_spans);
        for deltas in [&self.positive_deltas, &self.negative_deltas] {
            put_uvarint(to, deltas.len() as u64);
            deltas.iter().for_each(|delta| put_varint(to, *delta));
        }
        put_custom_values(to, self.schema, &self.custom_values);
    }
}

impl body::Body for FloatHistogram {
    const KINDS: [u8; 3] = [FLOAT_HISTOGRAMS, CUSTOM_BUCKETS_FLOAT_HISTOGRAMS, FLOAT_HISTOGRAMS_V2];

    fn read(&mut self, rest: &mut Rest<'_>, layouts: &mut Layouts) -> Result<(), Malformed> {
        (self.reset_hint, self.schema, self.zero_threshold) = read_start(rest)?;
        self.zero_count = rest.f64("zero count")?;
        self.count = rest.f64("count")?;
        self.sum = rest.f64("sum")?;
        self.positive_spans = layouts.spans(rest, 0)?;
        self.negative_spans = layouts.spans(rest, 1)?;
        read_floats(rest, &mut self.positive_counts)?;
        read_floats(rest, &mut self.negative_counts)?;
        self.custom_values = layouts.custom_values(rest, self.schema)?;
        Ok(())
    }

    fn put(&self, to: &mut Vec<u8>) {
        put_start(to, self.reset_hint, self.schema, self.zero_threshold);
        put_f64(to, self.zero_count);
        put_f64(to, self.count);
        put_f64(to, self.sum);
        put_spans(to, &self.positive_spans);
        put_spans(to, &self.negative_spans);
        put_floats(to, &self.positive_counts);
        put_floats(to, &self.negative_counts);
        put_custom_values(to, self.schema, &self.custom_values);
    }
}

fn put_start(to: &mut Vec<u8>, reset_hint: ResetHint, schema: i32, zero_threshold: f64) {
    to.push(match reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NoReset => 2,
        ResetHint::Gauge => 3,
    });
    put_varint(to, i64::from(schema));
    put_f64(to, zero_threshold);
}

fn read_start(rest: &mut Rest<'_>) -> Result<(ResetHint, i32, f64), Malformed> {
    let reset_hint = match rest.u8("counter reset hint")? {
        1 => ResetHint::Reset,
        2 => ResetHint::NoReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    };
    let schema = i32::try_from(rest.varint("schema")?).map_err(|_| Malformed::Number("schema"))?;
    Ok((reset_hint, schema, rest.f64("zero threshold")?))
}

fn put_spans(to: &mut Vec<u8>, spans: &[Span]) {
    put_uvarint(to, spans.len() as u64);
    for span in spans {
        put_varint(to, i64::from(span.offset));
        put_uvarint(to, u64::from(span.len));
    }
}

fn read_deltas(rest: &mut Rest<'_>, deltas: &mut Vec<i64>) -> Result<(), Malformed> {
    deltas.clear();
    for _ in 0..rest.count(DELTA_LEN_MIN, "buckets")? {
        deltas.push(rest.varint("bucket")?);
    }
    Ok(())
}

fn put_custom_values(to: &mut Vec<u8>, schema: i32, values: &[f64]) {
    if schema == CUSTOM_BUCKETS_SCHEMA {
        put_floats(to, values);
    }
}

fn put_floats(to: &mut Vec<u8>, values: &[f64]) {
    put_uvarint(to, values.len() as u64);
    values.iter().for_each(|value| put_f64(to, *value));
}

fn read_floats(rest: &mut Rest<'_>, values: &mut Vec<f64>) -> Result<(), Malformed> {
    values.clear();
    for _ in 0..rest.count(FLOAT_LEN, "buckets")? {
        values.push(rest.f64("bucket")?);
    }
    Ok(())
}

fn put_f64(to: &mut Vec<u8>, value: f64) {
    to.extend_from_slice(&value.to_bits().to_be_bytes());
}
