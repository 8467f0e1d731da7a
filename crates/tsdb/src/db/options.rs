//! How a database is opened, and what of it may change while it runs.

use crate::wal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use world::{Clock, Files, Random};

/// How a database is opened.
#[derive(Clone)]
pub struct Options {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    /// Where it lies.
    pub files: Arc<dyn Files>,
    /// What time it is: for the times of compactions and the names of blocks.
    pub clock: Arc<dyn Clock>,
    /// For the names of blocks.
    pub random: Arc<dyn Random>,
    /// How the log is written.
    pub wal: wal::Options,
    /// How often the log is made durable.
    pub sync_interval: Duration,
    /// Do without `<data>/lock`.
    pub no_lockfile: bool,
    /// The range of time of the smallest blocks, in milliseconds: what the head is cut into, and no chunk crosses.
    pub min_block_ms: i64,
    /// The range of time of the largest blocks, in milliseconds.
    pub max_block_ms: i64,
    /// A segment of a block's chunks has at most this many bytes.
    pub chunk_segment_bytes_max: u64,
    /// Log metadata of series (`metadata-wal-records`).
    pub metadata_records: bool,
    /// Store start timestamps of floats, in logs and chunks (`st-storage`).
    pub start_timestamps: bool,
    /// Store start timestamps of histograms (`histograms-st-encoding`).
    pub histogram_start_timestamps: bool,
    /// A file of JSON that names blocks uploaded elsewhere: compaction leaves others alone (`--storage.tsdb.delay-compact-file.path`).
    pub delay_compact_file: Option<PathBuf>,
    /// Whether threads of the database's own compact, sync and delete; without them the owner calls [`super::Db::maintain`].
    pub background: bool,
    /// What may change while it runs.
    pub settings: Settings,
}

/// What may change while a database runs ([`super::Db::apply`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Samples may be this much older than the head's newest one, in milliseconds; 0 = a series' samples come in order.
    pub out_of_order_window_ms: i64,
    /// What is deleted for its age or size.
    pub retention: Retention,
    /// Exemplars kept in memory; 0 = none are taken.
    pub exemplars_max: usize,
    /// How floats are encoded in new chunks.
    pub float_encoding: FloatEncoding,
    /// Once this share of the head's series is stale they are written to a block early; 0 = never.
    pub stale_series_threshold: f64,
}

/// How floats are encoded in new chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatEncoding {
    /// As every Prometheus reads it.
    #[default]
    Xor,
    /// Denser; read by Prometheus from 3.14 on (docs/formats.md).
    Xor2,
}

/// What is deleted for its age or size; 0 = no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Retention {
    /// Blocks whose newest sample is this much older than the newest of all, in milliseconds.
    pub time_ms: i64,
    /// The oldest blocks, while blocks, logs and head chunks have more bytes together.
    pub bytes: u64,
    /// Likewise, as a percentage of the file system's bytes.
    pub percent: f64,
}

impl Options {
    /// Defaults over the machine's files.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            files: Arc::new(world::RealFiles),
            clock: Arc::new(world::SystemClock),
            random: Arc::new(world::SystemRandom),
            wal: wal::Options::default(),
            sync_interval: Duration::from_secs(1),
            no_lockfile: false,
            min_block_ms: crate::head::CHUNK_RANGE_MS,
            max_block_ms: crate::head::CHUNK_RANGE_MS,
            chunk_segment_bytes_max: 512 << 20,
            metadata_records: false,
            start_timestamps: false,
            histogram_start_timestamps: false,
            delay_compact_file: None,
            background: true,
            settings: Settings::default(),
        }
    }
}
