//! The accept loop: from a socket to HTTP/1.1 requests, every wait and every count bounded.
//!
//! Ready-made loops were rejected: `axum::serve` installs no timer, so that a half-sent head lives for ever and
//! hangs its graceful stop; the version-sniffing builder of hyper-util waits without limit for the first byte. So
//! this loop drives hyper's HTTP/1 connections itself, through a [`guarded_stream`] that knows what the connection
//! is waiting for:
//!
//! ```text
//!          first byte          head complete        reply handed over        all bytes written
//!  Idle ──────────────▶ Head ───────────────▶ Busy ──────────────────▶ Done ──────────────────▶ Idle
//!  idle_timeout         header_timeout        the service's own        write_stall_timeout
//!                       (a new connection     deadlines
//!                       starts here)
//! ```
//!
//! - A connection on which not one byte arrives is closed after `header_timeout`; a half-sent head too, answered
//!   408. An idle one goes after `idle_timeout`.
//! - What hyper refuses before there is a request (malformed heads, sizes) it answers with an empty body. In the
//!   states Idle and Head every byte hyper writes is such an answer: it is swallowed, and the [`Refuse`] of the
//!   caller is sent in its place. Only behind a pipelined request whose reply is still being written hyper's own
//!   empty answer goes out.
//! - A raw `#` in a request's target, behind which hyper drops everything, is found by following the bytes
//!   ([`targets`]): the request is refused, and its connection ends.
//! - Beyond `max_connections`, connections are accepted and answered 503 by at most [`REFUSALS_AT_ONCE`] tasks, and
//!   beyond those closed at once: leaving them in the backlog would make clients wait for nothing.
//! - A refusal is cheap, but ten of them cost as much as a request that is served: clients that ignore `Retry-After` could
//!   take all the time with them. So after a reply that says [`Overload`] the next request of the connection is read
//!   10 ms later, twice as late after each further one, 640 ms at most, and half as late after each request that is served.
//!   About half of what insists is refused then, whatever the overload; and a refusal itself is answered at once.
//! - A close on unread input makes the kernel reset the connection, and a reply already written may be lost. So
//!   after the last reply the stream is half-closed and read to its end, for `linger_timeout` at most.
//! - [`Server::stop`] ends idle connections and half-sent heads at once, lets requests under way finish, and cuts
//!   what is left at its deadline.
//!
//! Reading order: this page, [`connection`], [`guarded_stream`], [`targets`].

mod accept;
mod connection;
mod guarded_stream;
mod targets;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Response, StatusCode};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use connection::Served;

/// Connections beyond the cap that are being told so at the same time; further ones are closed without a word.
pub const REFUSALS_AT_ONCE: usize = 64;

/// Connections that the kernel keeps for the accept loop: a burst of clients beyond it would wait a second and more for
/// its next attempt. The system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections served at once.
    pub max_connections: usize,
    /// From a head's first byte (or the connection's start) to its end.
    pub header_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// How long a write may wait for a client that reads nothing.
    pub write_stall_timeout: Duration,
    /// How long unread input is awaited and thrown away after the last reply.
    pub linger_timeout: Duration,
    /// Request line and headers together; beyond it hyper gives up. The service's own, lower limits come first.
    pub max_head_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            write_stall_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(1),
            max_head_bytes: 64 << 10,
        }
    }
}

/// Why a connection is answered without its request having reached the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many connections are open.
    Full,
    /// The head is malformed or too large, with the status hyper gives it: 400, 414 or 431.
    Malformed(StatusCode),
    /// The target has a raw `#`, of which hyper keeps only what precedes it.
    Fragment,
    /// The head did not arrive in time.
    SlowHead,
}

/// An extension of replies: the request was refused, because there was no time for it.
#[derive(Debug, Clone, Copy)]
pub struct Overload;

/// Makes the reply to a connection that is refused.
pub type Refuse = Arc<dyn Fn(Refusal) -> Response<Bytes> + Send + Sync>;

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_address: SocketAddr,
    settings: Settings,
}

impl Listener {
    /// Binds. Port 0 takes a free one: see [`Listener::local_address`].
    ///
    /// # Errors
    /// Of the operating system.
    pub fn bind(address: SocketAddr, settings: Settings) -> io::Result<Self> {
        let socket = listen(address)?;
        let local_address = socket.local_addr()?;
        Ok(Self { socket, local_address, settings })
    }

    /// The address that was bound.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Accepts until [`Server::stop`]. `open` counts the connections.
    pub fn serve<S: Served>(self, service: S, refuse: Refuse, open: Gauge) -> Server {
        let server = Server {
            local_address: self.local_address,
            winding_down: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let ending =
            connection::Ending { winding_down: server.winding_down.clone(), cut: server.cut.clone() };
        let terms = Arc::new(connection::Terms { settings: self.settings, service, refuse, open, ending });
        tokio::spawn(accept::accept(self.socket, terms, server.connections.clone()));
        server
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted node takes the address whose old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A listener at work. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Server {
    local_address: SocketAddr,
    winding_down: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// The address that was bound.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Accepts no more, closes idle connections and half-sent heads, lets requests under way finish, and cuts what
    /// is left after `grace`. Returns the number of connections that were cut.
    pub async fn stop(self, grace: Duration) -> usize {
        self.winding_down.cancel();
        self.connections.close();
        match tokio::time::timeout(grace, self.connections.wait()).await {
            Ok(()) => 0,
            // `cut` is cancelled by the drop of `self`.
            Err(_) => self.connections.len(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.winding_down.cancel();
        self.cut.cancel();
    }
}
