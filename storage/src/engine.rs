//! The door of the crate: many tables behind one commit log.
//!
//! The engine is blocking code made to be called from async code. [`Engine::apply`] only queues and returns a
//! [`Ticket`]; [`Engine::try_get`] answers from memory or says that it cannot. All work that waits for the disk
//! happens inside [`Engine::step`], one bounded piece at a time, on whatever thread the caller chose: the
//! threads of [`crate::background`] in production, a seeded scheduler in the simulation.

use std::{
    future::Future,
    ops::Bound,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::{
    disk::Disk,
    error::Result,
    options::Options,
    record::{Mutation, Record},
};

/// Identifies a table within an engine, for ever: a dropped id never comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// A kind of work that waits for [`Engine::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Write the queued mutations as one group, sync it (in group mode), put them into their memtables and
    /// release their tickets.
    Commit,
    /// Sync what was written since the last sync (periodic mode; the driver calls it every `sync_interval`).
    Sync,
    /// Write the oldest switched memtable to an SSTable.
    Flush,
    /// Merge SSTables of similar size, if enough of them have piled up.
    Compact,
}

/// What one [`Engine::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// A piece of work is done; there may be more.
    Worked,
    /// There was nothing to do.
    Idle,
}

/// Answer of a read that must not block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryGet {
    /// The newest record, tombstones included; `None` when the table has never seen the key.
    Ready(Option<Record>),
    /// An SSTable has to be read: call [`Engine::get`] where blocking is allowed.
    Cold,
}

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
    /// Memtables flushed to SSTables.
    pub flushes: u64,
    /// Merges of SSTables.
    pub compactions: u64,
    /// Gauge: bytes accounted to memtables.
    pub memtable_bytes: u64,
    /// Gauge: live SSTables.
    pub sstables: u64,
    /// Gauge: bytes of live SSTables.
    pub sstable_bytes: u64,
}

/// Becomes ready when the mutation is as durable as the sync mode promises and visible to reads.
///
/// A future that needs no runtime, and a blocking [`Ticket::wait`]. Dropping it does not undo the apply.
#[derive(Debug)]
#[must_use = "an apply is not durable before its ticket is ready"]
pub struct Ticket {}

impl Ticket {
    /// Blocks until the outcome is known.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`] when the group's write or sync failed; the mutation may or may not survive.
    pub fn wait(self) -> Result<()> {
        todo!()
    }
}

impl Future for Ticket {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}

/// Called whenever a kind of work appears, from any thread and possibly inside engine calls: it must return at
/// once and must not call the engine.
pub type WorkListener = Arc<dyn Fn(Step) + Send + Sync>;

/// One storage engine over one data directory.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Opens the data directory, creating it if needed: takes its lock, reads the manifest, replays the commit
    /// log, removes orphans.
    ///
    /// # Errors
    /// [`crate::Error::Locked`], [`crate::Error::Corrupt`] for rot (file and offset), [`crate::Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, options: Options) -> Result<Self> {
        let _ = (disk, directory, options);
        todo!()
    }

    /// Registers who is told about new work, replacing an earlier listener; called at once for work that waits
    /// already.
    pub fn set_work_listener(&self, listener: WorkListener) {
        let _ = listener;
        todo!()
    }

    /// Creates a table durably. Creating one that exists is a no-op.
    ///
    /// # Errors
    /// [`crate::Error::Io`], which poisons the engine.
    pub fn create_table(&self, table: TableId) -> Result<()> {
        let _ = table;
        todo!()
    }

    /// Ids of the live tables, ascending.
    pub fn tables(&self) -> Vec<TableId> {
        todo!()
    }

    /// Whether the table holds no record at all, tombstones included. Never blocks.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`].
    pub fn is_empty(&self, table: TableId) -> Result<bool> {
        let _ = table;
        todo!()
    }

    /// Queues a mutation for the commit log and returns at once.
    ///
    /// # Errors
    /// [`crate::Error::Overloaded`] at a bound, [`crate::Error::MutationTooLarge`],
    /// [`crate::Error::NoSuchTable`], [`crate::Error::Poisoned`], [`crate::Error::Closed`]; nothing was queued.
    pub fn apply(&self, table: TableId, mutation: Mutation) -> Result<Ticket> {
        let _ = (table, mutation);
        todo!()
    }

    /// The newest record of a storage key if memory can answer: memtables, SSTable bounds and filters.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn try_get(&self, table: TableId, key: &[u8]) -> Result<TryGet> {
        let _ = (table, key);
        todo!()
    }

    /// The newest record of a storage key, tombstones included; may block on the disk.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`], [`crate::Error::Corrupt`], [`crate::Error::Io`],
    /// [`crate::Error::Poisoned`], [`crate::Error::Closed`].
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Record>> {
        let _ = (table, key);
        todo!()
    }

    /// At most `limit` newest records with keys in the range, ascending, tombstones included; may block.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn scan(
        &self,
        table: TableId,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<Vec<(Bytes, Record)>> {
        let _ = (table, range, limit);
        todo!()
    }

    /// Does one bounded piece of work of a kind. At most one call per kind runs at a time; a second one waits.
    ///
    /// # Errors
    /// [`crate::Error::Io`] or [`crate::Error::Corrupt`] of the piece. A failure that leaves durability unknown
    /// poisons the engine; a failed flush or merge leaves the tables as they were and can be tried again.
    pub fn step(&self, step: Step) -> Result<StepOutcome> {
        let _ = step;
        todo!()
    }

    /// Switches the memtables of all tables, so that [`Step::Flush`] has them to write.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`], [`crate::Error::Closed`].
    pub fn switch_memtables(&self) -> Result<()> {
        todo!()
    }

    /// Refuses new applies, commits and syncs what is queued on the calling thread, and shuts the engine; later
    /// calls answer [`crate::Error::Closed`]. Dropping an engine without closing it writes nothing.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn close(&self) -> Result<()> {
        todo!()
    }

    /// Counters and gauges for metrics.
    pub fn counters(&self) -> EngineCounters {
        todo!()
    }

    /// The failure that poisoned the engine, if one did.
    pub fn poisoned(&self) -> Option<String> {
        todo!()
    }
}
