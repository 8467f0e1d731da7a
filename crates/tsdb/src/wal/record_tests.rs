#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;

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
    fn any_bytes_decode_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), first in 0u8..16) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let _ = kind(&bytes);
        let _ = decode_series(&bytes, |_, _| ());
        let _ = decode_samples(&bytes, |_, _, _| ());
        let _ = decode_tombstones(&bytes, |_, _, _| ());
        let _ = decode_exemplars(&bytes, |_, _, _, _| ());
        let _ = decode_metadata(&bytes, |_, _, _, _| ());
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
fn nothing_pushed_is_nothing_written_and_faults_have_names() {
    let mut bytes = Vec::new();
    SamplesEncoder::start(&mut bytes);
    assert!(bytes.is_empty());
    assert_eq!(kind(&[]), Err(Malformed::Empty));
    assert_eq!(kind(&[14]), Err(Malformed::Kind(14)));
    assert_eq!(kind(&[7]), Ok(Kind::Unread(Unread::Histograms)));
    assert_eq!(decode_samples(&[2], |_, _, _| ()), Ok(()));
    assert_eq!(decode_samples(&[2, 0], |_, _, _| ()), Err(Malformed::Short("first ref")));
    assert_eq!(decode_series(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0xff, 0], |_, _| ()), Err(Malformed::Text("label name")));
}
