//! What comes with a batch's samples: metadata and exemplars.
//!
//! Both are of series that exist; rows create them. They are checked with the batch, stand in the log before and behind its samples,
//! and change the head when the log has them.

use super::Head;
use super::exemplars::{ExemplarError, Exemplars};
use super::metadata::SeriesMetadata;
use crate::wal::Records;
use crate::wal::record::{ExemplarsEncoder, MetadataEncoder};
use model::{Exemplar, Labels, Matcher, Metadata};
use std::sync::{MutexGuard, PoisonError};
use storage::{Batch, Cancel, Committed, ExemplarSource, Interval, RowSeries, SelectError, SeriesExemplars, SeriesHandle, Slot};

/// What of a batch passed the check.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    metadata: Vec<(SeriesHandle, u32)>,
    exemplars: Vec<(SeriesHandle, Labels, u32)>,
}

impl Head {
    /// Checks what comes with the samples.
    pub(super) fn annotations(&self, batch: &Batch, result: &mut Committed) -> Annotations {
        let mut passed = Annotations::default();
        let with_metadata = self.options.metadata_records && !batch.metadata.is_empty();
        let with_exemplars = !batch.exemplars.is_empty() && self.exemplar_ring().capacity() > 0;
        if !with_metadata && !with_exemplars {
            return passed;
        }
        let index = self.read_index();
        let series_of = |series: RowSeries, result: &Committed| {
            let handle = match series {
                RowSeries::Known(handle) => Some(handle),
                RowSeries::Labels(at) => result.handles.get(at as usize).copied().flatten(),
            };
            let handle = handle.filter(|handle| index.slots().contains(handle.slot.0) && index.handle(handle.slot.0) == *handle);
            // It must not be removed before its metadata is there.
            self.keep_alive(&[handle]);
            handle
        };
        if with_metadata {
            let known = self.metadata();
            for (at, (series, metadata)) in (0u32..).zip(&batch.metadata) {
                if let Some(handle) = series_of(*series, result)
                    && known.get(handle.slot).is_none_or(|known| **known != *metadata)
                {
                    passed.metadata.push((handle, at));
                }
            }
        }
        if with_exemplars {
            let known = self.exemplar_ring();
            for (at, (series, exemplar)) in (0u32..).zip(&batch.exemplars) {
                let Some(handle) = series_of(*series, result) else { continue };
                let labels = index.labels(handle.slot.0);
                match known.check(handle.series_ref, || labels.clone(), exemplar) {
                    Ok(()) => passed.exemplars.push((handle, labels, at)),
                    Err(ExemplarError::OutOfOrder) => result.exemplars_out_of_order.push(at),
                    // Repetitions are no fault, and the others are dropped silently.
                    Err(ExemplarError::Duplicate | ExemplarError::LabelLength | ExemplarError::Disabled) => {}
                }
            }
        }
        passed
    }

    /// Puts what the log has into the head.
    pub(super) fn annotate(&self, batch: &Batch, passed: Annotations) {
        if !passed.metadata.is_empty() {
            let mut known = self.metadata();
            for (handle, at) in passed.metadata {
                known.set(handle.slot, &batch.metadata[at as usize].1);
            }
        }
        if !passed.exemplars.is_empty() {
            let mut known = self.exemplar_ring();
            for (handle, labels, at) in passed.exemplars {
                // What the batch itself makes out of order is dropped, as in Prometheus.
                let _ = known.add(handle.series_ref, || labels, batch.exemplars[at as usize].1.clone());
            }
        }
    }

    /// The exemplars; held for moments only.
    pub fn exemplar_ring(&self) -> MutexGuard<'_, Exemplars> {
        self.exemplars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metadata of series; held for moments only.
    pub fn metadata(&self) -> MutexGuard<'_, SeriesMetadata> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exemplar of the log.
    pub fn replay_exemplar(&self, slot: Slot, exemplar: Exemplar) {
        let index = self.read_index();
        let (handle, labels) = (index.handle(slot.0), index.labels(slot.0));
        drop(index);
        let _ = self.exemplar_ring().add(handle.series_ref, || labels, exemplar);
    }

    /// Metadata of the log.
    pub fn replay_metadata(&self, slot: Slot, metadata: &Metadata) {
        self.metadata().set(slot, metadata);
    }
}

impl ExemplarSource for Head {
    fn exemplars(&self, range: Interval, matcher_sets: &[Vec<Matcher>], cancel: &Cancel) -> Result<Vec<SeriesExemplars>, SelectError> {
        self.exemplar_ring().select(range, matcher_sets, cancel)
    }
}

impl Annotations {
    /// Nothing to be logged.
    pub(super) fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.exemplars.is_empty()
    }

    /// Before the samples' records.
    pub(super) fn add_metadata(&self, batch: &Batch, records: &mut Records) {
        records.add(|bytes| {
            let mut encoder = MetadataEncoder::start(bytes);
            for (handle, at) in &self.metadata {
                let Metadata { kind, unit, help } = &batch.metadata[*at as usize].1;
                encoder.push(handle.series_ref, *kind, unit, help);
            }
        });
    }

    /// Behind the samples' records: whoever reads the log has the series' samples first.
    pub(super) fn add_exemplars(&self, batch: &Batch, records: &mut Records) {
        records.add(|bytes| {
            let mut encoder = ExemplarsEncoder::start(bytes);
            for (handle, _, at) in &self.exemplars {
                let Exemplar { labels, value, timestamp, .. } = &batch.exemplars[*at as usize].1;
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                encoder.push(handle.series_ref, timestamp.0, *value, pairs.into_iter());
            }
        });
    }
}
