//! Selecting from the head.
//!
//! Under the locks only slots are found and bytes copied: all open chunks of a selection go into one buffer, full ones are
//! shared, of those in files only the place is taken and the file held. Labels are built for selected series only, and samples are decoded by
//! whoever asked, without any lock.

use super::Head;
use super::mapped::HeadFile;
use super::ooo::{OooPart, OooSamples};
use super::sequence::Sequence;
use super::series::{FullChunk, MemSeries, Newest, Open};
use super::slab::{Slab, slab_number};
use crate::chunk::{self, Encoding, Sample, Value};
use crate::merge::{self, Order};
use crate::tombstones::Intervals;
use model::labels::Packer;
use model::{Labels, Matcher, Timestamp};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use storage::{Checks, Column, EncodedChunk, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series, Slot};

/// Samples that a chunk in a file may have: its record does not say.
const SAMPLES_GUESSED: u32 = 120;
/// So many entries get their labels under one lock of the index.
const LABELLED_AT_ONCE: usize = 4096;

/// What a selection copied, shared by its series.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub series: Vec<Entry>,
    full: Vec<FullChunk>,
    open: Vec<u8>,
    /// Those that chunks of `full` or of the entries lie in.
    files: Vec<Arc<HeadFile>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub labels: Labels,
    pub slot: u32,
    full: Range<u32>,
    open: Option<OpenCopy>,
    rare: Option<Box<RareCopy>>,
    /// Instead of all chunks, the newest sample.
    newest: Option<(i64, f64)>,
    /// Samples in order after it belong to commits that the selection does not see.
    visible_until: i64,
    samples: u32,
}

#[derive(Clone, Debug)]
struct OpenCopy {
    encoding: Encoding,
    min_time: i64,
    max_time: i64,
    bytes: Range<usize>,
}

#[derive(Debug)]
struct RareCopy {
    late: Vec<OooPart<FullChunk>>,
    deleted: Intervals,
}

#[derive(Debug)]
struct HeadSeries {
    copied: Arc<Copied>,
    at: u32,
}

impl Entry {
    fn bare(slot: u32, visible_until: i64) -> Self {
        Self { labels: Labels::empty(), slot, full: 0..0, open: None, rare: None, newest: None, visible_until, samples: 0 }
    }
}

/// What is wanted of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Labels,
    Newest,
    All,
}

impl Wanted {
    fn of(hints: &SelectHints) -> Self {
        match hints {
            SelectHints { labels_only: true, .. } => Self::Labels,
            SelectHints { newest_only: true, .. } => Self::Newest,
            _ => Self::All,
        }
    }
}

