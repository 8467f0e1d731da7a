//! `chunks_head/`: full chunks of the head's series, out of memory but at hand.
//!
//! Whatever is here is in the log too, so a chunk is worth no sync and a damaged file no more than the time to replay it: what
//! lies behind the first damage is dropped, as Prometheus drops it, because replay skips what a series' last chunk here covers.
//!
//! Chunks go through a small buffer. A file that a run has finished is mapped; the one being written is read with `pread`, but for what
//! was mapped of it for a compaction, and what has not reached it yet from the buffer. Whoever reads holds the file, so that a deletion only takes its name.
//!
//! # Invariants
//! - Files are numbered without gaps, and a run only appends to files that it created.
//! - The chunks of a series that are in order of time lie in order of time.
//! - A failed write loses nothing: the bytes stay in the buffer, the file is cut back to what it had before the next attempt.

mod chunk;
mod file;
mod scan;

pub use chunk::{MappedChunk, Place};
pub use file::{HeadFile, ReadError};
pub use scan::{Damage, Found};

use crate::chunk::Encoding;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use storage::SeriesRef;
use world::{File, Files};

/// First four bytes of a file.
const MAGIC: u32 = 0x0130_bc91;
/// The fifth.
const VERSION: u8 = 1;
/// Magic, version and three bytes of padding.
const HEADER_LEN: usize = 8;
/// A file has at most this many bytes, as Prometheus's.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// Bytes that wait in memory for the next write.
const BUFFER_BYTES: usize = 64 << 10;
/// The bit of the encoding byte that marks chunks of out-of-order samples.
const OUT_OF_ORDER: u8 = 0x80;
/// Ref, first and last time, encoding.
const CHUNK_HEADER_LEN: usize = 8 + 8 + 8 + 1;
/// Behind each chunk.
const CHECKSUM_LEN: usize = 4;

/// A chunk to be written.
#[derive(Clone, Copy, Debug)]
pub struct ToWrite<'a> {
    /// Whose.
    pub series_ref: SeriesRef,
    /// Time of the first sample.
    pub min_time: i64,
    /// Time of the last sample.
    pub max_time: i64,
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// Whether it overlaps other chunks of the series.
    pub out_of_order: bool,
    /// The samples.
    pub bytes: &'a [u8],
}

/// A place behind a chunk, and what lies before it: by that a later run knows the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub place: Place,
    /// The last four bytes before it.
    pub before: [u8; 4],
}

/// The folder of head chunks of a run.
pub struct Mapped {
    files: Arc<dyn Files>,
    folder: PathBuf,
    /// Oldest first.
    all: RwLock<Vec<Arc<HeadFile>>>,
    writer: Mutex<Writer>,
    writes_failed: AtomicU64,
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Mapped").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Writer {
    current: Option<Current>,
    /// The number of the next file.
    next: u32,
    /// What the start found damaged and nobody has repaired yet.
    damage: Option<Damage>,
    /// The next chunk begins a file.
    cut: bool,
}

struct Current {
    file: Arc<HeadFile>,
    /// None after a failed write, when nobody knows what the file holds behind its good part.
    handle: Option<Box<dyn File>>,
}

impl Mapped {
    /// A folder of which nothing is known: [`Self::load`] must come before anything else.
    pub fn new(files: Arc<dyn Files>, folder: &Path) -> Self {
        Self { files, folder: folder.to_owned(), all: RwLock::default(), writer: Mutex::default(), writes_failed: AtomicU64::new(0) }
    }

