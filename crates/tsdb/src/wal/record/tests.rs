#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use model::histogram::{FloatHistogram, Histogram, ResetHint, Span};
use model::{Labels, MetricType};
use proptest::prelude::*;
use storage::SeriesRef;

type Label = (String, String);

fn pairs(labels: &[Label]) -> impl ExactSizeIterator<Item = (&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn owned(labels: &[(&str, &str)]) -> Vec<Label> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn labels() -> impl Strategy<Value = Vec<Label>> {
    prop::collection::vec(("[a-z_]{0,12}", "\\PC{0,20}"), 0..6)
}

fn near_or_far() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1_000..3_000u64, 2 => 0..1u64 << 40, 1 => any::<u64>()]
}

fn layout() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::Exponential), Just(Layout::CustomBuckets), Just(Layout::WithStarts)]
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    prop::collection::vec((any::<i32>(), any::<u32>()).prop_map(|(offset, len)| Span { offset, len }), 0..4)
}

fn floats() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1e9..1e9, 0..6)
}

/// What both kinds of histogram have, in any combination: a record does not ask whether it makes sense.
fn float_histogram() -> impl Strategy<Value = FloatHistogram> {
    let hint = prop_oneof![Just(ResetHint::Unknown), Just(ResetHint::Reset), Just(ResetHint::NoReset), Just(ResetHint::Gauge)];
    let schema = prop_oneof![Just(-53), -4..9i32, any::<i32>()];
    let numbers = (0.0..1.0, 0.0..1e9, 0.0..1e9, -1e9..1e9);
    (hint, schema, numbers, (spans(), spans()), (floats(), floats()), floats()).prop_map(
        |(reset_hint, schema, numbers, spans, counts, values)| FloatHistogram {
            reset_hint,
            schema,
            zero_threshold: numbers.0,
            zero_count: numbers.1,
            count: numbers.2,
            sum: numbers.3,
            positive_spans: spans.0.into(),
            negative_spans: spans.1.into(),
            positive_counts: counts.0,
            negative_counts: counts.1,
            custom_values: if schema == -53 { values.into() } else { [].into() },
        },
    )
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let deltas = || prop::collection::vec(any::<i64>(), 0..6);
    (float_histogram(), any::<(u64, u64)>(), deltas(), deltas()).prop_map(|(float, counts, positive_deltas, negative_deltas)| Histogram {
        reset_hint: float.reset_hint,
        schema: float.schema,
        zero_threshold: float.zero_threshold,
        zero_count: counts.0,
        count: counts.1,
        sum: float.sum,
        positive_spans: float.positive_spans,
        negative_spans: float.negative_spans,
        positive_deltas,
        negative_deltas,
        custom_values: float.custom_values,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn series_come_back(rows in prop::collection::vec((near_or_far(), labels()), 1..20)) {
        let mut bytes = Vec::new();
        let mut encoder = SeriesEncoder::start(&mut bytes);
        for (series, labels) in &rows {
            encoder.push(SeriesRef(*series), pairs(labels));
        }
        let mut back = Vec::new();
        decode_series(&bytes, |series, labels| back.push((series.0, owned(labels)))).unwrap();
        prop_assert_eq!(back, rows);
        prop_assert_eq!(kind(&bytes), Ok(Kind::Series));
    }

    #[test]
    fn rows_have_the_labels_that_were_written(
        rows in prop::collection::vec(prop::collection::vec(("[a-c]{1,2}", prop_oneof![3 => Just("x".repeat(200)), 9 => "[xy]{1,2}", 1 => Just(String::new())]), 0..5), 1..40),
        sorted in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        let mut encoder = SeriesEncoder::start(&mut bytes);
        let mut expected = Vec::new();
        for (series, mut labels) in (1..).map(SeriesRef).zip(rows) {
            if sorted {
                labels = owned(&Labels::from_pairs(pairs(&labels)).iter().collect::<Vec<_>>());
            }
            encoder.push(series, pairs(&labels));
            expected.push((series, Labels::from_pairs(pairs(&labels))));
        }
        let mut numbered: Vec<(String, String)> = Vec::new();
        let mut found = Vec::new();
        decode_series_rows(&bytes, |series, row| {
            if row.begins {
                numbered.clear();
            }
            let known = numbered.len();
            numbered.extend(owned(&row.texts[known..]));
            let labels = Labels::from_sorted(row.numbers.iter().map(|number| &numbered[*number as usize]).map(|(name, value)| (&**name, &**value)));
            assert_eq!(row.packed, labels.as_bytes());
            found.push((series, labels));
        }).unwrap();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn samples_come_back(rows in prop::collection::vec((near_or_far(), near_or_far(), any::<u64>()), 1..50)) {
        let mut bytes = vec![9; 3];
        let mut encoder = SamplesEncoder::start(&mut bytes);
        for (series, time, value) in &rows {
            encoder.push(SeriesRef(*series), *time as i64, f64::from_bits(*value));
        }
        let mut back = Vec::new();
        decode_samples(&bytes[3..], |series, time, value| back.push((series.0, time as u64, value.to_bits()))).unwrap();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn exemplars_come_back(rows in prop::collection::vec((near_or_far(), any::<i64>(), any::<u64>(), labels()), 1..20)) {
        let mut bytes = Vec::new();
        let mut encoder = ExemplarsEncoder::start(&mut bytes);
        for (series, time, value, labels) in &rows {
            encoder.push(SeriesRef(*series), *time, f64::from_bits(*value), pairs(labels));
        }
        let mut back = Vec::new();
        let visit = |series: SeriesRef, time, value: f64, labels: &[_]| back.push((series.0, time, value.to_bits(), owned(labels)));
        decode_exemplars(&bytes, visit).unwrap();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn tombstones_come_back(rows in prop::collection::vec((any::<u64>(), any::<i64>(), any::<i64>()), 1..20)) {
        let mut bytes = Vec::new();
        let mut encoder = TombstonesEncoder::start(&mut bytes);
        for (series, min_time, max_time) in &rows {
            encoder.push(SeriesRef(*series), *min_time, *max_time);
        }
        let mut back = Vec::new();
        decode_tombstones(&bytes, |series, min_time, max_time| back.push((series.0, min_time, max_time))).unwrap();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn samples_with_starts_come_back(
        rows in prop::collection::vec((near_or_far(), prop_oneof![Just(0), Just(7), any::<i64>()], near_or_far(), any::<u64>()), 1..50)
    ) {
        let mut bytes = Vec::new();
        let mut encoder = SamplesV2Encoder::start(&mut bytes);
        for (series, start, time, value) in &rows {
            encoder.push(SeriesRef(*series), *start, *time as i64, f64::from_bits(*value));
        }
        let mut back = Vec::new();
        decode_samples_v2(&bytes, |series, start, time, value| back.push((series.0, start, time as u64, value.to_bits()))).unwrap();
        prop_assert_eq!(back, rows);
        prop_assert_eq!(kind(&bytes), Ok(Kind::SamplesV2));
    }

    #[test]
    fn markers_come_back(rows in prop::collection::vec(any::<(u64, u64)>(), 1..20)) {
        let mut bytes = Vec::new();
        let mut encoder = MmapMarkersEncoder::start(&mut bytes);
        for (series, chunk) in &rows {
            encoder.push(SeriesRef(*series), *chunk);
        }
        let mut back = Vec::new();
        decode_mmap_markers(&bytes, |series, chunk| back.push((series.0, chunk))).unwrap();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn histograms_come_back(rows in prop::collection::vec((near_or_far(), any::<i64>(), any::<i64>(), histogram()), 1..8), layout in layout()) {
        let mut bytes = Vec::new();
        let mut encoder = HistogramsEncoder::start(&mut bytes, layout);
        for (series, start, time, histogram) in &rows {
            encoder.push(SeriesRef(*series), *start, *time, histogram);
        }
        let mut back = Vec::new();
        decode_histograms(&bytes, |series, start, time, found: &mut Histogram| back.push((series.0, start, time, std::mem::take(found)))).unwrap();
        let starts = layout == Layout::WithStarts;
        let want: Vec<_> = rows.into_iter().map(|(series, start, time, h)| (series, if starts { start } else { 0 }, time, h)).collect();
        prop_assert_eq!(back, want);
    }

    #[test]
    fn float_histograms_come_back(rows in prop::collection::vec((near_or_far(), any::<i64>(), any::<i64>(), float_histogram()), 1..8), layout in layout()) {
        let mut bytes = Vec::new();
        let mut encoder = HistogramsEncoder::start(&mut bytes, layout);
        for (series, start, time, histogram) in &rows {
            encoder.push(SeriesRef(*series), *start, *time, histogram);
        }
        let mut back = Vec::new();
        decode_histograms(&bytes, |series, start, time, found: &mut FloatHistogram| back.push((series.0, start, time, found.clone()))).unwrap();
        let starts = layout == Layout::WithStarts;
        let want: Vec<_> = rows.into_iter().map(|(series, start, time, h)| (series, if starts { start } else { 0 }, time, h)).collect();
        prop_assert_eq!(back, want);
    }

    #[test]
    fn any_bytes_decode_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), first in 0u8..16) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let _ = kind(&bytes);
        let _ = decode_series(&bytes, |_, _| ());
        let _ = decode_series_rows(&bytes, |_, _| ());
        let _ = decode_samples(&bytes, |_, _, _| ());
        let _ = decode_tombstones(&bytes, |_, _, _| ());
        let _ = decode_exemplars(&bytes, |_, _, _, _| ());
        let _ = decode_metadata(&bytes, |_, _, _, _| ());
        let _ = decode_samples_v2(&bytes, |_, _, _, _| ());
        let _ = decode_mmap_markers(&bytes, |_, _| ());
        let _ = decode_histograms(&bytes, |_, _, _, _: &mut Histogram| ());
        let _ = decode_histograms(&bytes, |_, _, _, _: &mut FloatHistogram| ());
    }
}

#[test]
fn metadata_comes_back_for_every_type() {
    use MetricType::*;
    let types = [Unknown, Counter, Gauge, Histogram, GaugeHistogram, Summary, Info, StateSet];
    let mut bytes = Vec::new();
    let mut encoder = MetadataEncoder::start(&mut bytes);
    for (i, metric_type) in types.into_iter().enumerate() {
        encoder.push(SeriesRef(i as u64 * 1000), metric_type, "seconds", "Längere Hilfe.");
    }
    let mut back = Vec::new();
    decode_metadata(&bytes, |series, metric_type, unit, help| back.push((series.0, metric_type, unit, help))).unwrap();
    let want: Vec<_> = types.into_iter().enumerate().map(|(i, t)| (i as u64 * 1000, t, "seconds", "Längere Hilfe.")).collect();
    assert_eq!(back, want);
}

#[test]
fn samples_are_deltas_to_the_first() {
    let mut bytes = Vec::new();
    let mut encoder = SamplesEncoder::start(&mut bytes);
    encoder.push(SeriesRef(5), 1000, 1.0);
    encoder.push(SeriesRef(4), 1001, 1.0);
    let one = [0x3f, 0xf0, 0, 0, 0, 0, 0, 0];
    let want = [&[2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0][..], &one, &[1, 2], &one].concat();
    assert_eq!(bytes, want);
}

#[test]
fn a_start_is_a_mark_or_the_difference_to_the_first() {
    let mut bytes = Vec::new();
    let mut encoder = SamplesV2Encoder::start(&mut bytes);
    for (series, start, time) in [(5, 900, 1000), (7, 900, 1001), (8, 0, 999), (6, 901, 1000)] {
        encoder.push(SeriesRef(series), start, time, 1.0);
    }
    let one = [0x3f, 0xf0, 0, 0, 0, 0, 0, 0];
    let want = [&[11, 10, 0xd0, 0x0f, 0x88, 0x0e][..], &one, &[4, 2, 1], &one, &[2, 1, 0], &one, &[3, 0, 2, 2], &one];
    assert_eq!(bytes, want.concat());
}

#[test]
fn a_false_count_allocates_nothing() {
    let mut bytes = Vec::new();
    HistogramsEncoder::start(&mut bytes, Layout::Exponential).push(SeriesRef(1), 0, 1, &Histogram::default());
    // The last four bytes are the counts of spans and buckets.
    let at = bytes.len() - 4;
    bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(decode_histograms(&bytes, |_, _, _, _: &mut Histogram| ()), Err(Malformed::Short("spans")));
}

#[test]
fn nothing_pushed_is_nothing_written_and_faults_have_names() {
    let mut bytes = Vec::new();
    SamplesEncoder::start(&mut bytes);
    assert!(bytes.is_empty());
    assert_eq!(kind(&[]), Err(Malformed::Empty));
    for byte in 0..=255 {
        let known = (1..=13).contains(&byte);
        let found = kind(&[byte]).unwrap();
        assert!(found.byte() == byte && known != matches!(found, Kind::Unknown(_)), "{byte} {found:?}");
    }
    assert_eq!(decode_samples(&[2], |_, _, _| ()), Ok(()));
    assert_eq!(decode_samples(&[2, 0], |_, _, _| ()), Err(Malformed::Short("first ref")));
    assert_eq!(decode_series(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0xff, 0], |_, _| ()), Err(Malformed::Text("label name")));
}
