//! The threads that put what the logs hold into series.
//!
//! Each has its own slabs, so that no two wait for each other, and gets batches through a bounded channel: what belongs to one series stays
//! in the order of the log.

use crate::chunk::{self, Encoding, Sample};
use crate::head::Head;
use crate::head::mapped::MappedChunk;
use crate::head::replay::Replayer;
use crate::head::slab::slab_number;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use storage::{Interval, Slot};

/// Floats of a batch: 100 KiB, so that handing it over costs nothing and few of them wait.
const FLOATS: usize = 4096;
/// Other items of a batch.
const ITEMS: usize = 1024;
/// Batches that wait for one thread.
const WAITING: usize = 8;
/// Threads beyond which the one that feeds them does not keep up.
const THREADS_MAX: usize = 4;

/// A float of the log without a start timestamp.
#[derive(Clone, Copy, Debug)]
struct Float {
    slot: Slot,
    time: i64,
    value: f64,
}

/// Whatever else belongs to a series.
#[derive(Debug)]
pub enum Item {
    /// A sample of the log.
    Sample(Sample),
    /// One of the log of out-of-order samples.
    Late(Sample),
    /// A chunk that a file has.
    Mapped { chunk: MappedChunk, out_of_order: bool },
    /// An open chunk that was saved.
    Open(Encoding, Box<[u8]>),
    /// A deleted stretch of time.
    Delete(Interval),
    /// The log has late samples up to this time, and none in order that is as new.
    LateUntil(i64),
    /// What came before is in the out-of-order chunk at this place.
    Marker(u64),
}

#[derive(Debug, Default)]
struct Batch {
    floats: Vec<Float>,
    /// Each after so many of the floats.
    items: Vec<(u32, Slot, Item)>,
}

enum Work {
    Batch(Batch),
    /// Asks for a word when all before it is done.
    Wait(SyncSender<()>),
}

/// What a thread has put into its series.
#[derive(Debug, Default)]
pub struct Applied {
    pub samples: u64,
    pub late_samples: u64,
    /// See [`Replayer::doubtful`].
    pub doubtful: Vec<(Slot, i64)>,
}

/// The threads, seen from the one that feeds them.
pub struct Shards<'scope> {
    to: Vec<SyncSender<Work>>,
    threads: Vec<ScopedJoinHandle<'scope, Applied>>,
    filling: Vec<Batch>,
    /// Batches that are done, to be filled again.
    spare: Receiver<Batch>,
    mask: usize,
}

impl<'scope> Shards<'scope> {
    /// Starts them, as many as the machine has cores for.
    pub fn start<'env>(scope: &'scope Scope<'scope, 'env>, head: &'env Head) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = cores.next_power_of_two().min(THREADS_MAX);
        let (give_back, spare) = sync_channel(count * (WAITING + 2));
        let mut shards =
            Self { to: Vec::new(), threads: Vec::new(), filling: (0..count).map(|_| Batch::default()).collect(), spare, mask: count - 1 };
        for _ in 0..count {
            let (to, works) = sync_channel(WAITING);
            let give_back = give_back.clone();
            shards.to.push(to);
            shards.threads.push(scope.spawn(move || apply(head, &works, &give_back)));
        }
        shards
    }

    /// Appends a float in order.
    #[inline]
    pub fn float(&mut self, slot: Slot, time: i64, value: f64) {
        let shard = slab_number(slot) & self.mask;
        let batch = &mut self.filling[shard];
        batch.floats.push(Float { slot, time, value });
        if batch.floats.len() >= FLOATS {
            self.send(shard);
        }
    }

    /// Does anything else with a series.
    pub fn item(&mut self, slot: Slot, item: Item) {
        let shard = slab_number(slot) & self.mask;
        let batch = &mut self.filling[shard];
        batch.items.push((batch.floats.len() as u32, slot, item));
        if batch.items.len() >= ITEMS {
            self.send(shard);
        }
    }

    fn send(&mut self, shard: usize) {
        let empty = self.spare.try_recv().unwrap_or_else(|_| Batch { floats: Vec::with_capacity(FLOATS), items: Vec::new() });
        let batch = std::mem::replace(&mut self.filling[shard], empty);
        // A thread that is gone has panicked, which is seen when it is waited for.
        let _ = self.to[shard].send(Work::Batch(batch));
    }

    /// Waits until all is in place that was handed over.
    pub fn wait(&mut self) {
        let (done, words) = sync_channel(self.to.len());
        for shard in 0..self.to.len() {
            self.send(shard);
            let _ = self.to[shard].send(Work::Wait(done.clone()));
        }
        drop(done);
        for () in words {}
    }

    /// Waits for the end of the threads.
    pub fn finish(mut self) -> Applied {
        for shard in 0..self.to.len() {
            self.send(shard);
        }
        drop(self.to);
        let mut all = Applied::default();
        for thread in self.threads {
            let applied = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.samples += applied.samples;
            all.late_samples += applied.late_samples;
            all.doubtful.extend(applied.doubtful);
        }
        all
    }
}

fn apply(head: &Head, works: &Receiver<Work>, give_back: &SyncSender<Batch>) -> Applied {
    let mut replayer = head.replayer();
    let mut applied = Applied::default();
    for work in works {
        match work {
            Work::Batch(mut batch) => {
                apply_batch(&mut replayer, &mut batch, &mut applied);
                // Whoever creates series needs the slab now and then.
                replayer.release();
                let _ = give_back.try_send(batch);
            }
            Work::Wait(done) => _ = done.send(()),
        }
    }
    applied.doubtful = replayer.doubtful();
    applied
}

fn apply_batch(replayer: &mut Replayer<'_>, batch: &mut Batch, applied: &mut Applied) {
    let mut at = 0;
    for (floats_before, slot, item) in batch.items.drain(..) {
        applied.samples += apply_floats(replayer, &batch.floats[at..floats_before as usize]);
        at = floats_before as usize;
        match item {
            Item::Sample(sample) => applied.samples += u64::from(replayer.sample(slot, &sample)),
            Item::Late(sample) => applied.late_samples += u64::from(replayer.late(slot, sample)),
            Item::Mapped { chunk, out_of_order } => _ = replayer.mapped(slot, chunk, out_of_order),
            Item::Open(encoding, bytes) => applied.samples += apply_open(replayer, slot, encoding, &bytes),
            Item::Delete(interval) => replayer.tombstone(slot, interval),
            Item::LateUntil(time) => replayer.note_late(slot, time),
            Item::Marker(place) => replayer.marker(slot, place),
        }
    }
    applied.samples += apply_floats(replayer, &batch.floats[at..]);
    batch.floats.clear();
}

/// The samples of a chunk that are newer than those of the series.
fn apply_open(replayer: &mut Replayer<'_>, slot: Slot, encoding: Encoding, bytes: &[u8]) -> u64 {
    if encoding == Encoding::Xor
        && let Some(samples) = replayer.adopt(slot, bytes)
    {
        return samples;
    }
    let mut taken = 0;
    let read = chunk::samples(encoding, bytes, |sample| taken += u64::from(replayer.sample(slot, &sample)));
    if let Err(error) = read {
        // Its checksum fits, so that only a fault of ours gets here; the log has these samples.
        tracing::error!(component = "tsdb", err = %error, "a saved chunk does not decode");
    }
    taken
}

fn apply_floats(replayer: &mut Replayer<'_>, floats: &[Float]) -> u64 {
    floats.iter().map(|float| u64::from(replayer.float(float.slot, 0, float.time, float.value))).sum()
}
