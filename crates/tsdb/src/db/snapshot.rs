//! Snapshots: a folder with hard links to all blocks, and what the head holds as one more block.

use super::options::FloatEncoding;
use super::{Db, DbError};
use crate::block::{self, Block, BlockError};
use crate::compact::run::Floats;
use std::path::Path;

impl Db {
    /// Makes a snapshot in `folder`, which lies beside the blocks in a folder of its own: blocks are linked, not copied, and
    /// with `with_head` the head's samples become a block there. Nothing else changes.
    ///
    /// # Errors
    /// When a link or the head's block cannot be made; a part may be there.
    pub fn snapshot(&self, folder: &Path, with_head: bool) -> Result<(), DbError> {
        let _one_at_a_time = self.maintaining();
        let files = &self.options.files;
        let io = |error| DbError::Block(BlockError::Io { path: folder.to_owned(), error });
        files.create_folder(folder).map_err(io)?;
        for block in self.blocks.open().iter() {
            tracing::info!(component = "tsdb", block = %block.meta().ulid, "Snapshotting block");
            self.link(block, folder)?;
        }
        if let Some((min_time, max_time)) = self.head.time_range().filter(|_| with_head) {
            // Nobody merges a snapshot, and who asks for one waits for it: so it has the head's chunks as they are.
            let floats = Floats::Keep(FloatEncoding::Xor);
            self.write_head_block(folder, min_time, max_time.saturating_add(1), floats)?;
        }
        files.sync_folder(folder).map_err(io)
    }

    fn link(&self, block: &Block, folder: &Path) -> Result<(), DbError> {
        let files = &*self.options.files;
        let target = folder.join(block.meta().ulid.to_string());
        let (from, to) = (block.dir().join("chunks"), target.join("chunks"));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| DbError::Block(BlockError::Io { path, error })
        };
        files.create_folder(&to).map_err(io(&to))?;
        for segment in files.list(&from).map_err(io(&from))? {
            if let Some(name) = segment.file_name() {
                files.hard_link(&segment, &to.join(name)).map_err(io(&segment))?;
            }
        }
        for name in [block::meta::FILE_NAME, "index", "tombstones"] {
            match files.hard_link(&block.dir().join(name), &target.join(name)) {
                // A block without deletions may have no tombstones.
                Err(error) if name == "tombstones" && error.kind() == std::io::ErrorKind::NotFound => {}
                linked => linked.map_err(io(&target.join(name)))?,
            }
        }
        files.sync_folder(&to).and_then(|()| files.sync_folder(&target)).map_err(io(&target))
    }
}
