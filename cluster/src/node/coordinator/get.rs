//! Reads of one key: what is asked of whom.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use helenus_storage::Mutation;
use tokio::time::Instant;

use super::{
    Coordinator, Goal, Patience, Target, failure,
    fan_out::{missing_answer, missing_call},
    known_table,
    multiget::Turn,
    reading::Reading,
    trace::{Part, Trace},
};
use crate::{
    error::RequestError,
    message::{Request, Response, TrafficClass},
    node::{Failure, ReadOutcome, ReadRequest, clock::earlier, known_cluster::Picture},
    node_id::HostId,
    quorum::{Answer, AsOf, Ask, Missing, Operation, ReadQuorum, Wants},
    session::Demand,
    table::SpeculativeRetry,
};

/// A read that may be sent: enough of its replicas are alive.
pub(super) struct Plan {
    pub(super) goal: Goal,
    pub(super) as_of: AsOf,
    pub(super) target: Target,
    pub(super) speculative_retry: SpeculativeRetry,
    pub(super) demand: Demand,
}

impl Coordinator {
    /// Coordinates a read. Once more if it went to a table that was dropped, and there is another one of its name.
    pub(crate) async fn read(self: &Arc<Self>, mut request: ReadRequest) -> Result<ReadOutcome, Failure> {
        let since = *request.options.since.get_or_insert_with(Instant::now);
        let outcome = self.read_once(&request).await;
        let patience = || Patience::since(since, &request.options, self.read_timeout.get());
        if self.is_of_a_former_table(&outcome) && Instant::now() < patience().deadline {
            return self.read_once(&request).await;
        }
        outcome
    }

    async fn read_once(self: &Arc<Self>, request: &ReadRequest) -> Result<ReadOutcome, Failure> {
        let trace = self.trace("read", &request.table, &request.options);
        let begun = self.begin(&request.table, &request.options, self.read_timeout.get()).await;
        let planned = begun.and_then(|(permit, patience)| {
            Ok((permit, self.plan_read(request, patience, &self.cluster.picture(), &trace)?))
        });
        match planned {
            Ok((_permit, (plan, quorum))) => {
                let mut reading = Reading::new(self, plan, quorum, Turn::NotNeeded, trace);
                let first = reading.begin();
                reading.send(first).await;
                reading.answer().await
            }
            Err(error) => Err(failure(error, &trace)),
        }
    }

    pub(super) fn plan_read(
        &self,
        request: &ReadRequest,
        patience: Patience,
        picture: &Arc<Picture>,
        trace: &Trace,
    ) -> Result<(Plan, ReadQuorum), RequestError> {
        self.check_session(&request.options)?;
        let target = self.place(picture, &request.table, &request.key, trace)?;
        let table = known_table(&target.picture, &request.table)?;
        let goal = self.goal(&request.options, table.definition.default_read_consistency, patience);
        let block_for = self.block_for(Operation::Read, goal.level, table, &target.picture)?;
        let now = self.clock.trusted_now();
        let as_of = AsOf { now, forgotten_before: earlier(now, table.definition.tombstone_grace()) };
        let speculative_retry = table.definition.speculative_retry;
        let demand = self.demand(&request.options, &target, table, &as_of);
        let natural = target.placement.natural.iter().copied();
        let (alive, dead): (Vec<_>, Vec<_>) = natural.partition(|host| self.cluster.is_up(*host));
        let in_order = self.nearest.order(&target.picture, alive).into_iter().chain(dead);
        let quorum = ReadQuorum::new(block_for, as_of, self.replicas(&target.picture, in_order))?;
        Ok((Plan { goal, as_of, target, speculative_retry, demand }, quorum))
    }

    /// One replica's answer.
    pub(super) fn read_at(
        &self,
        ask: Ask,
        plan: &Plan,
        part: Part,
    ) -> BoxFuture<'static, Result<Answer, Missing>> {
        let Ask { host_id, wants } = ask;
        let (table, key, as_of, goal) = (plan.target.table, plan.target.key.clone(), plan.as_of, plan.goal);
        if host_id == self.host_id() {
            let replica = Arc::clone(&self.replica);
            let call = async move {
                let steps = part.begin();
                let read = replica.read(table, key, as_of, wants, &steps).await.map_err(Missing::Error);
                part.end(steps);
                read
            };
            return self.timed(host_id, call);
        }
        let Some(to) = plan.target.picture.destination(host_id) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let peers = Arc::clone(&self.peers);
        let request = Request::Read { table, key, as_of, wants };
        let call = async move {
            let answer = part.call(&peers, &to, TrafficClass::Request, request, goal.deadline).await;
            match (answer, wants) {
                (Ok(Response::Record(record)), _) => Ok(Answer::Record(record)),
                (Ok(Response::Digest(digest)), Wants::Digest) => Ok(Answer::Digest(digest)),
                (Ok(other), _) => Err(missing_answer(other)),
                (Err(error), _) => Err(missing_call(&error)),
            }
        };
        self.timed(host_id, call)
    }

    /// Writes to a replica what another one holds.
    pub(super) fn repair_at(
        &self,
        host_id: HostId,
        plan: &Plan,
        mutation: Mutation,
        part: Part,
    ) -> BoxFuture<'static, Result<(), Missing>> {
        let (table, goal) = (plan.target.table, plan.goal);
        if host_id == self.host_id() {
            let replica = Arc::clone(&self.replica);
            return async move {
                let steps = part.begin();
                let repaired = replica.repair(table, vec![mutation], &steps).await;
                part.end(steps);
                repaired.map_err(Missing::Error)
            }
            .boxed();
        }
        let Some(to) = plan.target.picture.destination(host_id) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let peers = Arc::clone(&self.peers);
        let request = Request::Repair { table, mutations: vec![mutation] };
        async move {
            match part.call(&peers, &to, TrafficClass::Request, request, goal.deadline).await {
                Ok(Response::Noted) => Ok(()),
                Ok(other) => Err(missing_answer(other)),
                Err(error) => Err(missing_call(&error)),
            }
        }
        .boxed()
    }

    /// A call whose time tells how fast the replica is, unless it fails before its time.
    pub(super) fn timed<A: 'static>(
        &self,
        host: HostId,
        call: impl Future<Output = Result<A, Missing>> + Send + 'static,
    ) -> BoxFuture<'static, Result<A, Missing>> {
        let stopwatch = self.nearest.stopwatch(host);
        async move {
            let result = call.await;
            match result {
                Ok(_) => stopwatch.stop(),
                Err(Missing::Lost | Missing::Error(_)) => stopwatch.discard(),
                Err(Missing::Silence) => {}
            }
            result
        }
        .boxed()
    }
}
