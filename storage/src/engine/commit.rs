//! The commit step, and what it watches over: when memtables are switched, when applies are refused.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    commit_log::{
        queue::Group,
        segment::{LogPosition, SegmentId},
        writer::LogWriter,
    },
    engine::{Engine, Step, StepOutcome},
    error::{Error, Result},
    options::SyncMode,
};

impl Engine {
    /// Commits the group that waits.
    pub(super) fn commit(&self) -> Result<StepOutcome> {
        let mut log = self.log.lock();
        let Some(group) = self.queue.take() else { return Ok(StepOutcome::Idle) };
        if let Err(shut) = self.condition.check() {
            crate::sometimes!("a shut engine was asked to commit");
            group.resolve(Err(shut.clone()));
            return Err(shut);
        }
        self.commit_group(&mut log, group)?;
        self.relieve(&log);
        Ok(StepOutcome::Worked)
    }

    /// The order is the promise: log, sync, memtable, ticket. Nothing of a group that failed is inserted.
    fn commit_group(&self, log: &mut LogWriter, mut group: Group) -> Result<()> {
        let was_synced = log.unsynced().is_none();
        let (position, size_bytes) = match self.log_group(log, &group) {
            Ok(written) => written,
            Err(failure) => {
                group.resolve(Err(self.fail(&failure)));
                return Err(failure);
            }
        };
        let mutations = group.take_mutations();
        self.counted.groups.fetch_add(1, Ordering::Relaxed);
        self.counted.mutations.fetch_add(mutations.len() as u64, Ordering::Relaxed);
        self.counted.written_bytes.fetch_add(size_bytes, Ordering::Relaxed);

        crate::always!(
            self.options.sync_mode == SyncMode::Periodic || log.unsynced().is_none(),
            "nothing is acknowledged before it is synced"
        );
        let trees = self.trees.load();
        let mut grown = 0;
        for (table, mutation) in mutations {
            let tree = trees.get(&table).expect("apply has seen the table, and tables are never dropped");
            grown += tree.insert(position, mutation);
        }
        // Two's complement: adding a negative number as usize subtracts.
        self.memtable_bytes.fetch_add(grown as usize, Ordering::Relaxed);
        group.resolve(Ok(()));
        if was_synced && self.options.sync_mode == SyncMode::Periodic {
            self.listener.tell(Step::Sync);
        }
        Ok(())
    }

    /// Only [`Error::StorageFull`] means that nothing of the group was written.
    fn log_group(&self, log: &mut LogWriter, group: &Group) -> Result<(LogPosition, u64)> {
        log.make_room(group.mutations())?;
        if log.segment().0 != self.log_newest.load(Ordering::Relaxed) {
            // Before there is anything in it: so a segment that goes missing is noticed.
            self.record_log(SegmentId(0), log.segment())?;
            self.log_newest.store(log.segment().0, Ordering::Release);
        }
        let written = log.write(group.mutations())?;
        if self.options.sync_mode == SyncMode::Group {
            log.sync()?;
        }
        Ok(written)
    }

    /// Syncs what was written since the last sync. Commits go on meanwhile.
    pub(super) fn sync(&self) -> Result<StepOutcome> {
        let _turn = self.syncing.lock();
        let Some(unsynced) = self.log.lock().unsynced() else { return Ok(StepOutcome::Idle) };
        unsynced.sync().inspect_err(|e| drop(self.fail(e)))?;
        let mut log = self.log.lock();
        log.synced(&unsynced);
        if log.unsynced().is_some() {
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
        let is_half_used =
            self.memtable_bytes.load(Ordering::Relaxed) >= self.options.memtable_total_bytes / 2;
        if is_half_used && self.oldest_switched().is_none() {
            crate::sometimes!("memory was half used and nothing on its way out");
            let largest = trees.values().max_by_key(|tree| tree.active_bytes());
            switched |= largest.map(Arc::clone).is_some_and(|tree| tree.switch(log.end()));
        }
        if switched {
            self.listener.tell(Step::Flush);
        }
    }

    /// Whether memory and log have room for more.
    pub(super) fn check_load(&self) -> Result<()> {
        if self.memtable_bytes.load(Ordering::Relaxed) >= self.options.memtable_total_bytes {
            crate::sometimes!("memtables were full");
            return Err(Error::Overloaded { what: "too many bytes wait to be flushed" });
        }
        let newest = self.log_newest.load(Ordering::Relaxed);
        let segments = newest.saturating_sub(self.log_oldest.load(Ordering::Relaxed)) + 1;
        // Twice, so that writers do not stop as soon as the flush that will make room begins.
        if segments > self.kept_segments().saturating_mul(2) + 1 {
            crate::sometimes!("the log was too long");
            return Err(Error::Overloaded { what: "too many commit log segments wait to be flushed" });
        }
        Ok(())
    }

    fn kept_segments(&self) -> u64 {
        (self.options.commit_log_bytes / self.options.segment_bytes.max(1)).max(1)
    }
}
