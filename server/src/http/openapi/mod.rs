//! `GET /openapi.json`: the API for programs, as OpenAPI 3.1.
//!
//! The document is kept by hand, as tables that read like the routes: [`operations`] says what each takes and answers,
//! [`schemas`] what their bodies look like. A generator that derives it from types was rejected: keys are raw bytes of a
//! path, values raw bodies, most answers are made of headers, and what matters most here, which error means what, is in no
//! type. `server/tests/openapi.rs` holds document and router against each other.

mod operations;
mod schemas;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::{Uri, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

use self::operations::{OPERATIONS, Operation};
use super::{
    Surface,
    problem::{Kind, Problem},
    query,
};
use crate::telemetry::VERSION;

/// Methods that change nothing, which pages of other sites may ask for.
const SAFE_METHODS: [&str; 2] = ["get", "head"];

/// Problems that any request may meet, before its route is asked.
const OF_ALL: [Kind; 7] = [
    Kind::BadRequest,
    Kind::RequestTimeout,
    Kind::KeyTooLarge,
    Kind::TargetTooLong,
    Kind::HeadersTooLarge,
    Kind::Overloaded,
    Kind::Starting,
];

/// Answers with the document of a listener.
pub(super) async fn page(uri: Uri, document: Bytes) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(([(CONTENT_TYPE, "application/json")], document).into_response())
}

/// What a listener serves.
pub(super) fn document(surface: Surface) -> Bytes {
    described_api(surface).to_string().into()
}

fn described_api(surface: Surface) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS.iter().filter(|operation| is_served(operation.path, surface)) {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Helenus",
            "version": VERSION,
            "description": "A consistent-hash ring of nodes that store keys and values. Any node answers any request. \
                            Headers named Helenus-Meta-* are stored with a value and returned as they came; an unknown \
                            query parameter, and an unknown header named Helenus-*, is refused. So is (403) what a page of another site \
                            would have a browser change: a request other than GET and HEAD whose Origin is not this \
                            address, or whose Sec-Fetch-Site is neither same-origin nor none."
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas::schemas(),
            "parameters": schemas::parameters(),
            "headers": schemas::headers(),
        }
    })
}

fn described(operation: &Operation) -> Value {
    let mut shown = Map::new();
    shown.insert("operationId".to_owned(), operation.id.into());
    shown.insert("tags".to_owned(), json!([tag(operation.path)]));
    shown.insert("summary".to_owned(), operation.summary.into());
    if !operation.parameters.is_empty() {
        let parameters = operation.parameters.iter();
        let parameters: Vec<Value> =
            parameters.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })).collect();
        shown.insert("parameters".to_owned(), parameters.into());
    }
    if let Some((schema, is_required)) = operation.body {
        shown
            .insert("requestBody".to_owned(), json!({ "required": is_required, "content": content(schema) }));
    }
    shown.insert("responses".to_owned(), Value::Object(responses(operation)));
    Value::Object(shown)
}

fn is_served(path: &str, surface: Surface) -> bool {
    match tag(path) {
        "operators" => surface != Surface::Client,
        "clients" => surface != Surface::Admin,
        _ => true,
    }
}

fn tag(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("admin") => "operators",
        Some("v1") => "clients",
        Some("console") => "operators",
        _ => "health",
    }
}

fn responses(operation: &Operation) -> Map<String, Value> {
    let mut responses = Map::new();
    for &(status, schema, what) in operation.replies {
        let mut response = json!({ "description": what, "headers": headers(operation.headers) });
        if schema != "nothing" {
            response["content"] = content(schema);
        }
        responses.insert(status.to_string(), response);
    }
    let mut problems: Vec<Kind> = OF_ALL.iter().chain(operation.problems).copied().collect();
    if !SAFE_METHODS.contains(&operation.method) {
        problems.push(Kind::CrossOrigin);
    }
    problems.sort_by_key(|kind| kind.status());
    for same in problems.chunk_by(|a, b| a.status() == b.status()) {
        let kinds: Vec<String> = same.iter().map(|kind| kind.name().to_owned()).collect();
        let status = same[0].status().as_u16();
        let mut response = json!({
            "description": kinds.join(", "),
            "headers": headers(operation.headers),
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
        });
        if status == 503 {
            response["headers"]["Retry-After"] = json!({ "$ref": "#/components/headers/Retry-After" });
        }
        // HEAD has the status and the headers of GET, and no body.
        if operation.method == "head" {
            response.as_object_mut().map(|response| response.remove("content"));
        }
        responses.insert(status.to_string(), response);
    }
    responses
}

fn headers(names: &[&str]) -> Value {
    let names = ["Helenus-Request-Id"].iter().chain(names);
    let headers: Map<String, Value> = names
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect();
    Value::Object(headers)
}

fn content(schema: &str) -> Value {
    match schema {
        "bytes" => json!({ "*/*": { "schema": {} } }),
        "html" => json!({ "text/html": { "schema": { "type": "string" } } }),
        "text" => json!({ "text/plain": { "schema": { "type": "string" } } }),
        _ => {
            json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
        }
    }
}
