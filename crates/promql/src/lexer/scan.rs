//! The lexer's cursor, and the words with an inner grammar: numbers, durations, quoted texts.
//!
//! A scan may accept what is no valid number (`1e`, `5hs`); whoever takes the value refuses it, with Prometheus's message
//! for that case.

use super::{Lexer, is_alphanumeric, is_space};

/// A scan that ends in a message.
pub(super) type Scan = Result<(), String>;

impl Lexer<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    pub(super) fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn accept(&mut self, test: impl Fn(char) -> bool) -> bool {
        match self.peek() {
            Some(next) if test(next) => {
                self.at += next.len_utf8();
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn accept_all(&mut self, test: impl Fn(char) -> bool) {
        while self.accept(&test) {}
    }

    pub(super) fn skip_spaces(&mut self) {
        self.accept_all(is_space);
        self.start = self.at;
    }

    /// Is the next thing, after white space, an opening parenthesis?
    pub(super) fn parenthesis_follows(&self) -> bool {
        self.text[self.at..].chars().find(|c| !is_space(*c)) == Some('(')
    }

    /// A number; behind one that it refuses, the cursor stands where a duration may go on.
    pub(super) fn scan_number(&mut self) -> bool {
        let before = self.at;
        // In a series `0x3` is a repeated zero.
        let mut hex = false;
        if !self.series && self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X')) {
            self.accept(|c| c == '_');
            hex = true;
        }
        let digit = move |c: char| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        self.accept(|c| c == '.');
        self.accept(digit);
        let (mut dot, mut exponent) = (false, false);
        while let Some(next) = self.peek().filter(|c| digit(*c) || matches!(c, '.' | '_' | 'e' | 'E')) {
            match next {
                '.' => {
                    self.advance();
                    // One dot only, not before another separator, and none in hexadecimal.
                    if dot || self.accept(|c| matches!(c, '_' | '.')) || hex {
                        return false;
                    }
                    dot = true;
                }
                'e' | 'E' => {
                    self.advance();
                    if exponent {
                        return false;
                    }
                    exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    self.advance();
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                _ => self.accept_all(digit),
            }
        }
        if self.at == before {
            return false;
        }
        match self.peek() {
            Some('x') if self.series => true,
            Some(next) => !is_alphanumeric(next),
            None => true,
        }
    }

    /// The rest of a duration whose first number is read.
    pub(super) fn scan_duration(&mut self) -> bool {
        if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w' | 'y')) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_all(|c| c.is_ascii_digit());
            // Years come first or not at all.
            if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w')) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        !self.accept(is_alphanumeric)
    }

    /// The rest of a text in `'` or `"`.
    pub(super) fn scan_quoted(&mut self, quote: char) -> Scan {
        loop {
            match self.advance() {
                Some('\\') => self.scan_escape(quote)?,
                // Go reads bytes that are no UTF-8 as this character, so that it refuses both.
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == quote => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// The rest of a text in backquotes.
    pub(super) fn scan_raw(&mut self) -> Scan {
        loop {
            match self.advance() {
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                None => return Err("unterminated raw string".into()),
                Some('`') => return Ok(()),
                Some(_) => {}
            }
        }
    }

    fn scan_escape(&mut self, quote: char) -> Scan {
        let unterminated = || "escape sequence not terminated".to_owned();
        let kind = self.advance().ok_or_else(unterminated)?;
        let (digits, base, max) = match kind {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => {
                self.at -= kind.len_utf8();
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, u32::from(char::MAX)),
            'U' => (8, 16, u32::from(char::MAX)),
            other => return Err(format!("unknown escape sequence {}", code_point(other))),
        };
        let mut value = 0u32;
        for _ in 0..digits {
            let c = self.advance().ok_or_else(unterminated)?;
            let digit = c.to_digit(base).ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".into());
        }
        Ok(())
    }
}

/// `U+0063 'c'`
fn code_point(c: char) -> String {
    let number = u32::from(c);
    if c.is_control() { format!("U+{number:04X}") } else { format!("U+{number:04X} '{c}'") }
}
