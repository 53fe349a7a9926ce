//! Keeps this node in touch with the others: heartbeats, gossip, probes, and full exchanges while it joins.
//!
//! ```text
//!   every interval      heartbeat; φ of all members; gossip with one or two, ping some more (`rounds`)
//!   news                gossip with one more, soon
//!   no cluster yet      ask the seeds for theirs (`Formation`), choose tokens (`token_choice`); full exchanges with those
//!                       of the one that is chosen
//!   not normal yet      full exchanges with the members that have yet to say what the join waits for, and with seeds
//!   the wrong host      a full exchange with whoever answers at a member's address
//!   a connection lost   one ping to that peer at once, if it was up: whether that fails says if it is down
//!   a silence           ping the silent one and have others ping it; twice in vain, and suspected: it is taken for dead
//! ```
//!
//! As soon as every member was tried once, or 2 s after the ring is known, the node serves. While it belongs to no
//! cluster, what the seeds answered decides whether it forms one: this is Cassandra's shadow round, in which a node asks
//! before it shows itself.
//!
//! A peer that is slow has its call under way when the next round begins, and is left out of it; nobody else waits
//! for it. Pinging down members again and again is what finds them again; how often a dead address is really tried is
//! the transport's backoff.

mod forming;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::forming::Forming;
use super::{
    calls::{self, Agreement, Called},
    known_cluster::{KnownCluster, Picture},
    peers::Peers,
    randomness::{Stream, stream},
    transport::{CallError, Destination},
};
use crate::{
    membership::{
        digest::{Syn, Tag},
        rounds::{self, Turns},
    },
    node_id::HostId,
    settings::Settings,
};

/// How long a node that knows its ring puts off serving because of members that it has not reached. A member whose
/// process is dead is known to be so at once; this is for those whose machine says nothing.
const MEETING_TIMEOUT: Duration = Duration::from_secs(2);
/// News is passed on after this part of the interval, so that a cluster forms in a few rounds, not intervals.
const NEWS_DIVISOR: u32 = 10;
/// Full exchanges that a joining node begins in one round at most.
const EXCHANGES_PER_ROUND: usize = 64;
/// Intervals between two announcements of the load.
const LOAD_ROUNDS: u64 = 60;

/// The task that keeps in touch with the other nodes.
pub(super) struct MembershipLoop {
    interval: Duration,
    helpers: usize,
    probe_timeout: Duration,
    advertise: String,
    seeds: Vec<String>,
    forming: Forming,
    meeting: Meeting,
    is_clock_off: bool,
    /// Whether other members say that this node's clock is off.
    is_told_off: bool,
    /// Members that were just called because a connection to them was lost.
    asked_after: BTreeMap<HostId, Instant>,
    /// Who was found at a seed's address.
    met: BTreeMap<String, HostId>,
    peers: Arc<Peers>,
    cluster: Arc<KnownCluster>,
    /// Chooses whom to call.
    choices: Stream,
    turns: Turns,
    rounds: u64,
    calls: Calls,
    stop: CancellationToken,
}

/// Calls under way, at most one per destination besides probes.
#[derive(Default)]
struct Calls {
    under_way: FuturesUnordered<BoxFuture<'static, Called>>,
    busy: BTreeSet<Destination>,
}

impl Calls {
    fn shadow(&mut self, peers: &Arc<Peers>, address: String) {
        if self.busy.insert(Destination { host_id: None, address: address.clone() }) {
            self.under_way.push(Box::pin(calls::shadow(Arc::clone(peers), address)));
        }
    }

    fn exchange(&mut self, peers: &Arc<Peers>, destination: Destination) {
        if self.busy.insert(destination.clone()) {
            self.under_way.push(Box::pin(calls::exchange(Arc::clone(peers), destination)));
        }
    }

    fn gossip(&mut self, peers: &Arc<Peers>, destination: Destination, syn: impl FnOnce() -> Syn) {
        if self.busy.insert(destination.clone()) {
            self.under_way.push(Box::pin(calls::gossip(Arc::clone(peers), destination, syn())));
        }
    }
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

impl MembershipLoop {
    pub(super) fn new(settings: &Settings, peers: Arc<Peers>, seed: u64, stop: CancellationToken) -> Self {
        Self {
            interval: settings.gossip_interval.max(Duration::from_millis(1)),
            helpers: settings.probe_helpers,
            probe_timeout: settings.probe_timeout,
            advertise: settings.advertise.clone(),
            seeds: settings.seeds.clone(),
            forming: Forming::new(settings, seed),
            meeting: Meeting::Unknown,
            is_clock_off: false,
            is_told_off: false,
            asked_after: BTreeMap::new(),
            met: BTreeMap::new(),
            cluster: Arc::clone(&peers.cluster),
            peers,
            choices: stream(seed, "gossip"),
            turns: Turns::default(),
            rounds: 0,
            calls: Calls::default(),
            stop,
        }
    }

