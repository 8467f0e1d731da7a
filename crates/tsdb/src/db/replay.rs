//! Replaying what chunk files and logs hold into an empty head, and repairing what was damaged in them.
//!
//! One thread reads and decompresses ([`feed`]), this one decodes, names series in the order of the log and shares the rest
//! out, and some put samples into series ([`shards`]). What is on its way between them is bounded.
//!
//! # Invariants
//! - Replay only reads; [`repair`] comes after it, before the first write.
//! - Damage costs the rest of its segment; replay goes on with the next one.
//! - A second series record for known labels is an alias: its samples go to the series that is there.
//! - Where a saved head fits the directory only the log from its segment on is read. If that names a series that neither of them knows, as after
//!   another program has written to the directory, the saved head is left out of account: the replay begins anew and reads the whole log.
//! - With a saved head a replay finds the samples that it finds without: both logs have late samples, and where only one kept some, which of
//!   them are found depends on what else the log has of the series. Then, too, the whole log is read.
//! - Segments that are missing cost what they held. Only where samples behind them are without a name then, because the series' records are
//!   gone with a segment or checkpoint, the log is refused: going on would lose samples that are there.

mod chunks;
mod feed;
mod refs;
mod shards;

use super::lifecycle::Nameless;
use super::saved::{self, Saved, SavedSeries, Table};
use super::{Db, OpenError, Retention, settled};
use crate::chunk::{Sample, Value};
use crate::head::mapped::Found;
use crate::wal::read::Damage;
use crate::wal::record::{self, Kind, Malformed};
use crate::wal::segment::{Gap, Layout};
use crate::wal::{SegmentIndex, checkpoint, repair as wal_repair, segment};
use chunks::{Chunks, Unordered};
use feed::{Fed, Feed};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use model::{Exemplar, FloatHistogram, Histogram, Labels, Metadata, Timestamp};
use refs::Refs;
use shards::{Item, Shards};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Interval, SeriesHandle, SeriesRef, Slot};
use world::{Files, Map};

/// Series of the saved head that are added together.
const RESTORED: usize = 512;

/// What a replay found.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub samples: u64,
    pub late_samples: u64,
    pub damages: Vec<Damage>,
    pub late_damages: Vec<Damage>,
    /// Segments that are missing, of both logs.
    pub gaps: Vec<Gap>,
    /// Records of kinds that nobody knows.
    pub unknown_records: u64,
    /// Refs that the log uses for series that have another one, and that one: it keeps their labels while it has their samples.
    pub aliases: Vec<(SeriesRef, SeriesRef)>,
    /// Likewise, those that the saved head knew.
    pub known_aliases: Vec<(SeriesRef, SeriesRef)>,
    /// Whether the saved head was used.
    pub restored: bool,
    /// The log has lost its beginning, but the series were in the saved head: it must be told of them again.
    pub log_again: bool,
    /// Refs that checkpoints have to keep, and as long as what.
    pub removed: Vec<(SeriesRef, Nameless)>,
    pub time: Duration,
}

/// Reads chunk files and both logs into the head.
pub(super) fn replay(db: &Db) -> Result<Replayed, OpenError> {
    let started = Instant::now();
    let (files, dir) = (&*db.options.files, &db.options.dir);
    if let Some(max_time) = crate::compact::in_order_max_time(&db.blocks.facts()).max(settled::read_time(files, dir)?) {
        db.head.set_min_valid_time(max_time);
    }
    let mut replayed = match saved::find(files, dir, db.head.min_valid_time()) {
        Some(table) => match attempt(db, Some(&table))? {
            Some(replayed) => replayed,
            None => {
                tracing::warn!(component = "tsdb", "the saved head cannot be used: the whole log is replayed");
                db.head.forget_replayed();
                attempt(db, None)?.unwrap_or_default()
            }
        },
        None => attempt(db, None)?.unwrap_or_default(),
    };
    db.head.collect_garbage();
    replayed.time = started.elapsed();
    tracing::info!(
        component = "tsdb", restored = replayed.restored, samples = replayed.samples + replayed.late_samples,
        total_replay_duration = ?replayed.time, "WAL replay completed"
    );
    Ok(replayed)
}

