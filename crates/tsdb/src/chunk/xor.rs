//! XOR chunks: float samples as deltas of deltas and XORed values, bit for bit as Prometheus writes them.
//!
//! A chunk is a big-endian `u16` count of samples, then a stream of bits (docs/formats.md). Encoding keeps five words of
//! state beside the bytes, so an open chunk costs its bytes and little more. Decoding looks at the stream through a
//! window of 64 bits, of which at least 57 are valid wherever it starts: enough for all but the payloads of long fields.
//!
//! # Invariants
//! - Unused bits of the last byte are zero.
//! - [`XorAppender::resume`] gives the very state that appending all of the chunk's samples would have left.
//! - Decoding any bytes returns, without panic, and yields at most as many samples as the header says.

pub use super::Corrupt;
use super::bits::{self, NO_WINDOW, Reader, Window};
use super::lanes;
use super::xor_decoder::Decoder;
use std::ops::RangeInclusive;

/// Bytes before the stream of bits: the count of samples.
pub const HEADER_LEN: usize = 2;
/// The most samples that a chunk can count.
pub const SAMPLES_MAX: u16 = u16::MAX;

/// Appends samples to a chunk that the caller keeps as bytes; the state between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XorAppender {
    time: i64,
    value_bits: u64,
    delta: u64,
    count: u16,
    window: Window,
    /// Unused bits of the last byte, 0 to 7.
    free_bits: u8,
}

