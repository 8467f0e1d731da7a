//! Targets to scrape: pages that a test sets and changes, well behaved and not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a path answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this text, in which `$N` stands for the number of the request; OpenMetrics if it ends as such.
    Page(String),
    /// This status and no text.
    Status(u16),
    /// Nothing, for as long as the client waits.
    Hold,
    /// The connection ends without an answer.
    Hangup,
}

/// What each path answers, and how often it has.
type Pages = BTreeMap<String, (Reply, u64)>;

/// An HTTP server whose thread ends with the test.
pub struct Exporter {
    pub address: String,
    pages: Arc<Mutex<Pages>>,
}

impl Exporter {
    pub fn start(pages: &[(&str, Reply)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let exporter = Self { address, pages: Arc::default() };
        pages.iter().for_each(|(path, reply)| exporter.set(path, reply.clone()));
        let pages = exporter.pages.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pages = pages.clone();
                std::thread::spawn(move || answer(stream, &pages));
            }
        });
        exporter
    }

    /// How many requests for `path` there have been.
    pub fn count(&self, path: &str) -> u64 {
        self.pages.lock().unwrap().get(path).map_or(0, |(_, count)| *count)
    }

    /// The next request for `path` gets this.
    pub fn set(&self, path: &str, reply: Reply) {
        self.pages.lock().unwrap().entry(path.to_owned()).or_insert((Reply::Hangup, 0)).0 = reply;
    }
}

/// Answers one request. A client that has gone away is no concern of the exporter's.
fn answer(mut stream: TcpStream, pages: &Mutex<Pages>) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let len = stream.read(&mut buffer).ok().filter(|len| *len > 0)?;
        request.extend_from_slice(&buffer[..len]);
    }
    let path = String::from_utf8_lossy(&request).split(' ').nth(1)?.to_owned();
    let (reply, count) = {
        let mut pages = pages.lock().unwrap();
        let (reply, count) = pages.get_mut(&path)?;
        *count += 1;
        (reply.clone(), *count)
    };
    let (status, body) = match reply {
        Reply::Page(text) => (200, text.replace("$N", &count.to_string())),
        Reply::Status(status) => (status, String::new()),
        Reply::Hold => {
            while stream.read(&mut buffer).ok()? > 0 {}
            return None;
        }
        Reply::Hangup => return None,
    };
    let content_type = if body.ends_with("# EOF\n") { "application/openmetrics-text; version=1.0.0" } else { "text/plain; version=0.0.4" };
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()
}
