//! Checkpoints: what of old segments is still needed, in a log of its own, so that they can be deleted.
//!
//! `checkpoint.N` is a folder of segments beside the log's own and stands for the log's segments up to N. Writing one reads
//! the checkpoint before it and the segments since, record by record, and keeps series that the caller wants, samples,
//! histograms and exemplars that are young enough, deletions that still hide something, and of metadata the latest.
//!
//! # Invariants
//! - A folder named `checkpoint.N` is whole and durable: it was written and synced under another name.
//! - Memory does not depend on the log's length, apart from the metadata of series that are kept.
//! - A damaged segment makes no checkpoint: whoever wants one repairs it first, and has the checkpoint tell of the series that are known.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use model::MetricType;
use model::histogram::{FloatHistogram, Histogram};
use storage::SeriesRef;
use world::Files;

use super::read::{Damage, SegmentReader};
use super::record::{self, Kind, Layout, Malformed};
use super::segment::{self, Checkpoint, ListError, SegmentIndex};
use super::{Durability, Options, Records, Wal};

/// Records are written in groups of about this many bytes.
const GROUP_BYTES: usize = 1 << 20;
/// What an unfinished checkpoint's folder is called after its name.
const UNFINISHED: &str = ".tmp";

/// What a checkpoint is made of.
#[derive(Clone, Debug)]
pub struct Request {
    /// It stands for all segments up to this one.
    pub last: SegmentIndex,
    /// Samples, histograms and exemplars before this time are dropped, and deletions that end before it.
    pub min_time: i64,
    /// The oldest sample of the out-of-order log, if there is any: deletions that do not end before it are kept, too.
    pub late_min_time: Option<i64>,
}

/// What was read, and what of it was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series.
    pub series: Count,
    /// Float samples and histograms.
    pub samples: Count,
    /// Deleted ranges.
    pub tombstones: Count,
    /// Exemplars.
    pub exemplars: Count,
    /// Metadata of series.
    pub metadata: Count,
    /// Records of kinds that nobody knows; all are dropped.
    pub unknown_records: u64,
    /// Records whose checksum fits and whose content is not what their kind promises; what precedes the fault is kept.
    pub malformed_records: u64,
}

/// Items of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All that were read.
    pub total: u64,
    /// Those that are not in the checkpoint.
    pub dropped: u64,
}

impl Count {
    fn count(&mut self, kept: bool) -> bool {
        self.total += 1;
        self.dropped += u64::from(!kept);
        kept
    }
}

