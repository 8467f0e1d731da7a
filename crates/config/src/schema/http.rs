//! How to speak HTTP: `basic_auth`, `authorization`, `oauth2`, `tls_config`, the proxy and headers.
//!
//! Go embeds these fields in other sections, so [`FIELDS`] stands in their tables and [`check`] in their checks.

use model::name::quote;

use super::{Field, Table, Type, anything, field};
use crate::value::{Record, Value};
use Type::{Any, Bool, Checked, List, Map, Path, Secret, Str, Url};

const STRS: Type = List(&Str);

pub(crate) static FIELDS: &[Field] = &[
    field("basic_auth", Type::Record(&BASIC_AUTH)).unless_unset(),
    field("authorization", Type::Record(&AUTHORIZATION)).unless_unset(),
    field("oauth2", Type::Record(&OAUTH2)).unless_unset(),
    field("bearer_token", Secret),
    field("bearer_token_file", Path),
    field("tls_config", Type::Record(&TLS)),
    field("follow_redirects", Bool).default("true").always(),
    field("enable_http2", Bool).default("true").always(),
    field("proxy_url", Url),
    field("no_proxy", Str),
    field("proxy_from_environment", Bool),
    field("proxy_connect_header", Map(&List(&Secret))),
    field("http_headers", Map(&Type::Record(&HEADER))).unless_unset(),
];

static BASIC_AUTH: Table = Table {
    go: "config.BasicAuth",
    plain: "config.plain",
    fields: &[&[
        field("username", Str),
        field("username_file", Path),
        field("username_ref", Str),
        field("password", Secret),
        field("password_file", Path),
        field("password_ref", Str),
    ]],
    overrides: &[],
    check: anything,
};

static AUTHORIZATION: Table = Table {
    go: "config.Authorization",
    plain: "config.Authorization",
    fields: &[&[field("type", Str), field("credentials", Secret), field("credentials_file", Path), field("credentials_ref", Str)]],
    overrides: &[],
    check: anything,
};

static OAUTH2: Table = Table {
    go: "config.OAuth2",
    plain: "config.plain",
    fields: &[
        &[
            field("client_id", Str),
            field("client_secret", Secret),
            field("client_secret_file", Path),
            field("client_secret_ref", Str),
            field("client_certificate_key_id", Str),
            field("client_certificate_key", Secret),
            field("client_certificate_key_file", Str),
            field("client_certificate_key_ref", Str),
            field("grant_type", Str),
            field("signature_algorithm", Str),
            field("iss", Str),
            field("audience", Str),
            field("claims", Map(&Any)),
            field("scopes", STRS),
            field("token_url", Str),
            field("endpoint_params", Map(&Str)),
            field("tls_config", Type::Record(&TLS)),
        ],
        PROXY,
    ],
    overrides: &[],
    check: check_proxy,
};

/// The proxy's fields where they stand without the others.
static PROXY: &[Field] = &[
    field("proxy_url", Url),
    field("no_proxy", Str),
    field("proxy_from_environment", Bool),
    field("proxy_connect_header", Map(&List(&Secret))),
];

static HEADER: Table = Table {
    go: "config.Header",
    plain: "config.Header",
    fields: &[&[field("values", STRS), field("secrets", List(&Secret)), field("files", List(&Path))]],
    overrides: &[],
    check: anything,
};

pub(crate) static TLS: Table = Table {
    go: "config.TLSConfig",
    plain: "config.plain",
    fields: &[&[
        field("ca", Str),
        field("cert", Str),
        field("key", Secret),
        field("ca_file", Path),
        field("cert_file", Path),
        field("key_file", Path),
        field("ca_ref", Str),
        field("cert_ref", Str),
        field("key_ref", Str),
        field("server_name", Str),
        field("insecure_skip_verify", Bool).always(),
        field("min_version", Checked("string", check_tls_version)),
        field("max_version", Checked("string", check_tls_version)),
    ]],
    overrides: &[],
    check: check_tls,
};

fn check_tls_version(version: &str) -> Result<(), String> {
    match version {
        "TLS10" | "TLS11" | "TLS12" | "TLS13" => Ok(()),
        _ => Err(format!("unknown TLS version: {version}")),
    }
}

/// How many of the fields say something.
fn count(record: &Record, names: &[&str]) -> usize {
    names.iter().filter(|name| !record.str(name).is_empty()).count()
}

fn check_tls(tls: &mut Record) -> Result<(), String> {
    const CERT: [&str; 3] = ["cert", "cert_file", "cert_ref"];
    const KEY: [&str; 3] = ["key", "key_file", "key_ref"];
    refuse(count(tls, &["ca", "ca_file", "ca_ref"]) > 1, "at most one of ca, ca_file & ca_ref must be configured")?;
    refuse(count(tls, &CERT) > 1, "at most one of cert, cert_file & cert_ref must be configured")?;
    refuse(count(tls, &KEY) > 1, "at most one of key and key_file must be configured")?;
    let (cert, key) = (count(tls, &CERT) > 0, count(tls, &KEY) > 0);
    refuse(cert && !key, "exactly one of key or key_file must be configured when a client certificate is configured")?;
    refuse(key && !cert, "exactly one of cert or cert_file must be configured when a client key is configured")
}

