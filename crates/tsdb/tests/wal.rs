//! The log against disks that fail, and against Prometheus's own reader.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::SeriesRef;
use testkit::disk::{Disk, Fault, Tear};
use tsdb::wal::read::{Damage, SegmentReader};
use tsdb::wal::record::{SamplesEncoder, SeriesEncoder};
use tsdb::wal::repair::repair;
use tsdb::wal::{Compression, Durability, Options, Records, SegmentIndex, Wal, page, segment};
use world::{Files, RealFiles};

fn folder() -> &'static Path {
    Path::new("/data/wal")
}

/// A record that says its number, of a length that varies from a few bytes to some pages.
fn numbered(number: u32) -> Records {
    let len = match number % 7 {
        0 => 3 * page::PAGE_LEN,
        1 => 0,
        odd => odd as usize * 50,
    };
    let mut records = Records::new();
    records.add(|to| {
        to.extend_from_slice(&number.to_be_bytes());
        // Hardly compressible, so that lengths stay what they are.
        let mut random = number + 1;
        to.extend((0..len).map(|_| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random as u8
        }));
    });
    records
}

fn number_of(record: &[u8]) -> u32 {
    u32::from_be_bytes(*record.first_chunk().unwrap())
}

/// The numbers of all records that can be read, and the damage of each segment.
fn read_all(files: &dyn Files, folder: &Path) -> (Vec<u32>, Vec<Damage>) {
    let (mut numbers, mut damages) = (Vec::new(), Vec::new());
    let mut reader = SegmentReader::new();
    for segment in segment::list(files, folder).unwrap().segments {
        let content = files.read(&segment.path).unwrap();
        let read = reader.each(&segment.path, &content, |record| {
            let number = number_of(record.bytes);
            assert_eq!(record.bytes, numbered(number).iter().next().unwrap());
            numbers.push(number);
        });
        damages.extend(read.err());
    }
    (numbers, damages)
}

fn options(compression: Compression, durability: Durability) -> Options {
    Options { segment_bytes_max: 8 * page::PAGE_LEN as u64, compression, durability, ..Options::default() }
}

#[test]
fn records_come_back_from_many_segments() {
    for compression in [Compression::None, Compression::Snappy, Compression::Zstd] {
        let disk = Disk::new();
        let wal = Wal::create(Arc::new(disk.clone()), folder(), options(compression, Durability::Interval)).unwrap();
        for number in 0..50 {
            wal.log(&numbered(number)).unwrap();
        }
        wal.sync().unwrap();
        let (numbers, damages) = read_all(&disk, folder());
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        assert!(damages.is_empty(), "{damages:?}");
        let segments = segment::list(&disk, folder()).unwrap().segments;
        assert!(segments.len() > 2, "{segments:?}");
        assert_eq!(segments.last().unwrap().index, wal.segment());
        for sealed in &segments[..segments.len() - 1] {
            assert_eq!(disk.read(&sealed.path).unwrap().len() % page::PAGE_LEN, 0, "a sealed segment ends with its page");
        }
        // What was synced survives the worst of power cuts.
        assert_eq!(read_all(&disk.after_power_cut(Tear::Lost), folder()).0.len(), 50);
    }
}

#[test]
fn a_run_never_writes_to_an_earlier_runs_segment() {
    let disk = Disk::new();
    for run in 0..3 {
        let wal = Wal::create(Arc::new(disk.clone()), folder(), Options::default()).unwrap();
        assert_eq!(wal.segment(), SegmentIndex(run));
        wal.log(&numbered(run)).unwrap();
    }
    assert_eq!(read_all(&disk, folder()).0, [0, 1, 2]);
}

