//! Start timestamps beside samples: nothing as long as there are none, one number as long as they stay the same.
//!
//! A byte of the header tells whether the first sample has one (bit 7) and from which sample on (bits 0–6; 0 = never) each
//! sample has a number: the time of the sample before it minus its start, then differences of these. The 127th sample begins
//! them at the latest, for no later one could be named.

use super::bits::{Reader, Writer};

/// The last sample that the header can name.
pub(super) const FIRST_CHANGE_MAX: u16 = 0x7f;
/// Bit of the header: the first sample has a start.
pub(super) const FIRST_KNOWN: u8 = 0x80;

/// The state between two samples, of a writer or a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Starts {
    /// Start of the last sample; 0 = none.
    pub(super) last: i64,
    difference: i64,
    /// The byte of the chunk's header.
    pub(super) header: u8,
}

impl Starts {
    /// The state before the first sample of a chunk to be written.
    pub(super) const NONE: Self = Self { last: 0, difference: 0, header: 0 };

    /// The state before the first sample of a chunk with this byte in its header.
    pub(super) fn reading(header: u8) -> Self {
        Self { header, ..Self::NONE }
    }

    fn first_change(self) -> u16 {
        u16::from(self.header & !FIRST_KNOWN)
    }

    /// Whether the `index`th sample, with this start, would make all later ones have a number although nothing has changed.
    pub(super) fn costs_for_nothing(self, index: u16, start: i64) -> bool {
        index == FIRST_CHANGE_MAX && self.first_change() == 0 && start == self.last
    }

    /// Writes the start of the `index`th sample behind the rest of it; the header has changed afterwards.
    #[inline]
    pub(super) fn write(&mut self, writer: &mut Writer, index: u16, time: i64, time_before: i64, start: i64) {
        let difference = time_before.wrapping_sub(start);
        if index == 0 {
            if start != 0 {
                writer.varint(time.wrapping_sub(start));
                self.header = FIRST_KNOWN;
            }
        } else if self.first_change() > 0 {
            writer.varbit(difference.wrapping_sub(self.difference));
            self.difference = difference;
        } else if start != self.last || index == FIRST_CHANGE_MAX {
            self.header |= index as u8;
            writer.varbit(difference);
            self.difference = difference;
        }
        self.last = start;
    }

    /// The counterpart of [`Starts::write`]; none if a number has more than 64 bits.
    #[inline]
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, index: u16, time: i64, time_before: i64) -> Option<()> {
        let first_change = self.first_change();
        if index == 0 {
            if self.header & FIRST_KNOWN != 0 {
                self.last = time.wrapping_sub(reader.varint()?);
            }
        } else if first_change > 0 && index >= first_change {
            let number = reader.varbit();
            self.difference = if index == first_change { number } else { self.difference.wrapping_add(number) };
            self.last = time_before.wrapping_sub(self.difference);
        }
        Some(())
    }
}