fn check_proxy(proxy: &mut Record) -> Result<(), String> {
    let has_url = !proxy.str("proxy_url").is_empty();
    let from_environment = proxy.bool("proxy_from_environment");
    let no_proxy = !proxy.str("no_proxy").is_empty();
    refuse(
        !proxy.map("proxy_connect_header").is_empty() && !from_environment && !has_url,
        "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
    )?;
    refuse(from_environment && has_url, "if proxy_from_environment is configured, proxy_url must not be configured")?;
    refuse(from_environment && no_proxy, "if proxy_from_environment is configured, no_proxy must not be configured")?;
    refuse(!proxy.has("proxy_url") && no_proxy, "if no_proxy is configured, proxy_url must also be configured")
}

/// `Err(message)` if `wrong`.
pub(crate) fn refuse(wrong: bool, message: &str) -> Result<(), String> {
    if wrong { Err(message.to_owned()) } else { Ok(()) }
}

/// The check of a section that embeds [`FIELDS`]; turns a bearer token into an authorization.
pub(crate) fn check(http: &mut Record) -> Result<(), String> {
    let token = count(http, &["bearer_token"]) > 0;
    let token_file = count(http, &["bearer_token_file"]) > 0;
    let (basic, oauth2) = (http.has("basic_auth"), http.has("oauth2"));
    refuse(token && token_file, "at most one of bearer_token & bearer_token_file must be configured")?;
    refuse(
        (basic || oauth2) && (token || token_file),
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
    )?;
    if let Some(basic) = http.record("basic_auth") {
        let users = count(basic, &["username", "username_file", "username_ref"]);
        refuse(users > 1, "at most one of basic_auth username, username_file & username_ref must be configured")?;
        let passwords = count(basic, &["password", "password_file", "password_ref"]);
        refuse(passwords > 1, "at most one of basic_auth password, password_file & password_ref must be configured")?;
    }
    check_authorization(http, token || token_file)?;
    if let Some(oauth2) = http.record("oauth2") {
        refuse(basic, "at most one of basic_auth, oauth2 & authorization must be configured")?;
        check_oauth2(oauth2)?;
    }
    check_proxy(http)?;
    for (name, _) in http.map("http_headers") {
        let canonical = canonical_header(name);
        refuse(RESERVED_HEADERS.contains(&canonical.as_str()), &format!("setting header {} is not allowed", quote(&canonical)))?;
    }
    Ok(())
}

fn check_authorization(http: &mut Record, any_token: bool) -> Result<(), String> {
    let Some(authorization) = http.record("authorization") else {
        let token = if http.str("bearer_token").is_empty() { "bearer_token_file" } else { "bearer_token" };
        if any_token {
            let mut authorization = Record::new(&AUTHORIZATION, http.line_of(token));
            let target = if token == "bearer_token" { "credentials" } else { "credentials_file" };
            authorization.set("type", Value::Str("Bearer".to_owned()));
            authorization.set(target, http.get(token).clone());
            http.set("authorization", Value::Record(authorization));
            http.set(token, Value::Null);
        }
        return Ok(());
    };
    refuse(any_token, "authorization is not compatible with bearer_token & bearer_token_file")?;
    let credentials = count(authorization, &["credentials", "credentials_file", "credentials_ref"]);
    refuse(credentials > 1, "at most one of authorization credentials & credentials_file must be configured")?;
    let kind = authorization.str("type").trim();
    let kind = if kind.is_empty() { "Bearer" } else { kind }.to_owned();
    refuse(kind.eq_ignore_ascii_case("basic"), "authorization type cannot be set to \"basic\", use \"basic_auth\" instead")?;
    refuse(http.has("basic_auth") || http.has("oauth2"), "at most one of basic_auth, oauth2 & authorization must be configured")?;
    if let Some(Value::Record(authorization)) = http.get_mut("authorization") {
        authorization.set("type", Value::Str(kind));
    }
    Ok(())
}

fn check_oauth2(oauth2: &Record) -> Result<(), String> {
    const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    refuse(count(oauth2, &["client_id"]) == 0, "oauth2 client_id must be configured")?;
    refuse(count(oauth2, &["token_url"]) == 0, "oauth2 token_url must be configured")?;
    if oauth2.str("grant_type") != JWT_BEARER {
        let secrets = count(oauth2, &["client_secret", "client_secret_file", "client_secret_ref"]);
        return refuse(
            secrets > 1,
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured using grant-type=client_credentials",
        );
    }
    let keys = count(oauth2, &["client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref"]);
    refuse(
        keys > 1,
        "at most one of oauth2 client_certificate_key, client_certificate_key_file & client_certificate_key_ref must be configured using grant-type=urn:ietf:params:oauth:grant-type:jwt-bearer",
    )?;
    let known = matches!(oauth2.str("signature_algorithm"), "" | "RS256" | "RS384" | "RS512");
    refuse(!known, "valid signature algorithms are RS256, RS384 and RS512")
}

/// Headers that a configuration may not set.
const RESERVED_HEADERS: [&str; 18] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

/// Go's `http.CanonicalHeaderKey`: upper case at the start and after each `-`.
fn canonical_header(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|c| {
            let c = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            upper = c == '-';
            c
        })
        .collect()
}

/// Whether nothing but defaults is set.
pub(crate) fn is_default(record: &Record) -> bool {
    FIELDS.iter().all(|field| {
        let value = record.get(field.name);
        if field.default.is_some() { *value == Value::Bool(true) } else { value.is_zero() }
    })
}
