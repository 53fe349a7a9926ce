//! A read under way.
//!
//! ```text
//!   as many are asked as the level needs: the nearest for the record, the others for digests
//!     │  late: ask another one                          failed: ask another one in its place
//!     ▼
//!   as many have answered ── they differ ──> ask for the records ──> write the newest to those who lack it
//!     │ they agree (and a session has what it needs, or more are asked) │ as many hold it
//!     └──────────────────────────────> answer <────────────────────────┘
//!                                        │ some are still awaited
//!                                        ▼
//!                        in the background: hear them, and repair them too
//! ```
//!
//! # Reads never go back
//!
//! A read is answered once as many replicas as its level requires are known to hold the version that it answers, or a
//! newer one: because their digests or records said so, or because they have acknowledged it since. So a later read at a
//! level that overlaps with this one (R + R' > N, [`crate::quorum::overlap`]) asks one of them, and answers that version
//! or a newer one: a replica never goes back, and of several answers the newest wins. It holds for writes that were never
//! acknowledged too, which may be on one replica only. Of the replicas that acknowledge, each has made the version as
//! durable as a write; the repair is the same apply, and no clock refuses it.
//!
//! Two things it does not cover: while members join, what only a read has spread is not owed to their future replicas (a
//! write is, see [`crate::placement`]); and a tombstone past its grace counts as nothing, so it is not spread.
//!
//! An answer that differs costs a second round, for the records of those who sent digests. Rejected: asking all for
//! records, which sends each value as often as the level has replicas; repairing in the background only, with which two
//! quorum reads in a row may answer new and old.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use helenus_storage::{Mutation, Record};
use tokio::time::Instant;

use super::{
    Coordinator, Target, failure,
    fan_out::{self, FanOut, Next, describe},
    get::Plan,
    multiget::Turn,
    trace::Trace,
};
use crate::{
    error::RequestError,
    message::ReplicaError,
    node::{Failure, ReadOutcome},
    node_id::HostId,
    quorum::{Answer, Ask, Missing, ReadQuorum, RepairQuorum, Verdict, Wants},
    table::SpeculativeRetry,
};

/// The read of one key.
pub(super) struct Reading {
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) plan: Plan,
    pub(super) quorum: ReadQuorum,
    pub(super) reads: FanOut<Answer>,
    repairs: FanOut<()>,
    pub(super) trace: Trace,
    begun: Instant,
    /// How long the slowest took of those that have answered.
    slowest: Duration,
    patience: Option<Patience>,
    /// Who was asked when, if not at once with all others of a batch.
    asked: Vec<(HostId, Instant)>,
    pub(super) turn: Turn,
    /// Replicas of which it tells the snitch that they are late: a message with several keys is late once.
    pub(super) tells_of: BTreeSet<HostId>,
}

/// When answers are late; each time it is twice as long until the next.
#[derive(Debug, Clone, Copy)]
struct Patience {
    until: Instant,
    interval: Duration,
}

impl Reading {
    pub(super) fn new(
        coordinator: &Arc<Coordinator>,
        plan: Plan,
        quorum: ReadQuorum,
        turn: Turn,
        trace: Trace,
    ) -> Self {
        let goal = plan.goal;
        let begun = Instant::now();
        let wait = coordinator.speculation.begin(plan.target.table, plan.speculative_retry, goal.timeout);
        Self {
            coordinator: Arc::clone(coordinator),
            plan,
            quorum,
            reads: FanOut::until(goal.deadline, coordinator.stop.clone()),
            repairs: FanOut::until(goal.deadline, coordinator.stop.clone()),
            trace,
            begun,
            slowest: Duration::ZERO,
            patience: wait.map(|interval| Patience { until: begun + interval, interval }),
            asked: Vec::new(),
            turn,
            tells_of: BTreeSet::new(),
        }
    }

    /// Whom to ask first. Then the read is to be answered.
    pub(super) fn begin(&mut self) -> Vec<Ask> {
        let mut first = self.quorum.ask();
        if self.plan.speculative_retry == SpeculativeRetry::Always {
            first.extend(self.quorum.ask_another());
        }
        first
    }

    /// Begins to wait: a replica is asked only now.
    pub(super) fn begin_again(&mut self) {
        self.put_off(self.begun.elapsed());
    }

