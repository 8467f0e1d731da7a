//! Merging against a plain transcription of its rule.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::chunk::xor::XorAppender;
use model::{FloatHistogram, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };

/// Times, each with the number of its source as value; every third is a histogram, every fifth has a start.
fn column(source: usize, times: impl IntoIterator<Item = i64>) -> Column {
    let mut column = Column::default();
    for time in times {
        if time % 3 == 0 {
            let reset_hint = if time % 2 == 0 { ResetHint::NoReset } else { ResetHint::Gauge };
            let histogram = FloatHistogram { sum: source as f64, reset_hint, ..FloatHistogram::default() };
            column.push_histogram(Timestamp(time), Arc::new(histogram));
        } else {
            column.push(Timestamp(time), source as f64);
        }
        if time % 5 == 0 {
            column.set_start(Timestamp(time - 1000));
        }
    }
    column
}

/// Per sample: time, source, whether a histogram's hint was kept (true for floats), start.
fn rows(column: &Column) -> Vec<(i64, usize, bool, i64)> {
    assert_eq!(column.times.len(), column.values.len());
    assert!(column.starts.is_empty() || column.starts.len() == column.times.len());
    let histograms: BTreeMap<u32, &FloatHistogram> = column.histograms.iter().map(|(at, h)| (*at, &**h)).collect();
    (0..column.len())
        .map(|at| {
            let kept = histograms.get(&(at as u32)).is_none_or(|h| h.reset_hint != ResetHint::Unknown);
            assert_eq!(histograms.contains_key(&(at as u32)), column.times[at] % 3 == 0);
            (column.times[at], column.values[at] as usize, kept, column.starts.get(at).copied().unwrap_or(0))
        })
        .collect()
}

struct Fixed(Labels, Column);

impl Series for Fixed {
    fn labels(&self) -> &Labels {
        &self.0
    }
    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        let (from, upto) =
            (self.1.times.partition_point(|time| *time < range.start.0), self.1.times.partition_point(|time| *time <= range.end.0));
        append(column, &self.1, from..upto, &mut 0, Known::Yes);
        Ok(())
    }
    fn samples_estimate(&self) -> usize {
        self.1.len()
    }
}

/// Chunks of floats, which may or may not be handed out.
struct Encoded {
    labels: Labels,
    /// Times of the first and last sample, and the bytes.
    chunks: Vec<(i64, i64, Vec<u8>)>,
    gives_chunks: bool,
}

impl Encoded {
    /// Of these times, three to a chunk; of the chunks that `cut` names the last byte is missing.
    fn new(times: &[i64], cut: Option<usize>, gives_chunks: bool) -> Self {
        let chunk = |(number, times): (usize, &[i64])| {
            let mut bytes = Vec::new();
            let mut appender = XorAppender::start(&mut bytes);
            times.iter().for_each(|time| appender.append(&mut bytes, *time, (*time * *time) as f64));
            bytes.truncate(bytes.len() - usize::from(cut == Some(number)) * 9);
            (times[0], times[times.len() - 1], bytes)
        };
        Self { labels: Labels::from_pairs([("a", "b")]), chunks: times.chunks(3).enumerate().map(chunk).collect(), gives_chunks }
    }

    fn chunks_in(&self, range: Interval) -> impl Iterator<Item = &(i64, i64, Vec<u8>)> {
        self.chunks.iter().filter(move |(min, max, _)| *max >= range.start.0 && *min <= range.end.0)
    }
}

impl Series for Encoded {
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        let mut damage = Ok(());
        for (_, _, bytes) in self.chunks_in(range) {
            if let Err(what) = chunk::decode(Encoding::Xor, bytes, range.start.0..=range.end.0, column) {
                damage = Err(SelectError::Corrupt(what.to_string()));
            }
        }
        damage
    }
    fn samples_estimate(&self) -> usize {
        self.chunks.len() * 3
    }
    fn chunks<'s>(&'s self, range: Interval, into: &mut Vec<EncodedChunk<'s>>) -> bool {
        for (min_time, max_time, bytes) in self.chunks_in(range) {
            let (min_time, max_time) = (*min_time, *max_time);
            into.push(EncodedChunk { encoding: Encoding::Xor as u8, min_time, max_time, bytes: bytes.into() });
        }
        self.gives_chunks
    }
}

fn merged(parts: &[Column], start: Start) -> Column {
    let mut column = Column::default();
    merge_columns(parts, start, &mut column);
    column
}

#[test]
fn a_reader_goes_over_to_the_other_source_at_equal_times() {
    let sources = |column: Column| rows(&column).iter().map(|row| row.1).collect::<Vec<_>>();
    let same = [column(0, [1, 2, 4]), column(1, [1, 2, 4])];
    assert_eq!(sources(merged(&same, Start::Next)), [1, 1, 1]);
    assert_eq!(sources(merged(&same, Start::Seek)), [0, 0, 0]);
    assert_eq!(sources(merged(&[column(0, [1, 2, 4]), column(1, [2])], Start::Next)), [0, 1, 0]);
    assert_eq!(sources(merged(&[column(0, [1, 4]), column(1, [2, 4])], Start::Next)), [0, 1, 0]);
}

