//! Records about series: their labels and their metadata.

use super::wire::{Rest, put_labels, put_uvarint};
use super::{METADATA, Malformed, SERIES};
use crate::neighbours::{LabelRow, Neighbours};
use model::{Labels, MetricType};
use storage::SeriesRef;

/// Writes one series record into a buffer. Nothing is written before the first push.
pub struct SeriesEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> SeriesEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// Adds a series; labels in order of their names.
    pub fn push<'l>(&mut self, series: SeriesRef, labels: impl ExactSizeIterator<Item = (&'l str, &'l str)>) {
        if !self.begun {
            self.to.push(SERIES);
            self.begun = true;
        }
        self.to.extend_from_slice(&series.0.to_be_bytes());
        put_labels(self.to, labels);
    }
}

/// Goes through the series of a series record.
#[derive(Debug)]
struct Series<'r> {
    rest: Rest<'r>,
    neighbours: Neighbours<'r>,
}

/// What follows the kind of a series.
struct Next<'r> {
    series: SeriesRef,
    /// Its labels as they lie in the record.
    packed: &'r [u8],
    /// Whether they are as labels should be.
    clean: bool,
}

impl<'r> Series<'r> {
    fn of(record: &'r [u8]) -> Result<Self, Malformed> {
        Ok(Self { rest: Rest::of(record, SERIES)?, neighbours: Neighbours::default() })
    }

    /// Reads the next series.
    fn next(&mut self) -> Result<Option<Next<'r>>, Malformed> {
        let Self { rest, neighbours } = self;
        if rest.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(rest.u64("series ref")?);
        let count = rest.uvarint("count of labels")?;
        let begin = *rest;
        neighbours.begin();
        for _ in 0..count {
            if neighbours.before().is_some_and(|before| rest.skip(before)) {
                neighbours.same();
                continue;
            }
            let pair = *rest;
            rest.skip_text("label name")?;
            rest.skip_text("label value")?;
            neighbours.other(pair.until(rest), || {
                let mut pair = pair;
                Ok((pair.text("label name")?, pair.text("label value")?))
            })?;
        }
        Ok(Some(Next { series, packed: begin.until(rest), clean: neighbours.end() }))
    }
}

/// Visits the series of a series record: ref and labels in the order they were written.
///
/// # Errors
/// [`Malformed`], after the series before the fault were visited.
pub fn decode_series<'r>(record: &'r [u8], mut visit: impl FnMut(SeriesRef, &[(&'r str, &'r str)])) -> Result<(), Malformed> {
    let mut all = Series::of(record)?;
    let mut labels = Vec::new();
    while let Some(Next { series, .. }) = all.next()? {
        labels.clear();
        labels.extend(all.neighbours.labels());
        visit(series, &labels);
    }
    Ok(())
}

/// As [`decode_series`], of very many series: label pairs are numbered, anew in each record, and labels are put in order.
///
/// # Errors
/// [`Malformed`], after the series before the fault were visited.
pub fn decode_series_rows(record: &[u8], mut visit: impl FnMut(SeriesRef, LabelRow<'_>)) -> Result<(), Malformed> {
    let mut all = Series::of(record)?;
    let mut begins = true;
    while let Some(Next { series, packed, clean }) = all.next()? {
        if clean {
            visit(series, all.neighbours.row(packed, begins));
            begins = false;
        } else {
            // Bytes from a disk may be in any order.
            let labels = Labels::from_pairs(all.neighbours.labels());
            LabelRow::visit(&labels, |row| visit(series, row));
            begins = true;
        }
    }
    Ok(())
}

/// Writes one metadata record into a buffer. Nothing is written before the first push.
pub struct MetadataEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> MetadataEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// Bytes in the buffer, what was in it before included.
    pub(crate) fn len(&self) -> usize {
        self.to.len()
    }

    /// Adds the metadata of a series, which replaces what earlier records said.
    pub fn push(&mut self, series: SeriesRef, metric_type: MetricType, unit: &str, help: &str) {
        if !self.begun {
            self.to.push(METADATA);
            self.begun = true;
        }
        put_uvarint(self.to, series.0);
        self.to.push(metric_type_byte(metric_type));
        let fields = [(UNIT_FIELD, unit), (HELP_FIELD, help)];
        put_labels(self.to, fields.into_iter());
    }
}

const UNIT_FIELD: &str = "UNIT";
const HELP_FIELD: &str = "HELP";

/// Visits the entries of a metadata record: ref, type, unit, help. Fields of other names are skipped.
///
/// # Errors
/// [`Malformed`], after the entries before the fault were visited.
pub fn decode_metadata<'r>(record: &'r [u8], mut visit: impl FnMut(SeriesRef, MetricType, &'r str, &'r str)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, METADATA)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let series = SeriesRef(rest.uvarint("metadata ref")?);
        let metric_type = metric_type_of(rest.u8("metadata type")?);
        rest.labels(&mut fields)?;
        let field = |wanted: &str| fields.iter().rev().find(|(name, _)| *name == wanted).map_or("", |(_, value)| *value);
        visit(series, metric_type, field(UNIT_FIELD), field(HELP_FIELD));
    }
    Ok(())
}

fn metric_type_byte(metric_type: MetricType) -> u8 {
    match metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}

fn metric_type_of(byte: u8) -> MetricType {
    match byte {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
