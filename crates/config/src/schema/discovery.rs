//! Service discovery: `static_configs` and every `*_sd_configs` of Prometheus, sorted by name as Go embeds them.

use model::name::quote;

use super::http::{self, refuse};
use super::{Field, Table, Type, anything, field};
use crate::value::{Record, Value};
use Type::{Bool, Checked, Duration, Int, LabelSet, List, Map, Path, Secret, Str, Url};

const STRS: Type = List(&Str);

macro_rules! sections {
    ($($name:literal => $table:ident,)*) => { &[$(field($name, List(&Type::Record(&$table)))),*] };
}

pub(crate) static FIELDS: &[Field] = sections![
    "aws_sd_configs" => AWS,
    "azure_sd_configs" => AZURE,
    "consul_sd_configs" => CONSUL,
    "digitalocean_sd_configs" => DIGITALOCEAN,
    "dns_sd_configs" => DNS,
    "docker_sd_configs" => DOCKER,
    "dockerswarm_sd_configs" => DOCKERSWARM,
    "ec2_sd_configs" => EC2,
    "ecs_sd_configs" => ECS,
    "elasticache_sd_configs" => ELASTICACHE,
    "eureka_sd_configs" => EUREKA,
    "file_sd_configs" => FILE,
    "gce_sd_configs" => GCE,
    "hetzner_sd_configs" => HETZNER,
    "http_sd_configs" => HTTP,
    "ionos_sd_configs" => IONOS,
    "kubernetes_sd_configs" => KUBERNETES,
    "kuma_sd_configs" => KUMA,
    "lightsail_sd_configs" => LIGHTSAIL,
    "linode_sd_configs" => LINODE,
    "marathon_sd_configs" => MARATHON,
    "msk_sd_configs" => MSK,
    "nerve_sd_configs" => NERVE,
    "nomad_sd_configs" => NOMAD,
    "oci_sd_configs" => OCI,
    "openstack_sd_configs" => OPENSTACK,
    "outscale_sd_configs" => OUTSCALE,
    "ovhcloud_sd_configs" => OVHCLOUD,
    "puppetdb_sd_configs" => PUPPETDB,
    "rds_sd_configs" => RDS,
    "scaleway_sd_configs" => SCALEWAY,
    "serverset_sd_configs" => SERVERSET,
    "stackit_sd_configs" => STACKIT,
    "static_configs" => STATIC,
    "triton_sd_configs" => TRITON,
    "uyuni_sd_configs" => UYUNI,
    "vultr_sd_configs" => VULTR,
];

/// Refuses a mechanism that is listed but null.
pub(crate) fn check_empty(section: &Record) -> Result<(), String> {
    for field in FIELDS {
        refuse(section.list(field.name).contains(&Value::Null), &format!("empty or null section in {}", field.name))?;
    }
    Ok(())
}

/// Refuses addresses that are URLs.
pub(crate) fn check_static_targets(section: &Record) -> Result<(), String> {
    for group in section.records("static_configs") {
        for target in group.strings("targets") {
            refuse(target.contains('/'), &format!("{} is not a valid hostname", quote(target)))?;
        }
    }
    Ok(())
}

const STATIC_TYPE: &str = "struct { Targets []string \"yaml:\\\"targets\\\"\"; Labels model.LabelSet \"yaml:\\\"labels\\\"\" }";

static STATIC: Table = Table {
    go: "targetgroup.Group",
    plain: STATIC_TYPE,
    fields: &[&[field("targets", STRS).always(), field("labels", LabelSet)]],
    overrides: &[],
    check: anything,
};

/// The table of a mechanism; the type's name begins with its package, where the inner type is called `plain`.
macro_rules! table {
    ($name:ident, $go:literal, $plain:literal, [$($fields:expr),*], $check:expr) => {
        static $name: Table = Table { go: $go, plain: $plain, fields: &[$($fields),*], overrides: &[], check: $check };
    };
}

