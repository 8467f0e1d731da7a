#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::chunk::{EncodeOptions, decode, encode, sample_count, samples};
use crate::db::FloatEncoding;
use model::Span;
use model::value::STALE_NAN;
use proptest::prelude::*;
use storage::Column;

fn spans(indexes: &[i32]) -> Arc<[Span]> {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for index in indexes {
        match spans.last_mut() {
            Some(span) if *index == next => span.len += 1,
            _ => spans.push(Span { offset: index - next, len: 1 }),
        }
        next = index + 1;
    }
    spans.into()
}

/// Counts by bucket; buckets that are there with 0 are stored, too.
fn histogram(hint: ResetHint, counts: &[(i32, i64)]) -> Histogram {
    let indexes: Vec<i32> = counts.iter().map(|(index, _)| *index).collect();
    let mut before = 0;
    let deltas = counts.iter().map(|(_, count)| count - std::mem::replace(&mut before, *count)).collect();
    let count = counts.iter().map(|(_, count)| *count as u64).sum();
    Histogram {
        reset_hint: hint,
        count,
        sum: count as f64 / 3.0,
        positive_spans: spans(&indexes),
        positive_deltas: deltas,
        ..Histogram::default()
    }
}

fn sample(time: i64, histogram: Histogram) -> Sample {
    Sample { start: 0, time, value: Value::Histogram(Arc::new(histogram)) }
}

/// What is in the histograms, whatever buckets are empty.
fn occupied(sample: &Sample) -> (i64, i64, u64, Vec<(i64, u64)>) {
    let (float, sum) = match &sample.value {
        Value::Float(value) => return (sample.start, sample.time, value.to_bits(), Vec::new()),
        Value::Histogram(histogram) => (histogram.to_float(), histogram.sum),
        Value::FloatHistogram(histogram) => (FloatHistogram::clone(histogram), histogram.sum),
    };
    let mut index = 0i64;
    let mut buckets = Vec::new();
    let mut counts = float.positive_counts.iter();
    for span in float.positive_spans.iter() {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.len as usize) {
            if *count != 0.0 {
                buckets.push((index, count.to_bits()));
            }
            index += 1;
        }
    }
    (sample.start, sample.time, sum.to_bits(), buckets)
}

fn all(chunk: &OpenChunk) -> Vec<Sample> {
    let mut all = Vec::new();
    samples(chunk.encoding(), chunk.bytes(), |sample| all.push(sample)).unwrap();
    all
}

fn header(chunk: &OpenChunk) -> u8 {
    chunk.bytes()[2] & 0xc0
}

#[test]
fn new_buckets_widen_the_chunk_and_missing_empty_ones_the_sample() {
    let mut chunk = OpenChunk::start(&sample(1, histogram(ResetHint::Unknown, &[(0, 3), (2, 0), (5, 1)])), Encoding::Histogram, None);
    assert_eq!(chunk.append(&sample(2, histogram(ResetHint::Unknown, &[(-1, 1), (0, 4), (1, 2), (5, 1), (9, 7)]))), Appended::Same);
    let [first, second] = &all(&chunk)[..] else { panic!("two samples") };
    let Value::Histogram(first) = &first.value else { panic!("a histogram") };
    let Value::Histogram(second) = &second.value else { panic!("a histogram") };
    assert_eq!(*first.positive_spans, *spans(&[-1, 0, 1, 2, 5, 9]));
    assert_eq!(first.positive_deltas, [0, 3, -3, 0, 1, -1]);
    assert_eq!(second.positive_deltas, [1, 3, -2, -2, 1, 6]);
    assert_eq!((first.reset_hint, second.reset_hint), (ResetHint::Unknown, ResetHint::NoReset));
}

