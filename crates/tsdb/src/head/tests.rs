#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::chunk::{self, Sample, Value};
use crate::compact::source::{SeriesSource, SourceSeries};
use crate::neighbours::LabelRow;
use model::{FloatHistogram, Histogram, Labels, Matcher, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use storage::{Column, Interval, OnRefused, Queryable, Row, RowOutcome, RowSeries, RowValue, SelectHints, SeriesRef};
use testkit::disk::Disk;

const HOUR: i64 = 3_600_000;

fn labels(series: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("series", &format!("{series:04}"))])
}

fn everything() -> Vec<Matcher> {
    vec![Matcher::new(model::MatchOp::Equal, "__name__", "m").unwrap()]
}

fn all_time() -> Interval {
    Interval { start: Timestamp::MIN, end: Timestamp::MAX }
}

fn restored(head: &Head, labels: &Labels) -> SeriesHandle {
    let mut named = Vec::new();
    assert!(LabelRow::visit(labels, |row| head.prepare_series(SeriesRef(1), &row)));
    head.restore_series(&mut named);
    named[0].1
}

fn row(series: RowSeries, time: i64, value: RowValue) -> Row {
    Row { series, start: Timestamp(0), timestamp: Timestamp(time), value }
}

/// Commits floats by labels; what became of the rows that were refused.
fn append(head: &Head, samples: &[(u32, i64, f64)]) -> Vec<(u32, RowOutcome)> {
    let mut batch = Batch::default();
    for (series, time, value) in samples {
        batch.rows.push(row(RowSeries::Labels(batch.labels.len() as u32), *time, RowValue::Float(*value)));
        batch.labels.push(labels(*series));
    }
    let mut result = Committed::default();
    head.commit(&batch, &mut result).unwrap();
    result.refused
}

fn series_of(head: &Head, range: Interval) -> BTreeMap<String, Column> {
    let selection = head.select(range, &everything(), &SelectHints::default()).unwrap();
    let mut found = BTreeMap::new();
    for series in selection.series {
        let mut column = Column::default();
        series.decode(range, &mut column).unwrap();
        found.insert(series.labels().to_string(), column);
    }
    found
}

fn times_of(head: &Head, series: u32) -> Vec<i64> {
    series_of(head, all_time()).remove(&labels(series).to_string()).map_or_else(Vec::new, |column| column.times)
}

fn with_files(disk: &Disk, options: HeadOptions) -> Head {
    let mapped = Mapped::new(Arc::new(disk.clone()), Path::new("/data/chunks_head"));
    let mut found = Vec::new();
    mapped.load(|chunk| found.push(chunk)).unwrap();
    Head::new(options, Some(Arc::new(mapped)))
}

#[test]
fn full_chunks_move_to_files_and_are_read_there() {
    let disk = Disk::new();
    let head = with_files(&disk, HeadOptions::default());
    let mut expected = Vec::new();
    for at in 0..1000 {
        append(&head, &[(1, at * 10_000, at as f64), (2, at * 10_000, -1.0)]);
        expected.push(at * 10_000);
        if at % 300 == 299 {
            assert!(head.map_full_chunks().unwrap() > 0);
        }
    }
    assert_eq!(times_of(&head, 1), expected);
    head.map_full_chunks().unwrap();
    assert_eq!(head.map_full_chunks().unwrap(), 0);
    assert_eq!(times_of(&head, 2), expected);

    // A new run finds the chunks, and takes from the log what they do not cover.
    let mapped = Mapped::new(Arc::new(disk.clone()), Path::new("/data/chunks_head"));
    let mut found = Vec::new();
    mapped.load(|chunk| found.push(chunk)).unwrap();
    let again = Head::new(HeadOptions::default(), Some(Arc::new(mapped)));
    let handle = restored(&again, &labels(1));
    again.replayed_series();
    let mut replayer = again.replayer();
    for found in found.iter().filter(|found| found.series_ref == SeriesRef(1)) {
        assert!(replayer.mapped(handle.slot, found.chunk, false));
    }
    let covered = expected.iter().filter(|time| !replayer.float(handle.slot, 0, **time, (**time / 10_000) as f64)).count();
    assert!(covered > 800 && covered < 1000, "{covered}");
    drop(replayer);
    let column = series_of(&again, all_time()).remove(&labels(1).to_string()).unwrap();
    assert_eq!(column.times, expected);
    assert_eq!(column.values[999], 999.0);
    assert_eq!(again.time_range(), Some((0, 9_990_000)));
}

