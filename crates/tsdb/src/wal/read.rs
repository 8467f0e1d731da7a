//! Reads a segment's bytes record by record.
//!
//! Nothing in the bytes is believed before its checksum fits. The first fault ends the segment: what follows it cannot be
//! told apart from chance. Whether that is the trace of an interrupted write or of a broken disk, [`Fault::is_torn`] says.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use world::ReadAt;

use super::compress::{Compression, Decompressor};
use super::page::{FIRST, FRAGMENT_HEADER_LEN, FRAGMENT_MASK, FULL, LAST, MIDDLE, PAGE_END, PAGE_LEN, RESERVED_MASK, SNAPPY, ZSTD};

/// Bytes of a file that are in memory at a time, unless a record needs more.
const WINDOW_LEN: u64 = 16 * PAGE_LEN as u64;

/// A record and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Offset in the segment of the record's first fragment.
    pub offset: u64,
    /// The record, decompressed; see [`super::record`].
    pub bytes: &'a [u8],
    /// How it was stored.
    pub compression: Compression,
}

/// A place in a segment from which on nothing can be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corruption in segment {path} at {offset}: {fault}", path = path.display())]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where the fault shows.
    pub offset: u64,
    /// All records that end here or earlier are whole.
    pub good_len: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The segment ends within a record: a write that was interrupted.
    Torn,
    /// The data's checksum differs from the one beside it.
    Checksum {
        /// The checksum of the data.
        found: u32,
        /// The checksum in the fragment's header.
        expected: u32,
    },
    /// A fragment that would cross the end of its page.
    Length(u16),
    /// A first byte that no fragment has.
    Kind(u8),
    /// A fragment that cannot follow the one before it.
    Order(u8),
    /// The rest of a page is not zero although it should be.
    Filling,
    /// The record does not decompress.
    Compression,
}

impl Fault {
    /// Whether the segment merely ends too early, as after a write that was interrupted.
    pub fn is_torn(self) -> bool {
        matches!(self, Self::Torn)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn => f.write_str("last record is torn"),
            Self::Checksum { found, expected } => write!(f, "unexpected checksum {found:x}, expected {expected:x}"),
            Self::Length(len) => write!(f, "invalid record size {len}"),
            Self::Kind(kind) => write!(f, "unexpected record type {kind}"),
            Self::Order(kind) => write!(f, "unexpected record fragment of type {kind}"),
            Self::Filling => f.write_str("unexpected non-zero byte in padded page"),
            Self::Compression => f.write_str("record does not decompress"),
        }
    }
}

/// Goes through the records of one segment. Made once and reused for many, it allocates only for the largest record.
#[derive(Default)]
pub struct SegmentReader {
    joined: Vec<u8>,
    decompressor: Decompressor,
}

