//! `/admin/v1/…`: operations. For people who run the node, not for its clients.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::{message::ReplicaError, node::RemovalError, node_id::HostId};
use hyper::Uri;
use serde_json::json;

use super::{
    Api,
    path_part::PathPart,
    problem::{Access, Kind, Problem},
    query,
};

/// `POST /admin/v1/assassinate/{host_id}[?force=true]`: removes a dead member from the cluster, for ever. Where no
/// majority of the members is up: 409, unless forced.
pub(super) async fn assassinate(
    State(api): State<Arc<Api>>,
    PathPart(host_id): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    let is_forced = uri.query() == Some("force=true");
    if !is_forced {
        query::none(uri.query())?;
    }
    let host_id = host_id.parse().map(HostId);
    let host_id = host_id.map_err(|_| Problem::new(Kind::BadRequest, "the host id is not a UUID"))?;
    let node = api.node_for(Access::Write)?;
    let removed = node.assassinate(host_id, is_forced).await.map_err(|error| not_removed(&error))?;
    let note = match removed.was_replica {
        true => {
            "the ranges of the removed member have one replica less than the replication factor asks for, until their \
             data is repaired"
        }
        false => "it was a replica of no table, so none is missing",
    };
    Ok(Json(json!({ "removed": host_id, "note": note })).into_response())
}

fn not_removed(error: &RemovalError) -> Problem {
    let kind = match error {
        RemovalError::Unknown(_) => Kind::NoSuchMember,
        RemovalError::Storage(ReplicaError::StorageFull(_)) => Kind::StorageFull,
        RemovalError::Storage(_) => Kind::StorageFailure,
        _ => Kind::Conflict,
    };
    Problem::new(kind, error.to_string())
}

/// Routes of clients on a listener that is for operators only.
pub(super) async fn for_clients() -> Problem {
    let detail =
        "this listener is for operators: the node serves clients on another one, its setting http.listen";
    Problem::new(Kind::NoSuchRoute, detail)
}

/// All of it on a listener that is for clients only.
pub(super) async fn elsewhere() -> Problem {
    let detail =
        "this listener is for clients: the node serves operators on another one, its setting admin.listen";
    Problem::new(Kind::NoSuchRoute, detail)
}
