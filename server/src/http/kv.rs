//! `/v1/kv/…`: reads and writes of single keys.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    http::request::Parts,
    response::Response,
};
use bytes::Bytes;
use helenus_cluster::node::{Change, Failure, ReadRequest, WriteOutcome, WriteRequest};
use hyper::{
    HeaderMap,
    header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE},
};
use uuid::Uuid;

use super::{
    Api,
    begun::Begun,
    envelope, key,
    parameters::{self, Parameters},
    problem::{Access, Kind, Problem},
    reply::{self, Ended},
    session, unread,
};
use crate::telemetry::Operation;

/// `GET` and `HEAD`: the newest value at the level.
pub(super) async fn get(State(api): State<Arc<Api>>, request: Request) -> Response {
    let start = Instant::now();
    let ended = read(&api, &request.into_parts().0).await.unwrap_or_else(Ended::from);
    reply::conclude(&api, Operation::Get, start, ended)
}

/// `PUT` and `POST` of a key: store a value.
pub(super) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    let start = Instant::now();
    let ended = write(&api, request).await.unwrap_or_else(Ended::from);
    reply::conclude(&api, Operation::Put, start, ended)
}

/// `POST` of a table: store a value under a key of the server's choice.
pub(super) async fn create(State(api): State<Arc<Api>>, request: Request) -> Response {
    let start = Instant::now();
    let ended = write_new(&api, request).await.unwrap_or_else(Ended::from);
    reply::conclude(&api, Operation::Put, start, ended)
}

/// `DELETE`: store a tombstone.
pub(super) async fn delete(State(api): State<Arc<Api>>, request: Request) -> Response {
    let start = Instant::now();
    let ended = erase(&api, &request.into_parts().0).await.unwrap_or_else(Ended::from);
    reply::conclude(&api, Operation::Delete, start, ended)
}

/// A path whose table is empty.
pub(super) async fn without_table() -> Problem {
    key::no_such_name()
}

async fn read(api: &Api, request: &Parts) -> Result<Ended, Problem> {
    let begun = api.begin_request_with_room(Access::Read)?;
    let (table, key, parameters) = address(request, parameters::OF_GET, Access::Read)?;
    let begun = api.await_turn(begun, Access::Read, parameters.timeout).await?;
    let asked = ReadRequest { table, key, options: parameters.options(begun.since) };
    Ok(match begun.node.read(asked).await {
        Ok(outcome) => {
            let met = outcome.met.clone();
            let session = session::after(parameters.session.as_deref(), outcome.observed.as_ref());
            Ended::Met(met, reply::found(outcome, &request.headers), session)
        }
        Err(failure) => failed(&failure, Access::Read, &parameters),
    })
}

async fn write(api: &Api, request: Request) -> Result<Ended, Problem> {
    let (head, body) = request.into_parts();
    let begun = address(&head, parameters::OF_PUT, Access::Write)
        .and_then(|addressed| Ok((addressed, begin_write(api, &head.headers)?)));
    let ((table, key, parameters), begun) = match begun {
        Ok(begun) => begun,
        Err(problem) => {
            unread::discard(body);
            return Err(problem);
        }
    };
    Ok(match store(api, begun, &head.headers, body, table, key, &parameters).await? {
        Ok(outcome) => {
            let reply = reply::written(&outcome);
            met(outcome, reply, &parameters)
        }
        Err(failure) => failed(&failure, Access::Write, &parameters),
    })
}

async fn write_new(api: &Api, request: Request) -> Result<Ended, Problem> {
    let (head, body) = request.into_parts();
    let (raw_table, _) = key::split(head.uri.path());
    let table = key::table(raw_table)?;
    let parameters = of(&head, parameters::OF_CREATE, Access::Write)?;
    let key = new_key(api).to_string();
    let name = Bytes::from(key.clone());
    let begun = begin_write(api, &head.headers)?;
    Ok(match store(api, begun, &head.headers, body, table.clone(), name, &parameters).await? {
        Ok(outcome) => {
            let reply = reply::created(&outcome, &table, &key);
            met(outcome, reply, &parameters)
        }
        Err(failure) => failed(&failure, Access::Write, &parameters),
    })
}