#[test]
fn a_full_disk_keeps_chunks_in_memory() {
    let disk = Disk::new();
    let head = with_files(&disk, HeadOptions::default());
    for at in 0..500 {
        append(&head, &[(1, at * 1000, at as f64)]);
    }
    disk.set_space(Some(0));
    assert!(head.map_full_chunks().is_err());
    assert_eq!(times_of(&head, 1).len(), 500);
    disk.set_space(None);
    assert!(head.map_full_chunks().unwrap() >= 3);
    assert_eq!(times_of(&head, 1).len(), 500);
}

#[test]
fn truncation_drops_chunks_files_and_series() {
    let disk = Disk::new();
    let head = with_files(&disk, HeadOptions::default());
    append(&head, &[(9, 0, 1.0)]);
    for at in 0..500 {
        append(&head, &[(1, at * 60_000, at as f64)]);
        head.map_full_chunks().unwrap();
    }
    assert_eq!(head.stats().series_count, 2);
    assert_eq!(head.truncate(4 * HOUR).unwrap(), Collected { removed: 1, in_limbo: 0 });
    assert_eq!(times_of(&head, 1), (240..500).map(|at| at * 60_000).collect::<Vec<_>>());
    assert!(times_of(&head, 9).is_empty());
    assert_eq!((head.stats().series_count, head.take_removed().len()), (1, 1));
    assert_eq!(append(&head, &[(1, HOUR, 0.0)]), [(0, RowOutcome::OutOfBounds)]);
    // The slot is used again, and the old handle is not the new series.
    append(&head, &[(10, 500 * 60_000, 1.0)]);
    assert_eq!(times_of(&head, 10).len(), 1);
    assert_eq!(head.read_index().slot_end(), 2);
}

#[test]
fn an_old_handle_is_gone() {
    let head = Head::default();
    let mut batch = Batch::default();
    batch.labels.push(labels(1));
    batch.rows.push(row(RowSeries::Labels(0), 0, RowValue::Float(1.0)));
    let mut result = Committed::default();
    head.commit(&batch, &mut result).unwrap();
    let handle = result.handles[0].unwrap();
    append(&head, &[(2, 3 * HOUR, 1.0)]);
    head.truncate(2 * HOUR).unwrap();
    append(&head, &[(3, 3 * HOUR, 1.0)]);
    batch.clear();
    batch.rows.push(row(RowSeries::Known(handle), 3 * HOUR, RowValue::Float(1.0)));
    head.commit(&batch, &mut result).unwrap();
    assert_eq!(result.refused, [(0, RowOutcome::Gone)]);
    assert_eq!(times_of(&head, 3), [3 * HOUR]);
}

#[test]
fn an_open_select_keeps_slots_in_limbo() {
    let head = Head::default();
    append(&head, &[(1, 0, 1.0)]);
    append(&head, &[(2, 3 * HOUR, 1.0)]);
    let view = head.sequencer.view();
    assert_eq!(head.truncate(2 * HOUR).unwrap(), Collected { removed: 1, in_limbo: 1 });
    append(&head, &[(3, 3 * HOUR, 1.0)]);
    assert_eq!(head.read_index().slot_end(), 3);
    drop(view);
    assert_eq!(head.collect_garbage(), Collected { removed: 0, in_limbo: 0 });
    append(&head, &[(4, 3 * HOUR, 1.0)]);
    assert_eq!(head.read_index().slot_end(), 3);
}

