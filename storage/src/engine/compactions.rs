//! Which merges are under way, and which SSTables they, or nobody, may take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    compaction::KeySpace,
    engine::debt::key_space,
    error::{Error, Result},
    pace::RecentPace,
    record::Timestamp,
    sstable::{FileId, TableReader},
    table_id::TableId,
    tree::{Tree, View},
};

/// Why SSTables are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CompactionKind {
    /// The strategy of the table says so.
    Strategy,
    /// All of a table, on request.
    Major,
    /// One SSTable, for what of it could be purged.
    Tombstones,
    /// Whole SSTables of which nothing is needed any more; they are not read.
    Expired,
}

impl CompactionKind {
    /// Its name, for operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Major => "major",
            Self::Tombstones => "tombstones",
            Self::Expired => "expired",
        }
    }
}

/// A merge that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// Names it; never used twice while the engine is open.
    pub id: u64,
    /// Whose SSTables are merged.
    pub table: TableId,
    /// Why.
    pub kind: CompactionKind,
    /// How many SSTables.
    pub input_tables: usize,
    /// Their bytes.
    pub input_bytes: u64,
    /// How many of them were read. One that has to be done again, since something came in between, begins anew.
    pub done_bytes: u64,
    /// How many of them were read in a second lately; `None` as long as that is none.
    pub bytes_per_second: Option<u64>,
    /// Time since it began.
    pub elapsed: Duration,
}

/// What a merge is to do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: TableId,
    pub(super) tree: Arc<Tree>,
    pub(super) kind: CompactionKind,
    pub(super) inputs: Vec<Arc<TableReader>>,
    /// The SSTables of the table when the inputs were chosen. Only their names: they, and above all the memtables there
    /// were, would be kept as long as a merge takes.
    pub(super) begun: BTreeSet<FileId>,
    /// What these are spread over.
    pub(super) space: KeySpace,
}

impl Plan {
    /// The merge of these SSTables of a table that consists of `begun`.
    pub(super) fn new(
        table: TableId,
        tree: Arc<Tree>,
        kind: CompactionKind,
        inputs: Vec<Arc<TableReader>>,
        begun: &View,
    ) -> Self {
        let space = key_space(begun);
        let begun = begun.tables.iter().map(|table| table.file().id).collect();
        Self { table, tree, kind, inputs, begun, space }
    }

    pub(super) fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.file().length_bytes).sum()
    }
}

/// A plan whose inputs nobody else takes, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) id: u64,
    pub(super) plan: Plan,
    pub(super) running: Arc<Running>,
    compactions: &'a Compactions,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.compactions.state.lock().running.remove(&self.id);
        self.compactions.changed.notify_all();
    }
}

/// What others see of a merge.
#[derive(Debug)]
pub(super) struct Running {
    table: TableId,
    kind: CompactionKind,
    inputs: BTreeSet<FileId>,
    input_bytes: u64,
    done: Mutex<Done>,
    began: Instant,
    is_cancelled: AtomicBool,
    /// Woken by a cancellation.
    waiting: Mutex<()>,
    woken: Condvar,
}

/// How far a merge is.
#[derive(Debug)]
struct Done {
    bytes: u64,
    pace: RecentPace,
}

impl Running {
    /// Notes how many bytes of the inputs were read.
    pub(super) fn reach(&self, bytes: u64) {
        let mut done = self.done.lock();
        done.bytes = bytes;
        done.pace.note(bytes, Instant::now());
    }

    /// Time since it began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn shown(&self, id: u64) -> Compaction {
        let done = self.done.lock();
        let pace = done.pace.per_second(done.bytes, Instant::now());
        Compaction {
            id,
            table: self.table,
            kind: self.kind,
            input_tables: self.inputs.len(),
            input_bytes: self.input_bytes,
            done_bytes: done.bytes.min(self.input_bytes),
            bytes_per_second: pace.map(|bytes| bytes.ceil() as u64),
            elapsed: self.began.elapsed(),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Waits until the time has passed or the merge is cancelled.
    pub(super) fn rest(&self, until: Instant) {
        let mut waiting = self.waiting.lock();
        while !self.is_cancelled() && !self.woken.wait_until(&mut waiting, until).timed_out() {}
    }
}

/// All merges of an engine.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    state: Mutex<State>,
    /// A merge has ended.
    changed: Condvar,
}

/// Who has which SSTables.
#[derive(Debug, Default)]
pub(super) struct State {
    last_id: u64,
    running: BTreeMap<u64, Arc<Running>>,
    /// Damaged SSTables, which no merge takes.
    aside: BTreeSet<FileId>,
    /// Tables that someone waits for to merge as a whole.
    reserved: BTreeSet<TableId>,
    /// When SSTables were rewritten for their tombstones, and kept too many.
    in_vain: BTreeMap<FileId, Timestamp>,
    has_ended: bool,
}

impl State {
    /// Whether no merge begins any more.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether no merge has it and one may take it.
    pub(super) fn is_free(&self, id: FileId) -> bool {
        !self.aside.contains(&id) && self.running.values().all(|running| !running.inputs.contains(&id))
    }

