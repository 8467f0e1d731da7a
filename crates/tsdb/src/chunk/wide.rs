//! XOR chunks decoded sixteen at a time, each in its lane of two 512-bit registers (AVX-512).
//!
//! A sample of every lane is decoded in each step, without a branch on what a sample looks like: what nobody can foresee costs
//! nothing, and all wait for memory at the same time. Samples go to rows, one a step, which become each chunk's own stretch of
//! times and values. What is rare (a gap that takes the longest form of a time) the plain decoder does.
//!
//! # Invariants
//! - Lanes read nothing but the streams, whatever these hold: where a read would begin is at most [`WORD`] bytes before their end.
//! - A step in which a lane has what the plain decoder must look at is done by none of them.

use super::Corrupt;
use super::bits::WINDOW_BITS;
use super::lanes::Lane;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Chunks in one register.
const LANES: usize = 8;
/// Registers of chunks: while the samples of one are being fetched, those of the other are taken apart.
const GROUPS: usize = 2;
/// Steps until rows are handed out: what fits the nearest cache.
const ROWS: usize = 32;
/// Bytes that a lane reads at once.
const WORD: usize = 8;
/// Fewer lanes than these cost more than the plain decoder, one after the other.
const LANES_MIN: usize = 3;

/// Decodes all that is left of these chunks, whose streams lie in `streams`, with zeros behind them. Gives them back, as they
/// were, where it does not pay or the processor can't.
pub(super) fn decode<'s, 't>(streams: &[u8], lanes: Vec<Lane<'s, 't>>) -> Result<Option<Vec<Lane<'s, 't>>>, Corrupt> {
    if lanes.len() < LANES_MIN
        || !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq"))
    {
        return Ok(Some(lanes));
    }
    assert!(streams.len() >= WORD, "there are zeros behind the streams");
    #[expect(unsafe_code, reason = "up to twice as fast as the lanes in turn; the tests' twin is the plain decoder")]
    // SAFETY: the processor has what the function is compiled for.
    unsafe {
        all(streams, lanes.into_iter())?;
    }
    Ok(None)
}

/// Where eight chunks stand: the [`super::xor_decoder::Decoder`]'s fields.
#[derive(Clone, Copy)]
struct State {
    /// In bits from the start of all streams.
    position: __m512i,
    delta: __m512i,
    time: __m512i,
    value: __m512i,
    significant: __m512i,
    shift: __m512i,
}

/// What eight chunks had in each step.
#[derive(Clone, Copy)]
struct Rows {
    times: [__m512i; ROWS],
    values: [__m512i; ROWS],
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn all<'s, 't>(streams: &[u8], mut waiting: impl Iterator<Item = Lane<'s, 't>>) -> Result<(), Corrupt> {
    let zero = _mm512_setzero_si512();
    let mut rows = [Rows { times: [zero; ROWS], values: [zero; ROWS] }; GROUPS];
    let mut lanes: Vec<Lane<'s, 't>> = Vec::with_capacity(GROUPS * LANES);
    loop {
        for ended in lanes.extract_if(.., |lane| lane.times.is_empty()) {
            ended.decoder.check_length()?;
        }
        while lanes.len() < GROUPS * LANES
            && let Some(mut lane) = waiting.next()
        {
            lane.some(2)?;
            lanes.push(lane);
        }
        let steps = lanes.iter().map(|lane| lane.times.len()).min().unwrap_or(0).min(ROWS);
        let done = match lanes.len() {
            ..LANES_MIN => return lanes.into_iter().try_for_each(Lane::rest),
            LANES_MIN..=LANES => groups::<1>(streams, &mut lanes, &mut rows, steps),
            _ => groups::<GROUPS>(streams, &mut lanes, &mut rows, steps),
        };
        if done < steps {
            lanes.iter_mut().try_for_each(|lane| lane.some(1))?;
        }
    }
}

/// Decodes as many samples of each lane, or those before one that the plain decoder must look at; how many.
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn groups<const N: usize>(streams: &[u8], lanes: &mut [Lane<'_, '_>], rows: &mut [Rows; GROUPS], steps: usize) -> usize {
    let mut states: [State; N] = std::array::from_fn(|group| load(lanes.get(group * LANES..).unwrap_or_default(), streams));
    let constants = Constants::new(streams);
    let mut done = 0;
    while done < steps {
        let mut next = states;
        let mut strange = 0;
        for state in &mut next {
            strange |= step(state, &constants);
        }
        if strange != 0 {
            break;
        }
        states = next;
        for (state, rows) in states.iter().zip(rows.iter_mut()) {
            (rows.times[done], rows.values[done]) = (state.time, state.value);
        }
        done += 1;
    }
    for ((state, rows), lanes) in states.iter().zip(rows).zip(lanes.chunks_mut(LANES)) {
        store(state, lanes);
        hand_out(rows, done, lanes);
    }
    done
}

/// Of at most eight lanes.
#[target_feature(enable = "avx512f")]
fn load(lanes: &[Lane<'_, '_>], streams: &[u8]) -> State {
    let of = |field: fn(&Lane<'_, '_>) -> u64, none: u64| vector(std::array::from_fn(|i| lanes.get(i).map_or(none, field)));
    State {
        // Without a chunk a lane reads the zeros at the end, which say that nothing changes.
        position: of(|lane| lane.decoder.reader.position as u64, ((streams.len() - WORD) * 8) as u64),
        delta: of(|lane| lane.decoder.delta, 0),
        time: of(|lane| lane.decoder.time as u64, 0),
        value: of(|lane| lane.decoder.value_bits, 0),
        significant: of(|lane| lane.decoder.significant.into(), 64),
        shift: of(|lane| lane.decoder.shift.into(), 0),
    }
}

#[target_feature(enable = "avx512f")]
fn store(state: &State, lanes: &mut [Lane<'_, '_>]) {
    let (position, delta, time) = (array(state.position), array(state.delta), array(state.time));
    let (value, significant, shift) = (array(state.value), array(state.significant), array(state.shift));
    for (i, Lane { decoder, .. }) in lanes.iter_mut().enumerate() {
        decoder.reader.position = position[i] as usize;
        (decoder.delta, decoder.time, decoder.value_bits) = (delta[i], time[i] as i64, value[i]);
        (decoder.significant, decoder.shift) = (significant[i] as u32, shift[i] as u32);
    }
}

/// What stays the same in all steps.
struct Constants<'s> {
    /// At least [`WORD`] bytes.
    streams: &'s [u8],
    /// Where the last [`WORD`] of them begin.
    last: __m512i,
    /// The order of bytes that turns big-endian numbers into the processor's.
    swap: __m512i,
    /// By the three bits after the first of a time: those before a change of the delta, those it has, and its middle value.
    headers: __m512i,
    widths: __m512i,
    middles: __m512i,
}

