//! XOR chunks of one series, decoded several at a time.
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

/// So many are walked in turn.
const LANES: usize = 4;
/// Zeros behind all streams: the last sample is looked at through a window of so many bytes.
const PADDING: usize = 16;

/// Appends the samples with times in `range` of chunks that follow each other. On an error `times` and `values` are as they were.
pub(super) fn decode(chunks: &[&[u8]], range: RangeInclusive<i64>, times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corrupt> {
    decode_by(whole, chunks, range, times, values)
}

/// Fills the slices, which have room for just as many samples.
type Whole = fn(&[&[u8]], &mut [MaybeUninit<i64>], &mut [MaybeUninit<f64>]) -> Result<(), Corrupt>;

fn decode_by(
    whole: Whole,
    chunks: &[&[u8]],
    range: RangeInclusive<i64>,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), Corrupt> {
    let before = times.len();
    // What is cut off at the front moves all that is behind it, so it should not be much.
    if let [first, others @ ..] = chunks
        && others.len() >= LANES
        && first_time(first).is_some_and(|time| time < *range.start())
    {
        decode_by(whole, &[first], range.clone(), times, values)?;
        return decode_by(whole, others, range, times, values).inspect_err(|_| {
            times.truncate(before);
            values.truncate(before);
        });
    }
    let mut count = 0;
    for chunk in chunks {
        count += usize::from(checked_count(chunk)?);
    }
    times.reserve(count);
    values.reserve(count);
    whole(chunks, &mut times.spare_capacity_mut()[..count], &mut values.spare_capacity_mut()[..count])?;
    // SAFETY: both have room for as many more, and `whole` filled it: each lane has the room of its chunk's samples, the
    // chunks' samples are as many together, and where a lane leaves any of its room empty it has failed.
    #[expect(unsafe_code, reason = "filling the room with zeros first takes as long as a twentieth of a query over a day")]
    unsafe {
        times.set_len(before + count);
        values.set_len(before + count);
    }
    // Mostly there is nothing to leave out.
    if times.last().is_some_and(|last| last > range.end()) {
        let to = before + times[before..].partition_point(|time| time <= range.end());
        times.truncate(to);
        values.truncate(to);
    }
    if times.get(before).is_some_and(|first| first < range.start()) {
        let from = before + times[before..].partition_point(|time| time < range.start());
        times.drain(before..from);
        values.drain(before..from);
    }
    Ok(())
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

/// All samples, to each place of the slices.
fn whole(chunks: &[&[u8]], times: &mut [MaybeUninit<i64>], values: &mut [MaybeUninit<f64>]) -> Result<(), Corrupt> {
    each_lane(chunks, times, values, |streams, lanes| {
        #[cfg(target_arch = "x86_64")]
        let Some(lanes) = wide::decode(streams, lanes)? else { return Ok(()) };
        in_turn(streams, lanes)
    })
}

/// Gives `decode` what is left to be done: all but chunks that stand still. They lie in one stream, with [`PADDING`] behind it.
fn each_lane(
    chunks: &[&[u8]],
    mut times: &mut [MaybeUninit<i64>],
    mut values: &mut [MaybeUninit<f64>],
    decode: impl FnOnce(&[u8], Vec<Lane<'_, '_>>) -> Result<(), Corrupt>,
) -> Result<(), Corrupt> {
    // Those that stand still go by themselves, and so does one alone; the others from one stream.
    let lively = chunks.iter().filter(|chunk| Pace::of(chunk) != Pace::Idle);
    let (count, len) = lively.clone().fold((0, 0), |(count, len), chunk| (count + 1, len + chunk.len() - HEADER_LEN));
    let mut streams = Vec::new();
    if count > 1 {
        streams.reserve_exact(len + PADDING);
        lively.for_each(|chunk| streams.extend_from_slice(&chunk[HEADER_LEN..]));
        streams.extend_from_slice(&[0; PADDING]);
    }
    let mut waiting: Vec<Lane<'_, '_>> = Vec::new();
    let mut at = 0;
    for chunk in chunks {
        let count = sample_count(chunk).unwrap_or(0);
        let (times_here, times_after) = std::mem::take(&mut times).split_at_mut(usize::from(count));
        let (values_here, values_after) = std::mem::take(&mut values).split_at_mut(usize::from(count));
        (times, values) = (times_after, values_after);
        let pace = Pace::of(chunk);
        let lane = |decoder, times, values| Lane { decoder, pace, times, values };
        if pace == Pace::Idle || streams.is_empty() {
            let lane = lane(Decoder::new(chunk, HEADER_LEN..chunk.len(), count), times_here, values_here);
            if pace == Pace::Idle {
                lane.idle()?
            } else {
                lane.rest()?
            }
            continue;
        }
        let begin = at;
        at += chunk.len() - HEADER_LEN;
        waiting.push(lane(Decoder::new(&streams, begin..at, count), times_here, values_here));
    }
    decode(&streams, waiting)
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
