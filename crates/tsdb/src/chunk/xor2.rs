//! XOR2 chunks: floats with start timestamps, denser than XOR where values or intervals stay the same.
//!
//! One prefix tells of time and value together; staleness markers take five bits and leave the value that others are compared
//! with as it was.
//!
//! # Invariants
//! - Unused bits of the last byte are zero.
//! - [`Xor2Appender::resume`] gives the very state that appending all of the chunk's samples would have left.
//! - Decoding any bytes returns, without panic, and yields at most as many samples as the header says.

use super::Corrupt;
use super::bits::{Reader, WINDOW_BITS, Window, Writer, is_stale};
use super::starts::Starts;
use model::value::STALE_NAN_BITS;
use std::ops::RangeInclusive;
use storage::Column;

/// Bytes before the stream of bits: the count of samples, and the byte of [`Starts`].
pub(super) const HEADER_LEN: usize = 3;

/// A chunk that takes samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xor2Appender {
    writer: Writer,
    progress: Progress,
}

/// The state between two samples, of a writer or a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    count: u16,
    starts: Starts,
    time: i64,
    delta: u64,
    value_bits: u64,
    /// The last value that is no staleness marker; 0 before there is one.
    base_bits: u64,
    window: Window,
}

impl Progress {
    const fn new(starts: Starts) -> Self {
        Self { count: 0, starts, time: i64::MIN, delta: 0, value_bits: 0, base_bits: 0, window: Window::NONE }
    }
}

impl Default for Xor2Appender {
    fn default() -> Self {
        Self::new()
    }
}

impl Xor2Appender {
    /// A chunk without samples.
    pub fn new() -> Self {
        Self { writer: Writer::with_header(HEADER_LEN), progress: Progress::new(Starts::NONE) }
    }

    /// The state after all samples of an existing chunk, to append more; whatever follows them is cut off.
    ///
    /// # Errors
    /// [`Corrupt`] as for [`decode`].
    pub fn resume(mut bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let mut decoder = Decoder::new(&bytes)?;
        while decoder.next()? {}
        let (len, free, progress) = (HEADER_LEN + decoder.reader.position.div_ceil(8), decoder.reader.free_bits(), decoder.progress);
        bytes.truncate(len);
        if let Some(last) = bytes.get_mut(HEADER_LEN..).and_then(<[u8]>::last_mut) {
            *last &= 0xff << free;
        }
        Ok(Self { writer: Writer { bytes, free }, progress })
    }

    /// Appends a sample; a start of 0 is none.
    ///
    /// # Panics
    /// When the chunk has 65,535 samples: writing on would destroy them.
    pub fn append(&mut self, start: i64, time: i64, value: f64) {
        let window = self.progress.window_for(value.to_bits());
        self.append_within(start, time, value, window);
    }

    /// As [`Xor2Appender::append`], with the window that is opened if it is another one than the last; it must cover the value.
    pub(super) fn append_within(&mut self, start: i64, time: i64, value: f64, window: Window) {
        let Self { writer, progress } = self;
        assert!(progress.count < u16::MAX, "an XOR2 chunk holds at most 65535 samples");
        let bits = value.to_bits();
        let delta = time.wrapping_sub(progress.time) as u64;
        match progress.count {
            0 => {
                writer.varint(time);
                writer.put(bits, 64);
            }
            1 => {
                writer.uvarint(delta);
                progress.write_value(writer, bits, window);
                progress.delta = delta;
            }
            _ => {
                let change = delta.wrapping_sub(progress.delta) as i64;
                progress.delta = delta;
                match change {
                    0 if is_stale(bits) => writer.put(0b11111, 5),
                    0 if bits == progress.base_bits => writer.put(0, 1),
                    0 => {
                        writer.put(0b10, 2);
                        progress.write_changed(writer, bits, window, 0, 1);
                    }
                    _ => {
                        match change {
                            -0x1000..=0xfff => writer.put(0b110 << 13 | change as u64 & 0x1fff, 16),
                            -0x8_0000..=0x7_ffff => writer.put(0b1110 << 20 | change as u64 & 0xf_ffff, 24),
                            _ => {
                                writer.put(0b11110, 5);
                                writer.put(change as u64, 64);
                            }
                        }
                        progress.write_value(writer, bits, window);
                    }
                }
            }
        }
        progress.starts.write(writer, progress.count, time, progress.time, start);
        progress.time = time;
        progress.value_bits = bits;
        if !is_stale(bits) {
            progress.base_bits = bits;
        }
        progress.count += 1;
        let [high, low] = progress.count.to_be_bytes();
        writer.bytes[..HEADER_LEN].copy_from_slice(&[high, low, progress.starts.header]);
    }

