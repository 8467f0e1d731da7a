//! Addresses as Go's `net/url` reads them, which is laxer than the WHATWG's URL.

use model::name::quote;

/// The parts that a check asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    /// Host with port, without user; empty for a relative address.
    pub(crate) host: String,
}

/// Reads an address; most texts are one, if only a relative path.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let refusal = |reason: &str| format!("parse {}: {reason}", quote(text));
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err(refusal("net/url: invalid control character in URL"));
    }
    let without_fragment = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = split_scheme(without_fragment).map_err(refusal)?;
    let rest = rest.split('?').next().unwrap_or_default();
    if scheme.is_empty() && !rest.starts_with('/') && rest.split('/').next().unwrap_or_default().contains(':') {
        return Err(refusal("first path segment in URL cannot contain colon"));
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    check_escapes(path).map_err(|reason| refusal(&reason))?;
    let host = authority.rsplit('@').next().unwrap_or_default();
    check_host(host).map_err(|reason| refusal(&reason))?;
    Ok(Url { scheme: scheme.to_ascii_lowercase(), host: host.to_owned() })
}

/// The address with a password in it hidden.
pub(crate) fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_len);
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:xxxxx@{host}{tail}"),
        None => text.to_owned(),
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_escapes(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let valid = bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        if !valid {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {}", quote(&shown)));
        }
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("missing ']' in host")?.1,
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if (!port.is_empty() && !port.starts_with(':')) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    if let Some(bad) = host.chars().find(|c| matches!(c, ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return Err(format!("invalid character {} in host name", quote(&bad.to_string())));
    }
    check_escapes(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn addresses() {
        let part = |text: &str| parse(text).map(|url| (url.scheme, url.host)).unwrap();
        assert_eq!(part("http://u:p@h:80/x?y#z"), ("http".into(), "h:80".into()));
        assert_eq!(part("unix:///var/run/docker.sock"), ("unix".into(), String::new()));
        assert_eq!(part("eureka.com"), (String::new(), String::new()));
        assert_eq!(part("https://[::1]:9/"), ("https".into(), "[::1]:9".into()));
        assert_eq!(parse("://x").unwrap_err(), "parse \"://x\": missing protocol scheme");
        assert_eq!(parse("http://h:x/").unwrap_err(), "parse \"http://h:x/\": invalid port \":x\" after host");
        assert_eq!(parse("1a:b").unwrap_err(), "parse \"1a:b\": first path segment in URL cannot contain colon");
        assert!(parse("http://h/%zz").is_err());
        assert_eq!(redact("http://u:p@h/x"), "http://u:xxxxx@h/x");
    }
}
