//! `/admin/v1/hints`: what is done with the writes that this node keeps for replicas that missed them; [`super::reports`]
//! lists them.
//!
//! ```text
//! POST   /admin/v1/hints/pause             none is delivered until `resume`, or the next start
//! POST   /admin/v1/hints/resume
//! DELETE /admin/v1/hints[?target=host id]  {"dropped": n}: they leave marks that repair is needed
//! ```

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::{message::ReplicaError, node::Handoff, node_id::HostId};
use hyper::Uri;
use serde_json::json;

use super::{
    Api, parameters,
    problem::{Access, Kind, Problem},
};

pub(super) async fn pause(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    perform(&api, Handoff::Pause).await?;
    Ok(Json(json!({ "is_paused": true })).into_response())
}

pub(super) async fn resume(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    perform(&api, Handoff::Resume).await?;
    Ok(Json(json!({ "is_paused": false })).into_response())
}

pub(super) async fn truncate(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let target = match uri.query().unwrap_or_default().split_once('=') {
        Some(("target", text)) => {
            let host_id = text.parse().map(HostId);
            Some(host_id.map_err(|_| Problem::bad_field("target", "the host id is not a UUID"))?)
        }
        _ => parameters::none(uri.query()).map(|()| None)?,
    };
    let dropped = perform(&api, Handoff::Truncate(target)).await?;
    Ok(Json(json!({ "dropped": dropped })).into_response())
}

async fn perform(api: &Api, command: Handoff) -> Result<u64, Problem> {
    api.node_for(Access::Write)?.handoff(command).await.map_err(|error| {
        let kind = match error {
            ReplicaError::StorageFull(_) => Kind::StorageFull,
            _ => Kind::WriteFailure,
        };
        Problem::new(kind, error.to_string())
    })
}
