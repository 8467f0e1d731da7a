//! One run: steps chosen by a seed, done to the database and to the naive store.

use model::histogram::{ResetHint, Span};
use model::value::STALE_NAN;
use model::{FloatHistogram, Histogram, Labels, MatchOp, Matcher, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Once};
use storage::{
    Appender, Batch, Column, CommitError, Committed, Interval, OnRefused, Queryable, RowOutcome, RowSeries, RowValue, SelectHints,
    SeriesHandle, SeriesRef,
};
use testkit::disk::{Disk, Fault, Tear};
use testkit::store::{self, Durable, Found, Sample, Store};
use tsdb::db::{FloatEncoding, Retention, Settings};
use tsdb::wal::Durability;
use tsdb::{Db, Options};
use world::Files as _;

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;

/// What may happen in a run.
#[derive(Clone, Copy)]
pub struct Profile {
    /// Errors, full disks, power cuts.
    pub faults: bool,
    /// At the end bits are flipped.
    pub damage: bool,
}

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn within(&mut self, from: i64, upto: i64) -> i64 {
        from + self.below((upto - from) as u64) as i64
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

thread_local! {
    static SEED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on a panic on this thread says the seed, also one that ends the process.
pub fn with_seed(name: &str, seed: u64) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            SEED.with_borrow(|seed| {
                // Past the capture of tests, which an abort would drop.
                let _ = writeln!(std::io::stderr(), "{seed}: {info}");
            });
            before(info);
        }));
    });
    SEED.set(format!("{name}: PYROPE_MODEL_SEED={seed}"));
}

/// The labels of a series.
pub fn labels(series: u64) -> Labels {
    let (name, job, n) = (format!("m{}", series % 5), format!("job{}", series % 3), series.to_string());
    let mut pairs = vec![("__name__", name.as_str()), ("job", job.as_str()), ("n", n.as_str())];
    if series.is_multiple_of(4) {
        pairs.push(("extra", "yes"));
    }
    Labels::from_pairs(pairs)
}

pub struct Run {
    random: Random,
    profile: Profile,
    durability: Durability,
    disk: Disk,
    fault: Option<Fault>,
    /// A fault had its effect since the database was opened: a sync may have failed, which closing says unless something was written since.
    struck: bool,
    db: Option<Arc<Db>>,
    store: Store,
    handles: HashMap<Labels, SeriesHandle>,
    refs: HashMap<SeriesRef, Labels>,
    now: i64,
    pace: i64,
    series_count: u64,
    settings: Settings,
    /// Whether samples have start timestamps that are kept.
    starts: bool,
    max_block_ms: i64,
    snapshots: u32,
    story: Vec<String>,
}

