//! Float chunks of blocks: written once, with all samples at hand, so as few bytes as the format allows.
//!
//! Any Prometheus reads them. They hold more samples than those of the head, and open windows of significant bits where that
//! pays ([`super::windows`]).

use super::bits::{Window, is_stale, varbit_len};
use super::sink::Sink;
use super::starts::{FIRST_CHANGE_MAX, FIRST_KNOWN};
use super::windows::Windows;
use super::xor::field;
use super::xor2::Xor2Appender;

/// The most samples of a float chunk of a block.
pub const SAMPLES_MAX: usize = 480;
/// The most bytes: as many samples of nearly any kind fit. What Prometheus cuts at 1,024 is shorter, but nobody relies on it; those who
/// read blocks from object stores fetch 16,000 bytes for a chunk at first.
pub const BYTES_MAX: usize = 4096;

/// Encodes runs of floats as chunks.
#[derive(Debug, Default)]
pub struct BlockEncoder {
    windows: Windows,
    sink: Sink,
}

impl BlockEncoder {
    /// An encoder; one can serve many series.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes samples in order of time as XOR chunks; `each` gets the first and last time and the bytes of each.
    ///
    /// Of slices of different lengths the rest is not looked at.
    pub fn xor(&mut self, mut times: &[i64], mut values: &[f64], mut each: impl FnMut(i64, i64, &[u8])) {
        while let (Some(first), false) = (times.first(), values.is_empty()) {
            let count = self.plan_xor(times, values);
            let last = self.write_xor(&times[..count], &values[..count]);
            each(*first, last, self.sink.finish());
            (times, values) = (&times[count..], &values[count..]);
        }
    }

    /// Encodes samples in order of time as XOR2 chunks, likewise; `starts` has as many, or is empty if there are none.
    pub fn xor2(&mut self, mut starts: &[i64], mut times: &[i64], mut values: &[f64], mut each: impl FnMut(i64, i64, &[u8])) {
        while let (Some(first), false) = (times.first(), values.is_empty()) {
            let count = self.plan_xor2(starts, times, values);
            let start = starts.first().copied().unwrap_or(0);
            if starts.iter().take(count).all(|other| *other == start) {
                let last = self.write_xor2(start, &times[..count], &values[..count]);
                each(*first, last, self.sink.finish());
            } else {
                let chunk = self.with_starts(starts, &times[..count], &values[..count]);
                each(*first, chunk.last_time(), chunk.bytes());
            }
            (times, values) = (&times[count..], &values[count..]);
            starts = starts.get(count..).unwrap_or_default();
        }
    }

    /// Writes a chunk with the planned windows; the time of its last sample.
    fn write_xor(&mut self, times: &[i64], values: &[f64]) -> i64 {
        let Self { windows, sink } = self;
        let mut planned = windows.planned().iter();
        let mut samples = times.iter().zip(values);
        let count = (times.len() as u16).to_be_bytes();
        sink.begin(&count);
        let Some((time, value)) = samples.next() else { return 0 };
        let (mut time, mut bits) = (*time, value.to_bits());
        sink.varint(time);
        sink.put(bits, 64);
        let (mut delta, mut window) = (0u64, Window::NONE);
        for (i, (next_time, value)) in samples.enumerate() {
            let next_delta = next_time.wrapping_sub(time) as u64;
            let change = next_delta.wrapping_sub(delta) as i64;
            let (prefix, prefix_len) = match change {
                _ if i == 0 => {
                    sink.uvarint(next_delta);
                    (0, 0)
                }
                0 => (0, 1),
                -0x1fff..=0x2000 => (0b10 << 14 | field(change, 14), 16),
                -0xffff..=0x1_0000 => (0b110 << 17 | field(change, 17), 20),
                -0x7_ffff..=0x8_0000 => (0b1110 << 20 | field(change, 20), 24),
                _ => {
                    sink.put(0b1111, 4);
                    sink.put(change as u64, 64);
                    (0, 0)
                }
            };
            (delta, time) = (next_delta, *next_time);
            let changed = value.to_bits() ^ bits;
            bits = value.to_bits();
            if changed == 0 {
                sink.put(prefix << 1, prefix_len + 1);
                continue;
            }
            let wanted = *planned.next().unwrap_or(&window);
            if wanted == window {
                sink.put_two(prefix << 2 | 0b10, prefix_len + 2, changed >> window.trailing, window.width());
            } else {
                window = wanted;
                let head = prefix << 13 | 0b11 << 11 | window.field();
                sink.put_two(head, prefix_len + 13, changed >> window.trailing, window.width());
            }
        }
        time
    }

