//! What the engine counts.

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::Step;
use crate::read_costs::ReadCosts;

/// Monotonic counters since the engine was opened, for metrics, and gauges of the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Syncs of the commit log.
    pub commit_log_syncs: u64,
    /// Nanoseconds spent in them.
    pub commit_log_sync_nanos: u64,
    /// Groups written to the commit log.
    pub commit_log_groups: u64,
    /// Mutations written to the commit log.
    pub commit_log_mutations: u64,
    /// Bytes written to the commit log.
    pub commit_log_written_bytes: u64,
    /// Commit log segments made before they were needed.
    pub segments_prepared: u64,
    /// Those of them that were made out of old ones.
    pub segments_recycled: u64,
    /// Memtables flushed to SSTables.
    pub flushes: u64,
    /// Bytes of the SSTables that flushes wrote.
    pub flush_written_bytes: u64,
    /// Merges of SSTables.
    pub compactions: u64,
    /// Bytes of the SSTables that merges wrote.
    pub compaction_written_bytes: u64,
    /// Gauge: merges that are under way.
    pub compactions_running: u64,
    /// Gauge: bytes of SSTables that are due to be merged.
    pub compaction_pending_bytes: u64,
    /// Writes that were held up because flushes or merges are behind.
    pub writes_slowed: u64,
    /// Writes that were refused for that reason.
    pub writes_refused: u64,
    /// Gauge: bytes that wait for the commit log.
    pub commit_queue_bytes: u64,
    /// Gauge: segments of the commit log that hold what is in no SSTable.
    pub commit_log_segments: u64,
    /// Gauge: memtables that wait for their flush.
    pub pending_flushes: u64,
    /// SSTables that reads of single keys have looked into.
    pub sstables_read: u64,
    /// Reads of single keys.
    pub reads: u64,
    /// SSTables that such reads were spared by bounds and filters.
    pub sstables_spared: u64,
    /// SSTables that such reads have looked into in vain.
    pub sstables_in_vain: u64,
    /// Gauge: damaged SSTables that merges leave out.
    pub set_aside: u64,
    /// Gauge: damaged places that the last scrub has found.
    pub scrub_damages: u64,
    /// Steps that failed, in the order of [`Step::ALL`].
    pub failures: [u64; Step::ALL.len()],
    /// Gauge: bytes accounted to memtables.
    pub memtable_bytes: u64,
    /// Gauge: live SSTables.
    pub sstables: u64,
    /// Gauge: bytes of live SSTables.
    pub sstable_bytes: u64,
    /// Gauge: bytes of SSTables that were removed, and that readers still keep on the disk.
    pub pending_delete_bytes: u64,
    /// Reads of a block that the block cache answered.
    pub block_cache_hits: u64,
    /// Reads of a block that it did not.
    pub block_cache_misses: u64,
    /// Gauge: bytes of the block cache, its bookkeeping included.
    pub block_cache_bytes: u64,
    /// Gauge: bytes of memory of the indexes of live SSTables.
    pub index_bytes: u64,
    /// Gauge: bytes of memory of the bloom filters of live SSTables.
    pub filter_bytes: u64,
}

/// The counters that nothing else keeps.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Groups written to the commit log.
    pub(super) groups: AtomicU64,
    /// Mutations in them.
    pub(super) mutations: AtomicU64,
    /// Their bytes.
    pub(super) written_bytes: AtomicU64,
    /// Segments prepared.
    pub(super) segments_prepared: AtomicU64,
    /// Segments recycled.
    pub(super) segments_recycled: AtomicU64,
    /// Memtables flushed.
    pub(super) flushes: AtomicU64,
    /// Bytes that they wrote.
    pub(super) flush_written_bytes: AtomicU64,
    /// Merges.
    pub(super) compactions: AtomicU64,
    /// Bytes that they wrote.
    pub(super) compaction_written_bytes: AtomicU64,
    /// Writes held up.
    pub(super) writes_slowed: AtomicU64,
    /// Writes refused.
    pub(super) writes_refused: AtomicU64,
    /// Damaged places that the last scrub has found.
    pub(super) scrub_damages: AtomicU64,
    /// What reads of tables have cost that are dropped.
    pub(super) dropped_reads: Mutex<ReadCosts>,
    /// Steps that failed, by kind.
    pub(super) failures: [AtomicU64; Step::ALL.len()],
}