/// Looks once more at blocks that the disk did not give when the database was opened. Meanwhile the log stood in for them as far as it
/// goes, also with what has been deleted of them since; where they can be read by now that goes, before anybody reads or commits.
pub(super) fn look_again_at_blocks(db: &Db) -> Result<(), OpenError> {
    let (files, dir) = (&*db.options.files, &db.options.dir);
    let folders =
        crate::block::folders(files, dir).map_err(|error| OpenError::Io { action: "read directory", path: dir.clone(), error })?;
    let open = db.block_metas();
    if folders.iter().all(|(ulid, _)| open.iter().any(|meta| meta.ulid == *ulid)) {
        return Ok(());
    }
    db.blocks.reload(&Retention::default(), 0).map_err(OpenError::Block)?;
    let Some(max_time) = crate::compact::in_order_max_time(&db.blocks.facts()).filter(|time| *time > db.head.min_valid_time()) else {
        return Ok(());
    };
    let truncated = db.head.truncate(max_time);
    truncated.map(|_| ()).map_err(|error| OpenError::Io { action: "truncate", path: dir.join("chunks_head"), error })
}

/// Fills the empty head; none if a saved head was given that turned out not to fit.
fn attempt(db: &Db, table: Option<&Table>) -> Result<Option<Replayed>, OpenError> {
    let started = Instant::now();
    let (files, dir) = (&*db.options.files, &db.options.dir);
    tracing::info!(component = "tsdb", "Replaying on-disk memory mappable chunks if any");
    let mut chunks = Unordered::default();
    if let Some(mapped) = db.head.mapped() {
        let path = dir.join("chunks_head");
        let settled = settled::read(files, dir)?;
        let visit = |found: Found| {
            if !settled::is_settled(&found, settled) {
                chunks.add(&found);
            }
        };
        mapped.load(visit).map_err(|error| OpenError::Io { action: "read", path, error })?;
        if table.is_some() && mapped.damage().is_some() {
            return Ok(None);
        }
    }
    let chunks = chunks.order();
    tracing::info!(component = "tsdb", duration = ?started.elapsed(), "On-disk memory mappable chunks replay completed");

    tracing::info!(component = "tsdb", "Replaying WAL, this may take a while");
    let layout = segment::list(files, &dir.join("wal"))?;
    let mut log = Vec::new();
    let unread = match table {
        Some(table) => &layout.segments[layout.segments.partition_point(|segment| segment.index < table.from)..],
        None => layout.after_checkpoint(),
    };
    let mut gaps = layout.gaps.clone();
    if let Some(checkpoint) = layout.checkpoints.last().filter(|_| table.is_none()) {
        let checkpoint = checkpoint::layout(files, checkpoint)?;
        gaps.extend_from_slice(&checkpoint.gaps);
        log.extend(checkpoint.into_paths());
    }
    let incomplete = !gaps.is_empty();
    log.extend(unread.iter().map(|segment| segment.path.clone()));
    let late = segment::list(files, &dir.join("wbl"))?;
    gaps.extend_from_slice(&late.gaps);
    for Gap { folder, first, next } in &gaps {
        tracing::error!(
            component = "tsdb", folder = %folder.display(), first = first.0, next = next.0,
            "segments of the log are missing: what they held is lost, what is before and behind them is read"
        );
    }
    if let [first, .., last] | [first @ last] = unread {
        db.progress.begin(first.index, last.index);
    }

    let paths = late.into_paths();
    let all: Vec<PathBuf> = log.iter().chain(&paths).cloned().collect();
    std::thread::scope(|scope| {
        let mut state = State {
            db,
            shards: Shards::start(scope, &db.head),
            refs: Refs::default(),
            chunks,
            replayed: Replayed { restored: table.is_some(), gaps, ..Replayed::default() },
            named: Vec::new(),
            unknown: HashMap::default(),
            nameless: false,
            min_valid: db.head.min_valid_time(),
            late: false,
        };
        if table.is_some_and(|table| !state.restore(&table.bytes)) {
            return Ok(None);
        }
        let feed = Feed::start(scope, files, &all);
        state.replayed.damages = state.read(&feed, &log)?;
        db.head.replayed_series();
        if table.is_none() {
            state.check_unknown(&layout, incomplete)?;
        }
        state.late = true;
        state.replayed.late_damages = state.read(&feed, &paths)?;
        let State { shards, mut replayed, chunks, nameless, .. } = state;
        db.head.replayed_series();
        let applied = shards.finish();
        if table.is_some() && (nameless || !db.head.has_late(applied.doubtful)) {
            return Ok(None);
        }
        (replayed.samples, replayed.late_samples) = (applied.samples, applied.late_samples);
        chunks.refs().for_each(|series_ref| db.head.reserve_ref(series_ref));
        let begins = layout.segments.first().is_none_or(|first| first.index.0 == 0) || !layout.checkpoints.is_empty();
        replayed.log_again = table.is_some() && !begins;
        Ok(Some(replayed))
    })
}

