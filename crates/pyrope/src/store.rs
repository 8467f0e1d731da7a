//! From flags and configuration to the options of the store.
//!
//! What stands in the configuration may change with each reload, and goes before the flags.

use crate::flags::Flags;
use config::Storage;
use model::Matcher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::Interval;
use tsdb::db::{FloatEncoding, Retention, Settings};
use tsdb::wal::{Compression, Durability};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// When neither flags nor configuration limit the retention.
const RETENTION_DEFAULT_MS: i64 = 15 * DAY_MS;
/// No block spans more than this by itself.
const BLOCK_MAX_MS: i64 = 31 * DAY_MS;

/// How the store is opened.
///
/// # Errors
/// When flags and configuration do not go together; the texts are Prometheus's.
pub fn options(flags: &Flags, storage: &Storage) -> Result<tsdb::Options, String> {
    let mut options = tsdb::Options::new(flags.text("storage.tsdb.path"));
    options.wal.segment_bytes_max = flags.size("storage.tsdb.wal-segment-size");
    if !(10 << 20..=256 << 20).contains(&options.wal.segment_bytes_max) {
        return Err("flag 'storage.tsdb.wal-segment-size' must be set between 10MB and 256MB".into());
    }
    options.chunk_segment_bytes_max = flags.size("storage.tsdb.max-block-chunk-segment-size");
    if options.chunk_segment_bytes_max < 1 << 20 {
        return Err("flag 'storage.tsdb.max-block-chunk-segment-size' must be set over 1MB".into());
    }
    options.wal.compression = match (flags.bool("storage.tsdb.wal-compression"), flags.text("storage.tsdb.wal-compression-type")) {
        (false, _) => Compression::None,
        (true, "zstd") => Compression::Zstd,
        (true, _) => Compression::Snappy,
    };
    match flags.duration("storage.tsdb.wal-fsync-interval").0.unsigned_abs() {
        0 => options.wal.durability = Durability::EachWrite,
        interval_ms => options.sync_interval = Duration::from_millis(interval_ms),
    }
    options.no_lockfile = flags.bool("storage.tsdb.no-lockfile");
    options.metadata_records = flags.feature("metadata-wal-records");
    options.start_timestamps = flags.feature("st-storage");
    options.histogram_start_timestamps = flags.feature("histograms-st-encoding");
    let delay = flags.text("storage.tsdb.delay-compact-file.path");
    options.delay_compact_file = (!delay.is_empty()).then(|| delay.into());
    options.settings = settings(flags, storage)?;
    options.min_block_ms = flags.duration("storage.tsdb.min-block-duration").0.max(1);
    let retention_ms = options.settings.retention.time_ms;
    options.max_block_ms = match flags.duration("storage.tsdb.max-block-duration").0 {
        0 if retention_ms > 0 => BLOCK_MAX_MS.min(retention_ms / 10),
        0 => BLOCK_MAX_MS,
        given => given,
    }
    .max(options.min_block_ms);
    Ok(options)
}

/// What may change while the store runs.
///
/// # Errors
/// As [`options`].
pub fn settings(flags: &Flags, storage: &Storage) -> Result<Settings, String> {
    let float_encoding = match storage.float_encoding.as_str() {
        "xor" => FloatEncoding::Xor,
        "xor2" => FloatEncoding::Xor2,
        _ if flags.feature("xor2-encoding") => FloatEncoding::Xor2,
        _ => FloatEncoding::Xor,
    };
    if flags.feature("st-storage") && float_encoding == FloatEncoding::Xor {
        return Err(
            "float chunk encoding \"xor\" is incompatible with start-timestamp storage; XOR chunks do not store start timestamps, use \"xor2\""
                .into(),
        );
    }
    let exemplars = if flags.feature("exemplar-storage") { storage.exemplars_max } else { 0 };
    Ok(Settings {
        out_of_order_window_ms: storage.out_of_order_time_window.0.max(0),
        retention: retention(flags, storage),
        exemplars_max: usize::try_from(exemplars).unwrap_or(0),
        float_encoding,
        stale_series_threshold: storage.stale_series_compaction_threshold,
    })
}

fn retention(flags: &Flags, storage: &Storage) -> Retention {
    if let Some(retention) = storage.retention {
        // A percentage takes the place of a size.
        let bytes = if retention.percentage > 0.0 { 0 } else { retention.size };
        return Retention { time_ms: retention.time.0, bytes, percent: retention.percentage };
    }
    let (time_ms, bytes) = (flags.duration("storage.tsdb.retention.time").0, flags.size("storage.tsdb.retention.size"));
    let time_ms = if time_ms == 0 && bytes == 0 { RETENTION_DEFAULT_MS } else { time_ms };
    Retention { time_ms, bytes, percent: 0.0 }
}

