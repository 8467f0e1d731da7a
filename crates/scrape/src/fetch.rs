//! Asking a target for its page over HTTP, with Prometheus's headers and Prometheus's words for what goes wrong.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use config::{ScrapeConfig, ScrapeProtocol};
use model::{Millis, number};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};

/// What targets see; some serve other pages to unknown clients.
const USER_AGENT: &str = "Prometheus/3.14.0";
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// A refused answer is read up to here, so that its connection can be used again.
const DRAIN_BYTES_MAX: usize = 64 << 10;

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where.
    pub url: String,
    /// The same, read once and not for each scrape; none if it makes no sense, which asking then says.
    parsed: Option<reqwest::Url>,
    /// All headers.
    pub headers: HeaderMap,
    /// When to give up.
    pub timeout: Duration,
    /// As many unpacked bytes are too many; 0 = no limit.
    pub body_bytes_max: u64,
}

/// A page as it came.
#[derive(Debug)]
pub struct Fetched {
    /// Maybe packed.
    pub body: Vec<u8>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Content-Encoding` is `gzip`.
    pub packed: bool,
}

/// Why there is no page. The texts are those of Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not 200.
    #[error("server returned HTTP status {} {}", .0.as_u16(), .0.canonical_reason().unwrap_or_default())]
    Status(StatusCode),
    /// No answer in time.
    #[error("Get {}: context deadline exceeded", model::name::quote(.0))]
    Timeout(String),
    /// An answer that did not end in time.
    #[error("context deadline exceeded")]
    BodyTimeout,
    /// No answer.
    #[error("Get {}: {message}", model::name::quote(.url))]
    Request {
        /// Asked where.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// An answer that broke off.
    #[error("{0}")]
    Body(String),
    /// More bytes than allowed.
    #[error("body size limit exceeded")]
    Limit,
}

impl Request {
    /// What a job asks of its targets.
    pub fn new(job: &ScrapeConfig, url: String, timeout: Millis) -> Self {
        let mut headers = HeaderMap::new();
        let accept = accept(&job.scrape_protocols, job.metric_name_escaping_scheme);
        headers.insert(header::ACCEPT, HeaderValue::from_str(&accept).expect("made of media types"));
        let encoding = if job.enable_compression { "gzip" } else { "identity" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let seconds = number::format_plain(timeout.0 as f64 / 1000.0);
        headers.insert(TIMEOUT_HEADER, HeaderValue::from_str(&seconds).expect("a number is a header value"));
        let timeout = Duration::from_millis(timeout.0.unsigned_abs());
        let parsed = reqwest::Url::parse(&url).ok();
        Self { url, parsed, headers, timeout, body_bytes_max: job.body_size_limit }
    }
}

/// The `Accept` header: what the job wants, in its order, but for what we cannot read.
fn accept(protocols: &[ScrapeProtocol], escaping: config::EscapingScheme) -> String {
    let mut out = String::new();
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    for protocol in protocols {
        let escaped = match protocol {
            ScrapeProtocol::PrometheusProto => continue,
            ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0 => format!(";escaping={}", escaping.as_str()),
            ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::OpenMetricsText0_0_1 => String::new(),
        };
        out += &format!("{}{escaped};q=0.{weight},", protocol.media_type());
        weight -= 1;
    }
    out + &format!("*/*;q=0.{weight}")
}

/// Asks for a page.
///
/// # Errors
/// When there is none; see [`FetchError`].
pub async fn fetch(client: &Client, request: &Request, buffers: &Buffers) -> Result<Fetched, FetchError> {
    let deadline = tokio::time::Instant::now() + request.timeout;
    let asked = match &request.parsed {
        Some(url) => client.get(url.clone()),
        None => client.get(&request.url),
    };
    let sent = asked.headers(request.headers.clone()).send();
    let answer = match tokio::time::timeout_at(deadline, sent).await {
        Err(_) => return Err(FetchError::Timeout(request.url.clone())),
        Ok(Err(error)) => return Err(FetchError::Request { url: request.url.clone(), message: cause(&error, &request.url) }),
        Ok(Ok(answer)) => answer,
    };
    tokio::time::timeout_at(deadline, read(answer, request, buffers)).await.unwrap_or(Err(FetchError::BodyTimeout))
}

async fn read(mut answer: Response, request: &Request, buffers: &Buffers) -> Result<Fetched, FetchError> {
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        let mut drained = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            drained += chunk.len();
            if drained > DRAIN_BYTES_MAX {
                break;
            }
        }
        return Err(FetchError::Status(status));
    }
    let text = |name: HeaderName| answer.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = text(header::CONTENT_TYPE);
    let packed = text(header::CONTENT_ENCODING).as_deref() == Some("gzip");
    let bytes_max = match (request.body_bytes_max, packed) {
        (0, _) => usize::MAX,
        (limit, false) => usize::try_from(limit).unwrap_or(usize::MAX),
        // Packed bytes are hardly more than unpacked ones; the limit proper is that of the latter.
        (limit, true) => usize::try_from(limit.saturating_mul(2).saturating_add(64 << 10)).unwrap_or(usize::MAX),
    };
    let mut body = buffers.take();
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(Fetched { body, content_type, packed }),
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) >= bytes_max => {
                buffers.give(body);
                return Err(FetchError::Limit);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => {
                buffers.give(body);
                return Err(FetchError::Body(cause(&error, &request.url)));
            }
        }
    }
}

/// The innermost cause, in Go's words where we know them.
fn cause(error: &reqwest::Error, url: &str) -> String {
    let mut innermost: &dyn std::error::Error = error;
    let mut kind = None;
    while let Some(source) = innermost.source() {
        innermost = source;
        kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
    }
    if error.is_redirect() {
        return "stopped after 10 redirects".into();
    }
    let connecting = error.is_connect();
    let address = || {
        url::Url::parse(url).ok().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))).unwrap_or_default()
    };
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => format!("dial tcp {}: connect: connection refused", address()),
        Some(io::ErrorKind::HostUnreachable) => format!("dial tcp {}: connect: no route to host", address()),
        Some(io::ErrorKind::NetworkUnreachable) => format!("dial tcp {}: connect: network is unreachable", address()),
        Some(io::ErrorKind::TimedOut) if connecting => format!("dial tcp {}: connect: connection timed out", address()),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".into(),
        Some(io::ErrorKind::UnexpectedEof) => "unexpected EOF".into(),
        _ => {
            let text = innermost.to_string();
            match text.as_str() {
                "connection closed before message completed" => "EOF".into(),
                "end of file before message length reached" => "unexpected EOF".into(),
                _ if connecting => format!("dial tcp: {text}"),
                _ => text,
            }
        }
    }
}

/// Body buffers that wait for their next use: a bounded number of a bounded size, larger ones are freed.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

const BUFFERS_MAX: usize = 32;
const BUFFER_BYTES_MAX: usize = 1 << 20;

impl Buffers {
    /// An empty buffer.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Back for the next one.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_BYTES_MAX {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::EscapingScheme;

    #[test]
    fn asks_in_the_jobs_order_and_never_for_protobuf() {
        use ScrapeProtocol::*;
        for (protocols, escaping, want) in [
            (
                &ScrapeProtocol::DEFAULT[..],
                EscapingScheme::AllowUtf8,
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (&[PrometheusText0_0_4], EscapingScheme::AllowUtf8, "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"),
            (
                &[PrometheusProto, PrometheusText1_0_0, PrometheusText0_0_4],
                EscapingScheme::Dots,
                "text/plain;version=1.0.0;escaping=dots;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4",
            ),
        ] {
            assert_eq!(accept(protocols, escaping), want);
        }
    }

    #[test]
    fn buffers_are_kept_up_to_their_bounds() {
        let buffers = Buffers::default();
        buffers.give(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        assert_eq!(buffers.take().capacity(), 0);
        buffers.give(b"abc".to_vec());
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() >= 3);
    }
}