impl XorAppender {
    /// Begins a chunk: clears `bytes` and writes the header of an empty one.
    pub fn start(bytes: &mut Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&[0; HEADER_LEN]);
        Self { time: i64::MIN, value_bits: 0, delta: 0, count: 0, window: Window::NONE, free_bits: 0 }
    }

    /// The state after all samples of an existing chunk, to append more.
    ///
    /// Bytes beyond the last sample are not looked at, so the chunk must end with it (as every chunk written by us does).
    ///
    /// # Errors
    /// [`Corrupt`] as for [`decode`].
    pub fn resume(bytes: &[u8]) -> Result<Self, Corrupt> {
        Ok(Self::resume_within(bytes)?.0)
    }

    /// As [`XorAppender::resume`], of bytes of which the samples may not be all; how many they are.
    pub(crate) fn resume_within(bytes: &[u8]) -> Result<(Self, usize), Corrupt> {
        let count = sample_count(bytes).ok_or(Corrupt::NoHeader { len: bytes.len() })?;
        let mut decoder = Decoder::new(bytes, HEADER_LEN..bytes.len(), count);
        for _ in 0..count {
            decoder.next()?;
        }
        decoder.check_length()?;
        let trailing = if decoder.leading == NO_WINDOW { 0 } else { decoder.shift };
        let len = decoder.reader.position.div_ceil(8);
        let appender = Self {
            time: decoder.time,
            value_bits: decoder.value_bits,
            delta: decoder.delta,
            count,
            window: Window { leading: decoder.leading, trailing: trailing as u8 },
            free_bits: decoder.reader.free_bits(),
        };
        Ok((appender, len))
    }

    /// Appends a sample to the chunk that this state belongs to.
    ///
    /// The caller cuts chunks long before [`SAMPLES_MAX`] samples, and orders samples by time (an earlier time would be
    /// encoded, and decoded, as it is).
    ///
    /// # Panics
    /// When the chunk is full, or `bytes` is not this appender's chunk: writing on would destroy samples.
    pub fn append(&mut self, bytes: &mut Vec<u8>, time: i64, value: f64) {
        let needed = Window::of(value.to_bits() ^ self.value_bits);
        let window = if self.window.covers(needed) { self.window } else { needed };
        self.append_within(bytes, time, value, window);
    }

    /// As [`XorAppender::append`], with the window that a changed value is to be written in, and which must cover it.
    #[inline]
    pub(super) fn append_within(&mut self, bytes: &mut Vec<u8>, time: i64, value: f64, window: Window) {
        assert!(self.count < SAMPLES_MAX && bytes.len() >= HEADER_LEN, "an XOR chunk holds at most {SAMPLES_MAX} samples");
        let value_bits = value.to_bits();
        match self.count {
            0 => {
                put_uvarint(bytes, ((time << 1) ^ (time >> 63)) as u64);
                bytes.extend_from_slice(&value_bits.to_be_bytes());
            }
            1 => {
                self.delta = time.wrapping_sub(self.time) as u64;
                put_uvarint(bytes, self.delta);
                self.append_value(bytes, value_bits, window, 0, 0);
            }
            _ => {
                let delta = time.wrapping_sub(self.time) as u64;
                let change = delta.wrapping_sub(self.delta) as i64;
                self.delta = delta;
                match change {
                    0 => self.append_value(bytes, value_bits, window, 0, 1),
                    -0x1fff..=0x2000 => self.append_value(bytes, value_bits, window, 0b10 << 14 | field(change, 14), 16),
                    -0xffff..=0x1_0000 => self.append_value(bytes, value_bits, window, 0b110 << 17 | field(change, 17), 20),
                    -0x7_ffff..=0x8_0000 => self.append_value(bytes, value_bits, window, 0b1110 << 20 | field(change, 20), 24),
                    _ => {
                        self.put_bits(bytes, 0b1111, 4);
                        self.put_bits(bytes, change as u64, 64);
                        self.append_value(bytes, value_bits, window, 0, 0);
                    }
                }
            }
        }
        self.time = time;
        self.value_bits = value_bits;
        self.count += 1;
        bytes[..HEADER_LEN].copy_from_slice(&self.count.to_be_bytes());
    }

    /// Samples appended so far.
    pub fn sample_count(&self) -> u16 {
        self.count
    }

    /// Time of the last sample; meaningless while there is none.
    pub fn last_time(&self) -> i64 {
        self.time
    }

    /// Time between the last two samples; 0 while there are no two.
    pub fn last_delta(&self) -> i64 {
        self.delta.cast_signed()
    }

    /// Value of the last sample; meaningless while there is none.
    pub fn last_value(&self) -> f64 {
        f64::from_bits(self.value_bits)
    }

    /// Writes the value's field, after the `prefix_len` (at most 24) bits of `prefix`, in as few puts as possible.
    #[inline]
    fn append_value(&mut self, bytes: &mut Vec<u8>, value_bits: u64, window: Window, prefix: u64, prefix_len: u32) {
        let changed = value_bits ^ self.value_bits;
        if changed == 0 {
            return self.put_bits(bytes, prefix << 1, prefix_len + 1);
        }
        let len = window.width();
        if window == self.window {
            let head = prefix << 2 | 0b10;
            if prefix_len + 2 + len <= 64 {
                self.put_bits(bytes, head << len | changed >> window.trailing, prefix_len + 2 + len);
            } else {
                self.put_bits(bytes, head, prefix_len + 2);
                self.put_bits(bytes, changed >> window.trailing, len);
            }
            return;
        }
        self.window = window;
        self.put_bits(bytes, prefix << 13 | 0b11 << 11 | window.field(), prefix_len + 13);
        self.put_bits(bytes, changed >> window.trailing, len);
    }

    /// Appends the lowest `len` (1 to 64) bits of `bits`, of which all higher ones are zero.
    #[inline]
    fn put_bits(&mut self, bytes: &mut Vec<u8>, bits: u64, len: u32) {
        bits::put(bytes, &mut self.free_bits, bits, len);
    }
}

/// How many samples the header counts; none if there is no header.
pub fn sample_count(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk::<HEADER_LEN>().map(|header| u16::from_be_bytes(*header))
}

/// Time of a chunk's first sample; none if there is no such sample.
pub(crate) fn first_time(bytes: &[u8]) -> Option<i64> {
    sample_count(bytes).filter(|count| *count > 0)?;
    Reader::new(&bytes[HEADER_LEN..]).varint()
}

/// Appends the samples of a chunk with times in `range` to `times` and `values`.
///
/// On an error both are as they were. Several chunks of a series are faster together: [`super::decode_run`].
///
/// # Errors
/// [`Corrupt`] when the bytes end too early or hold what no writer writes.
pub fn decode(bytes: &[u8], range: RangeInclusive<i64>, times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corrupt> {
    lanes::decode(&mut [lanes::Stretch { chunks: &[bytes], times, values }], range)
}

/// The lowest `len` bits of a number.
#[inline(always)]
pub(super) fn field(change: i64, len: u32) -> u64 {
    change as u64 & ((1 << len) - 1)
}

fn put_uvarint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
#[path = "xor_tests.rs"]
mod tests;
