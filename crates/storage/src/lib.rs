//! The two seams of the system: what can be appended to, and what can be queried.
//!
//! Producers (scrape, remote write, rules) fill a [`Batch`] and hand it to an [`Appender`];
//! consumers (the query engine, the HTTP API) ask a [`Queryable`] for series and decode each
//! of them, once, into a [`Column`].

pub mod append;
pub mod cancel;
pub mod column;
pub mod exemplars;
pub mod select;

pub use append::{Appender, Batch, CommitError, Committed, OnRefused, Row, RowOutcome, RowSeries, RowValue, SeriesHandle, SeriesRef, Slot};
pub use cancel::{Cancel, Checks};
pub use column::Column;
pub use exemplars::{ExemplarSource, SeriesExemplars};
pub use select::{EncodedChunk, Interval, Names, Queryable, SelectError, SelectHints, Selection, Series};
