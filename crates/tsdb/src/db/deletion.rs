//! Deleting samples, in blocks and in the head.

use super::{Db, DbError};
use model::Matcher;
use storage::Interval;

impl Db {
    /// Deletes the samples in `range` of all series that satisfy any of `matcher_sets`: from now on no query shows them.
    /// The bytes go with the next compaction, or by [`Self::clean_tombstones`].
    ///
    /// # Errors
    /// When something cannot be read or written; a part may be deleted.
    pub fn delete(&self, range: Interval, matcher_sets: &[Vec<Matcher>]) -> Result<(), DbError> {
        let mut maintenance = self.maintaining();
        // What is in blocks by now must not come back from anywhere else.
        self.settle(&mut maintenance)?;
        let logs = self.logs().ok_or(DbError::NotReady)?;
        self.head.delete(range, matcher_sets, &logs.wal).map_err(|error| DbError::Io { action: "write to WAL", error })?;
        for block in self.blocks_in(range) {
            block.delete(range, matcher_sets)?;
        }
        Ok(())
    }
}
