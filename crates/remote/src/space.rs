//! What a request becomes on its way to the store, in buffers that are used again.
//!
//! # Invariants
//! - Rows of one series lie together; [`Entry`]s are in the order of their rows, also those that have lost theirs.
//! - `exemplar_entries` and `metadata_entries` are as long as the batch's lists that they belong to.

use crate::cache::{Cache, Key};
use crate::histogram::{Sent, histogram};
use crate::message::{self, Contents, Rare};
use crate::wire::WireError;
use model::histogram::{HistogramError, SCHEMA_MAX, SCHEMA_MAX_RESERVED};
use model::{Exemplar, Timestamp};
use storage::{Batch, Committed, Row, RowOutcome, RowSeries, RowValue};

/// Not known yet.
pub(crate) const UNNAMED: RowSeries = RowSeries::Labels(u32::MAX);

/// Buffers of one request.
#[derive(Default)]
pub(crate) struct Space {
    pub message: Vec<u8>,
    pub entries: Vec<Entry>,
    pub batch: Batch,
    /// Per entry of the batch's labels.
    pub label_keys: Vec<Option<Key>>,
    /// Whose each of the batch's exemplars is.
    pub exemplar_entries: Vec<u32>,
    /// Whose each of the batch's metadata is.
    pub metadata_entries: Vec<u32>,
    pub committed: Committed,
}

/// A series of the request that has rows or exemplars.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// `None`: its label bytes are no good key.
    pub key: Option<Key>,
    /// Where it lies in the message.
    pub start: usize,
    pub len: usize,
    pub first_row: usize,
    pub rows_end: usize,
    /// Which series of the request it is.
    pub number: u32,
    /// `None`: it is not stored.
    pub series: Option<RowSeries>,
}

