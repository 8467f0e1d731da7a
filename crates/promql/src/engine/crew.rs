//! Threads that compute in any order what one of them hands out in its order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The threads of an engine. Whoever has work to divide does it with them, and alone if they have other work: nobody waits for a
/// thread to become free.
#[derive(Debug)]
pub(crate) struct Crew {
    /// All but the one that asks. `None` if that is the only one.
    helpers: Option<rayon::ThreadPool>,
    /// Work that is divided at this time. Each has an equal share of the threads.
    under_way: AtomicUsize,
}

impl Crew {
    /// So many threads, those that ask included; one for each core if 0.
    pub fn new(threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let helpers = if threads == 0 { cores() } else { threads } - 1;
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(helpers).thread_name(|i| format!("query-{i}")).build().ok();
        Self { helpers: if helpers == 0 { None } else { pool() }, under_way: AtomicUsize::new(0) }
    }

    /// The threads that one that asks has with it, itself included.
    pub fn threads(&self) -> usize {
        self.helpers.as_ref().map_or(0, rayon::ThreadPool::current_num_threads) + 1
    }

    /// How many threads each may take. All together take no more than there are.
    fn share(&self) -> usize {
        self.threads().div_ceil(self.under_way.load(Ordering::Relaxed).max(1))
    }

    /// Does the work of all numbers below `tasks`, and gives what comes out on this thread, in the order of their numbers.
    /// At most `ahead` are done before it is their turn to be given. Each thread works with things of its own: this one with
    /// `own`, the others with what `new` makes.
    ///
    /// # Errors
    /// The first, in the order of the numbers, of `work` and `give`.
    pub fn in_order<T: Send, S, E: Send>(
        &self,
        tasks: usize,
        ahead: usize,
        own: &mut S,
        new: impl Fn() -> S + Sync,
        work: impl Fn(usize, &mut S) -> Result<T, E> + Sync,
        mut give: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(helpers) = &self.helpers else {
            return (0..tasks).try_for_each(|i| give(work(i, own)?));
        };
        let _under_way = UnderWay::new(&self.under_way);
        let line = &Line::new(tasks, ahead);
        let help = || {
            let _leaves = Leaves(line);
            let mut own = None;
            while let Some(i) = line.take(self.share()) {
                line.put(i, work(i, own.get_or_insert_with(&new)));
            }
        };
        let help = &help;
        helpers.in_place_scope(|scope| {
            let _over = Over(line);
            loop {
                match line.next(self.share()) {
                    Next::Call => scope.spawn(|_| help()),
                    Next::Work(i) => line.put(i, work(i, own)),
                    Next::Give(done) => give(done?)?,
                    Next::End => return Ok(()),
                }
            }
        })
    }
}

/// Counts for as long as it lives.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tasks in their order: given, done or begun, to be begun.
struct Line<R> {
    tasks: usize,
    ahead: usize,
    places: Mutex<Places<R>>,
    /// Something is done that the one who gives may wait for.
    done: Condvar,
}

struct Places<R> {
    /// The first that is not given.
    first: usize,
    /// Of those from there on that are begun.
    begun: VecDeque<Option<R>>,
    /// Threads that were called and have not left.
    helpers: usize,
    /// Nothing more is to be begun.
    over: bool,
}

/// What the one who gives does next.
enum Next<R> {
    Call,
    Work(usize),
    Give(R),
    End,
}

