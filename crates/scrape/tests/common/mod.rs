//! A store for tests: series as vectors, judged by the rules of `storage`.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use model::Labels;
use model::value::is_stale;
use storage::{Appender, Batch, CommitError, Committed, RowOutcome, RowSeries, RowValue, SeriesHandle, SeriesRef, Slot};

#[derive(Default)]
pub struct Store(Mutex<State>);

/// Labels, and samples by time.
type Series = (Labels, Vec<(i64, f64)>);

#[derive(Default)]
pub struct State {
    /// By ref; `None` once forgotten.
    pub series: Vec<Option<Series>>,
    pub commits: usize,
    pub refuse: bool,
    /// Stores, but tells no handles, as while a log is replayed.
    pub silent: bool,
    pub exemplars: Vec<String>,
    /// Of the rows of the last commit that have one: name, start, time.
    pub starts: Vec<String>,
}

impl Appender for Store {
    fn commit(&self, batch: &Batch, result: &mut Committed) -> Result<(), CommitError> {
        let mut state = self.0.lock().unwrap();
        if state.refuse {
            return Err(CommitError::NotReady);
        }
        state.commits += 1;
        result.handles.clear();
        result.refused.clear();
        for labels in &batch.labels {
            let at = state.series.iter().position(|s| s.as_ref().is_some_and(|s| s.0 == *labels)).unwrap_or_else(|| {
                state.series.push(Some((labels.clone(), Vec::new())));
                state.series.len() - 1
            });
            result.handles.push(Some(SeriesHandle { slot: Slot(at as u32), series_ref: SeriesRef(at as u64 + 1000) }));
        }
        let before: Vec<Option<(i64, u64)>> =
            state.series.iter().map(|s| s.as_ref().and_then(|s| s.1.last()).map(|(t, v)| (*t, v.to_bits()))).collect();
        state.starts.clear();
        for (index, row) in batch.rows.iter().enumerate() {
            let handle = match row.series {
                RowSeries::Known(handle) => handle,
                RowSeries::Labels(nth) => result.handles[nth as usize].unwrap(),
            };
            let at = handle.slot.0 as usize;
            assert_eq!(handle.series_ref.0, at as u64 + 1000);
            let (time, RowValue::Float(value)) = (row.timestamp.0, row.value) else { panic!("no histograms") };
            let outcome = match (&state.series[at], before[at]) {
                (None, _) => RowOutcome::Gone,
                (_, Some((last, _))) if time < last => RowOutcome::OutOfOrder,
                (_, Some((last, bits))) if time == last && bits != value.to_bits() => RowOutcome::Duplicate,
                _ => RowOutcome::Stored,
            };
            if let Some((labels, _)) = state.series[at].as_ref().filter(|_| row.start.0 != 0) {
                let text = format!("{} {}@{time}", labels.metric_name(), row.start.0);
                state.starts.push(text);
            }
            if outcome == RowOutcome::Stored {
                let samples = &mut state.series[at].as_mut().unwrap().1;
                if samples.last().is_none_or(|last| last.0 < time) {
                    samples.push((time, value));
                }
            } else {
                result.refused.push((index as u32, outcome));
            }
        }
        if state.silent {
            result.handles.fill(None);
        }
        result.stored = (batch.rows.len() - result.refused.len()) as u64;
        for (_, exemplar) in &batch.exemplars {
            state.exemplars.push(format!("{} {} {}", exemplar.labels, exemplar.value, exemplar.timestamp.0));
        }
        Ok(())
    }
}

impl Store {
    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// As if all series had been collected.
    pub fn forget(&self) {
        self.state().series.iter_mut().for_each(|series| *series = None);
    }

    /// The newest sample of each series as `name{…} value@time`, staleness markers as `stale`, sorted; `up` and `scrape_*` left out.
    pub fn newest(&self) -> Vec<String> {
        self.filtered(|name| name != "up" && !name.starts_with("scrape_"))
    }

    /// The newest value of a series of the report.
    pub fn report(&self, name: &str) -> f64 {
        let state = self.state();
        let series = state.series.iter().flatten().filter(|s| s.0.metric_name() == name);
        series.filter_map(|s| s.1.last()).max_by_key(|s| s.0).map_or(f64::INFINITY, |s| s.1)
    }

    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.state();
        let mut out = BTreeMap::new();
        for (labels, samples) in state.series.iter().flatten().filter(|s| keep(s.0.metric_name())) {
            let own = labels.iter().filter(|(n, _)| !["__name__", "job", "instance"].contains(n));
            let own: Vec<_> = own.map(|(n, v)| format!("{n}={v}")).collect();
            let name =
                if own.is_empty() { labels.metric_name().to_owned() } else { format!("{}{{{}}}", labels.metric_name(), own.join(",")) };
            if let Some((time, value)) = samples.last() {
                let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
                out.insert(name.clone(), format!("{name} {value}@{time}"));
            }
        }
        out.into_values().collect()
    }
}
