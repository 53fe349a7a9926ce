//! What a coordinated request is answered.

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency,
    node::{Met, ReadOutcome, TraceEvent, WriteOutcome},
    session::Session,
    time::Timestamp,
};
use helenus_storage::{Record, RecordKind};
use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED, LOCATION},
};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Api, envelope,
    problem::{Access, Kind, Problem},
    session::{self, SESSION},
};
use crate::telemetry::Operation;

const CONSISTENCY: HeaderName = HeaderName::from_static("helenus-consistency");
const COORDINATOR: HeaderName = HeaderName::from_static("helenus-coordinator");
const DELETED: HeaderName = HeaderName::from_static("helenus-deleted");
const TIMESTAMP: HeaderName = HeaderName::from_static("helenus-timestamp");
const TRACE: HeaderName = HeaderName::from_static("helenus-trace");
const TTL: HeaderName = HeaderName::from_static("helenus-ttl");

/// Most steps of a trace that fit a header which clients still accept.
const MAX_TRACE_EVENTS: usize = 64;

/// How a coordinated request ended, before it is a response.
pub(super) enum Ended {
    /// The node met the level, and this is the answer.
    Met(Met, Response, Session),
    /// It did not; or the request was refused earlier, and does not touch the session.
    Refused(Problem, Vec<TraceEvent>, Option<Session>),
}

impl From<Problem> for Ended {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem, Vec::new(), None)
    }
}

/// Counts a request and gives its reply what every reply of a read or write has.
pub(super) fn conclude(api: &Arc<Api>, operation: Operation, start: Instant, ended: Ended) -> Response {
    let (level, counts, trace, mut reply, session) = match ended {
        Ended::Met(met, reply, session) => {
            (Some(met.level), Some((met.required, met.acknowledged)), met.trace, reply, Some(session))
        }
        Ended::Refused(problem, trace, session) => {
            let counts = problem.required.map(|required| (required, problem.received.unwrap_or(0)));
            (problem.level, counts, trace, problem.into_response(), session)
        }
    };
    let problem = reply.extensions().get::<Problem>().map(|problem| problem.kind);
    api.metrics.record(operation, level, problem, start.elapsed());
    let headers = reply.headers_mut();
    name_coordinator(api, headers);
    if let (Some(level), Some((required, acknowledged))) = (level, counts) {
        headers.insert(CONSISTENCY, consistency(level, required, acknowledged));
    }
    if let Some(mut session) = session {
        headers.insert(SESSION, session::header(&mut session));
    }
    if let Some(trace) = trace_header(&trace) {
        headers.insert(TRACE, trace);
    }
    reply
}

/// Says which node coordinated, once there is one.
pub(super) fn name_coordinator(api: &Api, headers: &mut HeaderMap) {
    if let Some(at_work) = api.at_work.get() {
        headers.insert(COORDINATOR, at_work.coordinator.clone());
    }
}

/// The members of the reply to a write, in their order.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    timestamp: u64,
    required: u32,
    acknowledged: u32,
}

impl<'a> Written<'a> {
    fn new(outcome: &WriteOutcome, key: Option<&'a str>) -> Self {
        let Met { required, acknowledged, .. } = outcome.met;
        Self { key, timestamp: outcome.timestamp.0, required, acknowledged }
    }
}

/// The reply to a write that met its level.
pub(super) fn written(outcome: &WriteOutcome) -> Response {
    let mut reply = axum::Json(Written::new(outcome, None)).into_response();
    reply.headers_mut().insert(TIMESTAMP, outcome.timestamp.0.into());
    // A hint alone is no replica's acknowledgement: the value is safe, but no replica has it yet.
    if outcome.met.level == Consistency::Any && outcome.met.acknowledged == 0 {
        *reply.status_mut() = StatusCode::ACCEPTED;
    }
    reply
}

