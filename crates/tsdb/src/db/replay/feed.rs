//! The thread that reads segments, checks and decompresses them, and hands their records on in blocks.

use crate::wal::read::{Damage, SegmentReader};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use world::Files;

/// Bytes of records after which a block goes on its way.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that wait.
const WAITING: usize = 8;

/// Records of one segment.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where in the segment each begins, and where it ends in `bytes`.
    ends: Vec<(u64, usize)>,
}

impl Block {
    /// Offsets in the segment, and bytes.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut begin = 0;
        self.ends.iter().map(move |(offset, end)| {
            let bytes = &self.bytes[begin..*end];
            begin = *end;
            (*offset, bytes)
        })
    }
}

/// What is handed on.
#[derive(Debug)]
pub enum Fed {
    /// Records of the segment that is being read.
    Block(Block),
    /// The segment is read; after the damage there was nothing to be read.
    End(Option<Damage>),
    /// The segment cannot be read.
    Failed(io::Error),
}

/// The other end of the thread.
pub struct Feed {
    /// For each segment blocks and an end.
    pub blocks: Receiver<Fed>,
    spare: SyncSender<Block>,
}

impl Feed {
    /// Starts to read segments in order.
    pub fn start<'scope>(scope: &'scope Scope<'scope, '_>, files: &'scope dyn Files, segments: &'scope [PathBuf]) -> Self {
        let (to, blocks) = sync_channel(WAITING);
        let (spare, spares) = sync_channel(WAITING + 2);
        scope.spawn(move || feed(files, segments, &to, &spares));
        Self { blocks, spare }
    }

    /// Gives a block back, to be filled again.
    pub fn done(&self, mut block: Block) {
        block.bytes.clear();
        block.ends.clear();
        let _ = self.spare.try_send(block);
    }
}

/// Ends when nobody listens any more.
fn feed(files: &dyn Files, segments: &[PathBuf], to: &SyncSender<Fed>, spares: &Receiver<Block>) {
    let mut reader = SegmentReader::new();
    for path in segments {
        let mut block = spares.try_recv().unwrap_or_default();
        let mut heard = true;
        let read = files.len(path).and_then(|len| {
            let file = files.open(path)?;
            reader.each_in_file(path, &*file, len, |record| {
                block.bytes.extend_from_slice(record.bytes);
                block.ends.push((record.offset, block.bytes.len()));
                if block.bytes.len() >= BLOCK_BYTES {
                    heard = to.send(Fed::Block(std::mem::replace(&mut block, spares.try_recv().unwrap_or_default()))).is_ok();
                }
                heard
            })
        });
        heard = heard && to.send(Fed::Block(block)).is_ok();
        let failed = read.is_err();
        heard = heard && to.send(read.map_or_else(Fed::Failed, Fed::End)).is_ok();
        if failed || !heard {
            return;
        }
    }
}