/// One run of samples of an entry.
#[derive(Clone, Debug)]
enum Part<'c> {
    Full(&'c FullChunk),
    Open(&'c OpenCopy),
    Late(&'c OooPart<FullChunk>),
}

impl Part<'_> {
    fn range(&self) -> (i64, i64) {
        match self {
            Part::Full(full) => full.range(),
            Part::Open(open) => (open.min_time, open.max_time),
            Part::Late(late) => (late.min_time, late.max_time),
        }
    }
}

impl FullChunk {
    /// Times of the first and the last sample.
    pub fn range(&self) -> (i64, i64) {
        match self {
            Self::Memory(chunk) => (chunk.min_time, chunk.max_time),
            Self::Mapped(chunk) => (chunk.min_time(), chunk.max_time()),
        }
    }
}

impl Copied {
    /// Copies what a view up to `upto` sees of a series in `range`; whether that is anything.
    pub(super) fn copy(&mut self, head: &Head, slab: &Slab, slot: u32, range: Interval, wanted: Wanted, upto: Sequence) -> bool {
        let Some(series) = slab.series(Slot(slot)) else { return false };
        let (start, end) = (range.start.0, range.end.0);
        let (full_from, open_from) = (self.full.len() as u32, self.open.len());
        let mut entry = Entry::bare(slot, slab.visible_until(Slot(slot), upto).unwrap_or(i64::MIN));
        let last = entry.visible_until.min(end);
        if wanted == Wanted::Newest
            && let (Newest::Float(value), Some(open)) = (series.newest(), series.open())
            && (start..=last).contains(&open.max_time)
            // Start timestamps are in the chunk alone.
            && open.encoding == Encoding::Xor
            && series.ooo().is_none()
            && series.deleted().is_none()
        {
            (entry.newest, entry.samples) = (Some((open.max_time, value)), 1);
            self.series.push(entry);
            return true;
        }
        let labels_only = wanted == Wanted::Labels;
        let sees = |open: &Open<'_>| open.min_time <= last && open.max_time.min(entry.visible_until) >= start;
        // One run of samples in the range is enough, and mostly the open chunk has it.
        if labels_only && series.ooo().is_none() && series.deleted().is_none() && series.open().is_some_and(|open| sees(&open)) {
            self.series.push(entry);
            return true;
        }
        let mut overlaps = false;
        let from = series.mapped().partition_point(|chunk| chunk.max_time() < start);
        for chunk in series.mapped()[from..].iter().take_while(|chunk| chunk.min_time() <= last) {
            overlaps = true;
            entry.samples += SAMPLES_GUESSED;
            if !labels_only {
                self.push_full(head, FullChunk::Mapped(*chunk));
            }
        }
        for chunk in series.full().iter().filter(|chunk| chunk.max_time >= start && chunk.min_time <= last) {
            overlaps = true;
            entry.samples += u32::from(chunk::sample_count(chunk.encoding, &chunk.bytes).unwrap_or(0));
            if !labels_only {
                self.push_full(head, FullChunk::Memory(chunk.clone()));
            }
        }
        if let Some(open) = series.open().filter(sees) {
            overlaps = true;
            entry.samples += u32::from(open.samples);
            if !labels_only {
                self.open.extend_from_slice(open.bytes);
                let bytes = open_from..self.open.len();
                entry.open = Some(OpenCopy { encoding: open.encoding, min_time: open.min_time, max_time: open.max_time, bytes });
            }
        }
        if series.ooo().is_some() || series.deleted().is_some() {
            let rare = RareCopy::of(series, start..=end, upto);
            overlaps |= !rare.late.is_empty();
            for part in &rare.late {
                match &part.samples {
                    OooSamples::Open(samples) => entry.samples += samples.len() as u32,
                    OooSamples::Full { chunk, .. } => {
                        entry.samples += SAMPLES_GUESSED / 4;
                        self.hold(head, chunk);
                    }
                }
            }
            entry.rare = Some(Box::new(rare));
        }
        entry.full = full_from..self.full.len() as u32;
        if overlaps {
            self.series.push(entry);
        }
        overlaps
    }

    /// Adds an entry of out-of-order chunks only. As for [`Self::copy`], the slab is locked.
    pub(super) fn push_late(&mut self, head: &Head, slot: u32, chunks: Vec<(i64, i64, FullChunk)>, deleted: Option<&Intervals>) {
        if chunks.is_empty() {
            return;
        }
        chunks.iter().for_each(|(_, _, chunk)| self.hold(head, chunk));
        let part =
            |(min_time, max_time, chunk)| OooPart { min_time, max_time, samples: OooSamples::Full { chunk, hidden: Intervals::new() } };
        let rare = RareCopy { late: chunks.into_iter().map(part).collect(), deleted: deleted.cloned().unwrap_or_default() };
        let rare = Some(Box::new(rare));
        self.series.push(Entry { rare, ..Entry::bare(slot, i64::MIN) });
    }

    fn push_full(&mut self, head: &Head, chunk: FullChunk) {
        self.hold(head, &chunk);
        self.full.push(chunk);
    }

    /// Holds the file of a chunk. The series' slab is locked and has the chunk, so the file is not deleted yet.
    fn hold(&mut self, head: &Head, chunk: &FullChunk) {
        let FullChunk::Mapped(chunk) = chunk else { return };
        let number = chunk.place().file;
        if self.file(number).is_none()
            && let Some(file) = head.mapped().and_then(|mapped| mapped.file(number))
        {
            let at = self.files.partition_point(|known| known.number() < number);
            self.files.insert(at, file);
        }
    }

    fn file(&self, number: u32) -> Option<&HeadFile> {
        self.files.binary_search_by_key(&number, |file| file.number()).ok().map(|at| &*self.files[at])
    }

    /// Gives a full chunk's bytes to `read`.
    pub(super) fn read<T>(&self, chunk: &FullChunk, read: impl FnOnce(Encoding, &[u8]) -> T) -> Result<T, String> {
        match chunk {
            FullChunk::Memory(chunk) => Ok(read(chunk.encoding, &chunk.bytes)),
            FullChunk::Mapped(chunk) => {
                let place = chunk.place();
                let file = self.file(place.file).ok_or_else(|| format!("head chunk file index {} does not exist on disk", place.file))?;
                file.chunk(place.offset, read).map_err(|error| error.to_string())
            }
        }
    }

    /// Gives the series' chunks in order, with their times, whole: it is for those who see all commits.
    pub(super) fn each_in_order(&self, entry: &Entry, mut each: impl FnMut(i64, i64, Encoding, &[u8])) -> Result<(), String> {
        for chunk in &self.full[entry.full.start as usize..entry.full.end as usize] {
            let (min_time, max_time) = chunk.range();
            self.read(chunk, |encoding, bytes| each(min_time, max_time, encoding, bytes))?;
        }
        if let Some(open) = &entry.open {
            each(open.min_time, open.max_time, open.encoding, &self.open[open.bytes.clone()]);
        }
        Ok(())
    }

    fn decode(&self, entry: &Entry, range: Interval, column: &mut Column) -> Result<(), String> {
        if let Some((time, value)) = entry.newest {
            column.push(Timestamp(time), value);
            return Ok(());
        }
        let in_order = range.start.0..=range.end.0.min(entry.visible_until);
        let from = column.len();
        let full = &self.full[entry.full.start as usize..entry.full.end as usize];
        let parts = full.iter().map(Part::Full).chain(entry.open.as_ref().map(Part::Open));
        let overlapping = |part: &Part<'_>, times: &RangeInclusive<i64>| {
            let (min, max) = part.range();
            max >= *times.start() && min <= *times.end()
        };
        // A damaged chunk costs its samples, not those of others.
        let mut damage = Ok(());
        let mut decode = |part: &Part<'_>, times: RangeInclusive<i64>, column: &mut Column| {
            if let (Err(what), Ok(())) = (self.decode_part(part, times, column), &damage) {
                damage = Err(what);
            }
        };
        let rare = entry.rare.as_deref();
        if let Some(rare) = rare.filter(|rare| !rare.late.is_empty()) {
            let all = range.start.0..=range.end.0;
            let mut parts: Vec<Part<'_>> = parts.filter(|part| overlapping(part, &in_order)).collect();
            parts.extend(rare.late.iter().map(Part::Late).filter(|part| overlapping(part, &all)));
            let merged: Result<(), Infallible> = merge::decode_chunks(&mut parts, Part::range, column, |part, column| {
                decode(part, if matches!(part, Part::Late(_)) { all.clone() } else { in_order.clone() }, column);
                Ok(())
            });
            let Ok(()) = merged;
        } else {
            let mut parts = parts.filter(|part| overlapping(part, &in_order));
            match (parts.next(), parts.next()) {
                (Some(one), None) => decode(&one, in_order, column),
                (Some(first), Some(second)) => {
                    damage = self.decode_in_order([first, second].into_iter().chain(parts), in_order.clone(), column);
                }
                _ => {}
            }
        }
        rare.inspect(|rare| rare.deleted.retain(column, from));
        damage
    }

    /// See [`Series::chunks`].
    fn chunks<'s>(&'s self, entry: &'s Entry, range: Interval, into: &mut Vec<EncodedChunk<'s>>) -> bool {
        if entry.newest.is_some() || entry.rare.as_ref().is_some_and(|rare| !rare.late.is_empty() || !rare.deleted.is_empty()) {
            return false;
        }
        let full = self.full[entry.full.start as usize..entry.full.end as usize].iter().map(Part::Full);
        full.chain(entry.open.as_ref().map(Part::Open)).all(|part| {
            let (min_time, max_time) = part.range();
            if max_time < range.start.0 || min_time > range.end.0 {
                return true;
            }
            let copied: Result<(Encoding, Cow<'s, [u8]>), String> = match part {
                Part::Full(FullChunk::Memory(chunk)) => Ok((chunk.encoding, (&*chunk.bytes).into())),
                Part::Full(mapped) => self.read(mapped, |encoding, bytes| (encoding, bytes.to_vec().into())),
                Part::Open(open) => Ok((open.encoding, self.open[open.bytes.clone()].into())),
                // Those who have some have left already.
                Part::Late(_) => return false,
            };
            let Ok((encoding, bytes)) = copied else { return false };
            into.push(EncodedChunk { encoding: encoding as u8, min_time, max_time, bytes });
            // All of it may be seen.
            max_time.min(range.end.0) <= entry.visible_until
        })
    }

    /// Chunks in order are decoded together, which is faster; their bytes are copied, as some lie in files that may not be held.
    fn decode_in_order<'c>(
        &self,
        parts: impl Iterator<Item = Part<'c>>,
        times: RangeInclusive<i64>,
        column: &mut Column,
    ) -> Result<(), String> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut damage = Ok(());
        for part in parts {
            let mut copy = |encoding: Encoding, chunk: &[u8]| {
                bytes.extend_from_slice(chunk);
                ends.push((encoding, bytes.len()));
            };
            let copied = match part {
                Part::Full(full) => self.read(full, copy),
                Part::Open(open) => {
                    copy(open.encoding, &self.open[open.bytes.clone()]);
                    Ok(())
                }
                // There are none beside which chunks are in order.
                Part::Late(_) => Ok(()),
            };
            damage = damage.and(copied);
        }
        let mut begin = 0;
        let chunk = |(encoding, end): &(Encoding, usize)| {
            let chunk = &bytes[begin..*end];
            begin = *end;
            (*encoding, chunk)
        };
        let chunks: Vec<(Encoding, &[u8])> = ends.iter().map(chunk).collect();
        chunk::decode_run(&chunks, times, column, |_, corrupt| {
            if damage.is_ok() {
                damage = Err(corrupt.to_string());
            }
        });
        damage
    }

    fn decode_part(&self, part: &Part<'_>, times: RangeInclusive<i64>, column: &mut Column) -> Result<(), String> {
        let corrupt = |error: chunk::Corrupt| error.to_string();
        match part {
            Part::Full(full) => self.read(full, |encoding, bytes| chunk::decode(encoding, bytes, times, column))?.map_err(corrupt),
            Part::Open(open) => chunk::decode(open.encoding, &self.open[open.bytes.clone()], times, column).map_err(corrupt),
            Part::Late(late) => match &late.samples {
                OooSamples::Open(samples) => {
                    for sample in samples.iter().filter(|sample| times.contains(&sample.time)) {
                        push(sample, column);
                    }
                    Ok(())
                }
                OooSamples::Full { chunk: full, hidden } => {
                    let from = column.len();
                    self.read(full, |encoding, bytes| chunk::decode(encoding, bytes, times, column))?.map_err(corrupt)?;
                    hidden.retain(column, from);
                    Ok(())
                }
            },
        }
    }
}