    /// Likewise, of XOR2, with one start for all samples.
    ///
    /// Who appends to a chunk has to begin numbers for starts at the 128th sample ([`super::starts`]); nobody appends to those of
    /// blocks, and readers ask the header only.
    fn write_xor2(&mut self, start: i64, times: &[i64], values: &[f64]) -> i64 {
        let Self { windows, sink } = self;
        let mut planned = windows.planned().iter();
        let mut samples = times.iter().zip(values);
        let [high, low] = (times.len() as u16).to_be_bytes();
        sink.begin(&[high, low, if start == 0 { 0 } else { FIRST_KNOWN }]);
        let Some((time, value)) = samples.next() else { return 0 };
        let mut time = *time;
        sink.varint(time);
        sink.put(value.to_bits(), 64);
        if start != 0 {
            sink.varint(time.wrapping_sub(start));
        }
        let mut base = if is_stale(value.to_bits()) { 0 } else { value.to_bits() };
        let (mut delta, mut window) = (0u64, Window::NONE);
        for (i, (next_time, value)) in samples.enumerate() {
            let next_delta = next_time.wrapping_sub(time) as u64;
            let change = next_delta.wrapping_sub(delta) as i64;
            (delta, time) = (next_delta, *next_time);
            let bits = value.to_bits();
            let changed = bits ^ base;
            if change == 0 && i > 0 {
                if is_stale(bits) {
                    sink.put(0b11111, 5);
                } else if changed == 0 {
                    sink.put(0, 1);
                } else {
                    base = bits;
                    let wanted = *planned.next().unwrap_or(&window);
                    if wanted == window {
                        sink.put_two(0b100, 3, changed >> window.trailing, window.width());
                    } else {
                        window = wanted;
                        sink.put_two(0b101 << 11 | window.field(), 14, changed >> window.trailing, window.width());
                    }
                }
                continue;
            }
            let (prefix, prefix_len) = match change {
                _ if i == 0 => {
                    sink.uvarint(next_delta);
                    (0, 0)
                }
                -0x1000..=0xfff => (0b110 << 13 | field(change, 13), 16),
                -0x8_0000..=0x7_ffff => (0b1110 << 20 | field(change, 20), 24),
                _ => {
                    sink.put(0b11110, 5);
                    sink.put(change as u64, 64);
                    (0, 0)
                }
            };
            if is_stale(bits) {
                sink.put(prefix << 3 | 0b111, prefix_len + 3);
                continue;
            }
            base = bits;
            if changed == 0 {
                sink.put(prefix << 1, prefix_len + 1);
                continue;
            }
            let wanted = *planned.next().unwrap_or(&window);
            if wanted == window {
                sink.put_two(prefix << 2 | 0b10, prefix_len + 2, changed >> window.trailing, window.width());
            } else {
                window = wanted;
                let head = prefix << 14 | 0b110 << 11 | window.field();
                sink.put_two(head, prefix_len + 14, changed >> window.trailing, window.width());
            }
        }
        time
    }

    /// Likewise, with starts that change.
    fn with_starts(&self, starts: &[i64], times: &[i64], values: &[f64]) -> Xor2Appender {
        let mut appender = Xor2Appender::new();
        let mut windows = self.windows.planned().iter();
        let mut window = Window::NONE;
        for (i, (time, value)) in times.iter().zip(values).enumerate() {
            if i > 0 && appender.changes(*value) {
                window = *windows.next().unwrap_or(&window);
            }
            appender.append_within(starts.get(i).copied().unwrap_or(0), *time, *value, window);
        }
        appender
    }

