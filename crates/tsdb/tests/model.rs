//! The head and its log against a naive twin: maps of label sets to samples.
//!
//! Random batches (new and known series, refused rows, all-or-nothing), restarts with and without a clean stop; after
//! each step every series is compared, and a refused row must be refused for the same reason.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, MatchOp, Matcher, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use storage::{
    Appender, Batch, Column, Committed, Interval, OnRefused, Queryable, Row, RowOutcome, RowSeries, RowValue, SelectHints, SeriesHandle,
    SeriesRef,
};
use tsdb::{Db, Head, Options};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const HOUR: i64 = 3_600_000;

#[derive(Clone, Debug)]
enum Step {
    Batch { rows: Vec<(u8, i64, u8)>, drop_batch: bool },
    Stop,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    // Times lie close together, so that duplicates and late rows are common; a few jump over the chunk range.
    let row = (0..40u8, prop_oneof![20 => -3..12i64, 1 => Just(-2000i64), 1 => Just(900i64)], 0..3u8);
    prop_oneof![
        20 => (prop::collection::vec(row, 0..60), any::<bool>()).prop_map(|(rows, drop_batch)| Step::Batch { rows, drop_batch }),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
    ]
}

fn labels(series: u8) -> Labels {
    let (name, job, n) = (format!("m{}", series % 5), format!("job{}", series % 3), series.to_string());
    let mut pairs = vec![("__name__", name.as_str()), ("job", job.as_str()), ("n", n.as_str())];
    if series.is_multiple_of(4) {
        pairs.push(("extra", "yes"));
    }
    Labels::from_pairs(pairs)
}

#[derive(Default)]
struct Twin {
    samples: BTreeMap<Labels, BTreeMap<i64, u64>>,
    newest: Option<i64>,
}

impl Twin {
    /// Applies a batch by the rules, one row after the other, and says which rows are refused.
    fn commit(&mut self, rows: &[(Labels, i64, f64)], drop_batch: bool) -> Vec<(u32, RowOutcome)> {
        let Some(first) = rows.first() else { return Vec::new() };
        let least = self.newest.unwrap_or(first.1) - HOUR;
        let mut refused = Vec::new();
        let mut staged: BTreeMap<Labels, BTreeMap<i64, u64>> = BTreeMap::new();
        for (at, (labels, time, value)) in (0u32..).zip(rows) {
            let last = self.samples.get(labels).and_then(|s| s.last_key_value());
            let outcome = match last {
                _ if *time < least => RowOutcome::OutOfBounds,
                Some((last, _)) if time < last => RowOutcome::OutOfOrder,
                Some((last, bits)) if time == last && *bits != value.to_bits() => RowOutcome::Duplicate,
                _ => RowOutcome::Stored,
            };
            if outcome != RowOutcome::Stored {
                refused.push((at, outcome));
                continue;
            }
            let staged = staged.entry(labels.clone()).or_default();
            if last.is_none_or(|(last, _)| last < time) && staged.last_key_value().is_none_or(|(last, _)| last < time) {
                staged.insert(*time, value.to_bits());
            }
        }
        if !drop_batch || refused.is_empty() {
            for (labels, samples) in staged.into_iter().filter(|(_, samples)| !samples.is_empty()) {
                self.newest = self.newest.max(samples.last_key_value().map(|(time, _)| *time));
                self.samples.entry(labels).or_default().extend(samples);
            }
        }
        refused
    }
}

fn contents(db: &dyn Queryable, matchers: &[Matcher]) -> BTreeMap<Labels, BTreeMap<i64, u64>> {
    let hints = SelectHints { sorted: true, ..SelectHints::default() };
    let selection = db.select(ALL, matchers, &hints).unwrap();
    assert!(selection.series.is_sorted_by_key(|s| s.labels()));
    let mut column = Column::default();
    let mut found = BTreeMap::new();
    for series in &selection.series {
        column.clear();
        series.decode(ALL, &mut column).unwrap();
        let samples = column.times.iter().copied().zip(column.values.iter().map(|v| v.to_bits())).collect();
        assert!(found.insert(series.labels().clone(), samples).is_none());
    }
    found
}

