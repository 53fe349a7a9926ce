//! The scan of one segment: what is asked of whom, and what they make of it together.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use helenus_storage::Mutation;
use tokio::time::Instant;

use super::page::Plan;
use crate::{
    error::RequestError,
    message::{ReplicaError, Request, Response, TrafficClass},
    node::{
        coordinator::{
            Coordinator,
            fan_out::{Answer, FanOut, Next, missing_answer, missing_call},
            trace::Trace,
        },
        known_cluster::Picture,
    },
    node_id::HostId,
    partitioning::KeyRange,
    quorum::{Missing, PageLimits, RangeQuorum, Reconciled, RepairQuorum, ReplicaPage, Verdict},
    scan::Segment,
    table::SpeculativeRetry,
};

/// The first replica is late after this part of the time that is left: somebody else is asked.
const LATE_AFTER: u32 = 4;

/// The scan of a segment.
pub(super) struct SegmentScan {
    coordinator: Arc<Coordinator>,
    plan: Arc<Plan>,
    picture: Arc<Picture>,
    segment: Segment,
    limits: PageLimits,
    trace: Trace,
    late: Option<Instant>,
}

impl SegmentScan {
    pub(super) fn new(
        coordinator: &Arc<Coordinator>,
        plan: &Arc<Plan>,
        picture: &Arc<Picture>,
        segment: Segment,
        limits: PageLimits,
        trace: Trace,
    ) -> Self {
        Self {
            coordinator: Arc::clone(coordinator),
            plan: Arc::clone(plan),
            picture: Arc::clone(picture),
            segment,
            limits,
            trace,
            late: None,
        }
    }