/// The reply to a write under a key that the server chose.
pub(super) fn created(outcome: &WriteOutcome, table: &str, key: &str) -> Response {
    let body = Written::new(outcome, Some(key));
    let location = HeaderValue::try_from(format!("/v1/kv/{table}/{key}"))
        .expect("a table's name and a UUID have only characters that a path may have");
    let mut reply = (StatusCode::CREATED, [(LOCATION, location)], axum::Json(body)).into_response();
    reply.headers_mut().insert(TIMESTAMP, outcome.timestamp.0.into());
    reply
}

/// The reply to a read that met its level: the value, 304 if the client has it, 404 if there is none, 500 when the
/// stored bytes are in no envelope that this build knows.
pub(super) fn found(outcome: ReadOutcome, request: &HeaderMap) -> Response {
    let Some(Record { timestamp, kind }) = outcome.record else {
        return Problem::new(Kind::NotFound, "the key was never written").into_response();
    };
    let (stored, expires_at) = match kind {
        RecordKind::Plain { value } => (value, None),
        RecordKind::Expiring { value, expires_at } => (value, Some(expires_at)),
        RecordKind::Tombstone { .. } | RecordKind::Expired { .. } => return absent(timestamp),
    };
    let etag = etag(timestamp, &stored);
    let (mut headers, value) = match envelope::open(stored) {
        Ok(opened) => opened,
        Err(error) => {
            return Problem::new(Kind::ReadFailure, error.to_string()).not_sent(Access::Read).into_response();
        }
    };
    if let Some(modified) = http_date(timestamp.min(outcome.now)) {
        headers.insert(LAST_MODIFIED, modified);
    }
    headers.insert(TIMESTAMP, timestamp.0.into());
    if let Some(expires_at) = expires_at {
        headers.insert(TTL, seconds_left(expires_at, outcome.now).into());
    }
    let fresh = none_match(request, &etag);
    headers.insert(ETAG, HeaderValue::try_from(etag).expect("it is made of ASCII"));
    let mut reply = if fresh {
        headers.insert(CONTENT_LENGTH, value.len().into());
        Response::new(Body::from(value))
    } else {
        let mut reply = Response::new(Body::empty());
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    };
    *reply.headers_mut() = headers;
    reply
}

/// The reply for a key that is known to be deleted.
fn absent(timestamp: Timestamp) -> Response {
    let mut reply = Problem::new(Kind::NotFound, "the key was deleted or has expired").into_response();
    reply.headers_mut().insert(DELETED, HeaderValue::from_static("?1"));
    reply.headers_mut().insert(TIMESTAMP, timestamp.0.into());
    reply
}

/// A strong validator: two writes that differ in any stored byte or in their timestamp have different ones.
fn etag(timestamp: Timestamp, stored: &Bytes) -> String {
    format!("\"{:x}-{:016x}\"", timestamp.0, xxh3_64(stored))
}

/// Whether no entity tag of `If-None-Match` is that of the value (RFC 9110, section 13.1.2: weak comparison).
fn none_match(request: &HeaderMap, etag: &str) -> bool {
    let mut tags = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    // Our own tags have no comma, so a foreign one that is split here cannot become equal to one.
    !tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Seconds until a value expires, rounded up: a value that can be read has at least one.
pub(super) fn seconds_left(expires_at: Timestamp, now: Timestamp) -> u64 {
    expires_at.0.saturating_sub(now.0).div_ceil(1_000_000)
}

/// A date of RFC 9110; `None` beyond the year 9999, which the format cannot say.
fn http_date(timestamp: Timestamp) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = timestamp.0 / 1_000_000;
    if seconds >= YEAR_10000 {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))).ok()
}

fn consistency(level: Consistency, required: u32, acknowledged: u32) -> HeaderValue {
    HeaderValue::try_from(format!("{level}; required={required}; acknowledged={acknowledged}"))
        .expect("names of levels and numbers are ASCII")
}

fn trace_header(trace: &[TraceEvent]) -> Option<HeaderValue> {
    if trace.is_empty() {
        return None;
    }
    let trace = serde_json::to_string(&trace[..trace.len().min(MAX_TRACE_EVENTS)]).ok()?;
    HeaderValue::try_from(trace).ok()
}
