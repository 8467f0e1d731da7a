//! A naive store: sorted maps of samples, with the rules of appending, deleting and losing power written down one by one.
//!
//! It does not store for anybody; it says what a real store must answer. What a real store may do either way (a sample that
//! was not synced when the power went, which of two samples of one time shows) it knows as such, and once it has seen what
//! the real one did, it holds it to that.
//!
//! # Invariants
//! - A sample that was never handed in is never allowed.
//! - A sample that must be there stays one that must be there, but for a deletion, a power cut before it was synced, or retention.

use model::value::is_stale;
use model::{FloatHistogram, Histogram, Labels, Matcher, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use storage::{Column, Interval, RowOutcome};

/// A value as a query shows it, comparable by bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A float's bits.
    Float(u64),
    /// A histogram without what encoders may change: empty buckets, and whether counts are integers.
    Histogram(Box<Buckets>),
    /// A staleness marker of either kind.
    Stale,
}

/// A histogram in plain words; floats as bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Buckets {
    schema: i32,
    zero_threshold: u64,
    zero_count: u64,
    count: u64,
    sum: u64,
    positive: BTreeMap<i64, u64>,
    negative: BTreeMap<i64, u64>,
    bounds: Vec<u64>,
}

/// What a sample is handed in as; the kinds are different samples even if they say the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A float, or a staleness marker.
    Float(f64),
    /// A histogram of integers.
    Histogram(Histogram),
    /// A histogram of floats.
    FloatHistogram(FloatHistogram),
}

impl Sample {
    /// As a query shows it.
    pub fn value(&self) -> Value {
        match self {
            Self::Float(value) if is_stale(*value) => Value::Stale,
            Self::Float(value) => Value::Float(value.to_bits()),
            Self::Histogram(histogram) => of_integers(histogram),
            Self::FloatHistogram(histogram) => of_floats(histogram),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Float(_) => Kind::Float,
            Self::Histogram(_) => Kind::Histogram,
            Self::FloatHistogram(_) => Kind::FloatHistogram,
        }
    }
}

fn of_integers(histogram: &Histogram) -> Value {
    let absolute = |deltas: &[i64]| {
        let mut count = 0i64;
        deltas
            .iter()
            .map(|delta| {
                count += delta;
                count as f64
            })
            .collect()
    };
    of_floats(&FloatHistogram {
        reset_hint: histogram.reset_hint,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram.zero_count as f64,
        count: histogram.count as f64,
        sum: histogram.sum,
        positive_spans: histogram.positive_spans.clone(),
        negative_spans: histogram.negative_spans.clone(),
        positive_counts: absolute(&histogram.positive_deltas),
        negative_counts: absolute(&histogram.negative_deltas),
        custom_values: histogram.custom_values.clone(),
    })
}

fn of_floats(histogram: &FloatHistogram) -> Value {
    if is_stale(histogram.sum) {
        return Value::Stale;
    }
    let buckets = |spans: &[model::histogram::Span], counts: &[f64]| {
        let mut index = 0i64;
        let mut counts = counts.iter();
        let mut filled = BTreeMap::new();
        for span in spans {
            index += i64::from(span.offset);
            for count in counts.by_ref().take(span.len as usize) {
                if *count != 0.0 {
                    filled.insert(index, count.to_bits());
                }
                index += 1;
            }
        }
        filled
    };
    Value::Histogram(Box::new(Buckets {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold.to_bits(),
        zero_count: histogram.zero_count.to_bits(),
        count: histogram.count.to_bits(),
        sum: histogram.sum.to_bits(),
        positive: buckets(&histogram.positive_spans, &histogram.positive_counts),
        negative: buckets(&histogram.negative_spans, &histogram.negative_counts),
        bounds: histogram.custom_values.iter().map(|bound| bound.to_bits()).collect(),
    }))
}

/// What a real store answered: per series its samples by time.
pub type Found = BTreeMap<Labels, BTreeMap<i64, Value>>;

/// A column's samples.
pub fn of_column(column: &Column) -> BTreeMap<i64, Value> {
    let float = |value: f64| if is_stale(value) { Value::Stale } else { Value::Float(value.to_bits()) };
    let mut all: BTreeMap<i64, Value> = column.times.iter().copied().zip(column.values.iter().map(|value| float(*value))).collect();
    for (index, histogram) in &column.histograms {
        all.insert(column.times[*index as usize], of_floats(histogram));
    }
    all
}

