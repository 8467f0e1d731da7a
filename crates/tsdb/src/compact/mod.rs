//! Compaction: series of the head or of blocks, merged into a new block.
//!
//! Deciding is apart from doing: [`plan`], [`retention`] and [`reload`] are pure functions over [`BlockFacts`]; what is read is
//! behind [`source`].

pub mod source;

mod chain;
pub mod read;
pub mod run;
mod series;
pub(crate) mod texts;

pub mod plan;
pub mod reload;
pub mod retention;

pub use run::CompactError;

use crate::block::Meta;
use crate::block::meta::{HINT_OUT_OF_ORDER, HINT_SELECTED_SERIES, HINT_STALE_SERIES};
use ulid::Ulid;

/// What decisions need to know of a block; a block's time range is `[min_time, max_time)`, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockFacts {
    /// Its name.
    pub ulid: Ulid,
    /// The first instant.
    pub min_time: i64,
    /// The first instant after it.
    pub max_time: i64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// How many series.
    pub series: u64,
    /// How many tombstones.
    pub tombstones: u64,
    /// Through how many compactions its samples went; 1 = written from the head.
    pub level: u32,
    /// A compaction found that nothing is left of it.
    pub deletable: bool,
    /// A compaction of it failed.
    pub failed: bool,
    /// Which part of the head's samples it holds.
    pub origin: Origin,
    /// The blocks it was made from.
    pub parents: Vec<Ulid>,
}

/// Which samples of its time a block holds, as hints in its meta say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Only samples that came out of order (`from-out-of-order`).
    pub out_of_order: bool,
    /// Only series that had become stale (`from-stale-series`).
    pub stale_series: bool,
    /// Only series that somebody chose (`from-selected-series`).
    pub selected_series: bool,
}

impl BlockFacts {
    /// What a block's meta says of it, and how many bytes its files have.
    pub fn of(meta: &Meta, bytes: u64) -> Self {
        Self {
            ulid: meta.ulid,
            min_time: meta.min_time,
            max_time: meta.max_time,
            bytes,
            series: meta.stats.series,
            tombstones: meta.stats.tombstones,
            level: meta.compaction.level,
            deletable: meta.compaction.deletable,
            failed: meta.compaction.failed,
            origin: Origin::of_hints(meta.compaction.hints.iter().map(String::as_str)),
            parents: meta.compaction.parents.iter().map(|parent| parent.ulid).collect(),
        }
    }
}

impl Origin {
    /// From a meta's hints; unknown ones say nothing.
    pub fn of_hints<'a>(hints: impl IntoIterator<Item = &'a str>) -> Self {
        let mut origin = Self::default();
        for hint in hints {
            match hint {
                HINT_OUT_OF_ORDER => origin.out_of_order = true,
                HINT_STALE_SERIES => origin.stale_series = true,
                HINT_SELECTED_SERIES => origin.selected_series = true,
                _ => {}
            }
        }
        origin
    }

    /// As a meta's hints, sorted.
    pub fn hints(self) -> Vec<&'static str> {
        let all =
            [(self.out_of_order, HINT_OUT_OF_ORDER), (self.selected_series, HINT_SELECTED_SERIES), (self.stale_series, HINT_STALE_SERIES)];
        all.into_iter().filter(|(is, _)| *is).map(|(_, hint)| hint).collect()
    }

    /// Whether the block holds all samples of its time that came in order: only such a block says how far the log is no more needed.
    pub fn is_whole(self) -> bool {
        self == Self::default()
    }
}

/// The time up to which blocks hold all that came in order, if there are such blocks: what the head begins with.
pub fn in_order_max_time(blocks: &[BlockFacts]) -> Option<i64> {
    blocks.iter().filter(|block| block.origin.is_whole()).map(|block| block.max_time).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_round_trip_sorted() {
        let all = Origin { out_of_order: true, stale_series: true, selected_series: true };
        assert_eq!(all.hints(), ["from-out-of-order", "from-selected-series", "from-stale-series"]);
        assert_eq!(Origin::of_hints(all.hints()), all);
        assert!(Origin::of_hints(["something-new"]).is_whole());
    }

    #[test]
    fn only_whole_blocks_say_where_the_head_begins() {
        let block = |max_time, origin| BlockFacts { max_time, origin, ..BlockFacts::default() };
        let ooo = Origin { out_of_order: true, ..Origin::default() };
        assert_eq!(in_order_max_time(&[block(30, ooo)]), None);
        assert_eq!(in_order_max_time(&[block(20, Origin::default()), block(30, ooo), block(10, Origin::default())]), Some(20));
    }
}
