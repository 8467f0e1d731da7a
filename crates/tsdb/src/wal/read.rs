//! Reads a segment's bytes record by record.
//!
//! Nothing in the bytes is believed before its checksum fits. The first fault ends the segment: what follows it cannot be
//! told apart from chance. Whether that is the trace of an interrupted write or of a broken disk, [`Fault::is_torn`] says.

use std::fmt;
use std::path::{Path, PathBuf};

use super::compress::{Compression, Decompressor};
use super::page::{FIRST, FRAGMENT_HEADER_LEN, FRAGMENT_MASK, FULL, LAST, MIDDLE, PAGE_END, PAGE_LEN, RESERVED_MASK, SNAPPY, ZSTD};

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
