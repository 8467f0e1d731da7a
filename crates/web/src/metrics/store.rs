//! The store's figures.

use super::Page;
use crate::app::App;

pub(super) fn write(page: &mut Page, app: &App) {
    let stats = app.options.db.stats();
    let head = stats.head;
    let settings = app.options.db.settings();
    // Before the first sample Prometheus shows the ends of time; the Thanos sidecar knows them.
    let (min, max) = (head.min_time.unwrap_or(i64::MAX), head.max_time.unwrap_or(i64::MIN));
    let name = "prometheus_tsdb_head_samples_appended_total";
    page.family(name, "counter", "Total number of appended samples.");
    page.sample(name, &[("type", "float")], head.samples_appended as f64);
    page.sample(name, &[("type", "histogram")], head.histograms_appended as f64);
    let name = "prometheus_tsdb_head_out_of_order_samples_appended_total";
    page.family(name, "counter", "Total number of appended out of order samples.");
    page.sample(name, &[("type", "float")], head.out_of_order_appended as f64);
    // Refusals are not told apart by the kind of the sample.
    for (name, help, value) in [
        (
            "prometheus_tsdb_out_of_order_samples_total",
            "Total number of out of order samples ingestion failed attempts due to out of order being disabled.",
            head.out_of_order,
        ),
        (
            "prometheus_tsdb_out_of_bound_samples_total",
            "Total number of out of bound samples ingestion failed attempts with out of order support disabled.",
            head.out_of_bounds,
        ),
        (
            "prometheus_tsdb_too_old_samples_total",
            "Total number of out of order samples ingestion failed attempts with out of support enabled, but sample outside of time window.",
            head.too_old,
        ),
    ] {
        page.family(name, "counter", help);
        page.sample(name, &[("type", "float")], value as f64);
    }
    for (name, help, value) in [
        ("pyrope_tsdb_duplicate_samples_total", "Samples refused because the series has another value at their time.", head.duplicates),
        ("prometheus_tsdb_head_series_created_total", "Total number of series created in the head", head.series_created),
        ("prometheus_tsdb_head_series_removed_total", "Total number of series removed in the head", head.series_removed),
        ("prometheus_tsdb_head_chunks_created_total", "Total number of chunks created in the head", head.chunks_created),
        ("prometheus_tsdb_head_chunks_removed_total", "Total number of chunks removed in the head", head.chunks_removed),
        ("prometheus_tsdb_head_truncations_total", "Total number of head truncations attempted.", stats.head_truncations),
        ("prometheus_tsdb_head_truncations_failed_total", "Total number of head truncations that failed.", stats.head_truncations_failed),
        ("prometheus_tsdb_checkpoint_creations_total", "Total number of checkpoint creations attempted.", stats.checkpoints),
        (
            "prometheus_tsdb_checkpoint_creations_failed_total",
            "Total number of checkpoint creations that failed.",
            stats.checkpoints_failed,
        ),
        ("prometheus_tsdb_wal_truncations_total", "Total number of write log truncations attempted.", stats.wal_truncations),
        (
            "prometheus_tsdb_wal_truncations_failed_total",
            "Total number of write log truncations that failed.",
            stats.wal_truncations_failed,
        ),
        ("prometheus_tsdb_wal_writes_failed_total", "Total number of write log writes that failed.", stats.wal_writes_failed),
        ("pyrope_tsdb_wal_syncs_failed_total", "Syncs of the log that failed.", stats.wal_syncs_failed),
        ("prometheus_tsdb_wal_corruptions_total", "Total number of WAL corruptions.", stats.wal_corruptions),
        ("pyrope_tsdb_wal_unknown_records_total", "Records of unknown kinds that the replay passed over.", stats.wal_unknown_records),
        ("prometheus_tsdb_compactions_total", "Total number of compactions that were executed for the partition.", stats.compactions),
        (
            "prometheus_tsdb_compactions_failed_total",
            "Total number of compactions that failed for the partition.",
            stats.compactions_failed,
        ),
        ("prometheus_tsdb_reloads_total", "Number of times the database reloaded block data from disk.", stats.reloads),
        (
            "prometheus_tsdb_reloads_failures_total",
            "Number of times the database failed to reloadBlocks block data from disk.",
            stats.reloads_failed,
        ),
        (
            "prometheus_tsdb_time_retentions_total",
            "The number of times that blocks were deleted because the maximum time limit was exceeded.",
            stats.time_retentions,
        ),
        (
            "prometheus_tsdb_size_retentions_total",
            "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
            stats.size_retentions,
        ),
        ("pyrope_tsdb_damaged_blocks_total", "Blocks that were set aside because they cannot be read.", stats.damaged_blocks),
    ] {
        page.counter(name, help, value);
    }
    let lowest = stats.lowest_time.unwrap_or(min);
    for (name, help, value) in [
        ("prometheus_tsdb_head_series", "Total number of series in the head block.", head.series_count as f64),
        ("prometheus_tsdb_head_stale_series", "Total number of stale series in the head block.", head.stale_series_count as f64),
        ("prometheus_tsdb_head_chunks", "Total number of chunks in the head block.", head.chunk_count as f64),
        ("prometheus_tsdb_head_min_time", "Minimum time bound of the head block. The unit is decided by the library consumer.", min as f64),
        ("prometheus_tsdb_head_max_time", "Maximum timestamp of the head block. The unit is decided by the library consumer.", max as f64),
        ("prometheus_tsdb_head_min_time_seconds", "Minimum time bound of the head block.", (min / 1000) as f64),
        ("prometheus_tsdb_head_max_time_seconds", "Maximum timestamp of the head block.", (max / 1000) as f64),
        (
            "prometheus_tsdb_lowest_timestamp",
            "Lowest timestamp value stored in the database. The unit is decided by the library consumer.",
            lowest as f64,
        ),
        ("prometheus_tsdb_lowest_timestamp_seconds", "Lowest timestamp value stored in the database.", (lowest / 1000) as f64),
        ("pyrope_tsdb_head_symbols", "Distinct label names and values in the head.", head.symbol_count as f64),
        ("pyrope_tsdb_head_label_pairs", "Distinct label pairs in the head.", head.label_pair_count as f64),
        ("prometheus_tsdb_wal_segment_current", "Write log segment index that TSDB is currently writing to.", f64::from(stats.wal_segment)),
        ("prometheus_tsdb_wal_storage_size_bytes", "Size of the write log directory.", stats.wal_bytes as f64),
        ("prometheus_tsdb_data_replay_duration_seconds", "Time taken to replay the data on disk.", stats.replay.as_secs_f64()),
        ("prometheus_tsdb_blocks_loaded", "Number of currently loaded data blocks", stats.blocks as f64),
        (
            "prometheus_tsdb_storage_blocks_bytes",
            "The number of bytes that are currently used for local storage by all blocks.",
            stats.block_bytes as f64,
        ),
        ("pyrope_tsdb_compaction_seconds", "Time taken by all compactions together.", stats.compaction.as_secs_f64()),
        (
            "prometheus_tsdb_retention_limit_bytes",
            "Max number of bytes to be retained in the tsdb blocks, configured 0 means disabled",
            settings.retention.bytes as f64,
        ),
        (
            "prometheus_tsdb_retention_limit_percentage",
            "Max percentage of total storage space to be retained in the tsdb blocks, configured 0 means disabled",
            settings.retention.percent,
        ),
        ("prometheus_tsdb_retention_limit_seconds", "How long to retain samples in storage.", settings.retention.time_ms as f64 / 1000.0),
        (
            "prometheus_tsdb_exemplar_max_exemplars",
            "Total number of exemplars the exemplar storage can store, resizeable.",
            settings.exemplars_max as f64,
        ),
    ] {
        page.gauge(name, help, value);
    }
}