    /// Runs until the stop signal.
    pub(super) async fn run(mut self) {
        let mut last_round = Instant::now();
        let mut next_interval = last_round;
        let mut next_news: Option<Instant> = None;
        let stop = self.stop.clone();
        let cluster = Arc::clone(&self.cluster);
        let peers = Arc::clone(&self.peers);
        cluster.hearsay.tell(Tag::RELEASE, env!("CARGO_PKG_VERSION").as_bytes().to_vec());
        loop {
            if self.is_over() {
                return stop.cancelled().await;
            }
            self.form_if_due().await;
            self.watch_clock();
            self.probe_suspects();
            self.call_rival();
            let meeting_ends = self.meet_members();
            let next_round = next_news.unwrap_or(next_interval).min(next_interval);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(called) = self.calls.under_way.next() => self.on_called(called),
                () = cluster.news() => next_news = Some(last_round + self.interval / NEWS_DIVISOR),
                hosts = cluster.members_in_doubt() => self.ping(hosts),
                hosts = peers.transport.lost_connections() => {
                    let hosts = hosts.into_iter().filter(|host_id| self.is_to_be_asked_after(*host_id)).collect();
                    self.ping(hosts);
                }
                () = sleep_until(meeting_ends.unwrap_or(next_round)), if meeting_ends.is_some() => {}
                () = sleep_until(next_round) => {
                    last_round = Instant::now();
                    next_news = None;
                    let is_interval = last_round >= next_interval;
                    if is_interval {
                        next_interval = last_round + self.interval;
                        self.begin_interval();
                        if let Err(error) = cluster.evict_silent().await {
                            tracing::warn!(%error, "a silent joining member could not be evicted");
                        }
                    }
                    self.exchange_if_due();
                    self.gossip(is_interval);
                }
            }
        }
    }

    /// A node that was removed, or superseded, is nobody's peer: it says so, and calls no one any more.
    fn is_over(&self) -> bool {
        let why = self.cluster.over();
        if let Some(why) = &why {
            tracing::error!(why, "this node serves no more");
        }
        why.is_some()
    }

    /// Somebody else may run under this node's host id: whoever is there says so itself.
    fn call_rival(&mut self) {
        if let Some(address) = self.cluster.take_rival() {
            self.meet(address);
        }
    }

    fn begin_interval(&mut self) {
        let hearsay = &self.cluster.hearsay;
        hearsay.beat();
        if self.rounds.is_multiple_of(LOAD_ROUNDS) {
            hearsay.tell(Tag::LOAD, self.cluster.load_bytes().to_le_bytes().to_vec());
        }
        hearsay.tell(Tag::CLOCKS_OFF, self.peers.clock.peers_off().encode());
        self.rounds += 1;
        self.heed_told_off();
    }

    /// Full exchanges: with seeds nobody has met, and while this node joins with the members that it needs for it.
    fn exchange_if_due(&mut self) {
        let picture = self.cluster.picture();
        let view = picture.view();
        if view.cluster_id().is_none() {
            self.ask_silent_again();
            self.show_itself_again();
        } else if view.own().state.is_arriving() {
            let asked = self.cluster.to_be_asked();
            let asked = rounds::some_of(&asked, EXCHANGES_PER_ROUND, &mut self.choices);
            for destination in asked.into_iter().filter_map(|host_id| picture.destination(host_id)) {
                self.calls.exchange(&self.peers, destination);
            }
        }
        let unmet = self.seeds.iter().filter(|seed| !self.is_matched(&picture, seed));
        for seed in unmet.cloned().collect::<Vec<_>>() {
            self.meet(seed);
        }
    }

    /// A round of gossip; and once per interval pings, to everyone that was never tried while the node does not serve.
    fn gossip(&mut self, is_interval: bool) {
        let picture = self.cluster.picture();
        let view = picture.view();
        if view.cluster_id().is_none() {
            return;
        }
        self.cluster.hearsay.tell(Tag::SCHEMA, picture.schema_version().to_le_bytes().to_vec());
        let others: Vec<HostId> = view.others().map(|member| member.host_id).collect();
        let (live, unreachable): (Vec<_>, Vec<_>) =
            others.iter().copied().partition(|host_id| self.cluster.is_up(*host_id));
        let is_seed = |host_id: &&HostId| {
            view.member(**host_id).is_some_and(|member| self.seeds.contains(&member.address))
        };
        let seeds: Vec<HostId> = others.iter().filter(is_seed).copied().collect();
        for host_id in rounds::gossip_with(&live, &unreachable, &seeds, &mut self.choices) {
            if let Some(destination) = picture.destination(host_id) {
                self.calls.gossip(&self.peers, destination, || self.cluster.hearsay.syn());
            }
        }
        let mut pinged = BTreeSet::new();
        if is_interval {
            pinged = self.turns.next(&others, &mut self.choices);
        }
        if !matches!(self.meeting, Meeting::Over) {
            pinged.extend(self.cluster.untried());
        }
        self.ping(pinged);
    }

