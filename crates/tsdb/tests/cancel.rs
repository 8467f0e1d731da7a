//! Selections that nobody waits for end early, wherever they are; those with a limit give the first ones.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, MatchOp, Matcher, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use storage::{Appender, Batch, Cancel, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectError, SelectHints, Selection};
use tsdb::{Db, Options};

const SERIES: u32 = 20_000;
/// Between two looks there are a thousand series or so: a selection that goes through all of them at least once looks so often.
const LOOKS_MIN: u32 = SERIES / 2048;
const ALL: Interval = Interval { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };

fn open(dir: &Path) -> Arc<Db> {
    let mut options = Options::new(dir);
    options.background = false;
    Db::open(options).unwrap()
}

/// Series `from..from + SERIES` with one sample each.
fn fill(db: &Db, from: u32, time: i64) {
    let mut batch = Batch::default();
    for number in 0..SERIES {
        let id = format!("{:05}", from + number);
        let half = if number % 2 == 0 { "even" } else { "odd" };
        batch.labels.push(Labels::from_pairs([("__name__", "m"), ("half", half), ("id", &*id)]));
        let series = RowSeries::Labels(number);
        batch.rows.push(Row { series, start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(1.0) });
    }
    let mut committed = Committed::default();
    db.commit(&batch, &mut committed).unwrap();
    assert_eq!(committed.stored, u64::from(SERIES));
}

/// A head; a block and a head, half of whose series are the block's.
fn databases(folder: &Path) -> Vec<(&'static str, Arc<Db>)> {
    let head = open(&folder.join("head"));
    fill(&head, 0, 1000);
    head.snapshot(&folder.join("both"), true).unwrap();
    let both = open(&folder.join("both"));
    fill(&both, SERIES / 2, 10_000_000);
    assert!(both.select(ALL, &[], &SelectHints::default()).unwrap().series.len() as u32 == SERIES * 3 / 2);
    vec![("head", head), ("block and head", both)]
}

type Ask = (&'static str, fn(&Db, &SelectHints) -> Result<Vec<String>, SelectError>);

fn texts(selection: Selection) -> Vec<String> {
    selection.series.iter().map(|series| series.labels().to_string()).collect()
}

fn regex(name: &str, value: &str) -> Matcher {
    Matcher::new(MatchOp::Regex, name, value).unwrap()
}

const ASKED: &[Ask] = &[
    ("sorted", |db, hints| db.select(ALL, &[], &SelectHints { sorted: true, ..hints.clone() }).map(texts)),
    ("unsorted", |db, hints| db.select(ALL, &[Matcher::equal("half", "odd")], hints).map(texts)),
    ("labels", |db, hints| db.select(ALL, &[], &SelectHints { sorted: true, labels_only: true, ..hints.clone() }).map(texts)),
    ("a regular expression", |db, hints| db.select(ALL, &[regex("id", ".*7.*")], hints).map(texts)),
    ("values looked at", |db, hints| db.select(ALL, &[Matcher::equal("half", "odd"), regex("id", ".*7.*")], hints).map(texts)),
    ("names", |db, hints| Ok(db.label_names(ALL, &[vec![Matcher::equal("half", "odd")]], hints)?.names)),
    ("values", |db, hints| Ok(db.label_values("id", ALL, &[], hints)?.names)),
    ("values of some", |db, hints| Ok(db.label_values("id", ALL, &[vec![Matcher::equal("half", "odd")]], hints)?.names)),
];

/// Cancelled from the `nth` look on; how often it was looked at.
fn cancelled_after(nth: u32) -> (SelectHints, Arc<AtomicU32>) {
    let looks = Arc::new(AtomicU32::new(0));
    let counted = looks.clone();
    let cancel = Cancel::when(move || counted.fetch_add(1, Ordering::Relaxed) >= nth);
    (SelectHints { cancel, ..SelectHints::default() }, looks)
}

#[test]
fn a_selection_ends_at_the_first_look_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (what, db) in databases(folder.path()) {
        for (asked, ask) in ASKED {
            let (hints, looks) = cancelled_after(u32::MAX);
            ask(&db, &hints).unwrap();
            let needed = looks.load(Ordering::Relaxed);
            assert!(needed >= LOOKS_MIN, "{asked} of {what}: {needed} looks");
            for nth in (0..needed).step_by(needed as usize / 5).chain([needed - 1]) {
                let (hints, looks) = cancelled_after(nth);
                let answer = ask(&db, &hints);
                assert!(matches!(answer, Err(SelectError::Cancelled)), "{asked} of {what}, look {nth} of {needed}");
                assert_eq!(looks.load(Ordering::Relaxed), nth + 1, "{asked} of {what}: it went on");
            }
        }
        db.close().unwrap();
    }
}

#[test]
fn a_limit_gives_the_first_ones() {
    let folder = tempfile::tempdir().unwrap();
    for (what, db) in databases(folder.path()) {
        for (asked, ask) in ASKED {
            let all = ask(&db, &SelectHints::default()).unwrap();
            for limit in [1, 2, 7, 9_000, 30_001] {
                let some = ask(&db, &SelectHints { limit, ..SelectHints::default() }).unwrap();
                assert_eq!(some.len(), limit.min(all.len()), "{asked} of {what}, {limit}");
                // Without an order any of them will do.
                if *asked != "unsorted" {
                    assert!(some == all[..some.len()], "{asked} of {what}, {limit}");
                }
            }
        }
        db.close().unwrap();
    }
}
