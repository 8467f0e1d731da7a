//! Where pages are read and batches committed: threads apart from those that do I/O, a bounded number at a time.
//!
//! A scrape that finds all of them busy waits; its page waits with it, so at most one page a target is held.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::gzip::Unpacker;
use crate::state::Workspace;

/// Buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) work: Workspace,
    pub(crate) unpacker: Unpacker,
}

#[derive(Debug)]
pub(crate) struct Workers {
    permits: Arc<Semaphore>,
    /// No more than there are permits.
    desks: Mutex<Vec<Desk>>,
}

impl Workers {
    pub(crate) fn new(count: usize) -> Self {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(2, usize::from) * 2,
            count => count,
        };
        Self { permits: Arc::new(Semaphore::new(count)), desks: Mutex::default() }
    }

    /// Runs `job` on a thread of its own as soon as a worker is free. Once begun it ends, even if nobody waits any more.
    ///
    /// # Errors
    /// When it panics; its desk is given up with it.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("nobody closes the semaphore");
        let workers = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut desk = workers.desks.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let result = job(&mut desk);
            workers.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk);
            drop(permit);
            result
        })
        .await
    }
}
