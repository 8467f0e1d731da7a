//! Chunks that Prometheus wrote: all are read, and what was read encodes to the very same bytes.
//!
//! Skips, and says so, where the conformance folder (`PYROPE_CONFORMANCE`, else `shared/conformance` in or beside the workspace)
//! is not there.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::ResetHint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::Column;
use tsdb::chunk::{self, EncodeOptions, Encoding, OpenChunk, Sample, Value};
use tsdb::db::FloatEncoding;

fn conformance() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("PYROPE_CONFORMANCE").map(PathBuf::from);
    let beside = ["shared/conformance", "../shared/conformance"].map(|path| workspace.join(path));
    named.into_iter().chain(beside).map(|path| path.join("tsdb")).find(|path| path.is_dir())
}

/// Encoding and bytes of each chunk of a segment: after 8 bytes, uvarint length, encoding, bytes, checksum of both.
fn chunks(segment: &[u8]) -> Vec<(Encoding, &[u8])> {
    let mut rest = &segment[8..];
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let mut len = 0usize;
        let mut shift = 0;
        loop {
            let byte = rest[0];
            rest = &rest[1..];
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let (chunk, behind) = rest.split_at(len + 1);
        let (sum, behind) = behind.split_at(4);
        assert_eq!(crc32c::crc32c(chunk).to_be_bytes(), sum);
        chunks.push((Encoding::of(chunk[0]).unwrap(), &chunk[1..]));
        rest = behind;
    }
    chunks
}

/// Bits of the header that say what is known of resets before a chunk: where they are, and which.
fn reset_header(encoding: Encoding, bytes: &[u8]) -> Option<(usize, u8)> {
    let at = match encoding {
        Encoding::Xor | Encoding::Xor2 => return None,
        Encoding::Histogram | Encoding::FloatHistogram => 2,
        Encoding::HistogramSt | Encoding::FloatHistogramSt => 0,
    };
    Some((at, bytes[at] & 0xc0))
}

fn with_hint(sample: &Sample, hint: ResetHint) -> Sample {
    let mut sample = sample.clone();
    match &mut sample.value {
        Value::Float(_) => {}
        Value::Histogram(histogram) => Arc::make_mut(histogram).reset_hint = hint,
        Value::FloatHistogram(histogram) => Arc::make_mut(histogram).reset_hint = hint,
    }
    sample
}

#[track_caller]
fn check(encoding: Encoding, bytes: &[u8]) -> usize {
    let mut samples = Vec::new();
    chunk::samples(encoding, bytes, |sample| samples.push(sample)).unwrap();
    assert_eq!(samples.len(), usize::from(chunk::sample_count(encoding, bytes).unwrap()));

    let mut column = Column::default();
    chunk::decode(encoding, bytes, i64::MIN..=i64::MAX, &mut column).unwrap();
    assert_eq!(column.times, samples.iter().map(|sample| sample.time).collect::<Vec<_>>());
    let mut histograms = column.histograms.iter();
    for (i, sample) in samples.iter().enumerate() {
        assert_eq!(column.starts.get(i).copied().unwrap_or(0), sample.start);
        match &sample.value {
            Value::Float(value) => assert_eq!(column.values[i].to_bits(), value.to_bits()),
            Value::Histogram(histogram) => {
                let float = &histograms.next().unwrap().1;
                assert!(float.is_same(&histogram.to_float()) && float.reset_hint == histogram.reset_hint);
                assert!(model::value::is_stale(histogram.sum) || histogram.validate() == Ok(()), "{histogram:?}");
            }
            Value::FloatHistogram(histogram) => {
                let float = &histograms.next().unwrap().1;
                assert!(float.is_same(histogram) && float.reset_hint == histogram.reset_hint);
                assert!(model::value::is_stale(histogram.sum) || histogram.validate() == Ok(()), "{histogram:?}");
            }
        }
    }

    // Whatever the header says of resets before the chunk is not in its samples.
    let mut want = bytes.to_vec();
    let mut mask = None;
    if let Some((at, reset)) = reset_header(encoding, bytes) {
        if reset == 0x80 {
            samples[0] = with_hint(&samples[0], ResetHint::Reset);
        }
        if reset == 0x40 {
            want[at] &= 0x3f;
            mask = Some(at);
        }
    }
    let mut open = OpenChunk::start(&samples[0], encoding, None);
    for sample in &samples[1..] {
        assert_eq!(open.append(sample), chunk::Appended::Same);
    }
    // Prometheus leaves an empty byte behind some chunks.
    let (want, empty) = want.split_at(open.bytes().len().min(want.len()));
    assert_eq!(open.bytes(), want, "{encoding:?}");
    assert!(empty.len() < 2 && empty.iter().all(|byte| *byte == 0), "{encoding:?} {empty:?}");
    assert_eq!(open.encoding(), encoding);

    // Resuming anywhere, of bytes with whatever header, leads to the same bytes.
    let mut open = OpenChunk::start(&samples[0], encoding, None);
    for sample in &samples[1..] {
        open = OpenChunk::resume(encoding, open.into_bytes()).unwrap();
        assert_eq!(open.append(sample), chunk::Appended::Same);
    }
    assert_eq!(open.bytes(), want, "{encoding:?} resumed");
    assert_eq!(OpenChunk::resume(encoding, bytes.to_vec()).unwrap().bytes(), &bytes[..want.len()]);

    // A chunk after one that its first sample fits says that there was no reset.
    if let Some(at) = mask
        && matches!(encoding, Encoding::Histogram | Encoding::HistogramSt)
    {
        let before = OpenChunk::start(&with_hint(&samples[0], ResetHint::Unknown), encoding, None);
        let after = OpenChunk::start(&with_hint(&samples[0], ResetHint::Unknown), encoding, Some(&before));
        assert_eq!(after.bytes()[at] & 0xc0, 0x40);
    }

    let whole = EncodeOptions {
        float: if encoding == Encoding::Xor2 { FloatEncoding::Xor2 } else { FloatEncoding::Xor },
        float_starts: true,
        histogram_starts: matches!(encoding, Encoding::HistogramSt | Encoding::FloatHistogramSt),
        samples_max: u16::MAX,
        bytes_max: usize::MAX,
    };
    let again: usize =
        chunk::encode(&samples, &whole).iter().map(|chunk| chunk::sample_count(chunk.encoding, &chunk.bytes).unwrap() as usize).sum();
    assert_eq!(again, samples.len());
    samples.len()
}

#[test]
fn chunks_of_prometheus_are_read_and_written_alike() {
    let Some(folder) = conformance() else {
        println!("skipped: no conformance folder");
        return;
    };
    let mut seen: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
    for data in ["data_a", "data_c", "data_e"] {
        let mut folders = vec![folder.join(data)];
        while let Some(path) = folders.pop() {
            for entry in path.read_dir().unwrap() {
                let entry = entry.unwrap().path();
                if entry.is_dir() {
                    folders.push(entry);
                } else if path.ends_with("chunks") {
                    let segment = std::fs::read(&entry).unwrap();
                    for (encoding, bytes) in chunks(&segment) {
                        let seen = seen.entry(encoding as u8).or_default();
                        seen.0 += 1;
                        seen.1 += check(encoding, bytes);
                    }
                }
            }
        }
    }
    println!("chunks and samples per encoding: {seen:?}");
    assert_eq!(seen.len(), 6, "chunks of every encoding");
}
