//! Lists that may be so long that giving them back takes a while.
//!
//! A query of a million series holds some millions of allocations all over memory. Whoever has asked for it, and whoever
//! waits for its turn, shall not wait for these when it has ended: they are given back by a thread of their own. To the query
//! they are not charged any more by then: what it may hold must not depend on how soon that thread gets to it.

use std::ops::{Deref, DerefMut};

/// Shorter lists take less than some milliseconds.
const ELSEWHERE_FROM: usize = 100_000;

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
        if self.0.len() >= ELSEWHERE_FROM {
            let elements = self.take();
            // Without a thread they are given back here.
            let _ = std::thread::Builder::new().name("query-ended".into()).spawn(move || drop(elements));
        }
    }
}