impl Run {
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut random = Random(seed);
        let durability = random.one_of(&[Durability::Interval, Durability::EachWrite]);
        Self {
            profile,
            durability,
            disk: Disk::new(),
            fault: None,
            struck: false,
            db: None,
            store: Store::new(HOUR),
            handles: HashMap::new(),
            refs: HashMap::new(),
            now: random.within(-2 * HOUR, 500 * HOUR),
            pace: random.one_of(&[7 * SECOND, 60 * SECOND, 600 * SECOND]),
            series_count: random.one_of(&[1, 5, 40]),
            settings: Settings::default(),
            starts: random.once_in(3),
            max_block_ms: random.one_of(&[2 * HOUR, 18 * HOUR]),
            snapshots: 0,
            story: vec![format!("durability {durability:?}")],
            random,
        }
    }

    /// What was done, the last steps first lost.
    pub fn story(&self) -> String {
        self.story[self.story.len().saturating_sub(60)..].join("\n")
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    pub fn go(&mut self) -> Result<(), String> {
        self.open()?;
        for _ in 0..self.random.within(5, 80) {
            self.step()?;
            if matches!(self.fault, Some(Fault::PowerOff(at)) if self.disk.operations() > at) {
                let tear = self.random.one_of(&[Tear::Lost, Tear::Half, Tear::Zeros, Tear::Kept]);
                self.end(tear)?;
            }
            self.relieve();
            self.ask(ALL, &[])?;
        }
        self.disk.set_space(None);
        self.set_fault(None);
        if self.profile.damage {
            return self.damage();
        }
        let tear = self.random.one_of(&[Tear::Lost, Tear::Kept]);
        self.end(tear)
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(40) {
            0..20 => self.commit(),
            20..28 => {
                let (range, matchers) = (self.range(), self.matchers());
                self.ask(range, &matchers)
            }
            28 => self.restart(),
            29 => {
                let tear = self.random.one_of(&[Tear::Lost, Tear::Half, Tear::Zeros, Tear::Kept, Tear::Kept]);
                self.end(tear)
            }
            30..33 if self.profile.faults && self.fault.is_none() => {
                self.begin_fault();
                Ok(())
            }
            33..36 => self.maintain(),
            36 => self.delete(),
            37 => self.apply(),
            38 if self.random.once_in(3) => self.snapshot(),
            _ => self.commit(),
        }
    }

    fn maintain(&mut self) -> Result<(), String> {
        let clean = self.random.once_in(3);
        self.tell(if clean { "clean tombstones" } else { "maintain" });
        self.may_forget();
        let db = self.db();
        let read = self.fault.is_none() && self.random.once_in(2);
        let working = Arc::new(());
        let (done, read) = std::thread::scope(|scope| {
            let (store, reader, still) = (&self.store, db.clone(), working.clone());
            // Whatever moves between head and blocks, it is always in one of them.
            let reading = read.then(|| {
                scope.spawn(move || {
                    while Arc::strong_count(&still) > 1 {
                        if let Asked::Found(found) = ask(&reader, ALL, &[], true)? {
                            store.compare(&found, ALL, &[])?;
                        }
                    }
                    Ok::<(), String>(())
                })
            });
            let done = if clean { db.clean_tombstones() } else { db.maintain() };
            drop(working);
            (done, reading.map_or(Ok(()), |reading| reading.join().unwrap_or_else(|_| Err("a panic".to_owned()))))
        });
        read.map_err(|difference| format!("while it was maintained: {difference}"))?;
        if let Err(error) = done
            && self.fault.is_none()
        {
            return Err(format!("maintain: {error}"));
        }
        self.look_at_blocks()
    }

    /// What maintenance may let go of.
    fn may_forget(&mut self) {
        if self.settings.retention.time_ms > 0 {
            let newest =
                self.db().block_metas().iter().map(|meta| meta.max_time).max().max(self.store.newest().map(|newest| newest + 2 * HOUR));
            self.store.retain_from(newest.map_or(i64::MIN, |newest| newest - self.settings.retention.time_ms));
        }
        if self.settings.stale_series_threshold > 0.0 {
            self.store.stale_series_may_go();
        }
    }

    fn other_settings(&mut self) -> Settings {
        let settings = Settings {
            out_of_order_window_ms: self.random.one_of(&[0, HOUR / 2, 6 * HOUR]),
            retention: Retention { time_ms: self.random.one_of(&[0, 0, 10 * HOUR]), ..Retention::default() },
            float_encoding: self.random.one_of(&[FloatEncoding::Xor, FloatEncoding::Xor2]),
            stale_series_threshold: self.random.one_of(&[0.0, 0.0, 0.2]),
            ..Settings::default()
        };
        self.tell(format!("{settings:?}"));
        settings
    }

    fn apply(&mut self) -> Result<(), String> {
        let settings = self.other_settings();
        match self.db().apply(settings.clone()) {
            Ok(()) => {
                self.store.set_out_of_order_window(settings.out_of_order_window_ms);
                self.settings = settings;
                Ok(())
            }
            Err(_) if self.fault.is_some() => Ok(()),
            Err(error) => Err(format!("apply: {error}")),
        }
    }

    /// A snapshot is a directory that opens by itself, with all that blocks hold and what the head has in order.
    fn snapshot(&mut self) -> Result<(), String> {
        if self.fault.is_some() {
            return Ok(());
        }
        self.tell("snapshot");
        self.snapshots += 1;
        let folder = PathBuf::from(format!("/data/snapshots/{}", self.snapshots));
        self.db().snapshot(&folder, true).map_err(|error| format!("snapshot: {error}"))?;
        let options = Options { dir: folder.clone(), settings: Settings::default(), ..self.options() };
        let copy = Db::open(options).map_err(|error| format!("open a snapshot: {error}"))?;
        if let Asked::Found(found) = ask(&copy, ALL, &[], true)? {
            self.store.compare_in_order(&found).map_err(|difference| format!("snapshot: {difference}"))?;
        }
        copy.close().map_err(|error| format!("close a snapshot: {error}"))?;
        drop(copy);
        self.disk.remove_folder(&folder).map_err(|error| error.to_string())
    }

    /// Where blocks end is the database's choice, within bounds: never behind the newest sample.
    fn look_at_blocks(&mut self) -> Result<(), String> {
        let end = Some(self.db().head().min_valid_time()).filter(|end| *end > i64::MIN);
        let whole = self.db().block_metas();
        let whole = whole.iter().filter(|meta| meta.compaction.hints.is_empty()).map(|meta| meta.max_time).max();
        if self.store.knows_newest() && end > whole.max(self.store.blocks_end()).max(self.store.newest()) {
            return Err(format!("blocks end at {whole:?}, the newest sample is of {:?}, the head begins at {end:?}", self.store.newest()));
        }
        self.store.set_blocks_end(end);
        Ok(())
    }

    fn delete(&mut self) -> Result<(), String> {
        let (range, sets) = (self.range(), vec![self.matchers()]);
        let told: Vec<String> = sets[0].iter().map(ToString::to_string).collect();
        self.tell(format!("delete {} to {} of {told:?}", range.start.0, range.end.0));
        match self.db().delete(range, &sets) {
            Ok(()) => self.store.delete(range, &sets, Durable::NotYet),
            Err(_) if self.fault.is_some() => self.store.delete_failed(range, &sets),
            Err(error) => return Err(format!("delete: {error}")),
        }
        Ok(())
    }

    fn db(&self) -> Arc<Db> {
        self.db.clone().expect("open between steps")
    }

    // Faults.

    fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
        self.disk.set_fault(fault);
    }

    fn begin_fault(&mut self) {
        let at = self.disk.operations() + self.random.below(30);
        match self.random.below(4) {
            0 => {
                let room = self.disk.used() + self.random.below(4000) as usize;
                self.tell(format!("disk full at {room} bytes"));
                self.disk.set_space(Some(room));
                // Counts as a fault until it is relieved.
                self.set_fault(Some(Fault::Once(u64::MAX, ErrorKind::StorageFull)));
            }
            1 => {
                self.tell(format!("power off at {at}"));
                self.set_fault(Some(Fault::PowerOff(at)));
            }
            _ => {
                let kind = self.random.one_of(&[ErrorKind::StorageFull, ErrorKind::Other]);
                self.tell(format!("{kind} at {at}"));
                self.set_fault(Some(Fault::Once(at, kind)));
            }
        }
    }

    /// Ends faults that had their effect.
    fn relieve(&mut self) {
        match self.fault {
            Some(Fault::Once(u64::MAX, _)) if self.random.once_in(4) => {
                self.tell("room again");
                self.disk.set_space(None);
                self.set_fault(None);
                self.struck = true;
            }
            Some(Fault::Once(at, _)) if self.disk.operations() > at => {
                self.set_fault(None);
                self.struck = true;
            }
            _ => {}
        }
    }

    // Opening and closing.

    fn options(&self) -> Options {
        let mut options = Options::new("/data");
        options.files = Arc::new(self.disk.clone());
        options.no_lockfile = true;
        options.background = false;
        options.sync_interval = std::time::Duration::from_secs(3600);
        options.settings = self.settings.clone();
        options.start_timestamps = self.starts;
        options.histogram_start_timestamps = self.starts;
        options.max_block_ms = self.max_block_ms;
        options.wal.durability = self.durability;
        // Small segments, so that a replay goes through several.
        options.wal.segment_bytes_max = 64 << 10;
        options
    }

    fn open(&mut self) -> Result<(), String> {
        if self.random.once_in(2) {
            self.settings = self.other_settings();
            self.store.set_out_of_order_window(self.settings.out_of_order_window_ms);
        }
        if self.profile.faults && self.fault.is_none() && self.random.once_in(3) {
            self.begin_fault();
        }
        loop {
            match Db::open(self.options()) {
                Ok(db) => {
                    self.db = Some(db);
                    break;
                }
                Err(error) if self.fault.is_some() => {
                    self.tell(format!("not opened: {error}"));
                    if let Some(Fault::PowerOff(_)) = self.fault {
                        let tear = self.random.one_of(&[Tear::Lost, Tear::Half, Tear::Zeros]);
                        self.disk = self.disk.after_power_cut(tear);
                        self.power_cut();
                    }
                    self.disk.set_space(None);
                    self.set_fault(None);
                }
                Err(error) => return Err(format!("open: {error}")),
            }
        }
        self.handles.clear();
        self.struck = false;
        if matches!(self.fault, Some(Fault::Once(at, _)) if self.disk.operations() > at) {
            self.set_fault(None);
            // A block that could not be read while it was opened is looked at again before long; until then readers miss it.
            self.may_forget();
            self.db().maintain().map_err(|error| format!("maintain: {error}"))?;
        }
        self.look_at_blocks()
    }

    fn restart(&mut self) -> Result<(), String> {
        self.tell("stop");
        let closed = self.db().close();
        self.db = None;
        match closed {
            Ok(()) => {
                self.store.killed();
                self.store.sync();
            }
            Err(_) if self.fault.is_some() || self.struck => {
                // What a process wrote and did not sync, the system writes before long.
                self.disk = self.disk.after_power_cut(Tear::Kept);
                self.set_fault(None);
                self.store.killed();
            }
            Err(error) => return Err(format!("close: {error}")),
        }
        self.open_and_settle()
    }

    /// Ends the process, and perhaps the power.
    fn end(&mut self, tear: Tear) -> Result<(), String> {
        self.tell(format!("end, unsynced bytes: {tear:?}"));
        let off = match self.fault {
            Some(Fault::PowerOff(at)) if at < self.disk.operations() => at,
            _ => self.disk.operations(),
        };
        self.disk.set_fault(Some(Fault::PowerOff(off)));
        self.db = None;
        self.disk = self.disk.after_power_cut(tear);
        self.fault = None;
        if tear == Tear::Kept {
            self.store.killed()
        } else {
            self.power_cut()
        }
        self.open_and_settle()
    }

    fn power_cut(&mut self) {
        self.store.power_cut();
        // A ref is given again if the log has lost it.
        self.refs.clear();
    }

    fn open_and_settle(&mut self) -> Result<(), String> {
        self.open()?;
        match self.found(ALL, &[])? {
            Some(found) => self.store.settle(&found)?,
            None => return Ok(()),
        }
        // A ref lives on in the log.
        for labels in self.refs.values().collect::<BTreeSet<_>>() {
            let batch = Batch { labels: vec![labels.clone()], ..Batch::default() };
            let mut result = Committed::default();
            if self.db().commit(&batch, &mut result).is_ok()
                && let Some(handle) = result.handles[0]
                && self.refs.get(&handle.series_ref).is_some_and(|owner| owner != labels)
            {
                return Err(format!("{labels} has the ref {} of another series", handle.series_ref.0));
            }
        }
        Ok(())
    }

    /// Whatever bits turn over: it opens, and shows nothing that was never there.
    fn damage(&mut self) -> Result<(), String> {
        self.disk.set_fault(Some(Fault::PowerOff(self.disk.operations())));
        self.db = None;
        self.disk = self.disk.after_power_cut(Tear::Kept);
        self.fault = None;
        for _ in 0..self.random.within(1, 4) {
            let paths = self.disk.paths();
            if paths.is_empty() {
                break;
            }
            let path = &paths[self.random.below(paths.len() as u64) as usize];
            let bit = self.random.next();
            self.disk.flip_bit(path, bit);
            self.tell(format!("bit {bit} of {} flipped", path.display()));
        }
        self.open()?;
        if let Some(found) = self.found(ALL, &[])? {
            self.store.submitted(&found)?;
        }
        // Whatever was lost, it goes on.
        self.now += 3 * HOUR;
        let rows = self.rows();
        let batch = self.batch(&rows);
        self.db().commit(&batch, &mut Committed::default()).map_err(|error| error.to_string())
    }

    // Batches.

    fn rows(&mut self) -> Vec<store::Row> {
        self.now += self.random.within(0, 2 * self.pace);
        let count = self.random.one_of(&[0, 1, 5, 60]);
        (0..count)
            .map(|_| {
                let series = self.random.below(self.series_count);
                let time = match self.random.below(60) {
                    0 => self.now - self.random.within(0, 3 * HOUR),
                    1 => self.now + self.random.within(0, 3 * HOUR),
                    // Times lie close together, so that duplicates and late rows are common.
                    _ => self.now + self.random.within(-3, 12) * 10 * SECOND,
                };
                store::Row { labels: labels(series), time, sample: self.sample(series) }
            })
            .collect()
    }

    /// The kind stays for a while, and is one in a batch: which of two kinds at one time wins depends on more than their order.
    fn sample(&mut self, series: u64) -> Sample {
        let phase = (self.now / (10 * self.pace)).unsigned_abs() + series;
        match (self.random.below(20), phase % 4) {
            (0, _) => Sample::Float(STALE_NAN),
            (_, 2) => Sample::Histogram(self.histogram()),
            (_, 3) => Sample::FloatHistogram(self.float_histogram()),
            (1, _) => Sample::Float(f64::from_bits(self.random.next())),
            _ => Sample::Float(self.random.below(3) as f64),
        }
    }

    fn histogram(&mut self) -> Histogram {
        let layout = self.layout();
        let mut absolute =
            |spans: &[Span]| -> Vec<i64> { (0..spans.iter().map(|span| span.len).sum()).map(|_| self.random.below(4) as i64).collect() };
        let (positive, negative) = (absolute(&layout.positive_spans), absolute(&layout.negative_spans));
        let deltas = |counts: &[i64]| counts.iter().scan(0, |before, count| Some(count - std::mem::replace(before, *count))).collect();
        let zero_count = layout.zero_count as u64;
        Histogram {
            reset_hint: layout.reset_hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count,
            count: zero_count + positive.iter().chain(&negative).sum::<i64>() as u64,
            sum: self.random.below(10) as f64 / 2.0,
            positive_deltas: deltas(&positive),
            negative_deltas: deltas(&negative),
            positive_spans: layout.positive_spans,
            negative_spans: layout.negative_spans,
            custom_values: layout.custom_values,
        }
    }

    fn float_histogram(&mut self) -> FloatHistogram {
        let mut histogram = self.layout();
        let mut counts = |spans: &[Span]| -> Vec<f64> {
            (0..spans.iter().map(|span| span.len).sum()).map(|_| self.random.below(8) as f64 / 2.0).collect()
        };
        histogram.positive_counts = counts(&histogram.positive_spans);
        histogram.negative_counts = counts(&histogram.negative_spans);
        histogram.count = histogram.zero_count + histogram.positive_counts.iter().chain(&histogram.negative_counts).sum::<f64>();
        histogram.sum = self.random.below(10) as f64 / 2.0;
        histogram
    }

    /// Where buckets lie; few choices, so that some repeat, some grow and some end a chunk.
    fn layout(&mut self) -> FloatHistogram {
        let span = |offset, len| Span { offset, len };
        let reset_hint = self.random.one_of(&[ResetHint::Unknown, ResetHint::Unknown, ResetHint::Unknown, ResetHint::Gauge]);
        if self.random.once_in(6) {
            let bounds: &[f64] = self.random.one_of(&[&[1.0, 2.5], &[1.0, 2.5, 5.0]]);
            let positive_spans = [span(0, bounds.len() as u32 + 1)].into();
            return FloatHistogram { reset_hint, schema: -53, positive_spans, custom_values: bounds.into(), ..FloatHistogram::default() };
        }
        let grown = self.random.once_in(3);
        FloatHistogram {
            reset_hint,
            schema: self.random.one_of(&[1, 1, 1, 1, -4, 8]),
            zero_threshold: self.random.one_of(&[0.001, 0.001, 0.001, 0.0]),
            zero_count: self.random.below(3) as f64,
            positive_spans: if grown { [span(-2, 3), span(1, 2), span(7, 1)].into() } else { [span(-1, 2), span(1, 1)].into() },
            negative_spans: if grown { [span(3, 2)].into() } else { [].into() },
            ..FloatHistogram::default()
        }
    }

    fn batch(&mut self, rows: &[store::Row]) -> Batch {
        let mut batch = Batch::default();
        for row in rows {
            let series = match self.handles.get(&row.labels) {
                Some(handle) => RowSeries::Known(*handle),
                None => {
                    batch.labels.push(row.labels.clone());
                    RowSeries::Labels(batch.labels.len() as u32 - 1)
                }
            };
            let value = match &row.sample {
                Sample::Float(value) => RowValue::Float(*value),
                Sample::Histogram(histogram) => {
                    batch.histograms.push(histogram.clone());
                    RowValue::Histogram(batch.histograms.len() as u32 - 1)
                }
                Sample::FloatHistogram(histogram) => {
                    batch.float_histograms.push(histogram.clone());
                    RowValue::FloatHistogram(batch.float_histograms.len() as u32 - 1)
                }
            };
            let start = if self.starts { start_of(row.time) } else { 0 };
            batch.rows.push(storage::Row { series, start: Timestamp(start), timestamp: Timestamp(row.time), value });
        }
        batch
    }

    fn commit(&mut self) -> Result<(), String> {
        let rows = self.rows();
        let mut batch = self.batch(&rows);
        batch.on_refused = self.random.one_of(&[OnRefused::DropRow, OnRefused::DropBatch]);
        self.tell(format!("commit {} rows around {}, {:?}", rows.len(), self.now, batch.on_refused));
        let mut result = Committed::default();
        let late_unlogged = self.db().head().stats().out_of_order_unlogged;
        match self.db().commit(&batch, &mut result) {
            Ok(()) => {}
            Err(CommitError::Log(error)) if self.fault.is_some() => {
                let applied = self.db().head().stats().out_of_order_unlogged > late_unlogged;
                self.tell(format!("not {}: {error}", if applied { "acknowledged" } else { "committed" }));
                if applied {
                    self.store.commit_unsure(&rows)
                } else {
                    self.store.commit_failed(&rows)
                }
                return Ok(());
            }
            Err(error) => return Err(format!("commit: {error}")),
        }
        let mut outcomes = vec![RowOutcome::Stored; rows.len()];
        for (row, outcome) in &result.refused {
            outcomes[*row as usize] = *outcome;
        }
        for ((row, wanted), outcome) in rows.iter().zip(self.store.predict(&rows)).zip(&outcomes) {
            // Maintenance takes series away; their handles say so.
            let gone = *outcome == RowOutcome::Gone && !batch.labels.contains(&row.labels);
            if gone {
                self.handles.remove(&row.labels);
            }
            if !gone && wanted.is_some_and(|wanted| wanted != *outcome) {
                return Err(format!("{row:?}: {outcome:?}, expected {wanted:?}"));
            }
        }
        let dropped = batch.on_refused == OnRefused::DropBatch && !result.refused.is_empty();
        if result.batch_dropped != dropped {
            return Err(format!("dropped: {}, expected {dropped}", result.batch_dropped));
        }
        for (labels, handle) in batch.labels.iter().zip(&result.handles) {
            let Some(handle) = handle else { continue };
            self.handles.insert(labels.clone(), *handle);
            // One of a series that only refused rows named need not be in the log.
            let stored = rows.iter().zip(&outcomes).any(|(row, outcome)| row.labels == *labels && *outcome == RowOutcome::Stored);
            if stored && !dropped {
                let owner = self.refs.entry(handle.series_ref).or_insert_with(|| labels.clone());
                if owner != labels {
                    return Err(format!("{labels} has the ref {} of {owner}", handle.series_ref.0));
                }
            }
        }
        if !dropped {
            let durable = if self.durability == Durability::EachWrite { Durable::Yes } else { Durable::NotYet };
            self.store.commit(&rows, &outcomes, durable);
        }
        Ok(())
    }

    // Queries.

    fn range(&mut self) -> Interval {
        let start = self.now + self.random.within(-6 * HOUR, HOUR);
        let len = self.random.one_of(&[0, 60 * SECOND, HOUR, 8 * HOUR]);
        Interval { start: Timestamp(start), end: Timestamp(start + len) }
    }

    fn matchers(&mut self) -> Vec<Matcher> {
        let names = ["__name__", "job", "extra", "n", "absent"];
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let values = ["", "m1", "job0", "yes", "m[12]", "job1|", ".*", ".+", "job1|job2", "7", "1.*"];
        (0..self.random.below(3))
            .map(|_| Matcher::new(self.random.one_of(&ops), self.random.one_of(&names), self.random.one_of(&values)).unwrap())
            .collect()
    }

    fn ask(&mut self, range: Interval, matchers: &[Matcher]) -> Result<(), String> {
        let Some(found) = self.found(range, matchers)? else { return Ok(()) };
        self.store.compare(&found, range, matchers)?;
        if !self.random.once_in(4) {
            return Ok(());
        }
        let sets = [matchers.to_vec()];
        let failed = |error: storage::SelectError| error.to_string();
        let (must, may) = self.store.label_sets(range, matchers);
        let within = |what: &str, names: Vec<String>, all: &dyn Fn(&Labels) -> Vec<String>| {
            let of = |sets: &BTreeSet<&Labels>| sets.iter().flat_map(|labels| all(labels)).collect::<BTreeSet<_>>();
            if !names.is_sorted_by(|a, b| a < b) {
                return Err(format!("{what}: not sorted: {names:?}"));
            }
            let names: BTreeSet<String> = names.into_iter().collect();
            let (must, may) = (of(&must), of(&may));
            if names.is_superset(&must) && names.is_subset(&may) { Ok(()) } else { Err(format!("{what}: {names:?}, expected {must:?}")) }
        };
        let db = self.db();
        let names = db.label_names(range, &sets, &SelectHints::default()).map_err(failed)?.names;
        within("names", names, &|labels| labels.iter().map(|(name, _)| name.to_owned()).collect())?;
        let values = db.label_values("n", range, &sets, &SelectHints::default()).map_err(failed)?.names;
        within("values", values, &|labels| labels.get("n").map(str::to_owned).into_iter().collect())
    }

    /// What the database answers; none if a fault kept it from answering.
    fn found(&mut self, range: Interval, matchers: &[Matcher]) -> Result<Option<Found>, String> {
        let sorted = self.random.once_in(2);
        let faulty = self.fault.is_some();
        match ask(&self.db(), range, matchers, sorted)? {
            Asked::Found(found) => Ok(Some(found)),
            Asked::Warned(found) if faulty || self.profile.damage => Ok(Some(found)),
            Asked::Failed(_) if faulty || self.profile.damage => Ok(None),
            Asked::Warned(_) => Err("warnings".to_owned()),
            Asked::Failed(error) => Err(error),
        }
    }
}

