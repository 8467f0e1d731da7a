//! Threads that compute in any order what one of them hands out in its order.
//!
//! The one who asks stands at a line of tasks: it gives what is done, calls others to help, does tasks itself when nothing is ready, and
//! waits only for tasks that others are at. Helpers take the next task each until there is none, or others need them more; if too much
//! is done ahead, they wait until it is given.
//!
//! # Invariants
//! - What is given does not depend on the number of threads, nor does the error that ends it.
//! - Nobody waits for a thread to become free: whoever is called can begin at once.
//! - Results that wait to be given weigh no more than `room`, but for the last of each thread.
//! - A task may ask for more work to be divided, but should not: while it waits for that, its thread may help others to their end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The threads of an engine.
#[derive(Debug)]
pub(crate) struct Crew {
    /// All but the one that asks. `None` if there are no others, or they could not be started.
    helpers: Option<rayon::ThreadPool>,
    /// Helpers that were called and have not left.
    busy: AtomicUsize,
    /// Work that is divided at this time. Each has an equal share of the threads.
    under_way: AtomicUsize,
}

impl Crew {
    /// So many threads, those that ask included; one for each core if 0.
    pub fn new(threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let helpers = if threads == 0 { cores() } else { threads } - 1;
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(helpers).thread_name(|i| format!("query-{i}")).build().ok();
        let helpers = if helpers == 0 { None } else { pool() };
        Self { helpers, busy: AtomicUsize::new(0), under_way: AtomicUsize::new(0) }
    }

    /// The threads that one that asks has with it, itself included.
    pub fn threads(&self) -> usize {
        self.helpers.as_ref().map_or(0, rayon::ThreadPool::current_num_threads) + 1
    }

    /// How many threads each may take. All together take no more than there are.
    fn share(&self) -> usize {
        self.threads().div_ceil(self.under_way.load(Ordering::Relaxed).max(1))
    }

    /// Books a helper that has nothing to do.
    fn book(&self) -> bool {
        let free = |busy: usize| (busy + 1 < self.threads()).then_some(busy + 1);
        self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }

