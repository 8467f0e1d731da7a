//! `remote_write` and `remote_read`, with the clouds' ways to sign a request.

use super::http::{self, refuse};
use super::prometheus::{RELABEL_RULES, has_null};
use super::{Table, Type, anything, field};
use crate::value::Record;
use Type::{Bool, Duration, Int, LabelSet, Map, Secret, Str, Uint, Url};

pub(crate) static REMOTE_WRITE: Table = Table {
    go: "config.RemoteWriteConfig",
    plain: "config.plain",
    fields: &[
        &[
            field("url", Url).unless_unset(),
            field("remote_timeout", Duration).default("30s"),
            field("headers", Map(&Str)),
            field("write_relabel_configs", RELABEL_RULES),
            field("name", Str),
            field("send_exemplars", Bool),
            field("send_native_histograms", Bool),
            field("round_robin_dns", Bool),
            field("protobuf_message", Str).default("prometheus.WriteRequest"),
            field("failed_request_logging", Bool),
        ],
        http::FIELDS,
        &[
            field("queue_config", Type::Record(&QUEUE)).default("{}"),
            field("metadata_config", Type::Record(&METADATA)).default("{}"),
            field("sigv4", Type::Record(&SIGV4)).unless_unset(),
            field("azuread", Type::Record(&AZURE_AD)).unless_unset(),
            field("google_iam", Type::Record(&GOOGLE_IAM)).unless_unset(),
        ],
    ],
    overrides: &[("enable_http2", "false")],
    check: check_remote_write,
};

static QUEUE: Table = Table {
    go: "config.QueueConfig",
    plain: "config.QueueConfig",
    fields: &[&[
        field("capacity", Int).default("10000"),
        field("max_shards", Int).default("50"),
        field("min_shards", Int).default("1"),
        field("max_samples_per_send", Int).default("2000"),
        field("batch_send_deadline", Duration).default("5s"),
        field("min_backoff", Duration).default("30ms"),
        field("max_backoff", Duration).default("5s"),
        field("retry_on_http_429", Bool),
        field("sample_age_limit", Duration),
    ]],
    overrides: &[],
    check: anything,
};

static METADATA: Table = Table {
    go: "config.MetadataConfig",
    plain: "config.MetadataConfig",
    fields: &[&[
        field("send", Bool).default("true").always(),
        field("send_interval", Duration).default("1m").always(),
        field("max_samples_per_send", Int).default("2000"),
    ]],
    overrides: &[],
    check: anything,
};

pub(crate) static SIGV4: Table = Table {
    go: "sigv4.SigV4Config",
    plain: "sigv4.plain",
    fields: &[&[
        field("region", Str),
        field("access_key", Str),
        field("secret_key", Secret),
        field("profile", Str),
        field("role_arn", Str),
        field("external_id", Str),
        field("use_fips_sts_endpoint", Bool),
        field("service_name", Str),
    ]],
    overrides: &[],
    check: check_sigv4,
};

static GOOGLE_IAM: Table = Table {
    go: "googleiam.Config",
    plain: "googleiam.Config",
    fields: &[&[field("credentials_file", Str)]],
    overrides: &[],
    check: anything,
};

