//! The runs of hints: takes hints in, hands out those to be delivered, forgets what is done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use helenus_storage::{Error, Mutation, Record, ScanLimits, TableId, Ticket};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::{
    marks::Marks,
    saved::{self, SavedRun, Saves},
    status::{Counted, HintStatus, HintedTarget},
};
use crate::{
    handoff::{Hint, RepairMark, hint::is_within},
    message::ReplicaError,
    node::{
        StartError,
        clock::NodeClock,
        local_store::{LocalStore, as_answer},
        own_trees::FIRST_RUN,
    },
    node_id::HostId,
    settings::Settings,
    time::Timestamp,
};

/// A run that is larger takes no more hints.
const RUN_BYTES: u64 = 32 << 20;
/// A run takes hints for this part of the window, so that what has expired is dropped unread soon after.
const RUN_AGE_DIVISOR: u32 = 8;

/// Why a hint was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKept {
    /// By [`Settings::hint_window`].
    #[error("hints are switched off")]
    Off,
    /// By [`Settings::hint_bytes`].
    #[error("hints take as much of the disk as they may")]
    Quota,
    /// By [`Settings::hints_in_flight`].
    #[error("too many hints are being written")]
    TooMany,
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(#[from] ReplicaError),
}

/// All hints that this node keeps.
#[derive(Debug)]
pub(crate) struct Hints {
    store: Arc<LocalStore>,
    clock: Arc<NodeClock>,
    window: Duration,
    quota_bytes: u64,
    state: Mutex<State>,
    saves: Saves,
    marks: Marks,
    pub(super) counted: Counted,
    /// Held by whoever opens a run.
    opening: tokio::sync::Mutex<()>,
    in_flight: Semaphore,
    /// There may be something to deliver.
    news: Notify,
}

#[derive(Debug)]
struct State {
    /// Oldest run first; no target is without.
    targets: BTreeMap<HostId, VecDeque<Run>>,
    next_tree: u32,
    is_paused: bool,
}

#[derive(Debug)]
struct Run {
    tree: TableId,
    opened_at: Timestamp,
    /// Number of the last hint that was dealt with.
    cursor: u64,
    /// Number of the newest hint; the first has number 1.
    newest: u64,
    /// Hints that are on their way into the tree.
    in_flight: usize,
    is_open: bool,
}

impl Run {
    fn pending(&self) -> u64 {
        self.newest.saturating_sub(self.cursor)
    }
}

/// The next hints of a run.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) tree: TableId,
    /// Number and hint, ascending; what does not decode, in words.
    pub(super) hints: Vec<(u64, Result<Hint, String>)>,
}

