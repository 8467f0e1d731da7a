use super::super::xor::XorAppender;
use super::super::{Encoding, decode_run};
use super::*;
use proptest::prelude::*;
use storage::Column;

/// Values of all paces: those that stay, change now and then, by little or by all their bits.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![6 => Just(7.0), 4 => (0..1000u32).prop_map(f64::from), 1 => any::<f64>(), 1 => any::<u64>().prop_map(f64::from_bits)]
}

fn step() -> impl Strategy<Value = i64> {
    // Changes of the step at the borders of their forms.
    let border = prop::sample::select(vec![
        -0x1fffi64, -0x2000, 0x2000, 0x2001, -0xffff, -0x1_0000, 0x1_0000, 0x1_0001, -0x7_ffff, 0x8_0000, 0x8_0001,
    ]);
    prop_oneof![8 => Just(15_000i64), 3 => 14_900..15_100i64, 2 => border.prop_map(|change| 600_000 + change), 2 => Just(600_000), 1 => 1..9_000_000i64]
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let steady = prop::collection::vec((Just(15_000i64), prop_oneof![40 => Just(1.0), 1 => value()]), 0..300);
    let lively = prop::collection::vec((step(), value()), 0..300);
    let busy = prop::collection::vec((step(), any::<f64>()), 0..300);
    prop::collection::vec(prop_oneof![4 => lively, 1 => steady, 2 => busy], 1..25).prop_map(|chunks| {
        let mut time = -1_000_000;
        let chunk = |samples: Vec<(i64, f64)>| {
            let mut bytes = Vec::new();
            let mut appender = XorAppender::start(&mut bytes);
            for (step, value) in samples {
                time += step;
                appender.append(&mut bytes, time, value);
            }
            bytes
        };
        chunks.into_iter().map(chunk).collect()
    })
}

/// The twin: one chunk after the other, by the plain decoder.
fn plain(chunks: &[Vec<u8>], range: RangeInclusive<i64>) -> (Vec<(i64, u64)>, Vec<usize>) {
    let (mut samples, mut damaged) = (Vec::new(), Vec::new());
    for (at, chunk) in chunks.iter().enumerate() {
        let decode = || {
            let count = checked_count(chunk)?;
            let mut decoder = Decoder::new(chunk, HEADER_LEN..chunk.len(), count);
            let mut of_chunk = Vec::new();
            for _ in 0..count {
                decoder.next()?;
                of_chunk.push((decoder.time, decoder.value_bits));
            }
            decoder.check_length()?;
            Ok::<_, Corrupt>(of_chunk)
        };
        match decode() {
            Ok(of_chunk) => samples.extend(of_chunk.into_iter().filter(|(time, _)| range.contains(time))),
            Err(_) => damaged.push(at),
        }
    }
    (samples, damaged)
}

fn run(chunks: &[Vec<u8>], range: RangeInclusive<i64>) -> (Vec<(i64, u64)>, Vec<usize>) {
    let chunks: Vec<(Encoding, &[u8])> = chunks.iter().map(|bytes| (Encoding::Xor, bytes.as_slice())).collect();
    let (mut column, mut damaged) = (Column::default(), Vec::new());
    decode_run(&chunks, range, &mut column, |at, _| damaged.push(at));
    (column.times.into_iter().zip(column.values.into_iter().map(f64::to_bits)).collect(), damaged)
}

/// Lists of so many chunks together, the last one of what is left, behind a sample that is there already; only that where a chunk
/// is damaged.
fn together(chunks: &[Vec<u8>], lists: &[usize], range: RangeInclusive<i64>, walk: Walk) -> (Vec<Vec<(i64, u64)>>, bool) {
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let lists = split(&chunks, lists);
    let mut columns = vec![(vec![i64::MIN], vec![-1.0]); lists.len()];
    let stretch = |(chunks, (times, values))| Stretch { chunks, times, values };
    let mut stretches: Vec<Stretch<'_, '_>> =
        lists.iter().copied().zip(columns.iter_mut().map(|(times, values)| (times, values))).map(stretch).collect();
    let sound = decode_by(walk, &mut stretches, range).is_ok();
    let samples = |(times, values): (Vec<i64>, Vec<f64>)| {
        assert_eq!((times[0], values[0]), (i64::MIN, -1.0));
        times.into_iter().zip(values.into_iter().map(f64::to_bits)).skip(1).collect()
    };
    (columns.into_iter().map(samples).collect(), sound)
}

fn split<'c, T>(mut rest: &'c [T], lists: &[usize]) -> Vec<&'c [T]> {
    let mut parts = Vec::new();
    for len in lists {
        let (list, others) = rest.split_at(rest.len().min(*len));
        (parts, rest) = ([parts, vec![list]].concat(), others);
    }
    parts.push(rest);
    parts
}

/// In turn, which is not the way everywhere.
fn without_registers(chunks: &[Vec<u8>]) -> (Vec<(i64, u64)>, bool) {
    let (mut samples, sound) = together(chunks, &[], i64::MIN..=i64::MAX, in_turn);
    (samples.remove(0), sound)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_abreast_are_chunks_one_by_one(chunks in chunks(), from in -2_000_000..40_000_000i64, len in 0..60_000_000i64) {
        for range in [i64::MIN..=i64::MAX, from..=from + len] {
            prop_assert_eq!(run(&chunks, range.clone()), plain(&chunks, range));
        }
        prop_assert_eq!(without_registers(&chunks), (plain(&chunks, i64::MIN..=i64::MAX).0, true));
    }

    #[test]
    fn lists_together_are_lists_one_by_one(
        chunks in chunks(),
        lists in prop::collection::vec(0..6usize, 0..8),
        from in -2_000_000..40_000_000i64,
        len in 0..60_000_000i64,
    ) {
        let range = from..=from + len;
        let each: Vec<Vec<(i64, u64)>> = split(&chunks, &lists).into_iter().map(|list| plain(list, range.clone()).0).collect();
        for way in [walk as Walk, in_turn] {
            prop_assert_eq!(together(&chunks, &lists, range.clone(), way), (each.clone(), true));
        }
    }

    #[test]
    fn damage_is_found_and_costs_its_own_chunk(
        mut chunks in chunks(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        for (chunk, at, byte, cut) in damage {
            let chunk = chunk.get(&chunks).clone();
            let place = chunks.iter().position(|other| *other == chunk).unwrap_or(0);
            let at = at.index(chunk.len());
            if cut { chunks[place].truncate(at) } else { chunks[place][at] = byte }
            if chunks[place].is_empty() {
                chunks[place] = vec![0, 0];
            }
        }
        // Of times out of order only what all chunks have together is defined.
        let all = i64::MIN..=i64::MAX;
        let (samples, damaged) = plain(&chunks, all.clone());
        let sound = damaged.is_empty();
        prop_assert_eq!(without_registers(&chunks), (if sound { samples.clone() } else { Vec::new() }, sound));
        prop_assert_eq!(run(&chunks, all), (samples, damaged));
    }
}
