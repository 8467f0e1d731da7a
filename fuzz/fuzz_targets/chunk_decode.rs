//! Any bytes as a chunk of any encoding, and as several that are decoded together: no panic, all ways of reading agree, and what was read encodes to what reads the same.
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
    if encoding == Encoding::Xor {
        several(bytes);
    }
    let _ = OpenChunk::resume(encoding, bytes.to_vec());
    let Some((first, rest)) = samples.split_first() else { return };
    let mut open = OpenChunk::start(first, encoding, None);
    let kept = 1 + rest.iter().take_while(|sample| open.append(sample) == Appended::Same).count();
    let mut again = Vec::new();
    chunk::samples(open.encoding(), open.bytes(), |sample| again.push(sample.time)).expect("we encoded it");
    assert!(again.iter().eq(samples[..kept].iter().map(|sample| &sample.time)));
});

/// The chunk and pieces of it, together and one by one.
fn several(bytes: &[u8]) {
    let chunks: Vec<&[u8]> = (0..11).map(|i| &bytes[..bytes.len() * (20 - i) / 20]).collect();
    let (mut together, mut each, mut damaged, mut damaged_each) = (Column::default(), Column::default(), Vec::new(), Vec::new());
    let run: Vec<(Encoding, &[u8])> = chunks.iter().map(|bytes| (Encoding::Xor, *bytes)).collect();
    chunk::decode_run(&run, i64::MIN..=i64::MAX, &mut together, |at, _| damaged.push(at));
    for (at, bytes) in chunks.iter().enumerate() {
        if chunk::decode(Encoding::Xor, bytes, i64::MIN..=i64::MAX, &mut each).is_err() {
            damaged_each.push(at);
        }
    }
    let bits = |column: &Column| column.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!((damaged, &together.times, bits(&together)), (damaged_each, &each.times, bits(&each)));
}
