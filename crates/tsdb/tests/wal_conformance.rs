//! Logs that Prometheus wrote: each record is read, counted as others counted it, and encoded again to the same bytes.
//!
//! The data is at `PYROPE_CONFORMANCE`, else beside the workspace; without it the tests say so and pass.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::histogram::{FloatHistogram, Histogram};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tsdb::wal::Compression;
use tsdb::wal::read::SegmentReader;
use tsdb::wal::record::{self, Kind, Layout};
use tsdb::wal::segment;
use world::RealFiles;

fn data(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("PYROPE_CONFORMANCE").map(PathBuf::from);
    let candidates = named.into_iter().chain([root.join("../shared/conformance"), root.join("shared/conformance")]);
    let found = candidates.map(|folder| folder.join("tsdb").join(name)).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("skipped: no conformance data for {name}");
    }
    found
}

/// The record as our encoders write what our decoders found in it.
fn again(bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    let decoded = match record::kind(bytes).unwrap() {
        Kind::Series => {
            let mut to = record::SeriesEncoder::start(&mut to);
            record::decode_series(bytes, |series, labels| to.push(series, labels.iter().copied()))
        }
        Kind::Samples => {
            let mut to = record::SamplesEncoder::start(&mut to);
            record::decode_samples(bytes, |series, time, value| to.push(series, time, value))
        }
        Kind::SamplesV2 => {
            let mut to = record::SamplesV2Encoder::start(&mut to);
            record::decode_samples_v2(bytes, |series, start, time, value| to.push(series, start, time, value))
        }
        Kind::Tombstones => {
            let mut to = record::TombstonesEncoder::start(&mut to);
            record::decode_tombstones(bytes, |series, first, last| to.push(series, first, last))
        }
        Kind::Exemplars => {
            let mut to = record::ExemplarsEncoder::start(&mut to);
            record::decode_exemplars(bytes, |series, time, value, labels| to.push(series, time, value, labels.iter().copied()))
        }
        Kind::MmapMarkers => {
            let mut to = record::MmapMarkersEncoder::start(&mut to);
            record::decode_mmap_markers(bytes, |series, chunk| to.push(series, chunk))
        }
        Kind::Metadata => {
            let mut to = record::MetadataEncoder::start(&mut to);
            record::decode_metadata(bytes, |series, metric_type, unit, help| to.push(series, metric_type, unit, help))
        }
        Kind::Histograms => histograms::<Histogram>(bytes, Layout::Exponential, &mut to),
        Kind::CustomBucketsHistograms => histograms::<Histogram>(bytes, Layout::CustomBuckets, &mut to),
        Kind::HistogramsV2 => histograms::<Histogram>(bytes, Layout::WithStarts, &mut to),
        Kind::FloatHistograms => histograms::<FloatHistogram>(bytes, Layout::Exponential, &mut to),
        Kind::CustomBucketsFloatHistograms => histograms::<FloatHistogram>(bytes, Layout::CustomBuckets, &mut to),
        Kind::FloatHistogramsV2 => histograms::<FloatHistogram>(bytes, Layout::WithStarts, &mut to),
        Kind::Unknown(byte) => panic!("record of kind {byte}"),
    };
    decoded.unwrap();
    to
}

fn histograms<H: record::Buckets>(bytes: &[u8], layout: Layout, to: &mut Vec<u8>) -> Result<(), record::Malformed> {
    let mut to = record::HistogramsEncoder::start(to, layout);
    record::decode_histograms(bytes, |series, start, time, histogram: &mut H| to.push(series, start, time, histogram))
}

type Counts = BTreeMap<String, u64>;

/// Records by kind and by compression of all segments in a folder.
fn read(folder: &Path) -> (Counts, Counts) {
    let (mut kinds, mut compressions) = (Counts::new(), Counts::new());
    for segment in segment::list(&RealFiles, folder).unwrap().segments {
        let content = std::fs::read(&segment.path).unwrap();
        let visit = |record: tsdb::wal::read::Record<'_>| {
            let kind = record::kind(record.bytes).unwrap();
            assert!(again(record.bytes) == record.bytes, "{kind:?} at {} of {}", record.offset, segment.path.display());
            *kinds.entry(kind.name().to_owned()).or_default() += 1;
            let compression = match record.compression {
                Compression::None => "none",
                Compression::Snappy => "snappy",
                Compression::Zstd => "zstd",
            };
            *compressions.entry(compression.to_owned()).or_default() += 1;
        };
        SegmentReader::new().each(&segment.path, &content, visit).unwrap();
    }
    (kinds, compressions)
}

fn counts(of: &serde_json::Value) -> Counts {
    of.as_object().unwrap().iter().map(|(name, count)| (name.replace("mmap_markers", "mmapmarkers"), count.as_u64().unwrap())).collect()
}

#[test]
fn every_record_is_counted_and_written_again() {
    for name in ["data_c", "data_e"] {
        let Some(folder) = data(name) else { continue };
        let contents: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("contents.json")).unwrap()).unwrap();
        for (log, want) in contents["logs"].as_object().unwrap().iter().filter(|(log, _)| log.starts_with('w')) {
            let (kinds, compressions) = read(&folder.join("data").join(log));
            assert_eq!(kinds, counts(&want["records"]), "{name}/{log}");
            assert_eq!(compressions, counts(&want["compression"]), "{name}/{log}");
        }
    }
}

/// Written by 2.42, of whose log there are no counts.
#[test]
fn an_old_log_is_written_again() {
    let Some(folder) = data("data_a") else { return };
    for log in ["wal", "wbl"] {
        let (kinds, compressions) = read(&folder.join("data").join(log));
        assert!(kinds.contains_key("samples") && compressions.contains_key("snappy"), "{log}: {kinds:?} {compressions:?}");
    }
}
