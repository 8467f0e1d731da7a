//! Encodes and decodes XOR chunks of 120 samples.
//!
//! Shapes: `constant` (an `up`), `counter` (whole numbers that grow by a few), `gauge` (51 random bits a value), each at an
//! exact interval of 15 s; `jitter` is `counter` with times off by some milliseconds.
//! Command: `cargo bench -p tsdb --bench chunk`. Figures are medians of five runs.

use std::hint::black_box;
use std::time::Instant;

use tsdb::chunk::xor::{XorAppender, decode};

const CHUNKS: usize = 2_000;
const SAMPLES: usize = 120;

fn main() {
    for (shape, value_step, jitter) in [("constant", 0, 0), ("counter", 1, 0), ("gauge", 2, 0), ("jitter", 1, 20)] {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let series: Vec<Vec<(i64, f64)>> = (0..CHUNKS)
            .map(|_| {
                let mut counter = (next() % 1_000_000) as f64;
                let row = |i: usize| {
                    let late = if jitter > 0 { (next() % jitter) as i64 } else { 0 };
                    counter += (next() % 50) as f64;
                    let value = match value_step {
                        0 => 1.0,
                        1 => counter,
                        _ => next() as f64 / u64::MAX as f64,
                    };
                    (1_700_000_000_000 + i as i64 * 15_000 + late, value)
                };
                (0..SAMPLES).map(row).collect()
            })
            .collect();
        let mut chunks: Vec<Vec<u8>> = (0..CHUNKS).map(|_| Vec::with_capacity(1200)).collect();
        let encode_ns = median_ns(|| {
            for (samples, bytes) in series.iter().zip(&mut chunks) {
                let mut appender = XorAppender::start(bytes);
                for (time, value) in samples {
                    appender.append(bytes, *time, *value);
                }
            }
        });
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let decode_ns = median_ns(|| {
            for bytes in &chunks {
                times.clear();
                values.clear();
                decode(bytes, i64::MIN..=i64::MAX, &mut times, &mut values).expect("we encoded it");
                black_box((&times, &values));
            }
        });
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        let per_sample = (CHUNKS * SAMPLES) as f64;
        println!(
            "{shape:8} {:5.2} B/sample, encode {:5.1} ns/sample, decode {:5.2} ns/sample ({:4.0} M samples/s)",
            bytes as f64 / per_sample,
            encode_ns / per_sample,
            decode_ns / per_sample,
            1e3 * per_sample / decode_ns
        );
    }
}

fn median_ns(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_nanos() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[2]
}
