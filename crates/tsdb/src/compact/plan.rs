//! Which blocks are to be merged next: Prometheus's levelled planner.
//!
//! Blocks grow threefold: the head is cut into the smallest range, and a range three times as long is merged once it is full or
//! lies before newer blocks. Overlapping blocks come first, and whatever their size. The newest block of all is left alone for
//! the whole length of a range, so that it can be copied elsewhere as it was written.

use super::BlockFacts;
use std::collections::HashSet;
use std::ops::Range;
use ulid::Ulid;

/// Each range of time is this many times as long as the one before.
const RANGE_FACTOR: i64 = 3;
/// There are at most this many ranges.
const RANGES_MAX: usize = 10;
/// A large block is rewritten when it has more tombstones per series than this.
const TOMBSTONES_PER_SERIES_MAX: f64 = 0.05;

/// The lengths of time that blocks are cut and merged to, ascending, in milliseconds: `min_block_ms` and all its multiples by
/// powers of three that are not above `max_block_ms`.
///
/// Never empty: the first range is there even if it is above the largest.
pub fn ranges(min_block_ms: i64, max_block_ms: i64) -> Vec<i64> {
    let smallest = min_block_ms.max(1);
    std::iter::successors(Some(smallest), |range| range.checked_mul(RANGE_FACTOR))
        .take(RANGES_MAX)
        .enumerate()
        .take_while(|&(i, range)| i == 0 || range <= max_block_ms)
        .map(|(_, range)| range)
        .collect()
}

/// Names the blocks to be merged into one, by their first instant; none if nothing is to be done.
///
/// A single one is to be rewritten without what its tombstones delete. Blocks of a part of the head's series are merged with
/// their like only: the outcome still says that it is no reason to forget the log.
pub fn plan(blocks: &[BlockFacts], ranges: &[i64]) -> Vec<Ulid> {
    let class = |of: fn(&BlockFacts) -> bool| {
        let mut class: Vec<&BlockFacts> = blocks.iter().filter(|block| of(block)).collect();
        class.sort_by_key(|block| block.min_time);
        class
    };
    let classes = [
        class(|block| !block.origin.stale_series && !block.origin.selected_series),
        class(|block| block.origin.stale_series),
        class(|block| !block.origin.stale_series && block.origin.selected_series),
    ];
    let chosen = classes.iter().map(|class| plan_class(class, ranges)).find(|chosen| !chosen.is_empty());
    chosen.unwrap_or_default().into_iter().map(|block| block.ulid).collect()
}

/// Keeps the blocks that may be compacted when level-1 blocks must be uploaded first: all up to the first, in the order of
/// names, that is not.
///
/// What comes after that one waits even if it is uploaded, lest merging leaves single small blocks behind.
pub fn without_pending_uploads(blocks: &mut Vec<BlockFacts>, uploaded: &HashSet<String>) {
    blocks.sort_by_key(|block| block.ulid);
    let pending = blocks.iter().position(|block| block.level <= 1 && !uploaded.contains(&block.ulid.to_string()));
    blocks.truncate(pending.unwrap_or(blocks.len()));
}

/// Drops blocks of out-of-order samples that reach into the time whose samples in order the head still has. Merged with others they would seem to
/// hold those as well, and the next start would pass them over in the log.
pub fn without_those_ahead(blocks: &mut Vec<BlockFacts>, head_begins: i64) {
    blocks.retain(|block| block.origin.is_whole() || block.max_time <= head_begins);
}

/// The names in the JSON file that `--storage.tsdb.delay-compact-file.path` points to: `{"uploaded": ["<ulid>", …]}`.
///
/// # Errors
/// When it is not such a file.
pub fn parse_uploaded(file: &[u8]) -> Result<HashSet<String>, NotUploads> {
    use serde_json::Value;
    match serde_json::from_slice(file)? {
        Value::Null => Ok(HashSet::new()),
        Value::Object(object) => match object.get("uploaded") {
            None | Some(Value::Null) => Ok(HashSet::new()),
            Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned).ok_or(NotUploads::Name)).collect(),
            Some(_) => Err(NotUploads::List),
        },
        _ => Err(NotUploads::Object),
    }
}