/// A row as it is handed in.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose.
    pub labels: Labels,
    /// When.
    pub time: i64,
    /// What.
    pub sample: Sample,
}

/// What an acknowledgement of the real store means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// It outlives a power cut.
    Yes,
    /// Only after [`Store::sync`].
    NotYet,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    series: BTreeMap<Labels, Series>,
    /// Time of the newest sample in order; none before the first.
    newest: Option<i64>,
    /// Whether `newest` and those of the series are what the real store has.
    newest_known: bool,
    /// Samples before this are in blocks.
    blocks_end: Option<i64>,
    out_of_order_window_ms: i64,
    /// Samples in order may be this much older than the newest of all.
    lag_max_ms: i64,
}

#[derive(Clone, Debug, Default)]
struct Series {
    samples: BTreeMap<i64, At>,
    /// The newest sample in order.
    newest: Option<(i64, Kind, Value)>,
    /// What was deleted: a late sample there may be hidden, as tombstones of the head do not say when they were made.
    deleted: Vec<Interval>,
    /// All that was ever handed in.
    submitted: BTreeMap<i64, BTreeSet<Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Histogram,
    FloatHistogram,
}

/// What there is at one time of one series.
#[derive(Clone, Debug)]
struct At {
    /// Those that may show.
    values: Vec<Value>,
    kind: Kind,
    presence: Presence,
    durable: Durable,
    deleted: Option<Durable>,
    in_order: bool,
    /// A late sample of this time was taken after one in order.
    late_too: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It shows.
    Must,
    /// It shows or not; what is seen first holds.
    May,
    /// It shows or not, and that may change.
    Free,
    /// It does not show, but may from the next start on: the log failed while it was written.
    Lurking,
}

impl Store {
    /// An empty store; a sample in order may be `lag_max_ms` older than the newest of all series.
    pub fn new(lag_max_ms: i64) -> Self {
        Self { series: BTreeMap::new(), newest: None, newest_known: true, blocks_end: None, out_of_order_window_ms: 0, lag_max_ms }
    }

    /// Samples before this time are in blocks: none is in order any more. The store behaves as if it had one of this time.
    pub fn set_blocks_end(&mut self, time: Option<i64>) {
        self.blocks_end = time;
    }

    /// Whether [`Self::newest`] is what the real store has.
    pub fn knows_newest(&self) -> bool {
        self.newest_known
    }

    /// As it was set last.
    pub fn blocks_end(&self) -> Option<i64> {
        self.blocks_end
    }

    /// Late samples are taken up to this age; 0 = never.
    pub fn set_out_of_order_window(&mut self, window_ms: i64) {
        self.out_of_order_window_ms = window_ms;
    }

    /// Time of the newest sample in order.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// What becomes of each row of a batch; none where the rules or what is known leave it open.
    pub fn predict(&self, rows: &[Row]) -> Vec<Option<RowOutcome>> {
        rows.iter().map(|row| if self.newest_known { self.outcome(row, self.newest_before(rows)) } else { None }).collect()
    }

    fn newest_before(&self, rows: &[Row]) -> i64 {
        self.newest.max(self.blocks_end).unwrap_or_else(|| rows.first().map_or(0, |row| row.time))
    }

    /// The least time of a sample in order, by the newest one.
    fn least(&self, newest_of_all: i64) -> i64 {
        (newest_of_all - self.lag_max_ms).max(self.blocks_end.unwrap_or(i64::MIN))
    }