#[test]
fn rows_are_judged_as_prometheus_does() {
    let head = Head::default();
    append(&head, &[(1, 10 * HOUR, 1.0)]);
    assert_eq!(append(&head, &[(1, 10 * HOUR, 1.0)]), []);
    assert_eq!(append(&head, &[(1, 10 * HOUR, 2.0)]), [(0, RowOutcome::Duplicate)]);
    assert_eq!(append(&head, &[(1, 10 * HOUR - 1, 1.0)]), [(0, RowOutcome::OutOfOrder)]);
    assert_eq!(append(&head, &[(2, 9 * HOUR, 1.0)]), []);
    assert_eq!(append(&head, &[(3, 9 * HOUR - 1, 1.0)]), [(0, RowOutcome::OutOfBounds)]);
    assert_eq!(head.stats().series_count, 2);
    let settings = Settings { out_of_order_window_ms: 2 * HOUR, ..Settings::default() };
    head.apply_settings(&settings);
    assert_eq!(append(&head, &[(1, 8 * HOUR, 1.0), (3, 8 * HOUR - 1, 1.0)]), [(1, RowOutcome::TooOld)]);
    assert_eq!(append(&head, &[(1, 10 * HOUR, 2.0)]), [(0, RowOutcome::Duplicate)]);
    assert_eq!(append(&head, &[(1, 10 * HOUR, 1.0)]), []);
    // Of one batch: the earlier row is in order, the later one comes late.
    assert_eq!(append(&head, &[(1, 11 * HOUR, 1.0), (1, 10 * HOUR + 5, 3.0), (1, 11 * HOUR, 9.0)]), []);
    let column = series_of(&head, all_time()).remove(&labels(1).to_string()).unwrap();
    assert_eq!(column.times, [8 * HOUR, 10 * HOUR, 10 * HOUR + 5, 11 * HOUR]);
    assert_eq!(column.values, [1.0, 1.0, 3.0, 1.0]);
    assert_eq!((head.stats().too_old, head.stats().out_of_order_appended, head.late_time_range()), (1, 2, Some((8 * HOUR, 10 * HOUR + 5))));
}

fn histogram(count: u64) -> Histogram {
    let spans = [model::histogram::Span { offset: 0, len: 2 }];
    Histogram {
        count,
        sum: count as f64,
        positive_spans: spans.into(),
        positive_deltas: vec![count as i64, -(count as i64)],
        ..Histogram::default()
    }
}

#[test]
fn histograms_stand_beside_floats_and_end_as_what_they_are() {
    let head = Head::default();
    let mut batch = Batch { labels: vec![labels(1)], ..Batch::default() };
    for at in 0..40 {
        batch.histograms.push(histogram(at + 5));
        batch.rows.push(row(RowSeries::Labels(0), at as i64 * 1000, RowValue::Histogram(at as u32)));
    }
    batch.rows.push(row(RowSeries::Labels(0), 50_000, RowValue::Float(model::value::STALE_NAN)));
    let mut result = Committed::default();
    head.commit(&batch, &mut result).unwrap();
    assert_eq!((result.refused.len(), result.stored), (0, 41));
    assert_eq!((head.stats().stale_series_count, head.stats().histograms_appended), (1, 41));
    append(&head, &[(1, 60_000, 7.0)]);
    batch.clear();
    batch.labels.push(labels(1));
    batch.float_histograms.push(histogram(100).to_float());
    batch.rows.push(row(RowSeries::Labels(0), 70_000, RowValue::FloatHistogram(0)));
    head.commit(&batch, &mut result).unwrap();
    // The same again, and another one of that time.
    head.commit(&batch, &mut result).unwrap();
    assert_eq!(result.refused, []);
    batch.float_histograms[0] = FloatHistogram { sum: 1.0, ..histogram(100).to_float() };
    head.commit(&batch, &mut result).unwrap();
    assert_eq!(result.refused, [(0, RowOutcome::Duplicate)]);
    assert_eq!(append(&head, &[(1, 70_000, 7.0)]), [(0, RowOutcome::Duplicate)]);

    let column = series_of(&head, all_time()).remove(&labels(1).to_string()).unwrap();
    assert_eq!(column.len(), 43);
    let kinds: Vec<bool> = (0..43).map(|at| column.histograms.iter().any(|(index, _)| *index == at)).collect();
    assert!(kinds[..41].iter().all(|kind| *kind) && !kinds[41] && kinds[42]);
    assert!(model::value::is_stale(column.histograms[40].1.sum));
    assert_eq!(column.histograms[39].1.count, 44.0);
}

