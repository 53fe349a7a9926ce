//! What speaks to servers: one keep-alive connection for each client, one operation at a time on it.
//!
//! HTTP is written and read here, over [`httparse`]: hyper's client costs a channel, a task switch and a map of headers for
//! each request, and a load generator competes with what it measures for the same processors. A reply is whole before it is
//! judged, and what is not a success by the protocol's own words is never one.
//!
//! Reading order: [`Endpoint`], `connection` (bytes), `reply` (their framing), [`Protocol`] (requests, and what a reply
//! means), [`Outcome`], [`Client`].

mod connection;
mod endpoint;
mod exchange;
mod outcome;
mod protocol;
mod reply;

pub use endpoint::{BadEndpoint, Endpoint};
pub use exchange::Client;
pub use outcome::{Judgement, Outcome};
pub use protocol::{Protocol, Request};