/// Why a file does not name uploaded blocks.
#[derive(Debug, thiserror::Error)]
pub enum NotUploads {
    /// No JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Other JSON than an object.
    #[error("not an object")]
    Object,
    /// `uploaded` is there, but no list.
    #[error("\"uploaded\" is no list")]
    List,
    /// A member of the list is no string.
    #[error("a name in \"uploaded\" is no string")]
    Name,
}

fn plan_class<'a>(blocks: &[&'a BlockFacts], ranges: &[i64]) -> Vec<&'a BlockFacts> {
    let overlapping = first_overlap(blocks);
    if !overlapping.is_empty() {
        return blocks[overlapping].to_vec();
    }
    let Some((_newest, older)) = blocks.split_last() else { return Vec::new() };
    let merged = full_range(older, ranges);
    if !merged.is_empty() {
        return merged;
    }
    tombstones_to_drop(older, ranges).into_iter().collect()
}

/// The first run of blocks each of which begins before those before it have ended.
fn first_overlap(blocks: &[&BlockFacts]) -> Range<usize> {
    let Some(first) = blocks.first() else { return 0..0 };
    let mut end_time = first.max_time;
    let mut run = 0..0;
    for (i, block) in blocks.iter().enumerate().skip(1) {
        if block.min_time < end_time {
            run = if run.is_empty() { i - 1..i + 1 } else { run.start..i + 1 };
        } else if !run.is_empty() {
            break;
        }
        end_time = end_time.max(block.max_time);
    }
    run
}

/// Blocks that fill one of the longer ranges, or lie in one that no newer block can still fall into.
fn full_range<'a>(blocks: &[&'a BlockFacts], ranges: &[i64]) -> Vec<&'a BlockFacts> {
    let (Some(newest), Some(longer)) = (blocks.last(), ranges.get(1..)) else { return Vec::new() };
    for &range in longer {
        for part in split_by_range(blocks, range) {
            let [first, .., last] = part else { continue };
            if part.iter().any(|block| block.failed) {
                continue;
            }
            let full = last.max_time.saturating_sub(first.min_time) == range;
            if full || last.max_time <= newest.min_time {
                return part.to_vec();
            }
        }
    }
    Vec::new()
}

/// Groups of blocks that lie in the same range of time; ranges are multiples of `range`. Blocks that lie in none are skipped.
fn split_by_range<'s, 'a>(blocks: &'s [&'a BlockFacts], range: i64) -> Vec<&'s [&'a BlockFacts]> {
    let mut parts = Vec::new();
    let mut rest = blocks;
    while let Some(first) = rest.first() {
        let end = range.saturating_mul(first.min_time.div_euclid(range)).saturating_add(range);
        let count = rest.iter().position(|block| block.max_time > end).unwrap_or(rest.len());
        if count > 0 {
            parts.push(&rest[..count]);
        }
        rest = &rest[count.max(1)..];
    }
    parts
}

/// The newest block of which enough is deleted that rewriting it pays.
fn tombstones_to_drop<'a>(blocks: &[&'a BlockFacts], ranges: &[i64]) -> Option<&'a BlockFacts> {
    let large = ranges.get(ranges.len() / 2).copied().unwrap_or(i64::MAX);
    for &block in blocks.iter().rev() {
        if block.max_time.saturating_sub(block.min_time) < large {
            // A small one is worth it only if all is gone, and the small ones are the newest.
            let all_gone = block.tombstones > 0 && block.tombstones >= block.series;
            return all_gone.then_some(block);
        }
        if block.tombstones as f64 / (block.series as f64 + 1.0) > TOMBSTONES_PER_SERIES_MAX {
            return Some(block);
        }
    }
    None
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
