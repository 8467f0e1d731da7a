//! A disk in memory that fails on command: errors at the n-th operation, a limit on space, power cuts.
//!
//! Each file has the bytes that were written and, apart from them, those that a sync made durable; names likewise become
//! durable by a sync of their folder. A power cut leaves the durable state and, of unsynced bytes, what [`Tear`] says.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use world::{File, Files, Map, ReadAt, Space};

/// What a power cut leaves of bytes that no sync covers. A file's synced bytes always stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Lost,
    /// All: as after `kill -9`, when the machine itself goes on.
    Kept,
    /// The first half.
    Half,
    /// The first half, then zeros: the length was recorded, the bytes were not.
    Zeros,
}

/// What fails next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation with this number, from 0, fails with this error; one that appends has written half. Later ones work.
    Once(u64, ErrorKind),
    /// All operations from this number on fail, and nothing changes any more: the power is off. The one with this number,
    /// if it appends, has written half.
    PowerOff(u64),
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Names as running programs see them.
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are after a power cut.
    durable_names: BTreeMap<PathBuf, usize>,
    folders: Vec<PathBuf>,
    contents: Vec<Content>,
    operations: u64,
    fault: Option<Fault>,
    space: Option<usize>,
    broken: Option<(String, ErrorKind)>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

impl Disk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Operations done so far: what a [`Fault`]'s number counts.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Sets what fails, or nothing.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// Sets how many bytes all files together may have; what would exceed it is written in part and fails.
    pub fn set_space(&self, bytes: Option<usize>) {
        self.lock().space = bytes;
    }

    /// From now on whatever would change a path that contains this text fails with this error; an append writes half. `None`
    /// makes all work again.
    pub fn set_broken(&self, part: Option<(&str, ErrorKind)>) {
        self.lock().broken = part.map(|(text, kind)| (text.to_owned(), kind));
    }

    /// The disk as found after the power came back. The old one is as if it never were.
    pub fn after_power_cut(&self, tear: Tear) -> Self {
        let state = self.lock();
        let contents = state.contents.iter().map(|content| {
            let bytes = content.after(tear);
            Content { durable: bytes.clone(), bytes }
        });
        let names = if tear == Tear::Kept { &state.names } else { &state.durable_names };
        Self(Arc::new(Mutex::new(State {
            names: names.clone(),
            durable_names: names.clone(),
            folders: state.folders.clone(),
            contents: contents.collect(),
            operations: 0,
            fault: None,
            space: None,
            broken: None,
        })))
    }

    /// Replaces a file's bytes, for tests that damage them.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.lock();
        let content = state.contents.len();
        state.contents.push(Content { durable: bytes.clone(), bytes });
        state.names.insert(path.to_owned(), content);
        state.durable_names.insert(path.to_owned(), content);
    }

    /// All files as running programs see them, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    /// Flips a bit of a file, whose number may be anything; an empty file stays as it is. Bytes already mapped or read stay too.
    pub fn flip_bit(&self, path: &Path, bit: u64) {
        let mut state = self.lock();
        let Some(content) = state.names.get(path).copied() else { return };
        let Content { bytes, durable } = &mut state.contents[content];
        let bits = bytes.len() as u64 * 8;
        if bits > 0 {
            let (at, mask) = ((bit % bits / 8) as usize, 1 << (bit % 8));
            bytes[at] ^= mask;
            if let Some(byte) = durable.get_mut(at) {
                *byte ^= mask;
            }
        }
    }

    /// Bytes of all files together.
    pub fn used(&self) -> usize {
        let state = self.lock();
        state.names.values().map(|content| state.contents[*content].bytes.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn after(&self, tear: Tear) -> Vec<u8> {
        // A cut that was not synced may or may not have happened; here it has, as far as it meets synced bytes.
        let common = self.durable.iter().zip(&self.bytes).take_while(|(a, b)| a == b).count();
        let unsynced = &self.bytes[common..];
        let half = unsynced.len() / 2;
        match tear {
            Tear::Lost => self.durable.clone(),
            Tear::Kept => self.bytes.clone(),
            Tear::Half => [&self.bytes[..common], &unsynced[..half]].concat(),
            Tear::Zeros => [&self.bytes[..common], &unsynced[..half], &vec![0; unsynced.len() - half]].concat(),
        }
    }
}

impl State {
    /// Counts an operation and fails it if it is its turn.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some(Fault::Once(at, kind)) if at == number => Err(kind.into()),
            Some(Fault::PowerOff(at)) if at <= number => Err(io::Error::other("power is off")),
            _ => Ok(()),
        }
    }

    /// Fails a change to a path if it is to.
    fn change(&self, path: &Path) -> io::Result<()> {
        match &self.broken {
            Some((text, kind)) if path.to_string_lossy().contains(text) => Err((*kind).into()),
            _ => Ok(()),
        }
    }

    /// [`Self::change`] of the path that leads to a content.
    fn change_content(&self, content: usize) -> io::Result<()> {
        let path = self.names.iter().find(|(_, known)| **known == content);
        path.map_or(Ok(()), |(path, _)| self.change(path))
    }

    fn is_off(&self) -> bool {
        matches!(self.fault, Some(Fault::PowerOff(at)) if at + 1 < self.operations)
    }

    /// A folder's new name takes effect at once, also for what is durable below it: that was synced under the old name.
    fn rename_folder(&mut self, from: &Path, to: &Path) {
        let moved = |path: &PathBuf| path.strip_prefix(from).map_or_else(|_| path.clone(), |rest| to.join(rest));
        for names in [&mut self.names, &mut self.durable_names] {
            *names = names.iter().map(|(path, content)| (moved(path), *content)).collect();
        }
        // Joining an empty rest would add a slash at the end.
        self.folders = self.folders.iter().map(|path| if path == from { to.to_owned() } else { moved(path) }).collect();
    }

    fn of(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

struct Handle {
    disk: Disk,
    content: usize,
}

impl File for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let mut outcome = state.operate().and_then(|()| state.change_content(self.content));
        let mut len = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        if state.is_off() {
            return outcome;
        }
        let used: usize = state.names.values().map(|content| state.contents[*content].bytes.len()).sum();
        let left = state.space.map_or(usize::MAX, |space| space.saturating_sub(used));
        if len > left {
            len = left;
            outcome = Err(ErrorKind::StorageFull.into());
        }
        state.contents[self.content].bytes.extend_from_slice(&bytes[..len]);
        outcome
    }
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate()?;
        state.change_content(self.content)?;
        let content = &mut state.contents[self.content];
        content.durable.clone_from(&content.bytes);
        Ok(())
    }
    fn duplicate(&self) -> io::Result<Box<dyn File>> {
        self.disk.lock().operate()?;
        Ok(Box::new(Self { disk: self.disk.clone(), content: self.content }))
    }
}

