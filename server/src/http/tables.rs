//! `/v1/tables/…`: the schema.
//!
//! ```text
//! GET    /v1/tables            {"tables": [table, …]}
//! GET    /v1/tables/{table}    table
//! PUT    /v1/tables/{table}    definition ─▶ table with "agreed": 201 created, 200 changed or as it was
//! DELETE /v1/tables/{table}    table with "agreed"
//! ```
//!
//! `"agreed"`: every live member knows of the change. `"down"`: how many members were not waited for, being down; they
//! hear of it when they are back.
//!
//! 201: the node that was asked knew no such table. Of many creations through one node one is told so; through several nodes
//! at once each may be, for they create one table together.
//!
//! `"warnings"`: what about the table will not do what people expect, in words.
//!
//! A definition that leaves a field out means its default; the default replication is that of the table, or of `default`
//! if there is no such table yet.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use helenus_cluster::{
    node::{SchemaChange, SchemaError},
    table::{DEFAULT_TABLE, Refusal, Table},
};
use hyper::StatusCode;
use serde_json::{Map, Value};
use tokio::time::Instant;

use self::unambiguous::Unambiguous;
use super::{
    Api, Coordinate, key,
    parameters::{self, Name, Parameters},
    problem::{Access, Kind, Problem},
    query,
};

mod definition;
mod unambiguous;

pub(super) use definition::shown_replication;

/// How long live nodes are waited for without `timeout_ms`.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the routes that change something take.
const OF_CHANGE: &[Name] = &[Name::TimeoutMs];

/// `GET /v1/tables`: all of them, by name.
pub(super) async fn list(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let head = request.into_parts().0;
    refuse_parameters(&head)?;
    let node = api.node_for(Access::Read)?;
    let tables: Vec<Value> = node.tables().iter().map(|table| Value::Object(shown(node, table))).collect();
    Ok(Json(serde_json::json!({ "tables": tables })).into_response())
}

/// `GET` of one.
pub(super) async fn describe(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let head = request.into_parts().0;
    let name = name_of(&head)?;
    refuse_parameters(&head)?;
    let node = api.node_for(Access::Read)?;
    let table = node.table(&name, Instant::now() + PATIENCE).await;
    let table = table.map_err(|error| Problem::of_request(&error, Access::Read))?;
    Ok(Json(shown(node, &table)).into_response())
}

/// `PUT`: create it, or change what can be changed.
pub(super) async fn define(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let name = name_of(&head)?;
    let deadline = deadline_of(&head)?;
    let begun = api.begin_request(Access::Write)?;
    let body = read(&api, body).await?;
    let tables = begun.node.tables();
    let like = |name: &str| tables.iter().find(|table| table.name == name);
    let replication =
        like(&name).or_else(|| like(DEFAULT_TABLE)).map(|table| table.definition.replication.clone());
    let definition = definition::parse(&body, replication)?;
    let change =
        begun.node.define_table(&name, definition, deadline).await.map_err(|error| problem(&error))?;
    let status = if change.is_created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(changed(begun.node, &change))).into_response())
}

/// `DELETE`: drop it with all that is in it.
pub(super) async fn drop_table(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let head = request.into_parts().0;
    let name = name_of(&head)?;
    let deadline = deadline_of(&head)?;
    let begun = api.begin_request(Access::Write)?;
    let is_there = begun.node.table(&name, deadline).await;
    is_there.map_err(|error| Problem::of_request(&error, Access::Write))?;
    let change = begun.node.drop_table(&name, deadline).await.map_err(|error| problem(&error))?;
    Ok(Json(changed(begun.node, &change)).into_response())
}

/// A path whose table is empty.
pub(super) async fn without_table() -> Problem {
    key::no_such_name()
}

fn name_of(head: &Parts) -> Result<String, Problem> {
    key::table(head.uri.path().strip_prefix("/v1/tables/").unwrap_or_default())
}

fn refuse_parameters(head: &Parts) -> Result<(), Problem> {
    query::none(head.uri.query())?;
    parameters::known_headers(&head.headers)
}

fn deadline_of(head: &Parts) -> Result<Instant, Problem> {
    let parameters = Parameters::parse(head.uri.query(), &head.headers, OF_CHANGE, Access::Write)?;
    Ok(Instant::now() + parameters.timeout.unwrap_or(PATIENCE))
}

/// The definition's JSON; an empty body is one without fields.
async fn read(api: &Api, body: Body) -> Result<Map<String, Value>, Problem> {
    let first = api.bodies.begin(&body)?;
    let mut bytes = Vec::with_capacity(first.bytes());
    let _held = api.bodies.read(body, first, &mut bytes).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Unambiguous(Value::Object(fields))) => Ok(fields),
        Ok(_) => Err(Problem::bad_field("body", "a table is defined by a JSON object")),
        Err(error) => Err(Problem::bad_field("body", format!("the body is not JSON of a table: {error}"))),
    }
}

/// `"warnings"`: what of it will not do what people expect.
fn shown(node: &dyn Coordinate, table: &Table) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), table.name.clone().into());
    shown.insert("id".to_owned(), table.id().0.into());
    shown.extend(definition::shown(&table.definition));
    shown.insert("warnings".to_owned(), node.warnings(&table.definition).into());
    shown
}

fn changed(node: &dyn Coordinate, change: &SchemaChange) -> Map<String, Value> {
    let mut changed = shown(node, &change.table);
    changed.insert("agreed".to_owned(), change.is_agreed.into());
    changed.insert("down".to_owned(), change.down.into());
    changed
}

fn no_such_table(name: &str) -> Problem {
    Problem::new(Kind::NoSuchTable, format!("there is no table `{name}`")).about("table")
}

fn problem(error: &SchemaError) -> Problem {
    let detail = error.to_string();
    match error {
        SchemaError::Refused(Refusal::Invalid { field, .. }) => Problem::bad_field(field, detail),
        SchemaError::Refused(Refusal::InvalidConsistency { field, .. }) => {
            Problem::new(Kind::InvalidConsistency, detail).about(field)
        }
        SchemaError::Refused(Refusal::Conflict(_)) => Problem::new(Kind::SchemaConflict, detail),
        SchemaError::Refused(Refusal::NoSuchTable(name)) => no_such_table(name),
        SchemaError::Overtaken(_) => Problem::new(Kind::SchemaConflict, detail),
        SchemaError::NotServing(_) => Problem::new(Kind::Starting, detail).not_sent(Access::Write),
        SchemaError::Draining => Problem::new(Kind::Draining, detail).not_sent(Access::Write),
        _ => Problem::new(Kind::WriteFailure, detail),
    }
}
