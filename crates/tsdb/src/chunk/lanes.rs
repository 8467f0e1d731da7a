//! XOR chunks decoded several at a time, of one series or of several.
//!
//! Where a sample begins depends on how long the one before is, and that on whether its value changed, which no processor can
//! foresee: decoding one chunk is waiting, or guessing wrong, most of the time. Chunks do not depend on each other: they are
//! walked abreast, a sample of each in turn, without a branch on it: in registers made for it where the processor has them
//! (`wide`), else in turn. What is rare is left to the plain decoder.

use super::Corrupt;
#[cfg(target_arch = "x86_64")]
use super::wide;
use super::xor::{HEADER_LEN, first_time, sample_count};
use super::xor_decoder::Decoder;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;

/// Zeros behind all streams: the last sample is looked at through a window of so many bytes.
const PADDING: usize = 16;

/// Chunks that follow each other, and what their samples are appended to.
pub(super) struct Stretch<'c, 'v> {
    pub chunks: &'c [&'c [u8]],
    pub times: &'v mut Vec<i64>,
    pub values: &'v mut Vec<f64>,
}

/// Appends the samples with times in `range`. On an error all times and values are as they were.
pub(super) fn decode(stretches: &mut [Stretch<'_, '_>], range: RangeInclusive<i64>) -> Result<(), Corrupt> {
    decode_by(walk, stretches, range)
}

/// Decodes what is left of these chunks, which lie in one stream with [`PADDING`] behind it.
type Walk = fn(&[u8], Vec<Lane<'_, '_>>) -> Result<(), Corrupt>;

fn decode_by(walk: Walk, stretches: &mut [Stretch<'_, '_>], range: RangeInclusive<i64>) -> Result<(), Corrupt> {
    let layouts = stretches.iter().map(|stretch| Layout::of(stretch.chunks, *range.start())).collect::<Result<Vec<_>, _>>()?;
    let fronts = layouts.iter().map(|layout| layout.front).sum();
    let (mut front_times, mut front_values): (Vec<i64>, Vec<f64>) = (Vec::with_capacity(fronts), Vec::with_capacity(fronts));
    let mut rooms = Vec::with_capacity(stretches.iter().map(|stretch| stretch.chunks.len()).sum());
    let mut front =
        Room { times: &mut front_times.spare_capacity_mut()[..fronts], values: &mut front_values.spare_capacity_mut()[..fronts] };
    for (Stretch { chunks, times, values }, layout) in stretches.iter_mut().zip(&layouts) {
        times.reserve(layout.count);
        values.reserve(layout.count);
        let mut rest =
            Room { times: &mut times.spare_capacity_mut()[..layout.count], values: &mut values.spare_capacity_mut()[..layout.count] };
        let mut chunks = chunks.iter();
        if layout.front > 0 {
            rooms.extend(chunks.next().map(|chunk| (*chunk, front.take(layout.front))));
            rest.take(layout.kept);
        }
        rooms.extend(chunks.map(|chunk| (*chunk, rest.take(usize::from(sample_count(chunk).unwrap_or(0))))));
    }
    each_lane(rooms, walk)?;
    // SAFETY: both have room for as many, and all of it is filled: each chunk has had the room of its samples, and where it leaves
    // any of that empty it has failed.
    #[expect(unsafe_code, reason = "filling the room with zeros first takes as long as a twentieth of a query over a day")]
    unsafe {
        front_times.set_len(fronts);
        front_values.set_len(fronts);
    }
    let mut from = 0;
    for (Stretch { times, values, .. }, layout) in stretches.iter_mut().zip(&layouts) {
        let upto = from + layout.front;
        let cut = from + front_times[from..upto].partition_point(|time| time < range.start());
        let rest = layout.count - layout.front;
        let count = append(times, layout.kept, rest, &front_times[cut..upto]);
        append(values, layout.kept, rest, &front_values[cut..upto]);
        from = upto;
        leave_out(times, values, times.len() - count, &range);
    }
    Ok(())
}

/// Where a stretch's samples go.
struct Layout {
    /// Of all chunks.
    count: usize,
    /// Those of the first one, if it begins before the range: they are decoded elsewhere, as leaving out the first of them would
    /// move all others.
    front: usize,
    /// So many of these are likely to stay.
    kept: usize,
}

impl Layout {
    fn of(chunks: &[&[u8]], start: i64) -> Result<Self, Corrupt> {
        let mut count = 0;
        for chunk in chunks {
            count += usize::from(checked_count(chunk)?);
        }
        let first = chunks.first().copied().unwrap_or_default();
        let Some(begin) = first_time(first).filter(|begin| *begin < start) else { return Ok(Self { count, front: 0, kept: 0 }) };
        let front = usize::from(sample_count(first).unwrap_or(0));
        // As if they were at equal distances up to the next chunk.
        let next = chunks.get(1).and_then(|next| first_time(next)).unwrap_or(start);
        let (before, span) = (i128::from(start) - i128::from(begin), (i128::from(next) - i128::from(begin)).max(1));
        let left_out = (before * front as i128 + span - 1) / span;
        Ok(Self { count, front, kept: front - usize::try_from(left_out).map_or(front, |n| n.min(front)) })
    }
}

