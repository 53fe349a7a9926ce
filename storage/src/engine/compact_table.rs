//! All SSTables of a table are merged, on request.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    compaction::next_pass,
    engine::{CompactionKind, Engine, Step, TableId, compact::GoOn, compactions::Plan, debt::candidates},
    error::{Error, Result},
    sstable::FileId,
};

impl Engine {
    /// Merges all SSTables that a table has now, on the calling thread and after the merges of it that are under way.
    /// That takes several merges where a key may be in more than [`Options::merge_max_tables`] of them.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`], [`Error::Cancelled`], and those of [`Engine::step`].
    ///
    /// [`Error::NoSuchTable`]: crate::Error::NoSuchTable
    /// [`Error::Cancelled`]: crate::Error::Cancelled
    /// [`Options::merge_max_tables`]: crate::Options::merge_max_tables
    pub fn compact_table(&self, table: TableId) -> Result<()> {
        self.compact_table_while(table, |_| true)
    }

    /// As [`Engine::compact_table`]. `go_on` is asked several times a second, while others are waited for too: it is told
    /// how many bytes of the SSTables are read, and may end the merge.
    ///
    /// # Errors
    /// As [`Engine::compact_table`].
    pub fn compact_table_while(&self, table: TableId, go_on: impl Fn(u64) -> bool) -> Result<()> {
        self.condition.check()?;
        self.begin()?;
        let reservation = self.compactions.reserve(table, || {
            self.condition.check()?;
            if go_on(0) { Ok(()) } else { Err(Error::Cancelled) }
        })?;
        let outcome = self.merge_all(table, &go_on);
        drop(reservation);
        self.listener.tell(Step::Compact);
        outcome
    }

    /// Whoever calls it has reserved the table.
    fn merge_all(&self, table: TableId, go_on: GoOn<'_>) -> Result<()> {
        // Not what flushes add meanwhile: it would end when they do.
        let mut all: BTreeSet<FileId> = self.tree(table)?.view().tables.iter().map(|t| t.file().id).collect();
        let mut before = 0;
        loop {
            let state = self.compactions.lock();
            if state.has_ended() {
                return Err(Error::Cancelled);
            }
            // Only now: a drop of the table ends what has begun before it.
            let tree = self.tree(table)?;
            let begun = tree.view();
            let (left, _) = candidates(&begun, |id| all.contains(&id) && state.is_free(id));
            if left.is_empty() {
                return Ok(());
            }
            let chosen = next_pass(&left, self.options.merge_max_tables);
            let is_last = chosen.len() == left.len();
            let inputs = begun.tables.iter().filter(|reader| chosen.contains(&reader.file().id));
            let inputs = inputs.map(Arc::clone).collect();
            let plan = Plan::new(table, tree, CompactionKind::Major, inputs, &begun);
            let claim = self.compactions.claim(state, plan);
            self.condition.check()?;
            let outputs = self.carry_out(&claim, &|read| go_on(before + read))?;
            before += claim.plan.input_bytes();
            if is_last {
                return Ok(());
            }
            crate::sometimes!("a major merge took several passes");
            all.extend(outputs.iter().map(|output| output.file().id));
        }
    }
}
