#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::block::SymbolPair;
use crate::chunk::{Value, xor::XorAppender};
use crate::tombstones::Intervals;
use model::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use storage::Interval;

type Sampled = (i64, u64);

fn xor(samples: &[Sampled]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut appender = XorAppender::start(&mut bytes);
    samples.iter().for_each(|&(time, value)| appender.append(&mut bytes, time, value as f64));
    bytes
}

/// A series of chunks; each chunk is its samples in order of time.
fn series(chunks: &[Vec<Sampled>], deleted: &[(i64, i64)]) -> SourceSeries {
    let mut series = SourceSeries::new();
    series.set_labels([SymbolPair { name: 0, value: 1 }]);
    for samples in chunks {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { continue };
        series.push_chunk(first.0, last.0, Encoding::Xor, &xor(samples));
    }
    let interval = |&(start, end): &(i64, i64)| Interval { start: Timestamp(start), end: Timestamp(end) };
    series.set_deleted(deleted.iter().map(interval).collect::<Intervals>());
    series
}

fn decoded(chunks: &[ChunkIn<'_>]) -> Vec<Vec<Sampled>> {
    let samples = |chunk: &ChunkIn<'_>| {
        let mut samples = Vec::new();
        chunk::samples(chunk.encoding, chunk.bytes, |sample| {
            let Value::Float(value) = sample.value else { panic!("a float") };
            samples.push((sample.time, value as u64));
        })
        .unwrap();
        assert_eq!((samples.first().unwrap().0, samples.last().unwrap().0), (chunk.min_time, chunk.max_time));
        samples
    };
    chunks.iter().map(samples).collect()
}

fn run_of(times: std::ops::Range<i64>) -> Vec<Sampled> {
    times.map(|time| (time, time.unsigned_abs() % 7)).collect()
}

const KEEP: Floats = Floats::Keep(FloatEncoding::Xor);
const PACK: Floats = Floats::Pack(FloatEncoding::Xor);
const REPACK: Floats = Floats::Repack(FloatEncoding::Xor);

#[test]
fn chunks_that_need_no_change_are_taken_verbatim() {
    let (a, b) = (series(&[run_of(0..10), run_of(20..30)], &[]), series(&[run_of(10..20), run_of(30..40)], &[]));
    let mut builder = Builder::new(0, 40, KEEP);
    let chunks = builder.build(&[&a, &b]).unwrap();
    assert_eq!(chunks.iter().map(|c| (c.min_time, c.max_time)).collect::<Vec<_>>(), [(0, 9), (10, 19), (20, 29), (30, 39)]);
    assert!(std::ptr::eq(chunks[0].bytes, a.bytes(&a.chunks()[0])), "not even copied");
}

#[test]
fn repeated_chunks_are_taken_once() {
    let a = series(&[run_of(0..10)], &[]);
    let mut builder = Builder::new(0, 40, KEEP);
    assert_eq!(decoded(&builder.build(&[&a, &a.clone(), &a.clone()]).unwrap()), [run_of(0..10)]);
}

#[test]
fn samples_outside_the_block_and_deleted_ones_are_left_out() {
    let a = series(&[run_of(-5..5), run_of(5..10), run_of(10..20), run_of(20..30)], &[(3, 6), (10, 19), (i64::MIN, -3)]);
    let mut builder = Builder::new(-4, 25, KEEP);
    assert_eq!(decoded(&builder.build(&[&a]).unwrap()), [run_of(-2..3), run_of(7..10), run_of(20..25)]);
    let mut none_left = Builder::new(10, 20, KEEP);
    assert!(none_left.build(&[&a]).unwrap().is_empty());
}

#[test]
fn the_heads_short_chunks_are_packed() {
    let chunks: Vec<Vec<Sampled>> = (0..10).map(|i| run_of(i * 100..i * 100 + 100)).collect();
    let a = series(&chunks, &[(250, 259)]);
    let mut builder = Builder::new(0, 1_000, PACK);
    let packed = decoded(&builder.build(&[&a]).unwrap());
    let want: Vec<Sampled> = run_of(0..1_000).into_iter().filter(|(time, _)| !(250..260).contains(time)).collect();
    assert_eq!(packed.concat(), want);
    assert!(packed.len() <= 3, "{} chunks", packed.len());
}