fn open(dir: &Path) -> Db {
    let mut options = Options::new(dir);
    // Small segments, so that a replay goes through several.
    options.wal.segment_bytes_max = 64 << 10;
    Db::open(options).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn head_and_log_agree_with_the_twin(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = open(dir.path());
        let mut twin = Twin::default();
        let mut handles: BTreeMap<Labels, SeriesHandle> = BTreeMap::new();
        let mut refs: HashMap<SeriesRef, Labels> = HashMap::new();
        let mut now = 10 * HOUR;
        let mut result = Committed::default();
        for step in steps {
            match step {
                Step::Batch { rows, drop_batch } => {
                    now += 7_000;
                    let rows: Vec<_> = rows.into_iter().map(|(s, t, v)| (labels(s), now + t * 10_000, f64::from(v))).collect();
                    let mut batch = Batch { on_refused: if drop_batch { OnRefused::DropBatch } else { OnRefused::DropRow }, ..Batch::default() };
                    for (labels, time, value) in &rows {
                        let series = match handles.get(labels) {
                            Some(handle) => RowSeries::Known(*handle),
                            None => {
                                batch.labels.push(labels.clone());
                                RowSeries::Labels(batch.labels.len() as u32 - 1)
                            }
                        };
                        batch.rows.push(Row { series, start: Timestamp(0), timestamp: Timestamp(*time), value: RowValue::Float(*value) });
                    }
                    db.commit(&batch, &mut result).unwrap();
                    let refused = twin.commit(&rows, drop_batch);
                    prop_assert_eq!(&result.refused, &refused);
                    prop_assert_eq!(result.batch_dropped, drop_batch && !refused.is_empty());
                    for (labels, handle) in batch.labels.iter().zip(&result.handles) {
                        if let Some(handle) = handle {
                            let owner = refs.entry(handle.series_ref).or_insert_with(|| labels.clone());
                            prop_assert_eq!(&*owner, labels, "a ref is never given to another series");
                            handles.insert(labels.clone(), *handle);
                        }
                    }
                }
                Step::Stop | Step::Kill => {
                    if matches!(step, Step::Stop) {
                        db.close().unwrap();
                    }
                    drop(db);
                    db = open(dir.path());
                    handles.clear();
                    for labels in twin.samples.keys() {
                        let batch = Batch { labels: vec![labels.clone()], ..Batch::default() };
                        db.commit(&batch, &mut result).unwrap();
                        let handle = result.handles[0].unwrap();
                        prop_assert_eq!(refs.get(&handle.series_ref), Some(labels), "a ref lives on in the log");
                        handles.insert(labels.clone(), handle);
                    }
                }
            }
            prop_assert_eq!(contents(&db, &[]), twin.samples.clone());
        }
        let stats = db.stats().head;
        prop_assert_eq!(stats.max_time, twin.newest);
    }

    #[test]
    fn matchers_agree_with_a_scan(
        series in prop::collection::btree_set(0..200u8, 0..200),
        matchers in prop::collection::vec((0..4usize, 0..4usize, 0..9usize), 1..4),
    ) {
        let head = Head::new();
        let batch = Batch {
            labels: series.iter().map(|s| labels(*s)).collect(),
            rows: (0..series.len() as u32)
                .map(|at| Row { series: RowSeries::Labels(at), start: Timestamp(0), timestamp: Timestamp(1), value: RowValue::Float(1.0) })
                .collect(),
            ..Batch::default()
        };
        head.commit(&batch, &mut Committed::default()).unwrap();
        let names = ["__name__", "job", "extra", "absent"];
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let values = ["", "m1", "job0", "yes", "m[12]", "job1|", ".*", ".+", "job1|job2"];
        let matchers: Vec<Matcher> = matchers.iter().map(|(n, o, v)| Matcher::new(ops[*o], names[*n], values[*v]).unwrap()).collect();
        let want: Vec<Labels> = {
            let mut all: Vec<Labels> = batch.labels.clone();
            all.retain(|labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))));
            all.sort();
            all
        };
        prop_assert_eq!(contents(&head, &matchers).into_keys().collect::<Vec<_>>(), want);
        let names = head.label_names(ALL, std::slice::from_ref(&matchers)).unwrap().names;
        prop_assert_eq!(names.contains(&"extra".to_owned()), contents(&head, &matchers).keys().any(|l| l.get("extra").is_some()));
    }
}
