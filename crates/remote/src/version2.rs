//! Version 2.0: what is refused is named line by line, all else is stored and counted.

use crate::cache::{Cache, Key, Lookups};
use crate::histogram::Sent;
use crate::message2::{self, Request, Series, Symbols, display, display_refs};
use crate::receiver::{Receiver, WriteError};
use crate::space::{Entry, Space, fit, fit_float, order_markers, push_histogram, row};
use storage::{OnRefused, RowOutcome, RowSeries, RowValue};

/// How often what is left of a batch is tried again when handles turn out to be out of date.
const TRIES_MAX: usize = 4;

/// What was stored, for the answer's headers. Rows count that only an earlier row of the request made void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

/// What was refused, each with its place in the request.
#[derive(Default)]
struct Refusals {
    lines: Vec<(Place, String)>,
    invalid_labels_samples: u64,
}

/// Finds out which series of the store label sets mean.
struct Names<'c> {
    cache: &'c Cache,
    lookups: Lookups<'c>,
    key_bytes: Vec<u8>,
}

/// Number of the series, 0 for its samples or 1 for its exemplars, number of the item.
type Place = (u32, u8, u32);

impl Refusals {
    fn push(&mut self, place: Place, line: String) {
        self.lines.push((place, line));
    }

    fn into_text(mut self) -> String {
        self.lines.sort_by_key(|(place, _)| *place);
        self.lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// Reads `space.message` and stores what can be stored. `written` holds also where not all of it could be.
///
/// # Errors
/// With one line for each refused item, or for what kept the whole of it from being stored.
pub(crate) fn write(receiver: &Receiver, space: &mut Space, written: &mut Written) -> Result<(), WriteError> {
    let message = std::mem::take(&mut space.message);
    let outcome = write_message(receiver, space, &message, written);
    space.message = message;
    if outcome.as_ref().is_err_and(|error| error.status() / 100 == 5) {
        *written = Written::default();
    }
    outcome
}

fn write_message(receiver: &Receiver, space: &mut Space, message: &[u8], written: &mut Written) -> Result<(), WriteError> {
    let request = message2::request(message)?;
    let mut refusals = read(receiver, space, &request, message)?;
    receiver.count_invalid(refusals.invalid_labels_samples);
    for tries in 0.. {
        if space.batch.rows.is_empty() && space.batch.exemplars.is_empty() && space.batch.metadata.is_empty() {
            break;
        }
        receiver.commit_once(space)?;
        count(space, written);
        let reader = Reader { message, symbols: &request.symbols, described: receiver.options.type_and_unit_labels };
        name_refused(space, &reader, &mut refusals);
        let gone = space.gone();
        if gone.is_empty() {
            break;
        }
        if tries == TRIES_MAX {
            return Err(WriteError::Refused(RowOutcome::Gone, false));
        }
        keep_gone(space, &reader, &gone);
    }
    receiver.count_stored(written);
    if refusals.lines.is_empty() { Ok(()) } else { Err(WriteError::Partial(refusals.into_text())) }
}

/// Makes the batch. What can be refused without the store is refused here.
fn read(receiver: &Receiver, space: &mut Space, request: &Request<'_>, message: &[u8]) -> Result<Refusals, WriteError> {
    let latest = space.batch.latest;
    space.clear();
    (space.batch.latest, space.batch.on_refused) = (latest, OnRefused::DropRow);
    let mut refusals = Refusals::default();
    let mut series = Series::default();
    let mut names = Names { cache: &receiver.cache, lookups: receiver.cache.lookups(), key_bytes: Vec::new() };
    for (number, bytes) in (0u32..).zip(&request.series) {
        series.read(bytes)?;
        let start = bytes.as_ptr() as usize - message.as_ptr() as usize;
        let place = Entry { key: None, start, len: bytes.len(), first_row: space.batch.rows.len(), rows_end: 0, number, series: None };
        read_series(receiver, space, &mut names, &request.symbols, &mut series, place, &mut refusals);
    }
    Ok(refusals)
}

fn read_series(
    receiver: &Receiver,
    space: &mut Space,
    names: &mut Names<'_>,
    symbols: &Symbols<'_>,
    sent: &mut Series,
    mut entry: Entry,
    refusals: &mut Refusals,
) {
    let number = entry.number;
    let rows_sent = sent.samples.len() + sent.histograms.len();
    let mut pairs = match symbols.pairs(&sent.refs) {
        Ok(pairs) => pairs,
        Err(error) => {
            refusals.invalid_labels_samples += rows_sent as u64;
            return refusals.push((number, 0, 0), format!("parsing labels for series {}: {error}", display_refs(&sent.refs)));
        }
    };
    let metadata = match symbols.metadata(sent.metadata) {
        Ok(metadata) => metadata,
        Err(error) => return refusals.push((number, 0, 0), format!("parsing metadata for series {}: {error}", display_refs(&sent.refs))),
    };
    if receiver.options.type_and_unit_labels {
        symbols.describe(&mut pairs, sent.metadata);
    }
    let key = names.key_of(&pairs);
    let known = names.lookups.get(key);
    let labels = match known.map_or_else(|| message2::labels(&pairs).map(Some), |_| Ok(None)) {
        Ok(labels) => labels,
        Err(error) => {
            refusals.invalid_labels_samples += rows_sent as u64;
            return refusals.push((number, 0, 0), error.to_string());
        }
    };
    if rows_sent == 0 {
        let line = format!("TimeSeries must contain at least one sample or histogram for series {}", display(&pairs));
        return refusals.push((number, 0, 0), line);
    }
    for sample in &sent.samples {
        space.batch.rows.push(row(sample.time, RowValue::Float(sample.value)));
    }
    for (time, mut histogram) in sent.histograms.drain(..) {
        let fitted = match &mut histogram {
            Sent::Integer(histogram) => fit(histogram),
            Sent::Float(histogram) => fit_float(histogram),
        };
        match fitted {
            // What is too late is refused for that, whatever it holds.
            Err(error) if space.batch.latest.is_none_or(|latest| time <= latest) => {
                let at = (space.batch.rows.len() - entry.first_row) as u32;
                refusals.push((number, 0, at), format!("{error} for series {}", display(&pairs)));
            }
            _ => push_histogram(&mut space.batch, time, histogram),
        }
    }
    order_markers(&mut space.batch.rows[entry.first_row..]);
    entry.rows_end = space.batch.rows.len();
    entry.key = Some(key);
    entry.series = match (known, labels) {
        (Some(handle), _) => Some(RowSeries::Known(handle)),
        (None, Some(labels)) if entry.rows_end > entry.first_row => Some(space.add_labels(Some(key), labels)),
        (None, _) => None,
    };
    let index = space.entries.len() as u32;
    if let Some(series) = entry.series {
        space.batch.rows[entry.first_row..entry.rows_end].iter_mut().for_each(|row| row.series = series);
        if receiver.options.metadata {
            space.metadata_entries.push(index);
            space.batch.metadata.push((series, metadata));
        }
    }
    for exemplar in &sent.exemplars {
        match symbols.exemplar(exemplar) {
            Ok(Some(exemplar)) if space.batch.latest.is_none_or(|latest| exemplar.timestamp <= latest) => {
                if let Some(series) = entry.series {
                    space.push_exemplar(index, series, exemplar);
                }
            }
            Ok(_) => {}
            Err(error) => refusals.push((number, 1, 0), format!("parsing exemplar for series {}: {error}", display(&pairs))),
        }
    }
    space.entries.push(entry);
}

impl Names<'_> {
    /// The key of a label set: its texts in the sender's order, each after its length.
    fn key_of(&mut self, pairs: &[(&[u8], &[u8])]) -> Key {
        let bytes = &mut self.key_bytes;
        bytes.clear();
        // No message of version 1.0 has such label bytes: they begin with the tag of a label.
        bytes.push(0);
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
        self.cache.key(bytes)
    }
}

fn count(space: &Space, written: &mut Written) {
    let refused = |row: usize| space.committed.refused.binary_search_by_key(&(row as u32), |(row, _)| *row).is_ok();
    for (at, row) in space.batch.rows.iter().enumerate() {
        if space.committed.refused.is_empty() || !refused(at) {
            match row.value {
                RowValue::Float(_) => written.samples += 1,
                RowValue::Histogram(_) | RowValue::FloatHistogram(_) => written.histograms += 1,
            }
        }
    }
    let gone = space.gone();
    let refused_exemplars = &space.committed.exemplars_out_of_order;
    let kept = (0u32..).zip(&space.exemplar_entries);
    written.exemplars += kept.filter(|(at, entry)| !refused_exemplars.contains(at) && !gone.contains(&(**entry as usize))).count() as u64;
}

/// A line for each refused row and exemplar, but for those that are tried again.
fn name_refused(space: &Space, reader: &Reader<'_, '_>, refusals: &mut Refusals) {
    let label_text = |entry: &Entry| display(&reader.pairs_of(entry));
    for (at, outcome) in &space.committed.refused {
        let Some((entry, row)) = space.entry_of(*at).map(|entry| &space.entries[entry]).zip(space.batch.rows.get(*at as usize)) else {
            continue;
        };
        if matches!(outcome, RowOutcome::Gone | RowOutcome::Stored) {
            continue;
        }
        let future = *outcome == RowOutcome::OutOfBounds && space.batch.latest.is_some_and(|latest| row.timestamp > latest);
        let place = (entry.number, 0, (*at as usize - entry.first_row) as u32);
        refusals.push(place, format!("{} for series {}", WriteError::Refused(*outcome, future), label_text(entry)));
    }
    for at in &space.committed.exemplars_out_of_order {
        let Some(entry) = space.exemplar_entries.get(*at as usize).map(|entry| &space.entries[*entry as usize]) else { continue };
        refusals.push((entry.number, 1, *at), format!("out of order exemplar for series {}", label_text(entry)));
    }
}

/// Reads series of a message again.
struct Reader<'r, 'a> {
    message: &'r [u8],
    symbols: &'r Symbols<'a>,
    /// With type and unit among the labels.
    described: bool,
}

impl<'a> Reader<'_, 'a> {
    /// The pairs of a series that [`read_series`] has accepted.
    fn pairs_of(&self, entry: &Entry) -> Vec<(&'a [u8], &'a [u8])> {
        let mut series = Series::default();
        let bytes = &self.message[entry.start..entry.start + entry.len];
        let mut pairs = series.read(bytes).ok().and_then(|()| self.symbols.pairs(&series.refs).ok()).unwrap_or_default();
        if self.described {
            self.symbols.describe(&mut pairs, series.metadata);
        }
        pairs
    }
}

