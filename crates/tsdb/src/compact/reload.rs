//! Which of the blocks in a data directory are loaded, which are deleted, and which overlap.
//!
//! A block that was merged is deleted only after the outcome is in its place; a crash between leaves both. The outcome names
//! its parents, so whoever opens the directory next carries on with the deletion.

use super::BlockFacts;
use std::collections::HashSet;
use std::fmt;
use ulid::Ulid;

/// What becomes of the blocks in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// To be loaded, by their first instant.
    pub load: Vec<Ulid>,
    /// To be deleted if they exist, sorted: merged into another one, or beyond what is kept. Some may not be loadable.
    pub delete: Vec<Ulid>,
    /// Those that cannot be opened, and that no other block replaces.
    pub corrupted: Vec<Ulid>,
}

/// Decides over `loadable` blocks, those found `corrupted`, and those that retention deletes.
pub fn reload(loadable: &[BlockFacts], corrupted: &[Ulid], beyond_retention: impl IntoIterator<Item = Ulid>) -> Reload {
    let mut delete: HashSet<Ulid> = beyond_retention.into_iter().collect();
    delete.extend(loadable.iter().flat_map(|block| &block.parents));
    let mut kept: Vec<&BlockFacts> = loadable.iter().filter(|block| !delete.contains(&block.ulid)).collect();
    kept.sort_by_key(|block| (block.min_time, block.ulid));
    let load = kept.into_iter().map(|block| block.ulid).collect();
    let corrupted = corrupted.iter().copied().filter(|ulid| !delete.contains(ulid)).collect();
    let mut delete: Vec<Ulid> = delete.into_iter().collect();
    delete.sort_unstable();
    Reload { load, delete, corrupted }
}

/// Blocks that overlap in one range of time, `[min_time, max_time)`, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The first instant that all of them have.
    pub min_time: i64,
    /// The first instant after.
    pub max_time: i64,
    /// The blocks, by their first instant.
    pub blocks: Vec<BlockFacts>,
}

/// Groups of blocks that overlap; `blocks` are in the order of their first instants.
pub fn overlaps(blocks: &[BlockFacts]) -> Vec<Overlap> {
    let Some((first, rest)) = blocks.split_first() else { return Vec::new() };
    let mut groups: Vec<Vec<&BlockFacts>> = Vec::new();
    let mut pending = vec![first];
    // Whether all that overlapped so far still lasts, so that the next block joins the group.
    let mut lasting = true;
    for block in rest {
        let before = pending.len();
        pending.retain(|earlier| block.min_time < earlier.max_time);
        lasting &= pending.len() == before;
        let overlapping = !pending.is_empty();
        pending.push(block);
        if !overlapping {
            continue;
        }
        match groups.last_mut() {
            Some(group) if lasting => group.push(block),
            _ => groups.push(pending.clone()),
        }
        lasting = true;
    }
    let overlap = |group: Vec<&BlockFacts>| Overlap {
        min_time: group.iter().map(|block| block.min_time).fold(0, i64::max),
        max_time: group.iter().map(|block| block.max_time).fold(i64::MAX, i64::min),
        blocks: group.into_iter().cloned().collect(),
    };
    groups.into_iter().map(overlap).collect()
}

impl fmt::Display for Overlap {
    /// As the log says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |min: i64, max: i64| go_seconds(max.saturating_sub(min) / 1_000);
        write!(
            f,
            "[mint: {}, maxt: {}, range: {}, blocks: {}]: ",
            self.min_time,
            self.max_time,
            range(self.min_time, self.max_time),
            self.blocks.len()
        )?;
        for (i, block) in self.blocks.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(
                f,
                "{separator}<ulid: {}, mint: {}, maxt: {}, range: {}>",
                block.ulid,
                block.min_time,
                block.max_time,
                range(block.min_time, block.max_time)
            )?;
        }
        Ok(())
    }
}

/// Whole seconds as Go prints a duration: `2h0m0s`.
fn go_seconds(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let all = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (all / 3_600, all / 60 % 60, all % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: u128, min_time: i64, max_time: i64, parents: &[u128]) -> BlockFacts {
        BlockFacts { ulid: Ulid(name), min_time, max_time, parents: parents.iter().map(|&p| Ulid(p)).collect(), ..BlockFacts::default() }
    }

    fn ulids(names: &[u128]) -> Vec<Ulid> {
        names.iter().map(|&name| Ulid(name)).collect()
    }

    #[test]
    fn parents_go_and_so_does_what_is_too_old() {
        let blocks = [block(5, 20, 30, &[]), block(4, 0, 20, &[1, 2, 9]), block(1, 0, 10, &[]), block(3, -10, 0, &[])];
        let got = reload(&blocks, &ulids(&[2, 7]), ulids(&[3]));
        assert_eq!(got, Reload { load: ulids(&[4, 5]), delete: ulids(&[1, 2, 3, 9]), corrupted: ulids(&[7]) });
    }

    #[test]
    fn a_deleted_block_still_replaces_its_parents() {
        let blocks = [block(4, 0, 20, &[1]), block(1, 0, 10, &[])];
        assert_eq!(reload(&blocks, &[], ulids(&[4])), Reload { load: Vec::new(), delete: ulids(&[1, 4]), corrupted: Vec::new() });
    }

    #[track_caller]
    fn check_overlaps(blocks: &[(i64, i64)], want: &[(i64, i64, &[u128])]) {
        let blocks: Vec<BlockFacts> = blocks.iter().enumerate().map(|(i, &(min, max))| block(i as u128, min, max, &[])).collect();
        let got: Vec<_> = overlaps(&blocks)
            .into_iter()
            .map(|o| (o.min_time, o.max_time, o.blocks.iter().map(|b| b.ulid.0).collect::<Vec<_>>()))
            .collect();
        let want: Vec<_> = want.iter().map(|(min, max, names)| (*min, *max, names.to_vec())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn groups_of_overlapping_blocks() {
        check_overlaps(&[], &[]);
        check_overlaps(&[(0, 10)], &[]);
        check_overlaps(&[(0, 10), (10, 20)], &[]);
        check_overlaps(&[(0, 10), (5, 15)], &[(5, 10, &[0, 1])]);
        check_overlaps(&[(0, 10), (5, 15), (7, 20)], &[(7, 10, &[0, 1, 2])]);
        check_overlaps(&[(0, 10), (5, 15), (12, 20)], &[(5, 10, &[0, 1]), (12, 15, &[1, 2])]);
        check_overlaps(&[(0, 30), (5, 10), (12, 20)], &[(5, 10, &[0, 1]), (12, 20, &[0, 2])]);
    }

    #[test]
    fn overlaps_as_the_log_has_them() {
        let found = overlaps(&[block(1, 0, 7_200_000, &[]), block(2, 3_600_000, 7_260_000, &[])]);
        let line = found.iter().map(Overlap::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(
            line,
            "[mint: 3600000, maxt: 7200000, range: 1h0m0s, blocks: 2]: <ulid: 00000000000000000000000001, mint: 0, maxt: 7200000, range: 2h0m0s>, \
             <ulid: 00000000000000000000000002, mint: 3600000, maxt: 7260000, range: 1h1m0s>"
        );
    }
}
