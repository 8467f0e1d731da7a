//! The parser: one entry a call, by the fast paths where they apply.

use crate::entry::{Entry, Normalise};
use crate::fast;
use crate::plain::Plain;
use crate::{Format, ParseError};

/// Reads a page.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    plain: Plain<'a>,
}

impl<'a> Parser<'a> {
    /// A parser of the whole `body`.
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Self { plain: Plain::new(body, format) }
    }

    /// The next entry; `None` at the end. After an error the page is refused: do not go on.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not say that it ends after an error")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        match fast::line(&mut self.plain) {
            Some(entry) => Ok(Some(entry)),
            None => self.plain.next(),
        }
    }

    /// As [`Parser::next`], but spares the labels of a line whose series bytes `known` recognises.
    ///
    /// `known` may be called with bytes that are no series at all. It has to answer `true` only for bytes that it got as
    /// [`Sample::series`](crate::Sample::series) of an earlier page in the same format (a hash of 128 bits will do): then
    /// their syntax has been checked and they end where they ended. When it answers `true` the line may still turn out
    /// to need the plain way; the answer then is that of `next`. Not every known line is asked about.
    #[inline]
    pub fn next_known(&mut self, mut known: impl FnMut(&'a [u8], Normalise) -> bool) -> Result<Option<Entry<'a>>, ParseError> {
        match fast::known_line(&mut self.plain, &mut known) {
            Some(entry) => Ok(Some(entry)),
            None => self.next(),
        }
    }

    /// How far it has read: where the next line begins, or a byte or two further at the end.
    pub(crate) fn position(&self) -> usize {
        self.plain.lexer.at
    }

    pub(crate) fn body(&self) -> &'a [u8] {
        self.plain.lexer.body
    }

    /// As [`Parser::next`], without any fast path: what the tests compare with.
    #[doc(hidden)]
    pub fn next_plain(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.plain.next()
    }
}
