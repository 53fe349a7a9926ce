//! A network in memory that runs the real wire codec and handshake, and can be cut, paused and made to lose.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use helenus_cluster::{
    membership::handshake,
    message::{Message, Request, Response},
    node::{
        Node,
        identity::LocalIdentity,
        transport::{CallError, Destination, Transport},
    },
    node_id::HostId,
    wire,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout_at},
};

const LATENCY: Duration = Duration::from_millis(1);
/// More than any test makes. With a paused clock, who calls again as soon as a call fails would hang instead of failing.
const MAX_CALLS: u64 = 1_000_000;

/// All cables between the nodes of one test.
#[derive(Debug, Default, Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<String, Host>,
    cut: BTreeSet<(String, String)>,
    loses_answers: BTreeSet<String>,
    skips_a_key: BTreeSet<String>,
    delivers_twice: bool,
    tells_losses: bool,
    calls: u64,
    /// Of these, full exchanges and swaps of schemas.
    exchanges: u64,
    swaps: u64,
    /// And those with writes, with reads of one key and of several, by caller and receiver.
    writes: BTreeMap<(String, String), u64>,
    reads: BTreeMap<(String, String), u64>,
    multigets: BTreeMap<(String, String), u64>,
    /// (caller, refusing verdict) of every refused handshake, on the side that refused.
    refusals: Vec<(String, String)>,
}

struct Host {
    identity: Arc<LocalIdentity>,
    node: Option<Arc<Node>>,
    /// `true` while the process is stopped: it receives and answers nothing.
    paused: watch::Sender<bool>,
    /// Dropped when the process dies, which breaks its connections.
    life: watch::Sender<()>,
    losses: Arc<Losses>,
}

/// Whose connections broke, until the node is told.
#[derive(Debug, Default)]
struct Losses {
    hosts: Mutex<BTreeSet<HostId>>,
    bell: Notify,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn by_receiver(counts: &BTreeMap<(String, String), u64>, from: &str) -> BTreeMap<String, u64> {
    let sent = counts.iter().filter(|((sender, _), _)| sender == from);
    sent.map(|((_, to), count)| (to.clone(), *count)).collect()
}

impl Network {
    /// The way of a node to all others.
    pub fn plug_in(&self, address: &str, identity: Arc<LocalIdentity>) -> Arc<dyn Transport> {
        let losses = Arc::<Losses>::default();
        let host = Host {
            identity,
            node: None,
            paused: watch::Sender::new(false),
            life: watch::Sender::new(()),
            losses: Arc::clone(&losses),
        };
        self.state.lock().hosts.insert(address.to_owned(), host);
        Arc::new(Cable { network: self.clone(), from: address.to_owned(), losses })
    }

    pub fn listen(&self, address: &str, node: Arc<Node>) {
        if let Some(host) = self.state.lock().hosts.get_mut(address) {
            host.node = Some(node);
        }
    }

    pub fn unplug(&self, address: &str) {
        let mut state = self.state.lock();
        let Some(dead) = state.hosts.remove(address) else { return };
        if state.tells_losses {
            let host_id = dead.identity.host_id();
            state.hosts.values().for_each(|host| host.losses.note(host_id));
        }
    }

    /// From now on a death breaks idle connections too, and the other ends notice, as with TCP on a machine that lives.
    pub fn tell_losses(&self) {
        self.state.lock().tells_losses = true;
    }

    fn count(&self, from: &str, to: &str, request: &Request) {
        let mut state = self.state.lock();
        state.calls += 1;
        assert!(state.calls < MAX_CALLS, "{from} calls without end: {to}");
        let count = |counts: &mut BTreeMap<(String, String), u64>| {
            *counts.entry((from.to_owned(), to.to_owned())).or_default() += 1;
        };
        match request {
            Request::Exchange(_) => state.exchanges += 1,
            Request::Schema { .. } => state.swaps += 1,
            Request::Write { .. } => count(&mut state.writes),
            Request::Read { .. } => count(&mut state.reads),
            Request::Multiget { .. } => count(&mut state.multigets),
            _ => {}
        }
    }

    /// Calls that were made so far, between all nodes.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Calls so far in which two nodes told each other everything.
    pub fn exchanges(&self) -> u64 {
        self.state.lock().exchanges
    }

    /// Calls so far in which two nodes told each other their schemas.
    pub fn swaps(&self) -> u64 {
        self.state.lock().swaps
    }

    /// Messages with writes that a node has sent so far, by receiver.
    pub fn writes_from(&self, from: &str) -> BTreeMap<String, u64> {
        by_receiver(&self.state.lock().writes, from)
    }

    /// Likewise, with the reads of one key.
    pub fn reads_from(&self, from: &str) -> BTreeMap<String, u64> {
        by_receiver(&self.state.lock().reads, from)
    }

    /// Likewise, with the reads of several keys.
    pub fn multigets_from(&self, from: &str) -> BTreeMap<String, u64> {
        by_receiver(&self.state.lock().multigets, from)
    }

    /// The connection from one to another breaks for no reason.
    pub fn break_connection(&self, from: &str, to: &str) {
        let state = self.state.lock();
        if let (Some(from), Some(to)) = (state.hosts.get(from), state.hosts.get(to)) {
            from.losses.note(to.identity.host_id());
        }
    }