/// Makes the logs ones that Prometheus reads to their ends.
pub(super) fn repair(files: &dyn Files, dir: &Path, replayed: &Replayed) -> Result<(), OpenError> {
    for damage in replayed.damages.iter().chain(&replayed.late_damages) {
        wal_repair::repair(files, damage, &dir.join("pyrope").join("damaged")).map_err(|error| OpenError::Io {
            action: "repair",
            path: damage.path.clone(),
            error,
        })?;
    }
    for gap in &replayed.gaps {
        wal_repair::fill(files, gap).map_err(|error| OpenError::Io { action: "fill up", path: gap.folder.clone(), error })?;
    }
    Ok(())
}

struct State<'s, 'd> {
    db: &'d Db,
    shards: Shards<'s>,
    refs: Refs,
    /// Chunks in files whose series has not been seen yet.
    chunks: Chunks,
    replayed: Replayed,
    /// Series of a record, to be filled again.
    named: Vec<(SeriesRef, SeriesHandle)>,
    /// Samples by refs that no record names.
    unknown: HashMap<SeriesRef, u64, FixedState>,
    /// Something was said of a ref that no record names.
    nameless: bool,
    /// Samples before it are in blocks.
    min_valid: i64,
    /// Whether the log of out-of-order samples is being read.
    late: bool,
}

impl State<'_, '_> {
    /// Takes over what was saved; whether that was all.
    fn restore(&mut self, saved: &Map) -> bool {
        let mut prepared = Vec::new();
        let whole = saved::read(saved, |saved| match saved {
            Saved::LastRef(series_ref) => self.db.head.reserve_ref(series_ref),
            Saved::Removed(series_ref, segment, max_time) => {
                self.replayed.removed.push((series_ref, Nameless { segment: SegmentIndex(segment), max_time }));
            }
            Saved::Series(labels, series) => {
                if self.db.head.prepare_series(series.series_ref, &labels) {
                    prepared.push(series);
                }
                if prepared.len() >= RESTORED {
                    self.restore_series(&mut prepared);
                }
            }
            Saved::Exemplar(series_ref, exemplar) => {
                self.restore_series(&mut prepared);
                if let Some(slot) = self.refs.get(series_ref) {
                    self.db.head.replay_exemplar(slot, exemplar);
                }
            }
        });
        self.restore_series(&mut prepared);
        whole && !saved.is_faulty()
    }

    /// Adds the series that were prepared, and gives them what is theirs.
    fn restore_series(&mut self, prepared: &mut Vec<SavedSeries<'_>>) {
        if prepared.is_empty() {
            return;
        }
        let mut named = std::mem::take(&mut self.named);
        self.db.head.restore_series(&mut named);
        for (series, (series_ref, handle)) in prepared.drain(..).zip(named.drain(..)) {
            self.name(series_ref, handle);
            self.restore_samples(handle.slot, series);
        }
        self.named = named;
    }

    fn restore_samples(&mut self, slot: Slot, series: SavedSeries<'_>) {
        for alias in series.aliases {
            self.refs.set(alias, slot);
            self.replayed.known_aliases.push((alias, series.series_ref));
            self.take_chunks(alias, slot);
        }
        for (encoding, bytes) in series.chunks {
            self.shards.item(slot, Item::Open(encoding, bytes.into()));
        }
        for interval in series.deleted {
            self.shards.item(slot, Item::Delete(interval));
        }
        if let Some(time) = series.late_until {
            self.shards.item(slot, Item::LateUntil(time));
        }
        if let Some(metadata) = &series.metadata {
            self.db.head.replay_metadata(slot, metadata);
        }
    }