const PORT: Field = field("port", Int).default("80").always();
const PORT_OMITTED: Field = field("port", Int).default("80");
const REFRESH: Field = field("refresh_interval", Duration).default("60s");
const REFRESH_ALWAYS: Field = REFRESH.always();
const REFRESH_30S: Field = field("refresh_interval", Duration).default("30s");
const REFRESH_5M: Field = field("refresh_interval", Duration).default("5m");
const TAG_SEPARATOR: Field = field("tag_separator", Str).default(",");

// Amazon.

static AWS_ACCESS: &[Field] = &[
    field("region", Str).always(),
    field("endpoint", Str).always(),
    field("access_key", Str),
    field("secret_key", Secret),
    field("profile", Str),
    field("role_arn", Str),
    field("external_id", Str),
];
static AWS_FILTERS: &[Field] = &[field("filters", List(&Type::Record(&AWS_FILTER))).always()];
static AWS_PORT: &[Field] = &[PORT, REFRESH];
static AWS_CLUSTERS: &[Field] = &[field("clusters", STRS)];
static CONCURRENCY_10: &[Field] = &[field("request_concurrency", Int).default("10")];
static CONCURRENCY_20: &[Field] = &[field("request_concurrency", Int).default("20")];

table!(AWS_FILTER, "aws.Filter", "aws.Filter", [&[field("name", Str).always(), field("values", STRS).always()]], anything);

static AWS: Table = Table {
    go: "aws.SDConfig",
    plain: "aws.plain",
    fields: &[
        &[
            field(
                "role",
                Checked("string", |role| {
                    let known = matches!(role, "ec2" | "ecs" | "elasticache" | "lightsail" | "msk" | "rds");
                    refuse(!known, &format!("unknown AWS SD role {}", quote(role)))
                }),
            )
            .always(),
            field("region", Str),
            field("endpoint", Str),
            field("access_key", Str),
            field("secret_key", Secret),
            field("profile", Str),
            field("role_arn", Str),
            field("external_id", Str),
            field("refresh_interval", Duration),
            field("port", Int),
        ],
        http::FIELDS,
        &[field("filters", List(&Type::Record(&AWS_FILTER))), field("clusters", STRS)],
    ],
    // Go starts from zero here, not from the client's defaults.
    overrides: &[("follow_redirects", "false"), ("enable_http2", "false")],
    check: |aws| refuse(aws.str("role").is_empty(), "unknown AWS SD role \"\""),
};

table!(EC2, "aws.EC2SDConfig", "aws.plain", [AWS_ACCESS, AWS_PORT, AWS_FILTERS, http::FIELDS], |ec2| {
    let empty = ec2.records("filters").any(|filter| filter.list("values").is_empty());
    refuse(empty, "EC2 SD configuration filter values cannot be empty")?;
    http::check(ec2)
});
table!(ECS, "aws.ECSSDConfig", "aws.plain", [AWS_ACCESS, AWS_CLUSTERS, AWS_PORT, CONCURRENCY_20, http::FIELDS], http::check);
table!(
    ELASTICACHE,
    "aws.ElasticacheSDConfig",
    "aws.plain",
    [AWS_ACCESS, AWS_CLUSTERS, AWS_PORT, CONCURRENCY_10, http::FIELDS],
    http::check
);
table!(LIGHTSAIL, "aws.LightsailSDConfig", "aws.plain", [AWS_ACCESS, AWS_PORT, http::FIELDS], http::check);
table!(MSK, "aws.MSKSDConfig", "aws.plain", [AWS_ACCESS, AWS_CLUSTERS, AWS_PORT, CONCURRENCY_10, http::FIELDS], http::check);
table!(RDS, "aws.RDSSDConfig", "aws.plain", [AWS_ACCESS, AWS_CLUSTERS, AWS_PORT, AWS_FILTERS, CONCURRENCY_10, http::FIELDS], http::check);

// Other clouds and registries.

