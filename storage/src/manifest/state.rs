//! What is live: the sum of all edits.

use std::collections::BTreeMap;

use crate::{
    commit_log::segment::{LogPosition, SegmentId},
    manifest::{dropped::DroppedIds, edit::Edit},
    sstable::{FileId, TableFile},
    table_id::TableId,
    table_options::TableOptions,
};

/// Everything that a manifest knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveState {
    /// The tables.
    pub(crate) tables: BTreeMap<TableId, LiveTable>,
    /// Tables that are gone; the log may still mention them.
    pub(crate) dropped: DroppedIds,
    /// The first log segment that replay needs.
    pub(crate) log_first: SegmentId,
    /// A log segment that existed when it was recorded; the zeroth before there was any.
    pub(crate) log_newest: SegmentId,
    /// File ids below are taken.
    pub(crate) file_ids_end: u64,
}

/// What a manifest knows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveTable {
    /// Replay skips records of before.
    pub(crate) flushed: LogPosition,
    /// Live SSTables and their lengths.
    pub(crate) files: BTreeMap<FileId, u64>,
    /// Its options, if it was given some.
    pub(crate) options: Option<TableOptions>,
}

impl LiveTable {
    /// The live SSTables, oldest id first.
    pub(crate) fn files(&self) -> impl Iterator<Item = TableFile> + '_ {
        self.files.iter().map(|(&id, &length_bytes)| TableFile { id, length_bytes })
    }
}

impl Default for LiveState {
    /// A data directory that was never used.
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            dropped: DroppedIds::default(),
            log_first: SegmentId(1),
            log_newest: SegmentId(0),
            file_ids_end: 1,
        }
    }
}

impl LiveState {
    /// Takes an edit in.
    ///
    /// # Errors
    /// How it contradicts what is known. Then the edits are not those that were made.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        match *edit {
            Edit::CreateTable { table } => {
                if self.dropped.contains(table) {
                    return Err(format!("table {} is created after it was dropped", table.0));
                }
                let empty = LiveTable { flushed: LogPosition::START, files: BTreeMap::new(), options: None };
                if self.tables.insert(table, empty).is_some() {
                    return Err(format!("table {} is created twice", table.0));
                }
            }
            Edit::DropTables { first, last } => {
                if first > last {
                    return Err(format!("tables {} to {} are dropped, which are none", first.0, last.0));
                }
                self.dropped.insert(first, last);
                self.tables.retain(|table, _| !(first..=last).contains(table));
            }
            Edit::AddFile { table, ref file } => {
                if self.table(table)?.files.insert(file.id, file.length_bytes).is_some() {
                    return Err(format!("file {:x} is added twice", file.id.0));
                }
            }
            Edit::RemoveFile { table, id } => {
                if self.table(table)?.files.remove(&id).is_none() {
                    return Err(format!("file {:x} is removed and was not there", id.0));
                }
            }
            Edit::Flushed { table, position } => self.table(table)?.flushed = position,
            Edit::SetOptions { table, ref options } => self.table(table)?.options = Some(options.clone()),
            Edit::Log { first, newest } => {
                self.log_first = first;
                self.log_newest = newest;
            }
            Edit::FileIds { end } => self.file_ids_end = end,
        }
        Ok(())
    }

    fn table(&mut self, id: TableId) -> Result<&mut LiveTable, String> {
        self.tables.get_mut(&id).ok_or_else(|| format!("table {} was never created", id.0))
    }

    /// Edits that lead here from the state of an unused directory.
    pub(super) fn as_edits(&self) -> Vec<Edit> {
        let mut edits = vec![
            Edit::Log { first: self.log_first, newest: self.log_newest },
            Edit::FileIds { end: self.file_ids_end },
        ];
        edits.extend(self.dropped.runs().map(|(first, last)| Edit::DropTables { first, last }));
        for (&table, live) in &self.tables {
            edits.push(Edit::CreateTable { table });
            edits.extend(
                live.options.iter().map(|options| Edit::SetOptions { table, options: options.clone() }),
            );
            edits.push(Edit::Flushed { table, position: live.flushed });
            edits.extend(live.files().map(|file| Edit::AddFile { table, file }));
        }
        edits
    }
}
