//! The tokens of both formats, with the states and the oddities of Prometheus's generated lexers.
//!
//! A token ends at the first byte that cannot belong to it, also when that makes it invalid: error texts and what is
//! read afterwards depend on it. Zero bytes are stepped over where the state allows them (values of labels, texts,
//! comments) and end a token anywhere else, as the end of the body does.

use std::fmt;
use std::ops::Range;

use crate::Format;

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Nothing that the state knows.
    Invalid,
    /// The end of the page.
    Eof,
    /// `\n`.
    Linebreak,
    /// Blanks and tabs.
    Whitespace,
    /// `# HELP`.
    Help,
    /// `# TYPE`.
    Type,
    /// `# UNIT`.
    Unit,
    /// `# EOF`.
    EofWord,
    /// What follows the name in a metadata line.
    Text,
    /// A comment, or what opens an exemplar.
    Comment,
    /// A metric name.
    MetricName,
    /// A quoted name inside braces.
    QuotedString,
    /// `{`.
    BraceOpen,
    /// `}`.
    BraceClose,
    /// A label name.
    LabelName,
    /// A quoted label value.
    LabelValue,
    /// `,`.
    Comma,
    /// `=`.
    Equal,
    /// A time.
    Timestamp,
    /// A number.
    Value,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "INVALID",
            Self::Eof => "EOF",
            Self::Linebreak => "LINEBREAK",
            Self::Whitespace => "WHITESPACE",
            Self::Help => "HELP",
            Self::Type => "TYPE",
            Self::Unit => "UNIT",
            Self::EofWord => "EOFWORD",
            Self::Text => "TEXT",
            Self::Comment => "COMMENT",
            Self::MetricName => "MNAME",
            Self::QuotedString => "QSTRING",
            Self::BraceOpen => "BOPEN",
            Self::BraceClose => "BCLOSE",
            Self::LabelName => "LNAME",
            Self::LabelValue => "LVALUE",
            Self::Comma => "COMMA",
            Self::Equal => "EQUAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Value => "VALUE",
        })
    }
}

/// Where in a line the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Init,
    Comment,
    Meta1,
    Meta2,
    Labels,
    LabelValue,
    Value,
    Timestamp,
    Exemplar,
    ExemplarValue,
    ExemplarTimestamp,
}

/// Whether a quoted string may hold raw line breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Allowed,
    Refused,
}

/// Cuts a body into tokens.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) format: Format,
    /// Where the last token began.
    pub(crate) start: usize,
    /// Where the next one begins.
    pub(crate) at: usize,
    pub(crate) state: State,
}

pub(crate) fn is_metric_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c == b':'
}

fn is_label_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_'
}