impl<'s> Constants<'s> {
    #[target_feature(enable = "avx512f")]
    fn new(streams: &'s [u8]) -> Self {
        Self {
            streams,
            last: _mm512_set1_epi64((streams.len() - WORD) as i64),
            swap: _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)),
            headers: _mm512_setr_epi64(2, 2, 2, 2, 3, 3, 4, 0),
            widths: _mm512_setr_epi64(14, 14, 14, 14, 17, 17, 20, 0),
            middles: _mm512_setr_epi64(1 << 13, 1 << 13, 1 << 13, 1 << 13, 1 << 16, 1 << 16, 1 << 19, 0),
        }
    }
}

/// Decodes a sample of each lane. A mask of those that the plain decoder must look at: if there are any, the state is of no use.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn step(state: &mut State, constants: &Constants<'_>) -> u8 {
    let number = |n: i64| _mm512_set1_epi64(n);
    let (one, seven, all_bits, window_bits) = (number(1), number(7), number(64), number(WINDOW_BITS.into()));
    let select = |condition: __m512i, yes: __m512i, no: __m512i| _mm512_ternarylogic_epi64::<0xca>(condition, yes, no);
    let bytes_at = |place: __m512i| {
        let offsets = _mm512_min_epu64(place, constants.last);
        #[expect(unsafe_code, reason = "there is no safe gather")]
        // SAFETY: there are eight bytes from each offset on, as `last` is where the last eight begin, and offsets are in bytes.
        let bytes = unsafe { _mm512_i64gather_epi64::<1>(offsets, constants.streams.as_ptr().cast()) };
        _mm512_shuffle_epi8(bytes, constants.swap)
    };
    let position = state.position;
    let window = _mm512_sllv_epi64(bytes_at(_mm512_srli_epi64::<3>(position)), _mm512_and_si512(position, seven));
    // The time: a bit that is 0 where the delta stays.
    let moved = _mm512_movepi64_mask(window);
    let (mut used, mut strange) = (one, 0);
    if moved != 0 {
        let form = _mm512_and_si512(_mm512_srli_epi64::<60>(window), seven);
        strange = _mm512_mask_cmpeq_epi64_mask(moved, form, seven);
        let header = _mm512_permutexvar_epi64(form, constants.headers);
        let width = _mm512_permutexvar_epi64(form, constants.widths);
        let middle = _mm512_permutexvar_epi64(form, constants.middles);
        let bits = _mm512_srlv_epi64(_mm512_sllv_epi64(window, header), _mm512_sub_epi64(all_bits, width));
        let above = _mm512_cmpgt_epu64_mask(bits, middle);
        let change = _mm512_mask_sub_epi64(bits, above, bits, _mm512_slli_epi64::<1>(middle));
        used = _mm512_mask_add_epi64(one, moved, header, width);
        state.delta = _mm512_mask_add_epi64(state.delta, moved, state.delta, change);
    }
    // The value: whether it changed, whether in a new window, and that: zeros before it, and its significant bits.
    let field = _mm512_sllv_epi64(window, used);
    let changed = _mm512_srai_epi64::<63>(field);
    let fresh = _mm512_and_si512(changed, _mm512_srai_epi64::<63>(_mm512_slli_epi64::<1>(field)));
    let leading = _mm512_and_si512(_mm512_srli_epi64::<57>(field), number(31));
    let width = _mm512_add_epi64(_mm512_and_si512(_mm512_sub_epi64(_mm512_srli_epi64::<51>(field), one), number(63)), one);
    let reach = _mm512_add_epi64(leading, width);
    strange |= _mm512_mask_cmpgt_epu64_mask(_mm512_movepi64_mask(fresh), reach, all_bits);
    let significant = select(fresh, width, state.significant);
    state.shift = select(fresh, _mm512_sub_epi64(all_bits, reach), state.shift);
    used = _mm512_sub_epi64(_mm512_add_epi64(used, one), changed);
    used = _mm512_add_epi64(used, _mm512_and_si512(fresh, number(11)));
    let taken = _mm512_and_si512(changed, significant);
    let begin = _mm512_add_epi64(position, used);
    let mut bits = _mm512_sllv_epi64(window, used);
    if _mm512_mask_cmpgt_epu64_mask(_mm512_movepi64_mask(changed), _mm512_add_epi64(used, taken), window_bits) != 0 {
        let (byte, bit) = (_mm512_srli_epi64::<3>(begin), _mm512_and_si512(begin, seven));
        bits = _mm512_sllv_epi64(bytes_at(byte), bit);
        if _mm512_cmpgt_epu64_mask(taken, window_bits) != 0 {
            let ninth = _mm512_and_si512(bytes_at(_mm512_add_epi64(byte, one)), number(255));
            bits = _mm512_or_si512(bits, _mm512_srlv_epi64(ninth, _mm512_sub_epi64(number(8), bit)));
        }
    }
    let bits = _mm512_sllv_epi64(_mm512_srlv_epi64(bits, _mm512_sub_epi64(all_bits, significant)), state.shift);
    state.value = _mm512_xor_si512(state.value, _mm512_and_si512(changed, bits));
    state.significant = significant;
    state.position = _mm512_add_epi64(begin, taken);
    state.time = _mm512_add_epi64(state.time, state.delta);
    strange
}

