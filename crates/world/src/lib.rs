//! What is handed in: the clock and files. Only the binary picks the real ones; tests stop the clock and break the disk.

pub mod clock;
pub mod files;
pub mod map;

pub use clock::{Clock, SystemClock};
pub use files::{File, Files, ReadAt, RealFiles, Space};
pub use map::Map;
