//! Files mapped into memory.
//!
//! # Invariants
//! - Only sealed files are mapped: their bytes do not change while a map lives.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

/// A whole file's bytes.
#[derive(Debug)]
pub struct Map {
    bytes: Bytes,
    faulty: AtomicBool,
}

#[derive(Debug)]
enum Bytes {
    Mapped(memmap2::Mmap),
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
        Ok(Self { bytes: Bytes::Mapped(unsafe { memmap2::Mmap::map(file)? }), faulty: AtomicBool::new(false) })
    }

    /// A part of the file could not be read, and zeros were given instead.
    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Relaxed)
    }
}

impl From<Vec<u8>> for Map {
    /// Bytes that lie in memory, for disks that are simulated.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Bytes::Owned(bytes), faulty: AtomicBool::new(false) }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