    /// Whether a sample with this start fits without making all later ones longer for nothing.
    pub(super) fn has_room(&self, start: i64) -> bool {
        self.progress.count < u16::MAX && !self.progress.starts.costs_for_nothing(self.progress.count, start)
    }

    /// Whether a value would need a window.
    pub(super) fn changes(&self, value: f64) -> bool {
        value.to_bits() != self.progress.base_bits && !is_stale(value.to_bits())
    }

    /// The chunk so far; always whole.
    pub fn bytes(&self) -> &[u8] {
        &self.writer.bytes
    }

    /// The chunk's bytes, to be kept.
    pub fn into_bytes(self) -> Vec<u8> {
        self.writer.bytes
    }

    /// Samples appended so far.
    pub fn sample_count(&self) -> u16 {
        self.progress.count
    }

    /// Time of the last sample; meaningless while there is none.
    pub fn last_time(&self) -> i64 {
        self.progress.time
    }

    /// Value of the last sample; meaningless while there is none.
    pub fn last_value(&self) -> f64 {
        f64::from_bits(self.progress.value_bits)
    }

    /// Start of the last sample; 0 = none.
    pub fn last_start(&self) -> i64 {
        self.progress.starts.last
    }
}

impl Progress {
    /// The window that a value is written in unless a wider one pays: the last one if it covers it, else its own.
    fn window_for(&self, bits: u64) -> Window {
        let changed = bits ^ self.base_bits;
        let needed = Window::of(changed);
        if changed == 0 || is_stale(bits) || self.window.covers(needed) { self.window } else { needed }
    }

    fn write_value(&mut self, writer: &mut Writer, bits: u64, window: Window) {
        if is_stale(bits) {
            writer.put(0b111, 3);
        } else if bits == self.base_bits {
            writer.put(0, 1);
        } else {
            self.write_changed(writer, bits, window, 0b10, 2);
        }
    }

    /// `same` and its length are what says that the window stays; one that opens has its last bit set, and, of two bits, a third.
    #[inline]
    fn write_changed(&mut self, writer: &mut Writer, bits: u64, window: Window, same: u64, len: u32) {
        if window == self.window {
            writer.put(same, len);
        } else {
            self.window = window;
            let (opens, len) = if len == 1 { (1, 1) } else { (0b110, 3) };
            writer.put(opens << 11 | window.field(), len + 11);
        }
        writer.put((bits ^ self.base_bits) >> window.trailing, window.width());
    }
}

/// Appends the samples of a chunk with times in `range` to `column`; on an error it is as it was.
///
/// # Errors
/// [`Corrupt`] when the bytes end too early or hold what no writer writes.
pub(super) fn decode(bytes: &[u8], range: RangeInclusive<i64>, column: &mut Column) -> Result<(), Corrupt> {
    let mut decoder = Decoder::new(bytes)?;
    let before = column.times.len();
    let had_starts = !column.starts.is_empty();
    let with_starts = had_starts || decoder.progress.starts.header != 0;
    if with_starts {
        column.starts.resize(before, 0);
    }
    let mut run = || {
        while decoder.next()? {
            let progress = &decoder.progress;
            if progress.time > *range.end() {
                return Ok(());
            }
            if progress.time >= *range.start() {
                column.times.push(progress.time);
                column.values.push(f64::from_bits(progress.value_bits));
                if with_starts {
                    column.starts.push(progress.starts.last);
                }
            }
        }
        Ok(())
    };
    let result = run();
    if result.is_err() {
        column.times.truncate(before);
        column.values.truncate(before);
        column.starts.truncate(if had_starts { before } else { 0 });
    }
    result
}

