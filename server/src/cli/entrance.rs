//! What a process has before its node: its addresses, and an answer for clients.
//!
//! The replay of a long log takes a while. Who asks meanwhile is told so, and a wrong or taken address is found out at
//! once.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use helenus_cluster::time::SystemClock;
use tokio::net::{TcpListener, TcpSocket};

use super::serve::random_seed;
use crate::{
    config::{Config, is_loopback},
    http::{self, Api, Surface},
    listen::{Listener, Server},
    telemetry::{Counters, Metrics},
};

/// Connections of other nodes that may wait to be accepted.
const PEER_BACKLOG: u32 = 1024;

/// What is there before the node: clients are answered, though most of them that it is starting.
pub(super) struct Entrance {
    pub(super) doors: Doors,
    pub(super) api: Arc<Api>,
    /// What the metrics ask, once there is a node.
    pub(super) counters: Arc<OnceLock<CounterSource>>,
}

/// Reads the counters of a node's parts.
pub(super) type CounterSource = Box<dyn Fn() -> Counters + Send + Sync>;

/// The listeners that answer HTTP.
pub(super) struct Doors {
    clients: Server,
    /// Absent while operators come in with the clients.
    operators: Option<Server>,
}

impl Entrance {
    /// Takes all addresses, and answers clients and operators.
    pub(super) async fn open(config: &Config) -> anyhow::Result<(Self, PeerAddress)> {
        let (http, admin) = (config.http.listen, config.admin.listen);
        warn_if_open(
            http,
            "the HTTP API has no authentication: whoever reaches this address reads and writes everything",
        );
        let clients = Listener::bind(http, config.listener_settings())
            .with_context(|| format!("cannot listen for clients on {http}"))?;
        let operators = match admin {
            None => None,
            Some(admin) => {
                warn_if_open(admin, "operators have no authentication: whoever reaches this address is one");
                let listener = Listener::bind(admin, config.admin_listener_settings());
                Some(listener.with_context(|| format!("cannot listen for operators on {admin}"))?)
            }
        };
        let peers = PeerAddress::bind(config.peer.listen)
            .with_context(|| format!("cannot listen for other nodes on {}", config.peer.listen))?;
        let counters = Arc::<OnceLock<CounterSource>>::default();
        let metrics = {
            let counters = Arc::clone(&counters);
            Arc::new(Metrics::new(move || counters.get().map(|counters| counters()).unwrap_or_default()))
        };
        let open_connections = metrics.open_connections();
        let api = Api::starting(Arc::new(SystemClock), metrics, config.request_limits(), random_seed()?);
        let serve = |listener: Listener, surface| {
            listener.serve(http::router(&api, surface), api.refuse(), open_connections.clone())
        };
        let for_clients = if operators.is_some() { Surface::Client } else { Surface::Both };
        let doors = Doors {
            clients: serve(clients, for_clients),
            operators: operators.map(|listener| serve(listener, Surface::Admin)),
        };
        Ok((Self { doors, api, counters }, peers))
    }
}

impl Doors {
    /// Where clients are served.
    pub(super) fn clients_address(&self) -> SocketAddr {
        self.clients.local_address()
    }

    /// Where operators are served.
    pub(super) fn operators_address(&self) -> SocketAddr {
        self.operators.as_ref().unwrap_or(&self.clients).local_address()
    }

    /// Closes the doors; requests under way may take `grace` to end. Returns the number of connections that were cut.
    pub(super) async fn close(self, grace: Duration) -> usize {
        let operators = async {
            match self.operators {
                Some(operators) => operators.stop(grace).await,
                None => 0,
            }
        };
        let (clients, operators) = tokio::join!(self.clients.stop(grace), operators);
        clients + operators
    }
}

/// An address that is taken and not listened on: nodes that would connect are refused at once, instead of waiting until
/// their deadline for a node that is starting.
pub(super) struct PeerAddress {
    socket: TcpSocket,
    pub(super) address: SocketAddr,
}

impl PeerAddress {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted node takes the address whose old connections linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(super) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(PEER_BACKLOG)
    }
}

fn warn_if_open(listen: SocketAddr, what: &str) {
    if !is_loopback(listen) {
        tracing::warn!(%listen, "{what}");
    }
}
