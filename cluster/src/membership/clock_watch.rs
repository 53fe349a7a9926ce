//! Whether this node's clock agrees with its peers'.
//!
//! A node cannot tell from its own clock that it is wrong, and replicas refuse only what comes from the future: an
//! hour behind, its writes are acknowledged and lose against all others; an hour ahead, its own replica keeps them, and
//! they win for an hour. So each exchange is used to compare clocks, and the median decides: as long as most of the
//! live nodes have the right time, it is right.
//!
//! A peer is compared by the timestamp in the header of its answer. That is its hybrid clock, which is its wall clock
//! or what it follows ahead of it, by the allowed drift at most: it is the time that the peer's writes will be stamped
//! with, so it is the one to agree with. A node whose peers are too far ahead to be followed cannot win over what they
//! write, whichever way they came there.
//!
//! Of two nodes nobody can tell which is wrong: ties go to this node's own clock, so both go on, and each refuses what
//! comes from too far ahead. The finer watch, by timestamps of its own and kept over time, comes with gossip.

use std::collections::BTreeMap;

use crate::{node_id::HostId, time::Timestamp};

/// How far the clocks of the live peers are ahead of this node's, in microseconds; less than zero is behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClockWatch {
    offsets: BTreeMap<HostId, i64>,
}

impl ClockWatch {
    /// An exchange with a live peer has shown its offset ([`offset_between`]).
    pub fn note(&mut self, peer: HostId, offset: i64) {
        self.offsets.insert(peer, offset);
    }

    /// A peer is down: what its clock said is no witness any more.
    pub fn forget(&mut self, peer: HostId) {
        self.offsets.remove(&peer);
    }

    /// How far the median of all live clocks, this node's included, is ahead of this node's.
    pub fn offset(&self) -> i64 {
        median_with_own(self.offsets.values().copied())
    }
}

/// How far a peer's clock, which it read as `theirs`, is ahead of this node's, which read `sent` before the request and
/// `received` after the answer. The peer's reading was made somewhere in between, and all that is possible there
/// counts as no offset: a slow answer is not a wrong clock. (The middle of the round trip would be the better guess,
/// but it is off by half of the round trip at worst, and a false alarm here turns writes away.)
pub fn offset_between(theirs: Timestamp, sent: Timestamp, received: Timestamp) -> i64 {
    // A wall clock may have been set back meanwhile.
    let (earliest, latest) = (sent.min(received), sent.max(received));
    let nearest = theirs.clamp(earliest, latest);
    let ahead = i128::from(theirs.0) - i128::from(nearest.0);
    i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
}

/// The median of these offsets and of zero, this node's own. Of two in the middle it is the one nearer to zero; since
/// zero is among the offsets, both are on the same side of it.
pub fn median_with_own(peers: impl IntoIterator<Item = i64>) -> i64 {
    let mut offsets: Vec<i64> = peers.into_iter().chain([0]).collect();
    offsets.sort_unstable();
    let (lower, upper) = (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2]);
    if lower.unsigned_abs() <= upper.unsigned_abs() { lower } else { upper }
}
