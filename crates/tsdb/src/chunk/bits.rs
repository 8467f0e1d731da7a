//! Streams of bits, from the highest bit of each byte down: what all encodings are made of.
//!
//! Reading looks at the stream through a window of 64 bits, of which at least [`WINDOW_BITS`] are valid wherever it starts.
//! Reads beyond the end give zeros and go on; [`Reader::exceeded`] then tells, once for many of them.

use model::value::STALE_NAN_BITS;

/// Significant bits of the window, whatever bit of a byte it starts at.
pub(super) const WINDOW_BITS: u32 = 64 - 7;
/// Widest value of the "leading zeros" field: five bits.
pub(super) const LEADING_MAX: u8 = 31;
/// No window of significant bits has been written yet.
pub(super) const NO_WINDOW: u8 = 0xff;
/// Bits of a number after as many ones and, but for the last, a zero.
const VARBIT_WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Appends the lowest `len` (1 to 64) bits of `bits`, of which all higher ones are zero; `free` are the unused bits (0 to 7)
/// of the last byte.
#[inline]
pub(super) fn put(bytes: &mut Vec<u8>, free: &mut u8, bits: u64, len: u32) {
    let before = u32::from(*free);
    let aligned = bits << (64 - len);
    if before > 0
        && let Some(last) = bytes.last_mut()
    {
        *last |= (aligned >> (64 - before)) as u8;
    }
    if len <= before {
        *free = (before - len) as u8;
        return;
    }
    let rest = len - before;
    let whole = bytes.len() + rest.div_ceil(8) as usize;
    // Eight bytes at once and a cut are cheaper than a copy of unknown length. `len > before` keeps the shift below 64.
    bytes.extend_from_slice(&(aligned << before).to_be_bytes());
    bytes.truncate(whole);
    *free = (rest.wrapping_neg() % 8) as u8;
}

/// How many ones precede a signed number. A field of n bits holds -(2^(n-1) - 1) to 2^(n-1).
#[inline]
fn varbit_ones(value: i64) -> usize {
    match value {
        0 => 0,
        -3..=4 => 1,
        -31..=32 => 2,
        -255..=256 => 3,
        -2047..=2048 => 4,
        -0x1_ffff..=0x2_0000 => 5,
        -0xff_ffff..=0x100_0000 => 6,
        -0x7f_ffff_ffff_ffff..=0x80_0000_0000_0000 => 7,
        _ => 8,
    }
}

/// How many bits [`Writer::varbit`] takes.
pub(super) fn varbit_len(value: i64) -> u32 {
    let ones = varbit_ones(value);
    VARBIT_WIDTHS[ones] + (ones as u32 + 1).min(8)
}

/// A chunk that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// Unused bits of the last byte, 0 to 7.
    pub(super) free: u8,
}

impl Writer {
    /// A chunk of which only the header is there.
    pub(super) fn with_header(header_len: usize) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.resize(header_len, 0);
        Self { bytes, free: 0 }
    }

    /// As [`put`].
    #[inline]
    pub(super) fn put(&mut self, bits: u64, len: u32) {
        put(&mut self.bytes, &mut self.free, bits, len);
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

    /// A signed number in 1, 5, 9, 13, 17, 24, 32, 64 or 72 bits.
    #[inline]
    pub(super) fn varbit(&mut self, value: i64) {
        match varbit_ones(value) {
            0 => self.put(0, 1),
            ones => self.varbit_field(value as u64, ones),
        }
    }

    /// An unsigned number, likewise.
    #[inline]
    pub(super) fn varbit_unsigned(&mut self, value: u64) {
        let ones = match 64 - value.leading_zeros() {
            0 => return self.put(0, 1),
            1..=3 => 1,
            4..=6 => 2,
            7..=9 => 3,
            10..=12 => 4,
            13..=18 => 5,
            19..=25 => 6,
            26..=56 => 7,
            _ => 8,
        };
        self.varbit_field(value, ones);
    }

    fn varbit_field(&mut self, value: u64, ones: usize) {
        if ones == 8 {
            self.put(0xff, 8);
            return self.put(value, 64);
        }
        let width = VARBIT_WIDTHS[ones];
        let head = (1 << (ones + 1)) - 2;
        self.put(head << width | value & ((1 << width) - 1), ones as u32 + 1 + width);
    }
}

