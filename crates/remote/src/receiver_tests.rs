#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use model::{Exemplar, Labels, Metadata};
use std::collections::BTreeMap;
use storage::{Batch, Committed, RowSeries, RowValue, SeriesHandle, SeriesRef, Slot};

type Samples = Vec<(i64, f64)>;

/// A store of few rules: newest sample per series, order and bounds. Slots can be made to move.
#[derive(Default)]
struct Store {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    series: Vec<(Labels, SeriesRef, Samples)>,
    exemplars: Vec<(u32, Exemplar)>,
    metadata: Vec<Metadata>,
    labels_seen: usize,
    not_ready: bool,
}

impl Appender for Store {
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        let mut state = self.state.lock().unwrap();
        if state.not_ready {
            return Err(CommitError::NotReady);
        }
        result.handles.clear();
        result.refused.clear();
        result.exemplars_out_of_order.clear();
        (result.stored, result.batch_dropped) = (0, false);
        state.labels_seen += batch.labels.len();
        for labels in &batch.labels {
            let at = state.series.iter().position(|(known, ..)| known == labels).unwrap_or_else(|| {
                let at = state.series.len();
                state.series.push((labels.clone(), SeriesRef(at as u64 + 1), Vec::new()));
                at
            });
            result.handles.push(Some(SeriesHandle { slot: Slot(at as u32), series_ref: state.series[at].1 }));
        }
        let mut accepted = Vec::new();
        for (index, row) in (0u32..).zip(&batch.rows) {
            let handle = match row.series {
                RowSeries::Known(handle) => handle,
                RowSeries::Labels(at) => result.handles[at as usize].unwrap(),
            };
            let value = match row.value {
                RowValue::Float(value) => value,
                // Kept as the count, told apart by the sign.
                RowValue::Histogram(at) => -(batch.histograms[at as usize].count as f64),
                RowValue::FloatHistogram(at) => -batch.float_histograms[at as usize].count,
            };
            let series = state.series.get(handle.slot.0 as usize).filter(|series| series.1 == handle.series_ref);
            let newest = series.and_then(|series| series.2.last());
            let outcome = match newest {
                _ if batch.latest.is_some_and(|latest| row.timestamp > latest) => RowOutcome::OutOfBounds,
                _ if series.is_none() => RowOutcome::Gone,
                Some((time, _)) if row.timestamp.0 < *time => RowOutcome::OutOfOrder,
                Some((time, old)) if row.timestamp.0 == *time && *old != value => RowOutcome::Duplicate,
                _ => RowOutcome::Stored,
            };
            match outcome {
                RowOutcome::Stored => accepted.push((handle.slot.0 as usize, row.timestamp.0, value)),
                refused => result.refused.push((index, refused)),
            }
        }
        if !result.refused.is_empty() && batch.on_refused == OnRefused::DropBatch {
            result.batch_dropped = true;
            return Ok(());
        }
        for (at, (series, exemplar)) in (0u32..).zip(&batch.exemplars) {
            let handle = match series {
                RowSeries::Known(handle) => *handle,
                RowSeries::Labels(at) => result.handles[*at as usize].unwrap(),
            };
            if state.series.get(handle.slot.0 as usize).is_none_or(|series| series.1 != handle.series_ref) {
                continue;
            }
            let before = state.exemplars.iter().rfind(|(slot, _)| *slot == handle.slot.0);
            if before.is_some_and(|(_, before)| exemplar.timestamp < before.timestamp) {
                result.exemplars_out_of_order.push(at);
            } else {
                state.exemplars.push((handle.slot.0, exemplar.clone()));
            }
        }
        state.metadata.extend(batch.metadata.iter().map(|(_, metadata)| metadata.clone()));
        result.stored = accepted.len() as u64;
        accepted.into_iter().for_each(|(slot, time, value)| state.series[slot].2.push((time, value)));
        Ok(())
    }
}

impl Store {
    fn samples(&self) -> BTreeMap<String, Vec<(i64, f64)>> {
        let state = self.state.lock().unwrap();
        state.series.iter().map(|(labels, _, samples)| (labels.to_string(), samples.clone())).collect()
    }
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn series(labels: &[(&[u8], &[u8])], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        field(1, name, &mut label);
        field(2, value, &mut label);
        field(1, &label, &mut out);
    }
    for (time, value) in samples {
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(2 << 3);
        varint(*time as u64, &mut sample);
        field(2, &sample, &mut out);
    }
    out
}

