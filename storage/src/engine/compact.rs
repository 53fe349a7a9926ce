//! The compact step: SSTables are merged, or dropped.
//!
//! Any number of threads may be in it, each with SSTables that no other has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    compaction::{
        Candidate, Cuts, Deadlines, Purge, due_by_density, due_by_time, expired, is_worth_rewriting, limit,
        merge_tables, merged_density, shards,
    },
    engine::{
        Compaction, CompactionKind, Engine, Event, Step, StepOutcome,
        compactions::{Claim, Plan, State},
        debt::candidates,
    },
    error::{Error, Result},
    manifest::Edit,
    sstable::{FileId, TableReader, TableWriter},
    table_options::{Strategy, TableOptions, Unified},
    tree::{Tree, View},
};

/// Share of records that could be purged which makes it worthwhile to rewrite an SSTable for them.
const DROPPABLE_RATIO: f64 = 0.2;
/// Time after which rewriting that was in vain is tried again.
const IN_VAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest rest of a merge before it looks again how long it has to be.
const GLANCE: Duration = Duration::from_millis(250);
/// An output of unified compaction is cut after so many times its target, wherever that is.
const MOST_OVER_TARGET: u64 = 2;

/// Is told how many bytes of its inputs a merge has read, and says whether to go on.
pub(super) type GoOn<'a> = &'a dyn Fn(u64) -> bool;

impl Engine {
    /// What merges are under way.
    pub fn compactions(&self) -> Vec<Compaction> {
        self.compactions.list()
    }

    /// Bytes of SSTables that merges may read in a second; 0 for no limit.
    pub fn compaction_throughput(&self) -> u64 {
        self.throttle.bytes_per_second.load(Ordering::Relaxed)
    }

    /// What that is raised to for the debt there is now; `None` for no limit.
    pub fn compaction_limit(&self) -> Option<f64> {
        limit(self.compaction_throughput(), self.compaction_debt().pressure(&self.options))
    }