/// Why there is no new checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The segment is not there, or in a checkpoint already, or still written to.
    #[error("no checkpoint can stand for segment {}", last.0)]
    Range {
        /// The last segment that was to be replaced.
        last: SegmentIndex,
    },
    /// The log's folder, or the last checkpoint's, cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// A segment cannot be read to its end.
    #[error("read segments: {0}")]
    Damaged(#[from] Damage),
    /// A file operation failed.
    #[error("{action} {path}: {error}", path = path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Up to which segment Prometheus would replace the log now: the lower two thirds, without the segment being written. None
/// if that is one segment or less, which is not worth a checkpoint. To be asked before [`Wal::begin_segment`].
pub fn due(layout: &segment::Layout) -> Option<SegmentIndex> {
    let segments = layout.after_checkpoint();
    let last = segments.len().checked_sub(2)? * 2 / 3;
    segments.get(last).map(|segment| segment.index).filter(|_| last > 0)
}

/// Writes a checkpoint into `folder`, compressed and cut into segments as `options` say, and makes it durable. What it
/// replaces is left for [`Wal::truncate_before`] and [`delete_before`].
///
/// `keep` is asked for series, deletions and metadata, and must answer the same for a series all the time. `tell` is called with
/// 0, 1, … as long as it says that there is more, and adds records that are to come first.
///
/// # Errors
/// [`CheckpointError`]; what was written until then is removed.
pub fn write(
    files: &Arc<dyn Files>,
    folder: &Path,
    options: &Options,
    request: &Request,
    keep: impl FnMut(SeriesRef) -> bool,
    tell: impl FnMut(u32, &mut Records) -> bool,
) -> Result<Stats, CheckpointError> {
    let layout = segment::list(&**files, folder)?;
    let last = request.last;
    let replaced: Vec<_> = layout.after_checkpoint().iter().filter(|segment| segment.index <= last).collect();
    if replaced.last().is_none_or(|segment| segment.index != last) {
        return Err(CheckpointError::Range { last });
    }
    let mut sources = layout.checkpoints.last().map_or(Ok(Vec::new()), |previous| read(&**files, previous))?;
    sources.extend(replaced.iter().map(|segment| segment.path.clone()));

    remove_unfinished(&**files, folder)?;
    let done = folder.join(format!("{}{:08}", segment::CHECKPOINT_PREFIX, last.0));
    let unfinished = folder.join(format!("{}{:08}{UNFINISHED}", segment::CHECKPOINT_PREFIX, last.0));
    let written = fill(files, &unfinished, options, &sources, request, keep, tell).and_then(|stats| {
        files.rename(&unfinished, &done).map_err(failed("rename", &unfinished))?;
        files.sync_folder(folder).map_err(failed("sync", folder))?;
        Ok(stats)
    });
    if written.is_err() {
        // It only takes space; the next checkpoint and the next start try again.
        let _ = files.remove_folder(&unfinished);
    }
    written
}

/// The checkpoints in a log's folder, oldest first. Only the last one counts.
///
/// # Errors
/// [`ListError`].
pub fn list(files: &dyn Files, folder: &Path) -> Result<Vec<Checkpoint>, ListError> {
    segment::list(files, folder).map(|layout| layout.checkpoints)
}

/// A checkpoint's segments in order, to be read like the log's own and before them.
///
/// # Errors
/// [`ListError`].
pub fn read(files: &dyn Files, checkpoint: &Checkpoint) -> Result<Vec<PathBuf>, ListError> {
    layout(files, checkpoint).map(segment::Layout::into_paths)
}

/// Likewise with what is missing of it; one without any segment misses its first.
///
/// # Errors
/// [`ListError`].
pub fn layout(files: &dyn Files, checkpoint: &Checkpoint) -> Result<segment::Layout, ListError> {
    let mut layout = segment::list(files, &checkpoint.path)?;
    layout.gaps = segment::gaps(&checkpoint.path, &layout.segments, Some(SegmentIndex(0)));
    if layout.segments.is_empty() {
        layout.gaps.push(segment::Gap { folder: checkpoint.path.clone(), first: SegmentIndex(0), next: SegmentIndex(1) });
    }
    Ok(layout)
}

/// Deletes the checkpoints that stand for fewer segments than the one up to `last`; answers how many.
///
/// # Errors
/// [`CheckpointError`]; older ones may be deleted.
pub fn delete_before(files: &dyn Files, folder: &Path, last: SegmentIndex) -> Result<usize, CheckpointError> {
    let mut deleted = 0;
    for checkpoint in list(files, folder)?.iter().filter(|checkpoint| checkpoint.last < last) {
        files.remove_folder(&checkpoint.path).map_err(failed("remove", &checkpoint.path))?;
        deleted += 1;
    }
    if deleted > 0 {
        files.sync_folder(folder).map_err(failed("sync", folder))?;
    }
    Ok(deleted)
}

/// Removes checkpoints that were not finished; answers how many. To be done at the start.
///
/// # Errors
/// [`CheckpointError`].
pub fn remove_unfinished(files: &dyn Files, folder: &Path) -> Result<usize, CheckpointError> {
    let entries = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(failed("read directory", folder))?,
    };
    let unfinished = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(segment::CHECKPOINT_PREFIX) && name.ends_with(UNFINISHED))
    };
    let mut removed = 0;
    for path in entries.iter().filter(unfinished) {
        files.remove_folder(path).map_err(failed("remove", path))?;
        removed += 1;
    }
    Ok(removed)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + use<> {
    let path = path.to_owned();
    move |error| CheckpointError::Io { action, path, error }
}

