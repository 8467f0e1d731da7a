//! Replaying what chunk files and logs hold into an empty head, and repairing what was damaged in them.
//!
//! # Invariants
//! - Replay only reads; [`repair`] comes after it, before the first write.
//! - Damage costs the rest of its segment; replay goes on with the next one.
//! - A second series record for known labels is an alias: its samples go to the series that is there.
//! - A log whose series records are gone for another reason than damage is refused: a segment or checkpoint is missing then,
//!   and going on would leave acknowledged samples without a name.

use super::{Db, OpenError};
use crate::chunk::{Sample, Value};
use crate::head::mapped::Found;
use crate::head::replay::{Replayer, is_ref};
use crate::wal::read::{Damage, SegmentReader};
use crate::wal::record::{self, Kind, Malformed};
use crate::wal::{SegmentIndex, checkpoint, repair as wal_repair, segment};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use model::{Exemplar, FloatHistogram, Histogram, Labels, Metadata, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Interval, SeriesRef, Slot};
use world::Files;

/// What a replay found.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub samples: u64,
    pub late_samples: u64,
    pub damages: Vec<Damage>,
    pub late_damages: Vec<Damage>,
    /// Records of kinds that nobody knows.
    pub unknown_records: u64,
    /// Refs that the log uses for series that have another one: it keeps their labels while it has their samples.
    pub aliases: Vec<SeriesRef>,
    pub time: Duration,
}

/// Reads chunk files and both logs into the head.
pub(super) fn replay(db: &Db) -> Result<Replayed, OpenError> {
    let started = Instant::now();
    let (files, dir) = (&*db.options.files, &db.options.dir);
    if let Some(max_time) = crate::compact::in_order_max_time(&db.blocks.facts()) {
        db.head.set_min_valid_time(max_time);
    }
    tracing::info!(component = "tsdb", "Replaying on-disk memory mappable chunks if any");
    let mut chunks: HashMap<SeriesRef, Vec<Found>, FixedState> = HashMap::default();
    if let Some(mapped) = db.head.mapped() {
        let path = dir.join("chunks_head");
        mapped.load(|found| chunks.entry(found.series_ref).or_default().push(found)).map_err(|error| OpenError::Io {
            action: "read",
            path,
            error,
        })?;
    }
    tracing::info!(component = "tsdb", duration = ?started.elapsed(), "On-disk memory mappable chunks replay completed");

    tracing::info!(component = "tsdb", "Replaying WAL, this may take a while");
    let wal_dir = dir.join("wal");
    let layout = segment::list(files, &wal_dir)?;
    let mut log = Vec::new();
    if let Some(checkpoint) = layout.checkpoints.last() {
        log.extend(checkpoint::read(files, checkpoint)?);
    }
    let from_checkpoint = log.len();
    log.extend(layout.after_checkpoint().iter().map(|segment| segment.path.clone()));
    let late = segment::list(files, &dir.join("wbl"))?;
    if let [first, .., last] | [first @ last] = layout.after_checkpoint() {
        db.progress.begin(first.index, last.index);
    }

    let mut state = State {
        db,
        replayer: db.head.replayer(),
        slots: HashMap::default(),
        chunks,
        replayed: Replayed::default(),
        unknown: HashMap::default(),
        late: false,
    };
    let damages = state.read(files, &log)?;
    let cost_series = damages.iter().any(|damage| log[from_checkpoint..].contains(&damage.path));
    state.replayed.damages = damages;
    if !state.unknown.is_empty() {
        let samples = state.unknown.values().sum();
        let begins_late = layout.segments.first().filter(|first| first.index.0 > 0 && layout.checkpoints.is_empty());
        let first =
            begins_late.map(|first| first.path.clone()).or_else(|| state.replayed.damages.first().map(|damage| damage.path.clone()));
        if let (false, Some(first)) = (cost_series, first) {
            return Err(OpenError::SeriesMissing { samples, series: state.unknown.len() as u64, first });
        }
        // Else the log is whole but for damage that has been reported; or a series was removed before its last samples were.
        tracing::warn!(component = "tsdb", samples, series = state.unknown.len(), "Unknown series references");
    }
    let paths: Vec<PathBuf> = late.segments.iter().map(|segment| segment.path.clone()).collect();
    state.late = true;
    state.replayed.late_damages = state.read(files, &paths)?;
    let State { replayer, mut replayed, chunks, .. } = state;
    drop(replayer);
    for series_ref in chunks.keys() {
        db.head.reserve_ref(*series_ref);
    }
    db.head.collect_garbage();
    replayed.time = started.elapsed();
    tracing::info!(
        component = "tsdb", segments = log.len() + paths.len(), samples = replayed.samples + replayed.late_samples,
        total_replay_duration = ?replayed.time, "WAL replay completed"
    );
    Ok(replayed)
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
    Ok(())
}

struct State<'d> {
    db: &'d Db,
    replayer: Replayer<'d>,
    slots: HashMap<SeriesRef, Slot, FixedState>,
    /// Chunks in files whose series has not been seen yet.
    chunks: HashMap<SeriesRef, Vec<Found>, FixedState>,
    replayed: Replayed,
    /// Samples by refs that no record names.
    unknown: HashMap<SeriesRef, u64, FixedState>,
    /// Whether the log of out-of-order samples is being read.
    late: bool,
}

