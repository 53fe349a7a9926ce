//! Meets the other nodes: an exchange with each member, and each seed that is no member yet, per interval.
//!
//! ```text
//!   every interval, or soon after news ──> one call per peer, all at once, each at most 2 s
//!                                             │ answer: learn it (merge, save, publish); the peer is up
//!                                             └ error:  the peer is down, if the connection is gone
//!   a connection is lost ──> one call to that peer at once, if it was up: whether that fails says if it is down
//!   as soon as every member was tried once, or 2 s after the ring is known: the node serves
//!   while the node belongs to no cluster: what the seeds answered decides whether it forms one
//! ```
//!
//! A peer that is slow has its call under way when the next round begins, and is left out of it; nobody else waits
//! for it. Calling down members every time is what finds them again; how often a dead address is really tried is
//! the transport's backoff.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    known_cluster::{KnownCluster, Picture},
    peers::Peers,
    randomness::{Stream, random_uuid},
    transport::{CallError, Destination},
};
use crate::{
    membership::{Formation, FormationVerdict, formation::default_replication},
    message::{Request, Response, TrafficClass},
    node_id::{ClusterId, HostId},
    settings::Settings,
    table::Replication,
};

/// How long an exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node that knows its ring puts off serving because of members that it has not reached. A member whose
/// process is dead is known to be so at once; this is for those whose machine says nothing.
const MEETING_TIMEOUT: Duration = Duration::from_secs(2);
/// News is passed on after this part of the interval, so that a cluster forms in a few rounds, not intervals.
const NEWS_DIVISOR: u32 = 10;

/// The task that meets the other nodes.
pub(super) struct MembershipLoop {
    interval: Duration,
    advertise: String,
    seeds: Vec<String>,
    configured_replication: Option<Replication>,
    formation: Formation,
    meeting: Meeting,
    is_clock_off: bool,
    /// Members that were just called because a connection to them was lost.
    asked_after: BTreeMap<HostId, Instant>,
    /// Who was found at a seed's address.
    met: BTreeMap<String, HostId>,
    peers: Arc<Peers>,
    cluster: Arc<KnownCluster>,
    random: Stream,
    stop: CancellationToken,
}

/// How far the node is in meeting its members, which it does once before it serves: it would call all of them dead,
/// and the first requests unavailable.
#[derive(Debug, Clone, Copy)]
enum Meeting {
    /// It does not know them yet.
    Unknown,
    /// It waits for the first calls to end, until then at most.
    Until(Instant),
    /// It serves.
    Over,
}

/// How a call ended: the sender of the answer and its cluster.
struct Met {
    destination: Destination,
    result: Result<(HostId, Option<ClusterId>), CallError>,
}

impl MembershipLoop {
    pub(super) fn new(
        settings: &Settings,
        peers: Arc<Peers>,
        random: Stream,
        stop: CancellationToken,
    ) -> Self {
        Self {
            interval: settings.exchange_interval.max(Duration::from_millis(1)),
            advertise: settings.advertise.clone(),
            seeds: settings.seeds.clone(),
            configured_replication: settings.configured_replication(),
            formation: Formation::new(&settings.advertise, &settings.seeds),
            meeting: Meeting::Unknown,
            is_clock_off: false,
            asked_after: BTreeMap::new(),
            met: BTreeMap::new(),
            cluster: Arc::clone(&peers.cluster),
            peers,
            random,
            stop,
        }
    }

