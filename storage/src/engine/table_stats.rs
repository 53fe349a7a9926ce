//! One table in numbers, for operators.

use crate::{
    engine::{Engine, TableId},
    error::Result,
    inspect::{InspectedLevel, levels},
    memtable::Memtable,
    read_costs::ReadCosts,
    sstable::{SizeHistogram, TableMemory},
};

/// What a table consists of at one moment, and what reads of it have cost since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStats {
    /// Its SSTables by level, ascending.
    pub levels: Vec<InspectedLevel>,
    /// Their bytes.
    pub sstable_bytes: u64,
    /// Bytes of their blocks before compression.
    pub contents_bytes: u64,
    /// And after.
    pub blocks_bytes: u64,
    /// Their records. One key counts in each SSTable that it is in.
    pub records: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// And how many expire.
    pub expiring: u64,
    /// Sizes of the records.
    pub sizes: SizeHistogram,
    /// Bytes accounted to its memtables.
    pub memtable_bytes: u64,
    /// Memtables that wait for their flush.
    pub pending_flushes: usize,
    /// Memory of the indexes of its SSTables.
    pub index_bytes: u64,
    /// Memory of their bloom filters.
    pub filter_bytes: u64,
    /// What reads of single keys have cost.
    pub reads: ReadCosts,
}

impl Engine {
    /// The numbers of a table. Never waits for the disk; costs a walk over its SSTables.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`](crate::Error::NoSuchTable).
    pub fn table_stats(&self, table: TableId) -> Result<TableStats> {
        let tree = self.tree(table)?;
        let view = tree.view();
        let mut memory = TableMemory::default();
        let mut sizes = SizeHistogram::default();
        for reader in &view.tables {
            let TableMemory { index, filter } = reader.memory_bytes();
            memory = TableMemory { index: memory.index + index, filter: memory.filter + filter };
            sizes.add(&reader.stats().sizes);
        }
        let files: Vec<_> =
            view.tables.iter().map(|reader| (reader.file().clone(), reader.stats().clone())).collect();
        let stats = || files.iter().map(|(_, stats)| stats);
        Ok(TableStats {
            levels: levels(&files, &self.options_of(&tree)),
            sstable_bytes: files.iter().map(|(file, _)| file.length_bytes).sum(),
            contents_bytes: stats().map(|stats| stats.contents_bytes).sum(),
            blocks_bytes: stats().map(|stats| stats.blocks_bytes).sum(),
            records: stats().map(|stats| stats.records()).sum(),
            tombstones: stats().map(|stats| stats.tombstones).sum(),
            expiring: stats().map(|stats| stats.expiring).sum(),
            sizes,
            memtable_bytes: view.memtables().map(Memtable::bytes).sum::<usize>() as u64,
            pending_flushes: view.switched.len(),
            index_bytes: memory.index as u64,
            filter_bytes: memory.filter as u64,
            reads: tree.read_costs(),
        })
    }
}
