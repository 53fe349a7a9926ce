//! Whom one node takes for alive, suspected or dead, and why.

use serde::Serialize;

use super::{
    gossip::{self, GossipedMember, PeerHealth},
    source::Source,
};
use crate::node_id::HostId;

/// The failure detector of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureDetectorReport {
    /// The node that was asked.
    pub host_id: HostId,
    /// Suspicion from which on a peer is probed.
    pub threshold: f64,
    /// Peers that were taken for dead since the node started, each time counted.
    pub convictions: u64,
    /// All peers, ordered by address.
    pub peers: Vec<WatchedPeer>,
}

/// A peer that is watched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WatchedPeer {
    /// Its identity.
    pub host_id: HostId,
    /// Address of its peer listener.
    pub address: String,
    /// How it stands.
    #[serde(flatten)]
    pub health: PeerHealth,
}

/// What the node believes now.
pub(in crate::node) fn of(source: &Source) -> FailureDetectorReport {
    let gossip = gossip::of(source);
    let peer = |member: GossipedMember| {
        Some(WatchedPeer { host_id: member.host_id, address: member.address, health: member.peer? })
    };
    let mut peers: Vec<WatchedPeer> = gossip.members.into_iter().filter_map(peer).collect();
    peers.sort_by(|a, b| (&a.address, a.host_id).cmp(&(&b.address, b.host_id)));
    FailureDetectorReport {
        host_id: gossip.host_id,
        threshold: source.settings.phi_threshold,
        convictions: gossip.convictions,
        peers,
    }
}
