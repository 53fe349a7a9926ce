//! The door of the crate: many tables behind one commit log.
//!
//! The engine is blocking code made to be called from async code. [`Engine::apply`] only queues and returns a
//! [`Ticket`]; [`Engine::try_get`] answers from memory or says that it cannot. All work that waits for the
//! disk happens inside [`Engine::step`], one bounded piece at a time, on whatever thread the caller chose:
//! the threads of [`crate::background`] in production, a seeded scheduler in the simulation. A thread that may block
//! need not wait for another one: [`Engine::apply_and_wait`] does all of a commit itself.
//!
//! ```text
//! apply ─► queue ─► step(Commit) ─┐
//!                                 ├─► log, sync, memtables ─► ticket, or return
//! apply_and_wait ─────────────────┘     │ memtable full or old, memory half used, log long, flush_table
//!                                       ▼
//!                   step(Flush): SSTable, manifest, forget memtable, remove log segments or keep them as spares
//!                      │                                                  │
//!                      ▼                                                  ▼
//!                   step(Compact): fewer SSTables, manifest            step(Prepare): the next segment
//! ```
//!
//! # Bounds
//!
//! What waits for the log, what waits in memtables, the log itself, and how far merges are behind are bounded by
//! [`Options`]; near a bound writers are slowed down, at it `apply` answers [`Error::Overloaded`] and blocking writers
//! wait, until flushing or merging has made room: see `pressure`.
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
//! that nothing refers to yet can be given up: that is [`Error::StorageFull`], and it does not poison; nor does
//! [`Error::TooManyFiles`]. What was
//! applied is certainly not applied then, reads go on, and all works again once there is room. So it is from the
//! opening on, see `begin`.
//!
//! Locks, in the order in which one thread may take them: snapshots; dropping; flushing, compactions or committing; the turn of a
//! sync; log; manifest; queue, spares, and others that are held for a moment.
//!
//! Reading order: this page, `begin`, `tables`, `commit`, `prepare`, `flush`, `compact` with `compactions` and `debt`;
//! `compact_table`, `drop_table`; `read`; `pressure`; `snapshot`, `scrub`; `condition`, `listener`, `counters`, `table_stats`.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use crate::{
    commit_log::{
        group::mutations_bytes,
        group_sync::GroupSync,
        queue::CommitQueue,
        segment::{SegmentId, largest_batch},
        ticket::Outcome,
        writer::{LogWriter, SyncMeter},
    },
    compaction::Throttle,
    disk::{Disk, LockGuard, StickyDisk},
    error::{Error, Result},
    histogram::Snapshot,
    manifest::{Edit, Manifest},
    options::Options,
    record::Mutation,
    recovery::{self, recover},
    sstable::{BlockCache, TableMemory},
    tree::Tree,
};

mod begin;
mod commit;
mod compact;
mod compact_table;
mod compactions;
mod condition;
mod counters;
mod debt;
mod drop_table;
mod flush;
mod leaving;
mod listener;
mod prepare;
mod pressure;
mod read;
mod scrub;
mod snapshot;
mod table_stats;
mod tables;

pub use crate::{
    commit_log::{Outrun, Ticket},
    scan::{ScanEnd, ScanLimits, ScanPage},
    table_id::TableId,
    tree::TryGet,
};
pub use compactions::{Compaction, CompactionKind};
pub use counters::EngineCounters;
pub use debt::CompactionDebt;
pub use listener::{Event, EventListener, WorkListener};
pub use pressure::Pressure;
pub use table_stats::TableStats;

use begin::Beginning;
use compactions::Compactions;
use condition::Condition;
use counters::Counted;
use debt::KnownDebt;
use flush::AwaitedFlush;
use leaving::Leaving;
use listener::Listener;
use pressure::Room;

/// A kind of work that waits for [`Engine::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Write the queued mutations as one group, sync it (unless the mode is periodic), put them into their memtables
    /// and release their tickets.
    Commit,
    /// Sync what was written since the last sync (periodic mode; the driver calls it every `sync_interval`).
    Sync,
    /// Write the oldest switched memtable to an SSTable.
    Flush,
    /// Merge or drop SSTables once, if some are due. Any number of threads may do that at once.
    Compact,
    /// Make what the log will need soon: its next segment, and, in periodic mode, a sync of much that was written.
    Prepare,
}

