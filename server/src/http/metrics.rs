//! `GET /metrics`: the node's numbers for Prometheus.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use hyper::{Uri, header::CONTENT_TYPE};

use super::{
    Api,
    problem::{Access, Problem},
    query,
};
use crate::telemetry::METRICS_CONTENT_TYPE;

/// The page.
pub(super) async fn page(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    // Numbers of a storage that is not open yet would be zeros.
    api.node_for(Access::Read)?;
    Ok(([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], api.metrics.page()).into_response())
}
