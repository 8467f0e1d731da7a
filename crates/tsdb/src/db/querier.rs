//! Reading: the head and the blocks as one.
//!
//! The head is asked first and the set of blocks taken after that: what a compaction moves in between is in both, and
//! merging leaves it once. The other way round it could be in neither.

use super::Db;
use crate::block::Block;
use crate::merge::{Precedence, merge_names, merge_selections};
use model::Matcher;
use storage::{Cancel, ExemplarSource, Interval, Names, Queryable, SelectError, SelectHints, Selection, SeriesExemplars};

impl Db {
    /// What of the blocks may have samples in a range of time.
    pub(super) fn blocks_in(&self, range: Interval) -> Vec<Block> {
        let open = self.blocks.open();
        let overlaps = |block: &&Block| {
            let meta = block.meta();
            meta.min_time <= range.end.0 && range.start.0 < meta.max_time
        };
        open.iter().filter(overlaps).cloned().collect()
    }

    fn names(
        &self,
        range: Interval,
        hints: &SelectHints,
        ask: impl Fn(&dyn Queryable) -> Result<Names, SelectError>,
    ) -> Result<Names, SelectError> {
        self.ready()?;
        hints.cancel.check()?;
        let head = ask(&self.head)?;
        let mut all = vec![head];
        for block in self.blocks_in(range) {
            let damaged = |warnings| Names { warnings, ..Names::default() };
            all.push(ask(&block).or_else(|error| without(error).map(damaged))?);
        }
        merge_names(all, hints)
    }
}

/// Damage in the index of a block costs its part of an answer, which says so.
fn without(error: SelectError) -> Result<Vec<String>, SelectError> {
    match error {
        SelectError::Corrupt(what) => Ok(vec![what]),
        error => Err(error),
    }
}

impl Queryable for Db {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        self.ready()?;
        hints.cancel.check()?;
        let head = self.head.select(range, matchers, hints)?;
        let blocks = self.blocks_in(range);
        if blocks.is_empty() {
            return Ok(head);
        }
        let mut all = Vec::with_capacity(blocks.len() + 1);
        for block in blocks {
            let damaged = |warnings| Selection { warnings, ..Selection::default() };
            all.push(block.select(range, matchers, hints).or_else(|error| without(error).map(damaged))?);
        }
        // The head has the latest samples; of those with one time Prometheus looks at the head's first.
        all.push(head);
        merge_selections(all, Precedence::LastFirst, hints)
    }

    fn label_names(&self, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        self.names(range, hints, |source| source.label_names(range, matcher_sets, hints))
    }

    fn label_values(&self, name: &str, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        self.names(range, hints, |source| source.label_values(name, range, matcher_sets, hints))
    }
}

impl ExemplarSource for Db {
    fn exemplars(&self, range: Interval, matcher_sets: &[Vec<Matcher>], cancel: &Cancel) -> Result<Vec<SeriesExemplars>, SelectError> {
        self.ready()?;
        self.head.exemplars(range, matcher_sets, cancel)
    }
}
