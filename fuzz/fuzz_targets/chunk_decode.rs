//! Any bytes as a chunk of any encoding: no panic, all ways of reading agree, and what was read encodes to what reads the same.
#![no_main]

use storage::Column;
use tsdb::chunk::{self, Appended, Encoding, OpenChunk};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let Some(encoding) = Encoding::of(first % 6 + 1) else { return };
    let mut samples = Vec::new();
    let read = chunk::samples(encoding, bytes, |sample| samples.push(sample));
    let mut column = Column::default();
    let decoded = chunk::decode(encoding, bytes, i64::MIN..=i64::MAX, &mut column);
    assert_eq!(read.is_ok(), decoded.is_ok());
    if read.is_err() {
        assert!(column.is_empty() && column.histograms.is_empty() && column.starts.is_empty());
        return;
    }
    assert_eq!(column.len(), samples.len());
    let _ = OpenChunk::resume(encoding, bytes.to_vec());
    let Some((first, rest)) = samples.split_first() else { return };
    let mut open = OpenChunk::start(first, encoding, None);
    let kept = 1 + rest.iter().take_while(|sample| open.append(sample) == Appended::Same).count();
    let mut again = Vec::new();
    chunk::samples(open.encoding(), open.bytes(), |sample| again.push(sample.time)).expect("we encoded it");
    assert!(again.iter().eq(samples[..kept].iter().map(|sample| &sample.time)));
});