impl Hints {
    /// Reloads what was kept before the node stopped. Start-up only.
    pub(crate) fn load(
        settings: &Settings,
        store: Arc<LocalStore>,
        clock: Arc<NodeClock>,
    ) -> Result<Self, StartError> {
        let engine = store.engine();
        let loaded = saved::load(engine)?;
        let saves = Saves::after(&loaded);
        let mut next_tree = loaded.next_tree.unwrap_or(FIRST_RUN.0);
        let mut targets: BTreeMap<HostId, VecDeque<Run>> = BTreeMap::new();
        for tree in engine.tables().into_iter().filter(|tree| *tree >= FIRST_RUN) {
            next_tree = next_tree.max(tree.0.saturating_add(1));
            if !loaded.runs.contains_key(&tree) {
                helenus_storage::sometimes!("a run of hints was opened and not saved");
                engine.drop_table(tree)?;
            }
        }
        for (tree, run) in loaded.runs {
            let newest = match engine.newest_timestamp(tree) {
                // It was dropped, and is to be forgotten.
                Err(Error::NoSuchTable(_)) => None,
                newest => newest?,
            };
            targets.entry(run.target).or_default().push_back(Run {
                tree,
                opened_at: Timestamp(run.opened_at_us),
                cursor: run.cursor,
                newest: newest.map_or(0, |newest| newest.0),
                in_flight: 0,
                is_open: false,
            });
        }
        Ok(Self {
            clock,
            window: settings.hint_window,
            quota_bytes: settings.hint_bytes,
            state: Mutex::new(State { targets, next_tree, is_paused: false }),
            saves,
            marks: Marks::of(loaded.marks),
            counted: Counted::default(),
            opening: tokio::sync::Mutex::default(),
            in_flight: Semaphore::new(settings.hints_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            news: Notify::new(),
            store,
        })
    }

    /// How long hints live at most.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// Keeps a hint for a target, as durably as the sync mode promises. One that is not kept leaves a repair mark.
    pub(crate) async fn keep(&self, target: HostId, hint: &Hint) -> Result<(), NotKept> {
        let kept = self.append(target, hint).await;
        match &kept {
            Ok(()) => {
                helenus_storage::sometimes!("a hint was kept");
                self.counted.kept();
                self.news.notify_one();
            }
            Err(_) => {
                helenus_storage::sometimes!("a hint was not kept");
                self.give_up(target, hint).await;
            }
        }
        kept
    }

    /// Keeps no hint, but a mark that the target has to be repaired.
    pub(crate) async fn give_up(&self, target: HostId, hint: &Hint) {
        self.counted.refused();
        self.mark(&RepairMark::of(target, Some(hint.table), hint.made_at)).await;
    }

    async fn append(&self, target: HostId, hint: &Hint) -> Result<(), NotKept> {
        if self.window.is_zero() {
            return Err(NotKept::Off);
        }
        let Ok(_place) = self.in_flight.try_acquire() else { return Err(NotKept::TooMany) };
        let encoded = hint.encode();
        if self.bytes() >= self.quota_bytes {
            return Err(NotKept::Quota);
        }
        let (_inside, ticket) = loop {
            let begun = self.begin_append(target, || Record::plain(Timestamp(0), encoded.clone()))?;
            match begun {
                Some(begun) => break begun,
                None => self.open_run(target).await?,
            }
        };
        Ok(ticket.await.map_err(as_answer)?)
    }

    /// Numbers a hint and puts it into the queue of the commit log, under one lock: so hints are durable in the order of
    /// their numbers. `None` if no run takes hints.
    fn begin_append(
        &self,
        target: HostId,
        record: impl FnOnce() -> Record,
    ) -> Result<Option<(Inside<'_>, Ticket)>, ReplicaError> {
        let now = self.clock.now();
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
        let number = run.newest + 1;
        let record = Record { timestamp: Timestamp(number), ..record() };
        let mutation = Mutation::single(number.to_be_bytes().to_vec(), record);
        let ticket = engine.apply(run.tree, mutation).map_err(as_answer)?;
        run.newest = number;
        run.in_flight += 1;
        Ok(Some((Inside { hints: self, target, tree: run.tree }, ticket)))
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
        let opened_at = self.clock.now();
        self.saves.next_tree(&self.store, tree.0.saturating_add(1)).await?;
        self.saves.run(&self.store, tree, &SavedRun { target, opened_at_us: opened_at.0, cursor: 0 }).await?;
        let run = Run { tree, opened_at, cursor: 0, newest: 0, in_flight: 0, is_open: true };
        let mut state = self.state.lock();
        state.next_tree = tree.0.saturating_add(1);
        state.targets.entry(target).or_default().push_back(run);
        Ok(())
    }

    /// Bytes that all runs take.
    pub(crate) fn bytes(&self) -> u64 {
        let state = self.state.lock();
        state.targets.values().flatten().map(|run| self.bytes_of(run)).sum()
    }

    fn bytes_of(&self, run: &Run) -> u64 {
        // One that is being dropped takes nothing.
        self.store.engine().table_bytes(run.tree).unwrap_or(0)
    }

    /// The targets for which there are hints.
    pub(super) fn targets(&self) -> BTreeSet<HostId> {
        self.state.lock().targets.keys().copied().collect()
    }

    /// Ends when there may be something new to deliver.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Stops the delivery of hints, or lets it go on. Until the next start.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.state.lock().is_paused = is_paused;
        self.news.notify_one();
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.lock().is_paused
    }