impl Step {
    /// All kinds; a kind's place is its discriminant.
    pub const ALL: [Self; 5] = [Self::Commit, Self::Sync, Self::Flush, Self::Compact, Self::Prepare];

    /// Its name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Sync => "sync",
            Self::Flush => "flush",
            Self::Compact => "compact",
            Self::Prepare => "prepare",
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
    /// Whoever holds its lock writes the log, enters memtables and switches them.
    log: Mutex<LogWriter>,
    beginning: Beginning,
    group_sync: GroupSync,
    /// The next segment was made, or could not be.
    prepared: Condvar,
    /// Segments that are not needed any more, to be used again.
    spares: Mutex<Vec<PathBuf>>,
    /// Whether the disk was full not long ago: then no spares are kept.
    was_disk_full: AtomicBool,
    /// Held by a commit step: groups enter the log in the order of the queue.
    committing: Mutex<()>,
    /// The segment that is written to.
    log_newest: AtomicU64,
    /// The first segment that is still on disk.
    log_oldest: AtomicU64,
    manifest: Mutex<Manifest>,
    cache: Arc<BlockCache>,
    /// Total of all memtables that are in memory.
    memtable_bytes: Arc<AtomicUsize>,
    /// Whether a switched memtable waits for its flush.
    is_flush_due: AtomicBool,
    /// Those who wait for flushes, as long as they do.
    flushes_awaited: Arc<()>,
    /// Whether it is about to be closed.
    is_ending: AtomicBool,
    /// Those who wait for a table to be in SSTables.
    awaited: Mutex<Vec<AwaitedFlush>>,
    room: Room,
    /// Held by a flush.
    flushing: Mutex<()>,
    compactions: Compactions,
    /// Held by a drop of a table.
    dropping: Mutex<()>,
    /// Held by whoever makes, lists or removes snapshots.
    snapshots: Mutex<()>,
    throttle: Throttle,
    /// Removed SSTables that are still read.
    leaving: Leaving,
    debt: KnownDebt,
    listener: Listener,
    sync_meter: Arc<SyncMeter>,
    counted: Counted,
    directory_lock: Mutex<Option<Box<dyn LockGuard>>>,
    remarks: Vec<String>,
}

impl Engine {
    /// Opens the data directory, creating it if needed: takes its lock, reads the manifest, replays the
    /// commit log, removes orphans. On a full disk it opens, unless the directory is new, and refuses all that is to be
    /// written with [`Error::StorageFull`] until there is room.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Corrupt`] for rot (file and offset), [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, options: Options) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(StickyDisk::new(disk, directory));
        let cache = Arc::new(BlockCache::new(options.block_cache_bytes, options.block_bytes));
        let recovered = recover(&disk, directory, &options, &cache)?;
        let group_bytes = usize::try_from(options.segment_bytes / 4).unwrap_or(usize::MAX);
        let mut engine = Self {
            disk,
            cache,
            directory: directory.into(),
            condition: Condition::default(),
            trees: ArcSwap::from_pointee(recovered.trees),
            queue: CommitQueue::new(options.commit_queue_bytes, group_bytes),
            log_newest: AtomicU64::new(recovered.log.segment().0),
            log_oldest: AtomicU64::new(recovered.log_first.0),
            beginning: Beginning::new(recovered.found),
            sync_meter: recovered.log.meter(),
            group_sync: GroupSync::new(recovered.log.end()),
            log: Mutex::new(recovered.log),
            prepared: Condvar::new(),
            spares: Mutex::default(),
            was_disk_full: AtomicBool::new(false),
            committing: Mutex::default(),
            is_flush_due: AtomicBool::new(false),
            flushes_awaited: Arc::default(),
            is_ending: AtomicBool::new(false),
            awaited: Mutex::default(),
            room: Room::default(),
            manifest: Mutex::new(recovered.manifest),
            memtable_bytes: recovered.memtable_bytes,
            flushing: Mutex::default(),
            compactions: Compactions::default(),
            dropping: Mutex::default(),
            snapshots: Mutex::default(),
            throttle: Throttle::default(),
            leaving: Leaving::default(),
            debt: KnownDebt::default(),
            listener: Listener::default(),
            counted: Counted::default(),
            directory_lock: Mutex::new(Some(recovered.lock)),
            remarks: recovered.remarks,
            options,
        };
        match engine.begin() {
            Err(full @ Error::StorageFull { .. }) => {
                crate::sometimes!("an engine was opened on a full disk");
                let found = engine.beginning.found();
                recovery::sync_found(&*engine.disk, &engine.directory, &found)?;
                engine.remarks.push(format!("{full}: nothing is written until there is room"));
            }
            begun => begun?,
        }
        engine.set_compaction_throughput(engine.options.compaction_bytes_per_second);
        engine.measure_debt();
        engine.note_switched(engine.oldest_switched().is_some());
        engine.relieve(&engine.log.lock());
        Ok(engine)
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What an operator may want to know of the opening, a sentence each: a torn tail of the log that was cut, what is in
    /// the way of snapshots and not ours.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Registers who is told of each flush and merge that is done, replacing an earlier listener.
    pub fn set_event_listener(&self, listener: EventListener) {
        self.listener.set_events(listener);
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
        self.listener.tell(Step::Prepare);
        if self.is_merge_due() {
            self.listener.tell(Step::Compact);
        }
    }

