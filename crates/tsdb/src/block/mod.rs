//! Blocks: sealed folders of Prometheus's, each the samples of a range of time with their own index.
//!
//! A block is `<ULID>/{meta.json, index, chunks/000001…, tombstones}`. The index and the chunks are mapped, never loaded:
//! of an open block only every 32nd symbol's and every 32nd label pair's place lies in memory. What a checksum covers is
//! compared with it before it is believed: tables at the opening, lists of postings, series entries and chunks each time they are read.
//!
//! # Invariants
//! - But for `tombstones` and `meta.json`, which are replaced as wholes, the files of a published block never change.
//! - A block appears by renaming a folder that is complete and durable, and goes by renaming it away before anything in it is deleted.

mod chunks;
mod cursor;
mod deletion;
mod index;
mod matching;
pub mod meta;
mod open;
mod repair;
mod select;
pub mod tombstones;
mod writer;

use crate::chunk::Encoding;
use model::Labels;
use std::io;
use std::path::{Path, PathBuf};
use ulid::Ulid;
use world::Files;

pub(crate) use index::Numbering;
pub use meta::{Compaction, Meta, Parent, Stats};
pub use open::{Block, Reader};
pub use repair::repair_version;
pub use writer::BlockWriter;

/// Added to the name of a folder that is being written.
pub const CREATION_SUFFIX: &str = ".tmp-for-creation";
/// Added to the name of a folder that is being deleted.
pub const DELETION_SUFFIX: &str = ".tmp-for-deletion";

/// Why a block cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// Its meta is not one.
    #[error("read meta of {block}: {what}")]
    Meta {
        /// The block's folder.
        block: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Its meta is of a version that we do not know.
    #[error("read meta of {block}: unexpected meta file version {version}")]
    Version {
        /// The block's folder.
        block: PathBuf,
        /// The version that it claims.
        version: u64,
    },
    /// What it holds is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// What is to be written does not fit the format or is out of order.
    #[error("{0}")]
    Refused(String),
}

impl BlockError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    fn meta(block: &Path, what: String) -> Self {
        Self::Meta { block: block.to_owned(), what }
    }
}

/// A series within its block. Ascending ids are ascending labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// Where a chunk lies: the segment in the upper 32 bits, from 0, and the offset in it in the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkRef(pub u64);

/// A chunk of a series, as the index names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Time of its first sample, milliseconds.
    pub min_time: i64,
    /// Time of its last sample.
    pub max_time: i64,
    /// Where it lies.
    pub chunk_ref: ChunkRef,
}

/// A series, as the index describes it. Reuse it: the buffers keep their capacity.
#[derive(Clone, Debug, Default)]
pub struct SeriesEntry {
    /// Its labels.
    pub labels: Labels,
    /// Its chunks in order of time.
    pub chunks: Vec<ChunkMeta>,
}

/// A label, as the numbers of two symbols: places of name and value among texts that are sorted bytewise, each once.
///
/// So labels, as lists of these, are in the order of their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolPair {
    /// Of its name.
    pub name: u32,
    /// Of its value.
    pub value: u32,
}

/// A chunk to be written.
#[derive(Clone, Copy, Debug)]
pub struct ChunkIn<'a> {
    /// Time of its first sample, milliseconds.
    pub min_time: i64,
    /// Time of its last sample.
    pub max_time: i64,
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// The samples, with the encoding's own header.
    pub bytes: &'a [u8],
}

/// What a block to be written is called, and how large its files may be.
#[derive(Clone, Copy, Debug)]
pub struct BlockOptions {
    /// Its name.
    pub ulid: Ulid,
    /// Largest size of a file of chunks in bytes; a larger chunk gets a file of its own.
    pub segment_bytes_max: u64,
}

impl BlockOptions {
    /// A block of this name with files of Prometheus's size, 512 MiB.
    pub fn new(ulid: Ulid) -> Self {
        Self { ulid, segment_bytes_max: 512 << 20 }
    }
}

/// What only the caller knows of a block's meta.
#[derive(Clone, Debug, Default)]
pub struct MetaSeed {
    /// No sample is before it (milliseconds).
    pub min_time: i64,
    /// All samples are before it.
    pub max_time: i64,
    /// Where the block comes from.
    pub compaction: Compaction,
    /// Further fields, such as those of others that are to be kept.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// Replaces a file of a block's folder by one that is complete and durable.
fn replace_file(files: &dyn Files, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), BlockError> {
    let (path, aside) = (folder.join(name), folder.join(format!("{name}.tmp")));
    // A run that was cut short may have left one.
    match files.remove(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(BlockError::io(&aside, error)),
        _ => {}
    }
    let mut file = files.create_new(&aside).map_err(|error| BlockError::io(&aside, error))?;
    file.append(bytes).and_then(|()| file.sync()).map_err(|error| BlockError::io(&aside, error))?;
    files.rename(&aside, &path).map_err(|error| BlockError::io(&path, error))?;
    files.sync_folder(folder).map_err(|error| BlockError::io(folder, error))
}

/// The folders in `data_dir` that are called as blocks are, by name.
///
/// # Errors
/// The operating system's.
pub fn folders(files: &dyn Files, data_dir: &Path) -> io::Result<Vec<(Ulid, PathBuf)>> {
    let mut found: Vec<(Ulid, PathBuf)> = files.list(data_dir)?.into_iter().filter_map(|path| Some((ulid_of(&path)?, path))).collect();
    found.sort_unstable();
    Ok(found)
}

fn ulid_of(path: &Path) -> Option<Ulid> {
    Ulid::from_string(path.file_name()?.to_str()?).ok()
}

/// Deletes a block: once its name is gone it cannot come back in part.
///
/// # Errors
/// The operating system's.
pub fn delete(files: &dyn Files, dir: &Path) -> Result<(), BlockError> {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(DELETION_SUFFIX);
    let aside = dir.with_file_name(name);
    files.rename(dir, &aside).map_err(|error| BlockError::io(dir, error))?;
    if let Some(parent) = dir.parent() {
        files.sync_folder(parent).map_err(|error| BlockError::io(parent, error))?;
    }
    files.remove_folder(&aside).map_err(|error| BlockError::io(&aside, error))
}
