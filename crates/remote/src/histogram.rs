//! Native histograms of both versions: their messages are alike, but for the start timestamp that only 2.0 has.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | 1, 2 | uint64, double | count; a double makes it a histogram of floats |
//! | 3 | double | sum |
//! | 4, 5 | sint32, double | schema, zero threshold |
//! | 6, 7 | uint64, double | count of the zero bucket |
//! | 8, 11 | BucketSpan, repeated | negative and positive spans: field 1 sint32 offset, 2 uint32 length |
//! | 9, 12 | sint64, repeated | deltas of integer counts |
//! | 10, 13 | double, repeated | float counts |
//! | 14, 15 | enum, int64 | counter reset hint, milliseconds |
//! | 16, 17 | double repeated, int64 | custom bounds, start timestamp (read over: Prometheus does not store it) |

use crate::wire::{Value, WireError, next_field, zigzag};
use model::Timestamp;
use model::histogram::{FloatHistogram, Histogram, ResetHint, Span};

/// A histogram sample as it was sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Sent {
    Integer(Histogram),
    Float(FloatHistogram),
}

/// What integer and float histograms have in common, and the counts of both kinds.
#[derive(Default)]
struct Fields {
    count_is_float: bool,
    counts: (u64, f64),
    zero_counts: (u64, f64),
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    negative: Side,
    positive: Side,
    hint: ResetHint,
    custom_values: Vec<f64>,
}

#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    /// The fields of a side are the three from its spans on.
    fn read(&mut self, index: u32, field: u32, value: Value<'_>) -> Result<(), WireError> {
        match index {
            0 => self.spans.push(span(value.bytes(field)?)?),
            1 => value.each_varint(field, |delta| self.deltas.push(zigzag(delta)))?,
            _ => value.each_double(field, |count| self.counts.push(count))?,
        }
        Ok(())
    }
}

fn span(mut message: &[u8]) -> Result<Span, WireError> {
    let mut span = Span { offset: 0, len: 0 };
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => span.offset = value.sint32(1)?,
            2 => span.len = value.uint32(2)?,
            _ => {}
        }
    }
    Ok(span)
}

/// Reads a histogram and its time. It need not be valid.
pub(crate) fn histogram(mut message: &[u8]) -> Result<(Timestamp, Sent), WireError> {
    let mut fields = Fields::default();
    let mut time = Timestamp(0);
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => (fields.counts, fields.count_is_float) = ((value.uint64(1)?, 0.0), false),
            2 => (fields.counts, fields.count_is_float) = ((0, value.double(2)?), true),
            3 => fields.sum = value.double(3)?,
            4 => fields.schema = value.sint32(4)?,
            5 => fields.zero_threshold = value.double(5)?,
            6 => fields.zero_counts = (value.uint64(6)?, 0.0),
            7 => fields.zero_counts = (0, value.double(7)?),
            8..=10 => fields.negative.read(field - 8, field, value)?,
            11..=13 => fields.positive.read(field - 11, field, value)?,
            14 => {
                fields.hint = match value.uint64(14)? {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NoReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            15 => time = Timestamp(value.int64(15)?),
            16 => value.each_double(16, |bound| fields.custom_values.push(bound))?,
            17 => drop(value.int64(17)?),
            _ => {}
        }
    }
    Ok((time, fields.sent()))
}

impl Fields {
    /// Counts of the other kind are left out, as Prometheus does.
    fn sent(self) -> Sent {
        let Self { counts, zero_counts, sum, schema, zero_threshold, negative, positive, hint, custom_values, .. } = self;
        if self.count_is_float {
            return Sent::Float(FloatHistogram {
                reset_hint: hint,
                schema,
                zero_threshold,
                zero_count: zero_counts.1,
                count: counts.1,
                sum,
                positive_spans: positive.spans.into(),
                negative_spans: negative.spans.into(),
                positive_counts: positive.counts,
                negative_counts: negative.counts,
                custom_values: custom_values.into(),
            });
        }
        Sent::Integer(Histogram {
            reset_hint: hint,
            schema,
            zero_threshold,
            zero_count: zero_counts.0,
            count: counts.0,
            sum,
            positive_spans: positive.spans.into(),
            negative_spans: negative.spans.into(),
            positive_deltas: positive.deltas,
            negative_deltas: negative.deltas,
            custom_values: custom_values.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn packed_and_single_numbers() {
        // count 5, schema -1, positive span (offset -2, length 2), deltas +1 packed and -1 on its own.
        let message = [0x08, 5, 0x20, 1, 0x5a, 4, 0x08, 3, 0x10, 2, 0x62, 1, 2, 0x60, 1, 0x70, 3, 0x78, 7];
        let (time, sent) = histogram(&message).unwrap();
        let want = Histogram {
            reset_hint: ResetHint::Gauge,
            schema: -1,
            count: 5,
            positive_spans: vec![Span { offset: -2, len: 2 }].into(),
            positive_deltas: vec![1, -1],
            ..Histogram::default()
        };
        assert_eq!((time, sent), (Timestamp(7), Sent::Integer(want)));
        for len in 1..message.len() {
            // Whatever is left of it is a message or an error, and no panic.
            let _ = histogram(&message[..len]);
        }
    }

    #[test]
    fn the_last_count_says_the_kind() {
        let mut message = vec![0x08, 5, 0x11];
        message.extend_from_slice(&2.5f64.to_le_bytes());
        assert!(matches!(histogram(&message).unwrap().1, Sent::Float(h) if h.count == 2.5));
        message.extend_from_slice(&[0x08, 6]);
        assert!(matches!(histogram(&message).unwrap().1, Sent::Integer(h) if h.count == 6));
    }
}
