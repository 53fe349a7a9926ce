//! The compact step: SSTables of similar size become one.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    compaction::{Candidate, merge_tables, pick},
    engine::{Engine, StepOutcome, TableId},
    error::{Error, Result},
    manifest::Edit,
    sstable::{FileId, TableReader},
    tree::Tree,
};

/// SSTables of one table that are to be merged.
#[derive(Debug)]
pub(super) struct Merge {
    table: TableId,
    tree: Arc<Tree>,
    inputs: Vec<Arc<TableReader>>,
}

impl Engine {
    /// Merges once. Reads and flushes go on meanwhile, and readers that still hold an input keep it.
    pub(super) fn compact(&self) -> Result<StepOutcome> {
        let _turn = self.compacting.lock();
        self.condition.check()?;
        let Some(Merge { table, tree, inputs }) = self.next_merge() else { return Ok(StepOutcome::Idle) };
        let output = self.build_table(|writer| merge_tables(&inputs, writer, || self.condition.check()))?;
        let ids: Vec<FileId> = inputs.iter().map(|input| input.file().id).collect();
        let mut edits: Vec<Edit> = ids.iter().map(|&id| Edit::RemoveFile { table, id }).collect();
        edits.extend(output.iter().map(|reader| Edit::AddFile { table, file: reader.file().clone() }));
        self.record_table(&edits, output.as_deref())?;
        tree.merged(&ids, output.as_ref());
        self.note_debt();
        crate::sometimes!("tables were merged");
        self.counted.compactions.fetch_add(1, Ordering::Relaxed);
        // Only now: until the manifest was durable, a crash would have needed them.
        // One that cannot be removed is an orphan for the next recovery, and no reason to keep the others.
        let mut outcome = Ok(StepOutcome::Worked);
        for id in ids {
            let path = self.directory.join(TableReader::file_name(id));
            if let Err(e) = self.disk.remove(&path) {
                outcome = Err(Error::io("remove", path, e));
            }
        }
        outcome
    }

    /// The merge to do next: of the table that has most to merge.
    pub(super) fn next_merge(&self) -> Option<Merge> {
        let trees = self.trees.load();
        let merges = trees.iter().filter_map(|(&table, tree)| {
            let view = tree.view();
            let candidates: Vec<_> = view.tables.iter().map(|reader| Candidate::of(reader.file())).collect();
            let chosen = pick(&candidates, self.options.merge_min_tables, self.options.merge_max_tables)?;
            let inputs = view.tables.iter().filter(|reader| chosen.contains(&reader.file().id));
            Some(Merge { table, tree: Arc::clone(tree), inputs: inputs.map(Arc::clone).collect() })
        });
        merges.max_by_key(|merge| merge.inputs.len())
    }
}