#[test]
fn what_ends_a_chunk_and_what_the_next_one_says() {
    #[track_caller]
    fn check(first: Histogram, second: Histogram, want: Option<u8>) {
        let mut chunk = OpenChunk::start(&sample(1, first), Encoding::Histogram, None);
        let second = sample(2, second);
        let bytes = chunk.bytes().to_vec();
        let appended = chunk.append(&second);
        assert_eq!(appended == Appended::Full, want.is_some());
        if let Some(want) = want {
            assert_eq!(chunk.bytes(), bytes);
            assert_eq!(header(&OpenChunk::start(&second, Encoding::Histogram, Some(&chunk))), want);
        }
    }
    const UNKNOWN: u8 = 0;
    const NOT_RESET: u8 = 0x40;
    const RESET: u8 = 0x80;
    const GAUGE: u8 = 0xc0;
    let counter = |counts: &[(i32, i64)]| histogram(ResetHint::Unknown, counts);
    let gauge = |counts: &[(i32, i64)]| histogram(ResetHint::Gauge, counts);
    check(counter(&[(0, 3)]), counter(&[(0, 3), (4, 1)]), None);
    check(counter(&[(0, 3)]), counter(&[(0, 2)]), Some(RESET));
    check(counter(&[(0, 3), (1, 2)]), counter(&[(0, 9), (1, 1)]), Some(RESET));
    check(counter(&[(0, 3), (1, 2)]), counter(&[(1, 9)]), Some(RESET));
    check(counter(&[(0, 3)]), histogram(ResetHint::Reset, &[(0, 4)]), Some(RESET));
    check(counter(&[(0, 3)]), Histogram { schema: 1, ..counter(&[(0, 4)]) }, Some(UNKNOWN));
    check(counter(&[(0, 3)]), gauge(&[(0, 4)]), Some(GAUGE));
    check(gauge(&[(0, 3)]), counter(&[(0, 4)]), Some(NOT_RESET));
    check(gauge(&[(0, 3), (1, 2)]), gauge(&[(1, 1), (2, 1)]), None);
    check(gauge(&[(0, 3)]), Histogram { zero_threshold: 0.5, ..gauge(&[(0, 3)]) }, Some(GAUGE));
    let stale = || Histogram { sum: STALE_NAN, ..Histogram::default() };
    check(counter(&[(0, 3)]), stale(), None);
    check(stale(), stale(), None);
    check(stale(), counter(&[(0, 3)]), Some(UNKNOWN));
    let custom = |bound| Histogram { schema: -53, custom_values: [bound].into(), ..counter(&[(0, 3)]) };
    check(custom(1.0), custom(1.0), None);
    check(custom(1.0), custom(2.0), Some(RESET));
}

#[test]
fn xor2_without_changing_starts_ends_before_it_costs() {
    let row = |i: i64| Sample { start: 7, time: 1000 * i, value: Value::Float(1.0) };
    let mut chunk = OpenChunk::start(&row(1), Encoding::Xor2, None);
    let count = (2..).take_while(|i| chunk.append(&row(*i)) == Appended::Same).count();
    assert_eq!(count + 1, 127);
}

