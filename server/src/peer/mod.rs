//! Traffic between nodes: [`Transport`](helenus_cluster::node::transport::Transport) over TCP, and the listener that
//! hands what arrives to the node.
//!
//! ```text
//!   calling node                                                        answering node
//!
//!   call ─▶ outbox ─▶ link task ══▶ one TCP connection per peer ══▶ reader ─▶ task per request
//!             │       (encodes,     and class of traffic                          │ Node::handle
//!             │        batches)                                                   ▼
//!   caller ◀─ in flight ◀─ reader ◀══ answers, in the order they are ready ◀══ writer (batches)
//! ```
//!
//! **One connection per (destination, class).** Requests are multiplexed by a correlation id, so a slow answer holds
//! up no other; classes are kept apart because TCP delivers in order, and membership must get through while
//! requests are jammed. A destination is host id and address: a node that has moved gets a new connection, the old
//! one falls idle. Rejected: a connection per call (a handshake each), a pool per peer (the order of two frames is
//! no promise anyway, and one connection carries more than two processors can make), HTTP/2 (its flow control
//! couples what must stay apart, and a deadline in the queue cannot take a request back).
//!
//! Each class has a runtime of its own, on the calling side and on the answering one: there the first byte, looked at
//! before it is read, says where a connection belongs.
//!
//! # The life of a call
//!
//! 1. `call` puts the request into the link's outbox, or fails at once: `Overloaded` when a bound is hit, the error
//!    of the last attempt during the pause after a failure.
//! 2. The link's task connects if there is no connection: resolve, connect, greet ([`greeting`]). Whoever is refused
//!    is told so by name on both sides, in one line of log per minute.
//! 3. It takes what is queued, leaves out what has expired and reads that nobody waits for (both are counted), writes the time that remains into each
//!    header, and sends all of it with one system call. From here on the loss of the connection means `Lost` (the
//!    request may have been done); before, `Unreachable` (certainly not).
//! 4. The listener takes a place for the request (count and bytes; when there is none it reads no further, and TCP
//!    passes the pressure back), decodes it and asks the node, in a task of its own unless it answers at once.
//! 5. The answer goes out with all others that are ready, and to its caller by its correlation. If the deadline has
//!    passed meanwhile, the call has ended as `TimedOut` and the answer is dropped.
//!
//! A task that is woken to write gives the others one turn first if calls are under way: what they are about to ask
//! goes out with the same system call. This halves the processor time of a call under load.
//!
//! # What is bounded by what
//!
//! | what                                        | bound ([`settings::PeerSettings`])          | beyond it            |
//! |---------------------------------------------|---------------------------------------------|----------------------|
//! | requests that wait to be sent               | `queue_requests`, `queue_bytes`             | `Overloaded`         |
//! | calls that wait for an answer               | `in_flight_requests`, their own deadline    | `Overloaded`, `TimedOut` |
//! | connections to others, from others          | `max_outbound`, `max_inbound`               | `Overloaded`, closed |
//! | a frame                                     | `max_frame_bytes`, before allocation        | connection closed; typed error to the sender |
//! | requests being answered, per connection     | `concurrent_requests`, `concurrent_bytes`   | not read             |
//! | answers waiting to be written               | each keeps its request's place              | not read             |
//! | a handshake                                 | `handshake_timeout`, 4 KiB                  | closed               |
//! | a silent machine                            | `silence_timeout`                           | closed               |
//! | attempts on a dead peer                     | `backoff_min`, `backoff_max`                | calls fail at once   |
//!
//! # Up and down
//!
//! The transport pings nobody: membership does, some peers per interval, and judges silences
//! ([`helenus_cluster::membership`]). The loss of a connection that stood, idle or not, is told to it, and it then pings
//! that peer without waiting for the interval. So a process that dies (its kernel closes the connection) is down within
//! a round trip; a machine that vanishes and a paused process by the silence of their heartbeats.
//!
//! Reading order: [`settings`], [`frame`], [`greeting`], then the calling side ([`client`], `outbox`, `link`,
//! `backoff`) and the answering side ([`listener`], `inbound`).

mod backoff;
pub mod client;
pub mod frame;
pub mod greeting;
mod inbound;
mod link;
pub mod listener;
mod outbox;
mod refusals;
pub mod settings;
mod socket;

pub use client::{GreetingProvider, TcpTransport, UnsentCounts};
pub use listener::{Answerer, ListenerCounts, PeerListener};
pub use settings::PeerSettings;
