//! The lock of a data directory: one process at a time has it open, a Prometheus among them.

use super::OpenError;
use std::path::{Path, PathBuf};

/// `<data>/lock`, locked. The lock ends with the process, whatever becomes of the file.
pub(super) struct LockFile {
    path: PathBuf,
    _file: std::fs::File,
}

impl LockFile {
    /// Makes the file and locks it.
    ///
    /// # Errors
    /// When another process has it locked, or it cannot be made.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(OpenError::Lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked),
            Err(std::fs::TryLockError::Error(error)) => Err(OpenError::Lock(error)),
        }
    }
}

impl Drop for LockFile {
    /// As Prometheus does, the file goes while it is still locked.
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(component = "tsdb", err = %error, "remove lock file");
        }
    }
}
