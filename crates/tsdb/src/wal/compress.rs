//! Compression of single records: snappy blocks and zstd frames.
//!
//! # Invariants
//! - Compressing never makes a record longer: then it stays plain.
//! - Decompressing yields at most [`RECORD_LEN_MAX`] bytes, and a buffer grows only as far as the data has filled it before,
//!   apart from [`TRUSTED_RATIO`]: a few damaged or hostile bytes cannot claim a gigabyte.

use super::page::{SNAPPY, ZSTD};
use super::read::Fault;
use zstd::zstd_safe::{self, DCtx, zstd_sys::ZSTD_ErrorCode};

/// Largest record after decompression: a batch of a hundred million samples is no batch of anybody's.
pub const RECORD_LEN_MAX: usize = 1 << 30;

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy blocks; a record that would not shrink is stored plain.
    Snappy,
    /// Zstd frames; a record that would not shrink is stored plain. Old versions of
    /// Prometheus (2.42) take such records for unknown ones and skip them.
    Zstd,
}

/// Records are short and latency counts: the fastest level, which here is within some percent of the default's size.
const ZSTD_LEVEL: i32 = 1;
/// Up to so many times its length, data is believed when it says how long it is decompressed.
const TRUSTED_RATIO: usize = 64;
/// Room that is given to any data.
const ROOM_MIN: usize = 64 << 10;
/// How much more room is given to data that has filled what it had.
const GROWTH: usize = 8;

/// What zstd answers when the data needs more room: its error's number, negated.
const TOO_SMALL: usize = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();

/// Compresses records; the tables are kept from one to the next.
pub(super) struct Compressor {
    snappy: snap::raw::Encoder,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    pub(super) fn new() -> Self {
        Self { snappy: snap::raw::Encoder::new(), zstd: None }
    }

    /// Appends the record to `to`, compressed if that makes it shorter, and answers the flag for its fragments.
    pub(super) fn put(&mut self, compression: Compression, record: &[u8], to: &mut Vec<u8>) -> u8 {
        let start = to.len();
        let (bound, flag) = match compression {
            Compression::None => (0, 0),
            Compression::Snappy => (snap::raw::max_compress_len(record.len()), SNAPPY),
            Compression::Zstd => (zstd_safe::compress_bound(record.len()), ZSTD),
        };
        to.resize(start + bound, 0);
        let len = match compression {
            Compression::None => None,
            Compression::Snappy => self.snappy.compress(record, &mut to[start..]).ok(),
            Compression::Zstd => self.zstd(record, &mut to[start..]),
        };
        if let Some(len) = len.filter(|len| *len < record.len()) {
            to.truncate(start + len);
            return flag;
        }
        to.truncate(start);
        to.extend_from_slice(record);
        0
    }

    /// None only when zstd has no memory left: the record then stays plain.
    fn zstd(&mut self, record: &[u8], to: &mut [u8]) -> Option<usize> {
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        self.zstd.as_mut()?.compress_to_buffer(record, to).ok()
    }
}

/// Decompresses records into one buffer, which the next one overwrites.
#[derive(Default)]
pub(super) struct Decompressor {
    plain: Vec<u8>,
    snappy: snap::raw::Decoder,
    zstd: DCtx<'static>,
}

impl Decompressor {
    pub(super) fn snappy(&mut self, data: &[u8]) -> Result<&[u8], Fault> {
        // The length is the data's own claim: snappy does not shrink below a 21st, so a larger claim is false.
        let len = snap::raw::decompress_len(data).map_err(|_| Fault::Compression)?;
        if len > RECORD_LEN_MAX || len / TRUSTED_RATIO > data.len() {
            return Err(Fault::Compression);
        }
        let len = self.snappy.decompress(data, room(&mut self.plain, len)).map_err(|_| Fault::Compression)?;
        Ok(&self.plain[..len])
    }

    pub(super) fn zstd(&mut self, data: &[u8]) -> Result<&[u8], Fault> {
        // A frame need not say how long it is. One that says so is believed within reason.
        let claim = zstd_safe::get_frame_content_size(data).map_err(|_| Fault::Compression)?;
        let limit = claim.map_or(RECORD_LEN_MAX, |len| usize::try_from(len).unwrap_or(usize::MAX));
        if limit > RECORD_LEN_MAX {
            return Err(Fault::Compression);
        }
        let mut len = limit.min(data.len().saturating_mul(TRUSTED_RATIO).max(ROOM_MIN));
        loop {
            match self.zstd.decompress(room(&mut self.plain, len), data) {
                Ok(len) => return Ok(&self.plain[..len]),
                Err(TOO_SMALL) if len < limit => len = limit.min(len.saturating_mul(GROWTH)),
                Err(_) => return Err(Fault::Compression),
            }
        }
    }
}

fn room(plain: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if plain.len() < len {
        plain.resize(len, 0);
    }
    &mut plain[..len]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn decompressed(flag: u8, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut decompressor = Decompressor::default();
        match flag {
            SNAPPY => decompressor.snappy(data).map(<[u8]>::to_vec),
            ZSTD => decompressor.zstd(data).map(<[u8]>::to_vec),
            _ => Ok(data.to_vec()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn records_come_back(
            record in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(0u8..3, 0..5_000)],
            compression in prop_oneof![Just(Compression::None), Just(Compression::Snappy), Just(Compression::Zstd)]
        ) {
            let mut data = vec![7; 3];
            let flag = Compressor::new().put(compression, &record, &mut data);
            prop_assert_eq!(&data[..3], &[7; 3]);
            prop_assert!(data.len() - 3 <= record.len());
            prop_assert_eq!(flag == 0, data.len() - 3 == record.len());
            prop_assert_eq!(decompressed(flag, &data[3..]).unwrap(), record);
        }

        #[test]
        fn any_bytes_decompress_without_panic(data in prop::collection::vec(any::<u8>(), 0..100), mut frame in prop::collection::vec(any::<u8>(), 0..50)) {
            frame.splice(0..0, [0x28, 0xb5, 0x2f, 0xfd]);
            let _ = (decompressed(SNAPPY, &data), decompressed(ZSTD, &data), decompressed(ZSTD, &frame));
        }
    }

    #[test]
    fn zeros_beyond_the_trusted_ratio_come_back() {
        let record = vec![0; 5 << 20];
        let mut data = Vec::new();
        assert_eq!(Compressor::new().put(Compression::Zstd, &record, &mut data), ZSTD);
        assert!(data.len() < record.len() / TRUSTED_RATIO / 8, "{}", data.len());
        assert_eq!(decompressed(ZSTD, &data).unwrap(), record);
    }

    #[test]
    fn a_frame_that_does_not_say_its_length_comes_back() {
        let record = vec![1; 300_000];
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        std::io::Write::write_all(&mut encoder, &record).unwrap();
        let data = encoder.finish().unwrap();
        assert_eq!(zstd_safe::get_frame_content_size(&data).unwrap(), None);
        assert_eq!(decompressed(ZSTD, &data).unwrap(), record);
    }

    #[test]
    fn a_false_claim_gets_no_room() {
        // A frame header of a single segment that claims 2^30 bytes, and nothing behind it.
        let data = [0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000, 0, 0, 0, 0x40];
        assert_eq!(zstd_safe::get_frame_content_size(&data).unwrap(), Some(1 << 30));
        let mut decompressor = Decompressor::default();
        assert_eq!(decompressor.zstd(&data), Err(Fault::Compression));
        assert!(decompressor.plain.len() <= ROOM_MIN);
        assert_eq!(decompressed(ZSTD, &[0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000, 1, 0, 0, 0x40]), Err(Fault::Compression));
    }
}
