//! The door of the crate: many tables behind one commit log.
//!
//! The engine is blocking code made to be called from async code. [`Engine::apply`] only queues and returns a
//! [`Ticket`]; [`Engine::try_get`] answers from memory or says that it cannot. All work that waits for the
//! disk happens inside [`Engine::step`], one bounded piece at a time, on whatever thread the caller chose:
//! the threads of [`crate::background`] in production, a seeded scheduler in the simulation.
//!
//! ```text
//! apply ─► queue ─► step(Commit): log, sync, memtables ─► ticket
//!                      │ memtable full, log long, switch_memtables
//!                      ▼
//!                   step(Flush): SSTable, manifest, forget memtable, remove log segments
//!                      │
//!                      ▼
//!                   step(Compact): fewer SSTables, manifest, remove inputs
//! ```
//!
//! # Bounds
//!
//! What waits for the log, what waits in memtables, and the log itself are bounded by [`Options`]; at a bound
//! `apply` answers [`Error::Overloaded`], and flushing makes room.
//!
//! # Failure
//!
//! A failed write or sync of the commit log or the manifest leaves unknown what is durable, and a second try
//! may succeed without having written anything. So it poisons the engine: everything, reads too, answers
//! [`Error::Poisoned`] until the directory is opened again, which reads what is really there. So does the
//! failed sync of the directory, whoever asked for it: names that others created there may be lost with it. Any
//! other failure of a flush or merge changes nothing, and it can be tried again.
//!
//! A full disk shows where a file is created, since log segments and manifests are preallocated, and a file
//! that nothing refers to yet can be given up: that is [`Error::StorageFull`], and it does not poison. What was
//! applied is certainly not applied then, reads go on, and all works again once there is room.
//!
//! Locks, in the order in which one thread may take them: flushing or compactions, log, manifest, queue.
//!
//! Reading order: this page, `commit`, `flush`, `compact` with `compactions` and `debt`, `read`; `condition`,
//! `listener`, `counters`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{
    commit_log::{
        queue::CommitQueue,
        segment::{SegmentId, largest_mutation},
        writer::{LogWriter, SyncMeter},
    },
    compaction::Throttle,
    disk::{Disk, LockGuard},
    error::{Error, Result},
    manifest::{Edit, Manifest},
    memtable::{self, Memtable},
    options::Options,
    record::{Mutation, Timestamp},
    recovery::recover,
    sstable::{BlockCache, TableMemory},
    table_options::TableOptions,
    tree::Tree,
};

mod commit;
mod compact;
mod compactions;
mod condition;
mod counters;
mod debt;
mod flush;
mod listener;
mod read;

pub use crate::{
    commit_log::Ticket,
    scan::{ScanEnd, ScanLimits, ScanPage},
    table_id::TableId,
    tree::TryGet,
};
pub use compactions::{Compaction, CompactionKind};
pub use counters::EngineCounters;
pub use debt::CompactionDebt;
pub use listener::WorkListener;

use compactions::Compactions;
use condition::Condition;
use counters::Counted;
use debt::KnownDebt;
use listener::Listener;

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
    /// Merge or drop SSTables once, if some are due. Any number of threads may do that at once.
    Compact,
}

impl Step {
    /// All kinds; a kind's place is its discriminant.
    pub const ALL: [Self; 4] = [Self::Commit, Self::Sync, Self::Flush, Self::Compact];

    /// Its name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Sync => "sync",
            Self::Flush => "flush",
            Self::Compact => "compact",
        }
    }
}

/// What one [`Engine::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// A piece of work is done; there may be more.
    Worked,
    /// There was nothing to do.
    Idle,
}

