//! What is handed in: the clock, files and randomness. Only the binary picks the real ones; tests stop the clock and break the disk.

pub mod clock;
pub mod files;
pub mod map;
pub mod random;

pub use clock::{Clock, SystemClock};
pub use files::{File, Files, ReadAt, RealFiles, Space};
pub use map::Map;
pub use random::{Random, SystemRandom};
