//! `/admin/v1/settings` and `/admin/v1/log-level`: what operators change in a running node.
//!
//! ```text
//! GET    /admin/v1/settings                       {"settings": [{"name", "value", "source", "configured", "is_changed"}, …]}
//! PUT    /admin/v1/settings/{name}?value=v        kept over restarts
//! DELETE /admin/v1/settings/{name}                as configured again
//! GET    /admin/v1/log-level                      {"filter": "info,helenus_cluster=debug"}
//! PUT    /admin/v1/log-level?level=l[&target=t]   until the node stops, or `log.filter` is changed
//! ```
//!
//! `value` is what is in effect, and `source` who says so: `settings` (changed here, and kept), `log-level` (the filter of the
//! log alone: a level holds until the node stops), or the origin of what is configured, such as `node.toml:12`.

use std::{io, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use hyper::Uri;
use serde_json::{Value, json};

use super::{
    Api,
    path_part::PathPart,
    problem::{Access, Kind, Problem},
    query::{self, Query},
};
use crate::{
    config::{
        Config, LiveSettings,
        live::{LiveError, LiveSetting},
    },
    telemetry::{LEVEL_NAMES, LogFilter, LogsError, is_target},
};

/// The setting that levels change, until the node stops.
const FILTER: &str = "log.filter";

/// Obeys a setting: its name, and settings of which only this one counts.
pub type Obey = Box<dyn Fn(&'static str, &Config) + Send + Sync>;

/// What of the process operators can change.
pub struct Controls {
    /// Its settings.
    pub settings: LiveSettings,
    /// The filter of its log.
    pub log: Arc<LogFilter>,
    /// Makes the process obey.
    pub obey: Obey,
}

pub(super) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(shown(controls(&api)?))
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    PathPart(name): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["value"])?;
    let value = query.get("value").ok_or_else(|| Problem::bad_field("value", "`value` is required"))?;
    changed(api, name, Some(value.to_owned())).await
}

pub(super) async fn reset(
    State(api): State<Arc<Api>>,
    PathPart(name): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(uri.query())?;
    changed(api, name, None).await
}

pub(super) async fn log_level(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(Json(json!({ "filter": controls(&api)?.log.directives() })).into_response())
}

pub(super) async fn set_log_level(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["level", "target"])?;
    let level = query.get("level").filter(|level| LEVEL_NAMES.contains(level));
    let level =
        level.ok_or_else(|| Problem::bad_field("level", format!("a level is {}", LEVEL_NAMES.join(", "))))?;
    let target = query.get("target");
    if target.is_some_and(|target| !is_target(target)) {
        let detail = "a target is a path of modules, such as helenus_cluster::node";
        return Err(Problem::bad_field("target", detail));
    }
    let filter = controls(&api)?.log.set_level(target, level).map_err(|error| not_logged(&error))?;
    tracing::info!(filter, "the log has another filter");
    Ok(Json(json!({ "filter": filter })).into_response())
}

async fn changed(api: Arc<Api>, name: String, value: Option<String>) -> Result<Response, Problem> {
    controls(&api)?;
    // It waits for the disk.
    let outcome = tokio::task::spawn_blocking(move || {
        let controls = controls(&api)?;
        let done = controls.settings.change(&name, value.as_deref(), &controls.obey);
        done.map_err(|error| not_changed(&error))?;
        tracing::info!(setting = name, value, "a setting was changed");
        Ok(shown(controls))
    });
    outcome.await.unwrap_or_else(|error| Err(Problem::new(Kind::StorageFailure, error.to_string())))
}

fn shown(controls: &Controls) -> Response {
    let passing = controls.log.passing();
    let one = |setting: LiveSetting| {
        let LiveSetting { name, value, configured, origin, is_changed } = setting;
        let (value, source) = match &passing {
            Some(filter) if name == FILTER => (json!(filter), "log-level".to_owned()),
            _ if is_changed => (value, "settings".to_owned()),
            _ => (value, origin.to_string()),
        };
        json!({
            "name": name, "value": value, "source": source, "configured": configured, "is_changed": is_changed
        })
    };
    let settings: Vec<Value> = controls.settings.list().into_iter().map(one).collect();
    Json(json!({ "settings": settings })).into_response()
}

fn controls(api: &Api) -> Result<&Controls, Problem> {
    api.node_for(Access::Read)?;
    let lacks = || Problem::new(Kind::NotImplemented, "this process has no settings that could be changed");
    api.controls.get().ok_or_else(lacks)
}

fn not_changed(error: &LiveError) -> Problem {
    let detail = error.to_string();
    match error {
        LiveError::NotLive(_) => Problem::new(Kind::NoSuchSetting, detail).about("name"),
        LiveError::Invalid(_) => Problem::bad_field("value", detail),
        LiveError::Io(error) if is_full(error) => Problem::new(Kind::StorageFull, detail),
        LiveError::Io(_) => Problem::new(Kind::StorageFailure, detail),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn not_logged(error: &LogsError) -> Problem {
    match error {
        LogsError::Filter(_) | LogsError::TooLong => Problem::bad_field("target", error.to_string()),
        _ => Problem::new(Kind::StorageFailure, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        for (error, kind) in [
            (io::ErrorKind::StorageFull, Kind::StorageFull),
            (io::ErrorKind::QuotaExceeded, Kind::StorageFull),
            (io::ErrorKind::PermissionDenied, Kind::StorageFailure),
        ] {
            assert_eq!(not_changed(&LiveError::Io(error.into())).kind, kind, "{error}");
        }
    }
}
