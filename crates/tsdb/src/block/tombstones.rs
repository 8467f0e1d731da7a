//! The file `tombstones` of a block: what is deleted of its series.

use super::cursor::{Cursor, put_uvarint, put_varint};
use super::{BlockError, replace_file};
use crate::tombstones::Tombstones;
use model::Timestamp;
use std::io;
use std::path::Path;
use storage::Interval;
use world::Files;

/// The file's name within a block.
pub const FILE_NAME: &str = "tombstones";

const MAGIC: [u8; 4] = [0x01, 0x30, 0xba, 0x30];
const FORMAT: u8 = 1;

/// Reads a block's tombstones, and the file's size; a block may lack the file.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read(files: &dyn Files, block: &Path) -> Result<(Tombstones, u64), BlockError> {
    let path = block.join(FILE_NAME);
    match files.read(&path) {
        Ok(bytes) => {
            let tombstones = decode(&bytes).map_err(|what| BlockError::Corrupt(format!("{}: {what}", path.display())))?;
            Ok((tombstones, bytes.len() as u64))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Tombstones::new(), 0)),
        Err(error) => Err(BlockError::io(&path, error)),
    }
}

/// Replaces a block's tombstones, durably, and says how large the file is.
///
/// # Errors
/// The operating system's; the old file is then still there.
pub fn write(files: &dyn Files, block: &Path, tombstones: &Tombstones) -> Result<u64, BlockError> {
    let bytes = encode(tombstones);
    replace_file(files, block, FILE_NAME, &bytes)?;
    Ok(bytes.len() as u64)
}

/// The file's bytes.
pub fn encode(tombstones: &Tombstones) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(FORMAT);
    let covered = bytes.len();
    for (series, intervals) in tombstones {
        for interval in intervals.iter() {
            put_uvarint(&mut bytes, *series);
            put_varint(&mut bytes, interval.start.0);
            put_varint(&mut bytes, interval.end.0);
        }
    }
    let checksum = crc32c::crc32c(&bytes[covered..]);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// From the file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Tombstones, String> {
    let (header, rest) = bytes.split_first_chunk::<5>().ok_or("tombstones header: invalid size")?;
    let (body, checksum) = rest.split_last_chunk().ok_or("tombstones header: invalid size")?;
    if header[..4] != MAGIC {
        return Err("invalid magic number".to_owned());
    }
    if header[4] != FORMAT {
        return Err(format!("invalid tombstone format {:x}", header[4]));
    }
    if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
        return Err("checksum did not match".to_owned());
    }
    let mut tombstones = Tombstones::new();
    let mut cursor = Cursor::new(body);
    while !cursor.rest().is_empty() {
        let mut entry = || Some((cursor.uvarint()?, cursor.varint()?, cursor.varint()?));
        let (series, start, end) = entry().ok_or("invalid size")?;
        tombstones.add(series, Interval { start: Timestamp(start), end: Timestamp(end) });
    }
    Ok(tombstones)
}
