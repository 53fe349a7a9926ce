//! What a process has before its node: its addresses, and an answer for clients.
//!
//! The replay of a long log takes a while. Who asks meanwhile is told so, and a wrong or taken address is found out at
//! once.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use helenus_cluster::time::SystemClock;
use helenus_storage::Engine;
use tokio::net::{TcpListener, TcpSocket};

use super::serve::random_seed;
use crate::{
    config::Config,
    http::{self, Api, Surface},
    listen::{Listener, Server},
    telemetry::Metrics,
};

/// Connections of other nodes that may wait to be accepted.
const PEER_BACKLOG: u32 = 1024;

/// What is there before the node: clients are answered, though most of them that it is starting.
pub(super) struct Entrance {
    pub(super) clients: Server,
    pub(super) api: Arc<Api>,
    /// For the metrics, once it is open.
    pub(super) engine: Arc<OnceLock<Arc<Engine>>>,
}

impl Entrance {
    /// Takes both addresses, and answers clients.
    pub(super) async fn open(config: &Config) -> anyhow::Result<(Self, PeerAddress)> {
        warn_if_open(config.http.listen);
        let listener = Listener::bind(config.http.listen, config.listener_settings())
            .with_context(|| format!("cannot listen for clients on {}", config.http.listen))?;
        let peers = PeerAddress::bind(config.peer.listen)
            .with_context(|| format!("cannot listen for other nodes on {}", config.peer.listen))?;
        let engine = Arc::<OnceLock<Arc<Engine>>>::default();
        let metrics = {
            let engine = Arc::clone(&engine);
            let counters = move || engine.get().map(|engine| engine.counters()).unwrap_or_default();
            Arc::new(Metrics::new(counters))
        };
        let open_connections = metrics.open_connections();
        let api = Api::starting(Arc::new(SystemClock), metrics, config.request_limits(), random_seed()?);
        let clients = listener.serve(http::router(&api, Surface::Both), api.refuse(), open_connections);
        Ok((Self { clients, api, engine }, peers))
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

fn warn_if_open(listen: SocketAddr) {
    if !listen.ip().is_loopback() {
        tracing::warn!(
            %listen,
            "the HTTP API has no authentication: whoever reaches this address reads and writes everything"
        );
    }
}
