//! Compaction: series of the head or of blocks, merged into a new block.
//!
//! Deciding is apart from doing: [`plan`], [`retention`] and [`reload`] are pure functions over what metas say, [`run`] reads
//! [`source`]s and writes a block.

pub mod source;
