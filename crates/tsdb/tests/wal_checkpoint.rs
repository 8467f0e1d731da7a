//! Checkpoints, new segments on request and truncation: what stays, what goes, and what a power cut leaves.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::MetricType;
use model::histogram::{FloatHistogram, Histogram};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::SeriesRef;
use testkit::disk::{Disk, Fault, Tear};
use tsdb::wal::checkpoint::{self, CheckpointError, Count, Request};
use tsdb::wal::read::SegmentReader;
use tsdb::wal::record::{self, Kind, Layout};
use tsdb::wal::{Compression, Durability, Options, Records, SegmentIndex, Wal, page, segment};
use world::Files;

fn folder() -> &'static Path {
    Path::new("/data/wal")
}

fn options() -> Options {
    Options { segment_bytes_max: 2 * page::PAGE_LEN as u64, ..Options::default() }
}

fn wal(disk: &Disk, options: Options) -> Wal {
    Wal::create(Arc::new(disk.clone()), folder(), options).unwrap()
}

/// Everything of a log, each item as a text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    items: BTreeSet<String>,
    metadata: BTreeMap<u64, String>,
    segments: Vec<PathBuf>,
    compressions: BTreeSet<&'static str>,
    malformed: u32,
}

/// Reads the last checkpoint and the segments behind it.
fn read(files: &dyn Files) -> Found {
    let layout = segment::list(files, folder()).unwrap();
    let mut found = Found::default();
    if let Some(last) = layout.checkpoints.last() {
        found.segments.extend(checkpoint::read(files, last).unwrap());
    }
    found.segments.extend(layout.after_checkpoint().iter().map(|segment| segment.path.clone()));
    let mut reader = SegmentReader::new();
    for path in &found.segments {
        let content = files.read(path).unwrap();
        let read = reader.each(path, &content, |record| {
            let bytes = record.bytes;
            let kind = record::kind(bytes).unwrap();
            let mut item = |text: String| _ = found.items.insert(format!("{} {text}", kind.name()));
            found.compressions.insert(match record.compression {
                Compression::None => "none",
                Compression::Snappy => "snappy",
                Compression::Zstd => "zstd",
            });
            let decoded = match kind {
                Kind::Series => record::decode_series(bytes, |series, labels| item(format!("{series:?} {labels:?}"))),
                Kind::Samples => record::decode_samples(bytes, |series, time, value| item(format!("{series:?} {time} {value}"))),
                Kind::SamplesV2 => {
                    record::decode_samples_v2(bytes, |series, start, time, value| item(format!("{series:?} {start} {time} {value}")))
                }
                Kind::Tombstones => record::decode_tombstones(bytes, |series, first, last| item(format!("{series:?} {first} {last}"))),
                Kind::Exemplars => {
                    record::decode_exemplars(bytes, |series, time, value, labels| item(format!("{series:?} {time} {value} {labels:?}")))
                }
                Kind::Metadata => record::decode_metadata(bytes, |series, metric_type, unit, help| {
                    found.metadata.insert(series.0, format!("{metric_type:?} {unit} {help}"));
                }),
                Kind::FloatHistograms | Kind::CustomBucketsFloatHistograms | Kind::FloatHistogramsV2 => {
                    record::decode_histograms(bytes, |series, start, time, h: &mut FloatHistogram| {
                        item(format!("{series:?} {start} {time} {h:?}"))
                    })
                }
                Kind::Histograms | Kind::CustomBucketsHistograms | Kind::HistogramsV2 => {
                    record::decode_histograms(bytes, |series, start, time, h: &mut Histogram| {
                        item(format!("{series:?} {start} {time} {h:?}"))
                    })
                }
                Kind::MmapMarkers | Kind::Unknown(_) => Ok(()),
            };
            found.malformed += u32::from(decoded.is_err());
        });
        read.unwrap();
    }
    found
}

/// Logs one of everything for two series at a time, which is also in the values.
fn log_all(wal: &Wal, time: i64) {
    let mut records = Records::new();
    let [one, two] = [SeriesRef(1), SeriesRef(2)];
    let custom = Histogram { schema: -53, custom_values: [1.5].into(), sum: time as f64, ..Histogram::default() };
    let plain = Histogram { sum: time as f64, ..Histogram::default() };
    let float = FloatHistogram { sum: time as f64, ..FloatHistogram::default() };
    for series in [one, two] {
        records.add(|to| record::SeriesEncoder::start(to).push(series, [("time", time.to_string().as_str())].into_iter()));
        records.add(|to| record::SamplesEncoder::start(to).push(series, time, time as f64));
        records.add(|to| record::SamplesV2Encoder::start(to).push(series, time - 5, time, time as f64));
        records.add(|to| record::ExemplarsEncoder::start(to).push(series, time, 1.0, [("trace", "x")].into_iter()));
        records.add(|to| record::TombstonesEncoder::start(to).push(series, 0, time));
        records.add(|to| record::MetadataEncoder::start(to).push(series, MetricType::Gauge, "seconds", &time.to_string()));
        records.add(|to| record::HistogramsEncoder::start(to, Layout::Exponential).push(series, 0, time, &plain));
        records.add(|to| record::HistogramsEncoder::start(to, Layout::CustomBuckets).push(series, 0, time, &custom));
        records.add(|to| record::HistogramsEncoder::start(to, Layout::WithStarts).push(series, time - 1, time, &custom));
        records.add(|to| record::HistogramsEncoder::start(to, Layout::Exponential).push(series, 0, time, &float));
        records.add(|to| record::HistogramsEncoder::start(to, Layout::WithStarts).push(series, time - 1, time, &float));
    }
    wal.log(&records).unwrap();
}

