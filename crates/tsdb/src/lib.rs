//! The time-series database: chunk codecs, write-ahead log, head.
//!
//! A sample's way in: [`head`] checks a batch, [`wal`] makes it durable, the head's open [`chunk`]s take it. A query's way:
//! matchers find slots in the head's index, chunks are copied, and decoded without any lock. [`db`] is all of it over a
//! directory; a [`head::Head`] alone keeps everything in memory.

pub mod block;
pub mod chunk;
pub mod wal;

pub mod head;

pub mod compact;
pub mod merge;
pub mod tombstones;

pub mod db;

pub use db::{Db, DbStats, OpenError, Options};
pub use head::Head;
