//! `pyrope tool …`: what Prometheus ships as promtool, with its commands, flags and output; a binary that is called `promtool`
//! behaves as one.

mod go;
mod promql;
mod promqltest;
mod tsdb;

use clap::{ArgMatches, Command};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Runs the tool if the command line asks for it.
pub fn run_if_asked(args: &[String]) -> Option<ExitCode> {
    let (name, args) = match args {
        [binary, rest @ ..] if Path::new(binary).file_name().is_some_and(|name| name == "promtool") => ("promtool", rest),
        [_, tool, rest @ ..] if tool == "tool" => ("pyrope tool", rest),
        _ => return None,
    };
    let words = std::iter::once(name.to_owned()).chain(args.iter().cloned());
    let matches = match command(name).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            // Nowhere to complain if this cannot be printed.
            let _ = error.print();
            return Some(ExitCode::from(u8::from(error.use_stderr())));
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = run(&matches, &mut out).and_then(|()| Ok(out.flush()?));
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was found before the failure is printed all the same.
            let _ = out.flush();
            failure.report()
        }
    })
}

fn command(name: &'static str) -> Command {
    Command::new(name)
        .about("Tooling for the Prometheus monitoring system.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(promql::command())
        .subcommand(promqltest::command())
        .subcommand(tsdb::command())
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("promql", matches)) => promql::run(matches, out),
        Some(("promqltest", matches)) => promqltest::run(matches, out),
        Some(("tsdb", matches)) => tsdb::run(matches, out),
        _ => Ok(()),
    }
}

/// Why a command failed.
enum Failure {
    /// Printed to standard error.
    Message(String),
    /// Said in the output already.
    Silent,
    /// Whoever reads the output wants no more of it.
    Closed,
}

impl Failure {
    fn report(self) -> ExitCode {
        match self {
            Self::Message(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
            Self::Silent => ExitCode::FAILURE,
            Self::Closed => ExitCode::SUCCESS,
        }
    }

    /// Says what was attempted before what went wrong.
    fn context(self, attempt: &str) -> Self {
        match self {
            Self::Message(message) => Self::Message(format!("{attempt}: {message}")),
            other @ (Self::Silent | Self::Closed) => other,
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let io: Option<&io::Error> = (&error as &dyn std::any::Any).downcast_ref();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Self::Closed;
        }
        Self::Message(error.to_string())
    }
}