#[test]
fn a_checkpoint_keeps_what_is_needed() {
    for compression in [Compression::None, Compression::Snappy, Compression::Zstd] {
        let disk = Disk::new();
        let wal = wal(&disk, Options { compression, ..options() });
        for time in [10, 20, 30, 40] {
            log_all(&wal, time);
            wal.begin_segment().unwrap();
        }
        let mut records = Records::new();
        records.add(|to| to.extend_from_slice(&[99, 1, 2]));
        records.add(|to| to.extend_from_slice(&[2, 1, 2]));
        wal.log(&records).unwrap();
        wal.begin_segment().unwrap();
        let before = read(&disk);
        let stats = wal.checkpoint(&Request { last: SegmentIndex(4), min_time: 20, late_min_time: None }, |series| series.0 == 1).unwrap();
        let after = read(&disk);
        // The first series' own items stay; samples and exemplars stay when they are young, whosever they are.
        let time_of = |item: &String| [10, 20, 30, 40].into_iter().find(|time| item.contains(&format!("{time}"))).unwrap();
        let want = |item: &&String| match item.split(' ').next().unwrap() {
            "series" => item.contains("SeriesRef(1)"),
            "tombstones" => item.contains("SeriesRef(1)") && time_of(item) >= 20,
            _ => item.contains(&format!(" {} ", time_of(item))) && time_of(item) >= 20,
        };
        let wanted: BTreeSet<String> = before.items.iter().filter(want).cloned().collect();
        assert_eq!(after.items, wanted);
        assert_eq!((before.malformed, after.malformed), (1, 0));
        assert_eq!(after.metadata, BTreeMap::from([(1, "Gauge seconds 40".to_owned())]));
        assert_eq!(after.segments, [folder().join("checkpoint.00000004/00000000"), folder().join("00000005")]);
        assert!(compression == Compression::None || after.compressions.len() == 2, "{:?}", after.compressions);
        assert_eq!(stats.series, Count { total: 8, dropped: 4 });
        assert_eq!(stats.samples, Count { total: 8 * 7, dropped: 2 * 7 });
        assert_eq!(stats.exemplars, Count { total: 8, dropped: 2 });
        assert_eq!(stats.tombstones, Count { total: 8, dropped: 5 });
        assert_eq!(stats.metadata, Count { total: 8, dropped: 7 });
        assert_eq!((stats.unknown_records, stats.malformed_records), (1, 1));
    }
}

#[test]
fn the_next_checkpoint_takes_over_from_the_one_before() {
    let disk = Disk::new();
    let wal = wal(&disk, options());
    for time in [10, 20, 30, 40, 50, 60] {
        log_all(&wal, time);
        wal.begin_segment().unwrap();
        let layout = segment::list(&disk, folder()).unwrap();
        let Some(last) = checkpoint::due(&layout) else { continue };
        let before = read(&disk);
        wal.checkpoint(&Request { last, min_time: 0, late_min_time: None }, |_| true).unwrap();
        let deleted = wal.truncate_before(SegmentIndex(last.0 + 1)).unwrap();
        assert!(deleted > 1);
        checkpoint::delete_before(&disk, folder(), last).unwrap();
        assert_eq!(checkpoint::list(&disk, folder()).unwrap().len(), 1);
        let after = read(&disk);
        assert_eq!((after.items, after.metadata), (before.items, before.metadata));
    }
    let layout = segment::list(&disk, folder()).unwrap();
    assert!(layout.checkpoints[0].last > SegmentIndex(2), "{layout:?}");
    assert_eq!(layout.segments, layout.after_checkpoint());
}

#[test]
fn two_thirds_are_due() {
    let layout = |segments: std::ops::Range<u32>| segment::Layout {
        segments: segments.map(|n| segment::Segment { index: SegmentIndex(n), path: SegmentIndex(n).path(folder()) }).collect(),
        checkpoints: Vec::new(),
        gaps: Vec::new(),
    };
    let due = |segments| checkpoint::due(&layout(segments)).map(|last| last.0);
    // Of segments 3 to 12 the last is being written, and of the nine others 3 + (11 - 3) * 2 / 3 is the last to go.
    assert_eq!(due(3..13), Some(8));
    // 0 + (1 - 0) * 2 / 3 is 0, the first itself; 0 + (2 - 0) * 2 / 3 is 1.
    assert_eq!([due(0..0), due(0..1), due(0..2), due(0..3), due(0..4)], [None, None, None, None, Some(1)]);
}