#[test]
fn a_dropped_batch_stores_nothing() {
    let head = Head::default();
    append(&head, &[(1, HOUR, 1.0)]);
    let mut batch = Batch { labels: vec![labels(1), labels(2)], on_refused: OnRefused::DropBatch, ..Batch::default() };
    batch.rows.push(row(RowSeries::Labels(0), 0, RowValue::Float(1.0)));
    batch.rows.push(row(RowSeries::Labels(1), HOUR, RowValue::Float(1.0)));
    let mut result = Committed::default();
    head.commit(&batch, &mut result).unwrap();
    assert!(result.batch_dropped && times_of(&head, 2).is_empty());
    // The series that it created goes with the next collection.
    assert_eq!((head.stats().series_count, head.collect_garbage().removed), (2, 1));
}

fn drain(mut source: impl SeriesSource) -> Vec<(String, Vec<i64>)> {
    let symbols: Vec<String> = source.symbols().map(str::to_owned).collect();
    assert!(symbols.is_sorted_by(|a, b| a < b));
    let mut series = SourceSeries::new();
    let mut all = Vec::new();
    while source.next(&mut series).unwrap() {
        let mut times = Vec::new();
        for at in series.chunks() {
            chunk::samples(at.encoding, series.bytes(at), |sample| times.push(sample.time)).unwrap();
        }
        times.retain(|time| !series.deleted().covers(*time));
        let text = |number: u32| symbols[number as usize].as_str();
        let labels = Labels::from_pairs(series.labels().iter().map(|pair| (text(pair.name), text(pair.value))));
        all.push((labels.to_string(), times));
    }
    all
}

#[test]
fn a_source_gives_series_in_label_order() {
    let disk = Disk::new();
    let head = with_files(&disk, HeadOptions::default());
    for at in 0..300i64 {
        let rows: Vec<(u32, i64, f64)> =
            (0..600).rev().filter(|series| series % 300 >= (at / 100) as u32).map(|series| (series, at * 30_000, at as f64)).collect();
        append(&head, &rows);
    }
    head.map_full_chunks().unwrap();
    let found = drain(head.source(0, 2 * HOUR - 1));
    let mut names: Vec<String> = (0..600).map(|series| labels(series).to_string()).collect();
    names.sort();
    assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    // Chunks do not cross the end of the range, so those of the range have no later samples.
    for (name, times) in &found {
        assert!(times.is_sorted() && times.iter().all(|time| *time < 2 * HOUR), "{name}");
    }
    assert_eq!(found[2].1.len(), 240);
    assert_eq!(found[0].1.len(), 100);
    let handle = head.read_index().find(&labels(7)).unwrap();
    assert_eq!(drain(head.source_of(&[handle], 0, HOUR)).len(), 1);
}

