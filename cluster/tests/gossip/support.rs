//! Nodes that are nothing but rumors and a detector, and a network that loses, delays and cuts.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

use helenus_cluster::{
    membership::{
        DetectorSettings, FailureDetector, Member, MemberState, Rumors, Verdict,
        digest::{Ack, Delta, Syn},
        rounds::{Turns, gossip_with, some_of},
    },
    node_id::{Generation, HostId},
    time::Timestamp,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use uuid::Uuid;

/// When all have started, in seconds since 1970; their clocks stand still, which only makes their claims bolder.
const STARTED: u64 = 1_767_225_600;
const NOW: Timestamp = Timestamp(STARTED * 1_000_000);

pub(crate) const SECOND: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_millis(1500);
const HELPERS: usize = 3;

/// How the network treats a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) least_delay: Duration,
    pub(crate) jitter: Duration,
}

pub(crate) const FAIR: Weather =
    Weather { loss: 0.0, least_delay: Duration::from_millis(1), jitter: Duration::from_millis(2) };

#[derive(Debug)]
enum Message {
    Syn(Syn),
    Ack(Ack),
    Ack2(Vec<Delta>),
    /// A ping on behalf of a probe, and its answer.
    Ping {
        probe: u64,
    },
    Pong {
        probe: u64,
    },
    /// Asks for such a ping, and its answer.
    Probe {
        of: usize,
        probe: u64,
    },
    Reached {
        probe: u64,
    },
}

#[derive(Debug)]
enum Event {
    Tick { node: usize },
    Message { from: usize, to: usize, message: Box<Message> },
    ProbeEnds { node: usize, of: usize, probe: u64 },
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) rumors: Rumors,
    pub(crate) detector: FailureDetector,
    turns: Turns,
    /// Of whom each probe under way is, and for whom besides this node.
    probes: BTreeMap<u64, (usize, Option<usize>)>,
    watched: usize,
    rounds: usize,
}

/// A network of such nodes.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) weather: Weather,
    pub(crate) dead: BTreeSet<usize>,
    /// Links that swallow everything, in one direction.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Convictions with their times: who took whom for dead.
    pub(crate) convictions: Vec<(Duration, usize, usize)>,
    pub(crate) messages: u64,
    /// Whether everyone pings as well; else there is only gossip.
    pub(crate) pings: bool,
    begun: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    random: Xoshiro256PlusPlus,
}

pub(crate) fn host(number: usize) -> HostId {
    HostId(Uuid::from_u128(number as u128 + 1))
}

fn number(host_id: HostId) -> usize {
    host_id.0.as_u128() as usize - 1
}

pub(crate) fn member(number: usize) -> Arc<Member> {
    Arc::new(Member {
        host_id: host(number),
        generation: Generation(STARTED),
        version: 1,
        address: format!("10.0.0.{number}:7171"),
        datacenter: "dc1".to_owned(),
        rack: "rack1".to_owned(),
        state: MemberState::Normal,
        tokens: vec![number as i64],
    })
}

impl World {
    /// Nodes of which each knows itself and, but for the first, the first: it is the seed.
    pub(crate) fn of(size: usize, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let begun = Instant::now();
        let members: Vec<_> = (0..size).map(member).collect();
        let nodes = members.iter().map(|own| {
            let mut rumors = Rumors::new(Arc::clone(own));
            rumors.describe(Arc::clone(&members[0]));
            Node {
                rumors,
                detector: FailureDetector::new(DetectorSettings::every(SECOND)),
                turns: Turns::default(),
                probes: BTreeMap::new(),
                watched: 0,
                rounds: 0,
            }
        });
        let nodes: Vec<_> = nodes.collect();
        let starts: Vec<u64> = (0..size).map(|_| random.random_range(0..1000)).collect();
        let mut world = Self {
            nodes,
            weather: FAIR,
            dead: BTreeSet::new(),
            cut: BTreeSet::new(),
            convictions: Vec::new(),
            messages: 0,
            pings: true,
            begun,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            random,
        };
        for (node, start) in starts.into_iter().enumerate() {
            world.at(Duration::from_millis(start), Event::Tick { node });
        }
        world
    }

    /// As [`World::of`], where everyone knows everyone already.
    pub(crate) fn acquainted(size: usize, seed: u64) -> Self {
        let mut world = Self::of(size, seed);
        let members: Vec<_> = (0..size).map(member).collect();
        for node in &mut world.nodes {
            members.iter().for_each(|member| node.rumors.describe(Arc::clone(member)));
        }
        world
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until this holds, which is looked at each tenth of a second; how long it took.
    pub(crate) fn run_until(&mut self, most: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let began = self.now;
        while !holds(self) {
            if self.now - began > most {
                return None;
            }
            self.run_for(Duration::from_millis(100));
        }
        Some(self.now - began)
    }

    /// The live nodes.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(node, _)| !self.dead.contains(node))
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.next_event += 1;
        self.queue.push(Reverse((when, self.next_event)));
        self.events.insert(self.next_event, event);
    }

