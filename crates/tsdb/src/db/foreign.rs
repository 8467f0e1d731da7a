//! What a data directory may hold that we do not read yet.
//!
//! Starting beside blocks or mapped chunks would hide their samples from every query, and starting without a checkpoint
//! would give their refs to other series: such a directory is refused before anything in it is touched.

use super::OpenError;
use crate::wal::segment;
use std::io;
use std::path::{Path, PathBuf};
use world::Files;

/// Bytes at the start of a chunks_head file that are there without any chunk.
const CHUNKS_HEADER_LEN: usize = 8;

/// Refuses a directory with anything that we do not read.
pub(super) fn check(files: &dyn Files, dir: &Path) -> Result<(), OpenError> {
    let foreign = |what: String| Err(OpenError::Foreign { dir: dir.to_owned(), what });
    let mut entries = list(files, dir)?;
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_ulid(name) {
            return foreign(format!("blocks ({name})"));
        }
        if name.starts_with("chunk_snapshot.") {
            return foreign(format!("a snapshot of chunks ({name})"));
        }
        if name == "wbl" && !list(files, &path)?.is_empty() {
            return foreign("out-of-order samples (wbl)".to_owned());
        }
        if name == "chunks_head" {
            for file in list(files, &path)? {
                if holds_chunks(files, &file)? {
                    return foreign("chunks of a head (chunks_head)".to_owned());
                }
            }
        }
    }
    if let Some(checkpoint) = segment::list(files, &dir.join("wal"))?.checkpoints.first() {
        let name = checkpoint.path.file_name().unwrap_or_default().to_string_lossy();
        return foreign(format!("a checkpoint of the log (wal/{name})"));
    }
    Ok(())
}

/// A killed Prometheus leaves a file that is all zeros behind its header: it holds nothing.
fn holds_chunks(files: &dyn Files, path: &Path) -> Result<bool, OpenError> {
    let content = files.read(path).map_err(|error| OpenError::Io { action: "read", path: path.to_owned(), error })?;
    Ok(content.iter().skip(CHUNKS_HEADER_LEN).any(|byte| *byte != 0))
}

fn list(files: &dyn Files, dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    match files.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| OpenError::Io { action: "read directory", path: dir.to_owned(), error }),
    }
}

/// Blocks are folders named by a ULID: 26 digits of Crockford's base 32.
fn is_ulid(name: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase() && !b"ILOU".contains(&byte);
    name.len() == 26 && name.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn refused(entries: &[(&str, &[u8])], want: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in entries {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let found = check(&world::RealFiles, dir.path()).err().map(|error| error.to_string());
        match want {
            None => assert_eq!(found, None),
            Some(want) => assert!(found.as_ref().is_some_and(|found| found.contains(want)), "{found:?}"),
        }
    }

    #[test]
    fn what_we_do_not_read_is_refused() {
        refused(&[], None);
        refused(&[("queries.active", b""), ("wal/00000000", b""), ("pyrope/damaged/x", b"")], None);
        refused(&[("01BKGV7JBM69T2G1BGBGM6KB12/meta.json", b"{}")], Some("blocks (01BKGV7JBM69T2G1BGBGM6KB12)"));
        refused(&[("wbl/00000000", b"")], Some("wbl"));
        refused(&[("chunk_snapshot.000001.0000000010/00000000", b"")], Some("snapshot"));
        refused(&[("wal/checkpoint.00000003/00000000", b"")], Some("wal/checkpoint.00000003"));
        refused(&[("chunks_head/000001", &[1; 64])], Some("chunks_head"));
        refused(&[("chunks_head/000001", &[0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0, 0, 0])], None);
    }
}
