//! Segments: the log's files, numbered without gaps unless some were lost.

use std::io;
use std::path::{Path, PathBuf};

use world::Files;

/// A segment's number, which is its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub u32);

impl SegmentIndex {
    /// The number that a file's name is, if it is one.
    pub fn of(path: &Path) -> Option<Self> {
        number(path.file_name()?.to_str()?)
    }

    /// The segment's file in the log's folder.
    pub fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:08}", self.0))
    }
}

/// What a log's folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The segments in order.
    pub segments: Vec<Segment>,
    /// The checkpoints in order: each stands for the segments up to the one it names.
    pub checkpoints: Vec<Checkpoint>,
    /// Segments that are missing before others, of those that no checkpoint stands for.
    pub gaps: Vec<Gap>,
}

/// Segments that are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The folder that they are missing in.
    pub folder: PathBuf,
    /// The first of them.
    pub first: SegmentIndex,
    /// The segment behind them, which is there.
    pub next: SegmentIndex,
}

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub index: SegmentIndex,
    /// Where it is.
    pub path: PathBuf,
}

/// A checkpoint's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last segment that it stands for.
    pub last: SegmentIndex,
    /// Where it is.
    pub path: PathBuf,
}

/// Why the segments cannot be told: the folder could not be read.
#[derive(Debug, thiserror::Error)]
#[error("list segments of {folder}: {error}", folder = folder.display())]
pub struct ListError {
    /// The log's folder.
    pub folder: PathBuf,
    /// What the operating system said.
    pub error: io::Error,
}

/// Lists a log's folder. Files of other names are not ours and left alone; a missing folder is an empty log.
///
/// # Errors
/// [`ListError`].
pub fn list(files: &dyn Files, folder: &Path) -> Result<Layout, ListError> {
    let paths = match files.list(folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Layout::default()),
        Err(error) => return Err(ListError { folder: folder.to_owned(), error }),
    };
    let mut layout = Layout::default();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(index) = number(name) {
            layout.segments.push(Segment { index, path });
        } else if let Some(last) = name.strip_prefix(CHECKPOINT_PREFIX).and_then(number) {
            layout.checkpoints.push(Checkpoint { last, path });
        }
    }
    layout.segments.sort_by_key(|segment| segment.index);
    layout.checkpoints.sort_by_key(|checkpoint| checkpoint.last);
    // Segments that a checkpoint stands for are deleted in any order when the power fails.
    let expected = layout.checkpoints.last().map(|checkpoint| SegmentIndex(checkpoint.last.0.saturating_add(1)));
    layout.gaps = gaps(folder, layout.after_checkpoint(), expected);
    Ok(layout)
}

/// Where numbers are missing, also before the first segment if that is to be a certain one.
pub(super) fn gaps(folder: &Path, segments: &[Segment], mut expected: Option<SegmentIndex>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for segment in segments {
        if let Some(first) = expected.filter(|expected| *expected < segment.index) {
            gaps.push(Gap { folder: folder.to_owned(), first, next: segment.index });
        }
        expected = segment.index.0.checked_add(1).map(SegmentIndex);
    }
    gaps
}

impl Layout {
    /// The segments that no checkpoint stands for.
    pub fn after_checkpoint(&self) -> &[Segment] {
        let last = self.checkpoints.last().map(|checkpoint| checkpoint.last);
        let first = self.segments.partition_point(|segment| last.is_some_and(|last| segment.index <= last));
        &self.segments[first..]
    }

    /// Where all segments are, in order.
    pub fn into_paths(self) -> Vec<PathBuf> {
        self.segments.into_iter().map(|segment| segment.path).collect()
    }

    /// Bytes of the segments from one on.
    pub fn bytes_from(&self, files: &dyn Files, from: SegmentIndex) -> u64 {
        self.segments.iter().filter(|segment| segment.index >= from).map(|segment| files.len(&segment.path).unwrap_or(0)).sum()
    }

    /// The number that a new segment gets: above every segment's and every checkpoint's.
    pub fn next_index(&self) -> SegmentIndex {
        let segment = self.segments.last().map(|segment| segment.index);
        let checkpoint = self.checkpoints.last().map(|checkpoint| checkpoint.last);
        segment.max(checkpoint).map_or(SegmentIndex(0), |last| SegmentIndex(last.0.saturating_add(1)))
    }
}

/// Deletes a log's segments below `before`, oldest first; answers how many. Other files stay.
///
/// # Errors
/// The operating system's; older ones may be deleted.
pub fn remove_before(files: &dyn Files, folder: &Path, before: SegmentIndex) -> io::Result<usize> {
    let mut segments: Vec<_> =
        files.list(folder)?.into_iter().filter_map(|path| Some((number(path.file_name()?.to_str()?)?, path))).collect();
    segments.retain(|(index, _)| *index < before);
    segments.sort();
    for (_, path) in &segments {
        files.remove(path)?;
    }
    if !segments.is_empty() {
        files.sync_folder(folder)?;
    }
    Ok(segments.len())
}

/// Bytes of all segments in a log's folder and of its checkpoints.
///
/// # Errors
/// The operating system's, but for what is deleted meanwhile.
pub fn size_bytes(files: &dyn Files, folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in unless_gone(files.list(&folder))? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with(CHECKPOINT_PREFIX) {
                folders.push(path);
            } else if number(name).is_some() {
                sum += unless_gone(files.len(&path))?;
            }
        }
    }
    Ok(sum)
}

fn unless_gone<T: Default>(found: io::Result<T>) -> io::Result<T> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}

/// Checkpoints are folders of segments: this and the number of the last segment they stand for.
pub(super) const CHECKPOINT_PREFIX: &str = "checkpoint.";

fn number(name: &str) -> Option<SegmentIndex> {
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok().map(SegmentIndex)).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use world::RealFiles;

    #[test]
    fn lists_segments_in_order_and_names_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(folder.path().join(name), b"").unwrap();
        assert_eq!(list(&RealFiles, &folder.path().join("none")).unwrap(), Layout::default());
        for name in ["00000003", "00000002", "00000004.repair", "series_state.json", "checkpoint.00000001", "checkpoint.00000007.tmp"] {
            touch(name);
        }
        let layout = list(&RealFiles, folder.path()).unwrap();
        assert_eq!(layout.segments.iter().map(|s| s.index.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(layout.checkpoints.iter().map(|c| c.last.0).collect::<Vec<_>>(), [1]);
        assert_eq!(layout.next_index(), SegmentIndex(4));
        assert_eq!(layout.gaps, []);
        for name in ["00000006", "00000009", "checkpoint.00000000"] {
            touch(name);
        }
        let gap = |first, next| Gap { folder: folder.path().to_owned(), first: SegmentIndex(first), next: SegmentIndex(next) };
        assert_eq!(list(&RealFiles, folder.path()).unwrap().gaps, [gap(4, 6), gap(7, 9)]);
        touch("checkpoint.00000004");
        assert_eq!(list(&RealFiles, folder.path()).unwrap().gaps, [gap(5, 6), gap(7, 9)], "a checkpoint needs no segments before it");
    }
}
