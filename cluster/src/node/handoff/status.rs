//! Hinted handoff in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::{handoff::RepairMark, node_id::HostId};

/// What an operator has a node do with the hints that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handoff {
    /// Keep them and deliver none, until the next start.
    Pause,
    /// Deliver them again.
    Resume,
    /// Drop all, or those for one member: what they would have brought is missing until it is repaired.
    Truncate(Option<HostId>),
    /// Forget the repair marks of all members, or of one: it was repaired.
    Repaired(Option<HostId>),
}

/// The hints that a node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HintStatus {
    /// Whether an operator has stopped the delivery.
    pub is_paused: bool,
    /// For whom there are hints, by host id.
    pub targets: Vec<HintedTarget>,
    /// Who lacks something that no hint will bring.
    pub marks: Vec<RepairMark>,
    /// What became of hints since the node started.
    pub counters: HintCounters,
}

/// The hints for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HintedTarget {
    /// The member.
    pub host_id: HostId,
    /// Runs they are in.
    pub runs: usize,
    /// Hints that wait.
    pub hints: u64,
    /// Bytes that the runs take in memory and on disk.
    pub bytes: u64,
    /// When the oldest run was opened, in microseconds since 1970.
    pub oldest_run_us: u64,
}

/// What became of hints. Of those that were reloaded or kept, each that does not wait any more was delivered, moved,
/// superseded, has expired, or is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HintCounters {
    /// Waited when the node started, by their numbers.
    pub reloaded: u64,
    /// Of these numbers, those that turned out to have no hint: it was not kept, and has left a repair mark.
    pub void: u64,
    /// Were kept.
    pub kept: u64,
    /// Were not, and left a repair mark.
    pub refused: u64,
    /// Were applied by their target.
    pub delivered: u64,
    /// Went to the present owners of their key.
    pub moved: u64,
    /// Were of a table that was dropped.
    pub superseded: u64,
    /// Were too old, refused by their target again and again, without an owner, or given up by an operator, and left a
    /// repair mark.
    pub expired: u64,
    /// Hints of other nodes that this one applied.
    pub received: u64,
}

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    reloaded: AtomicU64,
    void: AtomicU64,
    kept: AtomicU64,
    refused: AtomicU64,
    delivered: AtomicU64,
    moved: AtomicU64,
    superseded: AtomicU64,
    expired: AtomicU64,
    received: AtomicU64,
}

impl Counted {
    pub(super) fn reloaded(&self, hints: u64) {
        self.reloaded.fetch_add(hints, Ordering::Relaxed);
    }

    pub(super) fn void(&self, hints: u64) {
        self.void.fetch_add(hints, Ordering::Relaxed);
    }

    pub(super) fn kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, hints: u64) {
        self.delivered.fetch_add(hints, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn superseded(&self) {
        self.superseded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn expired(&self, hints: u64) {
        self.expired.fetch_add(hints, Ordering::Relaxed);
    }

    pub(super) fn received(&self, hints: u64) {
        self.received.fetch_add(hints, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HintCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HintCounters {
            reloaded: read(&self.reloaded),
            void: read(&self.void),
            kept: read(&self.kept),
            refused: read(&self.refused),
            delivered: read(&self.delivered),
            moved: read(&self.moved),
            superseded: read(&self.superseded),
            expired: read(&self.expired),
            received: read(&self.received),
        }
    }
}