table!(
    AZURE,
    "azure.SDConfig",
    "azure.plain",
    [
        &[
            field("environment", Str).default("AzurePublicCloud"),
            PORT,
            field("subscription_id", Str).always(),
            field("tenant_id", Str),
            field("client_id", Str),
            field("client_secret", Secret),
            REFRESH_5M,
            field("authentication_method", Str).default("OAuth"),
            field("resource_group", Str),
        ],
        http::FIELDS
    ],
    |azure| {
        let method = azure.str("authentication_method");
        let required: &[&str] =
            if method == "OAuth" { &["subscription_id", "tenant_id", "client_id", "client_secret"] } else { &["subscription_id"] };
        for field in required {
            refuse(azure.str(field).is_empty(), &format!("azure SD configuration requires a {field}"))?;
        }
        if !matches!(method, "OAuth" | "ManagedIdentity" | "SDK" | "WorkloadIdentity") {
            return Err(format!(
                "unknown authentication_type {}. Supported types are \"OAuth\", \"ManagedIdentity\", \"SDK\" or \"WorkloadIdentity\"",
                quote(method)
            ));
        }
        http::check(azure)
    }
);

table!(
    CONSUL,
    "consul.SDConfig",
    "consul.plain",
    [
        &[
            field("server", Str).default("localhost:8500"),
            field("path_prefix", Str),
            field("token", Secret),
            field("datacenter", Str),
            field("namespace", Str),
            field("partition", Str),
            TAG_SEPARATOR,
            field("scheme", Str).default("http"),
            field("username", Str),
            field("password", Secret),
            field("allow_stale", Bool).default("true").always(),
            REFRESH_30S,
            field("services", STRS),
            field("tags", STRS),
            field("node_meta", Map(&Str)),
            field("filter", Str),
            field("health_filter", Str),
        ],
        http::FIELDS
    ],
    |consul| {
        refuse(consul.str("server").trim().is_empty(), "consul SD configuration requires a server address")?;
        let login = !consul.str("username").is_empty() || !consul.str("password").is_empty();
        refuse(
            login && consul.has("basic_auth"),
            "at most one of consul SD configuration username and password and basic auth can be configured",
        )?;
        let token = !consul.str("token").is_empty();
        refuse(
            token && (consul.has("authorization") || consul.has("oauth2")),
            "at most one of consul SD token, authorization, or oauth2 can be configured",
        )?;
        http::check(consul)
    }
);

table!(
    DIGITALOCEAN,
    "digitalocean.SDConfig",
    "digitalocean.plain",
    [
        http::FIELDS,
        &[
            REFRESH_ALWAYS,
            PORT,
            field(
                "role",
                Checked("string", |role| {
                    refuse(!matches!(role, "droplets" | "databases"), &format!("unknown DigitalOcean SD role {}", quote(role)))
                })
            )
            .default("droplets")
            .always()
        ]
    ],
    |droplets| {
        refuse(droplets.str("role").is_empty(), "role missing (one of: droplets, databases)")?;
        http::check(droplets)
    }
);

table!(
    DNS,
    "dns.SDConfig",
    "dns.plain",
    [&[field("names", STRS).always(), REFRESH_30S, field("type", Str).default("SRV").always(), field("port", Int).always()]],
    |dns| {
        refuse(dns.list("names").is_empty(), "DNS-SD config must contain at least one SRV record name")?;
        match dns.str("type").to_uppercase().as_str() {
            "SRV" => Ok(()),
            "A" | "AAAA" | "MX" | "NS" => {
                refuse(dns.int("port") == 0, "a port is required in DNS-SD configs for all record types except SRV")
            }
            _ => Err(format!("invalid DNS-SD records type {}", dns.str("type"))),
        }
    }
);

table!(DOCKER_FILTER, "moby.Filter", "moby.Filter", [&[field("name", Str).always(), field("values", STRS).always()]], anything);

table!(
    DOCKER,
    "moby.DockerSDConfig",
    "moby.plain",
    [
        http::FIELDS,
        &[
            field("host", Str).always(),
            PORT,
            field("filters", List(&Type::Record(&DOCKER_FILTER))).always(),
            field("host_networking_host", Str).default("localhost").always(),
            REFRESH_ALWAYS,
            field("match_first_network", Bool).default("true").always()
        ]
    ],
    |docker| {
        check_docker_host(docker)?;
        http::check(docker)
    }
);