    pub fn cut(&self, from: &str, to: &str) {
        self.state.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    pub fn heal(&self, from: &str, to: &str) {
        self.state.lock().cut.remove(&(from.to_owned(), to.to_owned()));
    }

    pub fn set_paused(&self, address: &str, paused: bool) {
        if let Some(host) = self.state.lock().hosts.get(address) {
            host.paused.send_replace(paused);
        }
    }

    /// From now on requests reach `address` but the connection breaks before the answer.
    pub fn lose_answers_of(&self, address: &str) {
        self.state.lock().loses_answers.insert(address.to_owned());
    }

    /// From now on `address` says nothing of the first of several keys that it is asked for.
    pub fn skip_a_key_at(&self, address: &str) {
        self.state.lock().skips_a_key.insert(address.to_owned());
    }

    pub fn deliver_twice(&self) {
        self.state.lock().delivers_twice = true;
    }

    pub fn refusals(&self) -> Vec<(String, String)> {
        self.state.lock().refusals.clone()
    }
}

#[derive(Debug)]
struct Cable {
    network: Network,
    from: String,
    losses: Arc<Losses>,
}

impl Losses {
    fn note(&self, host_id: HostId) {
        self.hosts.lock().insert(host_id);
        self.bell.notify_one();
    }
}

/// What a connection needs of the other end.
struct Connection {
    node: Arc<Node>,
    /// Whether the caller stands still, and whether the other end does.
    paused: [watch::Receiver<bool>; 2],
    life: watch::Receiver<()>,
    loses_answer: bool,
    skips_a_key: bool,
    delivers_twice: bool,
}

impl Transport for Cable {
    fn call(
        &self,
        to: &Destination,
        request: Message<Request>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Message<Response>, CallError>> {
        self.network.count(&self.from, &to.address, &request.body);
        let connection = self.connect(to);
        Box::pin(async move {
            let mut connection = connection?;
            // The request goes on its way even if the caller loses interest.
            let answer = tokio::spawn(async move {
                let mut life = connection.life.clone();
                tokio::select! {
                    biased;
                    _ = life.changed() => lost("the process died"),
                    answer = connection.carry(request) => answer,
                }
            });
            match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => lost("the process died"),
                Err(_) => Err(CallError::TimedOut),
            }
        })
    }

    fn lost_connections(&self) -> BoxFuture<'static, BTreeSet<HostId>> {
        let losses = Arc::clone(&self.losses);
        Box::pin(async move {
            losses.bell.notified().await;
            std::mem::take(&mut *losses.hosts.lock())
        })
    }
}

impl Cable {
    fn connect(&self, to: &Destination) -> Result<Connection, CallError> {
        let unreachable =
            |reason: &str| CallError::Unreachable { address: to.address.clone(), reason: reason.to_owned() };
        let mut state = self.network.state.lock();
        if state.cut.contains(&(self.from.clone(), to.address.clone())) {
            return Err(unreachable("the cable is cut"));
        }
        let delivers_twice = state.delivers_twice;
        let loses_answer = state.loses_answers.contains(&to.address);
        let skips_a_key = state.skips_a_key.contains(&to.address);
        let caller = state.hosts.get(&self.from).ok_or_else(|| unreachable("we are gone"))?;
        let (ours, caller_paused) = (caller.identity.greeting(), caller.paused.subscribe());
        let host = state.hosts.get(&to.address).ok_or_else(|| unreachable("connection refused"))?;
        let theirs = host.identity.greeting();
        let verdicts = (handshake::check(&ours, &theirs), handshake::check(&theirs, &ours));
        if let (Err(at_caller), Err(at_listener)) = verdicts {
            state.refusals.push((self.from.clone(), at_caller.to_string()));
            state.refusals.push((to.address.clone(), at_listener.to_string()));
            return Err(CallError::Refused(at_caller));
        }
        if let Some(expected) = to.host_id
            && expected != theirs.host_id
        {
            return Err(CallError::WrongHost {
                address: to.address.clone(),
                expected,
                found: theirs.host_id,
            });
        }
        Ok(Connection {
            node: host.node.clone().ok_or_else(|| unreachable("it does not listen yet"))?,
            paused: [caller_paused, host.paused.subscribe()],
            life: host.life.subscribe(),
            loses_answer,
            skips_a_key,
            delivers_twice,
        })
    }
}

impl Connection {
    async fn carry(&mut self, request: Message<Request>) -> Result<Message<Response>, CallError> {
        sleep(LATENCY).await;
        self.awake().await?;
        if self.delivers_twice {
            self.deliver(&request).await?;
        }
        let answer = self.deliver(&request).await?;
        if self.loses_answer {
            return lost("reset by peer");
        }
        self.awake().await?;
        sleep(LATENCY).await;
        Ok(answer)
    }

    async fn awake(&mut self) -> Result<(), CallError> {
        for paused in &mut self.paused {
            if paused.wait_for(|paused| !paused).await.is_err() {
                return lost("the process died");
            }
        }
        Ok(())
    }

    async fn deliver(&self, request: &Message<Request>) -> Result<Message<Response>, CallError> {
        let malformed = |error: wire::WireError| CallError::Malformed { reason: error.to_string() };
        let request = wire::decode_request(wire::encode_request(request)).map_err(malformed)?;
        let mut answer = self.node.handle(request).await;
        if let (true, Response::Multiget { answers }) = (self.skips_a_key, &mut answer.body) {
            drop(answers.remove(0));
        }
        wire::decode_response(wire::encode_response(&answer)).map_err(malformed)
    }
}

fn lost<T>(reason: &str) -> Result<T, CallError> {
    Err(CallError::Lost { reason: reason.to_owned() })
}
