//! Prometheus's flags by their own names, as one table.
//!
//! A flag that does nothing yet says so when it is given: with a warning where ignoring it is harmless, with a
//! refusal where it would mislead about data or security. Durations, sizes and numbers are checked when parsed.

mod features;

use clap::{Arg, ArgAction, ArgMatches, Command};
pub use features::Notice;
use std::collections::BTreeMap;

/// What kind of value a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `--name`, `--no-name`
    Bool,
    Text,
    /// May be given more than once.
    List,
    Duration,
    Size,
    /// A size, or a share of something as `25%`.
    Share,
    Int,
    Float,
    OneOf(&'static [&'static str]),
}

/// What giving the flag does today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Works,
    /// Accepted with this warning.
    Warns(&'static str),
    /// Accepted silently: it tunes something that Pyrope does not have or need.
    Idle,
    /// Refused: ignoring it would mislead.
    Refused,
}

struct Flag {
    name: &'static str,
    kind: Kind,
    default: &'static str,
    hidden: bool,
    status: Status,
    help: &'static str,
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, status: Status, help: &'static str) -> Flag {
    Flag { name, kind, default, hidden: false, status, help }
}

const fn hidden(name: &'static str, kind: Kind, default: &'static str, status: Status, help: &'static str) -> Flag {
    Flag { name, kind, default, hidden: true, status, help }
}

use Kind::{Bool, Duration, Float, Int, List, OneOf, Share, Size, Text};
use Status::{Idle, Refused, Warns, Works};

const NO_RULES: Status = Warns("rules are not evaluated yet");
const NO_ALERTS: Status = Warns("alerts are not sent yet");
const NO_REMOTE: Status = Warns("remote storage is not supported yet");
const CODECS: &[&str] = &["snappy", "zstd"];