table!(
    DOCKERSWARM,
    "moby.DockerSwarmSDConfig",
    "moby.plain",
    [
        http::FIELDS,
        &[
            field("host", Str).always(),
            field("role", Str).always(),
            PORT,
            field("filters", List(&Type::Record(&DOCKER_FILTER))).always(),
            REFRESH_ALWAYS
        ]
    ],
    |swarm| {
        check_docker_host(swarm)?;
        match swarm.str("role") {
            "services" | "nodes" | "tasks" => http::check(swarm),
            "" => Err("role missing (one of: tasks, services, nodes)".to_owned()),
            role => Err(format!("invalid role {role}, expected tasks, services, or nodes")),
        }
    }
);

fn check_docker_host(docker: &Record) -> Result<(), String> {
    refuse(docker.str("host").is_empty(), "host missing")?;
    crate::url::parse(docker.str("host")).map(|_| ())
}

table!(EUREKA, "eureka.SDConfig", "eureka.plain", [&[field("server", Str)], http::FIELDS, &[REFRESH_30S]], |eureka| {
    refuse(eureka.str("server").is_empty(), "eureka_sd: empty or null eureka server")?;
    let url = crate::url::parse(eureka.str("server"))?;
    refuse(url.scheme.is_empty() || url.host.is_empty(), "eureka_sd: invalid eureka server URL")?;
    http::check(eureka)
});

table!(FILE, "file.SDConfig", "file.plain", [&[field("files", List(&Path)).always(), REFRESH_5M]], |file| {
    refuse(file.list("files").is_empty(), "file service discovery config must contain at least one path name")?;
    for name in file.strings("files") {
        refuse(!is_file_pattern(name), &format!("path name {} is not valid for file discovery", quote(name)))?;
    }
    Ok(())
});