/// What is said at the start beside errors.
pub fn warnings(storage: &Storage) -> Option<&'static str> {
    let both = storage.retention.is_some_and(|retention| retention.percentage > 0.0 && retention.size > 0);
    both.then_some("storage.tsdb.retention.size is ignored, because storage.tsdb.retention.percentage is specified")
}

/// The administration of an open store.
pub struct Administration {
    db: Arc<tsdb::Db>,
    snapshots: PathBuf,
}

impl Administration {
    pub fn new(db: Arc<tsdb::Db>, flags: &Flags) -> Self {
        Self { db, snapshots: Path::new(flags.text("storage.tsdb.path")).join("snapshots") }
    }
}

impl web::Admin for Administration {
    fn delete(&self, range: Interval, matchers: &[Matcher]) -> Result<(), String> {
        self.db.delete(range, &[matchers.to_vec()]).map_err(|error| error.to_string())
    }

    fn clean_tombstones(&self) -> Result<(), String> {
        self.db.clean_tombstones().map_err(|error| error.to_string())
    }

    fn snapshot(&self, name: &Path, with_head: bool) -> Result<(), String> {
        self.db.snapshot(&self.snapshots.join(name), with_head).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::flags::{Parsed, parse};

    fn of(flags: &[&str], yaml: &str) -> Result<tsdb::Options, String> {
        let args = std::iter::once("pyrope").chain(flags.iter().copied()).map(str::to_owned);
        let Parsed::Run(flags) = parse(args).unwrap() else { panic!("the flags ask for help") };
        let config = config::parse(yaml, Path::new("/"), |_| None).unwrap();
        options(&flags, &config.storage)
    }

    #[test]
    fn defaults_are_prometheus_ones() {
        let options = of(&[], "").unwrap();
        assert_eq!((options.min_block_ms, options.max_block_ms), (7_200_000, 36 * 3_600_000));
        assert_eq!(options.chunk_segment_bytes_max, 512 << 20);
        assert_eq!(options.settings.retention, Retention { time_ms: 15 * DAY_MS, ..Retention::default() });
        assert_eq!(options.settings.exemplars_max, 0);
        assert_eq!(options.wal.compression, Compression::Snappy);
    }

    #[test]
    fn the_configuration_goes_before_the_flags() {
        let flags = ["--storage.tsdb.retention.time=100y", "--enable-feature=exemplar-storage,xor2-encoding"];
        let options = of(&flags, "").unwrap();
        assert_eq!((options.max_block_ms, options.settings.retention.time_ms), (BLOCK_MAX_MS, 36_500 * DAY_MS));
        assert_eq!((options.settings.exemplars_max, options.settings.float_encoding), (100_000, FloatEncoding::Xor2));
        let yaml = "storage: {tsdb: {retention: {size: 1GB, percentage: 20}, chunk_encoding: {floats: xor}, out_of_order_time_window: 30m}, exemplars: {max_exemplars: 5}}";
        let settings = of(&flags, yaml).unwrap().settings;
        assert_eq!(settings.retention, Retention { time_ms: 0, bytes: 0, percent: 20.0 });
        assert_eq!((settings.exemplars_max, settings.float_encoding, settings.out_of_order_window_ms), (5, FloatEncoding::Xor, 1_800_000));
    }

    #[test]
    fn a_size_alone_means_no_limit_of_time() {
        let settings = of(&["--storage.tsdb.retention.size=1GB"], "").unwrap().settings;
        assert_eq!(settings.retention, Retention { time_ms: 0, bytes: 1 << 30, percent: 0.0 });
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let refused = |flags: &[&str], yaml| of(flags, yaml).map(|_| ()).unwrap_err();
        assert!(refused(&["--enable-feature=st-storage"], "").contains("incompatible with start-timestamp storage"));
        assert!(of(&["--enable-feature=st-storage"], "storage: {tsdb: {chunk_encoding: {floats: xor2}}}").is_ok());
        assert!(refused(&["--storage.tsdb.wal-segment-size=1MB"], "").contains("between 10MB and 256MB"));
        assert!(refused(&["--storage.tsdb.max-block-chunk-segment-size=1KB"], "").contains("over 1MB"));
    }
}
