//! What the node remembers of its handoff: runs and repair marks, each a record in the tree `handoff`.
//!
//! A record's timestamp is a counter of saves, so that no clock decides which is newer.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use helenus_storage::{Engine, Mutation, Record, TableId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    handoff::RepairMark,
    message::ReplicaError,
    node::{StartError, local_store::LocalStore, own_trees},
    node_id::HostId,
};

const NEXT_TREE: &[u8] = b"next tree";
const RUN: &[u8] = b"run/";
const MARK: &[u8] = b"mark/";
const PAGE: usize = 256;

/// A run of hints, as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedRun {
    pub(super) target: HostId,
    pub(super) opened_at_us: u64,
    /// Number of the last hint that was dealt with; the first has number 1.
    pub(super) cursor: u64,
}

/// All that was saved.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) runs: BTreeMap<TableId, SavedRun>,
    pub(super) marks: Vec<RepairMark>,
    /// No run has had this id, or one above.
    pub(super) next_tree: Option<u32>,
    newest_save: u64,
}

/// Saves, and counts.
#[derive(Debug)]
pub(super) struct Saves(AtomicU64);

impl Saves {
    pub(super) fn after(loaded: &Loaded) -> Self {
        Self(AtomicU64::new(loaded.newest_save))
    }

    /// Saves which id the next run gets.
    pub(super) async fn next_tree(&self, store: &LocalStore, next: u32) -> Result<(), ReplicaError> {
        self.put(store, NEXT_TREE.to_vec(), own_trees::encode(&next)).await
    }

    /// Saves how far a run is.
    pub(super) async fn run(
        &self,
        store: &LocalStore,
        tree: TableId,
        run: &SavedRun,
    ) -> Result<(), ReplicaError> {
        self.put(store, run_key(tree), own_trees::encode(run)).await
    }

    /// Forgets a run.
    pub(super) async fn forget_run(&self, store: &LocalStore, tree: TableId) -> Result<(), ReplicaError> {
        self.remove(store, run_key(tree)).await
    }

    /// Saves a repair mark, over an earlier one of the same member and table.
    pub(super) async fn mark(&self, store: &LocalStore, mark: &RepairMark) -> Result<(), ReplicaError> {
        self.put(store, mark_key(mark), own_trees::encode(mark)).await
    }

    /// Forgets a repair mark.
    pub(super) async fn forget_mark(
        &self,
        store: &LocalStore,
        mark: &RepairMark,
    ) -> Result<(), ReplicaError> {
        self.remove(store, mark_key(mark)).await
    }

    async fn put(&self, store: &LocalStore, key: Vec<u8>, value: Bytes) -> Result<(), ReplicaError> {
        store.apply(own_trees::HANDOFF, Mutation::single(key, Record::plain(self.next(), value))).await
    }

    async fn remove(&self, store: &LocalStore, key: Vec<u8>) -> Result<(), ReplicaError> {
        let stamp = self.next();
        store.apply(own_trees::HANDOFF, Mutation::single(key, Record::tombstone(stamp, stamp))).await
    }

    fn next(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Reads all that was saved. Start-up only: it may wait for the disk.
pub(super) fn load(engine: &Engine) -> Result<Loaded, StartError> {
    engine.create_table(own_trees::HANDOFF)?;
    let mut loaded = Loaded::default();
    let mut after: Option<Bytes> = None;
    loop {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = engine.scan(own_trees::HANDOFF, (from, Bound::Unbounded), PAGE)?;
        for (key, record) in &page {
            loaded.take(key, record)?;
        }
        match page.into_iter().last() {
            Some((last, _)) => after = Some(last),
            None => return Ok(loaded),
        }
    }
}

impl Loaded {
    pub(super) fn take(&mut self, key: &[u8], record: &Record) -> Result<(), StartError> {
        self.newest_save = self.newest_save.max(record.timestamp.0);
        let tree = key.strip_prefix(RUN).and_then(|tree| tree.try_into().ok()).map(u32::from_be_bytes);
        if let Some(tree) = tree {
            let run = own_trees::decode::<SavedRun>("run of hints", record)?;
            self.runs.extend(run.map(|run| (TableId(tree), run)));
        } else if key == NEXT_TREE {
            self.next_tree = own_trees::decode::<u32>("number of the next run of hints", record)?;
        } else if key.starts_with(MARK) {
            self.marks.extend(own_trees::decode::<RepairMark>("repair mark", record)?);
        } else {
            let key = key.escape_ascii();
            return Err(StartError::Identity(format!("the tree of the handoff holds a strange key: {key}")));
        }
        Ok(())
    }
}

fn run_key(tree: TableId) -> Vec<u8> {
    [RUN, &tree.0.to_be_bytes()].concat()
}

fn mark_key(mark: &RepairMark) -> Vec<u8> {
    [MARK, mark.target.0.as_bytes(), &mark.table.unwrap_or(0).to_be_bytes()].concat()
}