    /// Does the work of all numbers below `tasks`, and gives what comes out on this thread, in the order of their numbers.
    /// None is begun ahead of its turn while those done weigh more than `room`. Each thread works with things of its own: this one
    /// with `own`, the others with what `new` makes.
    ///
    /// # Errors
    /// The first, in the order of the numbers, of `work` and `give`.
    pub fn in_order<T: Send, S, E: Send>(
        &self,
        tasks: usize,
        room: u64,
        own: &mut S,
        new: impl Fn() -> S + Sync,
        (work, weigh): (impl Fn(usize, &mut S) -> Result<T, E> + Sync, impl Fn(&T) -> u64 + Sync),
        mut give: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(helpers) = &self.helpers else {
            return (0..tasks).try_for_each(|i| give(work(i, own)?));
        };
        let _under_way = UnderWay::new(&self.under_way);
        let line = &Line::new(tasks, room);
        // Nothing behind an error needs to be done.
        let put = |i, done: Result<T, E>| line.put(i, done.as_ref().map_or(u64::MAX, &weigh), done);
        let help = || {
            let _leaves = Leaves(self, line);
            let mut own = None;
            while let Some(i) = line.take(|| self.share()) {
                put(i, work(i, own.get_or_insert_with(&new)));
            }
        };
        let help = &help;
        helpers.in_place_scope(|scope| {
            let _over = Over(line);
            loop {
                match line.next(self.share(), || self.book()) {
                    Next::Call => scope.spawn(|_| help()),
                    Next::Work(i) => put(i, work(i, own)),
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
    room: u64,
    places: Mutex<Places<R>>,
    /// Something is done that the one who gives may wait for.
    done: Condvar,
    /// There is room again, or nothing more to be done, for helpers who wait for that.
    given: Condvar,
}

struct Places<R> {
    /// The first that is not given.
    first: usize,
    /// Of those from there on that are begun, what is done and what it weighs.
    begun: VecDeque<Option<(u64, R)>>,
    /// All that is done.
    weight: u64,
    /// Threads that were called and have not left.
    helpers: usize,
    /// From this one on nothing is to be begun.
    end: usize,
}

/// What the one who gives does next.
enum Next<R> {
    Call,
    Work(usize),
    Give(R),
    End,
}

impl<R> Line<R> {
    fn new(tasks: usize, room: u64) -> Self {
        let places = Places { first: 0, begun: VecDeque::new(), weight: 0, helpers: 0, end: tasks };
        Self { room, places: Mutex::new(places), done: Condvar::new(), given: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Places<R>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One for a helper; none if it is to leave.
    fn take(&self, share: impl Fn() -> usize) -> Option<usize> {
        let mut places = self.lock();
        while places.left() > 0 && places.helpers < share() {
            if let Some(i) = places.begin(self) {
                return Some(i);
            }
            places = self.given.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn put(&self, i: usize, weight: u64, done: R) {
        let mut places = self.lock();
        places.weight = places.weight.saturating_add(weight);
        let at = i - places.first;
        places.begun[at] = Some((weight, done));
        if at == 0 {
            self.done.notify_one();
        }
    }

    /// What comes next where each has a share of the threads, and a helper comes if `book` says so.
    fn next(&self, share: usize, book: impl Fn() -> bool) -> Next<R> {
        let mut places = self.lock();
        loop {
            if places.wants_help(share) && book() {
                places.helpers += 1;
                return Next::Call;
            }
            if let Some((weight, done)) = places.begun.front_mut().and_then(Option::take) {
                places.begun.pop_front();
                places.first += 1;
                places.weight = places.weight.saturating_sub(weight);
                if places.weight <= self.room / 2 {
                    self.given.notify_all();
                }
                return Next::Give(done);
            }
            if places.first >= places.end {
                return Next::End;
            }
            if let Some(i) = places.begin(self) {
                return Next::Work(i);
            }
            places = self.done.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<R> Places<R> {
    /// Tasks that nobody has begun.
    fn left(&self) -> usize {
        self.end.saturating_sub(self.first + self.begun.len())
    }

    fn begin(&mut self, line: &Line<R>) -> Option<usize> {
        if self.left() == 0 || self.weight > line.room {
            return None;
        }
        self.begun.push_back(None);
        Some(self.first + self.begun.len() - 1)
    }

    /// Has one more helper enough to do?
    fn wants_help(&self, share: usize) -> bool {
        let most = share.min(self.end.saturating_sub(self.first));
        self.helpers + 1 < most && self.left() > 1
    }
}

/// A helper that leaves, of itself or because of a panic. What that has left undone would be waited for in vain; the panic
/// goes on where the helper was called.
struct Leaves<'a, R>(&'a Crew, &'a Line<R>);

impl<R> Drop for Leaves<'_, R> {
    fn drop(&mut self) {
        let Self(crew, line) = self;
        let mut places = line.lock();
        places.helpers -= 1;
        if std::thread::panicking() {
            places.end = 0;
            line.done.notify_one();
            line.given.notify_all();
        }
        crew.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The one who gives has ended, of itself or because of an error or panic.
struct Over<'a, R>(&'a Line<R>);

impl<R> Drop for Over<'_, R> {
    fn drop(&mut self) {
        self.0.lock().end = 0;
        self.0.given.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    /// What is given.
    fn ran(crew: &Crew, tasks: usize, room: u64, work: impl Fn(usize) -> Result<usize, String> + Sync) -> Result<Vec<usize>, String> {
        let mut given = Vec::new();
        crew.in_order(
            tasks,
            room,
            &mut (),
            || (),
            (|i, ()| work(i), |_: &usize| 1),
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
                for room in [0, 1, 2, 7, 5000] {
                    assert_eq!(ran(&crew, tasks, room, Ok), Ok((0..tasks).collect()), "{threads} {tasks} {room}");
                }
            }
            assert_eq!([&crew.under_way, &crew.busy].map(|count| count.load(Ordering::Relaxed)), [0, 0]);
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
    fn threads_are_shared_by_what_is_under_way() {
        let crew = Crew::new(7);
        let shares = (0..9).map(|under_way| {
            crew.under_way.store(under_way, Ordering::Relaxed);
            crew.share()
        });
        assert_eq!(shares.collect::<Vec<_>>(), [7, 7, 4, 3, 2, 2, 2, 1, 1]);
        assert!((0..6).all(|_| crew.book()) && !crew.book());
    }

    #[test]
    fn whoever_finds_all_helpers_at_work_is_done_before_they_are() {
        let (crew, all) = (&Crew::new(3), &Barrier::new(4));
        let end = &Barrier::new(4);
        std::thread::scope(|scope| {
            // One who asks and two helpers.
            let held = move |i| {
                if i < 3 {
                    all.wait();
                    end.wait();
                }
                Ok(i)
            };
            let long = scope.spawn(move || ran(crew, 8, 8, held));
            all.wait();
            assert_eq!(ran(crew, 2, 8, Ok), Ok(vec![0, 1]));
            end.wait();
            assert_eq!(long.join().unwrap(), Ok((0..8).collect()));
        });
    }

    #[test]
    fn little_is_done_ahead_of_its_turn() {
        let (crew, given) = (Crew::new(4), AtomicUsize::new(0));
        let give = |()| {
            given.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        // Three weigh more than there is room for; besides them one is given, and one may be with each thread.
        let most = 3 + 1 + 4;
        let early = |i: usize| if i < given.load(Ordering::SeqCst) + most { Ok(()) } else { Err(format!("{i} is too early")) };
        assert_eq!(crew.in_order(1000, 24, &mut (), || (), (|i, ()| early(i), |()| 10), give), Ok(()));
    }

    #[test]
    fn nothing_is_begun_behind_an_error() {
        let line = Line::new(10, 5);
        assert_eq!([line.take(|| 1), line.take(|| 1)], [Some(0), Some(1)]);
        line.put(1, u64::MAX, "no");
        assert_eq!(line.lock().begin(&line), None);
        line.put(0, 1, "yes");
        assert!(matches!(line.next(1, || true), Next::Give("yes")));
        assert!(matches!(line.next(1, || true), Next::Give("no")));
    }

    #[test]
    fn the_first_error_ends_it() {
        for threads in [1, 2, 8] {
            let crew = Crew::new(threads);
            let work = |i| if i % 10 == 9 { Err(format!("no {i}")) } else { Ok(i) };
            assert_eq!(ran(&crew, 1000, 64, work), Err("no 9".into()));
            let give = |i| if i == 5 { Err("given enough".to_owned()) } else { Ok(()) };
            assert_eq!(crew.in_order(1000, 64, &mut (), || (), (|i, ()| work(i), |_: &usize| 1), give), Err("given enough".into()));
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
