//! Which message a request holds, by its headers; the rules and texts are Prometheus's.

/// The versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.0: all or nothing.
    V1,
    /// 2.0: what is refused is named, the rest is stored.
    V2,
}

impl Version {
    /// The name of its message, as in headers and flags.
    pub fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// By the name of its message.
    pub fn from_message(message: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|version| version.message() == message)
    }
}

/// Why the headers are refused (status 415).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("{0} encoding (compression) is not accepted by this server; only snappy is acceptable")]
    Encoding(String),
    #[error("expected application/x-protobuf as the first (media) part, got {0} content-type")]
    MediaType(String),
    #[error(
        "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {parameter} in {content_type} content-type"
    )]
    Parameter { parameter: String, content_type: String },
    #[error(
        "got {content_type} content type; unknown type for remote write protobuf message {message}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
    )]
    UnknownMessage { content_type: String, message: String },
    #[error("{message} protobuf message is not accepted by this server; only accepts {accepted}")]
    NotAccepted { message: &'static str, accepted: String },
}

/// No encoding named means snappy.
pub(crate) fn check_encoding(encoding: Option<&str>) -> Result<(), HeaderError> {
    match encoding {
        None | Some("" | "snappy") => Ok(()),
        Some(other) => Err(HeaderError::Encoding(other.to_owned())),
    }
}

/// No type named means version 1.0. Parameters are compared as they are: one after a space is another one.
pub(crate) fn version(content_type: Option<&str>, accepted: &[Version]) -> Result<Version, HeaderError> {
    let version = named_version(content_type.unwrap_or("").trim())?;
    if accepted.contains(&version) {
        return Ok(version);
    }
    let names: Vec<&str> = accepted.iter().map(|version| version.message()).collect();
    Err(HeaderError::NotAccepted { message: version.message(), accepted: names.join(", ") })
}

fn named_version(content_type: &str) -> Result<Version, HeaderError> {
    if content_type.is_empty() {
        return Ok(Version::V1);
    }
    let mut parts = content_type.split(';');
    if parts.next() != Some("application/x-protobuf") {
        return Err(HeaderError::MediaType(content_type.to_owned()));
    }
    for part in parts {
        match part.split('=').collect::<Vec<_>>().as_slice() {
            ["proto", message] => {
                return Version::from_message(message)
                    .ok_or_else(|| HeaderError::UnknownMessage { content_type: content_type.to_owned(), message: (*message).to_owned() });
            }
            [_, _] => {}
            _ => return Err(HeaderError::Parameter { parameter: part.to_owned(), content_type: content_type.to_owned() }),
        }
    }
    Ok(Version::V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, want: Option<Version>) {
        assert_eq!(version(Some(content_type), &[Version::V1, Version::V2]).ok(), want, "{content_type}");
    }

    #[test]
    fn content_types() {
        assert_eq!(version(None, &[Version::V1]), Ok(Version::V1));
        check("", Some(Version::V1));
        check("application/x-protobuf", Some(Version::V1));
        check("application/x-protobuf;proto=prometheus.WriteRequest", Some(Version::V1));
        check("application/x-protobuf; proto=io.prometheus.write.v2.Request", Some(Version::V1));
        check("application/x-protobuf;proto=io.prometheus.write.v2.Request", Some(Version::V2));
        check("application/x-protobuf;charset=utf-8;proto=io.prometheus.write.v2.Request", Some(Version::V2));
        check("Application/X-Protobuf;proto=io.prometheus.write.v2.Request", None);
        check("application/x-protobuf;proto=x", None);
        check("application/x-protobuf;x", None);
        check("application/json", None);
    }

    #[test]
    fn a_version_that_is_not_accepted() {
        let refused = version(Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), &[Version::V1]);
        let text = "io.prometheus.write.v2.Request protobuf message is not accepted by this server; only accepts prometheus.WriteRequest";
        assert_eq!(refused.map_err(|error| error.to_string()), Err(text.to_owned()));
        assert!(version(None, &[Version::V2]).is_err());
    }
}
