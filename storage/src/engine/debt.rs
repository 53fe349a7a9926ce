//! How far merges are behind.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::{
    compaction::{Candidate, KeySpace, most_overlapping},
    engine::Engine,
    options::Options,
    tree::View,
};

/// How far merges are behind, when the last flush or merge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionDebt {
    /// Bytes of SSTables that are due to be merged.
    pub pending_bytes: u64,
    /// SSTables due to be merged that a read of an unlucky key may have to look into, in the table where that is most.
    /// Those that are there by the strategy's choice, such as a window of time each, are no debt.
    pub sorted_runs: usize,
}

impl CompactionDebt {
    /// The larger share of [`Options::compaction_debt_runs`] and [`Options::compaction_debt_bytes`]: 1 is where
    /// writers should be stopped.
    pub fn pressure(&self, options: &Options) -> f64 {
        let runs = self.sorted_runs as f64 / options.compaction_debt_runs.max(1) as f64;
        let bytes = self.pending_bytes as f64 / options.compaction_debt_bytes.max(1) as f64;
        runs.max(bytes)
    }
}

/// The debt, to be looked at by every write.
#[derive(Debug, Default)]
pub(super) struct KnownDebt {
    pending_bytes: AtomicU64,
    sorted_runs: AtomicUsize,
    /// Held while it is measured, so that what is stored last was measured last.
    measuring: Mutex<()>,
}

impl Engine {
    /// How far merges are behind. Two loads.
    pub fn compaction_debt(&self) -> CompactionDebt {
        CompactionDebt {
            pending_bytes: self.debt.pending_bytes.load(Ordering::Relaxed),
            sorted_runs: self.debt.sorted_runs.load(Ordering::Relaxed),
        }
    }

    /// Measures the debt. To be called whenever the SSTables have changed.
    pub(super) fn measure_debt(&self) {
        let measuring = self.debt.measuring.lock();
        let (mut pending_bytes, mut sorted_runs) = (0_u64, 0);
        for tree in self.trees.load().values() {
            let view = tree.view();
            let (candidates, _) = candidates(&view, |_| true);
            let due = self.due(tree, &candidates);
            let is_due = |table: &&Candidate| due.iter().any(|tables| tables.contains(&table.id));
            let pending: Vec<Candidate> = candidates.iter().filter(is_due).cloned().collect();
            let bytes = pending.iter().map(|table| table.size_bytes);
            pending_bytes = bytes.fold(pending_bytes, u64::saturating_add);
            sorted_runs = sorted_runs.max(most_overlapping(&pending));
        }
        self.debt.pending_bytes.store(pending_bytes, Ordering::Relaxed);
        self.debt.sorted_runs.store(sorted_runs, Ordering::Relaxed);
        drop(measuring);
        self.room.open();
    }
}

/// What strategies are told of the SSTables that are free to be merged, and the key space that all are in.
pub(super) fn candidates(
    view: &View,
    is_free: impl Fn(crate::sstable::FileId) -> bool,
) -> (Vec<Candidate>, KeySpace) {
    let space = key_space(view);
    let free = view.tables.iter().filter(|table| is_free(table.file().id));
    (free.map(|table| Candidate::of(table, space)).collect(), space)
}

/// What all SSTables are in.
pub(super) fn key_space(view: &View) -> KeySpace {
    let smallest = view.tables.iter().map(|table| &table.stats().first_key).min();
    let largest = view.tables.iter().map(|table| &table.stats().last_key).max();
    match (smallest, largest) {
        (Some(smallest), Some(largest)) => KeySpace::between(smallest, largest),
        _ => KeySpace::default(),
    }
}
