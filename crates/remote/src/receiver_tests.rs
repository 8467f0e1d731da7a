#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use model::Labels;
use std::collections::BTreeMap;
use storage::{SeriesHandle, SeriesRef, Slot};

type Samples = Vec<(i64, f64)>;

/// A store of few rules: newest sample per series, order and bounds. Slots can be made to move.
#[derive(Default)]
struct Store {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    series: Vec<(Labels, SeriesRef, Samples)>,
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
            let RowValue::Float(value) = row.value else { panic!("only floats") };
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
        Self { receiver: Receiver::new(store.clone()), store }
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

#[test]
fn histograms_are_said_not_to_be_stored_and_floats_are() {
    let case = Case::new();
    let mut both = series(&[(b"__name__", b"a")], &[(1, 1.0)]);
    field(4, &[], &mut both);
    case.send(&[both], 400, "native histograms are not supported yet: 1 of them not stored, all else is");
    assert_eq!(case.store.samples()[r#"{__name__="a"}"#], [(1, 1.0)]);
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
