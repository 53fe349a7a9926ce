//! What each replica of a key holds: for people, who compare. Nothing is reconciled and nothing repaired, so that a
//! divergence can be looked at as often as one likes, and seen to heal by other means.

use std::time::Duration;

use futures_util::future::join_all;
use helenus_storage::{Record, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::{
    Coordinator, Patience, Target,
    fan_out::{describe, missing_answer, missing_call},
    known_table,
};
use crate::{
    error::RequestError,
    message::{Request, Response, TrafficClass},
    node::{RequestOptions, clock::earlier, steps::Steps},
    node_id::HostId,
    quorum::{Answer, AsOf, Missing, Wants},
};

/// How long a replica is waited for: somebody is looking at the screen.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the replicas of a key hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The key's token.
    pub token: String,
    /// The clock by which records have expired.
    pub now: Timestamp,
    /// The members that reads ask, the owner of the token first; then those that writes go to besides.
    pub replicas: Vec<HeldBy>,
}

/// What one of them holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// Who it is.
    pub host_id: HostId,
    /// Address of its peer listener.
    pub address: String,
    /// Where it stands.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Whether this node takes it for alive.
    pub up: bool,
    /// Whether only writes go to it, since it is about to own the key.
    pub is_pending: bool,
    /// Its newest version as it is stored, if it has one; or why that is not known.
    pub held: Result<Option<Record>, String>,
}

impl Coordinator {
    /// Asks every replica of a key, the pending ones too, for what it holds.
    pub(crate) async fn look_up(&self, table: &str, key: &[u8]) -> Result<LookUp, RequestError> {
        let (_permit, Patience { deadline, .. }) =
            self.begin(table, &RequestOptions::default(), PATIENCE).await?;
        let trace = self.trace("look-up", table, &RequestOptions::default());
        let target = &self.place(&self.cluster.picture(), table, key, &trace)?;
        let now = self.clock.trusted_now();
        let grace = known_table(&target.picture, table)?.definition.tombstone_grace();
        let as_of = AsOf { now, forgotten_before: earlier(now, grace) };
        let natural = target.placement.natural.iter().map(|&host| (host, false));
        let pending = target.placement.pending.iter().map(|&host| (host, true));
        let asked = natural.chain(pending).map(|(host_id, is_pending)| async move {
            let member = target.picture.view().member(host_id)?;
            let held = self.held_by(host_id, target, as_of, deadline).await;
            Some(HeldBy {
                host_id,
                address: member.address.clone(),
                datacenter: member.datacenter.clone(),
                rack: member.rack.clone(),
                up: self.cluster.is_up(host_id),
                is_pending,
                held: held.map_err(|missing| describe(&missing)),
            })
        });
        let replicas = join_all(asked).await.into_iter().flatten().collect();
        let token = self.replica.identity.partitioner().token(key).to_string();
        Ok(LookUp { token, now, replicas })
    }

    async fn held_by(
        &self,
        host_id: HostId,
        target: &Target,
        as_of: AsOf,
        deadline: Instant,
    ) -> Result<Option<Record>, Missing> {
        let (table, key) = (target.table, target.key.clone());
        if host_id == self.host_id() {
            let read =
                timeout_at(deadline, self.replica.read(table, key, as_of, Wants::Record, &Steps::default()))
                    .await;
            return match read.map_err(|_| Missing::Silence)?.map_err(Missing::Error)? {
                Answer::Record(record) => Ok(record),
                Answer::Digest(_) => Err(Missing::Silence),
            };
        }
        let to = target.picture.destination(host_id).ok_or(Missing::Lost)?;
        let request = Request::Read { table, key, as_of, wants: Wants::Record };
        match self.peers.call(&to, TrafficClass::Request, request, deadline, None).await {
            Ok(Response::Record(record)) => Ok(record),
            Ok(other) => Err(missing_answer(other)),
            Err(error) => Err(missing_call(&error)),
        }
    }
}