    /// The next hints for a target; `None` if there are none. What is kept for it from here on goes to another run.
    pub(super) async fn next_page(
        &self,
        target: HostId,
        limits: ScanLimits,
    ) -> Result<Option<Page>, ReplicaError> {
        loop {
            let (tree, cursor) = {
                let mut state = self.state.lock();
                let Some(run) = state.targets.get_mut(&target).and_then(VecDeque::front_mut) else {
                    return Ok(None);
                };
                run.is_open = false;
                if run.in_flight > 0 {
                    // Whoever is inside says so when it leaves.
                    return Ok(None);
                }
                (run.tree, run.cursor)
            };
            let page = self.store.block_on(move |engine| {
                let after = cursor.to_be_bytes();
                engine.scan_page(tree, (Bound::Excluded(&after[..]), Bound::Unbounded), &limits)
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
                self.forget(target, tree).await?;
                continue;
            }
            let hints = records.into_iter().map(|(key, record)| {
                let number = key[..].try_into().map_or(u64::MAX, u64::from_be_bytes);
                let hint = record.value().cloned().ok_or_else(|| "a hint was deleted".to_owned());
                (number, hint.and_then(|hint| Hint::decode(hint).map_err(|error| error.to_string())))
            });
            return Ok(Some(Page { tree, hints: hints.collect() }));
        }
    }

    /// All hints of a run up to this number were dealt with.
    pub(super) async fn advance(
        &self,
        target: HostId,
        tree: TableId,
        number: u64,
    ) -> Result<(), ReplicaError> {
        let saved = {
            let mut state = self.state.lock();
            let runs = state.targets.get_mut(&target);
            let Some(run) = runs.and_then(|runs| runs.iter_mut().find(|run| run.tree == tree)) else {
                return Ok(());
            };
            run.cursor = run.cursor.max(number);
            SavedRun { target, opened_at_us: run.opened_at.0, cursor: run.cursor }
        };
        self.saves.run(&self.store, tree, &saved).await
    }

    /// Drops a run of which nothing is needed any more.
    async fn forget(&self, target: HostId, tree: TableId) -> Result<(), ReplicaError> {
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

    /// Drops the runs in which every hint has expired.
    pub(super) async fn drop_expired(&self) -> Result<(), ReplicaError> {
        let (now, life) = (self.clock.now(), self.window + self.window / RUN_AGE_DIVISOR);
        self.drop_runs(|_, run| !is_within(run.opened_at, life, now)).await.map(drop)
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
                let until_us = self.clock.now().0.max(opened_at.0);
                let since = RepairMark::of(target, None, opened_at);
                self.mark(&RepairMark { until_us, hints: pending, ..since }).await;
                self.marks.save(&self.store, &self.saves).await?;
                self.counted.expired(pending);
                hints += pending;
            }
            self.forget(target, tree).await?;
        }
        Ok(hints)
    }

    /// Notes that a target lacks something; the first note of a target and table is saved at once. What cannot be saved
    /// now is tried again by [`Hints::save_marks`].
    pub(super) async fn mark(&self, mark: &RepairMark) {
        if self.marks.add(mark) {
            tracing::warn!(host = %mark.target, table = mark.table, "a replica has to be repaired: hints for it were given up");
            // Tried again soon; nothing else can be done.
            let _: Result<(), _> = self.marks.save(&self.store, &self.saves).await;
        }
    }

    /// Saves the marks that say more than was saved.
    pub(super) async fn save_marks(&self) -> Result<(), ReplicaError> {
        self.marks.save(&self.store, &self.saves).await
    }

    /// What is kept, for people.
    pub(crate) fn status(&self) -> HintStatus {
        let state = self.state.lock();
        let targets = state.targets.iter().map(|(&host_id, runs)| HintedTarget {
            host_id,
            runs: runs.len(),
            hints: runs.iter().map(Run::pending).sum(),
            bytes: runs.iter().map(|run| self.bytes_of(run)).sum(),
            oldest_run_us: runs.front().map_or(0, |run| run.opened_at.0),
        });
        HintStatus {
            is_paused: state.is_paused,
            targets: targets.collect(),
            marks: self.marks.list(),
            counters: self.counted.read(),
        }
    }
}

/// A hint that is on its way into its tree.
struct Inside<'a> {
    hints: &'a Hints,
    target: HostId,
    tree: TableId,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.hints.state.lock();
        let runs = state.targets.get_mut(&self.target).into_iter().flatten();
        for run in runs.filter(|run| run.tree == self.tree) {
            run.in_flight -= 1;
        }
        self.hints.news.notify_one();
    }
}

/// Creates a tree under the first id from here on that none has had: one may have been created before a crash, and its id
/// not saved.
fn create_first(engine: &helenus_storage::Engine, first: u32) -> Result<TableId, Error> {
    let mut tree = TableId(first);
    loop {
        match engine.create_table(tree) {
            Err(Error::TableDropped(_)) if tree.0 < u32::MAX => tree.0 += 1,
            created => return created.map(|()| tree),
        }
    }
}
