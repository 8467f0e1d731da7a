#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::compact::Origin;

const RANGES: [i64; 4] = [20, 60, 180, 540];

fn block(min_time: i64, max_time: i64) -> BlockFacts {
    BlockFacts { min_time, max_time, level: 1, series: 10, ..BlockFacts::default() }
}

/// Names blocks by position, plans, and compares positions.
#[track_caller]
fn check(blocks: impl IntoIterator<Item = BlockFacts>, want: &[u128]) {
    let blocks: Vec<BlockFacts> = blocks.into_iter().enumerate().map(|(i, block)| BlockFacts { ulid: Ulid(i as u128), ..block }).collect();
    let got: Vec<u128> = plan(&blocks, &RANGES).into_iter().map(|ulid| ulid.0).collect();
    assert_eq!(got, want);
}

fn spans<const N: usize>(spans: [(i64, i64); N]) -> Vec<BlockFacts> {
    spans.into_iter().map(|(min, max)| block(min, max)).collect()
}

#[test]
fn ranges_grow_threefold_up_to_the_largest() {
    assert_eq!(ranges(20, 200), [20, 60, 180]);
    assert_eq!(ranges(20, 180), [20, 60, 180]);
    assert_eq!(ranges(20, 20), [20]);
    assert_eq!(ranges(20, 10), [20], "there is always one");
    assert_eq!(ranges(1, i64::MAX).len(), 10);
    assert_eq!(ranges(i64::MAX, i64::MAX), [i64::MAX]);
}

#[test]
fn nothing_to_merge() {
    check([], &[]);
    check(spans([(0, 20)]), &[]);
    check(spans([(0, 20), (20, 40)]), &[]);
    check(spans([(0, 20), (20, 40), (40, 60)]), &[]);
}

#[test]
fn the_newest_block_is_left_alone() {
    check(spans([(0, 20), (20, 40), (40, 60), (60, 80)]), &[0, 1, 2]);
    // In any order of names.
    check(spans([(60, 80), (40, 60), (20, 40), (0, 20)]), &[3, 2, 1]);
}

#[test]
fn a_range_with_gaps_is_merged_once_newer_blocks_are_there() {
    check(spans([(0, 20), (20, 40), (60, 80)]), &[]);
    check(spans([(0, 20), (20, 40), (60, 80), (80, 100)]), &[0, 1]);
    check(spans([(0, 20), (60, 80), (120, 140), (180, 200), (200, 220)]), &[0, 1, 2]);
    check(spans([(20, 40), (40, 60), (60, 80), (80, 100)]), &[0, 1]);
}

#[test]
fn ranges_count_from_zero_also_before_it() {
    check(spans([(-60, -40), (-40, -20), (-20, 0), (0, 20)]), &[0, 1, 2]);
    check(spans([(-20, 0), (0, 20), (20, 40), (40, 60)]), &[]);
    check(spans([(-59, -40), (-40, -20), (0, 20), (20, 40)]), &[0, 1]);
}

#[test]
fn merged_blocks_are_merged_again() {
    check(spans([(0, 60), (60, 120), (120, 180), (180, 200)]), &[0, 1, 2]);
    check(spans([(0, 60), (60, 120), (120, 140), (140, 160), (160, 180), (180, 200)]), &[2, 3, 4]);
    // Blocks longer than, or across, a range are passed over.
    check(spans([(0, 100), (100, 120), (120, 140), (140, 160), (160, 180), (180, 200)]), &[2, 3, 4]);
    check(spans([(0, 540), (540, 560), (560, 580)]), &[]);
}

#[test]
fn a_range_with_a_failed_block_is_passed_over() {
    let mut blocks = spans([(0, 20), (20, 40), (40, 60), (60, 80), (80, 100), (100, 120), (120, 140)]);
    blocks[1].failed = true;
    check(blocks, &[3, 4, 5]);
}

#[test]
fn overlapping_blocks_come_first() {
    check(spans([(0, 20), (19, 40)]), &[0, 1]);
    check(spans([(0, 20), (20, 40), (40, 60), (60, 80), (70, 90)]), &[3, 4]);
    check(spans([(0, 20), (0, 20)]), &[0, 1]);
    // A chain: each overlaps an earlier one, not all overlap each other.
    check(spans([(0, 20), (10, 40), (30, 60), (60, 80)]), &[0, 1, 2]);
    check(spans([(0, 100), (10, 20), (30, 40), (100, 120)]), &[0, 1, 2]);
    // Only the first run; the one before a gap.
    check(spans([(0, 20), (10, 30), (40, 60), (50, 70)]), &[0, 1]);
    // The run has every block between, as Prometheus's has it: the one just before the first overlap, and no earlier one.
    check(spans([(0, 50), (10, 20), (60, 80)]), &[0, 1]);
    // Even if a compaction failed.
    let mut blocks = spans([(0, 20), (10, 30)]);
    blocks[0].failed = true;
    check(blocks, &[0, 1]);
}

