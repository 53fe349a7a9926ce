//! `/admin/v1/…`: operations. For people who run the node, not for its clients.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use helenus_cluster::{message::ReplicaError, node::RemovalError, node_id::HostId};
use hyper::{HeaderMap, Uri};
use serde_json::json;

use super::{
    Api, key,
    parameters::{self, OF_ENDPOINTS, Parameters},
    problem::{Access, Kind, Problem},
};

/// `GET /admin/v1/status`: the cluster as this node sees it.
pub(super) async fn status(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    Ok(Json(api.node_for(Access::Read)?.status()).into_response())
}

/// `GET /admin/v1/gossip`: what this node has heard of the members, and what it believes of them.
pub(super) async fn gossip(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    Ok(Json(api.node_for(Access::Read)?.gossip_status()).into_response())
}

/// `POST /admin/v1/assassinate/{host_id}`: removes a dead member from the cluster, for ever.
pub(super) async fn assassinate(
    State(api): State<Arc<Api>>,
    Path(host_id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    let host_id = host_id.parse().map(HostId);
    let host_id = host_id.map_err(|_| Problem::new(Kind::BadRequest, "the host id is not a UUID"))?;
    api.node_for(Access::Write)?.assassinate(host_id).await.map_err(|error| not_removed(&error))?;
    let note = "the ranges of the removed member have one replica less than the replication factor asks for, until \
                their data is repaired";
    Ok(Json(json!({ "removed": host_id, "note": note })).into_response())
}

fn not_removed(error: &RemovalError) -> Problem {
    let kind = match error {
        RemovalError::Unknown(_) => Kind::NoSuchMember,
        RemovalError::Storage(ReplicaError::StorageFull(_)) => Kind::StorageFull,
        RemovalError::Storage(_) => Kind::WriteFailure,
        _ => Kind::Conflict,
    };
    Problem::new(kind, error.to_string())
}

/// `GET /admin/v1/endpoints/{table}/{key}`: where the replicas of a key are, the key as in `/v1/kv`.
pub(super) async fn endpoints(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(uri.query(), &headers, OF_ENDPOINTS, Access::Read)?;
    let path = uri.path().strip_prefix("/admin/v1/endpoints/").unwrap_or_default();
    let (table, key) = path.split_once('/').unwrap_or((path, ""));
    let (table, key) = (key::table(table)?, key::key(key, parameters.key_encoding)?);
    let endpoints = api.node_for(Access::Read)?.endpoints(&table, &key);
    let endpoints = endpoints.ok_or_else(|| {
        Problem::new(Kind::NoSuchTable, format!("there is no table `{table}`")).about("table")
    })?;
    Ok(Json(endpoints).into_response())
}

/// All of it on a listener that is for clients only.
pub(super) async fn elsewhere() -> Problem {
    let detail =
        "this listener is for clients: the node serves operators on another one, its setting admin.listen";
    Problem::new(Kind::NoSuchRoute, detail)
}