#[test]
fn callers_that_wait_together_all_get_their_records() {
    let disk = Disk::new();
    let small = Options { pending_bytes_max: 1000, ..options(Compression::Snappy, Durability::EachWrite) };
    let wal = Wal::create(Arc::new(disk.clone()), folder(), small).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let wal = &wal;
            scope.spawn(move || (0..50).for_each(|i| wal.log(&numbered(thread * 1000 + i)).unwrap()));
        }
        scope.spawn(|| (0..20).for_each(|_| wal.sync().unwrap()));
    });
    let (numbers, damages) = read_all(&disk.after_power_cut(Tear::Lost), folder());
    assert!(damages.is_empty());
    for thread in 0..8 {
        let own: Vec<_> = numbers.iter().filter(|number| **number / 1000 == thread).copied().collect();
        assert_eq!(own, (0..50).map(|i| thread * 1000 + i).collect::<Vec<_>>(), "each caller's in its order");
    }
}

#[test]
fn what_nobody_waited_for_is_written_before_what_follows() {
    let disk = Disk::new();
    let wal = Wal::create(Arc::new(disk.clone()), folder(), Options::default()).unwrap();
    drop(wal.enqueue(&numbered(2)));
    wal.log(&numbered(3)).unwrap();
    drop(wal.enqueue(&numbered(4)));
    wal.sync().unwrap();
    drop(wal.enqueue(&numbered(5)));
    drop(wal);
    assert_eq!(read_all(&disk, folder()).0, [2, 3, 4, 5]);
}

/// Logs numbered records, a sync after every third, and returns those acknowledged, and those also covered by a sync.
fn run_workload(disk: &Disk, durability: Durability) -> (Vec<u32>, Vec<u32>) {
    let (mut acknowledged, mut synced) = (Vec::new(), Vec::new());
    let Ok(wal) = Wal::create(Arc::new(disk.clone()), folder(), options(Compression::Snappy, durability)) else {
        return (acknowledged, synced);
    };
    for number in 0..30 {
        if wal.log(&numbered(number)).is_ok() {
            acknowledged.push(number);
        }
        if durability == Durability::EachWrite || (number % 3 == 2 && wal.sync().is_ok()) {
            synced.clone_from(&acknowledged);
        }
    }
    (acknowledged, synced)
}

fn contains(all: &[u32], some: &[u32]) -> bool {
    some.iter().all(|number| all.contains(number))
}

