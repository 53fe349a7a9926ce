//! The replica: what a node does for a coordinator, another one or its own.
//!
//! A replica never asks whether it should own a key: rings differ for a moment whenever a node joins, and a
//! write that was turned away is lost where an applied one is merely in one place too many. It applies, and says
//! in its answer whether it owns the key by its own ring.

use std::{
    borrow::Borrow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use helenus_storage::{Mutation, Outrun, Record, RecordKind, ScanEnd, ScanLimits, TableId};
use tokio::time::{Instant, timeout_at};

use crate::{
    message::{Applied, Get, Got, Receipt, ReplicaError},
    node::{
        clock::NodeClock, identity::LocalIdentity, known_cluster::KnownCluster, local_store::LocalStore,
        own_trees, steps::Steps, table_meters::TableMeters,
    },
    partitioning::{KeyRange, token_of},
    quorum::{Answer, AsOf, Digest, PageLimits, ReplicaPage, Wants},
    time::Timestamp,
};

/// The records of one answer are no longer than this together: so it fits into the smallest frame that a node may be told
/// to take.
const MULTIGET_BYTES: usize = 48 << 10;
/// Reads of one message that wait for the disk at once.
const READS_AT_ONCE: usize = 32;

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
    /// Applies fresh client writes; what became of each, and what does not let those win that must.
    pub(crate) async fn write(
        &self,
        writes: &[(TableId, Mutation)],
        must_win: &[bool],
        steps: &Steps,
    ) -> Vec<Applied> {
        if writes.iter().all(|(table, mutation)| self.check_fresh(*table, mutation).is_ok()) {
            return self.apply(writes, must_win, steps).await;
        }
        let (mut accepted, mut asked) = (Vec::with_capacity(writes.len()), Vec::with_capacity(writes.len()));
        let mut checked = Vec::with_capacity(writes.len());
        for (place, (table, mutation)) in writes.iter().enumerate() {
            let outcome = self.check_fresh(*table, mutation);
            if outcome.is_ok() {
                accepted.push((*table, mutation));
                asked.extend(must_win.get(place));
            }
            checked.push(outcome);
        }
        let mut applied = self.apply(&accepted, &asked, steps).await.into_iter();
        let result_of =
            |checked: Result<(), _>| checked.map_or_else(|why| Some(Err(why)), |()| applied.next());
        checked.into_iter().filter_map(result_of).collect()
    }

    /// Whether a fresh write is taken.
    fn check_fresh(&self, table: TableId, mutation: &Mutation) -> Result<(), ReplicaError> {
        check_user_table(table)?;
        let latest_accepted = self.clock.latest_accepted_of_peers();
        if mutation.rows.iter().any(|(_, record)| record.timestamp > latest_accepted) {
            helenus_storage::sometimes!("a replica refused a timestamp");
            return Err(ReplicaError::ClockSkew);
        }
        Ok(())
    }

    /// Applies what another replica holds: it was accepted once, and no clock refuses it now. After an error some may be
    /// applied.
    pub(crate) async fn repair(
        &self,
        table: TableId,
        mutations: Vec<Mutation>,
        steps: &Steps,
    ) -> Result<(), ReplicaError> {
        check_user_table(table)?;
        // Apart from each other: together they may be too large for the commit log.
        let apply = async |mutation| self.apply(&[(table, mutation)], &[], steps).await;
        let applied = join_all(mutations.iter().map(apply)).await;
        applied.into_iter().flatten().try_for_each(|applied| applied.map(drop))
    }

    /// Applies writes as one group; what became of each.
    async fn apply<M>(&self, writes: &[(TableId, M)], must_win: &[bool], steps: &Steps) -> Vec<Applied>
    where
        M: Borrow<Mutation> + Sync,
    {
        let rows = writes.iter().flat_map(|(_, mutation)| &mutation.borrow().rows);
        // What it holds, it stamps above.
        rows.for_each(|(_, record)| self.clock.observe(record.timestamp));
        // Before the apply, so that no joining node is told otherwise once the record exists.
        self.cluster.note_user_record();
        let began = Instant::now();
        let applied = self.store.apply_group(writes, steps).await;
        let took = began.elapsed();
        let (mut results, mut to_look_up) = (Vec::with_capacity(writes.len()), Vec::new());
        for (place, ((table, mutation), applied)) in writes.iter().zip(applied).enumerate() {
            let receipt = |newer| Receipt { is_owner: self.owns(*table, &mutation.borrow().key), newer };
            results.push(applied.map(|outrun| {
                self.meters.of(*table).writes.record(took);
                match outrun.filter(|_| must_win.get(place).copied().unwrap_or_default()) {
                    Some(Outrun::By(timestamp)) => receipt(Some(timestamp)),
                    Some(Outrun::Perhaps) => {
                        to_look_up.push(place);
                        receipt(None)
                    }
                    None => receipt(None),
                }
            }));
        }
        let look_up = async |place: usize| {
            let (table, mutation) = &writes[place];
            (place, self.newer_than(*table, mutation.borrow()).await)
        };
        let mut looked_up = stream::iter(to_look_up).map(look_up).buffer_unordered(READS_AT_ONCE);
        while let Some((place, newer)) = looked_up.next().await {
            // Where it cannot be read there is no receipt: the coordinator would take the write for one that is seen.
            results[place] =
                results[place].clone().and_then(|receipt| Ok(Receipt { newer: newer?, ..receipt }));
        }
        results
    }

    /// What this replica holds that wins over a mutation, which it has applied.
    async fn newer_than(
        &self,
        table: TableId,
        mutation: &Mutation,
    ) -> Result<Option<Timestamp>, ReplicaError> {
        let mut newest = None;
        for (suffix, record) in &mutation.rows {
            let key = Bytes::from([&mutation.key[..], suffix].concat());
            let held = self.store.get(table, key, &Steps::default()).await?;
            newest = newest.max(held.filter(|held| held.supersedes(record)).map(|held| held.timestamp));
        }
        Ok(newest)
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

    /// As [`Replica::read`], of several keys: as much as fits into one answer, whose records take [`MULTIGET_BYTES`] at
    /// most. Once one did not fit, no more records are read, but for those that are being read already. What is not read
    /// in time has expired.
    pub(crate) async fn multiget(&self, gets: Vec<Get>, until: Instant, steps: &Steps) -> Vec<Got> {
        let is_full = AtomicBool::new(false);
        let read = async |Get { table, key, as_of, wants }| {
            if wants == Wants::Record && is_full.load(Ordering::Relaxed) {
                return Err(ReplicaError::TooLargeTogether);
            }
            let read = timeout_at(until, self.read(table, key, as_of, wants, steps));
            read.await.unwrap_or(Err(ReplicaError::Expired))
        };
        let mut room = MULTIGET_BYTES;
        let fit = |got: Got| match &got {
            Ok(Answer::Record(Some(record))) => match room.checked_sub(record.encoded_len()) {
                Some(left) => {
                    room = left;
                    got
                }
                None => {
                    helenus_storage::sometimes!("a record did not fit beside others");
                    is_full.store(true, Ordering::Relaxed);
                    Err(ReplicaError::TooLargeTogether)
                }
            },
            _ => got,
        };
        stream::iter(gets).map(read).buffered(READS_AT_ONCE).map(fit).collect().await
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
