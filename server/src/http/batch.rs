//! `/v1/batch`: many operations in one request, each with its own result.
//!
//! ```text
//! {"consistency": "quorum", "operations": [{"op": "put", "table": "t", "key": "k", "value": "v"}, …]}
//!      │ shape, all or nothing: 400 names the place, such as operations[3].ttl
//!      ▼
//!  operations, each checked by itself ── its own 400 ──────────────────────┐
//!      │ of each key its next writes, or its next reads                    ▼
//!      ▼        ▲ its next ones, once they are done              {"results": [{"status": 200, …}, …]}
//!  Node::{write_batch, read_batch} ────────────────────────────────────────┘
//! ```
//!
//! Writes go to the coordinator together, which sends those with the same replicas in one message to each; and so do reads,
//! of which it sends those that a replica is asked for in one message. Several writes of one key may be among them: they
//! are stamped in their order, and so take effect in it. A read waits for the writes of its key before it, and a write for
//! the reads; two reads of one key are made one after the other. Every operation is placed and judged by itself: there is
//! no atomicity across keys. A client that hangs up leaves what was not sent yet undone.
//!
//! No key waits for another one, with two exceptions: tables that the node does not know are looked for before anything
//! is sent, and reads that have to ask for their keys alone, as large values make them do, wait until it is
//! their turn among those of the batch.
//!
//! Reading order: this page, [`errand`], [`operation`], [`result`].

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde::Serialize;

use self::{errand::Errand, operation::Batch, result::Outcome};
use super::{
    Api,
    parameters::{self, Parameters},
    problem::{Access, Problem},
    reply,
    session::{self, SESSION},
};

mod errand;
mod operation;
mod result;

/// Longest body.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Values that one reply holds together, bytes; or one of the largest, where those may be larger.
const MAX_REPLY_BYTES: usize = 4 << 20;
/// How long after the body has come an operation may still be sent, without `timeout_ms`: a batch may name one key a
/// thousand times, and reads of it wait for writes.
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
    let begun = api.await_turn(begun, Access::Write, parameters.timeout).await?;
    let errand = Errand {
        api: &api,
        node: begun.node,
        timeout: parameters.timeout,
        deadline: begun.since + parameters.timeout.unwrap_or(PATIENCE),
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
