//! Batches that come before the log is replayed.
//!
//! Scraping starts with the process, the store when its log is read. What is scraped in between waits here, parsed, in a queue
//! that is bounded in bytes; it is committed before the store says that it is ready.

use model::{Exemplar, FloatHistogram, Histogram, Labels, Metadata};
use std::mem::size_of_val;
use storage::{Batch, CommitError, Committed, RowSeries};

/// Bytes of batches that may wait; who comes later is told that the store is not ready.
const BYTES_MAX: usize = 64 << 20;

/// Batches in the order they came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    batches: Vec<Batch>,
    bytes: usize,
    refused: u64,
}

impl Waiting {
    /// Keeps a copy of a batch. Its rows count as stored; nobody gets a handle yet.
    pub fn push(&mut self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        let bytes = size(batch);
        if self.bytes + bytes > BYTES_MAX {
            self.refused += 1;
            return Err(CommitError::NotReady);
        }
        self.bytes += bytes;
        self.batches.push(Batch {
            rows: batch.rows.clone(),
            labels: batch.labels.clone(),
            histograms: batch.histograms.clone(),
            float_histograms: batch.float_histograms.clone(),
            exemplars: batch.exemplars.clone(),
            metadata: batch.metadata.clone(),
            added_row: batch.added_row,
            on_refused: batch.on_refused,
            latest: batch.latest,
        });
        *result = Committed { handles: vec![None; batch.labels.len()], stored: batch.rows.len() as u64, ..Committed::default() };
        Ok(())
    }

    /// All that waited, by the time of their first rows.
    pub fn take(&mut self) -> Vec<Batch> {
        self.bytes = 0;
        let mut batches = std::mem::take(&mut self.batches);
        batches.sort_by_key(|batch| batch.rows.first().map(|row| row.timestamp));
        batches
    }

    /// Batches that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// About how many bytes a copy of a batch takes.
fn size(batch: &Batch) -> usize {
    let labels = |labels: &Labels| size_of_val(labels) + labels.as_bytes().len();
    let histogram = |h: &Histogram| {
        size_of_val(h)
            + size_of_val(&*h.positive_spans)
            + size_of_val(&*h.negative_spans)
            + size_of_val(&*h.positive_deltas)
            + size_of_val(&*h.negative_deltas)
            + size_of_val(&*h.custom_values)
    };
    let float_histogram = |h: &FloatHistogram| {
        size_of_val(h)
            + size_of_val(&*h.positive_spans)
            + size_of_val(&*h.negative_spans)
            + size_of_val(&*h.positive_counts)
            + size_of_val(&*h.negative_counts)
            + size_of_val(&*h.custom_values)
    };
    size_of_val(batch)
        + size_of_val(&*batch.rows)
        + batch.labels.iter().map(labels).sum::<usize>()
        + batch.histograms.iter().map(histogram).sum::<usize>()
        + batch.float_histograms.iter().map(float_histogram).sum::<usize>()
        + batch
            .exemplars
            .iter()
            .map(|(series, e): &(RowSeries, Exemplar)| size_of_val(series) + size_of_val(e) + e.labels.as_bytes().len())
            .sum::<usize>()
        + batch
            .metadata
            .iter()
            .map(|(series, m): &(RowSeries, Metadata)| size_of_val(series) + size_of_val(m) + m.unit.len() + m.help.len())
            .sum::<usize>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use model::Timestamp;
    use storage::{Row, RowValue};

    fn batch(time: i64, label_len: usize) -> Batch {
        let row = Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp: Timestamp(time), value: RowValue::Float(1.0) };
        Batch { rows: vec![row], labels: vec![Labels::from_pairs([("a", &*"x".repeat(label_len))])], ..Batch::default() }
    }

    #[test]
    fn batches_come_back_in_order_of_time() {
        let mut waiting = Waiting::default();
        let mut result = Committed::default();
        for time in [3, 1, 2] {
            waiting.push(&batch(time, 1), &mut result).unwrap();
            assert_eq!((result.handles.as_slice(), result.stored), ([None].as_slice(), 1));
        }
        let times: Vec<i64> = waiting.take().iter().map(|batch| batch.rows[0].timestamp.0).collect();
        assert_eq!(times, [1, 2, 3]);
        assert!(waiting.take().is_empty());
    }

    #[test]
    fn what_exceeds_the_bound_is_refused_and_counted() {
        let mut waiting = Waiting::default();
        let mut result = Committed::default();
        waiting.push(&batch(1, BYTES_MAX / 2), &mut result).unwrap();
        assert!(matches!(waiting.push(&batch(2, BYTES_MAX / 2), &mut result), Err(CommitError::NotReady)));
        assert_eq!(waiting.refused(), 1);
        waiting.push(&batch(3, 10), &mut result).unwrap();
    }
}
