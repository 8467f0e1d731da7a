//! What a clean stop saves of the head beside its files: series, open chunks, deletions, metadata, exemplars.

use super::Head;
use super::series::Open;
use crate::chunk::Encoded;
use crate::tombstones::Intervals;
use model::{Exemplar, Labels, Metadata};
use std::sync::{Arc, PoisonError};
use storage::{SeriesRef, Slot};

/// A series and what of it lies in memory only.
#[derive(Debug)]
pub struct Exported<'s> {
    /// Its name in the log.
    pub series_ref: SeriesRef,
    /// Its labels.
    pub labels: Labels,
    /// Full chunks in order that no file has yet.
    pub full: &'s [Encoded],
    /// Its open chunk.
    pub open: Option<Open<'s>>,
    /// What is deleted of it.
    pub deleted: Option<&'s Intervals>,
    /// Its metadata.
    pub metadata: Option<Arc<Metadata>>,
}

impl Head {
    /// Gives all series to `visit`, until it says no; whether it never did and nothing was left out. Chunks in files and out-of-order samples, which have
    /// their own log, are not exported. Nobody may commit meanwhile.
    pub fn export(&self, mut visit: impl FnMut(&Exported<'_>) -> bool) -> bool {
        // The log does not know these, so nobody else may.
        if !self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return false;
        }
        let (index, all_metadata) = (self.read_index(), self.metadata());
        for number in 0.. {
            let Some(slab) = self.slabs.lock_number(number) else { break };
            for (Slot(slot), series) in slab.all(number) {
                if !index.slots().contains(slot) {
                    continue;
                }
                let exported = Exported {
                    series_ref: series.series_ref(),
                    labels: index.labels(slot),
                    full: series.full(),
                    open: series.open(),
                    deleted: series.deleted(),
                    metadata: all_metadata.get(Slot(slot)).cloned(),
                };
                if !visit(&exported) {
                    return false;
                }
            }
        }
        true
    }

    /// Gives all exemplars to `visit`, in the order in which they came.
    pub fn export_exemplars(&self, mut visit: impl FnMut(SeriesRef, &Exemplar)) {
        for (series_ref, _, exemplar) in self.exemplar_ring().iter() {
            visit(series_ref, exemplar);
        }
    }
}
