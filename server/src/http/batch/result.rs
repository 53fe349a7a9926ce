//! How one operation of a batch ended.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency,
    node::{Failure, Met, ReadOutcome, WriteOutcome},
    time::Timestamp,
};
use helenus_storage::{Record, RecordKind};
use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName},
};
use serde::{Serialize, Serializer};

use crate::http::{
    envelope,
    problem::{Access, Kind, Problem},
    reply::seconds_left,
};

/// The members of a result, in their order.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Of a value that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<u32>,
    /// Whether the absence is that of a tombstone, which `timestamp` is of.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "members")]
    problem: Option<Problem>,
}

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        Self { status: problem.kind.status().as_u16(), problem: Some(problem), ..Self::default() }
    }
}

impl Outcome {
    pub(super) fn of_failure(failure: &Failure, access: Access) -> Self {
        Problem::of_request(&failure.error, access).into()
    }

    pub(super) fn of_write(outcome: &WriteOutcome) -> Self {
        let Met { level, required, acknowledged, .. } = outcome.met;
        let is_hint = level == Consistency::Any && acknowledged == 0;
        let status = if is_hint { StatusCode::ACCEPTED } else { StatusCode::OK };
        Self {
            status: status.as_u16(),
            timestamp: Some(outcome.timestamp.0),
            required: Some(required),
            acknowledged: Some(acknowledged),
            ..Self::default()
        }
    }

    /// `room` is how many bytes of values the reply can still take.
    pub(super) fn of_read(read: ReadOutcome, room: &AtomicUsize) -> Self {
        let ReadOutcome { record, now, met, .. } = read;
        let Some(Record { timestamp, kind }) = record else {
            return Problem::new(Kind::NotFound, "the key was never written").into();
        };
        let (stored, expires_at) = match kind {
            RecordKind::Plain { value } => (value, None),
            RecordKind::Expiring { value, expires_at } => (value, Some(expires_at)),
            RecordKind::Tombstone { .. } | RecordKind::Expired { .. } => {
                let absent = Problem::new(Kind::NotFound, "the key was deleted or has expired");
                return Self { timestamp: Some(timestamp.0), deleted: true, ..absent.into() };
            }
        };
        Self::of_value(stored, timestamp, room).map_or_else(Self::from, |found| Self {
            ttl: expires_at.map(|expires_at| seconds_left(expires_at, now)),
            required: Some(met.required),
            acknowledged: Some(met.acknowledged),
            ..found
        })
    }

    fn of_value(stored: Bytes, timestamp: Timestamp, room: &AtomicUsize) -> Result<Self, Problem> {
        let (headers, value) = envelope::open(stored)
            .map_err(|error| Problem::new(Kind::ReadFailure, error.to_string()).not_sent(Access::Read))?;
        let bytes = value.len();
        room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes)).map_err(
            |_| {
                let detail = "the values of this batch are too large for one reply: read this key in another";
                Problem::new(Kind::ValueTooLarge, detail).not_sent(Access::Read)
            },
        )?;
        let (value, value_base64) = match std::str::from_utf8(&value) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&value))),
        };
        Ok(Self {
            status: StatusCode::OK.as_u16(),
            value,
            value_base64,
            timestamp: Some(timestamp.0),
            content_type: text_of(&headers, &CONTENT_TYPE),
            content_encoding: text_of(&headers, &CONTENT_ENCODING),
            ..Self::default()
        })
    }

    /// The level of an operation that failed, if it got as far.
    pub(super) fn level(&self) -> Option<Consistency> {
        self.problem.as_ref().and_then(|problem| problem.level)
    }

    pub(super) fn problem(&self) -> Option<Kind> {
        self.problem.as_ref().map(|problem| problem.kind)
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn members<S: Serializer>(problem: &Option<Problem>, serializer: S) -> Result<S::Ok, S::Error> {
    problem.as_ref().map(|problem| problem.members(None)).serialize(serializer)
}
