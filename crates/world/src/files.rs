//! The file system as the store sees it: few operations, each of which a test can make fail.

use crate::Map;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// An open file that is read at any place, also while another handle appends to it.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The operating system's; `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Bytes of the file system that a path lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All there are.
    pub total: u64,
    /// Those that we may still use.
    pub available: u64,
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
    /// How many bytes a file has.
    ///
    /// # Errors
    /// The operating system's.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Maps a whole sealed file: nobody may change it while the map lives, but for deleting its name.
    ///
    /// # Errors
    /// The operating system's.
    fn map(&self, path: &Path) -> io::Result<Arc<Map>>;
    /// Opens a file to read from it.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;
    /// Gives a file a second name; an error if that exists.
    ///
    /// # Errors
    /// The operating system's.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a folder with all that is in it.
    ///
    /// # Errors
    /// The operating system's; a part may be deleted.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    /// The space of the file system that `path` lies on.
    ///
    /// # Errors
    /// The operating system's.
    fn space(&self, path: &Path) -> io::Result<Space>;
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
    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::metadata(path)?.len())
    }
    fn map(&self, path: &Path) -> io::Result<Arc<Map>> {
        Ok(Arc::new(Map::of_file(&std::fs::File::open(path)?)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(RealFile(std::fs::File::open(path)?)))
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(folder)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space { total: stat.f_blocks.saturating_mul(stat.f_frsize), available: stat.f_bavail.saturating_mul(stat.f_frsize) })
    }
}

impl ReadAt for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }
}