#[test]
fn any_single_error_costs_only_what_was_refused() {
    for durability in [Durability::Interval, Durability::EachWrite] {
        let count = {
            let disk = Disk::new();
            run_workload(&disk, durability);
            disk.operations()
        };
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            for at in 0..count {
                let disk = Disk::new();
                disk.set_fault(Some(Fault::Once(at, kind)));
                let (acknowledged, synced) = run_workload(&disk, durability);
                disk.set_fault(None);
                let (numbers, damages) = read_all(&disk, folder());
                assert!(damages.is_empty(), "operation {at}: {damages:?}");
                assert_eq!(numbers, acknowledged, "operation {at}: what was refused is not there, all else is");
                assert!(acknowledged.is_empty() || acknowledged.len() >= 29, "operation {at}: {} acknowledged", acknowledged.len());
                let (numbers, _) = read_all(&disk.after_power_cut(Tear::Lost), folder());
                assert!(contains(&numbers, &synced), "operation {at}, then a power cut: {synced:?} in {numbers:?}");
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_operation_leaves_what_was_promised_and_can_be_repaired() {
    for durability in [Durability::Interval, Durability::EachWrite] {
        let count = {
            let disk = Disk::new();
            run_workload(&disk, durability);
            disk.operations()
        };
        for at in 0..=count {
            let disk = Disk::new();
            disk.set_fault(Some(Fault::PowerOff(at)));
            let (acknowledged, synced) = run_workload(&disk, durability);
            for tear in [Tear::Lost, Tear::Kept, Tear::Half, Tear::Zeros] {
                let found = disk.after_power_cut(tear);
                let (numbers, damages) = read_all(&found, folder());
                let promised = if tear == Tear::Kept { &acknowledged } else { &synced };
                assert!(contains(&numbers, promised), "operation {at}, {tear:?}: {promised:?} in {numbers:?}");
                for damage in &damages {
                    repair(&found, damage, Path::new("/data/pyrope/damaged")).unwrap();
                }
                assert_eq!(read_all(&found, folder()), (numbers, Vec::new()), "operation {at}, {tear:?}: repaired");
                // The next run starts, and its records follow.
                let Ok(wal) = Wal::create(Arc::new(found.clone()), folder(), Options::default()) else {
                    panic!("operation {at}, {tear:?}: a repaired log opens");
                };
                wal.log(&numbered(99)).unwrap();
                assert_eq!(read_all(&found, folder()).0.last(), Some(&99));
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_in_the_same_segment() {
    let disk = Disk::new();
    let wal = Wal::create(Arc::new(disk.clone()), folder(), Options::default()).unwrap();
    wal.log(&numbered(2)).unwrap();
    disk.set_space(Some(500));
    for number in 3..6 {
        let refused = wal.log(&numbered(7 * number));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::StorageFull);
    }
    disk.set_space(None);
    wal.log(&numbered(9)).unwrap();
    assert_eq!(read_all(&disk, folder()), (vec![2, 9], vec![]));
    assert_eq!(wal.segment(), SegmentIndex(0));
}

/// A segment's bytes with six records in it, and where each begins.
fn sample_segment() -> (PathBuf, Vec<u8>, Vec<u64>) {
    let disk = Disk::new();
    let wal = Wal::create(Arc::new(disk.clone()), folder(), Options::default()).unwrap();
    for number in [2, 3, 1, 0, 4, 5] {
        wal.log(&numbered(number)).unwrap();
    }
    let path = SegmentIndex(0).path(folder());
    let bytes = disk.read(&path).unwrap();
    let mut offsets = Vec::new();
    SegmentReader::new().each(&path, &bytes, |record| offsets.push(record.offset)).unwrap();
    (path, bytes, offsets)
}

#[test]
fn a_segment_cut_at_any_byte_keeps_its_whole_records() {
    let (path, bytes, offsets) = sample_segment();
    let mut reader = SegmentReader::new();
    let tail = bytes.len() - 2000..bytes.len();
    for len in (0..1200).chain((1200..tail.start).step_by(997)).chain(tail) {
        let mut seen = 0;
        let read = reader.each(&path, &bytes[..len], |_| seen += 1);
        let begun = offsets.iter().filter(|offset| **offset < len as u64).count();
        match read {
            Ok(()) => assert!(seen == begun, "cut at {len}: {seen} of {begun}"),
            Err(damage) => {
                assert!(damage.fault.is_torn(), "cut at {len}: {damage}");
                assert_eq!(seen + 1, begun, "cut at {len}");
                assert!(damage.good_len <= len as u64 && reader.each(&path, &bytes[..damage.good_len as usize], |_| ()).is_ok());
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let (path, bytes, offsets) = sample_segment();
    let mut reader = SegmentReader::new();
    for at in (0..1500).chain((1500..bytes.len()).step_by(331)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let mut seen = Vec::new();
        let read = reader.each(&path, &damaged, |record| seen.push(record.offset));
        let Err(damage) = read else {
            // The format's checksum leaves out the header: a lost "compressed" shows when the record is decoded.
            assert!(offsets.contains(&(at as u64)) && damaged[at] == page::FULL, "byte {at}: not found");
            continue;
        };
        assert!(offsets.starts_with(&seen), "byte {at}: only whole records");
        assert!(damage.good_len <= at as u64, "byte {at}: {damage}");
    }
    let mut damaged = bytes.clone();
    damaged[10] ^= 1;
    let damage = reader.each(&path, &damaged, |_| ()).unwrap_err();
    assert!(damage.to_string().starts_with("corruption in segment /data/wal/00000000 at 0: unexpected checksum "), "{damage}");
}

#[test]
fn damage_is_set_aside_before_it_is_repaired() {
    let disk = Disk::new();
    disk.create_folder(folder()).unwrap();
    let (path, mut bytes, offsets) = sample_segment();
    bytes[offsets[3] as usize + 100] ^= 1;
    disk.put(&path, bytes.clone());
    let (numbers, damages) = read_all(&disk, folder());
    assert_eq!(numbers, [2, 3, 1]);
    repair(&disk, &damages[0], Path::new("/data/pyrope/damaged")).unwrap();
    let disk = disk.after_power_cut(Tear::Lost);
    assert_eq!(read_all(&disk, folder()), (vec![2, 3, 1], vec![]));
    assert_eq!(disk.read(Path::new("/data/pyrope/damaged/wal-00000000")).unwrap(), bytes);
}

/// Runs Prometheus's promtool on a directory, where one is installed.
fn promtool_dump(data: &Path) -> Option<String> {
    match std::process::Command::new("promtool").args(["tsdb", "dump"]).arg(data).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
            Some(text)
        }
        Err(error) => {
            eprintln!("skipped: promtool cannot be run: {error}");
            None
        }
    }
}

#[test]
fn prometheus_reads_what_we_write_and_what_we_repaired() {
    // The Prometheus of old distributions does not know zstd.
    for compression in [Compression::None, Compression::Snappy] {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("wal");
        // Three runs; the segment of the first is torn afterwards, and repaired.
        let (series_count, scrapes, last_good) = (300u64, 40i64, 19);
        for run in 0..3 {
            let small = Options { segment_bytes_max: 2 * page::PAGE_LEN as u64, ..options(compression, Durability::Interval) };
            let wal = Wal::create(Arc::new(RealFiles), &folder, small).unwrap();
            let mut records = Records::new();
            if run == 0 {
                records.add(|to| {
                    let mut encoder = SeriesEncoder::start(to);
                    for i in 0..series_count {
                        let instance = format!("host-{i}");
                        encoder.push(SeriesRef(i + 1), [("__name__", "m"), ("instance", instance.as_str())].into_iter());
                    }
                });
            }
            for scrape in 0..scrapes {
                records.add(|to| {
                    let mut encoder = SamplesEncoder::start(to);
                    for i in 0..series_count {
                        let time = 1_700_000_000_000 + (i64::from(run) * scrapes + scrape) * 1000;
                        encoder.push(SeriesRef(i + 1), time, (i * 10_000) as f64 + f64::from(run) * 100.0 + scrape as f64 + 0.25);
                    }
                });
                wal.log(&records).unwrap();
                records.clear();
                if run == 1 && scrape == last_good {
                    let path = wal.segment().path(&folder);
                    drop(wal);
                    let mut bytes = std::fs::read(&path).unwrap();
                    bytes.extend_from_slice(&[page::FIRST, 0x01]);
                    std::fs::write(&path, &bytes).unwrap();
                    let damage = SegmentReader::new().each(&path, &bytes, |_| ()).unwrap_err();
                    assert!(damage.fault.is_torn());
                    repair(&RealFiles, &damage, &data.path().join("pyrope/damaged")).unwrap();
                    break;
                }
            }
        }
        let segments = segment::list(&RealFiles, &folder).unwrap().segments.len();
        assert!(segments > 3, "{compression:?}: {segments} segments");
        let Some(dump) = promtool_dump(data.path()) else { return };
        let lines: Vec<&str> = dump.lines().filter(|line| line.starts_with('{')).collect();
        assert_eq!(lines.len(), 300 * (40 + 20 + 40), "{compression:?}");
        let some = "{__name__=\"m\", instance=\"host-7\"} 70219.25 1700000079000";
        let other = "{__name__=\"m\", instance=\"host-7\"} 70119.25 1700000059000";
        assert!(!lines.contains(&some) && lines.contains(&other), "{}", lines[0]);
    }
}
