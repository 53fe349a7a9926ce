//! What the engine counts.

use std::sync::atomic::AtomicU64;

use super::Step;

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
    /// Merges of SSTables.
    pub compactions: u64,
    /// Bytes of the SSTables that merges wrote.
    pub compaction_written_bytes: u64,
    /// Gauge: damaged SSTables that merges leave out.
    pub set_aside: u64,
    /// Steps that failed, in the order of [`Step::ALL`].
    pub failures: [u64; Step::ALL.len()],
    /// Gauge: bytes accounted to memtables.
    pub memtable_bytes: u64,
    /// Gauge: live SSTables.
    pub sstables: u64,
    /// Gauge: bytes of live SSTables.
    pub sstable_bytes: u64,
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
    /// Merges.
    pub(super) compactions: AtomicU64,
    /// Bytes that they wrote.
    pub(super) compaction_written_bytes: AtomicU64,
    /// Steps that failed, by kind.
    pub(super) failures: [AtomicU64; Step::ALL.len()],
}
