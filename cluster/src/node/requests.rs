//! What clients ask of a node, and what it answers them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use helenus_storage::{Record, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    consistency::Consistency,
    error::RequestError,
    node_id::HostId,
    scan::Bounds,
    session::{Observed, Session},
};

/// What a write does to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Store a value, for ever or for a time.
    Put {
        /// The value, envelope included.
        value: Bytes,
        /// Time to live, whole seconds.
        ttl: Option<Duration>,
    },
    /// Delete it.
    Delete,
}

/// A write as the client asked for it.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// Name of the table.
    pub table: String,
    /// The client's key.
    pub key: Bytes,
    /// What to do.
    pub change: Change,
    /// Options that reads have too.
    pub options: RequestOptions,
    /// The client's own timestamp.
    pub timestamp: Option<Timestamp>,
}

/// A read as the client asked for it.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Name of the table.
    pub table: String,
    /// The client's key.
    pub key: Bytes,
    /// Options that writes have too.
    pub options: RequestOptions,
}

/// A scan as the client asked for it: one page.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Name of the table.
    pub table: String,
    /// What of it.
    pub bounds: Bounds,
    /// The token of the page before; `None`: the first page.
    pub page: Option<Bytes>,
    /// Most items, at least one.
    pub limit: u32,
    /// Options that reads have too.
    pub options: RequestOptions,
}

/// What every request may choose.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// `None`: the table's default.
    pub consistency: Option<Consistency>,
    /// `None`: the settings' timeout.
    pub timeout: Option<Duration>,
    /// Since when its time runs; `None`: since the node was asked.
    pub since: Option<Instant>,
    /// What the client and the logs call it; `None`: the node draws an id.
    pub request_id: Option<u64>,
    /// Whether to collect a trace.
    pub trace: bool,
    /// What the client has written and read before; `None`: it does not care.
    pub session: Option<Arc<Session>>,
}

/// How a request met its level, and its trace if asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The level.
    pub level: Consistency,
    /// Replicas it required.
    pub required: u32,
    /// Replicas that had answered when the reply was made.
    pub acknowledged: u32,
    /// Steps of the request, in order; empty unless asked for.
    pub trace: Vec<TraceEvent>,
}

/// One step of a traced request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceEvent {
    /// Microseconds since the request began. What a replica did is placed as if it had been asked the moment the request
    /// was sent to it: the way of the request counts as none.
    pub at_us: u64,
    /// The node where it happened.
    pub node: HostId,
    /// What happened.
    pub what: String,
}

/// A write that met its level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The timestamp it was stored with.
    pub timestamp: Timestamp,
    /// How the level was met.
    pub met: Met,
    /// What it tells the session of the client.
    pub observed: Option<Observed>,
}

/// A read that met its level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The newest record as of `now`, tombstones included.
    pub record: Option<Record>,
    /// The read's clock.
    pub now: Timestamp,
    /// How the level was met.
    pub met: Met,
    /// What it tells the session of the client; `None` if nothing is there.
    pub observed: Option<Observed>,
}

/// A page of a scan that met its level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanOutcome {
    /// The keys that live and their newest records as of `now`, in the order of the cluster.
    pub records: Vec<(Bytes, Record)>,
    /// The page's clock.
    pub now: Timestamp,
    /// The token of the next page; `None` behind the last one. A page may be short, or empty, and have a next one.
    pub next: Option<Bytes>,
    /// How the level was met, where it was met by the fewest.
    pub met: Met,
}

/// A request that failed, with what was traced of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub error: RequestError,
    /// Steps of the request; empty unless asked for.
    pub trace: Vec<TraceEvent>,
    /// The timestamp of a write that may be applied all the same.
    pub stamped: Option<Timestamp>,
}

/// What came of the requests of a batch, in their order, once all is known.
pub async fn in_order<T>(outcomes: impl Stream<Item = (usize, T)>) -> Vec<T> {
    let outcomes: BTreeMap<usize, T> = outcomes.collect().await;
    outcomes.into_values().collect()
}
