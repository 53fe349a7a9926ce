//! The network: real messages through the real codec, delayed, lost, doubled, damaged, cut.
//!
//! ```text
//!  call ──> connect ──> frame ──> weather, link ──> frame checks, decodes ──> node.handle
//!             │ refused, cut          │ lost: silence    │ damaged: the connection breaks     │
//!             ▼                       ▼                  ▼                                    │
//!        Unreachable               TimedOut             Lost     <── the same way back <──────┘
//! ```
//!
//! A connection joins two processes, not two machines: what was under way to a process that died is never delivered to
//! its successor. What was sent arrives even when the caller has given up, or its connection broke meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::RngExt;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    frame,
    machine::Awake,
    trace::Trace,
    weather::{Link, Weather},
};
use crate::{
    membership::handshake,
    message::{Message, Request, Response, TrafficClass},
    node::{
        Node,
        identity::LocalIdentity,
        randomness::Stream,
        transport::{CallError, Destination, Transport},
    },
    wire,
};

/// All links between the machines of one simulation. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    trace: Trace,
    state: Mutex<State>,
    /// Rings when a link is mended.
    mended: Notify,
}

#[derive(Debug)]
struct State {
    random: Stream,
    weather: Weather,
    most_calls: usize,
    hosts: BTreeMap<String, Host>,
    links: BTreeMap<(u32, u32), Link>,
    connections: BTreeMap<(u32, u32), CancellationToken>,
    /// When the last message of a connection arrives, by direction and class.
    arrivals: BTreeMap<(u32, u32, bool), Instant>,
    calls: BTreeMap<(u32, u32), usize>,
    /// When the last damaged frame arrives.
    damaged_until: Option<Instant>,
}

/// A process that is on the network.
#[derive(Debug, Clone)]
struct Host {
    number: u32,
    identity: Arc<LocalIdentity>,
    node: Option<Arc<Node>>,
    life: CancellationToken,
    awake: Awake,
}

/// What becomes of a frame that does not vanish.
struct Fate {
    frame: BytesMut,
    delay: Duration,
    is_damaged: bool,
}

/// What became of a frame.
enum Leg {
    Arrived(Bytes),
    Swallowed,
}

impl Network {
    pub(super) fn new(trace: Trace, random: Stream, weather: Weather, most_calls: usize) -> Self {
        let state = State {
            random,
            weather,
            most_calls,
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            calls: BTreeMap::new(),
            damaged_until: None,
        };
        Self { shared: Arc::new(Shared { trace, state: Mutex::new(state), mended: Notify::new() }) }
    }

    /// The way of a process to all others.
    pub(super) fn plug_in(
        &self,
        number: u32,
        identity: Arc<LocalIdentity>,
        life: CancellationToken,
        awake: Awake,
    ) -> Arc<dyn Transport> {
        let host = Host { number, identity, node: None, life, awake };
        self.shared.state.lock().hosts.insert(address(number), host);
        Arc::new(Cable { network: self.clone(), from: number })
    }

    pub(super) fn listen(&self, number: u32, node: Arc<Node>) {
        if let Some(host) = self.shared.state.lock().hosts.get_mut(&address(number)) {
            host.node = Some(node);
        }
    }

    /// The process is gone, and its connections with it.
    pub(super) fn unplug(&self, number: u32) {
        let mut state = self.shared.state.lock();
        state.hosts.remove(&address(number));
        state.break_connections(|a, b| a == number || b == number);
    }

    /// From now on. What is sent does not wait for what is late in the weather before.
    pub(super) fn set_weather(&self, weather: Weather) {
        let mut state = self.shared.state.lock();
        state.weather = weather;
        state.arrivals.clear();
    }

