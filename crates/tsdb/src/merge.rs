//! Merging what several sources hold of one series, and the selections of several sources.
//!
//! Blocks that follow each other, and the head behind them, hold stretches of time that do not overlap: joining them
//! copies nothing. Only where out-of-order samples or overlapping blocks make sources cover the same stretch are samples
//! taken one by one from whichever source is earliest.
//!
//! Of samples with one time the first that is reached stays. Which that is, and which histograms keep what they know of
//! counter resets, is settled as Prometheus's chain of iterators does it, down to how its heap treats equals: a reader
//! that stands on one source and finds the same time in another goes over to the other. A histogram whose predecessor came
//! from another source does not know any more whether there was a reset (but a gauge stays a gauge).

use crate::chunk::{self, Encoding};
use model::histogram::ResetHint;
use model::{FloatHistogram, Labels};
use std::cmp::Ordering;
use std::sync::Arc;
use storage::{Checks, Column, EncodedChunk, Interval, Names, SelectError, SelectHints, Selection, Series};

/// How the reader whose rules are followed comes to the first sample; it matters only when several sources begin with one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It takes the first source's first sample unless another is as early: chunks of one series.
    Next,
    /// It takes the earliest of all, the first source's among equals: series of several sources.
    Seek,
}

/// Appends the samples of `parts` to `column`, in order of time, one for each time.
pub fn merge_columns(parts: &[Column], start: Start, column: &mut Column) {
    match parts {
        [] => {}
        [part] => append(column, part, 0..part.len(), &mut 0, Known::Yes),
        _ => Chain::new(parts, start).run(start, column),
    }
}

/// Appends the samples of a series' chunks to `column`, of which each has samples from `range_of`'s first to its second
/// value: chunks that overlap others are merged, the others cost nothing more. `decode` appends one chunk.
///
/// # Errors
/// Those of `decode`; `column` then holds a part.
pub fn decode_chunks<C, E>(
    chunks: &mut [C],
    range_of: impl Fn(&C) -> (i64, i64),
    column: &mut Column,
    mut decode: impl FnMut(&C, &mut Column) -> Result<(), E>,
) -> Result<(), E> {
    chunks.sort_by_key(|chunk| range_of(chunk).0);
    let mut rest = &*chunks;
    while let Some(first) = rest.first() {
        let mut max_time = range_of(first).1;
        let overlapping = 1 + rest[1..]
            .iter()
            .take_while(|chunk| {
                let (min, max) = range_of(chunk);
                let overlaps = min <= max_time;
                max_time = max_time.max(max);
                overlaps
            })
            .count();
        let (group, later) = rest.split_at(overlapping);
        rest = later;
        if let [chunk] = group {
            decode(chunk, column)?;
            continue;
        }
        let mut parts = Vec::with_capacity(group.len());
        for chunk in group {
            let mut part = Column::default();
            decode(chunk, &mut part)?;
            parts.push(part);
        }
        merge_columns(&parts, Start::Next, column);
    }
    Ok(())
}

/// Whether a histogram's predecessor is that of its own source, so that what it says of resets holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

/// Prometheus's chain of iterators over columns.
struct Chain<'p> {
    parts: &'p [Column],
    /// Per part the next sample that was not read.
    at: Vec<usize>,
    /// Per part the next histogram.
    histograms: Vec<usize>,
    /// The parts that are not current and have samples left, as Go's `container/heap` orders them.
    heap: Vec<usize>,
}

impl<'p> Chain<'p> {
    fn new(parts: &'p [Column], start: Start) -> Self {
        let mut chain = Self { parts, at: vec![0; parts.len()], histograms: vec![0; parts.len()], heap: Vec::with_capacity(parts.len()) };
        let others = match start {
            Start::Next => 1,
            Start::Seek => 0,
        };
        for (part, _) in parts.iter().enumerate().skip(others).filter(|(_, column)| !column.is_empty()) {
            chain.push(part);
        }
        chain
    }