    /// Whether only whoever reserved the table may merge it.
    pub(super) fn is_reserved(&self, table: TableId) -> bool {
        self.reserved.contains(&table)
    }

    /// Number of merges, and the size of the largest.
    pub(super) fn load(&self) -> (usize, u64) {
        let largest = self.running.values().map(|running| running.input_bytes).max();
        (self.running.len(), largest.unwrap_or(0))
    }

    /// When the SSTable was rewritten in vain.
    pub(super) fn in_vain(&self, id: FileId) -> Option<Timestamp> {
        self.in_vain.get(&id).copied()
    }
}

impl Compactions {
    /// What plans are made with; nobody else makes one meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes the inputs of a plan that was made under this guard.
    pub(super) fn claim(&self, mut state: MutexGuard<'_, State>, plan: Plan) -> Claim<'_> {
        state.last_id += 1;
        let (id, began) = (state.last_id, Instant::now());
        let running = Arc::new(Running {
            table: plan.table,
            kind: plan.kind,
            inputs: plan.inputs.iter().map(|input| input.file().id).collect(),
            input_bytes: plan.input_bytes(),
            done: Mutex::new(Done { bytes: 0, pace: RecentPace::begun(began) }),
            began,
            is_cancelled: AtomicBool::new(false),
            waiting: Mutex::default(),
            woken: Condvar::new(),
        });
        state.running.insert(id, Arc::clone(&running));
        Claim { id, plan, running, compactions: self }
    }

    /// Keeps others from starting merges of a table, and waits for those under way.
    ///
    /// # Errors
    /// That of `go_on`, which is asked now and then.
    pub(super) fn reserve(&self, table: TableId, go_on: impl Fn() -> Result<()>) -> Result<Reservation<'_>> {
        let mut state = self.state.lock();
        while !state.reserved.insert(table) {
            go_on()?;
            self.changed.wait_for(&mut state, GLANCE);
        }
        let reservation = Reservation { table, compactions: self };
        let mut outcome = Ok(());
        while outcome.is_ok() && state.running.values().any(|running| running.table == table) {
            self.changed.wait_for(&mut state, GLANCE);
            outcome = go_on();
        }
        // Dropping the reservation takes the lock.
        drop(state);
        outcome.map(|()| reservation)
    }

    /// Leaves a damaged SSTable out from now on, if the failure names one of these.
    pub(super) fn set_aside(&self, inputs: &[Arc<TableReader>], failure: &Error) {
        let Error::Corrupt { path, .. } = failure else { return };
        let damaged = inputs.iter().map(|input| input.file().id).find(|id| {
            path.file_name().is_some_and(|name| name.to_str() == Some(&*TableReader::file_name(*id)))
        });
        if let Some(id) = damaged {
            crate::sometimes!("a damaged SSTable was set aside");
            self.state.lock().aside.insert(id);
        }
    }

    /// Damaged SSTables that were set aside, ascending.
    pub(super) fn aside(&self) -> Vec<FileId> {
        self.state.lock().aside.iter().copied().collect()
    }

    /// Notes that rewriting for tombstones led to these, which have as many as before.
    pub(super) fn note_in_vain(&self, outputs: impl Iterator<Item = FileId>, now: Timestamp) {
        self.state.lock().in_vain.extend(outputs.map(|id| (id, now)));
    }

    /// Forgets SSTables that are gone.
    pub(super) fn forget(&self, ids: &[FileId]) {
        let mut state = self.state.lock();
        for id in ids {
            state.in_vain.remove(id);
            state.aside.remove(id);
        }
    }

    /// Ends a merge; false if there is none with this id.
    pub(super) fn cancel(&self, id: u64) -> bool {
        let running = self.state.lock().running.get(&id).map(Arc::clone);
        running.as_deref().inspect(|running| cancel(running)).is_some()
    }

    /// Ends all merges of a table.
    pub(super) fn cancel_table(&self, table: TableId) {
        let state = self.state.lock();
        state.running.values().filter(|running| running.table == table).for_each(|running| cancel(running));
    }

    /// Ends all merges for good, and waits until they have.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.has_ended = true;
        while !state.running.is_empty() {
            state.running.values().for_each(|running| cancel(running));
            self.changed.wait(&mut state);
        }
    }

    /// What is under way, by id.
    pub(super) fn list(&self) -> Vec<Compaction> {
        let state = self.state.lock();
        let shown = state.running.iter().map(|(&id, running)| running.shown(id));
        shown.collect()
    }
}

/// Time between two looks at whether to go on waiting.
const GLANCE: Duration = Duration::from_millis(50);

fn cancel(running: &Running) {
    // Under the lock, so that whoever is about to rest notices.
    let _waiting = running.waiting.lock();
    running.is_cancelled.store(true, Ordering::Release);
    running.woken.notify_all();
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    table: TableId,
    compactions: &'a Compactions,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.compactions.state.lock().reserved.remove(&self.table);
        self.compactions.changed.notify_all();
    }
}
