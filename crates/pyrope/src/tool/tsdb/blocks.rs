//! The blocks of a data directory, opened to be read; and `list`.

use crate::tool::{Failure, go};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tsdb::block::{self, Block, Meta};
use ulid::Ulid;
use world::{Files, RealFiles};

/// The machine's files.
pub fn files() -> Arc<dyn Files> {
    Arc::new(RealFiles)
}

/// All blocks of a directory, by their first instant.
///
/// One whose meta cannot be read is passed over; one that cannot be opened otherwise is an error, unless it was merged into another.
pub fn open_all(dir: &Path) -> Result<Vec<Block>, Failure> {
    let files = files();
    let mut blocks = Vec::new();
    let mut corrupted = BTreeMap::new();
    for (ulid, folder) in folders(dir)? {
        if Meta::read(&*files, &folder).is_err() {
            continue;
        }
        match Block::open(&files, &folder) {
            Ok(block) => blocks.push(block),
            Err(error) => {
                corrupted.insert(ulid, error);
            }
        }
    }
    for block in &blocks {
        for parent in &block.meta().compaction.parents {
            corrupted.remove(&parent.ulid);
        }
    }
    if !corrupted.is_empty() {
        let lines: Vec<String> = corrupted.iter().map(|(ulid, error)| format!("corrupted block {ulid}: {error}")).collect();
        return Err(Failure::Message(lines.join("\n")));
    }
    blocks.sort_by_key(|block| block.meta().min_time);
    Ok(blocks)
}

/// One block by its name, or the one that was made last if the name is empty.
pub fn open_one(dir: &Path, name: &str) -> Result<Block, Failure> {
    let name = if name.is_empty() { last_made(dir)?.to_string() } else { name.to_owned() };
    let folder = dir.join(&name);
    if !folder.exists() {
        return Err(Failure::Message(format!("invalid block ID {name}")));
    }
    Ok(Block::open(&files(), &folder)?)
}

fn last_made(dir: &Path) -> Result<Ulid, Failure> {
    let mut last: Option<Ulid> = None;
    for (ulid, _) in folders(dir)? {
        if last.is_none_or(|last| ulid.timestamp_ms() > last.timestamp_ms()) {
            last = Some(ulid);
        }
    }
    last.ok_or_else(|| Failure::Message("no blocks found".into()))
}

fn folders(dir: &Path) -> Result<Vec<(Ulid, std::path::PathBuf)>, Failure> {
    if !dir.exists() {
        return Err(Failure::Message(format!("opening the db dir: stat {}: no such file or directory", dir.display())));
    }
    Ok(block::folders(&*files(), dir)?)
}

/// Whether a table begins with its header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// It does.
    Shown,
    /// It goes on from the one before.
    Left,
}

/// Prints the blocks of a directory.
pub fn list(dir: &Path, human_readable: bool, out: &mut dyn Write) -> Result<(), Failure> {
    print(&open_all(dir)?, Header::Shown, human_readable, out)
}

/// Prints blocks as a table.
pub fn print(blocks: &[Block], header: Header, human_readable: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let time = |ms: i64| if human_readable { go::time(ms) } else { ms.to_string() };
    let mut rows = Vec::with_capacity(blocks.len() + 1);
    if header == Header::Shown {
        let names = ["BLOCK ULID", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "NUM CHUNKS", "NUM SERIES", "SIZE"];
        rows.push(names.map(str::to_owned).to_vec());
    }
    for block in blocks {
        let meta = block.meta();
        rows.push(vec![
            meta.ulid.to_string(),
            time(meta.min_time),
            time(meta.max_time),
            go::duration(meta.max_time.saturating_sub(meta.min_time)),
            meta.stats.samples.to_string(),
            meta.stats.chunks.to_string(),
            meta.stats.series.to_string(),
            if human_readable { go::bytes(block.size_bytes()) } else { block.size_bytes().to_string() },
        ]);
    }
    Ok(go::table(&rows, out)?)
}
