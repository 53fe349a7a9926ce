//! Replicas regardless of where nodes stand.

use std::collections::BTreeMap;

use super::Placement;
use crate::{
    membership::MemberState,
    node_id::HostId,
    partitioning::{Ring, RingEntry, Token},
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
    pub fn place(self, ring: &Ring, token: Token) -> Placement {
        let normal = ring.clockwise(token).filter(|entry| entry.state == MemberState::Normal);
        let natural = self.distinct(normal, ring.normal_members());
        if ring.all_members() == ring.normal_members() {
            return Placement { natural, pending: Vec::new() };
        }
        let mut pending = self.distinct(ring.clockwise(token), ring.all_members());
        pending.retain(|replica| !natural.contains(replica));
        Placement { natural, pending }
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

    /// The first distinct members, at most the factor and at most the `present`: knowing how many there are ends
    /// the walk when the last was met, not a whole turn later.
    fn distinct<'a>(self, entries: impl Iterator<Item = &'a RingEntry>, present: usize) -> Vec<HostId> {
        let wanted = present.min(self.replication_factor as usize);
        let mut found: Vec<HostId> = Vec::with_capacity(wanted);
        for entry in entries {
            if found.len() == wanted {
                break;
            }
            if !found.contains(&entry.host_id) {
                found.push(entry.host_id);
            }
        }
        found
    }
}
