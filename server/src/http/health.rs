//! What machines ask to learn whether the process works, whether the node serves, and what it is.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::node::Readiness;
use hyper::Uri;
use serde_json::json;

use super::{
    Api,
    problem::{Kind, Problem},
    query,
};
use crate::telemetry::{COMMIT, VERSION};

/// `GET /livez`: 200 while the process works.
pub(super) async fn livez(uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(Json(json!({ "status": "alive" })).into_response())
}

/// `GET /readyz`: 200 while the node takes requests, else 503 and why not.
pub(super) async fn readyz(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    match api.node()?.readiness() {
        Readiness::Ready => Ok(Json(json!({ "status": "ready" })).into_response()),
        Readiness::Starting(why) => Err(Problem::new(Kind::Starting, format!("the node is starting: {why}"))),
        Readiness::Draining => Err(Problem::new(Kind::Draining, "the node is draining")),
    }
}

/// `GET /version`: the build.
pub(super) async fn version(uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(Json(json!({ "name": "helenus", "version": VERSION, "commit": COMMIT, "api": 1 })).into_response())
}
