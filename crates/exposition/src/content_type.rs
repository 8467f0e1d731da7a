//! Which format a body has, by its `Content-Type`: only the media type counts, its parameters must merely be readable.

use std::fmt;

use crate::text::GoQuoted;

/// The text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/plain`: versions 0.0.4 and 1.0.0 are read alike.
    PrometheusText,
    /// `application/openmetrics-text`.
    OpenMetrics,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusText => "text/plain",
            Self::OpenMetrics => "application/openmetrics-text",
        }
    }
}

/// Why a `Content-Type` does not say a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is none, or it is empty.
    Blank,
    /// It breaks the grammar.
    Unreadable {
        /// The header.
        content_type: String,
        /// What is wrong with it, in Go's words.
        error: &'static str,
    },
    /// A media type that is no exposition format.
    Unsupported(String),
    /// Prometheus's protobuf format, which Prometheus reads and we do not.
    Protobuf(String),
}

/// A `Content-Type` that does not say a format: an error without a fallback, a warning with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentTypeError {
    /// What is wrong.
    pub reason: Reason,
    /// The format that is used in its place.
    pub fallback: Option<Format>,
}

impl std::error::Error for ContentTypeError {}

impl fmt::Display for ContentTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| GoQuoted(text.as_bytes()).to_string();
        let using = self.fallback.map(|format| format!("using fallback_scrape_protocol {}", quoted(format.media_type())));
        match (&self.reason, using) {
            (Reason::Blank, None) => {
                f.write_str("non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target")
            }
            (Reason::Blank, Some(using)) => write!(f, "non-compliant scrape target sending blank Content-Type, {using}"),
            (Reason::Unreadable { content_type, error }, None) => {
                write!(f, "cannot parse Content-Type {} and no fallback_scrape_protocol for target\n{error}", quoted(content_type))
            }
            (Reason::Unreadable { content_type, error }, Some(using)) => {
                write!(f, "could not parse received Content-Type {}, {using}\n{error}", quoted(content_type))
            }
            (Reason::Unsupported(content_type), None) => {
                write!(f, "received unsupported Content-Type {} and no fallback_scrape_protocol specified for target", quoted(content_type))
            }
            (Reason::Unsupported(content_type), Some(using)) => {
                write!(f, "received unsupported Content-Type {}, {using}", quoted(content_type))
            }
            (Reason::Protobuf(content_type), _) => {
                write!(f, "Content-Type {}: the protobuf exposition format is not supported yet", quoted(content_type))
            }
        }
    }
}

/// The format of a body: by its `Content-Type`, else the `fallback` with the reason as a warning.
///
/// Protobuf is refused even with a fallback: the target says what it sent, and reading that as text could only fail worse.
pub fn negotiate(content_type: Option<&str>, fallback: Option<Format>) -> Result<(Format, Option<ContentTypeError>), ContentTypeError> {
    let content_type = content_type.unwrap_or_default();
    let reason = match media_type(content_type) {
        _ if content_type.is_empty() => Reason::Blank,
        Ok(media_type) => match media_type.as_str() {
            "text/plain" => return Ok((Format::PrometheusText, None)),
            "application/openmetrics-text" => return Ok((Format::OpenMetrics, None)),
            "application/vnd.google.protobuf" => {
                return Err(ContentTypeError { reason: Reason::Protobuf(content_type.to_owned()), fallback: None });
            }
            _ => Reason::Unsupported(content_type.to_owned()),
        },
        Err(error) => Reason::Unreadable { content_type: content_type.to_owned(), error },
    };
    let error = ContentTypeError { reason, fallback };
    match fallback {
        Some(format) => Ok((format, Some(error))),
        None => Err(error),
    }
}

