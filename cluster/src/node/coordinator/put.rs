//! Writes: puts and deletes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use helenus_storage::{Mutation, Record, TableId};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Coordinator, Goal, Patience, Target, alive, datacenter_of, failure,
    fan_out::{FanOut, describe, missing_answer, missing_call},
    known_table,
    trace::Trace,
};
use crate::{
    consistency::Consistency,
    error::RequestError,
    handoff::Hint,
    message::{Relay, ReplicaError, Request, Response, TrafficClass},
    node::{Change, Failure, WriteOutcome, WriteRequest, clock::later},
    node_id::HostId,
    quorum::{Missing, Operation, Verdict, WriteQuorum},
    time::Timestamp,
};

/// A write that may be sent: enough of its replicas are alive.
struct Plan {
    goal: Goal,
    timestamp: Timestamp,
    table: TableId,
    mutation: Mutation,
    target: Target,
    alive: Vec<HostId>,
    quorum: WriteQuorum,
    grace_seconds: u32,
}

/// Replicas that refused a write because it comes from the future by their clocks.
#[derive(Default)]
struct Refused {
    by_clock: BTreeSet<HostId>,
    applied: usize,
}

impl Refused {
    fn note(&mut self, host: HostId, why: &Missing) {
        if matches!(why, Missing::Error(ReplicaError::ClockSkew)) {
            self.by_clock.insert(host);
        }
    }

    /// Hints are applied whatever the clock says. So where as many have refused a write as have applied it, it is the
    /// writer's clock that is off, and no hint carries the write past those who refused it.
    fn forget_distrusted(&self, missed: &mut BTreeSet<HostId>) {
        if self.by_clock.len() >= self.applied {
            missed.retain(|host| !self.by_clock.contains(host));
        }
    }
}

impl Plan {
    /// What is kept for a replica that misses the write.
    fn hint(&self, made_at: Timestamp) -> Hint {
        let Self { table, grace_seconds, ref mutation, .. } = *self;
        Hint { table, made_at, grace_seconds, mutation: mutation.clone() }
    }

    /// Replicas that are down: they miss the write.
    fn dead(&self) -> BTreeSet<HostId> {
        self.target.placement.all().filter(|host| !self.alive.contains(host)).collect()
    }
}

impl Coordinator {
    /// Coordinates a write.
    pub(crate) async fn write(self: &Arc<Self>, request: WriteRequest) -> Result<WriteOutcome, Failure> {
        let mut trace = Trace::begin(self.host_id(), request.options.trace);
        let begun = self.begin(&request.table, &request.options, self.write_timeout.get()).await;
        let planned = begun
            .and_then(|(permit, patience)| Ok((permit, self.plan_write(request, patience, &mut trace)?)));
        let (permit, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => return Err(failure(error, trace)),
        };
        let (reply, outcome) = oneshot::channel();
        let unknown = plan.quorum.error(plan.goal.timeout);
        let coordinator = Arc::clone(self);
        self.tasks
            .spawn_on(async move { coordinator.carry_out(plan, trace, permit, reply).await }, &self.runtime);
        // The task replies in any case; only a runtime that is being torn down drops it before.
        outcome.await.unwrap_or(Err(Failure { error: unknown, trace: Vec::new() }))
    }

