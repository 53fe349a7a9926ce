//! Answers to other nodes: whether a message is for this node, in time and of its cluster, and then the part of the node
//! that does what it asks.

use helenus_storage::{Mutation, TableId};
use tokio::time::Instant;

use super::{
    Node, calls,
    steps::{Steps, millis, told, wanted_after},
    token_choice,
};
use crate::{
    membership::{Exchange, Gossip, GossipAnswer, GossipReply, GossipRequest},
    message::{Applied, Get, Header, Message, Relay, ReplicaError, Request, Response, Writes},
    node_id::{ClusterId, HostId},
    quorum::Answer,
};

impl Node {
    /// Answers a message of another node. Never fails: errors are answers.
    pub async fn handle(&self, request: Message<Request>) -> Message<Response> {
        let Message { header, body } = request;
        let is_traced = header.is_traced();
        let slow = self.coordinator.slow_request.get();
        let steps = Steps::begin(wanted_after(is_traced, slow));
        let what = body.name();
        let body = self.answer(&header, body, &steps).await.unwrap_or_else(Response::Failed);
        let elapsed = steps.elapsed();
        let (_, steps) = steps.end();
        if let Some(request_id) = header.client_request {
            let (sender, elapsed_ms) = (header.sender, millis(elapsed));
            if elapsed >= slow {
                let trace = told(steps.iter().map(|step| (step.after_us, None, step.what.as_str())));
                tracing::warn!(%request_id, %sender, what, elapsed_ms, trace, "slow part of a request");
            } else {
                tracing::debug!(%request_id, %sender, what, elapsed_ms, "part of a request");
            }
        }
        let steps = if is_traced { steps } else { Vec::new() };
        Message { header: self.peers.answer_header(&header, steps), body }
    }

    async fn answer(&self, header: &Header, body: Request, steps: &Steps) -> Result<Response, ReplicaError> {
        let (is_exchange, verb) = (matches!(body, Request::Exchange(_)), body.verb());
        let is_for_strangers = is_exchange || matches!(body, Request::Shadow);
        if header.target != Some(self.host_id()) && !(is_for_strangers && header.target.is_none()) {
            helenus_storage::sometimes!("a message was meant for another node");
            return Err(ReplicaError::WrongTarget);
        }
        if header.remaining.is_zero() {
            helenus_storage::sometimes!("an expired request was dropped");
            self.coordinator.counters.expired_before[verb].add(1);
            return Err(ReplicaError::Expired);
        }
        // What it says of the cluster is answered with the exchange that tells it so; and who is gone, and never belonged,
        // has to find the cluster first.
        if !is_for_strangers {
            self.check_ties(header.sender)?;
        }
        self.clock.observe(header.timestamp);
        // Past the deadline nobody listens. A write that is queued is applied all the same; of an exchange, what was
        // saved and not published is learned again.
        match tokio::time::timeout(header.remaining, self.perform(header, body, steps)).await {
            Ok(response) => response,
            Err(_) => {
                helenus_storage::sometimes!("a request expired while it was done");
                self.coordinator.counters.expired_during[verb].add(1);
                Err(ReplicaError::Expired)
            }
        }
    }

    async fn perform(&self, header: &Header, body: Request, steps: &Steps) -> Result<Response, ReplicaError> {
        // Half of the time is kept for what is asked of the tables that it knows.
        let begun = Instant::now();
        self.schema.learn_from(header, || tables_of(&body), begun + header.remaining / 2).await;
        if matches!(body, Request::Write { .. } | Request::Repair { .. } | Request::Hints { .. }) {
            // In this order, as the proof of `membership` wants it: either the removal of the sender is seen here, or a
            // joining node that is told of the removal is told of records too.
            self.cluster.note_user_record();
            self.check_ties(header.sender)?;
        }
        Ok(match body {
            Request::Schema { facts } => {
                Response::Schema { facts: self.schema.answer(header.sender, &facts).await? }
            }
            Request::Shadow => Response::Shadow { cluster_id: self.identity.cluster_id() },
            Request::Exchange(theirs) => {
                self.check_turn(header.sender, &theirs)?;
                Response::Exchange(
                    self.cluster.answer_exchange(header.sender, &theirs, self.clock.now()).await?,
                )
            }
            Request::Gossip(GossipRequest { cluster_id, gossip }) => {
                self.check_cluster(header.sender, cluster_id)?;
                let received_us = self.clock.now().0;
                let answer = self.answer_gossip(header, gossip).await?;
                Response::Gossip(GossipReply { received_us, answered_us: self.clock.now().0, answer })
            }
            Request::Hints { hints } => {
                let (applied, grant) = self.receiver.receive(header.sender, hints).await;
                Response::Hinted { applied: u32::try_from(applied).unwrap_or(u32::MAX), grant }
            }
            Request::Write { writes, relay, must_win } => {
                let results = self.write_and_relay(header, writes, relay, &must_win, steps).await;
                Response::Written { results }
            }
            Request::Acknowledge { ticket, results } => {
                self.coordinator.forwarded.acknowledge(ticket, header.sender, results, header.steps.clone());
                Response::Noted
            }
            Request::Repair { table, mutations } => {
                self.replica.repair(table, mutations, steps).await?;
                Response::Noted
            }
            Request::Scan { table, range, now, limits } => {
                Response::Page(self.replica.scan(table, range, now, limits, steps).await?)
            }
            Request::Read { table, key, as_of, wants } => {
                match self.replica.read(table, key, as_of, wants, steps).await? {
                    Answer::Record(record) => Response::Record(record),
                    Answer::Digest(digest) => Response::Digest(digest),
                }
            }
            Request::Multiget { gets } => {
                // What is left of the time is for the way back: one late record does not keep the others from it.
                let until = begun + header.remaining * 3 / 4;
                Response::Multiget { answers: self.replica.multiget(gets, until, steps).await }
            }
        })
    }

