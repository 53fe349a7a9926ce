//! How mutations get into the log and the memtables: by the commit step, for those that were queued, and by the
//! threads of blocking writers.
//!
//! ```text
//!            log's lock                                 no lock
//! ┌───────────────────────────────────┐ ┌─────────────────────────────────────┐
//!  encode, write, enter the memtables ─► await the sync ─► insert ─► tell, leave
//! ```

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
};

use parking_lot::MutexGuard;

use crate::{
    commit_log::{
        group::Contents,
        segment::{LogPosition, SegmentId},
        ticket::Outrun,
        writer::{LogWriter, group_bytes},
    },
    engine::{Engine, Step, StepOutcome},
    error::Result,
    memtable::Writer,
    options::SyncMode,
    record::{Mutation, Timestamp},
    table_id::TableId,
};

/// How often a sync lets other writers run before it begins. Each time it goes on only if one of them appended.
const MOST_YIELDS: usize = 8;

/// Writes to a table that are in the log and not in the memtable.
struct Entered {
    table: TableId,
    writer: Writer,
    /// Of what the table holds besides the memtable.
    newest_elsewhere: Option<Timestamp>,
}

impl Engine {
    /// Commits the group that waits.
    pub(super) fn commit(&self) -> Result<StepOutcome> {
        let _turn = self.committing.lock();
        let Some(mut group) = self.queue.take() else { return Ok(StepOutcome::Idle) };
        if let Err(shut) = self.condition.check() {
            crate::sometimes!("a shut engine was asked to commit");
            group.resolve(Err(shut.clone()));
            return Err(shut);
        }
        match self.log_and_await(group.contents(), SyncMode::Batch) {
            Ok(entered) => {
                let mutations = group.take_contents().into_mutations().enumerate();
                let outrun = mutations.filter_map(|(place, (table, mutation))| {
                    Some((place, insert(&entered, table, &mutation)?))
                });
                let outrun = outrun.collect();
                self.leave(entered);
                group.resolve(Ok(outrun));
                Ok(StepOutcome::Worked)
            }
            Err(failure) => {
                group.resolve(Err(self.fail(&failure)));
                Err(failure)
            }
        }
    }

    /// Commits a batch on this thread.
    pub(super) fn commit_now(&self, batch: &[(TableId, &Mutation)]) -> Result<()> {
        self.check_batch(batch)?;
        self.await_room()?;
        let contents = Contents::of(batch.iter().copied());
        let logged = self.log_and_await(&contents, self.options.sync_mode);
        let entered = logged.map_err(|failure| self.fail(&failure))?;
        for (table, mutation) in batch {
            insert(&entered, *table, mutation);
        }
        self.leave(entered);
        Ok(())
    }

    /// Ends the writing of a batch or group, and sees to it that memtables are switched that have to be.
    fn leave(&self, entered: Vec<Entered>) {
        let is_full =
            entered.iter().any(|entered| entered.writer.memtable_bytes() >= self.options.memtable_bytes);
        drop(entered);
        if is_full || (self.is_half_used() && !self.is_flush_due.load(Ordering::Relaxed)) {
            self.relieve(&self.log.lock());
        }
    }

    /// Writes a group, waits until it is as durable as the mode wants, and answers the memtables that it is to be
    /// inserted into. An error that is harmless means that nothing of the group was written.
    fn log_and_await(&self, contents: &Contents, mode: SyncMode) -> Result<Vec<Entered>> {
        self.begin()?;
        let (entered, end) = {
            let mut log = self.log.lock();
            self.condition.check()?;
            self.make_room(&mut log, group_bytes(contents))?;
            let was_synced = log.unsynced_bytes() == 0;
            let (position, size_bytes) =
                log.write(contents).inspect_err(|failure| drop(self.fail(failure)))?;
            self.counted.groups.fetch_add(1, Ordering::Relaxed);
            self.counted.mutations.fetch_add(contents.count() as u64, Ordering::Relaxed);
            self.counted.written_bytes.fetch_add(size_bytes, Ordering::Relaxed);
            self.tell_of_unsynced(was_synced, log.unsynced_bytes(), size_bytes);
            (self.enter(position, contents.tables()), log.end())
        };
        if self.options.sync_mode != SyncMode::Periodic {
            self.await_durable(end, mode)?;
        }
        crate::always!(
            self.options.sync_mode == SyncMode::Periodic || self.group_sync.durable() >= end,
            "nothing is acknowledged before it is synced"
        );
        Ok(entered)
    }

    /// Under the log's lock, so that nobody switches a memtable before its first position is known. A table that was
    /// dropped since its mutations were accepted is left out: they count as applied just before the drop.
    fn enter(&self, position: LogPosition, tables: &[TableId]) -> Vec<Entered> {
        let trees = self.trees.load();
        let enter = |table: &TableId| {
            let tree = trees.get(table)?;
            let writer = tree.enter(position);
            Some(Entered { table: *table, writer, newest_elsewhere: tree.view().newest_elsewhere() })
        };
        tables.iter().filter_map(enter).collect()
    }