/// Gives each of at most eight lanes its samples of the first `done` rows.
#[target_feature(enable = "avx512f")]
fn hand_out(rows: &Rows, done: usize, lanes: &mut [Lane<'_, '_>]) {
    for from in (0..done).step_by(LANES) {
        let (times, values) = (columns(&rows.times, from), columns(&rows.values, from));
        let count = (done - from).min(LANES);
        for (lane, (times, values)) in lanes.iter_mut().zip(times.into_iter().zip(values)) {
            let (times, values) = (array(times), array(values));
            let room = (lane.times.first_chunk_mut(), lane.values.first_chunk_mut());
            if let (LANES, (Some(to_times), Some(to_values))) = (count, room) {
                *to_times = times.map(|time| MaybeUninit::new(time as i64));
                *to_values = values.map(|value| MaybeUninit::new(f64::from_bits(value)));
            } else {
                for i in 0..count {
                    lane.times[i].write(times[i] as i64);
                    lane.values[i].write(f64::from_bits(values[i]));
                }
            }
            lane.skip(count);
        }
    }
}

/// Eight rows from `from` on as the eight lanes' samples, those beyond the last row of no meaning.
#[target_feature(enable = "avx512f")]
fn columns(rows: &[__m512i; ROWS], from: usize) -> [__m512i; LANES] {
    // The remainder changes nothing, but tells the compiler that there is such a row.
    let row = |i: usize| rows[(from + i) % ROWS];
    let pair = |i: usize| (_mm512_unpacklo_epi64(row(i), row(i + 1)), _mm512_unpackhi_epi64(row(i), row(i + 1)));
    // Lanes 0, 2, 4, 6 of two rows each, and 1, 3, 5, 7.
    let ((even0, odd0), (even2, odd2), (even4, odd4), (even6, odd6)) = (pair(0), pair(2), pair(4), pair(6));
    let quarters = |a, b, c, d| {
        let (low_ab, high_ab) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
        let (low_cd, high_cd) = (_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
        [
            _mm512_shuffle_i64x2::<0x88>(low_ab, low_cd),
            _mm512_shuffle_i64x2::<0x88>(high_ab, high_cd),
            _mm512_shuffle_i64x2::<0xdd>(low_ab, low_cd),
            _mm512_shuffle_i64x2::<0xdd>(high_ab, high_cd),
        ]
    };
    let ([l0, l2, l4, l6], [l1, l3, l5, l7]) = (quarters(even0, even2, even4, even6), quarters(odd0, odd2, odd4, odd6));
    [l0, l1, l2, l3, l4, l5, l6, l7]
}

#[target_feature(enable = "avx512f")]
fn vector(lanes: [u64; LANES]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = lanes.map(|lane| lane as i64);
    _mm512_setr_epi64(a, b, c, d, e, f, g, h)
}

#[target_feature(enable = "avx512f")]
fn array(lanes: __m512i) -> [u64; LANES] {
    #[expect(unsafe_code, reason = "there is no safe way to the lanes")]
    // SAFETY: both are 64 bytes of which any bits are a value.
    unsafe {
        std::mem::transmute(lanes)
    }
}
