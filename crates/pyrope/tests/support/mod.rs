//! The real binary, started by tests on ports and folders of its own, and an HTTP client that sends exactly what it is told.

#![allow(dead_code, reason = "each test target uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub mod exporter;
pub mod feed;
pub mod remote_write;
pub mod samples;

pub use rustix::process::Signal;

use rustix::process::Pid;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Every wait ends here at the latest.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A running server, killed when dropped.
pub struct Server {
    pub address: String,
    pub folder: PathBuf,
    child: Child,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The command for a server on `folder/prometheus.yml` and `folder/data`.
pub fn command(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyrope"));
    command
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-lifecycle", "--web.enable-remote-write-receiver"])
        .stdin(Stdio::null());
    command
}

impl Server {
    /// Starts a server with this configuration and waits until it is ready.
    pub fn start(folder: &Path, config: &str) -> Self {
        Self::start_with(folder, config, &[])
    }

    /// [`Server::start`] with more flags.
    #[track_caller]
    pub fn start_with(folder: &Path, config: &str, flags: &[&str]) -> Self {
        match Self::try_start_with(folder, config, flags) {
            Ok(server) => server,
            Err(why) => panic!("{why}"),
        }
    }

    /// [`Server::start_with`] of what may be refused; the error has its log.
    pub fn try_start_with(folder: &Path, config: &str, flags: &[&str]) -> Result<Self, String> {
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let mut command = command(folder, port);
        command.args(flags);
        let mut server = Self::begin(folder, port, command);
        server.becomes_ready()?;
        Ok(server)
    }

    /// Waits until what `command` starts is ready on `port`; its log goes to `folder/log`.
    pub fn spawn(folder: &Path, port: u16, command: Command) -> Self {
        let mut server = Self::begin(folder, port, command);
        server.wait_until_ready();
        server
    }

    /// Likewise, without waiting.
    pub fn begin(folder: &Path, port: u16, mut command: Command) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { address: format!("127.0.0.1:{port}"), folder: folder.to_owned(), child }
    }

    pub fn ready(&self) -> bool {
        get(&self.address, "/-/ready").is_some_and(|answer| answer.status == 200)
    }

    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        if let Err(why) = self.becomes_ready() {
            panic!("{why}");
        }
    }

    fn becomes_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        while !self.ready() {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
                return Err(format!("not ready ({ended:?}): {log}"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    pub fn get(&self, path: &str) -> Answer {
        get(&self.address, path).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// The `result` of an instant query.
    pub fn query(&self, expression: &str, time: Option<f64>) -> Value {
        let mut path = format!("/api/v1/query?query={}", percent(expression));
        if let Some(time) = time {
            path.push_str(&format!("&time={time}"));
        }
        let answer = self.get(&path);
        assert_eq!(answer.status, 200, "{expression}: {}", answer.text());
        answer.json()["data"].clone()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code, if it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().and_then(|status| status.code())
    }

    /// SIGTERM, and the exit code once it has ended.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        poll("the end", || self.child.try_wait().unwrap(), Option::is_some).unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until `done` is true of it.
#[track_caller]
pub fn poll<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> T, done: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let got = ask();
        if done(&got) {
            return got;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}; got {got:?}");
        std::thread::yield_now();
    }
}

/// Says what a test leaves out, past the harness, which keeps what passing tests print to itself.
pub fn skipped(what: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}

pub fn get(address: &str, path: &str) -> Option<Answer> {
    send(address, "GET", path, &[], b"")
}

/// Sends these headers and no others but `Host`, `Connection` and `Content-Length`.
pub fn send(address: &str, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    if method != "GET" {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    parse_answer(&bytes)
}

fn parse_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers.iter().any(|(n, v)| n.eq_ignore_ascii_case("transfer-encoding") && v == "chunked") {
        body = dechunk(&body)?;
    }
    Some(Answer { status, headers, body })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + len)?);
        rest = rest.get(end + 4 + len..)?;
    }
}

/// Percent-encoding of all but letters, digits and `-_.`.
pub fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-_.".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
