//! The write-ahead log: segments of records in Prometheus's format, written before a sample becomes visible.
//!
//! [`record`] says what a record means, [`page`] how records lie in a segment's pages, [`segment`] how segments are named,
//! [`read`] reads them, [`repair`] makes a damaged one readable for Prometheus, [`checkpoint`] replaces old ones, and [`Wal`] is
//! the only writer. The log of out-of-order samples, `wbl/`, is the same over another folder.
//!
//! # Invariants
//! - A run writes only to segments that it created.
//! - [`Wal::wait`] returns `Ok` only when the record, and every record enqueued before it in the same segment, is in the file.

pub mod checkpoint;
mod compress;
pub mod page;
pub mod read;
pub mod record;
pub mod repair;
pub mod segment;
mod writer;

pub use checkpoint::CheckpointError;
pub use compress::{Compression, RECORD_LEN_MAX};
pub use segment::SegmentIndex;
pub use writer::{Durability, Options, Records, Ticket, Wal};