#[test]
fn what_is_not_there_or_still_written_is_not_replaced() {
    let disk = Disk::new();
    let wal = wal(&disk, options());
    log_all(&wal, 10);
    let request = |last| Request { last: SegmentIndex(last), min_time: 0, late_min_time: None };
    let refused = |last| matches!(wal.checkpoint(&request(last), |_| true), Err(CheckpointError::Range { .. }));
    assert!(refused(0) && refused(1));
    assert_eq!(wal.truncate_before(SegmentIndex(9)).unwrap(), 0);
    assert_eq!(wal.begin_segment().unwrap(), SegmentIndex(1));
    // An empty segment is as good as a new one.
    assert_eq!(wal.begin_segment().unwrap(), SegmentIndex(1));
    wal.checkpoint(&request(0), |_| true).unwrap();
    assert!(refused(0));
    assert_eq!(wal.truncate_before(SegmentIndex(9)).unwrap(), 1);
}

#[test]
fn a_damaged_segment_makes_no_checkpoint() {
    let disk = Disk::new();
    let wal = wal(&disk, options());
    log_all(&wal, 10);
    wal.begin_segment().unwrap();
    let path = SegmentIndex(0).path(folder());
    let mut bytes = disk.read(&path).unwrap();
    bytes[9] ^= 1;
    disk.put(&path, bytes);
    let error = wal.checkpoint(&Request { last: SegmentIndex(0), min_time: 0, late_min_time: None }, |_| true).unwrap_err();
    assert!(matches!(&error, CheckpointError::Damaged(damage) if damage.path == path), "{error}");
    assert!(disk.list(folder()).unwrap().iter().all(|path| !path.to_string_lossy().contains("checkpoint")));
}

#[test]
fn leftovers_are_removed() {
    let disk = Disk::new();
    disk.create_folder(&folder().join("checkpoint.00000007.tmp")).unwrap();
    disk.create_folder(&folder().join("checkpoint.00000003")).unwrap();
    assert_eq!(checkpoint::remove_unfinished(&disk, folder()).unwrap(), 1);
    assert_eq!(checkpoint::list(&disk, folder()).unwrap()[0].last, SegmentIndex(3));
    assert_eq!(checkpoint::remove_unfinished(&disk, Path::new("/none")).unwrap(), 0);
}

/// Whatever fails or wherever the power goes, the log holds what it held.
#[test]
fn faults_and_power_cuts_lose_nothing() {
    let prepared = || {
        let disk = Disk::new();
        let wal = wal(&disk, Options { durability: Durability::EachWrite, ..options() });
        for time in [10, 20, 30] {
            log_all(&wal, time);
            wal.begin_segment().unwrap();
        }
        (disk, wal)
    };
    let upkeep = |disk: &Disk, wal: &Wal| -> Result<(), String> {
        wal.checkpoint(&Request { last: SegmentIndex(1), min_time: 0, late_min_time: None }, |_| true)
            .map_err(|error| error.to_string())?;
        wal.truncate_before(SegmentIndex(2)).map_err(|error| error.to_string())?;
        wal.begin_segment().map_err(|error| error.to_string())?;
        checkpoint::delete_before(disk, folder(), SegmentIndex(1)).map_err(|error| error.to_string()).map(|_| ())
    };
    let (disk, wal) = prepared();
    let want = read(&disk);
    let first = disk.operations();
    upkeep(&disk, &wal).unwrap();
    let operations = disk.operations() - first;
    assert!(operations > 10, "{operations}");
    for at in first..first + operations {
        for fault in [Fault::Once(at, ErrorKind::Other), Fault::PowerOff(at)] {
            let (disk, wal) = prepared();
            // As the run before was compared at this point, so that the numbers of operations agree.
            read(&disk);
            disk.set_fault(Some(fault));
            let outcome = upkeep(&disk, &wal);
            disk.set_fault(None);
            let tears: &[Tear] =
                if matches!(fault, Fault::PowerOff(_)) { &[Tear::Lost, Tear::Half, Tear::Zeros, Tear::Kept] } else { &[Tear::Kept] };
            for tear in tears {
                let found = read(&disk.after_power_cut(*tear));
                assert_eq!((&found.items, &found.metadata), (&want.items, &want.metadata), "{fault:?} {tear:?} {outcome:?}");
            }
        }
    }
}

#[test]
fn size_counts_segments_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::create(Arc::new(world::RealFiles), dir.path(), options()).unwrap();
    for time in [10, 20] {
        log_all(&wal, time);
        wal.begin_segment().unwrap();
    }
    wal.checkpoint(&Request { last: SegmentIndex(0), min_time: 0, late_min_time: None }, |_| true).unwrap();
    let lens = ["00000000", "00000001", "00000002", "checkpoint.00000000/00000000"]
        .map(|name| std::fs::metadata(dir.path().join(name)).unwrap().len());
    assert!(lens.iter().filter(|len| **len > 0).count() == 3);
    assert_eq!(wal.size_bytes().unwrap(), lens.iter().sum::<u64>());
}