fn body(all: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    all.iter().for_each(|series| field(1, series, &mut message));
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

const NOW: i64 = 1_000_000_000;

struct Case {
    store: Arc<Store>,
    receiver: Receiver,
}

impl Case {
    fn new() -> Self {
        let store = Arc::new(Store::default());
        Self { receiver: Receiver::new(store.clone(), Options::default()), store }
    }

    #[track_caller]
    fn send(&self, all: &[Vec<u8>], status: u16, message: &str) {
        let response = self.receiver.write(Some("application/x-protobuf"), Some("snappy"), &body(all), NOW);
        assert_eq!((response.status, response.body.trim_end()), (status, message));
    }
}

#[test]
fn known_series_send_no_labels() {
    let case = Case::new();
    let one = |time| series(&[(b"__name__", b"a"), (b"x", b"1")], &[(time, 1.0), (time + 1, 2.0)]);
    case.send(&[one(10)], 204, "");
    case.send(&[one(20)], 204, "");
    assert_eq!(case.store.state.lock().unwrap().labels_seen, 1);
    assert_eq!(case.store.samples()[r#"{__name__="a", x="1"}"#], [(10, 1.0), (11, 2.0), (20, 1.0), (21, 2.0)]);
    assert_eq!(case.receiver.stats(), Stats { stored_samples: 4, cached_series: 1, ..Stats::default() });
}

#[test]
fn one_refused_sample_refuses_all() {
    let case = Case::new();
    let a = |time, value| series(&[(b"__name__", b"a")], &[(time, value)]);
    let b = |time| series(&[(b"__name__", b"b")], &[(time, 1.0)]);
    case.send(&[a(10, 1.0)], 204, "");
    case.send(&[b(10), a(9, 1.0)], 400, "out of order sample");
    case.send(&[b(10), a(10, 2.0)], 400, "duplicate sample for timestamp");
    case.send(&[b(10), a(NOW + 600_001, 1.0)], 400, "out of bounds: timestamp is too far in the future");
    assert_eq!(case.store.samples()[r#"{__name__="b"}"#], []);
    case.send(&[b(10), a(NOW + 600_000, 1.0)], 204, "");
}

#[test]
fn invalid_series_are_skipped_and_labels_made_tidy() {
    let case = Case::new();
    let at = [(1, 1.0)];
    case.send(
        &[
            series(&[(b"x", b"1")], &at),
            series(&[], &at),
            series(&[(b"__name__", b"")], &at),
            series(&[(b"__name__", b"a"), (b"x", b"1"), (b"x", b"")], &at),
            series(&[(b"__name__", b"a"), (b"x", b"\xff")], &at),
            series(&[(b"__name__", b"a"), (b"", b"1")], &at),
            series(&[(b"z", b"1"), (b"y", b""), (b"__name__", b"a.b")], &at),
            series(&[(b"__name__", b"none")], &[]),
        ],
        204,
        "",
    );
    assert_eq!(case.store.samples().into_iter().collect::<Vec<_>>(), [(r#"{__name__="a.b", z="1"}"#.to_owned(), vec![(1, 1.0)])]);
    assert_eq!(case.receiver.stats().invalid_labels_samples, 6);
}

#[test]
fn labels_between_samples_are_still_that_series() {
    let case = Case::new();
    let mut scattered = series(&[(b"__name__", b"a")], &[(1, 1.0)]);
    scattered.extend(series(&[(b"x", b"1")], &[(2, 2.0)]));
    case.send(&[scattered], 204, "");
    assert_eq!(case.store.samples()[r#"{__name__="a", x="1"}"#], [(1, 1.0), (2, 2.0)]);
    assert_eq!(case.receiver.stats().cached_series, 0);
}

#[test]
fn a_slot_given_to_another_series_is_asked_for_again() {
    let case = Case::new();
    let a = |time| series(&[(b"__name__", b"a")], &[(time, 1.0), (time + 1, 1.0)]);
    let b = |time| series(&[(b"__name__", b"b")], &[(time, 1.0)]);
    case.send(&[a(10), b(10)], 204, "");
    case.store.state.lock().unwrap().series[0] = (Labels::from_pairs([("__name__", "c")]), SeriesRef(77), Vec::new());
    case.send(&[b(20), a(20)], 204, "");
    assert_eq!(case.store.samples()[r#"{__name__="a"}"#], [(20, 1.0), (21, 1.0)]);
    assert_eq!(case.store.samples()[r#"{__name__="b"}"#], [(10, 1.0), (20, 1.0)]);
    assert_eq!(case.store.samples()[r#"{__name__="c"}"#], []);
    case.send(&[a(30)], 204, "");
}

/// Count 3, one bucket at `offset`; an integer histogram of schema 0.
fn histogram(time: u8, deltas: &[u8]) -> Vec<u8> {
    let mut out = vec![0x08, 3];
    field(11, &[0x08, 0, 0x10, deltas.len() as u8], &mut out);
    field(12, deltas, &mut out);
    out.extend_from_slice(&[0x78, time]);
    out
}

#[test]
fn histograms_of_version_1_are_all_or_nothing() {
    let case = Case::new();
    let with = |name: &[u8], histogram: &[u8]| {
        let mut out = series(&[(b"__name__", name)], &[(1, 1.0)]);
        field(4, histogram, &mut out);
        out
    };
    // Deltas of 3 (6 in zigzag), of 2 and 1.
    case.send(&[with(b"a", &histogram(2, &[6]))], 204, "");
    case.send(
        &[with(b"b", &histogram(2, &[4]))],
        400,
        "2 observations found in buckets, but the Count field is 3: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)",
    );
    case.send(&[with(b"", &histogram(2, &[4]))], 204, "");
    assert_eq!(case.store.samples().into_iter().collect::<Vec<_>>(), [(r#"{__name__="a"}"#.to_owned(), vec![(1, 1.0), (2, -3.0)])]);
}

/// The marker's time is what counts, not that messages list floats first; ordinary floats stay where they are.
#[test]
fn a_marker_comes_behind_the_histograms_that_it_ends() {
    let stale = model::value::STALE_NAN;
    let times =
        |case: &Case| case.store.samples()[r#"{__name__="a"}"#].iter().map(|(time, value)| (*time, *value < 0.0)).collect::<Vec<_>>();
    for (floats, want) in [
        (vec![(3, stale)], vec![(1, true), (2, true), (3, false)]),
        (vec![(2, stale), (4, stale)], vec![(1, true), (2, true), (2, false), (4, false)]),
    ] {
        let with = |labels: &[(&[u8], &[u8])]| {
            let mut out = series(labels, &floats);
            [1, 2].iter().for_each(|time| field(4, &histogram(*time, &[6]), &mut out));
            out
        };
        let case = Case::new();
        let _ = case.receiver.write(None, Some("snappy"), &body(&[with(&[(b"__name__", b"a")])]), NOW);
        assert_eq!(times(&case), want);
        let case = Case::new();
        case.send2(&[series2(&[1, 2], &floats, &[(3, histogram(1, &[6])), (3, histogram(2, &[6]))])]);
        assert_eq!(times(&case), want);
    }
    let case = Case::new();
    let sent = case.send2(&[series2(&[1, 2], &[(0, 1.0), (3, stale)], &[(3, histogram(4, &[6]))])]);
    assert_eq!((sent.0, times(&case)), (204, vec![(0, false), (3, false), (4, true)]));
}

#[test]
fn exemplars_of_version_1_make_no_series() {
    let case = Case::new();
    let with = |samples: &[(i64, f64)], id: &[u8]| {
        let mut out = series(&[(b"__name__", b"a")], samples);
        let mut exemplar = Vec::new();
        let mut label = Vec::new();
        field(1, b"id", &mut label);
        field(2, id, &mut label);
        field(1, &label, &mut exemplar);
        field(3, &exemplar, &mut out);
        out
    };
    case.send(&[with(&[], b"too soon")], 204, "");
    case.send(&[with(&[(1, 1.0)], b"x"), with(&[], b"y")], 204, "");
    case.send(&[with(&[], b"z"), with(&[], &[b'x'; 127])], 204, "");
    let kept: Vec<String> = case.store.state.lock().unwrap().exemplars.iter().map(|(_, e)| e.labels.to_string()).collect();
    assert_eq!(kept, [r#"{id="x"}"#, r#"{id="y"}"#, r#"{id="z"}"#]);
    assert_eq!(case.store.state.lock().unwrap().series.len(), 1);
}

/// A series of version 2.0 by symbols.
fn series2(refs: &[u8], samples: &[(i64, f64)], more: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    field(1, refs, &mut out);
    for (time, value) in samples {
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(2 << 3);
        varint(*time as u64, &mut sample);
        field(2, &sample, &mut out);
    }
    more.iter().for_each(|(number, bytes)| field(*number, bytes, &mut out));
    out
}

fn body2(symbols: &[&[u8]], all: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    symbols.iter().for_each(|symbol| field(4, symbol, &mut message));
    all.iter().for_each(|series| field(5, series, &mut message));
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

const SYMBOLS: &[&[u8]] = &[b"", b"__name__", b"a", b"b", b"id", b"1"];

impl Case {
    /// Sends and gives status, body, and how many samples, histograms and exemplars were written.
    fn send2(&self, all: &[Vec<u8>]) -> (u16, String, [String; 3]) {
        let response =
            self.receiver.write(Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), None, &body2(SYMBOLS, all), NOW);
        let written = ["samples", "histograms", "exemplars"].map(|what| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            response.headers.iter().find(|(n, _)| *n == name).unwrap().1.clone()
        });
        (response.status, response.body, written)
    }
}

fn written(samples: u64, histograms: u64, exemplars: u64) -> [String; 3] {
    [samples, histograms, exemplars].map(|n| n.to_string())
}

#[test]
fn version_2_stores_what_it_can() {
    let case = Case::new();
    let exemplar = |time: u8| (4u8, vec![0x0a, 2, 4, 5, 0x18, time]);
    assert_eq!(case.send2(&[series2(&[1, 2], &[(10, 1.0)], &[exemplar(9)])]), (204, String::new(), written(1, 0, 1)));
    let sent = case.send2(&[
        series2(&[1, 2, 1], &[(10, 1.0)], &[]),
        series2(&[1, 2], &[(9, 1.0), (11, 1.0), (NOW + 600_001, 0.0)], &[exemplar(8), exemplar(12)]),
        series2(&[1, 3], &[], &[]),
        series2(&[1, 3], &[(5, 5.0)], &[(3, histogram(6, &[6])), (3, histogram(7, &[4]))]),
    ]);
    let lines = [
        "parsing labels for series [1 2 1]: invalid labelRefs length 3",
        r#"out of order sample for series {__name__="a"}"#,
        r#"out of bounds: timestamp is too far in the future for series {__name__="a"}"#,
        r#"out of order exemplar for series {__name__="a"}"#,
        r#"TimeSeries must contain at least one sample or histogram for series {__name__="b"}"#,
        r#"2 observations found in buckets, but the Count field is 3: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN) for series {__name__="b"}"#,
        "",
    ];
    assert_eq!(sent, (400, lines.join("\n"), written(2, 1, 1)));
    assert_eq!(case.store.samples()[r#"{__name__="a"}"#], [(10, 1.0), (11, 1.0)]);
    assert_eq!(case.store.samples()[r#"{__name__="b"}"#], [(5, 5.0), (6, -3.0)]);
    assert_eq!(case.receiver.stats(), Stats { invalid_labels_samples: 1, stored_samples: 4, cached_series: 2 });
}

#[test]
fn version_2_names_series_again_whose_slot_is_gone() {
    let case = Case::new();
    let exemplar = (4u8, vec![0x0a, 2, 4, 5, 0x18, 9]);
    let both = |time| {
        vec![series2(&[1, 2], &[(time, 1.0), (time + 1, 1.0)], std::slice::from_ref(&exemplar)), series2(&[1, 3], &[(time, 1.0)], &[])]
    };
    assert_eq!(case.send2(&both(10)), (204, String::new(), written(3, 0, 1)));
    case.store.state.lock().unwrap().series[0] = (Labels::from_pairs([("__name__", "c")]), SeriesRef(77), Vec::new());
    assert_eq!(case.send2(&both(20)), (204, String::new(), written(3, 0, 1)));
    assert_eq!(case.store.samples()[r#"{__name__="a"}"#], [(20, 1.0), (21, 1.0)]);
    assert_eq!(case.store.samples()[r#"{__name__="b"}"#], [(10, 1.0), (20, 1.0)]);
    assert_eq!(case.store.samples()[r#"{__name__="c"}"#], []);
}

#[test]
fn metadata_goes_on_where_asked_for() {
    let store = Arc::new(Store::default());
    let receiver = Receiver::new(store.clone(), Options { metadata: true, ..Options::default() });
    let series = series2(&[1, 2], &[(1, 1.0)], &[(5, vec![0x08, 1, 0x18, 3, 0x20, 4])]);
    let response =
        receiver.write(Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), None, &body2(SYMBOLS, &[series]), NOW);
    assert_eq!(response.status, 204);
    let want = Metadata { kind: model::MetricType::Counter, unit: "id".into(), help: "b".into() };
    assert_eq!(store.state.lock().unwrap().metadata, [want]);
}

#[test]
fn type_and_unit_become_labels_where_they_are_asked_for() {
    const SYMBOLS: &[&[u8]] = &[b"", b"__name__", b"a", b"__type__", b"own", b"__unit__", b"seconds", b"\xff"];
    let (plain, own) = ([1, 2], [1, 2, 3, 4, 5, 4]);
    let store = Arc::new(Store::default());
    let receiver = Receiver::new(store.clone(), Options { type_and_unit_labels: true, ..Options::default() });
    let send = |refs: &[u8], time: i64, kind: u8, unit: u8| {
        let series = series2(refs, &[(time, 1.0)], &[(5, vec![0x08, kind, 0x20, unit])]);
        let content_type = Some("application/x-protobuf;proto=io.prometheus.write.v2.Request");
        receiver.write(content_type, None, &body2(SYMBOLS, &[series]), NOW).body
    };
    for (refs, kind, unit, want) in [
        (&plain[..], 1, 6, r#"{__name__="a", __type__="counter", __unit__="seconds"}"#),
        (&plain[..], 0, 0, r#"{__name__="a"}"#),
        (&plain[..], 0, 6, r#"{__name__="a", __unit__="seconds"}"#),
        // One that is known takes the other's place, too.
        (&own[..], 2, 0, r#"{__name__="a", __type__="gauge"}"#),
        (&own[..], 0, 0, r#"{__name__="a", __type__="own", __unit__="own"}"#),
    ] {
        let count = store.state.lock().unwrap().series.len();
        assert_eq!(send(refs, 1, kind, unit), "");
        assert_eq!(send(refs, 2, kind, unit), "");
        assert_eq!(store.samples()[want].len(), 2, "{want}");
        assert_eq!(store.state.lock().unwrap().series.len(), count + 1);
    }
    assert_eq!(
        send(&plain, 1, 1, 6).trim_end(),
        r#"out of order sample for series {__name__="a", __type__="counter", __unit__="seconds"}"#
    );
    assert_eq!(
        send(&plain, 3, 1, 7).trim_end(),
        r#"invalid metric name or labels, got {__name__="a", __type__="counter", __unit__="\xff"}"#
    );
    // A series that the store had dropped is named with them again.
    store.state.lock().unwrap().series[0] = (Labels::from_pairs([("__name__", "c")]), SeriesRef(77), Vec::new());
    assert_eq!(send(&plain, 9, 1, 6), "");
    assert_eq!(store.samples()[r#"{__name__="a", __type__="counter", __unit__="seconds"}"#], [(9, 1.0)]);
}

#[test]
fn a_store_that_is_not_ready() {
    let case = Case::new();
    case.store.state.lock().unwrap().not_ready = true;
    case.send(&[series(&[(b"__name__", b"a")], &[(1, 1.0)])], 503, "TSDB not ready");
    case.send(&[], 204, "");
}

#[test]
fn broken_bodies() {
    let case = Case::new();
    let write = |encoding, body: &[u8]| {
        let response = case.receiver.write(None, encoding, body, NOW);
        (response.status, response.body)
    };
    assert_eq!(write(Some("gzip"), b"").0, 415);
    assert_eq!(write(None, b"").0, 400);
    assert_eq!(write(None, b"\x10zzzzzz"), (400, "s2: corrupt input\n".into()));
    assert_eq!(write(None, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]), (400, "s2: corrupt input\n".into()));
    let whole = body(&[series(&[(b"__name__", b"a")], &[(1, 1.0)])]);
    let message = snap::raw::Decoder::new().decompress_vec(&whole).unwrap();
    for len in 1..message.len() {
        let cut = snap::raw::Encoder::new().compress_vec(&message[..len]).unwrap();
        assert_eq!(write(None, &cut), (400, "unexpected EOF\n".into()), "cut at {len}");
    }
    assert!(case.store.samples().is_empty());
    assert_eq!(write(None, &whole), (204, String::new()));
}
