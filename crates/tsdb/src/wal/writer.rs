//! The log's single writer: callers enqueue, one of them writes for all.
//!
//! A caller encodes and compresses its records on its own thread, then puts them into the queue under a short lock; the
//! order of these calls is the order in the log. Of the callers that wait, the first becomes the leader: it takes the
//! writer and all that is pending (a *group*), writes it with one call outside the lock, and wakes the others.
//!
//! # Invariants
//! - A group lies in one segment, so a failed write is undone by cutting that segment to where the group began.
//! - After a failed write or sync nothing is written before the damaged tail has been cut away.
//! - At most [`Options::pending_bytes_max`] bytes (or one caller's records) are pending; whoever would exceed it waits.
//! - `State::writer` is `None` exactly while a leader works. No lock is held while a file is touched.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use storage::SeriesRef;
use world::{File, Files};

use super::checkpoint::{self, CheckpointError};
use super::compress::{Compression, Compressor};
use super::page;
use super::segment::{self, SegmentIndex};

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment that would grow beyond this many bytes is followed by a new one; a group larger than this gets its own.
    pub segment_bytes_max: u64,
    /// How records are compressed.
    pub compression: Compression,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Callers wait while more than this is pending.
    pub pending_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 128 << 20,
            compression: Compression::Snappy,
            durability: Durability::Interval,
            pending_bytes_max: 64 << 20,
        }
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The operating system has the records; they survive the process. The owner calls [`Wal::sync`] now and then, and a
    /// power cut loses what came after the last call.
    Interval,
    /// The disk has the records.
    EachWrite,
}

/// Records to be logged together, one after another, in one buffer that its owner reuses.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    /// No records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the record that `encode` appends to the buffer, which it must not shorten; nothing if it appends nothing.
    pub fn add<T>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.bytes.len();
        let answer = encode(&mut self.bytes);
        assert!(self.bytes.len() >= before, "a record's encoder only appends");
        if self.bytes.len() > before {
            self.ends.push(self.bytes.len());
        }
        answer
    }

    /// Adds the records of another.
    pub fn append(&mut self, other: &Self) {
        for record in other.iter() {
            self.add(|bytes| bytes.extend_from_slice(record));
        }
    }

    /// Bytes of all records.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the records, keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// A place in the log's queue; [`Wal::wait`] makes an acknowledgement of it. Dropped, its records are still written.
#[derive(Debug)]
#[must_use = "records are acknowledged by waiting for their ticket"]
pub struct Ticket(Arc<Group>);

/// Records that are written together share their fate.
#[derive(Debug, Default)]
struct Group {
    outcome: OnceLock<Result<(), Failure>>,
}

/// An `io::Error` for each of several waiters.
#[derive(Clone, Debug)]
struct Failure {
    kind: io::ErrorKind,
    message: Arc<str>,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), message: error.to_string().into() }
    }
    fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.message.to_string())
    }
}

/// The write-ahead log of a run.
pub struct Wal {
    files: Arc<dyn Files>,
    folder: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Something in `state` changed that a waiter may wait for.
    changed: Condvar,
}

struct State {
    pending: Pending,
    /// The buffers of the group before, to be filled again.
    spare: Pending,
    group: Arc<Group>,
    writer: Option<Writer>,
    /// The segment being written, as of the last finished group.
    segment: SegmentIndex,
    /// Files that hold bytes which no sync covers yet.
    unsynced: Vec<Arc<dyn File>>,
    /// Syncs that failed: the segment being written is not to be trusted any more,
    sync_failures: u64,
    /// until a group has been written after as many failures as this.
    sync_failures_overcome: u64,
}

/// Compressed records that wait to be written.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    records: Vec<PendingRecord>,
}

struct PendingRecord {
    end: usize,
    flags: u8,
}

/// What only the leader touches.
struct Writer {
    index: SegmentIndex,
    /// The segment's length up to the last group that was written whole.
    good_len: u64,
    output: Output,
    framed: Vec<u8>,
}

enum Output {
    Open {
        file: Box<dyn File>,
        to_sync: Arc<dyn File>,
    },
    /// The file may hold more than `good_len` bytes, which must be cut before anything else is written.
    Damaged {
        full_disk: bool,
    },
}

thread_local! {
    /// Compression's table and target: once a thread, as records outnumber threads.
    static SCRATCH: RefCell<(Compressor, Pending)> = RefCell::new((Compressor::new(), Pending::default()));
}