/// One storage engine over one data directory.
#[derive(Debug)]
pub struct Engine {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: Options,
    condition: Condition,
    trees: ArcSwap<BTreeMap<TableId, Arc<Tree>>>,
    queue: CommitQueue,
    /// The commit lock: whoever holds it writes the log, inserts into memtables and switches them.
    log: Mutex<LogWriter>,
    /// The segment that is written to.
    log_newest: AtomicU64,
    /// The first segment that is still on disk.
    log_oldest: AtomicU64,
    manifest: Mutex<Manifest>,
    cache: Arc<BlockCache>,
    /// Total of all memtables.
    memtable_bytes: AtomicUsize,
    syncing: Mutex<()>,
    /// Held by a flush. Keeps flushed memtables until their last reader is gone, so that they are freed by a
    /// flush, not by an async thread that reads: that can take 100 ms.
    flushing: Mutex<Vec<Arc<Memtable>>>,
    compactions: Compactions,
    throttle: Throttle,
    debt: KnownDebt,
    listener: Listener,
    sync_meter: Arc<SyncMeter>,
    counted: Counted,
    directory_lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl Engine {
    /// Opens the data directory, creating it if needed: takes its lock, reads the manifest, replays the
    /// commit log, removes orphans.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Corrupt`] for rot (file and offset), [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, options: Options) -> Result<Self> {
        let cache = Arc::new(BlockCache::new(options.block_cache_bytes, options.block_bytes));
        let recovered = recover(&disk, directory, &options, &cache)?;
        let group_bytes = usize::try_from(options.segment_bytes / 4).unwrap_or(usize::MAX);
        let engine = Self {
            disk,
            cache,
            directory: directory.into(),
            condition: Condition::default(),
            trees: ArcSwap::from_pointee(recovered.trees),
            queue: CommitQueue::new(options.commit_queue_bytes, group_bytes),
            log_newest: AtomicU64::new(recovered.log.segment().0),
            log_oldest: AtomicU64::new(recovered.manifest.state().log_first.0),
            sync_meter: recovered.log.meter(),
            log: Mutex::new(recovered.log),
            manifest: Mutex::new(recovered.manifest),
            memtable_bytes: AtomicUsize::new(recovered.memtable_bytes),
            syncing: Mutex::default(),
            flushing: Mutex::default(),
            compactions: Compactions::default(),
            throttle: Throttle::default(),
            debt: KnownDebt::default(),
            listener: Listener::default(),
            counted: Counted::default(),
            directory_lock: Mutex::new(Some(recovered.lock)),
            options,
        };
        engine.measure_debt();
        engine.relieve(&engine.log.lock());
        Ok(engine)
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Registers who is told about new work, replacing an earlier listener; called at once for work that
    /// waits already.
    pub fn set_work_listener(&self, listener: WorkListener) {
        self.listener.set(listener);
        if !self.queue.is_empty() {
            self.listener.tell(Step::Commit);
        }
        if self.log.lock().unsynced().is_some() {
            self.listener.tell(Step::Sync);
        }
        if self.oldest_switched().is_some() {
            self.listener.tell(Step::Flush);
        }
        if self.is_merge_due() {
            self.listener.tell(Step::Compact);
        }
    }

    /// Creates a table durably, without options of its own. Creating one that exists is a no-op.
    ///
    /// # Errors
    /// [`Error::Io`], which poisons the engine; [`Error::Poisoned`], [`Error::Closed`].
    pub fn create_table(&self, table: TableId) -> Result<()> {
        self.create(table, None)
    }

    /// Creates a table durably, with these options. One that exists keeps those it has.
    ///
    /// # Errors
    /// As [`Engine::create_table`].
    pub fn create_table_with(&self, table: TableId, options: TableOptions) -> Result<()> {
        self.create(table, Some(options))
    }

    fn create(&self, table: TableId, options: Option<TableOptions>) -> Result<()> {
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        if self.trees.load().contains_key(&table) {
            return Ok(());
        }
        let mut edits = vec![Edit::CreateTable { table }];
        edits.extend(options.iter().map(|options| Edit::SetOptions { table, options: options.clone() }));
        manifest.append(&edits).inspect_err(|e| drop(self.fail(e)))?;
        let tree = Arc::new(Tree::new(Vec::new(), options));
        self.trees.rcu(|trees| {
            let mut trees = BTreeMap::clone(trees);
            trees.insert(table, Arc::clone(&tree));
            trees
        });
        Ok(())
    }

    /// Replaces the options of a table durably; merges that begin later go by them.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`], and as [`Engine::create_table`].
    pub fn set_table_options(&self, table: TableId, options: TableOptions) -> Result<()> {
        let tree = self.tree(table)?;
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        let edit = Edit::SetOptions { table, options: options.clone() };
        manifest.append(&[edit]).inspect_err(|e| drop(self.fail(e)))?;
        tree.set_options(options);
        drop(manifest);
        self.measure_debt();
        self.listener.tell(Step::Compact);
        Ok(())
    }

    /// The options that a table goes by: its own, or else those of the engine.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn table_options(&self, table: TableId) -> Result<TableOptions> {
        Ok(TableOptions::clone(&self.options_of(&*self.tree(table)?)))
    }

