//! A chunk that is written in one go: a place for its bytes that is used again and again, and bits that wait for a whole byte.

use std::ops::Range;

/// Room to begin with: the longest chunk of floats of a block, and the word that is written at once.
const ROOM: usize = super::block::BYTES_MAX + 16;
/// The most bits that are put at once, with those that wait: a shift by 64 must not occur.
const PUT_MAX: u32 = 56;

/// A chunk being written.
#[derive(Debug, Default)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    /// Whole bytes.
    len: usize,
    /// What comes behind them, from the highest bit on; all others are zero.
    pending: u64,
    /// How many bits wait there, 0 to 7.
    waiting: u32,
}

impl Sink {
    /// Begins a chunk with the bytes of its header.
    pub(super) fn begin(&mut self, header: &[u8]) {
        if self.bytes.len() < ROOM {
            self.bytes.resize(ROOM, 0);
        }
        self.bytes[..header.len()].copy_from_slice(header);
        (self.len, self.pending, self.waiting) = (header.len(), 0, 0);
    }

    /// The chunk's bytes; unused bits of the last one are zero.
    pub(super) fn finish(&self) -> &[u8] {
        // Those that wait were written with the last word.
        &self.bytes[..self.len + usize::from(self.waiting > 0)]
    }

    /// Appends the lowest `len` (1 to 64) bits of `bits`, of which all higher ones are zero.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, len: u32) {
        if len > PUT_MAX {
            self.put_few(bits >> 32, len - 32);
            self.put_few(bits & 0xffff_ffff, 32);
        } else {
            self.put_few(bits, len);
        }
    }

    /// Appends `head_len` (at most 38) bits, and then others, as [`Sink::put`].
    #[inline(always)]
    pub(super) fn put_two(&mut self, head: u64, head_len: u32, bits: u64, len: u32) {
        if head_len + len <= PUT_MAX {
            self.put_few(head << len | bits, head_len + len);
        } else {
            self.put_few(head, head_len);
            self.put(bits, len);
        }
    }

    #[inline(always)]
    fn put_few(&mut self, bits: u64, len: u32) {
        self.pending |= bits << (64 - self.waiting - len);
        let filled = self.waiting + len;
        let word: Range<usize> = self.len..self.len + 8;
        match self.bytes.get_mut(word) {
            Some(place) => place.copy_from_slice(&self.pending.to_be_bytes()),
            None => self.grow(),
        }
        self.len += (filled / 8) as usize;
        self.pending <<= filled & !7;
        self.waiting = filled % 8;
    }

    /// Makes room for the word and writes it.
    #[cold]
    fn grow(&mut self) {
        self.bytes.resize(self.len + ROOM, 0);
        self.bytes[self.len..self.len + 8].copy_from_slice(&self.pending.to_be_bytes());
    }

    pub(super) fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }

    pub(super) fn varint(&mut self, value: i64) {
        self.uvarint(((value << 1) ^ (value >> 63)) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::Writer;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bits_are_those_that_any_writer_writes(fields in prop::collection::vec((any::<u64>(), 1u32..=64, any::<u64>(), 1u32..=38), 0..400)) {
            let mut sink = Sink::default();
            let mut writer = Writer::with_header(3);
            sink.begin(&[0; 3]);
            for (bits, len, head, head_len) in fields {
                let (bits, head) = (bits >> (64 - len), head >> (64 - head_len));
                sink.put_two(head, head_len, bits, len);
                writer.put(head, head_len);
                writer.put(bits, len);
                sink.varint(bits as i64);
                writer.varint(bits as i64);
            }
            prop_assert_eq!(sink.finish(), &writer.bytes[..]);
        }
    }
}
