//! The settings of one engine. Every bound of the crate is named here.

use std::{fmt, num::NonZero, sync::Arc, thread, time::Duration};

use crate::{
    record::{Record, Timestamp},
    table_id::TableId,
    table_options::TableOptions,
};

/// When an apply counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Acknowledged after an fdatasync that covers it; one sync serves all who wait.
    #[default]
    Group,
    /// As [`SyncMode::Group`], and a sync begins as soon as the one before has ended: whoever is about to write waits
    /// for the next. The shortest wait for a few writers, and more syncs for many.
    Batch,
    /// Acknowledged once written to the operating system; synced every [`Options::sync_interval`], and earlier when
    /// much was written. A crash of the process loses nothing, a power cut up to one interval.
    Periodic,
}

/// How SSTables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessMode {
    /// Through memory maps. A disk that fails to deliver a mapped page kills the process (SIGBUS), and mapped pages count
    /// as memory of the process beyond its budgets, as long as the system leaves them there.
    Mmap,
    /// By reads into buffers: a system call and a copy more for each block that is not cached, and a failing disk
    /// is an [`Error::Io`](crate::Error::Io) of the read that hit it.
    #[default]
    Standard,
}

/// Whether SSTable blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Stored as they are.
    None,
    /// By LZ4, where it saves an eighth of the block.
    #[default]
    Lz4,
}

/// Settings of an [`Engine`](crate::Engine). Sizes in bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// When an apply counts as durable.
    pub sync_mode: SyncMode,
    /// Time between syncs in [`SyncMode::Periodic`].
    pub sync_interval: Duration,
    /// Size of a preallocated commit log segment.
    pub segment_bytes: u64,
    /// Most bytes that may wait for the commit step; beyond it `apply` answers [`crate::Error::Overloaded`].
    /// One mutation is always accepted when nothing waits.
    pub commit_queue_bytes: usize,
    /// Commit log segments that are kept to be used again when they are not needed any more, as
    /// long as something waits to be flushed and the disk was not full lately: see [`crate::Engine::switch_older`].
    pub spare_segments: usize,
    /// A memtable that accounts for this much is switched and flushed.
    pub memtable_bytes: usize,
    /// Total of all memtables, flushing ones included; from half of it on the largest is flushed when none
    /// is, beyond it `apply` answers [`crate::Error::Overloaded`].
    pub memtable_total_bytes: usize,
    /// Total of commit log segments on disk; beyond it the tables that hold the oldest are flushed, and
    /// beyond twice as much `apply` answers [`crate::Error::Overloaded`].
    pub commit_log_bytes: u64,
    /// Age at which a memtable is flushed, however little it holds; see [`crate::Engine::switch_older`].
    pub memtable_age: Option<Duration>,
    /// Longest delay of a writer who is slowed down.
    pub slow_down: Duration,
    /// How long a blocking apply waits for room before it answers [`crate::Error::Overloaded`].
    pub stall_limit: Duration,
    /// Uncompressed size of an SSTable data block.
    pub block_bytes: usize,
    /// Entries between two restart points of a block.
    pub restart_interval: usize,
    /// Target false-positive rate of bloom filters, in (0, 1).
    pub bloom_fp_rate: f64,
    /// Whether new SSTables are compressed; they are read either way.
    pub compression: Compression,
    /// How SSTables are read.
    pub access_mode: AccessMode,
    /// Size of the block cache, its bookkeeping included; with none, each read verifies and unpacks its block.
    pub block_cache_bytes: usize,
    /// Options of tables that were given none of their own.
    pub table: TableOptions,
    /// Merges that run at once.
    pub compaction_threads: usize,
    /// What merges may read of SSTables in a second, all together; zero for no limit. It rises as more is to be merged, and falls
    /// away before writers would have to stop for it.
    pub compaction_bytes_per_second: u64,
    /// SSTables due to be merged that a read may have to look into: from half of it on writers are slowed down, at it
    /// `apply` answers [`crate::Error::Overloaded`].
    pub compaction_debt_runs: usize,
    /// Bytes that wait to be merged, likewise.
    pub compaction_debt_bytes: u64,
    /// Tells merges the time, so that they can purge what was deleted and what has expired. Without it all of that
    /// stays.
    pub clock: Option<Clock>,
    /// Has a say in what merges may purge.
    pub purge_filter: Option<PurgeFilter>,
    /// Most SSTables that one merge takes.
    pub merge_max_tables: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_mode: SyncMode::Group,
            sync_interval: Duration::from_secs(1),
            segment_bytes: 32 << 20,
            commit_queue_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
            memtable_total_bytes: 256 << 20,
            commit_log_bytes: 512 << 20,
            spare_segments: 16,
            memtable_age: None,
            slow_down: Duration::from_millis(5),
            stall_limit: Duration::from_secs(10),
            block_bytes: 4 << 10,
            restart_interval: 16,
            bloom_fp_rate: 0.01,
            compression: Compression::Lz4,
            access_mode: AccessMode::default(),
            block_cache_bytes: 256 << 20,
            table: TableOptions::default(),
            compaction_threads: thread::available_parallelism().map_or(2, NonZero::get).clamp(2, 8),
            compaction_bytes_per_second: 64 << 20,
            compaction_debt_runs: 64,
            compaction_debt_bytes: 64 << 30,
            clock: None,
            purge_filter: None,
            merge_max_tables: 32,
        }
    }
}

/// A clock that the engine is given: it has none of its own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Asks the function for the time.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

type MayPurge = dyn Fn(TableId, &[u8], &Record) -> bool + Send + Sync;

/// Decides, about a tombstone or expired record that merges would purge, whether it may go: for those who know
/// which deletions all replicas have heard of.
#[derive(Clone)]
pub struct PurgeFilter(Arc<MayPurge>);

impl PurgeFilter {
    /// Asks the predicate with table, storage key and record; on a thread that merges, once or more.
    pub fn new(may_purge: impl Fn(TableId, &[u8], &Record) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_purge))
    }

    pub(crate) fn may_purge(&self, table: TableId, key: &[u8], record: &Record) -> bool {
        (self.0)(table, key, record)
    }
}

impl fmt::Debug for PurgeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PurgeFilter")
    }
}
