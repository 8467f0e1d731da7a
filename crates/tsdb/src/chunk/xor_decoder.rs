//! The decoder of XOR chunks: one sample after the other, plainly or (for [`super::lanes`]) without what cannot be foreseen.

use super::Corrupt;
use super::bits::{NO_WINDOW, Reader, WINDOW_BITS};
use super::xor::HEADER_LEN;
use std::ops::Range;

/// Walks a stream of bits. Reads beyond the end give what comes behind; [`Decoder::check_length`] then tells, once for all samples.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    pub(super) reader: Reader<'a>,
    /// Bytes of its stream, and where they end.
    len: usize,
    end: usize,
    total: u16,
    /// Samples so far, of those that the plain decoder has walked past: it tells where a field is damaged.
    done: u16,
    pub(super) time: i64,
    pub(super) value_bits: u64,
    pub(super) delta: u64,
    pub(super) leading: u8,
    /// Significant bits of the current window, 1 to 64.
    pub(super) significant: u32,
    /// Zeros to the right of them.
    pub(super) shift: u32,
}

impl<'a> Decoder<'a> {
    /// Of the stream in these `bytes`, behind which others may come.
    pub(super) fn new(stream: &'a [u8], bytes: Range<usize>, total: u16) -> Self {
        Self {
            reader: Reader { stream, position: bytes.start * 8 },
            len: bytes.len(),
            end: bytes.end,
            total,
            done: 0,
            time: i64::MIN,
            value_bits: 0,
            delta: 0,
            leading: NO_WINDOW,
            significant: 64,
            shift: 0,
        }
    }

    /// Goes to the next sample.
    #[inline]
    pub(super) fn next(&mut self) -> Result<(), Corrupt> {
        match self.done {
            0 => {
                self.time = self.reader.varint().ok_or(Corrupt::Field { field: "variable-length number", sample: 0 })?;
                self.value_bits = self.reader.take(64);
                self.done = 1;
                Ok(())
            }
            1 => {
                self.delta = self.reader.uvarint().ok_or(Corrupt::Field { field: "variable-length number", sample: 1 })?;
                self.time = self.time.wrapping_add(self.delta as i64);
                let window = self.reader.window();
                self.value(window, 0)
            }
            _ => self.next_of_many(),
        }
    }

    /// A sample from the third on: the change of the delta, then the value.
    #[inline(always)]
    pub(super) fn next_of_many(&mut self) -> Result<(), Corrupt> {
        let window = self.reader.window();
        if window >> 63 == 0 {
            self.time = self.time.wrapping_add(self.delta as i64);
            return self.value(window << 1, 1);
        }
        let (header, len) = match window >> 60 {
            0b1000..=0b1011 => (2, 14),
            0b1100..=0b1101 => (3, 17),
            0b1110 => (4, 20),
            _ => {
                self.reader.position += 4;
                let change = self.reader.take(64);
                self.delta = self.delta.wrapping_add(change);
                self.time = self.time.wrapping_add(self.delta as i64);
                let window = self.reader.window();
                return self.value(window, 0);
            }
        };
        let bits = (window << header) >> (64 - len);
        // The range is (-2^(len-1), 2^(len-1)]: the middle value counts as positive.
        let change = if bits > 1 << (len - 1) { bits.wrapping_sub(1 << len) } else { bits };
        self.delta = self.delta.wrapping_add(change);
        self.time = self.time.wrapping_add(self.delta as i64);
        self.value(window << (header + len), header + len)
    }

    /// The value's field, at the top of `window`; `used` bits before it (at most 24) have been consumed.
    #[inline(always)]
    fn value(&mut self, window: u64, used: u32) -> Result<(), Corrupt> {
        let sample = self.done;
        self.done += 1;
        if window >> 63 == 0 {
            self.reader.position += used as usize + 1;
            return Ok(());
        }
        let mut used = used + 2;
        let mut window_after = window << 2;
        if window >> 62 == 0b11 {
            let leading = (window_after >> 59) as u32;
            let significant = match (window_after >> 53) as u32 & 0x3f {
                0 => 64,
                bits => bits,
            };
            if leading + significant > 64 {
                return Err(Corrupt::Field { field: "count of significant bits", sample });
            }
            self.leading = leading as u8;
            self.significant = significant;
            self.shift = 64 - leading - significant;
            used += 11;
            window_after <<= 11;
        }
        self.reader.position += used as usize;
        let bits = if used + self.significant <= WINDOW_BITS {
            self.reader.position += self.significant as usize;
            window_after >> (64 - self.significant)
        } else {
            self.reader.take(self.significant)
        };
        self.value_bits ^= bits << self.shift;
        Ok(())
    }

    /// How many samples from here on repeat the value after the same time, as far as one look shows.
    #[inline(always)]
    pub(super) fn unchanged(&self) -> usize {
        (self.reader.window().leading_zeros().min(WINDOW_BITS) / 2) as usize
    }

    /// Goes past so many samples, which are known to be such ones.
    #[inline(always)]
    pub(super) fn repeat(&mut self, count: usize) {
        self.reader.position += 2 * count;
        self.done += count as u16;
        self.time = self.time.wrapping_add((self.delta as i64).wrapping_mul(count as i64));
    }

    /// As [`Self::next_of_many`], without a branch on whether the value changes, which no processor can foresee. False, and
    /// nothing is done, at the last bytes of the stream, before the longest form of a time, and where a field is damaged.
    #[inline(always)]
    pub(super) fn next_unforeseen(&mut self) -> bool {
        let position = self.reader.position;
        let bit = position as u32 % 8;
        let Some(bytes) = self.reader.stream.get(position / 8..position / 8 + 16) else { return false };
        let eight = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let window = eight(0) << bit;
        let (mut used, mut delta) = (1, self.delta);
        if window >> 63 == 1 {
            let (header, len) = match window >> 60 {
                0b1000..=0b1011 => (2, 14),
                0b1100..=0b1101 => (3, 17),
                0b1110 => (4, 20),
                _ => return false,
            };
            let bits = (window << header) >> (64 - len);
            let change = if bits > 1 << (len - 1) { bits.wrapping_sub(1 << len) } else { bits };
            (used, delta) = (header + len, delta.wrapping_add(change));
        }
        let value = window << used;
        let changed = value >> 63;
        let mut used = used + 1 + changed as u32;
        if value >= 0b11 << 62 {
            let leading = (value >> 57) as u32 & 0x1f;
            let width = ((value >> 51) as u32 & 0x3f).wrapping_sub(1) & 0x3f;
            if leading + width > 63 || width >= WINDOW_BITS {
                return false;
            }
            (self.significant, self.shift) = (width + 1, 63 - leading - width);
            used += 11;
        }
        let mask = changed.wrapping_neg();
        if self.significant > WINDOW_BITS && changed == 1 {
            return false;
        }
        let from = bit + used;
        // At most 44 bits, which the mask tells the compiler.
        let bits = eight((from as usize / 8) & 7) << (from % 8) >> ((64 - self.significant) & 63);
        self.value_bits ^= bits << (self.shift & 63) & mask;
        self.reader.position = position + (used + (self.significant & mask as u32)) as usize;
        self.delta = delta;
        self.time = self.time.wrapping_add(delta as i64);
        true
    }

    /// Whether there were bits for all samples.
    pub(super) fn check_length(&self) -> Result<(), Corrupt> {
        if self.reader.position > self.end * 8 {
            return Err(Corrupt::Short { len: self.len + HEADER_LEN, count: self.total });
        }
        Ok(())
    }
}