/// `^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$`
fn is_file_pattern(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    matches!(extension, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML")
        && stem.split_once('*').is_none_or(|(_, rest)| !rest.contains('/'))
}

table!(
    GCE,
    "gce.SDConfig",
    "gce.plain",
    [&[field("project", Str).always(), field("zone", Str).always(), field("filter", Str), REFRESH, PORT, TAG_SEPARATOR]],
    |gce| {
        refuse(gce.str("project").is_empty(), "GCE SD configuration requires a project")?;
        refuse(gce.str("zone").is_empty(), "GCE SD configuration requires a zone")
    }
);

table!(
    HETZNER,
    "hetzner.SDConfig",
    "hetzner.plain",
    [
        http::FIELDS,
        &[
            REFRESH_ALWAYS,
            PORT,
            field(
                "role",
                Checked("string", |role| { refuse(!matches!(role, "robot" | "hcloud"), &format!("unknown role {}", quote(role))) })
            )
            .always(),
            field("label_selector", Str)
        ]
    ],
    |hetzner| {
        refuse(hetzner.str("role").is_empty(), "role missing (one of: robot, hcloud)")?;
        http::check(hetzner)
    }
);

table!(HTTP, "http.SDConfig", "http.plain", [http::FIELDS, &[REFRESH, field("url", Str).always()]], |sd| {
    check_http_url(sd)?;
    http::check(sd)
});

fn check_http_url(section: &Record) -> Result<(), String> {
    refuse(section.str("url").is_empty(), "URL is missing")?;
    let url = crate::url::parse(section.str("url"))?;
    refuse(!matches!(url.scheme.as_str(), "http" | "https"), "URL scheme must be 'http' or 'https'")?;
    refuse(url.host.is_empty(), "host is missing in URL")
}

table!(IONOS, "ionos.SDConfig", "ionos.plain", [&[field("datacenter_id", Str).always()], http::FIELDS, &[REFRESH_ALWAYS, PORT]], |ionos| {
    refuse(ionos.str("datacenter_id").is_empty(), "datacenter id can't be empty")?;
    http::check(ionos)
});

const KUBERNETES_ROLE: Type = Checked("string", |role| {
    let known = matches!(role, "node" | "pod" | "service" | "endpoints" | "endpointslice" | "ingress");
    refuse(!known, &format!("unknown Kubernetes SD role {}", quote(role)))
});

table!(
    KUBERNETES,
    "kubernetes.SDConfig",
    "kubernetes.plain",
    [
        &[field("api_server", Url), field("role", KUBERNETES_ROLE).always(), field("kubeconfig_file", Path).always()],
        http::FIELDS,
        &[
            field("namespaces", Type::Record(&KUBERNETES_NAMESPACES)),
            field("selectors", List(&Type::Record(&KUBERNETES_SELECTOR))),
            field("attach_metadata", Type::Record(&KUBERNETES_METADATA))
        ]
    ],
    check_kubernetes
);
table!(
    KUBERNETES_NAMESPACES,
    "kubernetes.NamespaceDiscovery",
    "kubernetes.plain",
    [&[field("own_namespace", Bool).always(), field("names", STRS).always()]],
    anything
);
table!(
    KUBERNETES_SELECTOR,
    "kubernetes.SelectorConfig",
    "kubernetes.SelectorConfig",
    [&[field("role", KUBERNETES_ROLE), field("label", Str), field("field", Str)]],
    anything
);
table!(
    KUBERNETES_METADATA,
    "kubernetes.AttachMetadataConfig",
    "kubernetes.AttachMetadataConfig",
    [&[
        field("node", Bool).always(),
        field("namespace", Bool).always(),
        field("deployment", Bool).always(),
        field("job", Bool).always(),
        field("cronjob", Bool).always()
    ]],
    anything
);

fn check_kubernetes(kubernetes: &mut Record) -> Result<(), String> {
    refuse(kubernetes.str("role").is_empty(), "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)")?;
    http::check(kubernetes)?;
    let api_server = kubernetes.has("api_server");
    let kubeconfig = !kubernetes.str("kubeconfig_file").is_empty();
    let custom_http = !http::is_default(kubernetes);
    let own = kubernetes.record("namespaces").is_some_and(|namespaces| namespaces.bool("own_namespace"));
    refuse(api_server && kubeconfig, "cannot use 'kubeconfig_file' and 'api_server' simultaneously")?;
    refuse(kubeconfig && custom_http, "cannot use a custom HTTP client configuration together with 'kubeconfig_file'")?;
    refuse(!api_server && custom_http, "to use custom HTTP client configuration please provide the 'api_server' URL explicitly")?;
    refuse(api_server && own, "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously")?;
    refuse(kubeconfig && own, "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously")?;
    check_selectors(kubernetes)
}

fn check_selectors(kubernetes: &Record) -> Result<(), String> {
    let role = kubernetes.str("role");
    let allowed: &[&str] = match role {
        "pod" => &["pod", "node"],
        "service" => &["service"],
        "endpointslice" => &["pod", "service", "endpointslice"],
        "endpoints" => &["pod", "service", "endpoints"],
        "node" => &["node"],
        _ => &["ingress"],
    };
    let mut found: Vec<&str> = Vec::new();
    for selector in kubernetes.records("selectors") {
        let selected = selector.str("role");
        refuse(found.contains(&selected), &format!("duplicated selector role: {selected}"))?;
        found.push(selected);
        refuse(!allowed.contains(&selected), &format!("{role} role supports only {} selectors", allowed.join(", ")))?;
        let field = selector.str("field");
        let broken = field.split(',').find(|term| !term.is_empty() && !term.contains('='));
        if let Some(term) = broken {
            return Err(format!("invalid selector: '{field}'; can't understand '{term}'"));
        }
    }
    Ok(())
}

table!(
    KUMA,
    "xds.KumaSDConfig",
    "xds.plainKumaConf",
    [
        http::FIELDS,
        &[
            field("refresh_interval", Duration).default("15s"),
            field("fetch_timeout", Duration).default("2m"),
            field("server", Str),
            field("client_id", Str)
        ]
    ],
    |kuma| {
        let server = kuma.str("server");
        refuse(server.is_empty(), &format!("kuma SD server must not be empty: {server}"))?;
        let url = crate::url::parse(server)?;
        let relative = url.scheme.is_empty() || url.host.is_empty();
        refuse(relative, &format!("kuma SD server must not be empty and have a scheme: {server}"))?;
        http::check(kuma)
    }
);

table!(
    LINODE,
    "linode.SDConfig",
    "linode.plain",
    [http::FIELDS, &[REFRESH_ALWAYS, PORT, TAG_SEPARATOR, field("region", Str)]],
    http::check
);

table!(
    MARATHON,
    "marathon.SDConfig",
    "marathon.plain",
    [&[field("servers", STRS), REFRESH_30S, field("auth_token", Secret), field("auth_token_file", Path)], http::FIELDS],
    |marathon| {
        refuse(marathon.list("servers").is_empty(), "marathon_sd: must contain at least one Marathon server")?;
        let set = |name: &str| !marathon.str(name).is_empty();
        let (token, file) = (set("auth_token"), set("auth_token_file"));
        refuse(token && file, "marathon_sd: at most one of auth_token & auth_token_file must be configured")?;
        if token || file {
            refuse(marathon.has("basic_auth"), "marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured")?;
            refuse(
                set("bearer_token") || set("bearer_token_file"),
                "marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be configured",
            )?;
            refuse(
                marathon.has("authorization"),
                "marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured",
            )?;
        }
        http::check(marathon)
    }
);

static ZOOKEEPER: &[Field] = &[field("servers", STRS).always(), field("paths", STRS).always(), field("timeout", Duration).default("10s")];
table!(NERVE, "zookeeper.NerveSDConfig", "zookeeper.plain", [ZOOKEEPER], |nerve| check_zookeeper(nerve, "nerve"));
table!(SERVERSET, "zookeeper.ServersetSDConfig", "zookeeper.plain", [ZOOKEEPER], |set| check_zookeeper(set, "serverset"));

fn check_zookeeper(section: &Record, kind: &str) -> Result<(), String> {
    refuse(section.list("servers").is_empty(), &format!("{kind} SD config must contain at least one Zookeeper server"))?;
    refuse(section.list("paths").is_empty(), &format!("{kind} SD config must contain at least one path"))?;
    for path in section.strings("paths") {
        refuse(!path.starts_with('/'), &format!("{kind} SD config paths must begin with '/': {path}"))?;
    }
    Ok(())
}

table!(
    NOMAD,
    "nomad.SDConfig",
    "nomad.plain",
    [
        &[field("allow_stale", Bool).default("true").always()],
        http::FIELDS,
        &[
            field("namespace", Str).default("default").always(),
            REFRESH_ALWAYS,
            field("region", Str).default("global").always(),
            field("server", Str).default("http://localhost:4646").always(),
            TAG_SEPARATOR
        ]
    ],
    |nomad| {
        refuse(nomad.str("server").trim().is_empty(), "nomad SD configuration requires a server address")?;
        http::check(nomad)
    }
);

table!(
    OCI,
    "oci.SDConfig",
    "oci.plain",
    [
        &[
            field("auth", Str).default("api_key"),
            field("tenancy", Str),
            field("user", Str),
            field("fingerprint", Str),
            field("key_file", Path),
            field("key_passphrase", Secret),
            field("key_passphrase_file", Path),
            field("region", Str).always(),
            field("compartments", STRS)
        ],
        http::FIELDS,
        &[PORT, REFRESH_ALWAYS]
    ],
    check_oci
);

fn check_oci(oci: &mut Record) -> Result<(), String> {
    let is_set = |name: &str| !oci.str(name).is_empty();
    refuse(!is_set("region"), "oci_sd: region is required")?;
    match oci.str("auth") {
        "api_key" => {
            for name in ["tenancy", "user", "fingerprint", "key_file"] {
                refuse(!is_set(name), &format!("oci_sd: api_key auth requires {name}"))?;
            }
            let both = is_set("key_passphrase") && is_set("key_passphrase_file");
            refuse(both, "oci_sd: at most one of key_passphrase and key_passphrase_file must be configured")?;
        }
        "instance_principal" => {
            let keys = ["tenancy", "user", "fingerprint", "key_file", "key_passphrase", "key_passphrase_file"];
            refuse(
                keys.into_iter().any(is_set),
                "oci_sd: instance_principal auth must not have tenancy, user, fingerprint, key_file, key_passphrase, or key_passphrase_file set",
            )?;
        }
        auth => {
            return Err(format!("oci_sd: unknown auth method {}, expected \"api_key\" or \"instance_principal\"", quote(auth)));
        }
    }
    if let Some(at) = oci.strings("compartments").position(str::is_empty) {
        return Err(format!("oci_sd: compartments[{at}] must not be empty"));
    }
    let interval = oci.duration("refresh_interval");
    refuse(interval.0 <= 0, &format!("oci_sd: refresh_interval must be positive, got {}", model::duration::format(interval)))?;
    http::check(oci)
}

table!(
    OPENSTACK,
    "openstack.SDConfig",
    "openstack.plain",
    [&[
        field("identity_endpoint", Str).always(),
        field("username", Str).always(),
        field("userid", Str).always(),
        field("password", Secret).always(),
        field("project_name", Str).always(),
        field("project_id", Str).always(),
        field("domain_name", Str).always(),
        field("domain_id", Str).always(),
        field("application_credential_name", Str).always(),
        field("application_credential_id", Str).always(),
        field("application_credential_secret", Secret).always(),
        field(
            "role",
            Checked("string", |role| {
                let known = matches!(role, "hypervisor" | "instance" | "loadbalancer");
                refuse(!known, &format!("unknown OpenStack SD role {}", quote(role)))
            })
        )
        .always(),
        field("region", Str).always(),
        REFRESH_ALWAYS,
        PORT,
        field("all_tenants", Bool),
        field("tls_config", Type::Record(&http::TLS)),
        field("availability", Str).default("public")
    ]],
    |openstack| {
        let availability = openstack.str("availability");
        refuse(
            !matches!(availability, "public" | "internal" | "admin"),
            &format!("unknown availability {availability}, must be one of admin, internal or public"),
        )?;
        refuse(openstack.str("role").is_empty(), "role missing (one of: instance, hypervisor, loadbalancer)")?;
        refuse(openstack.str("region").is_empty(), "openstack SD configuration requires a region")
    }
);

fn check_two_secrets(section: &Record) -> Result<(), String> {
    let (secret, file) = (!section.str("secret_key").is_empty(), !section.str("secret_key_file").is_empty());
    refuse(!secret && !file, "one of secret_key & secret_key_file must be configured")?;
    refuse(secret && file, "at most one of secret_key & secret_key_file must be configured")
}

table!(
    OUTSCALE,
    "outscale.SDConfig",
    "outscale.plain",
    [
        &[
            field("endpoint", Str),
            field("region", Str).default("eu-west-2").always(),
            field("access_key", Str).always(),
            field("secret_key", Secret).always(),
            field("secret_key_file", Path).always(),
            REFRESH,
            PORT
        ],
        http::FIELDS
    ],
    |outscale| {
        refuse(outscale.str("region").is_empty(), "outscale SD configuration requires a region")?;
        refuse(outscale.str("access_key").is_empty(), "outscale SD configuration requires access_key")?;
        check_two_secrets(outscale)?;
        let endpoint = format!("https://api.{}.outscale.com/api/v1", outscale.str("region"));
        outscale.set_if_zero("endpoint", &Value::Str(endpoint));
        http::check(outscale)
    }
);

table!(
    OVHCLOUD,
    "ovhcloud.SDConfig",
    "ovhcloud.plain",
    [&[
        field("endpoint", Str).default("ovh-eu").always(),
        field("application_key", Str).always(),
        field("application_secret", Secret).always(),
        field("consumer_key", Secret).always(),
        REFRESH_ALWAYS,
        field("service", Str).always()
    ]],
    |ovh| {
        for (name, what) in [
            ("endpoint", "endpoint"),
            ("application_key", "application key"),
            ("application_secret", "application secret"),
            ("consumer_key", "consumer key"),
        ] {
            refuse(ovh.str(name).is_empty(), &format!("{what} can not be empty"))?;
        }
        let service = ovh.str("service");
        refuse(!matches!(service, "dedicated_server" | "vps"), &format!("unknown service: {service}"))
    }
);

table!(
    PUPPETDB,
    "puppetdb.SDConfig",
    "puppetdb.plain",
    [http::FIELDS, &[REFRESH, field("url", Str).always(), field("query", Str).always(), field("include_parameters", Bool).always(), PORT]],
    |puppetdb| {
        check_http_url(puppetdb)?;
        refuse(puppetdb.str("query").is_empty(), "query missing")?;
        http::check(puppetdb)
    }
);

table!(
    SCALEWAY,
    "scaleway.SDConfig",
    "scaleway.plain",
    [
        &[
            field("project_id", Str).always(),
            field("api_url", Str).default("https://api.scaleway.com"),
            field("zone", Str).default("fr-par-1").always(),
            field("access_key", Str).always(),
            field("secret_key", Secret).always(),
            field("secret_key_file", Path).always(),
            field("name_filter", Str),
            field("tags_filter", STRS)
        ],
        http::FIELDS,
        &[
            REFRESH_ALWAYS,
            PORT,
            field(
                "role",
                Checked("string", |role| { refuse(!matches!(role, "instance" | "baremetal"), &format!("unknown role {}", quote(role))) })
            )
            .always()
        ]
    ],
    |scaleway| {
        refuse(scaleway.str("role").is_empty(), "role missing (one of: instance, baremetal)")?;
        refuse(scaleway.str("project_id").is_empty(), "project_id is mandatory")?;
        check_two_secrets(scaleway)?;
        refuse(scaleway.str("access_key").is_empty(), "access_key is mandatory")?;
        http::check(scaleway)
    }
);

table!(
    STACKIT,
    "stackit.SDConfig",
    "stackit.plain",
    [
        http::FIELDS,
        &[
            field("project", Str).always(),
            REFRESH,
            PORT_OMITTED,
            field("region", Str).default("eu01"),
            field("endpoint", Str),
            field("service_account_key", Secret),
            field("private_key", Secret),
            field("service_account_key_path", Str),
            field("private_key_path", Str),
            field("credentials_file_path", Str)
        ]
    ],
    |stackit| {
        let endpoint = stackit.str("endpoint");
        let nowhere = endpoint.is_empty() && stackit.str("region").is_empty();
        refuse(nowhere, "stackit_sd: endpoint and region missing")?;
        crate::url::parse(endpoint).map_err(|message| format!("stackit_sd: invalid endpoint {}: {message}", quote(endpoint)))?;
        http::check(stackit)
    }
);

table!(
    TRITON,
    "triton.SDConfig",
    "triton.plain",
    [&[
        field("account", Str).always(),
        field("role", Str).default("container").always(),
        field("dns_suffix", Str).always(),
        field("endpoint", Str).always(),
        field("groups", STRS),
        field("port", Int).default("9163").always(),
        REFRESH,
        field("tls_config", Type::Record(&http::TLS)),
        field("version", Int).default("1").always()
    ]],
    |triton| {
        refuse(!matches!(triton.str("role"), "container" | "cn"), "triton SD configuration requires role to be 'container' or 'cn'")?;
        for (name, what) in [("account", "an account"), ("dns_suffix", "a dns_suffix"), ("endpoint", "an endpoint")] {
            refuse(triton.str(name).is_empty(), &format!("triton SD configuration requires {what}"))?;
        }
        let interval = triton.duration("refresh_interval");
        refuse(interval.0 <= 0, "triton SD configuration requires RefreshInterval to be a positive integer")
    }
);

table!(
    UYUNI,
    "uyuni.SDConfig",
    "uyuni.plain",
    [
        &[field("server", Str).always(), field("username", Str).always(), field("password", Secret).always()],
        http::FIELDS,
        &[field("entitlement", Str).default("monitoring_entitled"), field("separator", Str).default(","), REFRESH]
    ],
    |uyuni| {
        refuse(uyuni.str("server").is_empty(), "Uyuni SD configuration requires server host")?;
        crate::url::parse(uyuni.str("server")).map_err(|message| format!("Uyuni Server URL is not valid: {message}"))?;
        refuse(uyuni.str("username").is_empty(), "Uyuni SD configuration requires a username")?;
        refuse(uyuni.str("password").is_empty(), "Uyuni SD configuration requires a password")?;
        http::check(uyuni)
    }
);

table!(VULTR, "vultr.SDConfig", "vultr.plain", [http::FIELDS, &[REFRESH_ALWAYS, PORT]], http::check);
