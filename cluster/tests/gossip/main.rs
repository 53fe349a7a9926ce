//! Promise: gossip and failure detection together find out who is there and who lives, in few rounds, in bad weather,
//! and without ever taking a live node for dead.
//!
//! Pure protocol, made-up time: [`support`] carries messages between nodes that are rumors and a detector each.

mod convergence;
mod detection;
mod support;
