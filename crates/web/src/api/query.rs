//! `/query` and `/query_range`.

use super::quick::{Kind, shortly};
use super::{CancelOnDrop, TRUNCATED, explain};
use crate::app::App;
use crate::json;
use crate::params::{Form, Nanos, ParamError, parse_duration};
use crate::queries::{Entry, Origin};
use crate::respond::{self, ApiError};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use hyper::body::Frame;
use model::{Millis, Timestamp};
use promql::ast::{Expr, ValueType};
use promql::engine::{Control, Engine, QueryError, QueryResult, QueryStats, StepSamples, Value};
use promql::parser;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use storage::Queryable;
use tokio::sync::mpsc;

/// More steps than this are refused.
const STEPS_MAX: i64 = 11_000;
/// Answers with more points are sent in pieces while they are written.
const POINTS_AT_ONCE: usize = 8_192;
/// A histogram is about as long as this many points.
const POINTS_PER_HISTOGRAM: usize = 32;
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow client; the writer waits when there are this many.
const PIECES_MAX: usize = 4;

/// GET and POST `/api/v1/query`.
pub async fn instant(State(app): State<Arc<App>>, origin: Origin, form: Form) -> Result<Response, ApiError> {
    let limit = form.limit()?;
    let now = Timestamp(app.options.clock.now_ms());
    let time = form.time_or("time", now)?;
    let (control, _cancel) = control(&form)?;
    let expr = parse(&app, &form)?;
    let asked = Asked { control, origin, range: (time.0, time.0, 0), limit };
    let (result, timing) = evaluate(&app, asked, move |engine, store, control| engine.instant(store, &expr, time, control)).await?;
    Ok(answer(result, &form, timing))
}

/// GET and POST `/api/v1/query_range`.
pub async fn range(State(app): State<Arc<App>>, origin: Origin, form: Form) -> Result<Response, ApiError> {
    let limit = form.limit()?;
    let (start, end) = (form.time("start")?, form.time("end")?);
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time"));
    }
    let Nanos(step_ns) = form.duration("step")?;
    if step_ns <= 0 {
        return Err(invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer"));
    }
    let steps = i128::from(end.0 - start.0) * 1_000_000 / i128::from(step_ns);
    if steps > i128::from(STEPS_MAX) {
        let message = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        return Err(ApiError::BadData(message.into()));
    }
    let (control, _cancel) = control(&form)?;
    let expr = parse(&app, &form)?;
    let kind = expr.value_type();
    if !matches!(kind, ValueType::Vector | ValueType::Scalar) {
        return Err(invalid(
            "query",
            &format!("invalid expression type {} for range query, must be Scalar or instant Vector", model::name::quote(kind.documented())),
        ));
    }
    // A step below a millisecond is one: time has no finer grain here.
    let step = Millis(Nanos(step_ns).to_millis().0.max(1));
    let asked = Asked { control, origin, range: (start.0, end.0, step.0), limit };
    let (result, timing) =
        evaluate(&app, asked, move |engine, store, control| engine.range(store, &expr, start, end, step, control)).await?;
    Ok(answer(result, &form, timing))
}

fn invalid(name: &'static str, message: &str) -> ApiError {
    ParamError { name, message: message.into() }.into()
}

pub(super) fn parse(app: &App, form: &Form) -> Result<Expr, ApiError> {
    parser::parse(form.value("query"), &app.options.parser).map_err(|e| invalid("query", &e.to_string()))
}

fn control(form: &Form) -> Result<(Control, CancelOnDrop), ApiError> {
    let waiting = CancelOnDrop::default();
    let mut control = Control {
        cancel: waiting.cancel(),
        text: Some(form.value("query").into()),
        explain: form.value("explain") == "true",
        per_step_stats: form.value("stats") == "all",
        ..Control::default()
    };
    if !form.value("timeout").is_empty() {
        let timeout = form.duration("timeout")?;
        control.deadline = Instant::now().checked_add(Duration::from_nanos(timeout.0.max(0).unsigned_abs()));
    }
    let lookback = form.value("lookback_delta");
    if !lookback.is_empty() {
        let span = parse_duration(lookback).map_err(|e| ApiError::BadData(format!("error parsing lookback delta duration: {e}")))?;
        control.lookback = Some(span.to_millis()).filter(|span| span.0 > 0);
    }
    Ok((control, waiting))
}