/// Gives start, time and value of each sample.
///
/// # Errors
/// As [`decode`]; samples before the damage may have been given.
pub(super) fn samples(bytes: &[u8], mut each: impl FnMut(i64, i64, f64)) -> Result<(), Corrupt> {
    let mut decoder = Decoder::new(bytes)?;
    while decoder.next()? {
        let Progress { starts, time, value_bits, .. } = decoder.progress;
        each(starts.last, time, f64::from_bits(value_bits));
    }
    Ok(())
}

struct Decoder<'a> {
    reader: Reader<'a>,
    total: u16,
    progress: Progress,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let Some(([first, second, third], stream)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(Corrupt::NoHeader { len: bytes.len() });
        };
        let total = u16::from_be_bytes([*first, *second]);
        Ok(Self { reader: Reader::new(stream), total, progress: Progress::new(Starts::reading(*third)) })
    }

    /// Goes to the next sample, if there is one.
    #[inline]
    fn next(&mut self) -> Result<bool, Corrupt> {
        let Self { reader, total, progress } = self;
        let sample = progress.count;
        if sample == *total {
            return Ok(false);
        }
        let time_before = progress.time;
        progress.next(reader).ok_or(Corrupt::Field { field: if sample < 2 { "number" } else { "count of significant bits" }, sample })?;
        progress
            .starts
            .read(reader, sample, progress.time, time_before)
            .ok_or(Corrupt::Field { field: "variable-length number", sample })?;
        progress.count += 1;
        if reader.exceeded() {
            return Err(Corrupt::Short { len: reader.stream.len() + HEADER_LEN, count: *total });
        }
        Ok(true)
    }
}

impl Progress {
    /// Time and value of the next sample.
    #[inline(always)]
    fn next(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        if self.count < 2 {
            return self.first_two(reader);
        }
        let window = reader.window();
        if window >> 63 == 0 {
            reader.position += 1;
            self.time = self.time.wrapping_add(self.delta as i64);
            self.value_bits = self.base_bits;
            return Some(());
        }
        let change = match (!window).leading_zeros() {
            1 => {
                self.time = self.time.wrapping_add(self.delta as i64);
                return self.read_changed(reader, window << 3, 3, window >> 61 & 1 == 1);
            }
            2 => {
                reader.position += 16;
                (window << 3) as i64 >> 51
            }
            3 => {
                reader.position += 24;
                (window << 4) as i64 >> 44
            }
            4 => {
                reader.position += 5;
                reader.take(64) as i64
            }
            _ => {
                reader.position += 5;
                self.time = self.time.wrapping_add(self.delta as i64);
                self.value_bits = STALE_NAN_BITS;
                return Some(());
            }
        };
        self.delta = self.delta.wrapping_add(change as u64);
        self.time = self.time.wrapping_add(self.delta as i64);
        self.read_value(reader)
    }

    #[cold]
    fn first_two(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        if self.count == 1 {
            self.delta = reader.uvarint()?;
            self.time = self.time.wrapping_add(self.delta as i64);
            return self.read_value(reader);
        }
        self.time = reader.varint()?;
        self.value_bits = reader.take(64);
        if !is_stale(self.value_bits) {
            self.base_bits = self.value_bits;
        }
        Some(())
    }

    #[inline(always)]
    fn read_value(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let window = reader.window();
        match window >> 61 {
            0b000..=0b011 => {
                reader.position += 1;
                self.value_bits = self.base_bits;
                Some(())
            }
            0b100 | 0b101 => self.read_changed(reader, window << 2, 2, false),
            0b110 => self.read_changed(reader, window << 3, 3, true),
            _ => {
                reader.position += 3;
                self.value_bits = STALE_NAN_BITS;
                Some(())
            }
        }
    }

    /// `window` is what follows the `used` bits before.
    #[inline(always)]
    fn read_changed(&mut self, reader: &mut Reader<'_>, mut window: u64, mut used: u32, opens: bool) -> Option<()> {
        if opens {
            self.window = Window::of_field(window >> 53)?;
            window <<= 11;
            used += 11;
        }
        let width = self.window.width();
        reader.position += used as usize;
        let bits = if used + width <= WINDOW_BITS {
            reader.position += width as usize;
            window >> (64 - width)
        } else {
            reader.take(width)
        };
        self.base_bits ^= bits << self.window.trailing;
        self.value_bits = self.base_bits;
        Some(())
    }
}
