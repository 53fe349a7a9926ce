//! The node's clock: the wall clock it was given, and the hybrid clock that stamps its writes.

use std::{sync::Arc, time::Duration};

use crate::{
    hybrid_clock::{HybridClock, Observed},
    time::{Timestamp, WallClock},
};

/// Shared by all parts of a node.
#[derive(Debug)]
pub(crate) struct NodeClock {
    wall: Arc<dyn WallClock>,
    hybrid: HybridClock,
    allowed_drift: Duration,
}

impl NodeClock {
    pub(crate) fn new(wall: Arc<dyn WallClock>, allowed_drift: Duration) -> Self {
        Self { wall, hybrid: HybridClock::starting_at(Timestamp(0)), allowed_drift }
    }

    /// The wall clock: expiry, deletion times and the `now` of reads.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall.now()
    }

    /// A timestamp for a write, above all that this node stamped or followed before.
    pub(crate) fn stamp(&self) -> Timestamp {
        self.hybrid.stamp(self.wall.now())
    }

    /// The reading that messages carry.
    pub(crate) fn reading(&self) -> Timestamp {
        self.hybrid.latest().max(self.wall.now())
    }

    /// Takes notice of another node's reading. One beyond the allowed drift is not followed; writes stamped with it
    /// are refused where they arrive, so nothing more is to be done about it here.
    pub(crate) fn observe(&self, remote: Timestamp) {
        if self.hybrid.observe(remote, self.wall.now(), self.allowed_drift) == Observed::TooFarAhead {
            helenus_storage::sometimes!("a remote clock was not followed");
        }
    }

    /// The highest write timestamp that is accepted now.
    pub(crate) fn latest_accepted(&self) -> Timestamp {
        later(self.wall.now(), self.allowed_drift)
    }
}

/// A timestamp and a duration; the end of time when they do not fit.
pub(crate) fn later(timestamp: Timestamp, by: Duration) -> Timestamp {
    Timestamp(timestamp.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}