/// A chunk that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) stream: &'a [u8],
    /// In bits.
    pub(super) position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Self { stream, position: 0 }
    }

    /// Whether more bits were read than there are.
    #[inline]
    pub(super) fn exceeded(&self) -> bool {
        self.position > self.stream.len() * 8
    }

    /// Bits not yet read.
    pub(super) fn remaining(&self) -> usize {
        (self.stream.len() * 8).saturating_sub(self.position)
    }

    /// Unused bits of the last byte read, 0 to 7.
    pub(super) fn free_bits(&self) -> u8 {
        (self.position.wrapping_neg() % 8) as u8
    }

    /// 64 bits from the position on, of which at least [`WINDOW_BITS`] are the stream's.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        let first = self.position / 8;
        let word = match self.stream.get(first..).and_then(<[u8]>::first_chunk::<8>) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => self.last_word(first),
        };
        word << (self.position % 8)
    }

    #[cold]
    fn last_word(&self, first: usize) -> u64 {
        let mut word = [0; 8];
        let rest = self.stream.get(first..).unwrap_or_default();
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        u64::from_be_bytes(word)
    }

    /// Consumes 1 to 64 bits.
    #[inline(always)]
    pub(super) fn take(&mut self, len: u32) -> u64 {
        let mut window = self.window();
        if len > WINDOW_BITS {
            let ninth = self.stream.get(self.position / 8 + 8).copied().unwrap_or(0);
            window |= u64::from(ninth) >> (8 - self.position % 8);
        }
        self.position += len as usize;
        window >> (64 - len)
    }

    /// None where the number has more than 64 bits.
    pub(super) fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(8);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn varint(&mut self) -> Option<i64> {
        let zigzag = self.uvarint()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// The counterpart of [`Writer::varbit`].
    #[inline(always)]
    pub(super) fn varbit(&mut self) -> i64 {
        let (bits, width) = self.varbit_field();
        if width < 64 && width > 0 && bits > 1 << (width - 1) { bits.wrapping_sub(1 << width) as i64 } else { bits as i64 }
    }

    /// The counterpart of [`Writer::varbit_unsigned`].
    #[inline(always)]
    pub(super) fn varbit_unsigned(&mut self) -> u64 {
        self.varbit_field().0
    }

    #[inline(always)]
    fn varbit_field(&mut self) -> (u64, u32) {
        let window = self.window();
        let ones = (!window).leading_zeros();
        match ones {
            0 => {
                self.position += 1;
                (0, 0)
            }
            1..=6 => {
                let width = VARBIT_WIDTHS[ones as usize];
                self.position += (ones + 1 + width) as usize;
                (window << (ones + 1) >> (64 - width), width)
            }
            _ => {
                self.position += 8;
                let width = if ones == 7 { 56 } else { 64 };
                (self.take(width), width)
            }
        }
    }
}

/// A float that is stored as its XOR with the one before, within a window of significant bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Zeros before the window, or [`NO_WINDOW`].
    pub(super) leading: u8,
    /// Zeros behind it.
    pub(super) trailing: u8,
}

impl Window {
    pub(super) const NONE: Self = Self { leading: NO_WINDOW, trailing: 0 };

    /// How many bits it lets through; all of them as long as there is none.
    #[inline(always)]
    pub(super) fn width(self) -> u32 {
        if self.leading == NO_WINDOW { 64 } else { 64 - u32::from(self.leading) - u32::from(self.trailing) }
    }

    /// The smallest one that lets `changed`, which is not 0, through.
    #[inline(always)]
    pub(super) fn of(changed: u64) -> Self {
        Self { leading: (changed.leading_zeros() as u8).min(LEADING_MAX), trailing: changed.trailing_zeros() as u8 }
    }

    #[inline(always)]
    pub(super) fn covers(self, other: Self) -> bool {
        self.leading != NO_WINDOW && other.leading >= self.leading && other.trailing >= self.trailing
    }

    /// Its 11 bits: zeros before it, and its width.
    #[inline(always)]
    pub(super) fn field(self) -> u64 {
        // 64 significant bits do not fit the six bits of the field; 0 never occurs and stands for them.
        u64::from(self.leading) << 6 | u64::from(self.width() & 0x3f)
    }

    /// The counterpart of [`Window::field`]; none if that reaches beyond 64 bits.
    #[inline(always)]
    pub(super) fn of_field(field: u64) -> Option<Self> {
        let leading = (field >> 6) as u32 & 0x1f;
        let width = match field as u32 & 0x3f {
            0 => 64,
            width => width,
        };
        let trailing = 64u32.checked_sub(leading + width)?;
        Some(Self { leading: leading as u8, trailing: trailing as u8 })
    }

    /// Writes the float with bits `new`, whose predecessor has bits `old`, opening a window only when it must.
    pub(super) fn write(&mut self, writer: &mut Writer, old: u64, new: u64) {
        let changed = old ^ new;
        if changed == 0 {
            return writer.put(0, 1);
        }
        let needed = Self::of(changed);
        if self.covers(needed) {
            writer.put(0b10, 2);
        } else {
            *self = needed;
            writer.put(0b11 << 11 | self.field(), 13);
        }
        writer.put(changed >> self.trailing, self.width());
    }

    /// The counterpart of [`Window::write`]; none where the window is impossible.
    #[inline]
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, value: &mut u64) -> Option<()> {
        let window = reader.window();
        if window >> 63 == 0 {
            reader.position += 1;
            return Some(());
        }
        reader.position += 2;
        if window >> 62 == 0b11 {
            *self = Self::of_field(window >> 51 & 0x7ff)?;
            reader.position += 11;
        }
        *value ^= reader.take(self.width()) << self.trailing;
        Some(())
    }
}

/// Whether these are the bits of the staleness marker.
#[inline(always)]
pub(super) fn is_stale(bits: u64) -> bool {
    bits == STALE_NAN_BITS
}