const fn azure(go: &'static str, fields: &'static [&'static [super::Field]]) -> Table {
    Table { go, plain: go, fields, overrides: &[], check: anything }
}

static AZURE_MANAGED: Table = azure("azuread.ManagedIdentityConfig", &[&[field("client_id", Str)]]);
static AZURE_WORKLOAD: Table =
    azure("azuread.WorkloadIdentityConfig", &[&[field("client_id", Str), field("tenant_id", Str), field("token_file_path", Str)]]);
static AZURE_OAUTH: Table =
    azure("azuread.OAuthConfig", &[&[field("client_id", Str), field("client_secret", Secret), field("tenant_id", Str)]]);
static AZURE_SDK: Table = azure("azuread.SDKConfig", &[&[field("tenant_id", Str)]]);
static AZURE_CERTIFICATE: Table = azure(
    "azuread.CertificateConfig",
    &[&[
        field("client_id", Str),
        field("tenant_id", Str),
        field("certificate_path", Str),
        field("certificate_key_path", Str),
        field("certificate_password", Secret),
        field("send_certificate_chain", Bool),
    ]],
);

static AZURE_AD: Table = Table {
    go: "azuread.AzureADConfig",
    plain: "azuread.plain",
    fields: &[&[
        field("managed_identity", Type::Record(&AZURE_MANAGED)).unless_unset(),
        field("workload_identity", Type::Record(&AZURE_WORKLOAD)).unless_unset(),
        field("oauth", Type::Record(&AZURE_OAUTH)).unless_unset(),
        field("sdk", Type::Record(&AZURE_SDK)).unless_unset(),
        field("certificate", Type::Record(&AZURE_CERTIFICATE)).unless_unset(),
        field("cloud", Str),
        field("scope", Str),
    ]],
    overrides: &[],
    check: check_azure_ad,
};

pub(crate) static REMOTE_READ: Table = Table {
    go: "config.RemoteReadConfig",
    plain: "config.plain",
    fields: &[
        &[
            field("url", Url).unless_unset(),
            field("remote_timeout", Duration).default("1m"),
            field("chunked_read_limit", Uint).default("50000000"),
            field("headers", Map(&Str)),
            field("read_recent", Bool),
            field("name", Str),
        ],
        http::FIELDS,
        &[field("required_matchers", LabelSet), field("filter_external_labels", Bool).default("true")],
    ],
    overrides: &[],
    check: check_remote_read,
};

fn check_remote_write(write: &mut Record) -> Result<(), String> {
    refuse(!write.has("url"), "url for remote_write is empty")?;
    refuse(has_null(write, "write_relabel_configs"), "empty or null relabeling rule in remote write config")?;
    check_headers(write)?;
    let message = write.str("protobuf_message");
    if !matches!(message, "prometheus.WriteRequest" | "io.prometheus.write.v2.Request") {
        return Err(format!(
            "invalid protobuf_message value: unknown type for remote write protobuf message {message}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
        ));
    }
    http::check(write)?;
    check_queue(write.record("queue_config").unwrap_or(&Record::new(&QUEUE, 0)))?;
    let ways = ["basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam"];
    let configured: Vec<&str> = ways.into_iter().filter(|way| write.has(way)).collect();
    if configured.len() > 1 {
        return Err(format!(
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. Currently configured: [{}]",
            configured.join(" ")
        ));
    }
    Ok(())
}

fn check_queue(queue: &Record) -> Result<(), String> {
    refuse(queue.int("max_shards") <= 0, "remote write queue max_shards must be positive")?;
    refuse(queue.int("min_shards") <= 0, "remote write queue min_shards must be positive")?;
    let (min, max) = (queue.int("min_shards"), queue.int("max_shards"));
    refuse(min > max, "remote write queue min_shards must not be greater than max_shards")?;
    refuse(queue.int("max_samples_per_send") <= 0, "remote write queue max_samples_per_send must be positive")?;
    refuse(queue.int("capacity") <= 0, "remote write queue capacity must be positive")?;
    let too_short = queue.duration("max_backoff") < queue.duration("min_backoff");
    refuse(too_short, "remote write queue max_backoff must not be less than min_backoff")
}

fn check_sigv4(sigv4: &mut Record) -> Result<(), String> {
    refuse(
        sigv4.str("access_key").is_empty() != sigv4.str("secret_key").is_empty(),
        "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
    )?;
    let lonely = !sigv4.str("external_id").is_empty() && sigv4.str("role_arn").is_empty();
    refuse(lonely, "external_id can only be used with role_arn")
}

fn check_azure_ad(azure: &mut Record) -> Result<(), String> {
    let known = matches!(azure.str("cloud"), "" | "AzureChina" | "AzureGovernment" | "AzurePublic");
    refuse(!known, "must provide a cloud in the Azure AD config")?;
    let ways = ["managed_identity", "workload_identity", "oauth", "sdk", "certificate"];
    match ways.iter().filter(|way| azure.has(way)).count() {
        0 => {
            return Err("must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth, Azure Certificate or Azure SDK in the Azure AD config".to_owned());
        }
        1 => {}
        _ => return Err("cannot provide multiple authentication methods in the Azure AD config".to_owned()),
    }
    for (way, name, required, ids) in AZURE_WAYS {
        let Some(section) = azure.record(way) else { continue };
        for field in *required {
            refuse(section.str(field).is_empty(), &format!("must provide an Azure {name} {field} in the Azure AD config"))?;
        }
        for field in *ids {
            let id = section.str(field);
            refuse(!id.is_empty() && !is_uuid(id), &format!("the provided Azure {name} {field} is invalid"))?;
        }
    }
    let scope = azure.str("scope");
    let odd = |c: char| !(c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_:/.-".contains(c));
    refuse(scope.contains(odd), "the provided scope contains invalid characters")
}

/// The ways, their names in messages, the fields they require and those of them that are UUIDs.
type AzureWay = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);
const AZURE_WAYS: &[AzureWay] = &[
    ("managed_identity", "Managed Identity", &[], &["client_id"]),
    ("workload_identity", "Workload Identity", &["client_id", "tenant_id"], &["client_id", "tenant_id"]),
    ("oauth", "OAuth", &["client_id", "client_secret", "tenant_id"], &["client_id"]),
    ("certificate", "Certificate", &["client_id", "tenant_id", "certificate_path"], &["client_id"]),
];

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn check_remote_read(read: &mut Record) -> Result<(), String> {
    refuse(!read.has("url"), "url for remote_read is empty")?;
    check_headers(read)?;
    http::check(read)
}

/// Headers that only the sender itself may set.
const RESERVED: [&str; 16] = [
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Refuses reserved headers; `authorization` says what is wrong with that one.
pub(crate) fn check_reserved(record: &Record, authorization: &str) -> Result<(), String> {
    for (name, _) in record.map("headers") {
        let lower = name.to_ascii_lowercase();
        refuse(lower == "authorization", authorization)?;
        let reserved = RESERVED.contains(&lower.as_str());
        refuse(reserved, &format!("{name} is a reserved header. It must not be changed"))?;
    }
    Ok(())
}

fn check_headers(record: &Record) -> Result<(), String> {
    check_reserved(
        record,
        "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter",
    )
}