    fn outcome(&self, row: &Row, newest_of_all: i64) -> Option<RowOutcome> {
        let least = self.least(newest_of_all);
        let window = self.out_of_order_window_ms;
        if row.time >= least {
            let newest = self.series.get(&row.labels).and_then(|series| series.newest.as_ref());
            match newest {
                None => return Some(RowOutcome::Stored),
                Some((time, ..)) if row.time > *time => return Some(RowOutcome::Stored),
                Some((time, kind, value)) if row.time == *time => {
                    let stale = row.sample.value() == Value::Stale;
                    if *kind != row.sample.kind() {
                        return if stale { None } else { Some(RowOutcome::Duplicate) };
                    }
                    return Some(if *value == row.sample.value() { RowOutcome::Stored } else { RowOutcome::Duplicate });
                }
                Some(_) => {}
            }
        }
        Some(match window {
            0 if row.time < least => RowOutcome::OutOfBounds,
            0 => RowOutcome::OutOfOrder,
            _ if row.time >= newest_of_all - window => RowOutcome::Stored,
            _ => RowOutcome::TooOld,
        })
    }

    /// Takes the rows of a batch that the real store acknowledged: those it answered `Stored` for.
    pub fn commit(&mut self, rows: &[Row], outcomes: &[RowOutcome], durable: Durable) {
        let newest_of_all = self.newest_before(rows);
        let least = self.least(newest_of_all);
        let before: Vec<Option<i64>> =
            rows.iter().map(|row| self.series.get(&row.labels).and_then(|s| s.newest.as_ref()).map(|(time, ..)| *time)).collect();
        self.submit(rows);
        for ((row, outcome), newest_committed) in rows.iter().zip(outcomes).zip(before) {
            if *outcome != RowOutcome::Stored {
                continue;
            }
            let (value, kind) = (row.sample.value(), row.sample.kind());
            let series = self.series.entry(row.labels.clone()).or_default();
            let hidden = series.deleted.iter().any(|range| (range.start.0..=range.end.0).contains(&row.time));
            let newest = series.newest.as_ref().map(|(time, ..)| *time);
            let new =
                At { values: vec![value.clone()], kind, presence: Presence::Must, durable, deleted: None, in_order: true, late_too: false };
            if row.time >= least && newest.is_none_or(|newest| row.time > newest) {
                // A float staleness marker ends a series of histograms as one of its kind.
                let kind = match &series.newest {
                    Some((_, kind, _)) if value == Value::Stale => *kind,
                    _ => kind,
                };
                // If it was late in truth, a deletion of its time hides it.
                let presence = if hidden && !self.newest_known { Presence::Free } else { Presence::Must };
                series.samples.insert(row.time, At { kind, presence, ..new });
                series.newest = Some((row.time, kind, value));
                self.newest = self.newest.max(Some(row.time));
                continue;
            }
            if self.newest_known && (newest == Some(row.time) && row.time >= least || self.out_of_order_window_ms == 0) {
                continue;
            }
            // Only an earlier row of the batch made it late: it may be dropped.
            let in_time = newest_committed.is_none_or(|newest| row.time > newest) && row.time >= least;
            let presence = match (hidden, in_time || !self.newest_known) {
                (true, _) => Presence::Free,
                (false, true) => Presence::May,
                (false, false) => Presence::Must,
            };
            match series.samples.get_mut(&row.time) {
                None => drop(series.samples.insert(row.time, At { presence, in_order: false, ..new })),
                Some(at) => {
                    if at.deleted.take() == Some(Durable::Yes) {
                        at.values.clear();
                    }
                    at.late_too = at.in_order;
                    if !at.values.contains(&value) {
                        at.values.push(value);
                    }
                    if hidden || at.presence == Presence::Lurking {
                        at.presence = presence;
                    }
                }
            }
        }
    }

    /// Takes the rows of a batch whose commit failed for want of a log: none shows, each may after the next start.
    pub fn commit_failed(&mut self, rows: &[Row]) {
        self.submit(rows);
        for row in rows {
            let series = self.series.entry(row.labels.clone()).or_default();
            let (value, kind) = (row.sample.value(), row.sample.kind());
            let lurking = At {
                values: Vec::new(),
                kind,
                presence: Presence::Lurking,
                durable: Durable::NotYet,
                deleted: None,
                in_order: true,
                late_too: false,
            };
            let at = series.samples.entry(row.time).or_insert(lurking);
            if !at.values.contains(&value) {
                at.values.push(value);
            }
        }
    }