    /// Ids of the live tables, ascending.
    pub fn tables(&self) -> Vec<TableId> {
        self.trees.load().keys().copied().collect()
    }

    /// Whether the table holds no record at all, tombstones included. Never blocks.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn is_empty(&self, table: TableId) -> Result<bool> {
        Ok(self.tree(table)?.view().is_empty())
    }

    /// The newest write timestamp of the table's records, tombstones included; `None` if it holds none. From
    /// what memory knows of memtables and SSTables: never blocks.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn newest_timestamp(&self, table: TableId) -> Result<Option<Timestamp>> {
        Ok(self.tree(table)?.view().newest_timestamp())
    }

    /// Queues a mutation for the commit log and returns at once. Keys and values are copied, so that no
    /// larger buffer they are slices of is kept.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at a bound, [`Error::MutationTooLarge`], [`Error::Malformed`] without a row,
    /// [`Error::NoSuchTable`], [`Error::Poisoned`], [`Error::Closed`]; nothing was queued.
    pub fn apply(&self, table: TableId, mutation: Mutation) -> Result<Ticket> {
        self.condition.check()?;
        if !self.trees.load().contains_key(&table) {
            return Err(Error::NoSuchTable(table.0));
        }
        if mutation.rows.is_empty() {
            return Err(Error::Malformed { what: "a mutation without rows" });
        }
        let (size_bytes, limit_bytes) =
            (mutation.encoded_len(), largest_mutation(self.options.segment_bytes));
        if size_bytes > limit_bytes {
            return Err(Error::MutationTooLarge { size_bytes, limit_bytes });
        }
        self.check_load()?;
        let (ticket, is_first) = self.queue.push(table, memtable::detached(mutation))?;
        if is_first {
            self.listener.tell(Step::Commit);
        }
        Ok(ticket)
    }

    /// Does one bounded piece of work of a kind. At most one call per kind runs at a time, merges apart; a second
    /// one waits.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`] of the piece. A failure that leaves durability unknown
    /// poisons the engine; a failed flush or merge leaves the tables as they were and can be tried again.
    /// [`Error::Poisoned`] and [`Error::Closed`] when it is too late.
    pub fn step(&self, step: Step) -> Result<StepOutcome> {
        self.condition.check()?;
        let outcome = match step {
            Step::Commit => self.commit(),
            Step::Sync => self.sync(),
            Step::Flush => self.flush(),
            Step::Compact => self.compact(),
        };
        if outcome.as_ref().is_err_and(|error| !matches!(error, Error::Closed)) {
            self.counted.failures[step as usize].fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Switches the memtables of all tables, so that [`Step::Flush`] has them to write. Waits for a commit in
    /// progress.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn switch_memtables(&self) -> Result<()> {
        let log = self.log.lock();
        self.condition.check()?;
        let mut switched = false;
        for tree in self.trees.load().values() {
            switched |= tree.switch(log.end());
        }
        if switched {
            self.listener.tell(Step::Flush);
        }
        Ok(())
    }

    /// Refuses new applies, commits and syncs what is queued on the calling thread, and shuts the engine;
    /// later calls answer [`Error::Closed`]. A merge in progress gives up. The data directory is free when it
    /// returns. Dropping an engine without closing it writes nothing.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn close(&self) -> Result<()> {
        self.condition.check()?;
        self.queue.refuse(Error::Closed);
        loop {
            match self.commit() {
                Ok(StepOutcome::Idle) => break,
                // Those who waited were told; there is always room for the seal.
                Ok(StepOutcome::Worked) | Err(Error::StorageFull { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        self.log.lock().seal().inspect_err(|e| drop(self.fail(e)))?;
        self.condition.close();
        // Whoever is inside notices that it is too late, or finishes, before we have its lock.
        self.compactions.cancel_all();
        drop((self.flushing.lock(), self.manifest.lock()));
        self.directory_lock.lock().take();
        Ok(())
    }

    /// Counters and gauges for metrics.
    pub fn counters(&self) -> EngineCounters {
        let (mut sstables, mut sstable_bytes) = (0, 0);
        let mut memory = TableMemory::default();
        for tree in self.trees.load().values() {
            for table in &tree.view().tables {
                sstables += 1;
                sstable_bytes += table.file().length_bytes;
                let TableMemory { index, filter } = table.memory_bytes();
                memory = TableMemory { index: memory.index + index, filter: memory.filter + filter };
            }
        }
        let (block_cache_hits, block_cache_misses) = self.cache.hits_and_misses();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineCounters {
            commit_log_syncs: count(&self.sync_meter.syncs),
            commit_log_sync_nanos: count(&self.sync_meter.nanos),
            commit_log_groups: count(&self.counted.groups),
            commit_log_mutations: count(&self.counted.mutations),
            commit_log_written_bytes: count(&self.counted.written_bytes),
            flushes: count(&self.counted.flushes),
            compactions: count(&self.counted.compactions),
            compaction_written_bytes: count(&self.counted.compaction_written_bytes),
            set_aside: self.compactions.aside().len() as u64,
            failures: self.counted.failures.each_ref().map(count),
            memtable_bytes: self.memtable_bytes.load(Ordering::Relaxed) as u64,
            sstables,
            sstable_bytes,
            block_cache_hits,
            block_cache_misses,
            block_cache_bytes: self.cache.bytes(),
            index_bytes: memory.index as u64,
            filter_bytes: memory.filter as u64,
        }
    }

    /// The failure that poisoned the engine, if one did.
    pub fn poisoned(&self) -> Option<String> {
        self.condition.poisoned()
    }

    fn tree(&self, table: TableId) -> Result<Arc<Tree>> {
        self.trees.load().get(&table).map(Arc::clone).ok_or(Error::NoSuchTable(table.0))
    }

    /// Shuts the engine, since nobody knows what is durable, unless the failure says that nothing changed. All who
    /// wait, and all later calls, are told. Answers what whoever caused it is to be told.
    fn fail(&self, failure: &Error) -> Error {
        if let Error::StorageFull { .. } = failure {
            return failure.clone();
        }
        crate::sometimes!("the engine was poisoned");
        let told = self.condition.poison(failure);
        self.queue.fail(&told);
        told
    }

    /// Records edits durably; a failure poisons.
    fn record(&self, edits: &[Edit]) -> Result<()> {
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        manifest.append(edits).inspect_err(|e| drop(self.fail(e)))
    }

    /// Records which segments the log consists of, unless the manifest knows as much; a failure poisons.
    fn record_log(&self, first: SegmentId, newest: SegmentId) -> Result<()> {
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        let known = (manifest.state().log_first, manifest.state().log_newest);
        let (first, newest) = (first.max(known.0), newest.max(known.1));
        if (first, newest) == known {
            return Ok(());
        }
        manifest.append(&[Edit::Log { first, newest }]).inspect_err(|e| drop(self.fail(e)))
    }
}
