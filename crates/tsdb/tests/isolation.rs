//! Readers beside writers: a select sees whole commits only.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Matcher, Timestamp};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::{Appender, Batch, Column, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use tsdb::Head;

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const WRITERS: u32 = 3;
/// More than two slabs, so that a commit passes several locks.
const SERIES: u32 = 2500;
const COMMITS: i64 = 60;

fn batch(writer: u32, time: i64) -> Batch {
    let name = writer.to_string();
    Batch {
        labels: (0..SERIES).map(|n| Labels::from_pairs([("__name__", "m"), ("n", &n.to_string()), ("writer", &name)])).collect(),
        rows: (0..SERIES)
            .map(|at| Row {
                series: RowSeries::Labels(at),
                start: Timestamp(0),
                timestamp: Timestamp(time),
                value: RowValue::Float(time as f64),
            })
            .collect(),
        ..Batch::default()
    }
}

#[test]
fn a_select_sees_whole_commits_only() {
    let head = Head::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut column = Column::default();
                while !done.load(Ordering::Acquire) {
                    for writer in 0..WRITERS {
                        let matcher = Matcher::equal("writer", writer.to_string());
                        let selection = head.select(ALL, &[matcher], &SelectHints::default()).unwrap();
                        let mut newest = BTreeSet::new();
                        for series in &selection.series {
                            column.clear();
                            series.decode(ALL, &mut column).unwrap();
                            newest.insert(column.times.last().copied());
                        }
                        assert!(newest.len() <= 1, "parts of commits: {newest:?}");
                        assert!(selection.series.is_empty() || selection.series.len() == SERIES as usize);
                    }
                }
            });
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let head = &head;
                scope.spawn(move || {
                    let mut result = Committed::default();
                    for time in 1..=COMMITS {
                        head.commit(&batch(writer, time * 1000), &mut result).unwrap();
                        assert_eq!(result.stored, u64::from(SERIES));
                        let matcher = Matcher::equal("writer", writer.to_string());
                        let range = Interval { start: Timestamp(time * 1000), end: Timestamp::MAX };
                        let seen = head.select(range, &[matcher], &SelectHints::default()).unwrap();
                        assert_eq!(seen.series.len(), SERIES as usize, "a commit is visible when it returns");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
    });
}
