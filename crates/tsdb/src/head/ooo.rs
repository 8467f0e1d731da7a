//! Out-of-order samples of one series of the head: those older than the newest one in order.
//!
//! They gather, sorted and not encoded, in an *open* chunk of some 32 samples; a full one is encoded and goes to `chunks_head/`
//! like chunks in order, with a mark of its own. Full chunks may overlap each other and the chunks in order: whoever reads
//! a series merges them ([`crate::merge`]). Most series have none of this, so a head series holds it boxed.
//!
//! # Invariants
//! - The open chunk's times strictly increase. A second sample of one time is refused there, of whatever kind it is; one
//!   that repeats a time of a full chunk or of a chunk in order is not noticed, and merging keeps one of them.
//!
//! # Isolation
//! The argument for samples in order (see [`super`]) rests on their order. An out-of-order sample can lie before any other, so
//! it bears the number of its commit itself, for as long as that matters:
//!
//! - Inserting a sample of commit `n` notes `(time, n)` beside the chunk that takes it: times are unique within a chunk, so
//!   the note names that sample and no other. Notes go with the samples when the chunk is full.
//! - A view `W` leaves out the samples of a chunk that have a note with `n > W`. All samples without a note it sees.
//! - A note `(time, n)` is dropped only when `n ≤ floor`, where the floor, as it is given to a commit, is not above any view, open or to
//!   come: so every view sees that sample, and a sample without a note needs none. Thus at all times a view sees exactly the
//!   samples of commits up to `W`, whatever order commits reach the series in, and a select that looks once, under the slab's lock,
//!   gets a consistent copy.
//! - A commit `m` whose sample is refused because that of a commit `n > m` has the same time is *tied* to `n`, as for samples in
//!   order: otherwise a view between them would see the rest of `m` without any sample at that time.

use super::sequence::Sequence;
use crate::chunk::Sample;
use crate::tombstones::Intervals;
use model::Timestamp;
use std::ops::RangeInclusive;
use storage::Interval;

/// The samples of an open chunk before it counts as full, if nothing else is configured (`out-of-order-cap-max`).
pub const SAMPLES_MAX: usize = 32;

/// A series' out-of-order samples; `C` is what the head keeps of a full chunk: its bytes, or where they are.
#[derive(Clone, Debug)]
pub struct OooSeries<C> {
    open: Vec<Sample>,
    open_notes: Vec<Note>,
    full: Vec<OooChunk<C>>,
    /// Full chunks before this one have no notes.
    settled: usize,
}

/// A sample that some view may not see yet.
type Note = (i64, Sequence);

/// A full chunk of out-of-order samples.
#[derive(Clone, Debug)]
pub struct OooChunk<C> {
    /// Time of the first sample.
    pub min_time: i64,
    /// Time of the last sample.
    pub max_time: i64,
    /// What the head keeps of it.
    pub chunk: C,
    notes: Notes,
}

/// The notes of a full chunk.
#[derive(Clone, Debug)]
enum Notes {
    None,
    /// All samples are of this commit: late data often comes in large requests.
    All(Sequence),
    Some(Box<[Note]>),
}

/// Samples of a chunk that is full, in order of time, to be encoded and handed to [`OooSeries::add`].
#[derive(Clone, Debug)]
pub struct Full {
    /// The samples.
    pub samples: Vec<Sample>,
    notes: Vec<Note>,
}

/// What became of a sample.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// Whether it was taken.
    pub outcome: Outcome,
    /// The samples that made room for it: no longer in the series until their chunks are added, under the same lock.
    pub full: Option<Full>,
}

/// Whether a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the open chunk.
    Stored,
    /// The open chunk has a sample of that time; of which commit, if that may not be seen by every view: one whose commit is
    /// later ties this one to it.
    Duplicate(Option<Sequence>),
}

/// What a view sees of a series, copied.
#[derive(Clone, Debug)]
pub struct OooPart<C> {
    /// No sample is earlier.
    pub min_time: i64,
    /// No sample is later.
    pub max_time: i64,
    /// The samples.
    pub samples: OooSamples<C>,
}

/// Samples of an [`OooPart`].
#[derive(Clone, Debug)]
pub enum OooSamples<C> {
    /// Of the open chunk, all to be seen.
    Open(Vec<Sample>),
    /// A full chunk.
    Full {
        /// Where it is.
        chunk: C,
        /// Times of samples to be left out.
        hidden: Intervals,
    },
}