    /// Waits for the damaged frames that are under way: they break connections where they arrive.
    pub(super) async fn damaged_have_arrived(&self) {
        let until = self.shared.state.lock().damaged_until;
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    /// Changes one direction of a link.
    pub(super) fn change(&self, from: u32, to: u32, change: impl FnOnce(&mut Link)) {
        let mut state = self.shared.state.lock();
        let link = state.links.entry((from, to)).or_default();
        let was_broken = link.broken > 0;
        change(link);
        if link.broken > 0 && !was_broken {
            state.break_connections(|a, b| (a, b) == (from, to) || (b, a) == (from, to));
        }
        drop(state);
        self.shared.mended.notify_waiters();
    }

    /// Carries a frame from one machine to another.
    async fn carry(&self, from: u32, to: u32, class: TrafficClass, frame: BytesMut) -> Leg {
        let is_control = class == TrafficClass::Control;
        let (frame, arrival) = {
            let mut state = self.shared.state.lock();
            let hash = xxh3_64(&frame);
            self.shared.trace.note(from, "send", &[u64::from(to), hash]);
            let Some(Fate { frame, delay, is_damaged }) = state.fate(&self.shared.trace, from, to, frame)
            else {
                return Leg::Swallowed;
            };
            let earliest = Instant::now() + delay;
            let reorders = state.weather.reorders;
            let last = state.arrivals.entry((from, to, is_control)).or_insert(earliest);
            *last = earliest.max(*last);
            let arrival = if reorders { earliest } else { *last };
            if is_damaged {
                state.damaged_until = state.damaged_until.max(Some(arrival));
            }
            (frame, arrival)
        };
        sleep_until(arrival).await;
        loop {
            let mended = self.shared.mended.notified();
            let link = self.shared.state.lock().link(from, to);
            if link.swallowed > 0 {
                return Leg::Swallowed;
            }
            if link.held == 0 {
                break;
            }
            mended.await;
        }
        Leg::Arrived(frame.freeze())
    }

    /// A frame has arrived that does not check, or must.
    fn open<M>(
        &self,
        at: u32,
        frame: &Bytes,
        decode: impl FnOnce(wire::Encoded) -> Result<M, wire::WireError>,
    ) -> Result<M, CallError> {
        let Ok(encoded) = frame::open(frame) else {
            self.count("damaged frames refused");
            return Err(lost("a frame fails its checksum"));
        };
        decode(encoded).map_err(|error| {
            let what = format!("n{at} cannot decode a frame that checks: {error}");
            self.shared.trace.accuse(what);
            CallError::Malformed { reason: error.to_string() }
        })
    }

    fn count(&self, what: &'static str) {
        self.shared.trace.count(what);
    }

    /// Whether the next request is to arrive twice.
    fn doubles(&self) -> bool {
        let mut state = self.shared.state.lock();
        let share = state.weather.duplicates;
        let doubles = state.random.random_bool(share);
        if doubles {
            self.count("requests doubled");
        }
        doubles
    }
}

impl State {
    fn link(&self, from: u32, to: u32) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or_default()
    }

    /// How long it takes to connect, if that is possible at all.
    fn handshake_time(&mut self, from: u32, to: u32) -> Option<Duration> {
        if self.connections.contains_key(&pair(from, to)) {
            return Some(Duration::ZERO);
        }
        let is_dead = |link: Link| link.held + link.swallowed > 0;
        if is_dead(self.link(from, to)) || is_dead(self.link(to, from)) {
            return None;
        }
        Some(self.weather.delay(&mut self.random) * 2)
    }

    fn break_connections(&mut self, is_concerned: impl Fn(u32, u32) -> bool) {
        self.connections.retain(|(a, b), connection| {
            let is_concerned = is_concerned(*a, *b);
            if is_concerned {
                connection.cancel();
            }
            !is_concerned
        });
        self.arrivals.retain(|(a, b, _), _| !is_concerned(*a, *b));
    }

    /// What becomes of a frame, and how long it takes; `None`: it vanishes.
    fn fate(&mut self, trace: &Trace, from: u32, to: u32, mut frame: BytesMut) -> Option<Fate> {
        let link = self.link(from, to);
        let delay = self.weather.delay(&mut self.random) + link.delay;
        if self.random.random_bool((self.weather.loss + link.loss).min(1.0)) {
            trace.count("messages lost");
            return None;
        }
        let is_damaged = self.random.random_bool((self.weather.corruption + link.corruption).min(1.0));
        if is_damaged {
            trace.count("frames damaged");
            for _ in 0..self.random.random_range(1..=3) {
                let place = self.random.random_range(0..frame.len());
                frame[place] ^= 1 << self.random.random_range(0..8);
            }
        }
        Some(Fate { frame, delay, is_damaged })
    }
}

/// One process's way to the others.
#[derive(Debug)]
struct Cable {
    network: Network,
    from: u32,
}

/// A connection between two processes.
#[derive(Debug, Clone)]
struct Connection {
    network: Network,
    from: u32,
    class: TrafficClass,
    to: Host,
    node: Arc<Node>,
    broken: CancellationToken,
    /// The caller's process.
    caller: Awake,
}

