//! Lists that may be so long that giving them back takes a while.
//!
//! A query of a million series holds some millions of allocations all over memory. Whoever has asked for it, and whoever
//! waits for its turn, shall not wait for these when it has ended: they are given back by a thread of their own. To the query
//! they are not charged any more by then: what it may hold must not depend on how soon that thread gets to it. There are few
//! such threads, so that what nobody is charged for is bounded; when all are busy, whoever has the list gives it back.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shorter lists take less than some milliseconds.
const ELSEWHERE_FROM: usize = 100_000;
const THREADS_MAX: usize = 4;

/// Threads that give back a list.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// One of these threads, as long as it lasts.
struct Place(&'static AtomicUsize);

impl Place {
    fn take(threads: &'static AtomicUsize) -> Option<Self> {
        let free = |threads| (threads < THREADS_MAX).then_some(threads + 1);
        threads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self(threads))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A list that is given back without delay.
pub(crate) struct Bulk<T: Send + 'static>(Vec<T>);

impl<T: Send + 'static> Bulk<T> {
    /// Its elements; whoever takes them gives them back.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}

impl<T: Send + 'static> From<Vec<T>> for Bulk<T> {
    fn from(elements: Vec<T>) -> Self {
        Self(elements)
    }
}

impl<T: Send + 'static> Deref for Bulk<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Send + 'static> DerefMut for Bulk<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Send + 'static> Drop for Bulk<T> {
    fn drop(&mut self) {
        if self.0.len() >= ELSEWHERE_FROM
            && let Some(place) = Place::take(&THREADS)
        {
            let elements = self.take();
            let give_back = move || {
                drop(elements);
                drop(place);
            };
            // Without a thread they are given back here.
            let _ = std::thread::Builder::new().name("query-ended".into()).spawn(give_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_few_and_places_come_back() {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let places: Vec<Option<Place>> = (0..THREADS_MAX + 2).map(|_| Place::take(&THREADS)).collect();
        assert_eq!(places.iter().flatten().count(), THREADS_MAX);
        drop(places);
        assert!(Place::take(&THREADS).is_some());
    }
}
