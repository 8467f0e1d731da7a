//! A log that cannot be written: the commit fails and shows nothing, and later commits lose nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::{Appender, Batch, CommitError, Committed, Interval, Queryable, Row, RowSeries, RowValue, SelectHints};
use tsdb::{Db, Options};
use world::{File, Files, Map, ReadAt, RealFiles, Space};

const ALL: Interval = Interval { start: Timestamp::MIN, end: Timestamp::MAX };

/// Files on a disk that is full while the flag is set.
struct Disk(Arc<AtomicBool>);
struct OnDisk(Box<dyn File>, Arc<AtomicBool>);

impl File for OnDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.1.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.append(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn duplicate(&self) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Self(self.0.duplicate()?, self.1.clone())))
    }
}

impl Files for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OnDisk(RealFiles.create_new(path)?, self.0.clone())))
    }
    fn open_cut(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OnDisk(RealFiles.open_cut(path, len)?, self.0.clone())))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealFiles.read(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealFiles.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.create_folder(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.sync_folder(folder)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFiles.len(path)
    }
    fn map(&self, path: &Path) -> io::Result<Arc<Map>> {
        RealFiles.map(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        RealFiles.open(path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.hard_link(from, to)
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.remove_folder(folder)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        RealFiles.space(path)
    }
}

#[test]
fn series_created_on_a_full_disk_are_logged_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let mut options = Options::new(dir.path());
    options.files = Arc::new(Disk(full.clone()));
    let db = Db::open(options).unwrap();
    let mut result = Committed::default();
    let mut batch = Batch { labels: vec![Labels::from_pairs([("__name__", "m")])], ..Batch::default() };
    batch.rows.push(Row { series: RowSeries::Labels(0), start: Timestamp(0), timestamp: Timestamp(1), value: RowValue::Float(1.0) });

    full.store(true, Ordering::Release);
    for _ in 0..2 {
        assert!(matches!(db.commit(&batch, &mut result), Err(CommitError::Log(_))));
        assert!(db.select(ALL, &[], &SelectHints::default()).unwrap().series.is_empty());
    }
    assert_eq!(db.stats().wal_writes_failed, 2);

    full.store(false, Ordering::Release);
    db.commit(&batch, &mut result).unwrap();
    assert_eq!(result.stored, 1);
    drop(db);
    let again = Db::open(Options::new(dir.path())).unwrap();
    assert_eq!(again.select(ALL, &[], &SelectHints::default()).unwrap().series.len(), 1);
}
