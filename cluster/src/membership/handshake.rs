//! The first words on a connection between two nodes, and who refuses whom.

use serde::{Deserialize, Serialize};

use crate::node_id::{ClusterId, Generation, HostId};

/// Version of the peer protocol this build speaks.
pub const PROTOCOL_VERSION: u16 = 2;

/// What a node says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub protocol_version: u16,
    /// Nodes of different cluster names never talk.
    pub cluster_name: String,
    /// The cluster, once the sender belongs to one.
    pub cluster_id: Option<ClusterId>,
    /// Name of the partitioner.
    pub partitioner: String,
    /// Who the sender is.
    pub host_id: HostId,
    /// Which of its starts this is.
    pub generation: Generation,
}

/// Why a node does not talk to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Different protocol versions.
    #[error("protocol version {theirs} is not {ours}")]
    ProtocolVersion {
        /// Of the node that refuses.
        ours: u16,
        /// Of the node that is refused.
        theirs: u16,
    },
    /// Different cluster names.
    #[error("cluster {theirs:?} is not {ours:?}")]
    ClusterName {
        /// Of the node that refuses.
        ours: String,
        /// Of the node that is refused.
        theirs: String,
    },
    /// Same name, but two clusters that were formed apart.
    #[error("cluster id {theirs} is not {ours}: the two clusters were formed apart")]
    ClusterId {
        /// Of the node that refuses.
        ours: ClusterId,
        /// Of the node that is refused.
        theirs: ClusterId,
    },
    /// Different partitioners.
    #[error("partitioner {theirs:?} is not {ours:?}")]
    Partitioner {
        /// Of the node that refuses.
        ours: String,
        /// Of the node that is refused.
        theirs: String,
    },
}

/// Decides whether the node that greets itself as `ours` talks to the one that sent `theirs`. Symmetric: both
/// sides come to the same verdict, with the roles exchanged.
///
/// A node that belongs to no cluster yet talks to any cluster of its name: it has yet to learn which one it joins.
///
/// # Errors
/// The first difference that matters.
pub fn check(ours: &Greeting, theirs: &Greeting) -> Result<(), Refusal> {
    if ours.protocol_version != theirs.protocol_version {
        let (ours, theirs) = (ours.protocol_version, theirs.protocol_version);
        return Err(Refusal::ProtocolVersion { ours, theirs });
    }
    if ours.cluster_name != theirs.cluster_name {
        let (ours, theirs) = (ours.cluster_name.clone(), theirs.cluster_name.clone());
        return Err(Refusal::ClusterName { ours, theirs });
    }
    if ours.partitioner != theirs.partitioner {
        let (ours, theirs) = (ours.partitioner.clone(), theirs.partitioner.clone());
        return Err(Refusal::Partitioner { ours, theirs });
    }
    match (ours.cluster_id, theirs.cluster_id) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(Refusal::ClusterId { ours, theirs }),
        _ => Ok(()),
    }
}
