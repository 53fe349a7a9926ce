//! Two nodes talk over TCP as `helenus_cluster::node::transport` promises, whatever happens to the connection.
//!
//! Real loopback sockets on free ports. One binary, because linking takes longer than running.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod bounds;
mod calls;
mod frames;
mod handshake;
mod loss;
mod nodes;