    fn run(mut self, start: Start, column: &mut Column) {
        let mut current = 0;
        // A reader that seeks has no current source yet, as if the first one were exhausted.
        let mut standing = start == Start::Next;
        let mut last = None;
        let mut known = Known::No;
        loop {
            let time = self.parts[current].times.get(self.at[current]).copied().filter(|_| standing);
            if time.is_some() && time == last {
                self.at[current] += 1;
                continue;
            }
            let limit = self.heap.first().map(|top| self.time(*top));
            let end = match (time, limit) {
                (None, None) => return,
                (Some(_), None) => self.parts[current].len(),
                (Some(time), Some(limit)) if time < limit => run_end(&self.parts[current].times, self.at[current], limit),
                _ => {
                    if time.is_some() {
                        self.push(current);
                    }
                    current = self.pop();
                    (standing, known) = (true, Known::No);
                    if Some(self.time(current)) == last {
                        self.at[current] += 1;
                        continue;
                    }
                    self.at[current] + 1
                }
            };
            let part = &self.parts[current];
            append(column, part, self.at[current]..end, &mut self.histograms[current], known);
            known = Known::Yes;
            last = Some(part.times[end - 1]);
            self.at[current] = end;
        }
    }

    fn time(&self, part: usize) -> i64 {
        self.parts[part].times[self.at[part]]
    }

    fn less(&self, a: usize, b: usize) -> bool {
        self.time(self.heap[a]) < self.time(self.heap[b])
    }

    fn push(&mut self, part: usize) {
        self.heap.push(part);
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(at, parent) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    /// Only called while the heap has a part.
    fn pop(&mut self) -> usize {
        let len = self.heap.len() - 1;
        self.heap.swap(0, len);
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= len {
                break;
            }
            let least = if left + 1 < len && self.less(left + 1, left) { left + 1 } else { left };
            if !self.less(least, at) {
                break;
            }
            self.heap.swap(at, least);
            at = least;
        }
        self.heap.swap_remove(len)
    }
}

/// The first index after `from` whose time is not below `limit`; that of `from` is.
fn run_end(times: &[i64], from: usize, limit: i64) -> usize {
    let (mut end, mut step) = (from + 1, 1);
    while times.get(end + step - 1).is_some_and(|time| *time < limit) {
        end += step;
        step *= 2;
    }
    let upto = times.len().min(end + step);
    end + times[end..upto].partition_point(|time| *time < limit)
}

/// Appends a run of a part's samples; `histogram` is the part's next histogram, none of those before it lies in a later run.
fn append(column: &mut Column, part: &Column, run: std::ops::Range<usize>, histogram: &mut usize, first: Known) {
    let before = column.times.len();
    column.times.extend_from_slice(&part.times[run.clone()]);
    column.values.extend_from_slice(&part.values[run.clone()]);
    if !part.starts.is_empty() {
        column.starts.resize(before, 0);
        column.starts.extend_from_slice(&part.starts[run.clone()]);
    } else if !column.starts.is_empty() {
        column.starts.resize(column.times.len(), 0);
    }
    while let Some((index, value)) = part.histograms.get(*histogram) {
        let index = *index as usize;
        if index >= run.end {
            break;
        }
        *histogram += 1;
        if index < run.start {
            continue;
        }
        let mut value = value.clone();
        if index == run.start && first == Known::No {
            forget_reset(&mut value);
        }
        let index = u32::try_from(before + index - run.start).expect("a column that fits in memory has fewer than 2^32 samples");
        column.histograms.push((index, value));
    }
}

fn forget_reset(histogram: &mut Arc<FloatHistogram>) {
    if !matches!(histogram.reset_hint, ResetHint::Unknown | ResetHint::Gauge) {
        Arc::make_mut(histogram).reset_hint = ResetHint::Unknown;
    }
}

/// Whose samples are met first, and so stay, among those of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// Those of the sources in their order.
    InOrder,
    /// Those of the last source, then those of the others in their order.
    LastFirst,
}

/// One series of several sources.
pub struct MergedSeries {
    sources: Vec<Box<dyn Series>>,
    precedence: Precedence,
}

impl MergedSeries {
    /// From series with equal labels, at least one, which cost least if those with earlier samples come first.
    pub fn new(sources: Vec<Box<dyn Series>>, precedence: Precedence) -> Self {
        assert!(!sources.is_empty(), "a series has at least one source");
        Self { sources, precedence }
    }
}

/// So many chunks decoded together are worth it.
const TOGETHER: usize = 32;
/// With so many samples in their headers no more are, as nobody has charged them yet.
const SAMPLES_TOGETHER: usize = 1 << 14;

