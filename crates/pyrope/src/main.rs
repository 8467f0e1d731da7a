//! The Pyrope server: flags, wiring, signals, reload and an orderly end.

mod allocator;
mod flags;
mod logging;
mod memory;
mod rules;
mod server;
mod store;
mod tool;

use flags::Parsed;
use std::process::ExitCode;

/// The version of Prometheus whose behaviour this server gives.
const PROMETHEUS_VERSION: &str = "3.14.0";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(done) = tool::run_if_asked(&args) {
        return done;
    }
    let flags = match flags::parse(args) {
        Ok(Parsed::Run(flags)) => flags,
        Ok(Parsed::Print(text)) => {
            println!("{}", text.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}", error.message);
            return ExitCode::from(error.exit_code);
        }
    };
    let format = if flags.text("log.format") == "json" { logging::Format::Json } else { logging::Format::Logfmt };
    logging::init(flags.text("log.level"), format);
    for warning in flags.warnings() {
        tracing::warn!("{warning}");
    }
    for (option, notice) in flags.feature_notices() {
        if notice.is_warning {
            tracing::warn!(option, "{}", notice.text);
        } else {
            tracing::info!(option, "{}", notice.text);
        }
    }
    server::run(&flags)
}