async fn erase(api: &Api, request: &Parts) -> Result<Ended, Problem> {
    let begun = begin_write(api, &request.headers)?;
    let (table, key, parameters) = address(request, parameters::OF_DELETE, Access::Write)?;
    let begun = api.await_turn(begun, Access::Write, parameters.timeout).await?;
    let asked = WriteRequest {
        table,
        key,
        change: Change::Delete,
        options: parameters.options(begun.since),
        timestamp: parameters.timestamp,
    };
    Ok(match begun.node.write(asked).await {
        Ok(outcome) => {
            let reply = reply::written(&outcome);
            met(outcome, reply, &parameters)
        }
        Err(failure) => failed(&failure, Access::Write, &parameters),
    })
}

fn begin_write<'a>(api: &'a Api, headers: &HeaderMap) -> Result<Begun<'a>, Problem> {
    let begun = api.begin_request_with_room(Access::Write)?;
    refuse_conditions(headers)?;
    Ok(begun)
}

/// Reads the value and has it written; the outer error is a request that never reached the node.
async fn store(
    api: &Api,
    begun: Begun<'_>,
    headers: &HeaderMap,
    body: Body,
    table: String,
    key: Bytes,
    parameters: &Parameters,
) -> Result<Result<WriteOutcome, Failure>, Problem> {
    let first = api.bodies.begin(&body)?;
    let mut stored = envelope::begin(headers, first.bytes())?;
    // Held until the write is done: the value lives as long.
    let _held = api.bodies.read(body, first, &mut stored).await?;
    let begun = api.await_turn(begun, Access::Write, parameters.timeout).await?;
    let asked = WriteRequest {
        table,
        key,
        change: Change::Put { value: stored.into(), ttl: parameters.ttl },
        options: parameters.options(begun.since),
        timestamp: parameters.timestamp,
    };
    Ok(begun.node.write(asked).await)
}

/// Table, key and parameters of a request.
fn address(
    head: &Parts,
    accepted: &[parameters::Name],
    access: Access,
) -> Result<(String, Bytes, Parameters), Problem> {
    let (raw_table, raw_key) = key::split(head.uri.path());
    let table = key::table(raw_table)?;
    let parameters = of(head, accepted, access)?;
    let key = key::key(raw_key, parameters.key_encoding)?;
    Ok((table, key, parameters))
}

fn of(head: &Parts, accepted: &[parameters::Name], access: Access) -> Result<Parameters, Problem> {
    Ok(Parameters::parse(head.uri.query(), &head.headers, accepted, access)?.of(head))
}

/// A condition on a write needs compare-and-set; reading first and writing then would only look like it.
fn refuse_conditions(headers: &HeaderMap) -> Result<(), Problem> {
    match [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].iter().find(|name| headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(Problem::new(
            Kind::NotImplemented,
            "conditional writes need compare-and-set, which this build lacks",
        )
        .about(name.as_str())),
    }
}

fn met(outcome: WriteOutcome, reply: Response, parameters: &Parameters) -> Ended {
    let session = session::after(parameters.session.as_deref(), outcome.observed.as_ref());
    Ended::Met(outcome.met, reply, session)
}

fn failed(failure: &Failure, access: Access, parameters: &Parameters) -> Ended {
    let session = session::after_failure(parameters.session.as_deref(), failure);
    Ended::Refused(Problem::of_request(&failure.error, access), failure.trace.clone(), Some(session))
}

/// A UUIDv7 (RFC 9562, section 5.7) from the node's clock and its own stream of numbers.
fn new_key(api: &Api) -> Uuid {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&api.numbers.next().to_le_bytes());
    random[8..].copy_from_slice(&api.numbers.next().to_le_bytes()[..2]);
    uuid::Builder::from_unix_timestamp_millis(api.clock.now().0 / 1000, &random).into_uuid()
}
