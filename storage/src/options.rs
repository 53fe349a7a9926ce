//! The settings of one engine. Every bound of the crate is named here.

use std::time::Duration;

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
    /// Commit log segments that are kept to be used again when they are not needed any more.
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
    /// Merges that may be behind, as SSTables that one read may have to look at: from half of it on writers are
    /// slowed down, beyond it `apply` answers [`crate::Error::Overloaded`].
    pub merge_debt: usize,
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
    /// SSTables of similar size that make a merge worthwhile (size-tiered).
    pub merge_min_tables: usize,
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
            spare_segments: 4,
            memtable_age: None,
            merge_debt: 128,
            slow_down: Duration::from_millis(5),
            stall_limit: Duration::from_secs(10),
            block_bytes: 16 << 10,
            restart_interval: 16,
            bloom_fp_rate: 0.01,
            merge_min_tables: 4,
            merge_max_tables: 32,
        }
    }
}
