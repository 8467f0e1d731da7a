//! Selecting from the head.
//!
//! Under the locks only slots are found and bytes copied: all open chunks of a selection go into one buffer, closed
//! ones are shared. Labels are built for selected series only, and samples are decoded by whoever asked, without any lock.

use super::Head;
use super::sequence::Sequence;
use super::slab::{ClosedChunk, slab_number};
use crate::chunk::xor;
use model::{Labels, Matcher};
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::Arc;
use storage::{Column, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series, Slot};

/// What a selection copied, shared by its series.
#[derive(Debug, Default)]
struct Copied {
    series: Vec<Entry>,
    closed: Vec<ClosedChunk>,
    open: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    labels: Labels,
    slot: u32,
    closed: Range<u32>,
    open: Range<usize>,
    /// Samples after it belong to commits that the selection does not see.
    visible_until: i64,
    samples: u32,
}

#[derive(Debug)]
struct HeadSeries {
    copied: Arc<Copied>,
    at: u32,
}

impl Head {
    fn matching(&self, matchers: &[Matcher]) -> RoaringBitmap {
        self.read_index().matching(matchers)
    }

    /// Copies the chunks of these series that overlap `range`; series without any are left out.
    fn copy(&self, slots: &RoaringBitmap, range: Interval, hints: &SelectHints, upto: Sequence) -> Copied {
        let mut copied = Copied::default();
        let mut slots = slots.iter().peekable();
        while let Some(first) = slots.peek().copied() {
            let number = slab_number(Slot(first));
            let Some(slab) = self.slabs.lock(Slot(first)) else { break };
            while let Some(slot) = slots.next_if(|slot| slab_number(Slot(*slot)) == number) {
                let Some(visible_until) = slab.visible_until(Slot(slot), upto) else { continue };
                let Some(series) = slab.series(Slot(slot)) else { continue };
                let (closed_from, open_from) = (copied.closed.len() as u32, copied.open.len());
                let mut overlaps = false;
                let mut samples = 0u32;
                let last = visible_until.min(range.end.0);
                for chunk in series.closed().iter().filter(|c| c.max_time >= range.start.0 && c.min_time <= last) {
                    overlaps = true;
                    samples += u32::from(xor::sample_count(&chunk.bytes).unwrap_or(0));
                    if !hints.labels_only {
                        copied.closed.push(chunk.clone());
                    }
                }
                let (bytes, since) = series.open();
                let open_until = series.newest().map_or(i64::MIN, |(newest, _)| newest).min(visible_until);
                if since <= last && open_until >= range.start.0 {
                    overlaps = true;
                    samples += u32::from(series.open_samples());
                    if !hints.labels_only {
                        copied.open.extend_from_slice(bytes);
                    }
                }
                if overlaps {
                    copied.series.push(Entry {
                        labels: Labels::empty(),
                        slot,
                        closed: closed_from..copied.closed.len() as u32,
                        open: open_from..copied.open.len(),
                        visible_until,
                        samples,
                    });
                }
            }
        }
        copied
    }

    /// Slots of series that satisfy any of the sets and have chunks in `range`; none means that all series count.
    fn slots_of_any(&self, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Option<RoaringBitmap> {
        if matcher_sets.is_empty() {
            return None;
        }
        let view = self.sequencer.view();
        let mut slots = RoaringBitmap::new();
        for matchers in matcher_sets {
            slots |= self.matching(matchers);
        }
        let hints = SelectHints { labels_only: true, ..SelectHints::default() };
        let copied = self.copy(&slots, range, &hints, view.upto());
        Some(copied.series.iter().map(|entry| entry.slot).collect())
    }

    fn overlaps(&self, range: Interval) -> bool {
        self.time_range().is_some_and(|(min, max)| min <= range.end.0 && max >= range.start.0)
    }
}

impl Queryable for Head {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        if !self.overlaps(range) {
            return Ok(Selection::default());
        }
        // The view is taken before the slots are found: a commit that it sees has its series in the index by then.
        let view = self.sequencer.view();
        let slots = self.matching(matchers);
        let mut copied = self.copy(&slots, range, hints, view.upto());
        drop(view);
        {
            let index = self.read_index();
            for entry in &mut copied.series {
                entry.labels = index.labels(entry.slot);
            }
        }
        if hints.sorted {
            copied.series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        }
        if hints.limit > 0 {
            copied.series.truncate(hints.limit);
        }
        let copied = Arc::new(copied);
        let series = (0..copied.series.len() as u32).map(|at| Box::new(HeadSeries { copied: copied.clone(), at }) as Box<dyn Series>);
        Ok(Selection { series: series.collect(), warnings: Vec::new() })
    }

    fn label_names(&self, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<Names, SelectError> {
        if !self.overlaps(range) {
            return Ok(Names::default());
        }
        let slots = self.slots_of_any(range, matcher_sets);
        let index = self.read_index();
        let names = index.label_names(slots.as_ref());
        Ok(Names { names, warnings: Vec::new() })
    }

    fn label_values(&self, name: &str, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<Names, SelectError> {
        if !self.overlaps(range) {
            return Ok(Names::default());
        }
        let slots = self.slots_of_any(range, matcher_sets);
        let index = self.read_index();
        let names = index.label_values(name, slots.as_ref());
        Ok(Names { names, warnings: Vec::new() })
    }
}

impl HeadSeries {
    fn entry(&self) -> &Entry {
        &self.copied.series[self.at as usize]
    }
}

impl Series for HeadSeries {
    fn labels(&self) -> &Labels {
        &self.entry().labels
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        let entry = self.entry();
        let times = range.start.0..=range.end.0.min(entry.visible_until);
        let corrupt = |error: xor::Corrupt| SelectError::Corrupt(error.to_string());
        let closed = &self.copied.closed[entry.closed.start as usize..entry.closed.end as usize];
        for chunk in closed.iter().filter(|c| c.max_time >= *times.start() && c.min_time <= *times.end()) {
            xor::decode(&chunk.bytes, times.clone(), &mut column.times, &mut column.values).map_err(corrupt)?;
        }
        let open = &self.copied.open[entry.open.clone()];
        if !open.is_empty() {
            xor::decode(open, times, &mut column.times, &mut column.values).map_err(corrupt)?;
        }
        Ok(())
    }

    fn samples_estimate(&self) -> usize {
        self.entry().samples as usize
    }
}