impl<C> Default for OooSeries<C> {
    fn default() -> Self {
        Self { open: Vec::new(), open_notes: Vec::new(), full: Vec::new(), settled: 0 }
    }
}

impl<C> OooSeries<C> {
    /// Inserts a sample of commit `sequence`. A chunk that has `samples_max` samples already is full, and another one begins. Views up
    /// to `floor` and none before it may still ask; a replay, before any view, says 0 for both.
    pub fn insert(&mut self, sample: Sample, samples_max: usize, sequence: Sequence, floor: Sequence) -> Inserted {
        self.settle(floor);
        let full = if self.open.len() >= samples_max.max(1) { self.cut() } else { None };
        let place = match self.open.last() {
            // Late samples often come in order among themselves.
            Some(last) if last.time >= sample.time => self.open.partition_point(|known| known.time < sample.time),
            _ => self.open.len(),
        };
        if self.open.get(place).is_some_and(|known| known.time == sample.time) {
            let by = self.open_notes.iter().find(|(time, _)| *time == sample.time).map(|(_, by)| *by);
            return Inserted { outcome: Outcome::Duplicate(by), full };
        }
        if sequence > floor {
            self.open_notes.push((sample.time, sequence));
        }
        self.open.insert(place, sample);
        Inserted { outcome: Outcome::Stored, full }
    }

    /// Takes the open chunk's samples, as if it were full; none if it has none.
    pub fn cut(&mut self) -> Option<Full> {
        if self.open.is_empty() {
            return None;
        }
        Some(Full { samples: std::mem::take(&mut self.open), notes: std::mem::take(&mut self.open_notes) })
    }

    /// Adds a chunk of `full`'s samples from `min_time` to `max_time`.
    pub fn add(&mut self, min_time: i64, max_time: i64, chunk: C, full: &Full) {
        let notes: Vec<Note> = full.notes.iter().copied().filter(|(time, _)| (min_time..=max_time).contains(time)).collect();
        let samples = full.samples.iter().filter(|sample| (min_time..=max_time).contains(&sample.time)).count();
        let notes = match notes.first() {
            None => Notes::None,
            Some((_, one)) if notes.len() == samples && notes.iter().all(|(_, other)| other == one) => Notes::All(*one),
            Some(_) => Notes::Some(notes.into_boxed_slice()),
        };
        self.full.push(OooChunk { min_time, max_time, chunk, notes });
    }

    /// Adds a chunk that was written by an earlier run: every view sees it.
    pub fn add_settled(&mut self, min_time: i64, max_time: i64, chunk: C) {
        self.full.push(OooChunk { min_time, max_time, chunk, notes: Notes::None });
    }

    /// Drops samples of the open chunk for which `keep` does not hold: a log says that they are in a full chunk.
    pub fn retain_open(&mut self, keep: impl FnMut(&Sample) -> bool) {
        self.open.retain(keep);
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        self.open_notes = Vec::new();
    }

    /// The open chunk's samples, in order of time.
    pub fn open(&self) -> &[Sample] {
        &self.open
    }

    /// Full chunks, in the order in which they were added.
    pub fn full(&self) -> &[OooChunk<C>] {
        &self.full
    }

    /// Full chunks, to replace what is kept of them (bytes by where they were written).
    pub fn full_mut(&mut self) -> &mut [OooChunk<C>] {
        &mut self.full
    }

    /// Drops full chunks for which `keep` does not hold: they are in a block now, or too old.
    pub fn retain(&mut self, mut keep: impl FnMut(&OooChunk<C>) -> bool) {
        self.full.retain(|chunk| keep(chunk));
        self.full.shrink_to_fit();
        self.settled = 0;
    }

