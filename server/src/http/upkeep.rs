//! `/admin/v1/flush`, `compact`, `scrub` and `snapshots`: what operators have a node do with its own storage.
//!
//! ```text
//! POST   /admin/v1/flush[?table=t]       answered when what was in memory is in SSTables
//! POST   /admin/v1/compact[?table=t]     answered when the SSTables of a table are merged, which may take long
//! POST   /admin/v1/scrub[?mib_per_second=64]  every SSTable read and verified: {"tables", "bytes", "damages", …}
//! GET    /admin/v1/snapshots             {"snapshots": [{"name", "directory", "tables", "bytes"}, …]}
//! POST   /admin/v1/snapshots/{name}      201 and the snapshot
//! DELETE /admin/v1/snapshots/{name}
//! ```

use std::{ops::RangeInclusive, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use helenus_cluster::{
    node::{Upkeep, UpkeepError},
    table::is_table_name,
};
use helenus_storage::{Error, Snapshot};
use hyper::{StatusCode, Uri};
use serde_json::{Value, json};

use super::{
    Api, key, parameters,
    problem::{Access, Kind, Problem},
};

/// MiB that a scrub reads in a second, if nothing else is said, and what may be said.
const SCRUB_RATE: u64 = 64;
const SCRUB_RATES: RangeInclusive<u64> = 1..=100_000;

pub(super) async fn flush(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let table = table_of(&uri)?;
    perform(&api, Upkeep::Flush { table }).await?;
    Ok(Json(json!({ "flushed": true })).into_response())
}

pub(super) async fn compact(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let table = table_of(&uri)?;
    perform(&api, Upkeep::Compact { table }).await?;
    Ok(Json(json!({ "compacted": true })).into_response())
}

pub(super) async fn scrub(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let mib_per_second = match uri.query().unwrap_or_default().split_once('=') {
        Some(("mib_per_second", number)) => {
            let rate = number.parse().ok().filter(|rate| SCRUB_RATES.contains(rate));
            rate.ok_or_else(|| {
                let (least, most) = (SCRUB_RATES.start(), SCRUB_RATES.end());
                Problem::bad_field("mib_per_second", format!("must be a whole number from {least} to {most}"))
            })?
        }
        _ => parameters::none(uri.query()).map(|()| SCRUB_RATE)?,
    };
    let scrubbed = api.node_for(Access::Read)?.scrub(mib_per_second << 20).await;
    let report = scrubbed.map_err(|error| problem(&error))?;
    let damages: Vec<String> = report.first_damages.iter().map(ToString::to_string).collect();
    Ok(Json(json!({
        "tables": report.tables,
        "bytes": report.bytes,
        "vanished": report.vanished,
        "damages": report.damages,
        "first_damages": damages,
        "cancelled": report.cancelled,
    }))
    .into_response())
}

pub(super) async fn list_snapshots(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    let snapshots: Vec<Value> = perform(&api, Upkeep::ListSnapshots).await?.iter().map(shown).collect();
    Ok(Json(json!({ "snapshots": snapshots })).into_response())
}

pub(super) async fn make_snapshot(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    let made = perform(&api, Upkeep::MakeSnapshot { name }).await?;
    Ok((StatusCode::CREATED, Json(made.first().map(shown))).into_response())
}

pub(super) async fn clear_snapshot(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    perform(&api, Upkeep::ClearSnapshot { name: name.clone() }).await?;
    Ok(Json(json!({ "cleared": name })).into_response())
}

/// The one parameter `table`.
pub(super) fn table_of(uri: &Uri) -> Result<Option<String>, Problem> {
    match uri.query().unwrap_or_default().split_once('=') {
        Some(("table", name)) if is_table_name(name) => Ok(Some(name.to_owned())),
        Some(("table", _)) => Err(key::no_such_name()),
        _ => parameters::none(uri.query()).map(|()| None),
    }
}

async fn perform(api: &Api, task: Upkeep) -> Result<Vec<Snapshot>, Problem> {
    api.node_for(Access::Read)?.upkeep(task).await.map_err(|error| problem(&error))
}

fn shown(snapshot: &Snapshot) -> Value {
    json!({
        "name": snapshot.name,
        "directory": snapshot.directory.display().to_string(),
        "tables": snapshot.tables,
        "bytes": snapshot.bytes,
    })
}

fn problem(error: &UpkeepError) -> Problem {
    let detail = error.to_string();
    match error {
        UpkeepError::NoSuchTable(_) => Problem::new(Kind::NoSuchTable, detail).about("table"),
        UpkeepError::Overloaded => Problem::new(Kind::Overloaded, detail),
        UpkeepError::Storage(Error::SnapshotName { .. }) => Problem::bad_field("name", detail),
        UpkeepError::Storage(Error::SnapshotExists { .. }) => {
            Problem::new(Kind::Conflict, detail).about("name")
        }
        UpkeepError::Storage(Error::NoSuchSnapshot { .. }) => {
            Problem::new(Kind::NoSuchSnapshot, detail).about("name")
        }
        UpkeepError::Storage(Error::StorageFull { .. }) => Problem::new(Kind::StorageFull, detail),
        _ => Problem::new(Kind::WriteFailure, detail),
    }
}