#[test]
fn tombstones_are_dropped_by_rewriting() {
    let deleted = |min, max, tombstones| BlockFacts { tombstones, ..block(min, max) };
    // A large one, with more than one tombstone in twenty series.
    check([deleted(0, 540, 1), block(540, 560)], &[0]);
    check([BlockFacts { series: 20, ..deleted(0, 540, 1) }, block(540, 560)], &[]);
    check([deleted(0, 540, 0), block(540, 560)], &[]);
    // Small ones, newest of all but one, only if all is deleted.
    check([deleted(0, 20, 9), block(20, 40)], &[]);
    check([deleted(0, 20, 10), block(20, 40)], &[0]);
    check([BlockFacts { series: 0, ..deleted(0, 20, 0) }, block(20, 40)], &[]);
    // A small one hides what is before it.
    check([deleted(0, 540, 10), block(540, 560), block(600, 620)], &[]);
    // The newest one is not looked at.
    check([deleted(0, 540, 10)], &[]);
}

#[test]
fn parts_of_the_head_are_merged_with_their_like() {
    let stale = |min, max| BlockFacts { origin: Origin { stale_series: true, ..Origin::default() }, ..block(min, max) };
    let selected = |min, max| BlockFacts { origin: Origin { selected_series: true, ..Origin::default() }, ..block(min, max) };
    let out_of_order = |min, max| BlockFacts { origin: Origin { out_of_order: true, ..Origin::default() }, ..block(min, max) };
    check([block(0, 20), stale(0, 20)], &[]);
    check([stale(0, 20), stale(0, 20), block(0, 20)], &[0, 1]);
    check([stale(0, 20), stale(0, 20), block(0, 20), block(10, 20)], &[2, 3]);
    check([selected(0, 20), selected(0, 20), stale(0, 20), block(0, 20)], &[0, 1]);
    check([selected(0, 20), stale(0, 20)], &[]);
    check([out_of_order(0, 20), block(0, 20)], &[0, 1]);
    // Each class leaves its own newest block alone.
    check([stale(0, 20), stale(20, 40), stale(40, 60), block(60, 80)], &[]);
}

#[test]
fn blocks_wait_for_their_upload() {
    let named = |name: u128, level| BlockFacts { ulid: Ulid(name), level, ..BlockFacts::default() };
    let kept = |uploaded: &[u128]| {
        let mut blocks = vec![named(4, 1), named(1, 1), named(2, 2), named(3, 1)];
        without_pending_uploads(&mut blocks, &uploaded.iter().map(|&name| Ulid(name).to_string()).collect());
        blocks.iter().map(|block| block.ulid.0).collect::<Vec<_>>()
    };
    assert_eq!(kept(&[1, 3, 4]), [1, 2, 3, 4]);
    assert_eq!(kept(&[1, 4]), [1, 2]);
    assert_eq!(kept(&[3, 4]), [0u128; 0]);
}

#[test]
fn the_file_of_uploads() {
    let names = |json: &str| parse_uploaded(json.as_bytes()).map(|names| names.len());
    assert_eq!(names(r#"{"version":1,"uploaded":["01ARZ3NDEKTSV4RRFFQ69G5FAV"]}"#).unwrap(), 1);
    assert_eq!(names("{}").unwrap(), 0);
    assert_eq!(names(r#"{"uploaded":null}"#).unwrap(), 0);
    for bad in ["", "[]", r#"{"uploaded":"x"}"#, r#"{"uploaded":[1]}"#, "{"] {
        assert!(names(bad).is_err(), "{bad}");
    }
}

#[test]
fn late_samples_wait_for_those_in_order_of_their_time() {
    let late = |min_time, max_time| BlockFacts { origin: Origin { out_of_order: true, ..Origin::default() }, ..block(min_time, max_time) };
    let left = |head_begins| {
        let mut blocks = vec![block(20, 40), late(20, 40), late(40, 60), block(40, 60)];
        without_those_ahead(&mut blocks, head_begins);
        blocks.iter().map(|block| (block.max_time, block.origin.out_of_order)).collect::<Vec<_>>()
    };
    assert_eq!(left(40), [(40, false), (40, true), (60, false)]);
    assert_eq!(left(60), [(40, false), (40, true), (60, true), (60, false)]);
}
