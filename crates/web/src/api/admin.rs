//! `/admin/tsdb/…`: what changes the store by hand, with `--web.enable-admin-api`.

use super::blocking;
use crate::app::App;
use crate::json;
use crate::params::{Form, MAX_TIME, MIN_TIME, ParamError};
use crate::respond::{self, ApiError};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::{Matcher, Timestamp};
use promql::parser::parse_selector;
use std::hash::BuildHasher as _;
use std::path::Path;
use std::sync::Arc;
use storage::Interval;

/// What the administration of a store can do. Errors are texts for the answer.
pub trait Admin: Send + Sync {
    /// Deletes the samples in `range` of series that satisfy all of `matchers`.
    ///
    /// # Errors
    /// When it cannot be made durable.
    fn delete(&self, range: Interval, matchers: &[Matcher]) -> Result<(), String>;

    /// Rewrites blocks with deleted samples without them.
    ///
    /// # Errors
    /// When a block cannot be written.
    fn clean_tombstones(&self) -> Result<(), String>;

    /// Makes the folder `name` of snapshots, with what the blocks hold and, if asked for, the head.
    ///
    /// # Errors
    /// When it cannot be made.
    fn snapshot(&self, name: &Path, with_head: bool) -> Result<(), String>;
}

/// POST and PUT `/api/v1/admin/tsdb/delete_series`
pub async fn delete_series(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let admin = admin(&app)?;
    if form.values("match[]").next().is_none() {
        return Err(ApiError::BadData("no match[] parameter provided".into()));
    }
    let range = Interval { start: form.time_or("start", MIN_TIME)?, end: form.time_or("end", MAX_TIME)? };
    for text in form.values("match[]") {
        let matchers = parse_selector(text).map_err(|error| ParamError { name: "match[]", message: error.to_string() })?;
        let admin = admin.clone();
        blocking(move || admin.delete(range, &matchers).map_err(ApiError::Internal)).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// POST and PUT `/api/v1/admin/tsdb/clean_tombstones`
pub async fn clean_tombstones(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let admin = admin(&app)?;
    blocking(move || admin.clean_tombstones().map_err(ApiError::Internal)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// POST and PUT `/api/v1/admin/tsdb/snapshot`
pub async fn snapshot(State(app): State<Arc<App>>, form: Form) -> Result<Response, ApiError> {
    let admin = admin(&app)?;
    let skip_head = skip_head(form.value("skip_head"))?;
    // Two snapshots of one second differ by it.
    let tail = std::hash::RandomState::new().hash_one(0u8) >> 1;
    let name = snapshot_name(Timestamp(app.options.clock.now_ms()), tail);
    let folder = name.clone();
    blocking(move || {
        let made = admin.snapshot(Path::new(&folder), !skip_head);
        made.map_err(|error| ApiError::Internal(format!("create snapshot: {error}")))
    })
    .await?;
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"name":"#);
        json::text(out, &name);
        out.push(b'}');
    };
    Ok(respond::success(data, &[]))
}

fn admin(app: &App) -> Result<Arc<dyn Admin>, ApiError> {
    app.options.admin.clone().ok_or_else(|| ApiError::Unavailable("admin APIs disabled".into()))
}

/// Go's `strconv.ParseBool`.
fn skip_head(text: &str) -> Result<bool, ParamError> {
    match text {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        other => {
            let message = format!("unable to parse boolean: strconv.ParseBool: parsing {}: invalid syntax", model::name::quote(other));
            Err(ParamError { name: "skip_head", message })
        }
    }
}

/// `20250131T235959Z-000000000000002a`
fn snapshot_name(now: Timestamp, tail: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(now.0.div_euclid(1000)).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
    format!("{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z-{tail:016x}", date.year(), u8::from(date.month()), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_snapshots() {
        assert_eq!(snapshot_name(Timestamp(1_738_367_999_500), 42), "20250131T235959Z-000000000000002a");
    }

    #[test]
    fn booleans_as_go_reads_them() {
        assert_eq!((skip_head("").ok(), skip_head("T").ok(), skip_head("0").ok()), (Some(false), Some(true), Some(false)));
        let error = skip_head("yes").map_err(|error| error.to_string());
        let want = r#"invalid parameter "skip_head": unable to parse boolean: strconv.ParseBool: parsing "yes": invalid syntax"#;
        assert_eq!(error, Err(want.to_owned()));
    }
}
