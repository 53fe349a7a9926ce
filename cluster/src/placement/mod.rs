//! Placement: which nodes hold the replicas of a key.
//!
//! The owner of a token holds one replica; a strategy chooses the others by walking on around the ring. The answer
//! has two parts. *Natural* replicas come from the ring of the normal members: they serve reads. *Pending* ones are
//! joining members that would be replicas if they were normal: writes go to them as well, and wait for as many more
//! acknowledgements ([`crate::quorum`]), so that whichever ring a later read uses, a quorum of its replicas has seen
//! the write. Reads never ask a pending replica: it has none of the older records.
//!
//! ```text
//!     tokens     10 A     20 B     30 J (joining)     40 K (joining)     50 C            factor 2
//!     key at 25: now        C, A
//!                natural    C, A          pending    J, K
//! ```
//!
//! Each joining member is judged as if it joined alone. Rejected: the replicas on the ring of all members, joining
//! ones included. On it the key above has J and K, and with factor 1 it has J only; if K joins first, K is the
//! owner, and has missed what was written meanwhile. Alone or together, members that join first are among the ones
//! that would be replicas alone, as another joining member can only push a member out of the set.
//!
//! Reading order: [`simple`]. Strategies that know datacenters and racks go beside it.

pub mod simple;

pub use simple::SimpleStrategy;

use crate::node_id::HostId;

/// The replicas of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Members that own the key, the owner of its token first. Fewer than the replication factor if the cluster
    /// has fewer normal members.
    pub natural: Vec<HostId>,
    /// Members that are about to own it, in ring order; none of them is natural.
    pub pending: Vec<HostId>,
}

impl Placement {
    /// Natural and pending replicas: everyone a write goes to.
    pub fn all(&self) -> impl Iterator<Item = HostId> {
        self.natural.iter().chain(&self.pending).copied()
    }

    /// Whether the member is one of them.
    pub fn contains(&self, host_id: HostId) -> bool {
        self.all().any(|replica| replica == host_id)
    }
}
