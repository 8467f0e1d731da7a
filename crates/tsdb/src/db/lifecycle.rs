//! What a database does by itself: the head is written to blocks, the head and the log forget what is in them, blocks are
//! merged, old ones deleted.
//!
//! A sample is always in the head or in an open block: the block is published and opened first, then the head lets go of its
//! samples, then the log. Readers look at the head first and at the blocks after that; what moved meanwhile is seen
//! twice, and merged.
//!
//! # Invariants
//! - At most one compaction, deletion or snapshot is under way ([`Db::maintaining`]).
//! - The log keeps all samples that are in no block, and the series record of every sample that it keeps.

use super::blocks::facts;
use super::options::Settings;
use super::saved;
use super::settled::Settled;
use super::{Db, DbError, Logs};
use crate::block::{self, Block, BlockError, Compaction, Meta};
use crate::compact::run::{self, CompactError, Floats, Target};
use crate::compact::source::{BlockSource, SeriesSource};
use crate::compact::{Origin, plan};
use crate::head::series::range_end;
use crate::wal::read::Damage;
use crate::wal::record::{SeriesEncoder, TombstonesEncoder};
use crate::wal::{CheckpointError, Records, SegmentIndex, checkpoint, repair, segment};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use storage::{SeriesHandle, SeriesRef};
use ulid::Ulid;

/// What maintenance has done.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub compactions: AtomicU64,
    pub compactions_failed: AtomicU64,
    pub compaction_ms: AtomicU64,
    pub head_truncations: AtomicU64,
    pub head_truncations_failed: AtomicU64,
    pub checkpoints: AtomicU64,
    pub checkpoints_failed: AtomicU64,
    pub log_truncations: AtomicU64,
    pub log_truncations_failed: AtomicU64,
    /// Damaged segments that were met by checkpoints.
    pub log_repairs: AtomicU64,
    pub failures_in_a_row: AtomicU64,
}

/// What is remembered from one maintenance to the next.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    /// The log was last truncated for samples before this time.
    pub log_truncated_to: Option<i64>,
    /// When the head was last written to a block, by the clock.
    pub head_compacted_at: Option<i64>,
    /// Refs of series that the head has no more, or has under other names: what keeps their labels in the log.
    pub removed: HashMap<SeriesRef, Nameless, FixedState>,
    /// Of series that came under several refs the other ones: files of chunks and logs use them.
    pub aliases: HashMap<SeriesRef, Vec<SeriesRef>, FixedState>,
    /// What the last compaction of out-of-order samples has left to be forgotten.
    pub settled: Option<Settled>,
    /// When the head was last saved, by the clock, and the segment from which on the log is to be read beside it.
    pub saved: Option<(i64, SegmentIndex)>,
    /// The saved head builds upon what is gone by now.
    pub save_anew: bool,
    /// The log has lost something: it may lack series and deletions that the head knows, and the next checkpoint has to tell of them.
    pub log_lacks: bool,
}

/// Where the log may have samples under a ref that no series of the head has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nameless {
    /// The last segment.
    pub segment: SegmentIndex,
    /// The time of the last one that is in no block, at the latest: checkpoints take such samples along, whatever their segment.
    pub max_time: i64,
}

impl Nameless {
    /// Whether a checkpoint of the segments up to `last`, of samples from `min_time`, needs the series' labels.
    fn is_needed(self, last: SegmentIndex, min_time: i64) -> bool {
        self.segment > last || self.max_time >= min_time
    }
}

impl Maintenance {
    fn remember_removed(&mut self, db: &Db) {
        let Some(logs) = db.logs() else { return };
        let segment = logs.wal.segment();
        // All that they had is in blocks.
        let nameless = Nameless { segment, max_time: i64::MIN };
        for series_ref in db.head.take_removed() {
            self.removed.insert(series_ref, nameless);
            self.aliases.remove(&series_ref);
        }
    }
}

/// Milliseconds before an expected compaction of the head within which stale series are not written out by themselves.
const SOON_MS: i64 = 10 * 60 * 1000;

