//! What all histograms of a chunk have in common, stored once: resolution, zero bucket, where buckets lie.

use super::Corrupt;
use super::bits::{Reader, Writer};
use model::Span;
use std::sync::Arc;

/// The schema of custom buckets.
pub(super) const CUSTOM_BUCKETS: i32 = -53;
/// Spans that a layout may have beyond its count of buckets: more can only be empty, and each would be copied per sample.
const SPARE_SPANS: usize = 16;
/// Custom bounds up to this many thousandths are stored in thousandths.
const THOUSANDTHS_MAX: f64 = 33_554_430.0;

/// What all histograms of a chunk have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    /// Positive and negative buckets.
    pub(super) spans: [Arc<[Span]>; 2],
    pub(super) custom_values: Arc<[f64]>,
}

impl Layout {
    pub(super) fn write(&self, writer: &mut Writer) {
        put_zero_threshold(writer, self.zero_threshold);
        writer.varbit(i64::from(self.schema));
        for spans in &self.spans {
            writer.varbit_unsigned(spans.len() as u64);
            for span in spans.iter() {
                writer.varbit_unsigned(u64::from(span.len));
                writer.varbit(i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS {
            writer.varbit_unsigned(self.custom_values.len() as u64);
            for bound in self.custom_values.iter() {
                put_bound(writer, *bound);
            }
        }
    }

    /// `bucket_bits` is the least that a bucket of the first sample takes: what the spans claim must fit into the chunk.
    pub(super) fn read(reader: &mut Reader<'_>, bucket_bits: usize) -> Result<Self, Corrupt> {
        let zero_threshold = take_zero_threshold(reader);
        let schema = reader.varbit();
        if schema != i64::from(CUSTOM_BUCKETS) && !(-9..=52).contains(&schema) {
            return Err(Corrupt::Schema { schema });
        }
        let schema = schema as i32;
        let spans = [read_spans(reader, bucket_bits)?, read_spans(reader, bucket_bits)?];
        let mut custom_values = Arc::default();
        if schema == CUSTOM_BUCKETS {
            let count = reader.varbit_unsigned();
            // A bound takes at least five bits.
            if count > reader.remaining() as u64 / 5 {
                return Err(Corrupt::Field { field: "count of custom bounds", sample: 0 });
            }
            custom_values = (0..count).map(|_| take_bound(reader)).collect();
        }
        Ok(Self { schema, zero_threshold, spans, custom_values })
    }

    /// How many buckets the spans of a side stand for.
    pub(super) fn buckets(&self, side: usize) -> usize {
        self.spans[side].iter().map(|span| span.len as usize).sum()
    }
}

/// Spans as a chunk may hold them: those of no length are left out where a reader would refuse so many.
pub(super) fn storable(spans: &Arc<[Span]>) -> Arc<[Span]> {
    let buckets: usize = spans.iter().map(|span| span.len as usize).sum();
    if spans.len() <= buckets + SPARE_SPANS {
        return Arc::clone(spans);
    }
    let mut kept: Vec<Span> = Vec::new();
    let mut gap = 0i32;
    for span in spans.iter() {
        gap = gap.saturating_add(span.offset);
        if span.len > 0 {
            kept.push(Span { offset: gap, len: span.len });
            gap = 0;
        }
    }
    kept.into()
}

fn read_spans(reader: &mut Reader<'_>, bucket_bits: usize) -> Result<Arc<[Span]>, Corrupt> {
    let corrupt = Corrupt::Field { field: "count of buckets", sample: 0 };
    let count = reader.varbit_unsigned();
    // A span takes at least two bits.
    if count > reader.remaining() as u64 / 2 {
        return Err(corrupt);
    }
    let mut buckets = 0usize;
    let mut spans = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let len = u32::try_from(reader.varbit_unsigned()).map_err(|_| corrupt)?;
        let offset = i32::try_from(reader.varbit()).map_err(|_| corrupt)?;
        buckets = buckets.saturating_add(len as usize);
        spans.push(Span { offset, len });
    }
    if buckets > reader.remaining() / bucket_bits || spans.len() > buckets + SPARE_SPANS {
        return Err(corrupt);
    }
    Ok(spans.into())
}

/// One byte for 0 and the powers of two from 2^-243 to 2^10, nine for all else.
fn put_zero_threshold(writer: &mut Writer, threshold: f64) {
    if threshold == 0.0 {
        return writer.put(0, 8);
    }
    let bits = threshold.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    if bits << 12 == 0 && (-243..=10).contains(&exponent) {
        return writer.put((exponent + 244) as u64, 8);
    }
    writer.put(255, 8);
    writer.put(bits, 64);
}

fn take_zero_threshold(reader: &mut Reader<'_>) -> f64 {
    match reader.take(8) {
        0 => 0.0,
        255 => f64::from_bits(reader.take(64)),
        byte => f64::from_bits((byte + 1023 - 244) << 52),
    }
}

/// A whole number of thousandths is stored as such (plus one), all else as the float itself after a 0.
fn put_bound(writer: &mut Writer, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    if (0.0..=THOUSANDTHS_MAX).contains(&(bound * 1000.0)) && thousandths / 1000.0 == bound && bound.to_bits() != (-0.0f64).to_bits() {
        return writer.varbit_unsigned(thousandths as u64 + 1);
    }
    writer.put(0, 1);
    writer.put(bound.to_bits(), 64);
}

fn take_bound(reader: &mut Reader<'_>) -> f64 {
    match reader.varbit_unsigned() {
        0 => f64::from_bits(reader.take(64)),
        thousandths => (thousandths - 1) as f64 / 1000.0,
    }
}
