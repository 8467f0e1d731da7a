#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;

fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut appender = XorAppender::start(&mut bytes);
    for (time, value) in samples {
        appender.append(&mut bytes, *time, *value);
    }
    bytes
}

fn decode_all(bytes: &[u8]) -> Result<Vec<(i64, u64)>, Corrupt> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode(bytes, i64::MIN..=i64::MAX, &mut times, &mut values)?;
    Ok(times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect())
}

/// The twin: bit by bit, as the format is described. None where the chunk is corrupt.
fn decode_slowly(bytes: &[u8]) -> Option<Vec<(i64, u64)>> {
    let count = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
    let mut bits = bytes[2..].iter().flat_map(|byte| (0..8).rev().map(move |bit| u64::from(byte >> bit & 1)));
    let mut take = |n: u32| (0..n).try_fold(0u64, |value, _| Some(value << 1 | bits.next()?));
    let uvarint = |take: &mut dyn FnMut(u32) -> Option<u64>| {
        let mut value = 0u64;
        for group in 0..10 {
            let byte = take(8)?;
            if group == 9 && byte > 1 {
                return None;
            }
            value |= (byte & 0x7f) << (7 * group);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    };
    let (mut time, mut delta, mut value, mut window) = (0i64, 0u64, 0u64, (64, 0));
    let mut samples = Vec::new();
    for sample in 0..count {
        if sample == 0 {
            let zigzag = uvarint(&mut take)?;
            time = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            value = take(64)?;
            samples.push((time, value));
            continue;
        }
        if sample == 1 {
            delta = uvarint(&mut take)?;
        } else {
            let mut ones = 0;
            while ones < 4 && take(1)? == 1 {
                ones += 1;
            }
            let change = match [0, 14, 17, 20, 64][ones] {
                0 => 0,
                64 => take(64)?,
                len => {
                    let bits = take(len)?;
                    if bits > 1 << (len - 1) { bits.wrapping_sub(1 << len) } else { bits }
                }
            };
            delta = delta.wrapping_add(change);
        }
        time = time.wrapping_add(delta as i64);
        if take(1)? == 1 {
            if take(1)? == 1 {
                let leading = take(5)?;
                let significant = match take(6)? {
                    0 => 64,
                    n => n,
                };
                window = (significant, 64u64.checked_sub(leading + significant)?);
            }
            value ^= take(window.0 as u32)? << window.1;
        }
        samples.push((time, value));
    }
    Some(samples)
}

/// Samples as targets give them, and as nobody should.
fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![
        8 => Just(15_000i64),
        4 => 14_900..15_100i64,
        1 => prop_oneof![Just(8191i64), Just(8192), Just(8193), Just(-8191), Just(-8192)].prop_map(|jitter| 15_000 + jitter),
        1 => prop_oneof![Just(65_536i64), Just(65_537), Just(-65_535), Just(524_288), Just(524_289), Just(-524_287), Just(-524_288)],
        1 => any::<i64>(),
    ];
    let value = prop_oneof![
        4 => Just(1.0f64),
        4 => (0..100_000u32).prop_map(f64::from),
        2 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
    ];
    (any::<i64>(), prop::collection::vec((step, value), 0..200)).prop_map(|(mut time, rows)| {
        let mut step = |delta: i64| {
            time = time.wrapping_add(delta);
            time
        };
        rows.into_iter().map(|(delta, value)| (step(delta), value)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_appended_is_decoded(samples in samples()) {
        let bytes = encode(&samples);
        let want: Vec<_> = samples.iter().map(|(time, value)| (*time, value.to_bits())).collect();
        prop_assert_eq!(decode_all(&bytes).unwrap(), want.clone());
        prop_assert_eq!(decode_slowly(&bytes).unwrap(), want);
    }

    #[test]
    fn resuming_equals_never_having_stopped(samples in samples(), at in any::<prop::sample::Index>()) {
        let at = at.index(samples.len() + 1);
        let mut bytes = encode(&samples[..at]);
        let mut appender = XorAppender::resume(&bytes).unwrap();
        for (time, value) in &samples[at..] {
            appender.append(&mut bytes, *time, *value);
        }
        prop_assert_eq!(bytes, encode(&samples));
        prop_assert_eq!(usize::from(appender.sample_count()), samples.len());
    }

    #[test]
    fn both_decoders_take_any_bytes_alike(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0u16..40) {
        let mut bytes = bytes;
        if let Some(header) = bytes.first_chunk_mut::<2>() {
            *header = count.to_be_bytes();
        }
        prop_assert_eq!(decode_all(&bytes).ok(), decode_slowly(&bytes));
    }

    #[test]
    fn damaged_chunks_decode_alike(samples in samples(), flip in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encode(&samples);
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(decode_all(&bytes).ok(), decode_slowly(&bytes));
        bytes.truncate(cut.index(bytes.len() + 1));
        prop_assert_eq!(decode_all(&bytes).ok(), decode_slowly(&bytes));
        let _ = XorAppender::resume(&bytes);
    }
}

#[test]
fn bytes_are_those_of_the_format() {
    // Count 3; time 1 (zigzag 2), 1.0; delta 1, same value; change of delta 0, XOR of 1.0 and 2.0 in a new window.
    let bytes = encode(&[(1, 1.0), (2, 1.0), (3, 2.0)]);
    // 1.0 ^ 2.0 = 0x7ff0…: 1 leading zero, 52 trailing, 11 significant bits, all ones.
    // 0 | 0 11 00001 001011 11111111111, filled up with zeros.
    assert_eq!(bytes, [0, 3, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 1, 0b0011_0000, 0b1001_0111, 0b1111_1111, 0b1100_0000][..]);
}

#[test]
fn a_range_keeps_both_its_ends() {
    let samples: Vec<_> = (0..10).map(|i| (i * 10, i as f64)).collect();
    let bytes = encode(&samples);
    #[track_caller]
    fn check(bytes: &[u8], range: RangeInclusive<i64>, want: &[i64]) {
        let (mut times, mut values) = (vec![-1], vec![-1.0]);
        decode(bytes, range, &mut times, &mut values).unwrap();
        assert_eq!(times[0], -1);
        assert_eq!(&times[1..], want);
        assert_eq!(values[1..].iter().map(|v| *v as i64 * 10).collect::<Vec<_>>(), want);
    }
    check(&bytes, 20..=40, &[20, 30, 40]);
    check(&bytes, 21..=39, &[30]);
    check(&bytes, 21..=29, &[]);
    check(&bytes, -5..=0, &[0]);
    check(&bytes, 90..=1000, &[90]);
    check(&bytes, 91..=1000, &[]);
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range selects nothing")]
    check(&bytes, 40..=20, &[]);
    check(&encode(&[]), i64::MIN..=i64::MAX, &[]);
}

#[test]
fn a_false_count_is_refused_and_leaves_nothing() {
    let mut bytes = encode(&[(1, 1.0), (2, 1.0)]);
    bytes[0] = 0xff;
    let (mut times, mut values) = (vec![7], vec![7.0]);
    let error = decode(&bytes, 0..=9, &mut times, &mut values).unwrap_err();
    assert_eq!(error.to_string(), "chunk of 13 bytes ends before its 65282 samples do");
    assert_eq!((times, values), (vec![7], vec![7.0]));
    assert_eq!(decode_all(&[0]), Err(Corrupt::NoHeader { len: 1 }));
}