    /// Takes over what the feed reads of these segments; gives the damages that it met.
    fn read(&mut self, feed: &Feed, segments: &[PathBuf]) -> Result<Vec<Damage>, OpenError> {
        let mut damages = Vec::new();
        for path in segments {
            loop {
                self.db.may_go_on()?;
                match feed.blocks.recv() {
                    Ok(Fed::Block(block)) => {
                        for (offset, record) in block.records() {
                            if let Err(malformed) = self.record(record) {
                                // Its checksum fits, so this is no fault of the disk; the record alone is lost.
                                tracing::warn!(component = "tsdb", segment = %path.display(), offset, err = %malformed, "skipped a WAL record");
                            }
                        }
                        feed.done(block);
                    }
                    Ok(Fed::End(damage)) => {
                        if let Some(damage) = damage {
                            tracing::warn!(component = "tsdb", err = %damage, "Encountered WAL read error, attempting repair");
                            damages.push(damage);
                        }
                        break;
                    }
                    Ok(Fed::Failed(error)) => return Err(OpenError::Io { action: "read", path: path.clone(), error }),
                    // Only after a failure, which has been taken over.
                    Err(_) => return Ok(damages),
                }
            }
            if let Some(segment) = SegmentIndex::of(path).filter(|_| !self.late) {
                self.db.progress.read(segment);
            }
        }
        Ok(damages)
    }