/// The media type in lower case, as Go's `mime.ParseMediaType` finds it.
fn media_type(header: &str) -> Result<String, &'static str> {
    let (base, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
    let media_type = base.trim().to_lowercase();
    check_media_type(&media_type)?;
    let mut seen: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(media_type);
        }
        let Some((name, value, after)) = parameter(rest) else {
            // Go forgives a semicolon at the end, and with it nothing behind.
            return if rest.trim() == ";" { Ok(media_type) } else { Err("mime: invalid media parameter") };
        };
        match seen.iter().find(|(other, _)| *other == name) {
            Some((_, other)) if *other != value => return Err("mime: duplicate parameter name"),
            Some(_) => {}
            None => seen.push((name, value)),
        }
        rest = after;
    }
}

fn check_media_type(text: &str) -> Result<(), &'static str> {
    let (kind, rest) = token(text);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let Some(rest) = rest.strip_prefix('/') else {
        return Err("mime: expected slash after first token");
    };
    match token(rest) {
        ("", _) => Err("mime: expected token after slash"),
        (_, "") => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// `; name=value`: name in lower case, value unquoted, and what follows.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_start());
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, rest) = value(rest)?;
    Some((name.to_lowercase(), value, rest))
}

/// A token or a quoted string; neither may be empty, but for the quoted one.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            // Only what must be escaped is unescaped: some send Windows paths.
            '\\' if chars.peek().is_some_and(|&(_, next)| next.is_ascii() && !is_token(next as u8)) => {
                value.extend(chars.next().map(|(_, next)| next));
            }
            '\r' | '\n' => return None,
            c => value.push(c),
        }
    }
    None
}

fn token(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|c| !is_token(c)).unwrap_or(text.len()))
}

fn is_token(c: u8) -> bool {
    c.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, want: Result<Format, &str>) {
        match (negotiate(Some(content_type), None), want) {
            (Ok((format, None)), Ok(want)) => assert_eq!(format, want),
            (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
            (got, _) => panic!("{content_type:?}: {got:?}"),
        }
    }

    #[test]
    fn by_media_type() {
        let (text, open_metrics) = (Format::PrometheusText, Format::OpenMetrics);
        check("text/plain", Ok(text));
        check("text/plain; version=0.0.4; charset=utf-8", Ok(text));
        check("TEXT/Plain;version=\"1.0.0\"", Ok(text));
        check("text/plain;", Ok(text));
        check("text/plain; a=1; a=1", Ok(text));
        check("application/openmetrics-text; version=9", Ok(open_metrics));
        check("text/plain; a=1; A=2", Err("duplicate parameter name"));
        check("text/plain; version", Err("invalid media parameter"));
        check("text/plain; version=", Err("invalid media parameter"));
        check("text/plain, text/html", Err("unexpected content after media subtype"));
        check("text/", Err("expected token after slash"));
        check("/plain", Err("no media type"));
        check("text plain", Err("expected slash"));
        check("text/html", Err("received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol"));
        check("plain", Err("unsupported"));
        check("", Err("sending blank Content-Type and no fallback"));
        check("application/vnd.google.protobuf; proto=x", Err("not supported yet"));
    }

    #[test]
    fn the_fallback_warns() {
        for (content_type, want) in [
            (None, "non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol \"text/plain\""),
            (Some("a/b"), "received unsupported Content-Type \"a/b\", using fallback_scrape_protocol \"text/plain\""),
            (
                Some("a/b; c"),
                "could not parse received Content-Type \"a/b; c\", using fallback_scrape_protocol \"text/plain\"\nmime: invalid media parameter",
            ),
        ] {
            let (format, warning) = negotiate(content_type, Some(Format::PrometheusText)).expect("a fallback");
            assert_eq!((format, warning.map(|w| w.to_string()).as_deref()), (Format::PrometheusText, Some(want)));
        }
        assert!(negotiate(Some("application/vnd.google.protobuf"), Some(Format::PrometheusText)).is_err());
        assert_eq!(negotiate(Some("text/plain"), Some(Format::OpenMetrics)), Ok((Format::PrometheusText, None)));
    }
}
