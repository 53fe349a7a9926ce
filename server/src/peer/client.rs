//! The calling side: [`TcpTransport`].

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures_util::future::BoxFuture;
use helenus_cluster::{
    membership::handshake::Greeting,
    message::{Message, Request, Response, TrafficClass},
    node::{
        Spawners,
        transport::{CallError, Destination, Transport},
    },
    node_id::HostId,
    wire,
};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    backoff::Backoff,
    link::Link,
    outbox::{Outbox, PendingCall, Unsent},
    refusals::Refusals,
    settings::PeerSettings,
};

/// Says how this node greets the others at the moment; it may learn its cluster id between two connections.
pub type GreetingProvider = Arc<dyn Fn() -> Greeting + Send + Sync>;

/// Requests that a transport took and never sent since its start: under load the first sign that it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnsentCounts {
    /// Their deadline passed while they waited to be sent.
    pub expired: u64,
    /// Nobody waited for their answer any more; a write goes out all the same.
    pub abandoned: u64,
}

/// Calls to other nodes over TCP. Dropping it ends its tasks.
#[derive(Debug)]
pub struct TcpTransport {
    shared: Arc<Shared>,
}

/// What the transport and the tasks of its links share.
pub(super) struct Shared {
    pub(super) settings: PeerSettings,
    pub(super) greeting: GreetingProvider,
    pub(super) refusals: Refusals,
    pub(super) stop: CancellationToken,
    losses: Losses,
    unsent: Arc<Unsent>,
    /// Calls are submitted under the read lock, links retired under the write lock: no call meets a retired link.
    links: RwLock<Links>,
    tasks: TaskTracker,
    spawners: Spawners,
}