    fn tell_of_unsynced(&self, was_synced: bool, unsynced_bytes: u64, written_bytes: u64) {
        if self.options.sync_mode != SyncMode::Periodic {
            return;
        }
        if was_synced {
            self.listener.tell(Step::Sync);
        }
        if self.has_much_unsynced(unsynced_bytes) && !self.has_much_unsynced(unsynced_bytes - written_bytes) {
            self.listener.tell(Step::Prepare);
        }
    }

    /// Goes on in the next segment when this one is full.
    fn make_room(&self, log: &mut MutexGuard<'_, LogWriter>, group_bytes: usize) -> Result<()> {
        while !log.has_room(group_bytes) && log.is_next_in_preparation() {
            crate::sometimes!("a writer waited for the next segment");
            self.prepared.wait(log);
            self.condition.check()?;
        }
        if !log.has_room(group_bytes) {
            log.rotate().inspect_err(|failure| drop(self.fail(failure)))?;
            self.group_sync.is_durable_until(log.start());
            self.listener.tell(Step::Prepare);
            self.relieve(log);
        }
        if log.segment().0 != self.log_newest.load(Ordering::Relaxed) {
            // Before there is anything in it: so a segment that goes missing is noticed.
            self.record_log(SegmentId(0), log.segment())?;
            self.log_newest.store(log.segment().0, Ordering::Release);
        }
        Ok(())
    }

    /// Waits until the log is durable up to `end`.
    pub(super) fn await_durable(&self, end: LogPosition, mode: SyncMode) -> Result<()> {
        let awaited = self.group_sync.await_durable(end, || {
            if mode == SyncMode::Group {
                self.gather();
            }
            self.log.lock().unsynced()
        });
        awaited.inspect_err(|failure| drop(self.fail(failure)))
    }

    /// Lets those append who are about to: they were woken by the sync before, and would miss this one by a hair. No
    /// timer: it ends when nobody appends while we let others run.
    fn gather(&self) {
        let mut appended = self.counted.groups.load(Ordering::Relaxed);
        for _ in 0..MOST_YIELDS {
            thread::yield_now();
            let now = self.counted.groups.load(Ordering::Relaxed);
            if now == appended {
                return;
            }
            appended = now;
        }
    }

    /// Syncs what was written since the last sync. Commits go on meanwhile.
    pub(super) fn sync(&self) -> Result<StepOutcome> {
        let end = {
            let log = self.log.lock();
            if log.unsynced_bytes() == 0 {
                return Ok(StepOutcome::Idle);
            }
            log.end()
        };
        self.await_durable(end, SyncMode::Periodic)?;
        if self.log.lock().unsynced_bytes() > 0 {
            self.listener.tell(Step::Sync);
        }
        Ok(StepOutcome::Worked)
    }

    /// Switches memtables that are full, that hold a part of the log that must go, or, when memory is half
    /// used and nothing is on its way out, the largest. To be called whenever one of these may have changed.
    pub(super) fn relieve(&self, log: &LogWriter) {
        let trees = self.trees.load();
        let oldest_kept = (log.segment().0 + 1).saturating_sub(self.kept_segments());
        let mut switched = false;
        for tree in trees.values() {
            let view = tree.view();
            let is_full = view.active.bytes() >= self.options.memtable_bytes;
            let is_old = view.active.first_position().is_some_and(|first| first.segment.0 < oldest_kept);
            if is_full {
                crate::sometimes!("a memtable was full");
            } else if is_old {
                crate::sometimes!("a memtable held the oldest of a long log");
            }
            if is_full || is_old {
                switched |= tree.switch(log.end());
            }
        }
        if self.is_half_used() && !switched && self.oldest_switched().is_none() {
            crate::sometimes!("memory was half used and nothing on its way out");
            let largest = trees.values().max_by_key(|tree| tree.active_bytes());
            switched |= largest.map(Arc::clone).is_some_and(|tree| tree.switch(log.end()));
        }
        self.note_switched(switched);
    }

    /// To be called by whoever switched memtables, or did not.
    pub(super) fn note_switched(&self, switched: bool) {
        if switched {
            self.is_flush_due.store(true, Ordering::Relaxed);
            self.listener.tell(Step::Flush);
        }
    }

    pub(super) fn is_half_used(&self) -> bool {
        self.memtable_bytes.load(Ordering::Relaxed) >= self.options.memtable_total_bytes / 2
    }

    pub(super) fn kept_segments(&self) -> u64 {
        (self.options.commit_log_bytes / self.options.segment_bytes.max(1)).max(1)
    }
}

/// Inserts a mutation; how it was outrun, if it may have been.
fn insert(entered: &[Entered], table: TableId, mutation: &Mutation) -> Option<Outrun> {
    let Some(Entered { writer, newest_elsewhere, .. }) =
        entered.iter().find(|entered| entered.table == table)
    else {
        crate::sometimes!("a mutation met a table that was dropped");
        return None;
    };
    let is_new = |timestamp| newest_elsewhere.is_none_or(|newest| timestamp > newest);
    match writer.insert(mutation) {
        Some(by) if is_new(by) => Some(Outrun::By(by)),
        None if mutation.rows.iter().all(|(_, record)| is_new(record.timestamp)) => None,
        _ => Some(Outrun::Perhaps),
    }
}