    /// Runs until the stop signal.
    pub(super) async fn run(mut self) {
        let mut calls: FuturesUnordered<BoxFuture<'static, Met>> = FuturesUnordered::new();
        let mut busy: BTreeSet<Destination> = BTreeSet::new();
        let mut last_round = Instant::now();
        let mut next_round = last_round;
        let stop = self.stop.clone();
        let cluster = Arc::clone(&self.cluster);
        loop {
            self.form_if_due().await;
            self.watch_clock();
            let meeting_ends = self.meet_members();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(met) = calls.next() => {
                    busy.remove(&met.destination);
                    self.on_met(met);
                }
                () = cluster.news() => next_round = next_round.min(last_round + self.interval / NEWS_DIVISOR),
                hosts = cluster.members_in_doubt() => {
                    calls.extend(self.call_members(hosts, &mut busy));
                }
                hosts = self.peers.transport.lost_connections() => {
                    let hosts = hosts.into_iter().filter(|host_id| self.is_to_be_asked_after(*host_id)).collect();
                    calls.extend(self.call_members(hosts, &mut busy));
                }
                () = sleep_until(meeting_ends.unwrap_or(next_round)), if meeting_ends.is_some() => {}
                () = sleep_until(next_round) => {
                    calls.extend(self.call_idle(self.destinations(), &mut busy));
                    last_round = Instant::now();
                    next_round = last_round + self.interval;
                }
            }
        }
    }

    /// Lets the node serve if it has met its members or waited long enough for them. Returns when to ask again at the
    /// latest.
    fn meet_members(&mut self) -> Option<Instant> {
        if let Meeting::Unknown = self.meeting
            && self.cluster.picture().is_ring_known()
        {
            self.meeting = Meeting::Until(Instant::now() + MEETING_TIMEOUT);
        }
        let Meeting::Until(end) = self.meeting else { return None };
        if !self.cluster.has_tried_all() && Instant::now() < end {
            return Some(end);
        }
        self.meeting = Meeting::Over;
        self.cluster.serve();
        None
    }

    /// Tells the operator when the clock keeps the node from coordinating writes, and when that is over.
    fn watch_clock(&mut self) {
        match self.peers.clock.skew() {
            Some(why) => {
                self.is_clock_off = true;
                if self.cluster.log_limit.allows("the clock is off") {
                    tracing::warn!("the clock of this node is off, so it coordinates no writes: {why}");
                }
            }
            None if self.is_clock_off => {
                self.is_clock_off = false;
                tracing::info!("the clock of this node is fine again, so it coordinates writes");
            }
            None => {}
        }
    }

    /// Whether a lost connection is worth a call at once. One to a member that is down is expected; and whoever answers
    /// each call and then breaks the connection is not called without end: the next round is soon enough.
    fn is_to_be_asked_after(&mut self, host_id: HostId) -> bool {
        let now = Instant::now();
        let pause = self.interval / NEWS_DIVISOR;
        self.asked_after.retain(|_, at| now.duration_since(*at) < pause);
        if !self.cluster.is_up(host_id) || self.asked_after.contains_key(&host_id) {
            return false;
        }
        self.asked_after.insert(host_id, now);
        true
    }

    /// Calls members that are not being called already.
    fn call_members(
        &self,
        hosts: BTreeSet<HostId>,
        busy: &mut BTreeSet<Destination>,
    ) -> Vec<BoxFuture<'static, Met>> {
        let picture = self.cluster.picture();
        let destinations = hosts.into_iter().filter_map(|host_id| picture.destination(host_id));
        self.call_idle(destinations, busy)
    }

    /// Calls those that are not being called already.
    fn call_idle(
        &self,
        destinations: impl IntoIterator<Item = Destination>,
        busy: &mut BTreeSet<Destination>,
    ) -> Vec<BoxFuture<'static, Met>> {
        let idle = destinations.into_iter().filter(|destination| busy.insert(destination.clone()));
        idle.map(|destination| Box::pin(meet(Arc::clone(&self.peers), destination)) as _).collect()
    }

    /// All members but this node, and the seeds that are nobody's address yet.
    fn destinations(&self) -> Vec<Destination> {
        let picture = self.cluster.picture();
        let members = picture.view().others().filter_map(|member| picture.destination(member.host_id));
        let unmet = self.seeds.iter().filter(|seed| !self.is_matched(&picture, seed));
        let seeds = unmet.map(|seed| Destination { host_id: None, address: seed.clone() });
        members.chain(seeds).collect()
    }

    fn is_matched(&self, picture: &Picture, seed: &String) -> bool {
        let at_address = picture.view().members().any(|member| member.address == *seed);
        at_address || self.met.get(seed).is_some_and(|host_id| picture.view().member(*host_id).is_some())
    }

    fn on_met(&mut self, met: Met) {
        let Met { destination: Destination { host_id, address }, result } = met;
        match result {
            Ok((sender, cluster_id)) if host_id.is_none() => {
                self.met.insert(address.clone(), sender);
                if sender == self.peers.identity.host_id() {
                    self.take_for_own(&address);
                } else {
                    self.formation.on_answer(&address, cluster_id);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if host_id.is_none() {
                    self.formation.on_failure(&address);
                }
                self.log_error(&address, &error);
            }
        }
    }

    /// A seed turned out to be this node under another name. What the other seeds said is asked again.
    fn take_for_own(&mut self, address: &str) {
        let own = |seed: &String| if seed == address { self.advertise.clone() } else { seed.clone() };
        self.seeds = self.seeds.iter().map(own).collect();
        self.formation = Formation::new(&self.advertise, &self.seeds);
    }

    fn log_error(&self, address: &str, error: &CallError) {
        let line = match error {
            CallError::Refused(refusal) => format!("refused: {address}: {refusal}"),
            CallError::WrongHost { .. } | CallError::Malformed { .. } => {
                format!("exchange with {address}: {error}")
            }
            _ => {
                tracing::debug!("exchange with {address}: {error}");
                return;
            }
        };
        if self.cluster.log_limit.allows(&line) {
            tracing::warn!("{line}");
        }
    }

    async fn form_if_due(&mut self) {
        if self.cluster.picture().view().cluster_id().is_some() {
            return;
        }
        match self.formation.verdict() {
            FormationVerdict::Wait { why } => self.cluster.wait_for(why),
            FormationVerdict::Form => {
                let has_seeds = !self.seeds.is_empty();
                let replication = default_replication(self.configured_replication.clone(), has_seeds);
                if !has_seeds && self.configured_replication.is_none() {
                    tracing::warn!("no seeds are set: one copy of everything (replication factor 1)");
                }
                let cluster_id = ClusterId(random_uuid(&mut self.random));
                if let Err(error) = self.cluster.form(cluster_id, replication).await {
                    self.cluster.wait_for(format!("the cluster could not be saved: {error}"));
                }
            }
        }
    }
}

