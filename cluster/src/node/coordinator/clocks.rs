//! What the clocks of its replicas show, asked before a write is stamped.
//!
//! A write has to be newer than whatever more than half of the replicas acknowledged before it began, through whichever
//! coordinator. While all clocks are in step a stamp is that by itself: such an acknowledgement takes a message there and
//! back and a sync of the log. A node whose clock is behind that of another, or that follows a timestamp from ahead of its
//! clock, asks first. The hybrid clock of a replica is not behind anything that the replica has acknowledged, unless it is
//! too far behind to follow that, and then it is not believed; and as many as are asked have one in common with those that
//! acknowledged the other write. So what is stamped above their answers is newer than that: the first of the two phases of a
//! write in Lynch and Shvartsman, "Robust emulation of shared memory using dynamic quorum-acknowledged broadcasts" (FTCS
//! 1997); theirs asks for the newest tag of the key, and the clock is at least that. What outruns such a write is
//! concurrent.
//!
//! It costs a message there and back, so it is not done always: of nodes whose clocks are a millisecond apart, all but the
//! fastest do it. Where clocks were taken to be in step and are not, since one was just set, its node not yet measured or a
//! client has chosen a timestamp, replicas say what the write has met ([`super::outrun`]).

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use super::{
    Coordinator,
    fan_out::{Answer, FanOut, missing_call},
    group::Group,
    trace::Trace,
};
use crate::{
    message::{ReplicaError, Request, TrafficClass},
    node_id::HostId,
    quorum::{Missing, Verdict, WriteQuorum},
};

impl Coordinator {
    /// Stamps the writes of a group, which is not sent yet, above all that was acknowledged before. Where too few replicas
    /// answer in half of the time they stay as they are.
    pub(super) async fn stamp_above_replicas(&self, group: &mut Group, trace: &Trace) {
        trace.note(|| "this node's clock may be behind: replicas are asked for theirs".to_owned());
        self.counters.clocks_asked.add(1);
        let mut quorums = group.unsent_quorums();
        let now = Instant::now();
        // The rest is kept for the writes themselves.
        let half = group.deadline.saturating_duration_since(now) / 2;
        let mut fan_out = FanOut::until(now + half, self.stop.clone());
        for &host in &group.recipients.alive {
            fan_out.add(host, self.clock_of(host, group, trace)).await;
        }
        let is_pending =
            |quorums: &[WriteQuorum]| quorums.iter().any(|one| one.verdict() == Verdict::Pending);
        while is_pending(&quorums) {
            let Some(Answer { from, result }) = fan_out.next().await else { break };
            for quorum in &mut quorums {
                match &result {
                    Ok(()) => quorum.on_ack(from),
                    Err(missing) => quorum.on_failure(from, missing.clone()),
                }
            }
        }
        if quorums.iter().all(|quorum| matches!(quorum.verdict(), Verdict::Reached { .. })) {
            group.stamp(|| self.clock.stamp());
        } else {
            helenus_storage::sometimes!("too few replicas have told what their clocks show");
        }
    }

    /// Follows the clock of a replica, which must be one that this node follows and that follows others.
    fn clock_of(
        &self,
        host: HostId,
        group: &Group,
        trace: &Trace,
    ) -> BoxFuture<'static, Result<(), Missing>> {
        if host == self.host_id() {
            return async { Ok(()) }.boxed();
        }
        let Some(to) = group.picture.destination(host) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let (peers, clock) = (Arc::clone(&self.peers), Arc::clone(&self.clock));
        let (deadline, about) = (group.deadline, trace.request());
        // Every answer carries the clock.
        let request = Request::Multiget { gets: Vec::new() };
        async move {
            let answer = peers.call_anyone(&to, TrafficClass::Request, request, deadline, Some(about)).await;
            let shown = answer.map_err(|error| missing_call(&error))?.header.timestamp;
            match clock.is_credible(shown) {
                true => Ok(()),
                false => Err(Missing::Error(ReplicaError::ClockSkew)),
            }
        }
        .boxed()
    }
}