/// Peers to which a connection that stood was lost, until the node is told. At most as many as there are members: only
/// who was met by its host id is noted.
#[derive(Debug, Default)]
struct Losses {
    peers: Mutex<BTreeSet<HostId>>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Links {
    peers: HashMap<Destination, PeerLinks>,
    count: usize,
    backoffs_made: u64,
}

#[derive(Debug)]
struct PeerLinks {
    backoff: Arc<Mutex<Backoff>>,
    control: Option<Arc<Link>>,
    request: Option<Arc<Link>>,
    background: Option<Arc<Link>>,
}

impl TcpTransport {
    /// A transport without connections. The task of each will run where its class of traffic belongs: control is heard
    /// while requests keep their own threads busy.
    pub fn new(greeting: GreetingProvider, settings: PeerSettings, spawners: Spawners) -> Self {
        let shared = Shared {
            settings: settings.within_reason(),
            greeting,
            refusals: Refusals::default(),
            stop: CancellationToken::new(),
            losses: Losses::default(),
            unsent: Arc::default(),
            links: RwLock::default(),
            tasks: TaskTracker::new(),
            spawners,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Connections to other nodes, those that are being tried included.
    pub fn connections(&self) -> usize {
        self.shared.links.read().count
    }

    /// What was never sent, because it was too late for it.
    pub fn unsent(&self) -> UnsentCounts {
        let Unsent { expired, abandoned } = &*self.shared.unsent;
        UnsentCounts { expired: expired.load(Relaxed), abandoned: abandoned.load(Relaxed) }
    }

    /// Which nodes do not talk to this one when it calls, and why; in the order of their addresses.
    pub fn refusals(&self) -> Vec<String> {
        let links = self.shared.links.read();
        let said = |(to, peer): (&Destination, &PeerLinks)| match peer.backoff.lock().last_failure() {
            Some(error @ CallError::Refused(_)) => Some(format!("{}: {error}", to.address)),
            _ => None,
        };
        let mut refusals: Vec<String> = links.peers.iter().filter_map(said).collect();
        refusals.sort_unstable();
        refusals
    }

    /// Closes all connections and ends all calls; takes none any more. Returns when its tasks have ended.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Transport for TcpTransport {
    /// The request is queued before the future is first polled.
    fn call(
        &self,
        to: &Destination,
        request: Message<Request>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Message<Response>, CallError>> {
        let submitted = self.shared.submit(to, request, deadline);
        Box::pin(async move {
            let answer = submitted?.answer(deadline).await?;
            wire::decode_response(answer).map_err(|error| CallError::Malformed { reason: error.to_string() })
        })
    }

    fn lost_connections(&self) -> BoxFuture<'static, BTreeSet<HostId>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.losses.bell.notified().await;
            std::mem::take(&mut *shared.losses.peers.lock())
        })
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    fn submit(
        self: &Arc<Self>,
        to: &Destination,
        request: Message<Request>,
        deadline: Instant,
    ) -> Result<PendingCall, CallError> {
        let class = request.header.class;
        let mut links = self.links.read();
        if links.find(to, class).is_none() {
            drop(links);
            let mut changing = self.links.write();
            self.add(&mut changing, to, class)?;
            links = RwLockWriteGuard::downgrade(changing);
        }
        let link = links.find(to, class).ok_or(CallError::Overloaded)?;
        link.outbox.submit(request, deadline, &link.backoff)
    }

    fn add(
        self: &Arc<Self>,
        links: &mut Links,
        to: &Destination,
        class: TrafficClass,
    ) -> Result<(), CallError> {
        if links.find(to, class).is_some() {
            return Ok(());
        }
        let address = to.host_id.and_then(|id| self.settings.route.get(&id)).unwrap_or(&to.address).clone();
        if self.stop.is_cancelled() {
            return Err(CallError::Unreachable { address, reason: "this node is stopping".to_owned() });
        }
        if links.count >= self.settings.max_outbound {
            return Err(CallError::Overloaded);
        }
        links.backoffs_made += 1;
        let seed = self.settings.jitter_seed.wrapping_add(links.backoffs_made);
        let peer = links.peers.entry(to.clone()).or_insert_with(|| PeerLinks {
            backoff: Arc::new(Mutex::new(Backoff::new(
                self.settings.backoff_min,
                self.settings.backoff_max,
                seed,
            ))),
            control: None,
            request: None,
            background: None,
        });
        let link = Arc::new(Link {
            destination: to.clone(),
            class,
            address,
            backoff: Arc::clone(&peer.backoff),
            outbox: Arc::new(Outbox::new(&self.settings, Arc::clone(&self.unsent))),
        });
        let runtime = match class {
            TrafficClass::Control => &self.spawners.membership,
            TrafficClass::Request | TrafficClass::Background => &self.spawners.requests,
        };
        self.tasks.spawn_on(Arc::clone(&link).run(Arc::clone(self)), runtime);
        *peer.slot(class) = Some(link);
        links.count += 1;
        Ok(())
    }

    /// A connection that stood is lost.
    pub(super) fn note_loss(&self, to: &Destination) {
        if let Some(host_id) = to.host_id {
            self.losses.peers.lock().insert(host_id);
            self.losses.bell.notify_one();
        }
    }

    /// Forgets a link that is not used any more; its task must end if this says yes.
    pub(super) fn retire(&self, link: &Link) -> bool {
        let mut links = self.links.write();
        if !link.outbox.is_idle_for(self.settings.idle_timeout) {
            return false;
        }
        if let Some(peer) = links.peers.get_mut(&link.destination) {
            *peer.slot(link.class) = None;
            if peer.is_unused() {
                links.peers.remove(&link.destination);
            }
            links.count -= 1;
        }
        true
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Links {
    fn find(&self, to: &Destination, class: TrafficClass) -> Option<&Arc<Link>> {
        let peer = self.peers.get(to)?;
        match class {
            TrafficClass::Control => peer.control.as_ref(),
            TrafficClass::Request => peer.request.as_ref(),
            TrafficClass::Background => peer.background.as_ref(),
        }
    }
}

impl PeerLinks {
    fn slot(&mut self, class: TrafficClass) -> &mut Option<Arc<Link>> {
        match class {
            TrafficClass::Control => &mut self.control,
            TrafficClass::Request => &mut self.request,
            TrafficClass::Background => &mut self.background,
        }
    }

    fn is_unused(&self) -> bool {
        self.control.is_none() && self.request.is_none() && self.background.is_none()
    }
}