#[test]
fn only_a_histogram_behind_one_of_its_own_source_knows_of_resets() {
    // 6, 12 and 18 know, 9 and 15 are gauges; 10 is a float of the other source.
    let parts = [column(0, [6, 9, 12, 15, 18]), column(1, [10])];
    let kept: Vec<_> = rows(&merged(&parts, Start::Next)).iter().map(|row| (row.0, row.2)).collect();
    assert_eq!(kept, [(6, false), (9, true), (10, true), (12, false), (15, true), (18, true)]);
}

#[test]
fn chunks_that_do_not_overlap_keep_what_they_know() {
    let mut chunks = [column(1, [12, 18]), column(0, [6])];
    let mut all = Column::default();
    let range_of = |column: &Column| (column.times[0], *column.times.last().unwrap());
    decode_chunks(&mut chunks, range_of, &mut all, |chunk, column| {
        append(column, chunk, 0..chunk.len(), &mut 0, Known::Yes);
        Ok::<_, ()>(())
    })
    .unwrap();
    assert_eq!(rows(&all).iter().map(|row| (row.0, row.2)).collect::<Vec<_>>(), [(6, true), (12, true), (18, true)]);
}

#[test]
fn names_and_warnings_are_there_once() {
    let names = |names: &[&str], warnings: &[&str]| Names {
        names: names.iter().map(ToString::to_string).collect(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
    };
    let all =
        merge_names(vec![names(&["a", "c"], &["w"]), names(&[], &["w", "v"]), names(&["b", "c"], &[])], &SelectHints::default()).unwrap();
    assert_eq!((all.names, all.warnings), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], vec!["w".to_owned(), "v".to_owned()]));
}

/// Three sources, whose samples have the same times, of two series; the last one has only the second.
#[test]
fn of_one_time_the_last_sources_sample_stays_if_it_has_precedence() {
    for (precedence, sorted, want) in [
        (Precedence::InOrder, true, [0, 0]),
        (Precedence::InOrder, false, [0, 0]),
        (Precedence::LastFirst, true, [0, 2]),
        (Precedence::LastFirst, false, [0, 2]),
    ] {
        let series = |name: &str, source| Box::new(Fixed(Labels::from_pairs([("n", name)]), column(source, [1, 2]))) as Box<dyn Series>;
        let selection = |series| Selection { series, warnings: Vec::new() };
        let sources = [vec![series("a", 0), series("b", 0)], vec![series("a", 1), series("b", 1)], vec![series("b", 2)]];
        let hints = SelectHints { sorted, ..SelectHints::default() };
        let all = merge_selections(sources.into_iter().map(selection).collect(), precedence, &hints).unwrap();
        let of = |series: &dyn Series| {
            let mut column = Column::default();
            series.decode(ALL, &mut column).unwrap();
            rows(&column)[0].1
        };
        assert_eq!(all.series.iter().map(|series| of(&**series)).collect::<Vec<_>>(), want, "{precedence:?}, sorted: {sorted}");
    }
}

fn parts() -> impl Strategy<Value = Vec<Column>> {
    prop::collection::vec(prop::collection::btree_set(0..60i64, 0..25), 1..5)
        .prop_map(|parts| parts.into_iter().enumerate().map(|(source, times)| column(source, times)).collect())
}

