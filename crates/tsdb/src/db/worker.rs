//! Threads of a database, each of which does one thing again and again.

use super::Db;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// How urgent a thread's work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    Normal,
    /// Gives way to whatever serves scrapes and queries.
    Low,
}

/// A thread; dropped, it has ended.
pub(super) struct Worker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that calls `work` after each pause that it returns, the first time after `first`. It ends with the database.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn start(
        name: &str,
        priority: Priority,
        db: &Arc<Db>,
        first: Duration,
        work: impl Fn(&Db) -> Duration + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let db: Weak<Db> = Arc::downgrade(db);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if priority == Priority::Low {
                lower_priority();
            }
            let mut pause = first;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let Some(db) = db.upgrade() else { return };
                pause = work(&db);
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread itself may be the last to hold the database.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!(component = "tsdb", "a thread of the database panicked");
        }
    }
}

/// On Linux a thread has a priority of its own, under the name of its number. Without it compaction merely competes harder.
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOW_PRIORITY) {
        tracing::debug!(component = "tsdb", err = %error, "lower the priority of compaction");
    }
}

/// Of -20 to 19; 0 is everybody's.
const LOW_PRIORITY: i32 = 10;
