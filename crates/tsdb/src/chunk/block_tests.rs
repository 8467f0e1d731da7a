#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::chunk::{Encoding, Sample, Value, decode, samples};
use model::value::STALE_NAN;
use proptest::prelude::*;
use storage::Column;

/// Start, time, value: as targets give them, and as nobody should.
fn rows() -> impl Strategy<Value = Vec<(i64, i64, f64)>> {
    let step = prop_oneof![
        8 => Just(15_000i64),
        4 => 14_900..15_100i64,
        1 => prop_oneof![Just(4095i64), Just(4096), Just(-4096), Just(-4097), Just(8192), Just(8193)].prop_map(|jitter| 15_000 + jitter),
        1 => prop_oneof![Just(65_536i64), Just(524_287), Just(524_288), Just(-524_288), Just(-524_289), Just(0)],
        1 => any::<i64>(),
    ];
    let value = prop_oneof![
        4 => Just(1.0f64),
        8 => (0..100_000u32).prop_map(f64::from),
        2 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(STALE_NAN),
    ];
    let start = prop_oneof![6 => Just(0i64), 3 => Just(7i64), 1 => 0..100_000i64, 1 => any::<i64>()];
    (any::<i64>(), prop::collection::vec((start, step, value), 0..700)).prop_map(|(mut time, rows)| {
        let mut step = |delta: i64| {
            time = time.wrapping_add(delta);
            time
        };
        rows.into_iter().map(|(start, delta, value)| (start, step(delta), value)).collect()
    })
}

fn read(encoding: Encoding, chunks: &[Vec<u8>]) -> Vec<(i64, i64, u64)> {
    let mut rows = Vec::new();
    for bytes in chunks {
        let mut each = |Sample { start, time, value }| match value {
            Value::Float(value) => rows.push((start, time, value.to_bits())),
            _ => panic!("floats only"),
        };
        samples(encoding, bytes, &mut each).unwrap();
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_of_blocks_hold_the_same_samples(rows in rows()) {
        let times: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let values: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let mut chunks = Vec::new();
        let mut ranges = Vec::new();
        BlockEncoder::new().xor(&times, &values, |min, max, bytes| {
            ranges.push((min, max));
            chunks.push(bytes.to_vec());
        });
        let want: Vec<_> = rows.iter().map(|row| (0, row.1, row.2.to_bits())).collect();
        prop_assert_eq!(read(Encoding::Xor, &chunks), want);
        prop_assert!(chunks.iter().all(|bytes| bytes.len() <= BYTES_MAX));
        let mut at = 0;
        for (bytes, (min, max)) in chunks.iter().zip(ranges) {
            let count = usize::from(crate::chunk::sample_count(Encoding::Xor, bytes).unwrap());
            prop_assert!(count <= SAMPLES_MAX && times[at] == min && times[at + count - 1] == max);
            at += count;
        }
    }

    #[test]
    fn chunks_with_starts_hold_the_same_samples(rows in rows(), with_starts in any::<bool>()) {
        let rows: Vec<_> = rows.into_iter().map(|(start, time, value)| (if with_starts { start } else { 0 }, time, value)).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let values: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let starts: Vec<i64> = if with_starts { rows.iter().map(|row| row.0).collect() } else { Vec::new() };
        let mut chunks = Vec::new();
        BlockEncoder::new().xor2(&starts, &times, &values, |_, _, bytes| chunks.push(bytes.to_vec()));
        let want: Vec<_> = rows.iter().map(|row| (row.0, row.1, row.2.to_bits())).collect();
        prop_assert_eq!(read(Encoding::Xor2, &chunks), want.clone());
        prop_assert!(chunks.iter().all(|bytes| bytes.len() <= BYTES_MAX));

        // The query path sees them too.
        let mut column = Column::default();
        for bytes in &chunks {
            decode(Encoding::Xor2, bytes, i64::MIN..=i64::MAX, &mut column).unwrap();
        }
        prop_assert_eq!(&column.times, &times);
        prop_assert!(column.values.iter().zip(&values).all(|(left, right)| left.to_bits() == right.to_bits()));
        if column.starts.is_empty() {
            prop_assert!(want.iter().all(|row| row.0 == 0));
        } else {
            prop_assert!(column.starts.iter().copied().eq(want.iter().map(|row| row.0)));
        }
    }
}
