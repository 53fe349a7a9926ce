//! `GET /admin/v1/…`: what the node knows, for operators. Nothing here waits for another node.
//!
//! ```text
//! table-stats[?table=t]  histograms[/{table}]  compaction-stats
//! status  ring[?table=t]  info  describe-cluster  gossip-info  failure-detector  hints  endpoints/{table}/{key}
//! ```

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::node::{Readiness, Report, Topic, reports::tables::PERCENTILES};
use hyper::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

use super::{
    Api, key,
    parameters::{OF_ENDPOINTS, Parameters},
    path_part::PathPart,
    problem::{Access, Kind, Problem},
    query::{self, Query},
    tables::shown_replication,
    upkeep::table_of,
};
use crate::telemetry::{VERSION, resident_bytes};

/// The members as this node sees them.
pub(super) async fn status(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    plain(&api, &uri, &Topic::Status)
}

/// What it has heard of the members, and what it believes of them.
pub(super) async fn gossip(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    plain(&api, &uri, &Topic::Gossip)
}

/// Whom it takes for alive, suspected or dead, and why.
pub(super) async fn failure_detector(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    plain(&api, &uri, &Topic::FailureDetector)
}

/// What it keeps for members that missed it.
pub(super) async fn hints(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    plain(&api, &uri, &Topic::Hints)
}

fn plain(api: &Api, uri: &Uri, topic: &Topic) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(Json(report(api, topic)?).into_response())
}

/// All tokens, and what each member owns.
pub(super) async fn ring(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let table = table_of(&Query::parse(uri.query(), &["table"])?)?;
    Ok(Json(report(&api, &Topic::Ring { table })?).into_response())
}

/// What it stores of each table.
pub(super) async fn tables(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let table = table_of(&Query::parse(uri.query(), &["table"])?)?;
    Ok(Json(report(&api, &Topic::Tables { table })?).into_response())
}

/// Which merges of SSTables are under way.
pub(super) async fn compactions(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    plain(&api, &uri, &Topic::Compactions)
}

/// How long requests of clients take.
pub(super) async fn histograms(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    api.node_for(Access::Read)?;
    let of_operation = api.metrics.latencies().map(|(operation, latencies)| {
        let percentiles = PERCENTILES.map(|(name, share)| (name, json!(latencies.quantile_us(share))));
        let percentiles: Map<String, Value> =
            percentiles.into_iter().map(|(name, us)| (name.to_owned(), us)).collect();
        (operation.to_owned(), json!({ "requests": latencies.count, "percentiles_us": percentiles }))
    });
    let operations: Map<String, Value> = of_operation.into_iter().collect();
    Ok(Json(json!({ "operations": operations })).into_response())
}

/// How long its own reads and writes of a table take, and what reads look into.
pub(super) async fn table_histograms(
    State(api): State<Arc<Api>>,
    PathPart(table): PathPart,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(uri.query())?;
    let table = key::table(&table)?;
    Ok(Json(report(&api, &Topic::Histograms { table })?).into_response())
}

/// Where the replicas of a key are, the key as in `/v1/kv`.
pub(super) async fn endpoints(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(uri.query(), &headers, OF_ENDPOINTS, Access::Read)?;
    let path = uri.path().strip_prefix("/admin/v1/endpoints/").unwrap_or_default();
    let (table, key) = path.split_once('/').unwrap_or((path, ""));
    let (table, key) = (key::table(table)?, key::key(key, parameters.key_encoding)?);
    Ok(Json(report(&api, &Topic::Endpoints { table, key: key.to_vec() })?).into_response())
}

/// This node alone, and its process.
pub(super) async fn info(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    let mut info = json!(report(&api, &Topic::Info)?);
    let (readiness, why_not_ready) = match api.node()?.readiness() {
        Readiness::Ready => ("ready", None),
        Readiness::Starting(why) => ("starting", Some(why)),
        Readiness::Draining => ("draining", None),
    };
    info["readiness"] = json!(readiness);
    info["why_not_ready"] = json!(why_not_ready);
    info["version"] = json!(VERSION);
    info["uptime_seconds"] = json!(api.started.elapsed().as_secs());
    info["resident_bytes"] = json!(resident_bytes());
    info["open_connections"] = json!(api.metrics.open_connections().get());
    Ok(Json(info).into_response())
}

/// The cluster as a whole.
pub(super) async fn describe_cluster(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    let schemas = api.node_for(Access::Read)?.ask_schemas().await;
    let mut description = json!(report(&api, &Topic::Cluster { schemas })?);
    let table = |table: helenus_cluster::table::Table| json!({ "name": table.name, "replication": shown_replication(&table.definition.replication) });
    description["tables"] = api.node()?.tables().into_iter().map(table).collect::<Vec<Value>>().into();
    Ok(Json(description).into_response())
}

fn report(api: &Api, topic: &Topic) -> Result<Report, Problem> {
    let node = api.node_for(Access::Read)?;
    node.report(topic).ok_or_else(|| match topic {
        // It does not know the tables of its cluster before it has found that.
        _ if let Readiness::Starting(why) = node.readiness() => {
            Problem::new(Kind::Starting, format!("the node is starting: {why}"))
        }
        Topic::Ring { table: Some(table) }
        | Topic::Tables { table: Some(table) }
        | Topic::Histograms { table }
        | Topic::Endpoints { table, .. } => {
            Problem::new(Kind::NoSuchTable, format!("there is no table `{table}`")).about("table")
        }
        _ => Problem::new(Kind::NotFound, "the node has no such report"),
    })
}