impl Files for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        state.operate()?;
        state.change(path)?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let content = state.contents.len();
        state.contents.push(Content::default());
        state.names.insert(path.to_owned(), content);
        Ok(Box::new(Handle { disk: self.clone(), content }))
    }
    fn open_cut(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        state.operate()?;
        state.change(path)?;
        let content = state.of(path)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.contents[content].bytes.resize(len, 0);
        Ok(Box::new(Handle { disk: self.clone(), content }))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        state.operate()?;
        let content = state.of(path)?;
        Ok(state.contents[content].bytes.clone())
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.lock();
        state.operate()?;
        if !state.folders.iter().any(|known| known == folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let here = state.names.keys().chain(&state.folders).filter(|path| path.parent() == Some(folder));
        Ok(here.cloned().collect())
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.change(folder)?;
        for path in folder.ancestors() {
            if !state.folders.iter().any(|known| known == path) {
                state.folders.push(path.to_owned());
            }
        }
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.change(from).and_then(|()| state.change(to))?;
        if state.folders.iter().any(|known| known == from) {
            state.rename_folder(from, to);
            return Ok(());
        }
        let content = state.of(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), content);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.change(path)?;
        state.of(path)?;
        state.names.remove(path);
        Ok(())
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.change(folder)?;
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(folder));
        let here = names.iter().filter(|(path, _)| path.parent() == Some(folder));
        durable_names.extend(here.map(|(path, content)| (path.clone(), *content)));
        Ok(())
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.lock();
        state.operate()?;
        let content = state.of(path)?;
        Ok(state.contents[content].bytes.len() as u64)
    }
    fn map(&self, path: &Path) -> io::Result<Arc<Map>> {
        self.read(path).map(|bytes| Arc::new(Map::from(bytes)))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let mut state = self.lock();
        state.operate()?;
        let content = state.of(path)?;
        Ok(Arc::new(Handle { disk: self.clone(), content }))
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.change(to)?;
        let content = state.of(from)?;
        if state.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.names.insert(to.to_owned(), content);
        Ok(())
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.change(folder)?;
        if !state.folders.iter().any(|known| known == folder) {
            return Err(ErrorKind::NotFound.into());
        }
        state.names.retain(|path, _| !path.starts_with(folder));
        state.folders.retain(|path| !path.starts_with(folder));
        Ok(())
    }
    fn space(&self, _path: &Path) -> io::Result<Space> {
        let mut state = self.lock();
        state.operate()?;
        let used: usize = state.names.values().map(|content| state.contents[*content].bytes.len()).sum();
        let total = state.space.unwrap_or(1 << 40);
        Ok(Space { total: total as u64, available: total.saturating_sub(used) as u64 })
    }
}

impl ReadAt for Handle {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate()?;
        let bytes = &state.contents[self.content].bytes;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = start.checked_add(buffer.len()).and_then(|end| bytes.get(start..end)).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}