    /// Nodes that choose their tokens are told the members one after the other.
    fn check_turn(&self, sender: HostId, theirs: &Exchange) -> Result<(), ReplicaError> {
        let picture = self.cluster.picture();
        let view = picture.view();
        if !token_choice::is_question(theirs) || view.cluster_id().is_none() {
            return Ok(());
        }
        let turn = self.token_turns.take(sender, |host_id| view.known(host_id).is_some());
        turn.map_err(|holder| {
            helenus_storage::sometimes!("a node waited for its turn to choose tokens");
            ReplicaError::Overloaded(format!("host {holder} chooses its own first, for some seconds at most"))
        })
    }

    /// Nobody talks to a removed node, and one that was removed or superseded answers no one.
    fn check_ties(&self, sender: HostId) -> Result<(), ReplicaError> {
        if self.cluster.is_over() {
            helenus_storage::sometimes!("a node that is over turned a message away");
            return Err(ReplicaError::NotServing(self.cluster.over().unwrap_or_default()));
        }
        if self.cluster.is_gone(sender) {
            helenus_storage::sometimes!("a removed node was turned away");
            return Err(ReplicaError::Removed);
        }
        Ok(())
    }

    async fn write_and_relay(
        &self,
        header: &Header,
        writes: Writes,
        relay: Relay,
        must_win: &[bool],
        steps: &Steps,
    ) -> Vec<Applied> {
        match relay {
            Relay::None => self.replica.write(&writes, must_win, steps).await,
            Relay::Forward { to, ticket } => {
                self.forwarder.forward(header, &writes, must_win, to, ticket);
                self.replica.write(&writes, must_win, steps).await
            }
            Relay::Acknowledge { coordinator, ticket } => {
                let results = self.replica.write(&writes, must_win, steps).await;
                let told = if header.is_traced() { steps.so_far() } else { Vec::new() };
                self.forwarder.acknowledge(header, coordinator, ticket, results.clone(), told).await;
                results
            }
        }
    }

    async fn answer_gossip(&self, header: &Header, gossip: Gossip) -> Result<GossipAnswer, ReplicaError> {
        Ok(match gossip {
            Gossip::Syn(syn) => {
                GossipAnswer::Ack(self.cluster.answer_syn(header.sender, &syn, self.clock.now()))
            }
            Gossip::Ack2(deltas) => {
                self.cluster.learn_ack2(header.sender, &deltas, self.clock.now()).await?;
                GossipAnswer::Taken
            }
            Gossip::Probe(host_id) => {
                let overloaded = |_| ReplicaError::Overloaded("too many probes at once".to_owned());
                let _place = self.probes.try_acquire().map_err(overloaded)?;
                let picture = self.cluster.picture();
                let is_reached = match picture.destination(host_id) {
                    // What is left of the time is for the way back.
                    Some(to) => {
                        calls::ping(&self.peers, &to, Instant::now() + header.remaining * 3 / 4).await
                    }
                    None => false,
                };
                GossipAnswer::Probed(is_reached)
            }
        })
    }

    fn check_cluster(&self, sender: HostId, theirs: ClusterId) -> Result<(), ReplicaError> {
        let own = self.cluster.picture().view().cluster_id();
        if own == Some(theirs) {
            return Ok(());
        }
        if own.is_none() {
            // Only early: this node is about to join a cluster, most likely the sender's, and an exchange tells it more.
            return Err(ReplicaError::NotServing("it belongs to no cluster yet".to_owned()));
        }
        helenus_storage::sometimes!("gossip of another cluster was refused");
        self.cluster.hearsay.count_foreign();
        tracing::warn!(host = %sender, theirs = %theirs, "gossip of another cluster was refused");
        Err(ReplicaError::OtherCluster)
    }
}

/// The tables that a request names, some of them more than once.
fn tables_of(request: &Request) -> impl Iterator<Item = TableId> + '_ {
    let (one, written, read): (_, &[(TableId, Mutation)], &[Get]) = match request {
        Request::Read { table, .. } | Request::Repair { table, .. } | Request::Scan { table, .. } => {
            (Some(*table), &[], &[])
        }
        Request::Multiget { gets } => (None, &[], gets),
        Request::Write { writes, .. } => (None, writes, &[]),
        Request::Hints { hints } => (None, hints, &[]),
        _ => (None, &[], &[]),
    };
    let written = written.iter().map(|(table, _)| *table);
    one.into_iter().chain(written).chain(read.iter().map(|get| get.table))
}
