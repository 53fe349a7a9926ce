//! The strategy of a table.

use std::collections::BTreeMap;

use super::{NetworkTopologyStrategy, Placement, SimpleStrategy};
use crate::{
    node_id::HostId,
    partitioning::{Ring, Token},
    table::Replication,
};

/// A strategy with its factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy<'a> {
    /// Regardless of where nodes stand.
    Simple(SimpleStrategy),
    /// By datacenter and rack.
    NetworkTopology(NetworkTopologyStrategy<'a>),
}

impl<'a> From<&'a Replication> for Strategy<'a> {
    fn from(replication: &'a Replication) -> Self {
        match replication {
            Replication::Simple { factor } => Self::Simple(SimpleStrategy { replication_factor: *factor }),
            Replication::NetworkTopology { factors } => {
                Self::NetworkTopology(NetworkTopologyStrategy { factors })
            }
        }
    }
}

impl Strategy<'_> {
    /// The replicas of a token.
    pub fn place(self, ring: &Ring, token: Token) -> Placement {
        match self {
            Self::Simple(strategy) => strategy.place(ring, token),
            Self::NetworkTopology(strategy) => strategy.place(ring, token),
        }
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