/// A query that is to be evaluated, and what is told of it.
struct Asked {
    control: Control,
    origin: Origin,
    /// As in [`Entry`].
    range: (i64, i64, i64),
    /// Of the answer's series; 0 = no limit.
    limit: usize,
}

async fn evaluate(
    app: &Arc<App>,
    asked: Asked,
    work: impl Fn(&Engine, &dyn Queryable, &Control) -> Result<QueryResult, QueryError> + Send + 'static,
) -> Result<(QueryResult, Timing), ApiError> {
    let begun = Instant::now();
    let slot = app.query_slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    let waited = begun.elapsed();
    let (app, quick) = (app.clone(), &app.quick);
    let (start, end, step) = asked.range;
    let kind = Kind::of((asked.control.text.as_deref(), end.wrapping_sub(start), step));
    let cancel = asked.control.cancel.clone();
    shortly(quick, kind, cancel, move |leash| {
        // As long as it runs, not only as long as somebody waits.
        let _slot = &slot;
        let Asked { control, origin, range, limit } = &asked;
        let control = Control { cancel: leash.cancel.clone(), ..control.clone() };
        let query = control.text.as_deref().unwrap_or_default();
        let _active = app.options.active_queries.as_ref().and_then(|active| active.begin(query, app.options.clock.now_ms() / 1000));
        let result = work(&app.engine(), app.options.queryable.as_ref(), &control);
        let timing = Timing { waited, took: begun.elapsed() };
        if let Some(log) = app.query_log().filter(|_| !leash.starts_over()) {
            let stats = result.as_ref().map_or_else(|_| QueryStats::default(), |result| result.stats.clone());
            let error = result.as_ref().err().map(ToString::to_string);
            log.write(&Entry { query, range: *range, error, stats, timing, origin }, app.options.clock.now_ms());
        }
        let mut result = result?;
        // Here and not by the threads of the I/O: giving back a million series takes a while.
        if truncate(&mut result.value, *limit) {
            result.warnings.push(TRUNCATED.into());
        }
        Ok((result, timing))
    })
    .await
}

/// How long a query took, and how much of that it waited for its turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// For its turn.
    pub waited: Duration,
    /// In all.
    pub took: Duration,
}

fn answer(mut result: QueryResult, form: &Form, timing: Timing) -> Response {
    let wanted = form.value("stats");
    if !matches!(wanted, "" | "true" | "all") {
        let wanted = model::name::quote(wanted);
        result.warnings.push(format!(
            r#"value {wanted} for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all""#
        ));
    }
    let timing = (!wanted.is_empty()).then_some(timing);
    if points(&result.value) <= POINTS_AT_ONCE {
        let mut out = Out { buffer: Vec::with_capacity(4096), pieces: None };
        // Without a client on the other end nothing can break off.
        let _ = write_answer(&mut out, &result, timing);
        return respond::with_type(StatusCode::OK, out.buffer.into());
    }
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let writer = tokio::task::spawn_blocking(move || {
        let mut out = Out { buffer: Vec::with_capacity(PIECE_BYTES + 4096), pieces: Some(sender) };
        if write_answer(&mut out, &result, timing).is_ok() {
            let _ = out.send();
        }
    });
    respond::with_type(StatusCode::OK, Body::new(Pieces { receiver, _writer: writer }))
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    match value {
        Value::Vector(samples) if samples.len() > limit => samples.truncate(limit),
        Value::Matrix(series) if series.len() > limit => series.truncate(limit),
        Value::Vector(_) | Value::Matrix(_) | Value::Scalar { .. } | Value::String { .. } => return false,
    }
    true
}