impl RareCopy {
    fn of(series: &MemSeries, range: RangeInclusive<i64>, upto: Sequence) -> Self {
        let late = series.ooo().map_or_else(Vec::new, |ooo| ooo.copy(range, upto));
        Self { late, deleted: series.deleted().cloned().unwrap_or_default() }
    }
}

impl Entry {
    /// Leaves out-of-order samples out.
    pub(super) fn drop_late(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.late = Vec::new();
        }
    }

    /// What is deleted of the series.
    pub(super) fn deleted(&self) -> Option<&Intervals> {
        self.rare.as_ref().map(|rare| &rare.deleted)
    }

    /// Its out-of-order samples.
    pub(super) fn late(&self) -> &[OooPart<FullChunk>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.late)
    }
}

fn push(sample: &Sample, column: &mut Column) {
    let time = Timestamp(sample.time);
    match &sample.value {
        Value::Float(value) => column.push(time, *value),
        Value::Histogram(histogram) => column.push_histogram(time, Arc::new(histogram.to_float())),
        Value::FloatHistogram(histogram) => column.push_histogram(time, histogram.clone()),
    }
    column.set_start(Timestamp(sample.start));
}

impl Head {
    /// Slots of series that satisfy the matchers. While a view that was opened before is open they stay these series'.
    ///
    /// # Errors
    /// [`SelectError::Cancelled`].
    pub(super) fn matching(&self, matchers: &[Matcher], checks: &Checks<'_>) -> Result<RoaringBitmap, SelectError> {
        let found = self.read_index().matching(matchers, checks);
        checks.outcome().map(|()| found)
    }

