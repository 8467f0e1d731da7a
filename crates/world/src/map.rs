//! Files mapped into memory.
//!
//! # Invariants
//! - Only sealed files are mapped: their bytes do not change while a map lives.
//! - A page that cannot be read after all, as the disk fails or somebody cut the file, reads as zeros and marks its map.

mod guard;

use guard::Guard;
use std::ops::Deref;

/// A whole file's bytes.
#[derive(Debug)]
pub struct Map(Bytes);

#[derive(Debug)]
enum Bytes {
    /// The guard stands first, as it has to go first.
    Mapped(Guard, memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Map {
    /// Maps a file; an empty one needs no map.
    #[expect(unsafe_code, reason = "mapping is the one way to read blocks without copying them")]
    pub(crate) fn of_file(file: &std::fs::File) -> std::io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::from(Vec::new()));
        }
        // SAFETY: the caller of `Files::map` promises that the file is sealed, so the bytes do not change under the slice.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self(Bytes::Mapped(Guard::new(&map)?, map)))
    }

    /// A part of the file could not be read, and zeros were given instead: what was read from it since may be wrong.
    pub fn is_faulty(&self) -> bool {
        match &self.0 {
            Bytes::Mapped(guard, _) => guard.is_faulty(),
            Bytes::Owned(_) => false,
        }
    }
}

impl From<Vec<u8>> for Map {
    /// Bytes that lie in memory, for disks that are simulated.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Owned(bytes))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(_, map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
