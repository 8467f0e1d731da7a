//! One file of head chunks, as readers and the writer share it.

use super::scan::{self, Parsed};
use super::{CHUNK_HEADER_LEN, Found, Place};
use crate::chunk::Encoding;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use world::{Files, Map, ReadAt};

/// Enough for the head of any chunk, and for all of most.
const READ_AHEAD: usize = 512;
/// No chunk has more bytes: one that says so is damaged.
const CHUNK_BYTES_MAX: usize = 128 << 20;

/// So many bytes that are not mapped yet are worth another map.
const WORTH_MAPPING: u64 = 64 << 10;

/// Why a chunk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("read head chunk file {path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// What lies there is not what was written.
    #[error("corruption in head chunk file {path} at {offset}: {what}")]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// One file.
pub struct HeadFile {
    path: PathBuf,
    number: u32,
    content: RwLock<Content>,
}

enum Content {
    /// Nobody writes it any more.
    Sealed(Arc<Map>),
    /// `tail` comes behind the `written` bytes that the file has, of which some may be mapped: it only gets longer.
    Growing { reader: Arc<dyn ReadAt>, mapped: Option<Mapped>, written: u64, tail: Vec<u8> },
}

/// The first bytes of a file that grows.
struct Mapped {
    map: Arc<Map>,
    /// The map may be longer, by what a write left that failed.
    len: usize,
}

impl HeadFile {
    pub(super) fn sealed(path: PathBuf, number: u32, map: Arc<Map>) -> Self {
        Self { path, number, content: RwLock::new(Content::Sealed(map)) }
    }

    pub(super) fn begin(path: PathBuf, number: u32, reader: Arc<dyn ReadAt>, header: &[u8]) -> Self {
        Self { path, number, content: RwLock::new(Content::Growing { reader, mapped: None, written: 0, tail: header.to_vec() }) }
    }

    /// Where it lies, or lay.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Gives the chunk at a place of this file to `read`, checksum verified.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn chunk<T>(&self, offset: u32, read: impl FnOnce(Encoding, &[u8]) -> T) -> Result<T, ReadError> {
        let place = Place { file: self.number, offset };
        let content = self.read();
        match &*content {
            Content::Sealed(map) => self.parse(map.get(offset as usize..).unwrap_or(&[]), place, read),
            Content::Growing { written, tail, .. } if u64::from(offset) >= *written => {
                let at = (u64::from(offset) - written) as usize;
                self.parse(tail.get(at..).unwrap_or(&[]), place, read)
            }
            Content::Growing { mapped: Some(Mapped { map, len }), .. } if (offset as usize) < *len => {
                // Chunks are written whole, so this one ends within what was written then.
                self.parse(map.get(offset as usize..*len).unwrap_or(&[]), place, read)
            }
            Content::Growing { reader, written, .. } => {
                let (reader, left) = (reader.clone(), (written - u64::from(offset)) as usize);
                // Chunks are written whole, so this one ends within what is written; the lock is not held over the disk.
                drop(content);
                let mut bytes = vec![0; left.min(READ_AHEAD)];
                let io = |error| ReadError::Io { path: self.path.clone(), error };
                reader.read_at(u64::from(offset), &mut bytes).map_err(io)?;
                let len = scan::length(&bytes)
                    .filter(|len| *len <= left.min(CHUNK_BYTES_MAX))
                    .ok_or_else(|| self.corrupt(place, "bad length"))?;
                if len > bytes.len() {
                    let have = bytes.len();
                    bytes.resize(len, 0);
                    reader.read_at(u64::from(offset) + have as u64, &mut bytes[have..]).map_err(io)?;
                }
                self.parse(&bytes, place, read)
            }
        }
    }

    fn parse<T>(&self, bytes: &[u8], place: Place, read: impl FnOnce(Encoding, &[u8]) -> T) -> Result<T, ReadError> {
        match scan::parse(bytes) {
            Parsed::Chunk { head, data, .. } => match Found::encoding_of(head[CHUNK_HEADER_LEN - 1]) {
                Some((encoding, _)) => Ok(read(encoding, data)),
                None => Err(self.corrupt(place, "unknown encoding")),
            },
            Parsed::End => Err(self.corrupt(place, "no chunk there")),
            Parsed::Damaged(what) => Err(self.corrupt(place, what)),
        }
    }

    fn corrupt(&self, place: Place, what: &'static str) -> ReadError {
        ReadError::Corrupt { path: self.path.clone(), offset: u64::from(place.offset), what }
    }

    /// The four bytes before an offset, all of which are written.
    pub(super) fn four_before(&self, offset: u64) -> io::Result<[u8; 4]> {
        let start = offset.checked_sub(4).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut four = [0; 4];
        let reader = match &*self.read() {
            Content::Sealed(map) => {
                let range = usize::try_from(start).ok().and_then(|start| map.get(start..start.checked_add(4)?));
                four.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
                return Ok(four);
            }
            Content::Growing { reader, .. } => reader.clone(),
        };
        reader.read_at(start, &mut four)?;
        Ok(four)
    }

    /// Bytes of the file, those that wait in memory included.
    pub(super) fn end(&self) -> u64 {
        match &*self.read() {
            Content::Sealed(map) => map.len() as u64,
            Content::Growing { written, tail, .. } => written + tail.len() as u64,
        }
    }

    pub(super) fn written(&self) -> u64 {
        match &*self.read() {
            Content::Sealed(map) => map.len() as u64,
            Content::Growing { written, .. } => *written,
        }
    }

    pub(super) fn unwritten(&self) -> usize {
        match &*self.read() {
            Content::Sealed(_) => 0,
            Content::Growing { tail, .. } => tail.len(),
        }
    }

    pub(super) fn push(&self, append: impl FnOnce(&mut Vec<u8>)) {
        if let Content::Growing { tail, .. } = &mut *self.write() {
            append(tail);
        }
    }

    /// Has `append` write the tail, which stays as it is if that fails. Only one thread at a time writes.
    pub(super) fn write_tail(&self, append: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match &*self.read() {
            Content::Growing { tail, .. } => append(tail)?,
            Content::Sealed(_) => {}
        }
        if let Content::Growing { written, tail, .. } = &mut *self.write() {
            *written += tail.len() as u64;
            tail.clear();
        }
        Ok(())
    }

    /// Maps what is written by now, if that is much: whoever is about to read all of it needs no call for each chunk.
    pub(super) fn map_written(&self, files: &dyn Files) {
        let written = self.written();
        let known = match &*self.read() {
            Content::Sealed(_) => return,
            Content::Growing { mapped, .. } => mapped.as_ref().map_or(0, |mapped| mapped.len as u64),
        };
        if written - known < WORTH_MAPPING {
            return;
        }
        match files.map(&self.path) {
            Ok(map) => {
                let len = map.len().min(written as usize);
                if let Content::Growing { mapped, .. } = &mut *self.write() {
                    *mapped = Some(Mapped { map, len });
                }
            }
            Err(error) => tracing::warn!(component = "tsdb", err = %error, path = %self.path.display(), "map head chunk file"),
        }
    }

    /// Maps the file, all of which is written. Without a map it goes on to be read as before.
    pub(super) fn seal(&self, files: &dyn Files) {
        match files.map(&self.path) {
            Ok(map) => *self.write() = Content::Sealed(map),
            Err(error) => tracing::warn!(component = "tsdb", err = %error, path = %self.path.display(), "map head chunk file"),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for HeadFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HeadFile").field("path", &self.path).finish_non_exhaustive()
    }
}
