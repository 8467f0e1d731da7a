//! Logs scrapes: a samples record of 2,000 rows each (refs in order, one time), encoded, compressed, written; no fsync.
//!
//! Values are a mix of constants, counters and random gauges (2 : 1 : 1). Written to the temporary folder.
//! Command: `cargo bench -p tsdb --bench wal`. Figures are medians of five runs of 500 scrapes,
//! for reading the fastest of 99 over a start of the segment; "pages" is all but the decoding of samples: checksums, joining, decompression.

use std::sync::Arc;
use std::time::Instant;

use storage::SeriesRef;
use tsdb::wal::read::{Record, SegmentReader};
use tsdb::wal::record::{SamplesEncoder, decode_samples};
use tsdb::wal::{Compression, Options, Records, Wal};
use world::RealFiles;

const ROWS: usize = 2_000;
const SCRAPES: usize = 500;
/// So short that most runs are not interrupted on a machine where others are at work.
const READ_BYTES: usize = 1 << 20;

fn main() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let values: Vec<f64> = (0..ROWS)
        .map(|i| match i % 4 {
            0 | 1 => (i % 8) as f64,
            2 => (next() % 1_000_000) as f64,
            _ => next() as f64 / u64::MAX as f64,
        })
        .collect();
    for compression in [Compression::Snappy, Compression::Zstd, Compression::None] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = Options { compression, ..Options::default() };
        let wal = Wal::create(Arc::new(RealFiles), folder.path(), options).expect("a log");
        let mut records = Records::new();
        let mut encode_ns = Vec::new();
        let mut times: Vec<f64> = (0..6)
            .map(|run| {
                let start = Instant::now();
                let mut encoding = 0;
                for scrape in 0..SCRAPES {
                    let before = Instant::now();
                    records.clear();
                    records.add(|to| {
                        let mut encoder = SamplesEncoder::start(to);
                        let time = 1_700_000_000_000 + ((run * SCRAPES + scrape) * 15_000) as i64;
                        for (i, value) in values.iter().enumerate() {
                            encoder.push(SeriesRef(10_000 + i as u64), time, *value);
                        }
                    });
                    encoding += before.elapsed().as_nanos();
                    wal.log(&records).expect("space");
                }
                encode_ns.push(encoding as f64);
                start.elapsed().as_nanos() as f64
            })
            .skip(1)
            .collect();
        times.sort_by(f64::total_cmp);
        encode_ns.sort_by(f64::total_cmp);
        let per_sample = (ROWS * SCRAPES) as f64;
        let segment = std::fs::read(wal.segment().path(folder.path())).expect("the segment");
        let start = &segment[..segment.len().min(READ_BYTES)];
        let mut reader = SegmentReader::new();
        let mut samples = 0u64;
        // The last record is cut off.
        let pages = fastest(|| _ = reader.each(folder.path(), start, |record| samples += record.bytes.len() as u64));
        let read = fastest(|| {
            samples = 0;
            let mut sum = 0.0;
            let visit = |record: Record<'_>| {
                let decoded = decode_samples(record.bytes, |series, time, value| {
                    samples += 1;
                    sum += value + (series.0 as i64 ^ time) as f64;
                });
                decoded.expect("we wrote it");
            };
            let _ = reader.each(folder.path(), start, visit);
            std::hint::black_box(sum);
        });
        println!(
            "{compression:?}: log {:.1} ns/sample, of which encode {:.1}; {:.1} B/sample; read {:.2} ns/sample, of which pages {:.2}",
            times[2] / per_sample,
            encode_ns[encode_ns.len() / 2] / per_sample,
            start.len() as f64 / samples as f64,
            read / samples as f64,
            pages / samples as f64
        );
    }
}

/// Nanoseconds of the fastest of some runs: others may be at work on this machine.
fn fastest(mut run: impl FnMut()) -> f64 {
    let times = (0..99).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64
    });
    times.fold(f64::INFINITY, f64::min)
}
