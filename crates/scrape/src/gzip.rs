//! Unpacking gzip: every member, every trailer, nothing behind; up to a limit.
//!
//! The inflater and the output are kept for the next body: they are the largest buffers of a scrape.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Why a body cannot be unpacked. The texts are Go's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// No bytes at all.
    #[error("EOF")]
    Empty,
    /// The body ends within a member.
    #[error("unexpected EOF")]
    Truncated,
    /// No gzip.
    #[error("gzip: invalid header")]
    Header,
    /// The packed bytes make no sense.
    #[error("flate: corrupt input before offset {0}")]
    Corrupt(u64),
    /// Unpacked bytes are not those that were packed.
    #[error("gzip: invalid checksum")]
    Checksum,
    /// More bytes than allowed.
    #[error("body size limit exceeded")]
    Limit,
}

/// The output is given back to the system beyond this.
const KEPT_BYTES: usize = 16 << 20;
/// How much room is made at a time.
const STEP: usize = 64 << 10;

/// An inflater and its output.
#[derive(Debug)]
pub struct Unpacker {
    inflate: Decompress,
    output: Vec<u8>,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { inflate: Decompress::new(false), output: Vec::new() }
    }
}

impl Unpacker {
    /// Unpacks `body`; as many bytes as `limit`, or more, are refused (0 = no limit).
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn unpack(&mut self, body: &[u8], limit: u64) -> Result<&[u8], UnpackError> {
        if self.output.capacity() > KEPT_BYTES {
            self.output = Vec::new();
        }
        self.output.clear();
        let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let mut rest = body;
        if rest.is_empty() {
            return Err(UnpackError::Empty);
        }
        while !rest.is_empty() {
            rest = skip_header(rest)?;
            rest = self.member(body, rest, limit)?;
        }
        Ok(&self.output)
    }

    /// Inflates one member behind its header and checks its trailer; gives what is behind.
    fn member<'a>(&mut self, body: &[u8], mut rest: &'a [u8], limit: usize) -> Result<&'a [u8], UnpackError> {
        let start = self.output.len();
        self.inflate.reset(false);
        loop {
            if self.output.len() >= limit {
                return Err(UnpackError::Limit);
            }
            if self.output.len() == self.output.capacity() {
                self.output.reserve(STEP);
            }
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress_vec(rest, &mut self.output, FlushDecompress::None);
            let used = usize::try_from(self.inflate.total_in() - read).expect("no more than `rest` holds");
            rest = &rest[used..];
            match status {
                Err(_) => return Err(UnpackError::Corrupt((body.len() - rest.len()) as u64)),
                Ok(Status::StreamEnd) => break,
                Ok(_) if rest.is_empty() && self.output.len() < self.output.capacity() => return Err(UnpackError::Truncated),
                Ok(_) if used == 0 && self.inflate.total_out() == written && self.output.len() < self.output.capacity() => {
                    return Err(UnpackError::Corrupt((body.len() - rest.len()) as u64));
                }
                Ok(_) => {}
            }
        }
        if self.output.len() >= limit {
            return Err(UnpackError::Limit);
        }
        let (trailer, rest) = rest.split_first_chunk::<8>().ok_or(UnpackError::Truncated)?;
        let mut crc = Crc::new();
        crc.update(&self.output[start..]);
        let [c0, c1, c2, c3, n0, n1, n2, n3] = *trailer;
        if crc.sum() != u32::from_le_bytes([c0, c1, c2, c3]) || crc.amount() != u32::from_le_bytes([n0, n1, n2, n3]) {
            return Err(UnpackError::Checksum);
        }
        Ok(rest)
    }
}

const HAS_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

/// RFC 1952: magic, method, flags, time, hints, then what the flags say.
fn skip_header(bytes: &[u8]) -> Result<&[u8], UnpackError> {
    let (header, mut rest) = bytes.split_first_chunk::<10>().ok_or(UnpackError::Truncated)?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else { return Err(UnpackError::Header) };
    if flags & HAS_EXTRA != 0 {
        let (len, behind) = rest.split_first_chunk::<2>().ok_or(UnpackError::Truncated)?;
        rest = behind.get(usize::from(u16::from_le_bytes(*len))..).ok_or(UnpackError::Truncated)?;
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(UnpackError::Truncated)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HAS_CRC != 0 {
        let header_len = bytes.len() - rest.len();
        let (sum, behind) = rest.split_first_chunk::<2>().ok_or(UnpackError::Truncated)?;
        let mut crc = Crc::new();
        crc.update(&bytes[..header_len]);
        if crc.sum() as u16 != u16::from_le_bytes(*sum) {
            return Err(UnpackError::Header);
        }
        rest = behind;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::GzBuilder::new().filename("f").comment("c").extra("xyz").write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(body: &[u8], limit: u64, want: Result<&[u8], UnpackError>) {
        assert_eq!(Unpacker::default().unpack(body, limit), want);
    }

    #[test]
    fn members_and_trailers() {
        let (one, two) = (pack(b"one "), pack(b"two"));
        check(&one, 0, Ok(b"one "));
        check(&[&one[..], &two].concat(), 0, Ok(b"one two"));
        check(&pack(b""), 0, Ok(b""));
        check(b"", 0, Err(UnpackError::Empty));
        check(b"a 1\n", 0, Err(UnpackError::Truncated));
        check(b"a_metric 1\n", 0, Err(UnpackError::Header));
        for cut in 1..one.len() {
            check(&one[..cut], 0, Err(UnpackError::Truncated));
        }
        let mut wrong = one.clone();
        let at = wrong.len() - 8;
        wrong[at] ^= 1;
        check(&wrong, 0, Err(UnpackError::Checksum));
        check(&[&one[..], b"garbage"].concat(), 0, Err(UnpackError::Truncated));
        check(&[&one[..], &[0; 16]].concat(), 0, Err(UnpackError::Header));
    }

    #[test]
    fn as_many_bytes_as_the_limit_are_too_many() {
        let packed = pack(&[b'x'; 100]);
        check(&packed, 101, Ok(&[b'x'; 100]));
        check(&packed, 100, Err(UnpackError::Limit));
        let bomb = pack(&vec![0; 10_000_000]);
        let mut unpacker = Unpacker::default();
        assert_eq!(unpacker.unpack(&bomb, 1000), Err(UnpackError::Limit));
        assert!(unpacker.output.capacity() <= 2 * STEP);
    }

    proptest! {
        #[test]
        fn unpacks_what_was_packed(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..4)) {
            let packed: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
            let mut unpacker = Unpacker::default();
            for _ in 0..2 {
                prop_assert_eq!(unpacker.unpack(&packed, 0), Ok(&parts.concat()[..]));
            }
        }

        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Unpacker::default().unpack(&bytes, 10_000);
            bytes.splice(..0, [0x1f, 0x8b, 8]);
            let _ = Unpacker::default().unpack(&bytes, 10_000);
        }
    }
}
