//! Out-of-order samples that are in blocks by now, and what else still has them.
//!
//! Their part of the log goes as a whole. Their chunks cannot: they lie in files of the head between chunks that are
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

const MAGIC: [u8; 4] = *b"PLC1";
const LEN: usize = 20;

impl Db {
    /// Writes the note and deletes what a compaction of out-of-order samples has left to be; again after it failed.
    pub(super) fn settle(&self, maintenance: &mut Maintenance) -> Result<(), DbError> {
        let Some(settled) = maintenance.settled else { return Ok(()) };
        let io = |action| move |error| DbError::Io { action, error };
        if let (Some(place), Some(mapped)) = (settled.place, self.head.mapped())
            && let Some(mark) = mapped.mark(place).map_err(io("sync head chunks"))?
        {
            write(&*self.options.files, &self.options.dir, mark).map_err(io("write late_chunks"))?;
        }
        if let (Some(segment), Some(wbl)) = (settled.segment, self.logs().and_then(|logs| logs.wbl)) {
            wbl.truncate_before(segment).map_err(io("truncate WBL"))?;
        }
        maintenance.settled = None;
        Ok(())
    }
}

/// The place of the note, if it still holds.
pub(super) fn read(files: &dyn Files, dir: &Path) -> Result<Option<Place>, OpenError> {
    let path = dir.join("pyrope").join("late_chunks");
    let unless_missing = |path: &Path, read: io::Result<Vec<u8>>| match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|error| OpenError::Io { action: "read", path: path.to_owned(), error }),
    };
    let Some(bytes) = unless_missing(&path, files.read(&path))? else { return Ok(None) };
    let Some(mark) = decode(&bytes) else {
        tracing::warn!(component = "tsdb", path = %path.display(), "a damaged note is left out of account");
        return Ok(None);
    };
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

fn write(files: &dyn Files, dir: &Path, mark: Mark) -> io::Result<()> {
    let folder = dir.join("pyrope");
    files.create_folder(&folder)?;
    let (aside, path) = (folder.join("late_chunks.tmp"), folder.join("late_chunks"));
    let mut file = match files.create_new(&aside) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => files.open_cut(&aside, 0)?,
        created => created?,
    };
    file.append(&encode(mark))?;
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
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let four = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let whole = bytes.len() == LEN && bytes.starts_with(&MAGIC) && four(16)? == crc32c::crc32c(&bytes[..16]).to_be_bytes();
    let place = Place { file: u32::from_be_bytes(four(4)?), offset: u32::from_be_bytes(four(8)?) };
    let before = four(12)?;
    whole.then_some(Mark { place, before })
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
        assert_eq!(decode(&bytes[..LEN - 1]), None);
        assert_eq!(decode(&[]), None);
    }
}
