//! The files `chunks/000001`, …: chunks one after another, each with its checksum.

use super::cursor::{Cursor, put_uvarint};
use super::{BlockError, ChunkIn, ChunkMeta, ChunkRef};
use crate::chunk::Encoding;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use world::{File, Files, Map};

/// The folder's name within a block.
pub const FOLDER_NAME: &str = "chunks";

/// Magic number, format, padding.
const HEADER: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];
/// Readers of Prometheus want that many bytes behind a chunk's start; no length takes more.
const LENGTH_BYTES_MAX: usize = 5;
const CHECKSUM_BYTES: usize = 4;
/// Bytes to collect before they are written: so few that the kernel still finds them in the core's cache.
const WRITE_BYTES: usize = 128 << 10;

/// The chunks of an open block.
pub(super) struct Segments(Vec<Arc<Map>>);

impl Segments {
    pub fn open(files: &dyn Files, block: &Path) -> Result<Self, BlockError> {
        let folder = block.join(FOLDER_NAME);
        let listed = files.list(&folder).map_err(|error| BlockError::io(&folder, error))?;
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        let mut numbered: Vec<(u64, PathBuf)> = listed.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
        numbered.sort_unstable();
        let mut maps = Vec::with_capacity(numbered.len());
        for (_, path) in numbered {
            let map = files.map(&path).map_err(|error| BlockError::io(&path, error))?;
            let header =
                map.get(..HEADER.len()).ok_or_else(|| BlockError::Corrupt(format!("{}: invalid segment header", path.display())))?;
            if header[..4] != HEADER[..4] {
                return Err(BlockError::Corrupt(format!("{}: invalid magic number", path.display())));
            }
            if header[4] != HEADER[4] {
                return Err(BlockError::Corrupt(format!("{}: invalid chunk format version {}", path.display(), header[4])));
            }
            maps.push(map);
        }
        Ok(Self(maps))
    }

    pub fn size_bytes(&self) -> u64 {
        self.0.iter().map(|map| map.len() as u64).sum()
    }

    pub fn chunk(&self, chunk_ref: ChunkRef) -> Result<(Encoding, &[u8]), BlockError> {
        let ChunkRef(number) = chunk_ref;
        let corrupt = |what: &str| BlockError::Corrupt(format!("cannot populate chunk {number}: {what}"));
        let (segment, offset) = ((number >> 32) as usize, number as u32 as usize);
        let map = self.0.get(segment).ok_or_else(|| corrupt(&format!("segment index {segment} out of range")))?;
        let bytes = map.get(offset..).filter(|bytes| bytes.len() >= LENGTH_BYTES_MAX);
        let mut cursor =
            Cursor::new(bytes.ok_or_else(|| corrupt("segment doesn't include enough bytes to read the chunk size data field"))?);
        let read = |cursor: &mut Cursor<'_>| {
            let len = usize::try_from(cursor.uvarint()?).ok()?.checked_add(1)?;
            Some(len)
        };
        let len = read(&mut cursor).ok_or_else(|| corrupt("reading chunk length failed"))?;
        let short = || corrupt("segment doesn't include enough bytes to read the chunk");
        let covered = cursor.take(len).ok_or_else(short)?;
        let want = cursor.be32().ok_or_else(short)?;
        let got = crc32c::crc32c(covered);
        if got != want {
            return Err(corrupt(&format!("checksum mismatch expected:{want:x}, actual:{got:x}")));
        }
        let (encoding, data) = covered.split_first().ok_or_else(short)?;
        let encoding = Encoding::of(*encoding).ok_or_else(|| corrupt(&format!("invalid chunk encoding \"{encoding}\"")))?;
        Ok((encoding, data))
    }
}

/// Writes the chunks of a block.
pub(super) struct SegmentWriter {
    files: Arc<dyn Files>,
    folder: PathBuf,
    segment_bytes_max: u64,
    current: Option<(PathBuf, Box<dyn File>)>,
    /// Files begun.
    begun: u32,
    /// Bytes of the current file, with those that are still collected; 0 before the first.
    position: u64,
    collected: Vec<u8>,
}

impl SegmentWriter {
    pub fn create(files: &Arc<dyn Files>, block: &Path, segment_bytes_max: u64) -> Result<Self, BlockError> {
        let folder = block.join(FOLDER_NAME);
        files.create_folder(&folder).map_err(|error| BlockError::io(&folder, error))?;
        Ok(Self {
            files: files.clone(),
            folder,
            // References have 32 bits for the offset.
            segment_bytes_max: segment_bytes_max.min(u64::from(u32::MAX)),
            current: None,
            begun: 0,
            position: 0,
            collected: Vec::new(),
        })
    }

    /// Writes a series' chunks and says where they lie. A file is cut where Prometheus would: before a chunk with which it
    /// could, at the longest length field, exceed its size, unless it has no chunk yet.
    pub fn add(&mut self, chunks: &[ChunkIn<'_>], places: &mut Vec<ChunkMeta>) -> Result<(), BlockError> {
        places.clear();
        if self.current.is_none() {
            self.cut()?;
        }
        let header = HEADER.len() as u64;
        // Reckoned as if every length field were the longest, from the start of the file or of this call.
        let mut reckoned = self.position;
        for chunk in chunks {
            let size = (LENGTH_BYTES_MAX + 1 + chunk.bytes.len() + CHECKSUM_BYTES) as u64;
            if u32::try_from(size).is_err() {
                return Err(BlockError::Refused(format!("chunk of {} bytes is too large", chunk.bytes.len())));
            }
            if reckoned > header && reckoned + size > self.segment_bytes_max {
                self.cut()?;
                reckoned = header;
            }
            reckoned += size;
            let chunk_ref = ChunkRef(u64::from(self.begun - 1) << 32 | self.position);
            places.push(ChunkMeta { min_time: chunk.min_time, max_time: chunk.max_time, chunk_ref });
            self.write(chunk)?;
        }
        Ok(())
    }

    fn write(&mut self, chunk: &ChunkIn<'_>) -> Result<(), BlockError> {
        let before = self.collected.len();
        put_uvarint(&mut self.collected, chunk.bytes.len() as u64);
        let covered = self.collected.len();
        self.collected.push(chunk.encoding as u8);
        self.collected.extend_from_slice(chunk.bytes);
        let checksum = crc32c::crc32c(&self.collected[covered..]);
        self.collected.extend_from_slice(&checksum.to_be_bytes());
        self.position += (self.collected.len() - before) as u64;
        if self.collected.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        if let Some((path, file)) = &mut self.current {
            file.append(&self.collected).map_err(|error| BlockError::io(path, error))?;
        }
        self.collected.clear();
        Ok(())
    }

    fn seal(&mut self) -> Result<(), BlockError> {
        self.flush()?;
        match self.current.take() {
            Some((path, file)) => file.sync().map_err(|error| BlockError::io(&path, error)),
            None => Ok(()),
        }
    }

    fn cut(&mut self) -> Result<(), BlockError> {
        self.seal()?;
        self.begun += 1;
        let path = self.folder.join(format!("{:06}", self.begun));
        let file = self.files.create_new(&path).map_err(|error| BlockError::io(&path, error))?;
        self.current = Some((path, file));
        self.collected.extend_from_slice(&HEADER);
        self.position = HEADER.len() as u64;
        Ok(())
    }

    /// Makes all of it durable.
    pub fn finish(mut self) -> Result<(), BlockError> {
        self.seal()?;
        self.files.sync_folder(&self.folder).map_err(|error| BlockError::io(&self.folder, error))
    }
}
