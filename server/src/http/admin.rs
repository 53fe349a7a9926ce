//! `/admin/v1/…`: operations. For people who run the node, not for its clients.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use hyper::Uri;

use super::{
    Api, parameters,
    problem::{Access, Kind, Problem},
};

/// `GET /admin/v1/status`: the cluster as this node sees it.
pub(super) async fn status(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    parameters::none(uri.query())?;
    Ok(Json(api.node_for(Access::Read)?.status()).into_response())
}

/// All of it on a listener that is for clients only.
pub(super) async fn elsewhere() -> Problem {
    let detail =
        "this listener is for clients: the node serves operators on another one, its setting admin.listen";
    Problem::new(Kind::NoSuchRoute, detail)
}
