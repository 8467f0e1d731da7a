//! What is saved of the head beside its files: series, open chunks, deletions, metadata, exemplars.

use super::Head;
use super::index::Index;
use super::pairs::PairId;
use super::series::Open;
use super::slab::SLAB_SLOTS;
use crate::chunk::Encoded;
use crate::tombstones::Intervals;
use model::{Exemplar, Metadata};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use storage::{SeriesHandle, SeriesRef, Slot};

/// Series that are exported under one hold of the locks: some tens of microseconds' work.
const PIECE: u32 = 64;

/// A series and what of it lies in memory only.
#[derive(Debug)]
pub struct Exported<'s> {
    /// Its name in the log.
    pub series_ref: SeriesRef,
    /// Its labels.
    pub labels: ExportedLabels<'s>,
    /// Full chunks in order that no file has yet.
    pub full: &'s [Encoded],
    /// Its open chunk.
    pub open: Option<Open<'s>>,
    /// What is deleted of it.
    pub deleted: Option<&'s Intervals>,
    /// See [`MemSeries::late_until`](super::series::MemSeries::late_until).
    pub late_until: Option<i64>,
    /// Its metadata.
    pub metadata: Option<Arc<Metadata>>,
}

/// The labels of a series: pairs by number, which stay the same as long as no series is removed.
#[derive(Clone, Copy, Debug)]
pub struct ExportedLabels<'s> {
    index: &'s Index,
    slot: u32,
}

impl<'s> ExportedLabels<'s> {
    /// The numbers of its pairs, in order of name.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + 's {
        self.index.pair_ids(self.slot).map(|pair| pair.0)
    }

    /// Name and value of one of its pairs.
    pub fn texts(&self, number: u32) -> (&'s str, &'s str) {
        self.index.pairs.texts(PairId(number))
    }

    /// Names and values, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&'s str, &'s str)> + 's {
        let Self { index, slot } = *self;
        index.pair_ids(slot).map(|pair| index.pairs.texts(pair))
    }
}

impl Head {
    /// Gives the series of one of the pieces that the head is cut into, by number from 0, to `visit`; whether there may be another
    /// piece. Chunks in files and out-of-order samples, which have their own log, are not exported. Nobody may remove series meanwhile; what is
    /// committed between two pieces may be in the second.
    pub fn export(&self, piece: u32, mut visit: impl FnMut(&Exported<'_>)) -> bool {
        let Some(first) = piece.checked_mul(PIECE) else { return false };
        let slots = first..first.saturating_add(PIECE);
        let metadata: Vec<Option<Arc<Metadata>>> = {
            let known = self.metadata();
            slots.clone().map(|slot| known.get(Slot(slot)).cloned()).collect()
        };
        let index = self.read_index();
        let number = (first / SLAB_SLOTS) as usize;
        let Some(slab) = self.slabs.lock_number(number) else { return false };
        for (Slot(slot), series) in slab.all(number) {
            if !slots.contains(&slot) || !index.slots().contains(slot) {
                continue;
            }
            visit(&Exported {
                series_ref: series.series_ref(),
                labels: ExportedLabels { index: &index, slot },
                full: series.full(),
                open: series.open(),
                deleted: series.deleted(),
                late_until: series.late_until(),
                metadata: metadata.get((slot - first) as usize).cloned().flatten(),
            });
        }
        true
    }

    /// Whether there are series that the log failed to take: only it may tell of them.
    pub fn has_unlogged(&self) -> bool {
        !self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// How often the log failed to take some.
    pub fn unlogged_count(&self) -> u64 {
        self.counters.unlogged.load(Ordering::Acquire)
    }

    /// Has the log told of all series again, with the next commit that logs anything.
    pub fn log_all_again(&self) {
        let index = self.read_index();
        let all = index.slots().iter().map(|slot| index.handle(slot));
        self.add_unlogged(&mut all.collect());
    }

    /// Has the log told of these series again.
    pub(super) fn add_unlogged(&self, handles: &mut Vec<SeriesHandle>) {
        if !handles.is_empty() {
            let mut unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner);
            unlogged.append(handles);
            self.counters.unlogged.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Gives all exemplars to `visit`, in the order in which they came.
    pub fn export_exemplars(&self, mut visit: impl FnMut(SeriesRef, &Exemplar)) {
        for (series_ref, _, exemplar) in self.exemplar_ring().iter() {
            visit(series_ref, exemplar);
        }
    }
}
