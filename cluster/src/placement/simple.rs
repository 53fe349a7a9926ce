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
    /// A joining member is pending if it is met before the last natural replica: then it would be a replica if it
    /// alone joined.
    pub fn place(self, ring: &Ring, token: Token) -> Placement {
        // Knowing how many there are ends the walk when the last was met, not a whole turn later.
        let wanted = ring.normal_members().min(self.replication_factor as usize);
        let is_whole = self.replication_factor as usize > ring.normal_members();
        let met_all = |found: &Placement| {
            let joiners_left = is_whole && found.pending.len() < ring.joining_members();
            found.natural.len() == wanted && !joiners_left
        };
        let mut found = Placement::default();
        for entry in ring.clockwise(token) {
            if met_all(&found) {
                break;
            }
            let replicas = match entry.state {
                MemberState::Normal => &mut found.natural,
                MemberState::Joining => &mut found.pending,
            };
            if !replicas.contains(&entry.host_id) {
                replicas.push(entry.host_id);
            }
        }
        found
    }

    /// Share of all keys, 0 to 1, that each normal member holds as a natural replica. The shares sum up to the
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