/// Room for samples.
struct Room<'v> {
    times: &'v mut [MaybeUninit<i64>],
    values: &'v mut [MaybeUninit<f64>],
}

impl<'v> Room<'v> {
    /// The first part of it.
    fn take(&mut self, count: usize) -> Self {
        let (times, times_after) = std::mem::take(&mut self.times).split_at_mut(count);
        let (values, values_after) = std::mem::take(&mut self.values).split_at_mut(count);
        (self.times, self.values) = (times_after, values_after);
        Self { times, values }
    }
}

/// Appends `front` and the `rest` elements that lie in the room of `into`, behind a gap; how many these are.
fn append<T: Copy>(into: &mut Vec<T>, gap: usize, rest: usize, front: &[T]) -> usize {
    let room = into.spare_capacity_mut();
    if front.len() != gap {
        room.copy_within(gap..gap + rest, front.len());
    }
    for (to, value) in room.iter_mut().zip(front) {
        to.write(*value);
    }
    let count = front.len() + rest;
    // SAFETY: the first ones are filled here, and the others, each in the room of its chunk, by who decoded these.
    #[expect(unsafe_code, reason = "as above")]
    unsafe {
        into.set_len(into.len() + count);
    }
    count
}

/// Leaves out what is behind the index `from` and not in the range; mostly there is nothing.
fn leave_out(times: &mut Vec<i64>, values: &mut Vec<f64>, from: usize, range: &RangeInclusive<i64>) {
    if times.last().is_some_and(|last| last > range.end()) {
        let to = from + times[from..].partition_point(|time| time <= range.end());
        times.truncate(to);
        values.truncate(to);
    }
    if times.get(from).is_some_and(|first| first < range.start()) {
        let to = from + times[from..].partition_point(|time| time < range.start());
        times.drain(from..to);
        values.drain(from..to);
    }
}

/// What the header says, if there can be so many.
fn checked_count(chunk: &[u8]) -> Result<u16, Corrupt> {
    let count = sample_count(chunk).ok_or(Corrupt::NoHeader { len: chunk.len() })?;
    // A sample takes at least two bits, so that a false count asks for no memory.
    if usize::from(count) > (chunk.len() - HEADER_LEN) * 4 {
        return Err(Corrupt::Short { len: chunk.len(), count });
    }
    Ok(count)
}

/// Decodes the chunks of these lanes.
macro_rules! abreast {
    ($($lane:ident),*) => {{
        let mut common = usize::MAX;
        $(
            let mut $lane = $lane;
            $lane.some(2)?;
            common = common.min($lane.times.len());
        )*
        for at in 0..common {
            $($lane.one(at)?;)*
        }
        $(
            $lane.skip(common);
            $lane.rest()?;
        )*
    }};
}

/// How the values of a chunk change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Hardly ever: many samples can be passed by at a time.
    Idle,
    /// Now and then, which nobody can foresee.
    Mixed,
    /// Nearly always, as a processor soon learns.
    Busy,
}

impl Pace {
    fn of(chunk: &[u8]) -> Self {
        // The first two samples take some twenty bytes, those that repeat two bits.
        let (bits, count) = (chunk.len().saturating_sub(20) * 8, usize::from(sample_count(chunk).unwrap_or(0)));
        match bits {
            _ if bits * 2 < count * 5 => Self::Idle,
            _ if bits < count * 40 => Self::Mixed,
            _ => Self::Busy,
        }
    }
}

fn walk(streams: &[u8], lanes: Vec<Lane<'_, '_>>) -> Result<(), Corrupt> {
    #[cfg(target_arch = "x86_64")]
    let Some(lanes) = wide::decode(streams, lanes)? else { return Ok(()) };
    in_turn(streams, lanes)
}

