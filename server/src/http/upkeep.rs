//! `/admin/v1/flush`, `compact`, `scrub`, `drain` and `snapshots`: what operators have a node do with its own storage. What
//! may take long is a task, see [`super::tasks`].
//!
//! ```text
//! POST   /admin/v1/flush[?table=t]            what is in memory goes to SSTables
//! POST   /admin/v1/compact[?table=t]          the SSTables of a table are merged into as few as there can be
//! POST   /admin/v1/scrub[?mib_per_second=64]  every SSTable is read and verified
//! POST   /admin/v1/drain                      no more requests, merges, scrubs; what was begun ends; then as flush
//! GET    /admin/v1/snapshots                  {"snapshots": [{"name", "directory", "tables", "bytes"}, …]}
//! POST   /admin/v1/snapshots/{name}
//! DELETE /admin/v1/snapshots/{name}
//! ```

use std::{ops::RangeInclusive, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::{
    node::{Meter, Upkeep, UpkeepError, UpkeepOutcome},
    table::is_table_name,
};
use helenus_storage::{Error, Snapshot};
use hyper::Uri;
use serde_json::{Value, json};

use super::{
    Api, key,
    path_part::PathPart,
    problem::{Access, Kind, Problem},
    query::{self, Query},
    tasks,
};

/// MiB that a scrub reads in a second, if nothing else is said, and what may be said.
const SCRUB_RATE: u64 = 64;
const SCRUB_RATES: RangeInclusive<u64> = 1..=100_000;

pub(super) async fn flush(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["table", "wait_ms"])?;
    tasks::begin(&api, Upkeep::Flush { table: known_table(&api, &query)? }, &query).await
}

pub(super) async fn compact(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["table", "wait_ms"])?;
    tasks::begin(&api, Upkeep::Compact { table: known_table(&api, &query)? }, &query).await
}

pub(super) async fn scrub(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["mib_per_second", "wait_ms"])?;
    let mib_per_second = query.number("mib_per_second", SCRUB_RATES)?.unwrap_or(SCRUB_RATE);
    tasks::begin(&api, Upkeep::Scrub { bytes_per_second: mib_per_second << 20 }, &query).await
}

pub(super) async fn drain(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["wait_ms"])?;
    tasks::begin(&api, Upkeep::Drain, &query).await
}

pub(super) async fn list_snapshots(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    let snapshots = match perform(&api, Upkeep::ListSnapshots).await? {
        UpkeepOutcome::Snapshots(snapshots) => snapshots,
        UpkeepOutcome::Done | UpkeepOutcome::Scrubbed(_) => Vec::new(),
    };
    let snapshots: Vec<Value> = snapshots.iter().map(shown_snapshot).collect();
    Ok(Json(json!({ "snapshots": snapshots })).into_response())
}

pub(super) async fn make_snapshot(
    State(api): State<Arc<Api>>,
    PathPart(name): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::parse(uri.query(), &["wait_ms"])?;
    // Here, not by the task: nobody may be waiting for it, and its list shows the name.
    Snapshot::check_name(&name).map_err(|error| problem_of(&error.into()))?;
    tasks::begin(&api, Upkeep::MakeSnapshot { name }, &query).await
}

pub(super) async fn clear_snapshot(
    State(api): State<Arc<Api>>,
    PathPart(name): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(uri.query())?;
    perform(&api, Upkeep::ClearSnapshot { name: name.clone() }).await?;
    Ok(Json(json!({ "cleared": name })).into_response())
}

/// The parameter `table`.
pub(super) fn table_of(query: &Query) -> Result<Option<String>, Problem> {
    match query.get("table") {
        Some(name) if is_table_name(name) => Ok(Some(name.to_owned())),
        Some(_) => Err(key::no_such_name()),
        None => Ok(None),
    }
}

/// The parameter `table`, of a table that there is: no task begins for one that there is not.
fn known_table(api: &Api, query: &Query) -> Result<Option<String>, Problem> {
    let table = table_of(query)?;
    let tables = api.node_for(Access::Read)?.tables();
    match table {
        Some(name) if tables.iter().all(|table| table.name != name) => {
            Err(problem_of(&UpkeepError::NoSuchTable(name)))
        }
        table => Ok(table),
    }
}

async fn perform(api: &Api, task: Upkeep) -> Result<UpkeepOutcome, Problem> {
    let node = api.node_for(Access::Read)?;
    let work = node.admit_upkeep(task).map_err(|error| problem_of(&error))?;
    node.upkeep(work, &Arc::<Meter>::default()).await.map_err(|error| problem_of(&error))
}

pub(super) fn shown_snapshot(snapshot: &Snapshot) -> Value {
    json!({
        "name": snapshot.name,
        "directory": snapshot.directory.display().to_string(),
        "tables": snapshot.tables,
        "bytes": snapshot.bytes,
    })
}

pub(super) fn problem_of(error: &UpkeepError) -> Problem {
    let detail = error.to_string();
    match error {
        UpkeepError::NoSuchTable(_) => Problem::new(Kind::NoSuchTable, detail).about("table"),
        UpkeepError::Overloaded => Problem::new(Kind::Overloaded, detail),
        UpkeepError::Draining | UpkeepError::Stopped(_) => Problem::new(Kind::Draining, detail),
        UpkeepError::Cancelled => Problem::new(Kind::Conflict, detail),
        UpkeepError::Storage(Error::SnapshotName { .. }) => Problem::bad_field("name", detail),
        UpkeepError::Storage(Error::SnapshotExists { .. }) => {
            Problem::new(Kind::Conflict, detail).about("name")
        }
        UpkeepError::Storage(Error::NoSuchSnapshot { .. }) => {
            Problem::new(Kind::NoSuchSnapshot, detail).about("name")
        }
        UpkeepError::Storage(Error::StorageFull { .. }) => Problem::new(Kind::StorageFull, detail),
        UpkeepError::Storage(Error::Corrupt { .. }) => Problem::new(Kind::StorageDamaged, detail),
        _ => Problem::new(Kind::StorageFailure, detail),
    }
}
