//! Encodes and decodes XOR chunks of 120 samples.
//!
//! Shapes: `constant` (an `up`), `counter` (whole numbers that grow by a few), `gauge` (51 random bits a value), each at an
//! exact interval of 15 s; `jitter` is `counter` with times off by some milliseconds; `bucket` and `sparse` are counters that often
//! stay. Decoded one by one, and in runs of eight.
//! Then what blocks hold: two hours of a fleet's mixture of series (the shares of benches/race: counters of many paces, gauges,
//! ratios, classic histograms, a quarter of all idle) as head chunks of 120 samples, and re-encoded for a block.
//!
//! Command: `cargo bench -p tsdb --bench chunk`. Figures are medians of five runs.

use std::hint::black_box;
use storage::Column;

use tsdb::chunk::block::BlockEncoder;
use tsdb::chunk::xor::{XorAppender, decode};
use tsdb::chunk::{Encoding, decode_run};

const CHUNKS: usize = 2_000;
const SAMPLES: usize = 120;
/// Chunks of a series that are decoded together.
const RUN: usize = 8;

fn main() {
    shapes();
    for jitter in [0, 20] {
        blocks(jitter);
    }
}

/// Series of the mixture, in thousandths: how many, the kind (0 constant, 1 counter, 2 gauge, 3 bucket of a histogram), the
/// greatest power of ten of its pace or its spread, what ticks are divided by, and a gauge's start.
const MIXTURE: [(usize, u8, f64, f64, f64); 14] = [
    (60, 1, 3.0, 100.0, 0.0),
    (40, 1, 7.0, 1.0, 0.0),
    (20, 1, 4.0, 1000.0, 0.0),
    (80, 1, 10.0, 1e9, 0.0),
    (120, 1, 6.0, 1.0, 0.0),
    (40, 1, 5.0, 1.0, 0.0),
    (140, 1, 3.0, 1.0, 0.0),
    (10, 2, 20.0, 100.0, 150.0),
    (100, 2, 64.0, 1.0 / 4096.0, 65536.0),
    (20, 2, 8.0, 10.0, 450.0),
    (20, 0, 0.0, 1.0, 1.0),
    (40, 2, (1u64 << 47) as f64, (1u64 << 52) as f64, (1u64 << 51) as f64),
    (250, 3, 0.0, 1.0, 0.0),
    (60, 2, (1u64 << 47) as f64, (1u64 << 52) as f64, (1u64 << 51) as f64),
];

fn mixture(jitter: u64) -> Vec<(Vec<i64>, Vec<f64>)> {
    const LENGTH: usize = 480;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut unit = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut series = Vec::new();
    for (share, kind, reach, scale, start) in MIXTURE {
        for _ in 0..share * 4 {
            let idle = unit() < 0.25 || kind == 0;
            let pace = match kind {
                1 => 10f64.powf(unit() * reach),
                3 => 1.0 + (unit() * 20.0).floor(),
                _ => reach,
            };
            // A bucket sees the share of observations that are below its bound.
            let below = unit();
            let mut ticks = match kind {
                0 => start,
                2 => (start * (0.5 + unit())).floor(),
                _ => (pace * unit() * 1e4).floor(),
            };
            let mut times = Vec::with_capacity(LENGTH);
            let mut values = Vec::with_capacity(LENGTH);
            for i in 0..LENGTH {
                let late = if jitter > 0 { (unit() * jitter as f64) as i64 } else { 0 };
                times.push(1_700_000_000_000 + i as i64 * 15_000 + late);
                values.push(ticks / scale);
                match kind {
                    _ if idle => {}
                    2 => {
                        let moved = ticks + (unit() * 2.0 * pace - pace).round();
                        if moved >= 0.0 && moved < 2.0 * start {
                            ticks = moved;
                        }
                    }
                    3 => ticks += if unit() < below { (unit() * (pace + 1.0)).floor() } else { 0.0 },
                    _ => ticks += (unit() * (pace + 1.0)).floor(),
                }
            }
            series.push((times, values));
        }
    }
    series
}

