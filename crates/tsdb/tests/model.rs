//! The database against a naive store, on a disk that fails.
//!
//! A run is a random sequence of everything that can happen to a database: batches, queries, deletions, maintenance, changes of
//! settings, stops, kills, power cuts in the middle of any write, full disks, errors, flipped bits. After each step the answers
//! are held against [`testkit::store::Store`]: what was acknowledged is there, and nothing else ever is.
//!
//! Each run follows from its seed, which a failure prints. `PYROPE_MODEL_SEED=n` repeats one, `PYROPE_MODEL_RUNS=n` does more.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "model/run.rs"]
mod run;

use model::{Labels, MatchOp, Matcher, Timestamp};
use proptest::prelude::*;
use run::{Profile, Run};
use std::collections::HashMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use storage::{Appender, Batch, Column, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use testkit::disk::Disk;
use tsdb::{Db, Head, Options};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };

fn runs(name: &str, runs: u64, profile: Profile) {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match (number("PYROPE_MODEL_SEED"), number("PYROPE_MODEL_RUNS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, more) => 0..more.unwrap_or(runs),
    };
    for seed in seeds {
        run::with_seed(name, seed);
        let mut run = Run::new(seed, profile);
        let outcome = catch_unwind(AssertUnwindSafe(|| run.go()));
        let told = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(difference)) => difference,
            Err(_) => "a panic".to_owned(),
        };
        let _ = writeln!(std::io::stderr(), "{}", run.story());
        panic!("{name}: PYROPE_MODEL_SEED={seed}: {told}");
    }
}

#[test]
fn on_a_sound_disk() {
    runs("on_a_sound_disk", 150, Profile { faults: false, damage: false });
}

#[test]
fn on_a_disk_that_fails() {
    runs("on_a_disk_that_fails", 300, Profile { faults: true, damage: false });
}

#[test]
fn on_a_disk_that_lies() {
    runs("on_a_disk_that_lies", 200, Profile { faults: false, damage: true });
}

/// Each commit writes one sample to every series: a reader sees it in all of them or in none, also if it is late.
#[test]
fn readers_see_whole_commits() {
    const SERIES: u32 = 24;
    const COMMITS: i64 = 400;
    const BASE: i64 = 1_000 * 3_600_000;
    let mut options = Options::new("/data");
    options.files = Arc::new(Disk::new());
    options.no_lockfile = true;
    options.background = false;
    options.settings.out_of_order_window_ms = 3_600_000;
    let db = Db::open(options).unwrap();
    let commit = |number: i64, time: i64| {
        let mut batch = Batch { labels: (0..u64::from(SERIES)).map(run::labels).collect(), ..Batch::default() };
        let row = |at| Row {
            series: RowSeries::Labels(at),
            start: Timestamp(0),
            timestamp: Timestamp(time),
            value: RowValue::Float(number as f64),
        };
        batch.rows.extend((0..SERIES).map(row));
        let mut result = Committed::default();
        db.commit(&batch, &mut result).unwrap();
        assert_eq!(result.refused, []);
    };
    commit(0, BASE);
    let writing = Arc::new(());
    std::thread::scope(|scope| {
        // Commits in order, and from two writers late ones, each with a time of its own.
        for writer in 0..3 {
            // Gone with the thread, however it ends.
            let (commit, writing) = (&commit, writing.clone());
            scope.spawn(move || {
                for at in 1..=COMMITS {
                    let number = writer * COMMITS + at;
                    commit(number, if writer == 0 { BASE + at * 10 } else { BASE - number * 7 });
                }
                drop(writing);
            });
        }
        let (db, writing) = (&db, &writing);
        for _ in 0..2 {
            scope.spawn(move || {
                let mut column = Column::default();
                while Arc::strong_count(writing) > 1 {
                    let mut seen: HashMap<u64, u32> = HashMap::new();
                    for series in db.select(ALL, &[], &SelectHints::default()).unwrap().series {
                        column.clear();
                        series.decode(ALL, &mut column).unwrap();
                        for value in &column.values {
                            *seen.entry(*value as u64).or_default() += 1;
                        }
                    }
                    for (number, count) in seen {
                        assert_eq!(count, SERIES, "commit {number} is torn");
                    }
                }
            });
        }
    });
}

proptest! {
    #[test]
    fn matchers_agree_with_a_scan(
        series in prop::collection::btree_set(0..200u8, 0..200),
        matchers in prop::collection::vec((0..4usize, 0..4usize, 0..9usize), 1..4),
    ) {
        let head = Head::default();
        let batch = Batch {
            labels: series.iter().map(|s| run::labels(u64::from(*s))).collect(),
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
        let hints = SelectHints { sorted: true, ..SelectHints::default() };
        let found: Vec<Labels> = head.select(ALL, &matchers, &hints).unwrap().series.iter().map(|s| s.labels().clone()).collect();
        prop_assert_eq!(&found, &want);
        let names = head.label_names(ALL, std::slice::from_ref(&matchers), &SelectHints::default()).unwrap().names;
        prop_assert_eq!(names.contains(&"extra".to_owned()), found.iter().any(|l| l.get("extra").is_some()));
    }
}