/// In the order of Prometheus's help.
const FLAGS: &[Flag] = &[
    flag("config.file", Text, "prometheus.yml", Works, "Prometheus configuration file path."),
    flag("config.auto-reload", Bool, "false", Refused, "Enable automatic configuration file reloading."),
    flag("config.auto-reload-interval", Duration, "30s", Idle, "Interval for checking the configuration file."),
    flag("web.listen-address", List, "0.0.0.0:9090", Works, "Address to listen on for UI, API, and telemetry. Can be repeated."),
    flag("auto-gomaxprocs", Bool, "true", Idle, "Of Go's runtime: accepted, not needed."),
    flag("auto-gomemlimit", Bool, "true", Idle, "Of Go's runtime: accepted, not needed."),
    flag("auto-gomemlimit.ratio", Float, "0.9", Idle, "Of Go's runtime: accepted, not needed."),
    flag("auto-gomemlimit.refresh-interval", Duration, "0s", Idle, "Of Go's runtime: accepted, not needed."),
    flag("web.config.file", Text, "", Refused, "Path to configuration file that can enable TLS or authentication."),
    flag(
        "web.read-timeout",
        Duration,
        "5m",
        Works,
        "Maximum duration before timing out read of the request, and closing idle connections.",
    ),
    flag("web.max-connections", Int, "512", Works, "Maximum number of simultaneous connections across all listeners."),
    flag("web.max-notifications-subscribers", Int, "16", Idle, "Limits the maximum number of subscribers to live notifications."),
    flag("web.external-url", Text, "", Works, "The URL under which the server is externally reachable."),
    flag("web.route-prefix", Text, "", Works, "Prefix for the internal routes of web endpoints. Defaults to path of --web.external-url."),
    flag("web.user-assets", Text, "", Warns("user assets are not served yet"), "Path to static asset directory, available at /user."),
    flag("web.enable-lifecycle", Bool, "false", Works, "Enable shutdown and reload via HTTP request."),
    flag("web.enable-admin-api", Bool, "false", Works, "Enable API endpoints for admin control actions."),
    flag("web.enable-remote-write-receiver", Bool, "false", Works, "Enable API endpoint accepting remote write requests."),
    flag(
        "web.remote-write-receiver.accepted-protobuf-messages",
        List,
        "prometheus.WriteRequest,io.prometheus.write.v2.Request",
        Works,
        "List of the remote write protobuf messages to accept when receiving the remote writes.",
    ),
    flag("web.enable-otlp-receiver", Bool, "false", Refused, "Enable API endpoint accepting OTLP write requests."),
    flag("web.console.templates", Text, "consoles", Idle, "Path to the console template directory, available at /consoles."),
    flag("web.console.libraries", Text, "console_libraries", Idle, "Path to the console library directory."),
    flag("web.page-title", Text, "Prometheus Time Series Collection and Processing Server", Idle, "Document title."),
    flag("web.cors.origin", Text, ".*", Works, "Regex for CORS origin. It is fully anchored."),
    flag("storage.tsdb.path", Text, "data/", Works, "Base path for metrics storage."),
    hidden("storage.tsdb.min-block-duration", Duration, "2h", Works, "Minimum duration of a data block before being persisted."),
    hidden("storage.tsdb.max-block-duration", Duration, "0s", Works, "Maximum duration compacted blocks may span."),
    hidden("storage.tsdb.max-block-chunk-segment-size", Size, "512MB", Works, "Maximum size of a chunk segment in a block."),
    hidden("storage.tsdb.wal-segment-size", Size, "128MB", Works, "Size at which to split the tsdb WAL segment files."),
    flag("storage.tsdb.retention.time", Duration, "0s", Works, "How long to retain samples in storage."),
    flag("storage.tsdb.retention.size", Size, "0B", Works, "Maximum number of bytes that can be stored for blocks."),
    flag("storage.tsdb.no-lockfile", Bool, "false", Works, "Do not create lockfile in data directory."),
    hidden("storage.tsdb.allow-overlapping-compaction", Bool, "true", Idle, "Allow compaction of overlapping blocks."),
    hidden("storage.tsdb.wal-compression", Bool, "true", Works, "Compress the tsdb WAL."),
    hidden("storage.tsdb.wal-compression-type", OneOf(CODECS), "snappy", Works, "Compression algorithm for the tsdb WAL."),
    flag(
        "storage.tsdb.wal-fsync-interval",
        Duration,
        "1s",
        Works,
        "Longest time until what is written to the WAL is synced; 0s syncs before every acknowledgement.",
    ),
    flag(
        "storage.tsdb.head-chunks-write-queue-size",
        Int,
        "0",
        Idle,
        "Size of the queue through which head chunks are written to the disk.",
    ),
    hidden("storage.tsdb.samples-per-chunk", Int, "120", Idle, "Target number of samples per chunk."),
    hidden("storage.tsdb.delayed-compaction.max-percent", Int, "10", Idle, "Upper limit for the random compaction delay."),
    flag(
        "storage.tsdb.delay-compact-file.path",
        Text,
        "",
        Works,
        "Path to a JSON file with uploaded TSDB blocks e.g. Thanos shipper meta file.",
    ),
    hidden("storage.tsdb.block-reload-interval", Duration, "1m", Idle, "Interval at which to check for new or removed blocks in storage."),
    flag("storage.remote.flush-deadline", Duration, "1m", NO_REMOTE, "How long to wait flushing sample on shutdown or config reload."),
    flag(
        "storage.remote.read-sample-limit",
        Int,
        "50000000",
        NO_REMOTE,
        "Maximum overall number of samples to return via the remote read interface.",
    ),
    flag("storage.remote.read-concurrent-limit", Int, "10", NO_REMOTE, "Maximum number of concurrent remote read calls."),
    flag(
        "storage.remote.read-max-bytes-in-frame",
        Int,
        "1048576",
        NO_REMOTE,
        "Maximum number of bytes in a single frame for streaming remote read response types.",
    ),
    flag("web.search.max-limit", Int, "10000", Idle, "Hard upper bound on the \"limit\" query parameter of the search API."),
    flag(
        "rules.alert.for-outage-tolerance",
        Duration,
        "1h",
        NO_RULES,
        "Max time to tolerate an outage for restoring \"for\" state of alert.",
    ),
    flag("rules.alert.for-grace-period", Duration, "10m", NO_RULES, "Minimum duration between alert and restored \"for\" state."),
    flag("rules.alert.resend-delay", Duration, "1m", NO_RULES, "Minimum amount of time to wait before resending an alert to Alertmanager."),
    flag("rules.max-concurrent-evals", Int, "4", NO_RULES, "Global concurrency limit for independent rules."),
    hidden("scrape.adjust-timestamps", Bool, "true", Works, "Adjust scrape timestamps to align them to the intended schedule."),
    hidden("scrape.timestamp-tolerance", Duration, "2ms", Works, "Timestamp tolerance."),
    flag(
        "alertmanager.notification-queue-capacity",
        Int,
        "10000",
        NO_ALERTS,
        "The capacity of the queue for pending Alertmanager notifications.",
    ),
    flag(
        "alertmanager.notification-batch-size",
        Int,
        "256",
        NO_ALERTS,
        "The maximum number of notifications per batch to send to the Alertmanager.",
    ),
    flag(
        "alertmanager.drain-notification-queue-on-shutdown",
        Bool,
        "true",
        NO_ALERTS,
        "Send any outstanding Alertmanager notifications when shutting down.",
    ),
    flag(
        "query.lookback-delta",
        Duration,
        "5m",
        Works,
        "The maximum lookback duration for retrieving metrics during expression evaluations and federation.",
    ),
    flag("query.timeout", Duration, "2m", Works, "Maximum time a query may take before being aborted."),
    flag("query.max-concurrency", Int, "20", Works, "Maximum number of queries executed concurrently."),
    flag(
        "query.max-memory",
        Share,
        "25%",
        Works,
        "Maximum memory that all queries may hold together: bytes with a unit, or a share of the machine's (or the container's).",
    ),
    flag(
        "query.max-memory-per-query",
        Share,
        "50%",
        Works,
        "Maximum memory that a single query may hold: bytes with a unit, or a share of query.max-memory.",
    ),
    flag("query.max-samples", Int, "50000000", Works, "Maximum number of samples a single query can load into memory."),
    hidden("scrape.discovery-reload-interval", Duration, "5s", Idle, "Interval used by scrape manager to throttle target groups updates."),
    flag("enable-feature", List, "", Works, "Comma separated feature names to enable."),
    flag("agent", Bool, "false", Refused, "Run in 'Agent mode'."),
    flag(
        "log.level",
        OneOf(&["debug", "info", "warn", "error"]),
        "info",
        Works,
        "Only log messages with the given severity or above. One of: [debug, info, warn, error]",
    ),
    flag("log.format", OneOf(&["logfmt", "json"]), "logfmt", Works, "Output format of log messages. One of: [logfmt, json]"),
];

