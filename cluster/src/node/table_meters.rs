//! What this node does as a replica, per table: how often, and how long it takes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use helenus_storage::TableId;

use crate::histogram::{Histogram, Snapshot};

/// What a node has done as a replica since it started.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaCounters {
    /// How long reads took.
    pub reads: Snapshot,
    /// How long writes took.
    pub writes: Snapshot,
    /// Reads that found a tombstone.
    pub tombstones: u64,
}

/// Local reads and writes of one table, without a lock.
#[derive(Debug, Default)]
pub(crate) struct TableMeter {
    /// How long reads took.
    pub(crate) reads: Histogram,
    /// How long writes took, the sync of the log included.
    pub(crate) writes: Histogram,
    /// Reads that found a tombstone.
    pub(crate) tombstones: AtomicU64,
}

/// The meters of all tables that were used since the node started.
#[derive(Debug, Default)]
pub(crate) struct TableMeters {
    by_table: ArcSwap<BTreeMap<TableId, Arc<TableMeter>>>,
}

impl TableMeters {
    /// That of a table which exists.
    pub(crate) fn of(&self, table: TableId) -> Arc<TableMeter> {
        if let Some(meter) = self.by_table.load().get(&table) {
            return Arc::clone(meter);
        }
        let new = Arc::<TableMeter>::default();
        self.by_table.rcu(|meters| {
            let mut meters = BTreeMap::clone(meters);
            meters.entry(table).or_insert_with(|| Arc::clone(&new));
            meters
        });
        self.by_table.load().get(&table).map_or(new, Arc::clone)
    }

    /// Those of all tables together.
    pub(crate) fn totals(&self) -> ReplicaCounters {
        let none = Histogram::default().snapshot();
        let mut totals = ReplicaCounters { reads: none.clone(), writes: none, tombstones: 0 };
        for meter in self.by_table.load().values() {
            totals.reads.add(&meter.reads.snapshot());
            totals.writes.add(&meter.writes.snapshot());
            totals.tombstones += meter.tombstones.load(Relaxed);
        }
        totals
    }
}
