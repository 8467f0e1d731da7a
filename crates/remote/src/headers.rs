//! Which message a request holds, by its headers; the rules and texts are Prometheus's.

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
    #[error("io.prometheus.write.v2.Request protobuf message is not accepted by this server; only accepts prometheus.WriteRequest")]
    Version2,
}

/// No encoding named means snappy.
pub(crate) fn check_encoding(encoding: Option<&str>) -> Result<(), HeaderError> {
    match encoding {
        None | Some("" | "snappy") => Ok(()),
        Some(other) => Err(HeaderError::Encoding(other.to_owned())),
    }
}

/// No type named means version 1.0. Parameters are compared as they are: one after a space is another one.
pub(crate) fn check_content_type(content_type: Option<&str>) -> Result<(), HeaderError> {
    let content_type = content_type.unwrap_or("").trim();
    if content_type.is_empty() {
        return Ok(());
    }
    let mut parts = content_type.split(';');
    if parts.next() != Some("application/x-protobuf") {
        return Err(HeaderError::MediaType(content_type.to_owned()));
    }
    for part in parts {
        match part.split('=').collect::<Vec<_>>().as_slice() {
            ["proto", "prometheus.WriteRequest"] => return Ok(()),
            ["proto", "io.prometheus.write.v2.Request"] => return Err(HeaderError::Version2),
            ["proto", message] => {
                return Err(HeaderError::UnknownMessage { content_type: content_type.to_owned(), message: (*message).to_owned() });
            }
            [_, _] => {}
            _ => return Err(HeaderError::Parameter { parameter: part.to_owned(), content_type: content_type.to_owned() }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, accepted: bool) {
        assert_eq!(check_content_type(Some(content_type)).is_ok(), accepted, "{content_type}");
    }

    #[test]
    fn content_types() {
        assert_eq!(check_content_type(None), Ok(()));
        check("", true);
        check("application/x-protobuf", true);
        check("application/x-protobuf;proto=prometheus.WriteRequest", true);
        check("application/x-protobuf; proto=io.prometheus.write.v2.Request", true);
        check("application/x-protobuf;proto=io.prometheus.write.v2.Request", false);
        check("application/x-protobuf;proto=x", false);
        check("application/x-protobuf;x", false);
        check("application/json", false);
    }
}
