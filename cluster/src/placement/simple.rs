//! Replicas regardless of where nodes stand.

use std::collections::BTreeMap;

use super::Placement;
use crate::{
    membership::MemberState,
    node_id::HostId,
    partitioning::{Ring, Token},
};

/// Cassandra's SimpleStrategy: the next distinct nodes clockwise (Dynamo's preference list without its spare
/// nodes; DeCandia et al. 2007, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimpleStrategy {
    /// Replicas of each key.
    pub replication_factor: u32,
}

impl SimpleStrategy {
    /// The replicas of a token. A cluster with fewer members than the factor has fewer replicas; whether those
    /// suffice for a level is the level's business.
    ///
    /// The walk ends when it has met as many normal members as there are replicas. Whoever owns ranges and is met
    /// while natural replicas are wanted is one; all others that it meets are pending.
    pub fn place(self, ring: &Ring, token: Token) -> Placement {
        let factor = self.replication_factor as usize;
        let wanted = ring.owning_members().min(factor);
        let mut normal_left = factor;
        let mut found = Placement::default();
        for entry in ring.clockwise(token) {
            // Knowing how many there are ends the walk when the last was met, not a whole turn later.
            if normal_left == 0 || found.all().count() == ring.members() {
                break;
            }
            if found.contains(entry.host_id) {
                continue;
            }
            if entry.state == MemberState::Normal {
                normal_left -= 1;
            }
            let is_natural = entry.state.owns_ranges() && found.natural.len() < wanted;
            let replicas = if is_natural { &mut found.natural } else { &mut found.pending };
            replicas.push(entry.host_id);
        }
        found
    }

    /// Share of all keys, 0 to 1, that each member holds as a natural replica. The shares sum up to the
    /// number of replicas.
    pub fn ownership(self, ring: &Ring) -> BTreeMap<HostId, f64> {
        let mut shares = BTreeMap::new();
        for range in ring.ranges() {
            for replica in self.place(ring, range.end).natural {
                *shares.entry(replica).or_insert(0.0) += range.share();
            }
        }
        shares
    }
}
