//! Reads of one key.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use helenus_storage::Record;

use super::{
    Coordinator, Goal, Patience, Target, alive, failure,
    fan_out::{FanOut, describe, missing_answer, missing_call},
    known_table,
    trace::Trace,
};
use crate::{
    error::RequestError,
    message::{Request, Response, TrafficClass},
    node::{Failure, ReadOutcome, ReadRequest},
    node_id::HostId,
    quorum::{Missing, Operation, ReadQuorum, Verdict},
    time::Timestamp,
};

/// A read that may be sent: enough of its replicas are alive.
struct Plan {
    goal: Goal,
    now: Timestamp,
    target: Target,
    alive: Vec<HostId>,
    quorum: ReadQuorum,
}

impl Coordinator {
    /// Coordinates a read: asks all live natural replicas and answers at the level with the newest version.
    pub(crate) async fn read(&self, request: ReadRequest) -> Result<ReadOutcome, Failure> {
        let mut trace = Trace::begin(self.host_id(), request.options.trace);
        let begun = self.begin(&request.table, &request.options, self.read_timeout).await;
        let planned = begun
            .and_then(|(permit, patience)| Ok((permit, self.plan_read(&request, patience, &mut trace)?)));
        let (_permit, mut plan) = match planned {
            Ok(planned) => planned,
            Err(error) => return Err(failure(error, trace)),
        };
        let mut fan_out = self.send_read(&plan, &mut trace).await;
        let quorum = &mut plan.quorum;
        while quorum.verdict() == Verdict::Pending {
            match fan_out.next().await {
                Some(answer) => match answer.result {
                    Ok(record) => {
                        trace.note_at(answer.from, || match &record {
                            Some(record) => format!("answered with timestamp {}", record.timestamp.0),
                            None => "answered that it has no version".to_owned(),
                        });
                        // What the client is told of, a later write through this node overwrites.
                        if let Some(record) = &record {
                            self.clock.observe(record.timestamp);
                        }
                        quorum.on_answer(answer.from, record);
                    }
                    Err(missing) => {
                        trace.note_at(answer.from, || describe(&missing));
                        quorum.on_failure(answer.from, missing);
                    }
                },
                None => {
                    helenus_storage::sometimes!("a read met its deadline");
                    quorum.on_deadline();
                }
            }
        }
        match quorum.verdict() {
            Verdict::Reached { acknowledged } => Ok(ReadOutcome {
                record: quorum.newest(),
                now: plan.now,
                met: plan.goal.met(quorum.required(), acknowledged, trace),
            }),
            Verdict::Pending | Verdict::OutOfReach { .. } => {
                Err(failure(quorum.error(plan.goal.timeout), trace))
            }
        }
    }

    fn plan_read(
        &self,
        request: &ReadRequest,
        patience: Patience,
        trace: &mut Trace,
    ) -> Result<Plan, RequestError> {
        let target = self.place(&request.table, &request.key, trace)?;
        let table = known_table(&target.picture, &request.table)?;
        let goal = self.goal(&request.options, table.definition.default_read_consistency, patience);
        let block_for = self.block_for(Operation::Read, goal.level, table, &target.picture)?;
        let now = self.clock.now();
        let natural = self.nearest.order(&target.picture, target.placement.natural.clone());
        let replicas = self.replicas(&target.picture, natural);
        let quorum = ReadQuorum::new(block_for, now, replicas.iter().copied())?;
        let alive = alive(&replicas);
        Ok(Plan { goal, now, target, alive, quorum })
    }

    async fn send_read(&self, plan: &Plan, trace: &mut Trace) -> FanOut<Option<Record>> {
        let mut fan_out = FanOut::until(plan.goal.deadline, self.stop.clone());
        for &host in &plan.alive {
            trace.note(|| format!("sent to {host}"));
            fan_out.add(host, self.read_at(host, plan)).await;
        }
        fan_out
    }

    fn read_at(&self, host: HostId, plan: &Plan) -> BoxFuture<'static, Result<Option<Record>, Missing>> {
        let (table, key, goal) = (plan.target.table, plan.target.key.clone(), plan.goal);
        if host == self.host_id() {
            let replica = Arc::clone(&self.replica);
            let call = async move { replica.read(table, key).await.map_err(Missing::Error) };
            return self.timed(host, call);
        }
        let Some(to) = plan.target.picture.destination(host) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let peers = Arc::clone(&self.peers);
        let request = Request::Read { table, key, now: plan.now };
        let call = async move {
            match peers.call(&to, TrafficClass::Request, request, goal.deadline, goal.trace).await {
                Ok(Response::Record(record)) => Ok(record),
                Ok(other) => Err(missing_answer(other)),
                Err(error) => Err(missing_call(&error)),
            }
        };
        self.timed(host, call)
    }

    /// A call whose time tells how fast the replica is, unless it fails before its time.
    fn timed(
        &self,
        host: HostId,
        call: impl Future<Output = Result<Option<Record>, Missing>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Option<Record>, Missing>> {
        let stopwatch = self.nearest.stopwatch(host);
        async move {
            let result = call.await;
            if matches!(result, Err(Missing::Lost | Missing::Error(_))) {
                stopwatch.discard();
            }
            result
        }
        .boxed()
    }
}