    /// How many samples the next chunk has; the windows are planned for them.
    fn plan_xor(&mut self, times: &[i64], values: &[f64]) -> usize {
        self.windows.clear();
        // Count, time and value of the first sample, and the second one's difference, at their longest.
        let mut other_bits = 16 + 80 + 64 + 80u32;
        let (mut value_bits, mut changes, mut count) = (0, 0, 0);
        let (mut before, mut time, mut delta) = (0u64, 0i64, 0u64);
        for (next_time, value) in times.iter().zip(values).take(SAMPLES_MAX) {
            let bits = value.to_bits();
            let next_delta = next_time.wrapping_sub(time) as u64;
            if count > 1 {
                other_bits += match next_delta.wrapping_sub(delta) as i64 {
                    0 => 1,
                    -0x1fff..=0x2000 => 16,
                    -0xffff..=0x1_0000 => 20,
                    -0x7_ffff..=0x8_0000 => 24,
                    _ => 68,
                };
            }
            if count > 0 {
                let changed = bits ^ before;
                if changed == 0 {
                    other_bits += 1;
                } else {
                    value_bits = self.windows.add(Window::of(changed), 2, 13);
                }
                if (other_bits + value_bits).div_ceil(8) > BYTES_MAX as u32 {
                    break;
                }
                changes += usize::from(changed != 0);
            }
            (before, delta, time) = (bits, next_delta, *next_time);
            count += 1;
        }
        self.windows.plan(changes);
        count
    }

    fn plan_xor2(&mut self, starts: &[i64], times: &[i64], values: &[f64]) -> usize {
        let first = starts.first().copied().unwrap_or(0);
        let count = times.len().min(values.len()).min(SAMPLES_MAX);
        let others = (0..count).map(|i| starts.get(i).copied().unwrap_or(0));
        if starts.is_empty() || others.into_iter().all(|start| start == first) {
            self.plan_xor2_with::<false>(starts, times, values)
        } else {
            self.plan_xor2_with::<true>(starts, times, values)
        }
    }

    /// Without `STARTS` they are known to be the same.
    fn plan_xor2_with<const STARTS: bool>(&mut self, starts: &[i64], times: &[i64], values: &[f64]) -> usize {
        self.windows.clear();
        let mut other_bits = 24 + 80 + 64 + 80 + 80u32;
        let (mut value_bits, mut changes, mut count) = (0, 0, 0);
        let (mut base, mut time, mut delta) = (0u64, 0i64, 0u64);
        let mut start = starts.first().copied().unwrap_or(0);
        let mut start_difference = None;
        for (i, (next_time, value)) in times.iter().zip(values).take(SAMPLES_MAX).enumerate() {
            let bits = value.to_bits();
            let next_delta = next_time.wrapping_sub(time) as u64;
            let next_start = if STARTS { starts.get(i).copied().unwrap_or(0) } else { start };
            if count > 0 {
                let change = if count == 1 { 1 } else { next_delta.wrapping_sub(delta) as i64 };
                other_bits += match change {
                    0 => 0,
                    _ if count == 1 => 0,
                    -0x1000..=0xfff => 16,
                    -0x8_0000..=0x7_ffff => 24,
                    _ => 69,
                };
                let changes_here = bits != base && !is_stale(bits);
                if changes_here {
                    let (keep, open) = if change == 0 { (3, 14) } else { (2, 14) };
                    value_bits = self.windows.add(Window::of(bits ^ base), keep, open);
                } else {
                    other_bits += if is_stale(bits) { 5 } else { 1 };
                }
                // The header could not say where numbers for starts begin.
                if STARTS && start_difference.is_none() && next_start != start && i > usize::from(FIRST_CHANGE_MAX) {
                    break;
                }
                if STARTS && (next_start != start || start_difference.is_some()) {
                    let difference = time.wrapping_sub(next_start);
                    let number = difference.wrapping_sub(start_difference.unwrap_or(0));
                    other_bits += varbit_len(number);
                    start_difference = Some(difference);
                }
                if (other_bits + value_bits).div_ceil(8) > BYTES_MAX as u32 {
                    break;
                }
                changes += usize::from(changes_here);
            }
            if !is_stale(bits) {
                base = bits;
            }
            (delta, time, start) = (next_delta, *next_time, next_start);
            count += 1;
        }
        self.windows.plan(changes);
        count
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
