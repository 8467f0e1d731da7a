//! How a series remembers a chunk that lies in a file.

use crate::chunk::Encoding;

const FILE_BITS: u32 = 22;
const OFFSET_BITS: u32 = 27;
const ENCODING_BITS: u32 = 3;
const SPAN_LOW_BITS: u32 = 20;
const SPAN_HIGH_BITS: u32 = 12;
const TIME_BITS: u32 = 44;
/// Makes times from 1692 to 2248 positive.
const TIME_BIAS: i64 = 1 << (TIME_BITS - 1);

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of the file.
    pub file: u32,
    /// Where in it the chunk's header begins.
    pub offset: u32,
}

impl Place {
    /// As records of the out-of-order log name it.
    pub fn to_u64(self) -> u64 {
        u64::from(self.file) << 32 | u64::from(self.offset)
    }
}

/// A chunk in a file, in sixteen bytes: a head of a million series remembers some ten million of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MappedChunk([u64; 2]);

impl MappedChunk {
    /// None where a part does not fit: times outside of 1692 to 2248, more than 49 days in one chunk, or the four millionth file.
    pub fn new(place: Place, encoding: Encoding, min_time: i64, max_time: i64) -> Option<Self> {
        let fits = |value: u64, bits: u32| (value >> bits == 0).then_some(value);
        let time = fits(u64::try_from(max_time.checked_add(TIME_BIAS)?).ok()?, TIME_BITS)?;
        let span = u64::from(u32::try_from(max_time.checked_sub(min_time)?).ok()?);
        let file = fits(u64::from(place.file), FILE_BITS)?;
        let offset = fits(u64::from(place.offset), OFFSET_BITS)?;
        let (span_high, span_low) = (span >> SPAN_LOW_BITS, span & mask(SPAN_LOW_BITS));
        let where_it_lies = (file << OFFSET_BITS | offset) << ENCODING_BITS | encoding as u64;
        Some(Self([time << SPAN_LOW_BITS | span_low, where_it_lies << SPAN_HIGH_BITS | span_high]))
    }

    /// Time of the last sample.
    pub fn max_time(self) -> i64 {
        (self.0[0] >> SPAN_LOW_BITS) as i64 - TIME_BIAS
    }

    /// Time of the first sample.
    pub fn min_time(self) -> i64 {
        let span = (self.0[1] & mask(SPAN_HIGH_BITS)) << SPAN_LOW_BITS | self.0[0] & mask(SPAN_LOW_BITS);
        self.max_time() - span as i64
    }

    /// Where it lies.
    pub fn place(self) -> Place {
        let place = self.0[1] >> (SPAN_HIGH_BITS + ENCODING_BITS);
        Place { file: (place >> OFFSET_BITS) as u32, offset: (place & mask(OFFSET_BITS)) as u32 }
    }

    /// How its bytes are to be read.
    pub fn encoding(self) -> Encoding {
        let byte = self.0[1] >> SPAN_HIGH_BITS & mask(ENCODING_BITS);
        Encoding::of(byte as u8).expect("it was made from an encoding")
    }
}

impl std::fmt::Debug for MappedChunk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} {}..={} at {:?}", self.encoding(), self.min_time(), self.max_time(), self.place())
    }
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_fits_comes_back(
            file in 0..1u32 << FILE_BITS,
            offset in 0..1u32 << OFFSET_BITS,
            encoding in 1..=6u8,
            max_time in -TIME_BIAS..TIME_BIAS,
            span in any::<u32>(),
        ) {
            let (place, encoding) = (Place { file, offset }, Encoding::of(encoding).unwrap());
            let min_time = max_time - i64::from(span);
            let chunk = MappedChunk::new(place, encoding, min_time, max_time).unwrap();
            prop_assert_eq!((chunk.place(), chunk.encoding(), chunk.min_time(), chunk.max_time()), (place, encoding, min_time, max_time));
        }

        #[test]
        fn nothing_is_cut_off(file in any::<u32>(), offset in any::<u32>(), min_time in any::<i64>(), max_time in any::<i64>()) {
            let place = Place { file, offset };
            if let Some(chunk) = MappedChunk::new(place, Encoding::Xor, min_time, max_time) {
                prop_assert_eq!((chunk.place(), chunk.min_time(), chunk.max_time()), (place, min_time, max_time));
            }
        }
    }

    #[test]
    fn it_has_sixteen_bytes() {
        assert_eq!(size_of::<MappedChunk>(), 16);
    }
}
