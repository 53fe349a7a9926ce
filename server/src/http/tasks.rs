//! `/admin/v1/tasks`: operations that take long, see [`crate::tasks`].
//!
//! ```text
//! GET    /admin/v1/tasks                   {"tasks": [task, …]}, the oldest first
//! GET    /admin/v1/tasks/{id}[?wait_ms=n]  task; answered when it has ended, or after so long
//! DELETE /admin/v1/tasks/{id}              202 and the task, which ends a little later
//! ```
//!
//! A route that begins a task waits for it, [`PATIENCE`] or `wait_ms`: 200 and the task if it is done by then, its problem
//! if it failed, else 202 with the task's `Location`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::node::{Upkeep, UpkeepError, UpkeepOutcome};
use hyper::{StatusCode, Uri, header::LOCATION};
use serde_json::{Value, json};

use super::{
    Api,
    path_part::PathPart,
    problem::{Access, Kind, Problem},
    query::{self, Query},
    upkeep::{problem_of, shown_snapshot},
};
use crate::tasks::{End, NotCancelled, Task};

/// How long a task is waited for if the request does not say.
const PATIENCE: Duration = Duration::from_millis(500);
/// Milliseconds that a request may wait.
const MAX_WAIT_MS: u64 = 30_000;

pub(super) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    api.node_for(Access::Read)?;
    let tasks: Vec<Value> = api.tasks.list().iter().map(|task| shown(task)).collect();
    Ok(Json(json!({ "tasks": tasks })).into_response())
}

pub(super) async fn get(
    State(api): State<Arc<Api>>,
    PathPart(id): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    let wait = patience(&Query::parse(uri.query(), &["wait_ms"])?)?;
    let task = named(&api, &id)?;
    task.wait(wait.unwrap_or_default()).await;
    Ok(Json(shown(&task)).into_response())
}

pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    PathPart(id): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(uri.query())?;
    let task = named(&api, &id)?;
    task.cancel().map_err(|why| {
        let detail = match why {
            NotCancelled::Ended => format!("task {id} has ended"),
            NotCancelled::Impossible => format!("a {} goes on to its end", task.kind),
        };
        Problem::new(Kind::Conflict, detail).about("id")
    })?;
    Ok((StatusCode::ACCEPTED, Json(shown(&task))).into_response())
}

/// Begins a task and answers for it. `query` is asked for `wait_ms`.
pub(super) async fn begin(api: &Api, work: Upkeep, query: &Query) -> Result<Response, Problem> {
    let wait = patience(query)?.unwrap_or(PATIENCE);
    let node = api.shared_node().map_err(|problem| problem.not_sent(Access::Read))?;
    let work = node.admit_upkeep(work).map_err(|error| problem_of(&error))?;
    let task = api.tasks.begin(node, work, api.clock.now());
    match task.wait(wait).await {
        Some(End { outcome: Ok(_), .. }) => Ok(Json(shown(&task)).into_response()),
        Some(End { outcome: Err(error), .. }) => Err(problem_of(&error)),
        None => {
            let location = format!("/admin/v1/tasks/{}", task.id);
            Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(shown(&task))).into_response())
        }
    }
}

fn patience(query: &Query) -> Result<Option<Duration>, Problem> {
    Ok(query.number("wait_ms", 0..=MAX_WAIT_MS)?.map(Duration::from_millis))
}

fn named(api: &Api, id: &str) -> Result<Arc<Task>, Problem> {
    let id: u64 = id.parse().map_err(|_| Problem::bad_field("id", "a task's id is a whole number"))?;
    let none = || Problem::new(Kind::NoSuchTask, format!("the node knows of no task {id}")).about("id");
    api.tasks.get(id).ok_or_else(none)
}

fn shown(task: &Task) -> Value {
    let end = task.end();
    let (done_bytes, total_bytes, remaining_seconds) = task.progress();
    let outcome = end.as_ref().map(|end| &end.outcome);
    let problem = match outcome {
        Some(Err(error)) if !matches!(error, UpkeepError::Cancelled) => Some(problem_of(error).members(None)),
        _ => None,
    };
    json!({
        "id": task.id,
        "kind": task.kind,
        "subject": task.subject,
        "state": if task.is_queued() { "queued" } else { state(outcome) },
        "started_us": task.started.0,
        "elapsed_seconds": task.elapsed().as_secs_f64(),
        "done_bytes": done_bytes,
        "total_bytes": total_bytes,
        "remaining_seconds": remaining_seconds,
        "result": outcome.and_then(|outcome| outcome.as_ref().ok()).and_then(result),
        "problem": problem,
    })
}

fn state(outcome: Option<&Result<UpkeepOutcome, UpkeepError>>) -> &'static str {
    match outcome {
        None => "running",
        Some(Ok(UpkeepOutcome::Scrubbed(report))) if report.cancelled => "cancelled",
        Some(Ok(_)) => "done",
        Some(Err(UpkeepError::Cancelled)) => "cancelled",
        Some(Err(_)) => "failed",
    }
}

fn result(outcome: &UpkeepOutcome) -> Option<Value> {
    match outcome {
        UpkeepOutcome::Done => None,
        UpkeepOutcome::Snapshots(snapshots) => snapshots.first().map(shown_snapshot),
        UpkeepOutcome::Scrubbed(report) => Some(json!({
            "tables": report.tables,
            "bytes": report.bytes,
            "vanished": report.vanished,
            "damages": report.damages,
            "first_damages": report.first_damages.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "cancelled": report.cancelled,
        })),
    }
}
