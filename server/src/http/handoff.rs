//! `/admin/v1/hints`: what is done with the writes that this node keeps for replicas that missed them; [`super::reports`]
//! lists them.
//!
//! ```text
//! POST   /admin/v1/hints/pause             none is delivered until `resume`, or the next start
//! POST   /admin/v1/hints/resume
//! DELETE /admin/v1/hints[?target=host id]  {"dropped": n}: they leave marks that repair is needed
//! DELETE /admin/v1/hints/marks[?target=host id]
//!                                          {"forgotten": n} such marks, because the member was repaired
//! ```
//!
//! A target that is no member, and of whom nothing is kept, is 404: it is a misspelt one.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::{
    message::ReplicaError,
    node::{Handoff, Report, Topic},
    node_id::HostId,
};
use hyper::Uri;
use serde_json::json;

use super::{
    Api, Coordinate,
    problem::{Access, Kind, Problem},
    query,
};

pub(super) async fn pause(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    perform(&api, Handoff::Pause).await?;
    Ok(Json(json!({ "is_paused": true })).into_response())
}

pub(super) async fn resume(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    perform(&api, Handoff::Resume).await?;
    Ok(Json(json!({ "is_paused": false })).into_response())
}

pub(super) async fn truncate(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let dropped = perform(&api, Handoff::Truncate(target(&api, &uri)?)).await?;
    Ok(Json(json!({ "dropped": dropped })).into_response())
}

pub(super) async fn forget_marks(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let forgotten = perform(&api, Handoff::Repaired(target(&api, &uri)?)).await?;
    Ok(Json(json!({ "forgotten": forgotten })).into_response())
}

/// One member, or all of them.
fn target(api: &Api, uri: &Uri) -> Result<Option<HostId>, Problem> {
    let Some(("target", text)) = uri.query().unwrap_or_default().split_once('=') else {
        return query::none(uri.query()).map(|()| None);
    };
    let host_id = text.parse().map(HostId);
    let host_id = host_id.map_err(|_| Problem::bad_field("target", "the host id is not a UUID"))?;
    if is_known(api.node_for(Access::Write)?, host_id) {
        return Ok(Some(host_id));
    }
    let detail = format!("there is no member {host_id}, nor are there hints or marks of one");
    Err(Problem::new(Kind::NoSuchMember, detail).about("target"))
}

/// Whether it is a member, or was one to whom hints or marks are left.
fn is_known(node: &dyn Coordinate, host_id: HostId) -> bool {
    let is_member = match node.report(&Topic::Status) {
        Some(Report::Status(status)) => status.members.iter().any(|member| member.host_id == host_id),
        _ => false,
    };
    is_member
        || match node.report(&Topic::Hints) {
            Some(Report::Hints(hints)) => {
                hints.targets.iter().any(|hinted| hinted.host_id == host_id)
                    || hints.marks.iter().any(|mark| mark.target == host_id)
            }
            _ => false,
        }
}

async fn perform(api: &Api, command: Handoff) -> Result<u64, Problem> {
    api.node_for(Access::Write)?.handoff(command).await.map_err(|error| {
        let kind = match error {
            ReplicaError::StorageFull(_) => Kind::StorageFull,
            _ => Kind::StorageFailure,
        };
        Problem::new(kind, error.to_string())
    })
}