    fn plan_write(
        &self,
        request: WriteRequest,
        patience: Patience,
        trace: &mut Trace,
    ) -> Result<Plan, RequestError> {
        let picture = self.cluster.picture();
        let table = known_table(&picture, &request.table)?;
        let goal = self.goal(&request.options, table.definition.default_write_consistency, patience);
        let block_for = self.block_for(Operation::Write, goal.level, table, &picture)?;
        // Before anything is sent: the replica of this node itself would believe a clock that is wrong.
        if let Some(why) = self.clock.skew() {
            return Err(RequestError::ClockSkew(why));
        }
        let timestamp = self.timestamp(request.timestamp)?;
        let record = self.record(timestamp, request.change, table.definition.default_ttl());
        let grace_seconds = table.definition.tombstone_grace_seconds;

        // Before the picture is taken: a joining node that was told "no records yet" is then in the picture, and gets
        // this write too. Taken back if the write turns out to be unavailable.
        let intent = self.cluster.intend_user_record();
        let target = self.place(&request.table, &request.key, trace)?;
        if !target.placement.pending.is_empty() {
            helenus_storage::sometimes!("a write went to a joining node");
        }
        let pending = target.placement.pending.iter();
        let block_for =
            block_for.with_pending(pending.map(|host_id| datacenter_of(&target.picture, *host_id)));
        let replicas = self.replicas(&target.picture, target.placement.all());
        let quorum = WriteQuorum::new(block_for, replicas.iter().copied())?;
        let alive = alive(&replicas);
        intent.hold();
        // A client's own timestamp may be ahead; what this node stamps later wins over it.
        self.clock.observe(timestamp);
        let mutation = Mutation::single(target.key.clone(), record);
        Ok(Plan { goal, timestamp, table: target.table, mutation, target, alive, quorum, grace_seconds })
    }

    /// The client's own timestamp if it gave a credible one, else a stamp of this node.
    fn timestamp(&self, given: Option<Timestamp>) -> Result<Timestamp, RequestError> {
        let Some(timestamp) = given else { return Ok(self.clock.stamp()) };
        let max = self.clock.latest_accepted();
        if timestamp == Timestamp(0) || timestamp > max {
            helenus_storage::sometimes!("a client's timestamp was out of range");
            return Err(RequestError::TimestampOutOfRange { timestamp, max });
        }
        Ok(timestamp)
    }

    /// Expiry and deletion follow this node's wall clock, whatever timestamp the client chose: they say when
    /// something ends, not which version wins.
    fn record(&self, timestamp: Timestamp, change: Change, default_ttl: Option<Duration>) -> Record {
        let now = self.clock.now();
        match change {
            Change::Put { value, ttl } => match ttl.or(default_ttl) {
                Some(ttl) => Record::expiring(timestamp, value, later(now, ttl)),
                None => Record::plain(timestamp, value),
            },
            Change::Delete => Record::tombstone(timestamp, now),
        }
    }

    /// Sends the write to all live replicas, replies as soon as the outcome is known, and goes on until the last
    /// replica has answered or the deadline has passed.
    async fn carry_out(
        self: Arc<Self>,
        plan: Plan,
        mut trace: Trace,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<WriteOutcome, Failure>>,
    ) {
        let (goal, timestamp) = (plan.goal, plan.timestamp);
        let mut quorum = plan.quorum.clone();
        if let Err(error) = self.save_before_sending(&plan).await {
            helenus_storage::sometimes!("what a write must save first was not saved");
            let _: Result<(), _> = reply.send(Err(failure(error, trace)));
            return;
        }
        let hint = plan.hint(self.clock.now());
        let mut missed = plan.dead();
        let mut unheard: BTreeSet<HostId> = plan.alive.iter().copied().collect();
        let mut refused = Refused::default();
        let mut fan_out = self.send_write(&plan, &mut trace).await;
        drop(plan);
        while quorum.verdict() == Verdict::Pending {
            match fan_out.next().await {
                Some(answer) => match answer.result {
                    Ok(owned) => {
                        refused.applied += 1;
                        unheard.remove(&answer.from);
                        if !owned {
                            helenus_storage::sometimes!("a write was applied by no owner");
                        }
                        trace.note_at(answer.from, || {
                            if owned {
                                "applied".to_owned()
                            } else {
                                "applied, though not an owner by its ring".to_owned()
                            }
                        });
                        quorum.on_ack(answer.from);
                    }
                    Err(missing) => {
                        trace.note_at(answer.from, || describe(&missing));
                        refused.note(answer.from, &missing);
                        quorum.on_failure(answer.from, missing);
                    }
                },
                None => {
                    helenus_storage::sometimes!("a write met its deadline");
                    quorum.on_deadline();
                }
            }
        }
        let outcome = match quorum.verdict() {
            Verdict::Reached { acknowledged } => {
                Ok(WriteOutcome { timestamp, met: goal.met(quorum.required(), acknowledged, trace) })
            }
            _ if goal.level == Consistency::Any => {
                refused.forget_distrusted(&mut unheard);
                missed.append(&mut unheard);
                let missed = std::mem::take(&mut missed);
                self.settle_for_a_hint(goal, timestamp, &quorum, &hint, missed, trace).await
            }
            Verdict::Pending | Verdict::OutOfReach { .. } => Err(failure(quorum.error(goal.timeout), trace)),
        };
        // A client that has hung up does not hear it.
        if reply.send(outcome).is_err() {
            helenus_storage::sometimes!("a client had hung up");
        }
        let mut is_held = quorum.acknowledged() > 0;
        let Ok(_late) = self.late.try_acquire() else {
            helenus_storage::sometimes!("late replicas were not awaited");
            refused.forget_distrusted(&mut unheard);
            missed.append(&mut unheard);
            self.keep_hints(&hint, missed).await;
            return;
        };
        drop(permit);
        let late = async {
            while let Some(answer) = fan_out.next().await {
                helenus_storage::sometimes!("a late acknowledgement came");
                match &answer.result {
                    Ok(_) => {
                        is_held = true;
                        refused.applied += 1;
                        unheard.remove(&answer.from);
                    }
                    Err(missing) => refused.note(answer.from, missing),
                }
            }
        };
        // Those that are down need not wait for those that are slow.
        tokio::join!(late, self.keep_hints(&hint, missed));
        if !is_held {
            // Where nobody has the write, this node lacks nothing.
            unheard.remove(&self.host_id());
        }
        refused.forget_distrusted(&mut unheard);
        self.keep_hints(&hint, unheard).await;
    }

