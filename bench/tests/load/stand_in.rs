//! A server that stands in for a cluster: tables, keys and scans of the HTTP API, in memory.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

/// What it holds, and how it misbehaves.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) tables: BTreeMap<String, Value>,
    pub(crate) records: BTreeMap<String, Bytes>,
    /// Every key that was written, in order.
    pub(crate) written: Vec<String>,
    /// Limits of the scans.
    pub(crate) scans: Vec<u64>,
    /// Answers every request on a key so: status, type of problem.
    pub(crate) refuses: Option<(u16, &'static str)>,
}

type Shared = Arc<Mutex<Contents>>;

fn lock(contents: &Shared) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server on a port of its own, until it is dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    contents: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        let contents = Shared::default();
        lock(&contents).tables.insert("default".into(), definition(3));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("it works");
        let address = listener.local_addr().expect("bound");
        let routes = routes(Arc::clone(&contents));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, contents, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }
}

fn routes(contents: Shared) -> Router {
    Router::new()
        .route(
            "/version",
            get(|| async { Json(json!({ "name": "helenus", "version": "9.9", "commit": "abc" })) }),
        )
        .route("/v1/tables/{table}", get(describe).put(define))
        .route("/v1/kv/{table}", get(scan))
        .route("/v1/kv/{table}/{key}", get(read).put(write))
        .with_state(contents)
}

fn definition(factor: u32) -> Value {
    json!({ "replication": { "class": "simple", "factor": factor } })
}

fn problem(status: u16, name: &str) -> Response {
    let body = json!({ "type": format!("/problems/{name}"), "status": status });
    (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response()
}

async fn describe(State(contents): State<Shared>, Path(table): Path<String>) -> Response {
    let contents = lock(&contents);
    contents
        .tables
        .get(&table)
        .map_or_else(|| problem(404, "no-such-table"), |table| Json(table).into_response())
}

async fn define(
    State(contents): State<Shared>,
    Path(table): Path<String>,
    Json(body): Json<Value>,
) -> StatusCode {
    lock(&contents).tables.insert(table, body);
    StatusCode::CREATED
}

async fn read(State(contents): State<Shared>, Path((_, key)): Path<(String, String)>) -> Response {
    let contents = lock(&contents);
    match (contents.refuses, contents.records.get(&key)) {
        (Some((status, name)), _) => problem(status, name),
        (None, Some(value)) => value.clone().into_response(),
        (None, None) => problem(404, "not-found"),
    }
}

async fn write(
    State(contents): State<Shared>,
    Path((_, key)): Path<(String, String)>,
    value: Bytes,
) -> Response {
    let mut contents = lock(&contents);
    if let Some((status, name)) = contents.refuses {
        return problem(status, name);
    }
    contents.written.push(key.clone());
    contents.records.insert(key, value);
    Json(json!({ "timestamp": 1 })).into_response()
}

async fn scan(State(contents): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.expect("a start and a limit");
    let query: BTreeMap<&str, &str> =
        query.split('&').map(|pair| pair.split_once('=').expect("a name and a value")).collect();
    let mut contents = lock(&contents);
    let limit: u64 = query["limit"].parse().expect("a limit");
    contents.scans.push(limit);
    let from = contents.records.range(query["start"].to_owned()..).take(limit as usize);
    let items: Vec<Value> = from.map(|(key, _)| json!({ "key": key })).collect();
    Json(json!({ "items": items, "next": null })).into_response()
}
