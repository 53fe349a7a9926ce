//! The replica: what a node does for a coordinator, another one or its own.
//!
//! A replica never asks whether it should own a key: rings differ for a moment whenever a node joins, and a
//! write that was turned away is lost where an applied one is merely in one place too many. It applies, and says
//! in its answer whether it owns the key by its own ring.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use futures_util::future::try_join_all;
use helenus_storage::{Mutation, Record, RecordKind, ScanEnd, ScanLimits, TableId};
use tokio::time::Instant;

use crate::{
    message::ReplicaError,
    node::{
        clock::NodeClock, identity::LocalIdentity, known_cluster::KnownCluster, local_store::LocalStore,
        own_trees, steps::Steps, table_meters::TableMeters,
    },
    partitioning::{KeyRange, token_of},
    quorum::{Answer, AsOf, Digest, PageLimits, ReplicaPage, Wants},
    time::Timestamp,
};

/// The replica of this node.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) identity: Arc<LocalIdentity>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) cluster: Arc<KnownCluster>,
    pub(crate) store: Arc<LocalStore>,
    pub(crate) meters: Arc<TableMeters>,
}

impl Replica {
    /// Applies a fresh client write; `true` if this node owns the key.
    pub(crate) async fn write(
        &self,
        table: TableId,
        mutation: Mutation,
        steps: &Steps,
    ) -> Result<bool, ReplicaError> {
        check_user_table(table)?;
        let latest_accepted = self.clock.latest_accepted_of_peers();
        if mutation.rows.iter().any(|(_, record)| record.timestamp > latest_accepted) {
            helenus_storage::sometimes!("a replica refused a timestamp");
            return Err(ReplicaError::ClockSkew);
        }
        self.apply(table, mutation, steps).await
    }

    /// Applies what another replica holds: it was accepted once, and no clock refuses it now. After an error some may be
    /// applied.
    pub(crate) async fn repair(
        &self,
        table: TableId,
        mutations: Vec<Mutation>,
        steps: &Steps,
    ) -> Result<bool, ReplicaError> {
        check_user_table(table)?;
        let applied = try_join_all(mutations.into_iter().map(|mutation| self.apply(table, mutation, steps)));
        Ok(applied.await?.into_iter().all(|is_owned| is_owned))
    }

    async fn apply(&self, table: TableId, mutation: Mutation, steps: &Steps) -> Result<bool, ReplicaError> {
        // What it holds, it stamps above.
        mutation.rows.iter().for_each(|(_, record)| self.clock.observe(record.timestamp));
        // Before the apply, so that no joining node is told otherwise once the record exists.
        self.cluster.note_user_record();
        let owned = self.owns(table, &mutation.key);
        let began = Instant::now();
        self.store.apply_noting(table, mutation, steps).await?;
        self.meters.of(table).writes.record(began.elapsed());
        Ok(owned)
    }

    /// Applies a write that this node has missed, whatever its timestamp.
    pub(crate) async fn apply_hint(&self, table: TableId, mutation: Mutation) -> Result<(), ReplicaError> {
        check_user_table(table)?;
        mutation.rows.iter().for_each(|(_, record)| self.clock.observe(record.timestamp));
        self.cluster.note_user_record();
        self.store.apply(table, mutation).await
    }

    /// The newest version it holds, or its digest. What has expired by the read's clock is the coordinator's to say of a
    /// record, once for all replicas.
    pub(crate) async fn read(
        &self,
        table: TableId,
        key: Bytes,
        as_of: AsOf,
        wants: Wants,
        steps: &Steps,
    ) -> Result<Answer, ReplicaError> {
        check_user_table(table)?;
        let began = Instant::now();
        let record = self.store.get(table, key, steps).await?;
        let meter = self.meters.of(table);
        meter.reads.record(began.elapsed());
        if let Some(record) = &record {
            self.clock.observe(record.timestamp);
            if matches!(record.kind, RecordKind::Tombstone { .. }) {
                meter.tombstones.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(match wants {
            Wants::Record => Answer::Record(record),
            Wants::Digest => {
                let digest = Digest::of(record.as_ref(), &as_of);
                steps.note(|| "computed the digest");
                Answer::Digest(digest)
            }
        })
    }

    /// What it holds of a range.
    pub(crate) async fn scan(
        &self,
        table: TableId,
        range: KeyRange,
        now: Timestamp,
        limits: PageLimits,
        steps: &Steps,
    ) -> Result<ReplicaPage, ReplicaError> {
        check_user_table(table)?;
        let limits = ScanLimits {
            items: usize::MAX,
            live: limits.items.max(1) as usize,
            bytes: limits.bytes as usize,
            tombstones: limits.tombstones.max(1) as usize,
            now,
        };
        let page = self.store.scan(table, range, limits, steps).await?;
        if let Some(newest) = page.records.iter().map(|(_, record)| record.timestamp).max() {
            self.clock.observe(newest);
        }
        let is_tombstone = |record: &Record| matches!(record.kind, RecordKind::Tombstone { .. });
        let tombstones = page.records.iter().filter(|(_, record)| is_tombstone(record)).count();
        self.meters.of(table).scanned.record(tombstones as u64);
        Ok(ReplicaPage { is_whole: page.end == ScanEnd::Finished, records: page.records })
    }

    /// Whether this node is a replica of a storage key, by its own ring.
    pub(crate) fn owns(&self, table: TableId, storage_key: &[u8]) -> bool {
        let picture = self.cluster.picture();
        match (picture.view().tables().by_id(table), token_of(storage_key)) {
            (Some(table), Some(token)) => picture.place(table, token).contains(self.identity.host_id()),
            _ => false,
        }
    }
}

/// The node's own trees are not for messages.
fn check_user_table(table: TableId) -> Result<(), ReplicaError> {
    if own_trees::USER_TABLES.contains(&table) { Ok(()) } else { Err(ReplicaError::NoSuchTable(table.0)) }
}