    /// No replica has acknowledged a write at level `any`: a hint that is durable will do.
    async fn settle_for_a_hint(
        &self,
        goal: Goal,
        timestamp: Timestamp,
        quorum: &WriteQuorum,
        hint: &Hint,
        missed: BTreeSet<HostId>,
        mut trace: Trace,
    ) -> Result<WriteOutcome, Failure> {
        let down = missed.iter().copied().collect();
        let kept = self.keep_hints(hint, missed).await;
        if kept > 0 {
            helenus_storage::sometimes!("a write at level any was satisfied by a hint");
            trace.note(|| format!("kept as a hint for {kept} replicas"));
            return Ok(WriteOutcome { timestamp, met: goal.met(quorum.required(), 0, trace) });
        }
        let error = if quorum.was_sent() {
            quorum.error(goal.timeout)
        } else {
            let (level, required) = (goal.level, quorum.required());
            RequestError::Unavailable { level, required, alive: 0, shortages: Vec::new(), down }
        };
        Err(failure(error, trace))
    }

    /// Keeps a write for the replicas that missed it, and answers for how many. What cannot be kept leaves a mark that
    /// they have to be repaired.
    async fn keep_hints(&self, hint: &Hint, missed: BTreeSet<HostId>) -> usize {
        let mut kept = 0;
        for host in missed {
            if host == self.host_id() {
                // Its storage has just failed: a hint in the same storage would, too.
                self.hints.give_up(host, hint).await;
            } else if self.hints.keep(host, hint).await.is_ok() {
                kept += 1;
            }
        }
        kept
    }