fn is_blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(body: &'a [u8], format: Format) -> Self {
        Self { body, format, start: 0, at: 0, state: State::Init }
    }

    /// The text format is read as if a line break stood behind the body.
    pub(crate) fn end(&self) -> usize {
        self.body.len() + usize::from(self.format == Format::PrometheusText)
    }

    /// The bytes of a range; only for ranges that leave out the line break that is not there.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        &self.body[range.start.min(self.body.len())..range.end.min(self.body.len())]
    }

    /// The bytes of the last token.
    pub(crate) fn token(&self) -> &'a [u8] {
        self.bytes(self.start..self.at)
    }

    /// The next token; in the text format, blanks between tokens are passed over.
    pub(crate) fn next_token(&mut self) -> Token {
        match self.format {
            Format::OpenMetrics => self.lex_open_metrics(),
            Format::PrometheusText => loop {
                let token = self.lex_text();
                if token != Token::Whitespace {
                    return token;
                }
            },
        }
    }

    fn current(&self) -> u8 {
        match self.body.get(self.at) {
            Some(&c) => c,
            None if self.at < self.end() => b'\n',
            None => 0,
        }
    }

    fn step(&mut self) -> u8 {
        self.at += 1;
        if matches!(self.state, State::LabelValue | State::Meta2 | State::Comment) {
            while self.at < self.end() && self.current() == 0 {
                self.at += 1;
            }
        }
        self.current()
    }

    /// Steps over one byte, then enters `state`: in this order, since the old state says what happens to zero bytes.
    fn single(&mut self, state: State, token: Token) -> Token {
        self.step();
        self.enter(state, token)
    }

    fn enter(&mut self, state: State, token: Token) -> Token {
        self.state = state;
        token
    }

    fn step_while(&mut self, belongs: impl Fn(u8) -> bool) -> u8 {
        loop {
            let c = self.step();
            if !belongs(c) {
                return c;
            }
        }
    }

    fn metric_name(&mut self, state: State) -> Token {
        self.step_while(|c| is_metric_start(c) || c.is_ascii_digit());
        self.enter(state, Token::MetricName)
    }

    fn label_name(&mut self) -> Token {
        self.step_while(|c| is_label_start(c) || c.is_ascii_digit());
        Token::LabelName
    }

    fn quoted(&mut self, breaks: Breaks, state: State, token: Token) -> Token {
        loop {
            match self.step() {
                b'"' => return self.single(state, token),
                b'\\' => {
                    if matches!(self.step(), 0 | b'\n') {
                        return Token::Invalid;
                    }
                }
                0 => return Token::Invalid,
                b'\n' if breaks == Breaks::Refused => return Token::Invalid,
                _ => {}
            }
        }
    }

    /// The rest of a keyword whose first byte has been seen; stops at the first byte that differs.
    fn keyword(&mut self, rest: &[u8]) -> bool {
        rest.iter().all(|&c| self.step() == c)
    }

    fn lex_text(&mut self) -> Token {
        if self.at >= self.end() {
            return Token::Eof;
        }
        self.start = self.at;
        let c = self.current();
        if is_blank(c) && self.state != State::Meta2 {
            self.step_while(is_blank);
            return Token::Whitespace;
        }
        match (self.state, c) {
            (State::Init, b'#') => self.text_comment(),
            (State::Init, b'\n') => self.single(State::Init, Token::Linebreak),
            (State::Init, b'{') => self.single(State::Labels, Token::BraceOpen),
            (State::Init, 0) => self.single(State::Init, Token::Eof),
            (State::Init, c) if is_metric_start(c) => self.metric_name(State::Value),
            (State::Meta1, b'"') => self.quoted(Breaks::Allowed, State::Meta2, Token::MetricName),
            (State::Meta1, c) if is_metric_start(c) => self.metric_name(State::Meta2),
            (State::Meta2, c) => self.text_of_metadata(c),
            (State::Labels, b'"') => self.quoted(Breaks::Allowed, State::Labels, Token::QuotedString),
            (State::Labels, c) => self.inside_braces(c, State::Value, State::LabelValue),
            (State::LabelValue, b'"') => self.quoted(Breaks::Allowed, State::Labels, Token::LabelValue),
            (State::Value, b'{') => self.single(State::Labels, Token::BraceOpen),
            (State::Value, 0 | b'\n') => Token::Invalid,
            (State::Value, _) => {
                self.step_while(|c| !matches!(c, 0 | b' ' | b'\t' | b'\n' | b'{'));
                self.enter(State::Timestamp, Token::Value)
            }
            (State::Timestamp, b'\n') => self.single(State::Init, Token::Linebreak),
            (State::Timestamp, b'0'..=b'9') => {
                self.step_while(|c| c.is_ascii_digit());
                Token::Timestamp
            }
            _ => Token::Invalid,
        }
    }

    fn text_comment(&mut self) -> Token {
        let mut c = self.step();
        if !is_blank(c) {
            return self.rest_of_comment();
        }
        while is_blank(c) {
            c = self.step();
        }
        self.state = State::Comment;
        let (rest, token): (&[u8], Token) = match c {
            b'H' => (b"ELP", Token::Help),
            b'T' => (b"YPE", Token::Type),
            _ => return self.rest_of_comment(),
        };
        if self.keyword(rest) && is_blank(self.step()) {
            self.step_while(is_blank);
            return self.enter(State::Meta1, token);
        }
        self.rest_of_comment()
    }

    fn rest_of_comment(&mut self) -> Token {
        let mut c = self.current();
        loop {
            match c {
                0 => return Token::Eof,
                b'\n' => return self.enter(State::Init, Token::Comment),
                _ => c = self.step(),
            }
        }
    }

    fn text_of_metadata(&mut self, mut c: u8) -> Token {
        if is_blank(c) {
            c = self.step_while(is_blank);
            if matches!(c, 0 | b'\n') {
                return Token::Whitespace;
            }
        }
        while !matches!(c, 0 | b'\n') {
            c = self.step();
        }
        self.enter(State::Init, Token::Text)
    }

    fn inside_braces(&mut self, c: u8, closed: State, value: State) -> Token {
        match c {
            b',' => self.single(self.state, Token::Comma),
            b'=' => self.single(value, Token::Equal),
            b'}' => self.single(closed, Token::BraceClose),
            c if is_label_start(c) => self.label_name(),
            _ => Token::Invalid,
        }
    }

    fn lex_open_metrics(&mut self) -> Token {
        if self.at >= self.end() {
            return Token::Eof;
        }
        self.start = self.at;
        match (self.state, self.current()) {
            (State::Init, b'#') => self.open_metrics_comment(),
            (State::Init, b'{') => self.single(State::Labels, Token::BraceOpen),
            (State::Init, c) if is_metric_start(c) => self.metric_name(State::Value),
            (State::Meta1, b'"') => self.quoted(Breaks::Allowed, State::Meta2, Token::MetricName),
            (State::Meta1, c) if is_metric_start(c) => self.metric_name(State::Meta2),
            (State::Meta2, b' ') => match self.step_while(|c| !matches!(c, 0 | b'\n')) {
                b'\n' => self.single(State::Init, Token::Text),
                _ => Token::Invalid,
            },
            (State::Labels, b'"') => self.quoted(Breaks::Allowed, State::Labels, Token::QuotedString),
            (State::Labels, c) => self.inside_braces(c, State::Value, State::LabelValue),
            (State::LabelValue, b'"') => self.quoted(Breaks::Refused, State::Labels, Token::LabelValue),
            (State::Value, b'{') => self.single(State::Labels, Token::BraceOpen),
            (State::Value, b' ') => self.blank_and_word(State::Timestamp, Token::Value),
            (State::Timestamp | State::ExemplarTimestamp, b'\n') => self.single(State::Init, Token::Linebreak),
            (State::Timestamp, b' ') => self.timestamp_or_exemplar(),
            (State::Exemplar, b'"') => self.quoted(Breaks::Refused, State::Exemplar, Token::QuotedString),
            (State::Exemplar, c) => self.inside_braces(c, State::ExemplarValue, State::ExemplarValue),
            (State::ExemplarValue, b'"') => self.quoted(Breaks::Refused, State::Exemplar, Token::LabelValue),
            (State::ExemplarValue, b' ') => self.blank_and_word(State::ExemplarTimestamp, Token::Value),
            (State::ExemplarTimestamp, b' ') => self.blank_and_word(State::ExemplarTimestamp, Token::Timestamp),
            _ => Token::Invalid,
        }
    }

    fn open_metrics_comment(&mut self) -> Token {
        if self.step() != b' ' {
            return Token::Invalid;
        }
        let c = self.step();
        self.state = State::Comment;
        let (rest, token): (&[u8], Token) = match c {
            b'E' => (b"OF", Token::EofWord),
            b'H' => (b"ELP ", Token::Help),
            b'T' => (b"YPE ", Token::Type),
            b'U' => (b"NIT ", Token::Unit),
            _ => return Token::Invalid,
        };
        if !self.keyword(rest) {
            return Token::Invalid;
        }
        let c = self.step();
        if token != Token::EofWord {
            return self.enter(State::Meta1, token);
        }
        if c == b'\n' {
            self.step();
        }
        self.enter(State::Init, token)
    }

    /// One blank, then at least one byte that is neither blank nor line break.
    fn blank_and_word(&mut self, state: State, token: Token) -> Token {
        let c = self.step();
        self.word(c, state, token)
    }

    fn word(&mut self, c: u8, state: State, token: Token) -> Token {
        if matches!(c, 0 | b' ' | b'\n') {
            return Token::Invalid;
        }
        self.step_while(|c| !matches!(c, 0 | b' ' | b'\n'));
        self.enter(state, token)
    }

    fn timestamp_or_exemplar(&mut self) -> Token {
        let c = self.step();
        if c != b'#' {
            return self.word(c, State::Timestamp, Token::Timestamp);
        }
        match self.step() {
            b' ' if self.step() == b'{' => self.single(State::Exemplar, Token::Comment),
            b' ' => Token::Invalid,
            0 | b'\n' => self.enter(State::Timestamp, Token::Timestamp),
            c => self.word(c, State::Timestamp, Token::Timestamp),
        }
    }
}