proptest! {
    #[test]
    fn times_ascend_or_not(
        steps in prop::collection::vec(prop_oneof![20 => 1..100_000i64, 1 => -3..3i64, 1 => any::<i64>()], 0..20),
        first in any::<i64>(),
    ) {
        let times: Vec<i64> = steps.iter().scan(first, |time, step| { *time = time.wrapping_add(*step); Some(*time) }).collect();
        let sorted = times.is_sorted_by(|a, b| a < b);
        let far = times.iter().any(|time| !(-1 << 62..1 << 62).contains(time));
        prop_assert_eq!(ascend(&times), sorted && !far);
    }

    #[test]
    fn each_time_once_from_a_source_that_has_it(parts in parts(), seek in any::<bool>()) {
        let all = rows(&merged(&parts, if seek { Start::Seek } else { Start::Next }));
        let want: BTreeSet<i64> = parts.iter().flat_map(|part| part.times.iter().copied()).collect();
        prop_assert_eq!(all.iter().map(|row| row.0).collect::<Vec<_>>(), want.into_iter().collect::<Vec<_>>());
        for (at, (time, source, kept, start)) in all.iter().enumerate() {
            let own = &parts[*source];
            let place = own.times.binary_search(time).unwrap();
            prop_assert_eq!(*start, own.starts.get(place).copied().unwrap_or(0));
            // What a histogram knows, it knows of the sample before it in its source.
            if *kept && time % 6 == 0 && parts.len() > 1 {
                prop_assert!(at > 0 && place > 0);
                prop_assert_eq!(all[at - 1].0, own.times[place - 1]);
            }
        }
    }

    #[test]
    fn a_merged_series_is_the_merge_of_its_sources(parts in parts(), range in (0..60i64, 0..60i64), disjoint in any::<bool>(), last_first in any::<bool>()) {
        let parts: Vec<Column> = if disjoint {
            parts.iter().enumerate().map(|(s, p)| column(s, p.times.iter().map(|t| t + s as i64 * 60))).collect()
        } else {
            parts
        };
        let range = Interval { start: Timestamp(range.0), end: Timestamp(range.0 + range.1) };
        let labels = Labels::from_pairs([("a", "b")]);
        let cut: Vec<Column> = parts.iter().enumerate().map(|(s, p)| {
            column(s, p.times.iter().copied().filter(|t| (range.start.0..=range.end.0).contains(t)))
        }).collect();
        let sources = parts.into_iter().map(|part| Box::new(Fixed(labels.clone(), part)) as Box<dyn Series>).collect::<Vec<_>>();
        let mut cut = cut;
        if last_first {
            cut.rotate_right(1);
        }
        let series = MergedSeries::new(sources, if last_first { Precedence::LastFirst } else { Precedence::InOrder });
        let mut found = Column::default();
        series.decode(range, &mut found).unwrap();
        prop_assert_eq!(rows(&found), rows(&merged(&cut, Start::Seek)));
    }

    #[test]
    fn chunks_of_all_sources_decode_as_one_by_one(
        parts in prop::collection::vec((prop::collection::btree_set(0..60i64, 0..25), any::<bool>()), 1..6),
        range in (0..200i64, 0..300i64),
        apart in 0..3usize,
        cut in prop::option::weighted(0.2, (0..5usize, 0..5usize)),
    ) {
        let range = Interval { start: Timestamp(range.0), end: Timestamp(range.0 + range.1) };
        let decoded = |together: bool| {
            let sources = parts.iter().enumerate().map(|(source, (times, gives_chunks))| {
                // Mostly they follow each other.
                let by = if apart == 0 { 0 } else { 60 * source as i64 };
                let times: Vec<i64> = times.iter().map(|time| time + by).collect();
                let cut = cut.filter(|(part, _)| *part == source).map(|(_, chunk)| chunk);
                Box::new(Encoded::new(&times, cut, together && (apart == 2 || *gives_chunks))) as Box<dyn Series>
            });
            let series = MergedSeries::new(sources.collect(), Precedence::InOrder);
            // What is there already stays.
            let mut column = Column::default();
            column.push(Timestamp(-1), 7.0);
            let damage = series.decode(range, &mut column).map_err(|error| error.to_string());
            (column.times, column.values, damage)
        };
        prop_assert_eq!(decoded(true), decoded(false));
    }

    #[test]
    fn selections_merge_by_labels(
        sources in prop::collection::vec(prop::collection::btree_set(0..12usize, 0..9), 0..5),
        sorted in any::<bool>(),
        limit in 0..8usize,
    ) {
        let labels = |n: usize| Labels::from_pairs([("n", format!("{n:02}").as_str())]);
        let selections: Vec<Selection> = sources.iter().enumerate().map(|(source, numbers)| Selection {
            series: numbers.iter().map(|n| {
                Box::new(Fixed(labels(*n), column(source, [100 * source as i64 + *n as i64]))) as Box<dyn Series>
            }).collect(),
            warnings: vec![format!("w{}", source % 2)],
        }).collect();
        let warnings: BTreeSet<String> = selections.iter().flat_map(|s| s.warnings.clone()).collect();
        let all = merge_selections(selections, Precedence::InOrder, &SelectHints { sorted, limit, ..SelectHints::default() }).unwrap();
        prop_assert_eq!(all.warnings.len(), warnings.len());
        let mut want: BTreeMap<Labels, Vec<i64>> = BTreeMap::new();
        for (source, numbers) in sources.iter().enumerate() {
            for n in numbers {
                want.entry(labels(*n)).or_default().push(100 * source as i64 + *n as i64);
            }
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        prop_assert_eq!(all.series.len(), want.len().min(limit));
        if sorted {
            let found: Vec<&Labels> = all.series.iter().map(|s| s.labels()).collect();
            prop_assert_eq!(found, want.keys().take(limit).collect::<Vec<_>>());
        }
        let mut seen = BTreeSet::new();
        for series in &all.series {
            prop_assert!(seen.insert(series.labels().clone()));
            let mut column = Column::default();
            series.decode(ALL, &mut column).unwrap();
            prop_assert_eq!(&column.times, &want[series.labels()]);
            prop_assert_eq!(series.samples_estimate(), column.len());
        }
    }
}