    /// Changes [`Engine::compaction_throughput`], also for merges that are under way: one that rests notices within
    /// a quarter of a second. [`Options::compaction_bytes_per_second`] is what it is at first.
    ///
    /// [`Options::compaction_bytes_per_second`]: crate::Options::compaction_bytes_per_second
    pub fn set_compaction_throughput(&self, bytes_per_second: u64) {
        self.throttle.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Ends a merge that is under way, as soon as it notices; nothing of it is left. What it was to merge is taken up
    /// again after the next flush. False if there is none with this id.
    pub fn cancel_compaction(&self, id: u64) -> bool {
        self.compactions.cancel(id)
    }

    /// Ends all merges that are under way, which leave nothing, and returns when they have; until the engine is opened anew
    /// none begins, and [`Engine::compact_table`] answers [`Error::Cancelled`].
    pub fn end_compactions(&self) {
        self.compactions.end();
    }

    /// File names of SSTables in which merges found damage: no merge takes them any more, so that the others go on.
    /// Opening the engine anew tries once again.
    pub fn set_aside(&self) -> Vec<String> {
        self.compactions.aside().into_iter().map(TableReader::file_name).collect()
    }

    /// Merges once. Reads and flushes go on meanwhile, and readers that still hold an input keep it.
    pub(super) fn compact(&self) -> Result<StepOutcome> {
        self.begin()?;
        let state = self.compactions.lock();
        let Some(plan) = self.next_merge(&state) else { return Ok(StepOutcome::Idle) };
        let claim = self.compactions.claim(state, plan);
        // Whoever shuts the engine waits for the claims of those who have not noticed.
        self.condition.check()?;
        if self.options.compaction_threads > 1 && self.is_merge_due() {
            self.listener.tell(Step::Compact);
        }
        match self.carry_out(&claim, &|_| true) {
            // Until something new is there to be merged.
            Err(Error::Cancelled | Error::NoSuchTable(_)) => Ok(StepOutcome::Idle),
            outcome => outcome.map(|_| StepOutcome::Worked),
        }
    }

    /// Whether a merge could begin.
    pub(super) fn is_merge_due(&self) -> bool {
        self.next_merge(&self.compactions.lock()).is_some()
    }

    /// Merges, and answers what came of it.
    pub(super) fn carry_out(&self, claim: &Claim<'_>, go_on: GoOn<'_>) -> Result<Vec<Arc<TableReader>>> {
        let deadlines = self.deadlines(&claim.plan.tree);
        let outcome = match (claim.plan.kind, deadlines) {
            (CompactionKind::Expired, Some(deadlines)) => self.drop_expired(claim, deadlines),
            _ => self.merge_purging(claim, deadlines, go_on),
        };
        outcome.inspect_err(|failure| {
            self.compactions.set_aside(&claim.plan.inputs, failure);
            if matches!(failure, Error::Cancelled) {
                crate::sometimes!("a merge was cancelled");
            }
        })
    }

    fn drop_expired(&self, claim: &Claim<'_>, deadlines: Deadlines) -> Result<Vec<Arc<TableReader>>> {
        let Plan { tree, inputs, .. } = &claim.plan;
        // The memtables may have taken something in since the plan was made.
        let still = expired(&tree.view(), deadlines, |table| contains(inputs, table.file().id)).len();
        if still < inputs.len() || self.purge(claim, deadlines).is_undone(&[])? {
            return Ok(Vec::new());
        }
        crate::sometimes!("expired tables were dropped unread");
        self.replace(claim, &[]).map(|()| Vec::new())
    }

    fn merge_purging(
        &self,
        claim: &Claim<'_>,
        deadlines: Option<Deadlines>,
        go_on: GoOn<'_>,
    ) -> Result<Vec<Arc<TableReader>>> {
        let purge = deadlines.map(|deadlines| self.purge(claim, deadlines));
        let mut outputs = self.build_outputs(claim, purge.as_ref(), go_on)?;
        if let Some(purge) = &purge {
            let undone = purge.is_undone(&outputs).inspect_err(|_| self.discard_all(&outputs))?;
            if undone {
                self.discard_all(&outputs);
                outputs = self.build_outputs(claim, None, go_on)?;
            }
        }
        self.replace(claim, &outputs)?;
        if let (CompactionKind::Tombstones, Some(deadlines), Some(clock)) =
            (claim.plan.kind, deadlines, &self.options.clock)
        {
            let has_many = |output: &&Arc<TableReader>| {
                output.stats().droppable_ratio(deadlines.gc_before) > DROPPABLE_RATIO
            };
            let in_vain = outputs.iter().filter(has_many).map(|output| output.file().id);
            self.compactions.note_in_vain(in_vain, clock.now());
        }
        Ok(outputs)
    }

    fn purge<'a>(&'a self, claim: &'a Claim<'_>, deadlines: Deadlines) -> Purge<'a> {
        let Plan { table, tree, inputs, begun, .. } = &claim.plan;
        let filter = self.options.purge_filter.as_ref();
        // Tables that are dropped unread are purged as a whole.
        let has_purged = AtomicBool::new(claim.plan.kind == CompactionKind::Expired);
        Purge { deadlines, table: *table, tree, inputs, begun, filter, has_purged }
    }

    /// Merges the inputs into SSTables that nothing refers to yet; of a merge that failed nothing is left.
    fn build_outputs(
        &self,
        claim: &Claim<'_>,
        purge: Option<&Purge<'_>>,
        go_on: GoOn<'_>,
    ) -> Result<Vec<Arc<TableReader>>> {
        let Plan { inputs, .. } = &claim.plan;
        let cuts = self.cuts(&claim.plan);
        let mut ids = Vec::new();
        let new_output = || {
            let id = self.manifest.lock().new_file_id().inspect_err(|e| drop(self.fail(e)))?;
            ids.push(id);
            TableWriter::create(Arc::clone(&self.disk), &self.directory, id, &self.options)
        };
        let mut paid = 0;
        let pay = |read| {
            claim.running.reach(read);
            self.pace(claim, read - paid, &|| go_on(read))?;
            paid = read;
            Ok(())
        };
        let built = merge_tables(inputs, cuts, purge, new_output, pay).and_then(|files| {
            files.into_iter().map(|file| self.open_table(file)).collect::<Result<Vec<_>>>()
        });
        built.inspect_err(|failure| {
            crate::sometimes!("a flush or merge failed and was cleaned up");
            ids.iter().for_each(|&id| self.discard(id));
            if let Error::StorageFull { .. } = failure {
                self.make_room_on_disk();
            }
            if failure.is_failed_directory_sync() {
                self.fail(failure);
            }
        })
    }

    /// Whether to go on after so many bytes, when the merge has rested for as long as it was too fast.
    fn pace(&self, claim: &Claim<'_>, read: u64, go_on: &dyn Fn() -> bool) -> Result<()> {
        self.throttle.take(read);
        loop {
            self.condition.check()?;
            if claim.running.is_cancelled() || !go_on() {
                return Err(Error::Cancelled);
            }
            let now = Instant::now();
            let wait = self.throttle.wait(self.compaction_limit(), now);
            if wait.is_zero() {
                return Ok(());
            }
            // Setting and debt may change meanwhile, and the wait with them.
            claim.running.rest(now + wait.min(GLANCE));
        }
    }

    /// Makes the outputs what is live instead of the inputs.
    fn replace(&self, claim: &Claim<'_>, outputs: &[Arc<TableReader>]) -> Result<()> {
        let Plan { table, tree, inputs, .. } = &claim.plan;
        let table = *table;
        let ids: Vec<FileId> = inputs.iter().map(|input| input.file().id).collect();
        // In one frame.
        let mut edits: Vec<Edit> = ids.iter().map(|&id| Edit::RemoveFile { table, id }).collect();
        edits.extend(outputs.iter().map(|reader| Edit::AddFile { table, file: reader.file().clone() }));
        self.record_tables(table, &edits, outputs)?;
        tree.merged(&ids, outputs);
        crate::sometimes!("tables were merged");
        self.counted.compactions.fetch_add(1, Ordering::Relaxed);
        let output_bytes = outputs.iter().map(|output| output.file().length_bytes).sum();
        self.counted.compaction_written_bytes.fetch_add(output_bytes, Ordering::Relaxed);
        self.listener.tell_done(&Event::Compacted {
            table,
            kind: claim.plan.kind,
            input_tables: inputs.len(),
            input_bytes: claim.plan.input_bytes(),
            output_tables: outputs.len(),
            output_bytes,
            elapsed: claim.running.elapsed(),
        });
        self.compactions.forget(&ids);
        self.measure_debt();
        self.leaving.add(inputs);
        // Only now: until the manifest was durable, a crash would have needed them.
        self.remove_tables(&ids)
    }

    /// Removes SSTables that the manifest has forgotten, and answers the last failure. One that cannot be removed is an
    /// orphan for the next recovery, and no reason to keep the others.
    pub(super) fn remove_tables(&self, ids: &[FileId]) -> Result<()> {
        let mut outcome = Ok(());
        for &id in ids {
            let path = self.directory.join(TableReader::file_name(id));
            if let Err(e) = self.disk.remove(&path) {
                outcome = Err(Error::io("remove", path, e));
            }
        }
        outcome
    }

    fn discard_all(&self, outputs: &[Arc<TableReader>]) {
        outputs.iter().for_each(|output| self.discard(output.file().id));
    }

    /// The most urgent merge of the table that has most to merge.
    fn next_merge(&self, state: &State) -> Option<Plan> {
        if state.has_ended() {
            return None;
        }
        let (running, largest) = state.load();
        // The last thread is kept for a merge that is done sooner than those under way: else large ones hold up all.
        let is_last = running > 0 && running + 1 >= self.options.compaction_threads;
        let trees = self.trees.load();
        let plans =
            trees.iter().filter(|(table, _)| !state.is_reserved(**table)).filter_map(|(&table, tree)| {
                let view = tree.view();
                let (kind, inputs) = self.next_of(state, tree, &view)?;
                Some(Plan::new(table, Arc::clone(tree), kind, inputs, &view))
            });
        plans
            .filter(|plan| !is_last || plan.input_bytes() < largest)
            .max_by_key(|plan| (plan.kind == CompactionKind::Expired, plan.inputs.len()))
    }

    fn next_of(
        &self,
        state: &State,
        tree: &Tree,
        view: &View,
    ) -> Option<(CompactionKind, Vec<Arc<TableReader>>)> {
        let is_free = |table: &TableReader| state.is_free(table.file().id);
        let deadlines = self.deadlines(tree);
        if let (Some(deadlines), None) = (deadlines, &self.options.purge_filter) {
            let expired = expired(view, deadlines, is_free);
            if !expired.is_empty() {
                return Some((CompactionKind::Expired, expired.into_iter().map(Arc::clone).collect()));
            }
        }
        let (candidates, _) = candidates(view, |id| state.is_free(id));
        if let Some(chosen) = self.due(tree, &candidates).into_iter().next() {
            let chosen = &chosen[..chosen.len().min(self.options.merge_max_tables.max(2))];
            let inputs = view.tables.iter().filter(|table| chosen.contains(&table.file().id));
            return Some((CompactionKind::Strategy, inputs.map(Arc::clone).collect()));
        }
        let (deadlines, now) = (deadlines?, self.options.clock.as_ref()?.now());
        let pause = u64::try_from(IN_VAIN.as_micros()).unwrap_or(u64::MAX);
        let was_in_vain = |id| state.in_vain(id).is_some_and(|since| now.0 < since.0.saturating_add(pause));
        let worthwhile = view.tables.iter().find(|table| {
            is_free(table)
                && !was_in_vain(table.file().id)
                && is_worth_rewriting(table, view, deadlines, DROPPABLE_RATIO)
        });
        worthwhile.map(|table| (CompactionKind::Tombstones, vec![Arc::clone(table)]))
    }

    /// What the strategy of the table wants merged, the most urgent first.
    pub(super) fn due(&self, tree: &Tree, candidates: &[Candidate]) -> Vec<Vec<FileId>> {
        match &self.options_of(tree).strategy {
            Strategy::Unified(unified) => {
                let due = due_by_density(candidates, unified, tree.flush_bytes());
                due.into_iter().map(|due| due.tables).collect()
            }
            Strategy::TimeWindow(windows) => due_by_time(candidates, *windows, tree.flush_bytes()),
        }
    }

    fn cuts(&self, plan: &Plan) -> Cuts {
        let space = plan.space;
        match &self.options_of(&plan.tree).strategy {
            Strategy::Unified(unified) => {
                let Unified { target_bytes, min_bytes, .. } = *unified;
                let inputs: Vec<_> = plan.inputs.iter().map(|table| Candidate::of(table, space)).collect();
                let density = merged_density(inputs.iter(), unified);
                let max_bytes = target_bytes.saturating_mul(MOST_OVER_TARGET).max(min_bytes);
                Cuts { space, shards: shards(unified, density), min_bytes, max_bytes }
            }
            Strategy::TimeWindow(_) => Cuts { space, shards: 1, min_bytes: 0, max_bytes: u64::MAX },
        }
    }

    /// What may be purged now; nothing without a clock.
    fn deadlines(&self, tree: &Tree) -> Option<Deadlines> {
        let clock = self.options.clock.as_ref()?;
        Some(Deadlines::at(clock.now(), self.options_of(tree).gc_grace))
    }

    pub(super) fn options_of(&self, tree: &Tree) -> Arc<TableOptions> {
        tree.options().unwrap_or_else(|| Arc::new(self.options.table.clone()))
    }
}

fn contains(tables: &[Arc<TableReader>], id: FileId) -> bool {
    tables.iter().any(|table| table.file().id == id)
}
