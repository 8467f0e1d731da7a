//! `/query_exemplars`

use super::{CancelOnDrop, array, blocking};
use crate::app::App;
use crate::json;
use crate::params::{Form, MAX_TIME, MIN_TIME};
use crate::respond::{self, ApiError};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::{Exemplar, Matcher};
use promql::parser;
use std::sync::Arc;
use storage::{Interval, SeriesExemplars};

/// GET and POST `/api/v1/query_exemplars`: exemplars of all series that the query's selectors name.
pub async fn exemplars(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let range = Interval { start: form.time_or("start", MIN_TIME)?, end: form.time_or("end", MAX_TIME)? };
    if range.end < range.start {
        return Err(ApiError::BadData("end timestamp must not be before start timestamp".into()));
    }
    let expr = parser::parse(form.value("query"), &app.options.parser).map_err(|error| ApiError::BadData(error.to_string()))?;
    let sets: Vec<Vec<Matcher>> = expr.selectors().into_iter().map(<[Matcher]>::to_vec).collect();
    if sets.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let found = match app.options.exemplars.clone() {
        Some(source) => {
            let waiting = CancelOnDrop::default();
            let cancel = waiting.cancel();
            blocking(move || Ok(source.exemplars(range, &sets, &cancel)?)).await?
        }
        None => Vec::new(),
    };
    Ok(respond::success(|out| array(out, found.iter(), series), &[]))
}

fn series(out: &mut Vec<u8>, series: &SeriesExemplars) {
    out.extend_from_slice(br#"{"seriesLabels":"#);
    json::labels(out, &series.labels);
    out.extend_from_slice(br#","exemplars":"#);
    array(out, series.exemplars.iter(), exemplar);
    out.push(b'}');
}

fn exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    out.extend_from_slice(br#"{"labels":"#);
    json::labels(out, &exemplar.labels);
    out.extend_from_slice(br#","value":"#);
    json::float(out, exemplar.value);
    out.extend_from_slice(br#","timestamp":"#);
    json::timestamp(out, exemplar.timestamp);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Labels, Timestamp};

    #[test]
    fn as_prometheus_writes_them() {
        let one = |timestamp| Exemplar {
            labels: Labels::from_pairs([("trace_id", "<x>")]),
            value: 0.5,
            timestamp: Timestamp(timestamp),
            has_timestamp: true,
        };
        let all = SeriesExemplars { labels: Labels::from_pairs([("__name__", "a")]), exemplars: vec![one(0), one(1_500)] };
        let mut out = Vec::new();
        series(&mut out, &all);
        let want = concat!(
            r#"{"seriesLabels":{"__name__":"a"},"exemplars":[{"labels":{"trace_id":"\u003cx\u003e"},"value":"0.5","timestamp":0},"#,
            r#"{"labels":{"trace_id":"\u003cx\u003e"},"value":"0.5","timestamp":1.500}]}"#
        );
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}