impl Space {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.batch.clear();
        self.label_keys.clear();
        self.exemplar_entries.clear();
        self.metadata_entries.clear();
    }

    /// Reads a message of version 1.0: a row for each sample, an entry for each series that has something to store.
    /// Exemplars later than the batch may be are dropped.
    pub(crate) fn read(&mut self, key_of: impl Fn(&[u8]) -> Key) -> Result<(), WireError> {
        self.clear();
        let (message, entries, batch, exemplar_entries) = (&self.message, &mut self.entries, &mut self.batch, &mut self.exemplar_entries);
        let base = message.as_ptr() as usize;
        let mut rare = Vec::new();
        let mut number = 0;
        message::each_series(message, |bytes| {
            let first_row = batch.rows.len();
            rare.clear();
            let rows = &mut batch.rows;
            // Which series it is follows with the next pass.
            let Contents { label_bytes, scattered } =
                message::series(bytes, |sample| rows.push(row(sample.time, RowValue::Float(sample.value))), &mut rare)?;
            let exemplars_before = batch.exemplars.len();
            for part in &rare {
                match part {
                    Rare::Histogram(bytes) => {
                        let (time, sent) = histogram(bytes)?;
                        push_histogram(batch, time, sent);
                    }
                    Rare::Exemplar(bytes) => batch.exemplars.extend(message::exemplar(bytes)?.map(|exemplar| (UNNAMED, exemplar))),
                }
            }
            order_markers(&mut batch.rows[first_row..]);
            let rows_end = batch.rows.len();
            if rows_end > first_row || batch.exemplars.len() > exemplars_before {
                let key = (!scattered).then(|| key_of(label_bytes));
                exemplar_entries.resize(batch.exemplars.len(), entries.len() as u32);
                let start = bytes.as_ptr() as usize - base;
                entries.push(Entry { key, start, len: bytes.len(), first_row, rows_end, number, series: None });
            } else {
                // No sample, no series; but what is no message has to be refused all the same.
                message::labels(bytes)?;
            }
            number += 1;
            Ok(())
        })
    }

    /// Gives the rows of version 1.0 their series, and takes out those of invalid ones; says how many these were.
    /// A pass of its own, so that the cache's lock is taken once, and its misses overlap.
    pub(crate) fn resolve(&mut self, cache: &Cache) -> Result<u64, WireError> {
        let mut lookups = cache.lookups();
        let mut unknown = false;
        for entry in &mut self.entries {
            entry.series = entry.key.and_then(|key| lookups.get(key)).map(RowSeries::Known);
            unknown |= entry.series.is_none();
            if let Some(series) = entry.series {
                self.batch.rows[entry.first_row..entry.rows_end].iter_mut().for_each(|row| row.series = series);
            }
        }
        drop(lookups);
        let invalid = if unknown { self.name_unknown()? } else { 0 };
        if invalid > 0 {
            self.retain_rows(|entry| entry.series.is_some());
        }
        self.name_exemplars();
        Ok(invalid)
    }

    /// Names the entries without a series; how many rows those have that are invalid.
    fn name_unknown(&mut self) -> Result<u64, WireError> {
        let mut invalid = 0;
        for at in 0..self.entries.len() {
            let entry = self.entries[at];
            if entry.series.is_some() {
                continue;
            }
            let rows = entry.first_row..entry.rows_end;
            // Senders give exemplars a series of their own. They make no series.
            let series = if rows.is_empty() { self.named_before(entry.key) } else { self.name(at)? };
            self.entries[at].series = series;
            match series {
                Some(series) => self.batch.rows[rows].iter_mut().for_each(|row| row.series = series),
                None => invalid += rows.len() as u64,
            }
        }
        Ok(invalid)
    }

    /// Adds the series' labels to the batch; `None` if they are invalid.
    fn name(&mut self, at: usize) -> Result<Option<RowSeries>, WireError> {
        let entry = self.entries[at];
        let labels = message::labels(&self.message[entry.start..entry.start + entry.len])?;
        Ok(labels.map(|labels| self.add_labels(entry.key, labels)))
    }

    pub(crate) fn add_labels(&mut self, key: Option<Key>, labels: model::Labels) -> RowSeries {
        let index = u32::try_from(self.batch.labels.len()).expect("a message holds fewer series than bytes, and those are bounded");
        self.label_keys.push(key);
        self.batch.labels.push(labels);
        RowSeries::Labels(index)
    }

    /// A series that the batch has named for its samples.
    fn named_before(&self, key: Option<Key>) -> Option<RowSeries> {
        let at = self.label_keys.iter().rposition(|named| named.is_some() && *named == key)?;
        Some(RowSeries::Labels(u32::try_from(at).ok()?))
    }

    /// Gives exemplars the series of their entries; those of series that are not stored go.
    fn name_exemplars(&mut self) {
        if self.batch.exemplars.is_empty() {
            return;
        }
        let latest = self.batch.latest;
        let (entries, owners) = (&self.entries, &mut self.exemplar_entries);
        let mut kept = Vec::with_capacity(owners.len());
        let mut at = 0;
        self.batch.exemplars.retain_mut(|(series, exemplar)| {
            let owner = owners[at];
            at += 1;
            let found = entries[owner as usize].series.filter(|_| latest.is_none_or(|latest| exemplar.timestamp <= latest));
            found.is_some_and(|found| {
                *series = found;
                kept.push(owner);
                true
            })
        });
        *owners = kept;
    }

    /// Takes out the rows of other entries; [`Entry`]s' ranges move with their rows.
    pub(crate) fn retain_rows(&mut self, keep: impl Fn(&Entry) -> bool) {
        let mut next = 0;
        for entry in &mut self.entries {
            let rows = entry.first_row..entry.rows_end;
            let len = if keep(entry) { rows.len() } else { 0 };
            if len > 0 {
                self.batch.rows.copy_within(rows, next);
            }
            (entry.first_row, entry.rows_end) = (next, next + len);
            next += len;
        }
        self.batch.rows.truncate(next);
    }

    /// Series of version 1.0 whose handle the store no longer knows are named by their labels.
    pub(crate) fn name_gone(&mut self) -> Result<(), WireError> {
        for at in self.gone() {
            // Named already.
            if !matches!(self.entries[at].series, Some(RowSeries::Known(_))) {
                continue;
            }
            let series = self.name(at)?;
            self.entries[at].series = series;
            if let Some(series) = series {
                let rows = self.entries[at].first_row..self.entries[at].rows_end;
                self.batch.rows[rows].iter_mut().for_each(|row| row.series = series);
            }
        }
        self.name_exemplars();
        Ok(())
    }

    /// The entries with rows whose handle is out of date.
    pub(crate) fn gone(&self) -> Vec<usize> {
        let refused = self.committed.refused.iter().filter(|(_, outcome)| *outcome == RowOutcome::Gone);
        let mut entries: Vec<usize> = refused.filter_map(|(row, _)| self.entry_of(*row)).collect();
        entries.dedup();
        entries
    }

    /// The entry that has this row.
    pub(crate) fn entry_of(&self, row: u32) -> Option<usize> {
        let at = self.entries.partition_point(|entry| entry.rows_end <= row as usize);
        (at < self.entries.len()).then_some(at)
    }

    pub(crate) fn push_exemplar(&mut self, entry: u32, series: RowSeries, exemplar: Exemplar) {
        self.exemplar_entries.push(entry);
        self.batch.exemplars.push((series, exemplar));
    }

    /// Reduces and checks the histograms of the batch's rows, as Prometheus does before it stores them.
    ///
    /// # Errors
    /// With the first row whose histogram is not valid.
    pub(crate) fn check_histograms(&mut self) -> Result<(), HistogramError> {
        if self.batch.histograms.is_empty() && self.batch.float_histograms.is_empty() {
            return Ok(());
        }
        for row in &self.batch.rows {
            match row.value {
                RowValue::Float(_) => {}
                RowValue::Histogram(at) => fit(&mut self.batch.histograms[at as usize])?,
                RowValue::FloatHistogram(at) => fit_float(&mut self.batch.float_histograms[at as usize])?,
            }
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.message.capacity() + self.entries.capacity() * size_of::<Entry>() + self.batch.rows.capacity() * size_of::<Row>()
    }
}

