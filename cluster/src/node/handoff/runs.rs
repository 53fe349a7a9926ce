//! All hints that a node keeps: its runs, and the marks of what it gave up.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use helenus_storage::{Error, TableId};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::{
    marks::Marks,
    run::Run,
    saved::{self, Saves},
    status::{Counted, HintStatus, HintedTarget},
};
use crate::{
    handoff::{Life, RepairMark},
    message::ReplicaError,
    node::{StartError, clock::NodeClock, local_store::LocalStore, own_trees::FIRST_RUN},
    node_id::HostId,
    settings::Settings,
    time::Timestamp,
};

/// A run takes hints for this part of the window, so that what has expired is dropped unread soon after.
pub(super) const RUN_AGE_DIVISOR: u32 = 8;

/// All hints that this node keeps.
#[derive(Debug)]
pub(crate) struct Hints {
    pub(super) store: Arc<LocalStore>,
    pub(super) clock: Arc<NodeClock>,
    pub(super) window: Duration,
    pub(super) quota_bytes: u64,
    pub(super) state: Mutex<State>,
    pub(super) saves: Saves,
    marks: Marks,
    pub(super) counted: Counted,
    /// Held by whoever opens a run.
    pub(super) opening: tokio::sync::Mutex<()>,
    pub(super) in_flight: Semaphore,
    /// There may be something to deliver.
    pub(super) news: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    /// Oldest run first; no target is without.
    pub(super) targets: BTreeMap<HostId, VecDeque<Run>>,
    pub(super) next_tree: u32,
    is_paused: bool,
}

impl State {
    pub(super) fn run(&mut self, target: HostId, tree: TableId) -> Option<&mut Run> {
        self.targets.get_mut(&target)?.iter_mut().find(|run| run.tree == tree)
    }
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
            let newest = newest.map_or(0, |newest| newest.0);
            let opened_at = Timestamp(run.opened_at_us);
            let run_of = targets.entry(run.target).or_default();
            run_of.push_back(Run::reloaded(tree, opened_at, run.cursor, newest));
        }
        let counted = Counted::default();
        counted.reloaded(targets.values().flatten().map(Run::pending).sum());
        Ok(Self {
            clock,
            window: settings.hint_window,
            quota_bytes: settings.hint_bytes,
            state: Mutex::new(State { targets, next_tree, is_paused: false }),
            saves,
            marks: Marks::of(loaded.marks),
            counted,
            opening: tokio::sync::Mutex::default(),
            in_flight: Semaphore::new(settings.hints_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            news: Notify::new(),
            store,
        })
    }

    /// How long hints live at most.
    pub(super) fn life(&self) -> Life {
        Life { window: self.window, margin: self.clock.margin() }
    }

    /// Bytes that all runs take.
    pub(crate) fn bytes(&self) -> u64 {
        let state = self.state.lock();
        state.targets.values().flatten().map(|run| self.bytes_of(run.tree)).sum()
    }

    pub(super) fn bytes_of(&self, tree: TableId) -> u64 {
        // One that is being dropped takes nothing.
        self.store.engine().table_bytes(tree).unwrap_or(0)
    }

    /// The targets for which there is something to do now.
    pub(super) fn targets(&self) -> BTreeSet<HostId> {
        let state = self.state.lock();
        let is_due = |runs: &VecDeque<Run>| {
            runs.front().is_some_and(|run| run.waiting().is_some() || (run.is_done() && !run.is_open))
        };
        state.targets.iter().filter(|(_, runs)| is_due(runs)).map(|(target, _)| *target).collect()
    }

    /// The hints that wait for a target.
    pub(super) fn pending(&self, target: HostId) -> u64 {
        let state = self.state.lock();
        state.targets.get(&target).into_iter().flatten().map(Run::pending).sum()
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

    /// Notes that a target lacks something, since and until times of the clock of ages: a mark is for people, and says them
    /// by the wall clock. To be followed by [`Hints::save_marks`] before whatever would have brought it
    /// is forgotten.
    pub(super) fn mark(&self, mark: &RepairMark) {
        let wall_time = |age| self.clock.wall_time_of(Timestamp(age)).0;
        let (since_us, until_us) = (wall_time(mark.since_us), wall_time(mark.until_us));
        if self.marks.add(&RepairMark { since_us, until_us, ..mark.clone() }) {
            tracing::warn!(host = %mark.target, table = mark.table, "a replica has to be repaired: hints for it were given up");
        }
    }

    /// Saves the marks that say more than was saved; all that were noted before the call.
    ///
    /// # Errors
    /// Of storage. What was not saved will be tried again.
    pub(crate) async fn save_marks(&self) -> Result<(), ReplicaError> {
        self.marks.save(&self.store, &self.saves).await
    }

    /// Forgets the marks of which this is true, and answers how many there were.
    pub(crate) async fn forget_marks(
        &self,
        is_over: impl Fn(&RepairMark) -> bool,
    ) -> Result<u64, ReplicaError> {
        self.marks.forget(&self.store, &self.saves, is_over).await
    }

    /// What is kept, for people.
    pub(crate) fn status(&self) -> HintStatus {
        let state = self.state.lock();
        let targets = state.targets.iter().map(|(&host_id, runs)| HintedTarget {
            host_id,
            runs: runs.len(),
            hints: runs.iter().map(Run::pending).sum(),
            bytes: runs.iter().map(|run| self.bytes_of(run.tree)).sum(),
            oldest_run_us: runs.front().map_or(0, |run| self.clock.wall_time_of(run.opened_at).0),
        });
        HintStatus {
            is_paused: state.is_paused,
            targets: targets.collect(),
            marks: self.marks.list(),
            counters: self.counted.read(),
        }
    }
}