    /// No samples at all: the head series can do without it.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.full.is_empty()
    }

    /// Times of the first and the last sample.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let open = self.open.first().zip(self.open.last()).map(|(first, last)| (first.time, last.time));
        let ranges = self.full.iter().map(|chunk| (chunk.min_time, chunk.max_time)).chain(open);
        ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Drops the notes that no view needs any more, of the open chunk and of full ones from the oldest that had some.
    pub fn settle(&mut self, floor: Sequence) {
        if !self.open_notes.is_empty() {
            self.open_notes.retain(|(_, sequence)| *sequence > floor);
        }
        while let Some(chunk) = self.full.get_mut(self.settled) {
            chunk.notes.settle(floor);
            if !matches!(chunk.notes, Notes::None) {
                break;
            }
            self.settled += 1;
        }
    }

    /// How many bytes of the heap it holds beside itself, without what `C` holds.
    pub fn heap_bytes(&self) -> usize {
        let noted = |chunk: &OooChunk<C>| match &chunk.notes {
            Notes::None | Notes::All(_) => 0,
            Notes::Some(notes) => size_of_val::<[Note]>(notes),
        };
        self.open.capacity() * size_of::<Sample>()
            + self.open_notes.capacity() * size_of::<Note>()
            + self.full.capacity() * size_of::<OooChunk<C>>()
            + self.full.iter().map(noted).sum::<usize>()
    }
}

impl<C: Clone> OooSeries<C> {
    /// Copies what a view up to `upto` sees in `range`; empty if nothing. Full chunks come first, in the order in which they were added.
    pub fn copy(&self, range: RangeInclusive<i64>, upto: Sequence) -> Vec<OooPart<C>> {
        let mut parts = Vec::new();
        for chunk in &self.full {
            if chunk.min_time > *range.end() || chunk.max_time < *range.start() {
                continue;
            }
            if let Some(hidden) = chunk.notes.hidden(upto) {
                let samples = OooSamples::Full { chunk: chunk.chunk.clone(), hidden };
                parts.push(OooPart { min_time: chunk.min_time, max_time: chunk.max_time, samples });
            }
        }
        let from = self.open.partition_point(|sample| sample.time < *range.start());
        let until = from + self.open[from..].partition_point(|sample| sample.time <= *range.end());
        let hidden = |time: i64| self.open_notes.iter().any(|(noted, sequence)| *noted == time && *sequence > upto);
        let seen = self.open[from..until].iter().filter(|sample| self.open_notes.is_empty() || !hidden(sample.time));
        let samples: Vec<Sample> = seen.cloned().collect();
        if let Some((first, last)) = samples.first().zip(samples.last()) {
            parts.push(OooPart { min_time: first.time, max_time: last.time, samples: OooSamples::Open(samples) });
        }
        parts
    }
}

impl Notes {
    fn settle(&mut self, floor: Sequence) {
        let left = match self {
            Self::None => return,
            Self::All(sequence) if *sequence > floor => return,
            Self::All(_) => Vec::new(),
            Self::Some(notes) if notes.iter().all(|(_, sequence)| *sequence > floor) => return,
            Self::Some(notes) => notes.iter().copied().filter(|(_, sequence)| *sequence > floor).collect(),
        };
        *self = if left.is_empty() { Self::None } else { Self::Some(left.into_boxed_slice()) };
    }

