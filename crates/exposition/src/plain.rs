//! The plain parser: every line by way of tokens, just as Prometheus's own two parsers go.
//!
//! It defines what the crate answers. The fast paths take the lines that pages are made of, and leave it the rest.

use std::borrow::Cow;
use std::ops::Range;

use model::{MetricType, Timestamp};

use crate::Format;
use crate::entry::{Entry, Normalise, RawExemplar, Sample};
use crate::error::{ParseError, ParseErrorKind};
use crate::lexer::{Lexer, Token};
use crate::number::{NumberError, millis_of_seconds, not_finite, parse_digits, parse_float};
use crate::text::{Escapes, unescape};

/// A piece of a series or an exemplar, as a range of the body without its quotes.
pub(crate) enum Part {
    Name(Range<usize>),
    Label { name: Range<usize>, value: Range<usize> },
}

/// Whose braces are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Braces {
    Series,
    Exemplar,
}

/// Reads entries one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Plain<'a> {
    pub(crate) lexer: Lexer<'a>,
    pub(crate) normalise: Normalise,
    /// Where the current line began.
    start: usize,
    /// The last unquoted name that the fast path checked in a metadata line.
    pub(crate) family: &'a str,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(body: &'a [u8], format: Format) -> Self {
        Self { lexer: Lexer::new(body, format), normalise: Normalise::None, start: 0, family: "" }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            self.start = self.lexer.at;
            let text = self.lexer.format == Format::PrometheusText;
            match self.lexer.next_token() {
                Token::Eof if text => return Ok(None),
                Token::Eof => return Err(self.error(ParseErrorKind::NoEof)),
                Token::EofWord => {
                    return match self.lexer.next_token() {
                        Token::Eof => Ok(None),
                        _ => Err(self.error(ParseErrorKind::DataAfterEof)),
                    };
                }
                Token::Linebreak if text => {}
                Token::Comment if text => {
                    let token = self.lexer.next_token();
                    if token != Token::Linebreak {
                        return Err(self.unexpected("linebreak expected after comment", token));
                    }
                }
                line @ (Token::Help | Token::Type | Token::Unit) => return self.metadata(line).map(Some),
                first @ (Token::BraceOpen | Token::MetricName) => return self.sample(first).map(Some),
                token => return Err(self.unexpected("expected a valid start token", token)),
            }
        }
    }

    fn metadata(&mut self, line: Token) -> Result<Entry<'a>, ParseError> {
        let token = self.lexer.next_token();
        if token != Token::MetricName {
            let expected = match line {
                Token::Help => "expected metric name after HELP",
                Token::Type => "expected metric name after TYPE",
                _ => "expected metric name after UNIT",
            };
            return Err(self.unexpected(expected, token));
        }
        let name = match self.lexer.token() {
            [b'"', inner @ .., b'"'] => inner,
            plain => plain,
        };
        let token = self.lexer.next_token();
        if token != Token::Text {
            let found = (self.lexer.format == Format::PrometheusText).then_some(token);
            return Err(self.error(ParseErrorKind::NoText { line, found }));
        }
        // The blank before the text belongs to the token, in OpenMetrics also the line break behind it.
        let text = match (self.lexer.format, self.lexer.token()) {
            (Format::PrometheusText, [_, text @ ..]) | (Format::OpenMetrics, [_, text @ .., _]) => text,
            _ => &[],
        };
        let entry = self.metadata_entry(line, name, text)?;
        if self.lexer.format == Format::PrometheusText {
            let token = self.lexer.next_token();
            if token != Token::Linebreak {
                return Err(self.unexpected("linebreak expected after metadata", token));
            }
        }
        Ok(entry)
    }

    fn metadata_entry(&mut self, line: Token, name: &'a [u8], text: &'a [u8]) -> Result<Entry<'a>, ParseError> {
        let entry = metadata_entry(self.lexer.format, line, String::from_utf8_lossy(name), text).map_err(|wrong| match wrong {
            // The name as it was sent, not as it is shown.
            ParseErrorKind::UnitNotSuffix { unit, .. } => self.error(ParseErrorKind::UnitNotSuffix { unit, name: name.to_vec() }),
            kind => self.error(kind),
        })?;
        if let Entry::Type { kind, .. } = &entry {
            self.normalise = Normalise::of(*kind);
        }
        Ok(entry)
    }

    fn sample(&mut self, first: Token) -> Result<Entry<'a>, ParseError> {
        let (series, token, named) = self.series(first, &mut |_| ())?;
        if !named {
            return Err(self.error(ParseErrorKind::NoName(self.so_far())));
        }
        let mut sample = Sample {
            series: self.lexer.bytes(series),
            normalise: self.normalise,
            value: 0.0,
            timestamp: None,
            exemplar: None,
            format: self.lexer.format,
        };
        match self.lexer.format {
            Format::PrometheusText => self.text_suffix(token, &mut sample)?,
            Format::OpenMetrics => self.open_metrics_suffix(token, &mut sample)?,
        }
        Ok(Entry::Sample(sample))
    }

    /// The series' range, the token behind it, and whether it has a name.
    fn series(&mut self, first: Token, visit: &mut impl FnMut(Part)) -> Result<(Range<usize>, Token, bool), ParseError> {
        let mut named = first == Token::MetricName;
        if named {
            visit(Part::Name(self.start..self.lexer.at));
            let end = self.lexer.at;
            let token = self.lexer.next_token();
            if token != Token::BraceOpen {
                return Ok((self.start..end, token, named));
            }
        }
        self.braces(Braces::Series, &mut named, visit)?;
        let end = self.lexer.at;
        Ok((self.start..end, self.lexer.next_token(), named))
    }

    /// What stands between braces; the opening one has been read.
    fn braces(&mut self, of: Braces, named: &mut bool, visit: &mut impl FnMut(Part)) -> Result<(), ParseError> {
        let mut token = self.lexer.next_token();
        loop {
            let (start, end) = (self.lexer.start, self.lexer.at);
            let quoted = match token {
                Token::BraceClose => return Ok(()),
                Token::LabelName => false,
                Token::QuotedString => true,
                _ => return Err(self.unexpected("expected label name", token)),
            };
            token = self.lexer.next_token();
            if quoted && matches!(token, Token::Comma | Token::BraceClose) {
                // A quoted string alone is the metric's name.
                if of == Braces::Exemplar {
                    return Err(self.unexpected("expected label name", token));
                }
                if *named {
                    return Err(self.error(ParseErrorKind::NameAgain(self.so_far())));
                }
                *named = true;
                visit(Part::Name(start + 1..end - 1));
                if token == Token::BraceClose {
                    return Ok(());
                }
                token = self.lexer.next_token();
                continue;
            }
            let name = if quoted { start + 1..end - 1 } else { start..end };
            if token != Token::Equal {
                return Err(self.unexpected("expected equal", token));
            }
            token = self.lexer.next_token();
            if token != Token::LabelValue {
                return Err(self.unexpected("expected label value", token));
            }
            if std::str::from_utf8(self.lexer.token()).is_err() {
                return Err(self.error(ParseErrorKind::LabelValueNotUtf8(self.lexer.token().to_vec())));
            }
            visit(Part::Label { name, value: self.lexer.start + 1..self.lexer.at - 1 });
            token = self.lexer.next_token();
            if token == Token::Comma {
                token = self.lexer.next_token();
            } else if self.lexer.format == Format::OpenMetrics && token != Token::BraceClose {
                return Err(self.unexpected("expected comma or brace close", token));
            }
        }
    }

    fn text_suffix(&mut self, token: Token, sample: &mut Sample<'a>) -> Result<(), ParseError> {
        if token != Token::Value {
            return Err(self.unexpected("expected value after metric", token));
        }
        sample.value = parse_float(self.lexer.token()).map_err(|error| self.number(error))?;
        match self.lexer.next_token() {
            Token::Linebreak => Ok(()),
            Token::Timestamp => {
                sample.timestamp = Some(Timestamp(parse_digits(self.lexer.token()).map_err(|error| self.number(error))?));
                match self.lexer.next_token() {
                    Token::Linebreak => Ok(()),
                    token => Err(self.unexpected("expected next entry after timestamp", token)),
                }
            }
            token => Err(self.unexpected("expected timestamp or new record", token)),
        }
    }

    fn open_metrics_suffix(&mut self, token: Token, sample: &mut Sample<'a>) -> Result<(), ParseError> {
        sample.value = self.value_word(token, "expected value after metric")?;
        match self.lexer.next_token() {
            Token::Eof => Err(self.error(ParseErrorKind::NoEof)),
            Token::Comment => self.exemplar(sample),
            Token::Timestamp => {
                sample.timestamp = Some(self.seconds(ParseErrorKind::Timestamp)?);
                match self.lexer.next_token() {
                    Token::Linebreak => Ok(()),
                    Token::Comment => self.exemplar(sample),
                    token => Err(self.unexpected("expected next entry after timestamp", token)),
                }
            }
            // Anything else is a good sample for Prometheus too, which stumbles over the rest at its next step only.
            _ => Ok(()),
        }
    }

    fn exemplar(&mut self, sample: &mut Sample<'a>) -> Result<(), ParseError> {
        let open = self.lexer.at - 1;
        self.braces(Braces::Exemplar, &mut false, &mut |_| ())?;
        let raw = self.lexer.bytes(open..self.lexer.at);
        let token = self.lexer.next_token();
        let value = self.value_word(token, "expected value after exemplar labels")?;
        let timestamp = match self.lexer.next_token() {
            Token::Eof => return Err(self.error(ParseErrorKind::NoEof)),
            Token::Linebreak => None,
            Token::Timestamp => {
                let timestamp = self.seconds(ParseErrorKind::ExemplarTimestamp)?;
                match self.lexer.next_token() {
                    Token::Linebreak => Some(timestamp),
                    token => return Err(self.unexpected("expected next entry after exemplar timestamp", token)),
                }
            }
            token => return Err(self.unexpected("expected timestamp or comment", token)),
        };
        sample.exemplar = Some(RawExemplar { raw, value, timestamp });
        Ok(())
    }

    fn value_word(&mut self, token: Token, expected: &'static str) -> Result<f64, ParseError> {
        if token != Token::Value {
            return Err(self.unexpected(expected, token));
        }
        parse_float(self.word()).map_err(|error| self.number(error))
    }

    fn seconds(&mut self, kind: impl FnOnce(&'static str) -> ParseErrorKind) -> Result<Timestamp, ParseError> {
        let seconds = parse_float(self.word()).map_err(|error| self.number(error))?;
        match not_finite(seconds) {
            Some(text) => Err(self.error(kind(text))),
            None => Ok(Timestamp(millis_of_seconds(seconds))),
        }
    }

    /// The last token without the blank before it.
    fn word(&self) -> &'a [u8] {
        self.lexer.token().get(1..).unwrap_or_default()
    }

    fn number(&self, error: NumberError) -> ParseError {
        self.error(ParseErrorKind::Number { error, parsing: self.so_far() })
    }

    fn so_far(&self) -> Vec<u8> {
        self.read(self.start, self.lexer.at)
    }

    /// A copy that shows also the line break which the text format adds.
    fn read(&self, start: usize, end: usize) -> Vec<u8> {
        let mut bytes = self.lexer.bytes(start..end.max(start)).to_vec();
        if end.min(self.lexer.end()) > self.lexer.body.len() {
            bytes.push(b'\n');
        }
        bytes
    }

    fn unexpected(&self, expected: &'static str, token: Token) -> ParseError {
        let end = self.lexer.end().min(self.lexer.at + 1);
        let (found, parsing) = (self.read(self.lexer.start, end), self.read(self.start, end));
        self.error(ParseErrorKind::Unexpected { expected, token, found, parsing })
    }

    fn error(&self, kind: ParseErrorKind) -> ParseError {
        let at = if self.lexer.at >= self.lexer.end() { self.lexer.body.len() } else { self.lexer.start };
        let before = self.lexer.bytes(0..at);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        ParseError { kind, line: 1 + memchr::memchr_iter(b'\n', before).count(), column: 1 + before.len() - line_start }
    }
}