/// Decodes as many of these series as pay, and as there are columns. Those after the first that is not made of floats alone, in
/// chunks that follow each other, are left. How many have been decoded; if any chunk is damaged none is, and the columns are as
/// they were.
fn decode_together<'s>(series: impl Iterator<Item = &'s dyn Series>, range: Interval, columns: &mut [Column]) -> usize {
    let (mut chunks, mut ends, mut samples) = (Vec::new(), Vec::new(), 0);
    for series in series.take(columns.len()) {
        let begin = chunks.len();
        if !series.chunks(range, &mut chunks) || !follow(&chunks[begin..]) {
            chunks.truncate(begin);
            break;
        }
        ends.push(chunks.len());
        let count = |chunk: &EncodedChunk<'_>| usize::from(chunk::sample_count(Encoding::Xor, &chunk.bytes).unwrap_or(0));
        samples += chunks[begin..].iter().map(count).sum::<usize>();
        if chunks.len() >= TOGETHER || samples >= SAMPLES_TOGETHER {
            break;
        }
    }
    if ends.is_empty() {
        return 0;
    }
    let bytes: Vec<&[u8]> = chunks.iter().map(|chunk| &*chunk.bytes).collect();
    let begins: Vec<usize> = columns.iter().take(ends.len()).map(Column::len).collect();
    let mut rest = bytes.as_slice();
    let mut list = |end: &usize| {
        let (list, others) = rest.split_at(end - (bytes.len() - rest.len()));
        rest = others;
        list
    };
    let lists = ends.iter().map(&mut list).zip(columns.iter_mut());
    let mut sound = chunk::decode_several(lists, range.start.0..=range.end.0).is_ok();
    // Times that an index says of chunks need not be theirs.
    sound = sound && columns.iter().zip(&begins).all(|(column, begin)| ascend(&column.times[*begin..]));
    if !sound {
        for (column, begin) in columns.iter_mut().zip(begins) {
            column.times.truncate(begin);
            column.values.truncate(begin);
            column.starts.truncate(begin);
        }
        return 0;
    }
    ends.len()
}

/// Are these chunks of floats alone, each later than the one before?
fn follow(chunks: &[EncodedChunk<'_>]) -> bool {
    let xor = |chunk: &EncodedChunk<'_>| chunk.encoding == Encoding::Xor as u8;
    chunks.iter().all(xor) && chunks.is_sorted_by(|before, after| before.max_time < after.min_time)
}

/// [`Series::decode_several`] of all that give their chunks.
pub(crate) fn decode_several(
    first: &dyn Series,
    others: &[Box<dyn Series>],
    range: Interval,
    columns: &mut [Column],
) -> Result<usize, SelectError> {
    debug_assert_eq!(others.len() + 1, columns.len());
    match decode_together(std::iter::once(first).chain(others.iter().map(|series| &**series)), range, columns) {
        // What is damaged, and where, it tells by itself.
        0 => first.decode(range, &mut columns[0]).map(|()| 1),
        decoded => Ok(decoded),
    }
}

impl Series for MergedSeries {
    fn labels(&self) -> &Labels {
        self.sources[0].labels()
    }

    fn decode(&self, range: Interval, column: &mut Column) -> Result<(), SelectError> {
        if decode_together(std::iter::once(self as &dyn Series), range, std::slice::from_mut(column)) == 1 {
            return Ok(());
        }
        let mut begins = Vec::with_capacity(self.sources.len());
        let mut overlap = false;
        let mut damage = Ok(());
        for source in &self.sources {
            let at = column.len();
            match source.decode(range, column) {
                Err(SelectError::Corrupt(what)) => damage = damage.and(Err(SelectError::Corrupt(what))),
                other => other?,
            }
            // Whatever the caller had in the column is earlier.
            overlap |= !begins.is_empty() && 0 < at && at < column.len() && column.times[at] <= column.times[at - 1];
            begins.push(at);
        }
        if overlap {
            let mut parts: Vec<Column> = begins.iter().rev().map(|at| split_off(column, *at)).collect();
            parts.reverse();
            if self.precedence == Precedence::LastFirst {
                parts.rotate_right(1);
            }
            merge_columns(&parts, Start::Seek, column);
        } else if self.sources.len() > 1 && !column.histograms.is_empty() {
            for at in begins {
                let place = column.histograms.partition_point(|(index, _)| (*index as usize) < at);
                if let Some((index, histogram)) = column.histograms.get_mut(place)
                    && *index as usize == at
                {
                    forget_reset(histogram);
                }
            }
        }
        damage
    }

    fn samples_estimate(&self) -> usize {
        self.sources.iter().map(|source| source.samples_estimate()).sum()
    }

    fn chunks<'s>(&'s self, range: Interval, into: &mut Vec<EncodedChunk<'s>>) -> bool {
        let begin = into.len();
        self.sources.iter().all(|source| source.chunks(range, into)) && follow(&into[begin..])
    }

    fn decode_several(&self, others: &[Box<dyn Series>], range: Interval, columns: &mut [Column]) -> Result<usize, SelectError> {
        decode_several(self, others, range, columns)
    }
}

