//! The members and tables of the known cluster, on disk.
//!
//! Each is a record of its own in the node's tree; its timestamp is a counter of this node's saves, so that no clock
//! decides which is newer. The cluster id (in [`super::identity`]) is saved last: members and tables without
//! one are what a crash left of an unfinished join, and are ignored.

use std::{collections::BTreeSet, ops::Bound};

use bytes::Bytes;
use helenus_storage::{Engine, Mutation, Record, Timestamp};

use super::{StartError, local_store::LocalStore, own_trees};
use crate::{
    membership::{Member, Remembered},
    message::ReplicaError,
    node_id::{ClusterId, HostId},
    table::Table,
};

const MEMBER: &[u8] = b"member/";
const TABLE: &[u8] = b"table/";
const USER_RECORDS: &[u8] = b"user records";
const LATECOMER: &[u8] = b"latecomer/";
const PAGE: usize = 256;

/// What was saved, and where the counter of saves stands.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) remembered: Remembered,
    pub(super) user_records: bool,
    pub(super) latecomers: BTreeSet<HostId>,
    pub(super) saves: SaveCounter,
}

/// Counts saves for the timestamps of their records.
#[derive(Debug, Default)]
pub(super) struct SaveCounter(u64);

impl SaveCounter {
    fn next(&mut self) -> Timestamp {
        self.0 = self.0.saturating_add(1);
        Timestamp(self.0)
    }
}

/// Reads all that was saved. Start-up only: it may wait for the disk.
pub(super) fn load(engine: &Engine, cluster_id: Option<ClusterId>) -> Result<Loaded, StartError> {
    engine.create_table(own_trees::KNOWN_CLUSTER)?;
    let mut loaded = Loaded::default();
    let mut after: Option<Bytes> = None;
    loop {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = engine.scan(own_trees::KNOWN_CLUSTER, (from, Bound::Unbounded), PAGE)?;
        for (key, record) in &page {
            loaded.take(key, record)?;
        }
        match page.into_iter().last() {
            Some((last, _)) => after = Some(last),
            None => break,
        }
    }
    if cluster_id.is_none() {
        loaded.remembered = Remembered::default();
    }
    loaded.remembered.cluster_id = cluster_id;
    Ok(loaded)
}

impl Loaded {
    fn take(&mut self, key: &[u8], record: &Record) -> Result<(), StartError> {
        self.saves.0 = self.saves.0.max(record.timestamp.0);
        if key.starts_with(MEMBER) {
            self.remembered.members.extend(own_trees::decode::<Member>("member", record)?);
        } else if key.starts_with(TABLE) {
            self.remembered.tables.extend(own_trees::decode::<Table>("table definition", record)?);
        } else if key == USER_RECORDS {
            self.user_records = true;
        } else if key.starts_with(LATECOMER) {
            self.latecomers.extend(own_trees::decode::<HostId>("latecomer", record)?);
        } else {
            let key = key.escape_ascii();
            return Err(StartError::Identity(format!(
                "the tree of the known cluster holds a strange key: {key}"
            )));
        }
        Ok(())
    }
}

/// Saves members and tables; returns once all are durable.
pub(super) async fn save(
    store: &LocalStore,
    saves: &mut SaveCounter,
    members: impl IntoIterator<Item = &Member>,
    tables: impl IntoIterator<Item = &Table>,
) -> Result<(), ReplicaError> {
    let members = members
        .into_iter()
        .map(|member| ([MEMBER, member.host_id.0.as_bytes()].concat(), own_trees::encode(member)));
    let tables =
        tables.into_iter().map(|table| ([TABLE, table.name.as_bytes()].concat(), own_trees::encode(table)));
    let mut applies = Vec::new();
    for (key, value) in members.chain(tables) {
        let mutation = Mutation::single(key, Record::plain(saves.next(), value));
        applies.push(store.apply(own_trees::KNOWN_CLUSTER, mutation));
    }
    // All are queued before the first is awaited: one group, one sync.
    futures_util::future::try_join_all(applies).await?;
    store.sync().await
}

/// Saves that a user record exists, or soon may.
pub(super) async fn save_user_records(store: &LocalStore) -> Result<(), ReplicaError> {
    let record = Record::plain(Timestamp(1), own_trees::encode(&true));
    store.apply(own_trees::KNOWN_CLUSTER, Mutation::single(USER_RECORDS, record)).await?;
    store.sync().await
}

/// Saves that the node first heard of these members when user records existed; returns once that is durable.
pub(super) async fn save_latecomers(store: &LocalStore, latecomers: &[HostId]) -> Result<(), ReplicaError> {
    let applies = latecomers.iter().map(|host_id| {
        let record = Record::plain(Timestamp(1), own_trees::encode(host_id));
        let key = [LATECOMER, host_id.0.as_bytes()].concat();
        store.apply(own_trees::KNOWN_CLUSTER, Mutation::single(key, record))
    });
    futures_util::future::try_join_all(applies).await?;
    store.sync().await
}
