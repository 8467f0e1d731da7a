//! The headers that settings ask for: credentials and `http_headers`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::{HttpClientSettings, Secret};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::{Error, read};

/// The headers of a request, with files read anew.
///
/// # Errors
/// When a file cannot be read, or its content cannot be in a header.
pub fn request_headers(settings: &HttpClientSettings) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(credentials) = authorization(settings)? {
        headers.insert(AUTHORIZATION, credentials);
    }
    for (name, values) in &settings.http_headers {
        let name: HeaderName = name.parse().map_err(|_| Error::Header(name.clone()))?;
        for secret in values {
            let value = read(secret, "header")?;
            headers.append(name.clone(), header_value(&value, matches!(secret, Secret::File(_)), name.as_str())?);
        }
    }
    Ok(headers)
}

/// The headers whose files are there.
pub(crate) fn readable_headers(settings: &HttpClientSettings) -> Result<HeaderMap, Error> {
    match request_headers(settings) {
        Err(Error::Read { .. }) => Ok(HeaderMap::new()),
        other => other,
    }
}

fn authorization(settings: &HttpClientSettings) -> Result<Option<HeaderValue>, Error> {
    if let Some(basic) = &settings.basic_auth {
        let username = read(&basic.username, "basic auth username")?;
        let password = match &basic.password {
            Some(password) => read(password, "basic auth password")?,
            None => String::new(),
        };
        let pair = STANDARD.encode(format!("{username}:{password}"));
        return header_value(&format!("Basic {pair}"), true, "Authorization").map(Some);
    }
    let Some(authorization) = &settings.authorization else { return Ok(None) };
    let Some(credentials) = &authorization.credentials else { return Ok(None) };
    let credentials = read(credentials, "authorization credentials")?;
    header_value(&format!("{} {credentials}", authorization.kind), true, "Authorization").map(Some)
}

fn header_value(text: &str, is_secret: bool, name: &str) -> Result<HeaderValue, Error> {
    // The value itself may be a secret, so the error has the name.
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Header(name.to_owned()))?;
    value.set_sensitive(is_secret);
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use config::Authorization;

    fn with_token(credentials: Secret) -> HttpClientSettings {
        let authorization = Authorization { kind: "Bearer".to_owned(), credentials: Some(credentials) };
        HttpClientSettings { authorization: Some(authorization), ..HttpClientSettings::default() }
    }

    #[test]
    fn a_token_file_is_read_for_each_request() {
        let path = std::env::temp_dir().join(format!("http-client-token-{}", std::process::id()));
        let settings = with_token(Secret::File(path.clone()));
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let headers = request_headers(&settings).unwrap();
            assert_eq!(headers[AUTHORIZATION], format!("Bearer {token}"));
            assert!(headers[AUTHORIZATION].is_sensitive());
        }
        std::fs::remove_file(&path).unwrap();
        let message = request_headers(&settings).unwrap_err().to_string();
        assert!(message.starts_with("unable to read authorization credentials file "), "{message}");
        assert!(readable_headers(&settings).unwrap().is_empty());
    }

    #[test]
    fn a_broken_secret_is_not_shown() {
        let error = request_headers(&with_token(Secret::Inline("a\nb".to_owned()))).unwrap_err();
        assert_eq!(error.to_string(), "invalid header \"Authorization\"");
    }
}