#[test]
fn packed_chunks_are_taken_verbatim_when_blocks_are_merged() {
    let (a, b) = (series(&[run_of(0..480)], &[]), series(&[run_of(480..960), run_of(960..1000)], &[]));
    let mut builder = Builder::new(0, 1_000, REPACK);
    let chunks = builder.build(&[&a, &b]).unwrap();
    assert_eq!(chunks.len(), 3);
    assert!(std::ptr::eq(chunks[0].bytes, a.bytes(&a.chunks()[0])));
    let mut other_encoding = Builder::new(0, 1_000, Floats::Repack(FloatEncoding::Xor2));
    assert!(other_encoding.build(&[&a, &b]).unwrap().iter().all(|chunk| chunk.encoding == Encoding::Xor2));
}

#[test]
fn short_chunks_of_blocks_are_packed() {
    let chunks: Vec<Vec<Sampled>> = (0..4).map(|i| run_of(i * 120..i * 120 + 120)).collect();
    let a = series(&chunks, &[]);
    let mut builder = Builder::new(0, 1_000, REPACK);
    assert_eq!(decoded(&builder.build(&[&a]).unwrap()), [run_of(0..480)]);
}

#[test]
fn a_packed_chunk_has_bounded_bytes() {
    let noise: Vec<Sampled> =
        (0..2_000u64).map(|i| (i as i64 * 1_000 + (i * i % 997) as i64, i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11)).collect();
    let a = series(std::slice::from_ref(&noise), &[]);
    let mut builder = Builder::new(0, i64::MAX, PACK);
    let chunks = builder.build(&[&a]).unwrap();
    assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= BYTES_MAX));
    assert_eq!(decoded(&chunks).concat(), noise);
}

fn chunks_of_a_source(value: u64) -> impl Strategy<Value = Vec<Vec<Sampled>>> {
    (prop::collection::btree_set(0i64..300, 0..80), prop::collection::vec(1usize..30, 1..6)).prop_map(move |(times, lens)| {
        let samples: Vec<Sampled> = times.into_iter().map(|time| (time, value)).collect();
        let mut chunks = Vec::new();
        let mut rest = samples.as_slice();
        for len in lens.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(len.min(rest.len()));
            chunks.push(chunk.to_vec());
            rest = after;
        }
        chunks
    })
}

proptest! {
    /// Whatever the sources are: the samples are those of a map by time of all that is neither deleted nor outside, each of
    /// them from a source that has it.
    #[test]
    fn any_sources_merge_as_a_map_does(
        sources in prop::collection::vec((any::<u64>().prop_flat_map(|value| chunks_of_a_source(value >> 12)), prop::collection::vec((0i64..300, 0i64..40), 0..3)), 1..4),
        range in (-10i64..200, 1i64..320),
        floats in prop::sample::select(vec![KEEP, PACK, REPACK]),
    ) {
        let (min, max) = (range.0, range.0 + range.1);
        let mut model: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        let mut built = Vec::new();
        for (chunks, deleted) in &sources {
            let deleted: Vec<(i64, i64)> = deleted.iter().map(|(start, len)| (*start, start + len)).collect();
            for (time, value) in chunks.iter().flatten() {
                if (min..max).contains(time) && !deleted.iter().any(|(start, end)| (start..=end).contains(&time)) {
                    model.entry(*time).or_default().push(*value);
                }
            }
            built.push(series(chunks, &deleted));
        }
        let mut builder = Builder::new(min, max, floats);
        let chunks = builder.build(&built.iter().collect::<Vec<_>>()).unwrap();
        for pair in chunks.windows(2) {
            prop_assert!(pair[0].max_time < pair[1].min_time);
        }
        let samples = decoded(&chunks).concat();
        prop_assert_eq!(samples.iter().map(|s| s.0).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
        for (time, value) in samples {
            prop_assert!(model[&time].contains(&value));
        }
    }
}
