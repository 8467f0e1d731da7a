//! What is told of queries besides their answers: which are under way, and a log of those that are done.

mod active;
mod log;

pub use active::{ActiveQueries, ActiveQuery};
pub use log::{Entry, Origin, QueryLog};
