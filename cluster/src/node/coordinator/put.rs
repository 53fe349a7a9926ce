//! Writes: puts and deletes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use helenus_storage::{Mutation, Record, TableId};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, sleep, timeout_at},
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
    counted::counted,
    error::RequestError,
    handoff::Hint,
    message::{Relay, ReplicaError, Request, Response, TrafficClass},
    node::{
        Change, Failure, Met, RequestOptions, WriteOutcome, WriteRequest, clock::later, handoff::NotKept,
    },
    node_id::HostId,
    quorum::{Missing, Operation, Verdict, WriteQuorum},
    session::{Held, Observed},
    time::Timestamp,
};

/// How long a hint at level `any` may take beyond the deadline: only then is it known that no replica has answered.
const LAST_RESORT: Duration = Duration::from_secs(1);
/// Before this node's own replica is tried again, which had no room; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What came of the hints for some replicas.
type Keeping = BoxFuture<'static, Vec<(HostId, Result<(), NotKept>)>>;

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
        let trace = self.trace("write", &request.table, &request.options);
        let begun = self.begin(&request.table, &request.options, self.write_timeout.get()).await;
        let planned =
            begun.and_then(|(permit, patience)| Ok((permit, self.plan_write(request, patience, &trace)?)));
        let (permit, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => return Err(failure(error, &trace)),
        };
        if let Err(what) = self.await_own_room(&plan).await {
            return Err(failure(RequestError::Overloaded(what), &trace));
        }
        let (reply, outcome) = oneshot::channel();
        let unknown = plan.quorum.error(plan.goal.timeout);
        let stamped = Some(plan.timestamp);
        let (table, picture, deadline) = (plan.table, Arc::clone(&plan.target.picture), plan.goal.deadline);
        let coordinator = Arc::clone(self);
        self.tasks
            .spawn_on(async move { coordinator.carry_out(plan, trace, permit, reply).await }, &self.runtime);
        // The task replies in any case; only a runtime that is being torn down drops it before.
        match outcome.await.unwrap_or(Err(Failure { error: unknown, trace: Vec::new(), stamped })) {
            Ok(outcome) => Ok(outcome),
            Err(failure) => Err(Failure {
                error: self.explained(failure.error, table, &picture, deadline).await,
                ..failure
            }),
        }
    }

    /// Holds a write back while this node's own replica could not take it: so far nothing is sent. Half of the time is
    /// kept for the write itself.
    async fn await_own_room(&self, plan: &Plan) -> Result<(), &'static str> {
        if !plan.alive.contains(&self.host_id()) {
            return Ok(());
        }
        let now = Instant::now();
        let half = plan.goal.deadline.saturating_duration_since(now) / 2;
        self.replica.store.await_room(now + half).await
    }

    fn plan_write(
        &self,
        request: WriteRequest,
        patience: Patience,
        trace: &Trace,
    ) -> Result<Plan, RequestError> {
        let picture = self.cluster.picture();
        let table = known_table(&picture, &request.table)?;
        let goal = self.goal(&request.options, table.definition.default_write_consistency, patience);
        let block_for = self.block_for(Operation::Write, goal.level, table, &picture)?;
        self.check_session(&request.options)?;
        // Before anything is sent: the replica of this node itself would believe a clock that is wrong.
        if let Some(why) = self.clock.skew() {
            return Err(RequestError::ClockSkew(why));
        }
        let timestamp = self.timestamp(request.timestamp, &request.options)?;
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

    /// The client's own timestamp if it gave a credible one, else a stamp of this node, above all that the client's
    /// session has met.
    fn timestamp(
        &self,
        given: Option<Timestamp>,
        options: &RequestOptions,
    ) -> Result<Timestamp, RequestError> {
        let Some(timestamp) = given else { return self.stamp_above(options.session.as_deref()) };
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
        trace: Trace,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<WriteOutcome, Failure>>,
    ) {
        let (goal, timestamp) = (plan.goal, plan.timestamp);
        let mut quorum = plan.quorum.clone();
        if let Err(error) = self.save_before_sending(&plan).await {
            helenus_storage::sometimes!("what a write must save first was not saved");
            let stamped = Some(timestamp);
            let _: Result<(), _> = reply.send(Err(Failure { stamped, ..failure(error, &trace) }));
            return;
        }
        let hint = plan.hint(self.clock.now_of_ages());
        // At once: whoever waits for the others first may die in between, and nobody keeps the write for those.
        let kept = self.keep_hints(&hint, plan.dead());
        let mut unheard: BTreeSet<HostId> = plan.alive.iter().copied().collect();
        let mut refused = Refused::default();
        let mut fan_out = self.send_write(&plan, &trace).await;
        let observed = self.observed(&plan.target, goal, timestamp);
        let observed = observed.map(|observed| Observed { is_written: true, ..observed });
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
            Verdict::Reached { acknowledged } => Ok(WriteOutcome {
                timestamp,
                met: goal.met(quorum.required(), acknowledged, &trace),
                observed,
            }),
            _ if goal.level == Consistency::Any => {
                refused.forget_distrusted(&mut unheard);
                let missed = std::mem::take(&mut unheard);
                let settled = self.settle_for_a_hint(goal, &quorum, &hint, (kept, missed), trace).await;
                // A hint is no replica.
                let observed = observed.map(|observed| Observed { held: Held::BY_NONE, ..observed });
                settled.map(|met| WriteOutcome { timestamp, met, observed })
            }
            Verdict::Pending | Verdict::OutOfReach { .. } => Err(failure(quorum.error(goal.timeout), &trace)),
        };
        let outcome = outcome.map_err(|failure| Failure { stamped: Some(timestamp), ..failure });
        // A client that has hung up does not hear it.
        if reply.send(outcome).is_err() {
            helenus_storage::sometimes!("a client had hung up");
        }
        let mut is_held = quorum.acknowledged() > 0;
        let Ok(_late) = self.late.try_acquire() else {
            helenus_storage::sometimes!("late replicas were not awaited");
            refused.forget_distrusted(&mut unheard);
            self.keep_hints(&hint, unheard).await;
            return;
        };
        drop(permit);
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
        refused.forget_distrusted(&mut unheard);
        let has_failed_here = unheard.remove(&self.host_id());
        let kept = self.keep_hints(&hint, unheard);
        // Where nobody has the write, this node lacks nothing.
        if has_failed_here && is_held {
            self.try_again_here(&hint, goal.deadline).await;
        }
        kept.await;
    }

    /// This node's own replica had no room for a write that others hold. Room may come soon; if not, there is a hint.
    async fn try_again_here(&self, hint: &Hint, deadline: Instant) {
        let mut pause = FIRST_PAUSE;
        while Instant::now() + pause < deadline {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = sleep(pause) => pause *= 2,
            }
            match timeout_at(deadline, self.replica.apply_hint(hint.table, hint.mutation.clone())).await {
                Ok(Ok(())) => {
                    helenus_storage::sometimes!("the own replica had room the second time");
                    return;
                }
                Ok(Err(ReplicaError::Overloaded(_) | ReplicaError::StorageFull(_))) => {}
                _ => break,
            }
        }
        // What cannot be kept leaves a mark.
        let _: Result<(), _> = self.hints.keep(self.host_id(), hint).await;
    }

    /// No replica has acknowledged a write at level `any`: a hint that is durable will do. Those for replicas that were
    /// down are being `kept`; those that were not heard get theirs now, when the deadline may have passed.
    async fn settle_for_a_hint(
        &self,
        goal: Goal,
        quorum: &WriteQuorum,
        hint: &Hint,
        (kept, unheard): (Keeping, BTreeSet<HostId>),
        trace: Trace,
    ) -> Result<Met, Failure> {
        let of_unheard = self.keep_hints(hint, unheard);
        let deadline = goal.deadline.max(Instant::now() + LAST_RESORT);
        let both = async { [kept.await, of_unheard.await].into_iter().flatten().collect::<Vec<_>>() };
        let (level, required) = (goal.level, quorum.required());
        let Ok(outcomes) = timeout_at(deadline, both).await else {
            helenus_storage::sometimes!("a hint at level any took too long");
            let mut quorum = quorum.clone();
            quorum.on_deadline();
            let error = if quorum.was_sent() {
                quorum.error(goal.timeout)
            } else {
                let (received, silent, lost, timeout) = (0, 0, 0, goal.timeout);
                let shortages = Vec::new();
                RequestError::Timeout { level, required, received, silent, lost, timeout, shortages }
            };
            return Err(failure(error, &trace));
        };
        let kept = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        if kept > 0 {
            helenus_storage::sometimes!("a write at level any was satisfied by a hint");
            trace.note(|| format!("kept as a hint for {}", counted(kept, "replica")));
            return Ok(goal.met(required, 0, &trace));
        }
        let doubt = outcomes.iter().find_map(|(_, outcome)| match outcome {
            Err(NotKept::Doubtful(error)) => Some(error.clone()),
            _ => None,
        });
        let error = match doubt {
            _ if quorum.was_sent() => quorum.error(goal.timeout),
            // The hint may be in the log, and delivered after a restart.
            Some(error) => {
                helenus_storage::sometimes!("nobody knows whether a hint is kept");
                let failures = vec![(self.host_id(), error)];
                RequestError::Failed { level, required, received: 0, failures, shortages: Vec::new() }
            }
            None => {
                let down = outcomes.into_iter().map(|(host, _)| host).collect();
                RequestError::Unavailable { level, required, alive: 0, shortages: Vec::new(), down }
            }
        };
        Err(failure(error, &trace))
    }

    /// Keeps a write for the replicas that missed it, whether somebody waits for it or not; ready when it is known what
    /// came of each hint. What cannot be kept leaves a mark that they have to be repaired.
    fn keep_hints(&self, hint: &Hint, missed: BTreeSet<HostId>) -> Keeping {
        if missed.is_empty() {
            return async { Vec::new() }.boxed();
        }
        let (hints, hint) = (Arc::clone(&self.hints), hint.clone());
        let keeping = async move {
            let keep = async |host| (host, hints.keep(host, &hint).await);
            join_all(missed.into_iter().map(keep)).await
        };
        let task = self.tasks.spawn_on(keeping, &self.runtime);
        // Only a runtime that is being torn down drops the task.
        task.map(Result::unwrap_or_default).boxed()
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

    async fn send_write(&self, plan: &Plan, trace: &Trace) -> FanOut<bool> {
        let mut fan_out = FanOut::until(plan.goal.deadline, self.stop.clone());
        let (straight, groups) = self.routes(plan);
        for host in straight {
            trace.note(|| format!("sent to {host}"));
            fan_out.add(host, self.write_at(host, plan, Relay::None, trace)).await;
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
        trace: &Trace,
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
        let call = self.write_at(forwarder, plan, Relay::Forward { to: others.to_vec(), ticket }, trace);
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
            let send = self.write_at(host, plan, Relay::None, trace);
            let part = trace.part_of(host);
            let acknowledged = expected.or_straight(part, has_failed.clone(), patience, affordable, send);
            fan_out.add(host, acknowledged).await;
        }
    }

    /// One replica's part; `true` if it owns the key by its own ring.
    fn write_at(
        &self,
        host: HostId,
        plan: &Plan,
        relay: Relay,
        trace: &Trace,
    ) -> BoxFuture<'static, Result<bool, Missing>> {
        let part = trace.part_of(host);
        let (table, mutation, goal) = (plan.table, plan.mutation.clone(), plan.goal);
        if host == self.host_id() {
            let replica = Arc::clone(&self.replica);
            return async move {
                let steps = part.begin();
                let written = replica.write(table, mutation, &steps).await.map_err(Missing::Error);
                part.end(steps);
                written
            }
            .boxed();
        }
        let Some(to) = plan.target.picture.destination(host) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let peers = Arc::clone(&self.peers);
        let request = Request::Write { table, mutation, relay };
        async move {
            match part.call(&peers, &to, TrafficClass::Request, request, goal.deadline).await {
                Ok(Response::Written { owned }) => Ok(owned),
                Ok(other) => Err(missing_answer(other)),
                Err(error) => Err(missing_call(&error)),
            }
        }
        .boxed()
    }
}
