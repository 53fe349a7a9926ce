//! What speaks to servers: one keep-alive connection for each client, one operation at a time on it.
//!
//! HTTP is written and read here, over [`httparse`]: a load generator competes with what it measures for the same
//! processors. Against a constant answer, hyper's bare client took 8.3 µs of processor time for a request (a channel, a
//! task switch and a map of headers); this takes 7.2 µs with drawing the key and recording the latency. A reply is whole
//! before it is judged, and what is not a success by the protocol's own words is never one.
//!
//! Reading order: [`Endpoint`], `connection` (bytes), `reply` (their framing), [`Protocol`] (requests, and what a reply
//! means), [`Outcome`], [`Routes`] (which endpoints hold a key), [`Client`].

mod connection;
mod endpoint;
mod exchange;
mod outcome;
mod protocol;
mod reply;
mod routes;

pub use endpoint::{BadEndpoint, Endpoint};
pub use exchange::Client;
pub use outcome::{Judgement, Outcome};
pub use protocol::{Protocol, Request};
pub use routes::{Replication, RingToken, Routes};