    /// What it holds from its beginning on, and how many replicas said so.
    pub(super) async fn read(mut self) -> Result<(Reconciled, u32), RequestError> {
        let replicas = std::mem::take(&mut self.segment.replicas);
        let (alive, dead): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|host| self.coordinator.cluster.is_up(*host));
        let in_order = self.coordinator.nearest.order(&self.picture, alive).into_iter().chain(dead);
        let replicas = self.coordinator.replicas(&self.picture, in_order);
        let mut quorum = RangeQuorum::new(self.plan.block_for.clone(), self.plan.as_of, replicas)?;
        self.late = self.patience();
        let acknowledged = self.ask(&mut quorum).await?;
        let (reconciled, repair) = quorum.reconcile(&self.limits);
        if let Some(repair) = repair {
            self.repair(repair).await?;
        }
        Ok((reconciled, acknowledged))
    }

    /// Asks until as many have answered as the level requires.
    async fn ask(&mut self, quorum: &mut RangeQuorum) -> Result<u32, RequestError> {
        let goal = self.plan.goal;
        let mut calls = FanOut::until(goal.deadline, self.coordinator.stop.clone());
        let mut hosts = quorum.ask();
        loop {
            for host_id in hosts.drain(..) {
                calls.add(host_id, self.page_of(host_id)).await;
            }
            match quorum.verdict() {
                Verdict::Reached { acknowledged } => return Ok(acknowledged),
                Verdict::OutOfReach { .. } => return Err(quorum.error(goal.timeout)),
                Verdict::Pending => match calls.next_before(self.late).await {
                    Next::Answer(Answer { from, result: Ok(page) }) => {
                        // What the client is told of, a later write through this node overwrites.
                        if let Some(newest) = page.records.iter().map(|(_, record)| record.timestamp).max() {
                            self.coordinator.clock.observe(newest);
                        }
                        quorum.on_answer(from, page);
                    }
                    Next::Answer(Answer { from, result: Err(missing) }) => {
                        quorum.on_failure(from, missing);
                        if Instant::now() < goal.deadline {
                            hosts = quorum.ask();
                        }
                    }
                    Next::Late => {
                        helenus_storage::sometimes!("a scan asked another replica");
                        hosts.extend(quorum.ask_another());
                        self.late = self.patience();
                    }
                    Next::Over => quorum.on_deadline(),
                },
            }
        }
    }

    /// Writes the newest versions to those who lack them, and waits until as many as the level requires hold them.
    async fn repair(&mut self, mut repair: RepairQuorum<Vec<Mutation>>) -> Result<(), RequestError> {
        helenus_storage::sometimes!("a scan repaired a replica");
        let goal = self.plan.goal;
        let mut calls = FanOut::until(goal.deadline, self.coordinator.stop.clone());
        let mut hosts = repair.stale();
        let counters = &self.coordinator.counters;
        counters.digest_mismatches.add(1);
        counters.blocking_repairs.add(hosts.len());
        self.late = self.patience();
        loop {
            for host_id in hosts.drain(..) {
                let mutations = repair.lacking(host_id).clone();
                calls.add(host_id, self.repair_of(host_id, mutations)).await;
            }
            match repair.verdict() {
                Verdict::Reached { .. } => return Ok(()),
                Verdict::OutOfReach { .. } => return Err(repair.error(goal.timeout)),
                Verdict::Pending => match calls.next_before(self.late).await {
                    Next::Answer(Answer { from, result: Ok(()) }) => repair.on_ack(from),
                    Next::Answer(Answer { from, result: Err(missing) }) => {
                        repair.on_failure(from, missing);
                        if Instant::now() < goal.deadline {
                            hosts = repair.ask();
                        }
                    }
                    Next::Late => {
                        hosts.extend(repair.ask_another());
                        self.late = self.patience();
                    }
                    Next::Over => repair.on_deadline(),
                },
            }
        }
    }

    /// When the next answer is late; never where the table wants no more requests than are needed.
    fn patience(&self) -> Option<Instant> {
        let left = self.plan.goal.deadline.saturating_duration_since(Instant::now());
        let wait = (left / LATE_AFTER).max(Duration::from_millis(1));
        (self.plan.speculative_retry != SpeculativeRetry::None).then(|| Instant::now() + wait)
    }

    fn page_of(&self, host_id: HostId) -> BoxFuture<'static, Result<ReplicaPage, Missing>> {
        let (table, range, now, limits) =
            (self.plan.table, self.segment.range.clone(), self.plan.as_of.now, self.limits);
        if host_id == self.coordinator.host_id() {
            let (replica, part) = (Arc::clone(&self.coordinator.replica), self.trace.part_of(host_id));
            return async move {
                let steps = part.begin();
                let page = replica.scan(table, range.clone(), now, limits, &steps).await;
                part.end(steps);
                checked(page.map_err(Missing::Error)?, &range)
            }
            .boxed();
        }
        let call = self.call(host_id, Request::Scan { table, range: range.clone(), now, limits });
        async move {
            match call.await? {
                Response::Page(page) => checked(page, &range),
                other => Err(missing_answer(other)),
            }
        }
        .boxed()
    }

    fn repair_of(
        &self,
        host_id: HostId,
        mutations: Vec<Mutation>,
    ) -> BoxFuture<'static, Result<(), Missing>> {
        let table = self.plan.table;
        if host_id == self.coordinator.host_id() {
            let replica = Arc::clone(&self.coordinator.replica);
            let part = self.trace.part_of(host_id);
            return async move {
                let steps = part.begin();
                let repaired = replica.repair(table, mutations, &steps).await;
                part.end(steps);
                repaired.map_err(Missing::Error)
            }
            .boxed();
        }
        let call = self.call(host_id, Request::Repair { table, mutations });
        async move {
            match call.await? {
                Response::Noted => Ok(()),
                other => Err(missing_answer(other)),
            }
        }
        .boxed()
    }

    fn call(
        &self,
        host_id: HostId,
        request: Request,
    ) -> impl Future<Output = Result<Response, Missing>> + Send + use<> {
        let to = self.picture.destination(host_id);
        let (peers, goal) = (Arc::clone(&self.coordinator.peers), self.plan.goal);
        let part = self.trace.part_of(host_id);
        async move {
            let to = to.ok_or(Missing::Lost)?;
            let answer = part.call(&peers, &to, TrafficClass::Background, request, goal.deadline).await;
            answer.map_err(|error| missing_call(&error))
        }
    }
}

/// A page, if it can be one of the range: others would lead a scan astray.
fn checked(page: ReplicaPage, range: &KeyRange) -> Result<ReplicaPage, Missing> {
    let malformed = || ReplicaError::Storage("what it holds is no page of the range".to_owned());
    if page.is_of(range) { Ok(page) } else { Err(Missing::Error(malformed())) }
}