/// What a database answers.
enum Asked {
    Found(Found),
    /// Something of it may be missing.
    Warned(Found),
    Failed(String),
}

/// Asks, and holds against each other what must be true of any answer.
fn ask(db: &Db, range: Interval, matchers: &[Matcher], sorted: bool) -> Result<Asked, String> {
    let hints = SelectHints { sorted, ..SelectHints::default() };
    let selection = match db.select(range, matchers, &hints) {
        Ok(selection) => selection,
        Err(error) => return Ok(Asked::Failed(format!("select: {error}"))),
    };
    if sorted && !selection.series.is_sorted_by(|a, b| a.labels() < b.labels()) {
        return Err("series out of order".to_owned());
    }
    let mut column = Column::default();
    let mut found: Found = BTreeMap::new();
    for series in &selection.series {
        column.clear();
        if let Err(error) = series.decode(range, &mut column) {
            return Ok(Asked::Failed(format!("decode: {error}")));
        }
        if !column.times.is_sorted_by(|a, b| a < b) {
            return Err(format!("{}: times out of order: {:?}", series.labels(), column.times));
        }
        if let Some((time, start)) =
            column.times.iter().zip(&column.starts).find(|(time, start)| **start != 0 && **start != start_of(**time))
        {
            return Err(format!("{}: at {time} the start {start}", series.labels()));
        }
        if found.insert(series.labels().clone(), store::of_column(&column)).is_some() {
            return Err(format!("{} twice", series.labels()));
        }
    }
    Ok(if selection.warnings.is_empty() { Asked::Found(found) } else { Asked::Warned(found) })
}

/// The start timestamp that a sample has, so that it can be checked by itself.
fn start_of(time: i64) -> i64 {
    (time / HOUR) * HOUR - 7
}