    fn step(&mut self) {
        let Some(Reverse((at, id))) = self.queue.pop() else { return };
        self.now = at;
        match self.events.remove(&id).expect("queued with its event") {
            Event::Tick { node } => {
                self.at(at + SECOND, Event::Tick { node });
                if !self.dead.contains(&node) {
                    self.tick(node);
                }
            }
            Event::Message { from, to, message } => {
                if !self.dead.contains(&to) {
                    self.deliver(from, to, *message);
                }
            }
            Event::ProbeEnds { node, of, probe } => {
                if self.nodes[node].probes.remove(&probe).is_some() {
                    self.conclude(node, of, false);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        self.messages += 1;
        let Weather { loss, least_delay, jitter } = self.weather;
        let delay = least_delay + jitter.mul_f64(self.random.random::<f64>());
        if self.cut.contains(&(from, to)) || self.random.random_bool(loss) {
            return;
        }
        let at = self.now + delay;
        self.at(at, Event::Message { from, to, message: Box::new(message) });
    }

    fn tick(&mut self, node: usize) {
        let now = self.begun + self.now;
        let this = &mut self.nodes[node];
        this.rumors.beat();
        this.rounds += 1;
        this.detector.on_tick(now);
        let others = this.others(node);
        if others.len() != this.watched {
            this.watched = others.len();
            this.detector.watch(others.iter().copied(), now);
        }
        let (live, down): (Vec<_>, Vec<_>) =
            others.iter().copied().partition(|host_id| !this.detector.is_convicted(*host_id));
        let chosen = gossip_with(&live, &down, &[host(0)], &mut self.random);
        let pinged = if self.pings { this.turns.next(&others, &mut self.random) } else { BTreeSet::new() };
        let (syn, ping) = (this.rumors.syn(this.rounds), this.rumors.ping(this.rounds));
        for to in &chosen {
            if number(*to) != node {
                self.send(node, number(*to), Message::Syn(syn.clone()));
            }
        }
        for to in pinged.difference(&chosen) {
            self.send(node, number(*to), Message::Syn(ping.clone()));
        }
        self.probe(node);
    }

    fn probe(&mut self, node: usize) {
        for suspect in self.nodes[node].detector.due() {
            let of = number(suspect);
            let probe = self.random.next_u64();
            let this = &mut self.nodes[node];
            this.probes.insert(probe, (of, None));
            let mut live = this.others(node);
            live.retain(|other| *other != suspect && !this.detector.is_convicted(*other));
            for helper in some_of(&live, HELPERS, &mut self.random) {
                self.send(node, number(helper), Message::Probe { of, probe });
            }
            self.send(node, of, Message::Ping { probe });
            let end = self.now + PROBE_TIMEOUT;
            self.at(end, Event::ProbeEnds { node, of, probe });
        }
    }

    fn conclude(&mut self, node: usize, of: usize, is_reached: bool) {
        let now = self.begun + self.now;
        match self.nodes[node].detector.on_probe(host(of), is_reached, now) {
            Verdict::Convicted => self.convictions.push((self.now, node, of)),
            Verdict::Again => self.probe(node),
            Verdict::Unchanged | Verdict::Acquitted => {}
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        let now = self.begun + self.now;
        let this = &mut self.nodes[to];
        this.detector.on_contact(host(from), now);
        match message {
            Message::Syn(syn) => {
                let (ack, news) = this.rumors.on_syn(&syn, NOW);
                this.hear(news.beating, now);
                self.send(to, from, Message::Ack(ack));
            }
            Message::Ack(ack) => {
                let told = this.rumors.accept(&ack.deltas, NOW);
                let heard = this.rumors.on_ack(&ack, NOW);
                this.hear(told.beating.into_iter().chain(heard.beating), now);
                let wanted = this.rumors.wanted(&ack.wanted);
                if !wanted.is_empty() {
                    self.send(to, from, Message::Ack2(wanted));
                }
            }
            Message::Ack2(deltas) => {
                let news = this.rumors.accept(&deltas, NOW);
                this.hear(news.beating, now);
            }
            Message::Ping { probe } => self.send(to, from, Message::Pong { probe }),
            Message::Probe { of, probe } => {
                this.probes.insert(probe, (of, Some(from)));
                self.send(to, of, Message::Ping { probe });
            }
            Message::Pong { probe } | Message::Reached { probe } => match this.probes.remove(&probe) {
                Some((of, None)) => self.conclude(to, of, true),
                Some((_, Some(asker))) => self.send(to, asker, Message::Reached { probe }),
                None => {}
            },
        }
    }
}

impl Node {
    fn others(&self, own: usize) -> Vec<HostId> {
        self.known().filter(|host_id| *host_id != host(own)).collect()
    }

    pub(crate) fn known(&self) -> impl Iterator<Item = HostId> {
        self.rumors.syn(0).digests.into_iter().map(|digest| digest.host_id)
    }

    fn hear(&mut self, beating: impl IntoIterator<Item = HostId>, now: Instant) {
        beating.into_iter().for_each(|host_id| self.detector.on_heartbeat(host_id, now));
    }
}