    /// Queues a mutation for the commit log and returns at once. It is encoded here, so that no larger buffer of which its
    /// keys and values are slices is kept.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at a bound, [`Error::MutationTooLarge`], [`Error::Malformed`] without a row,
    /// [`Error::NoSuchTable`], [`Error::Poisoned`], [`Error::Closed`]; nothing was queued.
    pub fn apply(&self, table: TableId, mutation: impl Borrow<Mutation>) -> Result<Ticket> {
        self.enqueue(&[(table, mutation.borrow())])
    }

    /// As [`Engine::apply`], for several mutations that happen together: all or none of them survive a crash. A
    /// reader may see some before the others.
    ///
    /// # Errors
    /// As [`Engine::apply`]; [`Error::Malformed`] also for an empty batch.
    pub fn apply_batch<M: Borrow<Mutation>>(&self, batch: &[(TableId, M)]) -> Result<Ticket> {
        self.enqueue(&borrowed(batch))
    }

    fn enqueue(&self, batch: &[(TableId, &Mutation)]) -> Result<Ticket> {
        let size_bytes = self.check_batch(batch)?;
        if let Pressure::Refused { what } = self.pressure() {
            self.counted.writes_refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::Overloaded { what });
        }
        let (ticket, is_first) = self.queue.push(batch, size_bytes)?;
        if is_first {
            self.listener.tell(Step::Commit);
        }
        Ok(ticket)
    }

    /// Applies a mutation on the calling thread, and returns when it is as durable as the sync mode promises and
    /// visible to reads. For threads that may block: it does the work of the commit step itself, one sync serves all
    /// who are in here at once, and under pressure it waits instead of refusing, for at most
    /// [`Options::stall_limit`].
    ///
    /// # Errors
    /// As [`Engine::apply`], [`Error::StorageFull`], [`Error::TooManyFiles`]: it is not applied. But
    /// [`Error::Poisoned`] may also come of its own write or sync: then it may or may not survive.
    pub fn apply_and_wait(&self, table: TableId, mutation: impl Borrow<Mutation>) -> Result<()> {
        self.commit_now(&[(table, mutation.borrow())])
    }

    /// As [`Engine::apply_and_wait`] for a batch, see [`Engine::apply_batch`].
    ///
    /// # Errors
    /// As [`Engine::apply_and_wait`] and [`Engine::apply_batch`].
    pub fn apply_batch_and_wait(&self, batch: &[(TableId, Mutation)]) -> Result<()> {
        self.commit_now(&borrowed(batch))
    }

    /// Bytes that a batch takes of its group, if it can be written.
    fn check_batch(&self, batch: &[(TableId, &Mutation)]) -> Result<usize> {
        self.condition.check()?;
        let trees = self.trees.load();
        if let Some((unknown, _)) = batch.iter().find(|(table, _)| !trees.contains_key(table)) {
            return Err(Error::NoSuchTable(unknown.0));
        }
        if batch.is_empty() || batch.iter().any(|(_, mutation)| mutation.rows.is_empty()) {
            return Err(Error::Malformed { what: "a mutation without rows" });
        }
        let size_bytes = mutations_bytes(batch.iter().copied());
        let limit_bytes = largest_batch(self.options.segment_bytes);
        if size_bytes > limit_bytes {
            return Err(Error::MutationTooLarge { size_bytes, limit_bytes });
        }
        Ok(size_bytes)
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
            Step::Prepare => self.prepare(),
        };
        if outcome.as_ref().is_err_and(|error| !matches!(error, Error::Closed)) {
            self.counted.failures[step as usize].fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Switches the memtables of all tables, so that [`Step::Flush`] has them to write.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn switch_memtables(&self) -> Result<()> {
        self.switch_all().map(drop)
    }

    /// Switches the memtables of which this is told for the first time at least `age` ago that they hold something,
    /// and answers whether there were any. `now` is the time since some moment that is always the same; the engine
    /// looks at no clock. A driver calls it several times per [`Options::memtable_age`]. With everything in SSTables it
    /// gives back the segments that are kept to be used again.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn switch_older(&self, age: Duration, now: Duration) -> Result<bool> {
        let log = self.log.lock();
        self.condition.check()?;
        let mut switched = false;
        for tree in self.trees.load().values() {
            if tree.is_older(age, now) {
                crate::sometimes!("a memtable was switched for its age");
                switched |= tree.switch(log.end());
            }
        }
        self.note_switched(switched);
        self.was_disk_full.store(false, Ordering::Relaxed);
        let is_at_rest = self.is_all_flushed();
        drop(log);
        if is_at_rest {
            crate::sometimes!("spare segments were given back at rest");
            self.give_spares_back();
        }
        Ok(switched)
    }

    /// Whether nothing is in the log alone. For the holder of the log's lock, for whom it stays so.
    fn is_all_flushed(&self) -> bool {
        self.trees.load().values().all(|tree| tree.view().first_position().is_none())
    }

    /// Switches the memtable of a table. The ticket is ready when all that was applied to the table before this call
    /// is in SSTables that the manifest knows, which takes a [`Step::Flush`] or more; one that fails is tried again,
    /// and the ticket waits.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush_table(&self, table: TableId) -> Result<Ticket> {
        let log = self.log.lock();
        self.condition.check()?;
        let tree = self.tree(table)?;
        let switched = tree.switch(log.end());
        let outcome = Arc::<Outcome>::default();
        let ticket = Ticket::new(Arc::clone(&outcome), 0, 0..0);
        // It waits for what is on its way out, however long ago that was switched. Whoever has flushed it takes this lock
        // to tell.
        let mut awaited = self.awaited.lock();
        match tree.view().switched.first() {
            Some(newest) => awaited.push(AwaitedFlush::new(table, newest.end, outcome)),
            None => outcome.resolve(Ok(Vec::new())),
        }
        drop(awaited);
        self.note_switched(switched);
        Ok(ticket)
    }

    /// What is done little by little, to be in nobody's way, is done at once from now on: somebody waits for its end.
    pub fn hurry(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Refuses new applies, commits and syncs what is queued on the calling thread, and shuts the engine;
    /// later calls answer [`Error::Closed`]. A merge in progress gives up. The data directory is free when it
    /// returns. Dropping an engine without closing it writes nothing.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn close(&self) -> Result<()> {
        self.hurry();
        self.condition.check()?;
        self.queue.refuse(Error::Closed);
        loop {
            match self.commit() {
                Ok(StepOutcome::Idle) => break,
                Ok(StepOutcome::Worked) => {}
                // Those who waited were told; there is always room for the seal.
                Err(failure) if failure.is_harmless() => {}
                Err(failure) => return Err(failure),
            }
        }
        self.seal_log()?;
        self.awaited.lock().clear();
        self.room.open();
        // Whoever is inside notices that it is too late, or finishes, before we have its lock.
        self.compactions.end();
        drop((self.snapshots.lock(), self.dropping.lock(), self.flushing.lock(), self.manifest.lock()));
        self.directory_lock.lock().take();
        Ok(())
    }

    /// Counters and gauges for metrics.
    pub fn counters(&self) -> EngineCounters {
        let (mut sstables, mut sstable_bytes) = (0, 0);
        let mut memory = TableMemory::default();
        let (mut costs, mut pending_flushes) = (self.counted.dropped_reads.lock().clone(), 0);
        for tree in self.trees.load().values() {
            let view = tree.view();
            costs.add(&tree.read_costs());
            pending_flushes += view.switched.len() as u64;
            for table in &view.tables {
                sstables += 1;
                sstable_bytes += table.file().length_bytes;
                let TableMemory { index, filter } = table.memory_bytes();
                memory = TableMemory { index: memory.index + index, filter: memory.filter + filter };
            }
        }
        let (block_cache_hits, block_cache_misses) = self.cache.hits_and_misses();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineCounters {
            commit_log_syncs: self.sync_meter.durations.count(),
            commit_log_sync_nanos: u64::try_from(self.sync_meter.durations.sum().as_nanos())
                .unwrap_or(u64::MAX),
            commit_log_groups: count(&self.counted.groups),
            commit_log_mutations: count(&self.counted.mutations),
            commit_log_written_bytes: count(&self.counted.written_bytes),
            segments_prepared: count(&self.counted.segments_prepared),
            segments_recycled: count(&self.counted.segments_recycled),
            flushes: count(&self.counted.flushes),
            flush_written_bytes: count(&self.counted.flush_written_bytes),
            compactions: count(&self.counted.compactions),
            compaction_written_bytes: count(&self.counted.compaction_written_bytes),
            compactions_running: self.compactions.list().len() as u64,
            compaction_pending_bytes: self.compaction_debt().pending_bytes,
            writes_slowed: count(&self.counted.writes_slowed),
            writes_refused: count(&self.counted.writes_refused),
            commit_queue_bytes: self.queue.bytes() as u64,
            commit_log_segments: count(&self.log_newest).saturating_sub(count(&self.log_oldest)) + 1,
            pending_flushes,
            sstables_read: costs.sstables_read(),
            reads: costs.reads(),
            sstables_spared: costs.spared,
            sstables_in_vain: costs.in_vain,
            set_aside: self.compactions.aside().len() as u64,
            scrub_damages: count(&self.counted.scrub_damages),
            failures: self.counted.failures.each_ref().map(count),
            memtable_bytes: self.memtable_bytes.load(Ordering::Relaxed) as u64,
            sstables,
            sstable_bytes,
            pending_delete_bytes: self.leaving.bytes(),
            block_cache_hits,
            block_cache_misses,
            block_cache_bytes: self.cache.bytes(),
            index_bytes: memory.index as u64,
            filter_bytes: memory.filter as u64,
        }
    }

    /// How long syncs of the commit log took.
    pub fn sync_durations(&self) -> Snapshot {
        self.sync_meter.durations.snapshot()
    }

    /// The failure that poisoned the engine, if one did.
    pub fn poisoned(&self) -> Option<String> {
        self.condition.poisoned()
    }

    /// Shuts the engine, since nobody knows what is durable, unless the failure says that nothing changed. All who
    /// wait, and all later calls, are told. Answers what whoever caused it is to be told.
    fn fail(&self, failure: &Error) -> Error {
        if failure.is_harmless() || matches!(failure, Error::Closed | Error::Poisoned { .. }) {
            return failure.clone();
        }
        crate::sometimes!("the engine was poisoned");
        let told = self.condition.poison(failure);
        self.queue.fail(&told);
        for awaited in self.awaited.lock().drain(..) {
            awaited.resolve(Err(told.clone()));
        }
        self.room.open();
        told
    }

    /// Records edits of a table durably; a failure poisons, unless the table is gone.
    fn record(&self, table: TableId, edits: &[Edit]) -> Result<()> {
        self.record_in(&mut self.manifest.lock(), table, edits)
    }

    /// As [`Engine::record`], for whoever holds the manifest's lock.
    fn record_in(&self, manifest: &mut Manifest, table: TableId, edits: &[Edit]) -> Result<()> {
        self.condition.check()?;
        if !manifest.state().tables.contains_key(&table) {
            return Err(Error::NoSuchTable(table.0));
        }
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

fn borrowed<M: Borrow<Mutation>>(batch: &[(TableId, M)]) -> Vec<(TableId, &Mutation)> {
    batch.iter().map(|(table, mutation)| (*table, mutation.borrow())).collect()
}