/// Whether each time is later than the one before. Without an end at the first that is not, so that many are compared at once;
/// false, too, of times 2^62 ms and more from 1970, whose difference could be wrapped around: the sources are then asked one by one.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn ascend(times: &[i64]) -> bool {
    let pairs = times.iter().zip(times.iter().skip(1));
    let sign = pairs.fold(0, |sign, (a, b)| sign | b.wrapping_sub(*a).wrapping_sub(1) | (b ^ (b << 1)));
    let first = times.first().map_or(0, |a| a ^ (a << 1));
    (sign | first) >= 0
}

/// Takes the samples from index `at` on out of a column.
fn split_off(column: &mut Column, at: usize) -> Column {
    let place = column.histograms.partition_point(|(index, _)| (*index as usize) < at);
    let mut histograms = column.histograms.split_off(place);
    let by = u32::try_from(at).expect("a column that fits in memory has fewer than 2^32 samples");
    for (index, _) in &mut histograms {
        *index -= by;
    }
    Column {
        times: column.times.split_off(at),
        values: column.values.split_off(at),
        histograms,
        starts: if column.starts.is_empty() { Vec::new() } else { column.starts.split_off(at) },
    }
}

/// Joins the selections of several sources, the one with the earliest samples first. If the hints say `sorted`, all are in label
/// order, and so is the result. At most `limit` series (0 = all). Of one source nothing is touched.
///
/// # Errors
/// [`SelectError::Cancelled`].
pub fn merge_selections(mut selections: Vec<Selection>, precedence: Precedence, hints: &SelectHints) -> Result<Selection, SelectError> {
    let SelectHints { sorted, limit, cancel, .. } = hints;
    let mut warnings: Vec<String> = Vec::new();
    for warning in selections.iter_mut().flat_map(|selection| selection.warnings.drain(..)) {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    let precedence = if selections.last().is_some_and(|last| last.series.is_empty()) { Precedence::InOrder } else { precedence };
    selections.retain(|selection| !selection.series.is_empty());
    let limit = if *limit == 0 { usize::MAX } else { *limit };
    let series = match selections.len() {
        0 | 1 => {
            let mut series = selections.pop().unwrap_or_default().series;
            series.truncate(limit);
            series
        }
        _ => {
            let (lists, checks) = (apart(selections, precedence), cancel.checks());
            let merged = if *sorted { merge_sorted(lists, limit, &checks)? } else { merge_by_hash(lists, limit, &checks)? };
            merged.into_iter().map(Joined::series).collect()
        }
    };
    Ok(Selection { series, warnings })
}

/// A series of one selection or more.
struct Joined {
    first: Box<dyn Series>,
    /// Of later selections.
    others: Vec<Box<dyn Series>>,
    /// That of the last of them.
    precedence: Precedence,
}

impl Joined {
    fn join(mut self, other: Self) -> Self {
        self.others.reserve(1 + other.others.len());
        self.others.push(other.first);
        self.others.extend(other.others);
        Self { precedence: other.precedence, ..self }
    }

    fn series(self) -> Box<dyn Series> {
        if self.others.is_empty() {
            return self.first;
        }
        let mut sources = self.others;
        sources.insert(0, self.first);
        Box::new(MergedSeries::new(sources, self.precedence))
    }
}

/// Each series of each selection by itself; only the last one's have `precedence`.
fn apart(selections: Vec<Selection>, precedence: Precedence) -> Vec<Vec<Joined>> {
    let last = selections.len().saturating_sub(1);
    let list = |(order, selection): (usize, Selection)| {
        let precedence = if order == last { precedence } else { Precedence::InOrder };
        selection.series.into_iter().map(|first| Joined { first, others: Vec::new(), precedence }).collect()
    };
    selections.into_iter().enumerate().map(list).collect()
}

fn merge_sorted(lists: Vec<Vec<Joined>>, limit: usize, checks: &Checks<'_>) -> Result<Vec<Joined>, SelectError> {
    merge_lists(lists, limit, |a, b| a.first.labels().cmp(b.first.labels()), Joined::join, checks)
}

fn merge_by_hash(lists: Vec<Vec<Joined>>, limit: usize, checks: &Checks<'_>) -> Result<Vec<Joined>, SelectError> {
    let hasher = foldhash::fast::FixedState::default();
    let mut places: hashbrown::HashTable<usize> = hashbrown::HashTable::new();
    let mut merged: Vec<Joined> = Vec::new();
    for joined in lists.into_iter().flatten() {
        checks.step()?;
        let hash_of = |joined: &Joined| std::hash::BuildHasher::hash_one(&hasher, joined.first.labels().as_bytes());
        let hash = hash_of(&joined);
        if let Some(place) = places.find(hash, |place| merged[*place].first.labels() == joined.first.labels()) {
            merged[*place].others.push(joined.first);
            merged[*place].precedence = joined.precedence;
        } else if merged.len() < limit {
            places.insert_unique(hash, merged.len(), |place| hash_of(&merged[*place]));
            merged.push(joined);
        }
    }
    Ok(merged)
}

/// Joins the sorted names or values of several sources, as many as the hints want.
///
/// # Errors
/// [`SelectError::Cancelled`].
pub fn merge_names(sources: Vec<Names>, hints: &SelectHints) -> Result<Names, SelectError> {
    let mut warnings: Vec<String> = Vec::new();
    let mut lists = Vec::with_capacity(sources.len());
    for source in sources {
        for warning in source.warnings {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        if !source.names.is_empty() {
            lists.push(source.names);
        }
    }
    Ok(Names { names: merge_lists(lists, hints.limit, String::cmp, |a, _| a, &hints.cancel.checks())?, warnings })
}

/// So many are sorted without a look at whether anybody still waits: some milliseconds.
const RUN_LEN: usize = 8192;

/// An order of items, twice: as `compare` says, `sort` sorts a few thousand.
pub(crate) struct Order<S, C> {
    pub sort: S,
    pub compare: C,
}

/// Sorts items of which no two are equal, and keeps the first `limit` (0 = all).
///
/// # Errors
/// [`SelectError::Cancelled`].
pub(crate) fn sort_first<T>(
    mut items: Vec<T>,
    limit: usize,
    Order { sort, compare }: Order<impl Fn(&mut [T]), impl Fn(&T, &T) -> Ordering>,
    checks: &Checks<'_>,
) -> Result<Vec<T>, SelectError> {
    if items.len() <= RUN_LEN {
        sort(&mut items);
        items.truncate(if limit == 0 { usize::MAX } else { limit });
        return Ok(items);
    }
    let mut runs = Vec::with_capacity(items.len() / RUN_LEN + 1);
    let mut items = items.into_iter();
    while items.len() > 0 {
        let mut run: Vec<T> = items.by_ref().take(RUN_LEN).collect();
        sort(&mut run);
        if limit > 0 {
            run.truncate(limit);
        }
        runs.push(run);
        if !checks.go_on_after(RUN_LEN as u32) {
            break;
        }
    }
    checks.outcome()?;
    merge_lists(runs, limit, compare, |a, _| a, checks)
}

/// Merges sorted lists by twos, of equals what `join` makes of them, and gives the first `limit` (0 = all). Blocks
/// mostly hold the same series: then each series of a list is compared once.
fn merge_lists<T>(
    mut lists: Vec<Vec<T>>,
    limit: usize,
    compare: impl Fn(&T, &T) -> Ordering,
    join: impl Fn(T, T) -> T,
    checks: &Checks<'_>,
) -> Result<Vec<T>, SelectError> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    while lists.len() > 1 {
        let mut merged = Vec::with_capacity(lists.len().div_ceil(2));
        let mut rest = lists.into_iter();
        while let Some(first) = rest.next() {
            merged.push(match rest.next() {
                Some(second) => merge_two(first, second, limit, (&compare, &join), checks)?,
                None => first,
            });
        }
        lists = merged;
    }
    let mut list = lists.pop().unwrap_or_default();
    list.truncate(limit);
    Ok(list)
}

fn merge_two<T>(
    a: Vec<T>,
    b: Vec<T>,
    limit: usize,
    (compare, join): (impl Fn(&T, &T) -> Ordering, impl Fn(T, T) -> T),
    checks: &Checks<'_>,
) -> Result<Vec<T>, SelectError> {
    let mut merged = Vec::with_capacity(a.len().max(b.len()).min(limit));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while merged.len() < limit {
        checks.step()?;
        let order = match (a.peek(), b.peek()) {
            (Some(a), Some(b)) => compare(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        merged.extend(match order {
            Ordering::Less => a.next(),
            Ordering::Greater => b.next(),
            Ordering::Equal => a.next().zip(b.next()).map(|(a, b)| join(a, b)),
        });
    }
    Ok(merged)
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