#[test]
fn stale_series_go_early_unless_they_come_back() {
    let head = Head::default();
    append(&head, &[(1, HOUR, 1.0), (2, HOUR, 1.0), (3, HOUR, 1.0)]);
    append(&head, &[(1, HOUR + 1, model::value::STALE_NAN), (2, HOUR + 1, model::value::STALE_NAN)]);
    let stale = head.stale_series(2 * HOUR);
    assert_eq!((stale.len(), head.stale_series(HOUR).len()), (2, 0));
    append(&head, &[(2, HOUR + 2, 5.0)]);
    let removed = head.remove_stale(&stale, 2 * HOUR);
    assert_eq!(removed, stale[..1]);
    assert_eq!((times_of(&head, 1).len(), times_of(&head, 2).len(), times_of(&head, 3).len()), (0, 3, 1));
}

#[test]
fn out_of_order_samples_are_taken_and_forgotten() {
    let disk = Disk::new();
    let options = HeadOptions { out_of_order_window_ms: 10 * HOUR, ..HeadOptions::default() };
    let head = with_files(&disk, options);
    append(&head, &[(1, 10 * HOUR, 0.0), (2, 10 * HOUR, 0.0)]);
    let mut expected = vec![10 * HOUR];
    for at in 0..100i64 {
        let time = (at * 37 % 100) * 60_000 + HOUR;
        append(&head, &[(1, time, at as f64)]);
        expected.push(time);
    }
    expected.sort_unstable();
    assert_eq!(times_of(&head, 1), expected);
    let taken = head.take_out_of_order(None).unwrap().unwrap();
    assert_eq!(taken.range(), (HOUR, HOUR + 99 * 60_000));
    append(&head, &[(1, 5 * HOUR, 1.0)]);
    let mut found = drain(taken.source(0, 2 * HOUR - 1));
    let times: BTreeSet<i64> = found.remove(0).1.into_iter().filter(|time| *time < 2 * HOUR).collect();
    assert_eq!(times, expected.iter().copied().filter(|time| *time < 2 * HOUR).collect());
    head.forget_out_of_order(taken).unwrap();
    assert_eq!(times_of(&head, 1), [5 * HOUR, 10 * HOUR]);
    assert_eq!(head.late_time_range(), Some((5 * HOUR, 5 * HOUR)));
}