/// Decodes all samples of chunks, each to its room, which it fills. All but those that stand still and one alone are left to `walk`.
fn each_lane(rooms: Vec<(&[u8], Room<'_>)>, walk: Walk) -> Result<(), Corrupt> {
    let lively = rooms.iter().map(|(chunk, _)| chunk).filter(|chunk| Pace::of(chunk) != Pace::Idle);
    let (count, len) = lively.clone().fold((0, 0), |(count, len), chunk| (count + 1, len + chunk.len() - HEADER_LEN));
    let mut streams = Vec::new();
    if count > 1 {
        streams.reserve_exact(len + PADDING);
        lively.for_each(|chunk| streams.extend_from_slice(&chunk[HEADER_LEN..]));
        streams.extend_from_slice(&[0; PADDING]);
    }
    let mut waiting: Vec<Lane<'_, '_>> = Vec::with_capacity(count);
    let mut at = 0;
    for (chunk, Room { times, values }) in rooms {
        let (pace, count) = (Pace::of(chunk), sample_count(chunk).unwrap_or(0));
        if pace == Pace::Idle || streams.is_empty() {
            let lane = Lane { decoder: Decoder::new(chunk, HEADER_LEN..chunk.len(), count), pace, times, values };
            if pace == Pace::Idle {
                lane.idle()?
            } else {
                lane.rest()?
            }
            continue;
        }
        let begin = at;
        at += chunk.len() - HEADER_LEN;
        waiting.push(Lane { decoder: Decoder::new(&streams, begin..at, count), pace, times, values });
    }
    walk(&streams, waiting)
}

/// A sample of each of four chunks in turn.
fn in_turn(_: &[u8], lanes: Vec<Lane<'_, '_>>) -> Result<(), Corrupt> {
    let (mixed, busy): (Vec<_>, Vec<_>) = lanes.into_iter().partition(|lane| lane.pace == Pace::Mixed);
    busy.into_iter().try_for_each(Lane::rest)?;
    let mut mixed = mixed.into_iter();
    loop {
        match [mixed.next(), mixed.next(), mixed.next(), mixed.next()] {
            [Some(a), Some(b), Some(c), Some(d)] => abreast!(a, b, c, d),
            [Some(a), Some(b), Some(c), None] => abreast!(a, b, c),
            [Some(a), Some(b), ..] => abreast!(a, b),
            [one, ..] => return one.map_or(Ok(()), Lane::rest),
        }
    }
}

/// What is left of a chunk, and the room for it.
pub(super) struct Lane<'s, 't> {
    pub(super) decoder: Decoder<'s>,
    pace: Pace,
    pub(super) times: &'t mut [MaybeUninit<i64>],
    pub(super) values: &'t mut [MaybeUninit<f64>],
}

#[cold]
#[inline(never)]
fn plainly(mut decoder: Decoder<'_>) -> Result<Decoder<'_>, Corrupt> {
    decoder.next_of_many().map(|()| decoder)
}

fn put(decoder: &Decoder<'_>, time: &mut MaybeUninit<i64>, value: &mut MaybeUninit<f64>) {
    time.write(decoder.time);
    value.write(f64::from_bits(decoder.value_bits));
}

impl Lane<'_, '_> {
    /// Decodes a sample, neither the first nor the second, to this place.
    #[inline(always)]
    fn one(&mut self, at: usize) -> Result<(), Corrupt> {
        if !self.decoder.next_unforeseen() {
            self.decoder = plainly(self.decoder)?;
        }
        put(&self.decoder, &mut self.times[at], &mut self.values[at]);
        Ok(())
    }

    /// Decodes at most so many samples.
    pub(super) fn some(&mut self, count: usize) -> Result<(), Corrupt> {
        let count = count.min(self.times.len());
        for (time, value) in self.times.iter_mut().zip(self.values.iter_mut()).take(count) {
            self.decoder.next()?;
            put(&self.decoder, time, value);
        }
        self.skip(count);
        Ok(())
    }

    /// Leaves out room that is filled.
    pub(super) fn skip(&mut self, count: usize) {
        self.times = &mut std::mem::take(&mut self.times)[count..];
        self.values = &mut std::mem::take(&mut self.values)[count..];
    }

    /// Decodes all that is left.
    pub(super) fn rest(mut self) -> Result<(), Corrupt> {
        self.some(2)?;
        for (time, value) in self.times.iter_mut().zip(self.values.iter_mut()) {
            self.decoder.next_of_many()?;
            put(&self.decoder, time, value);
        }
        self.decoder.check_length()
    }

    /// As [`Self::rest`], many samples at a time where nothing changes.
    fn idle(mut self) -> Result<(), Corrupt> {
        self.some(2)?;
        let mut room = self.times.iter_mut().zip(self.values.iter_mut());
        while room.len() > 0 {
            let count = self.decoder.unchanged().min(room.len());
            let Decoder { time: before, delta, value_bits, .. } = self.decoder;
            for (i, (time, value)) in (1..).zip(room.by_ref().take(count)) {
                time.write(before.wrapping_add((delta as i64).wrapping_mul(i)));
                value.write(f64::from_bits(value_bits));
            }
            self.decoder.repeat(count);
            if let Some((time, value)) = room.next() {
                self.decoder.next_of_many()?;
                put(&self.decoder, time, value);
            }
        }
        self.decoder.check_length()
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
