//! Samples that are in blocks by now, and what else still has them.
//!
//! Where the head begins is where the blocks end. If all samples of a block were deleted it goes, and with it the only word on
//! that: the next start would read what is deleted out of the log. So before it goes a note in `pyrope/settled` says it.
//!
//! Of out-of-order samples their part of the log goes as a whole. Their chunks cannot: they lie in files of the head between chunks that are
//! needed, and the next start would take them for samples of the head again. That would cost memory and another compaction, and what
//! was deleted of the blocks since would come back. So a note in `pyrope/late_chunks` says up to which place chunks of
//! out-of-order samples are in blocks.
//!
//! # Invariants
//! - The note is durable before samples of the blocks that it speaks of can be deleted.
//! - It holds only while the file that it names is the one that it was written for: the four bytes before its place tell.
//!   If it is lost, chunks come back, which is no worse than what Prometheus does.

use super::lifecycle::Maintenance;
use super::{Db, DbError, OpenError};
use crate::head::mapped::{Found, Mark, Place};
use crate::wal::SegmentIndex;
use std::io::{self, ErrorKind};
use std::path::Path;
use world::Files;

/// What has become superfluous when out-of-order samples were written to blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Chunks of out-of-order samples before this place.
    pub place: Option<Place>,
    /// Segments of the out-of-order log below this one.
    pub segment: Option<SegmentIndex>,
}

const LATE_CHUNKS: &str = "late_chunks";
const SETTLED: &str = "settled";
const MAGIC: [u8; 4] = *b"PLC1";
const MAGIC_SETTLED: [u8; 4] = *b"PST1";

impl Db {
    /// Writes the note and deletes what a compaction of out-of-order samples has left to be; again after it failed.
    pub(super) fn settle(&self, maintenance: &mut Maintenance) -> Result<(), DbError> {
        let Some(settled) = maintenance.settled else { return Ok(()) };
        let io = |action| move |error| DbError::Io { action, error };
        if let (Some(place), Some(mapped)) = (settled.place, self.head.mapped())
            && let Some(mark) = mapped.mark(place).map_err(io("sync head chunks"))?
        {
            write(&*self.options.files, &self.options.dir, LATE_CHUNKS, &encode(mark)).map_err(io("write late_chunks"))?;
        }
        if let (Some(segment), Some(wbl)) = (settled.segment, self.logs().and_then(|logs| logs.wbl)) {
            wbl.truncate_before(segment).map_err(io("truncate WBL"))?;
        }
        maintenance.settled = None;
        Ok(())
    }
}

impl Db {
    /// To be called before a block goes of which nothing is left.
    pub(super) fn before_block_goes(&self) -> Result<(), DbError> {
        let begins = self.head.min_valid_time();
        if begins == i64::MIN {
            // Nothing in order is in blocks.
            return Ok(());
        }
        let note = encode_time(begins);
        let written = write(&*self.options.files, &self.options.dir, SETTLED, &note);
        written.map_err(|error| DbError::Io { action: "write settled", error })
    }
}

/// The time before which no sample in order is in the log alone, if a note says it.
pub(super) fn read_time(files: &dyn Files, dir: &Path) -> Result<Option<i64>, OpenError> {
    read_note(files, dir, SETTLED, decode_time)
}

fn read_note<T>(files: &dyn Files, dir: &Path, name: &str, decode: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, OpenError> {
    let path = dir.join("pyrope").join(name);
    let bytes = match files.read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|error| OpenError::Io { action: "read", path: path.clone(), error })?,
    };
    let decoded = decode(&bytes);
    if decoded.is_none() {
        tracing::warn!(component = "tsdb", path = %path.display(), "a damaged note is left out of account");
    }
    Ok(decoded)
}

/// The place of the note on late chunks, if it still holds.
pub(super) fn read(files: &dyn Files, dir: &Path) -> Result<Option<Place>, OpenError> {
    let Some(mark) = read_note(files, dir, LATE_CHUNKS, decode)? else { return Ok(None) };
    let file = dir.join("chunks_head").join(format!("{:06}", mark.place.file));
    let chunks = match files.map(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        chunks => chunks.map_err(|error| OpenError::Io { action: "read", path: file, error })?,
    };
    let end = mark.place.offset as usize;
    let holds = end.checked_sub(4).and_then(|start| chunks.get(start..end)).is_some_and(|before| before == mark.before);
    Ok(holds.then_some(mark.place))
}

/// Whether a chunk is one that the note is about.
pub(super) fn is_settled(found: &Found, settled: Option<Place>) -> bool {
    let place = found.chunk.place();
    found.out_of_order && settled.is_some_and(|settled| (place.file, place.offset) < (settled.file, settled.offset))
}

fn write(files: &dyn Files, dir: &Path, name: &str, note: &[u8]) -> io::Result<()> {
    let folder = dir.join("pyrope");
    files.create_folder(&folder)?;
    let (aside, path) = (folder.join(format!("{name}.tmp")), folder.join(name));
    let mut file = match files.create_new(&aside) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => files.open_cut(&aside, 0)?,
        created => created?,
    };
    file.append(note)?;
    file.sync()?;
    files.rename(&aside, &path)?;
    files.sync_folder(&folder)?;
    // The folder may be new.
    files.sync_folder(dir)
}

fn encode(mark: Mark) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&mark.place.file.to_be_bytes());
    bytes.extend_from_slice(&mark.place.offset.to_be_bytes());
    bytes.extend_from_slice(&mark.before);
    with_checksum(bytes)
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let [a, b, c, d, e, f, g, h, before @ ..] = checked::<12>(bytes, MAGIC)?;
    Some(Mark { place: Place { file: u32::from_be_bytes([a, b, c, d]), offset: u32::from_be_bytes([e, f, g, h]) }, before })
}

fn encode_time(time: i64) -> Vec<u8> {
    let mut bytes = MAGIC_SETTLED.to_vec();
    bytes.extend_from_slice(&time.to_be_bytes());
    with_checksum(bytes)
}

fn decode_time(bytes: &[u8]) -> Option<i64> {
    checked(bytes, MAGIC_SETTLED).map(i64::from_be_bytes).filter(|time| *time > i64::MIN)
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// What lies between magic and checksum, if both are right.
fn checked<const N: usize>(bytes: &[u8], magic: [u8; 4]) -> Option<[u8; N]> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let whole = *checksum == crc32c::crc32c(content).to_be_bytes();
    content.strip_prefix(&magic)?.try_into().ok().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_or_not_at_all() {
        let mark = Mark { place: Place { file: 7, offset: 1 << 20 }, before: [1, 2, 3, 4] };
        let bytes = encode(mark);
        assert_eq!(decode(&bytes), Some(mark));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None);
        }
        assert_eq!(decode(&bytes[..19]), None);
        assert_eq!(decode_time(&encode_time(-5)), Some(-5));
        assert_eq!(decode_time(&bytes), None);
        assert_eq!(decode(&[]), None);
    }
}
