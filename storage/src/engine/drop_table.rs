//! Dropping a table.
//!
//! ```text
//! manifest's lock   edit, durable; the tree is taken away     from here on it is gone, also after a crash
//! log's lock        held once, and let go                     who found the tree before that has entered it
//! no lock           merges are cancelled, who waits is told, writers leave, memory is released, files are removed
//! ```
//!
//! Nobody is waited for but writers that are in their sync: a flush or merge that is under way finds that the table is
//! gone when it wants to record what it wrote, and discards it. What readers have open they read to its end. Mutations
//! that were accepted before, and reach the log after the drop, are in the log and nowhere else; replay skips them,
//! like all others of the table, as long as the log mentions it. Its part of the log is let go by the next flush step.
//!
//! Ids never come back, so the manifest remembers them for ever, at next to no cost if they are given out in sequence:
//! see `manifest`. Rejected: to forget an id once the log cannot mention it any more. A mutation that was accepted for
//! the old table, or that a peer sends late, would find the new one.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine::{Engine, Step, TableId},
    error::{Error, Result},
    manifest::Edit,
    sstable::FileId,
    tree::Tree,
};

impl Engine {
    /// Drops a table with all its records, durably and for ever: no table has its id again. Takes one write of the
    /// manifest and the removal of files, whatever other tables hold. Dropping a dropped one is a no-op. Snapshots
    /// keep what they have of it.
    ///
    /// Who applies to the table meanwhile gets [`Error::NoSuchTable`], or succeeds as if it had been just before.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`] if there never was one; [`Error::StorageFull`]; an [`Error::Io`] of the manifest, which
    /// poisons the engine, or of a file that could not be removed: then the table is gone, and the next opening removes
    /// the file. [`Error::Poisoned`], [`Error::Closed`].
    pub fn drop_table(&self, table: TableId) -> Result<()> {
        self.begin()?;
        let _turn = self.dropping.lock();
        let Some((tree, files)) = self.take_away(table)? else { return Ok(()) };
        self.counted.dropped_reads.lock().add(&tree.read_costs());
        drop(self.log.lock());
        self.compactions.cancel_table(table);
        self.compactions.forget(&files);
        self.tell_dropped(table);
        self.leaving.add(&tree.view().tables);
        drop(tree);
        // Opens the room as well, for those who wait for memory.
        self.measure_debt();
        self.listener.tell(Step::Flush);
        self.listener.tell(Step::Compact);
        self.remove_tables(&files)
    }

    /// Makes it so that there is no such table, and answers what it had; nothing if it was dropped before.
    fn take_away(&self, table: TableId) -> Result<Option<(Arc<Tree>, Vec<FileId>)>> {
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        if manifest.state().dropped.contains(table) {
            return Ok(None);
        }
        let live = manifest.state().tables.get(&table).ok_or(Error::NoSuchTable(table.0))?;
        let files = live.files.keys().copied().collect();
        manifest
            .append(&[Edit::DropTables { first: table, last: table }])
            .inspect_err(|e| drop(self.fail(e)))?;
        let before = self.trees.rcu(|trees| {
            let mut trees = BTreeMap::clone(trees);
            trees.remove(&table);
            trees
        });
        Ok(before.get(&table).map(|tree| (Arc::clone(tree), files)))
    }
}