/// Leaves of the batch what belongs to series whose handle was out of date, named by their labels.
fn keep_gone(space: &mut Space, reader: &Reader<'_, '_>, gone: &[usize]) {
    space.batch.labels.clear();
    space.label_keys.clear();
    for (at, entry) in space.entries.iter_mut().enumerate() {
        if !gone.contains(&at) {
            entry.series = None;
        }
    }
    space.retain_rows(|entry| entry.series.is_some());
    for &at in gone {
        let entry = space.entries[at];
        let labels = message2::labels(&reader.pairs_of(&entry)).ok();
        let series = labels.map(|labels| space.add_labels(entry.key, labels));
        space.entries[at].series = series;
        if let Some(series) = series {
            space.batch.rows[entry.first_row..entry.rows_end].iter_mut().for_each(|row| row.series = series);
        }
    }
    let entries = &space.entries;
    rename(entries, &mut space.batch.exemplars, &mut space.exemplar_entries);
    rename(entries, &mut space.batch.metadata, &mut space.metadata_entries);
}

fn rename<T>(entries: &[Entry], items: &mut Vec<(RowSeries, T)>, owners: &mut Vec<u32>) {
    let (old_items, old_owners) = (std::mem::take(items), std::mem::take(owners));
    for ((_, item), owner) in old_items.into_iter().zip(old_owners) {
        if let Some(series) = entries[owner as usize].series {
            items.push((series, item));
            owners.push(owner);
        }
    }
}