/// What a metadata line says.
#[inline]
pub(crate) fn metadata_entry<'a>(format: Format, line: Token, name: Cow<'a, str>, text: &'a [u8]) -> Result<Entry<'a>, ParseErrorKind> {
    match line {
        Token::Type => match metric_type(format, text) {
            Some(kind) => Ok(Entry::Type { name, kind }),
            None => Err(ParseErrorKind::MetricType(text.to_vec())),
        },
        Token::Help => {
            let escapes = if format == Format::OpenMetrics { Escapes::All } else { Escapes::Help };
            match std::str::from_utf8(text) {
                Ok(text) => Ok(Entry::Help { name, text: unescape(text, escapes) }),
                Err(_) => Err(ParseErrorKind::HelpNotUtf8(text.to_vec())),
            }
        }
        _ => {
            let base = name.as_bytes().strip_suffix(text);
            if text.is_empty() || base.is_some_and(|base| base.ends_with(b"_")) {
                return Ok(Entry::Unit { name, unit: String::from_utf8_lossy(text) });
            }
            Err(ParseErrorKind::UnitNotSuffix { unit: text.to_vec(), name: name.as_bytes().to_vec() })
        }
    }
}

fn metric_type(format: Format, word: &[u8]) -> Option<MetricType> {
    match (word, format) {
        (b"counter", _) => Some(MetricType::Counter),
        (b"gauge", _) => Some(MetricType::Gauge),
        (b"histogram", _) => Some(MetricType::Histogram),
        (b"summary", _) => Some(MetricType::Summary),
        (b"untyped", Format::PrometheusText) | (b"unknown", Format::OpenMetrics) => Some(MetricType::Unknown),
        (b"gaugehistogram", Format::OpenMetrics) => Some(MetricType::GaugeHistogram),
        (b"info", Format::OpenMetrics) => Some(MetricType::Info),
        (b"stateset", Format::OpenMetrics) => Some(MetricType::StateSet),
        _ => None,
    }
}

/// Shows the parts of a series that has been parsed before, in its order.
pub(crate) fn visit_series(raw: &[u8], format: Format, visit: &mut impl FnMut(Part)) {
    let mut plain = Plain::new(raw, format);
    let first = plain.lexer.next_token();
    let parsed = plain.series(first, visit);
    debug_assert!(parsed.is_ok(), "a series that does not parse again: {parsed:?}");
}

/// Shows the labels of an exemplar that has been parsed before.
pub(crate) fn visit_exemplar(raw: &[u8], visit: &mut impl FnMut(Part)) {
    let mut plain = Plain::new(raw, Format::OpenMetrics);
    plain.lexer.at = 1;
    plain.lexer.state = crate::lexer::State::Exemplar;
    let parsed = plain.braces(Braces::Exemplar, &mut false, visit);
    debug_assert!(parsed.is_ok(), "an exemplar that does not parse again: {parsed:?}");
}