impl Wal {
    /// Opens a log in `folder` for writing: creates the folder if need be, and always a new segment. What earlier runs left is made
    /// durable first: it has been read by now, so from here on it counts as being there.
    ///
    /// # Errors
    /// The operating system's, or `InvalidData` when segments are missing.
    pub fn create(files: Arc<dyn Files>, folder: &Path, options: Options) -> io::Result<Self> {
        files.create_folder(folder)?;
        let layout = segment::list(&*files, folder).map_err(|failed| failed.error)?;
        for segment in layout.after_checkpoint() {
            // Syncing what is clean costs nothing.
            files.len(&segment.path).and_then(|len| files.open_cut(&segment.path, len))?.sync()?;
        }
        let index = layout.next_index();
        let output = open_new(&*files, folder, index)?;
        files.sync_folder(folder)?;
        Ok(Self {
            files,
            folder: folder.to_owned(),
            options,
            state: Mutex::new(State {
                pending: Pending::default(),
                spare: Pending::default(),
                group: Arc::default(),
                writer: Some(Writer { index, good_len: 0, output, framed: Vec::new() }),
                segment: index,
                unsynced: Vec::new(),
                sync_failures: 0,
                sync_failures_overcome: 0,
            }),
            changed: Condvar::new(),
        })
    }

    /// The segment that the last finished group went to.
    pub fn segment(&self) -> SegmentIndex {
        self.lock().segment
    }

    /// Puts records into the queue, in the order of the calls. They are written when somebody waits for a ticket, or
    /// syncs, or the queue is full.
    pub fn enqueue(&self, records: &Records) -> Ticket {
        SCRATCH.with_borrow_mut(|(compressor, scratch)| {
            scratch.clear();
            for record in records.iter() {
                scratch.add(compressor, self.options.compression, record);
            }
            let mut state = self.lock();
            while !state.pending.bytes.is_empty() && state.pending.bytes.len() + scratch.bytes.len() > self.options.pending_bytes_max {
                state = self.lead_or_wait(state);
            }
            state.pending.append(scratch);
            Ticket(state.group.clone())
        })
    }