/// One exchange: what this node knows for what the other knows.
async fn meet(peers: Arc<Peers>, destination: Destination) -> Met {
    let deadline = Instant::now() + EXCHANGE_TIMEOUT;
    let request = Request::Exchange(peers.cluster.exchange());
    let sent = peers.clock.now();
    let answer = peers.call_anyone(&destination, TrafficClass::Control, request, deadline, None).await;
    let received = peers.clock.now();
    let result = match answer {
        Err(error) => Err(error),
        Ok(answer) => match answer.body {
            Response::Exchange(theirs) => {
                let sender = answer.header.sender;
                let cluster_id = theirs.cluster_id;
                match peers.cluster.learn(sender, &theirs, received).await {
                    Ok(()) => {
                        // In one turn with the end of the call, so before the node serves because of it.
                        if sender != peers.identity.host_id() && peers.cluster.is_up(sender) {
                            peers.clock.compare(sender, answer.header.timestamp, sent, received);
                        }
                        Ok((sender, cluster_id))
                    }
                    Err(error) => {
                        Err(CallError::Malformed { reason: format!("what it told was not saved: {error}") })
                    }
                }
            }
            Response::Failed(error) => Err(CallError::Malformed { reason: error.to_string() }),
            _ => Err(CallError::Malformed { reason: "it answered something else".to_owned() }),
        },
    };
    Met { destination, result }
}