    fn ping(&mut self, hosts: BTreeSet<HostId>) {
        let picture = self.cluster.picture();
        for destination in hosts.into_iter().filter_map(|host_id| picture.destination(host_id)) {
            self.calls.gossip(&self.peers, destination, || self.cluster.hearsay.ping());
        }
    }

    /// Asks whether those who are suspected can be reached by anyone.
    fn probe_suspects(&mut self) {
        let picture = self.cluster.picture();
        for host_id in self.cluster.hearsay.due() {
            let Some(destination) = picture.destination(host_id) else { continue };
            let others = picture.view().others().map(|member| member.host_id);
            let live: Vec<HostId> =
                others.filter(|other| *other != host_id && self.cluster.is_up(*other)).collect();
            let helpers = rounds::some_of(&live, self.helpers, &mut self.choices);
            let helpers = helpers.into_iter().filter_map(|helper| picture.destination(helper)).collect();
            let peers = Arc::clone(&self.peers);
            let probe = calls::probe(peers, destination, host_id, helpers, self.probe_timeout);
            self.calls.under_way.push(Box::pin(probe));
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
                tracing::warn!(skew = why, "the clock of this node is off, so it coordinates no writes");
            }
            None if self.is_clock_off => {
                self.is_clock_off = false;
                tracing::info!("the clock of this node is fine again, so it coordinates writes");
            }
            None => {}
        }
    }

    /// Tells the operator once that others find this node's clock far off, and once that they do no more.
    fn heed_told_off(&mut self) {
        let told = self.cluster.told_off();
        if self.is_told_off == told.is_empty() {
            self.is_told_off = !told.is_empty();
            match told.first() {
                Some((host_id, seconds)) => tracing::warn!(
                    members = told.len(),
                    host = %host_id,
                    ahead_s = seconds,
                    "other members find the clock of this node far off"
                ),
                None => tracing::info!("no other member finds the clock of this node far off any more"),
            }
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

    fn is_matched(&self, picture: &Picture, seed: &String) -> bool {
        let at_address = picture.view().members().any(|member| member.address == *seed);
        at_address || self.met.get(seed).is_some_and(|host_id| picture.view().member(*host_id).is_some())
    }

    fn on_called(&mut self, called: Called) {
        match called {
            Called::Shadow { address, result } => {
                self.calls.busy.remove(&Destination { host_id: None, address: address.clone() });
                self.on_met(&address, result);
            }
            Called::Tokens { address, result } => self.on_tokens(&address, result),
            Called::Exchange { destination, result } => {
                self.calls.busy.remove(&destination);
                match destination {
                    Destination { host_id: None, address } => self.on_met(&address, result),
                    Destination { address, .. } => {
                        if let Err(error) = result {
                            self.meet_whoever_moved(&error);
                            self.log_error(&address, &error);
                        }
                    }
                }
            }
            Called::Gossip { destination, result } => {
                self.calls.busy.remove(&destination);
                match result {
                    Ok(Agreement::Reached) => {}
                    Ok(Agreement::Missing) => self.calls.exchange(&self.peers, destination),
                    Err(error) => {
                        self.meet_whoever_moved(&error);
                        self.log_error(&destination.address, &error);
                    }
                }
            }
            Called::Probe { host_id, is_reached } => {
                if self.cluster.on_probe(host_id, is_reached) {
                    self.peers.clock.forget(host_id);
                }
            }
        }
    }

    /// Another host answers at a member's address: whoever it is, it has moved there, and may be known nowhere else. So
    /// all find each other again even if all have changed their addresses.
    fn meet_whoever_moved(&mut self, error: &CallError) {
        let CallError::WrongHost { address, found, .. } = error else { return };
        let picture = self.cluster.picture();
        let is_known_there = picture.view().known(*found).is_some_and(|member| member.address == *address);
        if !is_known_there {
            helenus_storage::sometimes!("another host was found at a member's address");
            self.meet(address.clone());
        }
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
        tracing::warn!("{line}");
    }
}
