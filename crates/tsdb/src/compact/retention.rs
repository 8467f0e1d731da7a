//! Which blocks are deleted for their age or for the room they take.
//!
//! Age is measured between blocks, not by the clock: a server that was off for long does not wake up and delete its history.

use super::BlockFacts;
use crate::db::Retention;
use ulid::Ulid;

/// Bytes that count beside the blocks'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The logs and the head's chunks.
    pub head_bytes: u64,
    /// All of the file system, used or not, if that is known.
    pub disk_bytes: Option<u64>,
}

/// What is to be deleted, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Blocks in which a compaction left nothing.
    pub empty: Vec<Ulid>,
    /// Blocks that are too old.
    pub time: Vec<Ulid>,
    /// Blocks that there is no room for.
    pub size: Vec<Ulid>,
}

impl Beyond {
    /// All of them; one may come twice.
    pub fn all(&self) -> impl Iterator<Item = Ulid> + '_ {
        self.empty.iter().chain(&self.time).chain(&self.size).copied()
    }
}

/// Which of `blocks` are to be deleted, from the newest to the oldest.
///
/// A percentage prevails over a number of bytes, unless the file system's size is not known.
pub fn beyond(blocks: &[BlockFacts], retention: &Retention, around: Surroundings) -> Beyond {
    let mut newest_first: Vec<&BlockFacts> = blocks.iter().collect();
    newest_first.sort_by_key(|block| std::cmp::Reverse(block.max_time));
    Beyond {
        empty: newest_first.iter().filter(|block| block.deletable).map(|block| block.ulid).collect(),
        time: names(beyond_time(&newest_first, retention.time_ms)),
        size: names(beyond_size(&newest_first, bytes_max(retention, around.disk_bytes), around.head_bytes)),
    }
}

/// The most bytes that blocks, logs and head chunks may have; 0 = no limit.
pub fn bytes_max(retention: &Retention, disk_bytes: Option<u64>) -> u64 {
    match disk_bytes {
        Some(disk) if retention.percent > 0.0 && disk > 0 => (disk as f64 * retention.percent / 100.0) as u64,
        _ => retention.bytes,
    }
}

fn names(blocks: &[&BlockFacts]) -> Vec<Ulid> {
    blocks.iter().map(|block| block.ulid).collect()
}

fn beyond_time<'s, 'a>(newest_first: &'s [&'a BlockFacts], time_ms: i64) -> &'s [&'a BlockFacts] {
    let (Some(newest), true) = (newest_first.first(), time_ms != 0) else { return &[] };
    let first_old = newest_first.iter().skip(1).position(|block| newest.max_time.saturating_sub(block.max_time) >= time_ms);
    first_old.map_or(&[], |i| &newest_first[i + 1..])
}

fn beyond_size<'s, 'a>(newest_first: &'s [&'a BlockFacts], bytes_max: u64, head_bytes: u64) -> &'s [&'a BlockFacts] {
    if bytes_max == 0 {
        return &[];
    }
    let mut bytes = head_bytes;
    let first_beyond = newest_first.iter().position(|block| {
        bytes = bytes.saturating_add(block.bytes);
        bytes > bytes_max
    });
    first_beyond.map_or(&[], |i| &newest_first[i..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks as (max time, bytes), named by position.
    #[track_caller]
    fn check(blocks: &[(i64, u64)], retention: Retention, around: Surroundings, want_time: &[u128], want_size: &[u128]) {
        let facts =
            |(i, &(max_time, bytes)): (usize, &(i64, u64))| BlockFacts { ulid: Ulid(i as u128), max_time, bytes, ..BlockFacts::default() };
        let blocks: Vec<BlockFacts> = blocks.iter().enumerate().map(facts).collect();
        let got = beyond(&blocks, &retention, around);
        let names = |ulids: &[Ulid]| ulids.iter().map(|ulid| ulid.0).collect::<Vec<_>>();
        assert_eq!((names(&got.time), names(&got.size)), (want_time.to_vec(), want_size.to_vec()));
    }

    const BLOCKS: [(i64, u64); 4] = [(10, 100), (20, 100), (30, 100), (40, 100)];

    #[test]
    fn by_time() {
        let keep = |time_ms| Retention { time_ms, ..Retention::default() };
        let around = Surroundings::default();
        check(&BLOCKS, keep(0), around, &[], &[]);
        check(&BLOCKS, keep(31), around, &[], &[]);
        check(&BLOCKS, keep(30), around, &[0], &[]);
        check(&BLOCKS, keep(20), around, &[1, 0], &[]);
        check(&BLOCKS, keep(1), around, &[2, 1, 0], &[]);
        check(&[], keep(1), around, &[], &[]);
        check(&[(i64::MAX, 0), (i64::MIN, 0)], keep(5), around, &[1], &[]);
    }

    #[test]
    fn by_size() {
        let keep = |bytes| Retention { bytes, ..Retention::default() };
        let head = |head_bytes| Surroundings { head_bytes, disk_bytes: None };
        check(&BLOCKS, keep(0), head(1_000), &[], &[]);
        check(&BLOCKS, keep(400), head(0), &[], &[]);
        check(&BLOCKS, keep(400), head(1), &[], &[0]);
        check(&BLOCKS, keep(250), head(0), &[], &[1, 0]);
        check(&BLOCKS, keep(1), head(0), &[], &[3, 2, 1, 0]);
        check(&[(1, u64::MAX), (0, u64::MAX)], keep(u64::MAX), head(0), &[], &[]);
    }

    #[test]
    fn by_percentage_of_the_disk() {
        let keep = Retention { bytes: 1, percent: 25.0, ..Retention::default() };
        let disk = |bytes| Surroundings { head_bytes: 0, disk_bytes: bytes };
        check(&BLOCKS, keep, disk(Some(1_000)), &[], &[1, 0]);
        check(&BLOCKS, keep, disk(Some(1_600)), &[], &[]);
        check(&BLOCKS, keep, disk(None), &[], &[3, 2, 1, 0]);
    }

    #[test]
    fn empty_blocks_go_whatever_is_kept() {
        let blocks =
            [BlockFacts { ulid: Ulid(1), deletable: true, ..BlockFacts::default() }, BlockFacts { ulid: Ulid(2), ..BlockFacts::default() }];
        let got = beyond(&blocks, &Retention::default(), Surroundings::default());
        assert_eq!(got.all().collect::<Vec<_>>(), [Ulid(1)]);
    }
}
