//! The time-series database over Prometheus's data directory. It is a library of its own: a server is not needed.
//!
//! ```
//! use model::{Labels, MatchOp, Matcher, Timestamp};
//! use storage::{Appender, Batch, Column, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
//! use tsdb::{Db, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path();
//! // Open: makes the directory, or locks it and replays its log.
//! let db = Db::open(Options::new(dir))?;
//!
//! // Append: a batch is committed as a whole. Series are named by their labels, or, once known, by the handle that a
//! // commit answers.
//! let mut batch = Batch { labels: vec![Labels::from_pairs([("__name__", "temperature"), ("room", "kitchen")])], ..Batch::default() };
//! for (time, value) in [(1_700_000_000_000, 20.5), (1_700_000_015_000, 21.0)] {
//!     let (timestamp, value) = (Timestamp(time), RowValue::Float(value));
//!     batch.rows.push(Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp, value });
//! }
//! let mut committed = Committed::default();
//! db.commit(&batch, &mut committed)?;
//! assert_eq!(committed.stored, 2);
//!
//! // Query: series that match, each decoded into a column when it is needed.
//! let range = Interval { start: Timestamp(1_700_000_000_000), end: Timestamp(1_700_000_060_000) };
//! let selection = db.select(range, &[Matcher::new(MatchOp::Equal, "room", "kitchen")?], &SelectHints::default())?;
//! assert!(selection.warnings.is_empty(), "nothing was damaged");
//! let mut column = Column::default();
//! for series in &selection.series {
//!     column.clear();
//!     series.decode(range, &mut column)?;
//!     assert_eq!(series.labels().get("room"), Some("kitchen"));
//!     assert_eq!(column.values, [20.5, 21.0]);
//! }
//!
//! // Close: everything is durable, the directory is free. Without it the log still has all that was committed.
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A tour
//!
//! *A sample's way in.* [`head`] checks a batch against what it has, [`wal`] has its records in a file before anybody sees the
//! sample, and the head's open [`chunk`]s take it. A full chunk goes to `chunks_head/` ([`head::mapped`]). What comes out of order
//! goes to chunks of its own and to a second log.
//!
//! *A query's way.* Matchers find slots in the head's index and series in each [`block`]'s; chunks are copied or mapped, decoded
//! without any lock, and [`merge`]d: the head first, then the blocks, so that what moves in between is seen once or twice, never
//! not at all. What is deleted ([`tombstones`]) is left out.
//!
//! *What happens by itself.* [`db`] is all of it over a directory: the head's oldest hours become a block, then the head and the
//! log forget them; [`compact`] plans and merges blocks, and says which are too old. [`Db::maintain`] does whatever is due;
//! threads do it unless [`Options::background`] is off. [`Db::open_read_only`] looks at a directory that another process writes.
//!
//! A [`Head`] alone keeps everything in memory, for tests and for what needs no directory.
//!
//! # What holds everywhere
//!
//! - Bytes from a disk are checked before they are believed: nothing in them may panic or take memory without bound.
//! - Damage costs what is damaged, and a query that needed it says so in its warnings.
//! - Files, clock and random numbers are handed in ([`Options`]), so that tests stop the one and break the other.
//! - The formats are Prometheus's (docs/formats.md); what is our own, in `<data>/pyrope/`, can be deleted at any time.

pub mod block;
pub mod chunk;
pub mod wal;

pub mod head;
mod prefetch;

pub mod compact;
pub mod merge;
pub mod neighbours;
pub mod tombstones;

pub mod db;

pub use db::{Db, DbStats, OpenError, Options};
pub use head::Head;
