//! What interrupted runs left in a data directory, and what must not be there when we write.
//!
//! # Invariants
//! - Only names that Prometheus or we give to unfinished or half deleted things are removed, and snapshots of a head's memory,
//!   which are older than the log as soon as we write to it.

use super::OpenError;
use std::io;
use std::path::Path;
use ulid::Ulid;
use world::Files;

/// Removes them.
///
/// # Errors
/// The operating system's.
pub(super) fn remove(files: &dyn Files, dir: &Path) -> Result<(), OpenError> {
    for folder in [dir.to_owned(), dir.join("wal"), dir.join("wbl")] {
        let found = match files.list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| OpenError::Io { action: "read directory", path: folder.clone(), error })?,
        };
        for path in found {
            if path.file_name().and_then(|name| name.to_str()).is_some_and(is_leftover) {
                tracing::info!(component = "tsdb", path = %path.display(), "Found and deleting tmp dir");
                files.remove_folder(&path).map_err(|error| OpenError::Io { action: "remove", path: path.clone(), error })?;
            }
        }
    }
    Ok(())
}

/// Snapshots of a head that a Prometheus wrote at its end: the log holds all of it.
///
/// # Errors
/// The operating system's.
pub(super) fn remove_foreign_state(files: &dyn Files, dir: &Path) -> Result<(), OpenError> {
    let removed = |path: &Path, outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::Io { action: "remove", path: path.to_owned(), error }),
        _ => Ok(()),
    };
    let found = files.list(dir).map_err(|error| OpenError::Io { action: "read directory", path: dir.to_owned(), error })?;
    for path in found {
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(SNAPSHOT_PREFIX)) {
            removed(&path, files.remove_folder(&path))?;
        }
    }
    // It names the last ref given, which a Prometheus with `fast-startup` trusts more than the log: it would give ours to other series.
    let state = dir.join("wal").join("series_state.json");
    removed(&state, files.remove(&state))
}

const SNAPSHOT_PREFIX: &str = "chunk_snapshot.";
const CHECKPOINT_PREFIX: &str = "checkpoint.";

fn is_leftover(name: &str) -> bool {
    let Some((name, suffix)) = name.rsplit_once('.') else { return false };
    match suffix {
        "tmp-for-deletion" | "tmp-for-creation" => name.starts_with(SNAPSHOT_PREFIX) || Ulid::from_string(name).is_ok(),
        "tmp" => name.starts_with(SNAPSHOT_PREFIX) || name.starts_with(CHECKPOINT_PREFIX) || Ulid::from_string(name).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_things_are_leftovers() {
        for name in [
            "01BKGV7JBM69T2G1BGBGM6KB12.tmp-for-creation",
            "01BKGV7JBM69T2G1BGBGM6KB12.tmp-for-deletion",
            "01BKGV7JBM69T2G1BGBGM6KB12.tmp",
            "checkpoint.00000005.tmp",
            "chunk_snapshot.000004.0000032768.tmp",
        ] {
            assert!(is_leftover(name), "{name}");
        }
        for name in
            ["01BKGV7JBM69T2G1BGBGM6KB12", "checkpoint.00000005", "00000001", "thanos.shipper.json", "notes.tmp", "x.tmp-for-deletion"]
        {
            assert!(!is_leftover(name), "{name}");
        }
    }
}
