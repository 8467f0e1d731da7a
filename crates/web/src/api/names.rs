//! `/labels`, `/label/<name>/values` and `/series`.

use super::quick::{Kind, Leash, shortly};
use super::{CancelOnDrop, TRUNCATED, matcher_sets};
use crate::app::App;
use crate::json;
use crate::params::{Form, MAX_TIME, MIN_TIME, ParamError};
use crate::respond::{self, ApiError};
use axum::extract::{Path, State};
use axum::response::Response;
use model::{Labels, Matcher};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::{Interval, Names, SelectHints};

/// GET and POST `/api/v1/labels`.
pub async fn labels(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let (limit, range) = (form.limit()?, range(&form)?);
    let sets = matcher_sets(&form).map_err(ApiError::BadData)?;
    let waiting = CancelOnDrop::default();
    let kind = Kind::of(("labels", form.values("match[]").collect::<Vec<_>>()));
    let quick = app.quick.clone();
    let work = move |leash: &Leash| Ok(app.options.queryable.label_names(range, &sets, &hints(limit, leash))?);
    let names = shortly(&quick, kind, waiting.cancel(), work).await?;
    Ok(list(names, limit))
}

/// GET `/api/v1/label/<name>/values`.
pub async fn values(State(app): State<Arc<App>>, Path(name): Path<String>, form: Form) -> Result<Response, ApiError> {
    let name = if name.starts_with("U__") { model::name::unescape_value_encoding(&name) } else { name };
    if name.is_empty() {
        return Err(ApiError::BadData(format!("invalid label name: {}", model::name::quote(&name))));
    }
    let (limit, range) = (form.limit()?, range(&form)?);
    let sets = matcher_sets(&form).map_err(ApiError::BadData)?;
    let waiting = CancelOnDrop::default();
    let kind = Kind::of(("values", &name, form.values("match[]").collect::<Vec<_>>()));
    let quick = app.quick.clone();
    let work = move |leash: &Leash| Ok(app.options.queryable.label_values(&name, range, &sets, &hints(limit, leash))?);
    let names = shortly(&quick, kind, waiting.cancel(), work).await?;
    Ok(list(names, limit))
}

/// GET and POST `/api/v1/series`.
pub async fn series(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    if form.values("match[]").next().is_none() {
        return Err(ApiError::BadData("no match[] parameter provided".into()));
    }
    let (limit, range) = (form.limit()?, range(&form)?);
    let sets = matcher_sets(&form).map_err(|message| ParamError { name: "match[]", message })?;
    let waiting = CancelOnDrop::default();
    let kind = Kind::of(("series", form.values("match[]").collect::<Vec<_>>()));
    let quick = app.quick.clone();
    let work = move |leash: &Leash| {
        let hints = SelectHints { labels_only: true, sorted: true, ..hints(limit, leash) };
        let select = |matchers: &Vec<Matcher>| app.options.queryable.select(range, matchers, &hints);
        let mut selections = sets.iter().map(select).collect::<Result<Vec<_>, _>>()?;
        let mut warnings: Vec<String> = selections.iter_mut().flat_map(|selection| std::mem::take(&mut selection.warnings)).collect();
        let checks = hints.cancel.checks();
        let mut all: Vec<&Labels> = Vec::with_capacity(selections.iter().map(|selection| selection.series.len()).sum());
        for series in selections.iter().flat_map(|selection| &selection.series) {
            checks.step()?;
            all.push(series.labels());
        }
        // One selection is in order, and has no series twice.
        if sets.len() > 1 {
            let mut together = BTreeSet::new();
            for labels in all.drain(..) {
                checks.step()?;
                together.insert(labels);
            }
            all.extend(together);
        }
        let shown = if limit == 0 { all.len() } else { limit };
        if all.len() > shown {
            warnings.push(TRUNCATED.into());
        }
        respond::success_with(|out| {
            out.push(b'[');
            for (i, labels) in all.into_iter().take(shown).enumerate() {
                checks.step()?;
                if i > 0 {
                    out.push(b',');
                }
                json::labels(out, labels);
            }
            out.push(b']');
            Ok(warnings)
        })
    };
    shortly(&quick, kind, waiting.cancel(), work).await
}

/// One more than the limit shows whether there are more.
fn hints(limit: usize, leash: &Leash) -> SelectHints {
    SelectHints { limit: limit.saturating_add(usize::from(limit > 0)), cancel: leash.cancel.clone(), ..SelectHints::default() }
}

fn range(form: &Form) -> Result<Interval, ParamError> {
    Ok(Interval { start: form.time_or("start", MIN_TIME)?, end: form.time_or("end", MAX_TIME)? })
}

fn list(mut names: Names, limit: usize) -> Response {
    if limit > 0 && names.names.len() > limit {
        names.names.truncate(limit);
        names.warnings.push(TRUNCATED.into());
    }
    respond::success(|out| json::texts(out, names.names.iter().map(String::as_str)), &names.warnings)
}
