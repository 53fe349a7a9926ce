//! The running node: the only async part, where clock, randomness, storage and peers meet. (skeleton)

pub mod identity;
pub mod transport;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use helenus_storage::{Engine, Record, Timestamp};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{
    consistency::Consistency,
    error::RequestError,
    membership::MemberState,
    message::{Message, Request, Response},
    node::{identity::LocalIdentity, transport::Transport},
    node_id::{ClusterId, HostId},
    settings::Settings,
    time::WallClock,
};

/// Where a node's tasks run, per class, so that one runtime or several is the caller's choice.
#[derive(Debug, Clone)]
pub struct Spawners {
    /// Client requests and replica work.
    pub requests: Handle,
    /// Membership.
    pub membership: Handle,
}

/// What a node is made of.
pub struct Parts {
    /// Its settings.
    pub settings: Settings,
    /// Who it is.
    pub identity: Arc<LocalIdentity>,
    /// Its storage, opened; someone else drives its steps.
    pub engine: Arc<Engine>,
    /// Its way to the other nodes.
    pub transport: Arc<dyn Transport>,
    /// Its wall clock.
    pub clock: Arc<dyn WallClock>,
    /// Seed of all its random choices.
    pub seed: u64,
    /// Where its tasks run.
    pub spawners: Spawners,
    /// Whether reads of SSTables run inline (simulation) instead of on threads for blocking work.
    pub inline_reads: bool,
}

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

/// What every request may choose.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// `None`: the table's default.
    pub consistency: Option<Consistency>,
    /// `None`: the settings' timeout.
    pub timeout: Option<Duration>,
    /// Whether to collect a trace.
    pub trace: bool,
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
    /// Microseconds since the request began.
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
}

/// A request that failed, with what was traced of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub error: RequestError,
    /// Steps of the request; empty unless asked for.
    pub trace: Vec<TraceEvent>,
}

/// Whether a node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It takes requests.
    Ready,
    /// Not yet, and why.
    Starting(String),
    /// No longer.
    Draining,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster_name: String,
    /// Its id, once known.
    pub cluster_id: Option<ClusterId>,
    /// The partitioner.
    pub partitioner: String,
    /// The node that was asked.
    pub host_id: HostId,
    /// All members, itself included, ordered by datacenter, address and host id.
    pub members: Vec<MemberStatus>,
}

/// A member as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberStatus {
    /// Its identity.
    pub host_id: HostId,
    /// Address of its peer listener.
    pub address: String,
    /// Datacenter and rack.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Whether its connection stands.
    pub up: bool,
    /// Where it is in its life.
    #[serde(serialize_with = "serialize_state")]
    pub state: MemberState,
    /// Why it is still joining, if it is and the node knows.
    pub why: Option<String>,
    /// Number of its tokens.
    pub tokens: usize,
    /// Share of the default table's data that it holds, 0 to 1.
    pub owns: f64,
    /// Bytes on disk; known of the node itself only.
    pub load_bytes: Option<u64>,
}

fn serialize_state<S: serde::Serializer>(state: &MemberState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match state {
        MemberState::Joining => "joining",
        MemberState::Normal => "normal",
    })
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its storage failed.
    #[error(transparent)]
    Storage(#[from] helenus_storage::Error),
    /// What it stored about itself contradicts its settings or does not decode.
    #[error("{0}")]
    Identity(String),
}

/// One node of the cluster.
pub struct Node {}

impl Node {
    /// Reloads the members and tables the node knew, and starts its tasks.
    ///
    /// # Errors
    /// When storage fails or holds what does not decode.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let _ = parts;
        todo!()
    }

    /// Who this node is.
    pub fn host_id(&self) -> HostId {
        todo!()
    }

    /// Answers a message of another node. Never fails: errors are answers.
    pub async fn handle(&self, request: Message<Request>) -> Message<Response> {
        let _ = request;
        todo!()
    }

    /// Coordinates a write.
    ///
    /// # Errors
    /// [`RequestError`] says what is known of the outcome.
    pub async fn write(&self, request: WriteRequest) -> Result<WriteOutcome, Failure> {
        let _ = request;
        todo!()
    }

    /// Coordinates a read.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn read(&self, request: ReadRequest) -> Result<ReadOutcome, Failure> {
        let _ = request;
        todo!()
    }

    /// Whether it serves.
    pub fn readiness(&self) -> Readiness {
        todo!()
    }

    /// The cluster as this node sees it; never waits for a peer.
    pub fn status(&self) -> ClusterStatus {
        todo!()
    }

    /// Takes no new request; requests under way go on.
    pub fn drain(&self) {
        todo!()
    }

    /// Ends its tasks. The engine is the caller's to close.
    pub async fn stop(&self) {
        todo!()
    }
}
