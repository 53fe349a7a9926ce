//! What the reads of single keys cost a table: how many SSTables they had to look into, and what the filters spared them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Classes of SSTables per read; the last is for that many and more.
const CLASSES: usize = 17;

/// Sums since the table was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadCosts {
    /// Reads by the number of SSTables that they looked into; the last place is for that many and more.
    pub by_sstables: [u64; CLASSES],
    /// SSTables that were not looked into thanks to their bounds and filters.
    pub spared: u64,
    /// SSTables that were looked into, and did not have the key.
    pub in_vain: u64,
}

impl ReadCosts {
    /// Reads that were counted.
    pub fn reads(&self) -> u64 {
        self.by_sstables.iter().sum()
    }

    /// SSTables that they looked into, at least.
    pub fn sstables_read(&self) -> u64 {
        self.by_sstables.iter().zip(0..).map(|(reads, sstables): (&u64, u64)| reads * sstables).sum()
    }

    /// SSTables that so great a share of the reads does not exceed; `None` without reads.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((self.reads() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.by_sstables.iter().position(|reads| {
            seen += reads;
            seen >= rank
        });
        reached.map(|sstables| sstables as u64)
    }

    /// Adds those of another table.
    pub fn add(&mut self, other: &Self) {
        self.by_sstables.iter_mut().zip(other.by_sstables).for_each(|(sum, reads)| *sum += reads);
        self.spared += other.spared;
        self.in_vain += other.in_vain;
    }
}

/// Counts them, without a lock.
#[derive(Debug, Default)]
pub(crate) struct CostMeter {
    by_sstables: [AtomicU64; CLASSES],
    spared: AtomicU64,
    in_vain: AtomicU64,
}

/// What one read has cost so far.
#[derive(Debug, Default)]
pub(crate) struct ReadCost {
    pub(crate) looked_into: usize,
    pub(crate) spared: u64,
    pub(crate) in_vain: u64,
}

impl CostMeter {
    /// Counts a read that is done.
    pub(crate) fn record(&self, cost: &ReadCost) {
        self.by_sstables[cost.looked_into.min(CLASSES - 1)].fetch_add(1, Relaxed);
        for (sum, count) in [(&self.spared, cost.spared), (&self.in_vain, cost.in_vain)] {
            if count > 0 {
                sum.fetch_add(count, Relaxed);
            }
        }
    }

    pub(crate) fn read(&self) -> ReadCosts {
        ReadCosts {
            by_sstables: self.by_sstables.each_ref().map(|reads| reads.load(Relaxed)),
            spared: self.spared.load(Relaxed),
            in_vain: self.in_vain.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_number_of_tables_that_the_share_does_not_exceed() {
        let meter = CostMeter::default();
        assert_eq!(meter.read().quantile(0.5), None);
        for looked_into in [0, 1, 1, 2, 99] {
            meter.record(&ReadCost { looked_into, spared: 1, in_vain: 0 });
        }
        let costs = meter.read();
        assert_eq!((costs.reads(), costs.spared, costs.in_vain), (5, 5, 0));
        assert_eq!(
            [0.2, 0.5, 0.8, 1.0].map(|share| costs.quantile(share)),
            [Some(0), Some(1), Some(2), Some(16)]
        );
    }
}
