//! `promql`: looks at queries.

mod explain;

use super::Failure;
use clap::{Arg, ArgMatches, Command};
use std::io::Write;

/// The commands and their flags.
pub fn command() -> Command {
    let time = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TIME").help(help);
    Command::new("promql").about("PromQL tools.").subcommand_required(true).arg_required_else_help(true).subcommand(
        Command::new("explain")
            .about("Evaluate a query, and tell what each part of it did.")
            .arg(
                Arg::new("server")
                    .long("server")
                    .value_name("URL")
                    .default_value("http://localhost:9090")
                    .help("The server that evaluates it; it must be Pyrope."),
            )
            .arg(
                Arg::new("data")
                    .long("data")
                    .value_name("DIR")
                    .conflicts_with("server")
                    .help("Instead of a server, a data directory, which is only read."),
            )
            .arg(
                time("time", "When an instant query is evaluated: RFC 3339 or seconds since 1970; now if not given.")
                    .conflicts_with_all(["start", "end"]),
            )
            .arg(time("start", "Where a range query begins.").requires("end"))
            .arg(time("end", "Where a range query ends.").requires("start"))
            .arg(Arg::new("step").long("step").value_name("DURATION").default_value("1m").help("A range query's step."))
            .arg(Arg::new("query").required(true).help("The expression.")),
    )
}

/// Runs one of them.
pub fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("explain", matches)) => explain::explain(matches, out),
        _ => Ok(()),
    }
}
