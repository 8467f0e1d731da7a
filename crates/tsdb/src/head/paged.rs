//! Memory that grows by pages: no copying, no doubling, no moment with the old and the new beside each other.

use std::ops::{Index, IndexMut};

/// Elements of a page of [`Paged`].
const PAGE: usize = 4096;

/// A vector in pages.
#[derive(Debug)]
pub(super) struct Paged<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Paged<T> {
    pub(super) fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    pub(super) fn push(&mut self, value: T) {
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE => last.push(value),
            _ => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(value);
                self.pages.push(page);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// Bytes of the pages.
    pub(super) fn bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<T>()
    }
}

impl<T> Index<usize> for Paged<T> {
    type Output = T;
    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl<T> IndexMut<usize> for Paged<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / PAGE][at % PAGE]
    }
}

/// What a page of an [`Arena`] is made of.
pub(super) trait Page {
    /// What is stored in it.
    type Run: ?Sized;
    fn with_capacity(capacity: usize) -> Self;
    fn capacity(&self) -> usize;
    fn len(&self) -> usize;
    fn append(&mut self, run: &Self::Run);
    fn run_len(run: &Self::Run) -> usize;
}

impl Page for String {
    type Run = str;
    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }
    fn capacity(&self) -> usize {
        self.capacity()
    }
    fn len(&self) -> usize {
        self.len()
    }
    fn append(&mut self, run: &str) {
        self.push_str(run);
    }
    fn run_len(run: &str) -> usize {
        run.len()
    }
}

impl Page for Vec<u32> {
    type Run = [u32];
    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }
    fn capacity(&self) -> usize {
        self.capacity()
    }
    fn len(&self) -> usize {
        self.len()
    }
    fn append(&mut self, run: &[u32]) {
        self.extend_from_slice(run);
    }
    fn run_len(run: &[u32]) -> usize {
        run.len()
    }
}

/// Runs of text or numbers in pages. A page goes when nothing in it is in use any more; one of which half is unused is
/// *sparse*, and its owner moves what is left elsewhere.
///
/// # Invariants
/// - A run lies in one page; one longer than a page has a page of its own and starts at 0.
/// - `used` of a page is the length of its runs in use.
#[derive(Debug)]
pub(super) struct Arena<P> {
    pages: Vec<Holding<P>>,
    /// The page that is being filled.
    open: usize,
    /// Numbers of pages that are gone.
    vacant: Vec<u32>,
    page_len: usize,
}

#[derive(Debug)]
struct Holding<P> {
    page: P,
    used: usize,
}

impl<P: Page> Arena<P> {
    pub(super) fn new(page_len: usize) -> Self {
        Self { pages: Vec::new(), open: 0, vacant: Vec::new(), page_len }
    }

    /// Stores a run; returns its page and where it starts there.
    pub(super) fn store(&mut self, run: &P::Run) -> (u32, u32) {
        let len = P::run_len(run);
        let room = self.pages.get(self.open).is_some_and(|holding| holding.page.capacity() - holding.page.len() >= len);
        if !room {
            self.begin_page(len);
        }
        let holding = &mut self.pages[self.open];
        // An empty run outlives its page, as nothing keeps the page: it starts where every page has a place.
        let start = if len == 0 { 0 } else { holding.page.len() };
        holding.page.append(run);
        holding.used += len;
        let narrow = |n: usize| u32::try_from(n).expect("pages are numbered below 2^32, and a longer one holds one run, from 0");
        (narrow(self.open), narrow(start))
    }

    fn begin_page(&mut self, len: usize) {
        let before = self.open;
        let fresh = Holding { page: P::with_capacity(self.page_len.max(len)), used: 0 };
        match self.vacant.pop() {
            Some(number) => {
                self.open = number as usize;
                self.pages[self.open] = fresh;
            }
            None => {
                self.open = self.pages.len();
                self.pages.push(fresh);
            }
        }
        // The page before was kept while it was open, whatever it held.
        if before != self.open {
            self.drop_if_unused(before);
        }
    }

    /// The page of that number.
    #[inline]
    pub(super) fn page(&self, number: u32) -> &P {
        &self.pages[number as usize].page
    }

    /// A run of that length in this page is no longer in use.
    pub(super) fn release(&mut self, number: u32, len: usize) {
        self.pages[number as usize].used -= len;
        if number as usize != self.open {
            self.drop_if_unused(number as usize);
        }
    }

    fn drop_if_unused(&mut self, number: usize) {
        if let Some(holding) = self.pages.get_mut(number)
            && holding.used == 0
            && holding.page.capacity() > 0
        {
            holding.page = P::with_capacity(0);
            self.vacant.push(number as u32);
        }
    }

    /// At most `limit` sparse pages.
    pub(super) fn sparse(&self, limit: usize) -> Vec<u32> {
        let sparse = |(number, holding): &(u32, &Holding<P>)| {
            *number as usize != self.open && holding.page.capacity() > 0 && holding.used * 2 <= holding.page.len()
        };
        (0u32..).zip(&self.pages).filter(sparse).map(|(number, _)| number).take(limit).collect()
    }

    /// Elements that the pages have room for.
    pub(super) fn capacity(&self) -> usize {
        self.pages.iter().map(|holding| holding.page.capacity()).sum()
    }
}