/// Histograms of a counter or gauge that gets buckets, resets, and ends.
fn run() -> impl Strategy<Value = Vec<Sample>> {
    let step = (0u8..14, prop::collection::btree_map(-4i32..12, 1i64..50, 0..4), 1i64..40_000, prop_oneof![3 => Just(0i64), 1 => 1i64..9]);
    let floats = any::<bool>();
    (prop::collection::vec(step, 1..150), floats).prop_map(|(steps, floats)| {
        let mut counts = std::collections::BTreeMap::<i32, i64>::new();
        let (mut time, mut hint) = (0i64, ResetHint::Unknown);
        let mut rows = Vec::new();
        for (kind, more, later, start) in steps {
            time += later;
            match kind {
                0 => counts.clear(),
                1 => hint = if hint == ResetHint::Gauge { ResetHint::Unknown } else { ResetHint::Gauge },
                2 if hint == ResetHint::Gauge => counts.values_mut().for_each(|count| *count /= 2),
                3 => counts.retain(|index, _| index % 2 == 0),
                _ => {}
            }
            for (index, count) in more {
                *counts.entry(index).or_default() += count;
            }
            let row: Vec<_> = counts.iter().map(|(index, count)| (*index, *count)).collect();
            let mut next = histogram(hint, &row);
            if kind == 4 {
                next = Histogram { sum: STALE_NAN, ..Histogram::default() };
            }
            let value = if floats { Value::FloatHistogram(Arc::new(next.to_float())) } else { Value::Histogram(Arc::new(next)) };
            rows.push(Sample { start, time, value: if kind == 5 { Value::Float(time as f64) } else { value } });
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mixture_comes_back(rows in run(), starts in any::<bool>(), samples_max in 1u16..200, bytes_max in 20usize..2000) {
        let options = EncodeOptions { float: FloatEncoding::Xor, float_starts: starts, histogram_starts: starts, samples_max, bytes_max };
        let chunks = encode(&rows, &options);
        let mut got = Vec::new();
        let mut column = Column::default();
        for chunk in &chunks {
            let before = got.len();
            samples(chunk.encoding, &chunk.bytes, |sample| got.push(sample)).unwrap();
            decode(chunk.encoding, &chunk.bytes, i64::MIN..=i64::MAX, &mut column).unwrap();
            let count = got.len() - before;
            prop_assert!(count > 0 && count <= usize::from(samples_max));
            prop_assert_eq!(sample_count(chunk.encoding, &chunk.bytes).map(usize::from), Some(count));
            prop_assert_eq!((got[before].time, got[got.len() - 1].time), (chunk.min_time, chunk.max_time));
            // Inside a chunk no counter goes down.
            for pair in got[before..].windows(2) {
                if let [Sample { value: Value::Histogram(first), .. }, Sample { value: Value::Histogram(second), .. }] = pair
                    && second.reset_hint == ResetHint::NoReset
                {
                    let (first, second) = (first.to_float(), second.to_float());
                    prop_assert!(first.positive_counts.iter().zip(&second.positive_counts).all(|(first, second)| first <= second));
                }
            }
        }
        let want: Vec<_> = rows.iter().map(|row| occupied(&if starts { row.clone() } else { Sample { start: 0, ..row.clone() } })).collect();
        prop_assert_eq!(got.iter().map(occupied).collect::<Vec<_>>(), want);
        prop_assert_eq!(column.times, rows.iter().map(|row| row.time).collect::<Vec<_>>());
    }

    #[test]
    fn resuming_equals_never_having_stopped(rows in run(), starts in any::<bool>()) {
        let options = EncodeOptions { float_starts: starts, histogram_starts: starts, ..EncodeOptions::default() };
        let mut open: Option<OpenChunk> = None;
        for row in &rows {
            let encoding = options.encoding_of(row);
            let Some(chunk) = &mut open else {
                open = Some(OpenChunk::start(row, encoding, None));
                continue;
            };
            let mut resumed = OpenChunk::resume(chunk.encoding(), chunk.bytes().to_vec()).unwrap();
            let appended = chunk.append(row);
            prop_assert_eq!(resumed.append(row), appended);
            prop_assert_eq!(resumed.bytes(), chunk.bytes());
            prop_assert_eq!(chunk.last().time, all(chunk).last().unwrap().time);
            if appended == Appended::Full {
                let next = OpenChunk::start(row, encoding, Some(chunk));
                let again = OpenChunk::start(row, encoding, Some(&resumed));
                prop_assert_eq!(again.bytes(), next.bytes());
                open = Some(next);
            }
        }
    }

    #[test]
    fn damaged_chunks_are_refused_or_read(rows in run(), starts in any::<bool>(), flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4), cut in any::<prop::sample::Index>()) {
        let options = EncodeOptions { float_starts: starts, histogram_starts: starts, ..EncodeOptions::default() };
        for chunk in encode(&rows, &options) {
            let mut bytes = chunk.bytes.to_vec();
            for flip in &flips {
                let bit = flip.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            read_anything(chunk.encoding, &bytes)?;
            bytes.truncate(cut.index(bytes.len() + 1));
            read_anything(chunk.encoding, &bytes)?;
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(encoding in 1u8..=6, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        read_anything(Encoding::of(encoding).unwrap(), &bytes)?;
    }
}

/// All ways of reading agree whether the bytes are a chunk, and nothing is left of one that is not.
fn read_anything(encoding: Encoding, bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut count = 0;
    let read = samples(encoding, bytes, |_| count += 1);
    let mut column = Column::default();
    column.push(model::Timestamp(i64::MIN), 7.0);
    let decoded = decode(encoding, bytes, i64::MIN..=i64::MAX, &mut column);
    prop_assert_eq!(read.is_ok(), decoded.is_ok());
    if decoded.is_ok() {
        prop_assert_eq!(column.len(), count + 1);
    } else {
        prop_assert_eq!((column.len(), column.histograms.len(), column.starts.len()), (1, 0, 0));
    }
    prop_assert_eq!(OpenChunk::resume(encoding, bytes.to_vec()).is_ok() || read.is_err(), true);
    Ok(())
}