    /// Waits until a ticket's records are in the log.
    ///
    /// # Errors
    /// The operating system's: the records are not in the log. The log stays usable; later records may succeed.
    pub fn wait(&self, ticket: Ticket) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            if let Some(outcome) = ticket.0.outcome.get() {
                return outcome.as_ref().copied().map_err(Failure::error);
            }
            state = self.lead_or_wait(state);
        }
    }

    /// Logs records: [`Wal::enqueue`], then [`Wal::wait`].
    ///
    /// # Errors
    /// As [`Wal::wait`].
    pub fn log(&self, records: &Records) -> io::Result<()> {
        let ticket = self.enqueue(records);
        self.wait(ticket)
    }

    /// Writes what is pending, then makes all that was written durable. Others go on writing meanwhile.
    ///
    /// # Errors
    /// The operating system's: what was acknowledged since the last sync may be lost in a power cut. It stays an error until
    /// a group has been written to a segment that can be trusted.
    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        let group = state.group.clone();
        while !state.pending.records.is_empty() && group.outcome.get().is_none() {
            state = self.lead_or_wait(state);
        }
        // A leader at work now adds its file to the list for the next sync; waiting for it could take forever under load.
        let unsynced = std::mem::take(&mut state.unsynced);
        let failed_before = state.sync_failures != state.sync_failures_overcome;
        drop(state);
        if failed_before {
            return Err(io::Error::other("an earlier sync of the log failed, and nothing could be written since"));
        }
        if unsynced.is_empty() {
            return group.outcome.get().map_or(Ok(()), |outcome| outcome.as_ref().copied().map_err(Failure::error));
        }
        let synced = unsynced.iter().try_for_each(|file| file.sync()).and_then(|()| self.files.sync_folder(&self.folder));
        if let Err(error) = synced {
            // The kernel may have dropped the pages it could not write, so trying again may only seem to succeed: it does not count as success
            // before something has been written elsewhere. It is done all the same, for the files that were not to blame.
            let mut state = self.lock();
            state.sync_failures += 1;
            for file in unsynced {
                if !state.unsynced.iter().any(|known| Arc::ptr_eq(known, &file)) {
                    state.unsynced.push(file);
                }
            }
            return Err(error);
        }
        group.outcome.get().map_or(Ok(()), |outcome| outcome.as_ref().copied().map_err(Failure::error))
    }

    /// Writes what is pending and begins a new segment, unless the one being written is empty; answers its number. Records
    /// that were enqueued before this call lie in segments below it, or their tickets fail.
    ///
    /// # Errors
    /// The operating system's; the log stays usable, and its segment may be the old or a new one.
    pub fn begin_segment(&self) -> io::Result<SegmentIndex> {
        let mut state = self.lock();
        let group = state.group.clone();
        while !state.pending.records.is_empty() && group.outcome.get().is_none() {
            state = self.lead_or_wait(state);
        }
        let mut writer = loop {
            match state.writer.take() {
                Some(writer) => break writer,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        let sync_failed = state.sync_failures != state.sync_failures_overcome;
        drop(state);

        let mut finished = Vec::new();
        let begun = writer.begin_segment(self, sync_failed, &mut finished);
        let index = writer.index;
        let mut state = self.lock();
        state.unsynced.extend(finished);
        state.segment = index;
        state.writer = Some(writer);
        self.changed.notify_all();
        begun.map(|()| index)
    }

    /// Deletes segments below `before`, but never the one being written; answers how many. Checkpoints stay.
    ///
    /// # Errors
    /// The operating system's; older segments may be deleted.
    pub fn truncate_before(&self, before: SegmentIndex) -> io::Result<usize> {
        segment::remove_before(&*self.files, &self.folder, before.min(self.segment()))
    }

    /// Replaces old segments, which must be below the one being written, by a checkpoint that is compressed as the log is:
    /// see [`checkpoint::write`].
    ///
    /// # Errors
    /// [`CheckpointError`]; the log stays as it was.
    pub fn checkpoint(
        &self,
        request: &checkpoint::Request,
        keep: impl FnMut(SeriesRef) -> bool,
    ) -> Result<checkpoint::Stats, CheckpointError> {
        self.checkpoint_telling(request, keep, |_, _| false)
    }

    /// Likewise, with records before all others: `tell` adds them, piece by piece, as long as it says that there is more.
    ///
    /// # Errors
    /// [`CheckpointError`]; the log stays as it was.
    pub fn checkpoint_telling(
        &self,
        request: &checkpoint::Request,
        keep: impl FnMut(SeriesRef) -> bool,
        tell: impl FnMut(u32, &mut Records) -> bool,
    ) -> Result<checkpoint::Stats, CheckpointError> {
        if request.last >= self.segment() {
            return Err(CheckpointError::Range { last: request.last });
        }
        checkpoint::write(&self.files, &self.folder, &self.options, request, keep, tell)
    }

    /// Bytes of all segments and checkpoints in the log's folder.
    ///
    /// # Errors
    /// The operating system's.
    pub fn size_bytes(&self) -> io::Result<u64> {
        segment::size_bytes(&*self.files, &self.folder)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is to be done next for anybody who waits: writes the pending group, or waits for whoever writes.
    fn lead_or_wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(mut writer) = state.writer.take() else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let spare = std::mem::take(&mut state.spare);
        let mut taken = std::mem::replace(&mut state.pending, spare);
        let group = std::mem::take(&mut state.group);
        let sync_failures = state.sync_failures;
        let sync_failed = sync_failures != state.sync_failures_overcome;
        drop(state);

        let mut finished = Vec::new();
        if sync_failed && !taken.records.is_empty() {
            writer.output = Output::Damaged { full_disk: false };
        }
        let written = writer.write(self, &taken, &mut finished);

        let mut state = self.lock();
        if written.is_ok() && !taken.records.is_empty() {
            state.sync_failures_overcome = sync_failures;
        }
        taken.clear();
        if written.is_ok()
            && self.options.durability == Durability::Interval
            && let Output::Open { to_sync, .. } = &writer.output
        {
            finished.push(to_sync.clone());
        }
        for file in finished {
            if !state.unsynced.iter().any(|known| Arc::ptr_eq(known, &file)) {
                state.unsynced.push(file);
            }
        }
        state.segment = writer.index;
        state.spare = taken;
        state.writer = Some(writer);
        let outcome = group.outcome.set(written.map_err(|error| Failure::of(&error)));
        debug_assert!(outcome.is_ok(), "a group has one leader");
        self.changed.notify_all();
        state
    }
}

impl Drop for Wal {
    /// Writes what nobody waited for, and cuts what a failed write left; the owner has synced before if that matters to it.
    fn drop(&mut self) {
        let mut state = self.lock();
        if !state.pending.records.is_empty() && state.writer.is_some() {
            state = self.lead_or_wait(state);
        }
        let writer = state.writer.take();
        drop(state);
        if let Some(Writer { index, good_len, output: Output::Damaged { .. }, .. }) = writer {
            // Nobody is left to be told; the next start repairs what stays damaged.
            let _ = self.files.open_cut(&index.path(&self.folder), good_len);
        }
    }
}

impl Writer {
    /// Writes a group. `finished` gets the segments that were left behind on the way, to be synced.
    fn write(&mut self, wal: &Wal, pending: &Pending, finished: &mut Vec<Arc<dyn File>>) -> io::Result<()> {
        if pending.records.is_empty() {
            return Ok(());
        }
        if let Output::Damaged { full_disk } = self.output {
            self.recover(wal, full_disk)?;
        }
        let len_max: usize = pending.slices().map(|(_, data)| page::record_len_max(data.len())).sum();
        if self.good_len > 0 && self.good_len + len_max as u64 > wal.options.segment_bytes_max {
            self.roll(wal, finished)?;
        }
        self.framed.clear();
        for (flags, data) in pending.slices() {
            page::put_record(&mut self.framed, self.good_len, flags, data);
        }
        let Output::Open { file, .. } = &mut self.output else { return Err(io::ErrorKind::Other.into()) };
        let mut written = file.append(&self.framed);
        if written.is_ok() && wal.options.durability == Durability::EachWrite {
            written = file.sync();
        }
        match written {
            Ok(()) => self.good_len += self.framed.len() as u64,
            Err(ref error) => self.output = Output::Damaged { full_disk: is_full(error) },
        }
        written
    }

    /// Begins a new segment, if this one has anything in it.
    fn begin_segment(&mut self, wal: &Wal, sync_failed: bool, finished: &mut Vec<Arc<dyn File>>) -> io::Result<()> {
        if sync_failed {
            self.output = Output::Damaged { full_disk: false };
        }
        if let Output::Damaged { full_disk } = self.output {
            self.recover(wal, full_disk)?;
        }
        if self.good_len > 0 { self.roll(wal, finished) } else { Ok(()) }
    }

    /// Fills up the last page and begins the next segment.
    fn roll(&mut self, wal: &Wal, finished: &mut Vec<Arc<dyn File>>) -> io::Result<()> {
        let filling = page::filling_len(self.good_len);
        let Output::Open { file, to_sync } = &mut self.output else { return Err(io::ErrorKind::Other.into()) };
        let mut filled = file.append(&[0; page::PAGE_LEN][..filling]);
        if filled.is_ok() && wal.options.durability == Durability::EachWrite {
            filled = file.sync();
        }
        if let Err(error) = filled {
            self.output = Output::Damaged { full_disk: is_full(&error) };
            return Err(error);
        }
        self.good_len += filling as u64;
        let left_behind = to_sync.clone();
        self.begin_next(wal)?;
        finished.push(left_behind);
        Ok(())
    }

    fn begin_next(&mut self, wal: &Wal) -> io::Result<()> {
        let next = SegmentIndex(self.index.0.checked_add(1).ok_or(io::ErrorKind::Other)?);
        let output = open_new(&*wal.files, &wal.folder, next)?;
        if wal.options.durability == Durability::EachWrite {
            // Nothing goes there before its name is durable: no later write would see to that.
            wal.files.sync_folder(&wal.folder)?;
        }
        self.output = output;
        self.index = next;
        self.good_len = 0;
        Ok(())
    }

    /// Cuts the damaged tail. A full disk is no fault of the file's, so it is written on; else a new segment begins,
    /// unless the old one is empty: a disk that fails every write must not be filled with empty files.
    fn recover(&mut self, wal: &Wal, full_disk: bool) -> io::Result<()> {
        let file = wal.files.open_cut(&self.index.path(&wal.folder), self.good_len)?;
        let to_sync: Arc<dyn File> = Arc::from(file.duplicate()?);
        // The cut has to be durable before later records are, else a power cut could leave the tail in between.
        file.sync()?;
        if full_disk || self.good_len == 0 {
            self.output = Output::Open { file, to_sync };
            return Ok(());
        }
        self.begin_next(wal)
    }
}

impl Pending {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    fn add(&mut self, compressor: &mut Compressor, compression: Compression, record: &[u8]) {
        let flags = compressor.put(compression, record, &mut self.bytes);
        self.records.push(PendingRecord { end: self.bytes.len(), flags });
    }

    fn append(&mut self, other: &Self) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.records.extend(other.records.iter().map(|record| PendingRecord { end: start + record.end, flags: record.flags }));
    }

    fn slices(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|record| record.end));
        starts.zip(&self.records).map(|(start, record)| (record.flags, &self.bytes[start..record.end]))
    }
}

fn open_new(files: &dyn Files, folder: &Path, index: SegmentIndex) -> io::Result<Output> {
    let path = index.path(folder);
    let file = match files.create_new(&path) {
        // The number is above all that there were at the start: an attempt of this run failed after creating it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_cut(&path, 0)?,
        other => other?,
    };
    let to_sync = Arc::from(file.duplicate()?);
    Ok(Output::Open { file, to_sync })
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
