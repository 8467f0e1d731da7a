//! Any bytes as a segment of the log: no panic; records lie within it, in order, and what is good up to a fault reads without
//! one and gives the same records.
#![no_main]

use std::path::Path;
use tsdb::wal::read::{Damage, SegmentReader};

libfuzzer_sys::fuzz_target!(|segment: &[u8]| {
    let (records, damage) = read(segment);
    let Err(damage) = damage else { return };
    assert!(damage.good_len <= segment.len() as u64 && damage.offset <= segment.len() as u64);
    let good = &segment[..damage.good_len as usize];
    assert_eq!(read(good), (records, Ok(())));
});

fn read(segment: &[u8]) -> (Vec<(u64, Vec<u8>)>, Result<(), Damage>) {
    let mut records = Vec::new();
    let mut total = 0;
    let read = SegmentReader::new().each(Path::new("segment"), segment, |record| {
        assert!(record.offset < segment.len() as u64);
        assert!(records.last().is_none_or(|(before, _)| *before < record.offset));
        // A few bytes can stand for many: enough of them to compare.
        total += record.bytes.len();
        records.push((record.offset, if total < 1 << 22 { record.bytes.to_vec() } else { Vec::new() }));
    });
    (records, read)
}
