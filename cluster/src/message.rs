//! The whole conversation between nodes.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use helenus_storage::{Mutation, Record, TableId};
use serde::{Deserialize, Serialize};

use crate::{
    handoff::Grant,
    membership::{Exchange, GossipReply, GossipRequest},
    node_id::{ClusterId, Generation, HostId},
    partitioning::KeyRange,
    quorum::{Answer, AsOf, Digest, PageLimits, ReplicaPage, Wants},
    table::Table,
    time::{Timestamp, microseconds},
};

/// Classes of traffic, so that bulk never delays what must be quick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficClass {
    /// Membership.
    Control,
    /// Requests of clients.
    Request,
    /// What can wait, or is bulky: hints, and pages of scans with their repairs.
    Background,
}

impl TrafficClass {
    /// Its name, for operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Request => "request",
            Self::Background => "background",
        }
    }
}

/// What every message carries besides its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who sends it.
    pub sender: HostId,
    /// Which of its starts this is.
    pub generation: Generation,
    /// Who it is for; refused by any other node. `None` only before the two have met.
    pub target: Option<HostId>,
    /// Hash of the sender's ring.
    pub ring_version: u64,
    /// Hash of the sender's schema.
    pub schema_version: u64,
    /// How to queue it.
    pub class: TrafficClass,
    /// Time left until nobody waits for the answer any more; zero in answers.
    pub remaining: Duration,
    /// The sender's hybrid clock.
    pub timestamp: Timestamp,
    /// The client's request that it belongs to, if to one.
    pub client_request: Option<ClientRequest>,
    /// What the sender did for a traced request, in order; empty but in its answer and in its [`Request::Acknowledge`]. At
    /// most [`MAX_STEPS`] are sent.
    pub steps: Vec<Step>,
}

impl Header {
    /// Whether the answer is to tell steps.
    pub fn is_traced(&self) -> bool {
        self.client_request.is_some_and(|request| request.is_traced)
    }
}

/// A client's request, as all nodes that work on it know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRequest {
    /// Names it in the logs of all of them.
    pub id: u64,
    /// Whether answers tell steps.
    pub is_traced: bool,
}

/// As replies and logs have it: 16 hexadecimal digits.
impl Display for ClientRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.id)
    }
}

/// Most steps that one answer tells.
pub const MAX_STEPS: usize = 16;
/// Most bytes of what is told of one step; the rest is cut off.
pub const MAX_STEP_BYTES: usize = 128;

/// One step of what a node did for a traced request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Microseconds since the request came, by the node's own clock.
    pub after_us: u64,
    /// What happened.
    pub what: String,
}

/// A request or answer with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<T> {
    /// What every message carries.
    pub header: Header,
    /// The rest.
    pub body: T,
}

/// What a node asks of another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Which cluster the receiver belongs to: asked by a node that has yet to choose one, and tells nothing of it. Answered
    /// by [`Response::Shadow`].
    Shadow,
    /// Membership facts; answered by [`Response::Exchange`].
    Exchange(Exchange),
    /// What is new in the cluster, and who lives; answered by [`Response::Gossip`].
    Gossip(GossipRequest),
    /// What the sender knows of the schema; answered by [`Response::Schema`].
    Schema {
        /// Live tables, and names that were dropped.
        facts: Vec<Table>,
    },
    /// Apply fresh client writes, each on its own; answered by [`Response::Written`].
    Write {
        /// In the order in which they are applied.
        writes: Writes,
        /// What else is to be done with them.
        relay: Relay,
        /// Of each, whether it has to win over what is there, so that its receipt has to tell what does not let it.
        must_win: Vec<bool>,
    },
    /// Read one record; answered by [`Response::Record`], or by [`Response::Digest`] if that is all that is wanted.
    Read {
        /// The table.
        table: TableId,
        /// The storage key.
        key: Bytes,
        /// The coordinator's clock: the one of the whole read.
        as_of: AsOf,
        /// The record or its digest.
        wants: Wants,
    },
    /// Read several records, each on its own; answered by [`Response::Multiget`].
    Multiget {
        /// In no order that matters.
        gets: Vec<Get>,
    },
    /// Apply writes that the receiver has missed, or none to ask how much it takes; answered by [`Response::Hinted`].
    Hints {
        /// In the order of their making.
        hints: Vec<(TableId, Mutation)>,
    },
    /// What became of writes that another node has forwarded to the sender; answered by [`Response::Noted`].
    Acknowledge {
        /// What the coordinator calls the message.
        ticket: u64,
        /// Of each, in their order.
        results: Vec<Applied>,
    },
    /// Apply versions that another replica holds, whatever their timestamps; answered by [`Response::Noted`].
    Repair {
        /// The table.
        table: TableId,
        /// The mutations, each on its own.
        mutations: Vec<Mutation>,
    },
    /// Read a range from its beginning; answered by [`Response::Page`].
    Scan {
        /// The table.
        table: TableId,
        /// Its storage keys.
        range: KeyRange,
        /// The coordinator's clock: the one of the whole page.
        now: Timestamp,
        /// What ends the answer.
        limits: PageLimits,
    },
}

