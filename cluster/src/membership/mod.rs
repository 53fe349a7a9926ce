//! skeleton of membership: who is in the ring, and what each node is told of the others.

use serde::{Deserialize, Serialize};

use crate::node_id::{ClusterId, Generation, HostId};
use crate::table::Table;

pub mod handshake;

/// Where a member stands in its life. Only the member itself moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// Announced, owns no read range: writes of its future ranges go to it too.
    Joining,
    /// Owns the ranges of its tokens.
    Normal,
}

/// What is known of a member. Versions are the member's own: the higher (generation, version) wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub host_id: HostId,
    /// Counts its starts.
    pub generation: Generation,
    /// Counts changes of this description within a generation.
    pub version: u64,
    /// Address of its peer listener.
    pub address: String,
    /// Datacenter and rack.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Where it stands in its life.
    pub state: MemberState,
    /// Its tokens, ascending.
    pub tokens: Vec<i64>,
}

/// What two nodes tell each other when they meet and every exchange interval after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The cluster, once the sender belongs to one.
    pub cluster_id: Option<ClusterId>,
    /// All members the sender knows, itself first.
    pub members: Vec<Member>,
    /// All tables the sender knows.
    pub tables: Vec<Table>,
    /// Whether the sender has stored or coordinated a user record, ever.
    pub has_user_records: bool,
}
