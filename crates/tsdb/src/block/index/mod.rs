//! The file `index`: symbols, series, postings, and the table that says where the postings of a label pair lie.
//!
//! Version 2 is written; version 1, of Prometheus 2.0, is read too. What is read lies in a map; every length and place in it
//! is checked against the map before it is followed.

mod read;
mod symbols;
mod table;
mod write;

pub(super) use read::{Index, SeriesReader};
pub(crate) use symbols::Numbering;
pub(super) use write::IndexWriter;

use super::cursor::Cursor;

/// The file's name within a block.
pub const FILE_NAME: &str = "index";

const MAGIC: [u8; 4] = [0xba, 0xaa, 0xd7, 0x00];
/// The version stands behind the magic number.
pub(super) const VERSION_PLACE: usize = MAGIC.len();
const HEADER_BYTES: usize = VERSION_PLACE + 1;
/// Series entries start at multiples of it, and are called by that multiple.
const SERIES_ALIGN: u64 = 16;
/// The place of every so many-th symbol, and of every so many-th value of a name, lies in memory.
const SAMPLE_EVERY: usize = 32;

/// Where the sections begin. The two of them that hold label indices are empty in files of today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Toc {
    symbols: u64,
    series: u64,
    label_indices: u64,
    label_indices_table: u64,
    postings: u64,
    postings_table: u64,
}

impl Toc {
    const BYTES: usize = 6 * 8 + 4;

    /// From the end of the file.
    fn read(file: &[u8]) -> Result<Self, Corrupt> {
        let bytes = file.len().checked_sub(Self::BYTES).and_then(|at| file.get(at..)).ok_or(Corrupt("read TOC: invalid size"))?;
        let (body, checksum) = bytes.split_last_chunk().ok_or(Corrupt("read TOC: invalid size"))?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return Err(Corrupt("read TOC: invalid checksum"));
        }
        let mut cursor = Cursor::new(body);
        let mut next = || cursor.be64().ok_or(Corrupt("read TOC: invalid size"));
        Ok(Self {
            symbols: next()?,
            series: next()?,
            label_indices: next()?,
            label_indices_table: next()?,
            postings: next()?,
            postings_table: next()?,
        })
    }

    fn write(&self) -> Vec<u8> {
        let places = [self.symbols, self.series, self.label_indices, self.label_indices_table, self.postings, self.postings_table];
        let mut bytes: Vec<u8> = places.iter().flat_map(|place| place.to_be_bytes()).collect();
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// What is wrong with an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(&'static str);

impl Corrupt {
    /// A list of postings whose entries do not ascend.
    pub(super) const POSTINGS_ORDER: Self = Self("postings are out of order");
}

/// The content of a section: length, content, checksum.
fn section(file: &[u8], offset: u64) -> Result<&[u8], Corrupt> {
    let bytes = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)).ok_or(Corrupt("invalid size"))?;
    let mut cursor = Cursor::new(bytes);
    let len = cursor.be32().ok_or(Corrupt("invalid size"))?;
    checked(&mut cursor, len as usize)
}

/// A content of this length with the checksum behind it.
fn checked<'b>(cursor: &mut Cursor<'b>, len: usize) -> Result<&'b [u8], Corrupt> {
    let content = cursor.take(len).ok_or(Corrupt("invalid size"))?;
    let checksum = cursor.be32().ok_or(Corrupt("invalid size"))?;
    if crc32c::crc32c(content) == checksum { Ok(content) } else { Err(Corrupt("invalid checksum")) }
}
