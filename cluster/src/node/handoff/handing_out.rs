//! Hands out the hints to be delivered, and forgets what is done.

use std::{collections::VecDeque, ops::Bound};

use helenus_storage::{ScanLimits, TableId};

use super::{
    run::Run,
    runs::{Hints, RUN_AGE_DIVISOR},
    saved::SavedRun,
};
use crate::{
    handoff::{Hint, RepairMark, hint::is_within},
    message::ReplicaError,
    node_id::HostId,
};

/// The next hints of a run.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) tree: TableId,
    /// Number and hint, ascending; what does not decode, in words.
    pub(super) hints: Vec<(u64, Result<Hint, String>)>,
}

/// What is to be done with the oldest run of a target.
enum Next {
    Read { tree: TableId, after: u64, through: u64 },
    Forget(TableId),
    Nothing,
}

impl Hints {
    /// The next hints for a target; `None` if none can be delivered now.
    pub(super) async fn next_page(
        &self,
        target: HostId,
        limits: ScanLimits,
    ) -> Result<Option<Page>, ReplicaError> {
        loop {
            let (tree, after, through) = match self.next_of(target) {
                Next::Nothing => return Ok(None),
                Next::Forget(tree) => {
                    self.forget(target, tree).await?;
                    continue;
                }
                Next::Read { tree, after, through } => (tree, after, through),
            };
            let page = self.store.block_on(move |engine| {
                let (after, through) = (after.to_be_bytes(), through.to_be_bytes());
                engine.scan_page(tree, (Bound::Excluded(&after[..]), Bound::Included(&through[..])), &limits)
            });
            let records = match page.await {
                Ok(page) => page.records,
                Err(ReplicaError::NoSuchTable(_)) => {
                    helenus_storage::sometimes!("a run of hints was dropped and not forgotten");
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            if records.is_empty() {
                self.advance(target, tree, through, 0).await?;
                continue;
            }
            let hints = records.into_iter().map(|(key, record)| {
                let number = key[..].try_into().map_or(through, u64::from_be_bytes);
                let hint = record.value().cloned().ok_or_else(|| "a hint was deleted".to_owned());
                (number, hint.and_then(|hint| Hint::decode(hint).map_err(|error| error.to_string())))
            });
            return Ok(Some(Page { tree, hints: hints.collect() }));
        }
    }

    fn next_of(&self, target: HostId) -> Next {
        let state = self.state.lock();
        match state.targets.get(&target).and_then(VecDeque::front) {
            None => Next::Nothing,
            Some(run) => match run.waiting() {
                Some((after, through)) => Next::Read { tree: run.tree, after, through },
                None if run.is_done() && !run.is_open => Next::Forget(run.tree),
                None => Next::Nothing,
            },
        }
    }

    /// All hints of a run up to this number were dealt with, so many since the last time.
    pub(super) async fn advance(
        &self,
        target: HostId,
        tree: TableId,
        number: u64,
        hints: usize,
    ) -> Result<(), ReplicaError> {
        // What was given up is behind the cursor only once its mark is durable.
        self.save_marks().await?;
        let saved = {
            let mut state = self.state.lock();
            let Some(run) = state.run(target, tree) else { return Ok(()) };
            self.counted.void(run.advance(number, hints));
            SavedRun { target, opened_at_us: run.opened_at.0, cursor: run.cursor() }
        };
        self.saves.run(&self.store, tree, &saved).await
    }

    /// The next hint of a run was refused; how often by now.
    pub(super) fn count_refusal(&self, target: HostId, tree: TableId) -> u32 {
        self.state.lock().run(target, tree).map_or(0, Run::refused)
    }

    /// Drops a run of which nothing is needed any more.
    async fn forget(&self, target: HostId, tree: TableId) -> Result<(), ReplicaError> {
        self.save_marks().await?;
        self.store.block_on(move |engine| engine.drop_table(tree)).await?;
        self.saves.forget_run(&self.store, tree).await?;
        let mut state = self.state.lock();
        if let Some(runs) = state.targets.get_mut(&target) {
            runs.retain(|run| run.tree != tree);
            if runs.is_empty() {
                state.targets.remove(&target);
            }
        }
        Ok(())
    }

    /// Drops the runs in which every hint has expired, and those that are done. Till then a run that is done takes further
    /// hints: a replica that is merely slow gets one run a second, not one a hint.
    pub(super) async fn drop_over(&self) -> Result<(), ReplicaError> {
        let (now, life) = (self.clock.now_of_ages(), self.window + self.window / RUN_AGE_DIVISOR);
        self.drop_runs(|_, run| run.is_done() || !is_within(run.opened_at, life, now)).await.map(drop)
    }

    /// Drops all hints, or those for one target, and answers how many there were. They leave repair marks.
    pub(crate) async fn truncate(&self, target: Option<HostId>) -> Result<u64, ReplicaError> {
        self.drop_runs(|host_id, _| target.is_none_or(|target| target == host_id)).await
    }

    async fn drop_runs(&self, is_over: impl Fn(HostId, &Run) -> bool) -> Result<u64, ReplicaError> {
        let mut over = Vec::new();
        for (&target, runs) in &mut self.state.lock().targets {
            for run in runs.iter_mut().filter(|run| is_over(target, run)) {
                run.is_open = false;
                over.push((target, run.tree, run.opened_at, run.pending()));
            }
        }
        let mut hints = 0;
        for (target, tree, opened_at, pending) in over {
            if pending > 0 {
                let until_us = self.clock.now_of_ages().0.max(opened_at.0);
                let since = RepairMark::of(target, None, opened_at);
                self.mark(&RepairMark { until_us, hints: pending, ..since });
                self.counted.expired(pending);
                hints += pending;
            }
            self.forget(target, tree).await?;
        }
        Ok(hints)
    }
}
