//! `/v1/batch`: many operations in one request, each with its own result.
//!
//! ```text
//! {"consistency": "quorum", "operations": [{"op": "put", "table": "t", "key": "k", "value": "v"}, …]}
//!      │ shape, all or nothing: 400 names the place, such as operations[3].ttl
//!      ▼
//!  operations, each checked by itself ── its own 400 ──────────────────────┐
//!      │ by key: those of one key in their order, others concurrently      ▼
//!      ▼                                                        {"results": [{"status": 200, …}, …]}
//!  Node::{read, write} ────────────────────────────────────────────────────┘
//! ```
//!
//! Every operation is a request of its own to the coordinator, which counts, places and judges it: there is no
//! atomicity across keys. A client that hangs up leaves what was not sent yet undone.
//!
//! Reading order: this page, [`operation`], [`result`].

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use helenus_cluster::{
    node::Change,
    session::{Observed, Session},
    time::Timestamp,
};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use self::{
    operation::{Asked, Batch},
    result::Outcome,
};
use super::{
    Api, Coordinate,
    parameters::{self, Parameters},
    problem::{Access, Kind, Problem},
    reply,
    session::{self, SESSION},
};
use crate::telemetry::Operation;

mod operation;
mod result;

/// Longest body.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Keys of one batch that are worked on at once.
const CONCURRENT_KEYS: usize = 32;
/// Values that one reply holds together, bytes; or one of the largest, where those may be larger.
const MAX_REPLY_BYTES: usize = 4 << 20;
/// How long after the body has come an operation may still be sent, without `timeout_ms`: a batch may name one key a
/// thousand times, and each waits for the one before.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

/// `POST`: do them all.
pub(super) async fn run(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let parameters =
        Parameters::parse(head.uri.query(), &head.headers, parameters::OF_BATCH, Access::Write)?.of(&head);
    let begun = api.begin_request_with_room(Access::Write)?;
    let bodies = api.bodies.of_at_most(MAX_BODY_BYTES.min(api.limits.body_bytes_in_flight));
    let first = bodies.begin(&body)?;
    let mut bytes = Vec::with_capacity(first.bytes());
    // Held until all is done: the values live as long.
    let _held = bodies.read(body, first, &mut bytes).await?;
    let batch = Batch::parse(&bytes)?;
    drop(bytes);
    let errand = Errand {
        api: &api,
        node: begun.node,
        timeout: parameters.timeout,
        deadline: Instant::now() + parameters.timeout.unwrap_or(PATIENCE),
        room: AtomicUsize::new(MAX_REPLY_BYTES.max(api.limits.max_value_bytes)),
        after: Mutex::new(session::after(parameters.session.as_deref(), None)),
        before: parameters.session,
        request_id: parameters.request_id,
    };
    let results = errand.run(batch).await;
    let mut reply = Json(Results { results }).into_response();
    reply.headers_mut().insert(SESSION, session::header(&mut errand.after.lock()));
    reply::name_coordinator(&api, reply.headers_mut());
    Ok(reply)
}

/// One batch on its way.
struct Errand<'a> {
    api: &'a Api,
    node: &'a dyn Coordinate,
    /// What the client gave the whole batch.
    timeout: Option<Duration>,
    deadline: Instant,
    /// How many bytes of values the reply still has room for.
    room: AtomicUsize,
    /// The client's session, if it gave one.
    before: Option<Arc<Session>>,
    /// What the logs call all of its operations.
    request_id: Option<u64>,
    /// It, with all that was done since.
    after: Mutex<Session>,
}

impl Errand<'_> {
    /// The results, in the order of the operations.
    async fn run(&self, batch: Batch) -> Vec<Outcome> {
        let mut results: Vec<Option<Outcome>> = Vec::new();
        let mut by_key: BTreeMap<(String, Bytes), Vec<(usize, Asked)>> = BTreeMap::new();
        for (place, checked) in batch.checked(self.api.limits.max_value_bytes).enumerate() {
            results.push(None);
            match checked {
                Ok(asked) => by_key.entry(asked.place()).or_default().push((place, asked)),
                Err(problem) => results[place] = Some(Outcome::from(problem)),
            }
        }
        let mut answered = stream::iter(by_key.into_values().map(|asked| self.one_after_the_other(asked)))
            .buffer_unordered(CONCURRENT_KEYS);
        while let Some(outcomes) = answered.next().await {
            for (place, outcome) in outcomes {
                results[place] = Some(outcome);
            }
        }
        results.into_iter().flatten().collect()
    }

    /// The operations on one key. Each is sent when the one before has its verdict, and stamped later.
    async fn one_after_the_other(&self, operations: Vec<(usize, Asked)>) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut session = self.before.clone();
        for (place, asked) in operations {
            outcomes.push((place, self.carry_out(asked, &mut session).await));
        }
        outcomes
    }

    /// `session` is the client's, with what was done to this key before; none if the client gave none.
    async fn carry_out(&self, mut asked: Asked, session: &mut Option<Arc<Session>>) -> Outcome {
        let start = Instant::now();
        let left = self.deadline.saturating_duration_since(start);
        if left.is_zero() {
            let detail = "the time of the batch was over before this operation was sent";
            return Problem::new(Kind::Overloaded, detail).not_sent(asked.access()).into();
        }
        // Otherwise each has the time that the node gives to one read or write.
        asked.options_mut().timeout = self.timeout.map(|_| left);
        asked.options_mut().session.clone_from(session);
        asked.options_mut().request_id = self.request_id;
        let (operation, level, outcome) = match asked {
            Asked::Read(request) => match self.node.read(request).await {
                Ok(read) => {
                    self.note(session, read.observed.as_ref());
                    (Operation::Get, Some(read.met.level), Outcome::of_read(read, &self.room))
                }
                Err(failure) => (Operation::Get, None, Outcome::of_failure(&failure, Access::Read)),
            },
            Asked::Write(request) => {
                let operation =
                    if request.change == Change::Delete { Operation::Delete } else { Operation::Put };
                match self.node.write(request).await {
                    Ok(written) => {
                        self.note(session, written.observed.as_ref());
                        (operation, Some(written.met.level), Outcome::of_write(&written))
                    }
                    Err(failure) => {
                        self.follow(session, failure.stamped);
                        (operation, None, Outcome::of_failure(&failure, Access::Write))
                    }
                }
            }
        };
        let level = level.or(outcome.level());
        self.api.metrics.record(operation, level, outcome.problem(), start.elapsed());
        outcome
    }

    fn note(&self, of_key: &mut Option<Arc<Session>>, observed: Option<&Observed>) {
        let Some(observed) = observed else { return };
        self.after.lock().note(observed);
        if let Some(session) = of_key {
            Arc::make_mut(session).note(observed);
        }
    }

    fn follow(&self, of_key: &mut Option<Arc<Session>>, stamped: Option<Timestamp>) {
        let Some(stamped) = stamped else { return };
        self.after.lock().follow(stamped);
        if let Some(session) = of_key {
            Arc::make_mut(session).follow(stamped);
        }
    }
}
