//! Repair of what an old Prometheus got wrong.

use super::{BlockError, Meta, index, replace_file};
use std::path::Path;
use world::Files;

/// Prometheus 2.1 wrote the version of the index, 2, into the meta, and into the index the old 1. Puts both right, durably;
/// says whether there was anything to do.
///
/// # Errors
/// When a file cannot be read or replaced, or the meta has yet another version.
pub fn repair_version(files: &dyn Files, block: &Path) -> Result<bool, BlockError> {
    let (meta, version) = Meta::read_any(files, block)?;
    match version {
        1 => return Ok(false),
        2 => {}
        _ => return Err(BlockError::Version { block: block.to_owned(), version }),
    }
    let path = block.join(index::FILE_NAME);
    let mut bytes = files.read(&path).map_err(|error| BlockError::io(&path, error))?;
    let place = bytes.get_mut(index::VERSION_PLACE).ok_or_else(|| BlockError::Corrupt(format!("{}: invalid size", path.display())))?;
    *place = 2;
    replace_file(files, block, index::FILE_NAME, &bytes)?;
    meta.write(files, block)?;
    Ok(true)
}
