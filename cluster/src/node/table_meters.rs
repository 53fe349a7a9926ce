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
    /// Tombstones on pages of scans.
    pub scanned_tombstones: Tombstones,
}

/// How many tombstones pages had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// On all pages.
    pub sum: u64,
    /// Upper bound and pages of each bucket, not cumulated; [`u64::MAX`] is no bound.
    pub buckets: Vec<(u64, u64)>,
}

/// Pages by their tombstones. A page ends after 10,000 of them.
#[derive(Debug, Default)]
pub(crate) struct PageTombstones {
    pages: [AtomicU64; BOUNDS.len()],
    sum: AtomicU64,
}

/// Upper bounds of its buckets.
const BOUNDS: [u64; 7] = [0, 1, 10, 100, 1000, 10_000, u64::MAX];

impl PageTombstones {
    /// Counts a page.
    pub(crate) fn record(&self, tombstones: u64) {
        let place = BOUNDS.iter().position(|bound| tombstones <= *bound).unwrap_or(BOUNDS.len() - 1);
        self.pages[place].fetch_add(1, Relaxed);
        self.sum.fetch_add(tombstones, Relaxed);
    }

    /// Adds what was counted.
    fn add_to(&self, total: &mut Tombstones) {
        total.sum += self.sum.load(Relaxed);
        total.buckets.resize_with(BOUNDS.len(), Default::default);
        for ((bucket, bound), pages) in total.buckets.iter_mut().zip(BOUNDS).zip(&self.pages) {
            *bucket = (bound, bucket.1 + pages.load(Relaxed));
        }
    }
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
    /// Tombstones on pages of scans.
    pub(crate) scanned: PageTombstones,
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
        let mut totals = ReplicaCounters {
            reads: none.clone(),
            writes: none,
            tombstones: 0,
            scanned_tombstones: Tombstones::default(),
        };
        PageTombstones::default().add_to(&mut totals.scanned_tombstones);
        for meter in self.by_table.load().values() {
            totals.reads.add(&meter.reads.snapshot());
            totals.writes.add(&meter.writes.snapshot());
            totals.tombstones += meter.tombstones.load(Relaxed);
            meter.scanned.add_to(&mut totals.scanned_tombstones);
        }
        totals
    }
}
