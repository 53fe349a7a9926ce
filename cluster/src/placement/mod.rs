//! Placement: which nodes hold the replicas of a key.
//!
//! The owner of a token holds one replica; a strategy chooses the others by walking on around the ring. The answer
//! has two parts. *Natural* replicas come from the ring of the members that own ranges, settling and normal: they serve
//! reads. *Pending* ones are those whose part in the key is about to begin or to end: joining members on the way to
//! own it, former owners that settling ones have pushed out. Writes go to them as well, and wait for as many more
//! acknowledgements ([`crate::quorum`]), so that whichever ring a later read uses, a quorum of its replicas has seen
//! the write. Reads never ask a pending replica.
//!
//! ```text
//!     tokens     10 A     20 B     30 J (joining)     40 K (settling)     50 C            factor 2
//!     key at 25: natural    K, C          pending    J, A
//! ```
//!
//! The rings of two nodes differ by members that are joining or settling: one node may read from such a member,
//! another not yet. So a write goes to the replicas on *every* ring that has all normal members and any of the others:
//! to all whom the walk meets until it has met as many normal members as the factor wants. No such ring has replicas
//! that lie further, since its walk ends at the latest there. With the factor n, w such members and quorum q, a write
//! that has q + (w - n) acknowledgements misses at most n - q of them, fewer than any q of the n replicas that a read
//! asks. Each of the three steps of a joining member waits until every member has heard of the one before
//! ([`crate::membership`]), so rings never differ by more (the order of Apache Cassandra's transactional metadata,
//! CEP-21: write both, read the old; write both, read the new; forget the old).
//!
//! Rejected: as pending only who is a replica on the ring of all members. With factor 1 the key above would be written
//! to J alone besides its owner; if K comes first, K is the owner and has missed it. A member that becomes normal in
//! one step: its quorum and that of a node that has not heard of it yet need not overlap.
//!
//! # Datacenters and racks
//!
//! [`NetworkTopologyStrategy`] walks once around the ring and decides in each datacenter apart. With f replicas there and
//! r racks, it takes the first member that it meets of each rack, f racks at most, and of those whose rack has one
//! already the first f - r. So no two replicas share a rack if there are racks enough:
//!
//! ```text
//!   tokens    10 N1   20 N2   30 N3   40 N4   50 N5   60 N6         one datacenter, factor 2
//!   rack         1       1       2       2       3       3          key at 25: N3, then N5 (N4 shares N3's rack)
//! ```
//!
//! The rule for writes holds here too, though a new member changes r and so may push out somebody who stands far from
//! it. On a ring, a member x is a replica in one of two ways: (a) it is the first of its rack and fewer than f racks come
//! before it; (b) it is not, and fewer than f - r others that are not the first of theirs come before it. Add a
//! member to the ring: the racks before x grow or stay; those before x that are not first of their rack, which are the
//! members before x less the racks before x, grow or stay; r grows or stays. A first one whom the new member makes a
//! later one had fewer than f racks before it if (b) takes it, since r < f then, so (a) took it before. Hence *nobody
//! becomes a replica because another joins*: the replicas of any ring are among those of the normal members' ring, and
//! the members x that are replicas on the ring of the normal members and x alone. That is who is written to, no more
//! and no less, and what each walk computes: it counts normal members only, and asks of each other one whether it would be
//! taken next. For SimpleStrategy the same rule reads as above.
//!
//! Reading order: [`simple`], [`network_topology`], [`strategy`]; [`allocation`] chooses a new node's tokens.

pub mod allocation;
pub mod network_topology;
pub mod simple;
pub mod strategy;

pub use allocation::allocate;
pub use network_topology::NetworkTopologyStrategy;
pub use simple::SimpleStrategy;
pub use strategy::Strategy;

use crate::node_id::HostId;

/// The replicas of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Members that own the key, the owner of its token first. Fewer than the replication factor if the cluster
    /// has fewer members that own ranges.
    pub natural: Vec<HostId>,
    /// Members that are about to own it, or that others may still take for owners, in ring order; none is natural.
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