impl Transport for Cable {
    fn call(
        &self,
        to: &Destination,
        request: Message<Request>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Message<Response>, CallError>> {
        let (network, from, to) = (self.network.clone(), self.from, to.clone());
        Box::pin(async move {
            let Some(_place) = Place::take(&network, from, &to) else { return Err(CallError::Overloaded) };
            match timeout_at(deadline, converse(network, from, to, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(CallError::TimedOut),
            }
        })
    }
}

async fn converse(
    network: Network,
    from: u32,
    to: Destination,
    request: Message<Request>,
) -> Result<Message<Response>, CallError> {
    let connection = connect(network, from, &to, request.header.class).await?;
    let (reply, mut answer) = oneshot::channel();
    let frame = frame::seal(&wire::encode_request(&request));
    if connection.network.doubles() {
        let (nobody, _) = oneshot::channel();
        tokio::spawn(connection.clone().deliver(frame.clone(), nobody));
    }
    let broken = connection.broken.clone();
    let caller = connection.caller.clone();
    // It arrives even if the caller loses interest.
    tokio::spawn(connection.deliver(frame, reply));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        () = broken.cancelled() => return Err(lost("reset by peer")),
    };
    caller.awake().await;
    match answer {
        Ok(answer) => answer,
        // The network swallowed it: only the deadline ends this.
        Err(_) => std::future::pending().await,
    }
}

/// Connects to whoever listens at an address now.
async fn connect(
    network: Network,
    from: u32,
    to: &Destination,
    class: TrafficClass,
) -> Result<Connection, CallError> {
    let unreachable =
        |reason: &str| CallError::Unreachable { address: to.address.clone(), reason: reason.to_owned() };
    let number = number_of(&to.address).ok_or_else(|| unreachable("no such machine"))?;
    let delay = loop {
        let mended = network.shared.mended.notified();
        let time = network.shared.state.lock().handshake_time(from, number);
        match time {
            Some(time) => break time,
            None => mended.await,
        }
    };
    if !delay.is_zero() {
        sleep_until(Instant::now() + delay).await;
    }
    let mut state = network.shared.state.lock();
    let (there, back) = (state.link(from, number), state.link(number, from));
    if there.broken + back.broken > 0 {
        return Err(unreachable("the link is cut"));
    }
    let ours = state.hosts.get(&address(from)).ok_or_else(|| unreachable("we are gone"))?.clone();
    let host = state.hosts.get(&to.address).ok_or_else(|| unreachable("connection refused"))?.clone();
    let node = host.node.clone().ok_or_else(|| unreachable("connection refused"))?;
    let theirs = host.identity.greeting();
    handshake::check(&ours.identity.greeting(), &theirs).map_err(CallError::Refused)?;
    if let Some(expected) = to.host_id
        && expected != theirs.host_id
    {
        return Err(CallError::WrongHost { address: to.address.clone(), expected, found: theirs.host_id });
    }
    let broken = state.connections.entry(pair(from, number)).or_default().clone();
    drop(state);
    Ok(Connection { network, from, class, to: host, node, broken, caller: ours.awake })
}

impl Connection {
    /// Carries a request to the other process and its answer back.
    async fn deliver(self, frame: BytesMut, reply: oneshot::Sender<Result<Message<Response>, CallError>>) {
        let Leg::Arrived(frame) = self.network.carry(self.from, self.to.number, self.class, frame).await
        else {
            return;
        };
        let Some(answer) = self.at_the_other_end(frame).await else { return };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.break_off();
                // A caller that is gone does not hear it.
                let _: Result<(), _> = reply.send(Err(error));
                return;
            }
        };
        let frame = frame::seal(&wire::encode_response(&answer));
        let Leg::Arrived(frame) = self.network.carry(self.to.number, self.from, self.class, frame).await
        else {
            return;
        };
        let answer = self.network.open(self.from, &frame, wire::decode_response);
        if answer.is_err() {
            self.break_off();
        }
        // See above.
        let _: Result<(), _> = reply.send(answer);
    }

    /// What the process there makes of it; `None` when it dies over it.
    async fn at_the_other_end(&self, frame: Bytes) -> Option<Result<Message<Response>, CallError>> {
        let work = async {
            self.to.awake.awake().await;
            self.network.shared.trace.note(self.to.number, "receive", &[u64::from(self.from)]);
            let request = self.network.open(self.to.number, &frame, wire::decode_request)?;
            let answer = self.node.handle(request).await;
            self.to.awake.awake().await;
            Ok(answer)
        };
        tokio::select! {
            biased;
            () = self.to.life.cancelled() => None,
            answer = work => Some(answer),
        }
    }

    fn break_off(&self) {
        let (from, to) = (self.from, self.to.number);
        let mut state = self.network.shared.state.lock();
        state.break_connections(|a, b| pair(a, b) == pair(from, to));
    }
}

/// One of the calls that a process may have under way to another.
struct Place {
    network: Network,
    link: (u32, u32),
}

impl Place {
    fn take(network: &Network, from: u32, to: &Destination) -> Option<Self> {
        let link = (from, number_of(&to.address).unwrap_or(0));
        let mut state = network.shared.state.lock();
        let most = state.most_calls;
        let calls = state.calls.entry(link).or_default();
        if *calls >= most {
            network.count("calls refused at a full queue");
            return None;
        }
        *calls += 1;
        drop(state);
        Some(Self { network: network.clone(), link })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(calls) = self.network.shared.state.lock().calls.get_mut(&self.link) {
            *calls = calls.saturating_sub(1);
        }
    }
}

/// Where a machine is found.
pub(super) fn address(number: u32) -> String {
    format!("n{number}")
}

fn number_of(address: &str) -> Option<u32> {
    address.strip_prefix('n')?.parse().ok()
}

fn pair(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

fn lost(reason: &str) -> CallError {
    CallError::Lost { reason: reason.to_owned() }
}