    /// That records exist, and how far stamps go: the first write of a node waits here for a sync, and one write in two
    /// seconds. Nothing was sent yet, but a storage that fails may have kept the note: that is said as a failure of
    /// this node's replica.
    async fn save_before_sending(&self, plan: &Plan) -> Result<(), RequestError> {
        let mut quorum = plan.quorum.clone();
        let save = async {
            self.cluster.save_user_records().await?;
            self.clock.cover(plan.timestamp, &self.replica.store).await
        };
        match timeout_at(plan.goal.deadline, save).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(RequestError::Failed {
                level: plan.goal.level,
                required: quorum.required(),
                received: 0,
                failures: vec![(self.host_id(), error)],
                shortages: Vec::new(),
            }),
            Err(_) => {
                quorum.on_deadline();
                Err(quorum.error(plan.goal.timeout))
            }
        }
    }

    async fn send_write(&self, plan: &Plan, trace: &mut Trace) -> FanOut<bool> {
        let mut fan_out = FanOut::until(plan.goal.deadline, self.stop.clone());
        let (straight, groups) = self.routes(plan);
        for host in straight {
            trace.note(|| format!("sent to {host}"));
            fan_out.add(host, self.write_at(host, plan, Relay::None)).await;
        }
        for group in groups {
            self.send_to_datacenter(&group, plan, trace, &mut fan_out).await;
        }
        fan_out
    }

    /// Whom to send the write itself, and whom by a forwarder: in each other datacenter the first of its group.
    fn routes(&self, plan: &Plan) -> (Vec<HostId>, Vec<Vec<HostId>>) {
        let picture = &plan.target.picture;
        let own = picture.view().own().datacenter.as_str();
        let (mut straight, mut remote) = (Vec::new(), BTreeMap::<&str, Vec<HostId>>::new());
        for &host in &plan.alive {
            match datacenter_of(picture, host) {
                datacenter if datacenter == own => straight.push(host),
                datacenter => remote.entry(datacenter).or_default().push(host),
            }
        }
        let (groups, alone): (Vec<_>, Vec<_>) = remote.into_values().partition(|group| group.len() > 1);
        straight.extend(alone.into_iter().flatten());
        let in_order = |group| self.nearest.order(picture, group);
        (straight, groups.into_iter().map(in_order).collect())
    }

    async fn send_to_datacenter(
        &self,
        group: &[HostId],
        plan: &Plan,
        trace: &mut Trace,
        fan_out: &mut FanOut<bool>,
    ) {
        let Some((&forwarder, others)) = group.split_first() else { return };
        trace.note(|| {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            format!("sent to {forwarder}, to be forwarded to {}", others.join(", "))
        });
        self.resends.lock().deposit();
        let ticket = self.forwarded.ticket();
        let has_failed = CancellationToken::new();
        let now = Instant::now();
        let patience = now + plan.goal.deadline.saturating_duration_since(now) / 2;
        // Before the forwarder is asked: they may be quicker than it is.
        let expected: Vec<_> = others.iter().map(|host| self.forwarded.expect(ticket, *host)).collect();
        let call = self.write_at(forwarder, plan, Relay::Forward { to: others.to_vec(), ticket });
        let on_failure = has_failed.clone();
        let call = async move {
            let result = call.await;
            if result.is_err() {
                on_failure.cancel();
            }
            result
        };
        fan_out.add(forwarder, call.boxed()).await;
        for (&host, expected) in others.iter().zip(expected) {
            let resends = Arc::clone(&self.resends);
            let affordable = move || resends.lock().withdraw();
            let send = self.write_at(host, plan, Relay::None);
            fan_out.add(host, expected.or_straight(has_failed.clone(), patience, affordable, send)).await;
        }
    }

    /// One replica's part; `true` if it owns the key by its own ring.
    fn write_at(&self, host: HostId, plan: &Plan, relay: Relay) -> BoxFuture<'static, Result<bool, Missing>> {
        let (table, mutation, goal) = (plan.table, plan.mutation.clone(), plan.goal);
        if host == self.host_id() {
            let replica = Arc::clone(&self.replica);
            return async move { replica.write(table, mutation).await.map_err(Missing::Error) }.boxed();
        }
        let Some(to) = plan.target.picture.destination(host) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let peers = Arc::clone(&self.peers);
        let request = Request::Write { table, mutation, relay };
        async move {
            match peers.call(&to, TrafficClass::Request, request, goal.deadline, goal.trace).await {
                Ok(Response::Written { owned }) => Ok(owned),
                Ok(other) => Err(missing_answer(other)),
                Err(error) => Err(missing_call(&error)),
            }
        }
        .boxed()
    }
}