    /// Takes the rows of a batch that was not acknowledged though it was applied: each shows or not, now and later.
    pub fn commit_unsure(&mut self, rows: &[Row]) {
        self.submit(rows);
        for row in rows {
            let series = self.series.entry(row.labels.clone()).or_default();
            let (value, kind) = (row.sample.value(), row.sample.kind());
            let free = At {
                values: Vec::new(),
                kind,
                presence: Presence::Free,
                durable: Durable::NotYet,
                deleted: None,
                in_order: false,
                late_too: false,
            };
            let at = series.samples.entry(row.time).or_insert(free);
            if at.presence == Presence::Lurking || at.deleted.take().is_some() {
                at.presence = Presence::Free;
            }
            if !at.values.contains(&value) {
                at.values.push(value);
            }
        }
        self.newest_known = false;
    }

    fn submit(&mut self, rows: &[Row]) {
        for row in rows {
            let series = self.series.entry(row.labels.clone()).or_default();
            series.submitted.entry(row.time).or_default().insert(row.sample.value());
        }
    }

    /// Deletes what is in `range` of series that satisfy any of the sets.
    pub fn delete(&mut self, range: Interval, matcher_sets: &[Vec<Matcher>], durable: Durable) {
        self.each_deleted(range, matcher_sets, |at| at.deleted = Some(durable));
    }

    /// A deletion failed: each sample may be deleted or not.
    pub fn delete_failed(&mut self, range: Interval, matcher_sets: &[Vec<Matcher>]) {
        self.each_deleted(range, matcher_sets, |at| at.presence = Presence::Free);
    }

    fn each_deleted(&mut self, range: Interval, matcher_sets: &[Vec<Matcher>], mut each: impl FnMut(&mut At)) {
        for (labels, series) in &mut self.series {
            if matcher_sets.iter().any(|matchers| satisfies(labels, matchers)) {
                let visible = |at: &&mut At| at.presence != Presence::Lurking && at.deleted.is_none();
                series.samples.range_mut(range.start.0..=range.end.0).map(|(_, at)| at).filter(visible).for_each(&mut each);
                series.deleted.push(range);
            }
        }
    }

    /// Samples before `time` are old enough to be deleted at any moment.
    pub fn retain_from(&mut self, time: i64) {
        for series in self.series.values_mut() {
            for (_, at) in series.samples.range_mut(..time) {
                at.presence = Presence::Free;
            }
        }
    }

    /// All that was acknowledged outlives a power cut from now on.
    pub fn sync(&mut self) {
        for at in self.series.values_mut().flat_map(|series| series.samples.values_mut()) {
            at.durable = Durable::Yes;
            at.deleted = at.deleted.map(|_| Durable::Yes);
        }
    }

    /// The real store ended without being closed, but all that it wrote is there.
    pub fn killed(&mut self) {
        for at in self.series.values_mut().flat_map(|series| series.samples.values_mut()) {
            if at.presence == Presence::Lurking {
                at.presence = Presence::May;
            }
        }
    }

    /// The power went: what was not durable may be gone.
    pub fn power_cut(&mut self) {
        self.killed();
        for series in self.series.values_mut() {
            let newest = series.newest.as_ref().map(|(time, ..)| *time);
            for (time, at) in &mut series.samples {
                // Whether one that need not show is gone cannot be seen.
                self.newest_known &= at.durable == Durable::Yes || at.presence != Presence::Free || newest != Some(*time);
                if at.deleted == Some(Durable::NotYet) {
                    at.deleted = None;
                    at.presence = Presence::Free;
                    // Whether a deleted sample is still in the log cannot be seen.
                    self.newest_known = false;
                }
                if at.durable == Durable::NotYet && at.presence == Presence::Must {
                    at.presence = Presence::May;
                    // The logs are synced one after another: that a sample of this time shows does not say which.
                    self.newest_known &= at.deleted.is_none() && !at.late_too;
                }
            }
        }
    }

