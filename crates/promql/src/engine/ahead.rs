//! Series decoded before they are asked for: those of few chunks are decoded faster several at a time.

use super::context::column_bytes;
use std::ops::Range;
use storage::{Column, Interval, SelectError, Series};

/// So many at most.
const SERIES_MAX: usize = 32;

/// Decoded series of one selection, for whoever takes them one after the other.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Series that are decoded and not taken yet.
    ready: Range<usize>,
    /// All but those of the series that are ready are empty.
    columns: Vec<Column>,
    /// The column of the first that is ready.
    next: usize,
    /// So many are worth being offered: some stores take none but the first, and some series are too long.
    offered: usize,
    /// What the columns take.
    bytes: u64,
}

impl Ahead {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { ready: 0..0, columns: Vec::new(), next: 0, offered: SERIES_MAX, bytes: 0 }
    }

    /// Puts a series' samples into the column, if they are there.
    pub fn take(&mut self, i: usize, column: &mut Column) -> bool {
        if self.ready.start != i || self.ready.is_empty() {
            return false;
        }
        column.clear();
        let taken = &mut self.columns[self.next];
        self.bytes = (self.bytes + column_bytes(column)).saturating_sub(column_bytes(taken));
        std::mem::swap(column, taken);
        self.ready.start += 1;
        self.next += 1;
        true
    }

    /// Decodes the first of these series into the column, and more for those who come next if that pays; forgets all others.
    ///
    /// # Errors
    /// As [`Series::decode`], of the first one.
    pub fn decode(
        &mut self,
        series: &[Box<dyn Series>],
        wanted: Range<usize>,
        interval: Interval,
        column: &mut Column,
    ) -> Result<(), SelectError> {
        self.columns[self.next..self.next + self.ready.len()].iter_mut().for_each(Column::clear);
        (self.ready, self.next) = (0..0, 0);
        let count = wanted.len().min(self.offered);
        if count < 2 {
            column.clear();
            return series[wanted.start].decode(interval, column);
        }
        if self.columns.len() < count {
            self.columns.resize_with(count, Column::default);
        }
        let columns = &mut self.columns[..count];
        let before: u64 = columns.iter().map(column_bytes).sum();
        let others = &series[wanted.start + 1..wanted.start + count];
        let decoded = series[wanted.start].decode_several(others, interval, columns);
        let after: u64 = columns.iter().map(column_bytes).sum();
        self.bytes = (self.bytes + after).saturating_sub(before);
        let count = *decoded.as_ref().unwrap_or(&1);
        self.ready = wanted.start..wanted.start + count;
        self.offered = (2 * count).min(SERIES_MAX);
        self.take(wanted.start, column);
        decoded.map(|_| ())
    }

    /// What the columns take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