impl State<'_> {
    /// Reads segments in order; gives the damages that it met.
    fn read(&mut self, files: &dyn Files, segments: &[PathBuf]) -> Result<Vec<Damage>, OpenError> {
        let mut damages = Vec::new();
        let mut reader = SegmentReader::new();
        for path in segments {
            let content = files.map(path).map_err(|error| OpenError::Io { action: "read", path: path.clone(), error })?;
            let read = reader.each(path, &content, |record| {
                if let Err(malformed) = self.record(record.bytes) {
                    // Its checksum fits, so this is no fault of the disk; the record alone is lost.
                    tracing::warn!(component = "tsdb", segment = %path.display(), offset = record.offset, err = %malformed, "skipped a WAL record");
                }
            });
            if let Err(damage) = read {
                tracing::warn!(component = "tsdb", err = %damage, "Encountered WAL read error, attempting repair");
                damages.push(damage);
            }
            if let Some(segment) = SegmentIndex::of(path).filter(|_| !self.late) {
                self.db.progress.read(segment);
            }
        }
        Ok(damages)
    }

    fn record(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match record::kind(bytes)? {
            Kind::Series => record::decode_series(bytes, |series_ref, pairs| self.series(series_ref, &labels(pairs))),
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
            Kind::Tombstones => record::decode_tombstones(bytes, |series_ref, min_time, max_time| {
                let Some(slot) = self.slots.get(&series_ref) else {
                    // It was given once.
                    self.db.head.reserve_ref(series_ref);
                    return;
                };
                match (min_time, max_time) {
                    (i64::MIN, i64::MAX) => self.replayer.forget(*slot),
                    _ => self.replayer.tombstone(*slot, Interval { start: Timestamp(min_time), end: Timestamp(max_time) }),
                }
            }),
            Kind::MmapMarkers => record::decode_mmap_markers(bytes, |series_ref, place| {
                if let Some(slot) = self.slots.get(&series_ref) {
                    self.replayer.marker(*slot, place);
                }
            }),
            Kind::Exemplars => record::decode_exemplars(bytes, |series_ref, time, value, pairs| {
                if let Some(slot) = self.slots.get(&series_ref) {
                    let exemplar = Exemplar { labels: labels(pairs), value, timestamp: Timestamp(time), has_timestamp: true };
                    self.replayer.exemplar(*slot, exemplar);
                }
            }),
            Kind::Metadata => record::decode_metadata(bytes, |series_ref, kind, unit, help| {
                if let Some(slot) = self.slots.get(&series_ref) {
                    self.replayer.metadata(*slot, &Metadata { kind, unit: unit.to_owned(), help: help.to_owned() });
                }
            }),
            Kind::Unknown(_) => {
                self.replayed.unknown_records += 1;
                Ok(())
            }
        }
    }

    fn series(&mut self, series_ref: SeriesRef, labels: &Labels) {
        if !is_ref(series_ref) {
            return;
        }
        self.replayer.release();
        let handle = self.db.head.replay_series(labels, series_ref);
        if handle.series_ref != series_ref {
            self.replayed.aliases.push(series_ref);
        }
        self.slots.insert(series_ref, handle.slot);
        for found in self.chunks.remove(&series_ref).unwrap_or_default() {
            self.replayer.mapped(handle.slot, found.chunk, found.out_of_order);
        }
    }

    #[inline]
    fn float(&mut self, series_ref: SeriesRef, start: i64, time: i64, value: f64) {
        if self.late {
            return self.sample(series_ref, Sample { start, time, value: Value::Float(value) });
        }
        match self.slots.get(&series_ref) {
            Some(slot) => self.replayed.samples += u64::from(self.replayer.float(*slot, start, time, value)),
            None => self.unknown(series_ref, time),
        }
    }

    fn sample(&mut self, series_ref: SeriesRef, sample: Sample) {
        match self.slots.get(&series_ref) {
            Some(slot) if self.late => self.replayed.late_samples += u64::from(self.replayer.late(*slot, sample)),
            Some(slot) => self.replayed.samples += u64::from(self.replayer.sample(*slot, &sample)),
            None => self.unknown(series_ref, sample.time),
        }
    }

    /// What is in blocks needs no name.
    fn unknown(&mut self, series_ref: SeriesRef, time: i64) {
        self.db.head.reserve_ref(series_ref);
        if time >= self.db.head.min_valid_time() {
            *self.unknown.entry(series_ref).or_default() += 1;
        }
    }
}

/// Bytes from a disk may be in any order.
fn labels(pairs: &[(&str, &str)]) -> Labels {
    let clean = pairs.windows(2).all(|two| two[0].0 < two[1].0) && pairs.iter().all(|(_, value)| !value.is_empty());
    if clean { Labels::from_sorted(pairs.iter().copied()) } else { Labels::from_pairs(pairs.iter().copied()) }
}