    /// Times of samples that a view does not see; none if it sees no sample.
    fn hidden(&self, upto: Sequence) -> Option<Intervals> {
        match self {
            Self::None => Some(Intervals::new()),
            Self::All(sequence) => (*sequence <= upto).then(Intervals::new),
            Self::Some(notes) => Some(
                notes
                    .iter()
                    .filter(|(_, sequence)| *sequence > upto)
                    .map(|(time, _)| Interval { start: Timestamp(*time), end: Timestamp(*time) })
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::chunk::Value;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn sample(time: i64, value: f64) -> Sample {
        Sample { start: 0, time, value: Value::Float(value) }
    }

    /// In tests a full chunk is kept as its samples.
    type Series = OooSeries<Vec<Sample>>;

    fn insert(series: &mut Series, sample: Sample, samples_max: usize, sequence: u64, floor: u64) -> Outcome {
        let inserted = series.insert(sample, samples_max, Sequence(sequence), Sequence(floor));
        if let Some(full) = inserted.full {
            // As when kinds alternate, the samples become more than one chunk.
            for samples in full.samples.chunks(3) {
                series.add(samples[0].time, samples[samples.len() - 1].time, samples.to_vec(), &full);
            }
        }
        inserted.outcome
    }

    fn seen(series: &Series, range: RangeInclusive<i64>, upto: u64) -> Vec<(i64, f64)> {
        let mut all = Vec::new();
        for part in series.copy(range.clone(), Sequence(upto)) {
            let (samples, hidden) = match part.samples {
                OooSamples::Open(samples) => (samples, Intervals::new()),
                OooSamples::Full { chunk, hidden } => (chunk, hidden),
            };
            for sample in samples.iter().filter(|s| range.contains(&s.time) && !hidden.covers(s.time)) {
                assert!((part.min_time..=part.max_time).contains(&sample.time));
                let Value::Float(value) = sample.value else { unreachable!() };
                all.push((sample.time, value));
            }
        }
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        all
    }

    #[test]
    fn a_second_sample_of_one_time_is_refused_in_the_open_chunk_only() {
        let mut series = Series::default();
        for time in [5, 3, 4] {
            assert_eq!(insert(&mut series, sample(time, 1.0), 3, 1, 0), Outcome::Stored);
        }
        assert_eq!(series.open().iter().map(|s| s.time).collect::<Vec<_>>(), [3, 4, 5]);
        // The chunk is full before it is looked at.
        assert_eq!(insert(&mut series, sample(4, 2.0), 3, 2, 1), Outcome::Stored);
        assert_eq!(insert(&mut series, sample(4, 3.0), 3, 3, 1), Outcome::Duplicate(Some(Sequence(2))));
        assert_eq!(seen(&series, 4..=4, 1), [(4, 1.0)]);
        assert_eq!(insert(&mut series, sample(4, 3.0), 3, 4, 2), Outcome::Duplicate(None));
        assert_eq!((series.full().len(), series.open().len(), series.time_range()), (1, 1, Some((3, 5))));
        assert_eq!(seen(&series, i64::MIN..=i64::MAX, 2), [(3, 1.0), (4, 1.0), (4, 2.0), (5, 1.0)]);
        assert_eq!(series.cut().unwrap().samples.len(), 1);
        series.retain(|chunk| chunk.min_time > 3);
        assert!(series.is_empty() && series.cut().is_none() && series.time_range().is_none());
    }

    #[test]
    fn a_series_costs_little() {
        assert!(size_of::<Series>() <= 80);
        let mut series = Series::default();
        for time in 0..1000 {
            insert(&mut series, sample(time, 1.0), SAMPLES_MAX, 1, 0);
        }
        // Large commits leave no notes beside full chunks: these three samples each, 32 bytes a record of 72.
        assert!(series.heap_bytes() < 1000 / 3 * 2 * size_of::<OooChunk<Vec<Sample>>>() + 32 * 64, "{}", series.heap_bytes());
    }

    proptest! {
        /// Commits apply in any order; views are opened at times that the floor allows, and look again and again.
        #[test]
        fn a_view_sees_the_commits_up_to_its_own(
            commits in prop::collection::vec(prop::collection::vec(0..200i64, 1..6), 1..60),
            jumps in prop::collection::vec(0..3usize, 60),
            samples_max in 1..9usize,
            lag in 0..6u64,
        ) {
            let mut order: Vec<u64> = (1..=commits.len() as u64).collect();
            for (at, jump) in jumps.iter().enumerate() {
                if at + jump < order.len() {
                    order.swap(at, at + jump);
                }
            }
            let mut series = Series::default();
            let mut stored: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
            let mut applied = std::collections::BTreeSet::new();
            for sequence in order {
                let watermark = (1u64..).find(|n| !applied.contains(n)).unwrap_or(1) - 1;
                // Some view is older than the watermark.
                let floor = watermark.saturating_sub(lag);
                for time in &commits[sequence as usize - 1] {
                    if insert(&mut series, sample(*time, sequence as f64), samples_max, sequence, floor) == Outcome::Stored {
                        stored.entry(sequence).or_default().push(*time);
                    }
                }
                applied.insert(sequence);
                for upto in floor..=watermark + 2 {
                    let mut want: Vec<(i64, f64)> = stored.range(..=upto).flat_map(|(n, times)| times.iter().map(|t| (*t, *n as f64))).collect();
                    want.sort_by(|a, b| a.partial_cmp(b).unwrap());
                    prop_assert_eq!(seen(&series, i64::MIN..=i64::MAX, upto), want.clone());
                    want.retain(|(time, _)| (50..=120).contains(time));
                    prop_assert_eq!(seen(&series, 50..=120, upto), want);
                }
            }
            series.settle(Sequence(u64::MAX));
            prop_assert!(series.open_notes.is_empty() && series.full.iter().all(|chunk| matches!(chunk.notes, Notes::None)));
        }
    }
}
