//! `tsdb`: looks into data directories, and makes blocks.

mod analyze;
mod bench;
mod blocks;
mod dump;
mod import;

use super::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::io::Write;
use std::path::Path;

/// Where a server keeps its data if it is not told otherwise.
const DEFAULT_DIR: &str = "data/";
/// Every series.
const DEFAULT_MATCH: &str = "{__name__=~'(?s:.*)'}";

/// The commands and their flags.
pub fn command() -> Command {
    Command::new("tsdb")
        .about("Run tsdb commands.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("bench").about("Run benchmarks.").subcommand_required(true).arg_required_else_help(true).subcommand(
                Command::new("write")
                    .about("Run a write performance benchmark.")
                    .arg(flag("out", "benchout", "Set the output path; what is there is deleted."))
                    .arg(flag("metrics", "10000", "Number of metrics to read.").value_parser(value_parser!(usize)))
                    .arg(flag("scrapes", "3000", "Number of scrapes to simulate.").value_parser(value_parser!(usize)))
                    .arg(Arg::new("file").required(true).help("Input file with label sets, one JSON object of strings a line.")),
            ),
        )
        .subcommand(
            Command::new("analyze")
                .about("Analyze churn, label pair cardinality and compaction efficiency.")
                .arg(db_path())
                .arg(Arg::new("block id").help("Block to analyze (default is the last block)."))
                .arg(flag("limit", "20", "How many items to show in each list.").value_parser(value_parser!(usize)))
                .arg(switch("extended", "Run extended analysis."))
                .arg(Arg::new("match").long("match").help("Series selector to analyze. Only 1 set of matchers is supported now.")),
        )
        .subcommand(Command::new("list").about("List tsdb blocks.").arg(human_readable()).arg(db_path()))
        .subcommand(
            dump_flags(Command::new("dump")).about("Dump data (series+samples or optionally just series) from a TSDB.").arg(
                flag("format", "prom", "Output format of the dump (prom (default) or seriesjson).").value_parser(["prom", "seriesjson"]),
            ),
        )
        .subcommand(dump_flags(Command::new("dump-openmetrics")).about(
            "[Experimental] Dump samples from a TSDB into OpenMetrics text format, excluding native histograms and staleness markers, \
             which are not representable in OpenMetrics.",
        ))
        .subcommand(
            Command::new("create-blocks-from")
                .about("[Experimental] Import samples from input and produce TSDB blocks.")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .arg(human_readable().global(true))
                .arg(switch("quiet", "Do not print created blocks.").short('q').global(true))
                .arg(
                    Arg::new("max-block-duration")
                        .long("max-block-duration")
                        .hide(true)
                        .global(true)
                        .help("Maximum duration created blocks may span. Anything less than 2h is ignored."),
                )
                .subcommand(
                    Command::new("openmetrics")
                        .about("Import samples from OpenMetrics input and produce TSDB blocks.")
                        .arg(
                            Arg::new("label").long("label").action(ArgAction::Append).help(
                                "Label to attach to metrics. Can be specified multiple times. Example --label=label_name=label_value",
                            ),
                        )
                        .arg(Arg::new("input file").required(true).help("OpenMetrics file to read samples from."))
                        .arg(Arg::new("output directory").default_value(DEFAULT_DIR).help("Output directory for generated blocks.")),
                ),
        )
}

fn dump_flags(command: Command) -> Command {
    let time = |name: &'static str, default: i64, help: &'static str| {
        Arg::new(name)
            .long(name)
            .default_value(default.to_string())
            .value_parser(value_parser!(i64))
            .allow_negative_numbers(true)
            .help(help)
    };
    command
        .arg(db_path())
        .arg(Arg::new("sandbox-dir-root").long("sandbox-dir-root").help("Accepted, not needed: nothing is written."))
        .arg(time("min-time", i64::MIN, "Minimum timestamp to dump, in milliseconds since the Unix epoch."))
        .arg(time("max-time", i64::MAX, "Maximum timestamp to dump, in milliseconds since the Unix epoch."))
        .arg(flag("match", DEFAULT_MATCH, "Series selector. Can be specified multiple times.").action(ArgAction::Append))
}

fn db_path() -> Arg {
    Arg::new("db path").default_value(DEFAULT_DIR).help("Database path.")
}

fn flag(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).default_value(default).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn human_readable() -> Arg {
    switch("human-readable", "Print human readable values.").short('r')
}

/// Runs the command that was given.
pub fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("bench", given)) => match given.subcommand() {
            Some(("write", given)) => {
                let number = |name| given.get_one::<usize>(name).copied().unwrap_or(0);
                let (dir, file) = (Path::new(text(given, "out")), Path::new(text(given, "file")));
                bench::write(dir, file, number("metrics"), number("scrapes"), out)
            }
            _ => Ok(()),
        },
        Some(("analyze", given)) => {
            let limit = given.get_one::<usize>("limit").copied().unwrap_or(20);
            let what = analyze::What {
                block: text(given, "block id"),
                limit,
                extended: given.get_flag("extended"),
                selector: text(given, "match"),
            };
            analyze::analyze(Path::new(text(given, "db path")), &what, out)
        }
        Some(("list", given)) => blocks::list(Path::new(text(given, "db path")), given.get_flag("human-readable"), out),
        Some(("dump", given)) => {
            let format = if text(given, "format") == "seriesjson" { dump::Format::SeriesJson } else { dump::Format::Samples };
            dump::dump(Path::new(text(given, "db path")), &selection(given), format, out)
        }
        Some(("dump-openmetrics", given)) => {
            dump::dump(Path::new(text(given, "db path")), &selection(given), dump::Format::OpenMetrics, out)
        }
        Some(("create-blocks-from", given)) => match given.subcommand() {
            Some(("openmetrics", given)) => {
                let how = import::How {
                    human_readable: given.get_flag("human-readable"),
                    quiet: given.get_flag("quiet"),
                    block_max: text(given, "max-block-duration"),
                    labels: given.get_many::<String>("label").into_iter().flatten().map(String::as_str).collect(),
                };
                import::openmetrics(Path::new(text(given, "input file")), Path::new(text(given, "output directory")), &how, out)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn text<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn selection(matches: &ArgMatches) -> dump::Selection<'_> {
    let time = |name, default| matches.get_one::<i64>(name).copied().unwrap_or(default);
    dump::Selection {
        first: time("min-time", i64::MIN),
        last: time("max-time", i64::MAX),
        selectors: matches.get_many::<String>("match").into_iter().flatten().map(String::as_str).collect(),
    }
}

/// Does a series satisfy all matchers?
fn satisfies(labels: &model::Labels, matchers: &[model::Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")))
}