/// Why the command line cannot be used; the process ends with [`FlagError::exit_code`].
#[derive(Debug)]
pub struct FlagError {
    /// One line that says what is wrong.
    pub message: String,
    /// As Prometheus's.
    pub exit_code: u8,
}

/// The flags as given, or their defaults.
#[derive(Debug)]
pub struct Flags {
    values: BTreeMap<&'static str, Vec<String>>,
    given: Vec<&'static str>,
}

/// What the command line asks for.
pub enum Parsed {
    /// Run the server.
    Run(Flags),
    /// Print this and end well (`--help`, `--version`).
    Print(String),
}

/// Reads the command line.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Parsed, FlagError> {
    let version = version_text();
    let mut command = command(&version);
    let matches = match command.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) => {
            use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
            if matches!(error.kind(), DisplayHelp | DisplayVersion) {
                return Ok(Parsed::Print(error.to_string()));
            }
            let text = error.to_string();
            let line = text.lines().next().unwrap_or("").trim_start_matches("error: ");
            return Err(FlagError { message: format!("Error parsing command line arguments: {line} (see --help)"), exit_code: 2 });
        }
    };
    let flags = Flags::collect(&matches)?;
    Ok(Parsed::Run(flags))
}

fn command(version: &str) -> Command {
    let mut command = Command::new("pyrope")
        .about("The Pyrope monitoring server: Prometheus's config, storage, language and API.")
        .version(version.to_owned())
        .disable_version_flag(true)
        .arg(Arg::new("version").long("version").action(ArgAction::Version).help("Show application version."));
    for flag in FLAGS {
        // Programs that start servers look into the help for what they may use.
        let hide = flag.hidden || flag.status == Status::Refused;
        let mut arg = Arg::new(flag.name).long(flag.name).help(help_of(flag)).hide(hide);
        arg = match flag.kind {
            Kind::Bool => arg.action(ArgAction::SetTrue).overrides_with(no_name(flag.name)),
            Kind::List => arg.action(ArgAction::Append).value_name(value_name(flag)),
            _ => arg.action(ArgAction::Append).value_name(value_name(flag)),
        };
        command = command.arg(arg);
        if flag.kind == Kind::Bool {
            let no = no_name(flag.name);
            command = command.arg(Arg::new(no.clone()).long(no).action(ArgAction::SetTrue).hide(true).overrides_with(flag.name));
        }
    }
    command
}

fn no_name(name: &'static str) -> String {
    format!("no-{name}")
}

fn help_of(flag: &Flag) -> String {
    let note = match flag.status {
        Status::Warns(_) => " (accepted, no effect yet)",
        Status::Works | Status::Idle | Status::Refused => "",
    };
    let default = if flag.default.is_empty() || flag.kind == Kind::Bool { String::new() } else { format!(" Default: {}", flag.default) };
    format!("{}{note}{default}", flag.help)
}