    /// Copies the chunks of these series that overlap `range`, until there are `limit` of them (0 = all); series without any
    /// are left out.
    fn copy(
        &self,
        slots: &RoaringBitmap,
        range: Interval,
        (wanted, limit): (Wanted, usize),
        upto: Sequence,
        checks: &Checks<'_>,
    ) -> Result<Copied, SelectError> {
        // A list of a million that grows is copied at one go, in which nobody looks whether somebody still waits.
        let most = if limit > 0 { (slots.len() as usize).min(limit) } else { slots.len() as usize };
        let mut copied = Copied { series: Vec::with_capacity(most), ..Copied::default() };
        let mut slots = slots.iter().peekable();
        while let Some(first) = slots.peek().copied() {
            let number = slab_number(Slot(first));
            let slab = self.slabs.lock(Slot(first));
            while let Some(slot) = slots.next_if(|slot| slab_number(Slot(*slot)) == number) {
                checks.step()?;
                if let Some(slab) = &slab {
                    copied.copy(self, slab, slot, range, wanted, upto);
                }
                if limit > 0 && copied.series.len() == limit {
                    return Ok(copied);
                }
            }
        }
        Ok(copied)
    }

    /// Gives the entries their labels. A view that is older than they are is open.
    fn label(&self, series: &mut [Entry], checks: &Checks<'_>) -> Result<(), SelectError> {
        // Whoever wants to add series gets the index in between.
        for some in series.chunks_mut(LABELLED_AT_ONCE) {
            let index = self.read_index();
            let mut packer = Packer::default();
            for entry in some {
                checks.step()?;
                entry.labels = index.pack(entry.slot, &mut packer);
            }
        }
        Ok(())
    }

