//! Text to tokens.
//!
//! A word's meaning depends on where it stands: in braces there are no keywords, in brackets only durations and what
//! calculates with them, and a series (the language of tests) is values between spaces. The parser asks for one token at a
//! time and never goes back, so this needs no more than a state and the brackets that are open.
//!
//! # Invariants
//! - Tokens are slices of the text in order; between them are white space and comments only.
//! - After an error or the end there is nothing more to ask for.

mod scan;
mod token;

pub use token::{Keyword, Kind, Token};

use crate::ast::{BinaryOp, Span};
use crate::parser::ParseError;
use token::keyword;

/// Reads one text.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    /// Where the token that is read begins.
    start: usize,
    at: usize,
    state: State,
    /// Is the text a series with its values?
    series: bool,
    open_parens: usize,
    brace_open: bool,
    bracket_open: bool,
    colon_seen: bool,
    duration_seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Where an expression stands.
    Statement,
    /// Behind a `[`, until the first number.
    Duration,
    /// A series' values.
    Values,
    /// A histogram among a series' values.
    Histogram,
    /// Behind the end.
    Ended,
}

impl<'a> Lexer<'a> {
    /// For a query or a selector.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            start: 0,
            at: 0,
            state: State::Statement,
            series: false,
            open_parens: 0,
            brace_open: false,
            bracket_open: false,
            colon_seen: false,
            duration_seen: false,
        }
    }

    /// For a series and its values.
    pub fn for_series(text: &'a str) -> Self {
        Self { series: true, ..Self::new(text) }
    }

    /// The next token; [`Kind::Eof`] at the end and after it.
    pub fn next_token(&mut self) -> Result<Token<'a>, ParseError> {
        loop {
            let kind = match self.state {
                State::Ended => Ok(Some(Kind::Eof)),
                State::Duration => self.duration(),
                State::Values => self.value(),
                State::Histogram => self.histogram(),
                State::Statement if self.brace_open => self.in_braces(),
                State::Statement => self.statement(),
            };
            match kind {
                Ok(Some(kind)) => return Ok(self.token(kind)),
                Ok(None) => self.start = self.at,
                Err(message) => {
                    let span = Span { start: self.start, end: self.text.len() };
                    return Err(ParseError::new(self.text, span, message));
                }
            }
        }
    }

    fn token(&mut self, kind: Kind) -> Token<'a> {
        let token = Token { kind, start: self.start, text: &self.text[self.start..self.at] };
        self.start = self.at;
        token
    }

    /// An error about what follows the token just read.
    fn fail_behind<T>(&mut self, message: String) -> Result<T, String> {
        self.start = self.at;
        Err(message)
    }

    fn statement(&mut self) -> Result<Option<Kind>, String> {
        let Some(c) = self.advance() else {
            if self.open_parens != 0 {
                return Err("unclosed left parenthesis".into());
            }
            if self.bracket_open {
                return Err("unclosed left bracket".into());
            }
            self.state = State::Ended;
            return Ok(Some(Kind::Eof));
        };
        let kind = match c {
            '#' => return Ok(self.comment()),
            c if is_space(c) => return Ok(self.spaces()),
            ',' => Kind::Comma,
            '@' => Kind::At,
            '=' => match self.peek() {
                Some('=') => self.binary(BinaryOp::Equal),
                Some('~') => return Err("unexpected character after '=': '~'".into()),
                Some(_) | None => Kind::Assign,
            },
            '!' => match self.peek() {
                Some('=') => self.binary(BinaryOp::NotEqual),
                other => return Err(format!("unexpected character after '!': {}", quote_char(other))),
            },
            '<' | '>' => self.comparison(c),
            '"' | '\'' | '`' => self.quoted(c)?,
            '(' => self.left_paren(),
            ')' => self.right_paren()?,
            '{' => {
                self.brace_open = true;
                Kind::LeftBrace
            }
            '[' if self.bracket_open => return Err(format!("unexpected left bracket {}", quote_char(Some(c)))),
            '[' => {
                self.colon_seen = false;
                self.bracket_open = true;
                self.state = State::Duration;
                Kind::LeftBracket
            }
            ']' if !self.bracket_open => return Err(format!("unexpected right bracket {}", quote_char(Some(c)))),
            ']' => {
                self.bracket_open = false;
                Kind::RightBracket
            }
            c if self.starts_number(c) => self.number_or_duration()?,
            c if (is_alpha(c) || c == ':') && self.bracket_open => self.word_in_brackets(c)?,
            c if is_alpha(c) || c == ':' => self.word(),
            c => arithmetic(c).ok_or_else(|| format!("unexpected character: {}", quote_char(Some(c))))?,
        };
        Ok(Some(kind))
    }

    fn in_braces(&mut self) -> Result<Option<Kind>, String> {
        let c = self.advance().ok_or("unexpected end of input inside braces")?;
        let kind = match c {
            '#' => return Ok(self.comment()),
            c if is_space(c) => return Ok(self.spaces()),
            c if is_alpha(c) => {
                self.accept_all(is_alphanumeric);
                Kind::Identifier
            }
            ',' => Kind::Comma,
            '"' | '\'' | '`' => self.quoted(c)?,
            '=' if self.accept(|c| c == '~') => Kind::EqualRegex,
            '=' => Kind::Assign,
            '!' if self.accept(|c| c == '~') => Kind::NotEqualRegex,
            '!' if self.accept(|c| c == '=') => Kind::Binary(BinaryOp::NotEqual),
            '!' => return Err(format!("unexpected character after '!' inside braces: {}", quote_char(self.peek()))),
            '{' => return Err("unexpected left brace '{'".into()),
            '}' => {
                self.brace_open = false;
                if self.series {
                    self.state = State::Values;
                }
                Kind::RightBrace
            }
            c => return Err(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        };
        Ok(Some(kind))
    }

    fn duration(&mut self) -> Result<Option<Kind>, String> {
        let c = self.advance().ok_or("unexpected end of input in duration expression")?;
        let unexpected = || format!("unexpected character in duration expression: {}", quote_char(Some(c)));
        let kind = match c {
            c if is_space(c) => return Ok(self.spaces()),
            ']' => {
                self.bracket_open = false;
                self.colon_seen = false;
                self.state = State::Statement;
                Kind::RightBracket
            }
            ':' if !self.duration_seen => {
                return self.fail_behind("unexpected colon before duration in duration expression".into());
            }
            ':' if self.colon_seen => return self.fail_behind("unexpected repeated colon in duration expression".into()),
            ':' => {
                self.colon_seen = true;
                Kind::Colon
            }
            '(' => self.left_paren(),
            ')' => self.right_paren()?,
            ',' => Kind::Comma,
            c if self.starts_number(c) => {
                self.duration_seen = true;
                self.state = State::Statement;
                self.number_or_duration()?
            }
            c if starts_duration_keyword(c) => self.duration_keyword().ok_or_else(unexpected)?,
            c => arithmetic(c).ok_or_else(unexpected)?,
        };
        Ok(Some(kind))
    }

    fn value(&mut self) -> Result<Option<Kind>, String> {
        let Some(c) = self.advance() else {
            self.state = State::Statement;
            return Ok(None);
        };
        let kind = match c {
            c if is_space(c) => {
                self.accept_all(is_space);
                Kind::Space
            }
            '+' => Kind::Binary(BinaryOp::Add),
            '-' => Kind::Binary(BinaryOp::Sub),
            'x' => Kind::Times,
            '_' => Kind::Blank,
            '{' if self.peek() == Some('{') => {
                self.advance();
                self.state = State::Histogram;
                Kind::OpenHistogram
            }
            c if self.starts_number(c) => self.number()?,
            c if is_alpha(c) => self.word(),
            c => return Err(format!("unexpected character in series sequence: {}", quote_char(Some(c)))),
        };
        Ok(Some(kind))
    }

    fn number(&mut self) -> Result<Kind, String> {
        self.at = self.start;
        if self.scan_number() {
            return Ok(Kind::Number);
        }
        Err(format!("bad number syntax: {}", model::name::quote(&self.text[self.start..self.at])))
    }

    fn histogram(&mut self) -> Result<Option<Kind>, String> {
        let c = self.advance();
        let kind = match c {
            Some(c) if is_space(c) => {
                self.accept_all(is_space);
                Kind::Space
            }
            Some('-') => Kind::Binary(BinaryOp::Sub),
            Some(c) if self.starts_number(c) => self.number()?,
            Some(']') if self.bracket_open => {
                self.bracket_open = false;
                Kind::RightBracket
            }
            Some(c) if is_alpha(c) => self.histogram_word()?,
            other if self.bracket_open => return Err(format!("invalid character in buckets description: {}", quote_char(other))),
            Some('[') => {
                self.bracket_open = true;
                Kind::LeftBracket
            }
            Some(':') => Kind::Colon,
            Some('}') if self.peek() == Some('}') => {
                self.advance();
                self.state = State::Values;
                Kind::CloseHistogram
            }
            other => return Err(format!("histogram description incomplete unexpected: {}", quote_char(other))),
        };
        Ok(Some(kind))
    }

    fn histogram_word(&mut self) -> Result<Kind, String> {
        const KEYS: [&str; 11] = [
            "schema",
            "sum",
            "count",
            "z_bucket",
            "z_bucket_w",
            "custom_values",
            "buckets",
            "offset",
            "n_buckets",
            "n_offset",
            "counter_reset_hint",
        ];
        const HINTS: [&str; 4] = ["unknown", "reset", "not_reset", "gauge"];
        self.accept_all(is_alpha);
        let word = self.text[self.start..self.at].to_ascii_lowercase();
        match word.as_str() {
            word if KEYS.contains(&word) && self.peek() == Some(':') => Ok(Kind::HistogramWord),
            word if KEYS.contains(&word) => self.fail_behind("missing `:` for histogram descriptor".into()),
            "inf" | "nan" => Ok(Kind::Number),
            word if HINTS.contains(&word) => Ok(Kind::HistogramWord),
            _ => Err(format!("bad histogram descriptor found: {}", model::name::quote(&self.text[self.start..self.at]))),
        }
    }

    fn comment(&mut self) -> Option<Kind> {
        self.accept_all(|c| !matches!(c, '\r' | '\n'));
        None
    }

    fn spaces(&mut self) -> Option<Kind> {
        self.skip_spaces();
        None
    }

    fn binary(&mut self, op: BinaryOp) -> Kind {
        self.advance();
        Kind::Binary(op)
    }

    fn comparison(&mut self, first: char) -> Kind {
        let less = first == '<';
        match self.peek() {
            Some('=') => self.binary(if less { BinaryOp::LessOrEqual } else { BinaryOp::GreaterOrEqual }),
            Some('/') => {
                self.advance();
                Kind::Binary(if less { BinaryOp::TrimBelow } else { BinaryOp::TrimAbove })
            }
            Some(_) | None => Kind::Binary(if less { BinaryOp::Less } else { BinaryOp::Greater }),
        }
    }

    fn left_paren(&mut self) -> Kind {
        self.open_parens += 1;
        Kind::LeftParen
    }

    fn right_paren(&mut self) -> Result<Kind, String> {
        match self.open_parens.checked_sub(1) {
            Some(left) => {
                self.open_parens = left;
                Ok(Kind::RightParen)
            }
            None => self.fail_behind("unexpected right parenthesis ')'".into()),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Kind, String> {
        if quote == '`' {
            self.scan_raw()?
        } else {
            self.scan_quoted(quote)?
        }
        Ok(Kind::String)
    }

    fn starts_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|next| next.is_ascii_digit()))
    }

    fn number_or_duration(&mut self) -> Result<Kind, String> {
        self.at = self.start;
        if self.scan_number() {
            return Ok(Kind::Number);
        }
        if self.scan_duration() {
            return Ok(Kind::Duration);
        }
        Err(format!("bad number or duration syntax: {}", model::name::quote(&self.text[self.start..self.at])))
    }

    fn word(&mut self) -> Kind {
        self.accept_all(|c| is_alphanumeric(c) || c == ':');
        let word = &self.text[self.start..self.at];
        let kind = match keyword(word) {
            // These came late to the language, so that metrics may have their names unless a value follows.
            Some(Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) if !self.parenthesis_follows() => Kind::Identifier,
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        if self.series && self.peek() != Some('{') {
            self.state = State::Values;
        }
        kind
    }

    fn word_in_brackets(&mut self, first: char) -> Result<Kind, String> {
        if first == ':' && self.colon_seen {
            return Err("unexpected colon ':'".into());
        }
        if first == ':' {
            self.colon_seen = true;
            return Ok(Kind::Colon);
        }
        let keyword = if starts_duration_keyword(first) { self.duration_keyword() } else { None };
        keyword.ok_or_else(|| format!("unexpected character: {}, expected ':'", quote_char(Some(first))))
    }

    fn duration_keyword(&mut self) -> Option<Kind> {
        self.accept_all(is_alpha);
        match keyword(&self.text[self.start..self.at]) {
            Some(Kind::Keyword(word @ (Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf))) => Some(Kind::Keyword(word)),
            Some(_) | None => None,
        }
    }
}

fn arithmetic(c: char) -> Option<Kind> {
    let op = match c {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        _ => return None,
    };
    Some(Kind::Binary(op))
}

fn starts_duration_keyword(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 's' | 'r' | 'm')
}

pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// A character as Go's `%q` writes it; the end of the text is the replacement character.
fn quote_char(c: Option<char>) -> String {
    match c.unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\'' => "'\\''".into(),
        '"' => "'\"'".into(),
        other => {
            let quoted = model::name::quote(other.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}