fn points(value: &Value) -> usize {
    match value {
        Value::Scalar { .. } | Value::String { .. } => 1,
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.iter().map(|s| s.points.len() + s.histograms.len() * POINTS_PER_HISTOGRAM + 1).sum(),
    }
}

/// A body whose pieces are written while it is sent. When it is dropped the writer finds its channel
/// closed and ends.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    _writer: tokio::task::JoinHandle<()>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Where an answer is written: all into one buffer, or piece by piece to a waiting client.
struct Out {
    buffer: Vec<u8>,
    pieces: Option<mpsc::Sender<Bytes>>,
}

/// The client is gone.
struct BrokenOff;

impl Out {
    fn flush(&mut self) -> Result<(), BrokenOff> {
        if self.buffer.len() >= PIECE_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), BrokenOff> {
        let Some(pieces) = &self.pieces else { return Ok(()) };
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES + 4096));
        pieces.blocking_send(piece.into()).map_err(|_| BrokenOff)
    }
}

/// With what the query cost, if its timing is given.
fn write_answer(out: &mut Out, result: &QueryResult, timing: Option<Timing>) -> Result<(), BrokenOff> {
    respond::begin(&mut out.buffer);
    write_value(out, &result.value)?;
    if let Some(timing) = timing {
        out.buffer.extend_from_slice(br#","stats":"#);
        write_stats_object(&mut out.buffer, &result.stats, timing);
    }
    if let Some(explanation) = &result.explanation {
        out.buffer.extend_from_slice(br#","explain":"#);
        explain::write(&mut out.buffer, explanation);
    }
    out.buffer.push(b'}');
    respond::finish(&mut out.buffer, &result.warnings, &result.infos);
    Ok(())
}

/// `{"resultType":…,"result":…` without the closing brace. Grafana needs this order.
fn write_value(out: &mut Out, value: &Value) -> Result<(), BrokenOff> {
    match value {
        Value::Scalar { t, v } => {
            out.buffer.extend_from_slice(br#"{"resultType":"scalar","result":["#);
            json::timestamp(&mut out.buffer, *t);
            out.buffer.push(b',');
            // Scalars alone are written without exponents.
            json::text(&mut out.buffer, &model::number::format_plain(*v));
            out.buffer.push(b']');
        }
        Value::String { t, s } => {
            out.buffer.extend_from_slice(br#"{"resultType":"string","result":["#);
            json::timestamp(&mut out.buffer, *t);
            out.buffer.push(b',');
            json::text(&mut out.buffer, s);
            out.buffer.push(b']');
        }
        Value::Vector(samples) => {
            out.buffer.extend_from_slice(br#"{"resultType":"vector","result":["#);
            for (i, sample) in samples.iter().enumerate() {
                out.buffer.extend_from_slice(if i > 0 { br#",{"metric":"# } else { br#"{"metric":"# });
                json::labels(&mut out.buffer, &sample.labels);
                match &sample.histogram {
                    Some(histogram) => {
                        out.buffer.extend_from_slice(br#","histogram":"#);
                        json::histogram_point(&mut out.buffer, sample.t, histogram);
                    }
                    None => {
                        out.buffer.extend_from_slice(br#","value":"#);
                        json::point(&mut out.buffer, sample.t, sample.v);
                    }
                }
                out.buffer.push(b'}');
                out.flush()?;
            }
            out.buffer.push(b']');
        }
        Value::Matrix(series) => {
            out.buffer.extend_from_slice(br#"{"resultType":"matrix","result":["#);
            for (i, series) in series.iter().enumerate() {
                out.buffer.extend_from_slice(if i > 0 { br#",{"metric":"# } else { br#"{"metric":"# });
                json::labels(&mut out.buffer, &series.labels);
                for (i, (t, v)) in series.points.iter().enumerate() {
                    out.buffer.extend_from_slice(if i > 0 { b"," } else { br#","values":["# });
                    json::point(&mut out.buffer, Timestamp(*t), *v);
                    out.flush()?;
                }
                if !series.points.is_empty() {
                    out.buffer.push(b']');
                }
                for (i, (t, histogram)) in series.histograms.iter().enumerate() {
                    out.buffer.extend_from_slice(if i > 0 { b"," } else { br#","histograms":["# });
                    json::histogram_point(&mut out.buffer, Timestamp(*t), histogram);
                    out.flush()?;
                }
                if !series.histograms.is_empty() {
                    out.buffer.push(b']');
                }
                out.buffer.push(b'}');
            }
            out.buffer.push(b']');
        }
    }
    Ok(())
}

/// `{"timings":{…},"samples":{…}}`; the samples of each step only if they were counted.
pub(crate) fn write_stats_object(out: &mut Vec<u8>, stats: &QueryStats, timing: Timing) {
    let Timing { waited, took } = timing;
    let [waited, preparation, inner, sorting] = [waited, stats.preparation, stats.evaluation, stats.sorting].map(|t| t.as_secs_f64());
    let (evaluation, whole) = (preparation + inner + sorting, took.as_secs_f64());
    let timings = format!(
        r#"{{"timings":{{"evalTotalTime":{evaluation},"resultSortTime":{sorting},"queryPreparationTime":{preparation},"innerEvalTime":{inner},"execQueueTime":{waited},"execTotalTime":{whole}}},"samples":{{"#
    );
    out.extend_from_slice(timings.as_bytes());
    write_steps(out, "totalQueryableSamplesPerStep", &stats.steps, |step| step.queryable);
    out.extend_from_slice(format!(r#""totalQueryableSamples":{},"#, stats.total_queryable_samples).as_bytes());
    write_steps(out, "samplesReadPerStep", &stats.steps, |step| step.read);
    out.extend_from_slice(format!(r#""samplesRead":{},"peakSamples":{}}}}}"#, stats.samples_read, stats.peak_samples).as_bytes());
}

/// `"name":[[time,samples],…],` or nothing if there are no steps.
fn write_steps(out: &mut Vec<u8>, name: &str, steps: &[StepSamples], samples: impl Fn(&StepSamples) -> u64) {
    for (i, step) in steps.iter().enumerate() {
        if i == 0 {
            out.extend_from_slice(format!(r#""{name}":[["#).as_bytes());
        } else {
            out.extend_from_slice(b",[");
        }
        // Unlike those of points, these times are written as numbers are.
        out.extend_from_slice(format!("{},{}]", step.time.0 as f64 / 1000.0, samples(step)).as_bytes());
    }
    if !steps.is_empty() {
        out.extend_from_slice(b"],");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_cost_as_json() {
        let step = |time, queryable, read| StepSamples { time: Timestamp(time), queryable, read };
        let mut stats = QueryStats { total_queryable_samples: 7, samples_read: 5, peak_samples: 3, ..QueryStats::default() };
        let written = |stats: &QueryStats| {
            let mut out = Vec::new();
            write_stats_object(&mut out, stats, Timing::default());
            String::from_utf8_lossy(&out).into_owned()
        };
        let timings = r#"{"timings":{"evalTotalTime":0,"resultSortTime":0,"queryPreparationTime":0,"innerEvalTime":0,"execQueueTime":0,"execTotalTime":0}"#;
        assert_eq!(written(&stats), format!(r#"{timings},"samples":{{"totalQueryableSamples":7,"samplesRead":5,"peakSamples":3}}}}"#));
        stats.steps = vec![step(-500, 3, 3), step(1_500, 4, 2), step(3_000, 0, 0)];
        let steps = r#""totalQueryableSamplesPerStep":[[-0.5,3],[1.5,4],[3,0]],"totalQueryableSamples":7,"samplesReadPerStep":[[-0.5,3],[1.5,2],[3,0]],"samplesRead":5"#;
        assert_eq!(written(&stats), format!(r#"{timings},"samples":{{{steps},"peakSamples":3}}}}"#));
    }
}