    /// Goes on without those moments, in which it could not.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.begun += by;
        if let Some(patience) = &mut self.patience {
            patience.until += by;
        }
    }

    /// Answers, once the first replicas are asked.
    pub(super) async fn answer(mut self) -> Result<ReadOutcome, Failure> {
        let read = match self.agree().await {
            Ok(acknowledged) => self.repair().await.map(|()| acknowledged),
            Err(error) => Err(error),
        };
        let goal = self.plan.goal;
        match read {
            Ok(acknowledged) => {
                let record = self.quorum.newest();
                let observed = record.as_ref().and_then(|record| self.observed(record));
                let outcome = ReadOutcome {
                    record,
                    now: self.plan.as_of.now,
                    observed,
                    met: goal.met(self.quorum.required(), acknowledged, &self.trace),
                };
                self.finish();
                Ok(outcome)
            }
            Err(error) => {
                let Target { table, picture, .. } = &self.plan.target;
                let error = self.coordinator.explained(error, *table, picture, goal.deadline).await;
                Err(failure(error, &self.trace))
            }
        }
    }

    /// Asks until as many as the level requires have answered, and none of them says what another does not explain.
    async fn agree(&mut self) -> Result<u32, RequestError> {
        loop {
            match self.quorum.verdict() {
                Verdict::Reached { acknowledged } => {
                    let differing = self.quorum.differing();
                    if differing.is_empty() && !self.satisfies_session() {
                        self.widen().await?;
                        continue;
                    }
                    if differing.is_empty() {
                        // One of a batch takes as long as the others whose messages it shares. And of one that does not
                        // answer it does not count how long it was awaited: else all would soon be as late as that one.
                        if matches!(self.turn, Turn::NotNeeded) {
                            self.coordinator.speculation.record(self.plan.target.table, self.slowest);
                        }
                        return Ok(acknowledged);
                    }
                    self.trace.note(|| "the answers differ".to_owned());
                    self.coordinator.counters.digest_mismatches.add(1);
                    self.ask(differing).await?;
                }
                Verdict::OutOfReach { .. } => return Err(self.quorum.error(self.plan.goal.timeout)),
                Verdict::Pending => match self.reads.next_before(self.late()).await {
                    Next::Answer(answer) => self.hear(answer).await?,
                    Next::Late => self.speculate().await,
                    Next::Over => {
                        helenus_storage::sometimes!("a read met its deadline");
                        self.quorum.on_deadline();
                    }
                },
            }
        }
    }

    /// Asks for this key alone, when it is its turn.
    pub(super) async fn ask(&mut self, asks: impl IntoIterator<Item = Ask>) -> Result<(), RequestError> {
        self.take_turn().await?;
        self.send(asks).await;
        Ok(())
    }

    pub(super) async fn send(&mut self, asks: impl IntoIterator<Item = Ask>) {
        for ask in asks {
            self.note_asked(ask);
            self.tells_of.insert(ask.host_id);
            self.asked.push((ask.host_id, Instant::now()));
            let part = self.trace.part_of(ask.host_id);
            self.reads.add(ask.host_id, self.coordinator.read_at(ask, &self.plan, part)).await;
        }
    }

    pub(super) fn note_asked(&self, Ask { host_id, wants }: Ask) {
        self.trace.note(|| match wants {
            Wants::Record => format!("asked {host_id} for the record"),
            Wants::Digest => format!("asked {host_id} for its digest"),
        });
    }

    pub(super) async fn hear(&mut self, answer: fan_out::Answer<Answer>) -> Result<(), RequestError> {
        let fan_out::Answer { from, result } = answer;
        match result {
            Ok(answer) => {
                self.trace.note_at(from, || tell(&answer));
                // What the client is told of, a later write through this node overwrites.
                if let Answer::Record(Some(record)) = &answer {
                    self.coordinator.clock.observe(record.timestamp);
                }
                self.slowest = self.slowest.max(self.took(from));
                self.quorum.on_answer(from, answer);
            }
            Err(Missing::Error(why @ ReplicaError::TooLargeTogether)) => {
                self.trace.note_at(from, || why.to_string());
                self.ask([Ask { host_id: from, wants: Wants::Record }]).await?;
            }
            Err(missing) => {
                self.trace.note_at(from, || describe(&missing));
                self.quorum.on_failure(from, missing);
                // A call that has reached its deadline ends a moment before the wait for it does.
                if Instant::now() < self.plan.goal.deadline {
                    let others = self.quorum.ask();
                    if !others.is_empty() {
                        self.ask(others).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How long one has taken until now.
    fn took(&self, host_id: HostId) -> Duration {
        let asked = self.asked.iter().rev().find(|(asked, _)| *asked == host_id);
        asked.map_or(self.begun, |(_, at)| *at).elapsed()
    }

    fn late(&self) -> Option<Instant> {
        self.patience.map(|patience| patience.until)
    }

    /// Somebody is late. The snitch hears of it at once, as a latency of at least so long: else every read that cannot
    /// pay for another replica would wait for the same one, to its deadline.
    async fn speculate(&mut self) {
        let awaited = self.quorum.awaited().into_iter().filter(|host_id| self.tells_of.contains(host_id));
        awaited.for_each(|host_id| self.coordinator.nearest.late(host_id, self.took(host_id)));
        if self.may_ask_another(self.quorum.has_another()) {
            helenus_storage::sometimes!("a read asked another replica");
            let another = self.quorum.ask_another();
            self.send(another).await;
        }
    }

    /// Whether an extra request may be made, now that one is late. None waits for a turn: meanwhile the answer would not be
    /// heard that makes it needless.
    fn may_ask_another(&mut self, is_there_another: bool) -> bool {
        let Some(patience) = &mut self.patience else { return false };
        if !is_there_another {
            self.patience = None;
            return false;
        }
        patience.until = Instant::now() + patience.interval;
        patience.interval *= 2;
        let turn = self.turn.if_free(&self.coordinator);
        let paid = turn.filter(|_| self.coordinator.speculation.pay());
        let (counters, is_paid) = (&self.coordinator.counters, paid.is_some());
        let counter =
            if is_paid { &counters.speculative_retries } else { &counters.refused_speculative_retries };
        counter.add(1);
        if let Some(turn) = paid {
            self.turn = turn;
        }
        is_paid
    }

    /// Writes the newest version to those who lack it, and waits until as many as the level requires hold it.
    async fn repair(&mut self) -> Result<(), RequestError> {
        let Some(mut repair) = self.quorum.repair() else { return Ok(()) };
        helenus_storage::sometimes!("a read repaired a replica");
        let stale = repair.stale();
        let is_blocking = repair.verdict() == Verdict::Pending;
        let counters = &self.coordinator.counters;
        if is_blocking { &counters.blocking_repairs } else { &counters.background_repairs }.add(stale.len());
        self.write(stale, &repair).await;
        loop {
            match repair.verdict() {
                Verdict::Reached { .. } => return Ok(()),
                Verdict::OutOfReach { .. } => return Err(repair.error(self.plan.goal.timeout)),
                Verdict::Pending => match self.repairs.next_before(self.late()).await {
                    Next::Answer(fan_out::Answer { from, result: Ok(()) }) => {
                        self.trace.note_at(from, || "repaired".to_owned());
                        repair.on_ack(from);
                        self.quorum.on_repaired(from);
                    }
                    Next::Answer(fan_out::Answer { from, result: Err(missing) }) => {
                        self.trace.note_at(from, || describe(&missing));
                        repair.on_failure(from, missing);
                        if Instant::now() < self.plan.goal.deadline {
                            let others = repair.ask();
                            self.write(others, &repair).await;
                        }
                    }
                    Next::Late => {
                        if self.may_ask_another(repair.has_another()) {
                            let another = repair.ask_another();
                            self.write(another, &repair).await;
                        }
                    }
                    Next::Over => {
                        helenus_storage::sometimes!("a repair met its deadline");
                        repair.on_deadline();
                    }
                },
            }
        }
    }

    async fn write(&mut self, hosts: impl IntoIterator<Item = HostId>, repair: &RepairQuorum<Record>) {
        for host_id in hosts {
            self.trace.note(|| format!("wrote the newest version to {host_id}"));
            let mutation = Mutation::single(self.plan.target.key.clone(), repair.lacking(host_id).clone());
            let part = self.trace.part_of(host_id);
            self.repairs.add(host_id, self.coordinator.repair_at(host_id, &self.plan, mutation, part)).await;
        }
    }

    /// Goes on after the answer if somebody is still awaited and there is room for it.
    fn finish(mut self) {
        if self.reads.is_idle() && self.repairs.is_idle() {
            return;
        }
        self.turn = Turn::NotNeeded;
        let coordinator = Arc::clone(&self.coordinator);
        match Arc::clone(&coordinator.finishing).try_acquire_owned() {
            Ok(permit) => {
                coordinator.tasks.spawn_on(
                    async move {
                        self.hear_the_rest().await;
                        drop(permit);
                    },
                    &coordinator.runtime,
                );
            }
            Err(_) => {
                helenus_storage::sometimes!("late answers of a read were not awaited");
                coordinator.counters.dropped_background_repairs.add(1);
            }
        }
    }

    /// Repairs those whose answers came too late for the client.
    async fn hear_the_rest(mut self) {
        self.hear_until_silence().await;
        let differing = self.quorum.differing();
        if !differing.is_empty() {
            self.coordinator.counters.digest_mismatches.add(1);
            self.send(differing).await;
            self.hear_until_silence().await;
        }
        // Those who were written to already need not be again.
        while let Some(fan_out::Answer { from, result }) = self.repairs.next().await {
            if result.is_ok() {
                self.quorum.on_repaired(from);
            }
        }
        if let Some(repair) = self.quorum.repair() {
            helenus_storage::sometimes!("a read repaired a replica in the background");
            let stale = repair.stale();
            self.coordinator.counters.background_repairs.add(stale.len());
            self.write(stale, &repair).await;
        }
        while self.repairs.next().await.is_some() {}
    }

    async fn hear_until_silence(&mut self) {
        while let Some(fan_out::Answer { from, result }) = self.reads.next().await {
            if let Ok(answer) = result {
                self.quorum.on_answer(from, answer);
            }
        }
    }
}

/// An answer in the words of a trace.
fn tell(answer: &Answer) -> String {
    match answer {
        Answer::Record(Some(record)) => format!("answered with timestamp {}", record.timestamp.0),
        Answer::Record(None) => "answered that it has no version".to_owned(),
        Answer::Digest(digest) => format!("answered with digest {:032x}", digest.0),
    }
}
