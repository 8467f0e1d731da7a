//! Makes a damaged segment one that a sequential reader, as Prometheus's is, passes without error.

use std::io;
use std::path::Path;

use world::Files;

use super::read::Damage;
use super::segment::{Gap, SegmentIndex};

/// Missing segments that are replaced by empty ones: more are no segments that went lost, but a file with a strange name.
const FILLED_MAX: u32 = 1024;

/// Replaces a damaged segment by its whole records.
///
/// Done after a dirty start, before the first write. The order is: the damaged file into `damaged_folder`
/// unless it was merely torn, fsync, the good part aside, fsync, rename over the segment, fsync the folder. Interrupted anywhere,
/// the segment is either as it was or repaired, and doing it again is harmless.
///
/// # Errors
/// The operating system's; the segment is then still the damaged one.
pub fn repair(files: &dyn Files, damage: &Damage, damaged_folder: &Path) -> io::Result<()> {
    let segment = &damage.path;
    let folder = segment.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // With its folder's, which is the log's or a checkpoint's: both begin with segment 0.
    let of = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).ok_or(io::ErrorKind::InvalidInput);
    let name = format!("{}-{}", of(folder)?, of(segment)?);
    let content = files.read(segment)?;
    let good_len = usize::try_from(damage.good_len).unwrap_or(usize::MAX).min(content.len());
    files.create_folder(damaged_folder)?;
    if !damage.fault.is_torn() {
        write(files, &damaged_folder.join(&name), &content)?;
        files.sync_folder(damaged_folder)?;
    }
    let aside = damaged_folder.join(format!("{name}.good"));
    write(files, &aside, &content[..good_len])?;
    files.rename(&aside, segment)?;
    files.sync_folder(folder)
}

/// Puts empty segments where some are missing, durably. A gap of more than a thousand stays: it is not worth as many files.
/// Interrupted anywhere, doing it again is harmless.
///
/// # Errors
/// The operating system's; some may be there.
pub fn fill(files: &dyn Files, gap: &Gap) -> io::Result<()> {
    if gap.next.0.saturating_sub(gap.first.0) > FILLED_MAX {
        return Ok(());
    }
    for missing in gap.first.0..gap.next.0 {
        match files.create_new(&SegmentIndex(missing).path(&gap.folder)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    files.sync_folder(&gap.folder)
}

/// Writes a file durably; what an interrupted attempt left is overwritten.
fn write(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = match files.create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_cut(path, 0)?,
        other => other?,
    };
    file.append(bytes)?;
    file.sync()
}
