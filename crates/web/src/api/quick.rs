//! Small requests are answered by the thread that has read them.
//!
//! Handing work to another thread, and its result back, costs as much as a small query: each of the two threads is woken once.
//! But threads of the I/O must not be held up, and nobody knows before how long a request takes. So all go to a blocking thread at
//! first. If that took next to nothing, the next request of the same kind (a dashboard asks the same every few seconds) is
//! tried at once, for as long as the I/O can spare; if it takes longer this time, it starts over on a blocking thread. Tries
//! take half of the time at most: where many ask at once, the blocking threads do the other half, on all cores.

use super::{blocking, panicked};
use crate::respond::ApiError;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use storage::Cancel;

/// What took no longer may be tried at once.
const QUICK: Duration = Duration::from_micros(500);
/// A try that takes longer is given up.
const TRIED_FOR: Duration = Duration::from_millis(1);
/// Kinds of requests that are remembered.
const KINDS: usize = 1024;

/// Which kinds of requests took next to nothing the last time.
#[derive(Debug)]
pub(crate) struct Quick {
    kinds: Box<[AtomicU64]>,
    since: Instant,
    /// Nanoseconds after `since` before which nothing is tried.
    rest_until: AtomicU64,
}

/// Under what requests are remembered: those whose parts are the same are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u64);

impl Kind {
    /// Of what tells how much work a request is.
    pub fn of(parts: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        // 0 is no kind.
        Self(hasher.finish().max(1))
    }
}

impl Default for Quick {
    fn default() -> Self {
        let kinds = (0..KINDS).map(|_| AtomicU64::new(0)).collect();
        Self { kinds, since: Instant::now(), rest_until: AtomicU64::new(0) }
    }
}

impl Quick {
    /// Of two kinds with the same place the one that came last is remembered.
    fn place(&self, kind: Kind) -> &AtomicU64 {
        &self.kinds[kind.0 as usize % KINDS]
    }

    fn expects(&self, kind: Kind) -> bool {
        self.place(kind).load(Ordering::Relaxed) == kind.0
    }

    /// Has it rested as long as the last try took?
    fn has_rested(&self) -> bool {
        self.since.elapsed().as_nanos() >= self.rest_until.load(Ordering::Relaxed).into()
    }

    fn tried_for(&self, took: Duration) {
        let until = u64::try_from((self.since.elapsed() + took).as_nanos()).unwrap_or(u64::MAX);
        self.rest_until.fetch_max(until, Ordering::Relaxed);
    }

    fn learn(&self, kind: Kind, quick: bool) {
        if quick {
            self.place(kind).store(kind.0, Ordering::Relaxed);
        } else {
            let _ = self.place(kind).compare_exchange(kind.0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// How long work may go on.
pub(super) struct Leash {
    /// To be looked at.
    pub cancel: Cancel,
    late: Option<Arc<AtomicBool>>,
}

impl Leash {
    fn short() -> Self {
        let (begun, late) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let seen = late.clone();
        let is_late = move || {
            let is_late = begun.elapsed() > TRIED_FOR;
            seen.fetch_or(is_late, Ordering::Relaxed);
            is_late
        };
        Self { cancel: Cancel::when(is_late), late: Some(late) }
    }

    /// Has it been given up, to be started over? Then nothing that it has come to is to be told.
    pub fn starts_over(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.load(Ordering::Relaxed))
    }
}

/// Does the work, of which `kind` tells how much it is, here or on a blocking thread.
pub(super) async fn shortly<T: Send + 'static>(
    quick: &Arc<Quick>,
    kind: Kind,
    cancel: Cancel,
    work: impl Fn(&Leash) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if quick.expects(kind) && quick.has_rested() {
        let (begun, leash) = (Instant::now(), Leash::short());
        let result = catch_unwind(AssertUnwindSafe(|| work(&leash)));
        let took = begun.elapsed();
        quick.tried_for(took);
        // Not all that takes long looks at its leash.
        quick.learn(kind, took < QUICK);
        if !leash.starts_over() {
            return result.unwrap_or_else(|_| Err(panicked(&"where it was read")));
        }
    }
    let quick = Arc::clone(quick);
    blocking(move || {
        let begun = Instant::now();
        let result = work(&Leash { cancel, late: None });
        quick.learn(kind, begun.elapsed() < QUICK);
        result
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::Mutex;
    use std::thread::ThreadId;

    #[test]
    fn a_kind_is_remembered_until_it_is_slow_or_another_comes() {
        let (quick, kind) = (Quick::default(), Kind::of("a"));
        let other = Kind(kind.0.wrapping_add(KINDS as u64));
        assert!(!quick.expects(kind));
        quick.learn(kind, true);
        quick.learn(other, false);
        assert!(quick.expects(kind) && !quick.expects(other));
        quick.learn(other, true);
        assert!(quick.expects(other) && !quick.expects(kind));
        quick.learn(other, false);
        assert!(!quick.expects(other));
    }

    /// Runs the work once and gives the threads that it was begun on.
    async fn ran_on(quick: &Arc<Quick>, work: impl Fn(&Leash) + Send + 'static) -> (Vec<ThreadId>, Result<u8, ApiError>) {
        let threads = Arc::new(Mutex::new(Vec::new()));
        let begun = threads.clone();
        let work = move |leash: &Leash| {
            begun.lock().unwrap().push(std::thread::current().id());
            work(leash);
            Ok(7)
        };
        let result = shortly(quick, Kind::of("a"), Cancel::default(), work).await;
        let threads = threads.lock().unwrap().clone();
        (threads, result)
    }

    #[test]
    fn tries_take_half_of_the_time() {
        let quick = Quick::default();
        assert!(quick.has_rested());
        quick.tried_for(Duration::from_secs(3600));
        quick.tried_for(Duration::ZERO);
        assert!(!quick.has_rested());
    }

    #[tokio::test]
    async fn what_was_quick_is_tried_at_once_and_started_over_if_it_is_not() {
        let (quick, here) = (Arc::new(Quick::default()), std::thread::current().id());
        let (threads, result) = ran_on(&quick, |_| {}).await;
        assert!(threads.len() == 1 && threads[0] != here && result.unwrap() == 7);
        quick.learn(Kind::of("a"), true);
        let (threads, result) = ran_on(&quick, |leash| assert!(!leash.starts_over())).await;
        assert!(threads == [here] && result.unwrap() == 7);
        // Whatever that took.
        quick.learn(Kind::of("a"), true);
        quick.rest_until.store(0, Ordering::Relaxed);
        // One that waits until it is given up; the other leash is no short one.
        let slow = |leash: &Leash| while leash.late.is_some() && !leash.cancel.is_cancelled() {};
        let (threads, result) = ran_on(&quick, slow).await;
        assert!(threads.len() == 2 && threads[0] == here && threads[1] != here && result.unwrap() == 7);
    }

    #[tokio::test]
    async fn a_panic_ends_one_request() {
        let quick = Arc::new(Quick::default());
        quick.learn(Kind::of("a"), true);
        let (_, result) = ran_on(&quick, |_| panic!("as a test does")).await;
        assert!(matches!(result, Err(ApiError::Internal(_))));
    }
}
