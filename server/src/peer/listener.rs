//! The answering side: [`PeerListener`] accepts connections; `inbound` serves each.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use helenus_cluster::{
    message::{Message, Request, Response, TrafficClass},
    node::Spawners,
    node_id::HostId,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    client::GreetingProvider,
    greeting,
    inbound::{self, Inbound},
    refusals::Refusals,
    settings::PeerSettings,
    socket,
};

/// What answers the requests of other nodes, usually `Node::handle`.
pub type Answerer = Arc<dyn Fn(Message<Request>) -> BoxFuture<'static, Message<Response>> + Send + Sync>;

/// Is told whose connection has ended, usually `Node::on_connection_ended`.
pub type EndListener = Arc<dyn Fn(HostId) + Send + Sync>;

/// Pause after a failed accept: when the process has no file descriptors left, trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a stop waits for tasks that were told to end at once.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// Accepts connections of other nodes and answers their requests. Dropping it ends its tasks at once.
#[derive(Debug)]
pub struct PeerListener {
    local_address: SocketAddr,
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
    counters: Arc<Counters>,
}

/// What a listener has seen since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenerCounts {
    /// Connections that passed the handshake.
    pub accepted: u64,
    /// Connections of nodes that were refused by name, partitioner, cluster id or version.
    pub refused: u64,
    /// Connections that brought no proper greeting in time.
    pub strangers: u64,
    /// Connections closed at once because there were too many.
    pub over_limit: u64,
    /// Connections closed because of damaged frames or unintelligible requests.
    pub damaged: u64,
    /// Requests taken.
    pub requests: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) strangers: AtomicU64,
    pub(super) over_limit: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) requests: AtomicU64,
}

impl PeerListener {
    /// Serves the connections of a bound socket, each where its class of traffic belongs: control is heard and answered
    /// while requests keep their own threads busy.
    ///
    /// # Errors
    /// When the operating system does not let go of the socket.
    pub fn start(
        socket: TcpListener,
        greeting: GreetingProvider,
        answer: Answerer,
        ended: EndListener,
        settings: &PeerSettings,
        spawners: &Spawners,
    ) -> std::io::Result<Self> {
        let socket = socket.into_std()?;
        let listener = Self {
            local_address: socket.local_addr()?,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
            counters: Arc::new(Counters::default()),
        };
        let inbound = Inbound {
            greeting,
            answer,
            ended,
            settings: settings.clone().within_reason(),
            refusals: Refusals::default(),
            stop: listener.stop.clone(),
            kill: listener.kill.clone(),
            tasks: listener.tasks.clone(),
            counters: Arc::clone(&listener.counters),
        };
        // A socket is woken by the runtime that it was made on.
        let socket = {
            let _entered = spawners.membership.enter();
            TcpListener::from_std(socket)?
        };
        let accepting = accept(socket, Arc::new(inbound), spawners.requests.clone());
        listener.tasks.spawn_on(accepting, &spawners.membership);
        Ok(listener)
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// What it has seen.
    pub fn counts(&self) -> ListenerCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ListenerCounts {
            accepted: read(&self.counters.accepted),
            refused: read(&self.counters.refused),
            strangers: read(&self.counters.strangers),
            over_limit: read(&self.counters.over_limit),
            damaged: read(&self.counters.damaged),
            requests: read(&self.counters.requests),
        }
    }

    /// Accepts and reads no more, waits until what was taken is answered, and closes. At `deadline` it drops what is
    /// left; returns whether there was nothing left.
    pub async fn stop(&self, deadline: Instant) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let done = tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_ok();
        self.kill.cancel();
        // Tasks end at their next suspension; one that blocks its thread must not hang the stop.
        let _ = tokio::time::timeout(KILL_GRACE, self.tasks.wait()).await;
        done
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}

async fn accept(socket: TcpListener, inbound: Arc<Inbound>, requests: Handle) {
    let places = Arc::new(Semaphore::new(inbound.settings.max_inbound));
    loop {
        let accepted = tokio::select! {
            biased;
            () = inbound.stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if inbound.refusals.may_say(error.to_string(), "accept", Instant::now()) {
                    tracing::warn!(%error, "cannot accept a connection of a peer");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            inbound.counters.over_limit.fetch_add(1, Ordering::Relaxed);
            inbound.say(peer, "too many", &"too many connections");
            continue;
        };
        inbound.tasks.spawn(sort(stream, peer, Arc::clone(&inbound), requests.clone(), place));
    }
}

/// Serves control where it was accepted, and hands everything else to the threads of requests.
async fn sort(
    stream: TcpStream,
    peer: SocketAddr,
    inbound: Arc<Inbound>,
    requests: Handle,
    place: OwnedSemaphorePermit,
) {
    let classed = greeting::class_of(&stream, inbound.settings.handshake_timeout);
    match inbound.stop.run_until_cancelled(classed).await {
        None => {}
        Some(Err(error)) => inbound.turn_away(peer, &error),
        Some(Ok(TrafficClass::Control)) => serve(stream, peer, inbound, place).await,
        Some(Ok(TrafficClass::Request | TrafficClass::Background)) => {
            let tasks = inbound.tasks.clone();
            tasks.spawn_on(
                async move {
                    match stream.into_std().and_then(TcpStream::from_std) {
                        Ok(stream) => serve(stream, peer, inbound, place).await,
                        Err(error) => tracing::debug!(%peer, %error, "connection of a peer ended at once"),
                    }
                },
                &requests,
            );
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, inbound: Arc<Inbound>, place: OwnedSemaphorePermit) {
    if let Err(error) = socket::prepare(&stream, inbound.settings.silence_timeout) {
        tracing::debug!(%peer, %error, "connection of a peer ended at once");
        return;
    }
    let (reader, writer) = stream.into_split();
    let kill = inbound.kill.clone();
    kill.run_until_cancelled(inbound::serve(reader, writer, peer, inbound)).await;
    drop(place);
}
