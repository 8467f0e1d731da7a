//! `promqltest`: runs scripts of Prometheus's test language for queries.

use super::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command};
use model::{Labels, Matcher, Timestamp};
use promql::testlang::{Loaded, LoadedValue, ScriptStore, run_script_on, script_options};
use std::io::Write;
use storage::{Appender, Batch, Committed, Interval, Names, Queryable, Row, RowSeries, RowValue, SelectError, SelectHints, Selection};
use tsdb::Head;
use tsdb::head::HeadOptions;

/// The command and its flags.
pub fn command() -> Command {
    let files = Arg::new("file").required(true).action(ArgAction::Append).help("Scripts (*.test).");
    Command::new("promqltest").about("Run scripts of the PromQL test language.").arg(files)
}

/// Runs the scripts, and prints what failed and how many passed.
pub fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let (mut passed, mut failed) = (0, 0);
    for file in matches.get_many::<String>("file").into_iter().flatten() {
        let text = std::fs::read_to_string(file).map_err(|error| Failure::Message(format!("{file}: {error}")))?;
        for (case, outcome) in run_script_on(&text, script_options(), MemoryHead::new) {
            match outcome {
                Ok(()) => passed += 1,
                Err(what) => {
                    failed += 1;
                    writeln!(out, "FAILED {file}: {case}\n    {}", what.replace('\n', "\n    "))?;
                }
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    if failed > 0 { Err(Failure::Silent) } else { Ok(()) }
}

/// The store's head without a directory: nothing is too old for it, and nothing leaves it.
struct MemoryHead(Head);

impl MemoryHead {
    fn new() -> Self {
        let options = HeadOptions {
            chunk_range_ms: i64::MAX / 2,
            start_timestamps: true,
            histogram_start_timestamps: true,
            ..HeadOptions::default()
        };
        Self(Head::new(options, None))
    }
}

impl ScriptStore for MemoryHead {
    fn load(&mut self, series: Vec<(Labels, Vec<Loaded>)>) -> Result<(), String> {
        let mut batch = Batch::default();
        for (labels, samples) in series {
            let series = RowSeries::Labels(batch.labels.len() as u32);
            batch.labels.push(labels);
            for sample in samples {
                let value = match sample.value {
                    LoadedValue::Float(value) => RowValue::Float(value),
                    LoadedValue::Histogram(histogram) => {
                        batch.float_histograms.push(std::sync::Arc::unwrap_or_clone(histogram));
                        RowValue::FloatHistogram(batch.float_histograms.len() as u32 - 1)
                    }
                };
                batch.rows.push(Row { series, start: Timestamp(sample.start), timestamp: Timestamp(sample.time), value });
            }
        }
        let mut committed = Committed::default();
        self.0.commit(&batch, &mut committed).map_err(|error| error.to_string())?;
        match committed.refused.first() {
            Some((_, outcome)) => Err(outcome.message().to_owned()),
            None => Ok(()),
        }
    }
}

impl Queryable for MemoryHead {
    fn select(&self, interval: Interval, matchers: &[Matcher], hints: &SelectHints) -> Result<Selection, SelectError> {
        self.0.select(interval, matchers, hints)
    }

    fn label_names(&self, interval: Interval, matchers: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        self.0.label_names(interval, matchers, hints)
    }

    fn label_values(&self, name: &str, interval: Interval, matchers: &[Vec<Matcher>], hints: &SelectHints) -> Result<Names, SelectError> {
        self.0.label_values(name, interval, matchers, hints)
    }
}