impl Db {
    /// Does whatever is due: writes a head that is long enough to a block, truncates head and log, compacts out-of-order
    /// samples, merges blocks, deletes what is beyond retention. Without [`super::Options::background`] the owner calls it now and then.
    ///
    /// # Errors
    /// What could not be done; doing it again later is harmless.
    pub fn maintain(&self) -> Result<(), DbError> {
        let mut maintenance = self.maintaining();
        let done = self.maintain_now(&mut maintenance);
        self.save_if_due(&mut maintenance);
        if let Err(error) = &done
            && !matches!(error, DbError::Compact(CompactError::Cancelled))
        {
            self.counters.compactions_failed.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    fn maintain_now(&self, maintenance: &mut Maintenance) -> Result<(), DbError> {
        self.settle(maintenance)?;
        if !self.options.background {
            self.map_full_chunks();
        }
        self.reload()?;
        let mut compacted_to = None;
        while let Some((min_time, max_time)) = self.due() {
            // Rows that were checked before the boundary moved are applied before the block is written.
            self.head.wait_for_commits();
            let floats = Floats::Pack(self.settings().float_encoding);
            let written = self.write_head_block(&self.options.dir, min_time, max_time, floats)?;
            self.publish(written.as_ref().map(|meta| meta.ulid).as_slice())?;
            self.truncate_head(maintenance, max_time)?;
            if written.is_none() {
                // All of it was deleted, and there is no block to say how far blocks reach. The next start would take it for samples of the head.
                self.before_block_goes()?;
            }
            maintenance.head_compacted_at = Some(self.options.clock.now_ms());
            compacted_to = Some(max_time);
        }
        if let Some(max_time) = compacted_to {
            self.truncate_log(maintenance, max_time)?;
            self.compact_out_of_order(maintenance)?;
        }
        self.compact_stale_series(maintenance)?;
        self.compact_blocks()
    }

    /// Saves the head where what is saved has become useless or old, so that a start after a kill does not read much of the log.
    fn save_if_due(&self, maintenance: &mut Maintenance) {
        let now = self.options.clock.now_ms();
        let Some(logs) = self.logs() else { return };
        let due = match maintenance.saved {
            _ if maintenance.save_anew || !self.options.background => true,
            None => {
                maintenance.saved = Some((now, logs.wal.segment()));
                false
            }
            Some((at, from)) => {
                let layout = segment::list(&*self.options.files, &self.options.dir.join("wal"));
                let is_recent = (at..at.saturating_add(SAVE_PAUSE_MS)).contains(&now);
                let much = if is_recent {
                    self.head.series_count().saturating_mul(SAVE_LOG_SERIES_BYTES).max(SAVE_SOON_BYTES)
                } else {
                    SAVE_LOG_BYTES
                };
                layout.is_ok_and(|layout| layout.bytes_from(&*self.options.files, from) >= much)
            }
        };
        if !due || self.stopping.load(Ordering::Relaxed) {
            return;
        }
        let started = Instant::now();
        match saved::write_running(self, maintenance) {
            Ok(from) => {
                maintenance.save_anew = false;
                maintenance.saved = from.map(|from| (now, from));
                tracing::debug!(component = "tsdb", duration = ?started.elapsed(), "saved the head");
            }
            Err(error) => {
                maintenance.saved = Some((now, logs.wal.segment()));
                maintenance.save_anew = false;
                tracing::warn!(component = "tsdb", err = %error, "the head was not saved: a start after a kill replays more of the log");
            }
        }
    }

    /// The range of the head that is to become a block: once the head is half a block longer than one, its oldest.
    fn due(&self) -> Option<(i64, i64)> {
        let (min_time, max_time) = self.head.time_range()?;
        let width = self.options.min_block_ms;
        let long_enough = max_time.saturating_sub(min_time) > width / 2 * 3;
        long_enough.then(|| (min_time, range_end(min_time, width)))
    }

    /// Waits for what is under way, and keeps others from beginning.
    pub(super) fn maintaining(&self) -> MutexGuard<'_, Maintenance> {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the set of blocks in line with the directory.
    pub(super) fn reload(&self) -> Result<(), DbError> {
        self.publish(&[])
    }

    /// Likewise, and makes sure that new blocks can be read before anything else that has their samples goes.
    fn publish(&self, written: &[Ulid]) -> Result<(), DbError> {
        let retention = self.settings().retention;
        let unread = self.blocks.reload(&retention, self.log_bytes() + self.head.chunk_file_bytes())?;
        let mut unread = written.iter().filter(|ulid| unread.contains(ulid)).peekable();
        let Some(first) = unread.peek().map(|ulid| **ulid) else { return Ok(()) };
        for ulid in unread {
            // It will be written again. If it cannot be deleted both will be there, and be merged.
            let _ = block::delete(&*self.options.files, &self.options.dir.join(ulid.to_string()));
        }
        Err(DbError::Unreadable { ulid: first })
    }

    /// Writes what the head holds from `min_time` to before `max_time` to a block in `folder`.
    pub(super) fn write_head_block(&self, folder: &Path, min_time: i64, max_time: i64, floats: Floats) -> Result<Option<Meta>, DbError> {
        let source = self.head.source(min_time, max_time.saturating_sub(1));
        let ulid = self.new_ulid();
        let compaction = run::of_head(ulid, Origin::default());
        self.write_block(folder, &mut [Box::new(source)], (min_time, max_time), compaction, ulid, floats)
    }

    fn truncate_head(&self, maintenance: &mut Maintenance, max_time: i64) -> Result<(), DbError> {
        self.counters.head_truncations.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        maintenance.save_anew = true;
        let truncated = self.head.truncate(max_time);
        maintenance.remember_removed(self);
        let collected = truncated.map_err(|error| {
            self.counters.head_truncations_failed.fetch_add(1, Ordering::Relaxed);
            DbError::Io { action: "truncate head chunks", error }
        })?;
        tracing::info!(component = "tsdb", series_removed = collected.removed, duration = ?started.elapsed(), "Head GC completed");
        Ok(())
    }

    /// Writes all samples that came out of order to blocks of the smallest range, and lets go of them and of their log.
    fn compact_out_of_order(&self, maintenance: &mut Maintenance) -> Result<(), DbError> {
        let wbl = self.logs().and_then(|logs| logs.wbl);
        let io = |error| DbError::Io { action: "truncate WBL", error };
        let Some(taken) = self.head.take_out_of_order(wbl.as_deref()).map_err(io)? else { return Ok(()) };
        let (first, last) = taken.range();
        let width = self.options.min_block_ms;
        let mut written = Vec::new();
        let mut min_time = range_start(first, width);
        while min_time <= last {
            let max_time = min_time.saturating_add(width);
            let ulid = self.new_ulid();
            let origin = Origin { out_of_order: true, ..Origin::default() };
            let floats = Floats::Pack(self.settings().float_encoding);
            let source = taken.source(min_time, max_time - 1);
            let range = (min_time, max_time);
            let block = self.write_block(&self.options.dir, &mut [Box::new(source)], range, run::of_head(ulid, origin), ulid, floats)?;
            written.extend(block.map(|meta| meta.ulid));
            min_time = max_time;
        }
        self.publish(&written)?;
        maintenance.settled = Some(Settled { place: taken.place(), segment: taken.segment() });
        maintenance.save_anew = true;
        let forgotten = self.head.forget_out_of_order(taken);
        self.settle(maintenance)?;
        forgotten.map_err(|error| DbError::Io { action: "truncate head chunks", error })
    }

    /// Writes series that get no samples any more to a block, once they are many, so that churn gives its memory back.
    fn compact_stale_series(&self, maintenance: &mut Maintenance) -> Result<(), DbError> {
        let Settings { stale_series_threshold, float_encoding, .. } = self.settings();
        if stale_series_threshold <= 0.0 {
            return Ok(());
        }
        let stats = self.head.stats();
        let share = stats.stale_series_count as f64 / stats.series_count.max(1) as f64;
        if stats.series_count == 0 || share < stale_series_threshold {
            return Ok(());
        }
        let now = self.options.clock.now_ms();
        if maintenance.head_compacted_at.is_some_and(|at| now + SOON_MS > at + self.options.min_block_ms) {
            return Ok(());
        }
        tracing::info!(component = "tsdb", "Starting stale series compaction");
        let Some((first, last)) = self.head.time_range() else { return Ok(()) };
        let stale = self.head.stale_series(last);
        let width = self.options.min_block_ms;
        let mut written = Vec::new();
        let mut min_time = range_start(first, width);
        while min_time <= last {
            let max_time = min_time.saturating_add(width);
            let source = self.head.source_of(&stale, min_time, max_time - 1);
            let ulid = self.new_ulid();
            let origin = Origin { stale_series: true, ..Origin::default() };
            let compaction = run::of_head(ulid, origin);
            let (range, floats) = ((min_time, max_time), Floats::Pack(float_encoding));
            let block = self.write_block(&self.options.dir, &mut [Box::new(source)], range, compaction, ulid, floats)?;
            written.extend(block.map(|meta| meta.ulid));
            min_time = max_time;
        }
        self.publish(&written)?;
        let removed = self.head.remove_stale(&stale, last);
        maintenance.remember_removed(self);
        self.log_removal(&removed)?;
        tracing::info!(component = "tsdb", num_series = removed.len(), "Ending stale series compaction");
        Ok(())
    }

    /// Tells the log that series are gone though it holds samples of theirs: their whole time is deleted.
    fn log_removal(&self, removed: &[SeriesHandle]) -> Result<(), DbError> {
        let Some(logs) = self.logs().filter(|_| !removed.is_empty()) else { return Ok(()) };
        let mut records = Records::new();
        records.add(|bytes| {
            let mut encoder = TombstonesEncoder::start(bytes);
            for handle in removed {
                encoder.push(handle.series_ref, i64::MIN, i64::MAX);
            }
        });
        logs.wal.log(&records).map_err(|error| DbError::Io { action: "write to WAL", error })
    }

    /// Merges blocks as long as there is a plan to, and no head that is more urgent.
    fn compact_blocks(&self) -> Result<(), DbError> {
        let ranges = plan::ranges(self.options.min_block_ms, self.options.max_block_ms);
        loop {
            if self.due().is_some() {
                tracing::warn!(component = "tsdb", "aborting block compactions to persist the head block");
                return Ok(());
            }
            let open = self.blocks.open();
            let mut candidates: Vec<_> = open.iter().map(facts).collect();
            plan::without_those_ahead(&mut candidates, self.head.min_valid_time());
            if let Some(path) = &self.options.delay_compact_file {
                plan::without_pending_uploads(&mut candidates, &uploaded(&*self.options.files, path));
            }
            let planned = plan::plan(&candidates, &ranges);
            let chosen: Vec<&Block> = planned.iter().filter_map(|ulid| open.iter().find(|block| block.meta().ulid == *ulid)).collect();
            if chosen.is_empty() {
                return Ok(());
            }
            self.merge(&chosen)?;
            self.reload()?;
        }
    }

    /// Replaces blocks by one. If nothing is left of them they are marked as deletable, which the next reload heeds.
    fn merge(&self, blocks: &[&Block]) -> Result<(), DbError> {
        let metas: Vec<_> = blocks.iter().map(|block| block.meta()).collect();
        let metas: Vec<&Meta> = metas.iter().map(|meta| &**meta).collect();
        let mut sources = Vec::with_capacity(blocks.len());
        for block in blocks {
            sources.push(Box::new(BlockSource::open(block)?) as Box<dyn SeriesSource>);
        }
        let range = (metas.iter().map(|meta| meta.min_time).min().unwrap_or(0), metas.iter().map(|meta| meta.max_time).max().unwrap_or(0));
        let floats = Floats::Repack(self.settings().float_encoding);
        let written = self.write_block(&self.options.dir, &mut sources, range, run::of_blocks(&metas), self.new_ulid(), floats);
        match written {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                self.before_block_goes()?;
                for block in blocks {
                    block.update_meta(|meta| meta.compaction.deletable = true)?;
                }
                Ok(())
            }
            Err(error @ (DbError::Compact(CompactError::Cancelled) | DbError::Block(BlockError::Io { .. }))) => Err(error),
            Err(error) => {
                // Trying again would fail again, and keep every other compaction waiting.
                for block in blocks {
                    block.update_meta(|meta| meta.compaction.failed = true)?;
                }
                Err(error)
            }
        }
    }

    /// Rewrites every block that has tombstones without what they delete.
    ///
    /// # Errors
    /// What could not be rewritten; the blocks before it have been.
    pub fn clean_tombstones(&self) -> Result<(), DbError> {
        let _one_at_a_time = self.maintaining();
        for block in self.blocks.open().iter().filter(|block| block.meta().stats.tombstones > 0) {
            let meta = block.meta();
            let mut source: [Box<dyn SeriesSource>; 1] = [Box::new(BlockSource::open(block)?)];
            let ulid = self.new_ulid();
            let floats = Floats::Keep(self.settings().float_encoding);
            let range = (meta.min_time, meta.max_time);
            if self.write_block(&self.options.dir, &mut source, range, run::of_block(ulid, &meta), ulid, floats)?.is_none() {
                self.before_block_goes()?;
                block.update_meta(|meta| meta.compaction.deletable = true)?;
            }
        }
        self.reload()
    }

    fn write_block(
        &self,
        folder: &Path,
        sources: &mut [Box<dyn SeriesSource + '_>],
        (min_time, max_time): (i64, i64),
        compaction: Compaction,
        ulid: Ulid,
        floats: Floats,
    ) -> Result<Option<Meta>, DbError> {
        let started = Instant::now();
        let target = Target { ulid, min_time, max_time, segment_bytes_max: self.options.chunk_segment_bytes_max, compaction, floats };
        let meta = run::run(&self.options.files, folder, sources, target, &self.stopping)?;
        self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        self.counters.compaction_ms.fetch_add(started.elapsed().as_millis() as u64, Ordering::Relaxed);
        if let Some(meta) = &meta {
            tracing::info!(component = "tsdb", mint = min_time, maxt = max_time, ulid = %meta.ulid, duration = ?started.elapsed(), "write block");
        }
        Ok(meta)
    }

    fn new_ulid(&self) -> Ulid {
        let now = u64::try_from(self.options.clock.now_ms()).unwrap_or(0);
        Ulid::from_parts(now, u128::from(self.options.random.next()) << 64 | u128::from(self.options.random.next()))
    }
}

/// Blocks that have been uploaded; none while the file cannot be read.
fn uploaded(files: &dyn world::Files, path: &Path) -> std::collections::HashSet<String> {
    let read = files.read(path).map_err(|error| error.to_string());
    read.and_then(|bytes| plan::parse_uploaded(&bytes).map_err(|error| error.to_string())).unwrap_or_else(|error| {
        tracing::warn!(component = "tsdb", file = %path.display(), err = error, "cannot read the file of uploaded blocks: level 1 blocks are not compacted");
        Default::default()
    })
}

/// The beginning of the range that a time lies in. Not as Prometheus computes it: its division truncates, and what lies before
/// 1970 and the first boundary after it would be in no range.
fn range_start(time: i64, width: i64) -> i64 {
    time.div_euclid(width).saturating_mul(width)
}

impl Db {
    /// Replaces the older part of the log by a checkpoint of what in it is not yet in a block, by Prometheus's rules.
    fn truncate_log(&self, maintenance: &mut Maintenance, min_time: i64) -> Result<(), DbError> {
        let Some(Logs { wal, .. }) = self.logs() else { return Ok(()) };
        if maintenance.log_truncated_to.is_some_and(|to| min_time <= to) {
            return Ok(());
        }
        maintenance.log_truncated_to = Some(min_time);
        maintenance.save_anew = true;
        // A server that gets little would else keep one segment for ever.
        wal.begin_segment().map_err(|error| DbError::Io { action: "next segment", error })?;
        let layout = segment::list(&*self.options.files, &self.options.dir.join("wal")).map_err(CheckpointError::List)?;
        let Some(last) = checkpoint::due(&layout) else { return Ok(()) };
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let alive = self.head.refs();
        let removed = &maintenance.removed;
        let late_min_time = self.head.late_time_range().map(|(first, _)| first);
        let oldest = late_min_time.map_or(min_time, |late| late.min(min_time));
        let needed = |nameless: &Nameless| nameless.is_needed(last, oldest);
        let keep = |series_ref| alive.binary_search(&series_ref).is_ok() || removed.get(&series_ref).is_some_and(needed);
        let request = checkpoint::Request { last, min_time, late_min_time };
        loop {
            let tell = |piece, records: &mut Records| maintenance.log_lacks && self.tell_of_series(&maintenance.aliases, piece, records);
            let error = match wal.checkpoint_telling(&request, keep, tell) {
                Ok(_) => break,
                Err(CheckpointError::Damaged(damage)) => match self.repair_segment(&damage) {
                    // Another segment may be damaged, too, but each only once.
                    Ok(()) => {
                        maintenance.log_lacks = true;
                        continue;
                    }
                    Err(error) => CheckpointError::Io { action: "repair", path: damage.path, error },
                },
                Err(error) => error,
            };
            self.counters.checkpoints_failed.fetch_add(1, Ordering::Relaxed);
            return Err(DbError::Checkpoint(error));
        }
        maintenance.log_lacks = false;
        maintenance.removed.retain(|_, nameless| needed(nameless));
        // What is left over is ignored beside the new checkpoint, and the next one takes it away.
        let folder = self.options.dir.join("wal");
        let deleted = wal.truncate_before(SegmentIndex(last.0 + 1)).map_err(|error| error.to_string());
        let deleted =
            deleted.and_then(|_| checkpoint::delete_before(&*self.options.files, &folder, last).map_err(|error| error.to_string()));
        if let Err(error) = deleted {
            self.counters.log_truncations_failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(component = "tsdb", err = error, "truncating segments failed");
        }
        self.counters.log_truncations.fetch_add(1, Ordering::Relaxed);
        tracing::info!(component = "tsdb", last = last.0, duration = ?started.elapsed(), "WAL checkpoint complete");
        Ok(())
    }
}

impl Db {
    /// Makes a segment of the log one that can be read to its end. A start that uses the saved head reads only the end of the log, so that
    /// damage further in front shows when a checkpoint is made of it.
    fn repair_segment(&self, damage: &Damage) -> std::io::Result<()> {
        tracing::error!(component = "tsdb", err = %damage, "the log is damaged: what can be read of the segment is kept");
        self.counters.log_repairs.fetch_add(1, Ordering::Relaxed);
        repair::repair(&*self.options.files, damage, &self.options.dir.join("pyrope").join("damaged"))
    }

    /// Adds records of a piece of the head's series and of what is deleted of them; whether there may be another piece. At the beginning
    /// of a checkpoint they give all samples behind them a name, whatever else of the log went lost.
    fn tell_of_series(&self, aliases: &HashMap<SeriesRef, Vec<SeriesRef>, FixedState>, piece: u32, records: &mut Records) -> bool {
        let (mut series, mut deletions) = (Vec::new(), Vec::new());
        let (mut to_series, mut to_deletions) = (SeriesEncoder::start(&mut series), TombstonesEncoder::start(&mut deletions));
        let more = self.head.export(piece, |exported| {
            let pairs: Vec<(&str, &str)> = exported.labels.iter().collect();
            let aliases = aliases.get(&exported.series_ref).into_iter().flatten();
            for series_ref in std::iter::once(&exported.series_ref).chain(aliases) {
                to_series.push(*series_ref, pairs.iter().copied());
            }
            for deleted in exported.deleted.into_iter().flat_map(|deleted| deleted.iter()) {
                to_deletions.push(exported.series_ref, deleted.start.0, deleted.end.0);
            }
        });
        records.add(|to| to.extend_from_slice(&series));
        records.add(|to| to.extend_from_slice(&deletions));
        more
    }
}

/// Between two rounds of moving full chunks out of memory.
pub(super) const MAPPING_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at whether something is due.
pub(super) const MAINTENANCE_PAUSE: Duration = Duration::from_secs(15);
/// The head is saved after so many milliseconds,
const SAVE_PAUSE_MS: i64 = 5 * 60 * 1000;
/// unless the log has grown by less than this since: a start reads that in no time.
const SAVE_LOG_BYTES: u64 = 8 << 20;
/// It is saved sooner when the log has grown by so much for each series, three times what is saved of it: then replaying the log takes
/// longer than reading what is saved, and saving costs a few hundredths of what taking the samples in did;
const SAVE_LOG_SERIES_BYTES: u64 = 450;
/// and by at least this.
const SAVE_SOON_BYTES: u64 = 64 << 20;
/// The longest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

impl Db {
    /// Moves the head's full chunks to files. What a file does not take stays in memory, and the next round tries again.
    pub(super) fn map_full_chunks(&self) {
        if let Err(error) = self.head.map_full_chunks() {
            tracing::error!(component = "tsdb", err = %error, "write head chunks");
        }
    }

    /// One round of the thread that maintains; after a failure it soon tries again, and less soon each time.
    pub(super) fn maintain_by_itself(&self) -> Duration {
        match self.maintain() {
            Ok(()) => {
                self.counters.failures_in_a_row.store(0, Ordering::Relaxed);
                MAINTENANCE_PAUSE
            }
            Err(DbError::Compact(CompactError::Cancelled)) => MAINTENANCE_PAUSE,
            Err(error) => {
                tracing::error!(component = "tsdb", err = %error, "compaction failed");
                let failures = self.counters.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
                Duration::from_secs(1 << failures.min(6)).min(BACKOFF_MAX)
            }
        }
    }
}
