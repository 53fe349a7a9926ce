//! Hints as they lie in a data directory, for tools that read its files.

use std::collections::BTreeMap;

use bytes::Bytes;
use helenus_storage::{Record, RecordKind, TableId};

use super::saved::{Loaded, SavedRun};
use crate::{
    handoff::{Hint, RepairMark},
    node::{StartError, own_trees},
    node_id::HostId,
    time::Timestamp,
};

/// A run of hints for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Whom they are for.
    pub target: HostId,
    /// When the run was opened.
    pub opened_at: Timestamp,
    /// Number of the last hint that was dealt with when that was saved last.
    pub cursor: u64,
    /// Hints behind the cursor.
    pub hints: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// Those of them that do not decode.
    pub damaged: u64,
}

/// All runs and marks. First it takes what was saved about them, each record in whatever version and order, then the hints.
#[derive(Debug, Default)]
pub struct StoredHints {
    saved: BTreeMap<Bytes, Record>,
    runs: BTreeMap<TableId, StoredRun>,
    marks: Vec<RepairMark>,
}

impl StoredHints {
    /// The table of what is saved about hints.
    pub const SAVED: TableId = own_trees::HANDOFF;

    /// Takes a record of the table [`StoredHints::SAVED`].
    pub fn take_saved(&mut self, key: Bytes, record: Record) {
        let newest = match self.saved.remove(&key) {
            Some(known) => known.reconcile(record),
            None => record,
        };
        self.saved.insert(key, newest);
    }

    /// All that was saved is taken; answers the tables of the runs.
    ///
    /// # Errors
    /// When something does not decode.
    pub fn begin(&mut self) -> Result<Vec<TableId>, StartError> {
        let mut loaded = Loaded::default();
        for (key, record) in &self.saved {
            loaded.take(key, record)?;
        }
        let run = |SavedRun { target, opened_at_us, cursor }| {
            let opened_at = Timestamp(opened_at_us);
            StoredRun { target, opened_at, cursor, hints: 0, bytes: 0, oldest: None, damaged: 0 }
        };
        self.runs = loaded.runs.into_iter().map(|(tree, saved)| (tree, run(saved))).collect();
        self.marks = loaded.marks;
        Ok(self.runs.keys().copied().collect())
    }

    /// Takes a record of the table of a run, once.
    pub fn take_hint(&mut self, tree: TableId, key: &[u8], record: &Record) {
        let Some(run) = self.runs.get_mut(&tree) else { return };
        let (Ok(number), RecordKind::Plain { value }) = (<[u8; 8]>::try_from(key), &record.kind) else {
            return;
        };
        if u64::from_be_bytes(number) <= run.cursor {
            return;
        }
        run.hints += 1;
        run.bytes += value.len() as u64;
        match Hint::decode(value.clone()) {
            Ok(hint) => run.oldest = Some(run.oldest.map_or(hint.made_at, |oldest| oldest.min(hint.made_at))),
            Err(_) => run.damaged += 1,
        }
    }

    /// The runs, with the ids of their tables.
    pub fn runs(&self) -> impl Iterator<Item = (TableId, &StoredRun)> {
        self.runs.iter().map(|(tree, run)| (*tree, run))
    }

    /// What is left of hints that were not delivered.
    pub fn marks(&self) -> &[RepairMark] {
        &self.marks
    }
}
