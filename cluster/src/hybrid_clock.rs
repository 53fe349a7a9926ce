//! Hybrid logical clock: timestamps close to wall time that never run backwards.
//!
//! Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks and Consistent Snapshots in Globally
//! Distributed Databases" (2014), §3. Theirs is a pair of the highest wall time heard of and a counter for events
//! within it. Ours folds the counter into the microseconds: the next stamp is `max(wall, last + 1)`, one number that
//! records, clients and logs can all carry. Its price is that a node which stamps more than a million events a second
//! for long runs ahead of its wall clock; that a table cannot be written so fast by one node is the excuse.
//!
//! The paper follows every remote clock, so one node with a clock a year ahead takes all with it, for ever. Here a
//! remote beyond the allowed drift is not followed, and the caller is told.
//!
//! # What a stamp wins over
//!
//! A node's stamp is later than every timestamp within the drift that the node has seen before: those it stamped or
//! was given by clients as the coordinator, those of records it applied or read as a replica, those it was answered
//! when it coordinated a read, and the clock in the header of every message. So, for writes without a timestamp of the
//! client's own:
//!
//! * a write through a node wins over everything that was written or read through the same node before, and over every
//!   record of which that node is a replica and has acknowledged;
//! * a write through another node wins at once if the level of each of the two requires more than half of the replicas: while
//!   clocks are in step by its stamp; else the replicas say that they had something newer, and it is stamped once more
//!   (`outrun` among the coordinator's modules);
//! * else as soon as that node has heard, in whatever message, from one that has seen the record: after a read of it at any
//!   level that returned it, else with an exchange, an interval later at the latest.
//!
//! After a restart the clock starts above the newest timestamp that the node stores, and above all that it stamped: a
//! bound that no stamp is beyond is saved now and then. What it had merely read is heard of again with the exchanges that
//! it waits for before it serves, as long as a node that has it lives.
//!
//! Neither promise can be kept once the wall clock is wrong by more than the drift, so such a node coordinates no
//! writes: it compares its clock with what it stores and follows, and with its peers' ([`crate::membership::clock_watch`]).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::time::Timestamp;

/// The clock of one node; shared by all its threads.
#[derive(Debug)]
pub struct HybridClock {
    last: AtomicU64,
}

/// What became of a remote timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Observed {
    /// Stamps from now on are later than it.
    Followed,
    /// It is further ahead of the wall clock than allowed, and changed nothing.
    TooFarAhead,
}

impl HybridClock {
    /// A clock whose stamps are later than `persisted`, the last that an earlier process of this node may have given
    /// out.
    pub fn starting_at(persisted: Timestamp) -> Self {
        Self { last: AtomicU64::new(persisted.0) }
    }

    /// A stamp for an event at wall time `now`: later than every stamp before it, and than every remote followed.
    pub fn stamp(&self, now: Timestamp) -> Timestamp {
        let next = |last: u64| now.0.max(last.saturating_add(1));
        Timestamp(next(self.last.update(Ordering::Relaxed, Ordering::Relaxed, next)))
    }

    /// Learns from a timestamp that another node sent, unless it is more than `allowed_drift` ahead of `now`.
    pub fn observe(&self, remote: Timestamp, now: Timestamp, allowed_drift: Duration) -> Observed {
        let drift = u64::try_from(allowed_drift.as_micros()).unwrap_or(u64::MAX);
        if remote.0 > now.0.saturating_add(drift) {
            return Observed::TooFarAhead;
        }
        self.last.fetch_max(remote.0, Ordering::Relaxed);
        Observed::Followed
    }

    /// The last stamp or the highest remote followed, whichever is later: what to persist.
    pub fn latest(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::Relaxed))
    }
}