    /// Slots of series that satisfy any of the sets and have samples in `range`; none means that all series count.
    fn slots_of_any(
        &self,
        range: Interval,
        matcher_sets: &[Vec<Matcher>],
        upto: Sequence,
        checks: &Checks<'_>,
    ) -> Result<Option<RoaringBitmap>, SelectError> {
        if matcher_sets.is_empty() {
            return Ok(None);
        }
        let mut slots = RoaringBitmap::new();
        for matchers in matcher_sets {
            slots |= self.matching(matchers, checks)?;
        }
        let copied = self.copy(&slots, range, (Wanted::Labels, 0), upto, checks)?;
        // Mostly all have some.
        let all = copied.series.len() as u64 == slots.len();
        Ok(Some(if all { slots } else { copied.series.iter().map(|entry| entry.slot).collect() }))
    }

    fn overlaps(&self, range: Interval) -> bool {
        let overlaps = |(min, max)| min <= range.end.0 && max >= range.start.0;
        self.time_range().is_some_and(overlaps) || self.late_time_range().is_some_and(overlaps)
    }
}

impl Queryable for Head {
    fn select(&self, range: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        if !self.overlaps(range) {
            return Ok(Selection::default());
        }
        // The view is taken before the slots are found: a commit that it sees has its series in the index by then. It is
        // kept until the labels are built: no slot is given to another series before.
        let view = self.sequencer.view();
        let checks = hints.cancel.checks();
        let slots = self.matching(matchers, &checks)?;
        // In label order the first ones are known when all are.
        let limit = if hints.sorted { 0 } else { hints.limit };
        let mut copied = self.copy(&slots, range, (Wanted::of(hints), limit), view.upto(), &checks)?;
        self.label(&mut copied.series, &checks)?;
        drop(view);
        if hints.sorted {
            let sort = |run: &mut [Entry]| model::labels::sort(run, |entry| &entry.labels);
            let order = Order { sort, compare: |a: &Entry, b: &Entry| a.labels.cmp(&b.labels) };
            copied.series = merge::sort_first(copied.series, hints.limit, order, &checks)?;
        }
        let copied = Arc::new(copied);
        let mut series: Vec<Box<dyn Series>> = Vec::with_capacity(copied.series.len());
        for at in 0..copied.series.len() as u32 {
            checks.step()?;
            series.push(Box::new(HeadSeries { copied: copied.clone(), at }));
        }
        Ok(Selection { series, warnings: Vec::new() })
    }

    fn label_names(&self, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        if !self.overlaps(range) {
            return Ok(Names::default());
        }
        let view = self.sequencer.view();
        let checks = hints.cancel.checks();
        let slots = self.slots_of_any(range, matcher_sets, view.upto(), &checks)?;
        let names = self.read_index().label_names(slots.as_ref(), hints.limit, &checks)?;
        Ok(Names { names, warnings: Vec::new() })
    }

    fn label_values(&self, name: &str, range: Interval, matcher_sets: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        if !self.overlaps(range) {
            return Ok(Names::default());
        }
        let view = self.sequencer.view();
        let checks = hints.cancel.checks();
        let slots = self.slots_of_any(range, matcher_sets, view.upto(), &checks)?;
        let names = self.read_index().label_values(name, slots.as_ref(), hints.limit, &checks)?;
        Ok(Names { names, warnings: Vec::new() })
    }
}

impl Series for HeadSeries {
    fn labels(&self) -> &Labels {
        &self.copied.series[self.at as usize].labels
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        self.copied.decode(&self.copied.series[self.at as usize], range, column).map_err(SelectError::Corrupt)
    }

    fn samples_estimate(&self) -> usize {
        self.copied.series[self.at as usize].samples as usize
    }

    fn chunks<'s>(&'s self, range: Interval, into: &mut Vec<EncodedChunk<'s>>) -> bool {
        self.copied.chunks(&self.copied.series[self.at as usize], range, into)
    }

    fn decode_several(&self, others: &[Box<dyn Series>], range: Interval, columns: &mut [Column]) -> Result<usize, SelectError> {
        merge::decode_several(self, others, range, columns)
    }
}
