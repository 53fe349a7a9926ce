//! A history: every operation of every client, and everything that was done to the cluster meanwhile.
//!
//! It is what the checkers judge, so it says only what a client can know. An operation has an interval, from just
//! before it was sent until just after its answer came, both on one monotonic clock ([`Moment`]); where inside of
//! that interval it took effect is not known. Its [`Outcome`] is ok, failed (known not applied) or unknown; an unknown
//! write may take effect at any later time, or never. Values are unique ([`ValueId`]), so a read names the one
//! write it saw. Store timestamps ([`Timestamp`]) are another clock altogether and a type of their own: comparing the
//! two is the classic mistake of checkers.
//!
//! A history file is JSON lines, written as things happen, so a run of hours needs no memory:
//!
//! ```text
//! {"header":{"format":3,"seed":1,…}}
//! {"operation":{"id":0,"client":3,"key":"register/7","action":{"write":{"value":12}},…}}
//! {"fault":{"fault":{"kill":{"node":2}},"from":120000,"until":3400000}}
//! {"view":{…}}
//! {"end":{"operations":1,"faults":1,"views":1}}
//! ```
//!
//! The end line tells a complete history from the front part of one: a write that is missing would make its value look
//! invented. Lines stand in the order in which things ended; [`History`] orders them by when they began.
//!
//! Reading order: `operation`, `need`, `fault`, `file`.

mod fault;
mod file;
mod need;
mod operation;

pub use fault::{Fault, FaultEvent, MemberView, Silence, View};
pub use file::{FileError, Recorder};
pub use need::{Datacenter, Need};
pub use operation::{
    Acknowledgement, Action, IN_MANY_PAGES, Level, Moment, Operation, Outcome, Phase, Seen, Timestamp,
    ValueId,
};
use serde::{Deserialize, Serialize};

/// The version of the file format.
pub const FORMAT: u32 = 3;

/// What a history is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Every choice of the run came from it.
    pub seed: u64,
    /// The version of what was tested.
    pub version: String,
    /// Nodes 1..=nodes.
    pub nodes: u32,
    /// Replicas of each key.
    pub factor: u32,
    /// Where nodes stand, if the replicas are counted by datacenter; to levels, none are one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datacenters: Vec<Datacenter>,
    /// An operation that has no answer after that many microseconds is given up by its client.
    pub deadline_us: u64,
    /// Microseconds after which a deletion may be forgotten.
    pub tombstone_grace_us: u64,
}

/// A whole history, ordered: operations by (invoked, client, id), faults by (from, until), views by (at, node).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// What it is of.
    pub header: Header,
    /// What the clients did.
    pub operations: Vec<Operation>,
    /// What was done to the cluster.
    pub faults: Vec<FaultEvent>,
    /// What nodes said of the cluster.
    pub views: Vec<View>,
}

impl History {
    /// An empty history.
    pub fn new(header: Header) -> Self {
        Self { header, operations: Vec::new(), faults: Vec::new(), views: Vec::new() }
    }

    /// Puts everything into its order. Whoever fills a history by hand calls it before checking.
    pub fn sort(&mut self) {
        self.operations.sort_by_key(|operation| (operation.invoked, operation.client, operation.id));
        self.faults.sort_by_key(|event| (event.from, event.until));
        self.views.sort_by_key(|view| (view.at, view.node));
    }

    /// Whether two operations always share a replica.
    pub fn overlap(&self, a: &Operation, b: &Operation) -> bool {
        self.header.overlap(&self.header.need(a), &self.header.need(b))
    }
}
