#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;
use testkit::disk::{Disk, Fault, Tear};

fn chunk(series: u64, time: i64, bytes: &[u8]) -> ToWrite<'_> {
    ToWrite {
        series_ref: SeriesRef(series),
        min_time: time,
        max_time: time + 9,
        encoding: Encoding::Xor,
        out_of_order: time % 2 == 1,
        bytes,
    }
}

fn open(disk: &Disk) -> (Mapped, Vec<Found>) {
    let mut found = Vec::new();
    let mapped = Mapped::new(Arc::new(disk.clone()), Path::new("/data/chunks_head"));
    mapped.load(|chunk| found.push(chunk)).unwrap();
    (mapped, found)
}

fn read(mapped: &Mapped, chunk: MappedChunk) -> Result<Vec<u8>, ReadError> {
    let place = chunk.place();
    mapped.file(place.file).unwrap().chunk(place.offset, |encoding, bytes| {
        assert_eq!(encoding, chunk.encoding());
        bytes.to_vec()
    })
}

fn payload(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (seed * 31 + at) as u8).collect()
}

#[test]
fn a_written_file_has_the_documented_bytes() {
    let disk = Disk::new();
    let (mapped, _) = open(&disk);
    mapped.write(&chunk(7, 1000, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).unwrap().unwrap();
    mapped.sync().unwrap();
    let bytes = disk.read(Path::new("/data/chunks_head/000001")).unwrap();
    let mut expected = vec![0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
    expected
        .extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 3, 0xf1, 1, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let checksum = crc32c::crc32c(&expected[8..]);
    expected.extend(checksum.to_be_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn files_are_numbered_without_gaps_and_go_oldest_first() {
    let disk = Disk::new();
    let mut written = Vec::new();
    for run in 0..3 {
        let (mapped, found) = open(&disk);
        assert_eq!(found.len(), written.len());
        written.push(mapped.write(&chunk(1, run * 10, &[1; 20])).unwrap().unwrap());
        mapped.sync().unwrap();
    }
    assert_eq!(written.iter().map(|chunk| chunk.place().file).collect::<Vec<_>>(), [1, 2, 3]);
    let (mapped, _) = open(&disk);
    mapped.truncate(3).unwrap();
    assert!(mapped.file(2).is_none());
    assert_eq!(read(&mapped, written[2]).unwrap(), [1; 20]);
    assert_eq!(mapped.write(&chunk(1, 90, &[2; 20])).unwrap().unwrap().place().file, 4);
    mapped.truncate(9).unwrap();
    assert!(mapped.file(3).is_none() && mapped.file(4).is_some(), "the file being written stays");
    assert_eq!(mapped.write(&chunk(1, 100, &[2; 20])).unwrap().unwrap().place().file, 5);
}

#[test]
fn a_reader_outlives_the_deletion() {
    let disk = Disk::new();
    let (mapped, _) = open(&disk);
    let written = mapped.write(&chunk(1, 0, &[7; 30])).unwrap().unwrap();
    mapped.sync().unwrap();
    drop(mapped);
    let (mapped, _) = open(&disk);
    let file = mapped.file(1).unwrap();
    mapped.truncate(2).unwrap();
    assert_eq!(file.chunk(written.place().offset, |_, bytes| bytes.to_vec()).unwrap(), [7; 30]);
}

#[test]
fn what_follows_a_damage_is_dropped() {
    let disk = Disk::new();
    for run in 0..3 {
        let (mapped, _) = open(&disk);
        mapped.write(&chunk(1, run * 100, &payload(1, 50))).unwrap();
        mapped.write(&chunk(2, run * 100, &payload(2, 60))).unwrap();
        mapped.sync().unwrap();
    }
    let path = Path::new("/data/chunks_head/000002");
    let mut bytes = disk.read(path).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 4;
    disk.put(path, bytes);
    let (mapped, found) = open(&disk);
    assert_eq!(found.iter().map(|f| (f.series_ref.0, f.chunk.place().file)).collect::<Vec<_>>(), [(1, 1), (2, 1), (1, 2)]);
    let damage = mapped.damage().unwrap();
    assert_eq!((damage.what, damage.behind.len()), ("checksum mismatch", 1));
    assert_eq!(mapped.write(&chunk(2, 900, &payload(3, 40))).unwrap().unwrap().place().file, 3);
    mapped.sync().unwrap();
    let (again, found) = open(&disk);
    assert_eq!((found.len(), again.damage()), (4, None));
    for found in found {
        assert!(!read(&again, found.chunk).unwrap().is_empty());
    }
}

#[test]
fn what_a_repair_dropped_does_not_come_back_with_a_power_cut() {
    let disk = Disk::new();
    for run in 0..2 {
        let (mapped, _) = open(&disk);
        mapped.write(&chunk(1, run * 100, &payload(1, 50))).unwrap();
        mapped.write(&chunk(2, run * 100, &payload(2, 60))).unwrap();
        mapped.sync().unwrap();
    }
    let path = Path::new("/data/chunks_head/000001");
    let mut bytes = disk.read(path).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 4;
    disk.put(path, bytes);
    let (mapped, found) = open(&disk);
    assert_eq!(found.len(), 1);
    mapped.repair().unwrap();
    let (again, after) = open(&disk.after_power_cut(Tear::Lost));
    assert_eq!((after.len(), after[0].chunk, again.damage()), (1, found[0].chunk, None));
}

#[test]
fn files_without_a_header_and_gaps_are_damage() {
    let disk = Disk::new();
    let (mapped, _) = open(&disk);
    mapped.write(&chunk(1, 0, &[7; 30])).unwrap();
    mapped.sync().unwrap();
    for (name, bytes) in [("000002", vec![]), ("000004", vec![0; 9])] {
        disk.put(&Path::new("/data/chunks_head").join(name), bytes);
    }
    let (mapped, found) = open(&disk);
    assert_eq!((found.len(), mapped.damage().unwrap().behind.len()), (1, 1));
    mapped.repair().unwrap();
    let (mapped, _) = open(&disk);
    assert_eq!(mapped.damage(), None);
    assert_eq!(mapped.write(&chunk(1, 20, &[7; 30])).unwrap().unwrap().place().file, 2);
    // Prometheus prolongs its files with zeros.
    let first = Path::new("/data/chunks_head/000001");
    let prolonged = [disk.read(first).unwrap(), vec![0; 5000]].concat();
    disk.put(first, prolonged);
    let (mapped, found) = open(&disk);
    assert_eq!((found.len(), mapped.damage()), (1, None));
}

#[test]
fn a_failed_write_loses_nothing() {
    let disk = Disk::new();
    let (mapped, _) = open(&disk);
    let mut kept = Vec::new();
    for at in 0..400i64 {
        disk.set_space((at % 100 > 50).then_some(at as usize * 100));
        let bytes = payload(at as usize, 1500);
        if let Ok(written) = mapped.write(&chunk(at as u64 + 1, at * 10, &bytes)) {
            kept.push((written.unwrap(), bytes));
        }
    }
    assert!(mapped.writes_failed() > 0 && kept.len() < 400);
    for (written, bytes) in &kept {
        assert_eq!(&read(&mapped, *written).unwrap(), bytes);
    }
    disk.set_space(None);
    mapped.sync().unwrap();
    let (again, found) = open(&disk);
    assert_eq!((found.len(), again.damage()), (kept.len(), None));
    for (written, bytes) in &kept {
        assert_eq!(&read(&again, *written).unwrap(), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_read_without_panic(damage in prop::collection::vec((0..700usize, any::<u8>()), 1..6), cut in 0..700usize) {
        let disk = Disk::new();
        let (mapped, _) = open(&disk);
        for at in 0..6 {
            mapped.write(&chunk(at + 1, at as i64 * 10, &payload(at as usize, 60))).unwrap();
        }
        mapped.sync().unwrap();
        let path = Path::new("/data/chunks_head/000001");
        let mut bytes = disk.read(path).unwrap();
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut.max(3));
        disk.put(path, bytes);
        let (mapped, found) = open(&disk);
        for found in &found {
            prop_assert!(read(&mapped, found.chunk).is_ok());
        }
        mapped.repair().unwrap();
        let (again, after) = open(&disk);
        prop_assert_eq!(again.damage(), None);
        prop_assert_eq!(after.len(), found.len());
    }

    #[test]
    fn a_fault_anywhere_leaves_a_folder_that_opens(at in 0..60u64) {
        let disk = Disk::new();
        let (mapped, _) = open(&disk);
        disk.set_fault(Some(Fault::Once(disk.operations() + at, io::ErrorKind::Other)));
        let mut written = Vec::new();
        for run in 0..120u64 {
            if let Ok(Some(place)) = mapped.write(&chunk(run + 1, run as i64 * 10, &payload(run as usize, 2000))) {
                written.push((place, payload(run as usize, 2000)));
            }
        }
        disk.set_fault(None);
        mapped.sync().unwrap();
        let (again, found) = open(&disk);
        prop_assert_eq!((found.len(), again.damage()), (written.len(), None));
        for (place, bytes) in written {
            prop_assert_eq!(read(&again, place).unwrap(), bytes);
        }
    }
}
