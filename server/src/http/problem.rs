//! Errors as `application/problem+json` (RFC 9457).
//!
//! A [`Problem`] is made where something goes wrong and rides in the extensions of an empty response up to
//! [`super::edge`], which knows the request's id and writes the body. This is the one place that knows which
//! status an error has.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency, error::RequestError, message::ReplicaError, node_id::HostId,
};
use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::Serialize;

/// The kinds of problems, in the order of their names in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    InvalidConsistency,
    InvalidKey,
    NotFound,
    NoSuchTable,
    NoSuchRoute,
    MethodNotAllowed,
    RequestTimeout,
    SchemaConflict,
    ValueTooLarge,
    KeyTooLarge,
    TargetTooLong,
    HeadersTooLarge,
    NotImplemented,
    Unavailable,
    Overloaded,
    Starting,
    Draining,
    ClockSkew,
    SessionUnavailable,
    WriteTimeout,
    ReadTimeout,
    WriteFailure,
    ReadFailure,
    StorageFull,
    StorageDamaged,
    StorageFailure,
    NoSuchMember,
    NoSuchSnapshot,
    Conflict,
    NoSuchTask,
    NoSuchSetting,
    CrossOrigin,
}

impl Kind {
    /// All of them; a kind's place is its discriminant.
    pub(crate) const ALL: [Self; 33] = [
        Self::BadRequest,
        Self::InvalidConsistency,
        Self::InvalidKey,
        Self::NotFound,
        Self::NoSuchTable,
        Self::NoSuchRoute,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::SchemaConflict,
        Self::ValueTooLarge,
        Self::KeyTooLarge,
        Self::TargetTooLong,
        Self::HeadersTooLarge,
        Self::NotImplemented,
        Self::Unavailable,
        Self::Overloaded,
        Self::Starting,
        Self::Draining,
        Self::ClockSkew,
        Self::SessionUnavailable,
        Self::WriteTimeout,
        Self::ReadTimeout,
        Self::WriteFailure,
        Self::ReadFailure,
        Self::StorageFull,
        Self::StorageDamaged,
        Self::StorageFailure,
        Self::NoSuchMember,
        Self::NoSuchSnapshot,
        Self::Conflict,
        Self::NoSuchTask,
        Self::NoSuchSetting,
        Self::CrossOrigin,
    ];

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", 400, "The request is not valid"),
            Self::InvalidConsistency => {
                ("invalid-consistency", 400, "The consistency level is not valid here")
            }
            Self::InvalidKey => ("invalid-key", 400, "The key is not valid"),
            Self::CrossOrigin => ("cross-origin", 403, "A page of another site made the request"),
            Self::NotFound => ("not-found", 404, "The key has no value"),
            Self::NoSuchTable => ("no-such-table", 404, "The table does not exist"),
            Self::NoSuchRoute => ("no-such-route", 404, "The route does not exist"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The route has no such method"),
            Self::RequestTimeout => ("request-timeout", 408, "The request took too long to arrive"),
            Self::SchemaConflict => ("schema-conflict", 409, "The schema does not allow it"),
            Self::ValueTooLarge => ("value-too-large", 413, "The value is too large"),
            Self::KeyTooLarge => ("key-too-large", 414, "The key is too large"),
            Self::TargetTooLong => ("target-too-long", 414, "The request target is too long"),
            Self::HeadersTooLarge => ("headers-too-large", 431, "The headers are too large"),
            Self::NotImplemented => ("not-implemented", 501, "This build cannot do that"),
            Self::Unavailable => ("unavailable", 503, "Too few replicas are alive"),
            Self::Overloaded => ("overloaded", 503, "The node is overloaded"),
            Self::Starting => ("starting", 503, "The node is starting"),
            Self::Draining => ("draining", 503, "The node is about to stop"),
            Self::ClockSkew => ("clock-skew", 503, "The clock of the node cannot be trusted"),
            Self::SessionUnavailable => {
                ("session-unavailable", 503, "No live replica has what the session has seen")
            }
            Self::WriteTimeout => ("write-timeout", 504, "Too few replicas acknowledged the write in time"),
            Self::ReadTimeout => ("read-timeout", 504, "Too few replicas answered the read in time"),
            Self::WriteFailure => ("write-failure", 500, "Too many replicas failed to write"),
            Self::ReadFailure => ("read-failure", 500, "Too many replicas failed to read"),
            Self::StorageDamaged => ("storage-damaged", 500, "A file of the node is damaged"),
            Self::StorageFailure => ("storage-failure", 500, "The storage of the node failed"),
            Self::StorageFull => ("storage-full", 507, "Storage is full"),
            Self::NoSuchSnapshot => ("no-such-snapshot", 404, "The node has no such snapshot"),
            Self::NoSuchMember => ("no-such-member", 404, "The cluster has no such member"),
            Self::NoSuchTask => ("no-such-task", 404, "The node has no such task"),
            Self::NoSuchSetting => ("no-such-setting", 404, "The node has no such live setting"),
            Self::Conflict => ("conflict", 409, "The state of the cluster does not allow it"),
        }
    }

    /// The last part of its type's URI.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// Whether the request of a client that meets it was carried out, as far as it went, and not refused before.
    pub(crate) fn was_carried_out(self) -> bool {
        matches!(
            self,
            Self::NotFound
                | Self::SessionUnavailable
                | Self::WriteTimeout
                | Self::ReadTimeout
                | Self::WriteFailure
                | Self::ReadFailure
                | Self::StorageFull
        )
    }

    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("each is between 400 and 599")
    }
}