fn value_name(flag: &Flag) -> &'static str {
    match flag.kind {
        Kind::Bool | Kind::Text | Kind::List => "VALUE",
        Kind::Duration => "DURATION",
        Kind::Size | Kind::Share => "BYTES",
        Kind::Int | Kind::Float => "NUMBER",
        Kind::OneOf(_) => "NAME",
    }
}

impl Flags {
    fn collect(matches: &ArgMatches) -> Result<Self, FlagError> {
        let mut flags = Self { values: BTreeMap::new(), given: Vec::new() };
        for flag in FLAGS {
            let given: Vec<String> = if flag.kind == Kind::Bool {
                let (yes, no) = (matches.get_flag(flag.name), matches.get_flag(&no_name(flag.name)));
                if yes || no { vec![yes.to_string()] } else { vec![] }
            } else {
                matches.get_many::<String>(flag.name).into_iter().flatten().cloned().collect()
            };
            if given.len() > 1 && flag.kind != Kind::List {
                return Err(usage(format!("flag '{}' cannot be repeated", flag.name)));
            }
            for value in &given {
                flag.check(value)?;
            }
            if given.is_empty() {
                flags.values.insert(
                    flag.name,
                    if flag.kind == Kind::List && flag.default.is_empty() { vec![] } else { vec![flag.default.to_owned()] },
                );
                continue;
            }
            if flag.status == Status::Refused && !(flag.kind == Kind::Bool && given[0] == "false") && !given[0].is_empty() {
                return Err(usage(format!("flag --{} is not supported yet; remove it to start", flag.name)));
            }
            flags.given.push(flag.name);
            flags.values.insert(flag.name, given);
        }
        Ok(flags)
    }

    /// Warnings about flags that were given and do nothing yet.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |name: &&'static str| {
            let flag = FLAGS.iter().find(|f| f.name == *name)?;
            match flag.status {
                Status::Warns(why) => Some(format!("--{name}: {why}")),
                _ => None,
            }
        };
        self.given.iter().filter_map(warning).collect()
    }

    /// The features asked for, each with what there is to say of it.
    pub fn feature_notices(&self) -> impl Iterator<Item = (&str, Notice)> {
        self.features().map(|name| (name, features::notice(name)))
    }

    fn features(&self) -> impl Iterator<Item = &str> {
        self.list("enable-feature").iter().flat_map(|list| list.split(','))
    }

    /// Was this feature asked for?
    pub fn feature(&self, name: &str) -> bool {
        self.features().any(|feature| feature == name)
    }

    /// A flag's text.
    pub fn text(&self, name: &'static str) -> &str {
        self.list(name).last().map_or("", String::as_str)
    }

    /// All values of a flag that may be repeated.
    pub fn list(&self, name: &'static str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// A switch.
    pub fn bool(&self, name: &'static str) -> bool {
        self.text(name) == "true"
    }

    /// A number; checked when parsed.
    pub fn int(&self, name: &'static str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// A duration; checked when parsed.
    pub fn duration(&self, name: &'static str) -> model::Millis {
        model::duration::parse(self.text(name)).unwrap_or_default()
    }

    /// A size in bytes; checked when parsed.
    pub fn size(&self, name: &'static str) -> u64 {
        parse_size(self.text(name)).unwrap_or(0)
    }

    /// Bytes, where a share is one of `whole`; checked when parsed.
    pub fn share(&self, name: &'static str, whole: u64) -> u64 {
        parse_share(self.text(name), whole).unwrap_or(whole)
    }

    /// Every flag with its value, for `/api/v1/status/flags`.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.values.iter().map(|(name, values)| ((*name).to_owned(), values.join(","))).collect()
    }
}

impl Flag {
    fn check(&self, value: &str) -> Result<(), FlagError> {
        let fault = match self.kind {
            Kind::Bool | Kind::Text | Kind::List => None,
            Kind::Duration => model::duration::parse(value).err().map(|e| e.to_string()),
            Kind::Size => parse_size(value).err(),
            Kind::Share => parse_share(value, u64::MAX).err(),
            Kind::Int => {
                value.parse::<u64>().err().map(|_| format!("strconv.ParseInt: parsing {}: invalid syntax", model::name::quote(value)))
            }
            Kind::Float => {
                value.parse::<f64>().err().map(|_| format!("strconv.ParseFloat: parsing {}: invalid syntax", model::name::quote(value)))
            }
            Kind::OneOf(names) => {
                (!names.contains(&value)).then(|| format!("enum value must be one of {}, got '{value}'", names.join(",")))
            }
        };
        fault.map_or(Ok(()), |fault| Err(usage(format!("--{}: {fault}", self.name))))
    }
}

