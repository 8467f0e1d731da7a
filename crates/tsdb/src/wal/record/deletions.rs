//! Records that take something away: deleted time ranges, and what of an out-of-order log is in mapped chunks.

use super::wire::{Rest, put_varint};
use super::{MMAP_MARKERS, Malformed, TOMBSTONES};
use storage::SeriesRef;

/// Writes one tombstones record into a buffer. Nothing is written before the first push.
pub struct TombstonesEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> TombstonesEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// Adds the deletion of a series' samples from `min_time` to `max_time`, both included.
    pub fn push(&mut self, series: SeriesRef, min_time: i64, max_time: i64) {
        if !self.begun {
            self.to.push(TOMBSTONES);
            self.begun = true;
        }
        self.to.extend_from_slice(&series.0.to_be_bytes());
        put_varint(self.to, min_time);
        put_varint(self.to, max_time);
    }
}

/// Visits the deletions of a tombstones record: ref, first and last time.
///
/// # Errors
/// [`Malformed`], after the deletions before the fault were visited.
pub fn decode_tombstones(record: &[u8], mut visit: impl FnMut(SeriesRef, i64, i64)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, TOMBSTONES)?;
    while !rest.is_empty() {
        let series = SeriesRef(rest.u64("tombstone ref")?);
        let (min_time, max_time) = (rest.varint("tombstone")?, rest.varint("tombstone")?);
        visit(series, min_time, max_time);
    }
    Ok(())
}

/// Writes one record of markers of mapped out-of-order chunks into a buffer. Nothing is written before the first push.
pub struct MmapMarkersEncoder<'a> {
    to: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> MmapMarkersEncoder<'a> {
    /// A record appended to `to`.
    pub fn start(to: &'a mut Vec<u8>) -> Self {
        Self { to, begun: false }
    }

    /// All out-of-order samples of a series that this log holds up to here are in mapped chunks, of which `chunk` is the
    /// last: its file's number in the upper 32 bits, its offset there in the lower ones.
    pub fn push(&mut self, series: SeriesRef, chunk: u64) {
        if !self.begun {
            self.to.push(MMAP_MARKERS);
            self.begun = true;
        }
        self.to.extend_from_slice(&series.0.to_be_bytes());
        self.to.extend_from_slice(&chunk.to_be_bytes());
    }
}

/// Visits the markers of a record of markers: series and chunk, as [`MmapMarkersEncoder::push`] takes them.
///
/// # Errors
/// [`Malformed`], after the markers before the fault were visited.
pub fn decode_mmap_markers(record: &[u8], mut visit: impl FnMut(SeriesRef, u64)) -> Result<(), Malformed> {
    let mut rest = Rest::of(record, MMAP_MARKERS)?;
    while !rest.is_empty() {
        let series = SeriesRef(rest.u64("marker")?);
        visit(series, rest.u64("marker")?);
    }
    Ok(())
}