impl<R> Line<R> {
    fn new(tasks: usize, ahead: usize) -> Self {
        let places = Places { first: 0, begun: VecDeque::new(), helpers: 0, over: false };
        Self { tasks, ahead: ahead.max(1), places: Mutex::new(places), done: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Places<R>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is there one to be begun?
    fn has_more(&self, places: &Places<R>) -> bool {
        !places.over && places.begun.len() < self.ahead && places.first + places.begun.len() < self.tasks
    }

    fn begin(&self, places: &mut Places<R>) -> Option<usize> {
        if !self.has_more(places) {
            return None;
        }
        places.begun.push_back(None);
        Some(places.first + places.begun.len() - 1)
    }

    /// One for a helper; none if it is to leave.
    fn take(&self, share: usize) -> Option<usize> {
        let mut places = self.lock();
        if places.helpers < share { self.begin(&mut places) } else { None }
    }

    fn put(&self, i: usize, done: R) {
        let mut places = self.lock();
        let at = i - places.first;
        places.begun[at] = Some(done);
        if at == 0 {
            self.done.notify_one();
        }
    }

    fn next(&self, share: usize) -> Next<R> {
        let mut places = self.lock();
        loop {
            if let Some(done) = places.begun.front_mut().and_then(Option::take) {
                places.begun.pop_front();
                places.first += 1;
                return Next::Give(done);
            }
            if places.over || places.first == self.tasks {
                return Next::End;
            }
            // One is left for this thread.
            if places.helpers + 1 < share && places.first + places.begun.len() + 1 < self.tasks && self.has_more(&places) {
                places.helpers += 1;
                return Next::Call;
            }
            if let Some(i) = self.begin(&mut places) {
                return Next::Work(i);
            }
            places = self.done.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A helper that leaves, of itself or because of a panic. What that has left undone would be waited for in vain; the panic
/// goes on where the helper was called.
struct Leaves<'a, R>(&'a Line<R>);

impl<R> Drop for Leaves<'_, R> {
    fn drop(&mut self) {
        let mut places = self.0.lock();
        places.helpers -= 1;
        if std::thread::panicking() {
            places.over = true;
            self.0.done.notify_one();
        }
    }
}

/// The one who gives has ended, of itself or because of an error or panic.
struct Over<'a, R>(&'a Line<R>);

impl<R> Drop for Over<'_, R> {
    fn drop(&mut self) {
        self.0.lock().over = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    /// What is given.
    fn ran(crew: &Crew, tasks: usize, ahead: usize, work: impl Fn(usize) -> Result<usize, String> + Sync) -> Result<Vec<usize>, String> {
        let mut given = Vec::new();
        crew.in_order(
            tasks,
            ahead,
            &mut (),
            || (),
            |i, ()| work(i),
            |i| {
                given.push(i);
                Ok(())
            },
        )?;
        Ok(given)
    }

    #[test]
    fn all_are_given_in_their_order() {
        for threads in [1, 2, 8] {
            let crew = Crew::new(threads);
            assert_eq!(crew.threads(), threads);
            for tasks in [0, 1, 2, 3, 100, 1000] {
                for ahead in [0, 1, 2, 7, 5000] {
                    assert_eq!(ran(&crew, tasks, ahead, Ok), Ok((0..tasks).collect()), "{threads} {tasks} {ahead}");
                }
            }
            assert_eq!(crew.under_way.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn two_are_done_at_one_time() {
        // Each waits for another one.
        let (crew, both) = (Crew::new(2), Barrier::new(2));
        let work = |i| {
            both.wait();
            Ok(i)
        };
        assert_eq!(ran(&crew, 20, 8, work), Ok((0..20).collect()));
    }

    #[test]
    fn none_are_done_too_early() {
        let (crew, given) = (Crew::new(4), AtomicUsize::new(0));
        let work = |i: usize, (): &mut ()| if i < given.load(Ordering::SeqCst) + 3 { Ok(()) } else { Err(format!("{i} is too early")) };
        let give = |()| {
            given.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        assert_eq!(crew.in_order(1000, 3, &mut (), || (), work, give), Ok(()));
    }

    #[test]
    fn the_first_error_ends_it() {
        for threads in [1, 2, 8] {
            let crew = Crew::new(threads);
            let work = |i| if i % 10 == 9 { Err(format!("no {i}")) } else { Ok(i) };
            assert_eq!(ran(&crew, 1000, 64, work), Err("no 9".into()));
            let give = |i| if i == 5 { Err("given enough".to_owned()) } else { Ok(()) };
            assert_eq!(crew.in_order(1000, 64, &mut (), || (), |i, ()| work(i), give), Err("given enough".into()));
            assert_eq!(ran(&crew, 100, 64, Ok), Ok((0..100).collect()));
        }
    }

    #[test]
    fn a_panic_ends_it_on_whatever_thread() {
        let crew = Crew::new(2);
        for bad in 0..20 {
            // Two at one time, so that the bad one is either's.
            let both = Barrier::new(2);
            let work = |i| {
                both.wait();
                assert!(i / 2 != bad / 2, "as a test does");
                Ok(i)
            };
            assert!(catch_unwind(AssertUnwindSafe(|| ran(&crew, 40, 4, work))).is_err());
            let one = |i| if i == bad { panic!("as a test does") } else { Ok(i) };
            assert!(catch_unwind(AssertUnwindSafe(|| ran(&crew, 40, 4, one))).is_err());
        }
        assert_eq!(ran(&crew, 100, 4, Ok), Ok((0..100).collect()));
    }

    #[test]
    fn whoever_asks_within_gets_an_answer() {
        let crew = Crew::new(3);
        let within = |i: usize| ran(&crew, i, 5, Ok).map(|given| given.len());
        assert_eq!(ran(&crew, 50, 5, within), Ok((0..50).collect()));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(ran(&crew, 500, 5, Ok), Ok((0..500).collect())));
            }
        });
    }
}