impl Request {
    /// The names of all kinds.
    pub const VERBS: [&str; 11] = [
        "exchange",
        "gossip",
        "schema",
        "write",
        "read",
        "hints",
        "acknowledge",
        "repair",
        "scan",
        "shadow",
        "multiget",
    ];

    /// Its name, for logs.
    pub const fn name(&self) -> &'static str {
        Self::VERBS[self.verb()]
    }

    /// The place of its name.
    pub(crate) const fn verb(&self) -> usize {
        match self {
            Self::Exchange(_) => 0,
            Self::Gossip(_) => 1,
            Self::Schema { .. } => 2,
            Self::Write { .. } => 3,
            Self::Read { .. } => 4,
            Self::Hints { .. } => 5,
            Self::Acknowledge { .. } => 6,
            Self::Repair { .. } => 7,
            Self::Scan { .. } => 8,
            Self::Shadow => 9,
            Self::Multiget { .. } => 10,
        }
    }
}

/// One read of several in a message; its fields are those of [`Request::Read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// The table.
    pub table: TableId,
    /// The storage key.
    pub key: Bytes,
    /// The coordinator's clock.
    pub as_of: AsOf,
    /// The record or its digest.
    pub wants: Wants,
}

/// What a replica holds of a key that was asked for with others.
pub type Got = Result<Answer, ReplicaError>;

/// Mutations with their final timestamps, and of which table each is.
pub type Writes = Arc<Vec<(TableId, Mutation)>>;

/// What became of a write at a replica.
pub type Applied = Result<Receipt, ReplicaError>;

/// Of a write that a replica has applied, as durable as its sync mode promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether the replica owns the key by its own ring.
    pub is_owner: bool,
    /// When the newest record was stamped that was there before and wins over the write, if there is one and the write has to
    /// win.
    #[serde(with = "microseconds")]
    pub newer: Option<Timestamp>,
}

impl Receipt {
    /// Of an owner who knows nothing that wins over the write.
    pub const PLAIN: Self = Self { is_owner: true, newer: None };
}

/// What a replica does with writes besides applying them: so that they cross to another datacenter once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relay {
    /// Nothing.
    None,
    /// Sends them on to these replicas, with [`Relay::Acknowledge`] to the sender.
    Forward {
        /// To whom.
        to: Vec<HostId>,
        /// What the sender calls the message.
        ticket: u64,
    },
    /// Tells the coordinator what became of them, and the sender too.
    Acknowledge {
        /// Whom to tell.
        coordinator: HostId,
        /// What it calls the message.
        ticket: u64,
    },
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// To [`Request::Shadow`].
    Shadow {
        /// The cluster, once the node belongs to one.
        cluster_id: Option<ClusterId>,
    },
    /// To [`Request::Exchange`].
    Exchange(Exchange),
    /// To [`Request::Gossip`].
    Gossip(GossipReply),
    /// To [`Request::Schema`]: what the node knows now.
    Schema {
        /// Live tables, and names that were dropped.
        facts: Vec<Table>,
    },
    /// To [`Request::Write`].
    Written {
        /// Of each write, in their order.
        results: Vec<Applied>,
    },
    /// To [`Request::Acknowledge`] and [`Request::Repair`]: it is done.
    Noted,
    /// The newest version the replica holds, tombstones included.
    Record(Option<Record>),
    /// The digest of it.
    Digest(Digest),
    /// To [`Request::Multiget`]. What does not fit beside the others is [`ReplicaError::TooLargeTogether`].
    Multiget {
        /// Of each read, in their order.
        answers: Vec<Got>,
    },
    /// To [`Request::Hints`].
    Hinted {
        /// So many of them, from the first on, are as durable as the replica's sync mode promises.
        applied: u32,
        /// What may be sent next.
        grant: Grant,
    },
    /// To [`Request::Scan`].
    Page(ReplicaPage),
    /// The replica could not do it.
    Failed(ReplicaError),
}

/// Why a replica did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// A bound of the replica was hit.
    #[error("overloaded: {0}")]
    Overloaded(String),
    /// The deadline had passed before it began.
    #[error("the deadline had passed")]
    Expired,
    /// The message was for another node.
    #[error("the message was for another node")]
    WrongTarget,
    /// It does not know the table.
    #[error("it does not know table {0}")]
    NoSuchTable(u32),
    /// The write's timestamp is too far ahead of its clock.
    #[error("the timestamp is ahead of its clock by more than the allowed drift")]
    ClockSkew,
    /// It is not serving yet, or no longer.
    #[error("it is not serving: {0}")]
    NotServing(String),
    /// It does not know the verb or its version.
    #[error("it does not support verb {verb} version {version}")]
    Unsupported {
        /// The verb.
        verb: u8,
        /// Its version.
        version: u8,
    },
    /// Its storage failed.
    #[error("storage: {0}")]
    Storage(String),
    /// Its storage is full. Reads go on.
    #[error("storage is full: {0}")]
    StorageFull(String),
    /// An operator has removed the sender from the cluster.
    #[error("this node was removed from the cluster")]
    Removed,
    /// The gossip was of another cluster.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// The record does not fit into one answer with the others that were asked for: it is to be asked for alone.
    #[error("the record is too large to be answered together with others")]
    TooLargeTogether,
}