    /// Refuses a log whose beginning is missing, where that has cost samples their names.
    fn check_unknown(&self, layout: &Layout, incomplete: bool) -> Result<(), OpenError> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let samples = self.unknown.values().sum();
        let headless = layout.checkpoints.is_empty() && layout.segments.first().is_some_and(|first| first.index.0 > 0);
        // The first segment that is not known to follow all that was before it.
        let behind = layout.gaps.first().filter(|_| !headless).map(|gap| gap.next);
        let first = layout.after_checkpoint().iter().find(|segment| behind.is_none_or(|behind| segment.index == behind));
        if let Some(first) = first.filter(|_| headless || incomplete) {
            return Err(OpenError::SeriesMissing { samples, series: self.unknown.len() as u64, first: first.path.clone() });
        }
        // Else the log is whole but for damage that has been reported; or a series was removed before its last samples were.
        tracing::warn!(component = "tsdb", samples, series = self.unknown.len(), "Unknown series references");
        Ok(())
    }

    fn record(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match record::kind(bytes)? {
            Kind::Series => self.series(bytes),
            Kind::Samples => record::decode_samples(bytes, |series_ref, time, value| self.float(series_ref, 0, time, value)),
            Kind::SamplesV2 => {
                record::decode_samples_v2(bytes, |series_ref, start, time, value| self.float(series_ref, start, time, value))
            }
            Kind::Histograms | Kind::CustomBucketsHistograms | Kind::HistogramsV2 => {
                record::decode_histograms::<Histogram>(bytes, |series_ref, start, time, histogram| {
                    let value = Value::Histogram(Arc::new(std::mem::take(histogram)));
                    self.sample(series_ref, Sample { start, time, value });
                })
            }
            Kind::FloatHistograms | Kind::CustomBucketsFloatHistograms | Kind::FloatHistogramsV2 => {
                record::decode_histograms::<FloatHistogram>(bytes, |series_ref, start, time, histogram| {
                    let value = Value::FloatHistogram(Arc::new(std::mem::take(histogram)));
                    self.sample(series_ref, Sample { start, time, value });
                })
            }
            Kind::Tombstones => self.tombstones(bytes),
            Kind::MmapMarkers => record::decode_mmap_markers(bytes, |series_ref, place| {
                if let Some(slot) = self.slot(series_ref) {
                    self.shards.item(slot, Item::Marker(place));
                }
            }),
            Kind::Exemplars => record::decode_exemplars(bytes, |series_ref, time, value, pairs| {
                if let Some(slot) = self.slot(series_ref).filter(|_| time >= self.min_valid) {
                    let exemplar = Exemplar { labels: labels(pairs), value, timestamp: Timestamp(time), has_timestamp: true };
                    self.db.head.replay_exemplar(slot, exemplar);
                }
            }),
            Kind::Metadata => record::decode_metadata(bytes, |series_ref, kind, unit, help| {
                if let Some(slot) = self.slot(series_ref) {
                    self.db.head.replay_metadata(slot, &Metadata { kind, unit: unit.to_owned(), help: help.to_owned() });
                }
            }),
            Kind::Unknown(_) => {
                self.replayed.unknown_records += 1;
                Ok(())
            }
        }
    }

    fn series(&mut self, record: &[u8]) -> Result<(), Malformed> {
        let mut named = std::mem::take(&mut self.named);
        let decoded = self.db.head.replay_series(record, &mut named);
        named.drain(..).for_each(|(series_ref, handle)| self.name(series_ref, handle));
        self.named = named;
        decoded
    }

    /// Notes whose name a ref is.
    fn name(&mut self, series_ref: SeriesRef, handle: SeriesHandle) {
        if handle.series_ref != series_ref {
            self.replayed.aliases.push((series_ref, handle.series_ref));
        }
        self.refs.set(series_ref, handle.slot);
        self.take_chunks(series_ref, handle.slot);
    }

    fn take_chunks(&mut self, series_ref: SeriesRef, slot: Slot) {
        let shards = &mut self.shards;
        self.chunks.take(series_ref, |chunk, out_of_order| shards.item(slot, Item::Mapped { chunk, out_of_order }));
    }

    /// The slot of a ref; one without a series was given once all the same.
    fn slot(&mut self, series_ref: SeriesRef) -> Option<Slot> {
        let slot = self.refs.get(series_ref);
        if slot.is_none() {
            self.nameless = true;
            self.db.head.reserve_ref(series_ref);
        }
        slot
    }

    fn tombstones(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut gone: Vec<Slot> = Vec::new();
        let decoded = record::decode_tombstones(bytes, |series_ref, min_time, max_time| {
            let Some(slot) = self.slot(series_ref) else { return };
            match (min_time, max_time) {
                (i64::MIN, i64::MAX) => gone.push(slot),
                _ => self.shards.item(slot, Item::Delete(Interval { start: Timestamp(min_time), end: Timestamp(max_time) })),
            }
        });
        if !gone.is_empty() {
            gone.sort_unstable();
            gone.dedup();
            // Their slots are given to others.
            self.shards.wait();
            self.db.head.replay_remove(&gone);
            self.refs.forget(&gone);
        }
        decoded
    }

    #[inline]
    fn float(&mut self, series_ref: SeriesRef, start: i64, time: i64, value: f64) {
        if self.late || start != 0 {
            return self.sample(series_ref, Sample { start, time, value: Value::Float(value) });
        }
        match self.refs.get(series_ref) {
            Some(slot) if time >= self.min_valid => self.shards.float(slot, time, value),
            Some(_) => {}
            None => self.unknown(series_ref, time),
        }
    }

    fn sample(&mut self, series_ref: SeriesRef, sample: Sample) {
        match self.refs.get(series_ref) {
            Some(slot) if self.late => self.shards.item(slot, Item::Late(sample)),
            Some(slot) if sample.time >= self.min_valid => self.shards.item(slot, Item::Sample(sample)),
            Some(_) => {}
            None => self.unknown(series_ref, sample.time),
        }
    }

    /// What is in blocks needs no name.
    #[cold]
    fn unknown(&mut self, series_ref: SeriesRef, time: i64) {
        self.nameless = true;
        self.db.head.reserve_ref(series_ref);
        if time >= self.min_valid {
            *self.unknown.entry(series_ref).or_default() += 1;
        }
    }
}

/// Bytes from a disk may be in any order.
fn labels(pairs: &[(&str, &str)]) -> Labels {
    let clean = pairs.windows(2).all(|two| two[0].0 < two[1].0) && pairs.iter().all(|(_, value)| !value.is_empty());
    if clean { Labels::from_sorted(pairs.iter().copied()) } else { Labels::from_pairs(pairs.iter().copied()) }
}
