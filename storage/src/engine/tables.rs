//! Which tables there are, and what is known of each without reading it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine::{Engine, Step, TableId},
    error::{Error, Result},
    manifest::Edit,
    memtable::Memtable,
    record::Timestamp,
    table_options::TableOptions,
    tree::Tree,
};

impl Engine {
    /// Creates a table durably, without options of its own. Creating one that exists is a no-op.
    ///
    /// # Errors
    /// [`Error::TableDropped`] for an id that a table had before; [`Error::Io`], which poisons the engine;
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn create_table(&self, table: TableId) -> Result<()> {
        self.create(table, None)
    }

    /// Creates a table durably, with these options. One that exists keeps those it has.
    ///
    /// # Errors
    /// As [`Engine::create_table`].
    pub fn create_table_with(&self, table: TableId, options: TableOptions) -> Result<()> {
        self.create(table, Some(options))
    }

    fn create(&self, table: TableId, options: Option<TableOptions>) -> Result<()> {
        self.begin()?;
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        if self.trees.load().contains_key(&table) {
            return Ok(());
        }
        if manifest.state().dropped.contains(table) {
            return Err(Error::TableDropped(table.0));
        }
        let mut edits = vec![Edit::CreateTable { table }];
        edits.extend(options.iter().map(|options| Edit::SetOptions { table, options: options.clone() }));
        manifest.append(&edits).inspect_err(|e| drop(self.fail(e)))?;
        let tree = Arc::new(Tree::new(Vec::new(), options, &self.memtable_bytes));
        self.trees.rcu(|trees| {
            let mut trees = BTreeMap::clone(trees);
            trees.insert(table, Arc::clone(&tree));
            trees
        });
        Ok(())
    }

    /// Whether a table had this id and was dropped: it cannot be created again.
    pub fn was_dropped(&self, table: TableId) -> bool {
        self.manifest.lock().state().dropped.contains(table)
    }

    /// Replaces the options of a table durably; merges that begin later go by them.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`], and as [`Engine::create_table`].
    pub fn set_table_options(&self, table: TableId, options: TableOptions) -> Result<()> {
        let tree = self.tree(table)?;
        self.begin()?;
        {
            // Until the table goes by them: of two who set options, one is the last on disk and in memory.
            let mut manifest = self.manifest.lock();
            self.record_in(&mut manifest, table, &[Edit::SetOptions { table, options: options.clone() }])?;
            tree.set_options(options);
        }
        self.measure_debt();
        self.listener.tell(Step::Compact);
        Ok(())
    }

    /// The options that a table goes by: its own, or else those of the engine.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn table_options(&self, table: TableId) -> Result<TableOptions> {
        Ok(TableOptions::clone(&self.options_of(&*self.tree(table)?)))
    }

    /// Ids of the live tables, ascending.
    pub fn tables(&self) -> Vec<TableId> {
        self.trees.load().keys().copied().collect()
    }

    /// Whether the table holds no record at all, tombstones included. Never blocks.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn is_empty(&self, table: TableId) -> Result<bool> {
        Ok(self.tree(table)?.view().is_empty())
    }

    /// Bytes of a table in memory, as memtables account for them, and on disk. Never blocks.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn table_bytes(&self, table: TableId) -> Result<u64> {
        let view = self.tree(table)?.view();
        let in_memory: usize = view.memtables().map(Memtable::bytes).sum();
        let on_disk: u64 = view.tables.iter().map(|table| table.file().length_bytes).sum();
        Ok(in_memory as u64 + on_disk)
    }

    /// The newest write timestamp of the table's records, tombstones included; `None` if it holds none. From
    /// what memory knows of memtables and SSTables: never blocks.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`].
    pub fn newest_timestamp(&self, table: TableId) -> Result<Option<Timestamp>> {
        Ok(self.tree(table)?.view().newest_timestamp())
    }

    pub(super) fn tree(&self, table: TableId) -> Result<Arc<Tree>> {
        self.trees.load().get(&table).map(Arc::clone).ok_or(Error::NoSuchTable(table.0))
    }
}