/// Whether a request asks for a change; errors of writes are named apart and say what became of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may change data.
    Write,
    /// It does not.
    Read,
}

/// What is known of the outcome of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The write was sent to no replica.
    NotApplied,
    /// The write may or may not be applied.
    Unknown,
    /// A read, which has none.
    None,
}

/// One error of a request.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) field: Option<String>,
    pub(crate) level: Option<Consistency>,
    pub(crate) required: Option<u32>,
    /// Replicas that answered.
    pub(crate) received: Option<u32>,
    alive: Option<u32>,
    outcome: Option<Outcome>,
    /// Whether the connection cannot go on, because the rest of the request stays unread.
    closes: bool,
}

/// The members of the body, in their order.
#[derive(Serialize)]
struct Body9457 {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consistency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alive: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            field: None,
            level: None,
            required: None,
            received: None,
            alive: None,
            outcome: None,
            closes: false,
        }
    }

    pub(crate) fn bad_field(field: &str, detail: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, detail).about(field)
    }

    /// Names the offending part of the request.
    #[must_use]
    pub(crate) fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Says that nothing was sent to any replica.
    #[must_use]
    pub(crate) fn not_sent(mut self, access: Access) -> Self {
        self.outcome = Some(match access {
            Access::Write => Outcome::NotApplied,
            Access::Read => Outcome::None,
        });
        self
    }

    /// Says that the connection ends with this reply.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The error of a coordinator.
    pub(crate) fn of_request(error: &RequestError, access: Access) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::NoSuchTable(_) | RequestError::TableDropped(_) => {
                Self::new(Kind::NoSuchTable, detail).about("table")
            }
            RequestError::InvalidConsistency { level, .. } => Self {
                level: Some(*level),
                ..Self::new(Kind::InvalidConsistency, detail).about("consistency")
            },
            RequestError::UnsupportedConsistency(level) => {
                Self { level: Some(*level), ..Self::new(Kind::NotImplemented, detail).about("consistency") }
            }
            RequestError::InvalidBounds(bounds) => Self::bad_field(bounds.field, detail),
            RequestError::InvalidPage(_) => Self::bad_field("page", detail),
            RequestError::TimestampOutOfRange { timestamp, max } => Self::bad_field(
                "timestamp",
                format!(
                    "timestamp {} is outside 1..={}, the clock of this node plus the allowed drift",
                    timestamp.0, max.0
                ),
            ),
            RequestError::Unavailable { level, required, alive, .. } => Self {
                level: Some(*level),
                required: Some(*required),
                alive: Some(*alive),
                ..Self::new(Kind::Unavailable, detail).not_sent(access)
            },
            RequestError::ForeignSession => {
                Self::bad_field("Helenus-Session", "`Helenus-Session` is a token of another cluster")
            }
            RequestError::SessionAhead { clock, max } => Self::bad_field(
                "Helenus-Session",
                format!(
                    "`Helenus-Session` has met timestamp {}: a write above it would be beyond {}, the clock of this node \
                     plus the allowed drift",
                    clock.0, max.0
                ),
            ),
            // A read of a session, so nothing has come of it.
            RequestError::SessionUnavailable { level, required, heard, .. } => Self {
                level: Some(*level),
                required: Some(*required),
                received: Some(*heard),
                ..Self::new(Kind::SessionUnavailable, detail).not_sent(access)
            },
            RequestError::TableUnknown(_) => {
                Self::new(Kind::Unavailable, detail).about("table").not_sent(access)
            }
            RequestError::Overloaded(_) => Self::new(Kind::Overloaded, detail).not_sent(access),
            RequestError::Starting(_) => Self::new(Kind::Starting, detail).not_sent(access),
            RequestError::Draining => Self::new(Kind::Draining, detail).not_sent(access),
            RequestError::ClockSkew(_) => Self::new(Kind::ClockSkew, detail).not_sent(access),
            RequestError::Timeout { level, required, received, .. } => Self::sent(
                access,
                [Kind::WriteTimeout, Kind::ReadTimeout],
                detail,
                (*level, *required, *received),
            ),
            RequestError::Outrun { level, required, received, .. } => Self::sent(
                access,
                [Kind::WriteFailure, Kind::ReadFailure],
                detail,
                (*level, *required, *received),
            ),
            RequestError::Failed { level, required, received, failures, .. } => {
                let is_full = |(_, why): &(_, _)| matches!(why, ReplicaError::StorageFull(_));
                // Whether a write was applied stays unknown: replicas that were not heard may have done it.
                let kinds = if !failures.is_empty() && failures.iter().all(is_full) {
                    [Kind::StorageFull; 2]
                } else {
                    [Kind::WriteFailure, Kind::ReadFailure]
                };
                Self::sent(access, kinds, with_reasons(detail, failures), (*level, *required, *received))
            }
            // The enum is open: an error of a later build is at least not mistaken for a success.
            _ => Self::sent_to_someone(access, [Kind::WriteFailure, Kind::ReadFailure], detail),
        }
    }

    /// The error of a request that was sent to some replica.
    fn sent(
        access: Access,
        kinds: [Kind; 2],
        detail: String,
        (level, required, received): (Consistency, u32, u32),
    ) -> Self {
        Self {
            level: Some(level),
            required: Some(required),
            received: Some(received),
            ..Self::sent_to_someone(access, kinds, detail)
        }
    }

    fn sent_to_someone(access: Access, [of_write, of_read]: [Kind; 2], detail: String) -> Self {
        let (kind, outcome) = match access {
            Access::Write => (of_write, Outcome::Unknown),
            Access::Read => (of_read, Outcome::None),
        };
        Self { outcome: Some(outcome), ..Self::new(kind, detail) }
    }

    /// Status, headers and body, for a request with that id.
    pub(crate) fn render(&self, request_id: &str) -> (StatusCode, HeaderMap, Bytes) {
        let status = self.kind.status();
        let body = serde_json::to_vec(&self.members(Some(request_id)))
            .expect("the struct holds only texts and numbers");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // A client of a node that is about to stop had better look for another one.
        if self.closes || self.kind == Kind::Draining {
            headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
        }
        (status, headers, body.into())
    }

    /// The members of its body; without the id of a request, which one reply has, where it is one of many in a reply.
    pub(crate) fn members(&self, request_id: Option<&str>) -> impl Serialize + use<> {
        let (name, status, title) = self.kind.row();
        Body9457 {
            r#type: format!("/problems/{name}"),
            title,
            status,
            detail: self.detail.clone(),
            request_id: request_id.map(str::to_owned),
            consistency: self.level.map(|level| level.to_string()),
            required: self.required,
            received: self.received,
            alive: self.alive,
            outcome: self.outcome,
            field: self.field.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// Says how many replicas failed for which reason.
fn with_reasons(mut detail: String, failures: &[(HostId, ReplicaError)]) -> String {
    for (host, reason) in failures {
        detail.push_str(&format!("; {host}: {reason}"));
    }
    detail
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn body(problem: &Problem) -> serde_json::Value {
        serde_json::from_slice(&problem.render("0a1b").2).unwrap()
    }

    #[test]
    fn every_kind_has_its_own_place_and_name() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        for (place, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn unavailable_is_known_not_applied_and_says_required_and_alive() {
        let level = Consistency::Quorum;
        let shortages = Vec::new();
        let error = RequestError::Unavailable { level, required: 2, alive: 1, shortages, down: Vec::new() };
        let problem = Problem::of_request(&error, Access::Write);
        assert_eq!(
            body(&problem),
            serde_json::json!({
                "type": "/problems/unavailable", "title": "Too few replicas are alive", "status": 503,
                "detail": "level quorum requires 2 replicas and 1 is alive", "request_id": "0a1b",
                "consistency": "quorum", "required": 2, "alive": 1, "outcome": "not-applied"
            })
        );
        assert_eq!(problem.render("").1[RETRY_AFTER], "1");
        assert_eq!(body(&Problem::of_request(&error, Access::Read))["outcome"], "none");
    }

    #[test]
    fn silence_is_unknown_for_a_write_and_none_for_a_read() {
        let error = RequestError::Timeout {
            level: Consistency::All,
            required: 3,
            received: 2,
            silent: 1,
            lost: 0,
            timeout: Duration::from_secs(2),
            shortages: Vec::new(),
        };
        let write = body(&Problem::of_request(&error, Access::Write));
        assert_eq!((&write["type"], &write["status"]), (&"/problems/write-timeout".into(), &504.into()));
        assert_eq!((&write["received"], &write["outcome"]), (&2.into(), &"unknown".into()));
        let read = body(&Problem::of_request(&error, Access::Read));
        assert_eq!((&read["type"], &read["outcome"]), (&"/problems/read-timeout".into(), &"none".into()));
    }

    #[test]
    fn only_full_storage_everywhere_is_507() {
        let failed = |failures: &[&ReplicaError]| RequestError::Failed {
            level: Consistency::One,
            required: 1,
            received: 0,
            failures: failures.iter().map(|&error| (HostId(Uuid::nil()), error.clone())).collect(),
            shortages: Vec::new(),
        };
        let full = ReplicaError::StorageFull("write /d/1.log: No space left on device".to_owned());
        let broken = ReplicaError::Storage("sync /d/1.log: Input/output error".to_owned());
        let problem = |failures: &[&ReplicaError]| Problem::of_request(&failed(failures), Access::Write);
        assert_eq!(problem(&[&full, &full]).kind, Kind::StorageFull);
        assert_eq!(
            problem(&[&full, &full]).outcome,
            Some(Outcome::Unknown),
            "a third replica may have done it"
        );
        assert_eq!(problem(&[&full, &broken]).kind, Kind::WriteFailure);
        assert_eq!(problem(&[]).kind, Kind::WriteFailure);
        assert!(problem(&[&broken]).detail.contains("Input/output error"));
    }
}