fn blocks(jitter: u64) {
    let series = mixture(jitter);
    let samples: usize = series.iter().map(|(times, _)| times.len()).sum();
    let mut head: Vec<Vec<Vec<u8>>> = Vec::new();
    for (times, values) in &series {
        let chunk = |(times, values): (&[i64], &[f64])| {
            let mut bytes = Vec::new();
            let mut appender = XorAppender::start(&mut bytes);
            for (time, value) in times.iter().zip(values) {
                appender.append(&mut bytes, *time, *value);
            }
            bytes
        };
        head.push(times.chunks(SAMPLES).zip(values.chunks(SAMPLES)).map(chunk).collect());
    }
    // Every chunk has an entry of about this size in the index, and length, encoding and checksum beside it.
    const ENTRY: usize = 5 + 7;
    let before: usize = head.iter().flatten().map(|bytes| bytes.len()).sum();
    let chunks_before: usize = head.iter().map(Vec::len).sum();
    let mut encoder = BlockEncoder::new();
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for xor2 in [false, true] {
        let (mut bytes_after, mut chunks_after) = (0, 0);
        let nanoseconds = median_ns(|| {
            (bytes_after, chunks_after) = (0, 0);
            for chunks in &head {
                times.clear();
                values.clear();
                for bytes in chunks {
                    decode(bytes, i64::MIN..=i64::MAX, &mut times, &mut values).expect("we encoded it");
                }
                let each = |_, _, bytes: &[u8]| {
                    bytes_after += bytes.len();
                    chunks_after += 1;
                };
                if xor2 { encoder.xor2(&[], &times, &values, each) } else { encoder.xor(&times, &values, each) }
            }
        });
        let mut chunks: Vec<Vec<u8>> = Vec::new();
        for (times, values) in series.iter().filter(|_| !xor2) {
            encoder.xor(times, values, |_, _, bytes| chunks.push(bytes.to_vec()));
        }
        let run_ns = median_ns(|| decode_runs(&chunks));
        let alone_ns = median_ns(|| {
            for bytes in &chunks {
                times.clear();
                values.clear();
                decode(bytes, i64::MIN..=i64::MAX, &mut times, &mut values).expect("we encoded it");
                black_box((&times, &values));
            }
        });
        if !xor2 {
            println!("jitter {jitter:2} ms: decoded {:.2} ns/sample, alone {:.2}", run_ns / samples as f64, alone_ns / samples as f64);
        }
        let per_sample = |bytes: usize, chunks: usize| {
            let samples = samples as f64;
            format!("{:.3} B/sample ({:.3} with entries)", bytes as f64 / samples, (bytes + chunks * ENTRY) as f64 / samples)
        };
        println!(
            "jitter {jitter:2} ms: head {}, block {} {}, re-encoded {:.1} M samples/s",
            per_sample(before, chunks_before),
            if xor2 { "XOR2" } else { "XOR" },
            per_sample(bytes_after, chunks_after),
            1e3 * samples as f64 / nanoseconds
        );
    }
}

fn shapes() {
    for (shape, value_step, jitter) in
        [("constant", 0, 0), ("counter", 1, 0), ("gauge", 2, 0), ("jitter", 1, 20), ("bucket", 3, 0), ("sparse", 4, 20)]
    {
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
                    counter += match value_step {
                        3 => next() % 3,
                        4 => u64::from(next() % 4 == 0),
                        _ => next() % 50,
                    } as f64;
                    let value = match value_step {
                        0 => 1.0,
                        1 | 3 | 4 => counter,
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
        let run_ns = median_ns(|| decode_runs(&chunks));
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        let per_sample = (CHUNKS * SAMPLES) as f64;
        println!(
            "{shape:8} {:5.2} B/sample, encode {:5.1} ns/sample, decode {:5.2} ns/sample ({:4.0} M samples/s), runs {:5.2} ({:4.0})",
            bytes as f64 / per_sample,
            encode_ns / per_sample,
            decode_ns / per_sample,
            1e3 * per_sample / decode_ns,
            run_ns / per_sample,
            1e3 * per_sample / run_ns
        );
    }
}

fn decode_runs(chunks: &[Vec<u8>]) {
    let mut column = Column::default();
    for run in chunks.chunks(RUN) {
        let run: Vec<(Encoding, &[u8])> = run.iter().map(|bytes| (Encoding::Xor, bytes.as_slice())).collect();
        column.clear();
        decode_run(&run, i64::MIN..=i64::MAX, &mut column, |_, corrupt| panic!("we encoded it: {corrupt}"));
        black_box(&column);
    }
}

/// Of the processor's time, so that what runs beside disturbs less.
fn median_ns(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = processor_ns();
            run();
            processor_ns() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[2]
}

fn processor_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