impl SegmentReader {
    /// A reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands each record of a segment to `visit`, in order. `segment` is the file's content; `path` names it in errors.
    ///
    /// # Errors
    /// The [`Damage`] after which nothing can be read, when all whole records before it have been visited.
    pub fn each(&mut self, path: &Path, segment: &[u8], mut visit: impl FnMut(Record<'_>)) -> Result<(), Damage> {
        self.try_each(path, segment, |record| {
            visit(record);
            Ok(())
        })
    }

    /// As [`SegmentReader::each`], until `visit` fails.
    ///
    /// # Errors
    /// What `visit` answered, or the [`Damage`].
    pub fn try_each<E: From<Damage>>(
        &mut self,
        path: &Path,
        segment: &[u8],
        mut visit: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = Cursor { segment, offset: 0, good_len: 0 };
        loop {
            match self.next(&mut cursor) {
                Ok(Some(record)) => visit(record)?,
                Ok(None) => return Ok(()),
                Err(fault) => {
                    let (offset, good_len) = (cursor.offset as u64, cursor.good_len as u64);
                    return Err(Damage { path: path.to_owned(), offset, good_len, fault }.into());
                }
            }
        }
    }

    /// As [`SegmentReader::each`] for a file of `len` bytes, of which few are in memory at a time; it ends early when `visit`
    /// says no. The damage after which nothing can be read is the answer, not an error.
    ///
    /// # Errors
    /// The operating system's.
    pub fn each_in_file(
        &mut self,
        path: &Path,
        file: &dyn ReadAt,
        len: u64,
        mut visit: impl FnMut(Record<'_>) -> bool,
    ) -> io::Result<Option<Damage>> {
        let mut bytes = Vec::new();
        // The window is a run of whole pages, so that only a record can be cut by its end, not a fragment.
        let (mut start, mut begin, mut size) = (0, 0, WINDOW_LEN);
        loop {
            let end = len.min(start + size);
            bytes.resize((end - start) as usize, 0);
            file.read_at(start, &mut bytes)?;
            let mut cursor = Cursor { segment: &bytes, offset: begin, good_len: begin };
            let fault = loop {
                match self.next(&mut cursor) {
                    Ok(Some(record)) => {
                        if !visit(Record { offset: start + record.offset, ..record }) {
                            return Ok(None);
                        }
                    }
                    Ok(None) => break None,
                    Err(fault) => break Some(fault),
                }
            };
            let (offset, good_len) = (start + cursor.offset as u64, start + cursor.good_len as u64);
            match fault {
                None if end == len => return Ok(None),
                Some(fault) if end == len || !fault.is_torn() => {
                    return Ok(Some(Damage { path: path.to_owned(), offset, good_len, fault }));
                }
                _ => {}
            }
            let next = if fault.is_none() { end } else { good_len };
            let page = next - next % PAGE_LEN as u64;
            size = if page == start { size * 2 } else { WINDOW_LEN };
            (start, begin) = (page, (next - page) as usize);
        }
    }

    /// The next record; on a fault the cursor stands at it.
    fn next<'a, 's: 'a>(&'a mut self, cursor: &mut Cursor<'s>) -> Result<Option<Record<'a>>, Fault> {
        self.joined.clear();
        let Some(fragment) = cursor.fragment()? else { return Ok(None) };
        let flags = fragment.flags;
        let offset = fragment.offset;
        let data = match fragment.kind {
            FULL => fragment.data,
            FIRST => {
                self.joined.extend_from_slice(fragment.data);
                loop {
                    let before = cursor.offset;
                    let next = cursor.fragment()?.ok_or(Fault::Torn)?;
                    if (next.kind != MIDDLE && next.kind != LAST) || next.flags != flags {
                        cursor.offset = before;
                        return Err(Fault::Order(next.kind));
                    }
                    self.joined.extend_from_slice(next.data);
                    if next.kind == LAST {
                        break;
                    }
                }
                &self.joined
            }
            other => {
                cursor.offset = offset;
                return Err(Fault::Order(other));
            }
        };
        let (compression, bytes) = match flags {
            0 => (Compression::None, Ok(data)),
            SNAPPY => (Compression::Snappy, self.decompressor.snappy(data)),
            _ => (Compression::Zstd, self.decompressor.zstd(data)),
        };
        if bytes.is_err() {
            cursor.offset = offset;
        }
        let bytes = bytes?;
        cursor.good_len = cursor.offset;
        Ok(Some(Record { offset: offset as u64, bytes, compression }))
    }
}

struct Cursor<'a> {
    segment: &'a [u8],
    offset: usize,
    good_len: usize,
}

struct Fragment<'a> {
    offset: usize,
    kind: u8,
    flags: u8,
    data: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The next fragment; none at the segment's end.
    fn fragment(&mut self) -> Result<Option<Fragment<'a>>, Fault> {
        loop {
            let page_end = (self.offset / PAGE_LEN + 1) * PAGE_LEN;
            let page = &self.segment[self.offset..page_end.min(self.segment.len())];
            let Some(first) = page.first() else { return Ok(None) };
            if *first == PAGE_END {
                // The last page may end anywhere, also within its filling.
                if page.iter().any(|byte| *byte != 0) {
                    return Err(Fault::Filling);
                }
                self.offset += page.len();
                continue;
            }
            let kind = first & FRAGMENT_MASK;
            let flags = first & (SNAPPY | ZSTD);
            if kind > LAST || kind == PAGE_END || first & RESERVED_MASK != 0 || flags == SNAPPY | ZSTD {
                return Err(Fault::Kind(*first));
            }
            let Some((header, rest)) = page.split_first_chunk::<FRAGMENT_HEADER_LEN>() else {
                return Err(self.cut(page_end, Fault::Kind(*first)));
            };
            let [_, l0, l1, c0, c1, c2, c3] = *header;
            let len = u16::from_be_bytes([l0, l1]);
            let expected = u32::from_be_bytes([c0, c1, c2, c3]);
            let Some((data, _)) = rest.split_at_checked(usize::from(len)) else {
                let crosses = self.offset + FRAGMENT_HEADER_LEN + usize::from(len) > page_end;
                return Err(if crosses { Fault::Length(len) } else { self.cut(page_end, Fault::Length(len)) });
            };
            let found = crc32c::crc32c(data);
            if found != expected {
                return Err(Fault::Checksum { found, expected });
            }
            let fragment = Fragment { offset: self.offset, kind, flags, data };
            self.offset += FRAGMENT_HEADER_LEN + data.len();
            return Ok(Some(fragment));
        }
    }

    /// A fragment that is not whole: torn if the segment ends within its page, else `fault`.
    fn cut(&self, page_end: usize, fault: Fault) -> Fault {
        if self.segment.len() < page_end { Fault::Torn } else { fault }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::page::put_record;
    use super::*;
    use proptest::prelude::*;

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let from = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(self.0.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_file_is_read_as_its_bytes_are(
            lens in prop::collection::vec(prop_oneof![0usize..200, 30_000usize..70_000, 400_000usize..1_500_000], 1..12),
            cut in prop::option::of(any::<prop::sample::Index>()),
            flip in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut segment = Vec::new();
            for len in lens {
                put_record(&mut segment, 0, 0, &vec![7; len]);
            }
            if let Some(cut) = cut {
                segment.truncate(cut.index(segment.len()));
            }
            if let Some(flip) = flip.filter(|_| !segment.is_empty()) {
                let at = flip.index(segment.len());
                segment[at] ^= 0xff;
            }
            let path = Path::new("00000000");
            let (mut whole, mut by_window) = (Vec::new(), Vec::new());
            let damage = SegmentReader::new().each(path, &segment, |record| whole.push((record.offset, record.bytes.len()))).err();
            let len = segment.len() as u64;
            let file = Bytes(segment);
            let found = SegmentReader::new().each_in_file(path, &file, len, |record| {
                by_window.push((record.offset, record.bytes.len()));
                true
            });
            let found = found.unwrap();
            prop_assert_eq!(whole, by_window);
            prop_assert_eq!(damage.as_ref().map(|damage| (damage.offset, damage.fault)), found.as_ref().map(|damage| (damage.offset, damage.fault)));
            if let Some((damage, found)) = damage.zip(found) {
                // Filling behind the last whole record may count as good.
                let between = damage.good_len as usize..found.good_len as usize;
                prop_assert!(file.0[between].iter().all(|byte| *byte == 0));
            }
        }
    }
}