/// Writes and syncs the checkpoint's folder.
fn fill(
    files: &Arc<dyn Files>,
    folder: &Path,
    options: &Options,
    sources: &[PathBuf],
    request: &Request,
    keep: impl FnMut(SeriesRef) -> bool,
    mut tell: impl FnMut(u32, &mut Records) -> bool,
) -> Result<Stats, CheckpointError> {
    let options = Options { durability: Durability::Interval, ..*options };
    let to = Wal::create(files.clone(), folder, options).map_err(failed("create", folder))?;
    let min_time = request.min_time;
    let deleted_from = request.late_min_time.map_or(min_time, |late| late.min(min_time));
    let mut filter = Filter { keep, min_time, deleted_from, kept: Records::new(), metadata: Latest::default(), stats: Stats::default() };
    let mut number = 0;
    while tell(number, &mut filter.kept) {
        number += 1;
        if filter.kept.len() >= GROUP_BYTES {
            flush(&to, &mut filter.kept, folder)?;
        }
    }
    let mut reader = SegmentReader::new();
    for path in sources {
        let segment = files.map(path).map_err(failed("open", path))?;
        reader.try_each(path, &segment, |record| {
            if filter.record(record.bytes).is_err() {
                filter.stats.malformed_records += 1;
            }
            if filter.kept.len() < GROUP_BYTES { Ok(()) } else { flush(&to, &mut filter.kept, folder) }
        })?;
    }
    let Filter { mut kept, metadata, stats, .. } = filter;
    flush(&to, &mut kept, folder)?;
    metadata.write(GROUP_BYTES, |record| {
        kept.add(|to| to.extend_from_slice(record));
        flush(&to, &mut kept, folder)
    })?;
    to.sync().map_err(failed("sync", folder))?;
    Ok(stats)
}

fn flush(to: &Wal, kept: &mut Records, folder: &Path) -> Result<(), CheckpointError> {
    let logged = to.log(kept);
    kept.clear();
    logged.map_err(failed("write", folder))
}

/// Copies of a record what is to be kept.
struct Filter<K> {
    keep: K,
    min_time: i64,
    /// Deletions that end before it are dropped.
    deleted_from: i64,
    kept: Records,
    metadata: Latest,
    stats: Stats,
}

