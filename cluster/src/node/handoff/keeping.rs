//! Takes hints in.

use std::collections::VecDeque;

use bytes::Bytes;
use helenus_storage::{Engine, Error, Mutation, Record, TableId, Ticket};

use super::{
    run::Run,
    runs::{Hints, RUN_AGE_DIVISOR, State},
    saved::SavedRun,
};
use crate::{
    handoff::{Hint, RepairMark, hint::is_within},
    message::ReplicaError,
    node::local_store::as_answer,
    node_id::HostId,
    time::Timestamp,
};

/// A run that is larger takes no more hints.
const RUN_BYTES: u64 = 32 << 20;

/// Why a hint was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKept {
    /// By [`crate::settings::Settings::hint_window`].
    #[error("hints are switched off")]
    Off,
    /// By [`crate::settings::Settings::hint_bytes`].
    #[error("hints take as much of the disk as they may")]
    Quota,
    /// By [`crate::settings::Settings::hints_in_flight`].
    #[error("too many hints are being written")]
    TooMany,
    /// Storage refused it: it is not kept.
    #[error(transparent)]
    Refused(#[from] ReplicaError),
    /// Storage failed on the way: the hint may be in the log, and may be found there after a restart.
    #[error("it may be kept or not: {0}")]
    Doubtful(ReplicaError),
}

impl Hints {
    /// Keeps a hint for a target, as durably as the sync mode promises. One that is not kept leaves a repair mark, which is
    /// durable too, unless there are too many of them or storage fails: then it is soon.
    pub(crate) async fn keep(&self, target: HostId, hint: &Hint) -> Result<(), NotKept> {
        let Ok(_place) = self.in_flight.try_acquire() else {
            self.refuse(target, hint);
            return Err(NotKept::TooMany);
        };
        self.keep_or_mark(target, hint, 0).await
    }

    /// Keeps a hint of another target for a present owner of its key, in the room that the other run will leave.
    pub(super) async fn keep_moved(&self, owner: HostId, hint: &Hint, from: TableId) -> Result<(), NotKept> {
        let _place = self.in_flight.acquire().await;
        self.keep_or_mark(owner, hint, self.bytes_of(from)).await
    }

    async fn keep_or_mark(&self, target: HostId, hint: &Hint, freed_bytes: u64) -> Result<(), NotKept> {
        let kept = self.append(target, hint, freed_bytes).await;
        if kept.is_ok() {
            helenus_storage::sometimes!("a hint was kept");
            self.counted.kept();
        } else {
            self.refuse(target, hint);
            // Tried again once a second, and before any run is dropped.
            let _: Result<(), _> = self.save_marks().await;
        }
        kept
    }

    fn refuse(&self, target: HostId, hint: &Hint) {
        helenus_storage::sometimes!("a hint was not kept");
        self.counted.refused();
        self.mark(&RepairMark::of(target, Some(hint.table), hint.made_at));
    }

    async fn append(&self, target: HostId, hint: &Hint, freed_bytes: u64) -> Result<(), NotKept> {
        if self.window.is_zero() {
            return Err(NotKept::Off);
        }
        if self.bytes().saturating_sub(freed_bytes) >= self.quota_bytes {
            return Err(NotKept::Quota);
        }
        let encoded = hint.encode();
        let (inside, ticket) = loop {
            match self.begin_append(target, &encoded)? {
                Some(begun) => break begun,
                None => self.open_run(target).await?,
            }
        };
        let outcome = ticket.await.map(drop).map_err(as_answer);
        inside.leave(outcome.is_ok());
        outcome.map_err(NotKept::Doubtful)
    }

    /// Numbers a hint and puts it into the queue of the commit log, under one lock: so hints are durable in the order of
    /// their numbers. `None` if no run takes hints.
    fn begin_append(
        &self,
        target: HostId,
        encoded: &Bytes,
    ) -> Result<Option<(Inside<'_>, Ticket)>, ReplicaError> {
        let now = self.clock.now_of_ages();
        let engine = self.store.engine();
        let mut state = self.state.lock();
        let open = state.targets.get_mut(&target).and_then(VecDeque::back_mut).filter(|run| run.is_open);
        let Some(run) = open else { return Ok(None) };
        let is_young = is_within(run.opened_at, self.window / RUN_AGE_DIVISOR, now);
        if !is_young || engine.table_bytes(run.tree).map_err(as_answer)? >= RUN_BYTES {
            helenus_storage::sometimes!("a run of hints was old or large");
            run.is_open = false;
            return Ok(None);
        }
        let number = run.next_number();
        let record = Record::plain(Timestamp(number), encoded.clone());
        let mutation = Mutation::single(number.to_be_bytes().to_vec(), record);
        let ticket = engine.apply(run.tree, mutation).map_err(as_answer)?;
        run.begin();
        Ok(Some((Inside { hints: self, target, tree: run.tree, number, is_durable: false }, ticket)))
    }

    /// Opens a run for a target, unless one is open by now.
    async fn open_run(&self, target: HostId) -> Result<(), ReplicaError> {
        let _turn = self.opening.lock().await;
        let is_open = |state: &State| {
            state.targets.get(&target).and_then(VecDeque::back).is_some_and(|run| run.is_open)
        };
        if is_open(&self.state.lock()) {
            return Ok(());
        }
        let first = self.state.lock().next_tree;
        let tree = self.store.block_on(move |engine| create_first(engine, first)).await?;
        let opened_at = self.clock.now_of_ages();
        self.saves.next_tree(&self.store, tree.0.saturating_add(1)).await?;
        self.saves.run(&self.store, tree, &SavedRun { target, opened_at_us: opened_at.0, cursor: 0 }).await?;
        let mut state = self.state.lock();
        state.next_tree = tree.0.saturating_add(1);
        state.targets.entry(target).or_default().push_back(Run::open(tree, opened_at));
        Ok(())
    }
}

/// A hint that is on its way into its tree.
struct Inside<'a> {
    hints: &'a Hints,
    target: HostId,
    tree: TableId,
    number: u64,
    is_durable: bool,
}

impl Inside<'_> {
    fn leave(mut self, is_durable: bool) {
        self.is_durable = is_durable;
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.hints.state.lock().run(self.target, self.tree) {
            run.end(self.number, self.is_durable);
        }
        self.hints.news.notify_one();
    }
}

/// Creates a tree under the first id from here on that none has had: one may have been created before a crash, and its id
/// not saved.
fn create_first(engine: &Engine, first: u32) -> Result<TableId, Error> {
    let mut tree = TableId(first);
    loop {
        match engine.create_table(tree) {
            Err(Error::TableDropped(_)) if tree.0 < u32::MAX => tree.0 += 1,
            created => return created.map(|()| tree),
        }
    }
}
