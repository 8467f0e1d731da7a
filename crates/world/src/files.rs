//! The file system as the store sees it: few operations, each of which a test can make fail.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// An open file that is appended to.
pub trait File: Send + Sync {
    /// Appends all of `bytes` to the file.
    ///
    /// # Errors
    /// The operating system's; a part may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
    /// A second handle on the same file, to [`File::sync`] it while the first appends.
    ///
    /// # Errors
    /// The operating system's.
    fn duplicate(&self) -> io::Result<Box<dyn File>>;
}

/// The operations on paths.
pub trait Files: Send + Sync {
    /// Creates a file (an error if it exists) to append to.
    ///
    /// # Errors
    /// The operating system's.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens an existing file to append to, first cutting it to `len` bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn open_cut(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>>;
    /// Reads a whole file.
    ///
    /// # Errors
    /// The operating system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Names in a folder, in no order.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// The operating system's.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Renames, replacing what is there.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and deletions in a folder durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The machine's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

struct RealFile(std::fs::File);

impl File for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn duplicate(&self) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Self(self.0.try_clone()?)))
    }
}

impl Files for RealFiles {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(std::fs::OpenOptions::new().append(true).create_new(true).open(path)?)))
    }
    fn open_cut(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>> {
        let file = std::fs::OpenOptions::new().append(true).open(path)?;
        file.set_len(len)?;
        Ok(Box::new(RealFile(file)))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect()
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::File::open(folder)?.sync_all()
    }
}