impl<K: FnMut(SeriesRef) -> bool> Filter<K> {
    fn record(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let Self { keep, min_time, deleted_from, kept, metadata, stats } = self;
        let min_time = *min_time;
        match record::kind(bytes)? {
            Kind::Series => kept.add(|to| {
                let mut to = record::SeriesEncoder::start(to);
                record::decode_series(bytes, |series, labels| {
                    if stats.series.count(keep(series)) {
                        to.push(series, labels.iter().copied());
                    }
                })
            }),
            Kind::Samples => kept.add(|to| {
                let mut to = record::SamplesEncoder::start(to);
                record::decode_samples(bytes, |series, time, value| {
                    if stats.samples.count(time >= min_time) {
                        to.push(series, time, value);
                    }
                })
            }),
            Kind::SamplesV2 => kept.add(|to| {
                let mut to = record::SamplesV2Encoder::start(to);
                record::decode_samples_v2(bytes, |series, start, time, value| {
                    if stats.samples.count(time >= min_time) {
                        to.push(series, start, time, value);
                    }
                })
            }),
            Kind::Histograms => histograms::<Histogram>(bytes, Layout::Exponential, min_time, kept, stats),
            Kind::CustomBucketsHistograms => histograms::<Histogram>(bytes, Layout::CustomBuckets, min_time, kept, stats),
            Kind::HistogramsV2 => histograms::<Histogram>(bytes, Layout::WithStarts, min_time, kept, stats),
            Kind::FloatHistograms => histograms::<FloatHistogram>(bytes, Layout::Exponential, min_time, kept, stats),
            Kind::CustomBucketsFloatHistograms => histograms::<FloatHistogram>(bytes, Layout::CustomBuckets, min_time, kept, stats),
            Kind::FloatHistogramsV2 => histograms::<FloatHistogram>(bytes, Layout::WithStarts, min_time, kept, stats),
            Kind::Tombstones => kept.add(|to| {
                let mut to = record::TombstonesEncoder::start(to);
                // A series that was deleted as a whole is deleted from the least to the greatest time: kept as long as its ref.
                record::decode_tombstones(bytes, |series, first, last| {
                    if stats.tombstones.count(keep(series) && last >= *deleted_from) {
                        to.push(series, first, last);
                    }
                })
            }),
            Kind::Exemplars => kept.add(|to| {
                let mut to = record::ExemplarsEncoder::start(to);
                record::decode_exemplars(bytes, |series, time, value, labels| {
                    if stats.exemplars.count(time >= min_time) {
                        to.push(series, time, value, labels.iter().copied());
                    }
                })
            }),
            Kind::Metadata => record::decode_metadata(bytes, |series, metric_type, unit, help| {
                let new = keep(series) && metadata.set(series, metric_type, unit, help);
                stats.metadata.count(new);
            }),
            // Markers belong to the out-of-order log, which has no checkpoints.
            Kind::MmapMarkers | Kind::Unknown(_) => {
                stats.unknown_records += 1;
                Ok(())
            }
        }
    }
}

/// Histograms stay in the layout they came in, but those of custom buckets leave the one of exponential buckets, in which
/// only early versions wrote them.
fn histograms<H: record::Buckets>(
    bytes: &[u8],
    layout: Layout,
    min_time: i64,
    kept: &mut Records,
    stats: &mut Stats,
) -> Result<(), Malformed> {
    let mut strays = Vec::new();
    let decoded = kept.add(|to| {
        let mut to = record::HistogramsEncoder::start(to, layout);
        let mut stray = record::HistogramsEncoder::start(&mut strays, Layout::CustomBuckets);
        record::decode_histograms(bytes, |series, start, time, histogram: &mut H| {
            if stats.samples.count(time >= min_time) {
                let to = if layout == Layout::Exponential && histogram.has_custom_buckets() { &mut stray } else { &mut to };
                to.push(series, start, time, histogram);
            }
        })
    });
    kept.add(|to| to.extend_from_slice(&strays));
    decoded
}

/// The latest metadata of each series. Series share their texts: those of a family have the same.
#[derive(Default)]
struct Latest {
    of: HashMap<SeriesRef, (MetricType, Arc<str>, Arc<str>), FixedState>,
    texts: hashbrown::HashSet<Arc<str>, FixedState>,
}

impl Latest {
    /// Whether the series had none.
    fn set(&mut self, series: SeriesRef, metric_type: MetricType, unit: &str, help: &str) -> bool {
        let (unit, help) = (self.text(unit), self.text(help));
        self.of.insert(series, (metric_type, unit, help)).is_none()
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.get_or_insert_with(text, |text| text.into()).clone()
    }

    /// In order of refs, in records of about `len` bytes.
    fn write(self, len: usize, mut put: impl FnMut(&[u8]) -> Result<(), CheckpointError>) -> Result<(), CheckpointError> {
        let mut entries: Vec<_> = self.of.into_iter().collect();
        entries.sort_unstable_by_key(|(series, _)| *series);
        let mut entries = entries.into_iter().peekable();
        let mut record = Vec::new();
        while entries.peek().is_some() {
            record.clear();
            let mut to = record::MetadataEncoder::start(&mut record);
            while to.len() < len
                && let Some((series, (metric_type, unit, help))) = entries.next()
            {
                to.push(series, metric_type, &unit, &help);
            }
            put(&record)?;
        }
        Ok(())
    }
}