/// A row of a series that is not named yet.
pub(crate) fn row(timestamp: Timestamp, value: RowValue) -> Row {
    Row { series: UNNAMED, start: Timestamp(0), timestamp, value }
}

/// Adds a row with a histogram of a series that is not named yet.
pub(crate) fn push_histogram(batch: &mut Batch, time: Timestamp, sent: Sent) {
    let index = |len: usize| u32::try_from(len).expect("a message holds fewer histograms than bytes, and those are bounded");
    let value = match sent {
        Sent::Integer(histogram) => {
            batch.histograms.push(histogram);
            RowValue::Histogram(index(batch.histograms.len() - 1))
        }
        Sent::Float(histogram) => {
            batch.float_histograms.push(histogram);
            RowValue::FloatHistogram(index(batch.float_histograms.len() - 1))
        }
    };
    batch.rows.push(row(time, value));
}

/// A message lists a series' floats before its histograms, and a marker that ends a series of histograms is a float:
/// read in the message's order it would make histograms of before its time too late.
pub(crate) fn order_markers(rows: &mut [Row]) {
    let is_marker = |row: &Row| matches!(row.value, RowValue::Float(value) if model::value::is_stale(value));
    let is_float = |row: &Row| matches!(row.value, RowValue::Float(_));
    if !rows.first().is_some_and(is_marker) || rows.last().is_none_or(is_float) {
        return;
    }
    if rows.iter().all(|row| is_marker(row) || !is_float(row)) {
        rows.sort_by_key(|row| (row.timestamp, is_marker(row)));
    }
}

/// Resolutions that are reserved but not in use are reduced to the finest one in use.
fn is_reserved(schema: i32) -> bool {
    schema > SCHEMA_MAX && schema <= SCHEMA_MAX_RESERVED
}

pub(crate) fn fit(histogram: &mut model::Histogram) -> Result<(), HistogramError> {
    if is_reserved(histogram.schema) {
        histogram.reduce_resolution(SCHEMA_MAX)?;
    }
    histogram.validate()
}

pub(crate) fn fit_float(histogram: &mut model::FloatHistogram) -> Result<(), HistogramError> {
    if is_reserved(histogram.schema) {
        histogram.reduce_resolution(SCHEMA_MAX)?;
    }
    histogram.validate()
}