    /// Holds what the real store answers for all of time against what it must: then what was open before is settled.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn settle(&mut self, found: &Found) -> Result<(), String> {
        let all = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
        self.compare(found, all, &[])?;
        for (labels, series) in &mut self.series {
            let seen = found.get(labels);
            series.samples.retain(|time, at| {
                let visible = seen.and_then(|seen| seen.get(time));
                if at.presence != Presence::May {
                    return true;
                }
                at.presence = Presence::Must;
                // What was read from a disk is on it.
                at.durable = Durable::Yes;
                visible.is_some()
            });
            let in_order = series.samples.iter().rev().find(|(_, at)| at.in_order && at.presence != Presence::Lurking);
            let newest = in_order.map(|(time, at)| (*time, at.kind, at.values[0].clone()));
            if series.newest.as_ref().map(|(time, ..)| *time) != newest.as_ref().map(|(time, ..)| *time) {
                series.newest = newest;
            }
        }
        self.newest = self.series.values().filter_map(|series| series.newest.as_ref().map(|(time, ..)| *time)).max();
        Ok(())
    }

    /// Series that a staleness marker ended may be forgotten but for their samples: then the rules of appending begin anew for them.
    pub fn stale_series_may_go(&mut self) {
        self.newest_known &= !self.series.values().any(|series| matches!(series.newest, Some((.., Value::Stale))));
    }

    /// Holds what the real store answers to a query against what it must.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn compare(&self, found: &Found, range: Interval, matchers: &[Matcher]) -> Result<(), String> {
        self.compare_those(found, range, matchers, |_| true)
    }

    /// Likewise for all of time and of a source that need not have late samples, as far as it is known which those are.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn compare_in_order(&self, found: &Found) -> Result<(), String> {
        let all = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
        self.compare_those(found, all, &[], |at| at.in_order && self.newest_known)
    }

    fn compare_those(&self, found: &Found, range: Interval, matchers: &[Matcher], must: impl Fn(&At) -> bool) -> Result<(), String> {
        let none = BTreeMap::new();
        for (labels, series) in self.series.iter().filter(|(labels, _)| satisfies(labels, matchers)) {
            let seen = found.get(labels).unwrap_or(&none);
            for (time, at) in series.samples.range(range.start.0..=range.end.0) {
                match seen.get(time) {
                    None if at.presence == Presence::Must && at.deleted.is_none() && must(at) => {
                        return Err(format!("{labels} at {time}: missing, expected {at:?}"));
                    }
                    Some(value) if at.presence == Presence::Lurking => {
                        return Err(format!("{labels} at {time}: found {value:?}, whose commit failed"));
                    }
                    Some(value) if at.deleted.is_some() => {
                        return Err(format!("{labels} at {time}: found {value:?}, which is deleted: {at:?}"));
                    }
                    Some(value) if !at.values.contains(value) => {
                        return Err(format!("{labels} at {time}: found {value:?}, expected {at:?}"));
                    }
                    _ => {}
                }
            }
        }
        for (labels, seen) in found {
            let own = self.series.get(labels).filter(|_| satisfies(labels, matchers));
            for (time, value) in seen {
                let known = own.is_some_and(|series| series.samples.contains_key(time));
                if !known || !(range.start.0..=range.end.0).contains(time) {
                    return Err(format!("{labels} at {time}: found {value:?}, expected nothing"));
                }
            }
        }
        Ok(())
    }

    /// Whether all that was found was once handed in, which is all that can be asked of a damaged disk.
    ///
    /// # Errors
    /// The first sample that was not, in words.
    pub fn submitted(&self, found: &Found) -> Result<(), String> {
        for (labels, seen) in found {
            let own = self.series.get(labels);
            for (time, value) in seen {
                if own.and_then(|series| series.submitted.get(time)).is_none_or(|values| !values.contains(value)) {
                    return Err(format!("{labels} at {time}: found {value:?}, which nobody handed in"));
                }
            }
        }
        Ok(())
    }

    /// Series of which a sample must show in `range`, and all that may exist, among those that satisfy the matchers.
    pub fn label_sets(&self, range: Interval, matchers: &[Matcher]) -> (BTreeSet<&Labels>, BTreeSet<&Labels>) {
        let matching = self.series.iter().filter(|(labels, _)| satisfies(labels, matchers));
        let shows = |series: &Series| {
            let mut samples = series.samples.range(range.start.0..=range.end.0);
            samples.any(|(_, at)| at.presence == Presence::Must && at.deleted.is_none())
        };
        (
            matching.clone().filter(|(_, series)| shows(series)).map(|(labels, _)| labels).collect(),
            matching.map(|(labels, _)| labels).collect(),
        )
    }
}

fn satisfies(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")))
}
