//! Replaying the log into an empty head, and repairing what was damaged in it.
//!
//! # Invariants
//! - Replay only reads.
//! - Damage costs the rest of its segment; replay goes on with the next one.
//! - A second series record for known labels is an alias: its samples go to the series that is there.

use super::OpenError;
use crate::head::Head;
use crate::wal::read::{Damage, SegmentReader};
use crate::wal::record::{self, Kind, Malformed};
use crate::wal::{repair as wal_repair, segment};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use model::Labels;
use std::io;
use std::path::{Path, PathBuf};
use storage::{SeriesRef, Slot};
use world::Files;

/// What a replay found.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub segments: usize,
    pub samples: u64,
    pub damages: Vec<Damage>,
}

/// Reads all segments into the head.
pub(super) fn replay(files: &dyn Files, dir: &Path, wal_dir: &Path, head: &Head) -> Result<Replayed, OpenError> {
    let layout = segment::list(files, wal_dir)?;
    let mut replayed = Replayed { segments: layout.segments.len(), ..Replayed::default() };
    let mut state = State { head, slots: HashMap::default(), samples: 0, unread: None, unknown_samples: 0, unknown: HashSet::default() };
    let mut reader = SegmentReader::new();
    for segment in &layout.segments {
        let content = files.read(&segment.path).map_err(|error| OpenError::Io { action: "read", path: segment.path.clone(), error })?;
        let read = reader.each(&segment.path, &content, |record| {
            if let Err(malformed) = state.record(record.bytes) {
                // Its checksum fits, so this is no fault of the disk; the record alone is lost.
                tracing::warn!(component = "tsdb", segment = %segment.path.display(), offset = record.offset, err = %malformed, "skipped a WAL record");
            }
        });
        if let Some(what) = state.unread {
            return Err(OpenError::Foreign {
                dir: dir.to_owned(),
                what: format!("{what} records in the log ({})", segment.path.display()),
            });
        }
        match read {
            Ok(()) => {}
            Err(damage) => {
                tracing::warn!(component = "tsdb", err = %damage, "Encountered WAL read error, attempting repair");
                replayed.damages.push(damage);
            }
        }
    }
    replayed.samples = state.samples;
    if state.unknown_samples > 0 {
        // A log that begins at 0 is whole: then only a damaged or torn place can have cost the series records.
        if let Some(first) = layout.segments.first().filter(|first| first.index.0 > 0) {
            return Err(OpenError::SeriesMissing {
                samples: state.unknown_samples,
                series: state.unknown.len() as u64,
                first: first.path.clone(),
            });
        }
        tracing::warn!(component = "tsdb", samples = state.unknown_samples, series = state.unknown.len(), "Unknown series references");
    }
    Ok(replayed)
}

/// Makes the log one that Prometheus reads to its end, and takes away what would make it give our refs to other series.
pub(super) fn repair(files: &dyn Files, dir: &Path, wal_dir: &Path, replayed: &Replayed) -> Result<(), OpenError> {
    for damage in &replayed.damages {
        wal_repair::repair(files, damage, &dir.join("pyrope").join("damaged")).map_err(|error| OpenError::Io {
            action: "repair",
            path: damage.path.clone(),
            error,
        })?;
    }
    let state: PathBuf = wal_dir.join("series_state.json");
    match files.remove(&state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::Io { action: "remove", path: state, error }),
        _ => Ok(()),
    }
}

struct State<'h> {
    head: &'h Head,
    slots: HashMap<SeriesRef, Slot, FixedState>,
    samples: u64,
    /// A kind of record that we do not read.
    unread: Option<&'static str>,
    unknown_samples: u64,
    unknown: HashSet<SeriesRef, FixedState>,
}

impl State<'_> {
    fn record(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match record::kind(bytes)? {
            Kind::Series => record::decode_series(bytes, |series_ref, pairs| {
                let handle = self.head.replay_series(&labels(pairs), series_ref);
                self.slots.insert(series_ref, handle.slot);
            }),
            Kind::Samples => record::decode_samples(bytes, |series_ref, time, value| match self.slots.get(&series_ref) {
                Some(slot) => self.samples += u64::from(self.head.replayer().float(*slot, 0, time, value)),
                None => {
                    self.unknown_samples += 1;
                    self.unknown.insert(series_ref);
                }
            }),
            // Neither exemplars nor metadata are served from the head, and markers belong to another log.
            Kind::Exemplars | Kind::Metadata | Kind::MmapMarkers => Ok(()),
            Kind::Unknown(byte) => Err(Malformed::Kind(byte)),
            unread => {
                self.unread = Some(unread.name());
                Ok(())
            }
        }
    }
}

/// Bytes from a disk may be in any order.
fn labels(pairs: &[(&str, &str)]) -> Labels {
    let clean = pairs.windows(2).all(|two| two[0].0 < two[1].0) && pairs.iter().all(|(_, value)| !value.is_empty());
    if clean { Labels::from_sorted(pairs.iter().copied()) } else { Labels::from_pairs(pairs.iter().copied()) }
}