/// Garbage is collected all the time while commits go to the same few series: no acknowledged sample may be lost.
#[test]
fn no_commit_loses_its_series() {
    let head = Head::default();
    append(&head, &[(9999, 100 * HOUR, 1.0)]);
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let mut removed = 0;
            while !ends.load(Ordering::Relaxed) {
                removed += head.collect_garbage().removed;
                // What this finds stale was appended by a commit that has ended.
                removed += head.remove_stale(&head.stale_series(i64::MAX), i64::MAX).len();
            }
            removed
        });
        let writers: Vec<_> = (0..3u32)
            .map(|writer| {
                let head = &head;
                scope.spawn(move || {
                    for round in 0..400i64 {
                        let series = writer * 8 + (round % 8) as u32;
                        // A batch that is dropped leaves an empty series behind.
                        let mut batch = Batch { labels: vec![labels(series)], on_refused: OnRefused::DropBatch, ..Batch::default() };
                        batch.rows.push(row(RowSeries::Labels(0), 100 * HOUR + round * 2, RowValue::Float(1.0)));
                        batch.rows.push(row(RowSeries::Labels(0), 0, RowValue::Float(1.0)));
                        let mut result = Committed::default();
                        head.commit(&batch, &mut result).unwrap();
                        assert!(result.batch_dropped);
                        batch.rows.truncate(1);
                        batch.on_refused = OnRefused::DropRow;
                        head.commit(&batch, &mut result).unwrap();
                        assert_eq!(result.refused, []);
                        let handle = result.handles[0].unwrap();
                        assert_eq!(times_of(head, series).last(), Some(&(100 * HOUR + round * 2)));
                        batch.rows[0] = row(RowSeries::Known(handle), 100 * HOUR + round * 2 + 1, RowValue::Float(model::value::STALE_NAN));
                        head.commit(&batch, &mut result).unwrap();
                        assert_eq!(result.refused, []);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        ends.store(true, Ordering::Relaxed);
        assert!(collecting.join().unwrap() > 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Against a map: appends in and out of order, deletions, truncations and moves to files.
    #[test]
    fn it_holds_what_a_map_would(
        steps in prop::collection::vec((0..40u8, 0..4u32, 0..400i64, any::<bool>()), 1..250),
        window in prop_oneof![Just(0), Just(HOUR)],
        with_disk in any::<bool>(),
    ) {
        let disk = Disk::new();
        let options = HeadOptions { out_of_order_window_ms: window, out_of_order_samples_max: 4, chunk_range_ms: 2 * HOUR, ..HeadOptions::default() };
        let head = if with_disk { with_files(&disk, options) } else { Head::new(options, None) };
        let mut model: BTreeMap<u32, BTreeMap<i64, f64>> = BTreeMap::new();
        let mut newest: BTreeMap<u32, i64> = BTreeMap::new();
        let (mut now, mut truncated) = (10 * HOUR, i64::MIN);
        // The first sample of an empty head would be in order whatever its time.
        append(&head, &[(0, now, 0.5)]);
        model.entry(0).or_default().insert(now, 0.5);
        newest.insert(0, now);
        for (at, (what, series, offset, flag)) in steps.iter().enumerate() {
            match what {
                0 => {
                    head.map_full_chunks().unwrap();
                }
                1 if *flag => {
                    // Samples out of order are no business of a truncation: they must be elsewhere first.
                    if let Some(taken) = head.take_out_of_order(None).unwrap() {
                        head.forget_out_of_order(taken).unwrap();
                    }
                    let to = now - 2 * HOUR;
                    head.truncate(to).unwrap();
                    truncated = truncated.max(to);
                    for samples in model.values_mut() {
                        samples.clear();
                    }
                    for (series, column) in series_of(&head, all_time()) {
                        let number = (0..4).find(|number| labels(*number).to_string() == series).unwrap();
                        model.insert(number, column.times.iter().copied().zip(column.values.iter().copied()).collect());
                    }
                    for (series, newest) in &newest {
                        if *newest >= to {
                            prop_assert!(model[series].contains_key(newest));
                        }
                    }
                }
                2..12 => {
                    // Late, or refused.
                    let time = now - offset * 20_000;
                    let value = at as f64;
                    let refused = append(&head, &[(*series, time, value)]);
                    let bound = (now - HOUR).max(truncated);
                    let last = newest.get(series).copied().filter(|last| *last >= truncated);
                    let in_order = time >= bound && last.is_none_or(|last| time > last);
                    let known = model.get(series).is_some_and(|samples| samples.contains_key(&time));
                    if in_order {
                        prop_assert_eq!(refused, []);
                        model.entry(*series).or_default().insert(time, value);
                        newest.insert(*series, time);
                    } else if last == Some(time) && time >= bound {
                        prop_assert_eq!(refused, [(0, RowOutcome::Duplicate)]);
                    } else if window > 0 && time >= now - window {
                        prop_assert_eq!(refused, []);
                        if !known {
                            model.entry(*series).or_default().insert(time, value);
                        } else {
                            // One of them stays.
                            let found = series_of(&head, all_time())[&labels(*series).to_string()].clone();
                            let place = found.times.binary_search(&time).unwrap();
                            model.entry(*series).or_default().insert(time, found.values[place]);
                        }
                    } else {
                        prop_assert_eq!(refused.len(), 1);
                    }
                }
                _ => {
                    now += 1 + offset * if *flag { 1000 } else { 100 };
                    let value = at as f64;
                    prop_assert_eq!(append(&head, &[(*series, now, value)]), []);
                    model.entry(*series).or_default().insert(now, value);
                    newest.insert(*series, now);
                }
            }
            if at % 16 == 15 {
                let range = Interval { start: Timestamp(now - offset * 30_000), end: Timestamp(now - offset * 5_000) };
                let found = series_of(&head, range);
                for (series, samples) in &model {
                    let want: Vec<(i64, f64)> = samples.range(range.start.0..=range.end.0).map(|(t, v)| (*t, *v)).collect();
                    let got = found.get(&labels(*series).to_string()).cloned().unwrap_or_default();
                    prop_assert_eq!(got.times.iter().copied().zip(got.values.iter().copied()).collect::<Vec<_>>(), want);
                }
            }
        }
    }
}

#[test]
fn replayed_samples_out_of_order_and_markers() {
    let disk = Disk::new();
    let options = HeadOptions { out_of_order_window_ms: 10 * HOUR, out_of_order_samples_max: 4, ..HeadOptions::default() };
    let head = with_files(&disk, options);
    let sample = |time| Sample { start: 0, time, value: Value::Float(1.0) };
    append(&head, &[(1, 10 * HOUR, 0.0)]);
    for time in [5, 3, 4, 6, 8] {
        append(&head, &[(1, HOUR + time, 1.0)]);
    }
    head.map_full_chunks().unwrap();
    let mapped = Mapped::new(Arc::new(disk.clone()), Path::new("/data/chunks_head"));
    let mut found = Vec::new();
    mapped.load(|chunk| found.push(chunk)).unwrap();
    assert_eq!((found.len(), found[0].out_of_order), (1, true));
    let again = Head::new(options, Some(Arc::new(mapped)));
    let handle = restored(&again, &labels(1));
    again.replayed_series();
    let mut replayer = again.replayer();
    assert!(replayer.mapped(handle.slot, found[0].chunk, true));
    for time in [5, 3, 4, 6] {
        assert!(replayer.late(handle.slot, sample(HOUR + time)));
    }
    replayer.marker(handle.slot, found[0].chunk.place().to_u64());
    assert!(replayer.late(handle.slot, sample(HOUR + 8)));
    drop(replayer);
    assert_eq!(times_of(&again, 1), [3, 4, 5, 6, 8].map(|time| HOUR + time));
    let mut replayer = again.replayer();
    replayer.tombstone(handle.slot, Interval { start: Timestamp(HOUR + 4), end: Timestamp(HOUR + 5) });
    drop(replayer);
    assert_eq!(times_of(&again, 1), [3, 6, 8].map(|time| HOUR + time));
}

#[test]
fn the_newest_sample_alone_is_that_of_all() {
    let options = HeadOptions { out_of_order_window_ms: HOUR, ..HeadOptions::default() };
    let head = with_files(&Disk::new(), options);
    for at in 0..300 {
        append(&head, &[(1, at * 1000, at as f64), (2, at * 1000, 1.0), (3, (at % 150) * 1000, 2.0)]);
    }
    append(&head, &[(2, 300_000, f64::from_bits(model::value::STALE_NAN_BITS)), (1, 500, 7.0)]);
    let newest = |range: Interval, newest_only: bool| {
        let hints = SelectHints { newest_only, ..SelectHints::default() };
        let mut found = BTreeMap::new();
        for series in head.select(range, &everything(), &hints).unwrap().series {
            let mut column = Column::default();
            series.decode(range, &mut column).unwrap();
            let last = column.times.last().copied().zip(column.values.last().map(|value| value.to_bits()));
            if let Some(last) = last {
                found.insert(series.labels().to_string(), last);
            }
        }
        found
    };
    for end in [0, 149_000, 150_000, 299_000, 299_500, 300_000, 400_000] {
        for back in [1, 1000, 200_000] {
            let range = Interval { start: Timestamp(end - back + 1), end: Timestamp(end) };
            assert_eq!(newest(range, true), newest(range, false), "{range:?}");
        }
    }
    assert_eq!(newest(all_time(), true).len(), 3);
}