    /// Reads the folder, which need not exist; each good chunk is given to `visit`, in the order of the files. Nothing is changed yet.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn load(&self, visit: impl FnMut(Found)) -> io::Result<()> {
        let scanned = scan::scan(&*self.files, &self.folder, visit)?;
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = scanned.files;
        *self.lock() = Writer { current: None, next: scanned.next, damage: scanned.damage, cut: false };
        Ok(())
    }

    /// What the start found damaged, until it is repaired.
    pub fn damage(&self) -> Option<Damage> {
        self.lock().damage.clone()
    }

    /// Cuts the damaged file and deletes what comes behind it. Done before the first write at the latest.
    ///
    /// # Errors
    /// When a file cannot be cut or deleted.
    pub fn repair(&self) -> io::Result<()> {
        self.repair_locked(&mut self.lock())
    }

    fn repair_locked(&self, writer: &mut Writer) -> io::Result<()> {
        if let Some(damage) = writer.damage.take() {
            let repaired = damage.repair(&*self.files);
            if repaired.is_err() {
                writer.damage = Some(damage);
            }
            repaired?;
        }
        Ok(())
    }

    /// Writes a chunk behind all others; none if it cannot be named by a [`MappedChunk`].
    ///
    /// # Errors
    /// When the disk does not take it, or did not take what the buffer holds: then the caller keeps the chunk.
    pub fn write(&self, chunk: &ToWrite<'_>) -> io::Result<Option<MappedChunk>> {
        let mut writer = self.lock();
        let written = self.write_locked(&mut writer, chunk);
        if written.is_err() {
            self.writes_failed.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn write_locked(&self, writer: &mut Writer, chunk: &ToWrite<'_>) -> io::Result<Option<MappedChunk>> {
        let placed = |place| MappedChunk::new(place, chunk.encoding, chunk.min_time, chunk.max_time);
        let room = CHUNK_HEADER_LEN + 10 + chunk.bytes.len() + CHECKSUM_LEN;
        if placed(Place { file: writer.next, offset: 0 }).is_none() {
            return Ok(None);
        }
        if writer.current.as_ref().is_none_or(|current| writer.cut || current.file.end() + room as u64 > FILE_BYTES_MAX) {
            self.begin_file(writer)?;
        }
        let Some(current) = &mut writer.current else { return Ok(None) };
        if current.file.unwritten() + room > BUFFER_BYTES {
            Self::flush_current(&*self.files, current)?;
        }
        let offset = current.file.end();
        let place = u32::try_from(offset).ok().map(|offset| Place { file: current.file.number(), offset });
        let Some(mapped) = place.and_then(placed) else { return Ok(None) };
        current.file.push(|tail| {
            let start = tail.len();
            tail.extend_from_slice(&chunk.series_ref.0.to_be_bytes());
            tail.extend_from_slice(&chunk.min_time.to_be_bytes());
            tail.extend_from_slice(&chunk.max_time.to_be_bytes());
            tail.push(chunk.encoding as u8 | if chunk.out_of_order { OUT_OF_ORDER } else { 0 });
            let mut len = chunk.bytes.len();
            while len >= 0x80 {
                tail.push(len as u8 | 0x80);
                len >>= 7;
            }
            tail.push(len as u8);
            tail.extend_from_slice(chunk.bytes);
            let checksum = crc32c::crc32c(&tail[start..]);
            tail.extend_from_slice(&checksum.to_be_bytes());
        });
        Ok(Some(mapped))
    }

    /// Finishes the current file and creates the next one.
    fn begin_file(&self, writer: &mut Writer) -> io::Result<()> {
        self.repair_locked(writer)?;
        if let Some(current) = &mut writer.current {
            Self::flush_current(&*self.files, current)?;
            if let Some(handle) = &current.handle {
                handle.sync()?;
            }
            current.file.seal(&*self.files);
            writer.current = None;
        } else {
            self.files.create_folder(&self.folder)?;
        }
        let path = self.folder.join(format!("{:06}", writer.next));
        let handle = match self.files.create_new(&path) {
            // A creation that was interrupted here before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.files.open_cut(&path, 0)?,
            created => created?,
        };
        let reader = self.files.open(&path)?;
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&MAGIC.to_be_bytes());
        header[4] = VERSION;
        let file = Arc::new(HeadFile::begin(path, writer.next, reader, &header));
        let mut current = Current { file: file.clone(), handle: Some(handle) };
        // The header goes out at once: a file without one stops Prometheus unless it is the last.
        Self::flush_current(&*self.files, &mut current)?;
        self.files.sync_folder(&self.folder)?;
        writer.current = Some(current);
        writer.next += 1;
        writer.cut = false;
        self.all.write().unwrap_or_else(PoisonError::into_inner).push(file);
        Ok(())
    }

    fn flush_current(files: &dyn Files, current: &mut Current) -> io::Result<()> {
        if current.file.unwritten() == 0 {
            return Ok(());
        }
        let mut handle = match current.handle.take() {
            Some(handle) => handle,
            None => files.open_cut(current.file.path(), current.file.written())?,
        };
        current.file.write_tail(|bytes| handle.append(bytes))?;
        current.handle = Some(handle);
        Ok(())
    }

    /// Hands what the buffer holds to the operating system.
    ///
    /// # Errors
    /// When the disk does not take it; nothing is lost.
    pub fn flush(&self) -> io::Result<()> {
        let mut writer = self.lock();
        let Some(current) = &mut writer.current else { return Ok(()) };
        Self::flush_current(&*self.files, current).inspect_err(|_| {
            self.writes_failed.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Maps what the file that is being written has by now: it will be read from end to end.
    pub fn map_written(&self) {
        let writer = self.lock();
        if let Some(current) = &writer.current {
            current.file.map_written(&*self.files);
        }
    }

    /// Makes everything durable, for a clean stop.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.flush()?;
        let writer = self.lock();
        writer.current.as_ref().and_then(|current| current.handle.as_ref()).map_or(Ok(()), |handle| handle.sync())
    }

    /// Where the next chunk will lie at the earliest; none before the first.
    pub fn end(&self) -> Option<Place> {
        let _writer = self.lock();
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let last = all.last()?;
        Some(Place { file: last.number(), offset: u32::try_from(last.end()).ok()? })
    }

    /// Makes what lies before a place durable, which [`Self::end`] gave, and marks it; none if the file is gone.
    ///
    /// # Errors
    /// When the disk does not take it, or the file cannot be read.
    pub fn mark(&self, place: Place) -> io::Result<Option<Mark>> {
        self.sync()?;
        let Some(file) = self.file(place.file) else { return Ok(None) };
        Ok(Some(Mark { place, before: file.four_before(u64::from(place.offset))? }))
    }

    /// The file with a number.
    pub fn file(&self, number: u32) -> Option<Arc<HeadFile>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let first = all.first()?.number();
        all.get(number.checked_sub(first)? as usize).filter(|file| file.number() == number).cloned()
    }

    /// Deletes files below `number`, oldest first, but not the one being written; if that has chunks, the next one begins another.
    ///
    /// # Errors
    /// When a file cannot be deleted; it is tried again the next time.
    pub fn truncate(&self, number: u32) -> io::Result<()> {
        let mut writer = self.lock();
        self.repair_locked(&mut writer)?;
        let current = writer.current.as_ref().map_or(u32::MAX, |current| current.file.number());
        writer.cut |= writer.current.as_ref().is_some_and(|current| current.file.end() > HEADER_LEN as u64);
        loop {
            let oldest = self.all.read().unwrap_or_else(PoisonError::into_inner).first().cloned();
            let Some(oldest) = oldest.filter(|file| file.number() < number.min(current)) else { return Ok(()) };
            match self.files.remove(oldest.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.all.write().unwrap_or_else(PoisonError::into_inner).remove(0)),
            }
        }
    }

    /// No chunk will be written to a file with a lower number than this.
    pub fn writing(&self) -> u32 {
        let writer = self.lock();
        writer.current.as_ref().map_or(writer.next, |current| current.file.number())
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.all.read().unwrap_or_else(PoisonError::into_inner).iter().map(|file| file.end()).sum()
    }

    /// Writes that failed; their chunks stayed in memory.
    pub fn writes_failed(&self) -> u64 {
        self.writes_failed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
