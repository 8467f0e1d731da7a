//! An HTTP client made from the settings of a configuration.
//!
//! The client asks for no compression and unpacks nothing: who scrapes says what it accepts, and counts the bytes. It
//! keeps connections alive and verifies peers with ring. Credentials are headers: [`build`] puts what it can read into
//! every request, and [`request_headers`] reads them again, since tokens in files are renewed while a server runs.
//!
//! ```
//! let settings = config::HttpClientSettings::default();
//! let client = http_client::build(&settings).unwrap();
//! let headers = http_client::request_headers(&settings).unwrap();
//! let request = client.get("http://localhost:9090/metrics").headers(headers);
//! # let _ = request;
//! ```

#![forbid(unsafe_code)]

mod headers;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use config::{HttpClientSettings, Secret};
use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};

pub use headers::request_headers;

/// Redirects that are followed, as by Go's client.
const REDIRECTS_MAX: usize = 10;
/// How long an idle connection stays; longer than most scrape intervals.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const IDLE_PER_HOST_MAX: usize = 1000;

/// Why there is no client, or no headers for a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("unable to read {what} file {}: {error}", .path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A header's name or value has characters that may not be in one.
    #[error("invalid header {0:?}")]
    Header(String),
    /// Something of the TLS settings cannot be used.
    #[error("{0}")]
    Tls(String),
    /// The proxy's address cannot be used.
    #[error("invalid proxy_url: {0}")]
    Proxy(reqwest::Error),
    /// What the configuration refuses at start.
    #[error("{0} is not supported yet")]
    Unsupported(&'static str),
    /// The client cannot be made.
    #[error("unable to create the HTTP client: {0}")]
    Build(reqwest::Error),
}

/// Makes a client.
///
/// A credentials file that cannot be read is no error here but one of [`request_headers`]: it may come later. Of a
/// header with several values the client itself sends the first; [`request_headers`] has all.
///
/// # Errors
/// See [`Error`].
pub fn build(settings: &HttpClientSettings) -> Result<reqwest::Client, Error> {
    if settings.oauth2 {
        return Err(Error::Unsupported("oauth2"));
    }
    let redirects = if settings.follow_redirects { Policy::limited(REDIRECTS_MAX) } else { Policy::none() };
    let mut builder = reqwest::Client::builder()
        .no_gzip()
        .redirect(redirects)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .tls_backend_preconfigured(tls::client_config(&settings.tls, settings.enable_http2)?)
        .default_headers(headers::readable_headers(settings)?);
    if !settings.enable_http2 {
        builder = builder.http1_only();
    }
    if let Some(url) = &settings.proxy_url {
        let proxy = Proxy::all(url.as_str()).map_err(Error::Proxy)?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&settings.no_proxy)));
    } else if !settings.proxy_from_environment {
        builder = builder.no_proxy();
    }
    builder.build().map_err(Error::Build)
}

/// The value of a secret, without the white space around a file's content.
fn read(secret: &Secret, what: &'static str) -> Result<String, Error> {
    match secret {
        Secret::Inline(value) => Ok(value.clone()),
        Secret::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Error::Read { what, path: path.clone(), error })?;
            Ok(text.trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers one request after another with `answers`, and gives back what was asked.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap() == 0 {
                        break;
                    }
                    request.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        });
        (address, server)
    }

    const EMPTY: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    async fn get(settings: &HttpClientSettings, url: &str) -> reqwest::Response {
        let headers = request_headers(settings).unwrap();
        build(settings).unwrap().get(url).headers(headers).send().await.unwrap()
    }

    #[tokio::test]
    async fn a_plain_request_adds_nothing_of_its_own() {
        let (address, server) = serve(vec![EMPTY.to_owned()]);
        get(&HttpClientSettings::default(), &address).await;
        let request = server.join().unwrap().remove(0).to_lowercase();
        assert!(!request.contains("accept-encoding") && !request.contains("user-agent"), "{request}");
    }

    #[tokio::test]
    async fn credentials_and_headers_are_sent() {
        let (address, server) = serve(vec![EMPTY.to_owned()]);
        let settings = HttpClientSettings {
            basic_auth: Some(config::BasicAuth {
                username: Secret::Inline("user".to_owned()),
                password: Some(Secret::Inline("pass".to_owned())),
            }),
            http_headers: vec![("X-A".to_owned(), vec![Secret::Inline("1".to_owned()), Secret::Inline("2".to_owned())])],
            ..HttpClientSettings::default()
        };
        get(&settings, &address).await;
        let request = server.join().unwrap().remove(0).to_lowercase();
        assert!(request.contains("authorization: basic dxnlcjpwyxnz"), "{request}");
        assert!(request.contains("x-a: 1\r\n") && request.contains("x-a: 2\r\n"), "{request}");
    }

    #[tokio::test]
    async fn redirects_are_followed_unless_told_otherwise() {
        let redirect = "HTTP/1.1 302 Found\r\nlocation: /there\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let (address, server) = serve(vec![redirect.to_owned(), EMPTY.to_owned()]);
        let followed = get(&HttpClientSettings::default(), &address).await;
        assert_eq!(followed.status(), 200);
        assert!(server.join().unwrap()[1].starts_with("GET /there "));

        let (address, _server) = serve(vec![redirect.to_owned()]);
        let settings = HttpClientSettings { follow_redirects: false, ..HttpClientSettings::default() };
        assert_eq!(get(&settings, &address).await.status(), 302);
    }

    #[tokio::test]
    async fn a_proxy_gets_the_whole_address() {
        let (address, server) = serve(vec![EMPTY.to_owned()]);
        let settings = HttpClientSettings { proxy_url: Some(address), ..HttpClientSettings::default() };
        get(&settings, "http://far.example/metrics").await;
        assert!(server.join().unwrap()[0].starts_with("GET http://far.example/metrics "));
    }

    #[test]
    fn oauth2_is_refused() {
        let settings = HttpClientSettings { oauth2: true, ..HttpClientSettings::default() };
        assert_eq!(build(&settings).unwrap_err().to_string(), "oauth2 is not supported yet");
    }
}