fn usage(message: String) -> FlagError {
    FlagError { message: format!("Error parsing command line arguments: {message}"), exit_code: 2 }
}

/// `512MB`, in powers of two: 1KB is 1024 bytes. A unit is required.
fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 7] = [("EB", 60), ("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10), ("B", 0)];
    let invalid = || format!("unknown unit in {} (supported: B, KB, MB, GB, TB, PB, EB)", model::name::quote(text));
    let upper = text.to_ascii_uppercase().replace("IB", "B");
    let (unit, shift) = UNITS.iter().find(|(unit, _)| upper.ends_with(unit)).ok_or_else(invalid)?;
    let number: f64 = upper[..upper.len() - unit.len()].trim().parse().map_err(|_| invalid())?;
    let bytes = number * (1u64 << shift) as f64;
    if !(0.0..=i64::MAX as f64).contains(&bytes) {
        return Err(invalid());
    }
    Ok(bytes as u64)
}

/// As a size, or `25%` of the whole.
fn parse_share(text: &str, whole: u64) -> Result<u64, String> {
    let Some(percent) = text.strip_suffix('%') else { return parse_size(text) };
    match percent.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok((whole as f64 * percent / 100.0) as u64),
        _ => Err(format!("a share must lie above 0% and not above 100%, got {}", model::name::quote(text))),
    }
}

/// `--version`
fn version_text() -> String {
    format!("{} (behaves as Prometheus {})", env!("CARGO_PKG_VERSION"), crate::PROMETHEUS_VERSION)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn run(args: &[&str]) -> Result<Flags, String> {
        let args = std::iter::once("pyrope").chain(args.iter().copied()).map(str::to_owned);
        match parse(args) {
            Ok(Parsed::Run(flags)) => Ok(flags),
            Ok(Parsed::Print(text)) => Err(text),
            Err(error) => Err(error.message),
        }
    }

    #[test]
    fn defaults_and_values() {
        let flags = run(&["--web.listen-address=:1", "--web.listen-address", ":2", "--no-storage.tsdb.wal-compression"]).unwrap();
        assert_eq!(flags.text("config.file"), "prometheus.yml");
        assert_eq!(flags.list("web.listen-address"), [":1", ":2"]);
        assert!(!flags.bool("storage.tsdb.wal-compression"));
        assert_eq!(flags.duration("query.lookback-delta"), model::Millis(300_000));
        assert_eq!(flags.share("query.max-memory", 1000), 250);
        assert_eq!(flags.size("storage.tsdb.wal-segment-size"), 128 << 20);
        assert!(flags.warnings().is_empty() && flags.feature_notices().next().is_none());
    }

    #[test]
    fn what_is_not_there_says_so() {
        let warned = run(&["--storage.remote.flush-deadline=2m", "--enable-feature=exemplar-storage,nonsense"]).unwrap();
        assert_eq!(warned.warnings().len(), 1, "{:?}", warned.warnings());
        let notices: Vec<(&str, bool)> = warned.feature_notices().map(|(name, notice)| (name, notice.is_warning)).collect();
        assert_eq!(notices, [("exemplar-storage", false), ("nonsense", true)]);
        for bad in [
            vec!["--agent"],
            vec!["--web.config.file=x"],
            vec!["--nonsense"],
            vec!["--query.timeout=1x"],
            vec!["--query.max-samples=many"],
            vec!["--query.max-memory=0%"],
            vec!["--query.max-memory=7"],
            vec!["--log.level=loud"],
            vec!["--config.file=a", "--config.file=b"],
            vec!["--storage.tsdb.retention.size=5"],
        ] {
            assert!(run(&bad).unwrap_err().starts_with("Error parsing command line arguments: "), "{bad:?}");
        }
        assert!(run(&["--no-agent"]).is_ok());
    }

    #[test]
    fn the_help_names_no_flag_that_would_be_refused() {
        let help = run(&["--help"]).unwrap_err();
        assert!(help.contains("--web.enable-remote-write-receiver"));
        for flag in FLAGS.iter().filter(|flag| flag.status == Status::Refused) {
            assert!(!help.lines().any(|line| line.split_whitespace().next() == Some(&format!("--{}", flag.name))), "{}", flag.name);
        }
    }
}
