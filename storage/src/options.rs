//! The settings of one engine. Every bound of the crate is named here.

use std::time::Duration;

/// When an apply counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Acknowledged after an fdatasync that covers it; one sync serves all who wait.
    #[default]
    Group,
    /// Acknowledged once written to the operating system; synced every [`Options::sync_interval`]. A crash of
    /// the process loses nothing, a power cut up to one interval.
    Periodic,
}

/// How SSTables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessMode {
    /// Through memory maps. A disk that fails to deliver a mapped page kills the process (SIGBUS).
    #[default]
    Mmap,
    /// By reads into buffers: a system call and a copy more for each block that is not cached, and a failing disk
    /// is an [`Error::Io`](crate::Error::Io) of the read that hit it.
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
    /// A memtable that accounts for this much is switched and flushed.
    pub memtable_bytes: usize,
    /// Total of all memtables, flushing ones included; from half of it on the largest is flushed when none
    /// is, beyond it `apply` answers [`crate::Error::Overloaded`].
    pub memtable_total_bytes: usize,
    /// Total of commit log segments on disk; beyond it the tables that hold the oldest are flushed, and
    /// beyond twice as much `apply` answers [`crate::Error::Overloaded`].
    pub commit_log_bytes: u64,
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
            block_bytes: 4 << 10,
            restart_interval: 16,
            bloom_fp_rate: 0.01,
            compression: Compression::Lz4,
            access_mode: AccessMode::Mmap,
            block_cache_bytes: 256 << 20,
            merge_min_tables: 4,
            merge_max_tables: 32,
        }
    }
}
